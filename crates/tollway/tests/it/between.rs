//! A go-between on the line from buyers to a seller, which loses what it is told to lose.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode};
use axum::response::Response;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tollway_core::model::SettleResponse;
use tollway_core::{X402Version, wire};

use crate::market::serve;

/// What a go-between does with a request that carries a payment.
#[derive(Clone, Debug)]
pub(crate) enum Paid {
    /// Nobody hears of it, and there is no answer; not before [`Between::breaks`].
    Swallow,
    /// It arrives, and the answer does not; not before [`Between::breaks`].
    Silence,
    /// It arrives, and so does the answer.
    Pass,
    /// Nobody hears of it, and it is answered with this word on the settlement.
    Claim(Box<SettleResponse>),
}

/// Stands between buyers and a market's seller.
pub(crate) struct Between {
    url: String,
    line: Line,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Line {
    seller: String,
    paid: Arc<Mutex<Paid>>,
    payments: Arc<Mutex<Vec<String>>>,
    /// A payment has come as far as it will.
    lost: Arc<Notify>,
    broken: Arc<Notify>,
}

impl Between {
    pub(crate) async fn open(seller: &str, paid: Paid) -> Self {
        let line = Line {
            seller: seller.to_owned(),
            paid: Arc::new(Mutex::new(paid)),
            payments: Arc::default(),
            lost: Arc::default(),
            broken: Arc::default(),
        };
        let shared = line.clone();
        let handler = move |request: Request<Body>| {
            let line = shared.clone();
            async move { line.pass(request).await }
        };
        let (url, server) = serve(Router::new().fallback(handler)).await;
        Self { url, line, server }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(crate) fn now(&self, paid: Paid) {
        *self.line.paid.lock() = paid;
    }

    /// Waits until a payment has come as far as it will.
    pub(crate) async fn lost(&self) {
        self.line.lost.notified().await;
    }

    /// Whoever waits for an answer that is withheld is told that there is none.
    pub(crate) fn breaks(&self) {
        self.line.broken.notify_one();
    }

    /// How many different payments were seen.
    pub(crate) fn distinct(&self) -> usize {
        let mut payments = self.line.payments.lock().clone();
        payments.sort();
        payments.dedup();
        payments.len()
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Line {
    async fn pass(&self, request: Request<Body>) -> Response {
        let url = format!("{}{}", self.seller, request.uri());
        let mut headers = HeaderMap::new();
        let payment = request.headers().get(wire::PAYMENT_SIGNATURE).cloned();
        if let Some(payment) = &payment {
            self.payments.lock().push(payment.to_str().unwrap().to_owned());
            headers.insert(HeaderName::from_static(wire::PAYMENT_SIGNATURE), payment.clone());
        }
        let mode = self.paid.lock().clone();
        match (&payment, mode) {
            (Some(_), Paid::Swallow) => return self.lose().await,
            (Some(_), Paid::Claim(told)) => {
                let (name, value) = wire::encode_settlement_header(&told, X402Version::V2);
                return Response::builder().header(name, value).body("goods".into()).unwrap();
            }
            _ => {}
        }
        let answer = reqwest::Client::new().get(url).headers(headers).send().await.unwrap();
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if name.as_str().starts_with("payment-") {
                response = response.header(name, value);
            }
        }
        let body = answer.bytes().await.unwrap();
        if payment.is_some() && matches!(*self.paid.lock(), Paid::Silence) {
            return self.lose().await;
        }
        response.body(Body::from(body)).unwrap()
    }

    /// No answer, until the line breaks.
    async fn lose(&self) -> Response {
        self.lost.notify_one();
        self.broken.notified().await;
        Response::builder().status(StatusCode::BAD_GATEWAY).body(Body::empty()).unwrap()
    }
}

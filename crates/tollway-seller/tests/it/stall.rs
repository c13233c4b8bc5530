//! A shop without sockets: requests go straight into the router, so that a paused clock governs them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::routing::any;
use tollway_core::model::{PaymentRequired, SettleResponse, X402Version};
use tollway_core::{BoxFuture, BuyerScheme, wire};
use tollway_ledger::{Interposed, Interposer, Ledger, LedgerError, MemoryLedger};
use tollway_seller::{Offers, Paywall, PaywallBuilder, Priced};
use tower::ServiceExt;

use crate::doubles::{Buyer, ScriptedFacilitator, Signed, base, builder, now};

pub(crate) const URL: &str = "https://api.example.com/data";

/// What a handler does.
pub(crate) type Handler = Arc<dyn Fn(usize) -> BoxFuture<'static, axum::response::Response> + Send + Sync>;

/// A route `/data` at `$0.01`.
#[derive(Clone)]
pub(crate) struct Stall {
    pub(crate) paywall: Paywall,
    pub(crate) runs: Arc<AtomicUsize>,
    pub(crate) offers: Arc<Offers>,
    app: Router,
}

/// An answer, read to its end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self, field: &str) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        body[field].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn settlement(&self) -> Option<SettleResponse> {
        let json = wire::decode_header("PAYMENT-RESPONSE", self.headers.get("payment-response")?.as_bytes())
            .unwrap();
        Some(wire::decode_settle_response(&json, &base()).unwrap())
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }
}

impl Stall {
    /// Opens with a handler that takes 50 ms and sells "paid content".
    pub(crate) async fn open(builder: PaywallBuilder) -> Self {
        Self::with(builder, |priced| priced, content(Duration::from_millis(50))).await
    }

    pub(crate) async fn with(
        builder: PaywallBuilder,
        refine: impl FnOnce(Priced) -> Priced,
        handler: Handler,
    ) -> Self {
        Self::on(builder.start().await.unwrap(), refine, handler)
    }

    pub(crate) fn on(paywall: Paywall, refine: impl FnOnce(Priced) -> Priced, handler: Handler) -> Self {
        let runs = Arc::new(AtomicUsize::new(0));
        let priced = refine(paywall.price("$0.01").unwrap());
        let offers = Arc::new(priced.offers().unwrap());
        let counted = Arc::clone(&runs);
        let serve = move || handler(counted.fetch_add(1, Ordering::SeqCst));
        let route = any(serve).layer(priced);
        let app = Router::new().route("/data", route.clone()).route("/other", route);
        Self { paywall, runs, offers, app }
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    pub(crate) fn required(&self) -> PaymentRequired {
        self.offers.payment_required(X402Version::V2, URL, None)
    }

    pub(crate) async fn sign(&self, buyer: &Buyer) -> Signed {
        let required = self.required();
        Signed::of(buyer.scheme.sign(&required, &required.accepts[0], now()).await.unwrap())
    }

    pub(crate) async fn present(&self, signed: &Signed) -> Answer {
        self.send(Method::GET, "/data", &[(signed.name, &signed.value)], "").await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &'static str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.app.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

/// A handler that takes its time and sells "paid content".
pub(crate) fn content(time: Duration) -> Handler {
    Arc::new(move |_| {
        Box::pin(async move {
            tokio::time::sleep(time).await;
            axum::response::IntoResponse::into_response("paid content")
        })
    })
}

/// A handler that fails at first.
pub(crate) fn fails_at_first(count: usize) -> Handler {
    Arc::new(move |run| {
        let response = match run {
            run if run < count => (StatusCode::BAD_GATEWAY, "down"),
            _ => (StatusCode::OK, "content"),
        };
        Box::pin(async move { axum::response::IntoResponse::into_response(response) })
    })
}

/// The default builder, stored responses and all, on a ledger.
pub(crate) fn on_ledger(facilitator: &Arc<ScriptedFacilitator>, ledger: Arc<dyn Ledger>) -> PaywallBuilder {
    builder(facilitator).stored_responses(tollway_seller::StoredResponses::default()).ledger(ledger)
}

/// A ledger that fails when it is told to.
pub(crate) type FaultyLedger = Interposed<Arc<MemoryLedger>, Faults>;

/// Which calls fail, by name: before they are written, or after.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    plan: std::sync::Mutex<Vec<(&'static str, Moment)>>,
    pub(crate) is_down: std::sync::atomic::AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    After,
}

impl Faults {
    /// Fails the next call of `operation`.
    pub(crate) fn next(&self, operation: &'static str, moment: Moment) {
        self.plan.lock().unwrap().push((operation, moment));
    }

    /// Fails nothing that was planned.
    pub(crate) fn forget(&self) {
        self.plan.lock().unwrap().clear();
    }

    fn verdict(&self, operation: &'static str, moment: Moment) -> Result<(), LedgerError> {
        let mut plan = self.plan.lock().unwrap();
        let planned = plan.iter().position(|fault| *fault == (operation, moment));
        if let Some(at) = planned {
            plan.remove(at);
        }
        if planned.is_some() || (moment == Moment::Before && self.is_down.load(Ordering::SeqCst)) {
            return Err(LedgerError::Unavailable("a fault".to_owned()));
        }
        Ok(())
    }
}

impl Interposer for Faults {
    fn before(&self, operation: &'static str, _: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(std::future::ready(self.verdict(operation, Moment::Before)))
    }

    fn after(&self, operation: &'static str, _: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(std::future::ready(self.verdict(operation, Moment::After)))
    }
}

pub(crate) fn faulty() -> (Arc<FaultyLedger>, Arc<MemoryLedger>) {
    let memory = Arc::new(MemoryLedger::new());
    (Arc::new(Interposed::new(Arc::clone(&memory), Faults::default())), memory)
}

//! A shop: an axum server on loopback that answers as a test says and remembers what it was sent.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tollway_core::model::{
    PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo, SettleResponse,
};
use tollway_core::{JsonObject, Network, SchemeName, X402Version, wire};

use crate::purse::{SHOP, USDC};

/// A request as the shop saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// How many requests with a payment came before.
    pub(crate) paid_before: usize,
    pub(crate) shop: SocketAddr,
}

impl Seen {
    /// The payment header, of either version.
    pub(crate) fn payment(&self) -> Option<String> {
        let value = self.headers.get(wire::PAYMENT_SIGNATURE).or(self.headers.get(wire::X_PAYMENT))?;
        Some(value.to_str().unwrap().to_owned())
    }

    /// The payment, decoded.
    pub(crate) fn decoded(&self) -> PaymentPayload {
        let json = wire::decode_header("payment", self.payment().unwrap().as_bytes()).unwrap();
        wire::decode_payment(&json).unwrap()
    }

    /// A 402 for what was requested here.
    pub(crate) fn bill(&self, offers: Vec<PaymentRequirements>) -> PaymentRequired {
        bill(&format!("http://{}{}", self.shop, self.path), offers)
    }

    /// The goods, with the settlement of the payment they were requested with.
    pub(crate) fn goods(&self) -> Response {
        let payment = self.decoded();
        let payer = payment.payload["authorization"]["from"].as_str().unwrap().to_owned();
        let settled = SettleResponse::settled(payment.network().clone(), payer, "0xabc");
        let (name, value) = wire::encode_settlement_header(&settled, payment.version);
        Response::builder().header(name, value).body(Body::from("goods")).unwrap()
    }
}

/// The shop.
pub(crate) struct Shop {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Shop {
    /// Opens a shop that answers with `answer`; where that is `None` it never answers.
    pub(crate) async fn open(answer: impl Fn(&Seen) -> Option<Response> + Send + Sync + 'static) -> Self {
        Self::open_at("127.0.0.1:0".parse().unwrap(), answer).await
    }

    /// Opens a shop at `address`.
    pub(crate) async fn open_at(
        address: SocketAddr,
        answer: impl Fn(&Seen) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (seen.clone(), Arc::new(answer));
        let handler = move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let (log, answer) = (log.clone(), answer.clone());
            async move {
                let request = note(&log, uri, headers, body, address);
                match answer(&request) {
                    Some(response) => response,
                    None => std::future::pending().await,
                }
            }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await });
        Self { address, seen }
    }

    /// A shop that bills `offers` and gives the goods for any payment.
    pub(crate) async fn honest(offers: Vec<PaymentRequirements>) -> Self {
        Self::open(move |seen| Some(sell(seen, || challenge(&seen.bill(offers.clone()))))).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Every payment header so far.
    pub(crate) fn payments(&self) -> Vec<String> {
        self.seen().iter().filter_map(Seen::payment).collect()
    }

    /// How many different payments were presented.
    pub(crate) fn distinct_payments(&self) -> usize {
        self.payments().into_iter().collect::<HashSet<_>>().len()
    }

    /// An address in front of the shop that drops the answers on the connections numbered in `cut`.
    pub(crate) async fn behind_a_cut(&self, cut: &'static [usize]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (front, shop) = (listener.local_addr().unwrap(), self.address);
        tokio::spawn(async move {
            for number in 0.. {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(relay(client, shop, cut.contains(&number)));
            }
        });
        front
    }
}

async fn relay(client: TcpStream, shop: SocketAddr, cut: bool) {
    let shop = TcpStream::connect(shop).await.unwrap();
    let ((mut from_client, mut to_client), (mut from_shop, mut to_shop)) =
        (client.into_split(), shop.into_split());
    let upstream = tokio::spawn(async move { copy(&mut from_client, &mut to_shop).await });
    let mut answer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_shop.read(&mut answer).await {
        if cut || to_client.write_all(&answer[..length]).await.is_err() {
            break;
        }
    }
    upstream.abort();
}

fn note(log: &Mutex<Vec<Seen>>, uri: Uri, headers: HeaderMap, body: Bytes, shop: SocketAddr) -> Seen {
    let mut log = log.lock().unwrap();
    let paid_before = log.iter().filter(|seen| seen.payment().is_some()).count();
    let seen = Seen { path: uri.to_string(), headers, body, paid_before, shop };
    log.push(seen.clone());
    seen
}

/// The goods for a payment, `bill` for none.
pub(crate) fn sell(seen: &Seen, bill: impl FnOnce() -> Response) -> Response {
    if seen.payment().is_some() { seen.goods() } else { bill() }
}

/// A bill in v2.
pub(crate) fn bill(resource: &str, accepts: Vec<PaymentRequirements>) -> PaymentRequired {
    PaymentRequired {
        version: X402Version::V2,
        error: None,
        resource: Some(ResourceInfo::new(resource)),
        accepts,
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    }
}

/// A 402 of v2: the bill in the header.
pub(crate) fn challenge(required: &PaymentRequired) -> Response {
    let header = wire::encode_header(&wire::encode_payment_required(required, X402Version::V2));
    let response = Response::builder().status(StatusCode::PAYMENT_REQUIRED);
    response.header(wire::PAYMENT_REQUIRED, header).body(Body::from("{}")).unwrap()
}

/// A 402 of v1: the bill in the body.
pub(crate) fn challenge_v1(required: &PaymentRequired) -> Response {
    let body = serde_json::to_string(&wire::encode_payment_required(required, X402Version::V1)).unwrap();
    Response::builder().status(StatusCode::PAYMENT_REQUIRED).body(Body::from(body)).unwrap()
}

/// A redirect that keeps method and body.
pub(crate) fn redirect(to: &str) -> Response {
    let response = Response::builder().status(StatusCode::TEMPORARY_REDIRECT).header("location", to);
    response.body(Body::empty()).unwrap()
}

/// An answer of `status` with a body.
pub(crate) fn plain(status: StatusCode, body: impl Into<Body>) -> Response {
    Response::builder().status(status).body(body.into()).unwrap()
}

/// An offer of `amount` atomic units of USDC.
pub(crate) fn usdc(amount: u64) -> PaymentRequirements {
    offer(USDC, amount)
}

/// An offer of `amount` atomic units of `asset`.
pub(crate) fn offer(asset: &str, amount: u64) -> PaymentRequirements {
    let extra = serde_json::json!({"name": "USD Coin", "version": "2"});
    PaymentRequirements {
        scheme: SchemeName::EXACT,
        network: Network::evm(31337),
        amount: amount.into(),
        asset: asset.to_owned(),
        pay_to: SHOP.to_owned(),
        max_timeout_seconds: 60,
        extra: extra.as_object().unwrap().clone(),
        other: JsonObject::new(),
    }
}

//! What a seller promises beside serving, with a real facilitator and a chain: lost answers, debts, credits, and a
//! facilitator that lies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::{HeaderValue, StatusCode};
use tollway_buyer::{credit, paid};
use tollway_core::model::{FacilitatorRequest, SettleResponse, SupportedResponse, VerifyResponse};
use tollway_core::{BoxFuture, Facilitator, FacilitatorError};
use tollway_evm::exact::ReceiptWitness;
use tollway_ledger::MemoryLedger;
use tollway_seller::{
    BackgroundLimits, HttpFacilitator, IdentifierRule, Paywall, PaywallBuilder, StoredResponses,
};

use crate::market::{Market, as_facilitator, assets, paywall};

/// A seller on `market` of its own making.
async fn open(
    market: &Market,
    refine: impl FnOnce(PaywallBuilder) -> PaywallBuilder,
    app: impl FnOnce(&Paywall) -> Router,
) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let facilitator = HttpFacilitator::new(&market.facilitator_url).unwrap();
    let assets = assets(market.node.chain_id);
    let builder = paywall(&url, &market.node.network(), market.payee, &assets).facilitator(facilitator);
    let paywall = refine(builder.ledger(Arc::new(MemoryLedger::new()))).start().await.unwrap();
    let app = app(&paywall);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("{url}/data")
}

#[tokio::test]
async fn a_lost_answer_is_given_again_to_the_wallet_that_named_its_payment() {
    let market = Market::open().await;
    let secret = |builder: PaywallBuilder| {
        builder
            .stored_responses(StoredResponses::default().require_identifier())
            .payment_identifier(IdentifierRule::Required)
    };
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let url = open(&market, secret, |paywall| {
        let handler = move || async move { format!("run {}", counted.fetch_add(1, Ordering::SeqCst)) };
        Router::new().route("/data", get(handler).layer(paywall.price("$0.01").unwrap()))
    })
    .await;
    let client = market.wallet().client().unwrap();
    let first = client.get(&url).send().await.unwrap();
    let header = paid(&first).unwrap().header.clone();
    assert_eq!(first.text().await.unwrap(), "run 0");
    let again = client.get(&url).header(header.name(), header.value()).send().await.unwrap();
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert!(again.headers().contains_key("payment-response"));
    assert_eq!(again.text().await.unwrap(), "run 0");
    assert_eq!((market.received().await, runs.load(Ordering::SeqCst)), (10_000, 1));
}

#[tokio::test]
async fn what_was_served_before_it_settled_is_settled_on_chain() {
    let market = Market::open().await;
    let url = open(
        &market,
        |builder| builder,
        |paywall| {
            let limits =
                BackgroundLimits { per_payer: "$0.10".parse().unwrap(), in_all: "$1".parse().unwrap() };
            let priced = paywall.price("$0.01").unwrap().background(limits).unwrap();
            Router::new().route("/data", get(|| async { "data" }).layer(priced))
        },
    )
    .await;
    let response = market.wallet().client().unwrap().get(&url).send().await.unwrap();
    assert_eq!(paid(&response).unwrap().settlement, None);
    assert_eq!(response.text().await.unwrap(), "data");
    for _ in 0..200 {
        if market.received().await == 10_000 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("what is owed is never settled");
}

#[tokio::test]
async fn a_wallet_redeems_the_credit_of_an_upfront_payment_that_bought_nothing() {
    let market = Market::open().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let url = open(
        &market,
        |builder| builder,
        |paywall| {
            let handler = move || async move {
                match counted.fetch_add(1, Ordering::SeqCst) {
                    0 => (StatusCode::BAD_GATEWAY, "down"),
                    _ => (StatusCode::OK, "data"),
                }
            };
            Router::new().route("/data", get(handler).layer(paywall.price("$0.01").unwrap().upfront()))
        },
    )
    .await;
    let wallet = market.wallet();
    let client = wallet.client().unwrap();
    let failed = client.get(&url).send().await.unwrap();
    assert_eq!((failed.status(), market.received().await), (StatusCode::BAD_GATEWAY, 10_000));
    let owed = credit(&failed).unwrap();
    let mut request = client.get(format!("{url}?again=1")).build().unwrap();
    wallet.redeem(&owed, &mut request).await.unwrap();
    let redemption: HeaderValue = request.headers()["payment-credit"].clone();
    let served = client.execute(request).await.unwrap();
    assert_eq!(served.text().await.unwrap(), "data");
    let elsewhere = client.get(&url).header("payment-credit", redemption).send().await.unwrap();
    assert_eq!(elsewhere.status(), StatusCode::PAYMENT_REQUIRED, "it was signed for one request");
    assert_eq!((market.received().await, runs.load(Ordering::SeqCst)), (10_000, 2), "charged once");
    let mut stranger: reqwest::Request = client.get("http://127.0.0.1:1/data").build().unwrap();
    assert!(wallet.redeem(&owed, &mut stranger).await.is_err(), "to no other seller");
}

/// Calls everything valid, settles nothing, and shows the hash of another payment.
#[derive(Debug)]
struct Liar {
    honest: Arc<dyn Facilitator>,
    hash: String,
}

impl Facilitator for Liar {
    fn verify(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<VerifyResponse, FacilitatorError>> {
        let payer = request.payment.payload["authorization"]["from"].as_str().unwrap().to_owned();
        Box::pin(std::future::ready(Ok(VerifyResponse::valid(payer))))
    }

    fn settle(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<SettleResponse, FacilitatorError>> {
        let payer = request.payment.payload["authorization"]["from"].as_str().unwrap().to_owned();
        let settled = SettleResponse::settled(request.requirements.network, payer, self.hash.clone());
        Box::pin(std::future::ready(Ok(settled)))
    }

    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        self.honest.supported()
    }
}

#[tokio::test]
async fn a_facilitator_that_shows_another_payments_transaction_serves_nothing_above_the_threshold() {
    let market = Market::open().await;
    let client = market.wallet().client().unwrap();
    let honest = client.get(market.url("/data")).send().await.unwrap();
    let hash = paid(&honest).unwrap().settlement.clone().unwrap().transaction;
    for flow in ["authorization", "upfront"] {
        let liar = Liar { honest: as_facilitator(&market.engine), hash: hash.clone() };
        let witness = Arc::new(ReceiptWitness::new([market.chain.clone()]));
        let confirmed = |builder: PaywallBuilder| {
            builder.facilitator(liar).confirm_settlements(witness, "$0.02".parse().unwrap())
        };
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let url = open(&market, confirmed, |paywall| {
            let handler = move || async move {
                counted.fetch_add(1, Ordering::SeqCst);
                "secret"
            };
            let priced = |price: &str| match flow {
                "upfront" => paywall.price(price).unwrap().upfront(),
                _ => paywall.price(price).unwrap(),
            };
            let cheap = get(|| async { "cheap" }).layer(priced("$0.01"));
            Router::new().route("/data", get(handler).layer(priced("$0.05"))).route("/data/cheap", cheap)
        })
        .await;
        let lied_to = client.get(&url).send().await.unwrap();
        assert_eq!(lied_to.status(), StatusCode::BAD_GATEWAY, "{flow}");
        assert!(!lied_to.text().await.unwrap().contains("secret"), "{flow}");
        assert_eq!(runs.load(Ordering::SeqCst), usize::from(flow == "authorization"), "{flow}");
        // Below the threshold its word is taken, as it was asked to be.
        let cheap = client.get(format!("{url}/cheap")).send().await.unwrap();
        assert_eq!(cheap.status(), StatusCode::OK, "{flow}");
    }
    assert_eq!(market.received().await, 10_000, "only the honest one was paid");
}

#[tokio::test]
async fn a_true_settlement_is_confirmed_by_the_sellers_own_node() {
    let market = Market::open().await;
    let witness = Arc::new(ReceiptWitness::new([market.chain.clone()]));
    let confirmed = |builder: PaywallBuilder| builder.confirm_settlements(witness, "$0.001".parse().unwrap());
    let url = open(&market, confirmed, |paywall| {
        Router::new().route("/data", get(|| async { "data" }).layer(paywall.price("$0.01").unwrap()))
    })
    .await;
    let response = market.wallet().client().unwrap().get(&url).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "data");
    assert_eq!(market.received().await, 10_000);
}

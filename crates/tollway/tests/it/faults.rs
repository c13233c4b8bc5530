//! What goes wrong around an honest purchase: the node loses, holds or refuses, the facilitator is gone or lies.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::json;
use tollway_buyer::SignedPayment;
use tollway_core::wire::{PAYMENT_REQUIRED, PAYMENT_RESPONSE};
use tollway_devnet::Fault;
use tollway_facilitator::Limits;
use tollway_seller::HttpFacilitator;

use crate::facilitator_api::{honest, post as ask};
use crate::market::{Market, as_facilitator, assets, decoded, paywall, serve};

fn impatient() -> Limits {
    Limits {
        settle_deadline: Duration::from_millis(400),
        rebroadcast_every: Duration::from_millis(300),
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_transaction_that_the_node_loses_is_sent_again_and_settles_once() {
    let market =
        Market::open_with(Limits { rebroadcast_every: Duration::from_millis(100), ..Limits::default() })
            .await;
    market.node.devnet().faults().inject(Fault::Drop { count: 2 });
    let response = market.wallet().client().unwrap().get(market.url("/data")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!((market.received().await, market.handled()), (10_000, 1));
}

#[tokio::test]
async fn a_settlement_that_is_not_included_is_pending_with_its_hash_and_told_later() {
    let market = Market::open_with(impatient()).await;
    let body = honest(&market).await.to_string();
    market.node.devnet().faults().inject(Fault::Hold);
    let (status, pending) = ask(&market, "/settle", body.clone()).await;
    assert_eq!(
        (status, &pending["success"], &pending["errorReason"]),
        (200, &json!(false), &json!("settlement_pending"))
    );
    let hash = pending["transaction"].as_str().unwrap().to_owned();
    assert_eq!(hash.len(), 66);
    assert_eq!(market.engine.open_payments(), 1);
    market.node.devnet().faults().inject(Fault::Release);
    let (_, settled) = ask(&market, "/settle", body).await;
    assert_eq!((&settled["success"], settled["transaction"].as_str()), (&json!(true), Some(hash.as_str())));
    assert_eq!((market.received().await, market.engine.open_payments()), (10_000, 0));
}

#[tokio::test]
async fn a_pending_settlement_is_503_and_the_same_payment_is_served_once_it_is_included() {
    let market = Market::open_with(impatient()).await;
    let payment = sign(&market).await;
    market.node.devnet().faults().inject(Fault::Hold);
    let pending = present(&market, &payment).await;
    assert_eq!(pending.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        pending.headers().contains_key("retry-after") && !pending.headers().contains_key(PAYMENT_REQUIRED)
    );
    let told = decoded(&pending.headers()[PAYMENT_RESPONSE]);
    assert_eq!((&told["success"], &told["errorReason"]), (&json!(false), &json!("settlement_pending")));
    market.node.devnet().faults().inject(Fault::Release);
    let served = present(&market, &payment).await;
    assert_eq!(served.status(), StatusCode::OK);
    assert_eq!(market.received().await, 10_000);
}

#[tokio::test]
async fn a_buyer_waits_out_a_held_settlement_with_one_payment() {
    let market = Market::open_with(impatient()).await;
    let wallet = market.wallet();
    let client = wallet.client().unwrap();
    market.node.devnet().faults().inject(Fault::Hold);
    let url = market.url("/data");
    let buying = tokio::spawn(async move { client.get(url).send().await });
    tokio::time::sleep(Duration::from_millis(900)).await;
    market.node.devnet().faults().inject(Fault::Release);
    let response = buying.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!((market.received().await, wallet.spent()[0].amount.to_string()), (10_000, "10000".to_owned()));
}

#[tokio::test]
async fn a_node_that_answers_errors_makes_503_and_takes_no_money() {
    let market = Market::open().await;
    let body = honest(&market).await.to_string();
    let fault = |method: &str| Fault::Error {
        method: Some(method.to_owned()),
        count: 1_000,
        code: -32_603,
        message: "internal".to_owned(),
        http_status: None,
    };
    market.node.devnet().faults().inject(fault("eth_call"));
    for path in ["/verify", "/settle"] {
        assert_eq!(ask(&market, path, body.clone()).await.0, 503, "{path}");
    }
    market.node.devnet().faults().inject(Fault::Clear);
    // The raw transaction is out of our hands before the node's answer is lost: its fate is unknown, not failed.
    let lost = Fault::Error {
        method: Some("eth_getTransactionReceipt".to_owned()),
        count: 5,
        code: -32_603,
        message: "internal".to_owned(),
        http_status: Some(502),
    };
    market.node.devnet().faults().inject(lost);
    let (_, settled) = ask(&market, "/settle", body).await;
    assert_eq!(settled["success"], true, "{settled}");
    assert_eq!(market.received().await, 10_000);
}

#[tokio::test]
async fn a_facilitator_that_is_down_is_503_and_never_a_fresh_402() {
    let mut market = Market::open().await;
    let payment = sign(&market).await;
    market.stop_facilitator().await;
    let response = present(&market, &payment).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    assert!(!response.headers().contains_key(PAYMENT_REQUIRED));
    assert_eq!((market.handled(), market.paywall.reservation_count().await.unwrap()), (0, 0));
}

#[tokio::test]
async fn a_facilitator_that_answers_nonsense_is_502_and_never_a_fresh_402() {
    let market = Market::open().await;
    for nonsense in ["", "[]", "<html>", "{\"isValid\":\"yes\"}", "{}"] {
        let kinds = json!({ "kinds": [{ "x402Version": 2, "scheme": "exact", "network": "eip155:31337" }] });
        let fake = Router::new()
            .route("/supported", get(move || async move { kinds.to_string() }))
            .route("/verify", post(move || async move { nonsense }));
        let (url, server) = serve(fake).await;
        let shop = shop_with(&market, HttpFacilitator::new(&url).unwrap()).await;
        let response =
            market.wallet().client().unwrap().get(format!("{}/data", shop.0)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{nonsense:?}");
        assert!(!response.headers().contains_key(PAYMENT_REQUIRED));
        server.abort();
        shop.1.abort();
    }
    assert_eq!(market.received().await, 0);
}

#[tokio::test]
async fn a_paywall_does_not_start_against_a_facilitator_that_lacks_what_it_sells() {
    let market = Market::open().await;
    let known = assets(31_337);
    let error = paywall("ftp://nowhere", &market.node.network(), market.payee, &known)
        .accept("eip155:8453", market.payee.to_string())
        .accept("base", market.payee.to_string())
        .shared_facilitator(as_facilitator(&market.engine))
        .start()
        .await
        .unwrap_err();
    for part in ["ftp://nowhere", "eip155:8453", "\"base\""] {
        assert!(error.to_string().contains(part), "{part} in {error}");
    }
    assert!(error.faults.len() >= 3, "{error}");
}

#[tokio::test]
async fn an_engine_in_the_sellers_process_serves_the_same() {
    let market = Market::open().await;
    let (url, server) = shop_with_engine(&market).await;
    let response = market.wallet().client().unwrap().get(format!("{url}/data")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(market.received().await, 10_000);
    server.abort();
}

async fn sign(market: &Market) -> SignedPayment {
    let response = reqwest::get(market.url("/data")).await.unwrap();
    let required = decoded(&response.headers()[PAYMENT_REQUIRED]).to_string();
    let required = tollway_core::wire::decode_payment_required(required.as_bytes()).unwrap();
    market.wallet().pay(&required, &market.url("/data").parse().unwrap()).await.unwrap()
}

async fn present(market: &Market, payment: &SignedPayment) -> reqwest::Response {
    let request = reqwest::Client::new().get(market.url("/data"));
    request.header(payment.header.name(), payment.header.value()).send().await.unwrap()
}

async fn shop_with(market: &Market, facilitator: HttpFacilitator) -> (String, tokio::task::JoinHandle<()>) {
    shop_of(market, Arc::new(facilitator)).await
}

async fn shop_with_engine(market: &Market) -> (String, tokio::task::JoinHandle<()>) {
    shop_of(market, as_facilitator(&market.engine)).await
}

async fn shop_of(
    market: &Market,
    facilitator: Arc<dyn tollway_core::Facilitator>,
) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let paywall = paywall(&url, &market.node.network(), market.payee, &assets(31_337))
        .shared_facilitator(facilitator)
        .start()
        .await
        .unwrap();
    let app = Router::new().route("/data", get(|| async { "data" }).layer(paywall.price("$0.01").unwrap()));
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, server)
}

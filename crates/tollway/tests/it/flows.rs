//! The honest paths: who pays is served, and the books agree.

use std::sync::Arc;

use http::{Method, StatusCode};
use tollway_buyer::{IntentKey, PaymentError, paid, payment_error};
use tollway_core::Amount;
use tollway_core::wire::PAYMENT_REQUIRED;

use crate::market::{Market, decoded};

#[tokio::test]
async fn a_paid_get_and_a_paid_post_are_served_and_settled_on_chain() {
    let market = Market::open().await;
    let client = market.wallet().client().unwrap();
    let before = market.balance(market.buyer()).await;
    let get = client.get(market.url("/data")).send().await.unwrap();
    let receipt = paid(&get).unwrap().clone();
    assert_eq!((get.status(), get.headers()["cache-control"].to_str().unwrap()), (StatusCode::OK, "private"));
    assert_eq!(get.text().await.unwrap(), "data");
    let post = client.post(market.url("/echo")).body("hello").send().await.unwrap();
    assert_eq!(post.text().await.unwrap(), "echo:hello");
    let settled = receipt.settlement.unwrap();
    assert!(settled.success && settled.extra.contains_key("logIndex"), "{settled:?}");
    assert_eq!(receipt.suspicious, None);
    assert_eq!((market.received().await, market.handled()), (30_000, 2));
    let after = market.balance(market.buyer()).await;
    assert_eq!(before.checked_sub(after), Some(Amount::from(30_000)));
    assert_eq!(market.engine.open_payments(), 0);
}

#[tokio::test]
async fn an_unpaid_request_is_told_the_price_in_both_versions() {
    let market = Market::open().await;
    let response = reqwest::get(market.url("/data?q=1")).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let v2 = decoded(&response.headers()[PAYMENT_REQUIRED]);
    assert_eq!(v2["x402Version"], 2);
    assert_eq!(v2["resource"]["url"], market.url("/data?q=1"));
    assert_eq!(v2["accepts"][0]["amount"], "10000");
    let v1: serde_json::Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(
        (v1["x402Version"].as_u64(), v1["accepts"][0]["maxAmountRequired"].as_str()),
        (Some(1), Some("10000"))
    );
    assert_eq!(market.handled(), 0);
}

#[tokio::test]
async fn money_settles_before_the_handler_runs_upfront() {
    let market = Market::open().await;
    let client = market.wallet().client().unwrap();
    let response = client.get(market.url("/upfront")).send().await.unwrap();
    assert_eq!(paid(&response).unwrap().offer.extra_str("paymentFlow"), Some("upfront"));
    assert_eq!(response.text().await.unwrap(), "upfront");
    assert_eq!((market.received().await, market.handled()), (30_000, 1));
}

#[tokio::test]
async fn a_price_above_the_cap_or_in_no_dollars_is_never_signed() {
    let market = Market::open().await;
    let wallet = market.wallet();
    let client = wallet.client().unwrap();
    for path in ["/dear", "/euro"] {
        let error = client.get(market.url(path)).send().await.unwrap_err();
        assert!(matches!(payment_error(&error), Some(PaymentError::Denied(_))), "{path}: {error}");
    }
    assert!(wallet.spent().is_empty());
    assert_eq!((market.received().await, market.handled()), (0, 0));
}

#[tokio::test]
async fn one_payment_presented_many_times_at_once_is_served_once() {
    let market = Arc::new(Market::open().await);
    for (round, concurrent) in [(0, 10), (1, 50), (2, 200)] {
        let required = reqwest::get(market.url("/data")).await.unwrap();
        let required = decoded(&required.headers()[PAYMENT_REQUIRED]).to_string();
        let required = tollway_core::wire::decode_payment_required(required.as_bytes()).unwrap();
        let url = market.url("/data").parse().unwrap();
        let payment = market.wallet().pay(&required, &url).await.unwrap();
        let http = reqwest::Client::new();
        let requests = (0..concurrent).map(|_| {
            let request = http
                .request(Method::GET, market.url("/data"))
                .header(payment.header.name(), payment.header.value());
            tokio::spawn(async move { request.send().await.unwrap().status() })
        });
        let statuses = futures_util::future::join_all(requests.collect::<Vec<_>>()).await;
        let served = statuses.iter().filter(|status| *status.as_ref().unwrap() == StatusCode::OK).count();
        assert_eq!((served, market.handled()), (1, round + 1), "{concurrent} at once");
    }
    assert_eq!(market.received().await, 30_000);
}

#[tokio::test]
async fn a_payment_for_one_resource_buys_no_other_and_the_control_is_served() {
    let market = Market::open().await;
    let wallet = market.wallet();
    let response = reqwest::get(market.url("/data")).await.unwrap();
    let required = decoded(&response.headers()[PAYMENT_REQUIRED]).to_string();
    let required = tollway_core::wire::decode_payment_required(required.as_bytes()).unwrap();
    let payment = wallet.pay(&required, &market.url("/data").parse().unwrap()).await.unwrap();
    let present = |path: &str| {
        reqwest::Client::new()
            .get(market.url(path))
            .header(payment.header.name(), payment.header.value())
            .send()
    };
    assert_eq!(present("/data").await.unwrap().status(), StatusCode::OK);
    assert_eq!(present("/other").await.unwrap().status(), StatusCode::PAYMENT_REQUIRED);
    assert_eq!((market.received().await, market.handled()), (10_000, 1));
}

#[tokio::test]
async fn many_buyers_at_once_share_transactions_and_every_one_is_proved() {
    let market = Market::open().await;
    let client = market.wallet().client().unwrap();
    let requests = (0..60).map(|_| {
        let (client, url) = (client.clone(), market.url("/data"));
        // Requests that are the same would be one purchase after the other.
        let own = IntentKey::fresh();
        tokio::spawn(async move { client.get(url).with_extension(own).send().await.unwrap() })
    });
    let answers = futures_util::future::join_all(requests.collect::<Vec<_>>()).await;
    let mut proofs = std::collections::HashSet::new();
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let settled = paid(&answer).unwrap().settlement.clone().unwrap();
        proofs.insert((settled.transaction, settled.extra["logIndex"].as_u64().unwrap()));
    }
    assert_eq!(proofs.len(), 60, "(transaction, log index) is one payment's own");
    assert_eq!((market.received().await, market.handled()), (600_000, 60));
}

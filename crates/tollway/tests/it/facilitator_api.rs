//! The facilitator over HTTP: verdicts, idempotent settlement, and bad input that never reaches the node.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tollway_core::Clock;
use tollway_core::wire::PAYMENT_REQUIRED;

use crate::market::{Market, decoded};

/// An honest request body for `/verify` and `/settle`.
pub(crate) async fn honest(market: &Market) -> Value {
    signed_by(market, &market.wallet()).await
}

async fn signed_by(market: &Market, wallet: &tollway_buyer::Wallet) -> Value {
    let response = reqwest::get(market.url("/data")).await.unwrap();
    let required = decoded(&response.headers()[PAYMENT_REQUIRED]);
    let typed = tollway_core::wire::decode_payment_required(required.to_string().as_bytes()).unwrap();
    let payment = wallet.pay(&typed, &market.url("/data").parse().unwrap()).await.unwrap();
    let header = http::HeaderValue::from_str(payment.header.value()).unwrap();
    json!({ "x402Version": 2, "paymentPayload": decoded(&header), "paymentRequirements": required["accepts"][0] })
}

pub(crate) async fn post(market: &Market, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let url = format!("{}{path}", market.facilitator_url);
    let response = reqwest::Client::new().post(url).body(body).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

#[tokio::test]
async fn verify_then_settle_then_settle_again_moves_money_once() {
    let market = Market::open().await;
    let body = honest(&market).await;
    let (status, verdict) = post(&market, "/verify", body.to_string()).await;
    assert_eq!((status, &verdict["isValid"]), (200, &json!(true)));
    let (_, first) = post(&market, "/settle", body.to_string()).await;
    let (_, second) = post(&market, "/settle", body.to_string()).await;
    assert_eq!(first["success"], true);
    assert_eq!(first, second, "asked again, it tells the same fate");
    assert_eq!(market.received().await, 10_000);
    let (_, verdict) = post(&market, "/verify", body.to_string()).await;
    assert_eq!(verdict["invalidReason"], "invalid_exact_evm_nonce_already_used");
}

#[tokio::test]
async fn concurrent_settlements_of_one_payment_are_one_settlement() {
    let market = Market::open().await;
    let body = honest(&market).await.to_string();
    let calls = (0..50).map(|_| post(&market, "/settle", body.clone()));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|(status, answer)| *status == 200 && answer == &answers[0].1), "{answers:?}");
    assert_eq!(market.received().await, 10_000);
}

#[tokio::test]
async fn version_one_is_verified_and_settled() {
    let node = crate::node::Node::start(crate::node::Kind::Devnet, 84_532).await.unwrap();
    let market = Market::on(node, tollway_facilitator::Limits::default()).await;
    let response = reqwest::get(market.url("/data")).await.unwrap();
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let typed = tollway_core::wire::decode_payment_required(body.to_string().as_bytes());
    // The body of a 402 is the v1 object, with the refusal beside it.
    let payment = market.wallet().pay(&typed.unwrap(), &market.url("/data").parse().unwrap()).await.unwrap();
    assert_eq!(payment.header.name(), "x-payment");
    let header = http::HeaderValue::from_str(payment.header.value()).unwrap();
    let request = json!({ "x402Version": 1, "paymentPayload": decoded(&header), "paymentRequirements": body["accepts"][0] });
    let (status, verdict) = post(&market, "/verify", request.to_string()).await;
    assert_eq!((status, &verdict["isValid"]), (200, &json!(true)), "{verdict}");
    let (_, settled) = post(&market, "/settle", request.to_string()).await;
    assert_eq!(
        (&settled["success"], &settled["network"]),
        (&json!(true), &json!("base-sepolia")),
        "{settled}"
    );
    let kinds =
        reqwest::get(format!("{}/supported", market.facilitator_url)).await.unwrap().text().await.unwrap();
    assert!(kinds.contains("base-sepolia") && kinds.contains("eip155:84532"), "{kinds}");
}

#[tokio::test]
async fn malformed_bodies_get_400_with_field_and_rule_and_no_rpc_call() {
    let market = Market::open().await;
    let honest = honest(&market).await;
    let calls = market.rpc_calls.load(Ordering::SeqCst);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut body = honest.clone();
        change(&mut body);
        body.to_string()
    };
    let cases = [
        ("body", "".to_owned()),
        ("body", "[]".to_owned()),
        ("body", "{\"x402Version\":2,\"x402Version\":1}".to_owned()),
        ("body", format!("{}1{}", "[".repeat(100), "]".repeat(100))),
        ("x402Version", changed(&|body| body["x402Version"] = json!(3))),
        ("x402Version", changed(&|body| body["x402Version"] = json!("2"))),
        ("paymentPayload.x402Version", changed(&|body| body["paymentPayload"]["x402Version"] = json!(1))),
        ("paymentPayload", changed(&|body| body["paymentPayload"] = json!(null))),
        ("paymentPayload.payload", changed(&|body| body["paymentPayload"]["payload"] = json!(7))),
        (
            "paymentPayload.accepted.network",
            changed(&|body| body["paymentPayload"]["accepted"]["network"] = json!("base")),
        ),
        ("paymentRequirements.amount", changed(&|body| body["paymentRequirements"]["amount"] = json!("1e3"))),
        ("paymentRequirements.amount", changed(&|body| body["paymentRequirements"]["amount"] = json!(10000))),
        (
            "paymentRequirements.maxTimeoutSeconds",
            changed(&|body| body["paymentRequirements"]["maxTimeoutSeconds"] = json!(-1)),
        ),
    ];
    for path in ["/verify", "/settle"] {
        for (field, body) in &cases {
            let (status, answer) = post(&market, path, body.clone()).await;
            assert_eq!((status, answer["field"].as_str()), (400, Some(*field)), "{answer}");
            assert!(answer["rule"].is_string(), "{answer}");
        }
        // A settlement may be of many channels.
        let longest = if path == "/settle" { tollway_facilitator::MAX_SETTLE_BODY_BYTES } else { 64 * 1024 };
        let (status, _) = post(&market, path, vec![b' '; longest + 1]).await;
        assert_eq!(status, 413);
    }
    assert_eq!(market.rpc_calls.load(Ordering::SeqCst), calls);
    assert_eq!(market.engine.open_payments(), 0);
}

#[tokio::test]
async fn payments_that_break_a_rule_are_refused_by_name_and_without_an_rpc_call() {
    let market = Market::open().await;
    let honest = honest(&market).await;
    let calls = market.rpc_calls.load(Ordering::SeqCst);
    let cases: &[(&str, &str, Value)] = &[
        ("/paymentRequirements/scheme", "paymentRequirements.scheme", json!("barter")),
        ("/paymentRequirements/network", "paymentRequirements.network", json!("eip155:1")),
        (
            "/paymentRequirements/asset",
            "paymentRequirements.asset",
            json!("0x0000000000000000000000000000000000000001"),
        ),
        ("/paymentRequirements/amount", "paymentPayload.accepted.amount", json!("10001")),
        (
            "/paymentRequirements/payTo",
            "paymentPayload.accepted.payTo",
            json!("0x0000000000000000000000000000000000000001"),
        ),
        (
            "/paymentPayload/accepted/asset",
            "paymentPayload.accepted.asset",
            json!("0x0000000000000000000000000000000000000001"),
        ),
        ("/paymentPayload/accepted/scheme", "accepted.scheme", json!("barter")),
        ("/paymentPayload/accepted/network", "accepted.network", json!("eip155:1")),
        ("/paymentRequirements/extra/name", "paymentRequirements.extra.name", json!("Other Coin")),
        (
            "/paymentPayload/payload/authorization/validBefore",
            "payload.authorization.validBefore",
            json!("1"),
        ),
        (
            "/paymentPayload/payload/authorization/validAfter",
            "payload.authorization.validAfter",
            json!("99999999999"),
        ),
        ("/paymentPayload/payload/authorization/nonce", "payload.authorization.nonce", json!("0x1")),
    ];
    for path in ["/verify", "/settle"] {
        for (pointer, field, value) in cases {
            let mut body = honest.clone();
            *body.pointer_mut(pointer).unwrap() = value.clone();
            let (status, answer) = post(&market, path, body.to_string()).await;
            let (reason, message) = if path == "/verify" {
                (&answer["invalidReason"], &answer["invalidMessage"])
            } else {
                (&answer["errorReason"], &answer["errorMessage"])
            };
            assert_eq!(status, 200, "published sellers read verdicts only from 200");
            let names_the_field =
                message.as_str().is_some_and(|text| text.starts_with(&format!("{field}: ")));
            // At settlement a signature is judged before the clock: a changed window is a wrong signature there.
            let is_window = path == "/settle" && pointer.contains("valid");
            assert!(reason.is_string() && (names_the_field || is_window), "{path} {pointer}: {answer}");
        }
    }
    assert_eq!(market.rpc_calls.load(Ordering::SeqCst), calls);
    assert_eq!((market.engine.open_payments(), market.received().await), (0, 0));
}

#[tokio::test]
async fn an_authorization_may_not_outlive_what_is_remembered() {
    let market = Market::open().await;
    let in_two_days = tollway_core::SystemClock.now().plus_seconds(2 * 86_400);
    let wallet = tollway_buyer::Wallet::builder()
        .key(&market.buyer_key())
        .unwrap()
        .assets(crate::market::assets(31_337))
        .clock(std::sync::Arc::new(tollway_core::ManualClock::new(in_two_days)))
        .build()
        .unwrap();
    let body = signed_by(&market, &wallet).await;
    let (_, verdict) = post(&market, "/verify", body.to_string()).await;
    assert_eq!(verdict["invalidReason"], "invalid_exact_evm_payload_authorization_valid_before");
    let (_, settled) = post(&market, "/settle", body.to_string()).await;
    assert!(
        settled["errorMessage"].as_str().is_some_and(|text| text.contains("at most 86400 seconds")),
        "{settled}"
    );
    assert_eq!((market.engine.open_payments(), market.received().await), (0, 0));
}

#[tokio::test]
async fn a_payer_without_money_is_refused_after_one_rpc_call() {
    let market = Market::open().await;
    let poor = tollway_evm::LocalSigner::random().unwrap();
    let wallet = tollway_buyer::Wallet::builder()
        .signer(std::sync::Arc::new(poor))
        .assets(crate::market::assets(31_337))
        .build()
        .unwrap();
    let calls = market.rpc_calls.load(Ordering::SeqCst);
    let response = wallet.client().unwrap().get(market.url("/data")).send().await.unwrap();
    assert_eq!(response.status(), 402);
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(body["error"], "invalid_exact_evm_insufficient_balance", "{body}");
    assert_eq!((market.rpc_calls.load(Ordering::SeqCst) - calls, market.handled()), (1, 0));
}

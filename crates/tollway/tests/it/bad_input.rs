//! Bad input to the seller: a 4xx whose body names the field and the rule, nothing asked of the facilitator or
//! the node, nothing reserved, nothing lost.

use std::sync::atomic::Ordering;

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tollway_core::JsonObject;
use tollway_core::wire::{MAX_HEADER_BYTES, PAYMENT_REQUIRED, PAYMENT_SIGNATURE, X_PAYMENT, encode_header};

use crate::market::{Market, decoded};

/// The honest payment as JSON.
async fn payment(market: &Market) -> Value {
    let response = reqwest::get(market.url("/data")).await.unwrap();
    let required = decoded(&response.headers()[PAYMENT_REQUIRED]).to_string();
    let required = tollway_core::wire::decode_payment_required(required.as_bytes()).unwrap();
    let signed = market.wallet().pay(&required, &market.url("/data").parse().unwrap()).await.unwrap();
    decoded(&HeaderValue::from_str(signed.header.value()).unwrap())
}

fn header(payment: &Value) -> String {
    let object: JsonObject = payment.as_object().unwrap().clone();
    encode_header(&object)
}

fn raw(base64_of: &[u8]) -> String {
    use std::process::Command;
    // Any standard encoder does; this one is not ours.
    let mut child = Command::new("base64")
        .arg("-w0")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), base64_of).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

async fn present(market: &Market, headers: HeaderMap) -> (u16, Value) {
    let response = reqwest::Client::new().get(market.url("/data")).headers(headers).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

fn one(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(PAYMENT_SIGNATURE, HeaderValue::from_str(value).unwrap());
    headers
}

/// Presents `headers` and holds the answer against the rules of this file.
async fn refused(market: &Market, name: &str, headers: HeaderMap, statuses: &[u16], field: &str) {
    let calls = market.rpc_calls.load(Ordering::SeqCst);
    let (status, body) = present(market, headers).await;
    assert!(statuses.contains(&status), "{name}: {status} {body}");
    let named = body["field"].as_str().unwrap_or_default();
    assert!(named.contains(field), "{name}: names {named:?}, not {field:?}: {body}");
    assert!(body["rule"].as_str().is_some_and(|rule| rule.len() > 5), "{name}: {body}");
    assert!(body["error"].is_string(), "{name}: {body}");
    assert_eq!(market.rpc_calls.load(Ordering::SeqCst), calls, "{name}: reached the node");
    assert_eq!(market.paywall.reservation_count().await.unwrap(), 0, "{name}: reserved");
    assert_eq!(market.handled(), 0, "{name}: served");
}

#[tokio::test]
async fn malformed_headers_are_400_and_named() {
    let market = Market::open().await;
    let good = payment(&market).await;
    let cases = [
        ("not base64", "{\"x402Version\":2}".to_owned(), "PAYMENT-SIGNATURE"),
        ("not base64 either", "@@@@".to_owned(), "PAYMENT-SIGNATURE"),
        ("base64 of not JSON", raw(b"hello"), ""),
        ("base64 of nothing", String::new(), ""),
        ("base64 of an array", raw(b"[]"), ""),
        ("base64 of bytes", raw(&[0xff, 0xfe, 0x00]), ""),
        ("a key twice", raw(br#"{"x402Version":2,"x402Version":2}"#), ""),
        ("nested too deep", raw(format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200)).as_bytes()), ""),
        ("over the limit", "A".repeat(MAX_HEADER_BYTES + 4), "PAYMENT-SIGNATURE"),
        ("version 3", header(&with(&good, "/x402Version", json!(3))), "x402Version"),
        ("no version", header(&without(&good, "", "x402Version")), "x402Version"),
        ("no payload", header(&without(&good, "", "payload")), "payload"),
        ("payload is a string", header(&with(&good, "/payload", json!("x"))), "payload"),
        ("no accepted", header(&without(&good, "", "accepted")), "accepted"),
        ("accepted is a list", header(&with(&good, "/accepted", json!([]))), "accepted"),
        (
            "network is no CAIP-2",
            header(&with(&good, "/accepted/network", json!("base"))),
            "accepted.network",
        ),
    ];
    for (name, value, field) in cases {
        refused(&market, name, one(&value), &[400], field).await;
    }
    for wrong in ["1e3", " 1", "+1", "01", "-1", "", "0x10", "1.0", TWO_POW_256] {
        let value = header(&with(&good, "/accepted/amount", json!(wrong)));
        refused(&market, wrong, one(&value), &[400], "accepted.amount").await;
    }
    let (_, body) = present(&market, one(&"A".repeat(MAX_HEADER_BYTES + 4))).await;
    assert!(
        body["rule"].as_str().unwrap().contains(&MAX_HEADER_BYTES.to_string()),
        "the limit is told: {body}"
    );
}

const TWO_POW_256: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639936";

#[tokio::test]
async fn two_payment_headers_are_400() {
    let market = Market::open().await;
    let value = header(&payment(&market).await);
    let mut twice = one(&value);
    twice.append(PAYMENT_SIGNATURE, HeaderValue::from_str(&value).unwrap());
    refused(&market, "twice the same", twice, &[400], "PAYMENT-SIGNATURE").await;
    let mut both = one(&value);
    both.insert(X_PAYMENT, HeaderValue::from_str(&value).unwrap());
    refused(&market, "both versions", both, &[400], "").await;
    refused(&market, "merged by a proxy", one(&format!("{value}, {value}")), &[400], "PAYMENT-SIGNATURE")
        .await;
}

#[tokio::test]
async fn payments_that_do_not_fit_the_offer_are_402_and_name_what_differs() {
    let market = Market::open().await;
    let good = payment(&market).await;
    let other = "0x0000000000000000000000000000000000000001";
    let cases = [
        ("/accepted/scheme", json!("upto"), "scheme"),
        ("/accepted/network", json!("eip155:1"), "network"),
        ("/accepted/asset", json!(other), "asset"),
        ("/accepted/amount", json!("9999"), "amount"),
        ("/accepted/payTo", json!(other), "payTo"),
        ("/accepted/maxTimeoutSeconds", json!(1), "maxTimeoutSeconds"),
        ("/accepted/extra/name", json!("Other"), "extra"),
        ("/payload/authorization/to", json!(other), "authorization.to"),
        ("/payload/authorization/from", json!(other), "signature"),
        ("/payload/authorization/value", json!("9999"), "authorization.value"),
        ("/payload/authorization/value", json!("10001"), "authorization.value"),
        ("/payload/authorization/validBefore", json!("1"), "validBefore"),
        ("/payload/authorization/validAfter", json!("99999999999"), "validAfter"),
        ("/payload/authorization/nonce", json!(format!("0x{}", "0".repeat(64))), "signature"),
        ("/payload/signature", json!(format!("0x{}", "11".repeat(65))), "signature"),
        ("/payload/signature", json!(format!("0x{}", "11".repeat(64))), "signature"),
        ("/payload/signature", json!("0xzz"), "signature"),
    ];
    for (pointer, value, field) in cases {
        let changed = header(&with(&good, pointer, value));
        refused(&market, pointer, one(&changed), &[400, 402], field).await;
    }
    for wrong in ["1e3", " 1", "+1", "01", "-1", TWO_POW_256] {
        let changed = header(&with(&good, "/payload/authorization/value", json!(wrong)));
        refused(&market, wrong, one(&changed), &[400, 402], "authorization.value").await;
    }
    let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 3;
    let changed = header(&with(&good, "/payload/authorization/validBefore", json!(soon.to_string())));
    refused(&market, "too little validity left", one(&changed), &[402], "validBefore").await;
    refused(&market, "high s", one(&header(&high_s(&good))), &[402], "signature").await;
    // Nothing was lost: the honest payment still buys.
    let (status, _) = present(&market, one(&header(&good))).await;
    assert_eq!((status, market.handled(), market.received().await), (200, 1, 10_000));
}

/// The malleable twin of a signature: the same authorization in another spelling.
fn high_s(payment: &Value) -> Value {
    use tollway_evm::U256;
    let order: U256 = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141".parse().unwrap();
    let signature = payment["payload"]["signature"].as_str().unwrap();
    let s: U256 = format!("0x{}", &signature[66..130]).parse().unwrap();
    let v = if signature.ends_with("1b") { "1c" } else { "1b" };
    with(payment, "/payload/signature", json!(format!("{}{:064x}{v}", &signature[..66], order - s)))
}

fn with(payment: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = payment.clone();
    *changed.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
    changed
}

fn without(payment: &Value, pointer: &str, key: &str) -> Value {
    let mut changed = payment.clone();
    changed.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    changed
}

//! Bad input: a 4xx that names the field and the rule, before the facilitator is asked or anything reserved.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use tollway_core::model::{Accepted, PaymentPayload, PaymentRequirements, ResourceInfo, X402Version};
use tollway_core::{Amount, SchemeName, wire};

use crate::doubles::{Buyer, ScriptedFacilitator, Shop, Signed, explained, paywall, serve};

async fn refused(shop: &Shop, signed: &Signed, expected: (u16, &str, &str)) {
    let response = shop.present(signed).await;
    let has_offers = response.headers().contains_key("payment-required");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let (status, code, field, rule) = explained(response).await;
    assert_eq!((status, code.as_str(), field.as_str()), expected, "{rule}");
    assert!(!rule.is_empty());
    assert_eq!(has_offers, status == 402);
    assert_eq!(shop.facilitator.calls(), (0, 0));
    assert_eq!(shop.paywall.reservation_count().await.unwrap(), 0);
    assert_eq!(shop.runs(), 0);
}

fn raw(value: impl Into<String>) -> Vec<(&'static str, String)> {
    vec![("payment-signature", value.into())]
}

#[tokio::test]
async fn a_malformed_payment_header_is_400() {
    let shop = Shop::open().await;
    let good = shop.sign().await;
    let encoded = |json: Value| wire::encode_header(json.as_object().unwrap());
    for (headers, field) in [
        (raw(""), "payment"),
        (raw("{}"), "PAYMENT-SIGNATURE"),
        (raw("####"), "PAYMENT-SIGNATURE"),
        (raw(format!("{0}, {0}", good.value)), "PAYMENT-SIGNATURE"),
        (raw("A".repeat(17 * 1024)), "PAYMENT-SIGNATURE"),
        (raw(encoded(json!({}))), "x402Version"),
        (raw(encoded(json!({"x402Version": 3}))), "x402Version"),
        (raw(encoded(json!({"x402Version": 2}))), "payload"),
        (raw(encoded(json!({"x402Version": 2, "payload": {}}))), "accepted"),
        ([raw(good.value.clone()), raw(good.value.clone())].concat(), "PAYMENT-SIGNATURE"),
        ([raw(good.value.clone()), vec![("x-payment", good.value.clone())]].concat(), "PAYMENT-SIGNATURE"),
    ] {
        let mut request = shop.buyer.http.get(&shop.url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let (status, code, named, rule) = explained(request.send().await.unwrap()).await;
        assert_eq!((status, named.as_str()), (400, field), "{code}: {rule}");
        assert!(!code.is_empty() && !rule.is_empty());
    }
    assert_eq!(shop.facilitator.calls(), (0, 0));
    assert_eq!((shop.paywall.reservation_count().await.unwrap(), shop.runs()), (0, 0));
}

#[tokio::test]
async fn a_header_over_its_limit_names_the_limit() {
    let shop = Shop::open().await;
    let request = shop.buyer.http.get(&shop.url).header("payment-signature", "A".repeat(17_000));
    assert!(explained(request.send().await.unwrap()).await.3.contains("16384"));
}

fn change(signed: &Signed, change: impl FnOnce(&mut PaymentRequirements)) -> Signed {
    let mut payment = signed.payment.clone();
    let Accepted::Offer(offer) = &mut payment.accepted else { panic!("not v2") };
    change(offer);
    Signed::of(payment)
}

#[tokio::test]
async fn a_payment_for_other_terms_names_the_field_that_differs() {
    let shop = Shop::open().await;
    let good = shop.sign().await;
    type Change = Box<dyn FnOnce(&mut PaymentRequirements)>;
    let changes: Vec<(Change, &str, &str)> = vec![
        (Box::new(|o| o.scheme = SchemeName::new("upto")), "invalid_scheme", "accepted.scheme"),
        (Box::new(|o| o.network = "eip155:1".parse().unwrap()), "invalid_network", "accepted.network"),
        (Box::new(|o| o.asset = "0xA".into()), "invalid_payment_requirements", "accepted.asset"),
        (Box::new(|o| o.amount = Amount::from(1)), "invalid_payment_requirements", "accepted.amount"),
        (Box::new(|o| o.pay_to = "0xA".into()), "invalid_payment_requirements", "accepted.payTo"),
        (
            Box::new(|o| o.max_timeout_seconds = 9),
            "invalid_payment_requirements",
            "accepted.maxTimeoutSeconds",
        ),
        (Box::new(|o| o.extra.clear()), "invalid_payment_requirements", "accepted.extra"),
    ];
    for (edit, code, field) in changes {
        refused(&shop, &change(&good, edit), (402, code, field)).await;
    }
}

#[tokio::test]
async fn letter_case_of_addresses_and_more_extra_make_no_other_offer() {
    let shop = Shop::open().await;
    let good = shop.sign().await;
    let same = change(&good, |offer| {
        offer.pay_to = offer.pay_to.to_lowercase();
        offer.asset = offer.asset.to_lowercase();
        offer.extra.insert("theirs".into(), json!(1));
    });
    assert_eq!(shop.present(&same).await.status(), 200);
}

#[tokio::test]
async fn a_payment_flow_that_was_not_offered_is_refused() {
    let shop = Shop::open().await;
    let good = shop.sign().await;
    for flow in [json!("upfront"), json!("escrow"), json!("barter"), json!(1)] {
        let changed = change(&good, |offer| drop(offer.extra.insert("paymentFlow".into(), flow)));
        refused(&shop, &changed, (402, "invalid_payment_requirements", "accepted.extra")).await;
        assert!(explained(shop.present(&changed).await).await.3.contains("which is authorization"));
    }
    let spelt = change(&good, |offer| drop(offer.extra.insert("paymentFlow".into(), json!("authorization"))));
    assert_eq!(shop.present(&spelt).await.status(), 200, "the default, spelt out");

    let upfront = Shop::open_with(ScriptedFacilitator::default(), |priced| priced.upfront()).await;
    let good = upfront.sign().await;
    let changed = change(&good, |offer| drop(offer.extra.remove("paymentFlow")));
    refused(&upfront, &changed, (402, "invalid_payment_requirements", "accepted.extra")).await;
    assert_eq!(upfront.present(&good).await.status(), 200);
}

fn naming(signed: &Signed, resource: Option<&str>) -> Signed {
    let mut payment = signed.payment.clone();
    payment.resource = resource.map(ResourceInfo::new);
    Signed::of(payment)
}

#[tokio::test]
async fn a_payment_for_another_resource_is_refused() {
    let shop = Shop::open().await;
    let good = shop.sign().await;
    for other in [
        "https://api.example.com/other",
        "https://api.example.com/data?x=1",
        "http://api.example.com/data",
        "https://evil.example/data",
        "/data",
        "no URL",
        "",
    ] {
        let expected = (402, "invalid_payment_requirements", "resource.url");
        refused(&shop, &naming(&good, Some(other)), expected).await;
    }
    assert_eq!(shop.present(&good).await.status(), 200, "the control is served");
}

#[tokio::test]
async fn a_payment_may_name_its_resource_in_other_words_or_not_at_all() {
    let shop = Shop::open().await;
    for same in [Some("HTTPS://API.example.com:443/./d%61ta#top"), None] {
        assert_eq!(shop.present(&naming(&shop.sign().await, same)).await.status(), 200, "{same:?}");
    }
}

#[tokio::test]
async fn the_resource_url_of_a_price_is_announced_and_held_against_payments() {
    let named = "https://example.com/weather";
    let shop = Shop::open_with(ScriptedFacilitator::default(), |priced| priced.resource_url(named)).await;
    for version in [X402Version::V2, X402Version::V1] {
        let signed = shop.buyer.sign(&shop.url, version).await;
        assert_eq!(shop.present(&signed).await.status(), 200);
        let asked = shop.facilitator.last_settle.lock().unwrap().clone().unwrap();
        assert_eq!(asked.payment.resource.unwrap().url, named, "{version:?}");
        let offers = shop.paywall.price("$0.01").unwrap().resource_url(named).offers().unwrap();
        let required = offers.payment_required(version, "https://api.example.com/data", None);
        assert_eq!(required.resource.unwrap().url, named, "{version:?}");
    }
    let own = naming(&shop.sign().await, Some("https://api.example.com/data"));
    let (status, _, field, _) = explained(shop.present(&own).await).await;
    assert_eq!((status, field.as_str()), (402, "resource.url"));
}

#[tokio::test]
async fn a_url_that_fits_no_402_is_414_before_anything_is_priced() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = paywall(&facilitator).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let dynamic = paywall.dynamic(move |_: &axum::http::request::Parts| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok(None) }
    });
    let app = Router::new()
        .route("/data", get(|| async { "x" }).layer(paywall.price("$0.01").unwrap()))
        .route("/free", get(|| async { "x" }).layer(dynamic));
    let origin = serve(app).await;
    let buyer = Buyer::new();
    let signed = buyer.sign(&format!("{origin}/data"), X402Version::V2).await;
    // The URL that is announced counts: the public one.
    let query =
        |path: &str, bytes: usize| "x".repeat(bytes - "https://api.example.com".len() - path.len() - 1);
    for path in ["/data", "/free"] {
        let long = format!("{origin}{path}?{}", query(path, 4097));
        for request in [buyer.http.get(&long), buyer.http.get(&long).header(signed.name, &signed.value)] {
            let response = request.send().await.unwrap();
            assert!(!response.headers().contains_key("payment-required"));
            let (status, code, field, rule) = explained(response).await;
            assert_eq!((status, code.as_str(), field.as_str()), (414, "url_too_long", "url"));
            assert!(rule.contains("4096"), "{rule}");
        }
    }
    assert_eq!((asked.load(Ordering::SeqCst), facilitator.calls()), (0, (0, 0)));
    assert_eq!(paywall.reservation_count().await.unwrap(), 0);
    let fits = format!("{origin}/data?{}", query("/data", 4096));
    let signed = buyer.sign(&fits, X402Version::V2).await;
    assert_eq!(buyer.get(&fits, &signed).await.status(), 200, "the longest is paid and served");
}

fn edit(signed: &Signed, field: &str, value: Value) -> Signed {
    let mut payment: PaymentPayload = signed.payment.clone();
    payment.payload["authorization"][field] = value;
    Signed::of(payment)
}

#[tokio::test]
async fn a_payment_that_breaks_a_rule_names_field_and_rule() {
    let shop = Shop::open().await;
    let good = shop.sign().await;
    let past = crate::doubles::now().0 - 1;
    let evm = "payload.authorization";
    for (field, value, status, code) in [
        ("value", json!("9999"), 402, "invalid_exact_evm_payload_authorization_value_mismatch"),
        ("value", json!("10001"), 402, "invalid_exact_evm_payload_authorization_value_mismatch"),
        ("value", json!("1e4"), 400, "invalid_payload"),
        ("value", json!(10000), 400, "invalid_payload"),
        (
            "to",
            json!("0x0000000000000000000000000000000000000001"),
            402,
            "invalid_exact_evm_recipient_mismatch",
        ),
        ("validBefore", json!(past.to_string()), 402, "invalid_exact_evm_payload_authorization_valid_before"),
        ("validAfter", json!("99999999999"), 402, "invalid_exact_evm_payload_authorization_valid_after"),
        ("nonce", json!("0x01"), 400, "invalid_payload"),
        ("from", json!("not an address"), 400, "invalid_payload"),
    ] {
        refused(&shop, &edit(&good, field, value), (status, code, &format!("{evm}.{field}"))).await;
    }
    let other_nonce = json!(format!("0x{}", "11".repeat(32)));
    let expected = (402, "invalid_exact_evm_signature", "payload.signature");
    refused(&shop, &edit(&good, "nonce", other_nonce), expected).await;
}

#[tokio::test]
async fn v1_payments_name_scheme_and_network_of_an_offer() {
    let shop = Shop::open().await;
    let good = shop.buyer.sign(&shop.url, X402Version::V1).await;
    let kind = |scheme: &str, network: &str| {
        let mut payment = good.payment.clone();
        let (scheme, network) = (SchemeName::new(scheme), network.parse().unwrap());
        payment.accepted = Accepted::Kind { scheme, network };
        Signed::of(payment)
    };
    refused(&shop, &kind("upto", "eip155:8453"), (402, "invalid_scheme", "scheme")).await;
    refused(&shop, &kind("exact", "eip155:84532"), (402, "invalid_network", "network")).await;
}

#[tokio::test]
async fn an_extension_must_be_echoed_as_declared() {
    let declared = json!({"info": {"a": {"b": 1}}, "schema": {}});
    let shop = Shop::open_with(ScriptedFacilitator::default(), |priced| {
        priced.extension("e", declared.as_object().unwrap().clone())
    })
    .await;
    let good = shop.sign().await;
    assert_eq!(good.payment.extensions["e"]["info"]["a"]["b"], 1);
    let mut payment = good.payment.clone();
    payment.extensions["e"]["info"]["a"]["b"] = json!(2);
    let expected = (402, "extension_echo_mismatch", "extensions.e.info");
    refused(&shop, &Signed::of(payment.clone()), expected).await;
    payment.extensions.clear();
    payment.extensions.insert("undeclared".into(), json!({}));
    assert_eq!(shop.present(&Signed::of(payment)).await.status(), 200);
}

#[tokio::test]
async fn a_body_over_its_limit_is_413_and_names_the_limit() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = crate::doubles::builder(&facilitator).max_body_bytes(100).start().await.unwrap();
    let echo = get(|| async { "x" }).post(|body: String| async move { body });
    let app = Router::new().route("/data", echo.layer(paywall.price("$0.01").unwrap()));
    let url = format!("{}/data", serve(app).await);
    let buyer = Buyer::new();
    let signed = buyer.sign(&url, X402Version::V2).await;
    let post = |bytes: usize| {
        buyer.http.post(&url).header(signed.name, &signed.value).body("x".repeat(bytes)).send()
    };
    let (status, _, field, rule) = explained(post(101).await.unwrap()).await;
    assert_eq!((status, field.as_str()), (413, "body"));
    assert!(rule.contains("100 bytes"));
    assert_eq!((facilitator.calls(), paywall.reservation_count().await.unwrap()), ((0, 0), 0));
    let forged = wire::encode_header(json!({"x402Version": 3}).as_object().unwrap());
    let body = reqwest::Body::from("x".repeat(101));
    let request = buyer.http.post(&url).header("payment-signature", forged).body(body);
    assert_eq!(request.send().await.unwrap().status(), 400, "a bad payment is refused before the body");
    assert_eq!(post(100).await.unwrap().text().await.unwrap().len(), 100, "the body is handed on");
}

#[tokio::test]
async fn the_handler_learns_who_paid_and_never_sees_the_authorization() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = paywall(&facilitator).await;
    let handler = |payment: axum::Extension<tollway_seller::Payment>, headers: axum::http::HeaderMap| async move {
        assert!(!headers.contains_key("payment-signature"));
        format!("{} {}", payment.payer, payment.amount)
    };
    let app = Router::new().route("/data", get(handler).layer(paywall.price("$0.01").unwrap()));
    let url = format!("{}/data", serve(app).await);
    let buyer = Buyer::new();
    let signed = buyer.sign(&url, X402Version::V2).await;
    let payer = signed.payment.payload["authorization"]["from"].as_str().unwrap().to_lowercase();
    let text = buyer.get(&url, &signed).await.text().await.unwrap();
    assert_eq!(text.to_lowercase(), format!("{payer} 10000"));
}

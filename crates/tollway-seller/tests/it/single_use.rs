//! One authorization, one request, one grant.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use futures_util::future::join_all;
use serde_json::json;
use tollway_core::model::X402Version;
use tollway_core::{Amount, Price};

use crate::doubles::{BASE, Buyer, ScriptedFacilitator, Shop, Signed, explained, paywall, serve};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_presentations_of_one_payment_run_the_handler_once() {
    let shop = Shop::open().await;
    let signed = shop.sign().await;
    let answers = join_all((0..50).map(|_| shop.present(&signed))).await;
    assert_eq!(shop.runs(), 1);
    assert_eq!(shop.facilitator.calls(), (1, 1));
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    for answer in answers.into_iter().filter(|answer| answer.status() != 200) {
        if answer.status() == 409 {
            assert_eq!(answer.headers()["retry-after"], "1");
            assert_eq!(explained(answer).await.1, "payment_in_progress");
        } else {
            assert_eq!(explained(answer).await.0, 402);
        }
    }
}

#[tokio::test]
async fn a_used_payment_is_refused_by_name_with_its_transaction() {
    let shop = Shop::open().await;
    let signed = shop.sign().await;
    assert_eq!(shop.present(&signed).await.status(), 200);
    let again = shop.present(&signed).await;
    assert!(again.headers().contains_key("payment-required"));
    let body: serde_json::Value = serde_json::from_slice(&again.bytes().await.unwrap()).unwrap();
    assert_eq!(body["error"], "invalid_exact_evm_nonce_already_used");
    assert_eq!(body["field"], "payload.authorization.nonce");
    assert_eq!(body["transaction"], format!("0x{:064x}", 0));
    assert_eq!(shop.runs(), 1);
}

#[tokio::test]
async fn no_answer_to_a_used_payment_invites_to_pay_twice() {
    let shop = Shop::open().await;
    let signed = shop.sign().await;
    assert_eq!(shop.present(&signed).await.status(), 200);
    let again = explained(shop.present(&signed).await).await.3;
    assert_eq!(again, format!("has bought this request already, in transaction 0x{:064x}", 0));
    let other = shop.buyer.http.post(&shop.url).header(signed.name, &signed.value).send().await.unwrap();
    let other = explained(other).await.3;
    assert!(other.contains("another request"), "{other}");
    for rule in [again, other] {
        assert!(!rule.contains("sign") && !rule.contains("new"), "{rule}");
    }
}

#[tokio::test]
async fn another_spelling_of_the_same_authorization_is_the_same() {
    let shop = Shop::open().await;
    let signed = shop.sign().await;
    assert_eq!(shop.present(&signed).await.status(), 200);
    let mut twin = signed.payment.clone();
    let nonce = &mut twin.payload["authorization"]["nonce"];
    *nonce = format!("0x{}", nonce.as_str().unwrap()[2..].to_uppercase()).into();
    let (status, code, ..) = explained(shop.present(&Signed::of(twin)).await).await;
    assert_eq!((status, code.as_str()), (402, "invalid_exact_evm_nonce_already_used"));
    assert_eq!(shop.runs(), 1);
}

#[tokio::test]
async fn a_permit_for_one_resource_buys_no_other() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = paywall(&facilitator).await;
    let priced = || {
        let extra = json!({ "assetTransferMethod": "permit2", "name": "Dollar", "version": "1" });
        let asset = "0x0Ee4000000000000000000000000000000000003".to_owned();
        let extra = extra.as_object().cloned().unwrap();
        paywall.price_on(BASE, Price::Asset { amount: Amount::from(10_000), asset, extra }).unwrap()
    };
    let a = get(|| async { "a" }).layer(priced());
    let b = get(|| async { "b" }).layer(priced());
    let origin = serve(Router::new().route("/a", a).route("/b", b)).await;
    let buyer = Buyer::new();
    for _ in 0..20 {
        let signed = buyer.sign(&format!("{origin}/a"), X402Version::V2).await;
        assert!(signed.payment.payload.contains_key("permit2Authorization"));
        let mut silent = signed.payment.clone();
        silent.resource = None;
        assert_eq!(buyer.get(&format!("{origin}/a"), &signed).await.status(), 200, "the control");
        for payment in [&signed, &Signed::of(silent)] {
            assert_eq!(buyer.get(&format!("{origin}/b"), payment).await.status(), 402);
        }
    }
    assert_eq!(facilitator.calls().1, 20, "each settled once, for its own resource");
}

#[tokio::test]
async fn a_payment_for_one_resource_buys_no_other() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = paywall(&facilitator).await;
    let runs_of_b = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs_of_b);
    let a = get(|| async { "a" }).post(|| async { "posted" }).layer(paywall.price("$0.01").unwrap());
    let b = get(move || async move {
        counted.fetch_add(1, Ordering::SeqCst);
        "b"
    });
    let app = Router::new().route("/a", a).route("/b", b.layer(paywall.price("$0.01").unwrap()));
    let origin = serve(app).await;
    let buyer = Buyer::new();
    let (url_a, url_b) = (format!("{origin}/a"), format!("{origin}/b"));
    for _ in 0..20 {
        let signed = buyer.sign(&url_a, X402Version::V2).await;
        assert_eq!(buyer.get(&url_a, &signed).await.status(), 200, "the control is accepted");
        for other in [url_b.clone(), format!("{url_a}?x=1")] {
            let (status, _, field, rule) = explained(buyer.get(&other, &signed).await).await;
            assert_eq!((status, field.as_str()), (402, "resource.url"));
            assert!(rule.contains("as the 402 has it"), "{rule}");
            // Nobody signs the resource: without it, the reservation still knows.
            let mut silent = signed.payment.clone();
            silent.resource = None;
            let (status, _, field, rule) = explained(buyer.get(&other, &Signed::of(silent)).await).await;
            assert_eq!((status, field.as_str()), (402, "payload.authorization.nonce"));
            assert!(rule.contains("another request"), "{rule}");
        }
        let post = buyer.http.post(&url_a).header(signed.name, &signed.value).send().await.unwrap();
        assert_eq!(post.status(), 402, "another method is another request");
    }
    assert_eq!(runs_of_b.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_payment_is_bound_to_the_body() {
    let shop = Shop::open().await;
    let signed = shop.sign().await;
    let post = |body: &'static str| {
        shop.buyer.http.post(&shop.url).header(signed.name, &signed.value).body(body).send()
    };
    assert_eq!(post("one").await.unwrap().status(), 200);
    assert!(explained(post("one").await.unwrap()).await.3.contains("this request already"));
    assert!(explained(post("two").await.unwrap()).await.3.contains("another request"));
}

#[tokio::test]
async fn a_handler_that_fails_is_not_charged_and_the_payment_stays_good() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = paywall(&facilitator).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let handler = get(move || async move {
        match counted.fetch_add(1, Ordering::SeqCst) {
            0 => (StatusCode::INTERNAL_SERVER_ERROR, "sorry"),
            1 => (StatusCode::NOT_FOUND, "not yet"),
            2 => panic!("the handler panics"),
            _ => (StatusCode::OK, "content"),
        }
    });
    let app = Router::new().route("/data", handler.layer(paywall.price("$0.01").unwrap()));
    let url = format!("{}/data", serve(app).await);
    let buyer = Buyer::new();
    let signed = buyer.sign(&url, X402Version::V2).await;
    for status in [500, 404] {
        let response = buyer.get(&url, &signed).await;
        assert_eq!(response.status().as_u16(), status);
        assert!(!response.headers().contains_key("payment-response"));
        assert_eq!(paywall.reservation_count().await.unwrap(), 0);
    }
    let panicked = buyer.http.get(&url).header(signed.name, &signed.value).send().await;
    assert!(panicked.is_err(), "the connection broke");
    assert_eq!(facilitator.calls(), (3, 0));
    assert_eq!(paywall.reservation_count().await.unwrap(), 0);
    assert_eq!(buyer.get(&url, &signed).await.text().await.unwrap(), "content");
    assert_eq!(facilitator.calls(), (4, 1));
}

#[tokio::test]
async fn a_buyer_who_hangs_up_before_settlement_is_not_charged() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = paywall(&facilitator).await;
    let slow = get(|| async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        "late"
    });
    let app = Router::new().route("/data", slow.layer(paywall.price("$0.01").unwrap()));
    let url = format!("{}/data", serve(app).await);
    let buyer = Buyer::new();
    let signed = buyer.sign(&url, X402Version::V2).await;
    let request = buyer.http.get(&url).header(signed.name, &signed.value);
    assert!(request.timeout(Duration::from_millis(150)).send().await.is_err());
    for _ in 0..50 {
        if paywall.reservation_count().await.unwrap() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(paywall.reservation_count().await.unwrap(), 0, "the reservation is free again");
    assert_eq!(facilitator.calls(), (1, 0));
}

#[tokio::test]
async fn a_buyer_who_hangs_up_during_settlement_keeps_what_was_bought() {
    let shop = Shop::open().await;
    let signed = shop.sign().await;
    let gate = shop.facilitator.settle_gate.acquire_many(1000).await.unwrap();
    let request = shop.buyer.http.get(&shop.url).header(signed.name, &signed.value);
    assert!(request.timeout(Duration::from_millis(300)).send().await.is_err());
    assert_eq!(shop.facilitator.calls(), (1, 1));
    assert_eq!(shop.paywall.reservation_count().await.unwrap(), 1, "its fate is unknown: it is held");
    assert_eq!(explained(shop.present(&signed).await).await.0, 409);
    drop(gate);
    // The settlement goes on without the buyer; presented again, it is asked about first, then served.
    let mut last = shop.present(&signed).await;
    for _ in 0..50 {
        if last.status() != 409 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        last = shop.present(&signed).await;
    }
    assert_eq!(last.status(), 200);
    assert_eq!(last.text().await.unwrap(), "paid content");
    assert_eq!(shop.facilitator.calls(), (1, 2));
    assert_eq!(explained(shop.present(&signed).await).await.0, 402);
}

#[tokio::test]
async fn a_full_table_denies_with_503() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = crate::doubles::builder(&facilitator).max_reservations(1).start().await.unwrap();
    let app = Router::new().route("/data", get(|| async { "x" }).layer(paywall.price("$0.01").unwrap()));
    let url = format!("{}/data", serve(app).await);
    let buyer = Buyer::new();
    let first = buyer.sign(&url, X402Version::V2).await;
    assert_eq!(buyer.get(&url, &first).await.status(), 200);
    let second = buyer.sign(&url, X402Version::V2).await;
    let (status, code, ..) = explained(buyer.get(&url, &second).await).await;
    assert_eq!((status, code.as_str()), (503, "paywall_full"));
    assert_eq!(facilitator.calls(), (1, 1));
}

#[tokio::test]
async fn more_verifies_than_allowed_are_turned_away_with_503() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = crate::doubles::builder(&facilitator).max_verifies(1).start().await.unwrap();
    let app = Router::new().route("/data", get(|| async { "x" }).layer(paywall.price("$0.01").unwrap()));
    let url = format!("{}/data", serve(app).await);
    let buyer = Buyer::new();
    let (first, second) = (buyer.sign(&url, X402Version::V2).await, buyer.sign(&url, X402Version::V2).await);
    let gate = facilitator.verify_gate.acquire_many(1000).await.unwrap();
    let turned_away = async {
        while facilitator.calls().0 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (status, code, ..) = explained(buyer.get(&url, &second).await).await;
        assert_eq!((status, code.as_str()), (503, "facilitator_unavailable"));
        assert_eq!((facilitator.calls(), paywall.reservation_count().await.unwrap()), ((1, 0), 1));
        drop(gate);
    };
    let (first, ()) = futures_util::future::join(buyer.get(&url, &first), turned_away).await;
    assert_eq!(first.status(), 200);
    assert_eq!(buyer.get(&url, &second).await.status(), 200, "it stayed good");
}

#[tokio::test]
async fn one_authorization_is_one_payment_in_both_versions() {
    let shop = Shop::open().await;
    let signed = shop.sign().await;
    assert_eq!(shop.present(&signed).await.status(), 200);
    let mut other = signed.payment.clone();
    other.version = X402Version::V1;
    assert_eq!(shop.present(&Signed::of(other)).await.status(), 402);
    assert_eq!(shop.runs(), 1);
}

#[tokio::test]
async fn the_machine_works_without_http() {
    use tollway_core::model::PaymentRequired;
    use tollway_core::{BuyerScheme, Fingerprint};
    use tollway_seller::{Charge, Denial};
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = paywall(&facilitator).await;
    let offers = paywall.price("$0.01").unwrap().offers().unwrap();
    let url = "https://api.example.com/tools/weather";
    let required: PaymentRequired = offers.payment_required(X402Version::V2, url, None);
    let buyer = Buyer::new();
    let now = crate::doubles::now();
    let payment = buyer.scheme.sign(&required, &required.accepts[0], now).await.unwrap();
    let fingerprint = Fingerprint::of("tools/call", &url.parse().unwrap(), b"{}");
    let admit = async || {
        let checked = paywall.check(&offers, payment.clone(), url)?;
        paywall.admit(checked, fingerprint).await
    };
    let ticket = admit().await.unwrap();
    assert!(matches!(admit().await, Err(Denial::InProgress)));
    drop(ticket);
    let ticket = admit().await.unwrap();
    assert!(ticket.settle(Charge::Full).await.unwrap().settlement.unwrap().success);
    assert!(matches!(admit().await, Err(Denial::AlreadyUsed { .. })));
}

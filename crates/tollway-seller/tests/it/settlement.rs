//! Outcomes of settling, outages and lies: nothing is served unpaid, unknown is never told as failed, and no
//! outage is answered with a fresh 402.

use tollway_core::model::{SettleResponse, VerifyResponse, X402Version};
use tollway_core::{ErrorCode, FacilitatorError};

use crate::doubles::{ScriptedFacilitator, Shop, base, explained, pending, settlement};

fn failed() -> SettleResponse {
    SettleResponse::failed(base(), Some(ErrorCode::INSUFFICIENT_FUNDS), "the balance is too low")
}

#[tokio::test]
async fn a_pending_settlement_is_asked_about_once_more_and_then_served() {
    let shop = Shop::open().await;
    let signed = shop.sign().await;
    shop.facilitator.then_settle(Ok(pending("0xaa")));
    assert_eq!(shop.present(&signed).await.status(), 200);
    assert_eq!(shop.facilitator.calls(), (1, 2));
}

#[tokio::test]
async fn a_settlement_that_stays_pending_is_503_with_its_transaction_and_held() {
    let shop = Shop::open().await;
    let signed = shop.sign().await;
    shop.facilitator.then_settle(Ok(pending("0xaa")));
    shop.facilitator.then_settle(Ok(pending("0xaa")));
    let response = shop.present(&signed).await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert!(!response.headers().contains_key("payment-required"));
    let told = settlement(&response).unwrap();
    assert_eq!(told.error_reason, Some(ErrorCode::SETTLEMENT_PENDING));
    assert_eq!(told.transaction, "0xaa");
    assert_eq!(shop.paywall.reservation_count().await.unwrap(), 1);
    // Presented again: settle is asked first, then the handler runs, then it is used.
    assert_eq!(shop.present(&signed).await.status(), 200);
    assert_eq!(shop.facilitator.calls(), (1, 3));
    assert_eq!(shop.runs(), 2);
    assert_eq!(shop.present(&signed).await.status(), 402);
}

#[tokio::test]
async fn a_failed_settlement_is_402_without_the_content() {
    for version in [X402Version::V2, X402Version::V1] {
        let shop = Shop::open().await;
        let signed = shop.buyer.sign(&shop.url, version).await;
        shop.facilitator.then_settle(Ok(failed()));
        let response = shop.present(&signed).await;
        let told = settlement(&response).unwrap();
        assert!(!told.success && told.transaction.is_empty());
        let (status, code, field, rule) = explained(response).await;
        assert_eq!((status, code.as_str(), field.as_str()), (402, "insufficient_funds", "payload"));
        assert_eq!(rule, "the balance is too low");
    }
}

#[tokio::test]
async fn after_a_failed_settlement_the_payment_must_settle_before_the_handler_runs() {
    let shop = Shop::open().await;
    let signed = shop.sign().await;
    shop.facilitator.then_settle(Ok(failed()));
    assert_eq!(shop.present(&signed).await.status(), 402);
    assert_eq!(shop.runs(), 1);
    shop.facilitator.then_settle(Ok(failed()));
    assert_eq!(shop.present(&signed).await.status(), 402);
    assert_eq!(shop.runs(), 1, "no second run unpaid");
    assert_eq!(shop.present(&signed).await.status(), 200);
    assert_eq!(shop.runs(), 2);
    assert_eq!(shop.facilitator.calls(), (1, 3));
}

#[tokio::test]
async fn a_refusal_by_the_facilitator_is_402_with_its_reason() {
    let shop = Shop::open().await;
    for (code, status) in [(ErrorCode::INSUFFICIENT_FUNDS, 402), (ErrorCode::PERMIT2_ALLOWANCE_REQUIRED, 412)]
    {
        let signed = shop.sign().await;
        let invalid_reason = Some(code.clone());
        shop.facilitator.then_verify(Ok(VerifyResponse { invalid_reason, ..VerifyResponse::default() }));
        let (got, reason, field, _) = explained(shop.present(&signed).await).await;
        assert_eq!((got, reason.as_str(), field.as_str()), (status, code.as_str(), "payload"));
        assert_eq!((shop.paywall.reservation_count().await.unwrap(), shop.runs()), (0, 0));
    }
}

#[tokio::test]
async fn a_refusal_that_names_a_field_is_told_with_that_field() {
    let shop = Shop::open().await;
    let signed = shop.sign().await;
    let message = "payload.authorization.value: must be covered: by the balance";
    let refusal = VerifyResponse {
        invalid_reason: Some(ErrorCode::INSUFFICIENT_FUNDS),
        invalid_message: Some(message.to_owned()),
        ..VerifyResponse::default()
    };
    shop.facilitator.then_verify(Ok(refusal));
    let expected = (402, "payload.authorization.value", "must be covered: by the balance");
    let (status, _, field, rule) = explained(shop.present(&signed).await).await;
    assert_eq!((status, field.as_str(), rule.as_str()), expected);
    shop.facilitator.then_settle(Ok(SettleResponse::failed(base(), None, message)));
    let (status, _, field, rule) = explained(shop.present(&signed).await).await;
    assert_eq!((status, field.as_str(), rule.as_str()), expected);
}

#[tokio::test]
async fn an_outage_at_verify_is_5xx_and_holds_nothing() {
    let shop = Shop::open().await;
    let signed = shop.sign().await;
    for (error, status) in [
        (FacilitatorError::Unreachable("refused".into()), 503),
        (FacilitatorError::NoAnswer("cut".into()), 503),
        (FacilitatorError::Busy("429".into()), 503),
        (FacilitatorError::BadAnswer { status: 200, detail: "<html>".into() }, 502),
        (FacilitatorError::Refused { code: ErrorCode::INVALID_PAYLOAD, detail: "x".into() }, 502),
    ] {
        shop.facilitator.then_verify(Err(error));
        let response = shop.present(&signed).await;
        assert_eq!(response.status().as_u16(), status);
        assert!(response.headers().contains_key("retry-after"));
        assert!(!response.headers().contains_key("payment-required"), "no fresh 402 on an outage");
        assert_eq!((shop.paywall.reservation_count().await.unwrap(), shop.runs()), (0, 0));
    }
    assert_eq!(shop.present(&signed).await.status(), 200, "the same payment is good when it is over");
}

#[tokio::test]
async fn an_outage_at_settle_is_5xx_and_holds_what_may_have_been_sent() {
    for (error, status, held) in [
        (FacilitatorError::Unreachable("refused".into()), 503, 0),
        (FacilitatorError::NoAnswer("cut".into()), 503, 1),
        (FacilitatorError::Busy("503".into()), 503, 1),
        (FacilitatorError::BadAnswer { status: 200, detail: "<html>".into() }, 502, 1),
    ] {
        let shop = Shop::open().await;
        let signed = shop.sign().await;
        shop.facilitator.then_settle(Err(error.clone()));
        let response = shop.present(&signed).await;
        assert_eq!(response.status().as_u16(), status, "{error}");
        assert!(!response.headers().contains_key("payment-required"));
        assert!(!response.text().await.unwrap().contains("paid content"));
        assert_eq!(shop.paywall.reservation_count().await.unwrap(), held, "{error}");
        assert_eq!(shop.present(&signed).await.status(), 200, "{error}");
    }
}

#[tokio::test]
async fn an_outage_after_pending_is_still_pending() {
    let shop = Shop::open().await;
    let signed = shop.sign().await;
    shop.facilitator.then_settle(Ok(pending("0xaa")));
    shop.facilitator.then_settle(Err(FacilitatorError::Unreachable("gone".into())));
    let response = shop.present(&signed).await;
    assert_eq!(response.status(), 503);
    assert_eq!(settlement(&response).unwrap().transaction, "0xaa");
    shop.facilitator.then_settle(Err(FacilitatorError::Unreachable("gone".into())));
    assert_eq!(shop.present(&signed).await.status(), 503);
    assert_eq!(
        shop.paywall.reservation_count().await.unwrap(),
        1,
        "what is pending stays held through an outage"
    );
    assert_eq!(shop.runs(), 1);
}

#[tokio::test]
async fn a_facilitator_that_lies_about_settling_is_not_believed() {
    let other = "0x0000000000000000000000000000000000000001";
    for lie in [
        SettleResponse::settled(base(), "", ""),
        SettleResponse::settled("eip155:1".parse().unwrap(), "", "0xaa"),
        SettleResponse::settled(base(), other, "0xaa"),
    ] {
        let shop = Shop::open().await;
        let signed = shop.sign().await;
        let lie = SettleResponse { payer: lie.payer.filter(|payer| !payer.is_empty()), ..lie };
        shop.facilitator.then_settle(Ok(lie));
        let response = shop.present(&signed).await;
        assert_eq!(response.status(), 502);
        assert!(!response.text().await.unwrap().contains("paid content"));
        assert_eq!(shop.paywall.reservation_count().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_facilitator_that_calls_everything_valid_does_not_replace_local_checks() {
    let shop = Shop::open().await;
    let signed = shop.sign().await;
    let mut forged = signed.payment.clone();
    forged.payload["signature"] = format!("0x{}", "11".repeat(65)).into();
    let (status, _, field, _) = explained(shop.present(&crate::doubles::Signed::of(forged)).await).await;
    assert_eq!((status, field.as_str()), (402, "payload.signature"));
    assert_eq!(shop.facilitator.calls(), (0, 0));
    let other = "0x0000000000000000000000000000000000000001";
    shop.facilitator.then_verify(Ok(VerifyResponse::valid(other)));
    assert_eq!(shop.present(&signed).await.status(), 502);
    assert_eq!(shop.runs(), 0);
}

#[tokio::test]
async fn upfront_settles_before_the_handler_runs() {
    let shop = Shop::open_with(ScriptedFacilitator::default(), |priced| priced.upfront()).await;
    let signed = shop.sign().await;
    let required = shop.buyer.offers(&shop.url, X402Version::V2).await;
    assert_eq!(required.accepts[0].extra_str("paymentFlow"), Some("upfront"));
    shop.facilitator.then_settle(Ok(failed()));
    assert_eq!(shop.present(&signed).await.status(), 402);
    assert_eq!(shop.runs(), 0, "nothing runs unpaid");
    let response = shop.present(&signed).await;
    assert_eq!(response.status(), 200);
    assert!(settlement(&response).unwrap().success);
    assert_eq!(shop.present(&signed).await.status(), 402);
    assert_eq!(shop.runs(), 1);
}

#[tokio::test]
async fn upfront_leaves_a_credit_when_the_handler_fails() {
    use axum::http::StatusCode;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let facilitator = std::sync::Arc::new(ScriptedFacilitator::default());
    let paywall = crate::doubles::paywall(&facilitator).await;
    let runs = std::sync::Arc::new(AtomicUsize::new(0));
    let handler = axum::routing::get(move || async move {
        match runs.fetch_add(1, Ordering::SeqCst) {
            0 => (StatusCode::BAD_GATEWAY, "down"),
            _ => (StatusCode::OK, "content"),
        }
    });
    let priced = paywall.price("$0.01").unwrap().upfront();
    let app = axum::Router::new().route("/data", handler.layer(priced));
    let url = format!("{}/data", crate::doubles::serve(app).await);
    let buyer = crate::doubles::Buyer::new();
    let signed = buyer.sign(&url, X402Version::V2).await;
    let response = buyer.get(&url, &signed).await;
    assert_eq!(response.status(), 502);
    assert!(settlement(&response).unwrap().success, "the buyer learns what was charged");
    assert_eq!(buyer.get(&url, &signed).await.text().await.unwrap(), "content");
    assert_eq!(buyer.get(&url, &signed).await.status(), 402);
}

#[tokio::test]
async fn a_payment_that_expired_while_pending_is_still_owed_its_answer() {
    use std::sync::Arc;
    use tollway_core::ManualClock;
    let start = crate::doubles::now();
    let clock = Arc::new(ManualClock::new(start));
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = crate::doubles::builder(&facilitator).clock(clock.clone()).start().await.unwrap();
    let handler = axum::routing::get(|| async { "content" });
    let app = axum::Router::new().route("/data", handler.layer(paywall.price("$0.01").unwrap()));
    let url = format!("{}/data", crate::doubles::serve(app).await);
    let buyer = crate::doubles::Buyer::new();
    let (pending_one, fresh_one) =
        (buyer.sign(&url, X402Version::V2).await, buyer.sign(&url, X402Version::V2).await);
    facilitator.then_settle(Ok(pending("0xaa")));
    facilitator.then_settle(Ok(pending("0xaa")));
    assert_eq!(buyer.get(&url, &pending_one).await.status(), 503);
    clock.set(start.plus_seconds(400));
    let (status, _, field, _) = explained(buyer.get(&url, &fresh_one).await).await;
    assert_eq!((status, field.as_str()), (402, "payload.authorization.validBefore"));
    assert_eq!(buyer.get(&url, &pending_one).await.status(), 200);
    assert_eq!(buyer.get(&url, &pending_one).await.status(), 402);
    clock.set(start.plus_seconds(2_000));
    assert_eq!(buyer.get(&url, &pending_one).await.status(), 402);
}

#[tokio::test]
async fn a_facilitator_that_panics_leaves_the_payment_held() {
    let shop = Shop::open().await;
    let signed = shop.sign().await;
    // A closed gate panics inside settle, as a bug in an embedded facilitator would.
    shop.facilitator.settle_gate.close();
    let response = shop.present(&signed).await;
    assert_eq!(response.status(), 503);
    assert!(!response.headers().contains_key("payment-required"));
    assert_eq!(shop.paywall.reservation_count().await.unwrap(), 1);
}

#[tokio::test]
async fn foreign_text_never_becomes_a_header() {
    let shop = Shop::open_with(ScriptedFacilitator::default(), |priced| {
        priced.description("x\r\nset-cookie: a=1").extension("e\r\nset-cookie: a=1", Default::default())
    })
    .await;
    let signed = shop.sign().await;
    let text = "no\r\nset-cookie: a=1";
    let invalid_reason = Some(ErrorCode::from_wire(text));
    let invalid_message = Some(text.repeat(1_000));
    shop.facilitator.then_verify(Ok(VerifyResponse {
        invalid_reason,
        invalid_message,
        ..VerifyResponse::default()
    }));
    let refused = shop.present(&signed).await;
    assert_eq!(refused.status(), 402);
    assert!(!refused.headers().contains_key("set-cookie"));
    assert!(explained(refused).await.3.len() <= 512, "foreign text is cut");
    let mut failed = failed();
    failed.error_message = Some(text.repeat(1_000));
    shop.facilitator.then_settle(Ok(failed));
    let response = shop.present(&signed).await;
    assert_eq!(response.status(), 402);
    assert!(!response.headers().contains_key("set-cookie"));
    assert!(response.headers()["payment-response"].len() < 4096, "the receipt stays small");
}

//! The facilitator over HTTP: which answers count, and what the others say about the payment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::{any, get, post};
use tollway_core::model::{FacilitatorRequest, Outcome, X402Version};
use tollway_core::{ErrorCode, Facilitator, FacilitatorError, wire};
use tollway_seller::HttpFacilitator;

use crate::doubles::{Buyer, Shop, serve};

async fn request() -> FacilitatorRequest {
    let shop = Shop::open().await;
    let required = shop.buyer.offers(&shop.url, X402Version::V2).await;
    let payment = Buyer::new().sign_offer(&required, 0).await.payment;
    FacilitatorRequest { payment, requirements: required.accepts[0].clone() }
}

async fn at(app: Router) -> HttpFacilitator {
    HttpFacilitator::new(&serve(app).await).unwrap().timeout_ms(500)
}

async fn answering(status: u16, body: &'static str) -> HttpFacilitator {
    let status = StatusCode::from_u16(status).unwrap();
    at(Router::new().fallback(any(move || async move { (status, body) }))).await
}

#[tokio::test]
async fn an_answer_of_the_protocol_counts_whatever_its_status() {
    for status in [200, 400, 402, 500] {
        let invalid = answering(status, r#"{"isValid":false,"invalidReason":"insufficient_funds"}"#).await;
        let answer = invalid.verify(request().await).await.unwrap();
        assert_eq!(answer.invalid_reason, Some(ErrorCode::INSUFFICIENT_FUNDS));
        let pending = answering(
            status,
            r#"{"success":false,"errorReason":"settlement_pending","transaction":"0xaa","network":"base"}"#,
        )
        .await;
        assert_eq!(pending.settle(request().await).await.unwrap().outcome(), Outcome::Pending);
    }
}

#[tokio::test]
async fn what_a_facilitator_says_of_extensions_is_for_the_seller_and_not_for_its_buyer() {
    let header =
        wire::encode_header(serde_json::json!({ "bazaar": { "status": "success" } }).as_object().unwrap());
    let said = move |header: String, body: &'static str| async move {
        let answer = any(move || async move { ([("EXTENSION-RESPONSES", header)], body) });
        at(Router::new().fallback(answer)).await
    };
    let valid = said(header.clone(), r#"{"isValid":true,"payer":"0xA"}"#).await;
    let verified = valid.verify(request().await).await.unwrap();
    assert_eq!(verified.extension_responses["bazaar"]["status"], "success");
    let settled =
        r#"{"success":true,"transaction":"0xaa","network":"eip155:8453","extensionResponses":{"x":{"a":1}}}"#;
    let settled = said(header, settled).await.settle(request().await).await.unwrap();
    assert_eq!(settled.extension_responses.keys().collect::<Vec<_>>(), ["x", "bazaar"]);
    let told = wire::encode_settle_response(&settled, X402Version::V2);
    assert!(!serde_json::to_string(&told).unwrap().contains("xtensionResponses"));
    let (_, told) = wire::encode_settlement_header(&settled, X402Version::V2);
    let told = String::from_utf8(wire::decode_header("PAYMENT-RESPONSE", told.as_bytes()).unwrap()).unwrap();
    assert!(!told.contains("bazaar") && !told.contains("xtensionResponses"), "{told}");
    for unreadable in ["?", "W10=", "bnVsbA=="] {
        let valid = said(unreadable.to_owned(), r#"{"isValid":true}"#).await;
        let verified = valid.verify(request().await).await.unwrap();
        assert!(verified.is_valid && verified.extension_responses.is_empty(), "{unreadable}");
    }
}

#[tokio::test]
async fn other_answers_are_told_apart() {
    let error = |status, body| async move {
        answering(status, body).await.settle(request().await).await.unwrap_err()
    };
    let refused = error(400, r#"{"error":"invalid_payload","field":"x","rule":"is required"}"#).await;
    assert!(
        matches!(&refused, FacilitatorError::Refused { detail, .. } if detail.contains("x: is required"))
    );
    assert!(matches!(error(429, "slow down").await, FacilitatorError::Busy(_)));
    assert!(matches!(error(503, "").await, FacilitatorError::Busy(_)));
    for (status, body) in
        [(500, "oops"), (200, "<html>"), (200, "{}"), (404, "{}"), (200, r#"{"success":"yes"}"#)]
    {
        assert!(matches!(error(status, body).await, FacilitatorError::BadAnswer { .. }), "{status} {body}");
    }
}

#[tokio::test]
async fn a_gateway_that_gave_up_waiting_is_no_answer() {
    for status in [408, 504] {
        let error = answering(status, "<html>").await.settle(request().await).await.unwrap_err();
        assert!(matches!(error, FacilitatorError::NoAnswer(_)) && error.was_sent(), "{status}: {error}");
    }
}

#[tokio::test]
async fn busy_and_silent_facilitators_are_quoted_in_bounds() {
    let long = format!(r#"{{"error":"the node is down{}"}}"#, "!".repeat(5_000));
    let long: &'static str = Box::leak(long.into_boxed_str());
    for status in [429, 503, 408, 504] {
        let error = answering(status, long).await.verify(request().await).await.unwrap_err().to_string();
        assert!(error.contains(&format!("status {status}: the node is down")), "{error}");
        assert!(error.len() < 300, "{error}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let hits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&hits);
    let app = Router::new().route("/settle", post(|| async { Redirect::temporary("/elsewhere") })).route(
        "/elsewhere",
        any(move || async move {
            counted.fetch_add(1, Ordering::SeqCst);
            r#"{"success":true,"transaction":"0xaa","network":"base"}"#
        }),
    );
    let error = at(app).await.settle(request().await).await.unwrap_err();
    assert!(matches!(error, FacilitatorError::BadAnswer { status: 307, .. }));
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn silence_is_no_answer_and_a_closed_port_is_unreachable() {
    let slow = Router::new().fallback(any(|| tokio::time::sleep(Duration::from_secs(60))));
    let error = at(slow).await.settle(request().await).await.unwrap_err();
    assert!(matches!(error, FacilitatorError::NoAnswer(_)) && error.was_sent());
    let closed = HttpFacilitator::new("http://127.0.0.1:9").unwrap();
    let error = closed.settle(request().await).await.unwrap_err();
    assert!(matches!(error, FacilitatorError::Unreachable(_)) && !error.was_sent());
}

#[tokio::test]
async fn an_answer_beyond_its_limit_is_bad() {
    let huge = Router::new().fallback(any(|| async { "x".repeat(300 * 1024) }));
    let error = at(huge).await.settle(request().await).await.unwrap_err();
    assert!(error.to_string().contains("more than"), "{error}");
}

#[tokio::test]
async fn supported_is_asked_three_times_at_most() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let app = Router::new().route(
        "/supported",
        get(move || async move {
            match counted.fetch_add(1, Ordering::SeqCst) {
                0 => (StatusCode::TOO_MANY_REQUESTS, ""),
                1 => (StatusCode::BAD_GATEWAY, ""),
                _ => (
                    StatusCode::OK,
                    r#"{"kinds":[{"x402Version":2,"scheme":"exact","network":"eip155:8453"}]}"#,
                ),
            }
        }),
    );
    assert_eq!(at(app).await.supported().await.unwrap().kinds.len(), 1);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_facilitator_url_must_be_safe_to_send_payments_to() {
    for wrong in [
        "",
        "facilitator.example",
        "ftp://x",
        "http://facilitator.example",
        "https://u:p@x",
        "https://x/?k=1",
    ] {
        assert!(HttpFacilitator::new(wrong).is_err(), "{wrong}");
    }
    for good in ["https://x/base/", "http://localhost:1", "http://[::1]:1", "http://127.0.0.2"] {
        assert!(HttpFacilitator::new(good).is_ok(), "{good}");
    }
    assert!(HttpFacilitator::over_plain_http("http://facilitator.example").is_ok());
    let debug = format!("{:?}", HttpFacilitator::new("https://x").unwrap().bearer("secret-token"));
    assert!(!debug.contains("secret-token"));
}

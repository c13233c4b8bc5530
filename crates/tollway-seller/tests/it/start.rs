//! Starting tells every fault at once.

use std::sync::Arc;

use tollway_core::FacilitatorError;
use tollway_seller::{HttpFacilitator, Paywall};

use crate::doubles::{PAY_TO, ScriptedFacilitator, builder};

#[tokio::test]
async fn every_fault_is_told_at_once() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let error = Paywall::builder("ftp://api.example.com/?q")
        .accept("base", PAY_TO)
        .accept("eip155:8453", "0x1234")
        .accept("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", PAY_TO)
        .accept("eip155:42161", PAY_TO)
        .max_timeout_seconds(0)
        .shared_facilitator(facilitator)
        .start()
        .await
        .unwrap_err();
    let text = error.to_string();
    for part in [
        "6 faults",
        "must be http or https",
        "write \"eip155:8453\"",
        "payTo",
        "no scheme exact",
        "max_timeout_seconds",
        "does not settle exact on eip155:42161",
    ] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
    let error = Paywall::builder("https://x").start().await.unwrap_err();
    assert_eq!(error.faults.len(), 2, "{error}");
}

#[tokio::test]
async fn limits_under_which_nothing_is_ever_served_are_faults() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = builder(&facilitator).max_verifies(0).max_reservations(0).max_body_bytes(0);
    let error = paywall.start().await.unwrap_err();
    assert_eq!(
        error.faults,
        ["max_reservations", "max_verifies"].map(|n| format!("{n}: must be more than 0"))
    );
    let smallest = builder(&facilitator).max_verifies(1).max_reservations(1).max_body_bytes(0);
    assert!(smallest.start().await.is_ok());
}

#[tokio::test]
async fn an_unreachable_facilitator_is_a_fault_after_a_bounded_wait() {
    let started = std::time::Instant::now();
    let facilitator = HttpFacilitator::new("http://127.0.0.1:9").unwrap();
    let error = Paywall::builder("https://api.example.com")
        .accept("eip155:8453", PAY_TO)
        .facilitator(facilitator)
        .start_deadline_ms(600)
        .start()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("facilitator unreachable"), "{error}");
    assert!(started.elapsed().as_secs() < 5);
    let _kind = FacilitatorError::Unreachable(String::new());
}

#[tokio::test]
async fn a_network_settled_for_v2_only_is_not_offered_to_v1() {
    let mut facilitator = ScriptedFacilitator::default();
    facilitator.kinds.retain(|kind| kind.version == tollway_core::X402Version::V2);
    let facilitator = Arc::new(facilitator);
    let paywall = builder(&facilitator).start().await.unwrap();
    let handler = axum::routing::get(|| async { "x" });
    let app = axum::Router::new().route("/data", handler.layer(paywall.price("$0.01").unwrap()));
    let url = format!("{}/data", crate::doubles::serve(app).await);
    let buyer = crate::doubles::Buyer::new();
    assert!(buyer.offers(&url, tollway_core::X402Version::V1).await.accepts.is_empty());
    let mut required = buyer.offers(&url, tollway_core::X402Version::V2).await;
    required.version = tollway_core::X402Version::V1;
    let signed = buyer.sign_offer(&required, 0).await;
    let (status, _, field, _) = crate::doubles::explained(buyer.get(&url, &signed).await).await;
    assert_eq!((status, field.as_str()), (402, "x402Version"));
}

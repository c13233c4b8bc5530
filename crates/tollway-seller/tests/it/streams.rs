//! Answers stream: the paywall looks at the head and never waits for the body.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use futures_util::stream;
use tokio::sync::Notify;
use tollway_core::model::X402Version;

use crate::doubles::{Buyer, ScriptedFacilitator, paywall, serve};

#[tokio::test]
async fn the_first_chunk_arrives_before_the_second_is_produced() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = paywall(&facilitator).await;
    let go_on = Arc::new(Notify::new());
    let signal = Arc::clone(&go_on);
    let handler = move || async move {
        let chunks = stream::unfold(0, move |number| {
            let signal = Arc::clone(&signal);
            async move {
                match number {
                    0 => {}
                    1 => signal.notified().await,
                    _ => return None,
                }
                Some((Ok::<_, std::io::Error>(format!("data: {number}\n\n")), number + 1))
            }
        });
        ([("content-type", "text/event-stream")], Body::from_stream(chunks))
    };
    let app = Router::new().route("/events", get(handler).layer(paywall.price("$0.01").unwrap()));
    let url = format!("{}/events", serve(app).await);
    let buyer = Buyer::new();
    let signed = buyer.sign(&url, X402Version::V2).await;
    let mut response = buyer.get(&url, &signed).await;
    assert_eq!(response.status(), 200);
    assert!(response.headers().contains_key("payment-response"), "settled before the head left");
    let first = tokio::time::timeout(Duration::from_secs(5), response.chunk()).await.unwrap().unwrap();
    assert_eq!(first.unwrap(), "data: 0\n\n");
    go_on.notify_one();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "data: 1\n\n");
}

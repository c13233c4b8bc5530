//! Pages in browsers can ask, read the 402, pay and read the receipt.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use reqwest::Method;
use tollway_seller::Cors;

use crate::doubles::{Buyer, ScriptedFacilitator, Shop, builder, serve};

const PAGE: &str = "https://app.example.com";

#[tokio::test]
async fn a_preflight_is_answered_before_the_paywall() {
    let shop = Shop::open().await;
    let response = shop
        .buyer
        .http
        .request(Method::OPTIONS, &shop.url)
        .header("origin", PAGE)
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "x-mine")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 204);
    let headers = response.headers();
    assert_eq!(headers["access-control-allow-origin"], "*");
    assert!(headers["allow"].to_str().unwrap().contains("GET"));
    assert!(headers["access-control-allow-methods"].to_str().unwrap().contains("POST"));
    let allowed = headers["access-control-allow-headers"].to_str().unwrap();
    for name in ["x-mine", "PAYMENT-SIGNATURE", "X-PAYMENT", "Access-Control-Expose-Headers", "Content-Type"]
    {
        assert!(allowed.contains(name), "{name} in {allowed}");
    }
    assert!(headers.contains_key("access-control-max-age"));
    assert_eq!((shop.runs(), shop.facilitator.calls()), (0, (0, 0)));
}

#[tokio::test]
async fn every_answer_of_a_priced_route_shows_its_payment_headers_and_when_to_retry() {
    let shop = Shop::open().await;
    let unpaid = shop.buyer.http.get(&shop.url).send().await.unwrap();
    let signed = shop.sign().await;
    let paid = shop.present(&signed).await;
    let used = shop.present(&signed).await;
    let bad = shop.buyer.http.get(&shop.url).header("x-payment", "#").send().await.unwrap();
    for (response, status) in [(unpaid, 402), (paid, 200), (used, 402), (bad, 400)] {
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap();
        assert_eq!(
            exposed,
            "PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE, PAYMENT-CREDIT, Idempotent-Replayed, Retry-After"
        );
    }
}

#[tokio::test]
async fn only_listed_origins_are_allowed_where_origins_are_listed() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = builder(&facilitator).cors(Cors::Origins(vec![PAGE.into()])).start().await.unwrap();
    let app = Router::new().route("/data", get(|| async { "x" }).layer(paywall.price("$0.01").unwrap()));
    let url = format!("{}/data", serve(app).await);
    let http = Buyer::new().http;
    let ask = |origin: &'static str| http.get(&url).header("origin", origin).send();
    let allowed = ask(PAGE).await.unwrap();
    assert_eq!(allowed.headers()["access-control-allow-origin"], PAGE);
    assert!(allowed.headers().get_all("vary").iter().any(|value| value == "Origin"));
    assert!(
        !ask("https://evil.example").await.unwrap().headers().contains_key("access-control-allow-origin")
    );
}

#[tokio::test]
async fn cors_off_leaves_the_headers_to_the_application() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let paywall = builder(&facilitator).cors(Cors::Off).start().await.unwrap();
    let app = Router::new().route("/data", get(|| async { "x" }).layer(paywall.price("$0.01").unwrap()));
    let url = format!("{}/data", serve(app).await);
    let http = Buyer::new().http;
    let unpaid = http.get(&url).send().await.unwrap();
    let preflight = http.request(Method::OPTIONS, &url).send().await.unwrap();
    assert_eq!((unpaid.status().as_u16(), preflight.status().as_u16()), (402, 204));
    for response in [unpaid, preflight] {
        assert!(!response.headers().keys().any(|name| name.as_str().starts_with("access-control")));
    }
}

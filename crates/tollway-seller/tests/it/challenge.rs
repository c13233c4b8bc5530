//! The 402 itself, for buyers of both versions.

use axum::Router;
use axum::routing::get;
use tollway_core::model::X402Version;

use crate::doubles::{BASE, Buyer, PAY_TO, ScriptedFacilitator, Shop, paywall, serve, settlement};

#[tokio::test]
async fn an_unpaid_request_is_answered_for_both_versions_at_once() {
    let shop = Shop::open_with(ScriptedFacilitator::default(), |priced| {
        priced.description("Some \"data\"").mime_type("text/plain")
    })
    .await;
    let url = format!("{}?q=a%20b", shop.url);
    let response = shop.buyer.http.get(&url).send().await.unwrap();
    assert_eq!(response.status(), 402);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(
        response
            .headers()
            .get_all("vary")
            .iter()
            .any(|v| v == "PAYMENT-SIGNATURE, X-PAYMENT, PAYMENT-CREDIT, SIGN-IN-WITH-X")
    );
    for version in [X402Version::V2, X402Version::V1] {
        let required = shop.buyer.offers(&url, version).await;
        assert_eq!(required.version, version);
        assert_eq!(required.error.as_deref(), Some("Payment required"));
        let resource = required.resource.unwrap();
        assert_eq!(resource.url, "https://api.example.com/data?q=a%20b", "the Host header plays no part");
        assert_eq!(resource.description.as_deref(), Some("Some \"data\""));
        let offer = &required.accepts[0];
        assert_eq!((offer.network.as_str(), offer.pay_to.as_str()), (BASE, PAY_TO));
        assert_eq!(offer.amount.to_string(), "10000");
    }
    assert_eq!(shop.facilitator.calls(), (0, 0));
}

#[tokio::test]
async fn v1_and_v2_buyers_pay_on_the_same_route() {
    let shop = Shop::open().await;
    for (version, header, other) in [
        (X402Version::V2, "payment-response", "x-payment-response"),
        (X402Version::V1, "x-payment-response", "payment-response"),
    ] {
        let signed = shop.buyer.sign(&shop.url, version).await;
        let response = shop.present(&signed).await;
        assert_eq!(response.status(), 200);
        assert!(response.headers().contains_key(header) && !response.headers().contains_key(other));
        assert!(settlement(&response).unwrap().success);
        assert_eq!(response.headers()["cache-control"], "private");
        assert_eq!(response.text().await.unwrap(), "paid content");
    }
    assert_eq!(shop.facilitator.calls(), (2, 2));
    assert_eq!(shop.runs(), 2);
}

#[tokio::test]
async fn a_v1_facilitator_request_names_the_resource() {
    let shop = Shop::open().await;
    let signed = shop.buyer.sign(&shop.url, X402Version::V1).await;
    assert_eq!(shop.present(&signed).await.status(), 200);
    let asked = shop.facilitator.last_settle.lock().unwrap().clone().unwrap();
    assert_eq!(asked.payment.resource.unwrap().url, "https://api.example.com/data");
}

#[tokio::test]
async fn head_is_priced_like_get() {
    let shop = Shop::open().await;
    let head = shop.buyer.http.head(&shop.url).send().await.unwrap();
    assert_eq!(head.status(), 402);
    assert!(head.headers().contains_key("payment-required"));
    assert_eq!(shop.runs(), 0);
    let signed = shop.sign().await;
    let paid = shop.buyer.http.head(&shop.url).header(signed.name, &signed.value).send().await.unwrap();
    assert_eq!(paid.status(), 200);
    assert_eq!(shop.facilitator.calls(), (1, 1));
}

#[tokio::test]
async fn no_spelling_of_the_path_is_free() {
    let facilitator = std::sync::Arc::new(ScriptedFacilitator::default());
    let paywall = paywall(&facilitator).await;
    let app = Router::new()
        .route("/data", get(|| async { "paid content" }))
        .route("/files/{*path}", get(|| async { "paid content" }))
        .route_layer(paywall.price("$0.01").unwrap());
    let origin = serve(app).await;
    for path in
        ["/data", "/data/", "//data", "/./data", "/DATA", "/%64ata", "/data;x", "/data?x", "/files/a/../b"]
    {
        let url = format!("{origin}{path}");
        let response =
            Buyer::new().http.get(&url).header("x-http-method-override", "OPTIONS").send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.text().await.unwrap();
        assert!(matches!(status, 402 | 404) && !body.contains("paid content"), "{path}: {status} {body}");
    }
}

#[tokio::test]
async fn a_nested_router_is_priced_under_its_whole_path() {
    let facilitator = std::sync::Arc::new(ScriptedFacilitator::default());
    let paywall = crate::doubles::builder(&facilitator)
        .request_uri(|parts| parts.extensions.get::<axum::extract::OriginalUri>().map(|uri| uri.0.clone()))
        .start()
        .await
        .unwrap();
    let inner = || Router::new().route("/data", get(|| async { "x" }).layer(paywall.price("$0.01").unwrap()));
    let origin = serve(Router::new().nest("/a", inner()).nest("/b", inner())).await;
    let buyer = Buyer::new();
    let required = buyer.offers(&format!("{origin}/a/data"), X402Version::V2).await;
    assert_eq!(required.resource.as_ref().unwrap().url, "https://api.example.com/a/data");
    let signed = buyer.sign_offer(&required, 0).await;
    assert_eq!(buyer.get(&format!("{origin}/a/data"), &signed).await.status(), 200);
    assert_eq!(buyer.get(&format!("{origin}/b/data"), &signed).await.status(), 402);
}

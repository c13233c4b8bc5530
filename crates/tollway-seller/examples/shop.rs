//! A paid route in an axum app. Start `tollway demo --serve`, which prints the facilitator's URL and the network,
//! then: `cargo run -p tollway-seller --example shop -- FACILITATOR_URL NETWORK PAY_TO TOKEN`.

use axum::{Router, routing::get};
use tollway_core::{Price, model::JsonObject};
use tollway_seller::{HttpFacilitator, Paywall};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [facilitator, network, pay_to, token] = arguments.as_slice() else {
        return Err("usage: shop FACILITATOR_URL NETWORK PAY_TO TOKEN".into());
    };
    let paywall = Paywall::builder("http://127.0.0.1:4021")
        .accept(network, pay_to)
        .facilitator(HttpFacilitator::new(facilitator)?)
        .start()
        .await?;
    // A token that no table knows is priced in atomic units; a known one would be `paywall.price("$0.01")?`.
    let extra = JsonObject::from_iter([("name".into(), "USDC".into()), ("version".into(), "2".into())]);
    let price = Price::Asset { amount: 10_000.into(), asset: token.clone(), extra };
    let app = Router::new().route("/data", get(|| async { "paid for\n" }).layer(paywall.price(price)?));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:4021").await?;
    Ok(axum::serve(listener, app).await?)
}

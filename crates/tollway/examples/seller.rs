//! A seller that survives: one process of several that share a ledger. Started with the same settings but another
//! `NAME`, a second one behind the same address sells the same things, and neither serves what the other has served.
//!
//! ```sh
//! LISTEN=127.0.0.1:4021 URL=http://127.0.0.1:4021 FACILITATOR=http://127.0.0.1:4020 NETWORK=eip155:31337 \
//!   PAY_TO=0x… TOKEN=0x… LEDGER=sqlite:seller.db NAME=seller-1 cargo run -p tollway --example seller
//! ```
//!
//! Three routes sell the same thing by three flows: `/authorization/{n}`, `/upfront/{n}` and `/background/{n}`.

use std::env;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use tollway_core::{Price, model::JsonObject};
use tollway_seller::{BackgroundLimits, HttpFacilitator, Paywall};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let ledger = tollway_ledger::open(&env::var("LEDGER")?).await?;
    #[cfg(feature = "failpoints")]
    let ledger = tollway_ledger::kill_point(ledger)?;
    let paywall = Paywall::builder(env::var("URL")?)
        .accept(env::var("NETWORK")?, env::var("PAY_TO")?)
        .facilitator(HttpFacilitator::new(&env::var("FACILITATOR")?)?)
        .ledger(ledger)
        .name(env::var("NAME")?)
        .start()
        .await?;
    // A token that no table knows is priced in atomic units.
    let extra = JsonObject::from_iter([("name".into(), "USDC".into()), ("version".into(), "2".into())]);
    let price = || Price::Asset {
        amount: 10_000.into(),
        asset: env::var("TOKEN").unwrap_or_default(),
        extra: extra.clone(),
    };
    let limits = BackgroundLimits { per_payer: "$1.00".parse()?, in_all: "$10.00".parse()? };
    let app = Router::new()
        .route("/authorization/{n}", get(handle).layer(paywall.price(price())?))
        .route("/upfront/{n}", get(handle).layer(paywall.price(price())?.upfront()))
        .route("/background/{n}", get(handle).layer(paywall.price(price())?.background(limits)?));
    let listener = tokio::net::TcpListener::bind(env::var("LISTEN")?).await?;
    Ok(axum::serve(listener, app).await?)
}

async fn handle(Path(n): Path<String>) -> String {
    format!("thing {n}")
}

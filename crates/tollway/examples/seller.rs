//! A seller that survives: one process of several that share a ledger. Started with the same settings but another
//! `NAME`, a second one behind the same address sells the same things, and neither serves what the other has served.
//!
//! ```sh
//! LISTEN=127.0.0.1:4021 URL=http://127.0.0.1:4021 FACILITATOR=http://127.0.0.1:4020 NETWORK=eip155:31337 \
//!   PAY_TO=0x… TOKEN=0x… LEDGER=sqlite:seller.db NAME=seller-1 cargo run -p tollway --example seller
//! ```
//!
//! Three routes sell the same thing by three flows: `/authorization/{n}`, `/upfront/{n}` and `/background/{n}`. With the
//! key of a receiver's authorizer in `AUTHORIZER_KEY` there are two more, where the money is held first: `/escrow/{n}` takes
//! it before the answer leaves, `/deferred/{n}` shortly before it would have to be given back. `AHEAD_SECONDS` lets these two
//! believe that it is later than it is.

use std::env;
use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use tollway_core::{Clock, Price, SchemeName, SystemClock, UnixTime, model::JsonObject};
use tollway_evm::auth_capture::AuthCaptureSeller;
use tollway_evm::{AssetTable, LocalSigner, Signer};
use tollway_ledger::Ledger;
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
        .ledger(Arc::clone(&ledger))
        .name(env::var("NAME")?)
        .start()
        .await?;
    let limits = BackgroundLimits { per_payer: "$1.00".parse()?, in_all: "$10.00".parse()? };
    let mut app = Router::new()
        .route("/authorization/{n}", get(handle).layer(paywall.price(price())?))
        .route("/upfront/{n}", get(handle).layer(paywall.price(price())?.upfront()))
        .route("/background/{n}", get(handle).layer(paywall.price(price())?.background(limits)?));
    if let Ok(key) = env::var("AUTHORIZER_KEY") {
        let key = Arc::new(LocalSigner::from_hex(&key)?);
        let scheme = AuthCaptureSeller::new(AssetTable::empty(), key.address()).with_key(key);
        let deferred = holding(scheme.clone().deferred(), &ledger, "deferred").await?;
        let escrow = holding(scheme, &ledger, "escrow").await?;
        app = app
            .route("/escrow/{n}", get(handle).layer(escrow.price(price())?))
            .route("/deferred/{n}", get(handle).layer(deferred.price(price())?));
    }
    let listener = tokio::net::TcpListener::bind(env::var("LISTEN")?).await?;
    Ok(axum::serve(listener, app).await?)
}

/// A token that no table knows is priced in atomic units.
fn price() -> Price {
    let extra = JsonObject::from_iter([("name".into(), "USDC".into()), ("version".into(), "2".into())]);
    Price::Asset { amount: 10_000.into(), asset: env::var("TOKEN").unwrap_or_default(), extra }
}

/// A paywall where the money is held first, on the same ledger.
async fn holding(
    scheme: AuthCaptureSeller,
    ledger: &Arc<dyn Ledger>,
    suffix: &str,
) -> Result<Paywall, Box<dyn std::error::Error>> {
    let ahead_seconds = env::var("AHEAD_SECONDS").map_or(Ok(0), |text| text.parse())?;
    let paywall = Paywall::builder(env::var("URL")?)
        .accept_by(SchemeName::AUTH_CAPTURE, env::var("NETWORK")?, env::var("PAY_TO")?)
        .scheme(scheme)
        .facilitator(HttpFacilitator::new(&env::var("FACILITATOR")?)?)
        .ledger(Arc::clone(ledger))
        .clock(Arc::new(Ahead { seconds: ahead_seconds }))
        .name(format!("{}-{suffix}", env::var("NAME")?));
    Ok(paywall.start().await?)
}

/// The system's clock, set forward.
#[derive(Debug)]
struct Ahead {
    seconds: u64,
}

impl Clock for Ahead {
    fn now(&self) -> UnixTime {
        SystemClock.now().plus_seconds(self.seconds)
    }
}

async fn handle(Path(n): Path<String>) -> String {
    format!("thing {n}")
}

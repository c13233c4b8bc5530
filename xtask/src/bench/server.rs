//! The servers of bench `unpaid`, each in a process and on a core of its own. One thread: what is measured is
//! work per request, not how well it spreads.

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::get;
use tollway_core::model::{
    FacilitatorRequest, SettleResponse, SupportedKind, SupportedResponse, VerifyResponse,
};
use tollway_core::{BoxFuture, Facilitator, FacilitatorError, JsonObject, Network, SchemeName, X402Version};
use tollway_seller::{Paywall, Priced};
use tower::ServiceExt;

use super::child::announce;
use super::market::{PATH, block_on, serve};

/// A priced route.
pub(super) const TOLLWAY: &str = "tollway";
/// The same route without a price.
pub(super) const BARE: &str = "axum: bare route";
/// The very bytes of the priced route's 402, from a route that knows nothing else.
pub(super) const CONSTANT: &str = "axum: constant 402";

const NETWORK: &str = "eip155:8453";
const PAYEE: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";

/// Serves `system` until standard input ends, which it does when whoever started us is gone.
pub(super) fn run(system: &str) -> Result<()> {
    block_on(async {
        let (address, server) = serve(app(system).await?).await?;
        announce(&address)?;
        server.await.context("the server ended")
    })?
}

async fn app(system: &str) -> Result<Router> {
    let shop = Router::new();
    Ok(match system {
        TOLLWAY => shop.route(PATH, get(handler).layer(priced().await?)),
        BARE => shop.route(PATH, get(handler)),
        CONSTANT => {
            let answer = constant().await?;
            shop.route(PATH, get(move || std::future::ready(answer.clone())))
        }
        other => bail!("there is no system {other:?}"),
    })
}

async fn handler() -> &'static str {
    "data"
}

async fn priced() -> Result<Priced> {
    let paywall = Paywall::builder("http://127.0.0.1").accept(NETWORK, PAYEE).facilitator(Unasked);
    Ok(paywall.start().await?.price("$0.01")?)
}

async fn constant() -> Result<(StatusCode, HeaderMap, Bytes)> {
    let app = Router::new().route(PATH, get(handler).layer(priced().await?));
    let (parts, body) = app.oneshot(Request::get(PATH).body(Body::empty())?).await?.into_parts();
    Ok((parts.status, parts.headers, to_bytes(body, usize::MAX).await?))
}

/// A facilitator that settles on Base, as far as anybody asks.
#[derive(Debug)]
struct Unasked;

impl Facilitator for Unasked {
    fn verify(&self, _: FacilitatorRequest) -> BoxFuture<'_, Result<VerifyResponse, FacilitatorError>> {
        Box::pin(std::future::ready(Err(unasked())))
    }

    fn settle(&self, _: FacilitatorRequest) -> BoxFuture<'_, Result<SettleResponse, FacilitatorError>> {
        Box::pin(std::future::ready(Err(unasked())))
    }

    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        let mut response = SupportedResponse::default();
        if let Ok(network) = NETWORK.parse::<Network>() {
            response.kinds = [X402Version::V2, X402Version::V1]
                .map(|version| SupportedKind {
                    version,
                    scheme: SchemeName::EXACT,
                    network: network.clone(),
                    extra: JsonObject::new(),
                })
                .into();
        }
        Box::pin(std::future::ready(Ok(response)))
    }
}

fn unasked() -> FacilitatorError {
    FacilitatorError::Unreachable("nobody pays in this bench".to_owned())
}

//! The seller of bench `wallet`: a real paywall, on one thread of a core of its own, whose facilitator checks every payment by
//! every rule and settles it at once, in memory.
//!
//! No chain: what a buyer costs is what is measured, and a chain, or anvil, would be slower than the fastest of them. Nor
//! answers that are made ready: each buyer must have signed what it was asked to, each payment once, or it is refused and
//! counted as an error. It has a core to itself so that it takes nothing from the buyer; how busy that is, the page says.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::get;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tollway_core::model::{
    FacilitatorRequest, SettleResponse, SupportedKind, SupportedResponse, VerifyResponse,
};
use tollway_core::{
    BoxFuture, Clock, Facilitator, FacilitatorError, JsonObject, Network, SchemeName, SystemClock,
    X402Version,
};
use tollway_evm::exact;
use tollway_seller::Paywall;

use super::child::announce;
use super::market::{PATH, block_on, spawn};

/// Base, where everybody knows the dollar. Nothing of it is contacted.
pub(super) const CHAIN_ID: u64 = 8_453;
pub(super) const PAYEE: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";

/// Serves until standard input ends, which it does when whoever started us is gone.
pub(super) fn run() -> Result<()> {
    block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?.to_string();
        let paywall = Paywall::builder(format!("http://{address}"))
            .accept(Network::evm(CHAIN_ID).as_str(), PAYEE)
            .facilitator(AtOnce::default());
        let priced = paywall.start().await?.price("$0.01")?;
        let shop = Router::new().route(PATH, get(|| async { "data" }).layer(priced));
        let server = spawn(listener, shop);
        announce(&address)?;
        server.await.context("the seller ended")
    })?
}

/// A facilitator that believes nothing and waits for nobody.
#[derive(Debug, Default)]
struct AtOnce {
    /// The authorizations that were taken, so that none is taken twice.
    taken: Mutex<BTreeSet<String>>,
}

impl AtOnce {
    fn check(request: &FacilitatorRequest) -> Result<exact::ExactPayment, String> {
        let checked = exact::check(&request.payment, &request.requirements, SystemClock.now());
        checked.map_err(|refusal| refusal.to_string())
    }

    fn take(&self, request: &FacilitatorRequest) -> Result<SettleResponse, String> {
        let payment = Self::check(request)?;
        let mut taken = self.taken.lock();
        if !taken.insert(payment.key().as_str().to_owned()) {
            return Err("this authorization was used before".to_owned());
        }
        let (payer, transaction) = (payment.authorization.from.to_string(), format!("{:#066x}", taken.len()));
        Ok(SettleResponse::settled(Network::evm(CHAIN_ID), payer, transaction))
    }
}

impl Facilitator for AtOnce {
    fn verify(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<VerifyResponse, FacilitatorError>> {
        let answer = match Self::check(&request) {
            Ok(payment) => VerifyResponse::valid(payment.authorization.from.to_string()),
            Err(why) => VerifyResponse { invalid_message: Some(why), ..VerifyResponse::default() },
        };
        Box::pin(std::future::ready(Ok(answer)))
    }

    fn settle(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<SettleResponse, FacilitatorError>> {
        let refused = |why| SettleResponse::failed(Network::evm(CHAIN_ID), None, why);
        let answer = self.take(&request).unwrap_or_else(refused);
        Box::pin(std::future::ready(Ok(answer)))
    }

    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        let kind = |version| SupportedKind {
            version,
            scheme: SchemeName::EXACT,
            network: Network::evm(CHAIN_ID),
            extra: JsonObject::new(),
        };
        let kinds = [X402Version::V2, X402Version::V1].map(kind).into();
        Box::pin(std::future::ready(Ok(SupportedResponse { kinds, ..SupportedResponse::default() })))
    }
}

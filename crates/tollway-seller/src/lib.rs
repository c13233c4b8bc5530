//! The seller's side of x402: a paywall that asks to be paid before it serves, and serves once.
//!
//! - [`Paywall`]: configured once, started with every fault told, then priced onto routes as [`Priced`].
//! - [`Priced`]: a tower layer for one route; works on axum's `MethodRouter::layer` and on any tower service.
//! - [`CheckedPayment`], [`Ticket`], [`Receipt`], [`Denial`]: the state machine without HTTP, for other transports.
//! - [`HttpFacilitator`]: a facilitator somewhere else.
//!
//! What was promised, served and is owed is written into a ledger before it has effect: `reservation` (one payment, one
//! request), `stored` (answers for who asks again), `background` (debts), `credit` (what was paid for and not served).
//!
//! What does not live here: schemes and signatures (`tollway-evm`), settling on chain (`tollway-facilitator`),
//! the wire formats (`tollway-core`), the stores of durable state (`tollway-ledger`).

mod answer;
mod background;
mod base_url;
mod body;
mod builder;
mod cache;
mod challenge;
mod cors;
mod credit;
mod denial;
mod extension;
mod http_facilitator;
mod identifier;
mod keeper;
mod membership;
mod offers;
mod overrides;
mod paywall;
mod phase;
mod priced;
mod reservation;
mod route;
mod service;
mod start;
mod stored;
mod telemetry;

pub use body::PaidBody;
pub use builder::PaywallBuilder;
pub use cors::Cors;
pub use denial::Denial;
pub use http_facilitator::{FacilitatorUrlError, HttpFacilitator};
pub use identifier::IdentifierRule;
pub use offers::{Offers, PriceError};
pub use paywall::Paywall;
pub use phase::{Charge, CheckedPayment, Receipt, Ticket};
pub use priced::{BoxError, IntoPrice, Priced};
pub use route::BackgroundLimits;
pub use service::{Payment, PaywallService};
pub use start::StartError;
pub use stored::StoredResponses;

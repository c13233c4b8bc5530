//! The seller's side of x402: a paywall that asks to be paid before it serves, and serves once.
//!
//! - [`Paywall`]: configured once, started with every fault told, then priced onto routes as [`Priced`].
//! - [`Priced`]: a tower layer for one route; works on axum's `MethodRouter::layer` and on any tower service.
//! - [`CheckedPayment`], [`Ticket`], [`Receipt`], [`Denial`]: the state machine without HTTP, for other transports.
//! - [`HttpFacilitator`]: a facilitator somewhere else.
//! - [`Coin`], [`Guard`], [`PriceSource`]: which assets dollars are taken in, for how much, and while what holds.
//!
//! What was promised, served and is owed is written into a ledger before it has effect: `reservation` (one payment, one
//! request), `stored` (answers for who asks again), `background` (debts), `credit` (what was paid for and not served).
//!
//! What does not live here: schemes and signatures (`tollway-evm`), settling on chain (`tollway-facilitator`),
//! the wire formats (`tollway-core`), the stores of durable state (`tollway-ledger`).

mod account;
mod agent;
mod answer;
mod background;
mod base_url;
mod body;
mod builder;
mod cache;
mod challenge;
mod channel;
mod claim;
mod coin;
mod cors;
mod credit;
mod denial;
mod directory;
mod escrow;
mod extension;
mod file_source;
mod guard;
mod http_facilitator;
mod http_source;
mod identifier;
mod json_quote;
mod keeper;
mod live;
mod membership;
mod meter;
mod offer_receipt;
mod offers;
mod overrides;
mod paywall;
mod phase;
mod price_source;
mod priced;
mod purchase;
mod quoted;
mod reservation;
mod route;
mod service;
mod sign_in;
mod start;
mod stored;
mod telemetry;
mod watch;

pub use account::{
    Account, AccountError, Accounts, AccountsFault, BankAccount, BillDesk, BillDeskError, CreditBook,
    CreditSeller, Entry, EntryKind, Invoice, Mandate, Standing, Statement,
};
pub use agent::{Agent, MessageSignatures};
pub use body::PaidBody;
pub use builder::PaywallBuilder;
pub use channel::ChannelRules;
pub use claim::{
    ChannelReport, ChannelSums, ChannelView, ClaimCost, ClaimCosts, ClaimEnd, ClaimOutcome, ClaimPolicy,
    ClaimStep, ClaimWorker,
};
pub use coin::Coin;
pub use cors::Cors;
pub use denial::Denial;
pub use escrow::EscrowError;
pub use file_source::FileSource;
pub use guard::{Guard, Withdrawal};
pub use http_facilitator::{FacilitatorUrlError, HttpFacilitator};
pub use http_source::{HttpSource, SourceUrlError};
pub use identifier::IdentifierRule;
pub use meter::{Meter, MeterError, Tariff};
pub use offers::{Offers, PriceError};
pub use paywall::Paywall;
pub use phase::{Charge, CheckedPayment, Receipt, Ticket};
pub use price_source::{PriceSource, Quote, SourceError};
pub use priced::{BoxError, IntoPrice, Priced};
pub use purchase::{HeldPurchase, HoldState};
pub use route::BackgroundLimits;
pub use service::{Payment, PaywallService};
pub use sign_in::{SignIn, SignedIn, WalletClaim, WalletVerifier};
pub use start::StartError;
pub use stored::StoredResponses;
pub use watch::WatchedAsset;

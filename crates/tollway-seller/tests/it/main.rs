//! The paywall over real HTTP: axum on loopback, payments really signed, a facilitator that plays a script.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, or says that it did not run"
)]

mod agents;
mod ambiguous;
mod background;
mod browsers;
mod challenge;
mod contract_payers;
mod credit;
mod doubles;
mod foreign;
mod held;
mod http_facilitator;
mod overrides;
mod payment_rules;
mod price_sources;
mod pricing;
mod receipts;
mod security_rules;
mod settlement;
mod shared_ledger;
mod sign_in;
mod single_use;
mod stablecoins;
mod stall;
mod start;
mod stored;
mod streams;

//! The paywall over real HTTP: axum on loopback, payments really signed, a facilitator that plays a script.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, or says that it did not run"
)]

mod account_bills;
mod agents;
mod ambiguous;
mod background;
mod browsers;
mod caches;
mod challenge;
mod channel_attacks;
mod channel_claims;
mod channel_claims_alone;
mod channel_deposits;
mod channel_double;
mod channel_walks;
mod channels;
mod contract_payers;
mod credit;
mod credit_accounts;
mod doubles;
mod foreign;
mod foreign_channels;
mod held;
mod http_facilitator;
mod metering;
mod office;
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

//! The paywall over real HTTP: axum on loopback, payments really signed, a facilitator that plays a script.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod browsers;
mod challenge;
mod doubles;
mod http_facilitator;
mod overrides;
mod payment_rules;
mod pricing;
mod settlement;
mod single_use;
mod start;
mod streams;

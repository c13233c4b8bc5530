//! End to end, over real HTTP and a real EVM: every crate together, the program itself, and foreign clients.
//!
//! Tests that need a foreign program read where it is from the environment, as `cargo xtask test` sets it:
//! `TOLLWAY_NODE_DIR` (published npm packages), `TOLLWAY_PYTHON` (an interpreter with the published package),
//! `TOLLWAY_ANVIL` (another development node). Without it they say that they did not run.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test ends by panicking and says what it could not run"
)]

mod bad_input;
mod between;
#[cfg(feature = "failpoints")]
mod buyers_killed;
mod callers;
mod channel_storms;
mod channel_walks;
mod channels;
mod channels_command;
mod cli;
mod credit;
mod delegating;
mod demo;
mod escrow;
mod escrow_confirmed;
mod facilitator_api;
mod facilitator_rules;
mod fates;
mod faults;
#[cfg(feature = "failpoints")]
mod fleet;
mod flows;
mod foreign;
mod held;
#[cfg(feature = "failpoints")]
mod killed;
mod killed_holds;
#[cfg(feature = "aws-kms")]
mod kms;
mod lanes;
mod market;
mod metering;
mod node;
mod nodes;
mod operator;
mod outcomes;
mod paying_proxy;
mod permit2;
mod policy;
mod process;
mod proxy;
mod proxy_agents;
mod proxy_attacks;
mod purchases;
mod receipts;
mod red_team;
mod red_team_budgets;
mod red_team_guard;
mod red_team_offers;
mod red_team_payments;
mod red_team_proxy;
#[cfg(feature = "failpoints")]
mod scale_out;
mod seller_promises;
mod simulation;
mod slips;
mod sponsored;
mod stablecoins;
mod telemetry;
mod wallet_books;
mod wallet_keys;
mod wallet_owner;
mod witness;

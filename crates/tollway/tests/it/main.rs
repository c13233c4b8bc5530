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
mod callers;
mod cli;
mod demo;
mod escrow;
mod facilitator_api;
mod facilitator_rules;
mod faults;
#[cfg(feature = "failpoints")]
mod fleet;
mod flows;
mod foreign;
mod held;
#[cfg(feature = "failpoints")]
mod killed;
mod lanes;
mod market;
mod node;
mod nodes;
mod operator;
mod outcomes;
mod permit2;
mod process;
mod proxy;
mod receipts;
#[cfg(feature = "failpoints")]
mod scale_out;
mod seller_promises;
mod simulation;
mod stablecoins;
mod telemetry;
mod witness;

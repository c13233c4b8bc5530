//! The devnet as its callers meet it. Each module states the rules of one subject; a test is named after its
//! rule.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]
#![expect(clippy::print_stderr, reason = "whoever runs the tests should know what was skipped")]

mod anvil;
mod auth_capture;
mod auth_capture_model;
mod batch_settlement;
mod batch_settlement_gas;
mod batch_settlement_model;
mod batch_settlement_rules;
mod blocks;
mod calls;
mod coded_accounts;
mod control;
mod delegations;
mod differential;
mod faults;
mod fixture;
mod foreign;
mod hostile;
mod hostile_accounts;
mod in_process;
mod multicall;
mod permit2;
mod pool;
mod provider;
mod proxies;
mod simulation;
mod socket;
mod token;

//! The engine on a devnet and a ledger, broken on purpose; and the facilitator's parts against each other, without a
//! chain where none is needed.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod attribution;
mod auth_capture;
mod coded_payers;
mod crash;
mod delegations;
mod gate;
mod inclusion;
mod journal;
mod permit2;
mod reorg;
mod share;
mod verify;
mod webhook;
mod world;

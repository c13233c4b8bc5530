//! The engine on a devnet and a ledger, broken on purpose; and the facilitator's parts against each other, without a
//! chain where none is needed.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod attribution;
mod auth_capture;
mod channel_calls;
mod channel_codes;
mod channel_faults;
mod channel_rules;
mod channels;
mod coded_payers;
mod crash;
mod delegations;
mod gate;
mod inclusion;
mod journal;
mod permit2;
mod reorg;
mod share;
mod shop;
mod sponsored_approvals;
mod verify;
mod webhook;
mod world;

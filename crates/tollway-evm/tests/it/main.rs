//! What the crate promises to the world outside of it. Networks are behind nodes that do what a test says, under a paused
//! clock; nodes behind real sockets are in the program's end-to-end tests.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "rpc")]
mod boot;
#[cfg(feature = "rpc")]
mod broadcast;
mod differential;
#[cfg(feature = "rpc")]
mod failover;
mod gas_sponsoring;
mod golden_permit2;
mod identity;
#[cfg(feature = "keystore")]
mod keystore;
#[cfg(feature = "rpc")]
mod limits;
mod mutants;
mod offer_receipt;
#[cfg(feature = "rpc")]
mod script;
#[cfg(feature = "web3signer")]
mod web3signer;

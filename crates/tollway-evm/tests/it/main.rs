//! What the crate promises to the world outside of it.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod differential;
mod golden_permit2;
mod identity;
mod mutants;
mod offer_receipt;

//! The facilitator's parts against each other, without a chain where none is needed.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod webhook;

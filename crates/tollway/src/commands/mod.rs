//! One file a subcommand.

pub(crate) mod approval;
pub(crate) mod demo;
pub(crate) mod devnet;
pub(crate) mod facilitator;
pub(crate) mod hold;
pub(crate) mod pay;
pub(crate) mod receipt;

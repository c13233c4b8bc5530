//! One file a subcommand; those of `tollway wallet` are in `crate::wallet`.

pub(crate) mod approval;
pub(crate) mod channels;
pub(crate) mod demo;
pub(crate) mod devnet;
pub(crate) mod facilitator;
pub(crate) mod hold;
pub(crate) mod pay;
pub(crate) mod proxy;
pub(crate) mod purse;
pub(crate) mod receipt;
pub(crate) mod reclaim;
pub(crate) mod wallet_ledger;

//! Scheme `exact` by delegation (ERC-7710): the payer's account has let somebody transfer for it, and a delegation manager
//! sees to it. What the payer signed is between the payer's account and the manager; the chain alone can judge it.
//!
//! | step | file | who |
//! |---|---|---|
//! | check what needs no chain | `verify` | seller, facilitator |
//! | build the call, prove it moved | `settleable` | facilitator |
//!
//! A facilitator settles one delegation once for one payee, asset and amount: nothing on chain tells a second purchase
//! from the first presented again. Who buys again delegates again. What lives elsewhere: how a payer comes to a delegation
//! (ERC-7715, its wallet), so there is no signing here.

#[cfg(feature = "rpc")]
mod settleable;
mod verify;

#[cfg(feature = "rpc")]
pub(crate) use verify::pays;
pub use verify::{DelegationPayment, check};

/// `extra.assetTransferMethod` of offers that are paid so.
pub const METHOD: &str = "erc7710";

//! Purchases: payments that are collected and not over, because what was collected can still be taken or given back. What
//! is written about one is its seller's; the ledger keeps it, and says who may write next.

use tollway_core::{AuthorizationKey, UnixTime};

/// A payment that is collected and not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// The payment.
    pub key: AuthorizationKey,
    /// How often it has been written. Who writes it names the version that it read, 0 for one that is not there.
    pub version: u64,
    /// What is known of it.
    pub body: String,
    /// When somebody must look after it.
    pub due: UnixTime,
    /// Until when it is remembered.
    pub until: UnixTime,
}

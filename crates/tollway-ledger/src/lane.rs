//! Lanes: who may use a funded key now, and the transactions signed with it.

use tollway_core::{Network, UnixTime};

use crate::Member;

/// The right to sign with one key on one network. It ends when the member dies or another takes the lane; the token
/// then no longer counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneLease {
    /// The network.
    pub network: Network,
    /// The key's account.
    pub address: String,
    /// Who has it.
    pub member: Member,
    /// Grows with each lease of this lane.
    pub token: u64,
}

/// A signed transaction to be written down before any node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTransaction {
    /// Its hash, as the network writes it.
    pub hash: String,
    /// Its place in the lane's sequence.
    pub nonce: u64,
    /// Its bytes.
    pub raw: Vec<u8>,
    /// The most it pays per gas, wei.
    pub max_fee_per_gas: u128,
    /// The most it tips per gas, wei.
    pub max_priority_fee_per_gas: u128,
}

/// A transaction of a lane that may still be included, or taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneTransaction {
    /// What was signed.
    pub signed: NewTransaction,
    /// How far it is.
    pub state: TransactionState,
    /// When it was written down.
    pub signed_at: UnixTime,
}

/// How far a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionState {
    /// It may be out.
    Open,
    /// It is in a block, which may be taken back.
    Included,
    /// It is in a block for good.
    Final,
    /// It will never be in a block.
    Lost,
}

//! Channels: many small debts of one payer, kept in one row. What is written about one is its owner's; the ledger keeps
//! it, and says who may write next.

use tollway_core::{Amount, ChannelKey, Fingerprint, UnixTime};

use crate::{Member, StoredResponse};

/// What its owner knows of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Whose row it is: a seller's, or a wallet's by its name. Rows of different scopes do not meet.
    pub scope: String,
    /// The channel.
    pub id: ChannelKey,
    /// How often it has been written. Who writes it names the version that it read, 0 for one that is not there.
    pub version: u64,
    /// What was charged in all, atomic units.
    pub charged: Amount,
    /// What the newest voucher lets be claimed in all.
    pub signed: Amount,
    /// What was claimed of it.
    pub claimed: Amount,
    /// The newest voucher's signature.
    pub proof: String,
    /// The request that was charged last.
    pub request: Option<Fingerprint>,
    /// How often that was served again.
    pub repeats: u32,
    /// What else is known of it, and changes rarely.
    pub body: String,
    /// Who alone may write it now.
    pub holder: Option<Holder>,
    /// When it was charged last.
    pub used_at: UnixTime,
    /// When somebody must look after it.
    pub due: UnixTime,
}

/// A member that alone may write a channel: until a time, and no longer than it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The member.
    pub member: Member,
    /// From when on it holds it no more.
    pub until: UnixTime,
}

/// What one request changes of a channel. It is the most frequent write there is, and leaves alone what is bulky.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelCharge {
    /// Whose row it is.
    pub scope: String,
    /// The channel.
    pub id: ChannelKey,
    /// The version that was read. It is one more when this is written.
    pub version: u64,
    /// What is charged in all from now on.
    pub charged: Amount,
    /// What the voucher of this request lets be claimed in all.
    pub signed: Amount,
    /// Its signature.
    pub proof: String,
    /// The request.
    pub request: Option<Fingerprint>,
    /// How often it was served again.
    pub repeats: u32,
    /// Now.
    pub used_at: UnixTime,
    /// When somebody must look after the channel. To write one that is what it was costs nothing; each other one costs
    /// about as much as the rest of the charge.
    pub due: UnixTime,
    /// The answer to keep, in the place of the one before; none if none.
    pub answer: Option<StoredResponse>,
    /// Who writes. None writes only what nobody alive holds.
    pub member: Option<Member>,
    /// Whether nobody holds the channel from now on.
    pub is_released: bool,
}

//! Settlements: the history of each payment at the facilitator. The journal.

use std::fmt;
use std::str::FromStr;

use tollway_core::{Amount, AuthorizationKey, Network, UnixTime};

use crate::{LaneLease, Member, NewDelivery, NewTransaction, TransactionState};

/// The public name of a settlement: 32 hexadecimal digits, made from the authorization key, so it is the same whoever
/// asks and however often.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SettlementId([u8; 16]);

impl SettlementId {
    /// The settlement of this authorization.
    ///
    /// ```
    /// use tollway_core::AuthorizationKey;
    /// use tollway_ledger::SettlementId;
    /// let id = SettlementId::of(&AuthorizationKey::new("eip155:8453/0x8335/0xf39f/0xf374"));
    /// assert_eq!(id.to_string().len(), 32);
    /// assert_eq!(id.to_string().parse::<SettlementId>().unwrap(), id);
    /// ```
    pub fn of(key: &AuthorizationKey) -> Self {
        use sha2::{Digest, Sha256};
        let hash: [u8; 32] = Sha256::digest(key.as_str().as_bytes()).into();
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        Self(id)
    }
}

impl fmt::Display for SettlementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SettlementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SettlementId({self})")
    }
}

impl FromStr for SettlementId {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id)?;
        Ok(Self(id))
    }
}

/// A payment to be settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSettlement {
    /// The authorization.
    pub key: AuthorizationKey,
    /// SHA-256 of what was signed: a payer may sign two things under one key.
    pub digest: [u8; 32],
    /// The payment, as its scheme writes it down.
    pub payment: String,
    /// The network.
    pub network: Network,
    /// The asset.
    pub asset: String,
    /// Who pays.
    pub payer: String,
    /// Who is paid.
    pub pay_to: String,
    /// How much, atomic units.
    pub amount: Amount,
    /// On whose behalf: the name of the caller's key, if callers have keys.
    pub caller: Option<String>,
    /// Until when it may be used on chain.
    pub valid_before: UnixTime,
    /// After how many blocks on top of its own it counts as settled.
    pub confirmations: u32,
    /// Who settles it.
    pub member: Member,
    /// Now.
    pub now: UnixTime,
}

/// What came of a [`NewSettlement`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The caller settles it. Of a payment that failed or was abandoned before, this is a further attempt; its earlier
    /// transactions are told.
    New {
        /// What the caller writes with.
        attempt: u64,
        /// Hashes signed for it earlier, oldest first.
        transactions: Vec<String>,
    },
    /// It is settled, or somebody is at it.
    Existing(Box<Settlement>),
    /// The key is taken by something else that the payer signed.
    Other,
}

/// A payment on its way, or at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Its place in the order of arrival.
    pub sequence: u64,
    /// Its public name.
    pub id: SettlementId,
    /// The authorization.
    pub key: AuthorizationKey,
    /// SHA-256 of what was signed.
    pub digest: [u8; 32],
    /// The payment, as its scheme wrote it down.
    pub payment: String,
    /// The network.
    pub network: Network,
    /// The asset.
    pub asset: String,
    /// Who pays.
    pub payer: String,
    /// Who is paid.
    pub pay_to: String,
    /// How much, atomic units.
    pub amount: Amount,
    /// On whose behalf.
    pub caller: Option<String>,
    /// Until when it may be used on chain.
    pub valid_before: UnixTime,
    /// After how many blocks on top of its own it counts as settled.
    pub confirmations: u32,
    /// How far it is.
    pub state: SettlementState,
    /// Grows whenever the right to write changes hands.
    pub attempt: u64,
    /// Who has that right.
    pub member: Member,
    /// Every transaction signed for it, oldest first.
    pub transactions: Vec<String>,
    /// When it was first accepted.
    pub created_at: UnixTime,
    /// When it was last written.
    pub updated_at: UnixTime,
}

/// How far a payment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettlementState {
    /// Accepted. Nothing is signed in this attempt.
    Reserved,
    /// A signed transaction may be out: the latest.
    Sent {
        /// Its hash.
        transaction: String,
    },
    /// The transfer is proved.
    Settled {
        /// The transaction that holds it.
        transaction: String,
        /// The transfer's place among the logs of its block.
        log_index: u64,
        /// The block.
        block_number: u64,
        /// The block's hash.
        block_hash: String,
        /// Whether the block can no longer be taken back. Until then the state may change.
        is_final: bool,
    },
    /// Nothing moved, by the payment's own fault.
    Failed {
        /// The error code.
        code: String,
        /// What is wrong.
        message: String,
    },
    /// Nothing moved, by the facilitator's or its node's fault.
    Abandoned {
        /// What was wrong.
        message: String,
    },
}

impl SettlementState {
    /// Whether somebody still has to act on it. A settlement that is not final is not open: its money has moved.
    ///
    /// ```
    /// use tollway_ledger::SettlementState;
    /// assert!(SettlementState::Reserved.is_open());
    /// assert!(!SettlementState::Abandoned { message: "the node was down".to_owned() }.is_open());
    /// ```
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Reserved | Self::Sent { .. })
    }

    /// Whether it never changes again, except by a further attempt.
    ///
    /// ```
    /// use tollway_ledger::SettlementState;
    /// assert!(!SettlementState::Reserved.is_ended());
    /// assert!(SettlementState::Abandoned { message: "the node was down".to_owned() }.is_ended());
    /// ```
    pub const fn is_ended(&self) -> bool {
        matches!(self, Self::Settled { is_final: true, .. } | Self::Failed { .. } | Self::Abandoned { .. })
    }
}

/// A signed transaction and the payments in it, to be written down together before it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The right to sign.
    pub lease: LaneLease,
    /// What was signed.
    pub transaction: NewTransaction,
    /// The payments in it, each with the attempt that the caller writes with.
    pub settlements: Vec<(AuthorizationKey, u64)>,
    /// Now.
    pub now: UnixTime,
}

/// What came of a [`Sent`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentResult {
    /// Written: it may be sent.
    Written,
    /// The lane is another's. Nothing was written, and it must not be sent.
    Fenced,
    /// These payments are another's, or ended. Nothing was written, and it must not be sent.
    Stale(Vec<AuthorizationKey>),
}

/// A step of one payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The payment.
    pub key: AuthorizationKey,
    /// The attempt that the caller writes with.
    pub attempt: u64,
    /// How far it is now.
    pub to: SettlementState,
    /// Who is to be told of it.
    pub deliveries: Vec<NewDelivery>,
}

/// A step of one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionChange {
    /// Its hash.
    pub hash: String,
    /// How far it is now.
    pub state: TransactionState,
}

/// Which settlements to list: newest first, or with [`Self::after`] oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettlementQuery {
    /// Only of this payer.
    pub payer: Option<String>,
    /// Only to this payee.
    pub pay_to: Option<String>,
    /// Only on behalf of this caller.
    pub caller: Option<String>,
    /// Only those before this place in the order of arrival.
    pub before: Option<u64>,
    /// Only those behind this place, 0 for all; and these oldest first.
    pub after: Option<u64>,
    /// At most this many.
    pub limit: u32,
}

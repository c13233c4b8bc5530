//! Reservations: the exclusive right to act on one authorization for one request. The seller's side of exactly once.

use tollway_core::{Amount, AuthorizationKey, Fingerprint, Network, UnixTime};

use crate::Member;

/// What a holder shows to finish what it began. Chosen by the holder, so that a claim whose answer was lost can still
/// be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// A request for the exclusive right to serve one request with one authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReservation {
    /// The authorization.
    pub key: AuthorizationKey,
    /// The request it is bound to.
    pub fingerprint: Fingerprint,
    /// Who pays.
    pub payer: String,
    /// The client's own name for the payment (extension `payment-identifier`), if it gave one.
    pub identifier: Option<PaymentIdentifier>,
    /// Who asks.
    pub member: Member,
    /// What the caller will finish it with.
    pub token: Token,
    /// Until when the authorization may be used on chain.
    pub valid_before: UnixTime,
    /// Now.
    pub now: UnixTime,
    /// How many reservations the ledger may hold in all. It may be exceeded by what is under way at the same time.
    pub capacity: u64,
}

/// The client's idempotency key. One key names one payment for one request, for as long as its reservation is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PaymentIdentifier {
    /// Whose key it is: keys of different sellers do not meet.
    pub scope: String,
    /// The client's text, 16 to 128 characters.
    pub id: String,
    /// SHA-256 of what it stands for: payment and request.
    pub digest: [u8; 32],
}

/// What came of a [`NewReservation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The first time. The caller holds it.
    Fresh,
    /// Held before and not brought to an end: by this fate, or, if its holder died, with [`Fate::Pending`] of an unknown
    /// transaction. The caller holds it.
    Again(Fate),
    /// A living member holds it for the same request.
    Running,
    /// It has bought this request.
    Delivered {
        /// The transaction that paid; empty while the settlement is owed.
        transaction: String,
        /// The answer, if it was kept.
        response: Option<StoredResponse>,
    },
    /// It is bound to another request.
    Elsewhere,
    /// The payment identifier names another payment or request.
    IdentifierTaken,
    /// No room.
    Full,
}

/// How a reservation ends, or rests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing was settled and nothing served. A first claim leaves nothing behind; a later one leaves the reservation
    /// as it rested before, so that a claim whose answer was lost can be given back without knowing what it was.
    Released,
    /// Sent to settle, fate unknown, or settled and not delivered. The transaction; empty if it is not known.
    Pending(String),
    /// The settlement failed, and nothing was delivered. Of a reservation that owes already it is [`Self::Unpaid`].
    Failed,
    /// Settled and delivered, by this transaction.
    Delivered(String),
    /// Delivered, to be settled in the background: what to settle.
    Owed(Owed),
    /// Delivered, and the settlement failed.
    Unpaid,
}

/// A settlement that a seller still has to obtain for what it has delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The reservation.
    pub key: AuthorizationKey,
    /// Who owes.
    pub payer: String,
    /// On which network.
    pub network: Network,
    /// In which asset.
    pub asset: String,
    /// How much, atomic units.
    pub amount: Amount,
    /// The request to the facilitator, as its wire writes it.
    pub request: String,
    /// What to finish the reservation with. Set by the ledger; until then it is the token of who wrote it.
    pub token: Token,
    /// Not to be tried by others before this: a holder who settles at once gives itself the time to.
    pub next_try: UnixTime,
}

/// How much may be owed at once, in atomic units of the asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwedLimits {
    /// By one payer.
    pub per_payer: Amount,
    /// By all.
    pub in_all: Amount,
}

/// The end of a holder's right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    /// The reservation.
    pub key: AuthorizationKey,
    /// The holder's.
    pub token: Token,
    /// What is true of the payment from now on.
    pub fate: Fate,
    /// The answer to keep with it. None keeps the one that was kept with [`Fate::Owed`] or [`Fate::Delivered`] just
    /// before, and no other.
    pub response: Option<StoredResponse>,
    /// Until when it is remembered. Ignored for [`Fate::Released`]; [`Fate::Owed`] is kept beyond it until settled.
    pub keep_until: UnixTime,
    /// Holds [`Fate::Owed`] against what is owed already on its network in its asset: all that was owed and neither
    /// paid nor forgotten. What does not grow is within any limit.
    pub owed_limits: Option<OwedLimits>,
    /// Now.
    pub now: UnixTime,
}

/// What came of a [`Finish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Written.
    Done,
    /// Not the holder's any more: nothing was written.
    Fenced,
    /// More would be owed than may be: nothing was written, and the caller still holds it.
    OverLimit,
}

/// An answer as it left, for who presents the same payment again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    /// SHA-256 of the payment as it was presented, and of what else the seller binds the answer to.
    pub presented: [u8; 32],
    /// HTTP status.
    pub status: u16,
    /// Header names and values, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// Until when it may be given out.
    pub expires: UnixTime,
}

//! The seam to a scheme whose payments are vouchers on a channel: many small debts, few transactions.
//!
//! What lives here: what a voucher says, what stands behind it, and what a seller asks of the scheme that reads it. What does
//! not: what a seller has written down of a channel, and what a buyer has.

use crate::facilitator::{BoxFuture, FacilitatorError};
use crate::model::{FacilitatorRequest, JsonObject, PaymentPayload, PaymentRequirements, SettleResponse};
use crate::{Amount, AuthorizationKey, ErrorCode, Network, Refusal, SignError, UnixTime};

/// A channel's one name: its network and its id, in lower case, such as `eip155:8453/0x6f0e..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelKey(String);

impl ChannelKey {
    /// Wraps a canonical name. Only a scheme makes one, and a ledger that reads back what it wrote.
    ///
    /// ```
    /// use tollway_core::ChannelKey;
    /// let key = ChannelKey::new(format!("eip155:8453/0x{}", "6f".repeat(32)));
    /// assert!(key.as_str().starts_with("eip155:8453/0x6f6f"));
    /// ```
    pub fn new(canonical: impl Into<String>) -> Self {
        Self(canonical.into())
    }

    /// The name as text.
    ///
    /// ```
    /// # use tollway_core::ChannelKey;
    /// # let key = ChannelKey::new("eip155:8453/0x6f");
    /// assert_eq!(ChannelKey::new(key.as_str()), key);
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The network's part of the name.
    ///
    /// ```
    /// # use tollway_core::ChannelKey;
    /// assert_eq!(ChannelKey::new("eip155:8453/0x6f").network(), "eip155:8453");
    /// ```
    pub fn network(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(network, _)| network)
    }

    /// The id's part of the name.
    ///
    /// ```
    /// # use tollway_core::ChannelKey;
    /// assert_eq!(ChannelKey::new("eip155:8453/0x6f").id(), "0x6f");
    /// ```
    pub fn id(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.as_str(), |(_, id)| id)
    }
}

impl std::fmt::Display for ChannelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What one request's payment asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitmentKind {
    /// The request is paid by the voucher.
    Voucher,
    /// So it is, and money is put into the channel before.
    Deposit {
        /// How much, atomic units.
        amount: Amount,
        /// What makes the deposit unique: the same payment again is the same deposit.
        key: AuthorizationKey,
    },
    /// Nothing is bought: what the channel holds beyond what was charged is asked back.
    Refund {
        /// How much; all of it, if not said.
        amount: Option<Amount>,
    },
}

/// What a payment says, after every rule that needs neither the chain nor what was charged before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// The channel. Its terms are those of the offer, and its name follows from them.
    pub channel: ChannelKey,
    /// What is asked for.
    pub kind: CommitmentKind,
    /// Who pays, in the spelling of the network.
    pub payer: String,
    /// What the voucher lets be claimed of the channel in all, ever.
    pub ceiling: Amount,
    /// The voucher's signature as text: it is kept, and shown when the money is claimed.
    pub proof: String,
    /// Whether the signature was checked. If not, only the payer's code can say that it signed, and the facilitator is asked.
    pub is_proved: bool,
    /// How long the payer waits between asking to withdraw and withdrawing.
    pub withdraw_delay_seconds: u64,
}

/// What stands behind a channel, as it was last seen on chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backing {
    /// What was put in and not given back. What is claimed stays counted in it.
    pub balance: Amount,
    /// What of it was claimed.
    pub claimed: Amount,
    /// When the payer asked to withdraw, if it did.
    pub withdraw_requested_at: Option<UnixTime>,
    /// The number of the next refund.
    pub refund_nonce: Amount,
}

/// What a seller knows of a channel, as it tells its buyer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSnapshot {
    /// The channel.
    pub channel: ChannelKey,
    /// What was charged in all.
    pub charged: Amount,
    /// What stands behind it.
    pub backing: Backing,
    /// The ceiling of the newest voucher that was taken; zero if none was.
    pub signed: Amount,
    /// Its signature; empty if there is none.
    pub proof: String,
}

/// One channel's part of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRow {
    /// The channel's terms, as [`ChannelScheme::terms`] gave them.
    pub terms: JsonObject,
    /// The ceiling of the newest voucher.
    pub signed: Amount,
    /// Its signature.
    pub proof: String,
    /// What is to be claimed of the channel in all, at most `signed`.
    pub total: Amount,
}

/// The codes by which the scheme names what a seller refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelCodes {
    /// Another request of the channel is under way.
    pub busy: ErrorCode,
    /// The ceiling is not what was charged and the price.
    pub mismatch: ErrorCode,
    /// The ceiling is more than the channel holds, or than can still be claimed before it is withdrawn.
    pub exceeds_balance: ErrorCode,
    /// The ceiling is no more than what was claimed.
    pub below_claimed: ErrorCode,
    /// The signature is not the payer's.
    pub signature: ErrorCode,
    /// There is no such channel.
    pub missing: ErrorCode,
    /// What stands behind the channel could not be read.
    pub unavailable: ErrorCode,
    /// More is charged than the voucher covers.
    pub charge_exceeds_signed: ErrorCode,
    /// There is nothing to give back.
    pub refund_no_balance: ErrorCode,
    /// What is asked back is nothing, or more than there is.
    pub refund_amount: ErrorCode,
}

/// A scheme of channels, as a seller uses it. It reads and writes what goes over the wire, and keeps nothing.
pub trait ChannelScheme: Send + Sync + std::fmt::Debug {
    /// Holds a payment against the seller's own offer: every rule that needs neither the chain nor what was charged before,
    /// a key's signature included. What `payment.accepted` repeats of the offer is the buyer's word.
    ///
    /// # Errors
    /// [`Refusal`] naming the field and the rule.
    ///
    /// ```
    /// use tollway_core::model::{PaymentPayload, PaymentRequirements};
    /// use tollway_core::{ChannelScheme, Clock, Refusal, SystemClock};
    /// fn payer(
    ///     scheme: &dyn ChannelScheme, payment: &PaymentPayload, offer: &PaymentRequirements,
    /// ) -> Result<String, Refusal> {
    ///     Ok(scheme.commitment(payment, offer, SystemClock.now())?.payer)
    /// }
    /// ```
    fn commitment(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        now: UnixTime,
    ) -> Result<Commitment, Refusal>;

    /// The channel's immutable terms, as the payment writes them. They are the same for every payment on a channel, so they
    /// are read only where a channel is new.
    ///
    /// ```
    /// use tollway_core::model::{JsonObject, PaymentPayload};
    /// use tollway_core::ChannelScheme;
    /// fn kept(scheme: &dyn ChannelScheme, payment: &PaymentPayload) -> JsonObject {
    ///     scheme.terms(payment).cloned().unwrap_or_default()
    /// }
    /// ```
    fn terms<'a>(&self, payment: &'a PaymentPayload) -> Option<&'a JsonObject>;

    /// What a facilitator says of the channel: in `extra` of its answer to verify, or in `extra.channelState` of its answer
    /// to settle. `None` if it leaves out anything.
    ///
    /// ```
    /// use tollway_core::model::VerifyResponse;
    /// use tollway_core::{Amount, ChannelScheme};
    /// fn covers(scheme: &dyn ChannelScheme, answer: &VerifyResponse, ceiling: Amount) -> bool {
    ///     scheme.backing(&answer.extra).is_some_and(|backing| ceiling <= backing.balance)
    /// }
    /// ```
    fn backing(&self, extra: &JsonObject) -> Option<Backing>;

    /// The offer of a 402 that tells a buyer where the channel stands: what was charged, and the buyer's own newest voucher
    /// if there is one.
    ///
    /// ```
    /// use tollway_core::model::PaymentRequirements;
    /// use tollway_core::{ChannelScheme, ChannelSnapshot};
    /// fn told(
    ///     scheme: &dyn ChannelScheme, offer: &PaymentRequirements, snapshot: &ChannelSnapshot,
    /// ) -> PaymentRequirements {
    ///     scheme.corrected(offer, snapshot)
    /// }
    /// ```
    fn corrected(&self, offer: &PaymentRequirements, snapshot: &ChannelSnapshot) -> PaymentRequirements;

    /// What the answer to a paid request says. `charged` is what this request cost; none, if it asked its money back.
    /// `settled` is the facilitator's answer to the deposit or the refund of the same request.
    ///
    /// ```
    /// use tollway_core::model::{PaymentRequirements, SettleResponse};
    /// use tollway_core::{ChannelScheme, ChannelSnapshot};
    /// fn free(
    ///     scheme: &dyn ChannelScheme, offer: &PaymentRequirements, payer: &str, now: &ChannelSnapshot,
    /// ) -> SettleResponse {
    ///     scheme.receipt(offer, payer, now, Some(0.into()), None)
    /// }
    /// ```
    fn receipt(
        &self,
        offer: &PaymentRequirements,
        payer: &str,
        snapshot: &ChannelSnapshot,
        charged: Option<Amount>,
        settled: Option<&SettleResponse>,
    ) -> SettleResponse;

    /// A voucher as a payment again: a facilitator that verifies it tells what stands behind the channel.
    ///
    /// ```
    /// use tollway_core::model::{FacilitatorRequest, PaymentRequirements};
    /// use tollway_core::{ChannelScheme, ClaimRow};
    /// fn look(scheme: &dyn ChannelScheme, offer: &PaymentRequirements, row: &ClaimRow) -> FacilitatorRequest {
    ///     scheme.look_request(offer, row)
    /// }
    /// ```
    fn look_request(&self, offer: &PaymentRequirements, row: &ClaimRow) -> FacilitatorRequest;

    /// The request that what was charged on these channels is claimed, in one transaction, with the seller's consent if the
    /// seller has the key.
    ///
    /// # Errors
    /// [`SignError`]: a row is not one, or the key is out of reach.
    ///
    /// ```
    /// use tollway_core::model::{FacilitatorRequest, PaymentRequirements};
    /// use tollway_core::{ChannelScheme, ClaimRow, SignError};
    /// async fn claim(
    ///     scheme: &dyn ChannelScheme, offer: &PaymentRequirements, rows: &[ClaimRow],
    /// ) -> Result<FacilitatorRequest, SignError> {
    ///     scheme.claim_request(offer, rows).await
    /// }
    /// ```
    fn claim_request<'a>(
        &'a self,
        offer: &'a PaymentRequirements,
        rows: &'a [ClaimRow],
    ) -> BoxFuture<'a, Result<FacilitatorRequest, SignError>>;

    /// The request that what was claimed for the receiver in this asset is paid out.
    ///
    /// ```
    /// use tollway_core::model::{FacilitatorRequest, PaymentRequirements};
    /// use tollway_core::ChannelScheme;
    /// fn pay_out(scheme: &dyn ChannelScheme, offer: &PaymentRequirements) -> FacilitatorRequest {
    ///     scheme.settle_request(offer)
    /// }
    /// ```
    fn settle_request(&self, offer: &PaymentRequirements) -> FacilitatorRequest;

    /// The request that `row.total` is claimed of the channel and `amount` given back to the payer, with the seller's consent
    /// if the seller has the key. Made twice of the same, it asks for the same.
    ///
    /// # Errors
    /// [`SignError`]: the row is not one, or the key is out of reach.
    ///
    /// ```
    /// use tollway_core::model::{FacilitatorRequest, PaymentRequirements};
    /// use tollway_core::{Backing, ChannelScheme, ClaimRow, SignError};
    /// async fn give_back(
    ///     scheme: &dyn ChannelScheme, offer: &PaymentRequirements, row: &ClaimRow, seen: &Backing,
    /// ) -> Result<FacilitatorRequest, SignError> {
    ///     let amount = seen.balance.checked_sub(row.total).unwrap_or_default();
    ///     scheme.refund_request(offer, row, seen, amount).await
    /// }
    /// ```
    fn refund_request<'a>(
        &'a self,
        offer: &'a PaymentRequirements,
        row: &'a ClaimRow,
        backing: &'a Backing,
        amount: Amount,
    ) -> BoxFuture<'a, Result<FacilitatorRequest, SignError>>;

    /// The scheme's names for what a seller refuses.
    ///
    /// ```
    /// use tollway_core::{ChannelScheme, Refusal};
    /// fn busy(scheme: &dyn ChannelScheme) -> Refusal {
    ///     Refusal::new(scheme.codes().busy.clone(), "payload.voucher", "must not overtake another")
    /// }
    /// ```
    fn codes(&self) -> &ChannelCodes;
}

/// Looks at the chain itself for what stands behind channels: a seller that has one need not ask the facilitator.
pub trait ChannelWitness: Send + Sync + std::fmt::Debug {
    /// Whether it can see this network at all.
    ///
    /// ```
    /// use tollway_core::{ChannelWitness, Network};
    /// fn is_seen(witness: Option<&dyn ChannelWitness>, network: &Network) -> bool {
    ///     witness.is_some_and(|witness| witness.covers(network))
    /// }
    /// ```
    fn covers(&self, network: &Network) -> bool;

    /// What stands behind each of `channels`, all on one network, in their order. A channel that nobody has put anything into
    /// has a backing of nothing. It looks once and has its own deadline.
    ///
    /// # Errors
    /// [`FacilitatorError`] when there is no usable answer, which says nothing about the channels.
    ///
    /// ```
    /// use tollway_core::{Backing, ChannelKey, ChannelWitness, FacilitatorError};
    /// async fn look(
    ///     witness: &dyn ChannelWitness, channel: ChannelKey,
    /// ) -> Result<Option<Backing>, FacilitatorError> {
    ///     Ok(witness.backings(&[channel]).await?.pop())
    /// }
    /// ```
    fn backings<'a>(
        &'a self,
        channels: &'a [ChannelKey],
    ) -> BoxFuture<'a, Result<Vec<Backing>, FacilitatorError>>;
}

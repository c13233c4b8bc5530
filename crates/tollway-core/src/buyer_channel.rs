//! The seam to a scheme whose payments are vouchers on a channel, as a buyer uses it: what the channel with a seller is, what
//! is signed on it, and what the seller says of it.
//!
//! What does not live here: what a buyer has written down of a channel, and whether it believes what it is told.

use crate::channel::{Backing, ChannelCodes, ChannelKey};
use crate::facilitator::{BoxFuture, FacilitatorError};
use crate::model::{JsonObject, PaymentPayload, PaymentRequired, PaymentRequirements, SettleResponse};
use crate::{Amount, Refusal, SignError, UnixTime};

/// A channel of a buyer's with whoever makes an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuyerChannel {
    /// Its name.
    pub key: ChannelKey,
    /// What it is made of, as on the wire: never changes.
    pub terms: JsonObject,
}

/// Money signed into a channel: whoever has it may put it there, once, until it is over.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedDeposit {
    /// How much, atomic units.
    pub amount: Amount,
    /// From when on no block can take it.
    pub expires_at: UnixTime,
    /// What was signed, as on the wire.
    pub body: JsonObject,
}

impl std::fmt::Debug for SignedDeposit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("SignedDeposit");
        shown.field("amount", &self.amount).field("expires_at", &self.expires_at);
        shown.finish_non_exhaustive()
    }
}

/// What a seller says of a channel: with an answer that was paid for, or where it corrects its buyer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToldChannel {
    /// The channel.
    pub channel: Option<ChannelKey>,
    /// What this one request cost; none where nothing was bought.
    pub charged: Option<Amount>,
    /// What was charged in all.
    pub total: Option<Amount>,
    /// What stands behind it.
    pub backing: Option<Backing>,
    /// The ceiling of the newest voucher that the seller has, and its signature.
    pub proof: Option<(Amount, String)>,
}

/// A scheme whose payments are vouchers on a channel, as a buyer uses it. Only [`sign_deposit`](Self::sign_deposit),
/// [`sign_voucher`](Self::sign_voucher) and [`sign_refund`](Self::sign_refund) sign, and only [`backing`](Self::backing) asks
/// a chain.
pub trait BuyerChannelScheme: Send + Sync + std::fmt::Debug {
    /// The buyer's channel number `index` with whoever makes `offer`. It follows from the offer, the key and the number alone,
    /// so it is found again without anything written down; offers of one seller that differ in price have the same.
    ///
    /// # Errors
    /// [`SignError::Offer`]: the offer's terms are not those of a channel.
    ///
    /// ```
    /// use tollway_core::model::PaymentRequirements;
    /// use tollway_core::{BuyerChannelScheme, SignError};
    /// fn name(scheme: &dyn BuyerChannelScheme, offer: &PaymentRequirements) -> Result<String, SignError> {
    ///     Ok(scheme.channel(offer, 0)?.key.to_string())
    /// }
    /// ```
    fn channel(&self, offer: &PaymentRequirements, index: u32) -> Result<BuyerChannel, SignError>;

    /// The smallest deposit that the seller takes, if the offer says one.
    ///
    /// ```
    /// use tollway_core::model::PaymentRequirements;
    /// use tollway_core::{Amount, BuyerChannelScheme};
    /// fn least(scheme: &dyn BuyerChannelScheme, offer: &PaymentRequirements) -> Amount {
    ///     scheme.min_deposit(offer).unwrap_or(offer.amount)
    /// }
    /// ```
    fn min_deposit(&self, offer: &PaymentRequirements) -> Option<Amount>;

    /// Signs `amount` into the channel.
    ///
    /// # Errors
    /// [`SignError`]: the offer is not one to sign, or the signer failed.
    ///
    /// ```
    /// use tollway_core::model::PaymentRequirements;
    /// use tollway_core::{Amount, BuyerChannelScheme, Clock, SignError, SignedDeposit, SystemClock};
    /// async fn fill(scheme: &dyn BuyerChannelScheme, offer: &PaymentRequirements) -> Result<SignedDeposit, SignError> {
    ///     let channel = scheme.channel(offer, 0)?;
    ///     scheme.sign_deposit(offer, &channel, Amount::from(1_000_000), SystemClock.now()).await
    /// }
    /// ```
    fn sign_deposit<'a>(
        &'a self,
        offer: &'a PaymentRequirements,
        channel: &'a BuyerChannel,
        amount: Amount,
        now: UnixTime,
    ) -> BoxFuture<'a, Result<SignedDeposit, SignError>>;

    /// The payment for `offer`, one of `required.accepts`: a voucher that lets the seller claim `ceiling` in all, with a
    /// deposit beside it if there is one to be made.
    ///
    /// # Errors
    /// [`SignError`]: the signer failed.
    ///
    /// ```
    /// use tollway_core::model::{PaymentPayload, PaymentRequired};
    /// use tollway_core::{BuyerChannelScheme, SignError};
    /// async fn first(
    ///     scheme: &dyn BuyerChannelScheme, required: &PaymentRequired,
    /// ) -> Result<PaymentPayload, SignError> {
    ///     let offer = &required.accepts[0];
    ///     let channel = scheme.channel(offer, 0)?;
    ///     scheme.sign_voucher(required, offer, &channel, offer.amount, None).await
    /// }
    /// ```
    fn sign_voucher<'a>(
        &'a self,
        required: &'a PaymentRequired,
        offer: &'a PaymentRequirements,
        channel: &'a BuyerChannel,
        ceiling: Amount,
        deposit: Option<&'a SignedDeposit>,
    ) -> BoxFuture<'a, Result<PaymentPayload, SignError>>;

    /// Asks the seller to give back what is left, or `amount` of it, after `charged` was charged in all.
    ///
    /// # Errors
    /// [`SignError`]: the signer failed.
    ///
    /// ```
    /// use tollway_core::model::{PaymentPayload, PaymentRequired};
    /// use tollway_core::{Amount, BuyerChannelScheme, SignError};
    /// async fn all_back(
    ///     scheme: &dyn BuyerChannelScheme, required: &PaymentRequired, charged: Amount,
    /// ) -> Result<PaymentPayload, SignError> {
    ///     let offer = &required.accepts[0];
    ///     scheme.sign_refund(required, offer, &scheme.channel(offer, 0)?, charged, None).await
    /// }
    /// ```
    fn sign_refund<'a>(
        &'a self,
        required: &'a PaymentRequired,
        offer: &'a PaymentRequirements,
        channel: &'a BuyerChannel,
        charged: Amount,
        amount: Option<Amount>,
    ) -> BoxFuture<'a, Result<PaymentPayload, SignError>>;

    /// What an answer to a payment says of its channel; none if it says nothing.
    ///
    /// # Errors
    /// [`Refusal`]: what it says cannot be read.
    ///
    /// ```
    /// use tollway_core::model::SettleResponse;
    /// use tollway_core::{Amount, BuyerChannelScheme};
    /// fn charged(scheme: &dyn BuyerChannelScheme, told: &SettleResponse) -> Option<Amount> {
    ///     scheme.told(told).ok()??.charged
    /// }
    /// ```
    fn told(&self, told: &SettleResponse) -> Result<Option<ToldChannel>, Refusal>;

    /// What the offer of a 402 that corrects its buyer says of the channel; none if it corrects nothing.
    ///
    /// # Errors
    /// [`Refusal`]: what it says cannot be read.
    ///
    /// ```
    /// use tollway_core::model::PaymentRequirements;
    /// use tollway_core::{Amount, BuyerChannelScheme};
    /// fn total(scheme: &dyn BuyerChannelScheme, offer: &PaymentRequirements) -> Option<Amount> {
    ///     scheme.correction(offer).ok()??.total
    /// }
    /// ```
    fn correction(&self, offer: &PaymentRequirements) -> Result<Option<ToldChannel>, Refusal>;

    /// Whether `proof` is this buyer's own signature on a voucher of the channel with this ceiling.
    ///
    /// ```
    /// use tollway_core::{Amount, BuyerChannel, BuyerChannelScheme};
    /// fn believed(scheme: &dyn BuyerChannelScheme, channel: &BuyerChannel, shown: &(Amount, String)) -> bool {
    ///     scheme.is_own(channel, shown.0, &shown.1)
    /// }
    /// ```
    fn is_own(&self, channel: &BuyerChannel, ceiling: Amount, proof: &str) -> bool;

    /// What the chain says of a channel; none if the buyer has no node there.
    ///
    /// # Errors
    /// The node gave no answer.
    ///
    /// ```
    /// use tollway_core::{Amount, BuyerChannelScheme, ChannelKey, FacilitatorError};
    /// async fn claimed(
    ///     scheme: &dyn BuyerChannelScheme, channel: &ChannelKey,
    /// ) -> Result<Option<Amount>, FacilitatorError> {
    ///     Ok(scheme.backing(channel).await?.map(|backing| backing.claimed))
    /// }
    /// ```
    fn backing<'a>(
        &'a self,
        channel: &'a ChannelKey,
    ) -> BoxFuture<'a, Result<Option<Backing>, FacilitatorError>>;

    /// The codes that sellers refuse with.
    ///
    /// ```
    /// use tollway_core::BuyerChannelScheme;
    /// fn corrects(scheme: &dyn BuyerChannelScheme, error: &str) -> bool {
    ///     error == scheme.codes().mismatch.as_str()
    /// }
    /// ```
    fn codes(&self) -> &ChannelCodes;
}

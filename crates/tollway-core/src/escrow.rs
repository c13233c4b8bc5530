//! The seam to a scheme whose payments are collected first, and taken or given back later, as the seller consents.

use crate::facilitator::BoxFuture;
use crate::model::{FacilitatorRequest, PaymentRequirements};
use crate::{Amount, Refusal, SignError, UnixTime};

/// What an offer says of what happens with a payment once it is collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EscrowTerms {
    /// Whether it is held first. If not, what is charged is the seller's at once, and can be given back.
    pub is_held: bool,
    /// Whether what is held is taken some time after it was served, and not before the answer leaves.
    pub is_deferred: bool,
    /// What is held is taken before this.
    pub capture_deadline: UnixTime,
    /// What was taken is given back before this.
    pub refund_deadline: UnixTime,
}

/// What a seller wants to happen with a payment. Amounts are atomic units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EscrowStep {
    /// Of a payment that is not held, this much is charged.
    Charge {
        /// How much.
        amount: Amount,
    },
    /// Of a payment that is held in full, this much is taken, and the rest given back.
    Capture {
        /// How much.
        amount: Amount,
    },
    /// All that is held is given back.
    Void,
    /// Some of what was taken is given back, when nothing is held any more.
    Refund {
        /// How much.
        amount: Amount,
        /// How much was taken and not given back before.
        refundable: Amount,
    },
}

/// A scheme whose payments can be taken and given back later, as a seller uses it.
pub trait EscrowScheme: Send + Sync + std::fmt::Debug {
    /// Whether it can consent to what happens with payments: the key is there.
    ///
    /// ```
    /// use tollway_core::EscrowScheme;
    /// fn check(scheme: &dyn EscrowScheme) -> Result<(), &'static str> {
    ///     if scheme.has_key() { Ok(()) } else { Err("what is held could never be taken") }
    /// }
    /// ```
    fn has_key(&self) -> bool;

    /// The offer as it is told at `now`: its deadlines count from there.
    ///
    /// ```
    /// use tollway_core::{EscrowScheme, UnixTime, model::PaymentRequirements};
    /// fn told(scheme: &dyn EscrowScheme, offer: &PaymentRequirements) -> PaymentRequirements {
    ///     scheme.stamped(offer, UnixTime(1_750_000_000))
    /// }
    /// ```
    fn stamped(&self, offer: &PaymentRequirements, now: UnixTime) -> PaymentRequirements;

    /// The offer as `accepted` repeats it, if it may have been told lately; if not, as it is told at `now`.
    ///
    /// ```
    /// use tollway_core::{EscrowScheme, UnixTime, model::PaymentRequirements};
    /// fn is_fresh(
    ///     scheme: &dyn EscrowScheme, offer: &PaymentRequirements, theirs: &PaymentRequirements, now: UnixTime,
    /// ) -> bool {
    ///     scheme.as_accepted(offer, theirs, now).extra == theirs.extra
    /// }
    /// ```
    fn as_accepted(
        &self,
        offer: &PaymentRequirements,
        accepted: &PaymentRequirements,
        now: UnixTime,
    ) -> PaymentRequirements;

    /// What an offer says, with its deadlines.
    ///
    /// # Errors
    /// [`Refusal`]: the offer has no deadlines, or is not one of the scheme.
    ///
    /// ```
    /// use tollway_core::{EscrowScheme, Refusal, model::PaymentRequirements};
    /// fn is_held(scheme: &dyn EscrowScheme, offer: &PaymentRequirements) -> Result<bool, Refusal> {
    ///     Ok(scheme.escrow_terms(offer)?.is_held)
    /// }
    /// ```
    fn escrow_terms(&self, offer: &PaymentRequirements) -> Result<EscrowTerms, Refusal>;

    /// The request that `step` happens with the payment of `collected`, with the seller's consent. Made twice, it asks for
    /// the same.
    ///
    /// # Errors
    /// [`SignError`]: the payment is not one, or the key is out of reach.
    ///
    /// ```
    /// use tollway_core::model::FacilitatorRequest;
    /// use tollway_core::{EscrowScheme, EscrowStep, SignError};
    /// async fn void(
    ///     scheme: &dyn EscrowScheme, collected: &FacilitatorRequest,
    /// ) -> Result<FacilitatorRequest, SignError> {
    ///     scheme.escrow_request(collected, EscrowStep::Void).await
    /// }
    /// ```
    fn escrow_request<'a>(
        &'a self,
        collected: &'a FacilitatorRequest,
        step: EscrowStep,
    ) -> BoxFuture<'a, Result<FacilitatorRequest, SignError>>;
}

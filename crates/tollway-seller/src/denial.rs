//! Why a request is not served, free of transport. How it looks over HTTP is in [`crate::answer`].

use tollway_core::model::SettleResponse;
use tollway_core::wire::WireError;
use tollway_core::{ErrorCode, FacilitatorError, Refusal};

/// Why a request is not served. Every variant leaves the payment in a defined state.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Denial {
    /// The payment is not what the protocol says. Nothing was reserved.
    Malformed(WireError),
    /// The payment breaks a rule. Nothing is held for it, or it is held for another request.
    Refused(Refusal),
    /// The payment has bought this very request already.
    AlreadyUsed {
        /// The rule it breaks.
        refusal: Refusal,
        /// The transaction that moved the money.
        transaction: String,
    },
    /// The same payment for the same request is being served right now.
    InProgress,
    /// The table of reservations is full: nothing can be served safely.
    Full,
    /// A settlement is on its way and its fate unknown: the payment is held, present it again.
    Pending(Box<SettleResponse>),
    /// The settlement failed: nobody was charged. The payment is held for the same request, and must settle
    /// before anything is served for it.
    SettleFailed(Box<SettleResponse>),
    /// The facilitator gave no usable answer.
    Facilitator {
        /// What happened.
        error: FacilitatorError,
        /// Whether the payment is held because its fate is unknown.
        held: bool,
    },
    /// The seller's own fault: nobody was charged. The text is for the log, not for the buyer.
    Internal(String),
}

impl Denial {
    /// The code for the peer: one of the specification's (v2, section 9), or a word of this paywall's where
    /// the payment is not at fault.
    ///
    /// ```
    /// use tollway_core::{ErrorCode, Refusal};
    /// use tollway_seller::Denial;
    /// let late = Refusal::new(ErrorCode::PAYMENT_EXPIRED, "payload.authorization.validBefore", "is over");
    /// assert_eq!(Denial::from(late).code(), "payment_expired");
    /// assert_eq!(Denial::Full.code(), "paywall_full");
    /// ```
    pub fn code(&self) -> &str {
        match self {
            Self::Malformed(error) => error.code.as_str(),
            Self::Refused(refusal) | Self::AlreadyUsed { refusal, .. } => refusal.code.as_str(),
            Self::InProgress => "payment_in_progress",
            Self::Full => "paywall_full",
            Self::Pending(_) => ErrorCode::SETTLEMENT_PENDING.as_str(),
            Self::SettleFailed(response) => {
                response.error_reason.as_ref().map_or("settle_failed", ErrorCode::as_str)
            }
            Self::Facilitator { error, .. } => match error {
                FacilitatorError::BadAnswer { .. } | FacilitatorError::Refused { .. } => {
                    "facilitator_bad_answer"
                }
                _ => "facilitator_unavailable",
            },
            Self::Internal(_) => "internal_error",
        }
    }

    /// The facilitator failed before anything was at stake.
    pub(crate) const fn outage(error: FacilitatorError) -> Self {
        Self::Facilitator { error, held: false }
    }

    /// The facilitator failed with the payment in its hands.
    pub(crate) const fn unknown(error: FacilitatorError) -> Self {
        Self::Facilitator { error, held: true }
    }
}

impl From<WireError> for Denial {
    fn from(error: WireError) -> Self {
        Self::Malformed(error)
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

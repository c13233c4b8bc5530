//! Why a request is not served, free of transport. How it looks over HTTP is in [`crate::answer`].

use std::fmt;

use tollway_core::model::{PaymentRequirements, SettleResponse};
use tollway_core::wire::WireError;
use tollway_core::{ErrorCode, FacilitatorError, Refusal};
use tollway_ledger::{LedgerError, StoredResponse};

/// The longest path of a field that is told on in a facilitator's name.
const MAX_PATH_BYTES: usize = 128;

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
        refusal: Box<Refusal>,
        /// The transaction that moved the money; empty while it is settled in the background.
        transaction: String,
        /// The answer it bought, if that was kept and this presentation may have it.
        answer: Option<Box<StoredResponse>>,
    },
    /// The client's own name for the payment names another payment or request.
    IdentifierTaken,
    /// The same payment for the same request is being served right now.
    InProgress,
    /// Another request of the same channel is under way: nothing was charged, present the payment again.
    Busy(Box<Refusal>),
    /// A voucher that is not the next one of its channel: nothing was charged.
    Corrected {
        /// The rule it breaks.
        refusal: Box<Refusal>,
        /// The offer, with where the channel stands.
        offer: Box<PaymentRequirements>,
    },
    /// It asked its money back, and has it. There is nothing to serve for that.
    Refunded(Box<SettleResponse>),
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
    /// The ledger did not do what it was asked.
    Ledger {
        /// What happened.
        error: LedgerError,
        /// Whether the payment is held: it may have settled.
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
            Self::Refused(refusal) => refusal.code.as_str(),
            Self::AlreadyUsed { refusal, .. } => refusal.code.as_str(),
            Self::Busy(refusal) | Self::Corrected { refusal, .. } => refusal.code.as_str(),
            Self::Refunded(_) => "channel_refunded",
            Self::InProgress => "payment_in_progress",
            Self::IdentifierTaken => "payment_identifier_conflict",
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
            Self::Ledger { .. } => "ledger_unavailable",
            Self::Internal(_) => "internal_error",
        }
    }

    /// The ledger failed before anything was at stake.
    pub(crate) const fn unwritten(error: LedgerError) -> Self {
        Self::Ledger { error, held: false }
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

/// For logs, in one line. What the buyer is told is not this text.
impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code();
        match self {
            Self::Malformed(error) => write!(f, "malformed payment: {code}: {error}"),
            Self::Refused(refusal) => write!(f, "payment refused: {code}: {refusal}"),
            Self::AlreadyUsed { refusal, .. } => write!(f, "payment already used: {code}: {refusal}"),
            Self::InProgress => f.write_str("the same payment for the same request is being served"),
            Self::Busy(refusal) => write!(f, "channel busy: {code}: {refusal}"),
            Self::Corrected { refusal, .. } => write!(f, "voucher refused: {code}: {refusal}"),
            Self::Refunded(response) => write!(f, "refunded: transaction {}", response.transaction),
            Self::IdentifierTaken => f.write_str("the payment identifier names another payment or request"),
            Self::Full => f.write_str("the table of reservations is full"),
            Self::Pending(response) => write!(f, "settlement pending: transaction {}", response.transaction),
            Self::SettleFailed(response) => {
                let message = response.error_message.as_deref().unwrap_or("no reason given");
                write!(f, "settlement failed: {code}: {message}")
            }
            Self::Facilitator { error, held: true } => write!(f, "{error}; the payment is held"),
            Self::Facilitator { error, held: false } => write!(f, "{error}"),
            Self::Ledger { error, held: true } => write!(f, "{error}; the payment is held"),
            Self::Ledger { error, held: false } => write!(f, "{error}"),
            Self::Internal(fault) => write!(f, "the seller's own fault: {fault}"),
        }
    }
}

impl std::error::Error for Denial {}

/// A facilitator's message as the field it names and the rule, where it has the form `path.to.field: rule`. Any
/// other message is a rule on the whole payment.
pub(crate) fn field_and_rule(message: &str) -> (&str, &str) {
    let is_path = |text: &str| {
        (1..=MAX_PATH_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.[]-".contains(&byte))
    };
    match message.split_once(": ") {
        Some((path, rule)) if is_path(path) && !rule.is_empty() => (path, rule),
        _ => ("payload", message),
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

#[cfg(test)]
mod tests {
    use tollway_core::{ErrorCode, FacilitatorError, Refusal};

    use super::{Denial, field_and_rule};

    #[test]
    fn a_denial_is_an_error_that_says_why() {
        let refusal = Refusal::new(ErrorCode::INVALID_SCHEME, "accepted.scheme", "must be exact");
        let boxed: Box<dyn std::error::Error + Send + Sync> = Box::new(Denial::from(refusal));
        assert_eq!(boxed.to_string(), "payment refused: invalid_scheme: accepted.scheme: must be exact");
        let lost = Denial::unknown(FacilitatorError::NoAnswer("status 504".to_owned()));
        assert_eq!(lost.to_string(), "facilitator did not answer: status 504; the payment is held");
    }

    #[test]
    fn a_message_names_a_field_only_if_it_begins_with_a_path() {
        for (message, field, rule) in [
            ("payload.authorization.value: must be enough", "payload.authorization.value", "must be enough"),
            ("accepts[0].extra.my-key_2: a: b", "accepts[0].extra.my-key_2", "a: b"),
        ] {
            assert_eq!(field_and_rule(message), (field, rule));
        }
        let long = format!("{}: too long a path", "a".repeat(129));
        for whole in
            ["no money", "execution reverted: no money", ": no path", "a:no space", "a: ", "é: no", &long]
        {
            assert_eq!(field_and_rule(whole), ("payload", whole));
        }
    }
}

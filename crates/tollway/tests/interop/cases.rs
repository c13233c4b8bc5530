//! What is tried: one case a column, a route each.

/// One way of paying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Case {
    /// Scheme `exact`, by EIP-3009.
    Eip3009,
    /// Scheme `exact`, through Permit2.
    Permit2,
    /// Scheme `upto`: less is charged than was signed for.
    Upto,
    /// Scheme `auth-capture`.
    AuthCapture,
    /// Scheme `batch-settlement`: a channel from its deposit to its refund.
    BatchSettlement,
    /// The older protocol.
    V1,
    /// The payer's own name for the payment, which the seller insists on.
    PaymentIdentifier,
    /// Codes of who took part, of both sides.
    BuilderCode,
    /// Who has bought comes back, and does not pay.
    SignIn,
    /// Offers and receipts that the seller signs, and the buyer checks.
    OfferReceipt,
}

impl Case {
    pub(crate) const ALL: [Self; 10] = [
        Self::Eip3009,
        Self::Permit2,
        Self::Upto,
        Self::AuthCapture,
        Self::BatchSettlement,
        Self::V1,
        Self::PaymentIdentifier,
        Self::BuilderCode,
        Self::SignIn,
        Self::OfferReceipt,
    ];

    /// Whether it is an extension of scheme `exact`: who lacks it pays all the same.
    pub(crate) const fn is_extension(self) -> bool {
        matches!(self, Self::PaymentIdentifier | Self::BuilderCode | Self::SignIn | Self::OfferReceipt)
    }

    /// The column's heading; extensions share a column.
    pub(crate) const fn heading(self) -> &'static str {
        match self {
            Self::Eip3009 => "exact/EIP-3009",
            Self::Permit2 => "exact/Permit2",
            Self::Upto => "upto",
            Self::AuthCapture => "auth-capture",
            Self::BatchSettlement => "batch-settlement",
            Self::V1 => "v1",
            Self::PaymentIdentifier => "payment-identifier",
            Self::BuilderCode => "builder-code",
            Self::SignIn => "sign-in-with-x",
            Self::OfferReceipt => "offer-receipt",
        }
    }

    /// Where it is sold.
    pub(crate) const fn route(self) -> &'static str {
        match self {
            Self::Eip3009 => "/exact-eip3009",
            Self::Permit2 => "/exact-permit2",
            Self::Upto => "/upto",
            Self::AuthCapture => "/auth-capture",
            Self::BatchSettlement => "/batch-settlement",
            Self::V1 => "/v1",
            Self::PaymentIdentifier => "/payment-identifier",
            Self::BuilderCode => "/builder-code",
            Self::SignIn => "/sign-in-with-x",
            Self::OfferReceipt => "/offer-receipt",
        }
    }
}

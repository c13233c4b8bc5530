//! The protocol's objects, free of version and transport. How they look on the wire is in [`crate::wire`].

mod offer;
mod outcome;
mod payload;
mod resource;

pub use offer::{PaymentFlow, PaymentRequired, PaymentRequirements};
pub use outcome::{
    FacilitatorRequest, Outcome, SettleResponse, SupportedKind, SupportedResponse, VerifyResponse,
};
pub use payload::{Accepted, PaymentPayload};
pub use resource::ResourceInfo;

/// A JSON object, keys in the order they came.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;

/// The protocol version a peer speaks. One model serves both; only the wire differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum X402Version {
    /// `x402Version: 1`: network names, `X-PAYMENT`, requirements in the 402 body.
    V1,
    /// `x402Version: 2`: CAIP-2 networks, `PAYMENT-SIGNATURE`, requirements in a header.
    V2,
}

impl X402Version {
    /// The number on the wire, `x402Version`.
    ///
    /// ```
    /// use tollway_core::X402Version;
    /// assert_eq!(X402Version::V2.number(), 2);
    /// ```
    pub const fn number(self) -> u64 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// The version with this number, if Tollway speaks it.
    ///
    /// ```
    /// use tollway_core::X402Version;
    /// assert_eq!(X402Version::from_number(1), Some(X402Version::V1));
    /// assert_eq!(X402Version::from_number(3), None);
    /// ```
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            _ => None,
        }
    }
}

/// How a payment is formed and settled, by name: `exact`, `upto`, `batch-settlement`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SchemeName(std::borrow::Cow<'static, str>);

impl SchemeName {
    /// A fixed amount, transferred once.
    pub const EXACT: Self = Self(std::borrow::Cow::Borrowed("exact"));
    /// Held first, taken or given back later.
    pub const AUTH_CAPTURE: Self = Self(std::borrow::Cow::Borrowed("auth-capture"));

    /// Promised now, moved later: vouchers on a channel, or the bill of an account.
    pub const BATCH_SETTLEMENT: Self = Self(std::borrow::Cow::Borrowed("batch-settlement"));
    /// At most a fixed amount, transferred once.
    pub const UPTO: Self = Self(std::borrow::Cow::Borrowed("upto"));

    /// A scheme by its name on the wire.
    ///
    /// ```
    /// use tollway_core::SchemeName;
    /// assert_eq!(SchemeName::new("exact"), SchemeName::EXACT);
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        Self(std::borrow::Cow::Owned(name.into()))
    }

    /// The name on the wire.
    ///
    /// ```
    /// use tollway_core::SchemeName;
    /// assert_eq!(SchemeName::EXACT.as_str(), "exact");
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for SchemeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

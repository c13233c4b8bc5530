//! The seams to a scheme on a network family: what a seller and a buyer need of it, without I/O on chain.

use crate::facilitator::BoxFuture;
use crate::model::{
    JsonObject, PaymentPayload, PaymentRequired, PaymentRequirements, SchemeName, VerifyResponse,
};
use crate::{Amount, ErrorCode, Money, MoneyError, Network, UnixTime};

/// A payment refused by a rule: whose field, which rule. Never used for outages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Refusal {
    /// The code for the peer.
    pub code: ErrorCode,
    /// The path of the field, such as `payload.authorization.value`.
    pub field: String,
    /// The rule it breaks.
    pub rule: String,
    /// Who pays, where it is known.
    pub payer: Option<String>,
}

impl Refusal {
    /// `field` breaks `rule`.
    pub fn new(code: ErrorCode, field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { code, field: field.into(), rule: rule.into(), payer: None }
    }

    /// Names the payer.
    #[must_use]
    pub fn by(mut self, payer: impl Into<String>) -> Self {
        self.payer = Some(payer.into());
        self
    }
}

impl From<crate::wire::WireError> for Refusal {
    fn from(error: crate::wire::WireError) -> Self {
        Self::new(error.code, error.field, error.rule)
    }
}

impl From<Refusal> for VerifyResponse {
    fn from(refusal: Refusal) -> Self {
        Self {
            invalid_message: Some(refusal.to_string()),
            invalid_reason: Some(refusal.code),
            payer: refusal.payer,
            ..Self::default()
        }
    }
}

/// What makes an authorization unique on its network, in one canonical spelling: for EIP-3009
/// `eip155:8453/<asset>/<payer>/<nonce>` in lower case. The signature is no part of it: signatures are
/// malleable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorizationKey(String);

impl AuthorizationKey {
    /// Wraps a canonical key. Only a scheme makes one.
    pub fn new(canonical: impl Into<String>) -> Self {
        Self(canonical.into())
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for AuthorizationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A payment that passed every check that needs no chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What makes it unique.
    pub key: AuthorizationKey,
    /// Who pays.
    pub payer: String,
    /// How much, atomic units.
    pub amount: Amount,
    /// When it expires.
    pub valid_before: UnixTime,
}

/// A price: money still to be resolved to an asset, or an exact amount of one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Price {
    /// `"$0.01"`, `"0.10 EURC"`.
    Money(Money),
    /// Atomic units of an asset that need not be in any table.
    Asset {
        /// How much.
        amount: Amount,
        /// The asset.
        asset: String,
        /// Its terms, such as the EIP-712 `name` and `version`.
        extra: JsonObject,
    },
}

/// What a seller fixes for every offer on one network.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Where it settles.
    pub network: Network,
    /// Who is paid.
    pub pay_to: String,
    /// How long the payment may take, seconds.
    pub max_timeout_seconds: u64,
}

/// Why a price cannot be offered: a mistake of the seller's configuration.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// The price is not one.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// Nothing in the table of assets fits.
    #[error("no known asset for {currency} on {network}: give the price as an amount of an asset")]
    UnknownAsset {
        /// What was asked for.
        currency: String,
        /// Where.
        network: Network,
    },
    /// A field is not what the scheme needs.
    #[error("{field}: {rule}")]
    Field {
        /// The field.
        field: &'static str,
        /// The rule.
        rule: String,
    },
}

/// A scheme as a seller uses it. Pure: no I/O.
pub trait SellerScheme: Send + Sync + std::fmt::Debug {
    /// Its name on the wire.
    fn name(&self) -> &SchemeName;

    /// Whether it works on `network`.
    fn covers(&self, network: &Network) -> bool;

    /// The offer for `price` under `terms`.
    ///
    /// # Errors
    /// [`OfferError`] naming what the seller must change.
    fn offer(&self, price: &Price, terms: &Terms) -> Result<PaymentRequirements, OfferError>;

    /// Holds a payment against the seller's own offer: every rule that needs no chain, signature included.
    ///
    /// # Errors
    /// [`Refusal`] naming the field and the rule.
    fn check(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        now: UnixTime,
    ) -> Result<Checked, Refusal>;

    /// The atomic amount of a dollar sum in the offer's asset, if the asset's decimals are known.
    fn money_in(&self, money: &Money, offer: &PaymentRequirements) -> Option<Amount>;
}

/// What an offer costs, in an asset the buyer's side knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedValue {
    /// Symbol of the asset.
    pub symbol: String,
    /// Its decimals.
    pub decimals: u8,
    /// Atomic units.
    pub amount: Amount,
    /// Whether a unit of it stands for a US dollar.
    pub is_usd: bool,
}

/// A scheme as a buyer uses it.
pub trait BuyerScheme: Send + Sync + std::fmt::Debug {
    /// Its name on the wire.
    fn name(&self) -> &SchemeName;

    /// Whether it can sign on `network`.
    fn covers(&self, network: &Network) -> bool;

    /// What the offer costs; `None` for an asset that is not in the table.
    fn value(&self, offer: &PaymentRequirements) -> Option<OfferedValue>;

    /// Signs a payment for `offer`, one of `required.accepts`.
    fn sign<'a>(
        &'a self,
        required: &'a PaymentRequired,
        offer: &'a PaymentRequirements,
        now: UnixTime,
    ) -> BoxFuture<'a, Result<PaymentPayload, SignError>>;
}

/// Why nothing was signed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The offer is not one this scheme can sign.
    #[error("offer: {0}")]
    Offer(Refusal),
    /// The signer failed.
    #[error("signer: {0}")]
    Signer(String),
}

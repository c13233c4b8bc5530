//! The seams to a scheme on a network family: what a seller and a buyer need of it, without I/O on chain.

use crate::buyer_channel::BuyerChannelScheme;
use crate::channel::ChannelScheme;
use crate::escrow::EscrowScheme;
use crate::facilitator::BoxFuture;
use crate::model::{
    JsonObject, PaymentPayload, PaymentRequired, PaymentRequirements, SchemeName, SupportedKind,
    VerifyResponse,
};
use crate::signed_request::SignedRequestScheme;
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
    ///
    /// ```
    /// use tollway_core::{ErrorCode, Refusal};
    /// let code = ErrorCode::INVALID_EXACT_EVM_RECIPIENT_MISMATCH;
    /// let refusal = Refusal::new(code, "payload.authorization.to", "must be the offer's payTo");
    /// assert_eq!(refusal.to_string(), "payload.authorization.to: must be the offer's payTo");
    /// ```
    pub fn new(code: ErrorCode, field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { code, field: field.into(), rule: rule.into(), payer: None }
    }

    /// Names the payer, in the spelling of the network: on EVM the address with its checksum (EIP-55).
    ///
    /// ```
    /// use tollway_core::{ErrorCode, Refusal, model::VerifyResponse};
    /// let (code, field) = (ErrorCode::INSUFFICIENT_FUNDS, "payload.authorization.value");
    /// let refusal = Refusal::new(code, field, "must be covered by the payer's balance");
    /// let answer = VerifyResponse::from(refusal.by("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"));
    /// assert_eq!(answer.payer.as_deref(), Some("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"));
    /// ```
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
    /// Wraps a canonical key. Only a scheme makes one, and a journal that reads back what it wrote.
    ///
    /// ```
    /// use tollway_core::AuthorizationKey;
    /// # let token = "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913";
    /// # let payer = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
    /// # let nonce = "0xf3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480";
    /// let key = AuthorizationKey::new(format!("eip155:8453/{token}/{payer}/{nonce}"));
    /// assert!(key.as_str().starts_with("eip155:8453/0x8335"));
    /// ```
    pub fn new(canonical: impl Into<String>) -> Self {
        Self(canonical.into())
    }

    /// The key as text.
    ///
    /// ```
    /// # use tollway_core::AuthorizationKey;
    /// # let key = AuthorizationKey::new("eip155:8453/0x8335/0xf39f/0xf374");
    /// assert_eq!(AuthorizationKey::new(key.as_str()), key);
    /// ```
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
    /// Whether only the payer's code can say that the payer signed: then nothing is served before it is settled,
    /// because code may say yes now and no in a block.
    pub settles_first: bool,
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
    ///
    /// ```
    /// use tollway_core::{SellerScheme, model::PaymentPayload};
    /// fn is_for(payment: &PaymentPayload, scheme: &dyn SellerScheme) -> bool {
    ///     payment.scheme() == scheme.name() && scheme.covers(payment.network())
    /// }
    /// ```
    fn name(&self) -> &SchemeName;

    /// Whether it works on `network`. It is asked before every other method.
    ///
    /// ```
    /// use tollway_core::{Network, SellerScheme};
    /// fn choose<'a>(all: &'a [Box<dyn SellerScheme>], network: &Network) -> Option<&'a dyn SellerScheme> {
    ///     all.iter().map(AsRef::as_ref).find(|scheme| scheme.covers(network))
    /// }
    /// ```
    fn covers(&self, network: &Network) -> bool;

    /// The offer for `price` under `terms`.
    ///
    /// # Errors
    /// [`OfferError`] naming what the seller must change.
    ///
    /// ```
    /// use tollway_core::{Money, OfferError, Price, SellerScheme, Terms, model::PaymentRequirements};
    /// fn cent(scheme: &dyn SellerScheme, terms: &Terms) -> Result<PaymentRequirements, OfferError> {
    ///     let price: Money = "$0.01".parse()?;
    ///     scheme.offer(&Price::Money(price), terms)
    /// }
    /// ```
    fn offer(&self, price: &Price, terms: &Terms) -> Result<PaymentRequirements, OfferError>;

    /// The offer with what the facilitator says of `kind`, which is of this scheme on the offer's network, where a buyer
    /// needs to know it. As it is, if it has nothing to add.
    ///
    /// # Errors
    /// [`OfferError`] naming what the facilitator does not say.
    ///
    /// ```
    /// use tollway_core::model::{PaymentRequirements, SupportedKind};
    /// use tollway_core::{OfferError, SellerScheme};
    /// fn complete(
    ///     scheme: &dyn SellerScheme, offer: PaymentRequirements, kind: &SupportedKind,
    /// ) -> Result<PaymentRequirements, OfferError> {
    ///     scheme.enhance(offer, kind)
    /// }
    /// ```
    fn enhance(
        &self,
        offer: PaymentRequirements,
        kind: &SupportedKind,
    ) -> Result<PaymentRequirements, OfferError> {
        let _ = kind;
        Ok(offer)
    }

    /// The extensions, by name, that a 402 with `offer` declares because of it, of those that the facilitator has
    /// `understood`. Nothing, if the scheme has none.
    ///
    /// ```
    /// use tollway_core::model::{PaymentRequirements, SupportedResponse};
    /// use tollway_core::{JsonObject, SellerScheme};
    /// fn declared(
    ///     scheme: &dyn SellerScheme, offer: &PaymentRequirements, facilitator: &SupportedResponse,
    /// ) -> JsonObject {
    ///     scheme.declare(offer, &facilitator.extensions)
    /// }
    /// ```
    fn declare(&self, offer: &PaymentRequirements, understood: &[String]) -> JsonObject {
        let _ = (offer, understood);
        JsonObject::new()
    }

    /// Holds a payment against the seller's own offer: every rule that needs no chain, a key's signature included.
    /// What `payment.accepted` repeats of the offer is the buyer's word; the payment is held to `offer`.
    ///
    /// # Errors
    /// [`Refusal`] naming the field and the rule.
    ///
    /// ```
    /// use tollway_core::model::{PaymentPayload, PaymentRequirements};
    /// use tollway_core::{Clock, Refusal, SellerScheme, SystemClock};
    /// fn payer(
    ///     scheme: &dyn SellerScheme, payment: &PaymentPayload, offer: &PaymentRequirements,
    /// ) -> Result<String, Refusal> {
    ///     Ok(scheme.check(payment, offer, SystemClock.now())?.payer)
    /// }
    /// ```
    fn check(
        &self,
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        now: UnixTime,
    ) -> Result<Checked, Refusal>;

    /// The atomic amount of a dollar sum in the offer's asset; `None` unless the asset is known to stand for
    /// dollars and can express the sum.
    ///
    /// ```
    /// use tollway_core::{Money, SellerScheme, model::PaymentRequirements};
    /// fn fits(scheme: &dyn SellerScheme, used: &Money, offer: &PaymentRequirements) -> bool {
    ///     scheme.money_in(used, offer).is_some_and(|amount| amount <= offer.amount)
    /// }
    /// ```
    fn money_in(&self, money: &Money, offer: &PaymentRequirements) -> Option<Amount>;

    /// The scheme as one whose payments are collected first, and taken or given back later; none if it is not such a one.
    ///
    /// ```
    /// use tollway_core::SellerScheme;
    /// fn can_refund(scheme: &dyn SellerScheme) -> bool {
    ///     scheme.escrow().is_some_and(|escrow| escrow.has_key())
    /// }
    /// ```
    fn escrow(&self) -> Option<&dyn EscrowScheme> {
        None
    }

    /// The scheme as one whose payments are vouchers on a channel; none if it is not such a one. The payments of one that is
    /// are never held against [`check`](Self::check), which refuses them.
    ///
    /// ```
    /// use tollway_core::SellerScheme;
    /// fn is_instant(scheme: &dyn SellerScheme) -> bool {
    ///     scheme.channel().is_some()
    /// }
    /// ```
    fn channel(&self) -> Option<&dyn ChannelScheme> {
        None
    }

    /// The scheme as one whose payments count by the signature on their request; none if it is not such a one. The payments
    /// of one that is are never held against [`check`](Self::check), which refuses them.
    ///
    /// ```
    /// use tollway_core::SellerScheme;
    /// fn needs_the_request(scheme: &dyn SellerScheme) -> bool {
    ///     scheme.signed_request().is_some()
    /// }
    /// ```
    fn signed_request(&self) -> Option<&dyn SignedRequestScheme> {
        None
    }
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
    ///
    /// ```
    /// use tollway_core::{BuyerScheme, model::PaymentRequired};
    /// fn can_pay(required: &PaymentRequired, scheme: &dyn BuyerScheme) -> bool {
    ///     let mut offers = required.accepts.iter().filter(|offer| scheme.covers(&offer.network));
    ///     offers.any(|offer| &offer.scheme == scheme.name())
    /// }
    /// ```
    fn name(&self) -> &SchemeName;

    /// Whether it can sign on `network`. It is asked before every other method.
    ///
    /// ```
    /// use tollway_core::{BuyerScheme, Network};
    /// fn choose<'a>(all: &'a [Box<dyn BuyerScheme>], network: &Network) -> Option<&'a dyn BuyerScheme> {
    ///     all.iter().map(AsRef::as_ref).find(|scheme| scheme.covers(network))
    /// }
    /// ```
    fn covers(&self, network: &Network) -> bool;

    /// What the offer costs; `None` for an asset that is not in the table: the seller's word on decimals is
    /// not believed.
    ///
    /// ```
    /// use tollway_core::{BuyerScheme, model::PaymentRequirements};
    /// fn price_tag(scheme: &dyn BuyerScheme, offer: &PaymentRequirements) -> Option<String> {
    ///     let value = scheme.value(offer)?;
    ///     Some(format!("{} {}", value.amount.to_decimal(value.decimals), value.symbol))
    /// }
    /// ```
    fn value(&self, offer: &PaymentRequirements) -> Option<OfferedValue>;

    /// Signs a payment for `offer`, one of `required.accepts`, in the version that `required` came in.
    /// Whether to pay at all has been decided before.
    ///
    /// # Errors
    /// [`SignError`]: the offer is not one to sign, or the signer failed.
    ///
    /// ```
    /// use tollway_core::model::{PaymentPayload, PaymentRequired};
    /// use tollway_core::{BuyerScheme, Clock, SignError, SystemClock};
    /// async fn pay(scheme: &dyn BuyerScheme, asked: PaymentRequired) -> Result<PaymentPayload, SignError> {
    ///     scheme.sign(&asked, &asked.accepts[0], SystemClock.now()).await
    /// }
    /// ```
    fn sign<'a>(
        &'a self,
        required: &'a PaymentRequired,
        offer: &'a PaymentRequirements,
        now: UnixTime,
    ) -> BoxFuture<'a, Result<PaymentPayload, SignError>>;

    /// Whether what it signs is nowhere but in this process until it hands it out: the key is here. Then a signature that is
    /// lost with the process was never made, for everybody else. Not so if a service signs, which may keep what it signed.
    ///
    /// ```
    /// use tollway_core::BuyerScheme;
    /// fn must_be_written_down_before_it_signs(scheme: &dyn BuyerScheme) -> bool {
    ///     !scheme.signs_here()
    /// }
    /// ```
    fn signs_here(&self) -> bool {
        false
    }

    /// The scheme as one whose payments are vouchers on a channel; none if it is not such a one. What one of these signs by
    /// [`sign`](Self::sign) is no payment: it knows of no channel.
    ///
    /// ```
    /// use tollway_core::BuyerScheme;
    /// fn opens_channels(scheme: &dyn BuyerScheme) -> bool {
    ///     scheme.channel().is_some()
    /// }
    /// ```
    fn channel(&self) -> Option<&dyn BuyerChannelScheme> {
        None
    }
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

//! Making the payment: the one signature of a purchase, and the header it travels in.

use std::fmt;

use reqwest::header::HeaderValue;
use tollway_core::extension::builder_code::{self, BuilderCode};
use tollway_core::model::{PaymentPayload, PaymentRequired, PaymentRequirements, X402Version};
use tollway_core::{BuyerScheme, CREDIT_NETWORK, Clock, OfferedValue, SignError, UnixTime, wire};
use tollway_ledger::IntentId;

use crate::intent::record::ChannelNote;
use crate::offer_receipt::CheckedOffer;
use crate::selection::JudgedOffer;

/// The header of a payment. Its value is as good as money until the authorization expires, so `Debug` does
/// not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentHeader {
    name: &'static str,
    value: String,
}

impl PaymentHeader {
    /// A header that was written down.
    pub(crate) const fn written(name: &'static str, value: String) -> Self {
        Self { name, value }
    }

    /// `payment-signature`, or `x-payment` in x402 v1.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let payment = wallet().pay(&required(), &url()).await?;
    /// assert_eq!(payment.header.name(), "payment-signature");
    /// # Ok(()) }
    /// ```
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The payment, a JSON object in base64 (RFC 4648, section 4). Keep it as a secret.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let payment = wallet().pay(&required(), &url()).await?;
    /// assert!(payment.header.value().starts_with("ey"), "a JSON object in base64");
    /// # Ok(()) }
    /// ```
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The value as HTTP takes it, marked to be left out of logs.
    pub(crate) fn to_http(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&self.value).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for PaymentHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PaymentHeader({}: ..)", self.name)
    }
}

/// A signed payment, ready to be presented to the seller that asked for it, and to nobody else.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SignedPayment {
    /// How it travels over HTTP.
    pub header: PaymentHeader,
    /// The offer it accepts.
    pub offer: PaymentRequirements,
    /// What that costs; `None` for an asset that the policy allows and the wallet does not know.
    pub value: Option<OfferedValue>,
    /// Who pays, where the scheme says so.
    pub payer: Option<String>,
    /// When it was signed.
    pub signed_at: UnixTime,
    /// The resource as the 402 names it.
    pub resource_url: Option<String>,
    /// The seller's signature on the offer, if there is one.
    pub signed_offer: Option<CheckedOffer>,
    /// The purchase that it was signed for, in the wallet's ledger.
    pub intent: Option<IntentId>,
    /// What it promises on a channel, if it is paid on one.
    pub channel: Option<ChannelNote>,
}

impl SignedPayment {
    /// When the authorization is over: signed time and the offer's `maxTimeoutSeconds`.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let payment = wallet().pay(&required(), &url()).await?;
    /// assert_eq!(payment.expires_at(), payment.signed_at.plus_seconds(60));
    /// # Ok(()) }
    /// ```
    pub fn expires_at(&self) -> UnixTime {
        self.signed_at.plus_seconds(self.offer.max_timeout_seconds)
    }
}

/// Signs a payment for an offer that may be paid.
pub(crate) async fn sign(
    required: &PaymentRequired,
    chosen: &JudgedOffer,
    scheme: &dyn BuyerScheme,
    clock: &dyn Clock,
    codes: &[BuilderCode],
) -> Result<SignedPayment, SignError> {
    let signed_at = clock.now();
    let payload = scheme.sign(required, &chosen.offer, signed_at).await?;
    payment_of(payload, required, chosen, signed_at, codes)
}

/// What was signed for an offer, as it travels.
pub(crate) fn payment_of(
    mut payload: PaymentPayload,
    required: &PaymentRequired,
    chosen: &JudgedOffer,
    signed_at: UnixTime,
    codes: &[BuilderCode],
) -> Result<SignedPayment, SignError> {
    identify(&mut payload)?;
    if payload.version == X402Version::V2 {
        builder_code::append(&mut payload.extensions, codes);
    }
    let (name, text) = wire::encode_payment_header(&payload);
    let payer = payer_of(&payload);
    tracing::info!(
        network = %chosen.offer.network,
        asset = %chosen.offer.asset,
        amount = %chosen.offer.amount,
        pay_to = %chosen.offer.pay_to,
        payer,
        "signed a payment"
    );
    let JudgedOffer { offer, value, signed: signed_offer, .. } = chosen.clone();
    let header = PaymentHeader { name, value: text };
    let resource_url = required.resource.as_ref().map(|resource| resource.url.clone());
    Ok(SignedPayment {
        header,
        offer,
        value,
        payer,
        signed_at,
        resource_url,
        signed_offer,
        intent: None,
        channel: None,
    })
}

/// Names the payment where the seller asks for its name (extension `payment-identifier`). Nobody signs it: it is a secret
/// between the two, the same at each presentation, by which a seller knows who bought an answer.
fn identify(payload: &mut PaymentPayload) -> Result<(), SignError> {
    let declared = payload.extensions.get_mut("payment-identifier");
    let info = declared.and_then(|declared| declared.get_mut("info")).and_then(|info| info.as_object_mut());
    if let Some(info) = info.filter(|info| !info.contains_key("id")) {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| SignError::Signer(error.to_string()))?;
        info.insert("id".to_owned(), format!("pay_{}", hex::encode(id)).into());
    }
    Ok(())
}

/// Who pays, as the payload itself says: every authorization on EVM names its signer, a commitment its account.
fn payer_of(payload: &PaymentPayload) -> Option<String> {
    if let Some(terms) = payload.payload.get("channelConfig") {
        return terms.get("payer")?.as_str().map(str::to_owned);
    }
    if payload.network().as_str() == CREDIT_NETWORK {
        return payload.payload.get("account")?.as_str().map(str::to_owned);
    }
    let authorization =
        ["authorization", "permit2Authorization"].iter().find_map(|name| payload.payload.get(*name))?;
    authorization.get("from")?.as_str().map(str::to_owned)
}

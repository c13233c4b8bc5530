//! The extension `offer-receipt`: offers that a seller has signed, and receipts for what it has served.
//!
//! - [`OfferTerms`], [`ReceiptTerms`]: what they say.
//! - [`SignedOffer`], [`SignedReceipt`]: read strictly, and checked: is the signature right, and whose is it.
//! - [`Issuer`]: the seller's pen, by EIP-712 or by JWS.
//! - [`Keys`]: which keys a verifier knows to be the seller's.
//! - With feature `rpc`: [`confirm`], the chain's word on a receipt.
//!
//! Nothing here asks anybody but that node. What does not live here: when a seller signs and what a buyer makes of it.

mod issue;
mod jws;
mod key;
#[cfg(feature = "rpc")]
mod on_chain;
mod signed;
mod terms;
mod typed_data;

use serde_json::json;
use tollway_core::JsonObject;
use tollway_core::wire::{Fields, WireError};

pub use issue::{Issuer, JwsSigner, LocalJwsSigner};
pub use key::{Algorithm, Keys};
#[cfg(feature = "rpc")]
pub use on_chain::confirm;
pub use signed::{SignedOffer, SignedReceipt, Standing};
pub use terms::{Binding, Facts, OfferTerms, ReceiptTerms};

/// The extension's name.
pub const NAME: &str = "offer-receipt";

/// The most offers of one 402 that are read.
const MAX_OFFERS: usize = 64;

/// What a 402 declares that shows `offers`, made by [`Issuer::sign_offer`].
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/receipt.rs"));
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tollway_evm::offer_receipt;
/// let signed = issuer().sign_offer(&offer(), 0).await?.expect("an EVM network");
/// let mut extensions = tollway_core::JsonObject::new();
/// extensions.insert(offer_receipt::NAME.to_owned(), offer_receipt::declare_offers(vec![signed]).into());
/// assert_eq!(offer_receipt::offers_in(&extensions)?[0].terms(), &offer());
/// # Ok(()) }
/// ```
pub fn declare_offers(offers: Vec<JsonObject>) -> JsonObject {
    declare("offers", offers.into(), json!({ "type": "array", "items": signed_schema() }))
}

/// What a settlement response says that shows `receipt`, made by [`Issuer::sign_receipt`].
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/receipt.rs"));
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tollway_evm::offer_receipt;
/// let signed = issuer().sign_receipt(&receipt()).await?.expect("an EVM network");
/// let mut extensions = tollway_core::JsonObject::new();
/// extensions.insert(offer_receipt::NAME.to_owned(), offer_receipt::declare_receipt(signed).into());
/// assert_eq!(offer_receipt::receipt_in(&extensions)?.unwrap().terms(), &receipt());
/// # Ok(()) }
/// ```
pub fn declare_receipt(receipt: JsonObject) -> JsonObject {
    declare("receipt", receipt.into(), signed_schema())
}

/// The signed offers among the extensions of a 402; none if there are none.
///
/// # Errors
/// [`WireError`] naming the field of one that cannot be read.
///
/// ```
/// use tollway_core::JsonObject;
/// use tollway_evm::offer_receipt;
/// assert!(offer_receipt::offers_in(&JsonObject::new())?.is_empty());
/// # Ok::<(), tollway_core::wire::WireError>(())
/// ```
pub fn offers_in(extensions: &JsonObject) -> Result<Vec<SignedOffer>, WireError> {
    let Some(mut info) = info(extensions)? else { return Ok(Vec::new()) };
    // A seller that only gives receipts declares the extension without offers.
    let Some(offers) = info.take("offers") else { return Ok(Vec::new()) };
    let mut list = JsonObject::new();
    list.insert("offers".to_owned(), offers);
    let list = Fields::root(list).at(&format!("extensions.{NAME}.info")).objects("offers", MAX_OFFERS)?;
    list.into_iter().map(SignedOffer::read_fields).collect()
}

/// The signed receipt among the extensions of a settlement response; none if there is none.
///
/// # Errors
/// [`WireError`] naming the field that cannot be read.
///
/// ```
/// use tollway_core::JsonObject;
/// use tollway_evm::offer_receipt;
/// assert!(offer_receipt::receipt_in(&JsonObject::new())?.is_none());
/// # Ok::<(), tollway_core::wire::WireError>(())
/// ```
pub fn receipt_in(extensions: &JsonObject) -> Result<Option<SignedReceipt>, WireError> {
    let Some(mut info) = info(extensions)? else { return Ok(None) };
    info.optional_object("receipt")?.map(|receipt| SignedReceipt::read(receipt.rest())).transpose()
}

fn info(extensions: &JsonObject) -> Result<Option<Fields>, WireError> {
    let Some(declared) = extensions.get(NAME) else { return Ok(None) };
    let mut only = JsonObject::new();
    only.insert(NAME.to_owned(), declared.clone());
    Fields::root(only).at("extensions").object(NAME)?.optional_object("info")
}

fn declare(name: &str, value: serde_json::Value, schema: serde_json::Value) -> JsonObject {
    let mut info = JsonObject::new();
    info.insert(name.to_owned(), value);
    let mut properties = JsonObject::new();
    properties.insert(name.to_owned(), schema);
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object", "properties": properties, "required": [name],
    });
    JsonObject::from_iter([("info".to_owned(), info.into()), ("schema".to_owned(), schema)])
}

/// Short on purpose: it travels in a header.
fn signed_schema() -> serde_json::Value {
    json!({ "type": "object", "required": ["format", "signature"] })
}

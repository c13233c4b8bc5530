//! A signed offer or receipt as a verifier sees it: its form, its signature, and whose that is.

use alloy_primitives::{Address, hex};
use tollway_core::JsonObject;
use tollway_core::wire::{Fields, WireError};
use url::Url;

use super::jws::Jws;
use super::key::{Keys, PublicKey, account_of_did, clip, host_of_did, is_signed_by};
use super::terms::{Beside, OfferTerms, ReceiptTerms, is_evm_account};
use super::typed_data;
use crate::exact::parse_address;
use crate::signature;

/// Whose a signature is, as far as that can be told without asking anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The account that is paid signed it.
    PayTo,
    /// A key that the verifier knows to be the seller's signed it.
    Trusted,
    /// It is somebody's good signature, and nothing here says that they are the seller: who.
    Stranger(String),
    /// The key is not here, so the signature has not been checked: which key.
    Unchecked(String),
}

/// An offer that a seller has signed.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedOffer {
    terms: OfferTerms,
    form: Form,
    json: JsonObject,
}

/// A receipt that a seller has signed.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedReceipt {
    terms: ReceiptTerms,
    form: Form,
    json: JsonObject,
}

#[derive(Clone, Debug, PartialEq)]
enum Form {
    Eip712 { signature: Vec<u8>, binding: Option<Vec<u8>> },
    Jws(Box<Jws>),
}

impl Standing {
    /// Whether the signature is known to be the seller's.
    ///
    /// ```
    /// use tollway_evm::offer_receipt::Standing;
    /// assert!(Standing::PayTo.is_sellers() && !Standing::Stranger("0x…".to_owned()).is_sellers());
    /// ```
    pub const fn is_sellers(&self) -> bool {
        matches!(self, Self::PayTo | Self::Trusted)
    }
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PayTo => f.write_str("signed by who is paid"),
            Self::Trusted => f.write_str("signed by a key that is known to be the seller's"),
            Self::Stranger(who) => {
                write!(f, "signed by {who}, which nothing here shows to be the seller's")
            }
            Self::Unchecked(kid) => write!(f, "not checked: the key {kid} is not here"),
        }
    }
}

impl SignedOffer {
    /// Reads one as it stands in a 402.
    ///
    /// # Errors
    /// [`WireError`] naming the field and the rule.
    ///
    /// ```
    /// use tollway_core::JsonObject;
    /// use tollway_evm::offer_receipt::SignedOffer;
    /// let error = SignedOffer::read(JsonObject::new()).unwrap_err();
    /// assert_eq!(error.to_string(), "offer.format: is required");
    /// ```
    pub fn read(json: JsonObject) -> Result<Self, WireError> {
        Self::read_fields(Fields::root(json).at("offer"))
    }

    pub(super) fn read_fields(mut fields: Fields) -> Result<Self, WireError> {
        let json = fields.clone().rest();
        let (form, payload) = Form::read(&mut fields)?;
        let terms = OfferTerms::read(payload)?;
        if matches!(form, Form::Eip712 { .. }) && !is_evm_account(&terms.network, &terms.pay_to) {
            return Err(
                fields.error("payload.payTo", "must be an account of an EVM network with format eip712")
            );
        }
        Ok(Self { terms, form, json })
    }

    /// What it says.
    ///
    /// ```
    /// use tollway_evm::offer_receipt::SignedOffer;
    /// fn is_over(offer: &SignedOffer, now: tollway_core::UnixTime) -> bool {
    ///     offer.terms().valid_until.is_some_and(|until| now > until)
    /// }
    /// ```
    pub const fn terms(&self) -> &OfferTerms {
        &self.terms
    }

    /// The object as it came, to be kept or shown to others.
    ///
    /// ```
    /// use tollway_evm::offer_receipt::SignedOffer;
    /// fn text(offer: &SignedOffer) -> String {
    ///     serde_json::Value::Object(offer.json().clone()).to_string()
    /// }
    /// ```
    pub const fn json(&self) -> &JsonObject {
        &self.json
    }

    /// Checks the signature, and says whose it is.
    ///
    /// # Errors
    /// [`WireError`] on `offer.signature`: it is nobody's, or not that of the key it names.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/receipt.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_evm::offer_receipt::{Keys, SignedOffer, Standing};
    /// let signed = SignedOffer::read(issuer().sign_offer(&offer(), 0).await?.unwrap())?;
    /// assert_eq!(signed.check(&Keys::default())?, Standing::PayTo);
    /// # Ok(()) }
    /// ```
    pub fn check(&self, keys: &Keys) -> Result<Standing, WireError> {
        let at =
            Claim { path: "offer", url: &self.terms.resource_url, pay_to: Some(&self.terms.pay_to), keys };
        match &self.form {
            Form::Eip712 { signature, .. } => {
                at.account(recover(&typed_data::offer(&self.terms), signature, "offer.signature")?)
            }
            Form::Jws(jws) => at.jws(jws),
        }
    }
}

impl SignedReceipt {
    /// Reads one as it stands in a settlement response.
    ///
    /// # Errors
    /// [`WireError`] naming the field and the rule.
    ///
    /// ```
    /// use tollway_core::wire::parse_object;
    /// use tollway_evm::offer_receipt::SignedReceipt;
    /// let json = parse_object(br#"{"format":"jws","signature":"e30.e30"}"#, "receipt")?;
    /// assert!(SignedReceipt::read(json).unwrap_err().to_string().starts_with("receipt.signature: must be a compact"));
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn read(json: JsonObject) -> Result<Self, WireError> {
        let mut fields = Fields::root(json.clone()).at("receipt");
        let (form, payload) = Form::read(&mut fields)?;
        let beside = match &form {
            Form::Jws(_) => Beside::Payload,
            // What nobody signed is not believed.
            Form::Eip712 { binding: None, .. } => Beside::Nothing,
            Form::Eip712 { binding: Some(_), .. } => Beside::Object(fields.object("binding")?),
        };
        let terms = ReceiptTerms::read(payload, beside)?;
        if let Form::Eip712 { binding, .. } = &form {
            if terms.network.evm_chain_id().is_none() {
                return Err(fields.error("payload.network", "must be an EVM network with format eip712"));
            }
            if binding.is_some() && terms.binding.is_none() {
                return Err(fields.error("binding.request", "is required beside bindingSignature"));
            }
        }
        Ok(Self { terms, form, json })
    }

    /// What it says.
    ///
    /// ```
    /// use tollway_evm::offer_receipt::SignedReceipt;
    /// fn transaction(receipt: &SignedReceipt) -> Option<&str> {
    ///     receipt.terms().transaction.as_deref()
    /// }
    /// ```
    pub const fn terms(&self) -> &ReceiptTerms {
        &self.terms
    }

    /// The object as it came, to be kept or shown to others.
    ///
    /// ```
    /// use tollway_evm::offer_receipt::SignedReceipt;
    /// fn text(receipt: &SignedReceipt) -> String {
    ///     serde_json::Value::Object(receipt.json().clone()).to_string()
    /// }
    /// ```
    pub const fn json(&self) -> &JsonObject {
        &self.json
    }

    /// Checks the signatures, and says whose they are. A standard receipt does not say who is paid: `pay_to` does; one of
    /// ours says it itself.
    ///
    /// # Errors
    /// [`WireError`] on the signature: it is nobody's, or not that of the key it names.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/receipt.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_evm::offer_receipt::{Keys, SignedReceipt, Standing};
    /// let signed = SignedReceipt::read(issuer().sign_receipt(&receipt()).await?.unwrap())?;
    /// assert_eq!(signed.check(None, &Keys::default())?, Standing::PayTo);
    /// # Ok(()) }
    /// ```
    pub fn check(&self, pay_to: Option<&str>, keys: &Keys) -> Result<Standing, WireError> {
        let bound = self.terms.binding.as_ref();
        let pay_to = pay_to.or(bound.map(|bound| &*bound.pay_to));
        let at = Claim { path: "receipt", url: &self.terms.resource_url, pay_to, keys };
        match &self.form {
            Form::Jws(jws) => at.jws(jws),
            Form::Eip712 { signature, binding } => {
                let signer = recover(&typed_data::receipt(&self.terms), signature, "receipt.signature")?;
                if let (Some(bound), Some(signature)) = (bound, binding) {
                    let field = "receipt.bindingSignature";
                    let message = typed_data::bound_receipt(&self.terms, bound);
                    if recover(&message, signature, field)? != signer {
                        return Err(wrong(field, "must be by the signer of the receipt, over its payload"));
                    }
                }
                at.account(signer)
            }
        }
    }
}

impl Form {
    /// The form, and the payload that is signed.
    fn read(fields: &mut Fields) -> Result<(Self, Fields), WireError> {
        let payload = fields.optional_object("payload")?;
        let format = fields.string("format")?;
        match (&*format, payload) {
            ("eip712", Some(payload)) => {
                let signature = fields.string("signature")?;
                let signature = hex_signature(fields, "signature", &signature)?;
                let binding = fields.optional_string("bindingSignature")?;
                let binding =
                    binding.map(|text| hex_signature(fields, "bindingSignature", &text)).transpose()?;
                Ok((Self::Eip712 { signature, binding }, payload))
            }
            ("eip712", None) => Err(fields.error("payload", "is required with format eip712")),
            ("jws", None) => {
                let path = fields.error("signature", "").field;
                let jws = Jws::read(&fields.string("signature")?, &path)?;
                let payload = Fields::root(jws.payload.clone()).at(&format!("{path}.payload"));
                Ok((Self::Jws(Box::new(jws)), payload))
            }
            // Two payloads could say two things.
            ("jws", Some(_)) => Err(fields.error("payload", "must be left out with format jws")),
            _ => Err(fields.error("format", "must be eip712 or jws")),
        }
    }
}

/// What a signature is held against.
struct Claim<'a> {
    path: &'a str,
    url: &'a str,
    pay_to: Option<&'a str>,
    keys: &'a Keys,
}

impl Claim<'_> {
    fn account(&self, signer: Address) -> Result<Standing, WireError> {
        Ok(if self.pay_to.and_then(parse_address) == Some(signer) {
            Standing::PayTo
        } else if self.keys.has_account(signer) {
            Standing::Trusted
        } else {
            Standing::Stranger(signer.to_string())
        })
    }

    fn jws(&self, jws: &Jws) -> Result<Standing, WireError> {
        let field = format!("{}.signature", self.path);
        let check = |key: &PublicKey| {
            let is_good = key.verifies(jws.algorithm, jws.signed.as_bytes(), &jws.signature);
            is_good
                .then_some(())
                .ok_or_else(|| wrong(&field, "must be by the key that it names, over its payload"))
        };
        if let Some(key) = self.keys.find(&jws.kid) {
            check(key)?;
            return Ok(match host_of_did(&jws.kid) {
                // A key of one domain does not speak for another.
                Some(host) if !is_host_of(&host, self.url) => Standing::Stranger(clip(&jws.kid)),
                _ => Standing::Trusted,
            });
        }
        if let Some(account) = account_of_did(&jws.kid) {
            if !is_signed_by(account, jws.signed.as_bytes(), &jws.signature) {
                return Err(wrong(&field, "must be by the account that it names, over its payload"));
            }
            return self.account(account);
        }
        match PublicKey::of_did(&jws.kid) {
            Err(rule) => Err(wrong(&format!("{field}.header.kid"), rule)),
            Ok(None) => Ok(Standing::Unchecked(clip(&jws.kid))),
            Ok(Some(key)) => {
                check(&key)?;
                match key.address() {
                    Some(account) if self.account(account)?.is_sellers() => self.account(account),
                    _ => Ok(Standing::Stranger(clip(&jws.kid))),
                }
            }
        }
    }
}

fn recover(message: &[u8; 66], bytes: &[u8], field: &str) -> Result<Address, WireError> {
    let signature = signature::parse(bytes).map_err(|error| wrong(field, &error.to_string()))?;
    signature::recover(typed_data::digest(message), &signature)
        .map_err(|error| wrong(field, &error.to_string()))
}

fn is_host_of(host: &str, url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let bare = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => host == format!("{bare}:{port}"),
        None => host == bare,
    }
}

fn hex_signature(fields: &Fields, name: &str, text: &str) -> Result<Vec<u8>, WireError> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 130);
    let bytes = digits.and_then(|digits| hex::decode(digits).ok());
    bytes.ok_or_else(|| fields.error(name, "must be 0x and 130 hex digits"))
}

fn wrong(field: &str, rule: &str) -> WireError {
    WireError::new(tollway_core::ErrorCode::INVALID_PAYLOAD, field, rule)
}

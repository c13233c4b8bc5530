//! What an offer and a receipt say: the payloads, read strictly, written in one spelling.

use alloy_primitives::hex;
use serde_json::{Value, json};
use tollway_core::model::PaymentRequirements;
use tollway_core::wire::{Fields, WireError};
use tollway_core::{Amount, Fingerprint, JsonObject, Network, UnixTime, canonical_url};
use url::Url;

use crate::exact::parse_address;

/// The version of both payloads.
pub(super) const VERSION: u64 = 1;
/// The longest URL that is read.
const MAX_URL_BYTES: usize = 4096;
/// The longest of all other texts.
const MAX_TEXT_BYTES: usize = 256;

/// What a seller commits to with a signed offer (section 4.2 of the extension).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferTerms {
    /// The resource that is paid for.
    pub resource_url: String,
    /// The scheme's name.
    pub scheme: String,
    /// Where it settles.
    pub network: Network,
    /// The token.
    pub asset: String,
    /// Who is paid.
    pub pay_to: String,
    /// How much, atomic units.
    pub amount: Amount,
    /// Until when the seller commits to it; none for no end.
    pub valid_until: Option<UnixTime>,
}

/// What a seller states with a signed receipt: it was paid, and it served (section 5.2 of the extension).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptTerms {
    /// Where it settled.
    pub network: Network,
    /// The resource that was served.
    pub resource_url: String,
    /// Who paid.
    pub payer: String,
    /// When it was served.
    pub issued_at: UnixTime,
    /// The transaction, unless the seller keeps it to itself.
    pub transaction: Option<String>,
    /// What else is signed, which is not of the extension's standard.
    pub binding: Option<Binding>,
}

/// What our receipts say beside the standard: which money, for which request. Other verifiers pass over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The token.
    pub asset: String,
    /// Who was paid.
    pub pay_to: String,
    /// How much, atomic units.
    pub amount: Amount,
    /// Which event of its block: several payments may share one transaction. None where the facilitator did not tell it.
    pub log_index: Option<u64>,
    /// The request that was served.
    pub request: Fingerprint,
}

/// What a verifier knows of a payment without its receipt. What is not known is not compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The resource, as the seller named it or as it was asked for.
    pub resource_url: Option<&'a str>,
    /// Where it settled.
    pub network: Option<&'a Network>,
    /// Who paid.
    pub payer: Option<&'a str>,
    /// The token.
    pub asset: Option<&'a str>,
    /// Who was paid.
    pub pay_to: Option<&'a str>,
    /// How much, atomic units.
    pub amount: Option<Amount>,
    /// The transaction.
    pub transaction: Option<&'a str>,
    /// The request.
    pub request: Option<Fingerprint>,
}

impl OfferTerms {
    /// The terms of `offer` for the resource at `resource_url`.
    ///
    /// ```
    /// use tollway_core::UnixTime;
    /// use tollway_evm::offer_receipt::OfferTerms;
    /// # let json = br#"{"x402Version":2,"accepts":[{"scheme":"exact","network":"eip155:8453",
    /// #   "amount":"10000","asset":"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913","maxTimeoutSeconds":60,
    /// #   "payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C"}]}"#;
    /// # let offer = tollway_core::wire::decode_payment_required(json)?.accepts.remove(0);
    /// let terms = OfferTerms::of(&offer, "https://api.example.com/data", Some(UnixTime(1_750_000_000)));
    /// assert!(terms.is_of(&offer));
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn of(offer: &PaymentRequirements, resource_url: &str, valid_until: Option<UnixTime>) -> Self {
        Self {
            resource_url: resource_url.to_owned(),
            scheme: offer.scheme.as_str().to_owned(),
            network: offer.network.clone(),
            asset: offer.asset.clone(),
            pay_to: offer.pay_to.clone(),
            amount: offer.amount,
            valid_until,
        }
    }

    /// Whether these are the terms of `offer`: the fields decide, never an index.
    ///
    /// ```
    /// use tollway_core::Amount;
    /// use tollway_evm::offer_receipt::OfferTerms;
    /// # let json = br#"{"x402Version":2,"accepts":[{"scheme":"exact","network":"eip155:8453",
    /// #   "amount":"10000","asset":"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913","maxTimeoutSeconds":60,
    /// #   "payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C"}]}"#;
    /// # let mut offer = tollway_core::wire::decode_payment_required(json)?.accepts.remove(0);
    /// let terms = OfferTerms::of(&offer, "https://api.example.com/data", None);
    /// offer.amount = Amount::from(10_001u64);
    /// assert!(!terms.is_of(&offer));
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn is_of(&self, offer: &PaymentRequirements) -> bool {
        let same = |one: &str, other: &str| same_account(&self.network, one, other);
        self.scheme == offer.scheme.as_str()
            && self.network == offer.network
            && self.amount == offer.amount
            && same(&self.asset, &offer.asset)
            && same(&self.pay_to, &offer.pay_to)
    }

    pub(super) fn read(mut fields: Fields) -> Result<Self, WireError> {
        version(&mut fields)?;
        let valid_until = optional_number(&mut fields, "validUntil")?;
        Ok(Self {
            resource_url: url(&mut fields)?,
            scheme: text(&mut fields, "scheme")?,
            network: network(&mut fields)?,
            asset: text(&mut fields, "asset")?,
            pay_to: text(&mut fields, "payTo")?,
            amount: fields.amount("amount")?,
            valid_until: valid_until.filter(|seconds| *seconds != 0).map(UnixTime),
        })
    }

    /// The payload, its keys in the order of the standard. `with_zeros` writes what is absent as the typed data has it.
    pub(super) fn payload(&self, with_zeros: bool) -> JsonObject {
        let mut payload = object(json!({
            "version": VERSION, "resourceUrl": self.resource_url, "scheme": self.scheme,
            "network": self.network.as_str(), "asset": self.asset, "payTo": self.pay_to,
            "amount": self.amount.to_string(),
        }));
        if self.valid_until.is_some() || with_zeros {
            payload.insert("validUntil".to_owned(), self.valid_until.map_or(0, |until| until.0).into());
        }
        payload
    }
}

impl ReceiptTerms {
    /// Every way in which the receipt contradicts what is known of the payment, each by its field. What is known and the
    /// receipt does not say is no contradiction: standard receipts say little.
    ///
    /// ```
    /// use tollway_core::{Network, UnixTime};
    /// use tollway_evm::offer_receipt::{Facts, ReceiptTerms};
    /// let terms = ReceiptTerms {
    ///     network: Network::evm(8453),
    ///     resource_url: "https://api.example.com/data".to_owned(),
    ///     payer: "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266".to_owned(),
    ///     issued_at: UnixTime(1_750_000_000),
    ///     transaction: None,
    ///     binding: None,
    /// };
    /// let other = Facts { network: Some(&Network::evm(1)), ..Facts::default() };
    /// assert_eq!(terms.contradictions(&other)[0].to_string(), "receipt.network: must be eip155:1");
    /// assert!(terms.contradictions(&Facts::default()).is_empty());
    /// ```
    pub fn contradictions(&self, facts: &Facts<'_>) -> Vec<WireError> {
        let account = |one: &str, other: &str| same_account(&self.network, one, other);
        let bound = self.binding.as_ref();
        let texts = [
            (
                "resourceUrl",
                Some(&*self.resource_url),
                facts.resource_url,
                same_url as fn(&str, &str) -> bool,
            ),
            ("network", Some(self.network.as_str()), facts.network.map(Network::as_str), |one, other| {
                one == other
            }),
        ];
        let accounts = [
            ("payer", Some(&*self.payer), facts.payer),
            ("transaction", self.transaction.as_deref(), facts.transaction),
            ("asset", bound.map(|bound| &*bound.asset), facts.asset),
            ("payTo", bound.map(|bound| &*bound.pay_to), facts.pay_to),
        ];
        let mut wrong = Vec::new();
        let mut must_be = |field: &str, known: String| wrong.push(fault(field, &format!("must be {known}")));
        for (field, said, known, same) in texts {
            if let (Some(said), Some(known)) = (said, known)
                && !same(said, known)
            {
                must_be(field, known.to_owned());
            }
        }
        for (field, said, known) in accounts {
            if let (Some(said), Some(known)) = (said, known)
                && !account(said, known)
            {
                must_be(field, known.to_owned());
            }
        }
        if let (Some(bound), Some(known)) = (bound, facts.amount)
            && bound.amount != known
        {
            must_be("amount", known.to_string());
        }
        if let (Some(bound), Some(known)) = (bound, facts.request)
            && bound.request != known
        {
            must_be("request", fingerprint_text(&known));
        }
        wrong
    }

    /// Reads a payload, and what stands beside it of ours: in an object of its own, or in the payload itself.
    pub(super) fn read(mut fields: Fields, beside: Beside) -> Result<Self, WireError> {
        version(&mut fields)?;
        let network = network(&mut fields)?;
        let transaction = fields.optional_string("transaction")?.filter(|hash| !hash.is_empty());
        if let Some(hash) = &transaction
            && network.namespace() == "eip155"
            && !is_hash(hash)
        {
            return Err(fields.error("transaction", "must be 0x and 64 hex digits"));
        }
        if transaction.as_ref().is_some_and(|hash| hash.len() > MAX_TEXT_BYTES) {
            return Err(fields.error("transaction", format!("must be at most {MAX_TEXT_BYTES} bytes long")));
        }
        Ok(Self {
            network,
            resource_url: url(&mut fields)?,
            payer: text(&mut fields, "payer")?,
            issued_at: UnixTime(fields.number("issuedAt")?),
            transaction,
            binding: match beside {
                Beside::Payload => Binding::read(fields)?,
                Beside::Object(bound) => Binding::read(bound)?,
                Beside::Nothing => None,
            },
        })
    }

    /// The standard's payload, its keys in the order of the standard.
    pub(super) fn payload(&self, with_zeros: bool) -> JsonObject {
        let mut payload = object(json!({
            "version": VERSION, "network": self.network.as_str(), "resourceUrl": self.resource_url,
            "payer": self.payer, "issuedAt": self.issued_at.0,
        }));
        if self.transaction.is_some() || with_zeros {
            payload.insert("transaction".to_owned(), self.transaction.clone().unwrap_or_default().into());
        }
        payload
    }
}

/// Where a receipt says what the standard has no fields for.
pub(super) enum Beside {
    /// In the payload: all of it is signed.
    Payload,
    /// In an object with a signature of its own.
    Object(Fields),
    /// Nowhere that is signed.
    Nothing,
}

impl Binding {
    /// Its fields in the order of the type that is signed.
    pub(super) fn write(&self) -> JsonObject {
        let mut bound = object(json!({
            "asset": self.asset, "payTo": self.pay_to, "amount": self.amount.to_string(),
        }));
        if let Some(log_index) = self.log_index {
            bound.insert("logIndex".to_owned(), log_index.into());
        }
        bound.insert("request".to_owned(), fingerprint_text(&self.request).into());
        bound
    }

    /// What is bound; none if the payload has no `request`, by which we know our own.
    fn read(mut fields: Fields) -> Result<Option<Self>, WireError> {
        let Some(request) = fields.optional_string("request")? else { return Ok(None) };
        let digits = request.strip_prefix("0x").filter(|digits| digits.len() == 64);
        let mut digest = [0; 32];
        digits
            .and_then(|digits| hex::decode_to_slice(digits, &mut digest).ok())
            .ok_or_else(|| fields.error("request", "must be 0x and 64 hex digits"))?;
        Ok(Some(Self {
            asset: text(&mut fields, "asset")?,
            pay_to: text(&mut fields, "payTo")?,
            amount: fields.amount("amount")?,
            log_index: optional_number(&mut fields, "logIndex")?,
            request: Fingerprint::from_bytes(digest),
        }))
    }
}

/// A request's fingerprint as receipts spell it.
pub(super) fn fingerprint_text(request: &Fingerprint) -> String {
    hex::encode_prefixed(request.as_bytes())
}

/// Two spellings of one account, contract or hash: on EVM, letter case is a checksum and no more.
pub(super) fn same_account(network: &Network, one: &str, other: &str) -> bool {
    if network.namespace() == "eip155" { one.eq_ignore_ascii_case(other) } else { one == other }
}

/// Two spellings of one URL.
pub(super) fn same_url(one: &str, other: &str) -> bool {
    let canonical = |url: &str| Url::parse(url).ok().map(|url| canonical_url(&url));
    one == other || canonical(one).is_some_and(|one| canonical(other) == Some(one))
}

/// A receipt that is not as it must be.
pub(super) fn fault(field: &str, rule: &str) -> WireError {
    WireError::new(tollway_core::ErrorCode::INVALID_PAYLOAD, format!("receipt.{field}"), rule)
}

fn is_hash(text: &str) -> bool {
    let digits = text.strip_prefix("0x").unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

fn version(fields: &mut Fields) -> Result<(), WireError> {
    match fields.number("version")? {
        VERSION => Ok(()),
        other => Err(fields.error("version", format!("must be {VERSION}, not {other}"))),
    }
}

fn url(fields: &mut Fields) -> Result<String, WireError> {
    let url = bounded(fields, "resourceUrl", MAX_URL_BYTES)?;
    match Url::parse(&url) {
        Ok(_) => Ok(url),
        Err(error) => Err(fields.error("resourceUrl", format!("must be a URL: {error}"))),
    }
}

fn network(fields: &mut Fields) -> Result<Network, WireError> {
    let text = fields.string("network")?;
    text.parse().map_err(|error| fields.error("network", format!("{error}")))
}

fn text(fields: &mut Fields, name: &str) -> Result<String, WireError> {
    bounded(fields, name, MAX_TEXT_BYTES)
}

fn bounded(fields: &mut Fields, name: &str, max_bytes: usize) -> Result<String, WireError> {
    match fields.string(name)? {
        text if text.is_empty() => Err(fields.error(name, "must not be empty")),
        text if text.len() > max_bytes => {
            Err(fields.error(name, format!("must be at most {max_bytes} bytes long")))
        }
        text => Ok(text),
    }
}

fn optional_number(fields: &mut Fields, name: &str) -> Result<Option<u64>, WireError> {
    match fields.take(name) {
        None => Ok(None),
        Some(Value::Number(number)) if number.is_u64() => Ok(number.as_u64()),
        Some(_) => Err(fields.error(name, "must be a whole number, not negative")),
    }
}

/// Whether `text` is an address of the network that typed data may be about.
pub(super) fn is_evm_account(network: &Network, text: &str) -> bool {
    network.evm_chain_id().is_some() && parse_address(text).is_some()
}

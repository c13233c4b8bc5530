//! The wire: the only place that knows how protocol versions differ.
//!
//! | object | v2 | v1 |
//! |---|---|---|
//! | `PaymentRequired` | header `PAYMENT-REQUIRED` | 402 body |
//! | `PaymentPayload` | header `PAYMENT-SIGNATURE` | header `X-PAYMENT` |
//! | `SettleResponse` | header `PAYMENT-RESPONSE` | header `X-PAYMENT-RESPONSE` |
//!
//! Headers are standard padded base64 of compact JSON. Decoding is strict where two readers could
//! disagree (duplicate keys, number spellings) and lenient where they cannot (unknown fields, padding).
//! Every limit is checked before the work it bounds. Bad input is a [`WireError`] that names the field.

mod encode;
mod facilitator;
mod header;
mod json;
mod v1;
mod v2;

pub use facilitator::{
    decode_facilitator_request, decode_settle_response, decode_supported, decode_verify_response,
    encode_facilitator_request, encode_settle_response, encode_supported, encode_verify_response,
};
use header::encode_ascii_header;
pub use header::{MAX_HEADER_BYTES, decode_header, encode_header};
pub use json::{Fields, MAX_DEPTH, parse_object};

use crate::model::{PaymentPayload, PaymentRequired, SettleResponse, X402Version};
use crate::{ErrorCode, JsonObject};

/// v2 request header that carries the payment.
pub const PAYMENT_SIGNATURE: &str = "payment-signature";
/// v2 response header that carries the offers.
pub const PAYMENT_REQUIRED: &str = "payment-required";
/// v2 response header that carries the settlement.
pub const PAYMENT_RESPONSE: &str = "payment-response";
/// v1 request header that carries the payment.
pub const X_PAYMENT: &str = "x-payment";
/// v1 response header that carries the settlement.
pub const X_PAYMENT_RESPONSE: &str = "x-payment-response";
/// Response header of a facilitator: what it says of extensions, beside its answer.
pub const EXTENSION_RESPONSES: &str = "extension-responses";
/// Response header by which a handler charges less than the maximum; consumed by the paywall.
pub const SETTLEMENT_OVERRIDES: &str = "settlement-overrides";

/// Input that is not what the protocol says, by field and rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct WireError {
    /// The code for the peer.
    pub code: ErrorCode,
    /// The path of the field, such as `accepted.amount`, or the name of the header.
    pub field: String,
    /// The rule it breaks.
    pub rule: String,
}

impl WireError {
    /// `field` breaks `rule`.
    ///
    /// ```
    /// use tollway_core::{ErrorCode, wire::WireError};
    /// let error = WireError::new(ErrorCode::INVALID_PAYLOAD, "payload.nonce", "is required");
    /// assert_eq!(error.to_string(), "payload.nonce: is required");
    /// ```
    pub fn new(code: ErrorCode, field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { code, field: field.into(), rule: rule.into() }
    }
}

/// Decodes the JSON of a payment, of either version.
///
/// # Errors
/// [`WireError`] naming the field: not JSON, wrong shape, unknown version, a number spelled otherwise
/// than canonically.
///
/// ```
/// use tollway_core::wire;
/// let error = wire::decode_payment(br#"{"x402Version":3}"#).unwrap_err();
/// assert_eq!(error.to_string(), "x402Version: must be 1 or 2, not 3");
/// ```
pub fn decode_payment(json: &[u8]) -> Result<PaymentPayload, WireError> {
    payment_from(Fields::root(parse_object(json, "payment")?))
}

fn payment_from(mut fields: Fields) -> Result<PaymentPayload, WireError> {
    match fields.version()? {
        X402Version::V1 => v1::decode_payment(fields),
        X402Version::V2 => v2::decode_payment(fields),
    }
}

/// The JSON of a payment, in its own version.
///
/// ```
/// use tollway_core::wire;
/// let json = br#"{"x402Version":1,"scheme":"exact","network":"eip155:8453","payload":{}}"#;
/// assert_eq!(wire::encode_payment(&wire::decode_payment(json)?)["network"], "base");
/// # Ok::<(), wire::WireError>(())
/// ```
pub fn encode_payment(payment: &PaymentPayload) -> JsonObject {
    match payment.version {
        X402Version::V1 => v1::encode_payment(payment),
        X402Version::V2 => v2::encode_payment(payment),
    }
}

/// The request header a payment travels in: its name and value.
///
/// ```
/// use tollway_core::wire;
/// let json = br#"{"x402Version":1,"scheme":"exact","network":"base","payload":{}}"#;
/// let (name, value) = wire::encode_payment_header(&wire::decode_payment(json)?);
/// assert_eq!((name, wire::decode_header(name, value.as_bytes())?.as_slice()), ("x-payment", &json[..]));
/// # Ok::<(), wire::WireError>(())
/// ```
pub fn encode_payment_header(payment: &PaymentPayload) -> (&'static str, String) {
    let payload = encode_payment(payment);
    match payment.version {
        X402Version::V1 => (X_PAYMENT, encode_ascii_header(&payload)),
        X402Version::V2 => (PAYMENT_SIGNATURE, encode_header(&payload)),
    }
}

/// Decodes the JSON of a `PaymentRequired`, of either version.
///
/// # Errors
/// [`WireError`] naming the field.
///
/// ```
/// use tollway_core::wire;
/// let json = br#"{"x402Version":1,"accepts":[{"scheme":"exact","network":"base","maxAmountRequired":"10000",
///     "resource":"https://api.example.com/weather","asset":"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
///     "payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","maxTimeoutSeconds":60}]}"#;
/// assert_eq!(wire::decode_payment_required(json)?.accepts[0].amount.to_decimal(6), "0.01");
/// # Ok::<(), wire::WireError>(())
/// ```
pub fn decode_payment_required(json: &[u8]) -> Result<PaymentRequired, WireError> {
    let mut fields = Fields::root(parse_object(json, "PaymentRequired")?);
    match fields.version()? {
        X402Version::V1 => v1::decode_payment_required(fields),
        X402Version::V2 => v2::decode_payment_required(fields),
    }
}

/// The JSON of a `PaymentRequired` in `version`, whatever version it came in: a seller answers an unpaid
/// request in both at once, the v2 object in the header and the v1 object in the body. In v1, offers on
/// networks without a v1 name are left out as long as one with a name remains.
///
/// ```
/// use tollway_core::{X402Version, wire};
/// # let json = br#"{"x402Version":2,"accepts":[{"scheme":"exact","network":"eip155:8453","amount":"10000",
/// #   "asset":"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913","maxTimeoutSeconds":60,
/// #   "payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C"}]}"#;
/// let required = wire::decode_payment_required(json)?;
/// let v1 = wire::encode_payment_required(&required, X402Version::V1);
/// assert_eq!(v1["accepts"][0]["maxAmountRequired"], "10000");
/// # Ok::<(), wire::WireError>(())
/// ```
pub fn encode_payment_required(required: &PaymentRequired, version: X402Version) -> JsonObject {
    match version {
        X402Version::V1 => v1::encode_payment_required(required),
        X402Version::V2 => v2::encode_payment_required(required),
    }
}

/// The response header a settlement travels in, for a buyer that speaks `version`: its name and value.
///
/// ```
/// use tollway_core::{Network, X402Version, model::SettleResponse, wire};
/// # let payer = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
/// # let hash = "0xabababababababababababababababababababababababababababababababab";
/// let settled = SettleResponse::settled(Network::evm(8453), payer, hash);
/// assert_eq!(wire::encode_settlement_header(&settled, X402Version::V1).0, "x-payment-response");
/// assert_eq!(wire::encode_settlement_header(&settled, X402Version::V2).0, "payment-response");
/// ```
pub fn encode_settlement_header(settlement: &SettleResponse, version: X402Version) -> (&'static str, String) {
    let response = encode_settle_response(settlement, version);
    match version {
        X402Version::V1 => (X_PAYMENT_RESPONSE, encode_ascii_header(&response)),
        X402Version::V2 => (PAYMENT_RESPONSE, encode_header(&response)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        decode_facilitator_request, decode_payment_required, decode_settle_response, encode_settle_response,
    };
    use crate::model::{Outcome, X402Version};

    fn offer(network: &str) -> Value {
        json!({
            "scheme": "exact", "network": network, "amount": "1", "maxAmountRequired": "1", "asset": "0x1",
            "payTo": "0x2", "maxTimeoutSeconds": 60, "resource": "https://a.example/x", "extra": {},
        })
    }

    #[test]
    fn an_offer_that_cannot_be_read_does_not_take_the_others_with_it() {
        for (version, good, bad) in [(2, "eip155:1", "somewhere"), (1, "base", "somewhere else")] {
            let decode = |offers: &[&str]| {
                let accepts: Vec<Value> = offers.iter().map(|network| offer(network)).collect();
                decode_payment_required(
                    json!({ "x402Version": version, "accepts": accepts }).to_string().as_bytes(),
                )
            };
            let required = decode(&[bad, good, bad]).unwrap();
            assert_eq!(required.accepts.len(), 1, "v{version}");
            let error = decode(&[bad]).unwrap_err();
            assert_eq!(error.field, "accepts[0].network", "v{version}");
            assert!(decode(&[]).unwrap().accepts.is_empty());
        }
    }

    #[test]
    fn the_version_of_a_facilitator_request_may_stand_outside_or_inside() {
        let request = |outer: Option<u64>, inner: Option<u64>| {
            let mut body = json!({
                "paymentPayload": { "payload": {}, "accepted": offer("eip155:1") },
                "paymentRequirements": offer("eip155:1"),
            });
            if let Some(version) = outer {
                body["x402Version"] = version.into();
            }
            if let Some(version) = inner {
                body["paymentPayload"]["x402Version"] = version.into();
            }
            decode_facilitator_request(body.to_string().as_bytes())
        };
        for (outer, inner) in [(Some(2), Some(2)), (Some(2), None), (None, Some(2))] {
            assert_eq!(request(outer, inner).unwrap().payment.version, X402Version::V2);
        }
        assert_eq!(request(None, None).unwrap_err().field, "x402Version");
        assert_eq!(request(Some(2), Some(1)).unwrap_err().field, "paymentPayload.x402Version");
    }

    #[test]
    fn a_failure_with_a_transaction_is_believed_only_where_its_code_says_that_nothing_moved() {
        let outcome = |reason: &str, transaction: &str| {
            let answer = json!({
                "success": false, "errorReason": reason, "transaction": transaction, "network": "eip155:1", "their": 1,
            });
            let network = "eip155:1".parse().unwrap();
            let answer = decode_settle_response(answer.to_string().as_bytes(), &network).unwrap();
            assert_eq!(encode_settle_response(&answer, X402Version::V2)["their"], 1, "kept");
            answer.outcome()
        };
        for reason in
            ["transaction_failed", "invalid_exact_evm_transaction_failed", "invalid_transaction_state"]
        {
            assert_eq!(outcome(reason, "0xab"), Outcome::Failed, "{reason}");
        }
        for reason in ["settlement_pending", "unexpected_settle_error", "their_own_timeout"] {
            assert_eq!(
                (outcome(reason, "0xab"), outcome(reason, "")),
                (Outcome::Pending, Outcome::Failed),
                "{reason}"
            );
        }
    }
}

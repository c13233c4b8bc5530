//! The decoders of protocol objects.

use std::fmt::Debug;

use serde_json::Value;
use tollway_core::model::X402Version;
use tollway_core::wire::{self, WireError};
use tollway_core::{JsonObject, Network};

/// The longest refusal: it becomes an answer, and answers are bounded.
const MAX_REFUSAL: usize = 512;

/// The header a payment travels in.
pub(crate) fn payment_header(data: &[u8]) {
    let Some(json) = accepted(wire::decode_header("payment-signature", data)) else { return };
    let Some(payment) = accepted(wire::decode_payment(&json)) else { return };
    let (_, header) = wire::encode_payment_header(&payment);
    if header.len() <= wire::MAX_HEADER_BYTES {
        let json = wire::decode_header("payment-signature", header.as_bytes()).expect("our own header");
        assert_eq!(wire::decode_payment(&json), Ok(payment));
    }
}

/// A payment without its base64, both versions.
pub(crate) fn payment_json(data: &[u8]) {
    identity(data, wire::decode_payment, wire::encode_payment);
}

/// What a seller asks for, both versions, each also written in the other.
pub(crate) fn payment_required(data: &[u8]) {
    let Some(required) = accepted(wire::decode_payment_required(data)) else { return };
    for version in [X402Version::V1, X402Version::V2] {
        let written = bytes(&wire::encode_payment_required(&required, version));
        let again = wire::decode_payment_required(&written);
        if (required.version, version) == (X402Version::V2, X402Version::V2) {
            assert_eq!(again, Ok(required.clone()));
        }
        // Writing may leave out what the version cannot say; what it wrote it reads and writes again unchanged.
        let again = again.expect("our own object");
        assert_eq!(bytes(&wire::encode_payment_required(&again, version)), written);
        for (ours, theirs) in again.accepts.iter().zip(&required.accepts) {
            if again.accepts.len() == required.accepts.len() {
                assert_eq!((ours.amount, &ours.pay_to), (theirs.amount, &theirs.pay_to));
            }
        }
    }
}

/// What a seller sends to a facilitator.
pub(crate) fn facilitator_request(data: &[u8]) {
    let Some(mut request) = accepted(wire::decode_facilitator_request(data)) else { return };
    // The older version writes a text that is absent as an empty one.
    if let (X402Version::V1, Some(resource)) = (request.payment.version, &mut request.payment.resource) {
        resource.description.get_or_insert_default();
        resource.mime_type.get_or_insert_default();
    }
    let written = bytes(&wire::encode_facilitator_request(&request));
    assert_eq!(wire::decode_facilitator_request(&written), Ok(request));
}

/// What a facilitator answers to a settlement, and what a seller hands to the buyer.
pub(crate) fn settle_response(data: &[u8]) {
    for version in [X402Version::V1, X402Version::V2] {
        identity(
            data,
            |json| wire::decode_settle_response(json, &Network::evm(8453)),
            |response| wire::encode_settle_response(response, version),
        );
    }
}

/// What a facilitator answers to a verification.
pub(crate) fn verify_response(data: &[u8]) {
    identity(data, wire::decode_verify_response, wire::encode_verify_response);
}

/// What a facilitator says it can do.
pub(crate) fn supported(data: &[u8]) {
    identity(data, wire::decode_supported, wire::encode_supported);
}

/// Decoding what was encoded gives back what was encoded.
fn identity<T: PartialEq + Debug>(
    data: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, WireError>,
    encode: impl Fn(&T) -> JsonObject,
) {
    if let Some(value) = accepted(decode(data)) {
        assert_eq!(decode(&bytes(&encode(&value))), Ok(value));
    }
}

/// The value, or nothing if it was refused as it should be.
fn accepted<T>(decoded: Result<T, WireError>) -> Option<T> {
    decoded
        .inspect_err(|refusal| {
            assert!(!refusal.field.is_empty() && !refusal.rule.is_empty(), "{refusal:?}");
            assert!(refusal.to_string().len() <= MAX_REFUSAL, "{refusal}");
        })
        .ok()
}

fn bytes(object: &JsonObject) -> Vec<u8> {
    Value::Object(object.clone()).to_string().into_bytes()
}

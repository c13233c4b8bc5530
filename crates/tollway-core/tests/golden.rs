//! Golden vectors: what the published TypeScript and Python packages put on the wire, read and written by us.
//!
//! The vectors are made by `interop/node/vectors.mjs` and `interop/python/vectors.py`. Three things hold for each:
//! we read what its maker meant, we write back the same object, and where the maker's key order and number of
//! spaces are ours, the very same bytes. How many are equal to the byte is pinned, so that a change shows.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a vector that cannot be read fails its test")]

use serde_json::{Value, json};
use tollway_core::model::{Accepted, PaymentRequirements, SettleResponse, X402Version};
use tollway_core::{ErrorCode, JsonObject, Network, wire};

/// One vector, as its generator wrote it.
struct Vector {
    name: String,
    kind: String,
    version: X402Version,
    wire: String,
    decoded: Value,
}

impl Vector {
    /// The JSON inside: of a header without its base64, of a body as it is.
    fn json(&self) -> Vec<u8> {
        if self.wire.starts_with('{') {
            return self.wire.clone().into_bytes();
        }
        wire::decode_header("header", self.wire.as_bytes())
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Read by our decoder, written by our encoder.
    fn reencoded(&self) -> JsonObject {
        let json = self.json();
        let encoded = match self.kind.as_str() {
            "payment-required" => wire::decode_payment_required(&json)
                .map(|required| wire::encode_payment_required(&required, self.version)),
            "payment-payload" => wire::decode_payment(&json).map(|payment| wire::encode_payment(&payment)),
            "facilitator-request" => wire::decode_facilitator_request(&json)
                .map(|request| wire::encode_facilitator_request(&request)),
            "settle-response" => wire::decode_settle_response(&json, &elsewhere())
                .map(|response| wire::encode_settle_response(&response, self.version)),
            "verify-response" => {
                wire::decode_verify_response(&json).map(|response| wire::encode_verify_response(&response))
            }
            "supported" => wire::decode_supported(&json).map(|response| wire::encode_supported(&response)),
            kind => panic!("{}: nobody knows the kind {kind}", self.name),
        };
        encoded.unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// What we would send in its place.
    fn rewired(&self) -> String {
        let object = self.reencoded();
        if self.wire.starts_with('{') {
            serde_json::to_string(&object).unwrap()
        } else {
            wire::encode_header(&object)
        }
    }
}

fn vectors(file: &str) -> Vec<Vector> {
    let path = format!("{}/tests/vectors/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let list: Vec<JsonObject> = serde_json::from_str(&text).unwrap();
    let text = |object: &JsonObject, key: &str| object[key].as_str().unwrap().to_owned();
    list.into_iter()
        .map(|object| Vector {
            name: format!("{file}/{}", text(&object, "name")),
            kind: text(&object, "kind"),
            version: X402Version::from_number(object["version"].as_u64().unwrap()).unwrap(),
            wire: text(&object, "wire"),
            decoded: object["decoded"].clone(),
        })
        .collect()
}

fn all_vectors() -> impl Iterator<Item = Vector> {
    ["typescript", "python"].into_iter().flat_map(vectors)
}

/// A network no vector names: a decoder that falls back to it is found out.
fn elsewhere() -> Network {
    Network::evm(999_999)
}

/// The object as our encoder may write it without changing what it says.
///
/// - `null` in a field of the protocol is the same as its absence; an empty `extensions` too;
/// - an older name of an error code is written with its present name.
fn said_our_way(vector: &Vector) -> Value {
    let mut expected = without_nulls(vector.decoded.clone());
    let object = expected.as_object_mut().unwrap();
    if object.get("extensions").is_some_and(|extensions| *extensions == json!({})) {
        object.shift_remove("extensions");
    }
    for reason in ["errorReason", "invalidReason"] {
        if let Some(Value::String(code)) = object.get_mut(reason) {
            *code = ErrorCode::from_wire(code).as_str().to_owned();
        }
    }
    expected
}

/// Without `null` in fields of the protocol; what a peer put into free-form objects stays.
fn without_nulls(value: Value) -> Value {
    const FREE_FORM: [&str; 4] = ["extra", "extensions", "payload", "outputSchema"];
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| {
                let value = if FREE_FORM.contains(&key.as_str()) { value } else { without_nulls(value) };
                (key, value)
            })
            .collect::<JsonObject>()
            .into(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        value => value,
    }
}

fn assert_terms(name: &str, terms: &PaymentRequirements, said: &Value, version: X402Version) {
    let (amount, network) = match version {
        X402Version::V1 => ("maxAmountRequired", terms.network.v1_name().unwrap().to_owned()),
        X402Version::V2 => ("amount", terms.network.to_string()),
    };
    assert_eq!(said["scheme"], terms.scheme.as_str(), "{name}");
    assert_eq!(said["network"], network, "{name}");
    assert_eq!(said[amount], terms.amount.to_string(), "{name}");
    assert_eq!(said["asset"], terms.asset, "{name}");
    assert_eq!(said["payTo"], terms.pay_to, "{name}");
    assert_eq!(said["maxTimeoutSeconds"], terms.max_timeout_seconds, "{name}");
    assert_eq!(said["extra"], Value::Object(terms.extra.clone()), "{name}");
}

#[test]
fn what_their_sellers_ask_we_read() {
    for vector in all_vectors().filter(|vector| vector.kind == "payment-required") {
        let required = wire::decode_payment_required(&vector.json()).unwrap();
        let (name, said) = (&vector.name, &vector.decoded);
        assert_eq!(required.version, vector.version, "{name}");
        assert_eq!(said.get("error").and_then(Value::as_str), required.error.as_deref(), "{name}");
        let resource = required.resource.unwrap();
        let url = match vector.version {
            X402Version::V1 => &said["accepts"][0]["resource"],
            X402Version::V2 => &said["resource"]["url"],
        };
        assert_eq!(*url, resource.url, "{name}");
        assert_eq!(said["accepts"].as_array().unwrap().len(), required.accepts.len(), "{name}");
        for (terms, said) in required.accepts.iter().zip(said["accepts"].as_array().unwrap()) {
            assert_terms(name, terms, said, vector.version);
            assert!(terms.payment_flow().is_some(), "{name}");
        }
        let extensions = said.get("extensions").cloned().unwrap_or_else(|| json!({}));
        assert_eq!(extensions, Value::Object(required.extensions), "{name}");
    }
}

#[test]
fn what_their_buyers_pay_we_read() {
    for vector in all_vectors().filter(|vector| vector.kind == "payment-payload") {
        let payment = wire::decode_payment(&vector.json()).unwrap();
        let (name, said) = (&vector.name, &vector.decoded);
        assert_eq!(payment.version, vector.version, "{name}");
        assert_eq!(said["payload"], Value::Object(payment.payload.clone()), "{name}");
        assert!(payment.payload["signature"].as_str().unwrap().starts_with("0x"), "{name}");
        match &payment.accepted {
            Accepted::Offer(offer) => assert_terms(name, offer, &said["accepted"], vector.version),
            Accepted::Kind { scheme, network } => {
                assert_eq!(vector.version, X402Version::V1, "{name}");
                assert_eq!(said["scheme"], scheme.as_str(), "{name}");
                assert_eq!(said["network"], network.v1_name().unwrap(), "{name}");
            }
        }
        let url = said.get("resource").map(|resource| resource["url"].as_str().unwrap());
        assert_eq!(url, payment.resource.as_ref().map(|resource| resource.url.as_str()), "{name}");
    }
}

#[test]
fn what_their_sellers_send_a_facilitator_we_read() {
    for vector in all_vectors().filter(|vector| vector.kind == "facilitator-request") {
        let request = wire::decode_facilitator_request(&vector.json()).unwrap();
        let (name, said) = (&vector.name, &vector.decoded);
        assert_terms(name, &request.requirements, &said["paymentRequirements"], vector.version);
        assert_eq!(said["paymentPayload"]["payload"], Value::Object(request.payment.payload), "{name}");
    }
}

#[test]
fn what_they_settled_we_read() {
    for vector in all_vectors().filter(|vector| vector.kind == "settle-response") {
        let response = wire::decode_settle_response(&vector.json(), &elsewhere()).unwrap();
        let (name, said) = (&vector.name, said_our_way(&vector));
        assert_ne!(response.network, elsewhere(), "{name}");
        assert_eq!(said["success"], response.success, "{name}");
        assert_eq!(said["transaction"], response.transaction, "{name}");
        let reason = response.error_reason.as_ref().map(ErrorCode::as_str);
        assert_eq!(said.get("errorReason").and_then(Value::as_str), reason, "{name}");
        assert_eq!(said.get("payer").and_then(Value::as_str), response.payer.as_deref(), "{name}");
        assert_eq!(said.get("amount").and_then(Value::as_str), response.amount.as_deref(), "{name}");
    }
}

#[test]
fn we_write_back_the_same_object() {
    for vector in all_vectors() {
        assert_eq!(Value::Object(vector.reencoded()), said_our_way(&vector), "{}", vector.name);
    }
}

#[test]
fn what_we_write_we_read_as_the_same() {
    for vector in all_vectors() {
        let again = Vector { wire: vector.rewired(), ..vector };
        assert_eq!(again.rewired(), again.wire, "{}", again.name);
    }
}

#[test]
fn we_write_the_same_bytes_where_the_key_order_is_ours() {
    let equal = |file: &str| {
        let all = vectors(file);
        let differ: Vec<_> = all
            .iter()
            .filter(|vector| vector.rewired() != vector.wire)
            .map(|vector| vector.name.clone())
            .collect();
        (all.len() - differ.len(), all.len(), differ)
    };
    let (same, all, differ) = equal("typescript");
    assert_eq!((same, all), (54, 65), "not equal to the byte: {differ:#?}");
    let (same, all, differ) = equal("python");
    assert_eq!((same, all), (9, 49), "not equal to the byte: {differ:#?}");
}

#[test]
fn padding_may_be_missing_and_the_alphabet_may_not_change() {
    for vector in all_vectors().filter(|vector| vector.kind == "payment-payload") {
        let bare = vector.wire.trim_end_matches('=');
        assert_eq!(
            wire::decode_header("header", bare.as_bytes()),
            wire::decode_header("header", vector.wire.as_bytes()),
            "{}",
            vector.name
        );
    }
    assert!(wire::decode_header("header", b"+/8=").is_ok());
    assert!(wire::decode_header("header", b"-_8=").is_err());
}

#[test]
fn a_header_for_a_v1_peer_is_ascii_inside() {
    let failed = SettleResponse::failed(Network::evm(84532), None, "“ü☃🚀”");
    for version in [X402Version::V1, X402Version::V2] {
        let (_, header) = wire::encode_settlement_header(&failed, version);
        let json = wire::decode_header("header", header.as_bytes()).unwrap();
        assert_eq!(json.is_ascii(), version == X402Version::V1);
        assert_eq!(wire::decode_settle_response(&json, &elsewhere()), Ok(failed.clone()));
    }
}

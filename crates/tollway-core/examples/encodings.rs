//! Prints what our encoders put on the wire, one JSON object a line, for the foreign decoders to read:
//! `{ name, kind, version, wire, object }`, where `object` is what the decoder must find inside `wire`.
//!
//! Each golden vector comes back in our own writing; besides, there are objects nobody sent us first.
#![expect(clippy::print_stdout, reason = "printing is all this program does")]

use std::error::Error;

use serde_json::{Value, json};
use tollway_core::model::{
    Accepted, FacilitatorRequest, PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo,
    SettleResponse, SupportedKind, SupportedResponse, VerifyResponse, X402Version,
};
use tollway_core::{Amount, ErrorCode, JsonObject, Network, SchemeName, wire};

const PAYER: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
const SELLER: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const TOKEN: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
const TRANSACTION: &str = "0xabababababababababababababababababababababababababababababababab";

fn main() -> Result<(), Box<dyn Error>> {
    for file in
        [include_str!("../tests/vectors/typescript.json"), include_str!("../tests/vectors/python.json")]
    {
        for vector in serde_json::from_str::<Vec<Value>>(file)? {
            reencode(&vector)?;
        }
    }
    for version in [X402Version::V1, X402Version::V2] {
        ours(version)?;
    }
    Ok(())
}

/// Reads a vector with our decoder and prints it in our writing.
fn reencode(vector: &Value) -> Result<(), Box<dyn Error>> {
    let text = |key: &str| vector[key].as_str().unwrap_or_default();
    let version = vector["version"].as_u64().and_then(X402Version::from_number).ok_or("version")?;
    let in_header = !text("wire").starts_with('{');
    let json = if in_header {
        wire::decode_header(text("name"), text("wire").as_bytes())?
    } else {
        text("wire").as_bytes().to_vec()
    };
    let name = text("name");
    let object = match text("kind") {
        "payment-required" => wire::encode_payment_required(&wire::decode_payment_required(&json)?, version),
        "payment-payload" => return emit_payment(name, &wire::decode_payment(&json)?),
        "facilitator-request" => wire::encode_facilitator_request(&wire::decode_facilitator_request(&json)?),
        "settle-response" => {
            let settlement = wire::decode_settle_response(&json, &Network::evm(8453))?;
            return emit_settlement(name, &settlement, version);
        }
        "verify-response" => wire::encode_verify_response(&wire::decode_verify_response(&json)?),
        "supported" => wire::encode_supported(&wire::decode_supported(&json)?),
        kind => return Err(format!("nobody knows the kind {kind}").into()),
    };
    emit(name, text("kind"), version, in_header, &object)
}

/// Objects made here.
fn ours(version: X402Version) -> Result<(), Box<dyn Error>> {
    let required = required(version);
    let object = wire::encode_payment_required(&required, version);
    emit("ours", "payment-required", version, version == X402Version::V2, &object)?;

    let Some(requirements) = required.accepts.first().cloned() else { return Err("no offer".into()) };
    let payment = payment(version, &required, &requirements);
    emit_payment("ours", &payment)?;
    let network = requirements.network.clone();
    let object = wire::encode_facilitator_request(&FacilitatorRequest { payment, requirements });
    emit("ours", "facilitator-request", version, false, &object)?;

    let failed =
        SettleResponse::failed(network.clone(), Some(ErrorCode::INVALID_NETWORK), "network: “unknown”");
    for (name, settlement) in [
        ("ours-settled", SettleResponse::settled(network.clone(), PAYER, TRANSACTION)),
        ("ours-pending", SettleResponse::pending(network.clone(), PAYER, TRANSACTION)),
        ("ours-failed", failed),
    ] {
        emit_settlement(name, &settlement, version)?;
    }
    if version == X402Version::V2 {
        let refused = VerifyResponse {
            invalid_reason: Some(ErrorCode::INVALID_SCHEME),
            invalid_message: Some("accepted.scheme: must be \"exact\"".to_owned()),
            ..VerifyResponse::default()
        };
        for (name, response) in [("ours-valid", VerifyResponse::valid(PAYER)), ("ours-refused", refused)] {
            emit(name, "verify-response", version, false, &wire::encode_verify_response(&response))?;
        }
        let kind = |version| SupportedKind {
            version,
            scheme: SchemeName::EXACT,
            network: network.clone(),
            extra: JsonObject::new(),
        };
        let supported = SupportedResponse {
            kinds: vec![kind(X402Version::V2), kind(X402Version::V1)],
            extensions: vec!["bazaar".to_owned()],
            signers: [("eip155:*".to_owned(), vec![SELLER.to_owned()])].into(),
        };
        emit("ours", "supported", version, false, &wire::encode_supported(&supported))?;
    }
    Ok(())
}

fn required(version: X402Version) -> PaymentRequired {
    let terms = |amount| PaymentRequirements {
        scheme: SchemeName::EXACT,
        network: Network::evm(84532),
        amount,
        asset: TOKEN.to_owned(),
        pay_to: SELLER.to_owned(),
        max_timeout_seconds: 60,
        extra: object(json!({ "name": "USDC", "version": "2" })),
        other: JsonObject::new(),
    };
    PaymentRequired {
        version,
        error: Some("Payment required".to_owned()),
        resource: Some(ResourceInfo {
            description: Some("Wetter für Zürich ☀".to_owned()),
            mime_type: Some("application/json".to_owned()),
            ..ResourceInfo::new("https://api.example.com/weather?q=%C3%BC")
        }),
        accepts: vec![terms(Amount::from(10_000)), terms(Amount::MAX)],
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    }
}

fn payment(
    version: X402Version,
    required: &PaymentRequired,
    requirements: &PaymentRequirements,
) -> PaymentPayload {
    let accepted = match version {
        X402Version::V1 => {
            Accepted::Kind { scheme: requirements.scheme.clone(), network: requirements.network.clone() }
        }
        X402Version::V2 => Accepted::Offer(Box::new(requirements.clone())),
    };
    let payload = json!({
        "authorization": {
            "from": PAYER,
            "to": SELLER,
            "value": requirements.amount,
            "validAfter": "0",
            "validBefore": "1750000060",
            "nonce": TRANSACTION,
        },
        "signature": format!("0x{}1b", "11".repeat(64)),
    });
    PaymentPayload {
        version,
        accepted,
        payload: object(payload),
        resource: required.resource.clone(),
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    }
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(map) => map,
        _ => JsonObject::new(),
    }
}

fn emit_payment(name: &str, payment: &PaymentPayload) -> Result<(), Box<dyn Error>> {
    let (_, header) = wire::encode_payment_header(payment);
    print(name, "payment-payload", payment.version, &header, &wire::encode_payment(payment));
    Ok(())
}

/// A settlement travels both ways: in a header to the buyer, in a body from the facilitator.
fn emit_settlement(
    name: &str,
    settlement: &SettleResponse,
    version: X402Version,
) -> Result<(), Box<dyn Error>> {
    let (_, header) = wire::encode_settlement_header(settlement, version);
    let object = wire::encode_settle_response(settlement, version);
    print(name, "settle-response", version, &header, &object);
    emit(name, "settle-response", version, false, &object)
}

fn emit(
    name: &str,
    kind: &str,
    version: X402Version,
    in_header: bool,
    object: &JsonObject,
) -> Result<(), Box<dyn Error>> {
    let wire = if in_header { wire::encode_header(object) } else { serde_json::to_string(object)? };
    print(name, kind, version, &wire, object);
    Ok(())
}

fn print(name: &str, kind: &str, version: X402Version, wire: &str, object: &JsonObject) {
    let line =
        json!({ "name": name, "kind": kind, "version": version.number(), "wire": wire, "object": object });
    println!("{line}");
}

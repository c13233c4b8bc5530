//! The extension `payment-identifier`: the client's own name for a payment, so that asking again is known as such.
//!
//! What lives here: how it is declared, read and bound. What does not: its uniqueness, which is the ledger's.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tollway_core::model::{FacilitatorRequest, PaymentPayload};
use tollway_core::wire::WireError;
use tollway_core::{ErrorCode, Fingerprint, JsonObject};
use tollway_ledger::PaymentIdentifier;

/// The extension's name.
pub(crate) const NAME: &str = "payment-identifier";
/// The field that peers are told of.
pub(crate) const FIELD: &str = "extensions.payment-identifier.info.id";
/// How long an identifier may be, characters.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=128;

/// Whether a payment must carry an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentifierRule {
    /// It may.
    Optional,
    /// It must: without one it is answered with 400.
    Required,
}

/// What a 402 declares. The schema is the published one.
pub(crate) fn declaration(rule: IdentifierRule) -> JsonObject {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "required": { "type": "boolean" },
            "id": { "type": "string", "minLength": 16, "maxLength": 128, "pattern": "^[a-zA-Z0-9_-]+$" },
        },
        "required": ["required"],
    });
    let info = json!({ "required": rule == IdentifierRule::Required });
    JsonObject::from_iter([("info".to_owned(), info), ("schema".to_owned(), schema)])
}

/// The identifier that a payment carries, if it does and should.
pub(crate) fn read(rule: IdentifierRule, payment: &PaymentPayload) -> Result<Option<String>, WireError> {
    let malformed = |rule: &str| WireError::new(ErrorCode::INVALID_PAYLOAD, FIELD, rule);
    let info = payment.extensions.get(NAME).and_then(|extension| extension.get("info"));
    match info.and_then(|info| info.get("id")) {
        None if rule == IdentifierRule::Required => Err(malformed("is required by this resource")),
        None => Ok(None),
        Some(Value::String(id)) if is_valid(id) => Ok(Some(id.clone())),
        Some(_) => Err(malformed("must be 16 to 128 letters, digits, hyphens or underscores")),
    }
}

/// Binds `id` to what it stands for: this payment, for this request, at the seller `base_url`.
pub(crate) fn bind(
    id: String,
    base_url: &str,
    request: &FacilitatorRequest,
    fingerprint: Fingerprint,
) -> PaymentIdentifier {
    let offer = &request.requirements;
    let mut hash = Sha256::new();
    let (amount, payload) =
        (offer.amount.to_string(), Value::from(request.payment.payload.clone()).to_string());
    let parts =
        [offer.scheme.as_str(), offer.network.as_str(), &offer.asset, &amount, &offer.pay_to, &payload];
    // Lengths first: no part can be mistaken for another.
    for part in parts.map(str::as_bytes).into_iter().chain([fingerprint.as_bytes().as_slice()]) {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let scope = format!("{} {base_url}", offer.pay_to);
    PaymentIdentifier { scope, id, digest: hash.finalize().into() }
}

fn is_valid(id: &str) -> bool {
    LENGTH.contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::{IdentifierRule, declaration, is_valid};

    #[test]
    fn the_declaration_is_the_published_one_byte_for_byte() {
        let published = concat!(
            r#"{"info":{"required":false},"schema":{"$schema":"https://json-schema.org/draft/2020-12/schema","#,
            r#""type":"object","properties":{"required":{"type":"boolean"},"id":{"type":"string","minLength":16,"#,
            r#""maxLength":128,"pattern":"^[a-zA-Z0-9_-]+$"}},"required":["required"]}}"#,
        );
        let ours = serde_json::to_string(&declaration(IdentifierRule::Optional)).unwrap();
        assert_eq!(ours, published);
    }

    #[test]
    fn an_identifier_is_16_to_128_plain_characters() {
        assert!(is_valid("pay_7d5d747be160e280504c099d984bcfe0") && is_valid(&"a".repeat(128)));
        for wrong in
            ["", "short", &"a".repeat(15), &"a".repeat(129), "pay 7d5d747be160e280", "päy_7d5d747be160e28"]
        {
            assert!(!is_valid(wrong), "{wrong}");
        }
    }
}

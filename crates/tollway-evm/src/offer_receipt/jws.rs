//! The JWS form (RFC 7515), compact: `header.payload.signature`, read strictly and made in one spelling.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tollway_core::wire::{Fields, WireError, parse_object};
use tollway_core::{ErrorCode, JsonObject};

use super::key::Algorithm;

/// The longest text that is read.
pub(super) const MAX_BYTES: usize = 12 * 1024;
/// The longest name of a key that is read.
const MAX_KID_BYTES: usize = 1024;

/// A text that has the form, with its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Jws {
    pub(super) algorithm: Algorithm,
    /// Which key: a DID URL.
    pub(super) kid: String,
    pub(super) payload: JsonObject,
    /// What is signed: header and payload as they came.
    pub(super) signed: String,
    pub(super) signature: Vec<u8>,
}

impl Jws {
    /// Reads `text`; an error is one of the field at `path`.
    pub(super) fn read(text: &str, path: &str) -> Result<Self, WireError> {
        let wrong = |rule: &str| WireError::new(ErrorCode::INVALID_PAYLOAD, path, rule);
        if text.len() > MAX_BYTES {
            return Err(wrong(&format!("must be at most {MAX_BYTES} bytes long")));
        }
        let parts: Vec<&str> = text.splitn(4, '.').collect();
        let [header, payload, signature] = parts[..] else {
            return Err(wrong("must be a compact JWS: header, payload and signature with dots between them"));
        };
        let decode = |part: &str, name: &str| {
            let rule = format!("must have a {name} in base64, URL-safe, unpadded");
            URL_SAFE_NO_PAD.decode(part).map_err(|_| wrong(&rule))
        };
        let mut fields = Fields::root(parse_object(&decode(header, "header")?, &format!("{path}.header"))?)
            .at(&format!("{path}.header"));
        let algorithm = fields.string("alg")?;
        let algorithm = Algorithm::from_name(&algorithm)
            .ok_or_else(|| fields.error("alg", "must be ES256K, EdDSA or ES256"))?;
        let kid = fields.string("kid")?;
        if kid.len() > MAX_KID_BYTES {
            return Err(fields.error("kid", format!("must be at most {MAX_KID_BYTES} bytes long")));
        }
        // An extension that must be understood is not, and an unencoded payload is not what was decoded here.
        for name in ["crit", "b64"] {
            if fields.take(name).is_some() {
                return Err(fields.error(name, "is not supported"));
            }
        }
        let signature = decode(signature, "signature")?;
        if signature.len() != 64 {
            return Err(wrong("must have a signature of 64 bytes"));
        }
        let payload_json = decode(payload, "payload")?;
        let payload = parse_object(&payload_json, &format!("{path}.payload"))?;
        let signed = text[..text.len() - parts[2].len() - 1].to_owned();
        Ok(Self { algorithm, kid, payload, signed, signature })
    }

    /// What is to be signed for `payload`: keys in order, no spaces (RFC 8785; the payloads are texts and whole numbers).
    pub(super) fn signing_input(algorithm: Algorithm, kid: &str, payload: &JsonObject) -> String {
        let mut header = JsonObject::new();
        header.insert("alg".to_owned(), algorithm.name().into());
        header.insert("kid".to_owned(), kid.into());
        let mut sorted: Vec<_> = payload.iter().collect();
        sorted.sort_by_key(|(name, _)| name.as_str());
        let sorted: JsonObject =
            sorted.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let encode =
            |object: JsonObject| URL_SAFE_NO_PAD.encode(serde_json::Value::Object(object).to_string());
        format!("{}.{}", encode(header), encode(sorted))
    }

    pub(super) fn assemble(signing_input: &str, signature: &[u8]) -> String {
        format!("{signing_input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

//! Base64 headers: the limit first, then the alphabet, then JSON.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD as PADDED};

use super::WireError;
use crate::{ErrorCode, JsonObject};

/// The longest protocol header read, in bytes of base64. Node's servers stop at 16 KiB for all headers.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Some peers leave the padding off.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Undoes the base64 of header `name`.
///
/// # Errors
/// [`WireError`] naming the header: over [`MAX_HEADER_BYTES`], or not standard base64.
///
/// ```
/// use tollway_core::wire;
/// assert_eq!(wire::decode_header("PAYMENT-SIGNATURE", b"e30=")?, b"{}");
/// assert!(wire::decode_header("PAYMENT-SIGNATURE", b"{}").is_err());
/// # Ok::<(), wire::WireError>(())
/// ```
pub fn decode_header(name: &str, value: &[u8]) -> Result<Vec<u8>, WireError> {
    if value.len() > MAX_HEADER_BYTES {
        let rule = format!("is {} bytes long, the limit is {MAX_HEADER_BYTES}", value.len());
        return Err(WireError::new(ErrorCode::INVALID_PAYLOAD, name, rule));
    }
    LENIENT
        .decode(value.trim_ascii())
        .map_err(|_| WireError::new(ErrorCode::INVALID_PAYLOAD, name, "must be standard base64"))
}

/// Compact JSON in padded standard base64 (RFC 4648, section 4).
///
/// ```
/// use tollway_core::{JsonObject, wire};
/// assert_eq!(wire::encode_header(&JsonObject::new()), "e30=");
/// ```
pub fn encode_header(object: &JsonObject) -> String {
    // A map of values has no key that is not a string: this cannot fail, and an empty header is refused.
    PADDED.encode(serde_json::to_vec(object).unwrap_or_default())
}

/// The same with every character beyond ASCII escaped: the published v1 clients take the base64 for Latin-1.
pub(super) fn encode_ascii_header(object: &JsonObject) -> String {
    let json = serde_json::to_string(object).unwrap_or_default();
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            // JSON has such characters only inside strings, and writes them as UTF-16 there.
            for unit in character.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    PADDED.encode(ascii)
}

//! Signatures on HTTP requests (RFC 9421), by Ed25519: who signs, and who reads what was signed.
//!
//! - [`SignedRequest`]: a request as signatures see it.
//! - [`PresentedSignature`]: one signature of a request, read and held against its rules, then against a key.
//! - [`MessageSigner`]: signs requests.
//! - [`AgentKey`]: a public key, and the directory it is published in.
//!
//! What does not live here: fetching directories, and what an identity may do.

mod base;
mod key;
mod present;
mod sign;

pub use base::SignedRequest;
pub use key::{AgentKey, DIRECTORY_PATH, MAX_DIRECTORY_BYTES, read_directory};
pub use present::{PresentedSignature, SIGNATURE, SIGNATURE_AGENT, SIGNATURE_INPUT, SignatureRules};
pub use sign::{MessageSigner, SignatureHeaders, content_digest};

use crate::ErrorCode;
use crate::wire::WireError;

/// A signature that breaks a rule.
fn fault(field: &str, rule: impl Into<String>) -> WireError {
    WireError::new(ErrorCode::from_wire("invalid_http_message_signature"), field, rule)
}

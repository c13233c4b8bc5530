//! Public keys of agents: Ed25519 as JSON Web Keys (RFC 8037), named by their thumbprint (RFC 7638), and the directories
//! that they are published in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::fault;
use crate::UnixTime;
use crate::wire::{Fields, WireError, parse_object};

/// Where an agent's directory is, on its own host.
pub const DIRECTORY_PATH: &str = "/.well-known/http-message-signatures-directory";
/// The longest directory that is read.
pub const MAX_DIRECTORY_BYTES: usize = 64 * 1024;

const MAX_KEYS: usize = 64;

/// A public key of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentKey {
    key: VerifyingKey,
    /// From when on it may sign (`nbf`).
    not_before: Option<UnixTime>,
    /// Until when it may sign (`exp`).
    expires: Option<UnixTime>,
}

impl AgentKey {
    /// The key of these 32 bytes. Keys with which one signature would fit many texts are refused.
    ///
    /// # Errors
    /// [`WireError`]: no such key.
    ///
    /// ```
    /// use tollway_core::http_signature::AgentKey;
    /// assert!(AgentKey::from_bytes(&[0; 32]).is_err(), "a point of small order");
    /// ```
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, WireError> {
        let key = VerifyingKey::from_bytes(bytes).ok().filter(|key| !key.is_weak());
        let key = key.ok_or_else(|| fault("x", "must be an Ed25519 public key"))?;
        Ok(Self { key, not_before: None, expires: None })
    }

    /// The key of a JSON Web Key in text.
    ///
    /// # Errors
    /// [`WireError`] naming the field.
    ///
    /// ```
    /// use tollway_core::http_signature::AgentKey;
    /// let key = AgentKey::from_jwk(
    ///     r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    /// )?;
    /// assert_eq!(key.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn from_jwk(text: &str) -> Result<Self, WireError> {
        Self::read(&mut Fields::root(parse_object(text.as_bytes(), "key")?))
    }

    /// The key's name: SHA-256 over its canonical spelling, in base64 for URLs.
    ///
    /// ```
    /// use tollway_core::http_signature::MessageSigner;
    /// let signer = MessageSigner::from_seed(&[7; 32]);
    /// assert_eq!(signer.public_key().thumbprint().len(), 43);
    /// ```
    pub fn thumbprint(&self) -> String {
        // RFC 7638 fixes the members and their order.
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, self.x());
        URL_SAFE_NO_PAD.encode(Sha256::digest(canonical))
    }

    /// The key as a JSON Web Key, for a directory: an object with a list of them as `keys`.
    ///
    /// ```
    /// use tollway_core::http_signature::{MessageSigner, read_directory};
    /// let key = MessageSigner::from_seed(&[7; 32]).public_key();
    /// let directory = serde_json::json!({ "keys": [key.to_jwk()] }).to_string();
    /// assert_eq!(read_directory(directory.as_bytes()), Ok(vec![key]));
    /// ```
    pub fn to_jwk(&self) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": self.x(), "kid": self.thumbprint(), "use": "sig" })
    }

    /// Whether the key may sign at `now`.
    ///
    /// ```
    /// use tollway_core::{UnixTime, http_signature::AgentKey};
    /// let jwk = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","exp":100}"#;
    /// let key = AgentKey::from_jwk(jwk)?;
    /// assert!(key.is_good_at(UnixTime(99)) && !key.is_good_at(UnixTime(100)));
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn is_good_at(&self, now: UnixTime) -> bool {
        self.not_before.is_none_or(|begin| begin <= now) && self.expires.is_none_or(|end| now < end)
    }

    /// Whether the key signed `text`: by the strict rules, under which a signature has one spelling.
    pub(super) fn verifies(&self, text: &str, signature: &[u8; 64]) -> bool {
        self.key.verify_strict(text.as_bytes(), &Signature::from_bytes(signature)).is_ok()
    }

    pub(super) const fn new(key: VerifyingKey) -> Self {
        Self { key, not_before: None, expires: None }
    }

    fn x(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.as_bytes())
    }

    fn read(fields: &mut Fields) -> Result<Self, WireError> {
        if fields.string("kty")? != "OKP" || fields.string("crv")? != "Ed25519" {
            return Err(fault("crv", "must be Ed25519"));
        }
        let mut bytes = [0; 32];
        let x = URL_SAFE_NO_PAD.decode(fields.string("x")?).ok();
        let x = x
            .filter(|x| x.len() == bytes.len())
            .ok_or_else(|| fields.error("x", "must be 32 bytes in base64url"))?;
        bytes.copy_from_slice(&x);
        let mut time = |name: &str| match fields.take(name) {
            None => Ok(None),
            // Published directories also have milliseconds; whoever reads them as seconds never lets a key expire.
            Some(time) => match time.as_u64() {
                Some(time) if time > 100_000_000_000 => Ok(Some(UnixTime(time / 1000))),
                Some(time) => Ok(Some(UnixTime(time))),
                None => Err(fields.error(name, "must be a whole number of seconds")),
            },
        };
        let (not_before, expires) = (time("nbf")?, time("exp")?);
        Ok(Self { not_before, expires, ..Self::from_bytes(&bytes)? })
    }
}

/// The keys of a directory. Keys of other kinds are left out; a directory that is none is an error.
///
/// # Errors
/// [`WireError`] naming the field.
///
/// ```
/// use tollway_core::http_signature::read_directory;
/// assert_eq!(read_directory(br#"{"keys":[{"kty":"RSA"}]}"#), Ok(Vec::new()));
/// assert!(read_directory(b"<html>").is_err());
/// ```
pub fn read_directory(json: &[u8]) -> Result<Vec<AgentKey>, WireError> {
    if json.len() > MAX_DIRECTORY_BYTES {
        return Err(fault("directory", format!("must be at most {MAX_DIRECTORY_BYTES} bytes long")));
    }
    let mut fields = Fields::root(parse_object(json, "directory")?).at("directory");
    let keys = fields.objects("keys", MAX_KEYS)?;
    Ok(keys.into_iter().filter_map(|mut fields| AgentKey::read(&mut fields).ok()).collect())
}

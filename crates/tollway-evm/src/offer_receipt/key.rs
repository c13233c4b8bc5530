//! Public keys of sellers that sign by JWS: read from DIDs that hold their key, from JWKs and from DID documents.
//!
//! Nothing here asks anybody: a key that stands elsewhere (`did:web`) is one that a verifier is given, or does not have.

use std::fmt;

use alloy_primitives::{Address, hex, keccak256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secp256k1::ecdsa::Signature;
use secp256k1::{Message, PublicKey as Point};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tollway_core::JsonObject;
use tollway_core::wire::{WireError, parse_object};

use super::terms::fault;
use crate::signature::CONTEXT;

/// The longest text of a key that is read.
const MAX_KEY_BYTES: usize = 1024;
/// The longest file of keys that is read, and how many it may hold.
const MAX_FILE_BYTES: usize = 64 * 1024;
const MAX_KEYS: usize = 64;
/// Multicodec prefixes of `did:key`.
const ED25519_CODE: [u8; 2] = [0xed, 0x01];
const SECP256K1_CODE: [u8; 2] = [0xe7, 0x01];
const P256_CODE: [u8; 2] = [0x80, 0x24];

/// How a JWS is signed (RFC 7518, RFC 8037, RFC 8812).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on secp256k1 with SHA-256.
    Es256k,
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

/// A key that verifies JWS.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    Secp256k1(Point),
    Ed25519(Vec<u8>),
    /// A point as X9.62 writes it.
    P256(Vec<u8>),
}

/// Keys that a verifier knows to be a seller's. By default none.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    accounts: Vec<Address>,
    keys: Vec<(String, PublicKey)>,
}

impl Algorithm {
    /// The name in a header, `alg`.
    ///
    /// ```
    /// assert_eq!(tollway_evm::offer_receipt::Algorithm::Es256k.name(), "ES256K");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256k => "ES256K",
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Es256k, Self::EdDsa, Self::Es256].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

impl Keys {
    /// Also trusts what the account at `address` signed by EIP-712.
    ///
    /// ```
    /// use tollway_evm::{Address, offer_receipt::Keys};
    /// let keys = Keys::default().account(Address::repeat_byte(7));
    /// ```
    #[must_use]
    pub fn account(mut self, address: Address) -> Self {
        self.accounts.push(address);
        self
    }

    /// Also trusts the keys of a JSON text: a JWK, a JWK set, or a DID document. Each key goes by its `kid` or `id`.
    ///
    /// # Errors
    /// [`WireError`] naming what is wrong. A text without a key of a known kind is wrong too.
    ///
    /// ```
    /// use tollway_evm::offer_receipt::Keys;
    /// let set = br#"{"keys":[{"kid":"did:web:api.example.com#key-1","kty":"OKP","crv":"Ed25519",
    ///     "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    /// let keys = Keys::default().read(set)?;
    /// assert!(Keys::default().read(b"{}").is_err());
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn read(mut self, json: &[u8]) -> Result<Self, WireError> {
        if json.len() > MAX_FILE_BYTES {
            return Err(fault("keys", &format!("must be at most {MAX_FILE_BYTES} bytes long")));
        }
        let object = parse_object(json, "keys")?;
        let entries = match (object.get("keys"), object.get("verificationMethod")) {
            (Some(Value::Array(keys)), _) | (None, Some(Value::Array(keys))) => keys.clone(),
            _ => vec![Value::Object(object)],
        };
        if entries.len() > MAX_KEYS {
            return Err(fault("keys", &format!("must be at most {MAX_KEYS}")));
        }
        let before = self.keys.len();
        // A document may hold keys of other kinds too: those are not ours to judge.
        self.keys.extend(entries.iter().filter_map(Value::as_object).filter_map(entry));
        if self.keys.len() == before {
            return Err(fault("keys", "must hold a key of secp256k1, Ed25519 or P-256, with its kid or id"));
        }
        Ok(self)
    }

    pub(super) fn has_account(&self, address: Address) -> bool {
        self.accounts.contains(&address)
    }

    pub(super) fn find(&self, kid: &str) -> Option<&PublicKey> {
        self.keys.iter().find(|(known, _)| known == kid).map(|(_, key)| key)
    }
}

impl PublicKey {
    /// The key inside a DID that holds one; none for a DID whose key stands elsewhere.
    pub(super) fn of_did(kid: &str) -> Result<Option<Self>, &'static str> {
        let did = kid.split('#').next().unwrap_or_default();
        if let Some(multibase) = did.strip_prefix("did:key:") {
            return Self::of_multibase(multibase).map(Some).ok_or("must be a did:key of a known kind");
        }
        if let Some(encoded) = did.strip_prefix("did:jwk:") {
            let jwk = URL_SAFE_NO_PAD.decode(encoded).ok().and_then(|json| parse_object(&json, "kid").ok());
            return jwk
                .and_then(|jwk| Self::of_jwk(&jwk))
                .map(Some)
                .ok_or("must be a did:jwk of a known kind");
        }
        Ok(None)
    }

    pub(super) fn of_jwk(jwk: &JsonObject) -> Option<Self> {
        let text =
            |name: &str| jwk.get(name).and_then(Value::as_str).filter(|text| text.len() <= MAX_KEY_BYTES);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok().filter(|bytes| bytes.len() == 32);
        match (text("kty")?, text("crv")?) {
            ("OKP", "Ed25519") => Some(Self::Ed25519(bytes("x")?)),
            ("EC", curve) => {
                let point = [&[4][..], &bytes("x")?, &bytes("y")?].concat();
                Self::of_point(curve, &point)
            }
            _ => None,
        }
    }

    fn of_multibase(text: &str) -> Option<Self> {
        let base58 = text.strip_prefix('z').filter(|text| text.len() <= MAX_KEY_BYTES)?;
        let bytes = bs58::decode(base58).into_vec().ok()?;
        let (code, key) = bytes.split_first_chunk::<2>()?;
        match *code {
            ED25519_CODE if key.len() == 32 => Some(Self::Ed25519(key.to_vec())),
            SECP256K1_CODE => Self::of_point("secp256k1", key),
            P256_CODE => Self::of_point("P-256", key),
            _ => None,
        }
    }

    fn of_point(curve: &str, point: &[u8]) -> Option<Self> {
        match curve {
            "secp256k1" => Some(Self::Secp256k1(Point::from_slice(point).ok()?)),
            "P-256" if [33, 65].contains(&point.len()) => Some(Self::P256(point.to_vec())),
            _ => None,
        }
    }

    /// `did:key`, with the fragment that names its only key.
    pub(super) fn did(&self) -> String {
        let (code, key) = match self {
            Self::Secp256k1(point) => (SECP256K1_CODE, point.serialize().to_vec()),
            Self::Ed25519(key) => (ED25519_CODE, key.clone()),
            Self::P256(point) => (P256_CODE, point.clone()),
        };
        let text = bs58::encode([&code[..], &key].concat()).into_string();
        format!("did:key:z{text}#z{text}")
    }

    /// The account of the key, if it is of a kind that has one.
    pub(super) fn address(&self) -> Option<Address> {
        match self {
            Self::Secp256k1(point) => {
                Some(Address::from_slice(&keccak256(&point.serialize_uncompressed()[1..])[12..]))
            }
            _ => None,
        }
    }

    /// Whether `signature` over `message` is by this key and by `algorithm`.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Self::Secp256k1(key), Algorithm::Es256k) => {
                let Ok(mut signature) = Signature::from_compact(signature) else { return false };
                // RFC 8812 allows both twins, and signers make both; no authorization hangs on which it is.
                signature.normalize_s();
                let digest = Message::from_digest(Sha256::digest(message).into());
                CONTEXT.verify_ecdsa(digest, &signature, key).is_ok()
            }
            (Self::Ed25519(key), Algorithm::EdDsa) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
            }
            (Self::P256(key), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(message, signature).is_ok()
            }
            _ => false,
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.did())
    }
}

/// A key with its name, from a JWK or a verification method of a DID document.
fn entry(entry: &JsonObject) -> Option<(String, PublicKey)> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let name = text("kid").or_else(|| text("id")).filter(|name| name.len() <= MAX_KEY_BYTES)?;
    let key = match (entry.get("publicKeyJwk"), text("publicKeyMultibase")) {
        (Some(jwk), _) => PublicKey::of_jwk(jwk.as_object()?),
        (None, Some(multibase)) => PublicKey::of_multibase(multibase),
        (None, None) => PublicKey::of_jwk(entry),
    };
    Some((name.to_owned(), key?))
}

/// The address in `did:pkh:eip155:<chain>:<address>`.
pub(super) fn account_of_did(kid: &str) -> Option<Address> {
    let rest = kid.split('#').next()?.strip_prefix("did:pkh:eip155:")?;
    let (_, address) = rest.split_once(':')?;
    crate::exact::parse_address(address)
}

/// The host that `did:web` names, with its port if it names one.
pub(super) fn host_of_did(kid: &str) -> Option<String> {
    let rest = kid.split('#').next()?.strip_prefix("did:web:")?;
    let host = rest.split(':').next()?;
    Some(host.replace("%3A", ":").replace("%3a", ":").to_ascii_lowercase())
}

/// The account that signed `message` by ES256K, if it is `address`.
pub(super) fn is_signed_by(address: Address, message: &[u8], signature: &[u8]) -> bool {
    use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
    let digest = Message::from_digest(Sha256::digest(message).into());
    [RecoveryId::Zero, RecoveryId::One].into_iter().any(|id| {
        let key = RecoverableSignature::from_compact(signature, id)
            .and_then(|signature| CONTEXT.recover_ecdsa(digest, &signature));
        key.is_ok_and(|key| PublicKey::Secp256k1(key).address() == Some(address))
    })
}

/// A text of a peer's as it may stand in a message: short, and on one line.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(128).flat_map(char::escape_debug).collect()
}

/// Bytes of a secret in hex, with or without `0x`.
pub(super) fn secret_of_hex(text: &str, secret: &mut [u8; 32]) -> bool {
    hex::decode_to_slice(text.trim(), secret.as_mut_slice()).is_ok()
}

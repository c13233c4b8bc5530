//! The seller's pen: signs offers and receipts, in either form.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use secp256k1::{Message, PublicKey as Point, SecretKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tollway_core::{BoxFuture, JsonObject};
use zeroize::Zeroizing;

use super::jws::Jws;
use super::key::{Algorithm, PublicKey, secret_of_hex};
use super::terms::{Binding, OfferTerms, ReceiptTerms, is_evm_account};
use super::typed_data;
use crate::signature::CONTEXT;
use crate::{Address, Signer, SignerError};

/// Signs by JWS with one key.
pub trait JwsSigner: Send + Sync + fmt::Debug {
    /// How it signs.
    ///
    /// ```
    /// use tollway_evm::offer_receipt::{Algorithm, JwsSigner, LocalJwsSigner};
    /// let signer = LocalJwsSigner::ed25519("0x4d5b5f5c9d2a1f0e8c7b6a594837261504f3e2d1c0bfae9d8c7b6a5948372615")?;
    /// assert_eq!(signer.algorithm(), Algorithm::EdDsa);
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    fn algorithm(&self) -> Algorithm;

    /// Which key: a DID URL, by which verifiers find it.
    ///
    /// ```
    /// use tollway_evm::offer_receipt::{JwsSigner, LocalJwsSigner};
    /// let signer = LocalJwsSigner::ed25519("0x4d5b5f5c9d2a1f0e8c7b6a594837261504f3e2d1c0bfae9d8c7b6a5948372615")?;
    /// assert!(signer.kid().starts_with("did:key:z6Mk"));
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    fn kid(&self) -> &str;

    /// Signs `message`: 64 bytes, as RFC 7518 and RFC 8037 write them.
    ///
    /// # Errors
    /// [`SignerError`], never with a secret in it.
    ///
    /// ```
    /// use tollway_evm::offer_receipt::{JwsSigner, LocalJwsSigner};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tollway_evm::SignerError> {
    /// let signer = LocalJwsSigner::ed25519("0x4d5b5f5c9d2a1f0e8c7b6a594837261504f3e2d1c0bfae9d8c7b6a5948372615")?;
    /// assert_eq!(signer.sign(b"header.payload").await?.len(), 64);
    /// # Ok(()) }
    /// ```
    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, SignerError>>;
}

/// A JWS key held in this process's memory, wiped when dropped.
pub struct LocalJwsSigner {
    secret: Secret,
    kid: String,
}

enum Secret {
    Es256k(Zeroizing<[u8; 32]>),
    EdDsa(Box<Ed25519KeyPair>),
}

impl LocalJwsSigner {
    /// A key on secp256k1, from 64 hex digits, for ES256K. With the key of payTo, verifiers see that the payee signed.
    ///
    /// # Errors
    /// [`SignerError::Key`].
    ///
    /// ```
    /// use tollway_evm::offer_receipt::{JwsSigner, LocalJwsSigner};
    /// let key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    /// assert!(LocalJwsSigner::es256k(key)?.kid().starts_with("did:key:zQ3sh"));
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    pub fn es256k(hex: &str) -> Result<Self, SignerError> {
        let mut secret = Zeroizing::new([0; 32]);
        if !secret_of_hex(hex, &mut secret) {
            return Err(SignerError::Key);
        }
        let mut key = SecretKey::from_byte_array(*secret).map_err(|_| SignerError::Key)?;
        let public = PublicKey::Secp256k1(Point::from_secret_key(&CONTEXT, &key));
        key.non_secure_erase();
        Ok(Self { secret: Secret::Es256k(secret), kid: public.did() })
    }

    /// An Ed25519 key, from the 64 hex digits of its seed, for EdDSA.
    ///
    /// # Errors
    /// [`SignerError::Key`].
    ///
    /// ```
    /// use tollway_evm::{SignerError, offer_receipt::LocalJwsSigner};
    /// assert_eq!(LocalJwsSigner::ed25519("0x00").unwrap_err(), SignerError::Key);
    /// ```
    pub fn ed25519(hex: &str) -> Result<Self, SignerError> {
        let mut seed = Zeroizing::new([0; 32]);
        if !secret_of_hex(hex, &mut seed) {
            return Err(SignerError::Key);
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| SignerError::Key)?;
        let kid = PublicKey::Ed25519(pair.public_key().as_ref().to_vec()).did();
        Ok(Self { secret: Secret::EdDsa(Box::new(pair)), kid })
    }

    /// Goes by `kid` instead of the `did:key` that holds the key itself: `did:web:api.example.com#key-1`, say, whose
    /// document verifiers must have.
    ///
    /// ```
    /// use tollway_evm::offer_receipt::{JwsSigner, LocalJwsSigner};
    /// # let key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    /// let signer = LocalJwsSigner::es256k(key)?.named("did:web:api.example.com#key-1");
    /// assert_eq!(signer.kid(), "did:web:api.example.com#key-1");
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    #[must_use]
    pub fn named(mut self, kid: impl Into<String>) -> Self {
        self.kid = kid.into();
        self
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SignerError> {
        match &self.secret {
            Secret::EdDsa(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Secret::Es256k(secret) => {
                let mut key = SecretKey::from_byte_array(**secret).map_err(|_| SignerError::Key)?;
                let digest = Message::from_digest(Sha256::digest(message).into());
                let signature = CONTEXT.sign_ecdsa(digest, &key);
                key.non_secure_erase();
                Ok(signature.serialize_compact().to_vec())
            }
        }
    }
}

impl JwsSigner for LocalJwsSigner {
    fn algorithm(&self) -> Algorithm {
        match &self.secret {
            Secret::Es256k(_) => Algorithm::Es256k,
            Secret::EdDsa(_) => Algorithm::EdDsa,
        }
    }

    fn kid(&self) -> &str {
        &self.kid
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, SignerError>> {
        Box::pin(std::future::ready(self.signature(message)))
    }
}

impl fmt::Debug for LocalJwsSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalJwsSigner").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Who signs a seller's offers and receipts, and in which form.
#[derive(Clone, Debug)]
pub struct Issuer {
    pen: Pen,
    is_minimal: bool,
}

#[derive(Clone, Debug)]
enum Pen {
    Eip712(Arc<dyn Signer>),
    Jws(Arc<dyn JwsSigner>),
}

impl Issuer {
    /// Signs by EIP-712. With the key of payTo, any verifier sees at once that the payee signed.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_evm::{LocalSigner, offer_receipt::Issuer};
    /// let issuer = Issuer::eip712(Arc::new(LocalSigner::random()?));
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    pub fn eip712(signer: Arc<dyn Signer>) -> Self {
        Self { pen: Pen::Eip712(signer), is_minimal: false }
    }

    /// Signs by JWS.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_evm::offer_receipt::{Issuer, LocalJwsSigner};
    /// # let key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    /// let issuer = Issuer::jws(Arc::new(LocalJwsSigner::es256k(key)?));
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    pub fn jws(signer: Arc<dyn JwsSigner>) -> Self {
        Self { pen: Pen::Jws(signer), is_minimal: false }
    }

    /// Leaves out of receipts what ties them to a transaction and a request: who holds one learns less of the payer, and
    /// can prove less.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_evm::{LocalSigner, offer_receipt::Issuer};
    /// let issuer = Issuer::eip712(Arc::new(LocalSigner::random()?)).minimal();
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    #[must_use]
    pub const fn minimal(mut self) -> Self {
        self.is_minimal = true;
        self
    }

    /// The account that signs; none for JWS.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_evm::{LocalSigner, Signer, offer_receipt::Issuer};
    /// let signer = Arc::new(LocalSigner::random()?);
    /// assert_eq!(Issuer::eip712(signer.clone()).account(), Some(signer.address()));
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    pub fn account(&self) -> Option<Address> {
        match &self.pen {
            Pen::Eip712(signer) => Some(signer.address()),
            Pen::Jws(_) => None,
        }
    }

    /// The signed offer, as it stands in a 402; none for terms that the form cannot express: EIP-712 is for EVM networks.
    ///
    /// # Errors
    /// [`SignerError`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/receipt.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_evm::offer_receipt::SignedOffer;
    /// let signed = issuer().sign_offer(&offer(), 0).await?.expect("an EVM network");
    /// assert_eq!(SignedOffer::read(signed)?.terms(), &offer());
    /// # Ok(()) }
    /// ```
    pub async fn sign_offer(
        &self,
        terms: &OfferTerms,
        accept_index: usize,
    ) -> Result<Option<JsonObject>, SignerError> {
        match &self.pen {
            Pen::Eip712(_) if !is_evm_account(&terms.network, &terms.pay_to) => Ok(None),
            Pen::Eip712(signer) => {
                let signature = signer.sign(&typed_data::offer(terms)).await?;
                Ok(Some(object(json!({
                    "format": "eip712", "acceptIndex": accept_index, "payload": terms.payload(true),
                    "signature": signature.to_string(),
                }))))
            }
            Pen::Jws(signer) => {
                let text = jws(signer.as_ref(), &terms.payload(false)).await?;
                Ok(Some(object(json!({ "format": "jws", "acceptIndex": accept_index, "signature": text }))))
            }
        }
    }

    /// The signed receipt, as it stands in a settlement response; none as for [`Self::sign_offer`].
    ///
    /// # Errors
    /// [`SignerError`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/receipt.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_evm::offer_receipt::SignedReceipt;
    /// let signed = issuer().sign_receipt(&receipt()).await?.expect("an EVM network");
    /// assert_eq!(SignedReceipt::read(signed)?.terms(), &receipt());
    /// let minimal = issuer().minimal().sign_receipt(&receipt()).await?.expect("an EVM network");
    /// assert_eq!(SignedReceipt::read(minimal)?.terms().transaction, None);
    /// # Ok(()) }
    /// ```
    pub async fn sign_receipt(&self, terms: &ReceiptTerms) -> Result<Option<JsonObject>, SignerError> {
        let terms = match self.is_minimal {
            true => ReceiptTerms { transaction: None, binding: None, ..terms.clone() },
            false => terms.clone(),
        };
        match &self.pen {
            Pen::Eip712(_) if terms.network.evm_chain_id().is_none() => Ok(None),
            Pen::Eip712(signer) => {
                let signature = signer.sign(&typed_data::receipt(&terms)).await?;
                let mut receipt = object(json!({
                    "format": "eip712", "payload": terms.payload(true), "signature": signature.to_string(),
                }));
                // The standard's type has no fields for these: they have a signature of their own, and stand outside the
                // payload, where strict readers know every field.
                if let Some(binding) = &terms.binding {
                    receipt.insert("binding".to_owned(), binding.write().into());
                    let signature = signer.sign(&typed_data::bound_receipt(&terms, binding)).await?;
                    receipt.insert("bindingSignature".to_owned(), signature.to_string().into());
                }
                Ok(Some(receipt))
            }
            Pen::Jws(signer) => {
                let mut payload = terms.payload(false);
                payload.extend(terms.binding.iter().flat_map(Binding::write));
                let text = jws(signer.as_ref(), &payload).await?;
                Ok(Some(object(json!({ "format": "jws", "signature": text }))))
            }
        }
    }
}

async fn jws(signer: &dyn JwsSigner, payload: &JsonObject) -> Result<String, SignerError> {
    let input = Jws::signing_input(signer.algorithm(), signer.kid(), payload);
    let signature = signer.sign(input.as_bytes()).await?;
    Ok(Jws::assemble(&input, &signature))
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

//! Who signs: a key in this process, or one behind a service.

use std::fmt;

use alloy_primitives::{Address, Signature, hex, keccak256};
use secp256k1::SecretKey;
use tollway_core::BoxFuture;
use zeroize::Zeroizing;

use crate::signature;

/// Signs with one account's key.
///
/// It is given the preimage rather than its hash: hardware and remote signers show or check what they sign,
/// and hash it themselves.
pub trait Signer: Send + Sync + fmt::Debug {
    /// The account.
    ///
    /// ```
    /// use tollway_evm::{LocalSigner, Signer};
    /// assert_ne!(LocalSigner::random()?.address(), LocalSigner::random()?.address());
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    fn address(&self) -> Address;

    /// Signs keccak256 of `preimage`: for a transaction its type and RLP (EIP-2718), for EIP-712
    /// `0x1901 ‖ domain ‖ message`. The `s` of the signature is the low one (EIP-2), or it is refused.
    ///
    /// # Errors
    /// [`SignerError`], never with a secret in it.
    ///
    /// ```
    /// use tollway_evm::{LocalSigner, Signer, signature};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let signed = LocalSigner::random()?.sign(b"pay").await?;
    /// assert_eq!(signature::parse(&signed.as_bytes()), Ok(signed));
    /// # Ok(())
    /// # }
    /// ```
    fn sign<'a>(&'a self, preimage: &'a [u8]) -> BoxFuture<'a, Result<Signature, SignerError>>;

    /// Whether the key is in this process, and nobody else ever sees what it signs.
    ///
    /// ```
    /// use tollway_evm::{LocalSigner, Signer};
    /// assert!(LocalSigner::random()?.is_here());
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    fn is_here(&self) -> bool {
        false
    }
}

/// Why a signer gave no signature. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// Not a private key.
    #[error("private key must be 32 bytes of hex, between 1 and the curve order")]
    Key,
    /// The service that holds the key failed.
    #[error("remote signer: {0}")]
    Remote(String),
    /// No randomness to make a key or a nonce.
    #[error("the operating system gave no randomness")]
    Randomness,
}

/// A key held in this process's memory, wiped when dropped.
#[derive(Clone)]
pub struct LocalSigner {
    secret: Zeroizing<[u8; 32]>,
    address: Address,
}

impl LocalSigner {
    /// A key from 64 hex digits, with or without `0x`.
    ///
    /// # Errors
    /// [`SignerError::Key`].
    ///
    /// ```
    /// use tollway_evm::{LocalSigner, Signer};
    /// let signer = LocalSigner::from_hex("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")?;
    /// assert_eq!(signer.address().to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    pub fn from_hex(text: &str) -> Result<Self, SignerError> {
        let mut secret = Zeroizing::new([0u8; 32]);
        hex::decode_to_slice(text.trim(), secret.as_mut_slice()).map_err(|_| SignerError::Key)?;
        Self::from_bytes(secret)
    }

    /// A key from its 32 bytes, big-endian.
    ///
    /// # Errors
    /// [`SignerError::Key`] for zero and for what is not below the order of the curve.
    ///
    /// ```
    /// use tollway_evm::{LocalSigner, Signer, SignerError};
    /// use zeroize::Zeroizing;
    /// assert_eq!(LocalSigner::from_bytes(Zeroizing::new([0; 32])).unwrap_err(), SignerError::Key);
    /// let one = LocalSigner::from_bytes(Zeroizing::new(std::array::from_fn(|at| u8::from(at == 31))))?;
    /// assert_eq!(one.address().to_string(), "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf");
    /// # Ok::<(), SignerError>(())
    /// ```
    pub fn from_bytes(secret: Zeroizing<[u8; 32]>) -> Result<Self, SignerError> {
        let mut key = SecretKey::from_byte_array(*secret).map_err(|_| SignerError::Key)?;
        let address = signature::address_of_secret(&key);
        key.non_secure_erase();
        Ok(Self { secret, address })
    }

    /// A fresh key from the operating system's randomness.
    ///
    /// # Errors
    /// [`SignerError::Randomness`].
    ///
    /// ```
    /// use tollway_evm::LocalSigner;
    /// assert_ne!(LocalSigner::random()?.expose_hex(), LocalSigner::random()?.expose_hex());
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    pub fn random() -> Result<Self, SignerError> {
        let mut secret = Zeroizing::new([0u8; 32]);
        getrandom::fill(secret.as_mut_slice()).map_err(|_| SignerError::Randomness)?;
        Self::from_bytes(secret)
    }

    /// The key as `0x` and 64 hex digits, for the one who must write it down. Wiped when dropped.
    ///
    /// ```
    /// use tollway_evm::{LocalSigner, Signer};
    /// let signer = LocalSigner::random()?;
    /// assert_eq!(LocalSigner::from_hex(&signer.expose_hex())?.address(), signer.address());
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    pub fn expose_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode_prefixed(self.secret.as_slice()))
    }

    /// The key's bytes, to be encrypted.
    #[cfg(feature = "keystore")]
    pub(crate) fn expose_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.secret.clone()
    }
}

impl Signer for LocalSigner {
    fn address(&self) -> Address {
        self.address
    }

    fn is_here(&self) -> bool {
        true
    }

    fn sign<'a>(&'a self, preimage: &'a [u8]) -> BoxFuture<'a, Result<Signature, SignerError>> {
        let signed = SecretKey::from_byte_array(*self.secret).map(|mut key| {
            let signature = signature::sign(keccak256(preimage), &key);
            key.non_secure_erase();
            signature
        });
        Box::pin(std::future::ready(signed.map_err(|_| SignerError::Key)))
    }
}

impl fmt::Debug for LocalSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSigner").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{LocalSigner, SignerError};

    #[test]
    fn a_key_is_never_printed() {
        let text = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
        let signer = LocalSigner::from_hex(text).unwrap();
        assert!(!format!("{signer:?}").contains(&text[..8]));
        assert_eq!(signer.expose_hex().as_str(), format!("0x{text}"));
    }

    #[test]
    fn what_is_no_key_is_refused_without_repeating_it() {
        for wrong in ["", "0x", "00", &"0".repeat(64), &"f".repeat(64), &"g".repeat(64), &"1".repeat(66)] {
            let error = LocalSigner::from_hex(wrong).unwrap_err();
            assert_eq!(error, SignerError::Key);
        }
    }
}

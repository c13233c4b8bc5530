//! Keys in encrypted files: the Web3 Secret Storage, version 3, which geth, Foundry and most wallets read and write.
//!
//! Here is what is in such a file, and how it is opened with a password. Where files lie and how they are named is not.

mod file;
mod kdf;

use std::fmt;

use alloy_primitives::{Address, keccak256};
use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use tollway_core::wire::WireError;
use zeroize::Zeroizing;

use self::kdf::{Derived, Kdf};
use crate::{LocalSigner, Signer, SignerError};

pub use self::file::MAX_KEYSTORE_BYTES;

/// An encrypted key, as it lies in a file. What is in it is no secret of its own: its password is.
///
/// ```
/// use tollway_evm::keystore::{Hardness, Keystore};
/// use tollway_evm::{LocalSigner, Signer};
/// let signer = LocalSigner::random()?;
/// let locked = Keystore::lock(&signer, b"a long password", Hardness::Light)?;
/// let read = Keystore::read(locked.to_json().as_bytes())?;
/// assert_eq!(read.address(), Some(signer.address()));
/// assert_eq!(read.unlock(b"a long password")?.address(), signer.address());
/// assert!(read.unlock(b"another").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Keystore {
    address: Option<Address>,
    kdf: Kdf,
    iv: [u8; 16],
    ciphertext: Vec<u8>,
    mac: [u8; 32],
    id: String,
}

/// How much work each guess of a password shall be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hardness {
    /// A second and 256 MiB, as geth does: for keys that money hangs on.
    #[default]
    Standard,
    /// A tenth of that work and 4 MiB: for tests, and machines that have no more.
    Light,
}

/// Why a key was not read from its file. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// The file breaks a rule of the format, or asks for more work or memory than a file may ask for.
    #[error("no keystore of version 3: {0}")]
    Format(String),
    /// The file does not open with this password.
    #[error("the password is wrong, or the file is damaged")]
    Password,
    /// The file says that it is of an account that its key is not of.
    #[error("the file says that it is of {stated}, its key is of {found}")]
    Address {
        /// What stands in the file.
        stated: Address,
        /// Whose key it is.
        found: Address,
    },
    /// What was in it is no key.
    #[error(transparent)]
    Key(#[from] SignerError),
}

impl Keystore {
    /// Encrypts a key. The same key and password give another file each time.
    ///
    /// # Errors
    /// [`SignerError::Randomness`].
    ///
    /// ```
    /// use tollway_evm::LocalSigner;
    /// use tollway_evm::keystore::{Hardness, Keystore};
    /// let signer = LocalSigner::random()?;
    /// let lock = || Keystore::lock(&signer, b"password", Hardness::Light);
    /// assert_ne!(lock()?, lock()?);
    /// # Ok::<(), tollway_evm::keystore::KeystoreError>(())
    /// ```
    pub fn lock(signer: &LocalSigner, password: &[u8], hardness: Hardness) -> Result<Self, KeystoreError> {
        let kdf = Kdf::fresh(hardness, random()?);
        let derived = kdf.derive(password)?;
        let iv = random()?;
        let mut text = signer.expose_bytes();
        cipher(&derived, iv, text.as_mut_slice())?;
        let ciphertext = text.to_vec();
        let mac = mac(&derived, &ciphertext);
        Ok(Self { address: Some(signer.address()), kdf, iv, ciphertext, mac, id: uuid(random()?) })
    }

    /// Reads a file, and bounds what opening it may cost. It is not opened.
    ///
    /// # Errors
    /// [`KeystoreError::Format`], naming the field and the rule.
    ///
    /// ```
    /// use tollway_evm::keystore::Keystore;
    /// let old = Keystore::read(br#"{ "version": 1 }"#).unwrap_err();
    /// assert_eq!(old.to_string(), "no keystore of version 3: version: must be 3, not 1");
    /// ```
    pub fn read(json: &[u8]) -> Result<Self, KeystoreError> {
        file::read(json).map_err(|error: WireError| KeystoreError::Format(error.to_string()))
    }

    /// The file.
    ///
    /// ```
    /// use tollway_evm::LocalSigner;
    /// use tollway_evm::keystore::{Hardness, Keystore};
    /// let locked = Keystore::lock(&LocalSigner::random()?, b"password", Hardness::Light)?;
    /// assert_eq!(Keystore::read(locked.to_json().as_bytes())?, locked);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_json(&self) -> String {
        file::write(self).to_string()
    }

    /// The account, if the file says it: Foundry's do not. The file's word is only checked when it is opened.
    ///
    /// ```
    /// use tollway_evm::keystore::{Hardness, Keystore};
    /// use tollway_evm::{LocalSigner, Signer};
    /// let signer = LocalSigner::random()?;
    /// assert_eq!(Keystore::lock(&signer, b"", Hardness::Light)?.address(), Some(signer.address()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn address(&self) -> Option<Address> {
        self.address
    }

    /// Opens it. This is meant to be slow, and blocks meanwhile.
    ///
    /// # Errors
    /// [`KeystoreError`]; a wrong password cannot be told from a damaged file.
    ///
    /// ```
    /// use tollway_evm::LocalSigner;
    /// use tollway_evm::keystore::{Hardness, Keystore, KeystoreError};
    /// let locked = Keystore::lock(&LocalSigner::random()?, b"password", Hardness::Light)?;
    /// assert_eq!(locked.unlock(b"Password").unwrap_err(), KeystoreError::Password);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unlock(&self, password: &[u8]) -> Result<LocalSigner, KeystoreError> {
        let derived = self.kdf.derive(password)?;
        let expected = mac(&derived, &self.ciphertext);
        verify_slices_are_equal(&expected, &self.mac).map_err(|_| KeystoreError::Password)?;
        // Some programs leave out the zeros that a key begins with.
        let mut secret = Zeroizing::new([0u8; 32]);
        let start = secret.len().saturating_sub(self.ciphertext.len());
        secret[start..].copy_from_slice(&self.ciphertext);
        cipher(&derived, self.iv, &mut secret[start..])?;
        let signer = LocalSigner::from_bytes(secret)?;
        match self.address {
            Some(stated) if stated != signer.address() => {
                Err(KeystoreError::Address { stated, found: signer.address() })
            }
            _ => Ok(signer),
        }
    }
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keystore")
            .field("address", &self.address)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// AES-128 in counter mode: the same there and back.
fn cipher(derived: &Derived, iv: [u8; 16], text: &mut [u8]) -> Result<(), KeystoreError> {
    let broken = |_| KeystoreError::Format("the cipher failed".to_owned());
    let key = UnboundCipherKey::new(&AES_128, &derived[..16]).and_then(DecryptingKey::ctr).map_err(broken)?;
    key.decrypt(text, DecryptionContext::Iv128(iv.into())).map(|_| ()).map_err(broken)
}

fn mac(derived: &Derived, ciphertext: &[u8]) -> [u8; 32] {
    let mut input = Zeroizing::new(derived[16..32].to_vec());
    input.extend_from_slice(ciphertext);
    keccak256(input.as_slice()).0
}

fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], KeystoreError> {
    let mut bytes = [0u8; LENGTH];
    getrandom::fill(&mut bytes).map_err(|_| SignerError::Randomness)?;
    Ok(bytes)
}

/// A random UUID (RFC 9562, version 4), which the format asks for.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits = alloy_primitives::hex::encode(bytes);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::uuid;

    #[test]
    fn a_uuid_has_its_version_and_variant() {
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
    }
}

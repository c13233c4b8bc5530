//! ECDSA on secp256k1, by libsecp256k1: reading, recovering, signing. Malleable spellings are refused.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, Signature, U256, keccak256, uint};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{All, Message, PublicKey, Secp256k1, SecretKey};

/// Half the order of the curve: an `s` above it is the malleable twin of a valid signature (EIP-2).
const HALF_ORDER: U256 = uint!(0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0_U256);

static CONTEXT: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);

/// Why bytes are not the signature of anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A plain key signs in 65 bytes: `r`, `s`, `v`.
    #[error("must be 65 bytes (r, s, v), not {0}")]
    Length(usize),
    /// `v` is 27 or 28 (0 and 1 are read as those).
    #[error("must end in v = 27 or 28, not {0}")]
    RecoveryId(u8),
    /// The malleable twin.
    #[error("must have s in the lower half of the curve order (EIP-2)")]
    HighS,
    /// `r` or `s` is zero or beyond the order, or no key fits.
    #[error("is not a valid secp256k1 signature")]
    Invalid,
}

/// Reads 65 bytes as a signature, refusing the malleable twin (EIP-2): the order is `r`, `s`, `v`.
///
/// # Errors
/// [`SignatureError`] saying which rule is broken.
///
/// ```
/// use tollway_evm::signature::{SignatureError, parse};
/// assert_eq!(parse(&[0; 64]), Err(SignatureError::Length(64)));
/// assert_eq!(parse(&[0x7f; 65]), Err(SignatureError::RecoveryId(0x7f)));
/// ```
pub fn parse(bytes: &[u8]) -> Result<Signature, SignatureError> {
    let bytes: &[u8; 65] = bytes.try_into().map_err(|_| SignatureError::Length(bytes.len()))?;
    let parity = match bytes[64] {
        0 | 27 => false,
        1 | 28 => true,
        other => return Err(SignatureError::RecoveryId(other)),
    };
    let signature = Signature::from_bytes_and_parity(bytes, parity);
    if signature.s() > HALF_ORDER {
        return Err(SignatureError::HighS);
    }
    Ok(signature)
}

/// The address whose key signed `digest`.
///
/// # Errors
/// [`SignatureError::Invalid`] when no key fits.
///
/// ```
/// # use tollway_core::BoxFuture;
/// use tollway_evm::{LocalSigner, Signer, signature};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let signer = LocalSigner::random()?;
/// let signed = signer.sign(b"pay").await?;
/// assert_eq!(signature::recover(alloy_primitives::keccak256(b"pay"), &signed), Ok(signer.address()));
/// # Ok(())
/// # }
/// ```
pub fn recover(digest: B256, signature: &Signature) -> Result<Address, SignatureError> {
    let mut compact = [0u8; 64];
    compact[..32].copy_from_slice(&signature.r().to_be_bytes::<32>());
    compact[32..].copy_from_slice(&signature.s().to_be_bytes::<32>());
    let id = if signature.v() { RecoveryId::One } else { RecoveryId::Zero };
    let signature = RecoverableSignature::from_compact(&compact, id).map_err(|_| SignatureError::Invalid)?;
    let key = CONTEXT
        .recover_ecdsa(Message::from_digest(digest.0), &signature)
        .map_err(|_| SignatureError::Invalid)?;
    Ok(address_of(&key))
}

/// Signs `digest`: RFC 6979 nonce, low `s`.
pub(crate) fn sign(digest: B256, secret: &SecretKey) -> Signature {
    let signature = CONTEXT.sign_ecdsa_recoverable(Message::from_digest(digest.0), secret);
    let (id, compact) = signature.serialize_compact();
    let parity = matches!(id, RecoveryId::One | RecoveryId::Three);
    Signature::from_bytes_and_parity(&compact, parity)
}

/// The address of a secret key.
pub(crate) fn address_of_secret(secret: &SecretKey) -> Address {
    address_of(&PublicKey::from_secret_key(&CONTEXT, secret))
}

fn address_of(key: &PublicKey) -> Address {
    Address::from_slice(&keccak256(&key.serialize_uncompressed()[1..])[12..])
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{B256, U256, keccak256, uint};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, prop_assume, proptest};
    use secp256k1::SecretKey;

    use super::{SignatureError, address_of_secret, parse, recover, sign};

    const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

    #[test]
    fn a_signature_has_65_bytes_and_one_spelling() {
        let secret = SecretKey::from_byte_array([7; 32]).unwrap();
        let digest = keccak256("pay");
        let bytes = sign(digest, &secret).as_bytes();
        assert_eq!(recover(digest, &parse(&bytes).unwrap()), Ok(address_of_secret(&secret)));
        assert_eq!(parse(&bytes[..64]), Err(SignatureError::Length(64)));
        assert_eq!(parse(&[]), Err(SignatureError::Length(0)));
        let mut wrong_v = bytes;
        wrong_v[64] = 29;
        assert_eq!(parse(&wrong_v), Err(SignatureError::RecoveryId(29)));
        let mut twin = bytes;
        let s = ORDER - U256::from_be_slice(&bytes[32..64]);
        twin[32..64].copy_from_slice(&s.to_be_bytes::<32>());
        twin[64] = if bytes[64] == 27 { 28 } else { 27 };
        assert_eq!(parse(&twin), Err(SignatureError::HighS));
        let zero = parse(&[0; 65]).unwrap();
        assert_eq!(recover(digest, &zero), Err(SignatureError::Invalid));
    }

    proptest! {
        #[test]
        fn any_key_is_recovered_from_its_own_signature(secret in any::<[u8; 32]>(), digest in any::<[u8; 32]>()) {
            let secret = SecretKey::from_byte_array(secret);
            prop_assume!(secret.is_ok());
            let secret = secret.unwrap();
            let signature = parse(&sign(B256::from(digest), &secret).as_bytes());
            prop_assert!(signature.is_ok());
            prop_assert_eq!(recover(B256::from(digest), &signature.unwrap()), Ok(address_of_secret(&secret)));
        }

        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>(), digest in any::<[u8; 32]>(), fixed in any::<[u8; 32]>()) {
            let _ = parse(&bytes);
            let whole = [fixed, digest].concat();
            let _ = parse(&[whole.as_slice(), &[27]].concat()).map(|signature| recover(B256::from(digest), &signature));
        }
    }
}

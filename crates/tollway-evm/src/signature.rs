//! ECDSA on secp256k1, by libsecp256k1: reading, recovering, signing. Malleable spellings are refused. And what stands
//! for a signature of an account with code, which only that code can judge (ERC-1271).

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, Bytes, Signature, U256, hex, keccak256, uint};
use alloy_sol_types::SolValue;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{All, Message, PublicKey, Secp256k1, SecretKey};

use crate::recent;

/// Half the order of the curve: an `s` above it is the malleable twin of a valid signature (EIP-2).
const HALF_ORDER: U256 = uint!(0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0_U256);

pub(crate) static CONTEXT: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);

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
    /// What an account's code is to judge has bytes, and not too many.
    #[error("must have 1 to {MOST_BYTES} bytes, not {0}")]
    CodeLength(usize),
    /// It ends like an ERC-6492 signature and is none.
    #[error("must hold a factory, its call and a signature before the ERC-6492 suffix")]
    Wrapper,
}

/// How a payer signed. Who may sign for an account is a matter of its code, as the token sees it: without code its key
/// signs; with code, a delegated account's (EIP-7702) included, the code is asked (ERC-1271) and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayerSignature {
    /// By the payer's own key.
    Key(Signature),
    /// By no key of the payer's: its code must say whether it is valid.
    Code(CodeSignature),
}

/// What an account's code is asked to accept, and how to deploy the account first where it has no code yet (ERC-6492).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeSignature {
    /// What the code is given.
    pub bytes: Bytes,
    /// Who deploys the account, and with which call.
    pub deployment: Option<Deployment>,
}

/// The call that deploys an account (ERC-6492). It is the payer's word: nobody may run it whose factory is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Whom to call.
    pub factory: Address,
    /// With what.
    pub data: Bytes,
}

/// What an ERC-6492 signature ends in.
const ERC6492_MAGIC: [u8; 32] = hex!("6492649264926492649264926492649264926492649264926492649264926492");
/// More than any wallet needs; every byte of it costs gas.
const MOST_BYTES: usize = 4096;

impl PayerSignature {
    /// Reads the signature of `digest` by `payer`. What is not by the payer's key is left to the payer's code; the
    /// malleable twin of a key's signature is nobody's.
    ///
    /// # Errors
    /// [`SignatureError`] saying which rule is broken.
    ///
    /// ```
    /// use tollway_evm::signature::PayerSignature;
    /// use tollway_evm::{LocalSigner, Signer};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let signer = LocalSigner::random()?;
    /// let signed = signer.sign(b"pay").await?;
    /// let digest = alloy_primitives::keccak256(b"pay");
    /// let by = |payer| PayerSignature::read(&signed.as_bytes(), digest, payer);
    /// assert_eq!(by(signer.address()), Ok(PayerSignature::Key(signed)));
    /// assert!(matches!(by(LocalSigner::random()?.address()), Ok(PayerSignature::Code(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn read(bytes: &[u8], digest: B256, payer: Address) -> Result<Self, SignatureError> {
        match parse(bytes) {
            Ok(signature) => {
                if recent::signer(digest, &signature) == Ok(payer) {
                    return Ok(Self::Key(signature));
                }
            }
            // In what another key signed, or code is to judge, a high `s` is nothing special.
            Err(SignatureError::HighS)
                if twin(bytes).is_some_and(|twin| recover(digest, &twin) == Ok(payer)) =>
            {
                return Err(SignatureError::HighS);
            }
            Err(_) => {}
        }
        CodeSignature::read(bytes).map(Self::Code)
    }

    /// Reads back what [`to_bytes`](Self::to_bytes) wrote, when it is known by whom it was.
    #[cfg(feature = "rpc")]
    pub(crate) fn recall(bytes: &[u8], is_by_key: bool) -> Option<Self> {
        match is_by_key {
            true => parse(bytes).ok().map(Self::Key),
            false => CodeSignature::read(bytes).ok().map(Self::Code),
        }
    }

    /// Whether it is by the payer's own key.
    ///
    /// ```
    /// use tollway_evm::{Signature, signature::PayerSignature};
    /// assert!(PayerSignature::from(Signature::test_signature()).is_by_key());
    /// ```
    pub const fn is_by_key(&self) -> bool {
        matches!(self, Self::Key(_))
    }

    /// As a payload carries it.
    ///
    /// ```
    /// use tollway_evm::{Signature, signature::PayerSignature};
    /// assert_eq!(PayerSignature::from(Signature::test_signature()).to_bytes().len(), 65);
    /// ```
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Key(signature) => signature.as_bytes().into(),
            Self::Code(CodeSignature { bytes, deployment: None }) => bytes.clone(),
            Self::Code(CodeSignature { bytes, deployment: Some(Deployment { factory, data }) }) => {
                let wrapped = (*factory, data.clone(), bytes.clone()).abi_encode_params();
                [wrapped.as_slice(), &ERC6492_MAGIC].concat().into()
            }
        }
    }

    /// As the contract that checks it is given: without the wrapper of ERC-6492.
    ///
    /// ```
    /// use tollway_evm::{Signature, signature::PayerSignature};
    /// assert_eq!(PayerSignature::from(Signature::test_signature()).inner().len(), 65);
    /// ```
    pub fn inner(&self) -> Bytes {
        match self {
            Self::Key(signature) => signature.as_bytes().into(),
            Self::Code(code) => code.bytes.clone(),
        }
    }

    /// How to deploy the payer's account, if the signature says so.
    ///
    /// ```
    /// use tollway_evm::{Signature, signature::PayerSignature};
    /// assert_eq!(PayerSignature::from(Signature::test_signature()).deployment(), None);
    /// ```
    pub const fn deployment(&self) -> Option<&Deployment> {
        match self {
            Self::Code(CodeSignature { deployment: Some(deployment), .. }) => Some(deployment),
            _ => None,
        }
    }
}

impl CodeSignature {
    fn read(bytes: &[u8]) -> Result<Self, SignatureError> {
        if bytes.is_empty() || bytes.len() > MOST_BYTES {
            return Err(SignatureError::CodeLength(bytes.len()));
        }
        let Some(wrapped) = bytes.strip_suffix(&ERC6492_MAGIC) else {
            return Ok(Self { bytes: Bytes::copy_from_slice(bytes), deployment: None });
        };
        let unwrapped = <(Address, Bytes, Bytes)>::abi_decode_params_validate(wrapped);
        let (factory, data, inner) = unwrapped.map_err(|_| SignatureError::Wrapper)?;
        Ok(Self { bytes: inner, deployment: Some(Deployment { factory, data }) })
    }
}

impl From<Signature> for PayerSignature {
    fn from(signature: Signature) -> Self {
        Self::Key(signature)
    }
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

/// The twin in the lower half of the order, of 65 bytes that are in the upper.
fn twin(bytes: &[u8]) -> Option<Signature> {
    let bytes: &[u8; 65] = bytes.try_into().ok()?;
    let parity = matches!(bytes[64], 1 | 28);
    Signature::from_bytes_and_parity(bytes, parity).normalize_s()
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

pub(crate) fn address_of(key: &PublicKey) -> Address {
    Address::from_slice(&keccak256(&key.serialize_uncompressed()[1..])[12..])
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, U256, keccak256, uint};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, prop_assume, proptest};
    use secp256k1::SecretKey;

    use super::{
        CodeSignature, Deployment, PayerSignature, SignatureError, address_of_secret, parse, recover, sign,
    };

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

    #[test]
    fn what_no_key_of_the_payer_signed_is_for_the_payers_code_and_a_keys_twin_is_for_nobody() {
        let secret = SecretKey::from_byte_array([7; 32]).unwrap();
        let (digest, payer) = (keccak256("pay"), address_of_secret(&secret));
        let signed = sign(digest, &secret);
        let read = |bytes: &[u8], payer| PayerSignature::read(bytes, digest, payer);
        assert_eq!(read(&signed.as_bytes(), payer), Ok(PayerSignature::Key(signed)));
        let another = Address::repeat_byte(9);
        assert_eq!(read(&signed.as_bytes(), another).unwrap().inner(), signed.as_bytes().to_vec());
        let mut twin = signed.as_bytes();
        twin[32..64].copy_from_slice(&(ORDER - signed.s()).to_be_bytes::<32>());
        twin[64] = if twin[64] == 27 { 28 } else { 27 };
        assert_eq!(read(&twin, payer), Err(SignatureError::HighS));
        assert!(matches!(read(&twin, another), Ok(PayerSignature::Code(_))), "of another key");
        assert_eq!(read(&[], payer), Err(SignatureError::CodeLength(0)));
        assert_eq!(read(&vec![1; 4097], payer), Err(SignatureError::CodeLength(4097)));
    }

    #[test]
    fn a_wrapped_signature_is_unwrapped_once_and_written_back_the_same() {
        let deployment = Deployment { factory: Address::repeat_byte(5), data: vec![1, 2, 3].into() };
        let code = CodeSignature { bytes: vec![7; 65].into(), deployment: Some(deployment.clone()) };
        let wrapped = PayerSignature::Code(code).to_bytes();
        let read = PayerSignature::read(&wrapped, keccak256("pay"), Address::ZERO).unwrap();
        assert_eq!((read.deployment(), read.inner().len()), (Some(&deployment), 65));
        assert_eq!(read.to_bytes(), wrapped);
        let broken = [&[1; 40][..], &wrapped[wrapped.len() - 32..]].concat();
        assert_eq!(
            PayerSignature::read(&broken, keccak256("pay"), Address::ZERO),
            Err(SignatureError::Wrapper)
        );
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

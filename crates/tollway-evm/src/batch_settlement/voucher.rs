//! The voucher: the payer's word how much of a channel may be claimed in all, ever. Each replaces the one before.

use alloy_primitives::{Address, B256, Bytes, U256, b256, hex};
use serde_json::{Value, json};
use tollway_core::Refusal;

use super::channel::{BatchDomain, ChannelConfig, hash_words};
use super::code;
use super::fields::Reader;
use crate::signature::{PayerSignature, SignatureError, parse};
use crate::{Signer, SignerError, recent};

/// keccak256 of `Voucher(bytes32 channelId,uint128 maxClaimableAmount)`.
const TYPE_HASH: B256 = b256!("1e1bd6ff84c3e0d9029a292b212e039c0ca97ec497c55191a4a5874294609a69");

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Voucher {
    /// The channel.
    pub channel_id: B256,
    /// How much may be claimed of it in all, atomic units.
    pub max_claimable: u128,
}

/// A voucher with its signature, as a payload carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedVoucher {
    /// What is signed.
    pub voucher: Voucher,
    /// The signature, as it came.
    pub signature: Bytes,
}

impl Voucher {
    /// The 66 bytes whose hash is signed: what a [`Signer`] is given.
    ///
    /// ```
    /// use tollway_evm::{B256, batch_settlement::Voucher};
    /// let voucher = Voucher { channel_id: B256::repeat_byte(7), max_claimable: 1_000 };
    /// assert_eq!(alloy_primitives::keccak256(voucher.preimage(8453)), voucher.digest(8453));
    /// ```
    pub fn preimage(&self, chain_id: u64) -> [u8; 66] {
        BatchDomain::of(chain_id).preimage(self.hash())
    }

    /// The digest that is signed (EIP-712).
    ///
    /// ```
    /// use tollway_evm::{B256, batch_settlement::Voucher};
    /// let voucher = Voucher { channel_id: B256::repeat_byte(7), max_claimable: 1_000 };
    /// assert_ne!(voucher.digest(8453), voucher.digest(1), "another chain");
    /// ```
    pub fn digest(&self, chain_id: u64) -> B256 {
        BatchDomain::of(chain_id).digest(self.hash())
    }

    /// Signs it.
    ///
    /// # Errors
    /// [`SignerError`] when the key is out of reach.
    ///
    /// ```
    /// use tollway_evm::{B256, LocalSigner, Signer, batch_settlement::Voucher, signature};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let key = LocalSigner::random()?;
    /// let signed = Voucher { channel_id: B256::ZERO, max_claimable: 7 }.sign(8453, &key).await?;
    /// let signature = signature::parse(&signed.signature)?;
    /// assert_eq!(signature::recover(signed.voucher.digest(8453), &signature)?, key.address());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn sign(&self, chain_id: u64, key: &dyn Signer) -> Result<SignedVoucher, SignerError> {
        let signature = key.sign(&self.preimage(chain_id)).await?;
        Ok(SignedVoucher { voucher: *self, signature: signature.as_bytes().into() })
    }

    fn hash(&self) -> B256 {
        hash_words([TYPE_HASH, self.channel_id, U256::from(self.max_claimable).into()])
    }
}

impl SignedVoucher {
    /// Whose it is, for a channel of these terms: what the contract will say of it when it is claimed. The channel's key
    /// alone is believed here; what the payer's account signs only its code can judge.
    ///
    /// # Errors
    /// [`SignatureError`]: nobody's, or somebody else's.
    ///
    /// ```
    /// use tollway_evm::{Address, B256, LocalSigner, Signer};
    /// use tollway_evm::batch_settlement::{ChannelConfig, Voucher};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let key = LocalSigner::random()?;
    /// let config = ChannelConfig {
    ///     payer: Address::repeat_byte(1), payer_authorizer: key.address(),
    ///     receiver: Address::repeat_byte(2), receiver_authorizer: Address::repeat_byte(3),
    ///     token: Address::repeat_byte(4), withdraw_delay_seconds: 900, salt: B256::ZERO,
    /// };
    /// let voucher = Voucher { channel_id: config.id(8453), max_claimable: 7 };
    /// assert!(voucher.sign(8453, &key).await?.check(&config, 8453)?.is_by_key());
    /// let strangers = voucher.sign(8453, &LocalSigner::random()?).await?;
    /// assert!(strangers.check(&config, 8453).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn check(&self, config: &ChannelConfig, chain_id: u64) -> Result<PayerSignature, SignatureError> {
        let digest = self.voucher.digest(chain_id);
        let Some(key) = config.voucher_key() else {
            return PayerSignature::read(&self.signature, digest, config.payer);
        };
        let signature = parse(&self.signature)?;
        match recent::signer(digest, &signature)? == key {
            true => Ok(PayerSignature::Key(signature)),
            false => Err(SignatureError::Invalid),
        }
    }

    pub(super) fn decode(reader: &Reader<'_>) -> Result<Self, Refusal> {
        let id = reader.text("channelId")?;
        let channel_id = super::fields::word(id).ok_or_else(|| {
            let error = reader.error("channelId", "must be 0x and 64 hex digits");
            Refusal { code: code::CHANNEL_ID_INVALID, ..error }
        })?;
        let max_claimable = reader.amount("maxClaimableAmount")?;
        Ok(Self { voucher: Voucher { channel_id, max_claimable }, signature: reader.bytes("signature")? })
    }

    pub(super) fn encode(&self) -> Value {
        json!({
            "channelId": self.voucher.channel_id.to_string(),
            "maxClaimableAmount": self.voucher.max_claimable.to_string(),
            "signature": hex::encode_prefixed(&self.signature),
        })
    }
}

/// The signature as it must be when it is claimed: the contract takes 27 and 28 where others write 0 and 1, and the account
/// is there by then, whatever had to be deployed first.
pub(super) fn proof(signed: &PayerSignature) -> String {
    match signed {
        PayerSignature::Key(signature) => hex::encode_prefixed(signature.as_bytes()),
        PayerSignature::Code(code) => hex::encode_prefixed(&code.bytes),
    }
}

/// Whether `key` signed the voucher.
pub(super) fn is_signed_by(voucher: &Voucher, chain_id: u64, proof: &str, key: Address) -> bool {
    let signature = hex::decode(proof).ok().and_then(|bytes| parse(&bytes).ok());
    signature.is_some_and(|signature| recent::signer(voucher.digest(chain_id), &signature) == Ok(key))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;

    use super::TYPE_HASH;

    #[test]
    fn the_type_is_the_contracts() {
        assert_eq!(TYPE_HASH, keccak256("Voucher(bytes32 channelId,uint128 maxClaimableAmount)"));
    }
}

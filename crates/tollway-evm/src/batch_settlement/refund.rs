//! Giving back what is left of a channel: what the receiver's authorizer signs for it, and what must hold of a refund that a
//! seller has completed.

use alloy_primitives::{Address, B256, Bytes, U256, b256, keccak256};
use tollway_core::Refusal;

use super::channel::{BatchDomain, hash_words};
use super::claim::check_claims;
use super::code;
use super::payload::{Refund, RefundCompletion};
use super::verify::{check_id, check_voucher};
use crate::signature::PayerSignature;
use crate::{Signer, SignerError};

/// keccak256 of `Refund(bytes32 channelId,uint256 nonce,uint128 amount)`.
const TYPE_HASH: B256 = b256!("be23ad087435072cd69b49cc5b92de10ee610fce7ae0ab428307972d764bb216");

/// What the receiver's authorizer consents to: so much of a channel goes back to its payer, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefundConsent {
    /// The channel.
    pub channel_id: B256,
    /// The number of the refund: each is good once, and in its turn.
    pub nonce: U256,
    /// At most this, atomic units.
    pub amount: u128,
}

impl RefundConsent {
    /// The 66 bytes whose hash is signed (EIP-712).
    ///
    /// ```
    /// use tollway_evm::{B256, U256, batch_settlement::RefundConsent};
    /// let consent = RefundConsent { channel_id: B256::ZERO, nonce: U256::ZERO, amount: 7 };
    /// assert_ne!(consent.preimage(8453), RefundConsent { amount: 8, ..consent }.preimage(8453));
    /// ```
    pub fn preimage(&self, chain_id: u64) -> [u8; 66] {
        let words = [TYPE_HASH, self.channel_id, self.nonce.into(), U256::from(self.amount).into()];
        BatchDomain::of(chain_id).preimage(hash_words(words))
    }

    /// The signature of the receiver's authorizer.
    ///
    /// # Errors
    /// [`SignerError`] when the key is out of reach.
    ///
    /// ```
    /// use tollway_evm::{B256, LocalSigner, U256, batch_settlement::RefundConsent};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tollway_evm::SignerError> {
    /// let consent = RefundConsent { channel_id: B256::ZERO, nonce: U256::ZERO, amount: 7 };
    /// assert_eq!(consent.sign(8453, &LocalSigner::random()?).await?.len(), 65);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn sign(&self, chain_id: u64, authorizer: &dyn Signer) -> Result<Bytes, SignerError> {
        Ok(authorizer.sign(&self.preimage(chain_id)).await?.as_bytes().into())
    }
}

impl Refund {
    /// What its authorizer consents to; none before the seller has completed it.
    ///
    /// ```
    /// use tollway_evm::batch_settlement::Refund;
    /// fn is_complete(refund: &Refund) -> bool {
    ///     refund.consent().is_some()
    /// }
    /// ```
    pub fn consent(&self) -> Option<RefundConsent> {
        let nonce = self.completion.as_ref()?.nonce;
        let channel_id = self.voucher.voucher.channel_id;
        Some(RefundConsent { channel_id, nonce, amount: self.amount? })
    }
}

/// Holds a completed refund to every rule that needs no chain, but for the authorizer's signatures.
pub(super) fn check_refund(refund: &Refund, chain_id: u64) -> Result<&RefundCompletion, Refusal> {
    let Some(completion) = &refund.completion else {
        let rule = "is required: the seller completes a refund before it is settled";
        return Err(Refusal::new(code::REFUND_PAYLOAD, "payload.refundNonce", rule));
    };
    check_id(&refund.config, refund.voucher.voucher.channel_id, chain_id)?;
    check_voucher(&refund.config, &refund.voucher, chain_id)?;
    if completion.claims.iter().any(|claim| claim.config != refund.config) {
        let rule = "must be of the channel that is refunded";
        return Err(Refusal::new(code::REFUND_PAYLOAD, "payload.claims", rule));
    }
    if !completion.claims.is_empty() {
        check_claims(&completion.claims, chain_id)?;
    }
    Ok(completion)
}

/// Holds the authorizer's consent to a refund.
pub(super) fn check_refund_consent(
    consent: &RefundConsent,
    chain_id: u64,
    authorizer: Address,
    signature: &[u8],
) -> Result<PayerSignature, Refusal> {
    let digest = keccak256(consent.preimage(chain_id));
    PayerSignature::read(signature, digest, authorizer).map_err(|error| {
        let field = "payload.refundAuthorizerSignature";
        Refusal::new(code::AUTHORIZER_ADDRESS_MISMATCH, field, error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;

    use super::TYPE_HASH;

    #[test]
    fn the_type_is_the_contracts() {
        assert_eq!(TYPE_HASH, keccak256("Refund(bytes32 channelId,uint256 nonce,uint128 amount)"));
    }
}

//! Claiming vouchers of many channels at once: what the receiver's authorizer signs for the batch, what must hold of it, and
//! how many rows are one transaction.

use alloy_primitives::{Address, B256, Bytes, U256, b256, hex, keccak256};
use tollway_core::{ClaimRow, ErrorCode, Refusal};

use super::channel::{BatchDomain, ChannelConfig, hash_words};
use super::code;
use super::payload::{ClaimEntry, MAX_CLAIMS};
use crate::signature::PayerSignature;
use crate::{Signer, SignerError};

/// keccak256 of `ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)`.
const ENTRY_TYPE_HASH: B256 = b256!("30b9a0367528fca13c3e8ec6134c3113f1887ebe7a1ad61de0955aac288b0cf5");
/// keccak256 of `ClaimBatch(ClaimEntry[] claims)` and the type of an entry behind it.
const BATCH_TYPE_HASH: B256 = b256!("42bd57c010b870c2e96203c66341f28a6a19b4d56a74533a8eb5f706b9fd6d57");

/// What any claim takes, the authorizer's signature included.
const GAS_OF_BATCH: u64 = 90_000;
/// What a row takes whose voucher a key has signed, its calldata included: 20,000 with our contract, and a third more.
const GAS_OF_ROW: u64 = 27_000;
/// What the payer's code may take, which says whether it signed.
const GAS_OF_CODE: u64 = 300_000;

impl ClaimEntry {
    /// Reads what a seller has kept of a channel.
    ///
    /// # Errors
    /// [`Refusal`] naming the field and the rule.
    ///
    /// ```
    /// use tollway_core::{ClaimRow, Refusal};
    /// use tollway_evm::batch_settlement::ClaimEntry;
    /// fn ceiling(row: &ClaimRow) -> Result<u128, Refusal> {
    ///     Ok(ClaimEntry::of(row)?.max_claimable)
    /// }
    /// ```
    pub fn of(row: &ClaimRow) -> Result<Self, Refusal> {
        let refuse = |field: &str, rule: &str| Refusal::new(code::CLAIM_PAYLOAD, field, rule);
        let amount = |amount: tollway_core::Amount, field| {
            u128::try_from(amount.atomic()).map_err(|_| refuse(field, "must fit in 128 bits"))
        };
        let signature = hex::decode(&row.proof).map_err(|_| refuse("proof", "must be hex bytes"))?;
        Ok(Self {
            config: ChannelConfig::read(&row.terms)?,
            max_claimable: amount(row.signed, "signed")?,
            signature: signature.into(),
            total_claimed: amount(row.total, "total")?,
        })
    }

    fn hash(&self, chain_id: u64) -> B256 {
        hash_words([
            ENTRY_TYPE_HASH,
            self.config.id(chain_id),
            U256::from(self.max_claimable).into(),
            U256::from(self.total_claimed).into(),
        ])
    }

    /// Whether only the code of the payer's account can say that the voucher is good.
    pub(super) fn is_by_code(&self, chain_id: u64) -> bool {
        let is_by_key =
            || self.voucher(chain_id).check(&self.config, chain_id).is_ok_and(|by| by.is_by_key());
        self.config.voucher_key().is_none() && !is_by_key()
    }

    /// The most gas that it takes in a batch.
    fn gas(&self) -> u64 {
        // A signature of another length is not a key's.
        let is_by_key = self.signature.len() == 65;
        if is_by_key && self.config.voucher_key().is_some() {
            return GAS_OF_ROW;
        }
        GAS_OF_ROW + GAS_OF_CODE
    }
}

/// The 66 bytes whose hash the receiver's authorizer signs to have `claims` claimed (EIP-712, `ClaimBatch`).
///
/// ```
/// use tollway_evm::batch_settlement::claim_preimage;
/// assert_eq!(claim_preimage(&[], 8453)[..2], [0x19, 0x01]);
/// ```
pub fn claim_preimage(claims: &[ClaimEntry], chain_id: u64) -> [u8; 66] {
    let entries: Vec<[u8; 32]> = claims.iter().map(|claim| claim.hash(chain_id).0).collect();
    let root = keccak256(entries.as_flattened());
    BatchDomain::of(chain_id).preimage(hash_words([BATCH_TYPE_HASH, root]))
}

/// The signature of the receiver's authorizer for `claims`.
///
/// # Errors
/// [`SignerError`] when the key is out of reach.
///
/// ```
/// use tollway_evm::{LocalSigner, batch_settlement::sign_claims};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tollway_evm::SignerError> {
/// let authorizer = LocalSigner::random()?;
/// assert_eq!(sign_claims(&[], 8453, &authorizer).await?.len(), 65);
/// # Ok(())
/// # }
/// ```
pub async fn sign_claims(
    claims: &[ClaimEntry],
    chain_id: u64,
    authorizer: &dyn Signer,
) -> Result<Bytes, SignerError> {
    Ok(authorizer.sign(&claim_preimage(claims, chain_id)).await?.as_bytes().into())
}

/// The most gas that claiming them together takes.
///
/// ```
/// use tollway_evm::batch_settlement::claim_gas;
/// assert!(claim_gas(&[]) > 21_000);
/// ```
pub fn claim_gas(claims: &[ClaimEntry]) -> u64 {
    claims.iter().fold(GAS_OF_BATCH, |sum, claim| sum.saturating_add(claim.gas()))
}

/// Splits claims into batches, in their order, each of one receiver's authorizer and within `max_gas` and `most` rows. What
/// is too dear alone is alone.
///
/// ```
/// use tollway_evm::batch_settlement::{ClaimEntry, split_claims};
/// fn transactions(claims: Vec<ClaimEntry>) -> usize {
///     split_claims(claims, 15_000_000, 100).len()
/// }
/// ```
pub fn split_claims(claims: Vec<ClaimEntry>, max_gas: u64, most: usize) -> Vec<Vec<ClaimEntry>> {
    let most = most.clamp(1, MAX_CLAIMS);
    let mut batches: Vec<(Address, u64, Vec<ClaimEntry>)> = Vec::new();
    for claim in claims {
        let (authorizer, gas) = (claim.config.receiver_authorizer, claim.gas());
        // The newest batch of an authorizer is the only one with room.
        let open = batches.iter_mut().rev().find(|(of, ..)| *of == authorizer);
        match open {
            Some((_, sum, rows)) if rows.len() < most && sum.saturating_add(gas) <= max_gas => {
                *sum += gas;
                rows.push(claim);
            }
            _ => batches.push((authorizer, GAS_OF_BATCH + gas, vec![claim])),
        }
    }
    batches.into_iter().map(|(_, _, rows)| rows).collect()
}

/// Holds claims to every rule that needs no chain: one authorizer, no channel twice, no more than was signed, each voucher
/// signed. The authorizer.
pub(super) fn check_claims(claims: &[ClaimEntry], chain_id: u64) -> Result<Address, Refusal> {
    let Some(first) = claims.first() else {
        return Err(Refusal::new(code::CLAIM_PAYLOAD, "payload.claims", "must not be empty"));
    };
    let authorizer = first.config.receiver_authorizer;
    let mut ids = Vec::with_capacity(claims.len());
    for (at, claim) in claims.iter().enumerate() {
        let refuse = |code: ErrorCode, field: &str, rule: String| {
            Err(Refusal::new(code, format!("payload.claims[{at}].{field}"), rule))
        };
        if claim.config.receiver_authorizer != authorizer {
            let rule = format!("must be {authorizer}, as in the first");
            return refuse(code::AUTHORIZER_ADDRESS_MISMATCH, "voucher.channel.receiverAuthorizer", rule);
        }
        if claim.total_claimed > claim.max_claimable {
            let rule = format!("must be at most the {} that are signed", claim.max_claimable);
            return refuse(code::CHARGE_EXCEEDS_SIGNED_CUMULATIVE, "totalClaimed", rule);
        }
        let voucher = claim.voucher(chain_id);
        if let Err(error) = voucher.check(&claim.config, chain_id) {
            return refuse(code::VOUCHER_SIGNATURE, "signature", error.to_string());
        }
        ids.push(voucher.voucher.channel_id);
    }
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Refusal::new(code::CLAIM_PAYLOAD, "payload.claims", "must name no channel twice"));
    }
    Ok(authorizer)
}

/// Holds the authorizer's consent to `claims`.
pub(super) fn check_claim_consent(
    claims: &[ClaimEntry],
    chain_id: u64,
    authorizer: Address,
    signature: &[u8],
) -> Result<PayerSignature, Refusal> {
    let digest = keccak256(claim_preimage(claims, chain_id));
    PayerSignature::read(signature, digest, authorizer).map_err(|error| {
        let field = "payload.claimAuthorizerSignature";
        Refusal::new(code::AUTHORIZER_ADDRESS_MISMATCH, field, error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;

    use super::{BATCH_TYPE_HASH, ENTRY_TYPE_HASH};

    #[test]
    fn the_types_are_the_contracts() {
        let entry = "ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)";
        assert_eq!(ENTRY_TYPE_HASH, keccak256(entry));
        assert_eq!(BATCH_TYPE_HASH, keccak256(format!("ClaimBatch(ClaimEntry[] claims){entry}")));
    }
}

//! Which transactions may have collected a payment: for a payer, who knows nothing of what its operator sends.

use alloy_primitives::B256;
use alloy_rpc_types_eth::Filter;
use alloy_sol_types::SolEvent;

use super::abi::{Escrow, EscrowInBps};
use super::settleable::AuthCapture;
use crate::chain::{Chain, ChainError};

/// No node is asked for more at once.
const LOOK_BACK_BLOCKS: u64 = 5_000;

/// The transactions in which the escrow says that it has lately collected the payment; what they hold is for the proof to say.
pub(crate) async fn find_uses(chain: &Chain, payment: &AuthCapture) -> Result<Vec<B256>, ChainError> {
    let head = chain.head().await?.number;
    let collected = [
        Escrow::PaymentAuthorized::SIGNATURE_HASH,
        Escrow::PaymentCharged::SIGNATURE_HASH,
        EscrowInBps::PaymentCharged::SIGNATURE_HASH,
    ];
    let filter = Filter::new()
        .address(payment.deployment().escrow)
        .event_signature(collected.to_vec())
        .topic1(payment.hash())
        .from_block(head.saturating_sub(LOOK_BACK_BLOCKS));
    let logs = chain.logs(&filter).await?;
    Ok(logs.into_iter().filter_map(|log| log.transaction_hash).collect())
}

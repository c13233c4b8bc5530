//! Phase 8: believe only the token's `Transfer` event.

use alloy_rpc_types_eth::TransactionReceipt;
use tollway_evm::exact::{ExactPayment, TransferProof, prove_transfer};
use tollway_ledger::SettlementState;

/// The proof of `payment` in a receipt.
pub(crate) fn prove(payment: &ExactPayment, receipt: &TransactionReceipt) -> Option<TransferProof> {
    if !receipt.status() {
        return None;
    }
    let logs = receipt.inner.logs().iter().zip(0u64..);
    prove_transfer(payment, logs.map(|(log, position)| (log.log_index.unwrap_or(position), &log.inner)))
}

/// What a receipt makes of `payment`, if it proves it.
pub(crate) fn settled_by(payment: &ExactPayment, receipt: &TransactionReceipt) -> Option<SettlementState> {
    let proof = prove(payment, receipt)?;
    Some(SettlementState::Settled {
        transaction: receipt.transaction_hash.to_string(),
        log_index: proof.log_index,
        block_number: receipt.block_number.unwrap_or_default(),
        block_hash: receipt.block_hash.unwrap_or_default().to_string(),
        is_final: false,
    })
}

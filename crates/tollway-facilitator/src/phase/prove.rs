//! Phase 8: believe only the token's `Transfer` event.

use std::collections::HashMap;

use alloy_primitives::Address;
use alloy_rpc_types_eth::TransactionReceipt;
use tollway_evm::Payment;
use tollway_evm::exact::TokenEvents;
use tollway_ledger::SettlementState;

/// A receipt, its events read once for all payments in it.
#[derive(Debug)]
pub(crate) struct Proofs<'a> {
    receipt: &'a TransactionReceipt,
    tokens: HashMap<Address, TokenEvents>,
}

impl<'a> Proofs<'a> {
    pub(crate) fn new(receipt: &'a TransactionReceipt) -> Self {
        Self { receipt, tokens: HashMap::new() }
    }

    /// What the receipt makes of `payment`, if it proves it.
    pub(crate) fn settled(&mut self, payment: &Payment) -> Option<SettlementState> {
        let receipt = self.receipt;
        if !receipt.status() {
            return None;
        }
        let logs = || {
            let logs = receipt.inner.logs().iter().zip(0u64..);
            logs.map(|(log, position)| (log.log_index.unwrap_or(position), &log.inner))
        };
        let proof = if payment.has_witness() {
            payment.prove_in(logs())
        } else {
            let read = || TokenEvents::read(payment.asset(), logs());
            payment.prove(self.tokens.entry(payment.asset()).or_insert_with(read))
        }?;
        Some(SettlementState::Settled {
            transaction: receipt.transaction_hash.to_string(),
            log_index: proof.log_index,
            block_number: receipt.block_number.unwrap_or_default(),
            block_hash: receipt.block_hash.unwrap_or_default().to_string(),
            is_final: false,
        })
    }
}

/// What a receipt makes of one payment, if it proves it.
pub(crate) fn settled_by(payment: &Payment, receipt: &TransactionReceipt) -> Option<SettlementState> {
    Proofs::new(receipt).settled(payment)
}

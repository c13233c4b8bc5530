//! Taking a raw transaction in: the checks that nodes make before one enters the pool.

use std::sync::Arc;

use alloy_consensus::{Header, Transaction as _};
use alloy_primitives::B256;

use super::Node;
use crate::{
    evm::{TRANSACTION_GAS_CAP, Transaction, intrinsic_gas},
    failure::{Failure, insufficient_funds, nonce_too_low},
    state::State,
};

/// The most initcode that one transaction may carry (EIP-3860).
const INITCODE_BYTES: usize = 49_152;

impl Node {
    /// Accepts a raw transaction and returns its hash. On an instant chain it is in a block when this
    /// returns.
    pub(crate) fn submit(&self, raw: &[u8]) -> Result<B256, Failure> {
        let hash = self.deliver(raw)?;
        if self.faults.lock().take_duplicate() {
            tracing::debug!(%hash, "delivers a transaction again, as told");
            return self.deliver(raw);
        }
        Ok(hash)
    }

    fn deliver(&self, raw: &[u8]) -> Result<B256, Failure> {
        if raw.len() > self.config.limits.transaction_bytes {
            return Err(Failure::server("oversized data"));
        }
        let transaction = Arc::new(Transaction::decode(raw, self.config.chain_id)?);
        let hash = transaction.hash;
        // On an instant chain one transaction is done before the next is looked at. On any other, whoever
        // sends need not wait for a block that is being made.
        let sealing = self.is_instant().then(|| self.sealer.lock());
        let header = {
            let chain = self.chain();
            if chain.pool.get(&hash).is_some() {
                return Err(Failure::server("already known"));
            }
            let header = self.header_after(chain.head());
            validate(&transaction, chain.head_state(), &header)?;
            header
        };
        if self.faults.lock().take_drop() {
            tracing::debug!(%hash, "dropped a transaction, as told");
            return Ok(hash);
        }
        let sender = transaction.sender;
        self.chain.write().pool.insert(transaction)?;
        if self.is_instant() {
            let sealing = sealing.unwrap_or_else(|| self.sealer.lock());
            self.seal_ready(&sealing, Some(sender));
        }
        tracing::trace!(%hash, number = header.number, "accepted a transaction");
        Ok(hash)
    }
}

/// Whether a transaction may wait in the pool. A nonce that is too high is no reason against it.
fn validate(transaction: &Transaction, state: &State, next: &Header) -> Result<(), Failure> {
    let (tx, sender) = (&transaction.envelope, transaction.sender);
    if tx.gas_limit() > next.gas_limit {
        return Err(Failure::server("exceeds block gas limit"));
    }
    if tx.gas_limit() > TRANSACTION_GAS_CAP {
        let (cap, have) = (TRANSACTION_GAS_CAP, tx.gas_limit());
        return Err(Failure::server(format!("transaction gas limit too high (cap: {cap}, tx: {have})")));
    }
    if tx.max_priority_fee_per_gas().is_some_and(|tip| tip > tx.max_fee_per_gas()) {
        return Err(Failure::server("max priority fee per gas higher than max fee per gas"));
    }
    if tx.max_fee_per_gas() < u128::from(next.base_fee_per_gas.unwrap_or_default()) {
        return Err(Failure::server("max fee per gas less than block base fee"));
    }
    if tx.is_create() && tx.input().len() > INITCODE_BYTES {
        return Err(Failure::server("max initcode size exceeded"));
    }
    let needed = intrinsic_gas(&transaction.env());
    if tx.gas_limit() < needed {
        let have = tx.gas_limit();
        return Err(Failure::server(format!("intrinsic gas too low: gas {have}, minimum needed {needed}")));
    }
    let code = state.info(sender).code;
    if code.is_some_and(|code| !code.is_empty() && !code.is_eip7702()) {
        return Err(Failure::server("sender not an eoa"));
    }
    let nonce = state.nonce(sender);
    if tx.nonce() < nonce {
        return Err(Failure::server(nonce_too_low(nonce, tx.nonce())));
    }
    let (balance, cost) = (state.balance(sender), transaction.max_cost());
    if balance < cost {
        return Err(Failure::server(insufficient_funds(balance, cost)));
    }
    Ok(())
}

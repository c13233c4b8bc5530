//! Making blocks.

use std::{collections::HashSet, sync::Arc};

use alloy_consensus::{
    Eip658Value, Header, Receipt as ConsensusReceipt, ReceiptEnvelope, Transaction as _, TxType,
};
use alloy_primitives::{Address, Log};
use parking_lot::MutexGuard;
use revm::{
    DatabaseCommit, ExecuteEvm,
    context::result::{EVMError, ExecutionResult, InvalidTransaction},
    context_interface::{ContextTr, JournalTr},
};

use super::{Event, Forecast, Node, Snapshots};
use crate::{
    chain::{Block, Receipt},
    evm::{Transaction, block_env, machine, rules},
    state::State,
};

/// The body of a block in the making.
#[derive(Default)]
pub(crate) struct Body {
    transactions: Vec<Arc<Transaction>>,
    receipts: Vec<Receipt>,
    pub(crate) gas_used: u64,
    logs: usize,
    /// Transactions that can never run.
    rejected: Vec<Arc<Transaction>>,
    /// Senders of which one transaction had to wait; the later ones wait with it.
    waiting: HashSet<Address>,
}

impl Node {
    /// Makes one block of what is ready, empty if nothing is.
    pub(crate) fn mine(&self) -> Arc<Block> {
        let sealing = self.sealer.lock();
        self.seal_next(&sealing)
    }

    /// Makes `count` blocks, `interval_secs` apart in the chain's time.
    pub(crate) fn mine_many(&self, count: u64, interval_secs: u64) {
        let sealing = self.sealer.lock();
        for made in 0..count {
            if made > 0 && interval_secs > 0 {
                let parent = self.chain().head().header.timestamp;
                self.forecast.lock().clock.set_next(parent.saturating_add(interval_secs));
            }
            self.seal_next(&sealing);
        }
    }

    /// On an instant chain: makes a block for each transaction that is ready.
    pub(super) fn seal_ready(&self, sealing: &MutexGuard<'_, Snapshots>, sender: Option<Address>) {
        for transaction in self.ready(sender) {
            self.seal(sealing, vec![transaction]);
        }
    }

    pub(super) fn seal_next(&self, sealing: &MutexGuard<'_, Snapshots>) -> Arc<Block> {
        self.seal(sealing, self.ready(None))
    }

    /// What may go into a block now.
    fn ready(&self, sender: Option<Address>) -> Vec<Arc<Transaction>> {
        if self.faults.lock().held() {
            return Vec::new();
        }
        let base_fee = self.next_base_fee();
        let chain = self.chain();
        chain.pool.ready(chain.head_state(), base_fee, sender)
    }

    /// The next block, if it were made now.
    pub(crate) fn preview(&self) -> Block {
        let (parent, mut state) = {
            let chain = self.chain();
            (chain.head().clone(), chain.head_state().clone())
        };
        let header = self.header_after(&parent);
        self.run(&header, &mut state, self.ready(None)).into_block(header)
    }

    /// Runs what fits of `candidates` into a block with this header.
    fn run(&self, header: &Header, state: &mut State, candidates: Vec<Arc<Transaction>>) -> Body {
        let mut body = Body::default();
        if candidates.is_empty() {
            return body;
        }
        let mut evm = machine(rules(self.config.chain_id), block_env(header), state);
        for transaction in candidates {
            let left = header.gas_limit - body.gas_used;
            if transaction.envelope.gas_limit() > left || body.waiting.contains(&transaction.sender) {
                body.waiting.insert(transaction.sender);
                continue;
            }
            match evm.transact(transaction.env()) {
                Ok(outcome) => {
                    evm.ctx.journal_mut().db_mut().commit(outcome.state);
                    body.add(transaction, outcome.result, header.base_fee_per_gas);
                }
                Err(error) => body.refuse(transaction, &error),
            }
        }
        body
    }

    /// Runs what fits of `candidates` and appends the block. The guard shows that nobody else is changing the
    /// chain.
    fn seal(&self, _: &MutexGuard<'_, Snapshots>, candidates: Vec<Arc<Transaction>>) -> Arc<Block> {
        let (parent, mut state) = {
            let chain = self.chain();
            (chain.head().clone(), chain.head_state().clone())
        };
        let header = self.header_after(&parent);
        let mut body = self.run(&header, &mut state, candidates);
        let rejected = std::mem::take(&mut body.rejected);
        let block = Arc::new(body.into_block(header));
        state.set_block_hash(block.number(), block.hash());
        self.forecast.lock().block_made();
        let mut chain = self.chain.write();
        rejected.iter().for_each(|transaction| chain.pool.remove(&transaction.hash));
        for transaction in &block.transactions {
            chain.pool.forget_below(transaction.sender, transaction.nonce() + 1);
        }
        chain.push(block.clone(), state);
        drop(chain);
        self.emit(Event::Added(block.clone()));
        block
    }
}

impl Forecast {
    fn block_made(&mut self) {
        self.clock.block_made();
        self.base_fee = None;
        self.headers += 1;
        let Some(spike) = &mut self.spike else { return };
        spike.blocks_left -= 1;
        if spike.blocks_left == 0 {
            self.end_spike();
        }
    }

    /// The next block costs what it would have without.
    pub(super) fn end_spike(&mut self) {
        self.base_fee = self.spike.take().map(|spike| spike.calm).or(self.base_fee);
    }
}

impl Body {
    /// Takes in a transaction that has run.
    pub(crate) fn add(
        &mut self,
        transaction: Arc<Transaction>,
        result: ExecutionResult,
        base_fee: Option<u64>,
    ) {
        let gas_used = result.tx_gas_used();
        self.gas_used += gas_used;
        let created = result.created_address();
        let success = result.is_success();
        // Only a transaction that succeeds leaves logs.
        let logs = if success { result.into_logs() } else { Vec::new() };
        let first_log = self.logs;
        self.logs += logs.len();
        self.receipts.push(Receipt {
            envelope: envelope(transaction.envelope.tx_type(), success, self.gas_used, logs),
            gas_used,
            effective_gas_price: transaction.envelope.effective_gas_price(base_fee),
            first_log,
            created,
        });
        self.transactions.push(transaction);
    }

    pub(crate) fn into_block(self, header: Header) -> Block {
        Block::new(header, self.transactions, self.receipts)
    }

    fn refuse<E: std::fmt::Display>(
        &mut self,
        transaction: Arc<Transaction>,
        error: &EVMError<E, InvalidTransaction>,
    ) {
        self.waiting.insert(transaction.sender);
        if !matches!(error, EVMError::Transaction(InvalidTransaction::NonceTooHigh { .. })) {
            tracing::debug!(hash = %transaction.hash, %error, "dropped a transaction that can't run");
            self.rejected.push(transaction);
        }
    }
}

fn envelope(kind: TxType, success: bool, cumulative_gas_used: u64, logs: Vec<Log>) -> ReceiptEnvelope {
    let receipt =
        ConsensusReceipt { status: Eip658Value::Eip658(success), cumulative_gas_used, logs }.with_bloom();
    match kind {
        TxType::Eip2930 => ReceiptEnvelope::Eip2930(receipt),
        TxType::Eip1559 => ReceiptEnvelope::Eip1559(receipt),
        TxType::Eip7702 => ReceiptEnvelope::Eip7702(receipt),
        // Blob transactions never get this far.
        _ => ReceiptEnvelope::Legacy(receipt),
    }
}

//! A lane's transaction with the payments in it: on its way, or in a block.

use std::sync::Arc;

use alloy_primitives::{B256, Bytes};
use alloy_rpc_types_eth::TransactionReceipt;
use tokio::time::Instant;
use tollway_evm::{SignedTransaction, Transaction};
use tollway_ledger::{NewTransaction, SettlementState, TransactionChange, TransactionState};

use crate::gas::Fees;
use crate::journal::{Progress, Row};
use crate::phase::prove::Proofs;

/// One nonce of a lane that is not included yet.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) nonce: u64,
    pub(crate) rows: Vec<Arc<Row>>,
    /// Every transaction that was signed with this nonce for these payments, the latest last. Any may be included.
    pub(crate) versions: Vec<Version>,
    /// When the latest version was sent.
    pub(crate) sent_at: Instant,
    pub(crate) signs: Signs,
    pub(crate) bumps: u32,
}

/// A signed transaction.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) signed: SignedTransaction,
    pub(crate) nonce: u64,
    pub(crate) fees: Fees,
}

/// The signs that speak against an inclusion, each by how often in a row it was seen.
#[derive(Debug, Default)]
pub(crate) struct Signs {
    pub(crate) nonce_used: u32,
    pub(crate) nonce_ahead: u32,
    pub(crate) refused: u32,
    pub(crate) expired: u32,
}

/// A transaction in a block that may still be taken back.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) flight: Flight,
    pub(crate) transaction: B256,
    pub(crate) block_number: u64,
    pub(crate) block_hash: B256,
    /// Kept until every payment in it is told.
    pub(crate) receipt: Option<Arc<TransactionReceipt>>,
    /// Those that wait for more blocks on top.
    pub(crate) untold: Vec<Arc<Row>>,
}

impl Version {
    /// A transaction of the ledger; none if it is none of ours.
    pub(crate) fn read(signed: &NewTransaction) -> Option<Self> {
        let raw = Bytes::copy_from_slice(&signed.raw);
        let transaction = Transaction::decode(&raw)?;
        let fees = Fees {
            max_fee_per_gas: transaction.max_fee_per_gas,
            max_priority_fee_per_gas: transaction.max_priority_fee_per_gas,
        };
        let hash = signed.hash.parse().ok()?;
        Some(Self { signed: SignedTransaction { hash, raw }, nonce: transaction.nonce, fees })
    }

    pub(crate) fn as_new(&self) -> NewTransaction {
        NewTransaction {
            hash: self.signed.hash.to_string(),
            nonce: self.nonce,
            raw: self.signed.raw.to_vec(),
            max_fee_per_gas: self.fees.max_fee_per_gas,
            max_priority_fee_per_gas: self.fees.max_priority_fee_per_gas,
        }
    }

    pub(crate) fn change(&self, state: TransactionState) -> TransactionChange {
        TransactionChange { hash: self.signed.hash.to_string(), state }
    }
}

impl Flight {
    pub(crate) fn new(nonce: u64, rows: Vec<Arc<Row>>, versions: Vec<Version>) -> Self {
        Self { nonce, rows, versions, sent_at: Instant::now(), signs: Signs::default(), bumps: 0 }
    }

    /// The version to send again.
    pub(crate) fn latest(&self) -> Option<&Version> {
        self.versions.last()
    }

    /// It is in a block, by `receipt`.
    pub(crate) fn land(self, receipt: Arc<TransactionReceipt>) -> Landed {
        let untold = self.rows.iter().filter(|row| !row.progress().is_over()).map(Arc::clone).collect();
        Landed {
            flight: self,
            transaction: receipt.transaction_hash,
            block_number: receipt.block_number.unwrap_or_default(),
            block_hash: receipt.block_hash.unwrap_or_default(),
            receipt: Some(receipt),
            untold,
        }
    }
}

impl Landed {
    /// What the ledger is to know of its transactions: one is in a block, and its rivals for the nonce never will be.
    pub(crate) fn changes(&self, state: TransactionState) -> Vec<TransactionChange> {
        let of = |version: &Version| match version.signed.hash == self.transaction {
            true => version.change(state),
            false => version.change(TransactionState::Lost),
        };
        self.flight.versions.iter().map(of).collect()
    }

    /// Whether `row` counts as settled by this transaction, in whichever block.
    pub(crate) fn has_settled(&self, row: &Row) -> bool {
        self.settled_in(row).is_some()
    }

    /// Whether a payment counts as settled by it in a block that is not its own.
    pub(crate) fn is_told_of_another_block(&self) -> bool {
        let own = self.block_hash.to_string();
        let told = |row: &Arc<Row>| self.settled_in(row).is_some_and(|block| block != own);
        self.flight.rows.iter().any(told)
    }

    fn settled_in(&self, row: &Row) -> Option<String> {
        match row.progress() {
            Progress::Ended(SettlementState::Settled { transaction, block_hash, .. })
                if transaction == self.transaction.to_string() =>
            {
                Some(block_hash)
            }
            _ => None,
        }
    }

    /// Those for which there are enough blocks on top, each with what it is by the receipt: settled, or not.
    pub(crate) fn mature(&mut self, head: u64) -> Vec<(Arc<Row>, Option<SettlementState>)> {
        let Some(receipt) = self.receipt.clone() else { return Vec::new() };
        let on_top = head.saturating_sub(self.block_number);
        let (told, untold) = std::mem::take(&mut self.untold)
            .into_iter()
            .partition::<Vec<_>, _>(|row| u64::from(row.confirmations) <= on_top);
        self.untold = untold;
        if self.untold.is_empty() {
            self.receipt = None;
        }
        let mut proofs = Proofs::new(&receipt);
        let settled = |row: Arc<Row>| {
            let settled = proofs.settled(&row.payment);
            (row, settled)
        };
        told.into_iter().map(settled).collect()
    }
}

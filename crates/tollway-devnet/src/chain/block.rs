//! A block with its receipts.
//!
//! Transaction and receipt roots and the logs bloom are the real ones. The state root is zero: a trie over
//! all accounts per block would cost more than running the block. The mix hash differs in every block ever
//! made, so block hashes stay unique even when a reorganisation makes an equal block again.

use std::sync::Arc;

use alloy_consensus::{
    EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header, ReceiptEnvelope, TxReceipt,
    proofs::ordered_trie_root_with_encoder,
};
use alloy_eips::{eip2718::Encodable2718, eip7685::EMPTY_REQUESTS_HASH};
use alloy_primitives::{Address, B256, Bloom, Log};

use crate::evm::Transaction;

/// A block as it stands in the chain.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) header: Header,
    pub(crate) transactions: Vec<Arc<Transaction>>,
    /// One for each transaction, in order.
    pub(crate) receipts: Vec<Receipt>,
    hash: B256,
}

/// What a transaction did.
#[derive(Debug)]
pub(crate) struct Receipt {
    pub(crate) envelope: ReceiptEnvelope,
    pub(crate) gas_used: u64,
    pub(crate) effective_gas_price: u128,
    /// The index in its block of the receipt's first log.
    pub(crate) first_log: usize,
    pub(crate) created: Option<Address>,
}

impl Block {
    /// Seals a block: fills in what the header says about the body, and the hash.
    pub(crate) fn new(header: Header, transactions: Vec<Arc<Transaction>>, receipts: Vec<Receipt>) -> Self {
        let envelopes: Vec<_> = receipts.iter().map(|receipt| &receipt.envelope).collect();
        let header = Header {
            transactions_root: ordered_trie_root_with_encoder(&transactions, |transaction, out| {
                transaction.envelope.encode_2718(out);
            }),
            receipts_root: ordered_trie_root_with_encoder(&envelopes, |receipt, out| {
                receipt.encode_2718(out)
            }),
            logs_bloom: receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | receipt.envelope.bloom()),
            gas_used: receipts.last().map_or(0, |receipt| receipt.envelope.cumulative_gas_used()),
            ..header
        };
        let hash = header.hash_slow();
        Self { header, transactions, receipts, hash }
    }

    pub(crate) fn hash(&self) -> B256 {
        self.hash
    }

    pub(crate) fn number(&self) -> u64 {
        self.header.number
    }

    pub(crate) fn base_fee(&self) -> u64 {
        self.header.base_fee_per_gas.unwrap_or_default()
    }
}

impl Receipt {
    pub(crate) fn logs(&self) -> &[Log] {
        self.envelope.logs()
    }
}

/// A header with the fields that are the same in every block.
pub(crate) fn header_template() -> Header {
    Header {
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

//! Blocks, transactions and receipts as JSON-RPC shows them.

use alloy_consensus::{ReceiptEnvelope, ReceiptWithBloom, Transaction as _, transaction::Recovered};
use alloy_primitives::U256;
use alloy_rpc_types_eth::{
    Block as RpcBlock, BlockTransactions, Header as RpcHeader, Log as RpcLog, Transaction as RpcTransaction,
    TransactionInfo, TransactionReceipt,
};

use crate::{chain::Block, evm::Transaction};

/// A block, with whole transactions or only their hashes.
pub(crate) fn rpc_block(block: &Block, full: bool) -> RpcBlock {
    let transactions = if full {
        let count = block.transactions.len();
        BlockTransactions::Full((0..count).filter_map(|index| rpc_transaction(block, index)).collect())
    } else {
        BlockTransactions::Hashes(block.transactions.iter().map(|transaction| transaction.hash).collect())
    };
    RpcBlock::new(rpc_header(block), transactions).with_withdrawals(Some(Default::default()))
}

/// A header alone.
pub(crate) fn rpc_header(block: &Block) -> RpcHeader {
    let bodies: usize = block.transactions.iter().map(|tx| tx.envelope.eip2718_encoded_length()).sum();
    RpcHeader {
        hash: block.hash(),
        inner: block.header.clone(),
        total_difficulty: Some(U256::ZERO),
        size: Some(U256::from(block.header.size() + bodies)),
    }
}

/// A transaction in a block.
pub(crate) fn rpc_transaction(block: &Block, index: usize) -> Option<RpcTransaction> {
    let transaction = block.transactions.get(index)?;
    Some(with_info(
        transaction,
        TransactionInfo {
            hash: Some(transaction.hash),
            index: Some(index as u64),
            block_hash: Some(block.hash()),
            block_number: Some(block.number()),
            base_fee: Some(block.base_fee()),
            block_timestamp: Some(block.header.timestamp),
        },
    ))
}

/// A transaction that waits in the pool.
pub(crate) fn pending_transaction(transaction: &Transaction) -> RpcTransaction {
    with_info(transaction, TransactionInfo { hash: Some(transaction.hash), ..TransactionInfo::default() })
}

/// A transaction's receipt.
pub(crate) fn rpc_receipt(block: &Block, index: usize) -> Option<TransactionReceipt> {
    let (transaction, receipt) = (block.transactions.get(index)?, block.receipts.get(index)?);
    let logs = rpc_logs(block, index).collect();
    Some(TransactionReceipt {
        inner: with_logs(&receipt.envelope, logs),
        transaction_hash: transaction.hash,
        transaction_index: Some(index as u64),
        block_hash: Some(block.hash()),
        block_number: Some(block.number()),
        gas_used: receipt.gas_used,
        effective_gas_price: receipt.effective_gas_price,
        blob_gas_used: None,
        blob_gas_price: None,
        from: transaction.sender,
        to: transaction.envelope.to(),
        contract_address: receipt.created,
    })
}

/// The logs of one transaction of a block.
pub(crate) fn rpc_logs(block: &Block, index: usize) -> impl Iterator<Item = RpcLog> {
    let transaction = block.transactions.get(index).map(|transaction| transaction.hash);
    let receipt = block.receipts.get(index);
    let first = receipt.map_or(0, |receipt| receipt.first_log);
    let logs = receipt.map(|receipt| receipt.logs()).unwrap_or_default();
    logs.iter().enumerate().map(move |(offset, log)| RpcLog {
        inner: log.clone(),
        block_hash: Some(block.hash()),
        block_number: Some(block.number()),
        block_timestamp: Some(block.header.timestamp),
        transaction_hash: transaction,
        transaction_index: Some(index as u64),
        log_index: Some((first + offset) as u64),
        removed: false,
    })
}

fn with_info(transaction: &Transaction, info: TransactionInfo) -> RpcTransaction {
    let recovered = Recovered::new_unchecked(transaction.envelope.clone(), transaction.sender);
    RpcTransaction::from_transaction(recovered, info)
}

fn with_logs(envelope: &ReceiptEnvelope, logs: Vec<RpcLog>) -> ReceiptEnvelope<RpcLog> {
    let receipt = ReceiptWithBloom {
        receipt: alloy_consensus::Receipt {
            status: envelope.is_success().into(),
            cumulative_gas_used: envelope.cumulative_gas_used(),
            logs,
        },
        logs_bloom: *envelope.logs_bloom(),
    };
    match envelope {
        ReceiptEnvelope::Legacy(_) => ReceiptEnvelope::Legacy(receipt),
        ReceiptEnvelope::Eip2930(_) => ReceiptEnvelope::Eip2930(receipt),
        ReceiptEnvelope::Eip1559(_) => ReceiptEnvelope::Eip1559(receipt),
        ReceiptEnvelope::Eip4844(_) => ReceiptEnvelope::Eip4844(receipt),
        ReceiptEnvelope::Eip7702(_) => ReceiptEnvelope::Eip7702(receipt),
    }
}

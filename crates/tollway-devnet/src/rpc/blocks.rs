//! Blocks, transactions and receipts.

use std::sync::Arc;

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{B256, U64};
use alloy_rpc_types_eth::TransactionReceipt;

use super::{
    Answer, Params, reply,
    view::{pending_transaction, rpc_block, rpc_receipt, rpc_transaction},
};
use crate::{chain::Block, failure::Failure, node::Sight};

pub(super) fn number(node: &Sight<'_>) -> Answer {
    reply(&U64::from(node.head(&node.chain()).number()))
}

pub(super) fn by_number(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let tag = params.get::<BlockNumberOrTag>(0, "block number")?;
    let full = params.optional(1, "full transactions")?.unwrap_or_default();
    match find(node, tag.into())? {
        Found::Block(block) => reply(&rpc_block(&block, full)),
        Found::Pending => reply(&rpc_block(&pending(node), full)),
        Found::Nothing => reply(&()),
    }
}

pub(super) fn by_hash(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let hash = params.get::<B256>(0, "block hash")?;
    let full = params.optional(1, "full transactions")?.unwrap_or_default();
    let block = node.block_by_hash(&node.chain(), &hash).cloned();
    reply(&block.map(|block| rpc_block(&block, full)))
}

pub(super) fn transaction_count_by_number(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    match find(node, params.get::<BlockNumberOrTag>(0, "block number")?.into())? {
        Found::Block(block) => reply(&U64::from(block.transactions.len())),
        Found::Pending => reply(&U64::from(pending(node).transactions.len())),
        Found::Nothing => reply(&()),
    }
}

pub(super) fn transaction_count_by_hash(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let hash = params.get::<B256>(0, "block hash")?;
    let count = node.block_by_hash(&node.chain(), &hash).map(|block| block.transactions.len());
    reply(&count.map(U64::from))
}

pub(super) fn receipts(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    match find(node, params.get(0, "block")?)? {
        Found::Block(block) => {
            let count = block.receipts.len();
            reply(&(0..count).filter_map(|index| rpc_receipt(&block, index)).collect::<Vec<_>>())
        }
        Found::Pending | Found::Nothing => reply(&()),
    }
}

pub(super) fn transaction_by_number_and_index(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let index = params.get::<U64>(1, "index")?.to();
    match find(node, params.get::<BlockNumberOrTag>(0, "block number")?.into())? {
        Found::Block(block) => reply(&rpc_transaction(&block, index)),
        Found::Pending | Found::Nothing => reply(&()),
    }
}

pub(super) fn transaction_by_hash_and_index(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let (hash, index) = (params.get::<B256>(0, "block hash")?, params.get::<U64>(1, "index")?.to());
    let block = node.block_by_hash(&node.chain(), &hash).cloned();
    reply(&block.and_then(|block| rpc_transaction(&block, index)))
}

pub(super) fn transaction(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let hash = params.get(0, "transaction hash")?;
    let (included, waiting) = {
        let chain = node.chain();
        let included = node.place(&chain, &hash).map(|(block, place)| (block.clone(), place.index));
        (included, chain.pool.get(&hash).cloned())
    };
    match (included, waiting) {
        (Some((block, index)), _) => reply(&rpc_transaction(&block, index)),
        (None, Some(transaction)) => reply(&pending_transaction(&transaction)),
        (None, None) => reply(&()),
    }
}

pub(super) fn receipt(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let hash = params.get(0, "transaction hash")?;
    let found = node.place(&node.chain(), &hash).map(|(block, place)| (block.clone(), place.index));
    match found {
        Some((block, index)) => reply(&rpc_receipt(&block, index)),
        None => reply(&preconfirmed(node, &hash)),
    }
}

/// The receipt that a transaction in the pool would have, where that is told.
fn preconfirmed(node: &Sight<'_>, hash: &B256) -> Option<TransactionReceipt> {
    if !node.config.preconfirm || node.chain().pool.get(hash).is_none() {
        return None;
    }
    let block = node.preview();
    let index = block.transactions.iter().position(|transaction| transaction.hash == *hash)?;
    rpc_receipt(&block, index)
}

enum Found {
    Block(Arc<Block>),
    Pending,
    Nothing,
}

/// To ask for a block that does not exist is no error, unlike asking for its state.
fn find(node: &Sight<'_>, id: BlockId) -> Result<Found, Failure> {
    let chain = node.chain();
    Ok(match node.resolve(&chain, id) {
        Ok(Some(block)) => Found::Block(block),
        Ok(None) => Found::Pending,
        Err(_) => Found::Nothing,
    })
}

/// The next block if it were made now, as far as that can be told without running it.
fn pending(node: &Sight<'_>) -> Block {
    let header = node.pending_header();
    let base_fee = header.base_fee_per_gas.unwrap_or_default();
    let transactions = {
        let chain = node.chain();
        chain.pool.ready(chain.head_state(), base_fee, None)
    };
    Block::new(header, transactions, vec![])
}

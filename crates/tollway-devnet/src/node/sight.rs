//! What a request sees of the chain: the latest block, or, from a node that is behind, an older one as if it were.

use std::{ops::Deref, sync::Arc};

use alloy_consensus::Header;
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{B256, U256};

use super::Node;
use crate::{
    chain::{Block, Chain, Place},
    evm::{Call, block_env},
    failure::Failure,
    state::State,
};

/// The node as one request sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight<'a> {
    node: &'a Node,
    /// How many blocks the sight is behind the chain.
    behind: u64,
}

impl Deref for Sight<'_> {
    type Target = Node;

    fn deref(&self) -> &Node {
        self.node
    }
}

impl<'a> Sight<'a> {
    pub(crate) fn new(node: &'a Node, behind: u64) -> Self {
        Self { node, behind }
    }

    /// The latest block in sight.
    pub(crate) fn head<'c>(&self, chain: &'c Chain) -> &'c Arc<Block> {
        let number = chain.head().number().saturating_sub(self.behind);
        chain.block(number.max(chain.earliest())).unwrap_or_else(|| chain.head())
    }

    /// Where a transaction was included, if that is in sight.
    pub(crate) fn place<'c>(&self, chain: &'c Chain, transaction: &B256) -> Option<(&'c Arc<Block>, Place)> {
        chain.place(transaction).filter(|(block, _)| block.number() <= self.head(chain).number())
    }

    /// The block with this hash, if it is in sight.
    pub(crate) fn block_by_hash<'c>(&self, chain: &'c Chain, hash: &B256) -> Option<&'c Arc<Block>> {
        chain.block_by_hash(hash).filter(|block| block.number() <= self.head(chain).number())
    }

    /// The header of a block made now.
    pub(crate) fn pending_header(&self) -> Header {
        let head = self.head(&self.chain()).clone();
        self.header_after(&head)
    }

    /// The base fee of the next block.
    pub(crate) fn next_base_fee(&self) -> u64 {
        self.pending_header().base_fee_per_gas.unwrap_or_default()
    }

    /// The block that `id` names. `None` for the pending block, which is not one yet.
    pub(crate) fn resolve(&self, chain: &Chain, id: BlockId) -> Result<Option<Arc<Block>>, Failure> {
        let head = self.head(chain).number();
        let number = match id {
            BlockId::Hash(hash) => {
                let block = self.block_by_hash(chain, &hash.block_hash).cloned();
                return block.map(Some).ok_or_else(Failure::no_such_block);
            }
            BlockId::Number(BlockNumberOrTag::Pending) => return Ok(None),
            BlockId::Number(BlockNumberOrTag::Latest) => head,
            BlockId::Number(BlockNumberOrTag::Safe) => head.saturating_sub(self.config.finality_blocks / 2),
            BlockId::Number(BlockNumberOrTag::Finalized) => head.saturating_sub(self.config.finality_blocks),
            BlockId::Number(BlockNumberOrTag::Earliest) => chain.earliest(),
            BlockId::Number(BlockNumberOrTag::Number(number)) => number,
        };
        let block = chain.block(number).filter(|block| block.number() <= head);
        block.cloned().map(Some).ok_or_else(Failure::no_such_block)
    }

    /// The state that `id` names. The pending state is the latest: nothing runs ahead of a block.
    pub(crate) fn state(&self, id: BlockId) -> Result<State, Failure> {
        self.state_in(&self.chain(), id)
    }

    /// The surroundings of a call at `id`.
    pub(crate) fn call(&self, id: BlockId) -> Result<Call, Failure> {
        let pending = self.pending_header();
        let chain = self.chain();
        let state = self.state_in(&chain, id)?;
        let Some(block) = self.resolve(&chain, id)? else {
            return Ok(Call { chain_id: self.config.chain_id, block: block_env(&pending), state });
        };
        let mut env = block_env(&block.header);
        // Where blocks come only with transactions, the latest one may be old. A call at it asks what would
        // happen now, and time windows must be compared with now.
        if block.number() == self.head(&chain).number() && !self.mines_by_itself() {
            env.timestamp = U256::from(pending.timestamp);
        }
        Ok(Call { chain_id: self.config.chain_id, block: env, state })
    }

    fn state_in(&self, chain: &Chain, id: BlockId) -> Result<State, Failure> {
        let block = self.resolve(chain, id)?.unwrap_or_else(|| self.head(chain).clone());
        let kept = chain.state(block.number()).cloned();
        kept.ok_or_else(|| Failure::server(format!("historical state {} is not available", block.number())))
    }
}

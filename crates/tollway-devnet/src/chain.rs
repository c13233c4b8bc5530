//! What the chain remembers: blocks, the states after them, where each transaction is, and the pool.
//!
//! This is a store. It makes no blocks and knows no rules; [`crate::node`] does that. Everything is found in
//! O(1) by number or hash, and everything is bounded: blocks and states beyond the limits are forgotten,
//! oldest first.

mod block;
mod clock;
mod pool;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use alloy_primitives::B256;

pub(crate) use self::{
    block::{Block, Receipt, header_template},
    clock::Clock,
    pool::Pool,
};
use crate::{config::Limits, state::State};

/// The chain so far.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) pool: Pool,
    head: Arc<Block>,
    head_state: State,
    /// Every block that is still readable, the head last.
    blocks: VecDeque<Arc<Block>>,
    /// The states after the last blocks but the head, aligned at the end.
    states: VecDeque<State>,
    numbers: HashMap<B256, u64>,
    places: HashMap<B256, Place>,
    blocks_kept: usize,
    states_kept: usize,
}

/// Where a transaction is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) block: u64,
    pub(crate) index: usize,
}

impl Chain {
    /// A chain that holds only its genesis block.
    pub(crate) fn new(genesis: Block, state: State, limits: &Limits) -> Self {
        let head = Arc::new(genesis);
        Self {
            pool: Pool::new(limits.pool),
            blocks: VecDeque::from([head.clone()]),
            states: VecDeque::new(),
            numbers: HashMap::from([(head.hash(), head.number())]),
            places: HashMap::new(),
            head,
            head_state: state,
            blocks_kept: limits.blocks,
            states_kept: limits.states,
        }
    }

    /// The latest block.
    pub(crate) fn head(&self) -> &Arc<Block> {
        &self.head
    }

    /// The state after the latest block.
    pub(crate) fn head_state(&self) -> &State {
        &self.head_state
    }

    /// The number of the oldest readable block.
    pub(crate) fn earliest(&self) -> u64 {
        (self.head.number() + 1).saturating_sub(self.blocks.len() as u64)
    }

    /// The block with this number.
    pub(crate) fn block(&self, number: u64) -> Option<&Arc<Block>> {
        let index = number.checked_sub(self.earliest())?;
        self.blocks.get(usize::try_from(index).ok()?)
    }

    /// The block with this hash.
    pub(crate) fn block_by_hash(&self, hash: &B256) -> Option<&Arc<Block>> {
        self.block(*self.numbers.get(hash)?)
    }

    /// The state after the block with this number, if it is still kept.
    pub(crate) fn state(&self, number: u64) -> Option<&State> {
        let depth = usize::try_from(self.head.number().checked_sub(number)?).ok()?;
        if depth == 0 {
            return Some(&self.head_state);
        }
        self.states.get(self.states.len().checked_sub(depth)?)
    }

    /// Where a transaction was included.
    pub(crate) fn place(&self, transaction: &B256) -> Option<(&Arc<Block>, Place)> {
        let place = *self.places.get(transaction)?;
        Some((self.block(place.block)?, place))
    }

    /// Appends a block and the state after it. Its transactions leave the pool.
    pub(crate) fn push(&mut self, block: Arc<Block>, state: State) {
        for (index, transaction) in block.transactions.iter().enumerate() {
            self.places.insert(transaction.hash, Place { block: block.number(), index });
            self.pool.remove(&transaction.hash);
        }
        self.numbers.insert(block.hash(), block.number());
        self.blocks.push_back(block.clone());
        self.head = block;
        self.states.push_back(std::mem::replace(&mut self.head_state, state));
        while self.states.len() >= self.states_kept {
            self.states.pop_front();
        }
        while self.blocks.len() > self.blocks_kept {
            if let Some(forgotten) = self.blocks.pop_front() {
                self.unlink(&forgotten);
            }
        }
    }

    /// Changes the state after the latest block, without a block.
    pub(crate) fn set_head_state(&mut self, state: State) {
        self.head_state = state;
    }

    /// Takes back every block above `number`, where the state was `state`, and returns them, the newest
    /// first. `None`, and nothing changes, if that block is no longer kept.
    pub(crate) fn rewind(&mut self, number: u64, state: State) -> Option<Vec<Arc<Block>>> {
        let head = self.block(number)?.clone();
        let mut removed = Vec::new();
        while self.head.number() > number {
            let block = self.blocks.pop_back()?;
            self.unlink(&block);
            self.states.pop_back();
            self.head = self.blocks.back().cloned().unwrap_or_else(|| head.clone());
            removed.push(block);
        }
        self.head_state = state;
        Some(removed)
    }

    fn unlink(&mut self, block: &Block) {
        self.numbers.remove(&block.hash());
        for transaction in &block.transactions {
            self.places.remove(&transaction.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use alloy_primitives::{Address, B256, U256};

    use super::{Block, Chain, header_template};
    use crate::{config::Limits, state::State};

    fn chain(blocks: u64) -> Chain {
        let limits = Limits { blocks: 10, states: 5, ..Limits::default() };
        let mut chain = Chain::new(empty(0, B256::ZERO), State::default(), &limits);
        for number in 1..=blocks {
            let mut state = chain.head_state().clone();
            state.set_balance(Address::ZERO, U256::from(number));
            chain.push(Arc::new(empty(number, chain.head().hash())), state);
        }
        chain
    }

    fn empty(number: u64, parent: B256) -> Block {
        Block::new(
            alloy_consensus::Header { number, parent_hash: parent, ..header_template() },
            vec![],
            vec![],
        )
    }

    #[test]
    fn what_is_beyond_the_limits_is_forgotten() {
        let chain = chain(20);
        assert_eq!((chain.earliest(), chain.head().number()), (11, 20));
        assert!(chain.block(10).is_none());
        assert!(chain.block(11).is_some());
        assert!(chain.state(15).is_none());
        for number in 16..=20 {
            assert_eq!(chain.state(number).unwrap().balance(Address::ZERO), U256::from(number));
        }
    }

    #[test]
    fn a_rewind_restores_the_older_state_and_returns_what_it_removed() {
        let mut chain = chain(20);
        assert!(chain.rewind(10, State::default()).is_none());
        let state = chain.state(17).unwrap().clone();
        let removed = chain.rewind(17, state).unwrap();
        assert_eq!(removed.iter().map(|block| block.number()).collect::<Vec<_>>(), [20, 19, 18]);
        assert_eq!(chain.head().number(), 17);
        assert_eq!(chain.head_state().balance(Address::ZERO), U256::from(17));
        assert_eq!(chain.state(16).unwrap().balance(Address::ZERO), U256::from(16));
        assert!(chain.block_by_hash(&removed[0].hash()).is_none());
    }
}

//! Changing the chain by hand: state, time, snapshots. None of it makes a transaction.

use alloy_primitives::{Address, U256};

use super::{Event, Node, Snapshot, Spike};
use crate::{
    config::{Grant, Mining},
    failure::Failure,
    genesis::{TOKEN_SUPPLY_SLOT, TOKENS, balance_slot},
    state::State,
};

impl Node {
    /// Changes the state after the latest block.
    pub(crate) fn modify(&self, change: impl FnOnce(&mut State)) {
        let _sealing = self.sealer.lock();
        let mut chain = self.chain.write();
        let mut state = chain.head_state().clone();
        change(&mut state);
        chain.set_head_state(state);
    }

    /// Gives an account ether and tokens out of nothing.
    pub(crate) fn grant(&self, account: Address, grant: Grant) {
        self.modify(|state| {
            state.set_balance(account, state.balance(account).saturating_add(grant.wei));
            for token in TOKENS {
                for slot in [balance_slot(account), U256::from(TOKEN_SUPPLY_SLOT)] {
                    let word = state.slot(token, slot).saturating_add(grant.token_atomic);
                    state.set_slot(token, slot, word);
                }
            }
        });
    }

    /// Remembers this moment and returns its id.
    pub(crate) fn snapshot(&self) -> u64 {
        let mut snapshots = self.sealer.lock();
        snapshots.taken += 1;
        let snapshot = {
            let chain = self.chain();
            Snapshot {
                id: snapshots.taken,
                number: chain.head().number(),
                hash: chain.head().hash(),
                state: chain.head_state().clone(),
                clock: self.forecast.lock().clock.clone(),
            }
        };
        snapshots.kept.push_back(snapshot);
        while snapshots.kept.len() > self.config.limits.snapshots {
            snapshots.kept.pop_front();
        }
        snapshots.taken
    }

    /// Goes back to a snapshot; it and all later ones are used up, and the pool is emptied. `false` if there
    /// is no such snapshot, or its block is no longer part of the chain.
    pub(crate) fn revert(&self, id: u64) -> bool {
        let mut snapshots = self.sealer.lock();
        let Some(index) = snapshots.kept.iter().position(|snapshot| snapshot.id == id) else { return false };
        let Some(snapshot) = snapshots.kept.drain(index..).next() else { return false };
        let removed = {
            let mut filters = self.filters.lock();
            let mut chain = self.chain.write();
            if chain.block(snapshot.number).is_none_or(|block| block.hash() != snapshot.hash) {
                return false;
            }
            let Some(removed) = chain.rewind(snapshot.number, snapshot.state) else { return false };
            chain.pool.clear();
            filters.rewind(&removed);
            removed
        };
        let mut forecast = self.forecast.lock();
        forecast.clock = snapshot.clock;
        forecast.base_fee = None;
        drop(forecast);
        removed.into_iter().for_each(|block| self.emit(Event::Removed(block)));
        true
    }

    /// Takes back the latest `depth` blocks and makes a longer chain in their place. Their transactions go
    /// back to the pool, or are `lost`. A block that is final is never taken back.
    pub(crate) fn reorganize(&self, depth: u64, lost: bool) {
        let sealing = self.sealer.lock();
        let depth = depth.min(self.config.finality_blocks);
        let removed = {
            let mut filters = self.filters.lock();
            let mut chain = self.chain.write();
            let number = chain.head().number().saturating_sub(depth);
            let state = chain.state(number).cloned();
            let removed = state.and_then(|state| chain.rewind(number, state)).unwrap_or_default();
            let transactions = removed.iter().rev().flat_map(|block| &block.transactions);
            for transaction in transactions.filter(|_| !lost) {
                if let Err(problem) = chain.pool.insert(transaction.clone()) {
                    tracing::debug!(hash = %transaction.hash, ?problem, "a reorganised transaction was lost");
                }
            }
            filters.rewind(&removed);
            removed
        };
        let blocks = removed.len();
        removed.into_iter().for_each(|block| self.emit(Event::Removed(block)));
        (0..=blocks).filter(|_| blocks > 0).for_each(|_| drop(self.seal_next(&sealing)));
    }

    /// Forgets what a node keeps only while it runs, and cuts all connections.
    pub(crate) fn restart(&self) {
        let _sealing = self.sealer.lock();
        self.filters.lock().clear();
        self.chain.write().pool.clear();
        self.restarts.send_modify(|restarts| *restarts += 1);
    }

    /// Makes the next blocks dearer.
    pub(crate) fn spike_fees(&self, factor: u64, blocks: u64) {
        self.calm_fees();
        let _sealing = self.sealer.lock();
        let calm = self.next_base_fee();
        let spike = Spike { calm, factor, blocks_left: blocks };
        self.forecast.lock().spike = (blocks > 0).then_some(spike);
    }

    /// Ends a spike.
    pub(crate) fn calm_fees(&self) {
        let _sealing = self.sealer.lock();
        self.forecast.lock().end_spike();
    }

    /// Moves the clock; returns by how much it is ahead in all.
    pub(crate) fn advance_clock(&self, secs: i64) -> i64 {
        self.forecast.lock().clock.advance(secs)
    }

    /// Sets the time of the next block.
    pub(crate) fn set_next_timestamp(&self, timestamp: u64) -> Result<(), Failure> {
        // Not while a block is being made: the time would count for that one.
        let _sealing = self.sealer.lock();
        let parent = self.chain().head().header.timestamp;
        if timestamp < parent {
            return Err(Failure::invalid_params(
                "timestamp",
                format!("{timestamp} is before the latest block's {parent}"),
            ));
        }
        self.forecast.lock().clock.set_next(timestamp);
        Ok(())
    }

    /// Sets the base fee of the next block.
    pub(crate) fn set_next_base_fee(&self, wei: u64) {
        let _sealing = self.sealer.lock();
        self.forecast.lock().base_fee = Some(wei);
    }

    /// Changes when blocks are made. What waits is mined at once if the chain becomes an instant one.
    pub(crate) fn set_mining(&self, mining: Mining) {
        let sealing = self.sealer.lock();
        self.mining.send_replace(mining);
        if mining == Mining::Instant {
            self.seal_ready(&sealing, None);
        }
    }
}

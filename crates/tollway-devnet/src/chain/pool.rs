//! Transactions that wait for a block.
//!
//! Per sender they are ordered by nonce; across senders, by arrival. Gaps are allowed: what is behind one
//! waits until it is filled.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256};

use crate::{evm::Transaction, failure::Failure, state::State};

/// By how many percent both fees must rise for a transaction to replace another one.
const REPLACEMENT_BUMP_PERCENT: u128 = 10;

/// The pool.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    entries: HashMap<B256, Entry>,
    senders: BTreeMap<Address, BTreeMap<u64, B256>>,
    arrivals: u64,
    capacity: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    transaction: Arc<Transaction>,
    arrival: u64,
}

impl Pool {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), senders: BTreeMap::new(), arrivals: 0, capacity }
    }

    pub(crate) fn get(&self, hash: &B256) -> Option<&Arc<Transaction>> {
        self.entries.get(hash).map(|entry| &entry.transaction)
    }

    /// Takes a transaction in. One with the same sender and nonce makes room for it only if it pays enough
    /// more.
    pub(crate) fn insert(&mut self, transaction: Arc<Transaction>) -> Result<(), Failure> {
        if self.entries.contains_key(&transaction.hash) {
            return Err(Failure::server("already known"));
        }
        let nonces = self.senders.get(&transaction.sender);
        let replaced = nonces.and_then(|nonces| nonces.get(&transaction.nonce())).copied();
        match replaced {
            Some(old) if self.get(&old).is_some_and(|old| !outbids(&transaction, old)) => {
                return Err(Failure::server("replacement transaction underpriced"));
            }
            Some(old) => self.remove(&old),
            None if self.entries.len() >= self.capacity => return Err(Failure::server("txpool is full")),
            None => {}
        }
        self.arrivals += 1;
        let (hash, sender, nonce) = (transaction.hash, transaction.sender, transaction.nonce());
        self.senders.entry(sender).or_default().insert(nonce, hash);
        self.entries.insert(hash, Entry { transaction, arrival: self.arrivals });
        Ok(())
    }

    pub(crate) fn remove(&mut self, hash: &B256) {
        let Some(entry) = self.entries.remove(hash) else { return };
        let sender = entry.transaction.sender;
        if let Some(nonces) = self.senders.get_mut(&sender) {
            nonces.remove(&entry.transaction.nonce());
            if nonces.is_empty() {
                self.senders.remove(&sender);
            }
        }
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.senders.clear();
    }

    /// Drops what a sender can no longer use, because the chain has a later nonce.
    pub(crate) fn forget_below(&mut self, sender: Address, nonce: u64) {
        let Some(nonces) = self.senders.get(&sender) else { return };
        let stale: Vec<_> = nonces.range(..nonce).map(|(_, hash)| *hash).collect();
        stale.iter().for_each(|hash| self.remove(hash));
    }

    /// The nonce that a sender's next transaction needs, given the chain's.
    pub(crate) fn next_nonce(&self, sender: Address, nonce: u64) -> u64 {
        self.run(sender, nonce).last().map_or(nonce, |entry| entry.transaction.nonce() + 1)
    }

    /// What can go into a block now, in order. With a sender, only that sender's.
    pub(crate) fn ready(&self, state: &State, base_fee: u64, only: Option<Address>) -> Vec<Arc<Transaction>> {
        let senders: Vec<_> = match only {
            Some(sender) => vec![sender],
            None => self.senders.keys().copied().collect(),
        };
        let mut ready = Vec::new();
        for sender in senders {
            let mut arrival = 0;
            for entry in self.run(sender, state.nonce(sender)) {
                if entry.transaction.envelope.max_fee_per_gas() < u128::from(base_fee) {
                    break;
                }
                // A transaction counts as arrived only when all before it have.
                arrival = entry.arrival.max(arrival);
                ready.push((arrival, entry.transaction.nonce(), entry.transaction.clone()));
            }
        }
        ready.sort_unstable_by_key(|(arrival, nonce, _)| (*arrival, *nonce));
        ready.into_iter().map(|(_, _, transaction)| transaction).collect()
    }

    /// A sender's transactions from `nonce` on, up to the first gap.
    fn run(&self, sender: Address, nonce: u64) -> impl Iterator<Item = &Entry> {
        let nonces = self.senders.get(&sender).into_iter().flat_map(move |nonces| nonces.range(nonce..));
        nonces
            .zip(nonce..)
            .take_while(|((have, _), want)| *have == want)
            .filter_map(|((_, hash), _)| self.entries.get(hash))
    }
}

fn outbids(new: &Transaction, old: &Transaction) -> bool {
    let enough =
        |new: u128, old: u128| new.saturating_mul(100) >= old.saturating_mul(100 + REPLACEMENT_BUMP_PERCENT);
    enough(new.envelope.max_fee_per_gas(), old.envelope.max_fee_per_gas())
        && enough(new.envelope.priority_fee_or_price(), old.envelope.priority_fee_or_price())
}

//! The running chain: everything that the JSON-RPC methods act on.
//!
//! One thread at a time makes blocks or changes state, under the `sealer` lock. It runs transactions on a
//! private copy of the state and takes the `chain` lock for writing only to append the result, so that
//! readers never wait for an execution. The order of the locks is `sealer`, `faults`, `filters`, `chain`, `forecast`.

mod control;
mod passage;
mod seal;
mod sight;
mod submit;

use std::{collections::VecDeque, sync::Arc};

use alloy_consensus::Header;
use alloy_eips::eip1559::BaseFeeParams;
use alloy_primitives::{B256, keccak256};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::{Semaphore, broadcast, watch};

use crate::{
    chain::{Block, Chain, Clock, header_template},
    config::{Config, Mining},
    faults::{Armed, Fault, Strike},
    filters::Filters,
    genesis,
    state::State,
};

pub(crate) use self::{passage::Cut, seal::Body, sight::Sight};

/// How many blocks a slow subscriber may fall behind.
const EVENTS_BUFFERED: usize = 4_096;

/// The chain and whatever changes it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    /// Bounds the calls that run at the same time.
    pub(crate) calls: Semaphore,
    pub(crate) filters: Mutex<Filters>,
    pub(crate) mining: watch::Sender<Mining>,
    events: broadcast::Sender<Event>,
    faults: Mutex<Armed>,
    sealer: Mutex<Snapshots>,
    chain: RwLock<Chain>,
    forecast: Mutex<Forecast>,
    /// Counts the restarts.
    restarts: watch::Sender<u64>,
}

/// Something happened to the chain.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A block was appended.
    Added(Arc<Block>),
    /// A block was taken back.
    Removed(Arc<Block>),
}

/// What the next block will be like, as far as it does not follow from its parent.
#[derive(Debug)]
struct Forecast {
    clock: Clock,
    base_fee: Option<u64>,
    spike: Option<Spike>,
    /// Counts the headers ever made; never goes back.
    headers: u64,
}

/// Blocks that are dearer than they should be.
#[derive(Debug)]
struct Spike {
    /// The base fee before, and again afterwards.
    calm: u64,
    factor: u64,
    blocks_left: u64,
}

/// The moments to come back to, the oldest first.
#[derive(Debug, Default)]
struct Snapshots {
    kept: VecDeque<Snapshot>,
    taken: u64,
}

/// A moment to come back to.
#[derive(Debug)]
struct Snapshot {
    id: u64,
    number: u64,
    hash: B256,
    state: State,
    clock: Clock,
}

impl Node {
    pub(crate) fn new(config: Config) -> Self {
        let clock = Clock::new(config.clock.clone());
        let forecast = Forecast { clock, base_fee: Some(config.base_fee_wei), spike: None, headers: 1 };
        let header = Header {
            timestamp: forecast.clock.now(),
            gas_limit: config.gas_limit,
            base_fee_per_gas: Some(config.base_fee_wei),
            ..header_template()
        };
        let genesis = Block::new(header, vec![], vec![]);
        let mut state = genesis::state(&config);
        state.set_block_hash(0, genesis.hash());
        Self {
            calls: Semaphore::new(config.limits.concurrent_calls),
            filters: Mutex::new(Filters::new(config.limits.filters, config.limits.logs)),
            mining: watch::Sender::new(config.mining),
            events: broadcast::Sender::new(EVENTS_BUFFERED),
            faults: Mutex::default(),
            sealer: Mutex::default(),
            chain: RwLock::new(Chain::new(genesis, state, &config.limits)),
            forecast: Mutex::new(forecast),
            restarts: watch::Sender::new(0),
            config,
        }
    }

    /// The chain, to read. Not to be held while anything runs.
    pub(crate) fn chain(&self) -> RwLockReadGuard<'_, Chain> {
        self.chain.read()
    }

    /// What happens from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Arms a fault.
    pub(crate) fn inject(&self, fault: Fault) {
        match fault {
            Fault::Reorg { depth, lost } => return self.reorganize(depth, lost),
            Fault::Restart => return self.restart(),
            Fault::ClockJump { secs } => {
                self.advance_clock(secs);
                return;
            }
            Fault::FeeSpike { factor, blocks } => return self.spike_fees(factor, blocks),
            Fault::Clear => self.calm_fees(),
            _ => {}
        }
        let sealing = self.sealer.lock();
        let released = self.faults.lock().apply(fault);
        if released && self.is_instant() {
            self.seal_ready(&sealing, None);
        }
    }

    /// What is to happen to the request at hand.
    pub(crate) fn strike(&self, method: &str) -> Strike {
        self.faults.lock().strike(method)
    }

    /// The state of all connections: it changes when they are cut.
    pub(crate) fn connections(&self) -> watch::Receiver<u64> {
        self.restarts.subscribe()
    }

    /// The base fee of the next block.
    pub(crate) fn next_base_fee(&self) -> u64 {
        let head = self.chain().head().clone();
        self.header_after(&head).base_fee_per_gas.unwrap_or_default()
    }

    // Not to be written in place: the guard that `borrow` returns must be gone before any lock is waited for.
    fn is_instant(&self) -> bool {
        *self.mining.borrow() == Mining::Instant
    }

    fn mines_by_itself(&self) -> bool {
        matches!(*self.mining.borrow(), Mining::Interval(_))
    }

    /// The header of a block made now on this parent.
    pub(crate) fn header_after(&self, parent: &Block) -> Header {
        let forecast = self.forecast.lock();
        let held = self.config.base_fee_held.then(|| parent.base_fee());
        let spiked = forecast.spike.as_ref().map(|spike| spike.calm.saturating_mul(spike.factor));
        let base_fee = forecast.base_fee.or(spiked).or(held);
        Header {
            parent_hash: parent.hash(),
            number: parent.number() + 1,
            timestamp: forecast.clock.block_time(parent.header.timestamp),
            gas_limit: self.config.gas_limit,
            base_fee_per_gas: base_fee
                .or_else(|| parent.header.next_block_base_fee(BaseFeeParams::ethereum())),
            mix_hash: keccak256(forecast.headers.to_be_bytes()),
            ..header_template()
        }
    }

    fn emit(&self, event: Event) {
        // Nobody listening is no error.
        let _ = self.events.send(event);
    }
}

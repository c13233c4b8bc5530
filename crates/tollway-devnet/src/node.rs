//! The running chain: everything that the JSON-RPC methods act on.
//!
//! One thread at a time makes blocks or changes state, under the `sealer` lock. It runs transactions on a
//! private copy of the state and takes the `chain` lock for writing only to append the result, so that
//! readers never wait for an execution. The order of the locks is `sealer`, `faults`, `chain`, `forecast`.

mod control;
mod seal;
mod submit;

use std::{collections::VecDeque, sync::Arc};

use alloy_consensus::Header;
use alloy_eips::{BlockId, BlockNumberOrTag, eip1559::BaseFeeParams};
use alloy_primitives::{B256, U256, keccak256};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::{Semaphore, broadcast, watch};

use crate::{
    chain::{Block, Chain, Clock, header_template},
    config::{Config, Mining},
    evm::{Call, block_env},
    failure::Failure,
    faults::{Armed, Fault},
    filters::Filters,
    genesis,
    state::State,
};

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
#[derive(Debug, Default)]
struct Forecast {
    clock: Clock,
    base_fee: Option<u64>,
    /// Counts the headers ever made; never goes back.
    headers: u64,
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
        let forecast = Forecast { headers: 1, base_fee: Some(config.base_fee_wei), ..Forecast::default() };
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
            filters: Mutex::new(Filters::new(config.limits.filters)),
            mining: watch::Sender::new(config.mining),
            events: broadcast::Sender::new(EVENTS_BUFFERED),
            faults: Mutex::default(),
            sealer: Mutex::default(),
            chain: RwLock::new(Chain::new(genesis, state, &config.limits)),
            forecast: Mutex::new(forecast),
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
        if let Fault::Reorg { depth, lost } = fault {
            return self.reorganize(depth, lost);
        }
        let sealing = self.sealer.lock();
        let released = self.faults.lock().apply(fault);
        if released && self.is_instant() {
            self.seal_ready(&sealing, None);
        }
    }

    /// The error that the request at hand is to fail with.
    pub(crate) fn injected_error(&self, method: &str) -> Option<Failure> {
        self.faults.lock().take_error(method)
    }

    /// The base fee of the next block.
    pub(crate) fn next_base_fee(&self) -> u64 {
        let head = self.chain().head().clone();
        self.header_after(&head).base_fee_per_gas.unwrap_or_default()
    }

    /// The header of a block made now.
    pub(crate) fn pending_header(&self) -> Header {
        let head = self.chain().head().clone();
        self.header_after(&head)
    }

    /// The block that `id` names. `None` for the pending block, which is not one yet.
    pub(crate) fn resolve(&self, chain: &Chain, id: BlockId) -> Result<Option<Arc<Block>>, Failure> {
        let head = chain.head().number();
        let number = match id {
            BlockId::Hash(hash) => {
                let block = chain.block_by_hash(&hash.block_hash).cloned();
                return block.map(Some).ok_or_else(Failure::no_such_block);
            }
            BlockId::Number(BlockNumberOrTag::Pending) => return Ok(None),
            BlockId::Number(BlockNumberOrTag::Latest) => head,
            BlockId::Number(BlockNumberOrTag::Safe) => head.saturating_sub(self.config.finality_blocks / 2),
            BlockId::Number(BlockNumberOrTag::Finalized) => head.saturating_sub(self.config.finality_blocks),
            BlockId::Number(BlockNumberOrTag::Earliest) => chain.earliest(),
            BlockId::Number(BlockNumberOrTag::Number(number)) => number,
        };
        chain.block(number).cloned().map(Some).ok_or_else(Failure::no_such_block)
    }

    /// The state that `id` names. The pending state is the latest: nothing runs ahead of a block.
    pub(crate) fn state(&self, id: BlockId) -> Result<State, Failure> {
        let chain = self.chain();
        let Some(block) = self.resolve(&chain, id)? else { return Ok(chain.head_state().clone()) };
        chain.state(block.number()).cloned().ok_or_else(|| no_state(block.number()))
    }

    /// The surroundings of a call at `id`.
    pub(crate) fn call(&self, id: BlockId) -> Result<Call, Failure> {
        let pending = self.pending_header();
        let chain = self.chain();
        let Some(block) = self.resolve(&chain, id)? else {
            let state = chain.head_state().clone();
            return Ok(Call { chain_id: self.config.chain_id, block: block_env(&pending), state });
        };
        let state = chain.state(block.number()).cloned().ok_or_else(|| no_state(block.number()))?;
        let mut env = block_env(&block.header);
        // Where blocks come only with transactions, the latest one may be old. A call at it asks what would
        // happen now, and time windows must be compared with now.
        if block.number() == chain.head().number() && !self.mines_by_itself() {
            env.timestamp = U256::from(pending.timestamp);
        }
        Ok(Call { chain_id: self.config.chain_id, block: env, state })
    }

    // Not to be written in place: the guard that `borrow` returns must be gone before any lock is waited for.
    fn is_instant(&self) -> bool {
        *self.mining.borrow() == Mining::Instant
    }

    fn mines_by_itself(&self) -> bool {
        matches!(*self.mining.borrow(), Mining::Interval(_))
    }

    fn header_after(&self, parent: &Block) -> Header {
        let forecast = self.forecast.lock();
        let held = self.config.base_fee_held.then(|| parent.base_fee());
        let base_fee = forecast.base_fee.or(held);
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

fn no_state(number: u64) -> Failure {
    Failure::server(format!("historical state {number} is not available"))
}

//! What a devnet can be told before it starts. Nothing here is read from files or the environment.

use std::{sync::Arc, time::Duration};

use alloy_primitives::{U256, utils::Unit};
use tollway_core::{Clock, SystemClock};

/// How to spawn a devnet. The default is an instant chain 31337 on a free port.
///
/// ```
/// use std::time::Duration;
/// use tollway_devnet::{Config, Mining};
///
/// let config = Config { mining: Mining::Interval(Duration::from_secs(2)), ..Config::default() };
/// assert_eq!(config.chain_id, 31_337);
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// The EIP-155 chain id.
    pub chain_id: u64,
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// When blocks are made.
    pub mining: Mining,
    /// The gas that fits into a block.
    pub gas_limit: u64,
    /// The base fee of the genesis and of the first block, in wei per gas.
    pub base_fee_wei: u64,
    /// Keeps the base fee where it started instead of following EIP-1559.
    pub base_fee_held: bool,
    /// How far the `finalized` block is behind the latest one; `safe` is half as far. No reorganisation goes
    /// deeper.
    pub finality_blocks: u64,
    /// What each of the ten [`ACCOUNTS`](crate::ACCOUNTS) owns from the start.
    pub genesis: Grant,
    /// What one visit to the faucet gives, unless the request says otherwise.
    pub faucet: Grant,
    /// Where the time of the chain comes from. Waiting (intervals, delays) goes by tokio's time.
    pub clock: Arc<dyn Clock>,
    /// No port, no threads: only [`Handle::transport`](crate::Handle::transport) reaches the chain, and all work is
    /// done on the thread of whoever asks. On a runtime of one thread whose time is paused, the same requests then
    /// make the same chain, block hashes included, as long as the clock is as steady.
    pub in_process: bool,
    /// Tells the receipts of transactions that wait, as they would be if a block were made now: what chains with
    /// preconfirmations do. The block such a receipt names may never be.
    pub preconfirm: bool,
    /// The bounds on what callers can make the devnet hold or do.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            chain_id: 31_337,
            port: 0,
            mining: Mining::Instant,
            gas_limit: 30_000_000,
            base_fee_wei: 1_000_000_000,
            base_fee_held: false,
            finality_blocks: 8,
            genesis: Grant { wei: ether(10_000), token_atomic: U256::from(1_000_000_000_000_u64) },
            faucet: Grant { wei: ether(1), token_atomic: U256::from(1_000_000_000_u64) },
            clock: Arc::new(SystemClock),
            in_process: false,
            preconfirm: false,
            limits: Limits::default(),
        }
    }
}

/// When blocks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mining {
    /// A block for each transaction, before the answer to the request that sent it leaves.
    Instant,
    /// A block in every interval, with or without transactions.
    Interval(Duration),
    /// Only when asked to.
    Manual,
}

/// An amount of ether and the same atomic amount of every token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Ether, in wei.
    pub wei: U256,
    /// Each token, in its atomic unit (six decimals).
    pub token_atomic: U256,
}

/// The bounds: whatever a caller can make grow stops here.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one HTTP body or WebSocket message.
    pub body_bytes: usize,
    /// Requests in one batch.
    pub batch: usize,
    /// Blocks that stay readable, with their transactions and receipts. Older ones are forgotten.
    pub blocks: usize,
    /// States that stay readable; a call at an older block fails. At most `blocks`.
    pub states: usize,
    /// Transactions that wait in the pool.
    pub pool: usize,
    /// Bytes of one raw transaction.
    pub transaction_bytes: usize,
    /// Logs in one answer.
    pub logs: usize,
    /// Gas of one `eth_call`.
    pub call_gas: u64,
    /// `eth_call` and `eth_estimateGas` that run at the same time; more wait.
    pub concurrent_calls: usize,
    /// Open connections, HTTP and WebSocket together.
    pub connections: usize,
    /// Subscriptions on one WebSocket.
    pub subscriptions: usize,
    /// Filters in all; the oldest makes room for the newest.
    pub filters: usize,
    /// Snapshots in all; the oldest makes room for the newest.
    pub snapshots: usize,
    /// Blocks in one `anvil_mine`.
    pub mine: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 2 << 20,
            batch: 1_000,
            blocks: 65_536,
            states: 2_048,
            pool: 10_000,
            transaction_bytes: 128 << 10,
            logs: 20_000,
            call_gas: 100_000_000,
            concurrent_calls: 16,
            connections: 1_024,
            subscriptions: 128,
            filters: 256,
            snapshots: 64,
            mine: 10_000,
        }
    }
}

fn ether(amount: u64) -> U256 {
    Unit::ETHER.wei() * U256::from(amount)
}

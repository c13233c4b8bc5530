//! What bounds the engine.

use std::time::Duration;

use tokio::sync::Semaphore;

/// The most payments in one transaction: what surely fits into 2^24 gas, which is the most a transaction may use
/// (EIP-7825).
pub const MAX_BATCH: usize = 150;

/// Every wait, queue and price has a limit; these are they.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long `/settle` may wait before it answers `settlement_pending`.
    pub settle_deadline: Duration,
    /// How many payments may wait for one lane.
    pub lane_queue: usize,
    /// How many payments one transaction may carry, at most [`MAX_BATCH`].
    pub batch: usize,
    /// How many payments may be simulated at once; beyond that they are answered with 503.
    pub simulations: usize,
    /// How many payments the journal may hold at once.
    pub journal: usize,
    /// The most paid per gas, wei. Above it nothing is sent.
    pub max_fee_per_gas: u128,
    /// The longest validity accepted, seconds from now: what is reserved is remembered that long.
    pub max_validity_seconds: u64,
    /// How often a transaction that is not included is sent again.
    pub rebroadcast_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            settle_deadline: Duration::from_secs(10),
            lane_queue: 4096,
            batch: 100,
            simulations: 1_024,
            journal: 200_000,
            max_fee_per_gas: 500_000_000_000,
            max_validity_seconds: 24 * 60 * 60,
            rebroadcast_every: Duration::from_secs(2),
        }
    }
}

impl Limits {
    /// The limits that no engine can work with.
    pub(crate) fn faults(&self) -> Vec<String> {
        let most = [
            ("settle_deadline", self.settle_deadline.is_zero()),
            ("lane_queue", self.lane_queue == 0),
            ("batch", !(1..=MAX_BATCH).contains(&self.batch)),
            ("simulations", self.simulations == 0 || self.simulations > Semaphore::MAX_PERMITS),
            ("journal", self.journal == 0),
            ("max_fee_per_gas", self.max_fee_per_gas == 0),
            ("max_validity_seconds", self.max_validity_seconds == 0),
            ("rebroadcast_every", self.rebroadcast_every.is_zero()),
        ];
        most.into_iter()
            .filter(|(_, wrong)| *wrong)
            .map(|(name, _)| match name {
                "batch" => format!("limits.batch: must be between 1 and {MAX_BATCH}"),
                name => format!("limits.{name}: must be more than zero"),
            })
            .collect()
    }
}

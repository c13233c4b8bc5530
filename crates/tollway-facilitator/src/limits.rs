//! What bounds the engine.

use std::collections::BTreeSet;
use std::time::Duration;

use tollway_core::extension::builder_code::BuilderCode;
use tollway_evm::{Address, U256};

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
    /// How many payments may wait to be simulated; beyond that they are answered with 503.
    pub simulations: usize,
    /// How many calls that simulate may be under way at once on one network. What waits meanwhile shares the next one.
    pub simulation_calls: usize,
    /// How many payments the journal may hold at once.
    pub journal: usize,
    /// The most paid per gas, wei. Above it nothing is sent.
    pub max_fee_per_gas: u128,
    /// The longest validity accepted, seconds from now: what is reserved is remembered that long.
    pub max_validity_seconds: u64,
    /// The shortest validity accepted, seconds from now: time to be included.
    pub min_validity_seconds: u64,
    /// How often a transaction that is not included is sent again.
    pub rebroadcast_every: Duration,
    /// After how long a transaction that is not included is replaced by one that offers an eighth more for gas.
    pub bump_after: Duration,
    /// How often one transaction is replaced.
    pub max_bumps: u32,
    /// Below this balance of a lane an alarm is raised, wei. None: what twenty full batches cost.
    pub low_balance: Option<U256>,
    /// How long this process is taken for alive without a sign of life; then others take over. At least three seconds.
    pub member_ttl: Duration,
    /// Whether payers with code (contract wallets, EIP-7702 accounts) are served. Their code runs at our cost.
    pub contract_payers: bool,
    /// Whom a payment may call to deploy its payer's wallet (ERC-6492). Nobody else is called.
    pub erc6492_factories: BTreeSet<Address>,
    /// The facilitator's own builder code. With it the codes that a payment carries are written behind the calldata of
    /// its settlement (extension `builder-code`, ERC-8021).
    pub builder_code: Option<BuilderCode>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            settle_deadline: Duration::from_secs(10),
            lane_queue: 16_384,
            batch: 100,
            simulations: 16_384,
            simulation_calls: 3,
            journal: 200_000,
            max_fee_per_gas: 500_000_000_000,
            max_validity_seconds: 24 * 60 * 60,
            min_validity_seconds: 6,
            rebroadcast_every: Duration::from_secs(2),
            bump_after: Duration::from_secs(6),
            max_bumps: 10,
            low_balance: None,
            member_ttl: Duration::from_secs(10),
            contract_payers: true,
            erc6492_factories: BTreeSet::new(),
            builder_code: None,
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
            ("simulations", self.simulations == 0),
            ("journal", self.journal == 0),
            ("max_fee_per_gas", self.max_fee_per_gas == 0),
            ("max_validity_seconds", self.max_validity_seconds == 0),
            ("simulation_calls", !(1..=64).contains(&self.simulation_calls)),
            ("rebroadcast_every", self.rebroadcast_every.is_zero()),
            ("bump_after", self.bump_after.is_zero()),
            ("member_ttl", self.member_ttl < Duration::from_secs(3)),
        ];
        most.into_iter()
            .filter(|(_, wrong)| *wrong)
            .map(|(name, _)| match name {
                "batch" => format!("limits.batch: must be between 1 and {MAX_BATCH}"),
                "simulation_calls" => "limits.simulation_calls: must be between 1 and 64".to_owned(),
                "member_ttl" => "limits.member_ttl: must be at least three seconds".to_owned(),
                name => format!("limits.{name}: must be more than zero"),
            })
            .collect()
    }
}

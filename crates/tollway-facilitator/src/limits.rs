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

/// No queue and no table is longer: what is more would be a slip of the pen.
const MAX_PLACES: usize = 10_000_000;
/// No engine waits or pauses for longer, unless it is for a settlement.
const MAX_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);
const MAX_SETTLE_DEADLINE: Duration = Duration::from_secs(60 * 60);
/// Ten years.
const MAX_VALIDITY_SECONDS: u64 = 10 * 365 * 24 * 60 * 60;
const MAX_BUMPS: u32 = 1_000;

impl Limits {
    /// The limits that no engine can work with, a sentence each, by the names of the fields.
    ///
    /// ```
    /// use tollway_facilitator::Limits;
    /// assert!(Limits::default().faults().is_empty());
    /// let limits = Limits { batch: 0, ..Limits::default() };
    /// assert_eq!(limits.faults(), ["limits.batch: must be from 1 to 150"]);
    /// ```
    pub fn faults(&self) -> Vec<String> {
        let blink = Duration::from_millis(1);
        let numbers = [
            ("lane_queue", self.lane_queue, MAX_PLACES),
            ("batch", self.batch, MAX_BATCH),
            ("simulations", self.simulations, MAX_PLACES),
            ("simulation_calls", self.simulation_calls, 64),
            ("journal", self.journal, MAX_PLACES),
        ];
        let waits = [
            ("settle_deadline", self.settle_deadline, blink, MAX_SETTLE_DEADLINE),
            ("rebroadcast_every", self.rebroadcast_every, blink, MAX_PAUSE),
            ("bump_after", self.bump_after, blink, MAX_PAUSE),
            ("member_ttl", self.member_ttl, Duration::from_secs(3), MAX_PAUSE),
        ];
        let numbers = numbers.into_iter().filter(|(_, value, most)| !(1..=*most).contains(value));
        let mut faults: Vec<String> =
            numbers.map(|(name, _, most)| format!("limits.{name}: must be from 1 to {most}")).collect();
        let waits = waits.into_iter().filter(|(_, value, least, most)| !(*least..=*most).contains(value));
        faults.extend(waits.map(|(name, _, least, most)| {
            format!("limits.{name}: must be from {least:?} to {} seconds", most.as_secs())
        }));
        if self.max_fee_per_gas == 0 {
            faults.push("limits.max_fee_per_gas: must be more than zero".to_owned());
        }
        if !(1..=MAX_VALIDITY_SECONDS).contains(&self.max_validity_seconds) {
            faults.push(format!("limits.max_validity_seconds: must be from 1 to {MAX_VALIDITY_SECONDS}"));
        } else if self.min_validity_seconds > self.max_validity_seconds {
            faults.push("limits.min_validity_seconds: must be at most max_validity_seconds".to_owned());
        }
        if self.max_bumps > MAX_BUMPS {
            faults.push(format!("limits.max_bumps: must be at most {MAX_BUMPS}"));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Limits;

    #[test]
    fn a_limit_that_no_clock_and_no_queue_can_hold_is_a_fault_and_named() {
        let limits = Limits {
            settle_deadline: Duration::MAX,
            lane_queue: usize::MAX,
            batch: usize::MAX,
            simulations: usize::MAX,
            simulation_calls: usize::MAX,
            journal: usize::MAX,
            max_fee_per_gas: 0,
            max_validity_seconds: u64::MAX,
            min_validity_seconds: u64::MAX,
            rebroadcast_every: Duration::MAX,
            bump_after: Duration::MAX,
            max_bumps: u32::MAX,
            member_ttl: Duration::from_secs(1),
            ..Limits::default()
        };
        let faults = limits.faults();
        for name in [
            "settle_deadline: must be from 1ms to 3600 seconds",
            "lane_queue",
            "batch",
            "simulations",
            "simulation_calls",
            "journal",
            "max_fee_per_gas",
            "max_validity_seconds",
            "rebroadcast_every",
            "bump_after",
            "max_bumps",
            "member_ttl: must be from 3s",
        ] {
            let named = faults.iter().filter(|fault| fault.starts_with(&format!("limits.{name}"))).count();
            assert!(named >= 1, "{name} in {faults:?}");
        }
        let limits = Limits { min_validity_seconds: 86_401, ..Limits::default() };
        assert_eq!(limits.faults(), ["limits.min_validity_seconds: must be at most max_validity_seconds"]);
    }
}

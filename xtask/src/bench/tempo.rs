//! How long the facilitator benches measure, and how often.

use std::time::Duration;

use super::closed_loop::Plan;

/// How long, and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tempo {
    /// Runs of each cell; a table shows the median.
    pub(super) repeats: usize,
    /// Before each cell.
    pub(super) cool_down: Duration,
    verify_ms: u64,
    settle_blocks: u64,
    /// Settlements that are measured alone.
    pub(super) alone: usize,
    /// Payments held in flight.
    pub(super) held: usize,
    /// The numbers are not worth keeping: files stay as they are.
    pub(super) is_quick: bool,
}

/// A verify that takes longer is an error.
const VERIFY_DEADLINE_MS: u64 = 10_000;
/// A settlement that takes longer is an error. Above what the peers give themselves for a receipt would only make
/// cells longer.
const SETTLE_DEADLINE_MS: u64 = 30_000;

impl Tempo {
    /// Numbers to keep.
    pub(super) const FULL: Self = Self {
        repeats: 3,
        cool_down: Duration::from_secs(3),
        verify_ms: 5_000,
        settle_blocks: 10,
        alone: 10,
        held: 10_000,
        is_quick: false,
    };

    /// Only to see that everything runs.
    pub(super) const QUICK: Self = Self {
        repeats: 1,
        cool_down: Duration::from_millis(200),
        verify_ms: 1_500,
        settle_blocks: 4,
        alone: 3,
        held: 500,
        is_quick: true,
    };

    /// A load on `/verify`.
    pub(super) fn verify(&self, in_flight: usize) -> Plan {
        Plan {
            path: "/verify".to_owned(),
            in_flight,
            warm_up_ms: self.verify_ms / 4,
            measured_ms: self.verify_ms,
            deadline_ms: VERIFY_DEADLINE_MS,
            ..Plan::default()
        }
    }

    /// A load on `/settle`: measured over whole blocks, since a closed loop moves with them.
    pub(super) fn settle(&self, in_flight: usize, block_seconds: u64) -> Plan {
        let block_ms = block_seconds * 1_000;
        Plan {
            path: "/settle".to_owned(),
            in_flight,
            warm_up_ms: 3 * block_ms,
            measured_ms: self.settle_blocks * block_ms,
            deadline_ms: SETTLE_DEADLINE_MS,
            // Far more than there is time for, and quicker to make ready than all there are.
            most: if in_flight > 256 { 0 } else { 40_000 },
            ..Plan::default()
        }
    }
}

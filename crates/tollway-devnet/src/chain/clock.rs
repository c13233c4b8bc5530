//! The chain's time: a clock's, shifted on request.

use std::sync::Arc;

use tollway_core::Clock as TimeSource;

/// Tells the time of the next block, in Unix seconds.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    source: Arc<dyn TimeSource>,
    /// How far ahead of its source the chain is.
    offset_secs: i64,
    /// The exact time of the next block, if someone has set it.
    next: Option<u64>,
}

impl Clock {
    pub(crate) fn new(source: Arc<dyn TimeSource>) -> Self {
        Self { source, offset_secs: 0, next: None }
    }

    /// The chain's time now.
    pub(crate) fn now(&self) -> u64 {
        self.next.unwrap_or_else(|| self.source.now().0.saturating_add_signed(self.offset_secs))
    }

    /// The time of a block made now. Never before its parent, and never ahead of the clock: many blocks may
    /// share one second, because what payments compare with it is real time.
    pub(crate) fn block_time(&self, parent: u64) -> u64 {
        self.now().max(parent)
    }

    /// Called when a block was made with this clock's time.
    pub(crate) fn block_made(&mut self) {
        // Time flows on from an exact time that was set for one block.
        if let Some(next) = self.next.take() {
            self.offset_secs = distance(next, self.source.now().0);
        }
    }

    /// Moves the clock and returns the whole offset.
    pub(crate) fn advance(&mut self, secs: i64) -> i64 {
        self.offset_secs = self.offset_secs.saturating_add(secs);
        self.next = self.next.map(|next| next.saturating_add_signed(secs));
        self.offset_secs
    }

    /// Sets the exact time of the next block.
    pub(crate) fn set_next(&mut self, timestamp: u64) {
        self.next = Some(timestamp);
    }
}

fn distance(to: u64, from: u64) -> i64 {
    to.checked_signed_diff(from).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tollway_core::{ManualClock, UnixTime};

    use super::Clock;

    #[test]
    fn blocks_do_not_run_ahead_of_the_clock() {
        let clock = Clock::new(Arc::new(ManualClock::new(UnixTime(1_000))));
        assert_eq!(clock.block_time(900), 1_000);
        assert_eq!(clock.block_time(1_100), 1_100);
    }

    #[test]
    fn time_flows_on_from_an_exact_timestamp() {
        let source = Arc::new(ManualClock::new(UnixTime(1_000)));
        let mut clock = Clock::new(source.clone());
        clock.set_next(6_000);
        assert_eq!(clock.now(), 6_000);
        clock.block_made();
        source.set(UnixTime(1_007));
        assert_eq!(clock.now(), 6_007);
        assert_eq!(clock.advance(10), 5_010);
        assert_eq!(clock.now(), 6_017);
    }
}

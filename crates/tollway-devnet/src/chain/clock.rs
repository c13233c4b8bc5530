//! The chain's time: the wall clock, shifted on request.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time of the next block, in Unix seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// How far ahead of the wall clock the chain is.
    offset_secs: i64,
    /// The exact time of the next block, if someone has set it.
    next: Option<u64>,
}

impl Clock {
    /// The chain's time now.
    pub(crate) fn now(&self) -> u64 {
        self.next.unwrap_or_else(|| wall().saturating_add_signed(self.offset_secs))
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
            self.offset_secs = distance(next, wall());
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

fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

fn distance(to: u64, from: u64) -> i64 {
    to.checked_signed_diff(from).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Clock, wall};

    #[test]
    fn blocks_do_not_run_ahead_of_the_wall_clock() {
        let clock = Clock::default();
        let parent = wall();
        assert!((parent..=parent + 1).contains(&clock.block_time(parent)));
        assert_eq!(clock.block_time(parent + 100), parent + 100);
    }

    #[test]
    fn time_flows_on_from_an_exact_timestamp() {
        let mut clock = Clock::default();
        let later = wall() + 5_000;
        clock.set_next(later);
        assert_eq!(clock.now(), later);
        clock.block_made();
        assert!((later..=later + 1).contains(&clock.now()));
        assert_eq!(clock.advance(10) / 10, 501);
    }
}

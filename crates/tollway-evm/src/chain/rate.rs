//! How fast one node may be asked. A limit is kept on this side, so that a provider's own is not run into.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// So many requests a second, and so many at once. Those in a batch count one by one.
#[derive(Debug)]
pub(super) struct Rate {
    each: Duration,
    burst: u32,
    /// When all that was admitted will have been earned.
    earned_at: Mutex<Instant>,
}

/// How a wait for room ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    AtOnce,
    Waited,
    /// Not in time. It took no room away.
    Refused,
}

impl Rate {
    pub(super) fn new(requests_per_second: u32, burst: u32) -> Self {
        let each = Duration::from_secs(1) / requests_per_second.max(1);
        Self { each, burst: burst.max(1), earned_at: Mutex::new(Instant::now()) }
    }

    /// Waits for room, at most until then. More than a burst is admitted when it has been earned.
    pub(super) async fn admit(&self, requests: usize, until: Instant) -> Admitted {
        let now = Instant::now();
        let due = {
            let mut earned_at = self.earned_at.lock();
            let earned = (*earned_at).max(now) + self.each * u32::try_from(requests).unwrap_or(u32::MAX);
            // A whole burst may be owed.
            let due = earned.checked_sub(self.each * self.burst).unwrap_or(now);
            if due > until {
                return Admitted::Refused;
            }
            *earned_at = earned;
            due
        };
        if due <= now {
            return Admitted::AtOnce;
        }
        sleep_until(due).await;
        Admitted::Waited
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Admitted, Rate};

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_then_one_after_the_other() {
        let rate = Rate::new(10, 5);
        let (began, far) = (Instant::now(), Instant::now() + Duration::from_secs(60));
        for _ in 0..5 {
            assert_eq!(rate.admit(1, far).await, Admitted::AtOnce);
        }
        for _ in 0..20 {
            assert_eq!(rate.admit(1, far).await, Admitted::Waited);
        }
        assert_eq!(began.elapsed().as_millis(), 2_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_counts_by_its_size_even_beyond_the_burst() {
        let rate = Rate::new(10, 5);
        let (began, far) = (Instant::now(), Instant::now() + Duration::from_secs(60));
        assert_eq!(rate.admit(10, far).await, Admitted::Waited);
        assert_eq!(began.elapsed().as_millis(), 500);
        assert_eq!(rate.admit(10, far).await, Admitted::Waited);
        assert_eq!(began.elapsed().as_millis(), 1_500);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_beyond_the_deadline_is_refused_at_once_and_costs_nothing() {
        let rate = Rate::new(1, 1);
        let (began, soon) = (Instant::now(), Instant::now() + Duration::from_millis(900));
        assert_eq!(rate.admit(1, soon).await, Admitted::AtOnce);
        for _ in 0..100 {
            assert_eq!(rate.admit(1, soon).await, Admitted::Refused);
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        let later = began + Duration::from_secs(1);
        assert_eq!(rate.admit(1, later).await, Admitted::Waited);
        assert_eq!(began.elapsed().as_millis(), 1_000);
    }
}

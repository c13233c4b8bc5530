//! Time as a seam: production reads the system, tests and simulations decide.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the Unix epoch: what authorizations are valid by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// This time and `seconds`. It stops at the end of time rather than begin anew: nothing far off is past.
    ///
    /// ```
    /// use tollway_core::UnixTime;
    /// assert_eq!(UnixTime(1_750_000_000).plus_seconds(300), UnixTime(1_750_000_300));
    /// assert_eq!(UnixTime(1_750_000_000).plus_seconds(u64::MAX), UnixTime(u64::MAX));
    /// ```
    #[must_use]
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

/// Where a program reads the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Now, in whole seconds.
    ///
    /// ```
    /// use tollway_core::{Clock, SystemClock, UnixTime};
    /// assert!(SystemClock.now() > UnixTime(1_750_000_000));
    /// ```
    fn now(&self) -> UnixTime;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        // A clock before 1970 makes every authorization not yet valid: it fails closed.
        UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()))
    }
}

/// A clock that stands until it is set, for tests.
///
/// ```
/// use tollway_core::{Clock, ManualClock, UnixTime};
/// let clock = ManualClock::new(UnixTime(1_000));
/// clock.set(UnixTime(1_060));
/// assert_eq!(clock.now(), UnixTime(1_060));
/// ```
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that stands at `now`.
    ///
    /// ```
    /// use tollway_core::{Clock, ManualClock, UnixTime};
    /// static CLOCK: ManualClock = ManualClock::new(UnixTime(1_750_000_000));
    /// assert_eq!(CLOCK.now(), CLOCK.now());
    /// ```
    pub const fn new(now: UnixTime) -> Self {
        Self(AtomicU64::new(now.0))
    }

    /// Sets the time, backwards too.
    ///
    /// ```
    /// use tollway_core::{Clock, ManualClock, UnixTime};
    /// let clock = ManualClock::new(UnixTime(1_060));
    /// clock.set(UnixTime(1_000));
    /// assert_eq!(clock.now(), UnixTime(1_000));
    /// ```
    pub fn set(&self, now: UnixTime) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::SeqCst))
    }
}

//! When to look at a chain again: densely when a block is due, hardly at all between blocks.

use std::time::Duration;

use tokio::time::Instant;

/// After a transaction was sent: chains that are quick have it now.
const AFTER_SENT: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(2), Duration::from_millis(6), Duration::from_millis(14)];
/// Between two looks around the time when a block is due.
const DENSE: Duration = Duration::from_millis(8);
/// While nothing is known of when that is: at first, and for how long.
const UNKNOWN: Duration = Duration::from_millis(20);
const UNKNOWN_FOR: Duration = Duration::from_secs(4);
/// The longest pause while something is pending and a block is late.
const LONGEST: Duration = Duration::from_millis(250);
/// For how long before and after the time when a block is due it is looked for densely: an eighth of the interval,
/// within these.
const LEAST_WINDOW: Duration = Duration::from_millis(40);
const MOST_WINDOW: Duration = Duration::from_millis(400);
/// A block that is seen so soon after a look that did not see it came at a time that is known.
const EXACT: Duration = Duration::from_millis(30);

/// What is known of when blocks come.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When the newest block came, as far as is known, and its number.
    last: Option<(Instant, u64)>,
    is_exact: bool,
    interval: Option<Duration>,
    sent_at: Instant,
    /// How many looks were taken since something was sent.
    looks: usize,
    looked_at: Instant,
    /// Grows while a block does not come.
    pause: Duration,
}

impl Pace {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            last: None,
            is_exact: false,
            interval: None,
            sent_at: now,
            looks: 0,
            looked_at: now,
            pause: DENSE,
        }
    }

    /// Something was sent.
    pub(crate) const fn sent(&mut self, now: Instant) {
        self.sent_at = now;
        self.looks = 0;
        self.pause = DENSE;
    }

    /// The chain was looked at.
    pub(crate) fn looked(&mut self, now: Instant, number: u64, is_new: bool) {
        let gap = now.saturating_duration_since(self.looked_at);
        self.looked_at = now;
        self.looks = self.looks.saturating_add(1);
        if !is_new {
            return;
        }
        self.pause = DENSE;
        let is_exact = gap <= EXACT;
        let Some((last, before)) = self.last else {
            (self.last, self.is_exact) = (Some((now, number)), is_exact);
            return;
        };
        if number <= before {
            // Another block in its place: it says nothing of when blocks come.
            self.last = Some((last, number));
            return;
        }
        let blocks = u32::try_from(number - before).unwrap_or(u32::MAX);
        let measured = now.saturating_duration_since(last) / blocks;
        let Some(known) = self.interval else {
            self.interval = Some(measured);
            (self.last, self.is_exact) = (Some((now, number)), is_exact);
            return;
        };
        if is_exact {
            let is_alike = measured > known / 2 && measured < known * 2;
            self.interval = Some(match is_alike {
                true if self.is_exact => (known * 3 + measured) / 4,
                true => (known + measured) / 2,
                false => measured,
            });
            (self.last, self.is_exact) = (Some((now, number)), true);
            return;
        }
        // It came somewhen since the last look: when it was due, if that fits.
        let due = last + known * blocks;
        let at = if due <= now && now - due <= gap { due } else { now };
        self.last = Some((at, number));
    }

    /// When to look next while something is pending.
    pub(crate) fn next(&mut self, now: Instant) -> Instant {
        if let Some(after) = AFTER_SENT.get(self.looks) {
            return self.sent_at + *after;
        }
        let (Some((last, _)), Some(interval)) = (self.last, self.interval.filter(|known| !known.is_zero()))
        else {
            if now.saturating_duration_since(self.sent_at) < UNKNOWN_FOR {
                return self.looked_at + UNKNOWN;
            }
            return self.looked_at + self.longer();
        };
        let window = window(interval);
        // The first time from now on, or around now, that a block is due.
        let since = (now - window.min(now.saturating_duration_since(last))).saturating_duration_since(last);
        let blocks =
            u32::try_from(since.as_micros().div_ceil(interval.as_micros().max(1))).unwrap_or(u32::MAX).max(1);
        let early = (last + interval * blocks).checked_sub(window).unwrap_or(now);
        if now >= early {
            return self.looked_at + DENSE;
        }
        // Late by more than it ever is: it may come at any time.
        let is_late = blocks > 1 && self.looked_at > last + interval;
        match is_late {
            true => early.min(self.looked_at + self.longer()),
            false => early,
        }
    }

    /// When to look next while nothing is pending and something is not final.
    pub(crate) fn unhurried(&self, least: Duration) -> Instant {
        let interval = self.interval.unwrap_or_default().max(least);
        self.looked_at + interval
    }

    fn longer(&mut self) -> Duration {
        self.pause = (self.pause * 5 / 4).min(LONGEST);
        self.pause
    }
}

fn window(interval: Duration) -> Duration {
    (interval / 8).clamp(LEAST_WINDOW, MOST_WINDOW)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Pace;

    /// Looks whenever the pace says so, at a chain with a block every `interval`, and tells how many looks were taken
    /// and how late each block was seen.
    fn follow(
        pace: &mut Pace,
        began: Instant,
        from: Instant,
        interval: Duration,
        blocks: u64,
    ) -> (usize, Vec<Duration>) {
        let (mut now, mut seen, mut looks, mut late) = (from, None::<u64>, 0, Vec::new());
        let target = number(began, from, interval) + blocks;
        while seen.is_none_or(|seen| seen < target) {
            now = now.max(pace.next(now));
            let number = number(began, now, interval);
            let is_new = seen.is_none_or(|seen| seen < number);
            if is_new && seen.is_some() {
                late.push(now - (began + interval * u32::try_from(number).unwrap()));
            }
            seen = Some(number);
            looks += 1;
            pace.looked(now, number, is_new);
            now += Duration::from_micros(500);
        }
        (looks, late)
    }

    fn number(began: Instant, now: Instant, interval: Duration) -> u64 {
        u64::try_from((now - began).as_micros() / interval.as_micros()).unwrap()
    }

    #[test]
    fn a_block_is_seen_within_twenty_milliseconds_once_the_interval_is_known_and_seldom_looked_for() {
        for interval in [200, 1_000, 2_000, 12_000].map(Duration::from_millis) {
            let began = Instant::now();
            let mut pace = Pace::new(began);
            follow(&mut pace, began, began, interval, 4);
            let now = began + interval * 4 + interval / 3;
            pace.sent(now);
            let (looks, late) = follow(&mut pace, began, now, interval, 10);
            assert!(
                late.iter().skip(1).all(|late| *late <= Duration::from_millis(20)),
                "{interval:?}: {late:?}"
            );
            assert!(looks <= 10 * 60, "{interval:?}: {looks}");
        }
    }

    #[test]
    fn after_a_long_rest_the_rhythm_is_still_known() {
        let interval = Duration::from_secs(2);
        let began = Instant::now();
        let mut pace = Pace::new(began);
        follow(&mut pace, began, began, interval, 6);
        let now = began + Duration::from_millis(61_300);
        pace.sent(now);
        let (looks, late) = follow(&mut pace, began, now, interval, 1);
        assert!(late.iter().all(|late| *late <= Duration::from_millis(30)) && looks < 80, "{looks} {late:?}");
    }
}

//! Calendar windows in UTC, in which budgets are counted: when one begins, and when it ends.

use std::fmt;

use tollway_core::UnixTime;

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

/// A calendar window in UTC. Windows do not slide: a budget is whole again when the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Window {
    /// From second 0 to second 60.
    Minute,
    /// From minute 0.
    Hour,
    /// From midnight.
    Day,
    /// From the first of the month.
    Month,
    /// All of time.
    Lifetime,
}

impl Window {
    /// Every window, the shortest first.
    pub const ALL: [Self; 5] = [Self::Minute, Self::Hour, Self::Day, Self::Month, Self::Lifetime];

    /// Its name in policy files and in the names of budgets.
    ///
    /// ```
    /// assert_eq!(tollway_buyer::Window::Day.as_str(), "day");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Lifetime => "lifetime",
        }
    }

    /// The window that `now` is in: its first second, and the first second after it.
    ///
    /// ```
    /// use tollway_buyer::Window;
    /// use tollway_core::UnixTime;
    /// // 2024-02-29T12:00:00Z
    /// let (start, end) = Window::Month.at(UnixTime(1_709_208_000));
    /// assert_eq!((start.0, end.0), (1_706_745_600, 1_709_251_200));
    /// ```
    pub fn at(self, now: UnixTime) -> (UnixTime, UnixTime) {
        let even = |seconds: u64| {
            let start = UnixTime(now.0 - now.0 % seconds);
            (start, start.plus_seconds(seconds))
        };
        match self {
            Self::Minute => even(MINUTE),
            Self::Hour => even(HOUR),
            Self::Day => even(DAY),
            Self::Month => month(now),
            Self::Lifetime => (UnixTime(0), UnixTime(u64::MAX)),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The month of the Gregorian calendar. Years are counted from March, so that the leap day is the last of its year, and in
/// cycles of 400 years, which all have the same number of days.
fn month(now: UnixTime) -> (UnixTime, UnixTime) {
    const CYCLE: u64 = 146_097;
    /// From 0000-03-01 to 1970-01-01.
    const EPOCH: u64 = 719_468;
    let today = now.0 / DAY;
    let in_cycle = (today + EPOCH) % CYCLE;
    let year = (in_cycle - in_cycle / 1_460 + in_cycle / 36_524 - in_cycle / 146_096) / 365;
    let in_year = in_cycle - (365 * year + year / 4 - year / 100);
    // March is 0; months of 31 and 30 days alternate so that 153 days are five months.
    let month = (5 * in_year + 2) / 153;
    let first = (153 * month + 2) / 5;
    let days = match month {
        // February is the rest of its year, which ends in the next calendar year.
        11 => {
            let next = year + 1;
            let is_leap = next.is_multiple_of(4) && (!next.is_multiple_of(100) || next.is_multiple_of(400));
            if is_leap { 29 } else { 28 }
        }
        _ => (153 * (month + 1) + 2) / 5 - first,
    };
    let start = UnixTime((today - (in_year - first)) * DAY);
    (start, start.plus_seconds(days * DAY))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use tollway_core::UnixTime;

    use super::{DAY, Window};

    /// Months by the rule that children learn, from 1970 on.
    fn months(years: u64) -> Vec<(u64, u64)> {
        let mut days = 0;
        let mut months = Vec::new();
        for year in 1970..1970 + years {
            let leap = (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
            for length in [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
                months.push((days * DAY, (days + length) * DAY));
                days += length;
            }
        }
        months
    }

    #[test]
    fn a_month_is_as_long_as_the_calendar_says_for_eight_hundred_years() {
        for (start, end) in months(800) {
            for now in [start, start + 1, start + 13 * DAY + 7, end - 1] {
                assert_eq!(Window::Month.at(UnixTime(now)), (UnixTime(start), UnixTime(end)), "{now}");
            }
        }
    }

    #[test]
    fn windows_begin_where_the_calendar_says() {
        for (window, now, start, end) in [
            // 2026-11-20T20:15:30Z
            (Window::Minute, 1_795_205_730, 1_795_205_700, 1_795_205_760),
            (Window::Hour, 1_795_205_730, 1_795_204_800, 1_795_208_400),
            (Window::Day, 1_795_205_730, 1_795_132_800, 1_795_219_200),
            (Window::Month, 1_795_205_730, 1_793_491_200, 1_796_083_200),
            // The last second of 2023, and the first of 2024.
            (Window::Month, 1_704_067_199, 1_701_388_800, 1_704_067_200),
            (Window::Day, 1_704_067_199, 1_703_980_800, 1_704_067_200),
            (Window::Month, 1_704_067_200, 1_704_067_200, 1_706_745_600),
            // 2000 had a leap day, 2100 has none: 2000-02-29, 2100-02-28.
            (Window::Month, 951_782_400, 949_363_200, 951_868_800),
            (Window::Month, 4_107_455_999, 4_105_123_200, 4_107_542_400),
            (Window::Lifetime, 5, 0, u64::MAX),
        ] {
            assert_eq!(window.at(UnixTime(now)), (UnixTime(start), UnixTime(end)), "{window} {now}");
        }
    }

    proptest! {
        #[test]
        fn now_is_in_its_window_at_any_time(now in any::<u64>()) {
            for window in Window::ALL {
                let (start, end) = window.at(UnixTime(now));
                prop_assert!(start.0 <= now && (now < end.0 || end.0 == u64::MAX));
                prop_assert_eq!(window.at(start), (start, end));
            }
        }

        #[test]
        fn every_second_of_a_window_is_in_the_same_one(now in 0u64..10_000_000_000, more in 0u64..40_000_000) {
            for window in Window::ALL {
                let (start, end) = window.at(UnixTime(now));
                let other = window.at(UnixTime(now + more));
                prop_assert_eq!(other == (start, end), now + more < end.0);
            }
        }
    }
}

//! Points in time as RFC 3339 writes them, the part of it that sign-in messages use.

use crate::UnixTime;

const DAY_SECONDS: u64 = 86_400;

/// `time` as `2024-01-15T10:30:00.000Z`: UTC, with the three decimals that JavaScript writes.
///
/// ```
/// use tollway_core::{UnixTime, extension::format_timestamp};
/// assert_eq!(format_timestamp(UnixTime(1_705_314_600)), "2024-01-15T10:30:00.000Z");
/// ```
pub fn format_timestamp(time: UnixTime) -> String {
    let (days, second) = (time.0 / DAY_SECONDS, time.0 % DAY_SECONDS);
    let (year, month, day) = civil(days);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.000Z", second % 60)
}

/// The time that `text` names, in whole seconds; what is left of a second is cut off. None for what is no RFC 3339 time
/// since 1970.
///
/// ```
/// use tollway_core::{UnixTime, extension::parse_timestamp};
/// assert_eq!(parse_timestamp("2024-01-15T11:30:00.25+01:00"), Some(UnixTime(1_705_314_600)));
/// assert_eq!(parse_timestamp("2024-02-30T00:00:00Z"), None);
/// ```
pub fn parse_timestamp(text: &str) -> Option<UnixTime> {
    let bytes = text.as_bytes();
    let number = |at: usize, digits: usize| {
        let part = text.get(at..at + digits)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u64>().ok())?
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if bytes.len() > 40 || marks.iter().any(|(at, mark)| bytes.get(*at) != Some(mark)) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year, month, day)?;
    let local = days * DAY_SECONDS + hour * 3600 + minute * 60 + second;
    offset(skip_fraction(text.get(19..)?)?, local).map(UnixTime)
}

/// What stands after `.123`.
fn skip_fraction(rest: &str) -> Option<&str> {
    let Some(fraction) = rest.strip_prefix('.') else { return Some(rest) };
    let end = fraction.find(|digit: char| !digit.is_ascii_digit())?;
    (1..=9).contains(&end).then(|| &fraction[end..])
}

/// Local time to UTC.
fn offset(zone: &str, local: u64) -> Option<u64> {
    if zone == "Z" {
        return Some(local);
    }
    let is_shaped = zone.len() == 6 && zone.is_ascii() && zone.as_bytes().get(3) == Some(&b':');
    let parts = (zone.get(..1)?, zone.get(1..3)?, zone.get(4..)?);
    let digits =
        |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u64>().ok())?;
    let (hours, minutes) = (digits(parts.1)?, digits(parts.2)?);
    if !is_shaped || hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = hours * 3600 + minutes * 60;
    match parts.0 {
        "+" => local.checked_sub(seconds),
        "-" => local.checked_add(seconds),
        _ => None,
    }
}

/// Days since 1970 of a date that exists.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    // Counted from March, so that the leap day is the last of its year.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let count = y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    let days = count.checked_sub(719_468)?;
    (civil(days) == (year, month, day)).then_some(days)
}

/// The date of a day since 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let (day, month) =
        (of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::{format_timestamp, parse_timestamp};
    use crate::UnixTime;

    #[test]
    fn known_times_are_read_and_what_is_no_time_is_not() {
        for (text, time) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59.999Z", 951_868_799),
            ("2026-06-16T12:00:00-02:30", 1_781_620_200),
            ("2100-03-01T00:00:00.000000001Z", 4_107_542_400),
        ] {
            assert_eq!(parse_timestamp(text), Some(UnixTime(time)), "{text}");
        }
        for wrong in [
            "",
            "2024-01-15",
            "2024-01-15T10:30:00",
            "2024-01-15 10:30:00Z",
            "2024-01-15T24:00:00Z",
            "2024-01-15T10:30:00.Z",
            "2024-01-15T10:30:00+0100",
            "2024-01-15T10:30:00Z\n",
            "2023-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2024-00-10T00:00:00Z",
            "2024-13-10T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "+024-01-15T10:30:00Z",
            "2024-01-15T10:30:00é",
        ] {
            assert_eq!(parse_timestamp(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(second in 0u64..253_402_300_800) {
            prop_assert_eq!(parse_timestamp(&format_timestamp(UnixTime(second))), Some(UnixTime(second)));
        }

        #[test]
        fn no_text_panics(text in ".{0,45}") {
            let _ = parse_timestamp(&text);
        }
    }
}

//! A price out of JSON: by pointer (RFC 6901), in the very digits that were written. No number passes through a float.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tollway_core::{Decimal, UnixTime};

use crate::price_source::{Quote, SourceError};

/// The largest document that is read.
pub(crate) const MAX_JSON_BYTES: usize = 64 * 1024;
/// No table of prices is nested deeper, and no pointer longer.
const MAX_STEPS: usize = 16;
/// A time above this is in milliseconds: in seconds it is in the year 5138.
const MAX_SECONDS: u64 = 99_999_999_999;

/// Where in a document the price stands, and the time it was known.
#[derive(Clone, Debug)]
pub(crate) struct Pointers {
    pub(crate) price: String,
    pub(crate) time: Option<String>,
}

impl Pointers {
    /// What the document says.
    pub(crate) fn read(&self, json: &[u8]) -> Result<Quote, SourceError> {
        let unreadable = |pointer: &str, rule: String| SourceError::Unreadable(format!("{pointer}: {rule}"));
        if json.len() > MAX_JSON_BYTES {
            let rule = format!("must be at most {MAX_JSON_BYTES} bytes");
            return Err(SourceError::Unreadable(rule));
        }
        let root: &RawValue = serde_json::from_slice(json)
            .map_err(|error| SourceError::Unreadable(format!("must be valid JSON: {error}")))?;
        let price = scalar(root, &self.price).map_err(|rule| unreadable(&self.price, rule))?;
        let dollars: Decimal = price
            .parse()
            .map_err(|error| unreadable(&self.price, format!("{:?} {error}", excerpt(&price))))?;
        let at = match &self.time {
            None => None,
            Some(pointer) => {
                let text = scalar(root, pointer).map_err(|rule| unreadable(pointer, rule))?;
                let time = seconds(&text).ok_or_else(|| {
                    let rule = "must be whole seconds or milliseconds since 1970";
                    unreadable(pointer, format!("{:?} {rule}", excerpt(&text)))
                })?;
                Some(time)
            }
        };
        Ok(Quote { dollars, at })
    }

    /// What is wrong with the pointers themselves.
    pub(crate) fn fault(&self) -> Option<String> {
        let pointers = std::iter::once(&self.price).chain(&self.time);
        let is_wrong = |pointer: &&String| {
            !(pointer.is_empty() || pointer.starts_with('/')) || pointer.split('/').count() > MAX_STEPS
        };
        let wrong = pointers.into_iter().find(is_wrong)?;
        Some(format!("pointer {wrong:?} must be a JSON pointer such as \"/EURC/usd\""))
    }
}

/// Whole seconds; milliseconds lose their last three digits.
fn seconds(text: &str) -> Option<UnixTime> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = text.parse().ok().filter(|_| is_plain)?;
    Some(UnixTime(if number > MAX_SECONDS { number / 1_000 } else { number }))
}

/// The number or string at `pointer`, as it is written.
fn scalar(root: &RawValue, pointer: &str) -> Result<String, String> {
    let mut value = root;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        value = child(value, &step)?.ok_or_else(|| "is not there".to_owned())?;
    }
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text).map_err(|error| error.to_string()),
        Some(b'-' | b'0'..=b'9') => Ok(text.to_owned()),
        _ => Err("must be a number or a string".to_owned()),
    }
}

/// The member or element `step` of `value`. Which of two equal keys counts is up to each parser: neither does.
fn child<'a>(value: &'a RawValue, step: &str) -> Result<Option<&'a RawValue>, String> {
    let text = value.get();
    if text.starts_with('[') {
        let Ok(index) = step.parse::<usize>() else { return Ok(None) };
        let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        return Ok(elements.get(index).copied());
    }
    if !text.starts_with('{') {
        return Ok(None);
    }
    let Members(members) = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut named = members.iter().filter(|(name, _)| name == step);
    match (named.next(), named.next()) {
        (Some(_), Some(_)) => Err(format!("key {:?} stands twice", excerpt(step))),
        (found, _) => Ok(found.map(|(_, value)| *value)),
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(32).collect()
}

/// The members of an object, in order, values unread.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_JSON_BYTES, Pointers};
    use crate::price_source::SourceError;

    fn read(json: &str, price: &str, time: Option<&str>) -> Result<(String, Option<u64>), SourceError> {
        let pointers = Pointers { price: price.to_owned(), time: time.map(str::to_owned) };
        pointers.read(json.as_bytes()).map(|quote| (quote.dollars.to_string(), quote.at.map(|at| at.0)))
    }

    #[test]
    fn a_price_is_read_in_the_digits_that_were_written() {
        for (json, pointer, price) in [
            (r#"{"EURC":{"usd":1.0832}}"#, "/EURC/usd", "1.0832"),
            (r#"{"a/b~c":["x",{"rate":"0.99970000000000003"}]}"#, "/a~1b~0c/1/rate", "0.99970000000000003"),
            ("1.000000000000000001", "", "1.000000000000000001"),
            (r#"{"\u0045URC":2}"#, "/EURC", "2"),
        ] {
            assert_eq!(read(json, pointer, None), Ok((price.to_owned(), None)), "{json}");
        }
    }

    #[test]
    fn what_is_no_plain_positive_decimal_is_no_price() {
        for price in [
            "NaN",
            "-1",
            "-0",
            "0",
            "0.0",
            "1e0",
            "1.0E-1",
            "1e999",
            "null",
            "true",
            "[]",
            "{}",
            "\"NaN\"",
            "\"-1\"",
            "\"1e0\"",
            "\"\"",
            "\" 1\"",
            "\"Infinity\"",
            "1.0000000000000000000001",
            "01",
            "",
        ] {
            let read = read(&format!(r#"{{"usd":{price}}}"#), "/usd", None);
            assert!(matches!(read, Err(SourceError::Unreadable(_))), "{price}: {read:?}");
        }
    }

    #[test]
    fn a_price_that_is_missing_or_stands_twice_is_none() {
        for (json, pointer) in [
            (r#"{"usd":1,"usd":2}"#, "/usd"),
            (r#"{"usd":1}"#, "/eur"),
            (r#"{"usd":1}"#, "/usd/deeper"),
            (r#"[1]"#, "/1"),
            (r#"[1]"#, "/-1"),
            (r#"{"usd":1"#, "/usd"),
            (r#"{"usd":1} trailing"#, "/usd"),
        ] {
            assert!(read(json, pointer, None).is_err(), "{json} {pointer}");
        }
        let huge = format!(r#"{{"usd":1,"pad":"{}"}}"#, "x".repeat(MAX_JSON_BYTES));
        assert!(read(&huge, "/usd", None).is_err());
        let deep = format!("{}1{}", "[".repeat(30_000), "]".repeat(30_000));
        assert!(read(&deep, "/0/0", None).is_err());
    }

    #[test]
    fn a_time_is_whole_seconds_or_milliseconds() {
        let at = |time: &str| read(&format!(r#"{{"p":1,"t":{time}}}"#), "/p", Some("/t"));
        assert_eq!(at("1750000000"), Ok(("1".to_owned(), Some(1_750_000_000))));
        assert_eq!(at("\"1750000000123\""), Ok(("1".to_owned(), Some(1_750_000_000))));
        for wrong in ["-5", "1.5", "\"soon\"", "\"+1\"", "null", "1e9", "99999999999999999999999"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pointer_begins_with_a_slash_and_has_an_end() {
        let fault = |price: &str| Pointers { price: price.to_owned(), time: None }.fault();
        assert_eq!(fault(""), None);
        assert_eq!(fault("/EURC/usd"), None);
        assert!(fault("EURC").is_some());
        assert!(fault(&"/a".repeat(17)).is_some());
    }
}

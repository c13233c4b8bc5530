//! Which tools a rule means, by the names that callers give: `search`, `data.*`.

use std::fmt;

/// The longest name of a tool, in bytes. Longer ones are refused.
pub(crate) const MAX_TOOL_BYTES: usize = 128;

/// A name in which `*` stands for any run of characters. Case matters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ToolPattern(String);

impl ToolPattern {
    /// `None`: nothing could ever match.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_name = !text.is_empty() && text.len() <= MAX_TOOL_BYTES && !text.chars().any(char::is_control);
        is_name.then(|| Self(text.to_owned()))
    }

    /// Goes back to the last star at most once a character: no pattern makes it slow.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut of) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while of < name.len() {
            match (pattern.get(at), star) {
                (Some(b'*'), _) => {
                    star = Some((at + 1, of));
                    at += 1;
                }
                (Some(byte), _) if *byte == name[of] => {
                    at += 1;
                    of += 1;
                }
                (_, Some((after, from))) => {
                    star = Some((after, from + 1));
                    at = after;
                    of = from + 1;
                }
                _ => return false,
            }
        }
        pattern[at..].iter().all(|byte| *byte == b'*')
    }

    /// Whether everything that `other` means is meant by this one too, as far as that is easily told.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        // A star of the other's is a character like any: only one of ours can stand for it.
        self.matches(&other.0)
    }
}

impl fmt::Display for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::ToolPattern;

    fn matches(pattern: &str, name: &str) -> bool {
        ToolPattern::parse(pattern).unwrap().matches(name)
    }

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, name, expected) in [
            ("search", "search", true),
            ("search", "Search", false),
            ("search", "searching", false),
            ("search", "research", false),
            ("data.*", "data.weather", true),
            ("data.*", "data.", true),
            ("data.*", "metadata.weather", false),
            ("*", "", true),
            ("*.read", "files.read", true),
            ("*.read", "files.read.all", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern}: {name}");
        }
    }

    /// The same in other words: by what the first star may stand for.
    fn by_trial(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|skipped| by_trial(rest, &name[skipped..])),
            Some((first, rest)) => {
                name.split_first().is_some_and(|(head, tail)| head == first && by_trial(rest, tail))
            }
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_trying_everything_says(pattern in "[ab*]{1,8}", name in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &name), by_trial(pattern.as_bytes(), name.as_bytes()));
        }
    }
}

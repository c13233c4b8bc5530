//! Lines by on-chain transaction: payments that share one are one line.
//!
//! A transaction that holds a payment is in a block before that payment expires. So once every line is read that was opened
//! before the first of a group's payments expired, the group is whole: only those that are not yet are kept in memory.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;
use tollway_core::{Amount, UnixTime};

use crate::books::entry::{Entry, Fate, Kind, Proof};
use crate::books::text::commodity;

/// By how much clocks may differ, and how late a settlement may be told of.
const MARGIN_SECONDS: u64 = 3_600;

/// Payments in one transaction, the oldest first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    pub(crate) entries: Vec<Entry>,
    whole_at: UnixTime,
}

/// Lines on their way into groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    open: VecDeque<Group>,
    /// Where a transaction's group is in `open`, counted from the first group ever.
    places: BTreeMap<(String, String), u64>,
    gone: u64,
}

impl Groups {
    /// Takes the next line; gives the groups that are whole by now, in the order of their first lines.
    pub(crate) fn push(&mut self, entry: Entry) -> Vec<Group> {
        let whole = self.take(|group| group.whole_at < entry.at);
        let Some(transaction) = entry.transaction.clone().filter(|_| entry.fate == Fate::Moved) else {
            return whole;
        };
        let whole_at = entry.expires.plus_seconds(MARGIN_SECONDS);
        let key = (entry.network.clone(), transaction.to_ascii_lowercase());
        let place = self.places.get(&key).and_then(|place| place.checked_sub(self.gone));
        let known = place.and_then(|place| self.open.get_mut(usize::try_from(place).ok()?));
        match known {
            Some(group) => {
                group.whole_at = group.whole_at.min(whole_at);
                group.entries.push(entry);
            }
            None => {
                self.places.insert(key, self.gone + self.open.len() as u64);
                self.open.push_back(Group { entries: vec![entry], whole_at });
            }
        }
        whole
    }

    /// The groups that are left, when there are no more lines.
    pub(crate) fn finish(&mut self) -> Vec<Group> {
        self.take(|_| true)
    }

    /// From the front, so that the order stays: a whole one waits for those before it.
    fn take(&mut self, is_whole: impl Fn(&Group) -> bool) -> Vec<Group> {
        let mut whole = Vec::new();
        while self.open.front().is_some_and(&is_whole) {
            let Some(group) = self.open.pop_front() else { break };
            if let Some(first) = group.entries.first()
                && let Some(transaction) = &first.transaction
            {
                self.places.remove(&(first.network.clone(), transaction.to_ascii_lowercase()));
            }
            self.gone += 1;
            whole.push(group);
        }
        whole
    }
}

impl Group {
    /// Every fact of it, under the names that all formats use.
    pub(crate) fn facts(&self) -> Vec<(&'static str, Value)> {
        let Some(first) = self.entries.first() else { return Vec::new() };
        let of = |kind| self.entries.iter().filter(move |entry| entry.kind == kind);
        let mut kinds: Vec<&str> = self.entries.iter().map(|entry| entry.kind.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let proof = if self.entries.iter().all(|entry| entry.proof == Proof::Chain) {
            Proof::Chain
        } else {
            Proof::Seller
        };
        let names = |name: fn(&Entry) -> Option<&str>| -> Value {
            let mut names: Vec<&str> = self.entries.iter().filter_map(name).collect();
            names.sort_unstable();
            names.dedup();
            names.into()
        };
        let block = self.entries.iter().find_map(|entry| entry.block);
        vec![
            ("time", first.time().into()),
            ("kind", kinds.join("+").into()),
            ("transaction", first.transaction.as_deref().into()),
            ("network", first.network.as_str().into()),
            ("block", block.into()),
            ("payments", self.entries.len().into()),
            ("spent", sums(of(Kind::Spent)).into()),
            ("earned", sums(of(Kind::Earned)).into()),
            ("spentUsd", dollars(of(Kind::Spent)).into()),
            ("earnedUsd", dollars(of(Kind::Earned)).into()),
            ("fee", "0".into()),
            ("confirmedBy", proof.as_str().into()),
            ("agents", names(|entry| entry.agent.as_deref())),
            ("hosts", names(|entry| entry.host.as_deref())),
            ("ids", names(|entry| Some(&entry.id))),
        ]
    }
}

/// `0.02 USDC.8453.833589`, one for each asset.
fn sums<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<String> {
    let mut sums: BTreeMap<String, Option<(Amount, u8)>> = BTreeMap::new();
    for entry in entries {
        let symbol = entry.coin.as_ref().map(|coin| &*coin.symbol);
        let name = commodity(symbol, &entry.network, &entry.asset);
        let decimals = entry.coin.as_ref().map_or(0, |coin| coin.decimals);
        let sum = sums.entry(name).or_insert(Some((Amount::ZERO, decimals)));
        *sum = sum.and_then(|(sum, decimals)| Some((sum.checked_add(entry.amount)?, decimals)));
    }
    let told = sums.into_iter().map(|(name, sum)| match sum {
        Some((sum, decimals)) => format!("{} {name}", sum.to_decimal(decimals)),
        None => format!("more than can be counted {name}"),
    });
    told.collect()
}

/// The sum in dollars, if all of it is known.
fn dollars<'a>(mut entries: impl Iterator<Item = &'a Entry>) -> Option<String> {
    let sum = entries.try_fold(Amount::ZERO, |sum, entry| sum.checked_add(entry.counted_dollars()?))?;
    Some(sum.to_decimal(crate::books::entry::DOLLAR_DECIMALS))
}

#[cfg(test)]
mod tests {
    use tollway_core::UnixTime;

    use super::Groups;
    use crate::books::entry::{Entry, Fate};
    use crate::books::formats::tests::spent;

    fn line(at: u64, transaction: &str) -> Entry {
        Entry {
            at: UnixTime(at),
            expires: UnixTime(at + 60),
            transaction: Some(transaction.to_owned()),
            ..spent()
        }
    }

    #[test]
    fn payments_of_one_transaction_are_one_line_and_only_what_may_grow_is_kept() {
        let mut groups = Groups::default();
        for (at, transaction) in [(0, "0xa"), (10, "0xb"), (20, "0xA"), (30, "0xb"), (3_659, "0xc")] {
            assert!(groups.push(line(at, transaction)).is_empty());
        }
        assert!(groups.push(Entry { fate: Fate::Open, ..line(3_660, "0xd") }).is_empty());
        let whole = groups.push(line(4_000, "0xe"));
        let members: Vec<usize> = whole.iter().map(|group| group.entries.len()).collect();
        assert_eq!(members, [2, 2], "what is open is in no transaction");
        let left = groups.finish();
        assert_eq!(left.len(), 2);
        assert!(groups.places.is_empty() && groups.open.is_empty());
    }

    #[test]
    fn a_million_lines_are_never_all_in_memory() {
        let (mut groups, mut told, mut most) = (Groups::default(), 0, 0);
        for number in 0..200_000u64 {
            told += groups.push(line(number, &format!("0x{:x}", number / 3))).len();
            most = most.max(groups.open.len());
        }
        told += groups.finish().len();
        assert_eq!(told, 66_667);
        assert!(most < 1_300, "{most}");
    }

    #[test]
    fn sums_are_exact_and_by_asset() {
        let mut groups = Groups::default();
        groups.push(line(0, "0xa"));
        groups.push(line(0, "0xa"));
        let facts = groups.finish().remove(0).facts();
        let fact = |name: &str| facts.iter().find(|(known, _)| *known == name).unwrap().1.to_string();
        assert_eq!(fact("spent"), r#"["0.02 USDC.8453.833589"]"#);
        assert_eq!((fact("spentUsd"), fact("payments")), (r#""0.02""#.to_owned(), "2".to_owned()));
    }
}

//! What was spent, added up by host, agent and day. Exact, and bounded: who comes last where there is no more room is counted
//! with the rest.

use std::collections::BTreeMap;

use tollway_core::Amount;

use crate::books::entry::{DOLLAR_DECIMALS, Entry, Fate, Kind};
use crate::books::text::commodity;

/// How many names of a sort are told apart.
const MAX_NAMES: usize = 10_000;
/// What the rest is counted as.
const REST: &str = "(others)";

/// Sums.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) by_host: Sums,
    pub(crate) by_agent: Sums,
    pub(crate) by_day: Sums,
    /// Dollars that were spent.
    pub(crate) spent: Amount,
    pub(crate) earned: Amount,
    /// Dollars that may still be charged.
    pub(crate) open: Amount,
    pub(crate) purchases: u64,
    pub(crate) alarms: u64,
    /// What is not in dollars, in atomic units, by asset.
    pub(crate) other: BTreeMap<String, (Amount, u8)>,
    /// A sum did not fit: no other number is to be believed.
    pub(crate) is_over: bool,
}

/// Dollars by name.
#[derive(Debug, Default)]
pub(crate) struct Sums(BTreeMap<String, Amount>);

impl Tally {
    /// Counts a line.
    pub(crate) fn add(&mut self, entry: &Entry) {
        self.alarms += u64::from(!entry.alarms.is_empty());
        let dollars = match (entry.fate, entry.counted_dollars()) {
            (Fate::Still, _) => return,
            (Fate::Moved, None) => return self.add_other(entry),
            (Fate::Open, None) => return,
            (_, Some(dollars)) => dollars,
        };
        let sum = match (entry.kind, entry.fate) {
            (_, Fate::Open) => &mut self.open,
            (Kind::Earned, _) => &mut self.earned,
            (Kind::Spent, _) => &mut self.spent,
        };
        match sum.checked_add(dollars) {
            Some(added) => *sum = added,
            None => self.is_over = true,
        }
        if (entry.kind, entry.fate) == (Kind::Spent, Fate::Moved) {
            self.purchases += 1;
            let host = entry.host.as_deref().unwrap_or_default();
            let mut fits = self.by_host.add(host, dollars);
            fits &= self.by_agent.add(entry.agent.as_deref().unwrap_or("(no agent)"), dollars);
            fits &= self.by_day.add(&entry.day(), dollars);
            self.is_over |= !fits;
        }
    }

    fn add_other(&mut self, entry: &Entry) {
        self.purchases += u64::from(entry.kind == Kind::Spent);
        let symbol = entry.coin.as_ref().map(|coin| &*coin.symbol);
        let name = format!("{} {}", entry.kind.as_str(), commodity(symbol, &entry.network, &entry.asset));
        let decimals = entry.coin.as_ref().map_or(0, |coin| coin.decimals);
        if self.other.len() >= MAX_NAMES && !self.other.contains_key(&name) {
            self.is_over = true;
            return;
        }
        let (sum, _) = self.other.entry(name).or_insert((Amount::ZERO, decimals));
        match sum.checked_add(entry.amount) {
            Some(added) => *sum = added,
            None => self.is_over = true,
        }
    }
}

impl Sums {
    /// Whether the sum fits.
    fn add(&mut self, name: &str, dollars: Amount) -> bool {
        let is_new = !self.0.contains_key(name);
        let name = if is_new && self.0.len() >= MAX_NAMES { REST } else { name };
        let sum = self.0.entry(name.to_owned()).or_default();
        match sum.checked_add(dollars) {
            Some(added) => {
                *sum = added;
                true
            }
            None => false,
        }
    }

    /// The largest, at most `most`; the rest of them in one.
    pub(crate) fn largest(&self, most: usize) -> Vec<(String, Amount)> {
        let mut all: Vec<(String, Amount)> = self.0.iter().map(|(name, sum)| (name.clone(), *sum)).collect();
        all.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        self.with_rest(all, most)
    }

    /// The last by name, at most `most`: the newest days.
    pub(crate) fn last(&self, most: usize) -> Vec<(String, Amount)> {
        let skipped = self.0.len().saturating_sub(most);
        self.0.iter().skip(skipped).map(|(name, sum)| (name.clone(), *sum)).collect()
    }

    fn with_rest(&self, mut all: Vec<(String, Amount)>, most: usize) -> Vec<(String, Amount)> {
        if all.len() <= most {
            return all;
        }
        let rest = all.split_off(most.saturating_sub(1));
        let sum = rest.iter().try_fold(Amount::ZERO, |sum, (_, more)| sum.checked_add(*more));
        all.push((REST.to_owned(), sum.unwrap_or(Amount::MAX)));
        all
    }
}

/// Dollars for people.
pub(crate) fn shown(dollars: Amount) -> String {
    format!("${}", dollars.to_decimal(DOLLAR_DECIMALS))
}

#[cfg(test)]
mod tests {
    use super::{MAX_NAMES, Tally, shown};
    use crate::books::entry::Entry;
    use crate::books::formats::tests::{sample, spent};

    #[test]
    fn sums_are_exact_and_only_what_moved_is_spent() {
        let mut tally = Tally::default();
        sample().iter().for_each(|entry| tally.add(entry));
        assert_eq!(
            (shown(tally.spent), shown(tally.earned), shown(tally.open)),
            ("$0.01".to_owned(), "$2.5".to_owned(), "$0.01".to_owned())
        );
        assert_eq!((tally.purchases, tally.alarms, tally.is_over), (3, 1, false));
        assert_eq!(tally.other["spent EURC.8453.60A3E3"].0.to_string(), "100000");
    }

    #[test]
    fn more_hosts_than_there_is_room_for_are_counted_with_the_rest() {
        let mut tally = Tally::default();
        for number in 0..MAX_NAMES + 5 {
            tally.add(&Entry { host: Some(format!("{number:06}.example")), ..spent() });
        }
        let hosts = tally.by_host.largest(usize::MAX);
        assert_eq!(hosts.len(), MAX_NAMES + 1);
        assert_eq!((hosts[0].0.as_str(), shown(hosts[0].1)), ("(others)", "$0.05".to_owned()));
        let few = tally.by_host.largest(3);
        assert_eq!((few.len(), few[2].0.as_str(), shown(few[2].1)), (3, "(others)", "$99.99".to_owned()));
    }
}

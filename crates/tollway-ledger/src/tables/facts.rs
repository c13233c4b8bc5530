//! Facts: written by who has read them as they are, and conditions on them.

use std::collections::BTreeMap;

use tollway_core::UnixTime;

use super::{FactKey, Tables, storable};
use crate::{Condition, Fact};

/// A fact, but for its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FactRow {
    pub(crate) version: u64,
    pub(crate) value: String,
    pub(crate) until: UnixTime,
}

impl Tables {
    pub(crate) fn fact_put(&mut self, fact: Fact) -> bool {
        let Fact { scope, name, version, value, until } = fact;
        let key = (scope, name);
        if self.facts.get(&key).map_or(0, |row| row.version) != version {
            return false;
        }
        let row = FactRow { version: version.saturating_add(1), value, until: storable(until) };
        self.fact_write(key, row);
        true
    }

    pub(crate) fn fact_get(&self, scope: &str, name: &str) -> Option<Fact> {
        let key = (scope.to_owned(), name.to_owned());
        self.facts.get(&key).map(|row| row.fact(&key))
    }

    pub(crate) fn fact_list(&self, scope: &str, after: Option<&str>, limit: u32) -> Vec<Fact> {
        let first = (scope.to_owned(), after.unwrap_or_default().to_owned());
        let rows = self.facts.range(first..).take_while(|((of, _), _)| of == scope);
        let rows = rows.filter(|((_, name), _)| after.is_none_or(|after| name != after));
        rows.take(limit as usize).map(|(key, row)| row.fact(key)).collect()
    }

    pub(crate) fn fact_remove(&mut self, scope: &str, name: &str, version: u64) -> bool {
        let key = (scope.to_owned(), name.to_owned());
        let is_it = self.facts.get(&key).is_some_and(|row| row.version == version);
        if is_it {
            self.fact_forget(&key);
        }
        is_it
    }

    pub(crate) fn fact_sweep(&mut self, now: UnixTime, limit: u32) -> u64 {
        let past = self.indexes.by_fact_until.iter().take_while(|(until, _)| *until <= now);
        let past: Vec<FactKey> = past.take(limit as usize).map(|(_, key)| key.clone()).collect();
        for key in &past {
            self.fact_forget(key);
        }
        u64::try_from(past.len()).unwrap_or(u64::MAX)
    }

    /// What the conditions write; the fact that stands in the way of one.
    pub(super) fn facts_after(
        &self,
        conditions: &[Condition],
        now: UnixTime,
    ) -> Result<BTreeMap<FactKey, FactRow>, Fact> {
        let mut after: BTreeMap<FactKey, FactRow> = BTreeMap::new();
        for condition in conditions {
            let (Condition::Absent { scope, name } | Condition::EqualOrSet { scope, name, .. }) = condition;
            let key = (scope.clone(), name.clone());
            let before = after.get(&key).or_else(|| self.facts.get(&key));
            let version = before.map_or(0, |row| row.version);
            let present = before.filter(|row| row.until > now);
            match (condition, present) {
                (Condition::Absent { .. }, None) => {}
                (Condition::EqualOrSet { value, .. }, Some(row)) if row.value == *value => {}
                (_, Some(row)) => return Err(row.fact(&key)),
                (Condition::EqualOrSet { value, until, .. }, None) => {
                    let (version, until) = (version.saturating_add(1), storable(*until));
                    after.insert(key, FactRow { version, value: value.clone(), until });
                }
            }
        }
        Ok(after)
    }

    pub(crate) fn fact_write(&mut self, key: FactKey, row: FactRow) {
        let until = row.until;
        if let Some(before) = self.facts.put(key.clone(), row) {
            self.indexes.by_fact_until.remove(&(before.until, key.clone()));
        }
        self.indexes.by_fact_until.insert((until, key));
    }

    fn fact_forget(&mut self, key: &FactKey) {
        if let Some(row) = self.facts.remove(key) {
            self.indexes.by_fact_until.remove(&(row.until, key.clone()));
        }
    }
}

impl FactRow {
    pub(crate) fn fact(&self, (scope, name): &FactKey) -> Fact {
        let Self { version, value, until } = self.clone();
        Fact { scope: scope.clone(), name: name.clone(), version, value, until }
    }
}

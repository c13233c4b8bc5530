//! Marks: set once, known until their time.

use tollway_core::UnixTime;

use super::{MarkKey, Tables, storable};
use crate::{Marked, NewMark};

impl Tables {
    pub(crate) fn mark_set(&mut self, new: NewMark) -> Marked {
        let key = (new.scope, new.name);
        let before = self.marks.get(&key).copied().filter(|until| *until > new.now);
        let until = storable(new.until);
        if before.is_none_or(|before| before < until) {
            self.mark_put(key, until);
        }
        if before.is_some() { Marked::Known } else { Marked::Fresh }
    }

    pub(crate) fn mark_is_set(&self, scope: &str, names: &[String], now: UnixTime) -> bool {
        let is_set = |name: &String| {
            self.marks.get(&(scope.to_owned(), name.clone())).is_some_and(|until| *until > now)
        };
        names.iter().any(is_set)
    }

    pub(crate) fn mark_count(&self) -> u64 {
        u64::try_from(self.marks.len()).unwrap_or(u64::MAX)
    }

    pub(crate) fn mark_sweep(&mut self, now: UnixTime, limit: u32) -> u64 {
        let past = self.indexes.by_until.iter().take_while(|(until, _)| *until <= now).take(limit as usize);
        let past: Vec<MarkKey> = past.map(|(_, key)| key.clone()).collect();
        for key in &past {
            if let Some(until) = self.marks.remove(key) {
                self.indexes.by_until.remove(&(until, key.clone()));
            }
        }
        u64::try_from(past.len()).unwrap_or(u64::MAX)
    }

    pub(crate) fn mark_put(&mut self, key: MarkKey, until: UnixTime) {
        self.indexes.by_until.insert((until, key.clone()));
        if let Some(before) = self.marks.put(key.clone(), until).filter(|before| *before != until) {
            self.indexes.by_until.remove(&(before, key));
        }
    }
}

//! Purchases: written by who has read them as they are, found when they are due.

use tollway_core::{AuthorizationKey, UnixTime};

use super::{Tables, storable};
use crate::Purchase;

/// One, but for its key.
#[derive(Clone, Debug)]
pub(crate) struct PurchaseRow {
    pub(crate) version: u64,
    pub(crate) body: String,
    pub(crate) due: UnixTime,
    pub(crate) until: UnixTime,
}

impl Tables {
    pub(crate) fn purchase_put(&mut self, purchase: Purchase) -> bool {
        let Purchase { key, version, body, due, until } = purchase;
        if self.purchases.get(&key).map_or(0, |row| row.version) != version {
            return false;
        }
        let (due, until) = (storable(due), storable(until));
        self.purchase_write(key, PurchaseRow { version: version.saturating_add(1), body, due, until });
        true
    }

    pub(crate) fn purchase_get(&self, key: &AuthorizationKey) -> Option<Purchase> {
        self.purchases.get(key).map(|row| row.purchase(key))
    }

    pub(crate) fn purchase_list(&self, after: Option<&AuthorizationKey>, limit: u32) -> Vec<Purchase> {
        let rest = self.purchases.iter().skip_while(|(key, _)| after.is_some_and(|after| *key <= after));
        rest.take(limit as usize).map(|(key, row)| row.purchase(key)).collect()
    }

    pub(crate) fn purchase_due(&mut self, now: UnixTime, retry_at: UnixTime, limit: u32) -> Vec<Purchase> {
        let due = self.indexes.by_due.iter().take_while(|(at, _)| *at <= now).take(limit as usize);
        let due: Vec<_> = due.map(|(_, key)| key.clone()).collect();
        let taken = due.into_iter().filter_map(|key| {
            let mut row = self.purchases.get(&key)?.clone();
            row.version = row.version.saturating_add(1);
            row.due = storable(retry_at);
            self.purchase_write(key.clone(), row.clone());
            Some(row.purchase(&key))
        });
        taken.collect()
    }

    pub(crate) fn purchase_sweep(&mut self, now: UnixTime, limit: u32) -> u64 {
        let past = self.indexes.by_purchase_until.iter().take_while(|(until, _)| *until <= now);
        let past: Vec<_> = past.take(limit as usize).map(|(_, key)| key.clone()).collect();
        for key in &past {
            if let Some(row) = self.purchases.remove(key) {
                self.indexes.by_due.remove(&(row.due, key.clone()));
                self.indexes.by_purchase_until.remove(&(row.until, key.clone()));
            }
        }
        u64::try_from(past.len()).unwrap_or(u64::MAX)
    }

    pub(crate) fn purchase_write(&mut self, key: AuthorizationKey, row: PurchaseRow) {
        let (due, until) = ((row.due, key.clone()), (row.until, key.clone()));
        if let Some(before) = self.purchases.put(key.clone(), row) {
            self.indexes.by_due.remove(&(before.due, key.clone()));
            self.indexes.by_purchase_until.remove(&(before.until, key));
        }
        self.indexes.by_due.insert(due);
        self.indexes.by_purchase_until.insert(until);
    }
}

impl PurchaseRow {
    pub(crate) fn purchase(&self, key: &AuthorizationKey) -> Purchase {
        let Self { version, body, due, until } = self.clone();
        Purchase { key: key.clone(), version, body, due, until }
    }
}

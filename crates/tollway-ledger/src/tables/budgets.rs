//! Budgets: sums of what is held, none above its limit.

use std::collections::BTreeMap;

use tollway_core::{Amount, UnixTime};

use super::{BudgetKey, Tables, storable};
use crate::{Budget, Hold, NewHold, OverBudget};

/// What is counted in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BudgetRow {
    pub(crate) until: UnixTime,
    pub(crate) amount: Amount,
}

impl Tables {
    pub(crate) fn budget_get(&self, windows: &[(String, UnixTime)]) -> Vec<Amount> {
        let keys = windows.iter().map(|(name, window)| (name.clone(), storable(*window)));
        keys.map(|key| self.budgets.get(&key).map_or(Amount::ZERO, |row| row.amount)).collect()
    }

    pub(crate) fn budget_list(
        &self,
        prefix: &str,
        after: Option<&(String, UnixTime)>,
        limit: u32,
    ) -> Vec<Budget> {
        let begins = |name: &str| name.starts_with(prefix);
        let rows = self.budgets.range((prefix.to_owned(), UnixTime(0))..);
        let rows = rows.take_while(|((name, _), _)| begins(name));
        let rows = rows.filter(|(key, _)| after.is_none_or(|after| *key > after));
        rows.take(limit as usize).map(|(key, row)| row.budget(key)).collect()
    }

    pub(crate) fn budget_sweep(&mut self, before: UnixTime, limit: u32) -> u64 {
        let past = self.indexes.by_budget_until.iter().take_while(|(until, _)| *until <= before);
        let past: Vec<BudgetKey> = past.take(limit as usize).map(|(_, key)| key.clone()).collect();
        for key in &past {
            if let Some(row) = self.budgets.remove(key) {
                self.indexes.by_budget_until.remove(&(row.until, key.clone()));
            }
        }
        u64::try_from(past.len()).unwrap_or(u64::MAX)
    }

    /// The budgets as they are after the release and then the holds. A window that was forgotten has nothing to release.
    pub(super) fn budgets_after(
        &self,
        release: &[Hold],
        add: &[NewHold],
    ) -> Result<BTreeMap<BudgetKey, BudgetRow>, OverBudget> {
        let mut after: BTreeMap<BudgetKey, BudgetRow> = BTreeMap::new();
        for hold in release {
            let key = (hold.budget.clone(), hold.window);
            let Some(row) = after.get(&key).or_else(|| self.budgets.get(&key)) else { continue };
            let amount = row.amount.checked_sub(hold.amount).unwrap_or(Amount::ZERO);
            after.insert(key, BudgetRow { until: row.until, amount });
        }
        for NewHold { hold, limit } in add {
            let key = (hold.budget.clone(), storable(hold.window));
            let none = BudgetRow { until: UnixTime(0), amount: Amount::ZERO };
            let row = after.get(&key).or_else(|| self.budgets.get(&key)).copied().unwrap_or(none);
            let Some(amount) = row.amount.checked_add(hold.amount).filter(|sum| sum <= limit) else {
                let (budget, window) = key;
                return Err(OverBudget { budget, window, held: row.amount, limit: *limit });
            };
            after.insert(key, BudgetRow { until: row.until.max(storable(hold.until)), amount });
        }
        Ok(after)
    }

    pub(crate) fn budget_write(&mut self, key: BudgetKey, row: BudgetRow) {
        if let Some(before) = self.budgets.put(key.clone(), row) {
            self.indexes.by_budget_until.remove(&(before.until, key.clone()));
        }
        self.indexes.by_budget_until.insert((row.until, key));
    }
}

impl BudgetRow {
    pub(crate) fn budget(self, (name, window): &BudgetKey) -> Budget {
        Budget { name: name.clone(), window: *window, until: self.until, amount: self.amount }
    }
}

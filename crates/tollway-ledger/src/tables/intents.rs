//! Intents: opened once, written by who has read them as they are, found when they are due.

use tollway_core::{Amount, UnixTime};

use super::{Tables, storable};
use crate::{
    Changed, Condition, Fact, Hold, Intent, IntentChange, IntentId, IntentQuery, Member, NewHold, NewIntent,
    Opened, OverBudget,
};

/// Why an intent is not written.
enum Obstacle {
    OverBudget(OverBudget),
    Unmet(Fact),
}

impl Tables {
    pub(crate) fn intent_open(&mut self, new: NewIntent) -> Opened {
        let NewIntent { mut intent, holds, conditions, is_synced: _, now } = new;
        let named = intent.key.as_ref().and_then(|key| self.intent_named(&intent.wallet, key));
        if let Some(known) = self.intents.get(&intent.id).cloned() {
            return self.known(known, intent.holder.as_ref(), now);
        }
        let named = named.and_then(|id| self.intents.get(&id)).cloned();
        if let Some(known) = named.clone().filter(|named| named.is_open || named.repeat_until > now) {
            return self.known(known, intent.holder.as_ref(), now);
        }
        if let Err(obstacle) = self.admit(&conditions, &[], &holds, now) {
            return obstacle.into();
        }
        if let Some(past) = named {
            self.intent_write(Intent { key: None, version: past.version.saturating_add(1), ..past });
        }
        intent.holds = holds.into_iter().map(|new| stored(new.hold)).collect();
        intent.version = 1;
        intent.created = storable(intent.created);
        Opened::Fresh(self.intent_write(intent))
    }

    pub(crate) fn intent_take(&mut self, id: IntentId, member: &Member, now: UnixTime) -> Option<Intent> {
        let row = self.intents.get(&id)?;
        if !row.is_open || self.is_held_by_another(row, Some(member), now) {
            return None;
        }
        let version = row.version.saturating_add(1);
        let taken = Intent { holder: Some(member.clone()), version, ..row.clone() };
        Some(self.intent_write(taken))
    }

    pub(crate) fn intent_put(&mut self, change: IntentChange) -> Changed {
        let IntentChange { intent, release, add, conditions, now } = change;
        let Some(before) = self.intents.get(&intent.id).filter(|row| row.version == intent.version).cloned()
        else {
            return Changed::Stale;
        };
        let mut holds = before.holds;
        let released = released(&mut holds, &release);
        if let Err(obstacle) = self.admit(&conditions, &released, &add, now) {
            return obstacle.into();
        }
        holds.extend(add.into_iter().map(|new| stored(new.hold)));
        Changed::Done(self.intent_write(Intent {
            wallet: before.wallet,
            agent: before.agent,
            key: before.key.filter(|key| intent.key.as_ref() == Some(key)),
            created: before.created,
            version: intent.version.saturating_add(1),
            holds,
            ..intent
        }))
    }

    pub(crate) fn intent_find(&self, wallet: &str, key: &str) -> Option<Intent> {
        self.intents.get(&self.intent_named(wallet, key)?).cloned()
    }

    pub(crate) fn intent_list(&self, query: &IntentQuery) -> Vec<Intent> {
        let place = |at, id| (query.wallet.clone(), at, id);
        let least = IntentId([0; 16]);
        let mut first = place(query.from.unwrap_or(UnixTime(0)), least);
        let mut end = place(query.to.unwrap_or(UnixTime(u64::MAX)), least);
        if let Some((at, id)) = query.after {
            if query.is_newest_first {
                end = end.min(place(at, id));
            } else {
                first = first.max(place(at, following(id)));
            }
        }
        if first >= end {
            return Vec::new();
        }
        let range = self.indexes.by_created.range(first..end).map(|(.., id)| *id);
        let in_order: Box<dyn Iterator<Item = IntentId>> =
            if query.is_newest_first { Box::new(range.rev()) } else { Box::new(range) };
        let rows = in_order.filter_map(|id| self.intents.get(&id));
        let rows = rows.filter(|row| query.agent.is_none() || row.agent == query.agent);
        let rows = rows.filter(|row| query.is_open.is_none_or(|is_open| row.is_open == is_open));
        rows.take(query.limit as usize).cloned().collect()
    }

    pub(crate) fn intent_due(
        &mut self,
        wallet: &str,
        member: &Member,
        now: UnixTime,
        retry_at: UnixTime,
        limit: u32,
    ) -> Vec<Intent> {
        let place = |at, id| (wallet.to_owned(), at, IntentId([id; 16]));
        let due = self.indexes.due_intents.range(place(UnixTime(0), 0)..=place(now, u8::MAX));
        let rows = due.filter_map(|(.., id)| self.intents.get(id));
        let free = rows.filter(|row| !self.is_held_by_another(row, Some(member), now));
        let free: Vec<_> = free.take(limit as usize).cloned().collect();
        let taken = free.into_iter().map(|row| {
            let version = row.version.saturating_add(1);
            self.intent_write(Intent { holder: Some(member.clone()), due: retry_at, version, ..row })
        });
        taken.collect()
    }

    pub(crate) fn intent_count(&self, wallet: &str) -> u64 {
        let first = (wallet.to_owned(), UnixTime(0), IntentId([0; 16]));
        let of_wallet = self.indexes.by_created.range(first..).take_while(|(of, ..)| of == wallet);
        u64::try_from(of_wallet.count()).unwrap_or(u64::MAX)
    }

    pub(crate) fn intent_sweep(&mut self, now: UnixTime, limit: u32) -> u64 {
        let past = self.indexes.closed_intents.iter().take_while(|(until, _)| *until <= now);
        let past: Vec<_> = past.take(limit as usize).map(|(_, id)| *id).collect();
        for id in &past {
            self.intent_remove(*id);
        }
        u64::try_from(past.len()).unwrap_or(u64::MAX)
    }

    /// Forgets the closed intent that ends first; false if there is none.
    pub(super) fn intent_forget_first(&mut self) -> bool {
        let Some((_, id)) = self.indexes.closed_intents.first().copied() else { return false };
        self.intent_remove(id);
        true
    }

    /// Writes a row as every store can hold it.
    pub(crate) fn intent_write(&mut self, mut row: Intent) -> Intent {
        row.repeat_until = storable(row.repeat_until);
        row.until = storable(row.until).max(row.repeat_until);
        row.due = storable(row.due);
        if let Some(before) = self.intents.put(row.id, row.clone()) {
            self.intent_unlist(&before);
        }
        if let Some(key) = &row.key {
            self.indexes.by_intent_key.insert((row.wallet.clone(), key.clone()), row.id);
        }
        self.indexes.by_created.insert((row.wallet.clone(), row.created, row.id));
        if row.is_open {
            self.indexes.due_intents.insert((row.wallet.clone(), row.due, row.id));
        } else {
            self.indexes.closed_intents.insert((row.until, row.id));
        }
        row
    }

    fn intent_remove(&mut self, id: IntentId) {
        if let Some(before) = self.intents.remove(&id) {
            self.intent_unlist(&before);
        }
    }

    fn intent_unlist(&mut self, before: &Intent) {
        if let Some(key) = &before.key {
            self.indexes.by_intent_key.remove(&(before.wallet.clone(), key.clone()));
        }
        self.indexes.by_created.remove(&(before.wallet.clone(), before.created, before.id));
        self.indexes.due_intents.remove(&(before.wallet.clone(), before.due, before.id));
        self.indexes.closed_intents.remove(&(before.until, before.id));
    }

    fn intent_named(&self, wallet: &str, key: &str) -> Option<IntentId> {
        self.indexes.by_intent_key.get(&(wallet.to_owned(), key.to_owned())).copied()
    }

    fn known(&self, intent: Intent, caller: Option<&Member>, now: UnixTime) -> Opened {
        let is_callers = caller.is_some() && intent.holder.as_ref() == caller;
        let is_held = is_callers || self.is_held_by_another(&intent, None, now);
        Opened::Known { intent, is_held }
    }

    /// Who takes over need not end the dead one's membership: its versions are past.
    fn is_held_by_another(&self, row: &Intent, caller: Option<&Member>, now: UnixTime) -> bool {
        row.holder.as_ref().is_some_and(|holder| caller != Some(holder) && self.is_alive(holder, now))
    }

    /// Checks all, and only then writes facts and budgets.
    fn admit(
        &mut self,
        conditions: &[Condition],
        release: &[Hold],
        add: &[NewHold],
        now: UnixTime,
    ) -> Result<(), Obstacle> {
        let facts = self.facts_after(conditions, now).map_err(Obstacle::Unmet)?;
        let budgets = self.budgets_after(release, add).map_err(Obstacle::OverBudget)?;
        for (key, row) in facts {
            self.fact_write(key, row);
        }
        for (key, row) in budgets {
            self.budget_write(key, row);
        }
        Ok(())
    }
}

impl From<Obstacle> for Opened {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::OverBudget(over) => Self::OverBudget(over),
            Obstacle::Unmet(fact) => Self::Unmet(fact),
        }
    }
}

impl From<Obstacle> for Changed {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::OverBudget(over) => Self::OverBudget(over),
            Obstacle::Unmet(fact) => Self::Unmet(fact),
        }
    }
}

/// Takes `release` out of what is held; what came out.
fn released(holds: &mut Vec<Hold>, release: &[Hold]) -> Vec<Hold> {
    let mut out = Vec::new();
    for asked in release {
        let mut left = asked.amount;
        for hold in holds.iter_mut() {
            if (&hold.budget, hold.window) != (&asked.budget, storable(asked.window)) {
                continue;
            }
            let amount = left.min(hold.amount);
            left = left.checked_sub(amount).unwrap_or(Amount::ZERO);
            hold.amount = hold.amount.checked_sub(amount).unwrap_or(Amount::ZERO);
            out.push(Hold { amount, ..hold.clone() });
        }
        holds.retain(|hold| hold.amount != Amount::ZERO);
    }
    out
}

fn stored(hold: Hold) -> Hold {
    Hold { window: storable(hold.window), until: storable(hold.until), ..hold }
}

/// The first name behind this one.
fn following(id: IntentId) -> IntentId {
    let next = u128::from_be_bytes(id.0).checked_add(1);
    IntentId(next.map_or([u8::MAX; 16], u128::to_be_bytes))
}

//! How much a ledger in memory takes of what must never be forgotten to make room: facts, budgets, channels. A switch that is
//! forgotten is off, a budget that is forgotten is empty, a channel that is forgotten is charged anew. So who is full says no.

use std::collections::BTreeSet;

use tollway_core::UnixTime;

use crate::tables::{BudgetKey, ChannelId, FactKey, Tables, storable};
use crate::{Condition, LedgerError, NewHold};

/// How many facts there may be.
const MOST_FACTS: usize = 100_000;
/// How many windows of budgets.
const MOST_BUDGETS: usize = 100_000;
/// How many channels.
const MOST_CHANNELS: usize = 100_000;
/// How many that are past their time are forgotten at once where there is no room.
const SWEPT: u32 = 10_000;

/// The most of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) facts: usize,
    pub(crate) budgets: usize,
    pub(crate) channels: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { facts: MOST_FACTS, budgets: MOST_BUDGETS, channels: MOST_CHANNELS }
    }
}

impl Room {
    /// Whether one more fact fits, or it is there.
    pub(crate) fn fact(self, tables: &Tables, key: &FactKey) -> Result<(), LedgerError> {
        fits("facts", self.facts, tables.facts.len(), usize::from(tables.facts.get(key).is_none()))
    }

    /// Whether one more channel fits, or it is there.
    pub(crate) fn channel(self, tables: &Tables, key: &ChannelId) -> Result<(), LedgerError> {
        fits(
            "channels",
            self.channels,
            tables.channels.len(),
            usize::from(tables.channels.get(key).is_none()),
        )
    }

    /// Whether what `conditions` and `holds` may write fits. What is past its time makes room.
    pub(crate) fn intent(
        self,
        tables: &mut Tables,
        conditions: &[Condition],
        holds: &[NewHold],
        now: UnixTime,
    ) -> Result<(), LedgerError> {
        let set = conditions.iter().filter_map(|condition| match condition {
            Condition::Absent { .. } => None,
            Condition::EqualOrSet { scope, name, .. } => Some((scope.clone(), name.clone())),
        });
        let facts: BTreeSet<FactKey> = set.filter(|key| tables.facts.get(key).is_none()).collect();
        let budgets = holds.iter().map(|new| (new.hold.budget.clone(), storable(new.hold.window)));
        let budgets: BTreeSet<BudgetKey> = budgets.filter(|key| tables.budgets.get(key).is_none()).collect();
        if tables.facts.len() + facts.len() > self.facts {
            tables.fact_sweep(now, SWEPT);
        }
        if tables.budgets.len() + budgets.len() > self.budgets {
            tables.budget_sweep(now, SWEPT);
        }
        fits("facts", self.facts, tables.facts.len(), facts.len())?;
        fits("budgets", self.budgets, tables.budgets.len(), budgets.len())
    }
}

fn fits(what: &str, most: usize, there: usize, new: usize) -> Result<(), LedgerError> {
    if new == 0 || there + new <= most {
        return Ok(());
    }
    Err(LedgerError::Unavailable(format!(
        "in memory there is room for {most} {what}: use a ledger in a file"
    )))
}

#[cfg(test)]
mod tests {
    use tollway_core::{Amount, ChannelKey, UnixTime};

    use super::Room;
    use crate::{
        Channel, Condition, Fact, Hold, Intent, IntentChange, IntentId, Ledger, LedgerError, MemoryLedger,
        NewHold, NewIntent, Opened,
    };

    const NOW: UnixTime = UnixTime(1_000);

    fn ledger() -> MemoryLedger {
        MemoryLedger::within(Room { facts: 2, budgets: 2, channels: 2 })
    }

    fn fact(name: &str, version: u64) -> Fact {
        let (scope, value, until) = ("s".to_owned(), String::new(), UnixTime(u64::MAX));
        Fact { scope, name: name.to_owned(), version, value, until }
    }

    fn is_full<T: std::fmt::Debug>(answer: Result<T, LedgerError>, what: &str) -> bool {
        let full = format!("in memory there is room for 2 {what}: use a ledger in a file");
        matches!(answer, Err(LedgerError::Unavailable(why)) if why == full)
    }

    /// A purchase that is counted in a budget that ends at `until`, and pins a fact.
    fn purchase(number: u8, budget: &str, until: u64, fact: Option<&str>) -> NewIntent {
        let intent = Intent {
            id: IntentId([number; 16]),
            wallet: "w".to_owned(),
            agent: None,
            key: None,
            version: 0,
            holder: None,
            is_open: true,
            repeat_until: NOW,
            due: NOW,
            created: NOW,
            until: NOW,
            holds: Vec::new(),
            body: String::new(),
        };
        let hold = Hold {
            budget: budget.to_owned(),
            window: UnixTime(0),
            until: UnixTime(until),
            amount: Amount::from(1_u64),
        };
        let conditions = fact.map(|name| Condition::EqualOrSet {
            scope: "s".to_owned(),
            name: name.to_owned(),
            value: String::new(),
            until: UnixTime(u64::MAX),
        });
        let holds = vec![NewHold { hold, limit: Amount::MAX }];
        NewIntent { intent, holds, conditions: conditions.into_iter().collect(), is_synced: true, now: NOW }
    }

    #[tokio::test]
    async fn a_full_ledger_takes_no_new_fact_and_keeps_those_it_has() {
        let ledger = ledger();
        for name in ["a", "b"] {
            assert!(ledger.fact_put(fact(name, 0)).await.unwrap());
        }
        assert!(is_full(ledger.fact_put(fact("c", 0)).await, "facts"));
        assert!(ledger.fact_put(fact("a", 1)).await.unwrap(), "what is there is written on");
        assert!(is_full(ledger.intent_open(purchase(1, "day", 2_000, Some("c"))).await, "facts"));
        assert_eq!(ledger.intent_count("w").await.unwrap(), 0, "nothing is half done");
        let opened = ledger.intent_open(purchase(1, "day", 2_000, Some("b"))).await.unwrap();
        assert!(matches!(opened, Opened::Fresh(_)));
        assert!(ledger.fact_remove("s", "b", 1).await.unwrap());
        assert!(ledger.fact_put(fact("c", 0)).await.unwrap(), "what is removed makes room");
    }

    #[tokio::test]
    async fn a_full_ledger_takes_no_new_budget_until_a_window_has_ended() {
        let ledger = ledger();
        for (number, budget, until) in [(1, "past", 900), (2, "day", 2_000), (3, "day", 2_000)] {
            let opened = ledger.intent_open(purchase(number, budget, until, None)).await.unwrap();
            assert!(matches!(opened, Opened::Fresh(_)), "{number}");
        }
        // The one that has ended makes room, the others do not.
        let opened = ledger.intent_open(purchase(4, "month", 2_000, None)).await.unwrap();
        assert!(matches!(opened, Opened::Fresh(_)));
        let intent = ledger.intent_get(IntentId([4; 16])).await.unwrap().unwrap();
        assert!(is_full(ledger.intent_open(purchase(5, "life", 2_000, None)).await, "budgets"));
        let add = purchase(6, "life", 2_000, None).holds;
        let change = IntentChange { add, ..IntentChange::new(intent, NOW) };
        assert!(is_full(ledger.intent_put(change).await, "budgets"));
        let held = ledger.budget_get(&[("day".to_owned(), UnixTime(0))]).await.unwrap();
        assert_eq!(held, [2.into()], "what is counted stays counted");
    }

    #[tokio::test]
    async fn a_full_ledger_takes_no_new_channel_and_writes_on_those_it_has() {
        let ledger = ledger();
        let channel = |name: &str, version: u64| Channel {
            scope: "s".to_owned(),
            id: ChannelKey::new(name),
            version,
            charged: Amount::ZERO,
            signed: Amount::ZERO,
            claimed: Amount::ZERO,
            proof: String::new(),
            request: None,
            repeats: 0,
            body: String::new(),
            holder: None,
            used_at: NOW,
            due: NOW,
        };
        for name in ["a", "b"] {
            assert!(ledger.channel_put(channel(name, 0), None, NOW).await.unwrap());
        }
        assert!(is_full(ledger.channel_put(channel("c", 0), None, NOW).await, "channels"));
        assert!(ledger.channel_put(channel("a", 1), None, NOW).await.unwrap());
        assert_eq!(ledger.channel_count("s").await.unwrap(), 2);
    }
}

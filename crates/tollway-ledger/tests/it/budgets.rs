//! Budgets: none goes above a limit, and each is the sum of what is held.

use std::collections::BTreeMap;

use tollway_core::{Amount, UnixTime};
use tollway_ledger::{
    Budget, Changed, Condition, Hold, Intent, IntentChange, IntentId, IntentQuery, Ledger, NewHold, Opened,
    OverBudget,
};

use crate::records::{NOW, hold, intent, opening};

async fn amounts(ledger: &dyn Ledger, names: &[&str]) -> Vec<Amount> {
    let windows: Vec<_> = names.iter().map(|name| ((*name).to_owned(), NOW)).collect();
    ledger.budget_get(&windows).await.unwrap()
}

async fn open(ledger: &dyn Ledger, number: u8, holds: Vec<NewHold>) -> Intent {
    match ledger.intent_open(opening(intent(number), holds)).await.unwrap() {
        Opened::Fresh(row) => row,
        other => panic!("not fresh: {other:?}"),
    }
}

pub(crate) async fn no_hold_goes_above_its_limit_and_nothing_is_half_counted(ledger: &dyn Ledger) {
    open(ledger, 1, vec![hold("day", 7, 10), hold("é' hour", 3, 5)]).await;
    let over = |budget: &str, held: u64, limit: u64| OverBudget {
        budget: budget.to_owned(),
        window: NOW,
        held: held.into(),
        limit: limit.into(),
    };
    for (holds, expected) in [
        (vec![hold("é' hour", 1, 5), hold("day", 4, 10)], over("day", 7, 10)),
        (vec![hold("day", 2, 10), hold("day", 2, 10)], over("day", 9, 10)),
        (vec![hold("é' hour", 1, 5), hold("é' hour", 1, 3)], over("é' hour", 4, 3)),
    ] {
        let refused = ledger.intent_open(opening(intent(2), holds)).await.unwrap();
        assert_eq!(refused, Opened::OverBudget(expected));
    }
    let mut all = hold("day", 0, 0);
    (all.hold.amount, all.limit) = (Amount::MAX, Amount::MAX);
    let refused = ledger.intent_open(opening(intent(2), vec![all])).await.unwrap();
    assert!(matches!(refused, Opened::OverBudget(_)), "a sum that nobody can write is none: {refused:?}");
    assert_eq!(ledger.intent_get(IntentId([2; 16])).await.unwrap(), None);
    assert_eq!(amounts(ledger, &["day", "none", "é' hour"]).await, [7.into(), Amount::ZERO, 3.into()]);
    // Up to the limit, not beyond; the next window is another.
    open(ledger, 2, vec![hold("day", 3, 10)]).await;
    let mut next = hold("day", 10, 10);
    next.hold.window = UnixTime(1_060);
    open(ledger, 3, vec![next]).await;
    let windows = [("day".to_owned(), UnixTime(1_060)), ("day".to_owned(), NOW)];
    assert_eq!(ledger.budget_get(&windows).await.unwrap(), [10.into(), 10.into()]);
}

pub(crate) async fn what_is_released_is_released_once(ledger: &dyn Ledger) {
    open(ledger, 1, vec![hold("day", 5, 10)]).await;
    let row = open(ledger, 2, vec![hold("day", 4, 10), hold("hour", 4, 10)]).await;
    let part = Hold { amount: 1.into(), ..row.holds[0].clone() };
    let foreign = hold("other", 3, 10).hold;
    let change = IntentChange { release: vec![part, foreign], ..IntentChange::new(row.clone(), NOW) };
    let Changed::Done(row) = ledger.intent_put(change).await.unwrap() else { panic!("not written") };
    assert_eq!(row.holds, [hold("day", 3, 0).hold, hold("hour", 4, 0).hold]);
    assert_eq!(amounts(ledger, &["day", "hour", "other"]).await, [8.into(), 4.into(), Amount::ZERO]);
    let more = Hold { amount: 100.into(), ..row.holds[0].clone() };
    let change = IntentChange { release: vec![more.clone(), more], ..IntentChange::new(row.clone(), NOW) };
    let Changed::Done(after) = ledger.intent_put(change.clone()).await.unwrap() else {
        panic!("not written")
    };
    assert_eq!(after.holds, [hold("hour", 4, 0).hold]);
    assert_eq!(amounts(ledger, &["day"]).await, [5.into()], "what others hold stays");
    assert_eq!(ledger.intent_put(change).await.unwrap(), Changed::Stale);
    let change = IntentChange { release: row.holds, ..IntentChange::new(after, NOW) };
    let Changed::Done(last) = ledger.intent_put(change).await.unwrap() else { panic!("not written") };
    assert_eq!(last.holds, []);
    assert_eq!(amounts(ledger, &["day", "hour"]).await, [5.into(), Amount::ZERO]);
}

pub(crate) async fn a_change_releases_first_and_is_all_or_nothing(ledger: &dyn Ledger) {
    let row = open(ledger, 1, vec![hold("day", 9, 10)]).await;
    let change = |add: Vec<NewHold>| IntentChange {
        release: row.holds.clone(),
        add,
        ..IntentChange::new(Intent { body: "anew".to_owned(), ..row.clone() }, NOW)
    };
    let refused = ledger.intent_put(change(vec![hold("day", 11, 10)])).await.unwrap();
    assert!(matches!(refused, Changed::OverBudget(over) if over.held == Amount::ZERO));
    assert_eq!(ledger.intent_get(row.id).await.unwrap(), Some(row.clone()));
    assert_eq!(amounts(ledger, &["day"]).await, [9.into()]);
    let set = |value: &str| Condition::EqualOrSet {
        scope: "pin".to_owned(),
        name: "host".to_owned(),
        value: value.to_owned(),
        until: UnixTime(u64::MAX),
    };
    let pinned = IntentChange { conditions: vec![set("a")], ..change(vec![hold("day", 10, 10)]) };
    let Changed::Done(after) = ledger.intent_put(pinned).await.unwrap() else { panic!("not written") };
    assert_eq!((&*after.body, after.holds.clone()), ("anew", vec![hold("day", 10, 0).hold]));
    assert_eq!(amounts(ledger, &["day"]).await, [10.into()]);
    let unmet = IntentChange { conditions: vec![set("b")], ..IntentChange::new(after.clone(), NOW) };
    assert!(matches!(ledger.intent_put(unmet).await.unwrap(), Changed::Unmet(fact) if fact.value == "a"));
    assert_eq!(ledger.intent_get(after.id).await.unwrap(), Some(after));
}

pub(crate) async fn windows_are_listed_by_prefix_and_forgotten_after_their_end(ledger: &dyn Ledger) {
    for (number, (name, begins, until)) in
        (1..).zip([("w|day", 0, 100), ("w|day", 100, 200), ("w|é", 0, u64::MAX), ("w", 0, 50), ("x", 0, 50)])
    {
        let mut new = hold(name, 2, 2);
        (new.hold.window, new.hold.until) = (UnixTime(begins), UnixTime(until));
        open(ledger, number, vec![new]).await;
    }
    let row = |name: &str, begins, until| Budget {
        name: name.to_owned(),
        window: UnixTime(begins),
        until: UnixTime(until),
        amount: 2.into(),
    };
    let end = i64::MAX.unsigned_abs();
    let days = [row("w|day", 0, 100), row("w|day", 100, 200), row("w|é", 0, end)];
    assert_eq!(ledger.budget_list("w|", None, 10).await.unwrap(), days);
    let after = ("w|day".to_owned(), UnixTime(0));
    assert_eq!(ledger.budget_list("w|", Some(&after), 1).await.unwrap(), days[1..2]);
    assert_eq!(ledger.budget_list("w|d", Some(&after), 10).await.unwrap(), days[1..2]);
    assert_eq!(ledger.budget_list("", None, 10).await.unwrap().len(), 5);
    assert_eq!(ledger.budget_sweep(UnixTime(49), 10).await.unwrap(), 0);
    assert_eq!(ledger.budget_sweep(UnixTime(100), 2).await.unwrap(), 2);
    assert_eq!(ledger.budget_sweep(UnixTime(100), 2).await.unwrap(), 1);
    assert_eq!(ledger.budget_list("", None, 10).await.unwrap(), days[1..]);
    // What was held in a window that is forgotten is given back to nobody.
    let held = ledger.intent_get(IntentId([1; 16])).await.unwrap().unwrap();
    let change = IntentChange { release: held.holds.clone(), ..IntentChange::new(held, NOW) };
    assert!(matches!(ledger.intent_put(change).await.unwrap(), Changed::Done(row) if row.holds.is_empty()));
    assert_eq!(ledger.budget_list("", None, 10).await.unwrap(), days[1..]);
}

/// Random openings, releases and further holds, always the same ones.
pub(crate) async fn every_budget_is_the_sum_of_what_is_held_and_within_its_limit(ledger: &dyn Ledger) {
    const LIMITS: [(&str, u64); 3] = [("a", 9), ("b", 14), ("c", 5)];
    let mut seed = 20_251_120_u64;
    let mut pick = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let (mut written, mut refused) = (0, 0);
    for _ in 0..150 {
        let id = u8::try_from(pick(12)).unwrap();
        let mut holds = Vec::new();
        for _ in 0..pick(3) {
            let (name, limit) = LIMITS[usize::try_from(pick(3)).unwrap()];
            holds.push(hold(name, pick(4), limit));
        }
        let row = ledger.intent_get(IntentId([id; 16])).await.unwrap();
        let is_refused = match row {
            None => {
                matches!(ledger.intent_open(opening(intent(id), holds)).await.unwrap(), Opened::OverBudget(_))
            }
            Some(row) => {
                let mut change = IntentChange { add: holds, ..IntentChange::new(row, NOW) };
                for hold in &change.intent.holds {
                    let amount = if pick(2) == 0 { pick(5) } else { 0 };
                    change.release.push(Hold { amount: amount.into(), ..hold.clone() });
                }
                matches!(ledger.intent_put(change).await.unwrap(), Changed::OverBudget(_))
            }
        };
        if is_refused {
            refused += 1
        } else {
            written += 1
        }
        let query = IntentQuery { wallet: "w".to_owned(), limit: 100, ..IntentQuery::default() };
        let mut sums: BTreeMap<String, Amount> = BTreeMap::new();
        for hold in ledger.intent_list(query).await.unwrap().iter().flat_map(|row| &row.holds) {
            let sum = sums.entry(hold.budget.clone()).or_insert(Amount::ZERO);
            *sum = sum.checked_add(hold.amount).unwrap();
        }
        let names = LIMITS.map(|(name, _)| name);
        for ((name, limit), amount) in LIMITS.iter().zip(amounts(ledger, &names).await) {
            assert_eq!(amount, sums.get(*name).copied().unwrap_or(Amount::ZERO), "{name}");
            assert!(amount <= Amount::from(*limit), "{name}: {amount} of {limit}");
        }
    }
    assert!(written > 30 && refused > 10, "both happen: {written} written, {refused} refused");
}

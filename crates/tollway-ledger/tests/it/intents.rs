//! Intents: one for a key, one writer at a time, and nobody forgets what is due.

use tollway_core::UnixTime;
use tollway_ledger::{Changed, Intent, IntentChange, IntentId, IntentQuery, Ledger, Member, Opened};

use crate::records::{LATER, NOW, UNTIL, buyer, hold, intent, opening};

async fn open(ledger: &dyn Ledger, intent: Intent) -> Intent {
    match ledger.intent_open(opening(intent, Vec::new())).await.unwrap() {
        Opened::Fresh(row) => row,
        other => panic!("not fresh: {other:?}"),
    }
}

async fn put(ledger: &dyn Ledger, intent: Intent) -> Option<Intent> {
    match ledger.intent_put(IntentChange::new(intent, NOW)).await.unwrap() {
        Changed::Done(row) => Some(row),
        Changed::Stale => None,
        other => panic!("neither written nor stale: {other:?}"),
    }
}

fn numbers(rows: &[Intent]) -> Vec<u8> {
    rows.iter().map(|row| row.id.0[0]).collect()
}

pub(crate) async fn an_intent_is_opened_once_by_its_name_and_its_key(ledger: &dyn Ledger) {
    let member = buyer(ledger, "a").await;
    let mut new = opening(Intent { holder: Some(member.clone()), ..intent(1) }, vec![hold("b", 3, 10)]);
    new.intent.agent = Some("é".to_owned());
    let row = Intent { version: 1, holds: vec![new.holds[0].hold.clone()], ..new.intent.clone() };
    assert_eq!(ledger.intent_open(new.clone()).await.unwrap(), Opened::Fresh(row.clone()));
    let known = Opened::Known { intent: row.clone(), is_held: true };
    assert_eq!(ledger.intent_open(new.clone()).await.unwrap(), known, "an opening is repeated by its name");
    let other = Intent { key: row.key.clone(), ..intent(2) };
    assert_eq!(ledger.intent_open(opening(other.clone(), vec![])).await.unwrap(), known);
    let late = tollway_ledger::NewIntent { now: LATER, ..opening(other, vec![]) };
    let orphan = Opened::Known { intent: row.clone(), is_held: false };
    assert_eq!(ledger.intent_open(late).await.unwrap(), orphan, "its holder is dead");
    let own = tollway_ledger::NewIntent { now: LATER, ..new.clone() };
    assert_eq!(ledger.intent_open(own).await.unwrap(), known, "who asks lives");
    // Elsewhere the key is free, and none is no key.
    let key = row.key.clone();
    open(ledger, Intent { wallet: "x".to_owned(), key, ..intent(3) }).await;
    open(ledger, Intent { key: None, ..intent(4) }).await;
    open(ledger, Intent { key: None, ..intent(5) }).await;
    assert_eq!(ledger.intent_get(row.id).await.unwrap(), Some(row.clone()));
    assert_eq!(ledger.intent_find("w", "é' 1").await.unwrap(), Some(row));
    assert_eq!(ledger.intent_find("w", "é' 2").await.unwrap(), None);
    assert_eq!(ledger.intent_get(IntentId([9; 16])).await.unwrap(), None);
    assert_eq!(ledger.budget_get(&[("b".to_owned(), NOW)]).await.unwrap(), [3.into()], "counted once");
}

pub(crate) async fn a_closed_intent_is_known_while_it_repeats_and_then_gives_up_its_key(ledger: &dyn Ledger) {
    let row = open(ledger, intent(1)).await;
    let closed = Intent { is_open: false, repeat_until: UnixTime(1_500), until: UnixTime(1_200), ..row };
    let closed = put(ledger, closed).await.unwrap();
    assert_eq!(closed.until, UnixTime(1_500), "kept for as long as it repeats");
    let at = |now| {
        let new = opening(Intent { key: closed.key.clone(), ..intent(2) }, vec![hold("b", 3, 2)]);
        tollway_ledger::NewIntent { now: UnixTime(now), ..new }
    };
    let known = Opened::Known { intent: closed.clone(), is_held: false };
    assert_eq!(ledger.intent_open(at(1_499)).await.unwrap(), known);
    let refused = ledger.intent_open(at(1_500)).await.unwrap();
    assert!(matches!(refused, Opened::OverBudget(_)), "{refused:?}");
    assert_eq!(ledger.intent_get(closed.id).await.unwrap(), Some(closed.clone()), "all or nothing");
    let mut again = at(1_500);
    again.holds.clear();
    assert!(matches!(ledger.intent_open(again).await.unwrap(), Opened::Fresh(_)));
    assert_eq!(ledger.intent_find("w", "é' 1").await.unwrap().map(|row| row.id), Some(IntentId([2; 16])));
    let past = ledger.intent_get(closed.id).await.unwrap().unwrap();
    assert_eq!((past.key, past.version), (None, closed.version + 1));
}

pub(crate) async fn an_intent_is_written_by_who_has_read_it_as_it_is(ledger: &dyn Ledger) {
    let member = buyer(ledger, "a").await;
    let row = open(ledger, intent(1)).await;
    assert_eq!(put(ledger, Intent { version: 0, ..row.clone() }).await, None);
    assert_eq!(put(ledger, Intent { version: 2, ..row.clone() }).await, None);
    assert_eq!(put(ledger, intent(2)).await, None, "there is none");
    let body = "signed é' \\\" {}".to_owned();
    let change = Intent {
        wallet: "x".to_owned(),
        agent: Some("x".to_owned()),
        created: UnixTime(1),
        holds: vec![hold("b", 3, 10).hold],
        holder: Some(member),
        due: UnixTime(u64::MAX),
        body,
        ..row.clone()
    };
    let second = put(ledger, change.clone()).await.unwrap();
    let Intent { wallet, agent, created, holds, .. } = row.clone();
    let due = UnixTime(i64::MAX.unsigned_abs());
    let expected = Intent { wallet, agent, created, holds, due, version: 2, ..change };
    assert_eq!(second, expected, "whose it is, since when and what it counts are not written this way");
    assert_eq!(ledger.intent_get(row.id).await.unwrap(), Some(expected));
    assert_eq!(put(ledger, row).await, None, "it was written since");
    let renamed = Intent { key: Some("other".to_owned()), ..second };
    let third = put(ledger, renamed).await.unwrap();
    assert_eq!((third.key, third.version), (None, 3), "a key is dropped, never changed");
    assert_eq!(ledger.intent_find("w", "other").await.unwrap(), None);
    open(ledger, Intent { id: IntentId([7; 16]), ..intent(1) }).await;
}

pub(crate) async fn an_intent_is_held_by_one_living_member(ledger: &dyn Ledger) {
    let (first, second) = (buyer(ledger, "a").await, buyer(ledger, "b").await);
    ledger.member_renew(&second, NOW, UnixTime(2_000)).await.unwrap();
    let row = open(ledger, intent(1)).await;
    let taken = ledger.intent_take(row.id, &first, NOW).await.unwrap().unwrap();
    assert_eq!(taken, Intent { holder: Some(first.clone()), version: 2, ..row });
    assert_eq!(ledger.intent_take(taken.id, &second, NOW).await.unwrap(), None);
    assert_eq!(ledger.intent_take(taken.id, &first, LATER).await.unwrap().map(|row| row.version), Some(3));
    let over = ledger.intent_take(taken.id, &second, UNTIL).await.unwrap().unwrap();
    assert_eq!(
        (over.holder.clone(), over.version),
        (Some(second.clone()), 4),
        "the dead are taken over from"
    );
    assert_eq!(put(ledger, taken.clone()).await, None, "and can write nothing more");
    let again = ledger.member_join(tollway_ledger::Role::Buyer, "b", LATER, UnixTime(2_000)).await.unwrap();
    let own = ledger.intent_take(taken.id, &again, LATER).await.unwrap();
    assert!(own.is_some(), "who starts again takes over from itself");
    let closed = put(ledger, Intent { is_open: false, holder: None, ..own.unwrap() }).await.unwrap();
    assert_eq!(ledger.intent_take(closed.id, &again, LATER).await.unwrap(), None, "nothing is left to do");
    assert_eq!(ledger.intent_take(IntentId([9; 16]), &again, LATER).await.unwrap(), None);
}

pub(crate) async fn intents_that_are_due_are_taken_by_one_at_a_time(ledger: &dyn Ledger) {
    let (first, second) = (buyer(ledger, "a").await, buyer(ledger, "b").await);
    ledger.member_renew(&second, NOW, UnixTime(2_000)).await.unwrap();
    let due = |number, at| Intent { due: UnixTime(at), ..intent(number) };
    open(ledger, due(1, 30)).await;
    open(ledger, due(2, 10)).await;
    open(ledger, Intent { holder: Some(first.clone()), ..due(3, 20) }).await;
    open(ledger, Intent { wallet: "x".to_owned(), ..due(4, 10) }).await;
    open(ledger, Intent { is_open: false, ..due(5, 10) }).await;
    let take = async |member: &Member, now, limit| {
        ledger.intent_due("w", member, UnixTime(now), UnixTime(1_500), limit).await.unwrap()
    };
    assert_eq!(take(&second, 9, 5).await, []);
    let one = take(&second, 30, 1).await;
    assert_eq!(numbers(&one), [2], "longest due first");
    let row = &one[0];
    assert_eq!((row.holder.as_ref(), row.version, row.due), (Some(&second), 2, UnixTime(1_500)));
    assert_eq!(ledger.intent_get(row.id).await.unwrap().as_ref(), Some(row));
    assert_eq!(numbers(&take(&second, 30, 5).await), [1], "the living keep what they hold");
    assert_eq!(
        numbers(&take(&first, 30, 5).await),
        [3],
        "what the caller holds itself is told when it is due"
    );
    assert_eq!(numbers(&take(&first, 1_499, 5).await), [0_u8; 0]);
    let mut left = take(&second, 1_500, 5).await;
    left.sort_by_key(|row| row.id);
    assert_eq!(numbers(&left), [1, 2, 3], "what nobody finished is due again; the dead hold nothing");
}

pub(crate) async fn intents_are_listed_in_both_orders_and_page(ledger: &dyn Ledger) {
    for (number, created) in [(3, 100), (1, 100), (2, 50), (4, 200)] {
        let agent = (number % 2 == 1).then(|| "odd".to_owned());
        let is_open = number < 3;
        open(ledger, Intent { created: UnixTime(created), agent, is_open, ..intent(number) }).await;
    }
    open(ledger, Intent { wallet: "x".to_owned(), ..intent(5) }).await;
    let all = IntentQuery { wallet: "w".to_owned(), limit: 10, ..IntentQuery::default() };
    let list = async |query: IntentQuery| numbers(&ledger.intent_list(query).await.unwrap());
    assert_eq!(list(all.clone()).await, [2, 1, 3, 4]);
    assert_eq!(list(IntentQuery { is_newest_first: true, ..all.clone() }).await, [4, 3, 1, 2]);
    let behind = |number| Some((UnixTime(100), IntentId([number; 16])));
    assert_eq!(list(IntentQuery { after: behind(1), ..all.clone() }).await, [3, 4]);
    assert_eq!(list(IntentQuery { after: behind(1), is_newest_first: true, ..all.clone() }).await, [2]);
    let within =
        IntentQuery { from: Some(UnixTime(100)), to: Some(UnixTime(200)), after: behind(0), ..all.clone() };
    assert_eq!(list(within).await, [1, 3]);
    let nothing = IntentQuery { from: Some(UnixTime(101)), to: Some(UnixTime(100)), ..all.clone() };
    assert_eq!(list(nothing).await, [0_u8; 0]);
    assert_eq!(list(IntentQuery { agent: Some("odd".to_owned()), ..all.clone() }).await, [1, 3]);
    assert_eq!(list(IntentQuery { is_open: Some(false), limit: 1, ..all.clone() }).await, [3]);
    assert_eq!(list(IntentQuery { is_open: Some(true), ..all }).await, [2, 1]);
    assert_eq!(ledger.intent_count("w").await.unwrap(), 4);
    assert_eq!(ledger.intent_count("none").await.unwrap(), 0);
}

pub(crate) async fn closed_intents_are_forgotten_after_their_time_and_stay_counted(ledger: &dyn Ledger) {
    for (number, until) in [(1, 300), (2, 100), (3, 200)] {
        let new = Intent { is_open: false, until: UnixTime(until), ..intent(number) };
        let opened = ledger.intent_open(opening(new, vec![hold("b", 1, 10)])).await.unwrap();
        assert!(matches!(opened, Opened::Fresh(_)), "{opened:?}");
    }
    open(ledger, Intent { until: UnixTime(100), ..intent(4) }).await;
    assert_eq!(ledger.intent_sweep(UnixTime(99), 10).await.unwrap(), 0);
    assert_eq!(ledger.intent_sweep(UnixTime(1_000), 2).await.unwrap(), 2);
    let left = IntentQuery { wallet: "w".to_owned(), limit: 10, ..IntentQuery::default() };
    assert_eq!(
        numbers(&ledger.intent_list(left.clone()).await.unwrap()),
        [1, 4],
        "the first to end go first"
    );
    assert_eq!(ledger.intent_sweep(UnixTime(1_000), 2).await.unwrap(), 1);
    assert_eq!(numbers(&ledger.intent_list(left).await.unwrap()), [4], "what is open is never forgotten");
    assert_eq!(ledger.budget_get(&[("b".to_owned(), NOW)]).await.unwrap(), [3.into()]);
    open(ledger, Intent { id: IntentId([7; 16]), ..intent(1) }).await;
}

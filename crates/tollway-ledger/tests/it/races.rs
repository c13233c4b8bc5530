//! Two processes at once: handles that share nothing but the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollway_core::UnixTime;
use tollway_ledger::{
    Changed, ChannelCharge, Claim, Fate, Finished, Holder, Inserted, Intent, IntentChange, IntentId,
    IntentQuery, Ledger, Member, Opened, SentResult, Token,
};

use crate::records::{
    NOW, buyer, channel, channel_key, charge, claim, facilitator, finish, hold, identifier, intent, limits,
    network, opening, owed, payment, seller, sent,
};
use crate::stores::{Store, memory, postgres, server, sqlite};

/// How many ask at once, for each handle.
const TASKS: u64 = 24;
/// How many keys they ask for.
const KEYS: u64 = 12;

/// Runs `call` many times at once on both handles, and counts the answers.
async fn race<T, F>(store: &Store, call: impl Fn(Arc<dyn Ledger>, u64) -> F) -> BTreeMap<String, u64>
where
    T: std::fmt::Debug + Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = (0..2 * TASKS)
        .map(|task| {
            let ledger = if task % 2 == 0 { &store.ledger } else { &store.other };
            tokio::spawn(call(Arc::clone(ledger), task))
        })
        .collect();
    let mut answers = BTreeMap::new();
    for task in tasks {
        *answers.entry(format!("{:?}", task.await.unwrap())).or_default() += 1;
    }
    answers
}

fn count(answers: &BTreeMap<String, u64>, answer: impl std::fmt::Debug) -> u64 {
    answers.get(&format!("{answer:?}")).copied().unwrap_or_default()
}

async fn one_of_many_is_fresh(store: &Store) {
    let members = [seller(&*store.ledger, "a").await, seller(&*store.other, "b").await];
    for round in 0..KEYS {
        let members = members.clone();
        let answers = race(store, move |ledger, task| {
            // Different keys in every batch, in different orders.
            let name = format!("{round}-{}", (task * 7 + round) % 3);
            let mut new = claim(&members[usize::from(task % 2 == 1)], &name, task);
            new.identifier = Some(identifier(&format!("order-{name}"), 1));
            async move { ledger.reservation_insert(new).await }
        })
        .await;
        assert_eq!(count(&answers, Ok::<_, ()>(Claim::Fresh)), 3, "{answers:?}");
        assert_eq!(count(&answers, Ok::<_, ()>(Claim::Running)), 2 * TASKS - 3, "{answers:?}");
    }
}

async fn one_identifier_names_one_of_many_payments(store: &Store) {
    let member = seller(&*store.ledger, "a").await;
    let answers = race(store, move |ledger, task| {
        let mut new = claim(&member, &task.to_string(), task);
        new.identifier = Some(identifier("order", u8::try_from(task).unwrap()));
        async move { ledger.reservation_insert(new).await }
    })
    .await;
    assert_eq!(count(&answers, Ok::<_, ()>(Claim::Fresh)), 1, "{answers:?}");
    assert_eq!(count(&answers, Ok::<_, ()>(Claim::IdentifierTaken)), 2 * TASKS - 1, "{answers:?}");
}

async fn one_of_many_settles_a_payment(store: &Store) {
    let member = facilitator(&*store.ledger, "a").await;
    let answers = race(store, move |ledger, _| {
        let new = payment(&member, "k");
        async move {
            match ledger.settlement_insert(new).await {
                Ok(Inserted::Existing(row)) => format!("existing at {}", row.sequence < 1_000),
                other => format!("{other:?}"),
            }
        }
    })
    .await;
    assert_eq!(count(&answers, "existing at true"), 2 * TASKS - 1, "{answers:?}");
}

async fn one_of_many_takes_a_lane(store: &Store) {
    let members = [facilitator(&*store.ledger, "a").await, facilitator(&*store.other, "b").await];
    let takers = members.clone();
    let answers = race(store, move |ledger, task| {
        let member = takers[usize::from(task % 2 == 1)].clone();
        async move { ledger.lane_acquire(&network(), "0x1", &member, NOW).await }
    })
    .await;
    assert_eq!(count(&answers, Ok::<Option<()>, ()>(None)), TASKS, "{answers:?}");
    assert_eq!(answers.len(), 2, "one lease: {answers:?}");
}

/// A member that is late and one that takes its lane: the transaction is written by one of them.
async fn a_lane_that_is_taken_writes_no_more(store: &Store) {
    for round in 0..KEYS {
        let name = format!("{round}");
        let first: Member = facilitator(&*store.ledger, "a").await;
        let second = facilitator(&*store.other, "b").await;
        store.other.member_renew(&second, NOW, UnixTime(9_000)).await.unwrap();
        store.ledger.settlement_insert(payment(&first, &name)).await.unwrap();
        let lease = store.ledger.lane_acquire(&network(), &name, &first, NOW).await.unwrap().unwrap();
        let write = store.ledger.settlement_sent(sent(&lease, &name, 1, &[(&name, 1)]));
        let take = async {
            let taken =
                store.other.lane_acquire(&network(), &name, &second, UnixTime(5_000)).await.unwrap().unwrap();
            store.other.lane_transactions(&taken, UnixTime(5_000)).await.unwrap().unwrap()
        };
        let (written, listed) = tokio::join!(write, take);
        let is_written = written.unwrap() == SentResult::Written;
        assert_eq!(listed.len(), usize::from(is_written), "what was written is seen by who took over");
    }
}

async fn no_more_is_owed_than_may_be(store: &Store) {
    let member = seller(&*store.ledger, "a").await;
    for task in 0..2 * TASKS {
        store.ledger.reservation_insert(claim(&member, &task.to_string(), task)).await.unwrap();
    }
    let answers = race(store, |ledger, task| {
        let name = task.to_string();
        let mut end = finish(&name, task, Fate::Owed(owed(&name, &format!("payer {}", task % 4), 1)));
        end.owed_limits = Some(limits(4, 10));
        async move { ledger.reservation_finish(end).await }
    })
    .await;
    assert_eq!(count(&answers, Ok::<_, ()>(Finished::Done)), 10, "{answers:?}");
    let answers = race(store, |ledger, _| async move {
        let taken = ledger.reservation_owed(NOW, UnixTime(2_000), 1).await.unwrap();
        for owed in &taken {
            let end = finish(owed.key.as_str().rsplit('/').next().unwrap(), 0, Fate::Unpaid);
            let end = tollway_ledger::Finish { token: Token(owed.token.0), ..end };
            assert_eq!(ledger.reservation_finish(end).await.unwrap(), Finished::Done);
        }
        taken.len()
    })
    .await;
    assert_eq!(count(&answers, 1), 10, "each is given to one: {answers:?}");
}

/// The same cap for all, on both handles: what fits is bought, and not one more.
async fn no_budget_is_exceeded(store: &Store) {
    let windows = [("day".to_owned(), NOW), ("hour".to_owned(), NOW)];
    let answers = race(store, |ledger, task| {
        let holds = vec![hold("hour", 1, 30), hold("day", 2, 20)];
        let new = opening(intent(u8::try_from(task).unwrap()), holds);
        async move { told(ledger.intent_open(new).await.unwrap()) }
    })
    .await;
    assert_eq!(count(&answers, "fresh"), 10, "{answers:?}");
    assert_eq!(count(&answers, "over"), 2 * TASKS - 10, "{answers:?}");
    assert_eq!(store.other.budget_get(&windows).await.unwrap(), [20.into(), 10.into()]);
    // Everybody gives back and tries again at once.
    let answers = race(store, |ledger, task| async move {
        let number = u8::try_from(task).unwrap();
        if let Some(row) = ledger.intent_get(IntentId([number; 16])).await.unwrap() {
            let change = IntentChange { release: row.holds.clone(), ..IntentChange::new(row, NOW) };
            assert!(matches!(ledger.intent_put(change).await.unwrap(), Changed::Done(_)));
        }
        let new = opening(intent(number + 100), vec![hold("day", 2, 20)]);
        told(ledger.intent_open(new).await.unwrap())
    })
    .await;
    let query = IntentQuery { wallet: "w".to_owned(), limit: 1_000, ..IntentQuery::default() };
    let rows = store.ledger.intent_list(query).await.unwrap();
    let held = rows.iter().flat_map(|row| &row.holds).count();
    assert_eq!(count(&answers, "fresh"), u64::try_from(held).unwrap(), "{answers:?}");
    assert!(held <= 10, "{held}");
    let counted = store.ledger.budget_get(&windows).await.unwrap();
    assert_eq!(counted, [u64::try_from(2 * held).unwrap().into(), 0_u64.into()]);
}

async fn one_of_many_opens_a_key(store: &Store) {
    for round in 0..KEYS {
        let answers = race(store, move |ledger, task| {
            let number = u8::try_from(task).unwrap();
            let key = Some(format!("{round}-{}", (task * 7 + round) % 3));
            let mut new = opening(Intent { key, ..intent(number) }, vec![hold(&round.to_string(), 1, 3)]);
            new.intent.id.0[15] = u8::try_from(100 + round).unwrap();
            async move { told(ledger.intent_open(new).await.unwrap()) }
        })
        .await;
        assert_eq!(count(&answers, "fresh"), 3, "{answers:?}");
        assert_eq!(count(&answers, "known"), 2 * TASKS - 3, "{answers:?}");
    }
}

async fn one_of_many_writes_and_one_takes(store: &Store) {
    let members = [buyer(&*store.ledger, "a").await, buyer(&*store.other, "b").await];
    for round in 0..KEYS {
        let mut new = intent(200 + u8::try_from(round).unwrap());
        (new.wallet, new.due) = ("due".to_owned(), NOW);
        let Opened::Fresh(row) = store.ledger.intent_open(opening(new, vec![])).await.unwrap() else {
            panic!("not fresh")
        };
        let answers = race(store, move |ledger, task| {
            let change = IntentChange::new(Intent { body: task.to_string(), ..row.clone() }, NOW);
            async move { matches!(ledger.intent_put(change).await.unwrap(), Changed::Done(_)) }
        })
        .await;
        assert_eq!(count(&answers, true), 1, "{answers:?}");
        let takers = members.clone();
        let answers = race(store, move |ledger, task| {
            let member = takers[usize::from(task % 2 == 1)].clone();
            async move { ledger.intent_due("due", &member, NOW, UnixTime(2_000), 5).await.unwrap().len() }
        })
        .await;
        assert_eq!(count(&answers, 1), 1, "{answers:?}");
    }
}

/// Who reads and charges, again and again, from both handles: each version is written by one, and no charge is lost.
async fn one_of_many_charges_a_version(store: &Store) {
    for name in 0..3 {
        let new = channel(&name.to_string());
        assert!(store.ledger.channel_put(new, None, NOW).await.unwrap());
    }
    let answers = race(store, |ledger, task| async move {
        let name = (task % 3).to_string();
        let mut won = Vec::new();
        for _ in 0..KEYS {
            let row = ledger.channel_get("shop", &channel_key(&name)).await.unwrap().unwrap();
            let mut new = charge(&name, row.version, 0);
            new.charged = row.charged.checked_add(1_u64.into()).unwrap();
            if ledger.channel_charge(new).await.unwrap() {
                won.push((name.clone(), row.version));
            }
        }
        won
    })
    .await;
    let mut won = Vec::new();
    for (versions, times) in &answers {
        let versions: Vec<&str> = versions.split("), (").filter(|text| *text != "[]").collect();
        assert!(versions.is_empty() || *times == 1, "two have written the same: {answers:?}");
        won.extend(versions.iter().map(|text| text.trim_matches(['[', ']', '(', ')']).to_owned()));
    }
    let charged = won.len();
    won.sort();
    won.dedup();
    assert_eq!(won.len(), charged, "two have written the same: {answers:?}");
    let mut written = 0;
    for name in 0..3 {
        let row = store.other.channel_get("shop", &channel_key(&name.to_string())).await.unwrap().unwrap();
        assert_eq!(row.charged, (row.version - 1).into(), "each version is one charge");
        written += row.version - 1;
    }
    assert_eq!(written, u64::try_from(charged).unwrap());
    // All with the same version in hand, of different kinds of writes.
    let members = [seller(&*store.ledger, "a").await, seller(&*store.other, "b").await];
    for round in 0..KEYS {
        let row = store.ledger.channel_get("shop", &channel_key("0")).await.unwrap().unwrap();
        let members = members.clone();
        let answers = race(store, move |ledger, task| {
            let (row, member) = (row.clone(), members[usize::from(task % 2 == 1)].clone());
            async move {
                let (version, until) = (row.version, UnixTime(NOW.0 + 1));
                match (task / 2 + round) % 4 {
                    0 => ledger.channel_put(row, None, NOW).await.unwrap(),
                    1 => {
                        let holder = Holder { member, until };
                        let held = ledger.channel_hold("shop", &row.id, version, holder, NOW).await.unwrap();
                        held.is_some()
                    }
                    _ => ledger.channel_charge(charge("0", version, task)).await.unwrap(),
                }
            }
        })
        .await;
        assert_eq!(count(&answers, true), 1, "{answers:?}");
        let row = store.ledger.channel_get("shop", &channel_key("0")).await.unwrap().unwrap();
        if let Some(Holder { member, .. }) = &row.holder {
            let free = ChannelCharge {
                member: Some(member.clone()),
                is_released: true,
                ..charge("0", row.version, 1)
            };
            assert!(store.ledger.channel_charge(free).await.unwrap());
        }
    }
}

fn told(opened: Opened) -> &'static str {
    match opened {
        Opened::Fresh(_) => "fresh",
        Opened::Known { .. } => "known",
        Opened::OverBudget(_) => "over",
        Opened::Unmet(_) => "unmet",
    }
}

async fn every_race(store: &Store) {
    one_of_many_is_fresh(store).await;
    one_identifier_names_one_of_many_payments(store).await;
    one_of_many_settles_a_payment(store).await;
    one_of_many_takes_a_lane(store).await;
    a_lane_that_is_taken_writes_no_more(store).await;
    no_budget_is_exceeded(store).await;
    one_of_many_opens_a_key(store).await;
    one_of_many_writes_and_one_takes(store).await;
    one_of_many_charges_a_version(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn races_have_one_winner_in_memory() {
    every_race(&memory().await).await;
    no_more_is_owed_than_may_be(&memory().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn races_have_one_winner_on_one_sqlite_file() {
    every_race(&sqlite().await).await;
    no_more_is_owed_than_may_be(&sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn races_have_one_winner_on_one_postgres_database() {
    let Some(server) = server().await else { return };
    every_race(&postgres(&server).await).await;
    no_more_is_owed_than_may_be(&postgres(&server).await).await;
}

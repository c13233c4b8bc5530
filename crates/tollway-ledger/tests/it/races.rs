//! Two processes at once: handles that share nothing but the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollway_core::UnixTime;
use tollway_ledger::{Claim, Fate, Finished, Inserted, Ledger, Member, SentResult, Token};

use crate::records::{
    NOW, claim, facilitator, finish, identifier, limits, network, owed, payment, seller, sent,
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

async fn every_race(store: &Store) {
    one_of_many_is_fresh(store).await;
    one_identifier_names_one_of_many_payments(store).await;
    one_of_many_settles_a_payment(store).await;
    one_of_many_takes_a_lane(store).await;
    a_lane_that_is_taken_writes_no_more(store).await;
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

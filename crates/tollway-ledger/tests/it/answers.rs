//! Answers that charges keep: what is good outlasts whatever is written after it, and what is not does not pile up.

use std::sync::Arc;

use sqlx::{Connection, Executor, Row};
use tollway_core::UnixTime;
use tollway_ledger::{Channel, ChannelCharge, Ledger, PostgresLedger, SqliteLedger, StoredResponse};

use crate::channels::join_all;
use crate::records::{NOW, channel, channel_key, charge, response};
use crate::stores::server;

/// Channels that are charged all the time, and for how often: many times what one sweep looks at.
const BUSY: u64 = 40;
const ROUNDS: u64 = 60;
/// Channels that are charged once.
const RESTING: u64 = 30;
const EXPIRES: u64 = 1_500;

fn resting(number: u64) -> String {
    format!("resting {number}")
}

/// By one of several processes.
fn busy(process: &str, number: u64) -> String {
    format!("busy {process} {number}")
}

async fn answer(ledger: &dyn Ledger, name: &str) -> Option<StoredResponse> {
    ledger.channel_answer("shop", &channel_key(name)).await.unwrap()
}

async fn charged(ledger: &dyn Ledger, name: &str, version: u64, now: UnixTime) {
    let answer = Some(response(&format!("{name}, {version}"), EXPIRES));
    let charge = ChannelCharge { answer, used_at: now, ..charge(name, version, version) };
    assert!(ledger.channel_charge(charge).await.unwrap(), "{name}, {version}");
}

async fn rest(ledger: &dyn Ledger) {
    for name in (0..RESTING).map(resting) {
        assert!(ledger.channel_put(channel(&name), None, NOW).await.unwrap());
        charged(ledger, &name, 1, NOW).await;
    }
}

async fn open(ledger: &dyn Ledger, process: &str) {
    for name in (0..BUSY).map(|number| busy(process, number)) {
        assert!(ledger.channel_put(channel(&name), None, NOW).await.unwrap());
    }
}

/// Charges all busy channels of a process side by side, again and again, from a version on.
async fn hurry(ledger: &dyn Ledger, process: &str, first: u64, now: UnixTime) {
    let all = (0..BUSY).map(|number| async move {
        for version in first..first + ROUNDS {
            charged(ledger, &busy(process, number), version, now).await;
        }
    });
    join_all(all.map(Box::pin).collect()).await;
}

async fn all_are_right(ledger: &dyn Ledger, processes: &[&str]) {
    for name in (0..RESTING).map(resting) {
        assert_eq!(answer(ledger, &name).await, Some(response(&format!("{name}, 1"), EXPIRES)));
    }
    for process in processes {
        for name in (0..BUSY).map(|number| busy(process, number)) {
            let expected = response(&format!("{name}, {ROUNDS}"), EXPIRES);
            assert_eq!(answer(ledger, &name).await, Some(expected));
        }
    }
}

pub(crate) async fn an_answer_outlasts_all_that_is_written_after_it(ledger: &dyn Ledger) {
    rest(ledger).await;
    open(ledger, "one").await;
    hurry(ledger, "one", 1, NOW).await;
    all_are_right(ledger, &["one"]).await;
    // One that begins anew has none, whatever is left of the one before.
    let (name, key) = (resting(0), channel_key(&resting(0)));
    assert!(ledger.channel_remove("shop", &key, 2, None, NOW).await.unwrap());
    assert!(ledger.channel_put(channel(&name), None, NOW).await.unwrap());
    hurry(ledger, "one", 1 + ROUNDS, NOW).await;
    assert_eq!(answer(ledger, &name).await, None);
    // And a row that was moved is charged and written as any other.
    let row = ledger.channel_get("shop", &channel_key(&resting(1))).await.unwrap().unwrap();
    assert_eq!(row.version, 2);
    assert!(ledger.channel_put(Channel { body: "new".to_owned(), ..row }, None, NOW).await.unwrap());
    assert!(answer(ledger, &resting(1)).await.is_some());
    charged(ledger, &resting(1), 3, NOW).await;
    assert_eq!(answer(ledger, &resting(1)).await, Some(response(&format!("{}, 3", resting(1)), EXPIRES)));
}

/// Two processes, each of which sweeps what both write.
async fn two_sweep_at_once(one: Arc<dyn Ledger>, other: Arc<dyn Ledger>) {
    rest(&*one).await;
    open(&*one, "one").await;
    open(&*other, "other").await;
    tokio::join!(hurry(&*one, "one", 1, NOW), hurry(&*other, "other", 1, NOW));
    all_are_right(&*one, &["one", "other"]).await;
    // What one could not look at while the other did, it looks at with its next charge.
    charged(&*one, &busy("one", 0), 1 + ROUNDS, NOW).await;
    charged(&*other, &busy("other", 0), 1 + ROUNDS, NOW).await;
}

#[tokio::test]
async fn two_that_sweep_one_file_lose_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let (one, other) = (SqliteLedger::open(&path).await.unwrap(), SqliteLedger::open(&path).await.unwrap());
    two_sweep_at_once(Arc::new(one), Arc::new(other)).await;
}

#[tokio::test]
async fn two_that_sweep_one_database_lose_no_answer() {
    let Some(server) = server().await else { return };
    let url = server.database().await.unwrap();
    let one = PostgresLedger::connect(&url).await.unwrap();
    let other = PostgresLedger::connect(&url).await.unwrap();
    two_sweep_at_once(Arc::new(one), Arc::new(other)).await;
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    let kept = connection.fetch_one("SELECT count(*) FROM channel_answer").await.unwrap().get::<i64, _>(0);
    bounded(kept, 2);
}

/// All that is good; at most five times that, and the few that each process looks at only with more charges.
fn bounded(kept: i64, processes: i64) {
    let good = i64::try_from(RESTING).unwrap() + processes * i64::try_from(BUSY).unwrap();
    assert!((good..5 * good + processes * 512).contains(&kept), "{kept}");
}

#[tokio::test]
async fn what_no_channel_names_or_has_expired_is_swept_as_the_log_grows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger: Arc<dyn Ledger> = Arc::new(SqliteLedger::open(&path).await.unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    rest(&*ledger).await;
    open(&*ledger, "one").await;
    hurry(&*ledger, "one", 1, NOW).await;
    let count = |query: &str| connection.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    let all = count("SELECT count(*) FROM channel_answer");
    assert!(all < i64::try_from(BUSY * ROUNDS / 2).unwrap(), "{all}");
    bounded(all, 1);
    // Those that rest have expired by now.
    let later = UnixTime(EXPIRES);
    hurry(&*ledger, "one", 1 + ROUNDS, later).await;
    let resting = "SELECT count(*) FROM channel_answer WHERE id LIKE '%resting%'";
    assert_eq!(count(resting), 0);
    assert_eq!(answer(&*ledger, &self::resting(1)).await, None);
}

#[tokio::test]
async fn an_answer_that_is_missing_or_of_another_charge_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = SqliteLedger::open(&path).await.unwrap();
    for name in ["a", "b"] {
        assert!(ledger.channel_put(channel(name), None, NOW).await.unwrap());
        charged(&ledger, name, 1, NOW).await;
    }
    let connection = rusqlite::Connection::open(&path).unwrap();
    // As if the rows had been mixed up: each channel names the other's.
    connection.execute_batch("UPDATE channel SET answered = 3 - answered").unwrap();
    assert_eq!((answer(&ledger, "a").await, answer(&ledger, "b").await), (None, None));
    connection.execute_batch("UPDATE channel SET answered = 3 - answered").unwrap();
    assert!(answer(&ledger, "a").await.is_some());
    connection.execute_batch("DELETE FROM channel_answer WHERE number = 1").unwrap();
    assert_eq!(answer(&ledger, "a").await, None);
    assert!(answer(&ledger, "b").await.is_some());
}

//! What is there after a crash, and what a store that is down, full or newer answers.

use std::time::Duration;

use sqlx::{Connection, Executor};
use tokio::time::Instant;
use tollway_core::UnixTime;
use tollway_ledger::{
    Channel, ChannelCharge, Claim, Fate, Intent, IntentId, Ledger, LedgerError, NewIntent, OpenError, Opened,
    PostgresLedger, SettlementState, SqliteLedger, open, open_to_read,
};

use crate::records::{
    NOW, buyer, channel, channel_key, charge, claim, facilitator, fact, finish, hold, intent, key, network,
    opening, payment, response, seller, sent,
};
use crate::stores::server;

/// Writes something of every kind.
async fn write(ledger: &dyn Ledger) {
    let (seller, facilitator) = (seller(ledger, "shop").await, facilitator(ledger, "desk").await);
    ledger.reservation_insert(claim(&seller, "k", 1)).await.unwrap();
    let mut end = finish("k", 1, Fate::Delivered("0x1".to_owned()));
    end.response = Some(response("body", 1_500));
    ledger.reservation_finish(end).await.unwrap();
    ledger.settlement_insert(payment(&facilitator, "k")).await.unwrap();
    let lease = ledger.lane_acquire(&network(), "0x1", &facilitator, NOW).await.unwrap().unwrap();
    ledger.settlement_sent(sent(&lease, "0x1", 1, &[("k", 1)])).await.unwrap();
    ledger.secret("webhook", [1; 32]).await.unwrap();
    assert!(ledger.fact_put(fact("switch", "org", 0, "why")).await.unwrap());
    assert!(ledger.channel_put(channel("c"), None, NOW).await.unwrap());
    let answer = Some(response("bought", 1_500));
    assert!(ledger.channel_charge(ChannelCharge { answer, ..charge("c", 1, 10) }).await.unwrap());
    let new = Intent { holder: Some(buyer(ledger, "agent").await), ..intent(1) };
    let opened = ledger.intent_open(opening(new, vec![hold("day", 4, 10)])).await.unwrap();
    assert!(matches!(opened, Opened::Fresh(_)), "{opened:?}");
}

/// Finds all of it.
async fn find(ledger: &dyn Ledger) {
    let desk = facilitator(ledger, "desk").await;
    assert_eq!(desk.incarnation, 2);
    let told = ledger.reservation_insert(claim(&seller(ledger, "shop").await, "k", 2)).await.unwrap();
    let expected =
        Claim::Delivered { transaction: "0x1".to_owned(), response: Some(response("body", 1_500)) };
    assert_eq!(told, expected);
    let lease = ledger.lane_acquire(&network(), "0x1", &desk, NOW).await.unwrap().unwrap();
    let listed = ledger.lane_transactions(&lease, NOW).await.unwrap().unwrap();
    let [(transaction, payments)] = &listed[..] else { panic!("one transaction: {listed:?}") };
    assert_eq!(transaction.signed.raw, [0, 1, 254, 255]);
    assert_eq!(payments[0].state, SettlementState::Sent { transaction: "0x1".to_owned() });
    assert_eq!(ledger.secret("webhook", [2; 32]).await.unwrap(), [1; 32]);
    assert_eq!(ledger.fact_get("switch", "org").await.unwrap(), Some(fact("switch", "org", 1, "why")));
    let row = ledger.channel_get("shop", &channel_key("c")).await.unwrap().unwrap();
    assert_eq!((row.version, row.charged, row.body), (2, 10_u64.into(), channel("c").body));
    let answer = ledger.channel_answer("shop", &channel_key("c")).await.unwrap();
    assert_eq!(answer, Some(response("bought", 1_500)));
    let agent = buyer(ledger, "agent").await;
    let taken = ledger.intent_take(IntentId([1; 16]), &agent, NOW).await.unwrap().unwrap();
    let holds = vec![hold("day", 4, 10).hold];
    assert_eq!(taken, Intent { version: 2, holder: Some(agent), holds, ..intent(1) });
    assert_eq!(ledger.budget_get(&[("day".to_owned(), NOW)]).await.unwrap(), [4.into()]);
}

#[tokio::test]
async fn what_was_answered_is_in_the_file_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
    let ledger = open(&url).await.unwrap();
    write(&*ledger).await;
    // Nothing is closed: the connections and the log stay as a crash leaves them.
    std::mem::forget(ledger);
    find(&*open(&url).await.unwrap()).await;
}

#[tokio::test]
async fn an_intent_that_waits_for_no_disk_is_there_for_other_processes_and_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
    let (ledger, other) = (open(&url).await.unwrap(), open(&url).await.unwrap());
    let unsynced =
        |number| NewIntent { is_synced: false, ..opening(intent(number), vec![hold("day", 4, 10)]) };
    assert!(matches!(ledger.intent_open(unsynced(1)).await.unwrap(), Opened::Fresh(_)));
    assert!(matches!(other.intent_open(unsynced(1)).await.unwrap(), Opened::Known { .. }));
    assert!(matches!(other.intent_open(unsynced(2)).await.unwrap(), Opened::Fresh(_)));
    let full = ledger.intent_open(unsynced(3)).await.unwrap();
    assert!(matches!(full, Opened::OverBudget(_)), "what the other holds counts: {full:?}");
    // Nothing is closed: the connections and the log stay as a kill leaves them.
    std::mem::forget((ledger, other));
    let again = open(&url).await.unwrap();
    assert_eq!(again.intent_get(IntentId([2; 16])).await.unwrap().unwrap().holds.len(), 1);
    assert_eq!(again.budget_get(&[("day".to_owned(), NOW)]).await.unwrap(), [8.into()]);
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable_in_time_and_works_when_it_is_back() {
    let Some(mut server) = server().await else { return };
    let url = server.database().await.unwrap();
    let ledger = open(&url).await.unwrap();
    write(&*ledger).await;
    server.stop().unwrap();
    let begun = Instant::now();
    for _ in 0..3 {
        let secret = ledger.secret("webhook", [2; 32]).await;
        assert!(matches!(secret, Err(LedgerError::Unavailable(_))), "{secret:?}");
        let row = ledger.settlement_get(&key("k")).await;
        assert!(matches!(row, Err(LedgerError::Unavailable(_))), "{row:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(31), "{:?}", begun.elapsed());
    assert!(open(&url).await.is_err());
    server.start().await.unwrap();
    find(&*ledger).await;
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_nothing_is_half_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = SqliteLedger::open_within(&path, 120).await.unwrap();
    let member = seller(&ledger, "shop").await;
    let mut written = Vec::new();
    for token in 0..400 {
        let name = token.to_string();
        let mut new = claim(&member, &name, token);
        new.payer = "x".repeat(2_000);
        match ledger.reservation_insert(new).await {
            Ok(claimed) => {
                assert_eq!(claimed, Claim::Fresh);
                written.push(name);
            }
            Err(error) => assert!(matches!(error, LedgerError::Unavailable(_)), "{error}"),
        }
    }
    assert!((1..400).contains(&written.len()), "{} were written", written.len());
    let again = SqliteLedger::open(&path).await.unwrap();
    assert_eq!(again.reservation_count().await.unwrap(), u64::try_from(written.len()).unwrap());
    for name in written {
        assert!(again.reservation_is_open(&key(&name), NOW).await.unwrap());
    }
    // With room again it goes on.
    assert_eq!(again.reservation_insert(claim(&member, "more", 1)).await.unwrap(), Claim::Fresh);
}

#[tokio::test]
async fn a_charge_that_cannot_be_written_down_fails_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(folder.path().join("ledger.db")).await.unwrap();
    for name in ["one", "two"] {
        assert!(ledger.channel_put(channel(name), None, NOW).await.unwrap());
    }
    let refused = |result: Result<bool, LedgerError>| matches!(result, Err(LedgerError::Unavailable(_)));
    let zero = ChannelCharge { proof: "\0".to_owned(), ..charge("one", 1, 10) };
    let large = charge("two", u64::MAX, 10);
    let call = |charge| ledger.channel_charge(charge);
    let (one, zero, two, large) =
        tokio::join!(call(charge("one", 1, 10)), call(zero), call(charge("two", 1, 10)), call(large));
    assert_eq!((one, two), (Ok(true), Ok(true)));
    assert!(refused(zero) && refused(large));
    let long = Channel { id: channel_key(&"x".repeat(1_025)), ..channel("long") };
    assert!(refused(ledger.channel_put(long, None, NOW).await));
}

#[tokio::test]
async fn a_channel_without_the_rest_of_it_is_not_taken_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = SqliteLedger::open(&path).await.unwrap();
    for name in ["a", "b", "c"] {
        assert!(ledger.channel_put(channel(name), None, NOW).await.unwrap());
    }
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("DELETE FROM channel_body WHERE id LIKE '%a'").unwrap();
    let due = ledger.channel_due("shop", UnixTime(5_000), UnixTime(6_000), 5).await;
    assert!(matches!(due, Err(LedgerError::Corrupt(_))), "{due:?}");
    let row = ledger.channel_get("shop", &channel_key("b")).await.unwrap().unwrap();
    assert_eq!((row.version, row.body), (1, channel("b").body));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_fails_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = SqliteLedger::open(&path).await.unwrap();
    let member = seller(&ledger, "shop").await;
    assert_eq!(ledger.reservation_insert(claim(&member, "bad", 1)).await.unwrap(), Claim::Fresh);
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("UPDATE reservation SET standing = 'no such standing'").unwrap();
    let call = |name, token| ledger.reservation_insert(claim(&member, name, token));
    let (one, bad, other) = tokio::join!(call("one", 2), call("bad", 3), call("other", 4));
    assert_eq!((one, other), (Ok(Claim::Fresh), Ok(Claim::Fresh)));
    assert!(matches!(bad, Err(LedgerError::Corrupt(_))), "{bad:?}");
}

#[tokio::test]
async fn an_intent_that_cannot_be_read_is_nobody_elses_and_is_not_taken_for_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = SqliteLedger::open(&path).await.unwrap();
    let call = |number| ledger.intent_open(opening(intent(number), vec![hold("day", 1, 3)]));
    assert!(matches!(call(1).await, Ok(Opened::Fresh(_))));
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("UPDATE intent SET holds = '[[\"day\",1000,1060,\"-1\"]]'").unwrap();
    let (one, bad, other) = tokio::join!(call(2), call(1), call(3));
    assert!(matches!((one, other), (Ok(Opened::Fresh(_)), Ok(Opened::Fresh(_)))));
    assert!(matches!(bad, Err(LedgerError::Corrupt(_))), "{bad:?}");
    assert!(matches!(ledger.intent_get(IntentId([1; 16])).await, Err(LedgerError::Corrupt(_))));
    assert!(matches!(call(4).await, Ok(Opened::OverBudget(_))), "what it counts stays counted");
    connection.execute_batch("UPDATE budget SET amount = 'much'").unwrap();
    assert!(
        matches!(call(4).await, Err(LedgerError::Corrupt(_))),
        "a budget that cannot be read is not empty"
    );
    let other = opening(intent(5), vec![hold("hour", 1, 3)]);
    assert!(matches!(ledger.intent_open(other).await, Ok(Opened::Fresh(_))));
}

#[tokio::test]
async fn names_that_no_index_holds_are_refused_before_they_stand_with_others() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(folder.path().join("ledger.db")).await.unwrap();
    let long = "x".repeat(1_025);
    let refused = |result: Result<bool, LedgerError>| matches!(result, Err(LedgerError::Unavailable(_)));
    assert!(refused(ledger.fact_put(fact("s", &long, 0, "v")).await));
    assert!(refused(ledger.fact_put(fact("s", "a\0", 0, "v")).await));
    assert!(refused(ledger.fact_put(fact("s", "a", 0, "\0")).await));
    assert!(ledger.fact_put(fact("s", &long[..1_024 - 1], 0, "v")).await.unwrap());
    for new in [
        opening(Intent { key: Some(long.clone()), ..intent(1) }, vec![]),
        opening(intent(1), vec![hold(&long, 1, 3)]),
        opening(Intent { body: "\0".to_owned(), ..intent(1) }, vec![]),
    ] {
        assert!(refused(ledger.intent_open(new).await.map(|_| true)));
    }
}

#[tokio::test]
async fn a_file_is_opened_by_many_at_once_and_never_by_an_older_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let opened: Vec<_> = (0..8).map(|_| tokio::spawn(SqliteLedger::open(path.clone()))).collect();
    for ledger in opened {
        ledger.await.unwrap().unwrap();
    }
    write(&SqliteLedger::open(&path).await.unwrap()).await;
    find(&SqliteLedger::open(&path).await.unwrap()).await;
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("INSERT INTO tollway_schema (version) VALUES (99)").unwrap();
    let newer = SqliteLedger::open(&path).await.unwrap_err();
    assert_eq!(newer, OpenError::Newer { found: 99, known: 5 });
}

#[tokio::test]
async fn a_database_is_opened_by_many_at_once_and_never_by_an_older_program() {
    let Some(server) = server().await else { return };
    let url = server.database().await.unwrap();
    let opened: Vec<_> = (0..8)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { PostgresLedger::connect(&url).await })
        })
        .collect();
    for ledger in opened {
        ledger.await.unwrap().unwrap();
    }
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    connection.execute("INSERT INTO tollway_schema (version) VALUES (99)").await.unwrap();
    let newer = PostgresLedger::connect(&url).await.unwrap_err();
    assert_eq!(newer, OpenError::Newer { found: 99, known: 5 });
}

/// What is true of a ledger that was opened to be read, beside `written`, which `url` names and an older program can write.
async fn only_reads(written: &dyn Ledger, url: &str, older: impl AsyncFnOnce()) {
    write(written).await;
    let read = open_to_read(url).await.unwrap().unwrap();
    assert_eq!(read.reservation_count().await.unwrap(), written.reservation_count().await.unwrap());
    assert!(read.fact_put(fact("s", "of a reader", 0, "v")).await.is_err(), "it writes nothing");
    assert!(written.fact_put(fact("s", "late", 0, "v")).await.unwrap(), "and stands in nobody's way");
    assert_eq!(read.fact_get("s", "late").await.unwrap().unwrap().value, "v");
    assert_eq!(read.fact_get("s", "of a reader").await.unwrap(), None);
    older().await;
    let older = open_to_read(url).await.map(|found| found.is_some());
    assert!(matches!(older, Err(OpenError::Older { found: 1, .. })), "{older:?}");
}

#[tokio::test]
async fn a_file_that_is_opened_to_be_read_is_not_made_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let url = format!("sqlite:{}", path.display());
    assert!(open_to_read(&url).await.unwrap().is_none() && !path.exists());
    assert!(open_to_read("memory:").await.unwrap().is_none(), "each process has its own");
    let written = SqliteLedger::open(&path).await.unwrap();
    only_reads(&written, &url, async || {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch("DELETE FROM tollway_schema WHERE version > 1").unwrap();
    })
    .await;
    std::fs::write(folder.path().join("empty.db"), "").unwrap();
    let empty = format!("sqlite:{}", folder.path().join("empty.db").display());
    assert!(open_to_read(&empty).await.unwrap().is_none());
    std::fs::write(folder.path().join("text.db"), "no ledger at all, and long enough to be looked at")
        .unwrap();
    let text = format!("sqlite:{}", folder.path().join("text.db").display());
    assert!(matches!(open_to_read(&text).await, Err(OpenError::Unavailable(_))));
}

#[tokio::test]
async fn a_database_that_is_opened_to_be_read_is_not_changed() {
    let Some(server) = server().await else { return };
    let url = server.database().await.unwrap();
    assert!(open_to_read(&url).await.unwrap().is_none());
    assert!(open_to_read(&url).await.unwrap().is_none(), "nothing was made");
    let written = PostgresLedger::connect(&url).await.unwrap();
    only_reads(&written, &url, async || {
        let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
        connection.execute("DELETE FROM tollway_schema WHERE version > 1").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn no_error_and_no_debug_text_shows_a_password() {
    let Some(server) = server().await else { return };
    let url = server.url().replace("postgres@", "postgres:hunter2@");
    let ledger = PostgresLedger::connect(&url).await.unwrap();
    assert!(!format!("{ledger:?}").contains("hunter2"));
    for url in
        [url.replace("/postgres?", "x/postgres?"), url.replace("/postgres?", "/none?"), "hunter2:x".into()]
    {
        let error = open(&url).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2") || url.starts_with("hunter2"), "{shown}");
    }
}

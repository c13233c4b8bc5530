//! What is there after a crash, and what a store that is down, full or newer answers.

use std::time::Duration;

use sqlx::{Connection, Executor};
use tokio::time::Instant;
use tollway_ledger::{
    Claim, Fate, Ledger, LedgerError, OpenError, PostgresLedger, SettlementState, SqliteLedger, open,
};

use crate::records::{NOW, claim, facilitator, finish, key, network, payment, response, seller, sent};
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
async fn a_row_that_cannot_be_read_fails_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = SqliteLedger::open(&path).await.unwrap();
    let member = seller(&ledger, "shop").await;
    assert_eq!(ledger.reservation_insert(claim(&member, "bad", 1)).await.unwrap(), Claim::Fresh);
    let mut connection =
        sqlx::SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    connection.execute("UPDATE reservation SET standing = 'no such standing'").await.unwrap();
    let call = |name, token| ledger.reservation_insert(claim(&member, name, token));
    let (one, bad, other) = tokio::join!(call("one", 2), call("bad", 3), call("other", 4));
    assert_eq!((one, other), (Ok(Claim::Fresh), Ok(Claim::Fresh)));
    assert!(matches!(bad, Err(LedgerError::Corrupt(_))), "{bad:?}");
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
    let mut connection =
        sqlx::SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    connection.execute("INSERT INTO tollway_schema (version) VALUES (99)").await.unwrap();
    let newer = SqliteLedger::open(&path).await.unwrap_err();
    assert_eq!(newer, OpenError::Newer { found: 99, known: 3 });
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
    assert_eq!(newer, OpenError::Newer { found: 99, known: 3 });
}

#[tokio::test]
async fn no_error_and_no_debug_text_shows_a_password() {
    let Some(server) = server().await else { return };
    let url = server.url().replace("postgres@", "postgres:hunter2@");
    let ledger = PostgresLedger::connect(&url).await.unwrap();
    assert!(!format!("{ledger:?}").contains("hunter2"));
    for url in
        [url.replace("127.0.0.1", "127.0.0.1:x"), url.replace("/postgres?", "/none?"), "hunter2:x".into()]
    {
        let error = open(&url).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2") || url.starts_with("hunter2"), "{shown}");
    }
}

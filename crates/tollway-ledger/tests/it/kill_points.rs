//! Processes that die at a step of a purchase: what they were about to write is not there, what they have written is,
//! and budgets agree with intents.

use std::path::{Path, PathBuf};
use std::process::Command;

use tollway_core::Amount;
use tollway_ledger::{
    Changed, ChannelCharge, IntentChange, IntentId, Ledger, Opened, SqliteLedger, kill_point,
};

use crate::records::{LATER, NOW, buyer, channel, channel_key, charge, hold, intent, opening, response};

/// The file that the child works on.
const FILE: &str = "TOLLWAY_TEST_LEDGER";

/// The children.
const PURCHASE: &str = "kill_points::a_purchase_that_nobody_interrupts_is_written_to_its_end";
const CHARGES: &str = "kill_points::charges_that_nobody_interrupts_are_all_written";

/// Runs the child `test` until it dies at `point`; what it left behind.
async fn die(folder: &Path, test: &str, point: &str) -> SqliteLedger {
    let path = folder.join(format!("{}.db", point.replace(':', "-")));
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test]);
    let status = child.env("TOLLWAY_KILL_AT", point).env(FILE, &path).output().unwrap().status;
    assert!(!status.success(), "{point}: it lived");
    assert_eq!(status.code(), None, "{point}: it died of itself: {status}");
    SqliteLedger::open(&path).await.unwrap()
}

/// Also the child of the test below, which names a file and where to die.
#[tokio::test]
async fn a_purchase_that_nobody_interrupts_is_written_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = std::env::var_os(FILE).map_or_else(|| folder.path().join("ledger.db"), Into::into);
    let ledger = kill_point(std::sync::Arc::new(SqliteLedger::open(path).await.unwrap())).unwrap();
    let member = buyer(&*ledger, "child").await;
    let new = opening(intent(1), vec![hold("day", 4, 10)]);
    let Opened::Fresh(row) = ledger.intent_open(new).await.unwrap() else { panic!("not fresh") };
    let row = ledger.intent_take(row.id, &member, NOW).await.unwrap().unwrap();
    let release = row.holds.clone();
    let change = IntentChange { release, ..IntentChange::new(row, NOW) };
    assert!(matches!(ledger.intent_put(change).await.unwrap(), Changed::Done(row) if row.version == 3));
    assert_eq!(ledger.budget_get(&[("day".to_owned(), NOW)]).await.unwrap(), [Amount::ZERO]);
}

#[tokio::test]
async fn who_dies_at_a_step_has_written_all_of_it_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // The version that is there, and what is counted.
    for (point, version, held) in [
        ("intent_open:before:1", 0, 0),
        ("intent_open:after:1", 1, 4),
        ("intent_take:before:1", 1, 4),
        ("intent_take:after:1", 2, 4),
        ("intent_put:before:1", 2, 4),
        ("intent_put:after:1", 3, 0),
    ] {
        let ledger = die(folder.path(), PURCHASE, point).await;
        let row = ledger.intent_get(IntentId([1; 16])).await.unwrap();
        assert_eq!(row.as_ref().map_or(0, |row| row.version), version, "{point}");
        let counted = ledger.budget_get(&[("day".to_owned(), NOW)]).await.unwrap();
        assert_eq!(counted, [Amount::from(held)], "{point}");
        // Who comes after takes it over once its holder is dead, and may spend what is left and no more.
        let heir = buyer(&ledger, "heir").await;
        let taken = ledger.intent_take(IntentId([1; 16]), &heir, LATER).await.unwrap();
        assert_eq!(taken.is_some(), version > 0, "{point}");
        let over = ledger.intent_open(opening(intent(2), vec![hold("day", 11 - held, 10)])).await.unwrap();
        assert!(matches!(over, Opened::OverBudget(_)), "{point}: {over:?}");
        let fits = ledger.intent_open(opening(intent(2), vec![hold("day", 10 - held, 10)])).await.unwrap();
        assert!(matches!(fits, Opened::Fresh(_)), "{point}: {fits:?}");
    }
}

/// How many charges, one after the other on one channel and each beside others on others.
const ROUNDS: u64 = 4;

/// Also the child of the test below. It writes down beside the ledger what it was answered.
#[tokio::test]
async fn charges_that_nobody_interrupts_are_all_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = std::env::var_os(FILE).map_or_else(|| folder.path().join("ledger.db"), PathBuf::from);
    let ledger = kill_point(std::sync::Arc::new(SqliteLedger::open(&path).await.unwrap())).unwrap();
    for name in ["a", "b", "c"] {
        assert!(ledger.channel_put(channel(name), None, NOW).await.unwrap());
    }
    for version in 1..=ROUNDS {
        let call = |name| {
            let answer = Some(response(&version.to_string(), 1_500));
            let (ledger, told) = (&ledger, path.with_extension(name));
            async move {
                let new = ChannelCharge { answer, ..charge(name, version, 10 * version) };
                assert!(ledger.channel_charge(new).await.unwrap());
                std::fs::write(told, version.to_string()).unwrap();
            }
        };
        tokio::join!(call("a"), call("b"), call("c"));
    }
}

#[tokio::test]
async fn a_charge_that_was_answered_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    for point in [1, 2, 5, 9, 12].into_iter().flat_map(|call| ["before", "after"].map(|place| (place, call)))
    {
        let point = format!("channel_charge:{}:{}", point.0, point.1);
        let ledger = die(folder.path(), CHARGES, &point).await;
        let file = folder.path().join(format!("{}.db", point.replace(':', "-")));
        for name in ["a", "b", "c"] {
            let told = std::fs::read_to_string(file.with_extension(name));
            let told: u64 = told.map_or(0, |text| text.parse().unwrap());
            let row = ledger.channel_get("shop", &channel_key(name)).await.unwrap().unwrap();
            let written = row.version - 1;
            assert!(
                told <= written && written <= told + 1,
                "{point}: {name}: {told} told, {written} written"
            );
            assert_eq!(row.charged, Amount::from(10 * written), "{point}: {name}");
            // Its answer is of the same charge.
            let answer = ledger.channel_answer("shop", &row.id).await.unwrap();
            let expected = (written > 0).then(|| response(&written.to_string(), 1_500));
            assert_eq!(answer, expected, "{point}: {name}");
            // And who presents the lost one again is told that it was written, or writes it.
            let again = charge(name, told + 1, 10 * (told + 1));
            assert_eq!(ledger.channel_charge(again).await.unwrap(), told == written, "{point}: {name}");
        }
    }
}

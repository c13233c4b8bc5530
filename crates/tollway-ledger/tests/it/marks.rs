//! What is remembered until a time, and no longer.

use tollway_core::UnixTime;
use tollway_ledger::{Ledger, Marked, NewMark};

fn mark(scope: &str, name: &str, now: u64, until: u64) -> NewMark {
    NewMark { scope: scope.to_owned(), name: name.to_owned(), until: UnixTime(until), now: UnixTime(now) }
}

async fn is_set(ledger: &dyn Ledger, scope: &str, name: &str, now: u64) -> bool {
    ledger.mark_is_set(scope, &[format!("not {name}"), name.to_owned()], UnixTime(now)).await.unwrap()
}

pub(crate) async fn a_mark_is_fresh_once_until_its_time(ledger: &dyn Ledger) {
    assert!(!is_set(ledger, "nonce", "é'1", 100).await);
    assert_eq!(ledger.mark_set(mark("nonce", "é'1", 100, 200)).await.unwrap(), Marked::Fresh);
    assert_eq!(ledger.mark_set(mark("nonce", "é'1", 199, 150)).await.unwrap(), Marked::Known);
    assert_eq!(ledger.mark_set(mark("other", "é'1", 100, 200)).await.unwrap(), Marked::Fresh);
    assert!(is_set(ledger, "nonce", "é'1", 199).await, "a shorter time does not shorten it");
    assert!(!is_set(ledger, "nonce", "é'1", 200).await);
    assert_eq!(ledger.mark_set(mark("nonce", "é'1", 200, 300)).await.unwrap(), Marked::Fresh);
    assert_eq!(ledger.mark_set(mark("nonce", "é'1", 200, 400)).await.unwrap(), Marked::Known);
    assert!(is_set(ledger, "nonce", "é'1", 399).await, "a longer one lengthens it");
    let forever = ledger.mark_set(mark("nonce", "long", 1, u64::MAX)).await.unwrap();
    assert_eq!(forever, Marked::Fresh);
    assert!(is_set(ledger, "nonce", "long", 1 << 40).await);
}

pub(crate) async fn sweeping_takes_the_marks_that_are_past_oldest_first(ledger: &dyn Ledger) {
    for (name, until) in [("a", 300), ("b", 100), ("c", 200), ("d", 1_000)] {
        ledger.mark_set(mark("s", name, 1, until)).await.unwrap();
    }
    ledger.mark_set(mark("s", "b", 1, 250)).await.unwrap();
    assert_eq!(ledger.mark_count().await.unwrap(), 4);
    assert_eq!(ledger.mark_sweep(UnixTime(100), 10).await.unwrap(), 0);
    assert_eq!(ledger.mark_sweep(UnixTime(300), 2).await.unwrap(), 2);
    assert!(
        !is_set(ledger, "s", "c", 1).await && !is_set(ledger, "s", "b", 1).await,
        "the oldest two are gone"
    );
    assert!(is_set(ledger, "s", "a", 1).await);
    assert_eq!(ledger.mark_sweep(UnixTime(300), 2).await.unwrap(), 1);
    assert_eq!(ledger.mark_count().await.unwrap(), 1);
}

//! Purchases: one writer at a time, and nobody forgets what is due.

use tollway_core::{AuthorizationKey, UnixTime};
use tollway_ledger::{Ledger, Purchase};

fn purchase(name: &str, version: u64, due: u64, until: u64) -> Purchase {
    Purchase {
        key: AuthorizationKey::new(name),
        version,
        body: format!("é' {version}"),
        due: UnixTime(due),
        until: UnixTime(until),
    }
}

pub(crate) async fn a_purchase_is_written_by_who_has_read_it_as_it_is(ledger: &dyn Ledger) {
    let key = AuthorizationKey::new("a");
    assert_eq!(ledger.purchase_get(&key).await.unwrap(), None);
    assert!(!ledger.purchase_put(purchase("a", 1, 10, 100)).await.unwrap(), "there is none yet");
    assert!(ledger.purchase_put(purchase("a", 0, 10, 100)).await.unwrap());
    assert!(!ledger.purchase_put(purchase("a", 0, 20, 100)).await.unwrap(), "there is one");
    let first = Purchase { version: 1, ..purchase("a", 0, 10, 100) };
    assert_eq!(ledger.purchase_get(&key).await.unwrap(), Some(first));
    assert!(ledger.purchase_put(purchase("a", 1, 30, u64::MAX)).await.unwrap());
    let second = ledger.purchase_get(&key).await.unwrap().unwrap();
    assert_eq!((second.version, &*second.body, second.due.0), (2, "é' 1", 30));
}

pub(crate) async fn a_purchase_that_is_due_is_taken_by_one_at_a_time(ledger: &dyn Ledger) {
    for (name, due) in [("a", 30), ("b", 10), ("c", 20), ("d", 40)] {
        assert!(ledger.purchase_put(purchase(name, 0, due, 1_000)).await.unwrap());
    }
    let names = |taken: &[Purchase]| taken.iter().map(|one| one.key.to_string()).collect::<Vec<_>>();
    let mut first = ledger.purchase_due(UnixTime(30), UnixTime(60), 2).await.unwrap();
    first.sort_by(|one, other| one.key.cmp(&other.key));
    assert_eq!(names(&first), ["b", "c"]);
    assert_eq!(names(&ledger.purchase_due(UnixTime(30), UnixTime(60), 5).await.unwrap()), ["a"]);
    assert_eq!(ledger.purchase_due(UnixTime(39), UnixTime(60), 5).await.unwrap(), []);
    // Who took it knows its version; who read it before that does not.
    assert!(!ledger.purchase_put(purchase("b", 1, 99, 1_000)).await.unwrap());
    assert_eq!((first[0].version, first[0].due), (2, UnixTime(60)));
    assert!(ledger.purchase_put(purchase("b", 2, 99, 1_000)).await.unwrap());
    // What nobody finished is due again.
    let again = ledger.purchase_due(UnixTime(60), UnixTime(90), 5).await.unwrap();
    assert_eq!(again.len(), 3);
}

pub(crate) async fn purchases_are_listed_in_order_and_forgotten_after_their_time(ledger: &dyn Ledger) {
    for (name, until) in [("c", 300), ("a", 100), ("b", 200)] {
        assert!(ledger.purchase_put(purchase(name, 0, 10, until)).await.unwrap());
    }
    let names = |list: Vec<Purchase>| list.iter().map(|one| one.key.to_string()).collect::<Vec<_>>();
    assert_eq!(names(ledger.purchase_list(None, 2).await.unwrap()), ["a", "b"]);
    let after = AuthorizationKey::new("b");
    assert_eq!(names(ledger.purchase_list(Some(&after), 2).await.unwrap()), ["c"]);
    assert_eq!(ledger.purchase_sweep(UnixTime(99), 10).await.unwrap(), 0);
    assert_eq!(ledger.purchase_sweep(UnixTime(300), 2).await.unwrap(), 2);
    assert_eq!(names(ledger.purchase_list(None, 10).await.unwrap()), ["c"]);
    assert_eq!(ledger.purchase_sweep(UnixTime(300), 2).await.unwrap(), 1);
    assert!(ledger.purchase_due(UnixTime(500), UnixTime(600), 10).await.unwrap().is_empty());
}

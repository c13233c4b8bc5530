//! Facts: written by who has read them as they are, and what must be true of them.

use tollway_core::UnixTime;
use tollway_ledger::{Condition, Fact, IntentId, Ledger, NewIntent, Opened};

use crate::records::{NOW, fact, hold, intent, opening};

fn absent(scope: &str, name: &str) -> Condition {
    Condition::Absent { scope: scope.to_owned(), name: name.to_owned() }
}

fn equal(scope: &str, name: &str, value: &str, until: u64) -> Condition {
    let (scope, name, value) = (scope.to_owned(), name.to_owned(), value.to_owned());
    Condition::EqualOrSet { scope, name, value, until: UnixTime(until) }
}

fn under(number: u8, now: u64, conditions: Vec<Condition>) -> NewIntent {
    NewIntent { conditions, now: UnixTime(now), ..opening(intent(number), vec![hold("b", 1, 100)]) }
}

pub(crate) async fn a_fact_is_written_by_who_has_read_it_as_it_is(ledger: &dyn Ledger) {
    assert_eq!(ledger.fact_get("s", "é'").await.unwrap(), None);
    assert!(!ledger.fact_put(fact("s", "é'", 1, "a")).await.unwrap(), "there is none yet");
    assert!(ledger.fact_put(fact("s", "é'", 0, "a")).await.unwrap());
    assert!(!ledger.fact_put(fact("s", "é'", 0, "b")).await.unwrap(), "there is one");
    assert_eq!(ledger.fact_get("s", "é'").await.unwrap(), Some(fact("s", "é'", 1, "a")));
    let forever = Fact { until: UnixTime(u64::MAX), ..fact("s", "é'", 1, "{\"b\":'\\'}") };
    assert!(ledger.fact_put(forever).await.unwrap());
    let second = ledger.fact_get("s", "é'").await.unwrap().unwrap();
    let end = i64::MAX.unsigned_abs();
    assert_eq!((second.version, &*second.value, second.until.0), (2, "{\"b\":'\\'}", end));
    assert_eq!(ledger.fact_get("other", "é'").await.unwrap(), None);
    assert!(!ledger.fact_remove("s", "é'", 1).await.unwrap());
    assert!(ledger.fact_remove("s", "é'", 2).await.unwrap());
    assert!(!ledger.fact_remove("s", "é'", 2).await.unwrap());
    assert!(ledger.fact_put(fact("s", "é'", 0, "c")).await.unwrap());
}

pub(crate) async fn facts_are_listed_by_name_and_forgotten_after_their_time(ledger: &dyn Ledger) {
    for (name, until) in [("c", 300), ("a", 100), ("b", 200), ("", 400)] {
        assert!(ledger.fact_put(Fact { until: UnixTime(until), ..fact("s", name, 0, "v") }).await.unwrap());
    }
    assert!(ledger.fact_put(fact("t", "a", 0, "v")).await.unwrap());
    let names = |list: Vec<Fact>| list.into_iter().map(|fact| fact.name).collect::<Vec<_>>();
    assert_eq!(names(ledger.fact_list("s", None, 3).await.unwrap()), ["", "a", "b"]);
    assert_eq!(names(ledger.fact_list("s", Some(""), 3).await.unwrap()), ["a", "b", "c"]);
    assert_eq!(names(ledger.fact_list("s", Some("a"), 1).await.unwrap()), ["b"]);
    assert_eq!(ledger.fact_sweep(UnixTime(99), 10).await.unwrap(), 0);
    assert_eq!(ledger.fact_sweep(UnixTime(300), 2).await.unwrap(), 2);
    assert_eq!(names(ledger.fact_list("s", None, 9).await.unwrap()), ["", "c"], "the first to end go first");
    assert_eq!(ledger.fact_sweep(UnixTime(300), 2).await.unwrap(), 1);
    assert_eq!(names(ledger.fact_list("t", None, 9).await.unwrap()), ["a"]);
}

pub(crate) async fn an_intent_is_opened_only_while_its_conditions_hold(ledger: &dyn Ledger) {
    let frozen = fact("switch", "org", 0, "lost laptop");
    assert!(ledger.fact_put(frozen.clone()).await.unwrap());
    let conditions = vec![equal("pin", "host", "0xa", 5_000), absent("switch", "org")];
    let refused = ledger.intent_open(under(1, 1_000, conditions.clone())).await.unwrap();
    assert_eq!(refused, Opened::Unmet(Fact { version: 1, ..frozen }));
    assert_eq!(ledger.fact_get("pin", "host").await.unwrap(), None, "nothing is pinned by what is refused");
    assert_eq!(ledger.intent_get(IntentId([1; 16])).await.unwrap(), None);
    assert_eq!(ledger.budget_list("", None, 9).await.unwrap(), []);
    // Past its time the switch is off, though it can still be read.
    assert!(matches!(ledger.intent_open(under(1, 2_000, conditions)).await.unwrap(), Opened::Fresh(_)));
    assert!(ledger.fact_get("switch", "org").await.unwrap().is_some());
    let pin = Fact { until: UnixTime(5_000), ..fact("pin", "host", 1, "0xa") };
    assert_eq!(ledger.fact_get("pin", "host").await.unwrap(), Some(pin.clone()));
    let same = vec![equal("pin", "host", "0xa", 9_000), equal("pin", "host", "0xa", 9_000)];
    assert!(matches!(ledger.intent_open(under(2, 4_999, same)).await.unwrap(), Opened::Fresh(_)));
    assert_eq!(
        ledger.fact_get("pin", "host").await.unwrap(),
        Some(pin.clone()),
        "what is equal is not written"
    );
    let other = || vec![equal("pin", "host", "0xb", 9_000)];
    assert_eq!(ledger.intent_open(under(3, 4_999, other())).await.unwrap(), Opened::Unmet(pin));
    assert!(matches!(ledger.intent_open(under(3, 5_000, other())).await.unwrap(), Opened::Fresh(_)));
    let anew = Fact { until: UnixTime(9_000), ..fact("pin", "host", 2, "0xb") };
    assert_eq!(ledger.fact_get("pin", "host").await.unwrap(), Some(anew));
    let two = vec![equal("pin", "new", "a", 9_000), equal("pin", "new", "b", 9_000)];
    let refused = ledger.intent_open(under(4, NOW.0, two)).await.unwrap();
    assert!(matches!(refused, Opened::Unmet(fact) if fact.value == "a"), "conditions see each other");
    assert_eq!(ledger.fact_get("pin", "new").await.unwrap(), None);
}

//! Reservations: the exclusive right to act on one authorization for one request, in memory.
//!
//! A reservation is claimed before anything is served and finished by dropping its [`Hold`], whatever way the
//! request ends: answered, cancelled or panicked. While a hold lives the reservation is running.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tollway_core::{AuthorizationKey, Clock, Fingerprint, UnixTime};

/// How long after its expiry an authorization is still remembered, for clocks that differ.
const MARGIN_SECONDS: u64 = 60;
/// A settled nonce is refused by the chain itself; this long it is refused here.
const SETTLED_SECONDS: u64 = 600;
/// The longest a payment that did not come to an end is remembered, whatever expiry its payer chose.
const UNFINISHED_SECONDS: u64 = 24 * 3600;

/// The table of reservations.
#[derive(Debug)]
pub(crate) struct Reservations {
    table: Mutex<Table>,
    max_entries: usize,
    clock: Arc<dyn Clock>,
}

/// What claiming a reservation came to.
#[derive(Debug)]
pub(crate) enum Claim {
    /// The first time: verify, then serve.
    Fresh(Arc<Hold>),
    /// Presented again after a settlement that is pending, failed, or whose answer was never delivered:
    /// settle first.
    Again(Arc<Hold>),
    /// The same payment for the same request is running.
    Running,
    /// It has bought this request; the transaction.
    Settled(String),
    /// It is bound to another request.
    Elsewhere,
    /// No room.
    Full,
}

/// What will be true of the payment once its hold is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing was settled: the payment is free again.
    Released,
    /// Sent to settle, fate unknown, or settled and not delivered; the transaction, if known.
    Pending(String),
    /// The settlement failed.
    Failed,
    /// Settled and delivered.
    Delivered(String),
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<AuthorizationKey, Entry>,
    /// When to look at which entry. One place per entry at most.
    expiries: BinaryHeap<Reverse<(UnixTime, AuthorizationKey)>>,
}

#[derive(Debug)]
struct Entry {
    fingerprint: Fingerprint,
    state: State,
    valid_before: UnixTime,
    drop_after: UnixTime,
    is_queued: bool,
}

#[derive(Clone, Debug)]
enum State {
    Running,
    Ended(Fate),
}

impl Reservations {
    pub(crate) fn new(max_entries: usize, clock: Arc<dyn Clock>) -> Self {
        Self { table: Mutex::default(), max_entries, clock }
    }

    /// Claims `key` for the request `fingerprint`, or tells its state: one atomic step.
    pub(crate) fn reservation_insert(
        self: &Arc<Self>,
        key: &AuthorizationKey,
        fingerprint: Fingerprint,
        valid_before: UnixTime,
    ) -> Claim {
        let mut table = self.table.lock();
        table.sweep(self.clock.now());
        if let Some(entry) = table.entries.get_mut(key) {
            if entry.fingerprint != fingerprint {
                return Claim::Elsewhere;
            }
            return match entry.state.clone() {
                State::Running => Claim::Running,
                State::Ended(Fate::Delivered(transaction)) => Claim::Settled(transaction),
                State::Ended(fate) => {
                    entry.state = State::Running;
                    Claim::Again(Hold::new(self, key, fate))
                }
            };
        }
        if table.entries.len() >= self.max_entries {
            return Claim::Full;
        }
        let drop_after = UnixTime(u64::MAX);
        let state = State::Running;
        let entry = Entry { fingerprint, state, valid_before, drop_after, is_queued: false };
        table.entries.insert(key.clone(), entry);
        Claim::Fresh(Hold::new(self, key, Fate::Released))
    }

    /// Whether `key` is held and did not come to an end.
    pub(crate) fn reservation_is_open(&self, key: &AuthorizationKey) -> bool {
        let table = self.table.lock();
        let entry = table.entries.get(key);
        entry.is_some_and(|entry| !matches!(entry.state, State::Ended(Fate::Delivered(_))))
    }

    /// How many reservations are remembered.
    pub(crate) fn reservation_count(&self) -> usize {
        self.table.lock().entries.len()
    }

    fn reservation_finish(&self, hold: &Hold) {
        let fate = hold.fate.lock().clone();
        let now = self.clock.now();
        let mut table = self.table.lock();
        let Some(entry) = table.entries.get_mut(&hold.key) else { return };
        let expired = entry.valid_before.plus_seconds(MARGIN_SECONDS);
        entry.drop_after = match &fate {
            Fate::Released => {
                table.entries.remove(&hold.key);
                return;
            }
            // Presented again it is fresh, and the facilitator is asked to verify a spent nonce.
            Fate::Delivered(_) => expired.min(now.plus_seconds(SETTLED_SECONDS)),
            Fate::Pending(_) | Fate::Failed => {
                expired.max(now.plus_seconds(SETTLED_SECONDS)).min(now.plus_seconds(UNFINISHED_SECONDS))
            }
        };
        entry.state = State::Ended(fate);
        if !entry.is_queued {
            entry.is_queued = true;
            let place = Reverse((entry.drop_after, hold.key.clone()));
            table.expiries.push(place);
        }
    }
}

impl Table {
    /// Forgets what has expired. An entry that is running, or was given more time, keeps its place.
    fn sweep(&mut self, now: UnixTime) {
        while self.expiries.peek().is_some_and(|Reverse((at, _))| *at < now) {
            let Some(Reverse((_, key))) = self.expiries.pop() else { return };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            match entry.state {
                // It queues again when it ends.
                State::Running => entry.is_queued = false,
                State::Ended(_) if entry.drop_after >= now => {
                    let place = Reverse((entry.drop_after, key));
                    self.expiries.push(place);
                }
                State::Ended(_) => {
                    self.entries.remove(&key);
                }
            }
        }
    }
}

/// A running reservation. Shared by the request and its settlement; the last of them to go finishes it.
#[derive(Debug)]
pub(crate) struct Hold {
    store: Arc<Reservations>,
    key: AuthorizationKey,
    fate: Mutex<Fate>,
}

impl Hold {
    fn new(store: &Arc<Reservations>, key: &AuthorizationKey, fate: Fate) -> Arc<Self> {
        Arc::new(Self { store: Arc::clone(store), key: key.clone(), fate: Mutex::new(fate) })
    }

    /// Writes down what is true if everything stops here. Called before acting, then again with the result.
    pub(crate) fn set_fate(&self, fate: Fate) {
        *self.fate.lock() = fate;
    }

    /// What is written down.
    pub(crate) fn fate(&self) -> Fate {
        self.fate.lock().clone()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.store.reservation_finish(self);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tollway_core::{AuthorizationKey, Fingerprint, ManualClock, UnixTime};

    use super::{Claim, Fate, Reservations};

    fn fingerprint(path: &str) -> Fingerprint {
        Fingerprint::of("GET", &format!("https://x/{path}").parse().unwrap(), b"")
    }

    fn store(max: usize) -> (Arc<Reservations>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(UnixTime(1_000)));
        (Arc::new(Reservations::new(max, clock.clone())), clock)
    }

    fn claim(store: &Arc<Reservations>, key: &str, valid_before: u64) -> Claim {
        store.reservation_insert(&AuthorizationKey::new(key), fingerprint("a"), UnixTime(valid_before))
    }

    fn end(claim: Claim, fate: Fate) {
        match claim {
            Claim::Fresh(hold) | Claim::Again(hold) => hold.set_fate(fate),
            other => panic!("no hold: {other:?}"),
        }
    }

    #[test]
    fn a_running_reservation_is_exclusive_and_a_dropped_one_is_free_again() {
        let (store, _) = store(10);
        let Claim::Fresh(hold) = claim(&store, "k", 1_300) else { panic!("not fresh") };
        assert!(matches!(claim(&store, "k", 1_300), Claim::Running));
        let other = store.reservation_insert(&AuthorizationKey::new("k"), fingerprint("b"), UnixTime(1_300));
        assert!(matches!(other, Claim::Elsewhere));
        drop(hold);
        assert_eq!(store.reservation_count(), 0);
        assert!(matches!(claim(&store, "k", 1_300), Claim::Fresh(_)));
    }

    #[test]
    fn an_unfinished_payment_settles_first_and_a_delivered_one_is_used() {
        let (store, _) = store(10);
        end(claim(&store, "k", 1_300), Fate::Pending("0x1".to_owned()));
        let Claim::Again(hold) = claim(&store, "k", 1_300) else { panic!("not again") };
        assert_eq!(hold.fate(), Fate::Pending("0x1".to_owned()));
        drop(hold);
        end(claim(&store, "k", 1_300), Fate::Failed);
        end(claim(&store, "k", 1_300), Fate::Delivered("0x2".to_owned()));
        assert!(matches!(claim(&store, "k", 1_300), Claim::Settled(tx) if tx == "0x2"));
    }

    #[test]
    fn a_full_table_denies() {
        let (store, _) = store(1);
        let first = claim(&store, "a", 1_300);
        assert!(matches!(claim(&store, "b", 1_300), Claim::Full));
        drop(first);
        assert!(matches!(claim(&store, "b", 1_300), Claim::Fresh(_)));
    }

    #[test]
    fn an_entry_goes_after_its_expiry_and_a_running_one_never() {
        let (store, clock) = store(10);
        let running = claim(&store, "running", 1_300);
        end(claim(&store, "failed", 1_300), Fate::Failed);
        end(claim(&store, "settled far", u64::MAX), Fate::Delivered("0x1".to_owned()));
        clock.set(UnixTime(1_601));
        drop(claim(&store, "sweeper", 2_000));
        assert_eq!(store.reservation_count(), 1, "only the running one is left");
        end(running, Fate::Failed);
        clock.set(UnixTime(10_000));
        drop(claim(&store, "sweeper", 20_000));
        assert_eq!(store.reservation_count(), 0);
    }

    #[test]
    fn presenting_again_and_again_takes_no_memory() {
        let (store, _) = store(10);
        for _ in 0..100 {
            end(claim(&store, "k", 1_300), Fate::Failed);
        }
        assert_eq!(store.table.lock().expiries.len(), 1);
    }
}

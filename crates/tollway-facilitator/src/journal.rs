//! The journal: what happened to each payment, by authorization key. In memory for now; the methods are those
//! of a durable store.

use std::collections::{HashMap, VecDeque};

use alloy_primitives::B256;
use parking_lot::Mutex;
use tokio::sync::watch;
use tollway_core::{AuthorizationKey, ErrorCode, UnixTime};

/// Every payment that was accepted for settlement and is not yet forgotten.
#[derive(Debug)]
pub(crate) struct Journal {
    rows: Mutex<Rows>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Rows {
    by_key: HashMap<AuthorizationKey, Row>,
    /// Terminal rows in the order they ended, with the time they may be forgotten.
    ended: VecDeque<(UnixTime, AuthorizationKey)>,
    /// How many rows are not terminal.
    open: usize,
}

#[derive(Debug)]
struct Row {
    progress: watch::Sender<Progress>,
    valid_before: UnixTime,
}

/// How far a payment has come. It only ever moves down this list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Reserved for settlement. Nothing is signed: it can still be withdrawn.
    Reserved,
    /// A lane has taken it into a transaction that is being built.
    Claimed,
    /// The signed transaction is written down, and may be out.
    Sent { transaction: B256 },
    /// Proved by the token's `Transfer` event.
    Settled { transaction: B256, log_index: u64 },
    /// No money moved by this attempt: the payment's fault.
    Failed { code: ErrorCode, message: String },
    /// Nothing was sent: the facilitator's or its node's fault.
    Abandoned { message: String },
}

impl Progress {
    pub(crate) const fn is_terminal(&self) -> bool {
        matches!(self, Self::Settled { .. } | Self::Failed { .. } | Self::Abandoned { .. })
    }

    /// Ended without money moved: the same authorization may be presented again.
    pub(crate) const fn may_be_retried(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Abandoned { .. })
    }

    /// No transaction is known yet.
    pub(crate) const fn is_waiting(&self) -> bool {
        matches!(self, Self::Reserved | Self::Claimed)
    }
}

/// What came of asking for a reservation.
#[derive(Debug)]
pub(crate) enum Reservation {
    /// The caller is the one who settles.
    New(watch::Receiver<Progress>),
    /// Somebody was here before; this is how far it has come.
    Existing(watch::Receiver<Progress>),
    /// No room: nothing can be promised.
    Full,
}

impl Journal {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { rows: Mutex::default(), capacity }
    }

    /// Reserves `key`, or tells who was first. A payment that failed may be tried again.
    pub(crate) fn reservation_insert(
        &self,
        key: &AuthorizationKey,
        valid_before: UnixTime,
        now: UnixTime,
    ) -> Reservation {
        let mut rows = self.rows.lock();
        rows.forget_until(now);
        if let Some(row) = rows.by_key.get(key)
            && !row.progress.borrow().may_be_retried()
        {
            return Reservation::Existing(row.progress.subscribe());
        }
        if rows.by_key.len() >= self.capacity {
            return Reservation::Full;
        }
        let (progress, receiver) = watch::channel(Progress::Reserved);
        rows.by_key.insert(key.clone(), Row { progress, valid_before });
        rows.open += 1;
        Reservation::New(receiver)
    }

    /// How far `key` has come, if it is known.
    pub(crate) fn progress(&self, key: &AuthorizationKey) -> Option<watch::Receiver<Progress>> {
        self.rows.lock().by_key.get(key).map(|row| row.progress.subscribe())
    }

    /// Takes back a reservation that no lane has claimed. False: too late, a transaction may exist.
    pub(crate) fn reservation_withdraw(&self, key: &AuthorizationKey) -> bool {
        let mut rows = self.rows.lock();
        let reserved = rows.by_key.get(key).is_some_and(|row| *row.progress.borrow() == Progress::Reserved);
        if reserved {
            rows.by_key.remove(key);
            rows.open -= 1;
        }
        reserved
    }

    /// Takes a reservation into a transaction. False: it was withdrawn.
    pub(crate) fn claim(&self, key: &AuthorizationKey) -> bool {
        let rows = self.rows.lock();
        rows.by_key.get(key).is_some_and(|row| {
            row.progress.send_if_modified(|progress| {
                let reserved = *progress == Progress::Reserved;
                if reserved {
                    *progress = Progress::Claimed;
                }
                reserved
            })
        })
    }

    /// Writes down how far `key` has come. A terminal row never changes.
    pub(crate) fn append(&self, key: &AuthorizationKey, next: Progress) {
        let mut rows = self.rows.lock();
        let Some(row) = rows.by_key.get(key) else { return };
        let ended = next.is_terminal();
        let valid_before = row.valid_before;
        let changed = row.progress.send_if_modified(|progress| {
            let open = !progress.is_terminal();
            if open {
                *progress = next;
            }
            open
        });
        if changed && ended {
            rows.open -= 1;
            rows.ended.push_back((valid_before, key.clone()));
        }
    }

    /// How many payments are neither settled nor failed.
    pub(crate) fn open_count(&self) -> usize {
        self.rows.lock().open
    }
}

impl Rows {
    /// Forgets ended payments whose authorization has expired: the token refuses them from then on. Only the
    /// oldest are looked at, so the cost is spread over the reservations that come.
    fn forget_until(&mut self, now: UnixTime) {
        for _ in 0..4 {
            let Some((valid_before, key)) = self.ended.pop_front() else { return };
            if valid_before > now {
                self.ended.push_back((valid_before, key));
            } else if self.by_key.get(&key).is_some_and(|row| row.progress.borrow().is_terminal()) {
                self.by_key.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;
    use tollway_core::{AuthorizationKey, ErrorCode, UnixTime};

    use super::{Journal, Progress, Reservation};

    fn key(n: u32) -> AuthorizationKey {
        AuthorizationKey::new(format!("k{n}"))
    }

    fn settled() -> Progress {
        Progress::Settled { transaction: B256::ZERO, log_index: 0 }
    }

    #[test]
    fn one_key_has_one_actor() {
        let journal = Journal::new(10);
        let (expiry, now) = (UnixTime(100), UnixTime(0));
        assert!(matches!(journal.reservation_insert(&key(1), expiry, now), Reservation::New(_)));
        assert!(matches!(journal.reservation_insert(&key(1), expiry, now), Reservation::Existing(_)));
        assert!(journal.claim(&key(1)) && !journal.claim(&key(1)));
        assert!(!journal.reservation_withdraw(&key(1)), "too late: a lane has it");
        journal.append(&key(1), settled());
        assert!(matches!(journal.reservation_insert(&key(1), expiry, now), Reservation::Existing(_)));
    }

    #[test]
    fn a_withdrawn_reservation_is_never_sent_and_a_failed_one_may_be_retried() {
        let journal = Journal::new(10);
        let (expiry, now) = (UnixTime(100), UnixTime(0));
        journal.reservation_insert(&key(1), expiry, now);
        assert!(journal.reservation_withdraw(&key(1)) && !journal.claim(&key(1)));
        journal.reservation_insert(&key(2), expiry, now);
        let code = ErrorCode::INVALID_TRANSACTION_STATE;
        journal.append(&key(2), Progress::Failed { code, message: String::new() });
        assert!(matches!(journal.reservation_insert(&key(2), expiry, now), Reservation::New(_)));
    }

    #[test]
    fn an_outcome_never_changes() {
        let journal = Journal::new(10);
        journal.reservation_insert(&key(1), UnixTime(100), UnixTime(0));
        journal.append(&key(1), settled());
        journal.append(&key(1), Progress::Sent { transaction: B256::ZERO });
        assert_eq!(*journal.progress(&key(1)).unwrap().borrow(), settled());
    }

    #[test]
    fn the_journal_is_bounded_and_forgets_only_what_has_ended_and_expired() {
        let journal = Journal::new(2);
        journal.reservation_insert(&key(1), UnixTime(100), UnixTime(0));
        journal.reservation_insert(&key(2), UnixTime(100), UnixTime(0));
        assert!(matches!(journal.reservation_insert(&key(3), UnixTime(100), UnixTime(0)), Reservation::Full));
        journal.append(&key(1), settled());
        assert!(matches!(
            journal.reservation_insert(&key(3), UnixTime(100), UnixTime(99)),
            Reservation::Full
        ));
        assert!(matches!(
            journal.reservation_insert(&key(3), UnixTime(200), UnixTime(100)),
            Reservation::New(_)
        ));
        assert!(journal.progress(&key(2)).is_some(), "open: kept although expired");
        assert_eq!(journal.open_count(), 2);
    }
}

//! The journal: what happened to each payment, by authorization key. In memory for now; the methods are those
//! of a durable store.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use alloy_primitives::B256;
use parking_lot::Mutex;
use tokio::sync::watch;
use tollway_core::{AuthorizationKey, ErrorCode, FacilitatorError, UnixTime};
use tollway_evm::SignedTransaction;
use tollway_evm::exact::ExactPayment;

/// How long an ended payment is remembered beyond its expiry: for those who ask late.
const REMEMBER_SECONDS: u64 = 3_600;
/// How many signed transactions of one payment are remembered.
const MOST_SIGNED: usize = 16;

/// Every payment that was accepted for settlement and is not yet forgotten.
#[derive(Debug)]
pub(crate) struct Journal {
    rows: Mutex<Rows>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Rows {
    by_key: HashMap<AuthorizationKey, Arc<Row>>,
    /// Ended rows by the time they may be forgotten; one place a key.
    ended: BTreeSet<(UnixTime, AuthorizationKey)>,
}

/// One payment on its way. Whoever acts on it holds the row itself: a key may come back with another.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) payment: ExactPayment,
    progress: watch::Sender<Progress>,
    /// Every transaction that was signed for it, with its bytes: any of them may be included.
    signed: Mutex<Vec<SignedTransaction>>,
}

/// How far a payment has come.
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

    /// Nothing was sent, because of `error`.
    pub(crate) fn abandoned(error: &FacilitatorError) -> Self {
        let message = match error {
            FacilitatorError::Busy(message) => message.clone(),
            other => other.to_string(),
        };
        Self::Abandoned { message }
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
    New(Arc<Row>),
    /// Somebody was here before with the same authorization.
    Existing(Arc<Row>),
    /// The payer signed something else under the same nonce: only one of the two can ever be used.
    Other,
    /// No room: nothing can be promised.
    Full,
}

impl Journal {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { rows: Mutex::default(), capacity }
    }

    /// Reserves the authorization, or tells who was first. A payment that failed may be tried again.
    pub(crate) fn reservation_insert(&self, payment: &ExactPayment, now: UnixTime) -> Reservation {
        let key = payment.key();
        let mut rows = self.rows.lock();
        rows.forget_until(now);
        let mut signed = Vec::new();
        if let Some(row) = rows.by_key.get(&key) {
            // The payer controls what is signed under a nonce; the fate of one is not the fate of the other.
            if row.payment.authorization != payment.authorization {
                return Reservation::Other;
            }
            if !row.progress().may_be_retried() {
                return Reservation::Existing(Arc::clone(row));
            }
            signed = row.signed.lock().clone();
        } else if rows.by_key.len() >= self.capacity && !rows.make_room(now) {
            return Reservation::Full;
        }
        rows.ended.remove(&(remembered_until(payment), key.clone()));
        let row = Arc::new(Row {
            payment: payment.clone(),
            progress: watch::channel(Progress::Reserved).0,
            signed: Mutex::new(signed),
        });
        rows.by_key.insert(key, Arc::clone(&row));
        Reservation::New(row)
    }

    /// The row under the payment's key, whatever was signed.
    pub(crate) fn row(&self, payment: &ExactPayment) -> Option<Arc<Row>> {
        self.rows.lock().by_key.get(&payment.key()).map(Arc::clone)
    }

    /// Takes back a reservation that no lane has claimed. False: too late, a transaction may exist.
    pub(crate) fn reservation_withdraw(&self, row: &Arc<Row>) -> bool {
        let withdrawn = Progress::Abandoned { message: "no lane was free in time".to_owned() };
        let taken = row.advance(withdrawn, |progress| *progress == Progress::Reserved);
        if taken {
            self.end(row);
        }
        taken
    }

    /// Writes down how a payment ended. What has ended stays as it ended.
    pub(crate) fn finish(&self, row: &Arc<Row>, ended: Progress) {
        if row.advance(ended, |progress| !progress.is_terminal()) {
            self.end(row);
        }
    }

    /// How many payments are neither settled nor failed.
    pub(crate) fn open_count(&self) -> usize {
        let rows = self.rows.lock();
        rows.by_key.len().saturating_sub(rows.ended.len())
    }

    /// A row that never had a transaction leaves nothing to remember: strangers cannot fill the journal.
    fn end(&self, row: &Arc<Row>) {
        let key = row.payment.key();
        let mut rows = self.rows.lock();
        if !rows.by_key.get(&key).is_some_and(|current| Arc::ptr_eq(current, row)) {
            return;
        }
        if row.signed.lock().is_empty() {
            rows.by_key.remove(&key);
        } else {
            rows.ended.insert((remembered_until(&row.payment), key));
        }
    }
}

/// No block after the expiry can settle it; this is the time for those who ask late.
fn remembered_until(payment: &ExactPayment) -> UnixTime {
    payment.authorization.expires().plus_seconds(REMEMBER_SECONDS)
}

impl Row {
    /// How far it has come.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// To wait for how it goes on.
    pub(crate) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Takes a reservation into a transaction. False: it was withdrawn.
    pub(crate) fn claim(&self) -> bool {
        self.advance(Progress::Claimed, |progress| *progress == Progress::Reserved)
    }

    /// Writes down a signed transaction. From here on it may be out.
    pub(crate) fn record_sent(&self, signed: &SignedTransaction) {
        let mut all = self.signed.lock();
        if all.iter().all(|known| known.hash != signed.hash) {
            // The latest are the ones that may still be out.
            if all.len() == MOST_SIGNED {
                all.remove(0);
            }
            all.push(signed.clone());
        }
        drop(all);
        let sent = Progress::Sent { transaction: signed.hash };
        self.advance(sent, |progress| !progress.is_terminal());
    }

    /// Pending again, by the latest transaction that was signed for it earlier.
    pub(crate) fn resume(&self) {
        let Some(transaction) = self.signed.lock().last().map(|signed| signed.hash) else { return };
        self.advance(Progress::Sent { transaction }, |progress| !progress.is_terminal());
    }

    /// A node rejected the transaction for good: it is not out.
    pub(crate) fn forget_sent(&self, signed: &SignedTransaction) {
        self.signed.lock().retain(|known| known.hash != signed.hash);
    }

    /// The transactions that were signed for it and may be out.
    pub(crate) fn transactions(&self) -> Vec<B256> {
        self.signed.lock().iter().map(|signed| signed.hash).collect()
    }

    fn advance(&self, next: Progress, from: impl FnOnce(&Progress) -> bool) -> bool {
        self.progress.send_if_modified(|progress| {
            let may = from(progress);
            if may {
                *progress = next;
            }
            may
        })
    }
}

impl Rows {
    /// Forgets the ended row that expired first, before its time: remembering it was a courtesy.
    fn make_room(&mut self, now: UnixTime) -> bool {
        let Some((until, _)) = self.ended.first() else { return false };
        if *until > now.plus_seconds(REMEMBER_SECONDS) {
            return false;
        }
        self.ended.pop_first().is_some_and(|(_, key)| self.by_key.remove(&key).is_some())
    }

    fn forget_until(&mut self, now: UnixTime) {
        while let Some((until, _)) = self.ended.first() {
            if *until > now {
                return;
            }
            let Some((_, key)) = self.ended.pop_first() else { return };
            self.by_key.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use alloy_primitives::{Address, B256, Bytes, Signature, U256};
    use tollway_core::{ErrorCode, Network, UnixTime};
    use tollway_evm::SignedTransaction;
    use tollway_evm::exact::{Authorization, ExactPayment};

    use super::{Journal, MOST_SIGNED, Progress, Reservation, Row};

    const NOW: UnixTime = UnixTime(0);

    fn payment(nonce: u8, value: u64) -> ExactPayment {
        ExactPayment {
            authorization: Authorization {
                from: Address::repeat_byte(1),
                to: Address::repeat_byte(2),
                value: U256::from(value),
                valid_after: U256::ZERO,
                valid_before: U256::from(100),
                nonce: B256::repeat_byte(nonce),
            },
            signature: Signature::test_signature(),
            asset: Address::repeat_byte(3),
            network: Network::evm(1),
        }
    }

    fn new(journal: &Journal, payment: &ExactPayment) -> Arc<Row> {
        match journal.reservation_insert(payment, NOW) {
            Reservation::New(row) => row,
            other => panic!("not new: {other:?}"),
        }
    }

    fn signed(hash: u8) -> SignedTransaction {
        SignedTransaction { hash: B256::repeat_byte(hash), raw: Bytes::new() }
    }

    fn settled() -> Progress {
        Progress::Settled { transaction: B256::repeat_byte(1), log_index: 0 }
    }

    fn failed() -> Progress {
        Progress::Failed { code: ErrorCode::INVALID_TRANSACTION_STATE, message: String::new() }
    }

    #[test]
    fn one_authorization_has_one_actor() {
        let journal = Journal::new(10);
        let row = new(&journal, &payment(1, 5));
        assert!(matches!(journal.reservation_insert(&payment(1, 5), NOW), Reservation::Existing(_)));
        assert!(row.claim() && !row.claim());
        assert!(!journal.reservation_withdraw(&row), "too late: a lane has it");
        row.record_sent(&signed(1));
        journal.finish(&row, settled());
        assert!(matches!(journal.reservation_insert(&payment(1, 5), NOW), Reservation::Existing(_)));
        assert_eq!(journal.open_count(), 0);
    }

    #[test]
    fn another_authorization_under_the_same_nonce_does_not_share_its_fate() {
        let journal = Journal::new(10);
        let row = new(&journal, &payment(1, 5));
        row.record_sent(&signed(1));
        assert!(matches!(journal.reservation_insert(&payment(1, 6), NOW), Reservation::Other));
        journal.finish(&row, settled());
        assert!(matches!(journal.reservation_insert(&payment(1, 6), NOW), Reservation::Other));
    }

    #[test]
    fn who_holds_an_old_row_cannot_touch_a_newer_one() {
        let journal = Journal::new(10);
        let old = new(&journal, &payment(1, 5));
        assert!(journal.reservation_withdraw(&old));
        let newer = new(&journal, &payment(1, 6));
        assert!(!old.claim(), "a withdrawn job is never sent");
        assert!(!journal.reservation_withdraw(&old));
        journal.finish(&old, settled());
        assert_eq!((newer.progress(), journal.open_count()), (Progress::Reserved, 1));
    }

    #[test]
    fn what_failed_may_be_tried_again_and_keeps_its_transactions() {
        let journal = Journal::new(10);
        let row = new(&journal, &payment(1, 5));
        row.record_sent(&signed(1));
        journal.finish(&row, failed());
        let again = new(&journal, &payment(1, 5));
        again.record_sent(&signed(2));
        assert_eq!(again.transactions(), [B256::repeat_byte(1), B256::repeat_byte(2)]);
        assert_eq!(journal.open_count(), 1);
    }

    #[test]
    fn a_payment_remembers_a_bounded_number_of_transactions_that_may_be_out() {
        let journal = Journal::new(10);
        let row = new(&journal, &payment(1, 5));
        for hash in 0..40 {
            row.record_sent(&signed(hash));
            row.record_sent(&signed(hash));
        }
        assert_eq!((row.transactions().len(), row.transactions()[0]), (MOST_SIGNED, B256::repeat_byte(24)));
        row.forget_sent(&signed(39));
        assert!(!row.transactions().contains(&B256::repeat_byte(39)), "rejected for good");
    }

    #[test]
    fn an_outcome_never_changes() {
        let journal = Journal::new(10);
        let row = new(&journal, &payment(1, 5));
        row.record_sent(&signed(1));
        journal.finish(&row, settled());
        row.record_sent(&signed(2));
        journal.finish(&row, failed());
        assert_eq!(row.progress(), settled());
    }

    #[test]
    fn the_journal_is_bounded_and_strangers_cannot_fill_it() {
        let journal = Journal::new(2);
        for nonce in 0..50 {
            journal.finish(&new(&journal, &payment(nonce, 5)), failed());
        }
        let open = new(&journal, &payment(1, 5));
        let sent = new(&journal, &payment(2, 5));
        sent.record_sent(&signed(1));
        assert!(matches!(journal.reservation_insert(&payment(3, 5), NOW), Reservation::Full));
        journal.finish(&sent, settled());
        let expired = UnixTime(100);
        let before = UnixTime(expired.0 - 1);
        assert!(
            matches!(journal.reservation_insert(&payment(3, 5), before), Reservation::Full),
            "still valid"
        );
        assert!(
            matches!(journal.reservation_insert(&payment(3, 5), expired), Reservation::New(_)),
            "makes room"
        );
        assert_eq!(
            (open.progress(), journal.open_count()),
            (Progress::Reserved, 2),
            "open: kept although expired"
        );
    }
}

//! Reservations: the exclusive right to act on one authorization for one request, over the ledger.
//!
//! A reservation is claimed before anything is served. Its [`Hold`] is finished where the request ends, and waited for
//! there; a hold that is dropped instead (the buyer hung up, the handler panicked) finishes in the background. What lives
//! here: the right and its end. What does not: where it is written (`tollway-ledger`), and what a payment has come to
//! (`phase`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tollway_core::{AuthorizationKey, Clock, Fingerprint, UnixTime};
use tollway_ledger::{
    Claim, Fate, Finish, Finished, Ledger, LedgerError, NewReservation, OwedLimits, PaymentIdentifier,
    StoredResponse, Token,
};

use crate::membership::{LEDGER_DEADLINE, Membership, bounded};

/// How long after its expiry an authorization is still remembered, for clocks that differ.
pub(crate) const MARGIN_SECONDS: u64 = 60;
/// A settled nonce is refused by the chain itself; this long it is refused here.
const SETTLED_SECONDS: u64 = 600;
/// The longest a payment that did not come to an end is remembered, whatever expiry its payer chose.
pub(crate) const UNFINISHED_SECONDS: u64 = 24 * 3600;
/// How many holds may wait to be finished in the background. Above that they stay running until this seller ends.
const MAX_FINISHING: usize = 10_000;
/// How long a finish is tried in the background.
const FINISH_FOR: Duration = Duration::from_secs(600);
/// How long a claim whose answer was lost may take to show up, to be given back.
const GIVE_BACK_FOR: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// This seller's way to the reservations.
#[derive(Debug)]
pub(crate) struct Reservations {
    ledger: Arc<dyn Ledger>,
    pub(crate) membership: Membership,
    clock: Arc<dyn Clock>,
    capacity: u64,
    next_token: AtomicU64,
    finishing: AtomicUsize,
    runtime: Handle,
}

/// What is to be reserved.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) key: AuthorizationKey,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) payer: String,
    pub(crate) identifier: Option<PaymentIdentifier>,
    pub(crate) valid_before: UnixTime,
}

/// What claiming a reservation came to.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// The first time: verify, then serve.
    Fresh(Arc<Hold>),
    /// Presented again after a settlement that is pending, failed, or whose answer was never delivered:
    /// settle first.
    Again(Arc<Hold>),
    /// The same payment for the same request is running.
    Running,
    /// It has bought this request.
    Delivered { transaction: String, response: Option<StoredResponse> },
    /// It is bound to another request.
    Elsewhere,
    /// The payment identifier names something else.
    IdentifierTaken,
    /// No room.
    Full,
}

impl Reservations {
    pub(crate) fn new(
        ledger: Arc<dyn Ledger>,
        membership: Membership,
        clock: Arc<dyn Clock>,
        capacity: usize,
    ) -> Result<Self, getrandom::Error> {
        // A random start and steps of one: tokens differ within a seller for certain, and between sellers as well as.
        let next_token = AtomicU64::new(getrandom::u64()?);
        let capacity = u64::try_from(capacity).unwrap_or(u64::MAX);
        let (finishing, runtime) = (AtomicUsize::new(0), Handle::current());
        Ok(Self { ledger, membership, clock, capacity, next_token, finishing, runtime })
    }

    /// The ledger itself.
    pub(crate) fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.ledger
    }

    /// Claims what is wanted, or tells its state: one step of the ledger's.
    pub(crate) async fn reservation_insert(self: &Arc<Self>, wanted: Wanted) -> Result<Claimed, LedgerError> {
        let store = Arc::clone(self);
        // In a task of its own: a buyer who hangs up now must not leave a claim whose answer nobody hears.
        let claim = tokio::spawn(async move { store.claim(wanted).await });
        claim.await.unwrap_or_else(|_| Err(LedgerError::Unavailable("the claim broke off".to_owned())))
    }

    /// Whether `key` is reserved and did not come to an end.
    pub(crate) async fn reservation_is_open(&self, key: &AuthorizationKey) -> Result<bool, LedgerError> {
        bounded(self.ledger.reservation_is_open(key, self.clock.now())).await
    }

    /// How many reservations are remembered.
    pub(crate) async fn reservation_count(&self) -> Result<u64, LedgerError> {
        bounded(self.ledger.reservation_count()).await
    }

    async fn claim(self: Arc<Self>, wanted: Wanted) -> Result<Claimed, LedgerError> {
        let Some(member) = self.membership.member().await else {
            return Err(LedgerError::Unavailable("this seller is no member of it now".to_owned()));
        };
        let hold = Hold::new(&self, &wanted);
        let new = NewReservation {
            key: wanted.key,
            fingerprint: wanted.fingerprint,
            payer: wanted.payer,
            identifier: wanted.identifier,
            member,
            token: hold.token,
            valid_before: wanted.valid_before,
            now: self.clock.now(),
            capacity: self.capacity,
        };
        // An error drops the hold, and with it goes back what may have been claimed.
        Ok(match bounded(self.ledger.reservation_insert(new)).await? {
            Claim::Fresh => Claimed::Fresh(hold.claimed(Fate::Released)),
            Claim::Again(fate) => Claimed::Again(hold.claimed(fate)),
            other => {
                hold.state.lock().is_over = true;
                match other {
                    Claim::Delivered { transaction, response } => {
                        Claimed::Delivered { transaction, response }
                    }
                    Claim::Elsewhere => Claimed::Elsewhere,
                    Claim::IdentifierTaken => Claimed::IdentifierTaken,
                    Claim::Full => Claimed::Full,
                    _ => Claimed::Running,
                }
            }
        })
    }

    /// Until when a payment is remembered: as long as it could be presented, delivered or not. A delivered one that were
    /// forgotten could be claimed anew, and after the death of its holder be settled "again" instead of verified.
    fn keep_until(valid_before: UnixTime, now: UnixTime) -> UnixTime {
        let expired = valid_before.plus_seconds(MARGIN_SECONDS);
        let soon = now.plus_seconds(SETTLED_SECONDS);
        expired.max(soon).min(now.plus_seconds(UNFINISHED_SECONDS))
    }

    /// Writes an end down when its request is gone.
    fn finish_later(self: &Arc<Self>, finish: Finish, is_unsure: bool) {
        if self.finishing.fetch_add(1, Ordering::SeqCst) >= MAX_FINISHING {
            self.finishing.fetch_sub(1, Ordering::SeqCst);
            tracing::error!(key = %finish.key, "too many reservations wait for the ledger: this one stays held");
            return;
        }
        let store = Arc::clone(self);
        self.runtime.spawn(async move {
            store.finish_patiently(finish, is_unsure).await;
            store.finishing.fetch_sub(1, Ordering::SeqCst);
        });
    }

    async fn finish_patiently(&self, finish: Finish, is_unsure: bool) {
        let patience = if is_unsure { GIVE_BACK_FOR } else { FINISH_FOR };
        let give_up = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            match bounded(self.ledger.reservation_finish(finish.clone())).await {
                // A claim whose answer was lost may still arrive after its end.
                Ok(_) if is_unsure => {}
                Ok(_) => return,
                Err(error) => tracing::warn!(%error, key = %finish.key, "a reservation is not finished yet"),
            }
            if Instant::now() + pause >= give_up {
                if !is_unsure {
                    tracing::error!(key = %finish.key, "a reservation stays held until this seller ends");
                }
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// A running reservation. Shared by the request and its settlement; what is not finished when the last of them goes, is
/// then.
#[derive(Debug)]
pub(crate) struct Hold {
    store: Arc<Reservations>,
    key: AuthorizationKey,
    token: Token,
    valid_before: UnixTime,
    state: Mutex<HoldState>,
}

#[derive(Debug)]
struct HoldState {
    fate: Fate,
    /// Remembered at least so long, whatever its fate.
    keep_until: UnixTime,
    /// Whether the claim's answer was never heard.
    is_unsure: bool,
    is_over: bool,
}

impl Hold {
    /// A hold for a claim still to be made. Dropped before its answer is there, what it may have claimed rests as before.
    fn new(store: &Arc<Reservations>, wanted: &Wanted) -> Self {
        let token = Token(store.next_token.fetch_add(1, Ordering::SeqCst));
        let state =
            HoldState { fate: Fate::Released, keep_until: UnixTime(0), is_unsure: true, is_over: false };
        let (store, state) = (Arc::clone(store), Mutex::new(state));
        Self { store, key: wanted.key.clone(), token, valid_before: wanted.valid_before, state }
    }

    fn claimed(self, fate: Fate) -> Arc<Self> {
        {
            let mut state = self.state.lock();
            state.fate = fate;
            state.is_unsure = false;
        }
        Arc::new(self)
    }

    /// What is shown to finish it.
    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// Notes what is true if everything stops here. Called before acting, then again with the result.
    pub(crate) fn set_fate(&self, fate: Fate) {
        self.state.lock().fate = fate;
    }

    /// What is noted.
    pub(crate) fn fate(&self) -> Fate {
        self.state.lock().fate.clone()
    }

    /// Has the payment remembered until `time` at least.
    pub(crate) fn keep_until(&self, time: UnixTime) {
        let mut state = self.state.lock();
        state.keep_until = state.keep_until.max(time);
    }

    /// Writes `fate` down and waits for it. After an error, and for who stops waiting, the hold lives on, and what is
    /// noted is written when it is dropped.
    pub(crate) async fn finish(
        &self,
        fate: Fate,
        response: Option<StoredResponse>,
        owed_limits: Option<OwedLimits>,
    ) -> Result<Finished, LedgerError> {
        let give_up = Instant::now() + LEDGER_DEADLINE;
        let finish = self.finish_of(fate, response, owed_limits);
        let mut pause = FIRST_PAUSE;
        loop {
            let written = bounded(self.store.ledger.reservation_finish(finish.clone())).await;
            match written {
                Ok(Finished::OverLimit) => return Ok(Finished::OverLimit),
                Ok(finished) => {
                    self.state.lock().is_over = true;
                    return Ok(finished);
                }
                Err(error @ LedgerError::Corrupt(_)) => return Err(error),
                Err(error) if Instant::now() + pause >= give_up => return Err(error),
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause *= 2;
        }
    }

    /// Writes down what is noted: no answer that was paid for depends on it.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.finish(self.fate(), None, None).await {
            tracing::warn!(%error, key = %self.key, "a reservation is finished in the background");
        }
    }

    fn finish_of(
        &self,
        fate: Fate,
        response: Option<StoredResponse>,
        owed_limits: Option<OwedLimits>,
    ) -> Finish {
        let now = self.store.clock.now();
        let expires = response.as_ref().map_or(UnixTime(0), |response| response.expires);
        let least = self.state.lock().keep_until.max(expires);
        let keep_until = Reservations::keep_until(self.valid_before, now).max(least);
        Finish { key: self.key.clone(), token: self.token, fate, response, keep_until, owed_limits, now }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let (is_over, is_unsure, fate) = {
            let state = self.state.lock();
            (state.is_over, state.is_unsure, state.fate.clone())
        };
        if !is_over {
            let finish = self.finish_of(fate, None, None);
            self.store.finish_later(finish, is_unsure);
        }
    }
}

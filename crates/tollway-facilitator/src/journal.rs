//! The journal: what happens to each payment that this process drives. The ledger holds the truth; what is here is
//! the part of it that somebody in this process acts on or waits for. Nobody is told of what is not written down.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use alloy_primitives::{B256, Bytes};
use metrics::{counter, gauge, histogram};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tollway_core::{Amount, AuthorizationKey, Clock, Refusal, UnixTime};
use tollway_evm::Payment;
use tollway_evm::SignedTransaction;
use tollway_ledger::{
    Advance, Inserted, LaneLease, Ledger, LedgerError, Member, NewDelivery, NewSettlement, NewTransaction,
    Role, Sent, SentResult, Settlement, SettlementId, SettlementState, TransactionChange,
};

use crate::exposure::Exposure;
use crate::phase::simulate::SimulatedAt;
use crate::telemetry::{LEDGER_SECONDS, OUTCOMES, PENDING};
use crate::webhook::OutcomeEndpoints;

/// The pauses between tries to write down what has happened.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Every payment that this process drives.
#[derive(Debug)]
pub(crate) struct Journal {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    rows: Mutex<HashMap<AuthorizationKey, Arc<Row>>>,
    capacity: usize,
    /// Who is told of outcomes.
    endpoints: OutcomeEndpoints,
    pub(crate) exposure: Exposure,
}

/// One payment on its way. Whoever acts on it holds the row itself: a key may come back with another.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) key: AuthorizationKey,
    pub(crate) payment: Payment,
    pub(crate) confirmations: u32,
    pub(crate) caller: Option<String>,
    /// What goes behind the calldata of its transaction.
    pub(crate) suffix: Bytes,
    pub(crate) began: Instant,
    created_at: UnixTime,
    /// For this settlement. None of what was verified before, or taken over.
    simulated_at: OnceLock<SimulatedAt>,
    is_alone: AtomicBool,
    /// What the ledger lets us write with. None until it is written down.
    attempt: OnceLock<u64>,
    progress: watch::Sender<Progress>,
    /// Every transaction that was signed for it, oldest first: any of them may be included.
    transactions: Mutex<Vec<B256>>,
}

/// How far a payment has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Being looked at. Nothing is promised.
    Starting,
    /// Written down. Nothing is signed in this attempt: it can still be withdrawn.
    Reserved,
    /// A lane has taken it into a transaction that is being built, or it is being withdrawn.
    Claimed,
    /// The signed transaction is written down, and may be out.
    Sent { transaction: B256 },
    /// It has ended, and that is written down.
    Ended(SettlementState),
    /// It was never accepted: the payment's fault.
    Refused(Refusal),
    /// It was never accepted, or nobody knows: our own, the node's or the ledger's fault.
    Denied(String),
    /// Another process has it.
    Elsewhere,
}

impl Progress {
    /// Whether there is something to tell.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self, Self::Ended(_) | Self::Refused(_) | Self::Denied(_) | Self::Elsewhere)
    }

    /// No transaction is known yet.
    pub(crate) const fn is_waiting(&self) -> bool {
        matches!(self, Self::Starting | Self::Reserved | Self::Claimed)
    }
}

/// What came of asking for the right to act on a payment in this process.
#[derive(Debug)]
pub(crate) enum Begun {
    /// The caller is the one who settles.
    New(Arc<Row>),
    /// Somebody is at it with the same authorization.
    Existing(Arc<Row>),
    /// Somebody is at it with another signature, of which nothing is known yet.
    InDoubt,
    /// The payer signed something else under the same nonce: only one of the two can ever be used.
    Other,
    /// No room: nothing can be promised.
    Full,
}

/// What came of accepting a payment.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// It is written down, and ours.
    Ours,
    /// It is settled, or somebody is at it.
    Existing(Box<Settlement>),
    /// The nonce is taken by something else that the payer signed.
    Other,
}

/// What came of writing down a signed transaction.
#[derive(Debug)]
pub(crate) enum Written {
    /// It may be sent.
    Yes,
    /// The lane is another's.
    Fenced,
    /// These payments are no longer ours.
    Stale(Vec<AuthorizationKey>),
    /// Nobody knows whether it is written.
    Unknown(LedgerError),
}

impl Journal {
    pub(crate) fn new(
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        capacity: usize,
        endpoints: OutcomeEndpoints,
    ) -> Self {
        Self { ledger, clock, rows: Mutex::default(), capacity, endpoints, exposure: Exposure::default() }
    }

    /// The store itself, for reading.
    pub(crate) fn ledger(&self) -> &dyn Ledger {
        self.ledger.as_ref()
    }

    pub(crate) fn shared_ledger(&self) -> Arc<dyn Ledger> {
        Arc::clone(&self.ledger)
    }

    /// This process drives nothing any more: who waits is told by the ledger.
    pub(crate) fn let_go(&self) {
        let rows = std::mem::take(&mut *self.rows.lock());
        rows.into_values().for_each(|row| row.set(Progress::Elsewhere));
    }

    /// One actor per authorization in this process.
    pub(crate) fn begin(
        &self,
        payment: &Payment,
        caller: Option<&str>,
        confirmations: u32,
        suffix: &Bytes,
    ) -> Begun {
        let key = payment.key();
        let mut rows = self.rows.lock();
        if let Some(row) = rows.get(&key) {
            // The payer controls what is signed under a nonce; the fate of one is not the fate of the other.
            return match row.payment.digest() == payment.digest() {
                true if row.speaks_for(payment) => Begun::Existing(Arc::clone(row)),
                true => Begun::InDoubt,
                false => Begun::Other,
            };
        }
        if rows.len() >= self.capacity {
            return Begun::Full;
        }
        let row = Row::new(
            key.clone(),
            payment.clone(),
            caller.map(str::to_owned),
            confirmations,
            suffix.clone(),
            self.clock.now(),
        );
        rows.insert(key, Arc::clone(&row));
        gauge!(PENDING).set(count(rows.len()));
        Begun::New(row)
    }

    /// A row of the ledger that is now this process's to drive; none if it is driven already, or cannot be read.
    pub(crate) fn adopt(&self, settlement: &Settlement) -> Option<Arc<Row>> {
        let record = serde_json::from_str(&settlement.payment).ok();
        let Some(payment) = record.as_ref().and_then(Payment::decode) else {
            tracing::error!(settlement = %settlement.id, "a payment in the ledger cannot be read");
            return None;
        };
        let row = Row::new(
            settlement.key.clone(),
            payment,
            settlement.caller.clone(),
            settlement.confirmations,
            // Whoever took part is not kept: a settlement that is taken over names nobody.
            Bytes::new(),
            settlement.created_at,
        );
        row.accepted(settlement.attempt, &settlement.transactions);
        match &settlement.state {
            SettlementState::Sent { transaction } => {
                row.set(Progress::Sent { transaction: transaction.parse().unwrap_or_default() });
            }
            SettlementState::Reserved => row.set(Progress::Reserved),
            ended => row.set(Progress::Ended(ended.clone())),
        }
        if !settlement.state.is_open() {
            return Some(row);
        }
        let mut rows = self.rows.lock();
        // Whoever waits on an older row of this process is sent to the ledger.
        if let Some(older) = rows.insert(row.key.clone(), Arc::clone(&row)) {
            older.set(Progress::Elsewhere);
        }
        drop(rows);
        self.exposure.settling(&row.payment);
        Some(row)
    }

    /// The row under the payment's key, whatever was signed.
    pub(crate) fn row(&self, payment: &Payment) -> Option<Arc<Row>> {
        self.rows.lock().get(&payment.key()).map(Arc::clone)
    }

    /// Whether this process drives it.
    pub(crate) fn drives(&self, key: &AuthorizationKey) -> bool {
        self.rows.lock().contains_key(key)
    }

    /// How many more payments this process may drive.
    pub(crate) fn room(&self) -> u32 {
        u32::try_from(self.capacity.saturating_sub(self.open_count())).unwrap_or(u32::MAX)
    }

    /// How many payments this process drives.
    pub(crate) fn open_count(&self) -> usize {
        self.rows.lock().len()
    }

    /// Accepts a payment: from here on it survives this process. As `member`'s, or this process's own.
    pub(crate) async fn accept(&self, row: &Row, member: Member) -> Result<Accepted, LedgerError> {
        let payment = &row.payment;
        let new = NewSettlement {
            key: row.key.clone(),
            digest: payment.digest(),
            payment: payment.encode().to_string(),
            network: payment.network().clone(),
            asset: payment.asset().to_checksum(None),
            payer: payment.payer().to_checksum(None),
            pay_to: payment.payee().to_checksum(None),
            amount: Amount::from_atomic(payment.value()),
            caller: row.caller.clone(),
            valid_before: payment.expires(),
            confirmations: row.confirmations,
            member,
            now: self.clock.now(),
        };
        match timed("settlement_insert", self.ledger.settlement_insert(new)).await? {
            Inserted::New { attempt, transactions } => {
                row.accepted(attempt, &transactions);
                Ok(Accepted::Ours)
            }
            Inserted::Existing(existing) => Ok(Accepted::Existing(existing)),
            Inserted::Other => Ok(Accepted::Other),
        }
    }

    /// Writes a signed transaction down, with the payments in it. It may be sent only if the answer is yes.
    pub(crate) async fn sent(
        &self,
        lease: &LaneLease,
        rows: &[Arc<Row>],
        signed: &SignedTransaction,
        transaction: NewTransaction,
    ) -> Written {
        let settlements = rows.iter().map(|row| (row.key.clone(), row.attempt())).collect();
        let sent = Sent { lease: lease.clone(), transaction, settlements, now: self.clock.now() };
        match timed("settlement_sent", self.ledger.settlement_sent(sent)).await {
            Ok(SentResult::Written) => {
                rows.iter().for_each(|row| row.record_sent(signed.hash));
                Written::Yes
            }
            Ok(SentResult::Fenced) => Written::Fenced,
            Ok(SentResult::Stale(keys)) => Written::Stale(keys),
            Err(error) => Written::Unknown(error),
        }
    }

    /// Writes down what became of payments and transactions, however long the ledger takes, and then tells it. A
    /// payment that is no longer ours is told as the ledger has it.
    pub(crate) async fn write(
        &self,
        changes: Vec<(Arc<Row>, SettlementState)>,
        transactions: Vec<TransactionChange>,
    ) {
        if changes.is_empty() && transactions.is_empty() {
            return;
        }
        let advances: Vec<Advance> =
            changes.iter().map(|(row, state)| self.advance(row, state.clone())).collect();
        let mut pause = FIRST_PAUSE;
        let written = loop {
            let now = self.clock.now();
            let advance = self.ledger.settlement_advance(advances.clone(), transactions.clone(), now);
            match timed("settlement_advance", advance).await {
                Ok(written) => break written,
                Err(error) => {
                    tracing::error!(%error, payments = changes.len(), "an outcome is not written down yet");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        };
        for (index, (row, state)) in changes.into_iter().enumerate() {
            let told = match written.get(index) {
                Some(true) => Progress::from(state),
                _ => self.told_by_the_ledger(&row).await,
            };
            self.tell(&row, told);
        }
    }

    /// Ends one payment.
    pub(crate) async fn finish(&self, row: &Arc<Row>, ended: SettlementState) {
        self.write(vec![(Arc::clone(row), ended)], Vec::new()).await;
    }

    /// Ends a payment that was never written down.
    pub(crate) fn deny(&self, row: &Arc<Row>, told: Progress) {
        self.tell(row, told);
    }

    fn advance(&self, row: &Row, to: SettlementState) -> Advance {
        let deliveries = match self.endpoints == OutcomeEndpoints::default() {
            true => Vec::new(),
            false => self.deliveries(&row.settlement(self.clock.now()), &to),
        };
        Advance { key: row.key.clone(), attempt: row.attempt(), to, deliveries }
    }

    /// Who is to be told that `settlement` goes on to `to`, and what.
    pub(crate) fn deliveries(&self, settlement: &Settlement, to: &SettlementState) -> Vec<NewDelivery> {
        self.endpoints.deliveries(settlement, to, self.clock.now())
    }

    /// A write that was not taken: it was taken before and its answer lost, or the row is another's.
    async fn told_by_the_ledger(&self, row: &Row) -> Progress {
        let mut pause = FIRST_PAUSE;
        loop {
            match timed("settlement_get", self.ledger.settlement_get(&row.key)).await {
                Ok(Some(settlement)) if settlement.attempt == row.attempt() => {
                    return Progress::from(settlement.state);
                }
                Ok(_) => return Progress::Elsewhere,
                Err(_) => {
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Tells those who wait, and forgets what is over.
    fn tell(&self, row: &Arc<Row>, told: Progress) {
        if told.is_over() {
            let mut rows = self.rows.lock();
            let current = rows.get(&row.key);
            let is_superseded = current.is_some_and(|current| !Arc::ptr_eq(current, row));
            if !is_superseded {
                rows.remove(&row.key);
                gauge!(PENDING).set(count(rows.len()));
            }
            drop(rows);
            // Of a payment that begins anew, the money is still on its way.
            if !is_superseded {
                self.exposure.release(&row.payment);
            }
        }
        if let Progress::Ended(state) = &told
            && !matches!(state, SettlementState::Settled { is_final: true, .. })
        {
            log_end(row, state);
        }
        row.set(told);
    }

    /// A settled payment whose transaction was taken back: on its way again.
    pub(crate) fn reopen(&self, row: &Arc<Row>) {
        self.rows.lock().insert(row.key.clone(), Arc::clone(row));
        self.exposure.settling(&row.payment);
    }

    /// The age of the oldest payment of a network that this process drives.
    pub(crate) fn oldest(&self, network: &tollway_core::Network) -> Duration {
        let rows = self.rows.lock();
        let ages =
            rows.values().filter(|row| row.payment.network() == network).map(|row| row.began.elapsed());
        ages.max().unwrap_or_default()
    }
}

fn log_end(row: &Row, state: &SettlementState) {
    let (network, settlement) = (row.payment.network(), SettlementId::of(&row.key));
    let (payer, amount) = (row.payment.payer(), row.payment.value());
    let (word, reason) = match state {
        SettlementState::Settled { transaction, .. } => {
            tracing::info!(%network, %settlement, %payer, %amount, %transaction, "settled");
            ("settled", "")
        }
        SettlementState::Failed { code, message } => {
            tracing::info!(%network, %settlement, %payer, %amount, %code, %message, "failed");
            ("failed", code.as_str())
        }
        SettlementState::Abandoned { message } => {
            tracing::info!(%network, %settlement, %payer, %amount, %message, "abandoned");
            ("abandoned", "")
        }
        SettlementState::Reserved | SettlementState::Sent { .. } => return,
    };
    counter!(
        OUTCOMES,
        "network" => network.as_str().to_owned(), "state" => word, "reason" => reason.to_owned()
    )
    .increment(1);
}

/// Measures what the ledger takes.
pub(crate) async fn timed<T>(
    operation: &'static str,
    call: impl Future<Output = Result<T, LedgerError>>,
) -> Result<T, LedgerError> {
    let began = Instant::now();
    let answer = call.await;
    let result = if answer.is_ok() { "ok" } else { "error" };
    histogram!(LEDGER_SECONDS, "operation" => operation, "result" => result).record(began.elapsed());
    answer
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts stay far below 2^52")]
fn count(rows: usize) -> f64 {
    rows as f64
}

impl From<SettlementState> for Progress {
    fn from(state: SettlementState) -> Self {
        match state {
            SettlementState::Reserved => Self::Reserved,
            SettlementState::Sent { transaction } => {
                Self::Sent { transaction: transaction.parse().unwrap_or_default() }
            }
            ended => Self::Ended(ended),
        }
    }
}

impl Row {
    fn new(
        key: AuthorizationKey,
        payment: Payment,
        caller: Option<String>,
        confirmations: u32,
        suffix: Bytes,
        created_at: UnixTime,
    ) -> Arc<Self> {
        Arc::new(Self {
            key,
            payment,
            confirmations,
            caller,
            suffix,
            began: Instant::now(),
            created_at,
            simulated_at: OnceLock::new(),
            is_alone: AtomicBool::new(false),
            attempt: OnceLock::new(),
            progress: watch::channel(Progress::Starting).0,
            transactions: Mutex::default(),
        })
    }

    /// How far it has come.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// To wait for how it goes on.
    pub(crate) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// It is simulated, and goes on only if it would settle.
    pub(crate) fn simulated(&self, at: SimulatedAt) {
        let _ = self.simulated_at.set(at);
    }

    /// Whether simulating it again would tell nothing new while `block` is the newest.
    pub(crate) fn is_simulated_on(&self, block: Option<B256>) -> bool {
        self.simulated_at.get().is_some_and(|at| at.is_current(block))
    }

    /// Whether its fate is that of `payment`, the same authorization. What only code can judge may be nobody's word, and
    /// until it is judged it decides nothing for who comes with another signature.
    pub(crate) fn speaks_for(&self, payment: &Payment) -> bool {
        let is_judged = !matches!(self.progress(), Progress::Starting);
        is_judged || self.payment.signature().is_by_key() || self.payment.signature() == payment.signature()
    }

    /// Its payer has code: it goes into no transaction with others.
    pub(crate) fn keep_alone(&self) {
        self.is_alone.store(true, Ordering::Release);
    }

    /// Whether it goes into no transaction with others.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone.load(Ordering::Acquire) || self.payment.is_alone()
    }

    /// Whether the two may go into one transaction.
    pub(crate) fn may_share_with(&self, other: &Self) -> bool {
        let is_in_company = !self.is_alone() && !other.is_alone();
        is_in_company && self.suffix == other.suffix && self.payment.may_share_with(&other.payment)
    }

    /// What the ledger lets us write with.
    pub(crate) fn attempt(&self) -> u64 {
        self.attempt.get().copied().unwrap_or_default()
    }

    /// As the ledger has it, so far as this process knows.
    fn settlement(&self, now: UnixTime) -> Settlement {
        let payment = &self.payment;
        let state = match self.progress() {
            Progress::Sent { transaction } => SettlementState::Sent { transaction: transaction.to_string() },
            Progress::Ended(state) => state,
            _ => SettlementState::Reserved,
        };
        Settlement {
            sequence: 0,
            id: SettlementId::of(&self.key),
            key: self.key.clone(),
            digest: payment.digest(),
            payment: String::new(),
            network: payment.network().clone(),
            asset: payment.asset().to_checksum(None),
            payer: payment.payer().to_checksum(None),
            pay_to: payment.payee().to_checksum(None),
            amount: Amount::from_atomic(payment.value()),
            caller: self.caller.clone(),
            valid_before: payment.expires(),
            confirmations: self.confirmations,
            state,
            attempt: self.attempt(),
            member: Member { role: Role::Facilitator, name: String::new(), incarnation: 0 },
            transactions: self.transactions.lock().iter().map(B256::to_string).collect(),
            created_at: self.created_at,
            updated_at: now,
        }
    }

    /// It is written down.
    fn accepted(&self, attempt: u64, transactions: &[String]) {
        let _ = self.attempt.set(attempt);
        *self.transactions.lock() = transactions.iter().filter_map(|hash| hash.parse().ok()).collect();
    }

    /// It may be taken by a lane from now on. False: whoever waited for it has withdrawn it.
    pub(crate) fn reserve(&self) -> bool {
        self.change(Progress::Reserved, |progress| *progress == Progress::Starting)
    }

    /// Takes a reservation into a transaction, or out of the queue. False: somebody else did.
    pub(crate) fn claim(&self) -> bool {
        self.change(Progress::Claimed, |progress| *progress == Progress::Reserved)
    }

    /// Gives back what was claimed.
    pub(crate) fn unclaim(&self) {
        self.change(Progress::Reserved, |progress| *progress == Progress::Claimed);
    }

    /// It may be taken by a lane again. False: somebody else has it.
    pub(crate) fn requeue(&self) -> bool {
        let is_free = |progress: &Progress| {
            matches!(progress, Progress::Starting | Progress::Reserved | Progress::Sent { .. })
        };
        self.change(Progress::Reserved, is_free)
    }

    /// Takes back what is not written down yet. False: it is.
    pub(crate) fn withdraw_start(&self) -> bool {
        let denied = Progress::Denied("the payment was not accepted in time".to_owned());
        self.change(denied, |progress| *progress == Progress::Starting)
    }

    /// A signed transaction for it is written down. From here on it may be out.
    fn record_sent(&self, transaction: B256) {
        let mut all = self.transactions.lock();
        if !all.contains(&transaction) {
            all.push(transaction);
        }
        drop(all);
        self.change(Progress::Sent { transaction }, |progress| !progress.is_over());
    }

    /// A node refused it for good.
    pub(crate) fn forget(&self, transaction: B256) {
        self.transactions.lock().retain(|known| *known != transaction);
    }

    /// Pending, by the latest transaction that was signed for it earlier.
    pub(crate) fn resume(&self) {
        let Some(transaction) = self.transactions.lock().last().copied() else { return };
        self.change(Progress::Sent { transaction }, |progress| !progress.is_over());
    }

    /// The transactions that were signed for it and may be out.
    pub(crate) fn transactions(&self) -> Vec<B256> {
        self.transactions.lock().clone()
    }

    pub(crate) fn set(&self, progress: Progress) {
        self.progress.send_replace(progress);
    }

    fn change(&self, next: Progress, from: impl FnOnce(&Progress) -> bool) -> bool {
        self.progress.send_if_modified(|progress| {
            let may = from(progress);
            if may {
                *progress = next;
            }
            may
        })
    }
}

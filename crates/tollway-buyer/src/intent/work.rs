//! A purchase under way: the right to write on its intent, and what is written at each step.
//!
//! | step | written | waited for |
//! |---|---|---|
//! | opened | budget held, conditions met | yes: before it, nothing is signed |
//! | signed | the payment | yes: before it, nothing is sent |
//! | answered | what the seller says | no |
//! | read | that the caller has the answer | no |
//!
//! The second write is on the disk before it is answered, and the first with it. The first alone is in the ledger for every
//! process, and outlives this one; a machine that fails before the second may forget it, and the signature, which then was
//! never made: it had not left. Where only the store's machine fails, the second write finds no row to change, and nothing
//! leaves. If somebody else signs, who may keep the signature, the first is on the disk before that.
//!
//! Nobody waits for the last two, and if the answer is read soon they are one write. Lost with the process, they leave an
//! intent that says "signed": its budget is held all the same, and the same request presents the same payment again. So
//! losing them costs an answer that is asked for twice, and no money.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tollway_core::model::{Outcome, SettleResponse};
use tollway_core::{Amount, UnixTime};
use tollway_ledger::{Changed, Hold, Intent, IntentChange, IntentId, LedgerError};

use crate::agree;
use crate::error::PaymentError;
use crate::intent::answer::Ended;
use crate::intent::book::{Book, UNDISTURBED_SECONDS};
use crate::intent::member::bounded;
use crate::intent::reconcile::{part_of, work_on};
use crate::intent::record::{Alarm, AlarmCode, Answer, IntentRecord, IntentState};
use crate::intent::turns::Turn;
use crate::policy::names::FactName;
use crate::settlement::{self, Paid};
use crate::sign::SignedPayment;

/// An answer that is read within this is written down in one go with what it says.
const COALESCE: Duration = Duration::from_millis(25);
/// Who asks for the same purchase waits so long for its answer to be read.
const READ_WITHIN: Duration = Duration::from_secs(3);
/// How long a write in the background is tried.
const WRITE_FOR: Duration = Duration::from_secs(300);
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After its end, how long until a node is asked for what was signed: clocks differ, and blocks become final.
pub(crate) const MARGIN_SECONDS: u64 = 60;
/// How soon a node is asked whether a settlement is true.
const CONFIRM_SECONDS: u64 = 2;

/// The right to write on an intent. Dropped before its end (the caller hung up, a future was cancelled), it writes in the
/// background what is true then, and the next one may take up the purchase at once.
pub(crate) struct Work {
    book: Arc<Book>,
    intent: Intent,
    pub(crate) record: IntentRecord,
    /// Whether the caller named the purchase.
    is_callers: bool,
    /// Whether no request is part of it any more, whatever became of it.
    is_lapsed: bool,
    /// A price below all that are known, and by what it is remembered: once it is signed for.
    price: Option<(FactName, Amount)>,
    /// What of its price is free, once that is written.
    free: Vec<Hold>,
    turn: Option<Turn>,
    runtime: Handle,
    is_over: bool,
}

impl Work {
    pub(crate) fn new(
        book: Arc<Book>,
        intent: Intent,
        record: IntentRecord,
        is_callers: bool,
        turn: Option<Turn>,
    ) -> Self {
        let runtime = Handle::current();
        Self {
            book,
            intent,
            record,
            is_callers,
            is_lapsed: false,
            price: None,
            free: Vec::new(),
            turn,
            runtime,
            is_over: false,
        }
    }

    /// Remembers its price under this name, once it is signed for.
    pub(crate) fn pricing(mut self, price: Option<(FactName, Amount)>) -> Self {
        self.price = price;
        self
    }

    pub(crate) fn id(&self) -> IntentId {
        self.intent.id
    }

    pub(crate) fn created(&self) -> UnixTime {
        self.intent.created
    }

    /// Whether this wallet is alive to the others: only then may it sign.
    pub(crate) fn may_sign(&self) -> bool {
        self.intent.holder.as_ref().is_some_and(|holder| self.book.membership.is(holder))
    }

    /// Writes down what was signed, before it leaves. After an error it may be written or not, and must not leave.
    pub(crate) async fn signed(
        mut self: Box<Self>,
        payment: &SignedPayment,
    ) -> Result<Box<Self>, PaymentError> {
        self.record.sign(payment);
        // In a task of its own: a caller who hangs up must not leave it half done.
        let writing = tokio::spawn(async move {
            self.write(Shape::Held).await?;
            self.note_price().await;
            Ok(self)
        });
        let written = writing.await;
        let written =
            written.unwrap_or_else(|_| Err(LedgerError::Unavailable("the writing broke off".to_owned())));
        written.map_err(PaymentError::Ledger)
    }

    /// Nothing was signed: gives the budget back, and waits until that is written.
    pub(crate) async fn void(mut self: Box<Self>, cause: &str) {
        self.record.state = IntentState::Void;
        self.record.because(cause);
        self.rest().await;
    }

    /// It means no request any more, although nobody can tell what became of it: it stays counted.
    pub(crate) async fn lapse(mut self: Box<Self>) {
        self.is_lapsed = true;
        self.rest().await;
    }

    /// Leaves it as it is, for whoever takes it up; waits until that is written.
    pub(crate) async fn leave(mut self: Box<Self>) {
        self.rest().await;
    }

    /// It is presented once more.
    pub(crate) fn presenting(&mut self) {
        self.record.presented = self.record.presented.saturating_add(1);
    }

    /// No answer came that says what became of it.
    pub(crate) fn unresolved(&mut self, cause: &str) {
        if !matches!(self.record.state, IntentState::Paid | IntentState::Served) {
            self.record.state = IntentState::Unresolved;
            // What was answered before says nothing of this presentation.
            self.record.status = None;
        }
        self.record.because(cause);
    }

    /// It cost so much: the channel says so that it was promised on. What it was held at beyond that is free.
    pub(crate) fn charged(&mut self, charged: Amount) {
        let asked = self.record.offer.amount;
        self.record.state = IntentState::Paid;
        let Some(note) = &mut self.record.channel else { return };
        if note.charged.replace(charged).is_none() {
            let free = self.intent.holds.iter().filter_map(|hold| {
                let amount = hold.amount.checked_sub(part_of(hold, charged, asked))?;
                Some(Hold { amount, ..hold.clone() }).filter(|hold| hold.amount != Amount::ZERO)
            });
            self.free = free.collect();
        }
    }

    /// It was not charged, and never can be.
    pub(crate) fn dead(&mut self, cause: &str) {
        self.record.state = IntentState::Dead;
        self.record.because(cause);
    }

    /// Notes what is wrong with it.
    pub(crate) fn alarm(&mut self, text: &str) {
        self.record.alarm(AlarmCode::Contradiction, text, self.book.clock.now());
    }

    /// The seller refused it, for want of an approval.
    pub(crate) fn refused(&mut self, status: u16) {
        self.record.status = Some(status);
        if self.record.state == IntentState::Signed {
            self.record.state = IntentState::Refused;
        }
    }

    /// Notes an answer, which its caller is about to get. What is known to be paid stays so, whatever comes later.
    pub(crate) fn answered(&mut self, status: u16, paid: &Paid, receipt: Option<serde_json::Value>) {
        let now = self.book.clock.now();
        let is_known = matches!(self.record.state, IntentState::Paid | IntentState::Served);
        let is_silent = self.record.state == IntentState::Unresolved && self.record.status.is_none();
        let told = paid.settlement.as_ref();
        let state = match told.map(SettleResponse::outcome) {
            Some(Outcome::Settled) => IntentState::Paid,
            _ if is_known => self.record.state,
            Some(Outcome::Failed) => IntentState::Failed,
            Some(Outcome::Pending) => IntentState::Unresolved,
            None if (200..300).contains(&status) => IntentState::Served,
            // What may have been charged in silence may be refused for that very reason.
            None if status == 402 && !is_silent => IntentState::Refused,
            None => IntentState::Unresolved,
        };
        self.record.state = state;
        self.record.status = Some(status).filter(|_| !is_silent || state != IntentState::Unresolved);
        self.record.answer = Answer::Unread;
        self.record.because(&match state {
            IntentState::Unresolved => format!("answered {status} without saying what became of the payment"),
            _ => String::new(),
        });
        if told.is_some_and(|told| told.success) || self.record.settlement.is_none() {
            self.record.settlement = paid.settlement.clone();
        }
        self.record.receipt = receipt.or(self.record.receipt.take());
        if let Some(suspicious) = &paid.suspicious {
            self.record.alarm(AlarmCode::Contradiction, suspicious, now);
        }
    }

    /// Notes what the seller said of it, where no answer was followed.
    pub(crate) fn told(&mut self, payment: &SignedPayment, told: &SettleResponse) {
        let fault = settlement::contradiction(payment, told, false);
        self.record.answer = Answer::Read;
        self.record.status = Some(200);
        match told.outcome() {
            Outcome::Settled if fault.is_none() => self.record.state = IntentState::Paid,
            Outcome::Failed if self.record.state == IntentState::Signed => {
                self.record.state = IntentState::Failed
            }
            _ => {}
        }
        if let Some(fault) = &fault {
            self.record.alarm(AlarmCode::Contradiction, fault, self.book.clock.now());
        }
        self.record.settlement = Some(told.clone());
    }

    /// Writes down what came of it, as the caller reads the answer. Who asks for the same meanwhile waits for that; but not
    /// for long, for it may be the caller itself: then the same payment is presented again.
    pub(crate) fn finish(mut self: Box<Self>, end: oneshot::Receiver<Ended>) {
        tokio::spawn(async move {
            tokio::pin!(end);
            let mut ended = tokio::time::timeout(COALESCE, &mut end).await.ok();
            if ended.is_none() {
                self.write_patiently(Shape::Held).await;
                ended = tokio::time::timeout(READ_WITHIN, &mut end).await.ok();
            }
            let Some(ended) = ended else {
                self.rest().await;
                let (book, id) = (Arc::clone(&self.book), self.intent.id);
                drop(self);
                return read_late(&book, id, end.await.ok()).await;
            };
            let ended = ended.ok();
            self.read(ended.as_ref());
            self.rest().await;
            // Until then it counts as not yet written: who waits for all that is does not end before.
            drop(ended);
        });
    }

    fn read(&mut self, ended: Option<&Ended>) {
        if ended.is_some_and(|ended| ended.is_read) {
            self.record.answer = Answer::Read;
        }
    }

    /// Remembers what was signed for, where the policy compares prices. Not only what is said to be paid: whoever has a
    /// payment may take the money and say nothing, and raise the price each time.
    async fn note_price(&mut self) {
        let Some((name, price)) = self.price.take() else { return };
        if let Err(error) = agree::note_price(&self.book, &name, price).await {
            tracing::warn!(%error, "a price is not remembered");
        }
    }

    /// What the chain says was read into the record: writes it down. Of the holds stays what `kept` says of each.
    pub(crate) async fn resolved(
        mut self: Box<Self>,
        kept: impl Fn(&Hold) -> tollway_core::Amount,
        due: Option<UnixTime>,
    ) -> Result<(), LedgerError> {
        let released = self.intent.holds.iter().filter_map(|hold| {
            let amount = hold.amount.checked_sub(kept(hold))?;
            Some(Hold { amount, ..hold.clone() }).filter(|hold| hold.amount != tollway_core::Amount::ZERO)
        });
        let released = released.collect();
        let written = self.put(Shape::Rest { due }, released).await;
        self.is_over = written.is_ok();
        written
    }

    /// What is wrong with it.
    pub(crate) fn alarms(&self) -> &[Alarm] {
        &self.record.alarms
    }

    /// The last write: nobody here works on it any more.
    async fn rest(&mut self) {
        if self.record.state == IntentState::Opened {
            // What nobody here has is nowhere: it is signed only here, and written before it leaves.
            self.record.state = IntentState::Void;
        }
        self.write_patiently(Shape::Rest { due: None }).await;
        self.is_over = true;
        self.turn = None;
    }

    async fn write_patiently(&mut self, shape: Shape) {
        let pending = self.book.writes.begin();
        let give_up = Instant::now() + WRITE_FOR;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.write(shape).await {
                Ok(()) => break,
                Err(LedgerError::Unavailable(why)) if Instant::now() + pause < give_up => {
                    tracing::warn!(intent = %self.intent.id, why, "what became of a purchase is not written yet");
                }
                Err(error) => {
                    tracing::error!(intent = %self.intent.id, %error, "what became of a purchase is not written");
                    break;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        drop(pending);
    }

    async fn write(&mut self, shape: Shape) -> Result<(), LedgerError> {
        let released = match self.record.state {
            IntentState::Void | IntentState::Dead => self.intent.holds.clone(),
            _ => self.free.clone(),
        };
        self.put(shape, released).await?;
        self.free.clear();
        Ok(())
    }

    /// Writes, by the version that is known here. Somebody may have looked at the intent meanwhile without taking it away.
    async fn put(&mut self, shape: Shape, release: Vec<Hold>) -> Result<(), LedgerError> {
        let me = self.intent.holder.clone();
        for _ in 0..4 {
            let now = self.book.clock.now();
            let mut intent = self.intent.clone();
            shape.apply(&mut intent, self, now);
            let body = intent.body.clone();
            let change = IntentChange { release: release.clone(), ..IntentChange::new(intent, now) };
            match bounded(self.book.ledger.intent_put(change)).await {
                Ok(Changed::Done(intent)) => {
                    self.intent = Intent { holder: me, ..intent };
                    return Ok(());
                }
                Ok(_) => {}
                Err(LedgerError::Unavailable(why)) => {
                    tracing::debug!(why, "whether it is written is to be seen")
                }
                Err(error) => return Err(error),
            }
            let there = bounded(self.book.ledger.intent_get(self.intent.id)).await?;
            match there {
                // It was written after all.
                Some(there) if there.body == body && there.version > self.intent.version => {
                    self.intent = Intent { holder: me, ..there };
                    return Ok(());
                }
                Some(there) if there.holder == me && there.is_open => self.intent = there,
                _ => {
                    return Err(LedgerError::Corrupt(
                        "another wallet has taken the purchase over".to_owned(),
                    ));
                }
            }
        }
        Err(LedgerError::Unavailable("the purchase keeps being written by others".to_owned()))
    }
}

/// Writes down that an answer was read that nobody waited for any more, unless another request is at it again.
async fn read_late(book: &Arc<Book>, id: IntentId, ended: Option<Ended>) {
    if !ended.as_ref().is_some_and(|ended| ended.is_read) {
        return;
    }
    match work_on(book, id, Instant::now()).await {
        Ok(Some(mut work)) => {
            work.read(ended.as_ref());
            work.leave().await;
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(intent = %id, %error, "that an answer was read is not written"),
    }
}

/// Whose an intent is after a write.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Still this wallet's.
    Held,
    /// Nobody's; to be looked after at `due`, unless that follows from what is known.
    Rest { due: Option<UnixTime> },
}

impl Shape {
    fn apply(self, intent: &mut Intent, work: &Work, now: UnixTime) {
        let (book, record) = (&work.book, &work.record);
        let mut written = record.clone();
        match self {
            Self::Held => intent.due = now.plus_seconds(UNDISTURBED_SECONDS),
            Self::Rest { due } => {
                intent.holder = None;
                let rest = record.at_rest(book, intent.created, work.is_callers, now);
                intent.is_open = rest.is_open;
                intent.due = due.unwrap_or(rest.due);
                intent.repeat_until = rest.repeat_until;
                intent.until = now.plus_seconds(book.history_seconds).max(rest.repeat_until);
                if !rest.keeps_key || work.is_lapsed {
                    intent.key = None;
                }
                if !rest.is_open
                    && !rest.keeps_key
                    && let Some(signed) = &mut written.authorization
                {
                    signed.value = None;
                }
            }
        }
        intent.body = written.to_json();
    }
}

/// What is true of an intent that nobody works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AtRest {
    /// Whether the same request is still the same purchase.
    pub(crate) keeps_key: bool,
    pub(crate) is_open: bool,
    pub(crate) repeat_until: UnixTime,
    pub(crate) due: UnixTime,
}

impl IntentRecord {
    /// What follows from the record for its intent, opened at `created`.
    pub(crate) fn at_rest(&self, book: &Book, created: UnixTime, is_callers: bool, now: UnixTime) -> AtRest {
        let can_ask = self.witness(book).is_some();
        let repeat_until = book.repeats_until(created);
        let is_over = matches!(self.state, IntentState::Dead | IntentState::Void);
        let is_had = self.answer == Answer::Read && self.has_served();
        let keeps_key = !is_over && now < repeat_until && (is_callers || !is_had);
        let is_settled = self.chain.as_ref().is_some_and(|fact| fact.is_final());
        let is_given_up = now >= created.plus_seconds(book.open_seconds);
        let is_open = !is_over && !is_settled && !is_given_up && (can_ask || !is_had);
        let expired = self.expires_at().plus_seconds(MARGIN_SECONDS);
        let due = match self.state {
            _ if !can_ask => created.plus_seconds(book.open_seconds),
            IntentState::Paid => now.plus_seconds(CONFIRM_SECONDS),
            _ => expired.max(now.plus_seconds(CONFIRM_SECONDS)),
        };
        let repeat_until = if keeps_key { repeat_until } else { now };
        AtRest { keeps_key, is_open, repeat_until, due }
    }

    /// Whether the answer is what was bought: the seller neither refused nor asked to come again.
    pub(crate) fn has_served(&self) -> bool {
        let again = [402, 408, 425, 429];
        let is_error = self.status.is_none_or(|status| status >= 500 || again.contains(&status));
        matches!(self.state, IntentState::Paid | IntentState::Served) && !is_error
    }

    /// From when on the same request is another purchase, although nobody can tell what became of this one: the seller
    /// said that it took nothing, and by now it cannot. Never sooner than the authorization is over.
    pub(crate) fn lapses_at(&self, book: &Book, created: UnixTime) -> UnixTime {
        let said_nothing_moved = match self.state {
            IntentState::Refused | IntentState::Failed => true,
            IntentState::Unresolved => {
                self.status.is_some_and(|status| status >= 400) && self.settlement.is_none()
            }
            _ => false,
        };
        let repeat_until = book.repeats_until(created);
        match said_nothing_moved {
            true => self.expires_at().plus_seconds(MARGIN_SECONDS).min(repeat_until),
            false => repeat_until,
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let runtime = self.runtime.clone();
        let mut rest = Self {
            book: Arc::clone(&self.book),
            intent: self.intent.clone(),
            record: self.record.clone(),
            is_callers: self.is_callers,
            is_lapsed: self.is_lapsed,
            price: None,
            free: std::mem::take(&mut self.free),
            turn: self.turn.take(),
            runtime: runtime.clone(),
            is_over: true,
        };
        let pending = self.book.writes.begin();
        runtime.spawn(async move {
            rest.rest().await;
            drop(pending);
        });
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work")
            .field("id", &self.intent.id)
            .field("state", &self.record.state)
            .finish_non_exhaustive()
    }
}

//! What the chain makes of a purchase: paid, dead, or still open. Budgets are released here and nowhere else, but for what
//! was never signed.

use std::sync::Arc;
use std::time::Duration;

use ruint::aliases::{U256, U512};
use tokio::time::Instant;
use tollway_core::{Amount, UnixTime};
use tollway_ledger::{Hold, IntentId, IntentQuery, LedgerError};

use crate::channel::fate;
use crate::intent::book::{Book, turn_of};
use crate::intent::fate::{ChainFate, FateWitness, Sighting};
use crate::intent::member::bounded;
use crate::intent::record::{AlarmCode, Answer, ChainFact, ChainVerdict, IntentRecord, IntentState};
use crate::intent::work::{MARGIN_SECONDS, Work};

/// How long a look at the chain may take.
const LOOK_FOR: Duration = Duration::from_secs(20);
/// How many are read at once.
const PAGE: u32 = 100;
/// How long to wait for one at most, and between two looks.
const LONGEST_PATIENCE: Duration = Duration::from_secs(3600);
const CONFIRM_PAUSE: Duration = Duration::from_millis(500);
/// How long a settlement that the seller told of may take to be seen, before that is an alarm.
const SEEN_WITHIN_SECONDS: u64 = 60;
/// The pause between two looks at one purchase.
const SHORTEST_PAUSE_SECONDS: u64 = 2;
const LONGEST_PAUSE_SECONDS: u64 = 300;

/// What looking at purchases came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconciled {
    /// How many were looked at.
    pub looked_at: u64,
    /// Of these, how many have moved.
    pub paid: u64,
    /// How many never can: their budget is free again.
    pub dead: u64,
    /// How many stay open: they can still be charged, or nobody could say. They count as spent.
    pub open: u64,
    /// How many new alarms there are.
    pub alarms: u64,
}

impl Reconciled {
    pub(crate) fn add(&mut self, verdict: Verdict, alarms: usize) {
        self.looked_at += 1;
        self.alarms += u64::try_from(alarms).unwrap_or(u64::MAX);
        match verdict {
            Verdict::Paid => self.paid += 1,
            Verdict::Dead => self.dead += 1,
            Verdict::Open => self.open += 1,
        }
    }
}

/// What a purchase is after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Paid,
    Dead,
    Open,
}

/// Looks at the chain for a purchase, and writes down what is seen. With it, how many new alarms there are.
pub(crate) async fn reconcile(book: &Book, mut work: Box<Work>) -> Result<(Verdict, usize), LedgerError> {
    if work.record.channel.is_some() {
        return fate::reconcile(book, work).await;
    }
    let before = work.alarms().len();
    let witness = book.witness(&work.record.offer.network).cloned();
    let (Some(witness), Some(request)) = (witness, work.record.request()) else {
        // Nobody to ask, or nothing to ask for: it counts as spent.
        let verdict = if work.record.state == IntentState::Opened { Verdict::Dead } else { Verdict::Open };
        work.leave().await;
        return Ok((verdict, 0));
    };
    let told = work.record.settlement.as_ref().filter(|told| !told.transaction.is_empty());
    let told = told.map(|told| told.transaction.clone());
    let look = tokio::time::timeout(LOOK_FOR, witness.look(&request, told.as_deref()));
    let sighting = look.await.unwrap_or_else(|_| Sighting {
        fate: ChainFate::Unknown("no answer in time".to_owned()),
        is_contradicted: false,
    });
    let now = book.clock.now();
    let verdict = work.record.see(&sighting, now);
    let alarms = work.alarms().len() - before;
    let due = (verdict == Verdict::Open).then(|| work.record.next_look(work.created(), now));
    let (moved, asked) = (work.record.kept(), work.record.offer.amount);
    work.resolved(|hold| part_of(hold, moved, asked), due).await?;
    Ok((verdict, alarms))
}

/// Looks at every open purchase of the wallet's that nobody is at, the oldest first, `limit` at most.
pub(crate) async fn reconcile_all(book: &Arc<Book>, limit: u32) -> Result<Reconciled, LedgerError> {
    let mut seen = Reconciled::default();
    let mut query = IntentQuery {
        wallet: book.wallet.clone(),
        is_open: Some(true),
        limit: PAGE,
        ..IntentQuery::default()
    };
    let mut left = limit;
    while left > 0 {
        let page = bounded(book.ledger.intent_list(query.clone())).await?;
        let Some(last) = page.last() else { break };
        query.after = Some((last.created, last.id));
        for intent in page.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            left -= 1;
            let Some(work) = work_on(book, intent.id, Instant::now()).await? else { continue };
            let (verdict, alarms) = reconcile(book, work).await?;
            seen.add(verdict, alarms);
        }
    }
    Ok(seen)
}

/// Looks at one purchase until it is known what became of it, or `patience` is over.
pub(crate) async fn confirm(
    book: &Arc<Book>,
    id: IntentId,
    patience: Duration,
) -> Result<Option<IntentRecord>, LedgerError> {
    let give_up = Instant::now() + patience.min(LONGEST_PATIENCE);
    book.flush().await;
    loop {
        let mut verdict = Verdict::Open;
        if let Some(work) = work_on(book, id, give_up).await? {
            verdict = reconcile(book, work).await?.0;
        }
        let there = bounded(book.ledger.intent_get(id)).await?;
        let Some(record) = there.as_ref().and_then(IntentRecord::read) else { return Ok(None) };
        let is_known = verdict != Verdict::Open || record.chain.is_some() || !record.alarms.is_empty();
        if is_known || record.witness(book).is_none() || Instant::now() + CONFIRM_PAUSE >= give_up {
            return Ok(Some(record));
        }
        tokio::time::sleep(CONFIRM_PAUSE).await;
    }
}

/// The right to write on an intent that is open and that nobody is at.
pub(crate) async fn work_on(
    book: &Arc<Book>,
    id: IntentId,
    give_up: Instant,
) -> Result<Option<Box<Work>>, LedgerError> {
    loop {
        let Some(intent) = book.get(id).await?.filter(|intent| intent.is_open) else { return Ok(None) };
        let name = turn_of(&intent);
        let Some((turn, _)) = book.turns.take(&name, give_up).await else { return Ok(None) };
        // Who had the turn may have written that the key means it no longer.
        if book.get(id).await?.is_some_and(|intent| turn_of(&intent) == name) {
            return book.take(id, Some(turn)).await;
        }
    }
}

impl IntentRecord {
    /// Takes in what was seen on chain.
    pub(crate) fn see(&mut self, sighting: &Sighting, now: UnixTime) -> Verdict {
        let told = self.settlement.as_ref().filter(|told| told.success).map(|told| told.transaction.clone());
        if sighting.is_contradicted {
            let told = told.clone().unwrap_or_default();
            let text = format!("the seller told of transaction {told}, which does not move this payment");
            self.alarm(AlarmCode::UnconfirmedReceipt, &text, now);
        }
        let fact = |verdict| ChainFact {
            verdict,
            transaction: None,
            block: None,
            log_index: None,
            moved: None,
            at: now,
        };
        let has_moved = matches!(sighting.fate, ChainFate::Moved { .. } | ChainFate::Used);
        if has_moved && !matches!(self.state, IntentState::Paid | IntentState::Served) {
            // Whatever answer was read, it was not what this bought.
            self.answer = Answer::None;
        }
        match &sighting.fate {
            ChainFate::Moved { transaction, block, log_index, amount } => {
                if matches!(self.state, IntentState::Refused | IntentState::Failed) {
                    let text = format!("charged by {transaction}, although the seller said that it was not");
                    self.alarm(AlarmCode::Contradiction, &text, now);
                }
                self.state = IntentState::Paid;
                self.chain = Some(ChainFact {
                    verdict: ChainVerdict::Confirmed,
                    transaction: Some(transaction.clone()),
                    block: Some(*block),
                    log_index: Some(*log_index),
                    moved: Some(*amount),
                    at: now,
                });
                Verdict::Paid
            }
            ChainFate::Used => {
                self.state = IntentState::Paid;
                self.chain = Some(fact(ChainVerdict::Used));
                Verdict::Paid
            }
            ChainFate::Dead => {
                if told.is_some() {
                    self.alarm(
                        AlarmCode::UnconfirmedReceipt,
                        "the seller told of a settlement, and there is none",
                        now,
                    );
                }
                self.state = IntentState::Dead;
                self.chain = Some(fact(ChainVerdict::Absent));
                Verdict::Dead
            }
            ChainFate::Unused => {
                let signed_at = self.authorization.as_ref().map_or(now, |signed| signed.signed_at);
                if sighting.is_contradicted {
                    self.chain = Some(fact(ChainVerdict::Contradicted));
                } else if told.is_some() && now >= signed_at.plus_seconds(SEEN_WITHIN_SECONDS) {
                    let text = "the seller told of a settlement, and it cannot be seen yet";
                    self.alarm(AlarmCode::UnconfirmedReceipt, text, now);
                }
                Verdict::Open
            }
            ChainFate::Unknown(why) => {
                self.because(&format!("the chain could not be asked: {why}"));
                Verdict::Open
            }
        }
    }

    /// Whoever can be asked what became of it on chain. What was promised on a channel moves nothing there.
    pub(crate) fn witness<'a>(&self, book: &'a Book) -> Option<&'a Arc<dyn FateWitness>> {
        book.witness(&self.offer.network).filter(|_| self.channel.is_none())
    }

    /// How much of the offer stays counted: what moved, nothing once it is dead, else all of it.
    fn kept(&self) -> Amount {
        let moved = self.chain.as_ref().and_then(|fact| fact.moved);
        match self.state {
            IntentState::Dead | IntentState::Void => Amount::ZERO,
            _ => moved.unwrap_or(self.offer.amount).min(self.offer.amount),
        }
    }

    /// When to look again: soon at first, then ever later, and again when it is over.
    fn next_look(&self, created: UnixTime, now: UnixTime) -> UnixTime {
        let age = now.0.saturating_sub(created.0);
        let pause = (age / 2).clamp(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS);
        let over = self.expires_at().plus_seconds(MARGIN_SECONDS);
        let is_told = self.settlement.as_ref().is_some_and(|told| told.success);
        if is_told || now >= over { now.plus_seconds(pause) } else { over }
    }
}

impl ChainFact {
    /// Whether nothing about it can change any more that matters: money that moved may be taken back with its block, and
    /// is counted as spent then all the same.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(self.verdict, ChainVerdict::Confirmed | ChainVerdict::Used | ChainVerdict::Absent)
    }
}

/// What a hold counts for when `moved` of `asked` has moved: rounded up.
pub(crate) fn part_of(hold: &Hold, moved: Amount, asked: Amount) -> Amount {
    if moved >= asked || asked == Amount::ZERO {
        return hold.amount;
    }
    let whole = U512::from(hold.amount.atomic()) * U512::from(moved.atomic());
    let (asked, one) = (U512::from(asked.atomic()), U512::ONE);
    let part = (whole + asked - one) / asked;
    Amount::from_atomic(U256::saturating_from(part)).min(hold.amount)
}

#[cfg(test)]
mod tests {
    use tollway_core::{Amount, UnixTime};
    use tollway_ledger::Hold;

    use super::part_of;

    #[test]
    fn a_hold_keeps_its_part_of_what_moved_rounded_up() {
        let hold = |amount: &str| Hold {
            budget: String::new(),
            window: UnixTime(0),
            until: UnixTime(1),
            amount: amount.parse().unwrap(),
        };
        let most = Amount::MAX.to_string();
        for (held, moved, asked, kept) in [
            ("50000000000000000", 20_000u64, 50_000u64, "20000000000000000"),
            ("1", 1, 50_000, "1"),
            ("1", 0, 50_000, "0"),
            ("10", 1, 3, "4"),
            ("10", 3, 3, "10"),
            ("10", 4, 3, "10"),
            ("10", 0, 0, "10"),
            (&most, 1, 1, &most),
        ] {
            let part = part_of(&hold(held), Amount::from(moved), Amount::from(asked));
            assert_eq!(part.to_string(), kept, "{held} {moved}/{asked}");
        }
    }
}

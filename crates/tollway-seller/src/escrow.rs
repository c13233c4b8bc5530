//! What becomes of payments that are collected: taken when they were served, given back when not, each step written down
//! before it is asked for. Whoever dies in between, another seller on the ledger asks again, for the same; the scheme and
//! the facilitator see to it that nothing happens twice.

use std::sync::Arc;

use tollway_core::model::{FacilitatorRequest, Outcome, SettleResponse};
use tollway_core::{Amount, AuthorizationKey, EscrowScheme, EscrowTerms, FacilitatorError};
use tollway_ledger::LedgerError;

use crate::background::lease_end;
use crate::membership::bounded;
use crate::paywall::Core;
use crate::phase::Question;
use crate::purchase::{HeldPurchase, HoldState, Record};

/// How many purchases that are due are taken at once.
const MAX_DUE: u32 = 16;
/// How many steps one call takes at most: what a capture leaves, then what was asked.
const MAX_STEPS: u32 = 3;

/// Why a purchase is not captured, voided or refunded. Asked again, the same call does the same thing at most once.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EscrowError {
    /// The seller's ledger has no such purchase.
    #[error("there is no such purchase")]
    Unknown,
    /// It is not one that this can be done with.
    #[error("it is {state:?}: {rule}")]
    State {
        /// Where it stands.
        state: HoldState,
        /// What it would have to be.
        rule: &'static str,
    },
    /// The facilitator refused: nothing moved.
    #[error("refused: {0}")]
    Refused(String),
    /// It is under way, and its end is not known yet: it is asked for until it is.
    #[error("not known yet: {0}")]
    Pending(String),
    /// Somebody else has written it meanwhile: look again.
    #[error("it has changed meanwhile")]
    Changed,
    /// The ledger did not do what it was asked.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What came of a step.
#[derive(Debug)]
pub(crate) enum Stepped {
    Done(SettleResponse),
    /// Nothing moved.
    Refused(SettleResponse),
    Pending(SettleResponse),
    /// No usable answer.
    Unknown(FacilitatorError),
}

/// The scheme of a collected payment, and what it says of it.
pub(crate) fn terms<'a>(
    core: &'a Core,
    request: &FacilitatorRequest,
) -> Option<(&'a dyn EscrowScheme, EscrowTerms)> {
    let offer = &request.requirements;
    let mut rails = core.rails.iter().filter(|rail| rail.terms.network == offer.network);
    rails.find_map(|rail| {
        let scheme = rail.scheme.escrow().filter(|_| *rail.scheme.name() == offer.scheme)?;
        Some((scheme, scheme.escrow_terms(offer).ok()?))
    })
}

/// Whether any scheme of this paywall collects first.
pub(crate) fn is_used(core: &Core) -> bool {
    core.rails.iter().any(|rail| rail.scheme.escrow().is_some())
}

/// What is written of a payment.
pub(crate) async fn find(core: &Core, key: &AuthorizationKey) -> Result<Option<Record>, LedgerError> {
    let found = bounded(core.reservations.ledger().purchase_get(key)).await?;
    found.map(Record::read).transpose()
}

/// What is written of a payment that is about to be collected: it is, when this returns.
pub(crate) async fn open(core: &Core, fresh: Record) -> Result<Record, EscrowError> {
    let mut record = match find(core, &fresh.key).await? {
        Some(known) if known.facts.state != HoldState::Nothing => return Ok(known),
        // What came to nothing begins again.
        Some(known) => Record { version: known.version, ..fresh },
        None => fresh,
    };
    write(core, &mut record).await?;
    Ok(record)
}

/// Writes it down as it is now, if nobody has written it since it was read.
pub(crate) async fn write(core: &Core, record: &mut Record) -> Result<(), EscrowError> {
    let due = record.due(core.clock.now());
    write_due(core, record, due).await
}

async fn write_due(core: &Core, record: &mut Record, due: tollway_core::UnixTime) -> Result<(), EscrowError> {
    let purchase = record.purchase(due)?;
    let ledger = core.reservations.ledger();
    let written = bounded(ledger.purchase_put(purchase.clone())).await;
    if !matches!(written, Ok(true)) {
        // An answer may have been lost on its way.
        let now = bounded(ledger.purchase_get(&record.key)).await?;
        let is_ours = now.is_some_and(|now| {
            now.version == purchase.version.saturating_add(1) && now.body == purchase.body
        });
        if !is_ours {
            return Err(written.err().map_or(EscrowError::Changed, EscrowError::Ledger));
        }
    }
    record.version = record.version.saturating_add(1);
    Ok(())
}

/// Writes down that a step begins, and leaves it to this process until it can only be dead.
pub(crate) async fn begin(
    core: &Core,
    record: &mut Record,
    state: HoldState,
    asked: Amount,
) -> Result<(), EscrowError> {
    record.begin(state, asked);
    write_due(core, record, lease_end(core)).await
}

/// Asks for the step that is under way, and writes down what came of it.
pub(crate) async fn advance(core: &Arc<Core>, record: &mut Record) -> Result<Stepped, EscrowError> {
    let stepped = ask(core, record).await;
    let now = core.clock.now();
    let (id, state) = (&record.key, record.facts.state);
    match &stepped {
        Stepped::Done(answer) => {
            tracing::info!(%id, ?state, transaction = answer.transaction, "done with what was collected");
            record.done(answer);
        }
        Stepped::Refused(answer) => {
            let reason = answer.error_reason.as_ref().map_or("no reason", |code| code.as_str());
            tracing::error!(%id, ?state, reason, "refused with what was collected");
            record.refused(now);
        }
        Stepped::Pending(answer) => {
            tracing::warn!(%id, ?state, transaction = answer.transaction, "pending with what was collected");
            record.postpone();
        }
        Stepped::Unknown(error) => {
            tracing::warn!(%id, ?state, %error, "no answer about what was collected");
            record.postpone();
        }
    }
    match write(core, record).await {
        Ok(()) => Ok(stepped),
        // It is done, whoever writes it down: who took over asks for the same.
        Err(error) if matches!(stepped, Stepped::Done(_)) => {
            tracing::warn!(%error, id = %record.key, "the end of a step is not written yet");
            Ok(stepped)
        }
        Err(error) => Err(error),
    }
}

async fn ask(core: &Arc<Core>, record: &Record) -> Stepped {
    let unknown = |text: String| Stepped::Unknown(FacilitatorError::NoAnswer(text));
    let (Some((scheme, _)), Some(step)) = (terms(core, &record.request), record.step()) else {
        return unknown("this seller does not accept its scheme".to_owned());
    };
    let request = match scheme.escrow_request(&record.request, step).await {
        Ok(request) => request,
        Err(error) => return unknown(error.to_string()),
    };
    let question = Question { core: Arc::clone(core), request, payer: record.facts.payer.clone() };
    match question.ask().await {
        Err(error) => Stepped::Unknown(error),
        Ok(answer) => match answer.outcome() {
            Outcome::Settled => Stepped::Done(answer),
            Outcome::Failed => Stepped::Refused(answer),
            Outcome::Pending => Stepped::Pending(answer),
        },
    }
}

/// Gives back what is held, in a task of its own: what is written already is done by this process or by another.
pub(crate) fn advance_soon(core: &Arc<Core>, mut record: Record) {
    let core = Arc::clone(core);
    tokio::spawn(async move {
        for _ in 0..MAX_STEPS {
            if record.step().is_none() {
                return;
            }
            match advance(&core, &mut record).await {
                Ok(Stepped::Done(_)) => {}
                Ok(_) => return,
                Err(error) => {
                    return tracing::warn!(%error, id = %record.key, "a purchase waits for its turn");
                }
            }
        }
    });
}

/// Takes purchases that are due: what was served is captured, what was not is given back.
pub(crate) async fn take_due(core: &Arc<Core>) {
    if !is_used(core) || core.reservations.membership.member().await.is_none() {
        return;
    }
    let ledger = core.reservations.ledger();
    let due = match bounded(ledger.purchase_due(core.clock.now(), lease_end(core), MAX_DUE)).await {
        Ok(due) => due,
        Err(error) => return tracing::warn!(%error, "what is held cannot be read"),
    };
    for purchase in due {
        let id = purchase.key.clone();
        let record = match Record::read(purchase) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(%error, %id, "what is held cannot be read");
                continue;
            }
        };
        look_after(core, record).await;
    }
}

async fn look_after(core: &Arc<Core>, mut record: Record) {
    let begun = match record.facts.state {
        HoldState::Held => begin(core, &mut record, HoldState::Voiding, Amount::ZERO).await,
        HoldState::Served => {
            let asked = record.asked();
            begin(core, &mut record, HoldState::Capturing, asked).await
        }
        _ => Ok(()),
    };
    match begun {
        Ok(()) => advance_soon(core, record),
        Err(error) => tracing::warn!(%error, id = %record.key, "a purchase waits for its turn"),
    }
}

/// Takes some or all of what is held; what the answer asked for, if nothing is said.
pub(crate) async fn capture(
    core: &Arc<Core>,
    id: &str,
    amount: Option<Amount>,
) -> Result<HeldPurchase, EscrowError> {
    let mut record = known(core, id).await?;
    let state = record.facts.state;
    let is_same = |asked: Amount| amount.is_none_or(|amount| amount == asked);
    match state {
        HoldState::Captured | HoldState::Refunding if is_same(record.captured()) => return Ok(record.view()),
        HoldState::Capturing if is_same(record.asked()) => {}
        HoldState::Served => {
            let amount = amount.unwrap_or_else(|| record.asked());
            if amount == Amount::ZERO || amount > record.request.requirements.amount {
                return Err(EscrowError::State { state, rule: "the amount must be more than zero and held" });
            }
            begin(core, &mut record, HoldState::Capturing, amount).await?;
        }
        _ => return Err(EscrowError::State { state, rule: "it must be held, and served for" }),
    }
    run(core, record, |record| record.facts.state != HoldState::Capturing).await
}

/// Gives back all that is held.
pub(crate) async fn void(core: &Arc<Core>, id: &str) -> Result<HeldPurchase, EscrowError> {
    let mut record = known(core, id).await?;
    match record.facts.state {
        HoldState::Voided => return Ok(record.view()),
        HoldState::Voiding => {}
        HoldState::Held | HoldState::Served => {
            begin(core, &mut record, HoldState::Voiding, Amount::ZERO).await?;
        }
        state => return Err(EscrowError::State { state, rule: "it must be held" }),
    }
    run(core, record, |record| record.facts.state != HoldState::Voiding).await
}

/// Gives back of what was taken, until it is `total` in all.
pub(crate) async fn refund(core: &Arc<Core>, id: &str, total: Amount) -> Result<HeldPurchase, EscrowError> {
    let mut record = known(core, id).await?;
    match record.facts.state {
        HoldState::Captured if total == record.refunded() => return Ok(record.view()),
        HoldState::Refunding if total == record.asked() => {}
        HoldState::Captured if total > record.refunded() && total <= record.captured() => {
            begin(core, &mut record, HoldState::Refunding, total).await?;
        }
        state => {
            let rule = "it must be taken, the total no less than was given back and no more than was taken";
            return Err(EscrowError::State { state, rule });
        }
    }
    run(core, record, |record| record.facts.state != HoldState::Refunding).await
}

async fn known(core: &Core, id: &str) -> Result<Record, EscrowError> {
    find(core, &AuthorizationKey::new(id)).await?.ok_or(EscrowError::Unknown)
}

/// Asks until what was asked is over.
async fn run(
    core: &Arc<Core>,
    mut record: Record,
    is_over: impl Fn(&Record) -> bool,
) -> Result<HeldPurchase, EscrowError> {
    for _ in 0..MAX_STEPS {
        match advance(core, &mut record).await? {
            Stepped::Done(_) if is_over(&record) => {
                if record.step().is_some() {
                    advance_soon(core, record.clone());
                }
                return Ok(record.view());
            }
            Stepped::Done(_) => {}
            Stepped::Refused(answer) => {
                let reason = answer.error_reason.map(|code| code.as_str().to_owned());
                return Err(EscrowError::Refused(reason.or(answer.error_message).unwrap_or_default()));
            }
            Stepped::Pending(answer) => return Err(EscrowError::Pending(answer.transaction)),
            Stepped::Unknown(error) => return Err(EscrowError::Pending(error.to_string())),
        }
    }
    Err(EscrowError::Pending("it takes more steps".to_owned()))
}

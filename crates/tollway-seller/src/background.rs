//! Background settlement: what was served is owed, and is settled until it is, by whoever is alive.
//!
//! The debt is written down before the answer leaves. The process that wrote it settles it at once; what it leaves behind
//! (the facilitator was down, the process ended) any seller on the ledger takes when it is due. What fails is a loss, and
//! stays counted against its payer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tollway_core::model::{FacilitatorRequest, Outcome};
use tollway_core::{UnixTime, wire};
use tollway_ledger::{Fate, Finish, Finished, Owed};

use crate::membership::bounded;
use crate::paywall::Core;
use crate::phase::Question;
use crate::reservation::UNFINISHED_SECONDS;
use crate::telemetry;

/// How many debts are settled at once.
const MAX_SETTLING: usize = 64;
/// What a payment must be valid for to be settled after its answer has left.
pub(crate) const LEAST_VALIDITY_SECONDS: u64 = 60;
/// The pause after a settlement that is on its way or could not be asked for; it doubles while nothing succeeds.
const FIRST_PAUSE_SECONDS: u64 = 2;
const MAX_DOUBLINGS: u32 = 5;
/// What a try may take beyond the facilitator's deadlines before another seller takes the debt.
const SLACK_SECONDS: u64 = 30;

/// How long a loss is held against its payer.
const LOSS_SECONDS: u64 = 7 * 24 * 3600;

/// What the debts of one paywall share.
#[derive(Debug)]
pub(crate) struct Debts {
    permits: Arc<Semaphore>,
    /// Tries in a row that came to nothing, over all debts.
    failures: AtomicU32,
}

impl Default for Debts {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(MAX_SETTLING)), failures: AtomicU32::new(0) }
    }
}

impl Debts {
    /// The right to settle one debt at once, if it is not one too many.
    pub(crate) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    fn pause_seconds(&self) -> u64 {
        FIRST_PAUSE_SECONDS << self.failures.load(Ordering::SeqCst).min(MAX_DOUBLINGS)
    }
}

/// When others may take a debt that is settled at once.
pub(crate) fn lease_end(core: &Core) -> UnixTime {
    let asking = core.limits.settle_timeout.as_secs().saturating_add(SLACK_SECONDS);
    core.clock.now().plus_seconds(asking)
}

/// What is owed as it is written down.
pub(crate) fn request_text(request: &FacilitatorRequest) -> String {
    Value::Object(wire::encode_facilitator_request(request)).to_string()
}

/// Settles one debt, in a task of its own.
pub(crate) fn settle_soon(core: &Arc<Core>, owed: Owed, permit: OwnedSemaphorePermit) {
    let core = Arc::clone(core);
    tokio::spawn(async move {
        settle(&core, owed).await;
        drop(permit);
    });
}

/// Takes debts that are due, as many as may be settled at once.
pub(crate) async fn take_due(core: &Arc<Core>) {
    let free = core.debts.permits.available_permits();
    let Ok(limit @ 1..) = u32::try_from(free) else { return };
    if core.reservations.membership.member().await.is_none() {
        return;
    }
    let ledger = core.reservations.ledger();
    let due = match bounded(ledger.reservation_owed(core.clock.now(), lease_end(core), limit)).await {
        Ok(due) => due,
        Err(error) => return tracing::warn!(%error, "what is owed cannot be read"),
    };
    for owed in due {
        // What finds no permit is due again when its lease ends.
        let Some(permit) = core.debts.permit() else { return };
        settle_soon(core, owed, permit);
    }
}

async fn settle(core: &Arc<Core>, owed: Owed) {
    let request = match wire::decode_facilitator_request(owed.request.as_bytes()) {
        Ok(request) => request,
        Err(error) => {
            return tracing::error!(%error, key = %owed.key, "what is owed cannot be read: it stays owed");
        }
    };
    let question = Question { core: Arc::clone(core), request, payer: owed.payer.clone() };
    let fate = match question.ask().await {
        Ok(answer) => match answer.outcome() {
            Outcome::Settled => Fate::Delivered(answer.transaction),
            Outcome::Failed => {
                let reason = answer.error_reason.as_ref().map_or("no reason", |code| code.as_str());
                let Owed { key, payer, amount, asset, .. } = &owed;
                tracing::error!(%key, payer, %amount, asset, reason, "served and not paid: a loss");
                Fate::Unpaid
            }
            Outcome::Pending => return postpone(core, owed, "its settlement is pending").await,
        },
        Err(error) => return postpone(core, owed, &error.to_string()).await,
    };
    core.debts.failures.store(0, Ordering::SeqCst);
    let result = if fate == Fate::Unpaid { "unpaid" } else { "settled" };
    if finish(core, &owed, fate).await {
        telemetry::owed(result);
    }
}

/// Leaves the debt for later, to whoever comes first.
async fn postpone(core: &Arc<Core>, mut owed: Owed, cause: &str) {
    let pause = core.debts.pause_seconds();
    core.debts.failures.fetch_add(1, Ordering::SeqCst);
    tracing::warn!(key = %owed.key, cause, pause, "what is owed is not settled yet");
    owed.next_try = core.clock.now().plus_seconds(pause);
    finish(core, &owed, Fate::Owed(owed.clone())).await;
}

/// Writes the end down. Where it cannot be, the debt is due again when its lease ends.
async fn finish(core: &Arc<Core>, owed: &Owed, fate: Fate) -> bool {
    let now = core.clock.now();
    let keep = match &fate {
        Fate::Unpaid => LOSS_SECONDS,
        // For as long as it could be presented.
        _ => UNFINISHED_SECONDS,
    };
    let finish = Finish {
        key: owed.key.clone(),
        token: owed.token,
        fate,
        response: None,
        keep_until: now.plus_seconds(keep),
        owed_limits: None,
        now,
    };
    match bounded(core.reservations.ledger().reservation_finish(finish)).await {
        Ok(finished) => finished == Finished::Done,
        Err(error) => {
            tracing::warn!(%error, key = %owed.key, "the end of a debt is not written yet");
            false
        }
    }
}

//! The last phase: the money. It runs in a task of its own, so that a buyer who hangs up cannot cut it in
//! half, and it writes down the payment's fate before it asks and again when it knows.

use std::sync::Arc;

use tollway_core::model::{FacilitatorRequest, Outcome, SettleResponse};
use tollway_core::{FacilitatorError, Money, SettlementWitness, Witnessed};
use tollway_ledger::Fate;
use tracing::Instrument;

use super::select::same_account;
use crate::denial::Denial;
use crate::offers::Rail;
use crate::paywall::Core;
use crate::reservation::Hold;
use crate::telemetry::Timer;

/// How often the chain is looked at for one answer.
const LOOKS: u32 = 3;

/// Which successes are confirmed, and by whom.
#[derive(Clone, Debug)]
pub(crate) struct Confirmation {
    pub(crate) witness: Arc<dyn SettlementWitness>,
    /// Above what; any amount of what does not stand for dollars.
    pub(crate) above: Money,
}

impl Confirmation {
    fn is_needed(&self, core: &Core, request: &FacilitatorRequest) -> bool {
        let offer = &request.requirements;
        let is_ours =
            |rail: &&Rail| rail.terms.network == offer.network && *rail.scheme.name() == offer.scheme;
        let scheme = core.rails.iter().find(is_ours).map(|rail| &rail.scheme);
        // What is put into a channel is looked at where the channel is; what an account is charged is on no chain.
        if scheme.is_some_and(|scheme| scheme.channel().is_some() || scheme.signed_request().is_some()) {
            return false;
        }
        let above = scheme.and_then(|scheme| scheme.money_in(&self.above, offer));
        above.is_none_or(|above| offer.amount > above)
    }
}

/// What is asked, and what the answer is held against.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) core: Arc<Core>,
    pub(crate) request: FacilitatorRequest,
    pub(crate) payer: String,
}

/// One settlement of a payment that is held.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) hold: Arc<Hold>,
    pub(crate) question: Question,
}

impl Settlement {
    /// Settles. Whoever drops this future, the settlement goes on and the reservation learns its end.
    pub(crate) async fn run(self) -> Result<SettleResponse, Denial> {
        let timer = Timer::start("settle");
        let task = tokio::spawn(self.attempt().in_current_span());
        let settled = task.await;
        if matches!(settled, Ok(Ok(_))) {
            timer.stop();
        }
        settled.unwrap_or_else(|_| {
            let error = FacilitatorError::NoAnswer("the settlement broke off".to_owned());
            Err(Denial::unknown(error))
        })
    }

    async fn attempt(self) -> Result<SettleResponse, Denial> {
        let before = self.hold.fate();
        let known = match &before {
            Fate::Pending(transaction) => transaction.clone(),
            _ => String::new(),
        };
        self.note(Fate::Pending(known));
        let note = |first: &SettleResponse| self.note(Fate::Pending(first.transaction.clone()));
        match self.question.pursue(note).await {
            Ok(answer) => self.conclude(answer),
            Err(error) => Err(self.no_answer(error, before)),
        }
    }

    /// Notes what is true. That it was served unpaid stays true until it is paid.
    fn note(&self, fate: Fate) {
        if self.hold.fate() != Fate::Unpaid || matches!(fate, Fate::Delivered(_)) {
            self.hold.set_fate(fate);
        }
    }

    fn no_answer(&self, error: FacilitatorError, before: Fate) -> Denial {
        tracing::warn!(%error, payer = self.question.payer, "settle failed: the facilitator gave no usable answer");
        match error {
            // It never left, or was turned away as malformed: what was true before still is.
            FacilitatorError::Unreachable(_) | FacilitatorError::Refused { .. } => {
                let held = before != Fate::Released;
                self.hold.set_fate(before);
                Denial::Facilitator { error, held }
            }
            error => Denial::unknown(error),
        }
    }

    fn conclude(&self, answer: SettleResponse) -> Result<SettleResponse, Denial> {
        let Question { request, payer, .. } = &self.question;
        let (network, amount) = (&request.requirements.network, request.requirements.amount);
        let transaction = answer.transaction.clone();
        match answer.outcome() {
            Outcome::Settled => {
                tracing::info!(%network, %payer, %amount, transaction, "settled");
                // Not delivered yet: presented again, it is asked about first and then served.
                self.note(Fate::Pending(transaction));
                Ok(answer)
            }
            Outcome::Pending => {
                tracing::warn!(%network, %payer, %amount, transaction, "settlement pending");
                self.note(Fate::Pending(transaction));
                Err(Denial::Pending(Box::new(answer)))
            }
            Outcome::Failed => {
                let reason = answer.error_reason.as_ref().map_or("no reason", |code| code.as_str());
                tracing::warn!(%network, %payer, %amount, reason, "settlement failed");
                self.note(Fate::Failed);
                Err(Denial::SettleFailed(Box::new(answer)))
            }
        }
    }
}

impl Question {
    /// Asks, and once more after a pause where the first answer, told to `pending`, is that nobody knows yet.
    pub(crate) async fn pursue(
        &self,
        pending: impl FnOnce(&SettleResponse) + Send,
    ) -> Result<SettleResponse, FacilitatorError> {
        let first = self.ask().await?;
        if first.outcome() != Outcome::Pending {
            return Ok(first);
        }
        pending(&first);
        tokio::time::sleep(self.core.limits.pending_wait).await;
        Ok(self.ask().await.unwrap_or(first))
    }

    /// One question, bounded. A lie counts as no answer of the protocol, and a success that is to be confirmed and is not
    /// yet is still pending.
    pub(crate) async fn ask(&self) -> Result<SettleResponse, FacilitatorError> {
        let asked = self.core.facilitator.settle(self.request.clone());
        let answer = tokio::time::timeout(self.core.limits.settle_timeout, asked)
            .await
            .unwrap_or_else(|_| Err(FacilitatorError::NoAnswer("settle took too long".to_owned())))?;
        if let Some(detail) = self.doubt(&answer) {
            return Err(FacilitatorError::BadAnswer { status: 200, detail });
        }
        if answer.outcome() == Outcome::Settled
            && let Some(confirmation) = &self.core.confirmation
            && confirmation.is_needed(&self.core, &self.request)
        {
            return self.confirm(confirmation, answer).await;
        }
        Ok(answer)
    }

    /// The chain's word on the facilitator's.
    async fn confirm(
        &self,
        confirmation: &Confirmation,
        answer: SettleResponse,
    ) -> Result<SettleResponse, FacilitatorError> {
        for _ in 0..LOOKS {
            match confirmation.witness.confirm(&self.request, &answer.transaction).await {
                Witnessed::Proved => return Ok(answer),
                Witnessed::Disproved => {
                    let hash = &answer.transaction;
                    let detail =
                        format!("settle claims success by {hash:.80}, which did not move this payment");
                    return Err(FacilitatorError::BadAnswer { status: 200, detail });
                }
                Witnessed::Unknown(cause) => {
                    tracing::debug!(
                        cause,
                        transaction = answer.transaction,
                        "a settlement is not confirmed yet"
                    );
                }
            }
            tokio::time::sleep(self.core.limits.pending_wait).await;
        }
        Ok(SettleResponse::pending(answer.network, &self.payer, answer.transaction))
    }

    /// What makes a claimed success unbelievable.
    fn doubt(&self, answer: &SettleResponse) -> Option<String> {
        let network = &self.request.requirements.network;
        if !answer.success {
            return None;
        }
        if answer.transaction.is_empty() {
            return Some("settle claims success without a transaction".to_owned());
        }
        if &answer.network != network {
            return Some(format!("settle claims success on {}, not {network}", answer.network));
        }
        match &answer.payer {
            Some(payer) if !same_account(network, payer, &self.payer) => {
                Some(format!("settle names payer {payer:.64}, the signature is by {}", self.payer))
            }
            _ => None,
        }
    }
}

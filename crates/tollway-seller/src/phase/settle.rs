//! The last phase: the money. It runs in a task of its own, so that a buyer who hangs up cannot cut it in
//! half, and it writes down the payment's fate before it asks and again when it knows.

use std::sync::Arc;

use tollway_core::FacilitatorError;
use tollway_core::model::{FacilitatorRequest, Outcome, SettleResponse};

use super::select::same_account;
use crate::denial::Denial;
use crate::paywall::Core;
use crate::reservation::{Fate, Hold};

/// One settlement: what is asked, and what the answer is held against.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) core: Arc<Core>,
    pub(crate) hold: Arc<Hold>,
    pub(crate) request: FacilitatorRequest,
    pub(crate) payer: String,
}

impl Settlement {
    /// Settles. Whoever drops this future, the settlement goes on and the reservation learns its end.
    pub(crate) async fn run(self) -> Result<SettleResponse, Denial> {
        let task = tokio::spawn(self.attempt());
        task.await.unwrap_or_else(|_| {
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
        self.hold.set_fate(Fate::Pending(known));
        let first = self.ask().await.map_err(|error| self.no_answer(error, before))?;
        match first.outcome() {
            Outcome::Pending => {
                self.hold.set_fate(Fate::Pending(first.transaction.clone()));
                tokio::time::sleep(self.core.limits.pending_wait).await;
                match self.ask().await {
                    Ok(second) => self.conclude(second),
                    Err(_) => self.conclude(first),
                }
            }
            _ => self.conclude(first),
        }
    }

    /// One question, bounded. A lie counts as no answer of the protocol.
    async fn ask(&self) -> Result<SettleResponse, FacilitatorError> {
        let asked = self.core.facilitator.settle(self.request.clone());
        let answer = tokio::time::timeout(self.core.limits.settle_timeout, asked)
            .await
            .unwrap_or_else(|_| Err(FacilitatorError::NoAnswer("settle took too long".to_owned())))?;
        self.doubt(&answer)
            .map_or(Ok(answer), |detail| Err(FacilitatorError::BadAnswer { status: 200, detail }))
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

    fn no_answer(&self, error: FacilitatorError, before: Fate) -> Denial {
        tracing::warn!(%error, payer = self.payer, "settle failed: the facilitator gave no usable answer");
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
        let requirements = &self.request.requirements;
        let (network, amount) = (&requirements.network, requirements.amount);
        let (payer, transaction) = (&self.payer, answer.transaction.clone());
        match answer.outcome() {
            Outcome::Settled => {
                tracing::info!(%network, %payer, %amount, transaction, "settled");
                // Not delivered yet: presented again, it is asked about first and then served.
                self.hold.set_fate(Fate::Pending(transaction));
                Ok(answer)
            }
            Outcome::Pending => {
                tracing::warn!(%network, %payer, %amount, transaction, "settlement pending");
                self.hold.set_fate(Fate::Pending(transaction));
                Err(Denial::Pending(Box::new(answer)))
            }
            Outcome::Failed => {
                let reason = answer.error_reason.as_ref().map_or("no reason", |code| code.as_str());
                tracing::warn!(%network, %payer, %amount, reason, "settlement failed");
                self.hold.set_fate(Fate::Failed);
                Err(Denial::SettleFailed(Box::new(answer)))
            }
        }
    }
}

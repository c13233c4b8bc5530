//! A payer who asks its money back: what was charged is claimed and the rest given back, in one step of the facilitator's.
//! No handler runs. What may be on its way back is written before it is asked for, and backs no voucher from then on.

use std::sync::Arc;

use tollway_core::model::{FacilitatorRequest, Outcome, SettleResponse};
use tollway_core::{Amount, Backing, ClaimRow, FacilitatorError, Refusal};
use tollway_ledger::LedgerError;
use tracing::Instrument;

use super::channel::Visit;
use super::settle::Question;
use crate::channel::book;
use crate::channel::look::ask;
use crate::channel::record::{NEVER, Record, RefundNote, Seen};
use crate::channel::row::Row;
use crate::claim::wake_payout;
use crate::denial::Denial;

/// A refund without a known end is asked about again after so long.
const UNKNOWN_SECONDS: u64 = 120;

impl Visit {
    /// Gives back what is not charged: all of it, or `amount`. A [`Denial::Refunded`] if that is done.
    pub(super) async fn refund(mut self, amount: Option<Amount>) -> Result<Denial, Denial> {
        let read = self.read().await?;
        let (scheme, commitment) = (self.paid.channels()?, &self.paid.commitment);
        if self.lease.row.as_ref().is_some_and(|row| row.charged != commitment.ceiling) {
            return Err(self.corrected()?);
        }
        let now = self.core.clock.now();
        let backing = ask(&self.core, scheme, &self.paid.request, commitment).await?;
        let cold = || Row::new(commitment.ceiling, Seen::default(), now);
        let mut row = self.lease.row.take().unwrap_or_else(cold);
        row.see(&backing, now);
        if row.charged != commitment.ceiling {
            self.lease.row = Some(row);
            return Err(self.corrected()?);
        }
        let mut record = match read {
            Some(record) => record,
            None => self.paid.record(row.seen)?,
        };
        let known = record.refund.take().filter(|note| note.nonce >= backing.refund_nonce);
        let note = match known {
            // It was asked for, and nobody knows what became of it: the same is asked for again.
            Some(note) => note,
            None => self.wanted(amount, &backing)?,
        };
        record.refund = Some(note.clone());
        // Whoever is alive then asks what became of it.
        row.due = row.due.min(now.plus_seconds(UNKNOWN_SECONDS));
        if row.signed < commitment.ceiling {
            row.signed = commitment.ceiling;
            row.proof = commitment.proof.as_str().into();
        }
        let written = book::write(&self.core, &commitment.channel, &mut row, &mut record).await;
        if !written.map_err(Denial::unwritten)? {
            return Err(self.paid.busy()?);
        }
        self.lease.row = Some(row);
        let claim = record.claim(commitment.ceiling, commitment.ceiling, commitment.proof.clone());
        let request = self.request(&claim, &backing, note.amount).await?;
        // In a task of its own: a payer who hangs up cannot cut it in half.
        let task = tokio::spawn(self.give_back(request).in_current_span());
        task.await.unwrap_or_else(|_| {
            Err(Denial::unknown(FacilitatorError::NoAnswer("the refund broke off".to_owned())))
        })
    }

    /// What is asked for, if there is so much.
    fn wanted(&self, amount: Option<Amount>, backing: &Backing) -> Result<RefundNote, Denial> {
        let (codes, ceiling) = (self.paid.channels()?.codes(), self.paid.commitment.ceiling);
        let refused = |code: &tollway_core::ErrorCode, field, rule| {
            let refusal = Refusal::new(code.clone(), field, rule);
            Err(Denial::Refused(refusal.by(self.paid.commitment.payer.clone())))
        };
        let Some(rest) = backing.balance.checked_sub(ceiling).filter(|rest| *rest != Amount::ZERO) else {
            let rule = "is of a channel that holds no more than what was charged";
            return refused(&codes.refund_no_balance, "payload.voucher.channelId", rule);
        };
        match amount {
            Some(amount) if amount == Amount::ZERO || amount > rest => {
                let rule = "must be more than 0, and no more than what is left";
                refused(&codes.refund_amount, "payload.amount", rule)
            }
            amount => Ok(RefundNote { amount: amount.unwrap_or(rest), nonce: backing.refund_nonce }),
        }
    }

    async fn request(
        &self,
        claim: &ClaimRow,
        backing: &Backing,
        amount: Amount,
    ) -> Result<FacilitatorRequest, Denial> {
        let scheme = self.paid.channels()?;
        let request = scheme.refund_request(&self.paid.request.requirements, claim, backing, amount).await;
        request.map_err(|error| Denial::Internal(format!("a refund: {error}")))
    }

    /// Asks for it, and writes down what came of it.
    async fn give_back(mut self, request: FacilitatorRequest) -> Result<Denial, Denial> {
        let (core, payer) = (Arc::clone(&self.core), self.paid.commitment.payer.clone());
        let question = Question { core, request, payer };
        let answer = match question.pursue(|_| ()).await {
            Ok(answer) => answer,
            Err(error) if error.was_sent() && !matches!(error, FacilitatorError::Refused { .. }) => {
                return Err(Denial::unknown(error));
            }
            Err(error) => return Err(Denial::Facilitator { error, held: false }),
        };
        match answer.outcome() {
            Outcome::Settled => {
                let told = self.given(&answer).await?;
                Ok(Denial::Refunded(Box::new(told)))
            }
            Outcome::Pending => Err(Denial::Pending(Box::new(answer))),
            Outcome::Failed => {
                self.end(None, false).await;
                Err(Denial::SettleFailed(Box::new(answer)))
            }
        }
    }

    /// What the payer is told of a refund that was made.
    async fn given(&mut self, answer: &SettleResponse) -> Result<SettleResponse, Denial> {
        let channel = self.paid.commitment.channel.clone();
        tracing::info!(%channel, transaction = answer.transaction, "refunded");
        let backing = self.paid.channels()?.backing(&answer.extra);
        self.end(backing, true).await;
        let paid = &self.paid;
        let backing = backing.unwrap_or_default();
        let mut row = Row::new(paid.commitment.ceiling, Seen::default(), self.core.clock.now());
        row.see(&backing, self.core.clock.now());
        let (offer, payer) = (&paid.request.requirements, &paid.commitment.payer);
        Ok(paid.channels()?.receipt(offer, payer, &row.snapshot(&channel), None, Some(answer)))
    }

    /// Writes down that a refund has ended. Where that fails, the next look at the chain tells.
    async fn end(&mut self, backing: Option<Backing>, has_moved: bool) {
        let channel = self.paid.commitment.channel.clone();
        self.lease.row = None;
        let written = match book::read(&self.core, &channel).await {
            Ok(Some((mut row, mut record))) => {
                if has_moved && let Err(error) = self.pay_out(&record).await {
                    return tracing::warn!(%error, %channel, "the end of a refund is not written yet");
                }
                self.ended(&mut row, &mut record, backing);
                if !has_moved {
                    record.refund = None;
                }
                book::write(&self.core, &channel, &mut row, &mut record).await
            }
            Ok(None) => Ok(true),
            Err(error) => Err(error),
        };
        match written {
            Ok(true) => {}
            Ok(false) => {
                tracing::debug!(%channel, "the end of a refund is left to the next look at the chain")
            }
            Err(error) => tracing::warn!(%error, %channel, "the end of a refund is not written yet"),
        }
    }

    /// What was charged was claimed with it.
    async fn pay_out(&self, record: &Record) -> Result<(), LedgerError> {
        wake_payout(self.core.reservations.ledger().as_ref(), &record.offer, self.core.clock.now()).await
    }

    fn ended(&self, row: &mut Row, record: &mut Record, backing: Option<Backing>) {
        match backing {
            Some(backing) => {
                row.see(&backing, self.core.clock.now());
                record.refund = None;
                if row.charged <= backing.claimed {
                    row.due = NEVER;
                }
            }
            // Nothing is known of what is left: it is looked at before anything is served.
            None => row.seen.at = 0,
        }
    }
}

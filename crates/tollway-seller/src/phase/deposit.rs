//! Money that is put into a channel with the request that it pays for. It is put in first: it is the payer's until it is
//! charged, and can be given back. That it is asked for is written before, so that the same payment again goes on where it
//! was, and is never a second deposit.

use std::sync::Arc;

use tollway_core::model::{Outcome, SettleResponse};
use tollway_core::{Amount, AuthorizationKey, Backing, FacilitatorError, Refusal};
use tracing::Instrument;

use super::admit::denial;
use super::channel::{MAX_READS, Visit};
use super::settle::Question;
use crate::channel::book;
use crate::channel::look::{ask, look};
use crate::channel::record::{DepositNote, Record, Seen};
use crate::channel::row::{Row, Stand};
use crate::denial::Denial;
use crate::telemetry::Timer;

/// How often the chain is looked at for what the facilitator says has landed.
const LOOKS: u32 = 3;

impl Visit {
    /// Has the money put in, unless it is in already. What the facilitator said of it is for the answer.
    pub(super) async fn deposit(
        mut self,
        amount: Amount,
        key: &AuthorizationKey,
    ) -> Result<(Self, Option<SettleResponse>), Denial> {
        let record = self.read().await?;
        let stand = self.stand_here();
        if stand == Some(Stand::Astray) {
            return Err(self.corrected()?);
        }
        let note = record.as_ref().and_then(|record| record.deposit.clone()).filter(|note| note.is_of(key));
        let told = note.as_ref().filter(|note| !note.transaction.is_empty()).map(|note| self.told(note));
        if stand == Some(Stand::Again) || told.is_some() {
            return Ok((self, told));
        }
        // What was asked for once is asked about, not verified: its money may have moved.
        let (visit, record) = match (note, record) {
            (Some(_), Some(record)) => (self, record),
            (_, record) => self.promise(amount, key, record).await?,
        };
        let task = tokio::spawn(visit.fund(record, amount).in_current_span());
        let funded = task.await.unwrap_or_else(|_| {
            Err(Denial::unknown(FacilitatorError::NoAnswer("the deposit broke off".to_owned())))
        });
        funded.map(|(visit, answer)| (visit, Some(answer)))
    }

    /// Verifies the deposit, and writes down that it is asked for.
    async fn promise(
        mut self,
        amount: Amount,
        key: &AuthorizationKey,
        record: Option<Record>,
    ) -> Result<(Self, Record), Denial> {
        if let Some(refusal) = &self.paid.late {
            return Err(denial(refusal.clone()));
        }
        let (scheme, now) = (self.paid.channels()?, self.core.clock.now());
        let backing = ask(&self.core, scheme, &self.paid.request, &self.paid.commitment).await?;
        let is_new = record.is_none();
        if is_new && !self.core.channels.has_room() {
            return Err(Denial::Full);
        }
        let cold = || Row::new(self.paid.base().unwrap_or_default(), Seen::default(), now);
        let mut row = self.lease.row.take().unwrap_or_else(cold);
        row.see(&backing, now);
        self.check(&row, amount)?;
        let mut record = match record {
            Some(record) => record,
            None => self.paid.record(row.seen)?,
        };
        let stand = row.stand(self.paid.commitment.ceiling, self.paid.amount(), &self.asked);
        if stand != Stand::Next {
            self.lease.row = Some(row);
            return Err(self.corrected()?);
        }
        record.deposit = Some(DepositNote::new(key, amount));
        let channel = &self.paid.commitment.channel;
        let written = book::write(&self.core, channel, &mut row, &mut record).await;
        if !written.map_err(Denial::unwritten)? {
            return Err(self.paid.busy()?);
        }
        if is_new {
            self.core.channels.added();
        }
        self.lease.row = Some(row);
        Ok((self, record))
    }

    /// Whether the voucher will be backed once `amount` is put in.
    fn check(&self, row: &Row, amount: Amount) -> Result<(), Denial> {
        let (commitment, now) = (&self.paid.commitment, self.core.clock.now());
        let backing = row.seen.backing();
        let Some(balance) = backing.balance.checked_add(amount) else {
            let code = self.paid.channels()?.codes().exceeds_balance.clone();
            return Err(Refusal::new(code, "payload.deposit.amount", "must be an amount of the asset").into());
        };
        let funded = Row { seen: Seen::new(&Backing { balance, ..backing }, now), ..row.clone() };
        let delay = commitment.withdraw_delay_seconds;
        let patience = self.core.channels.rules.patience(delay);
        match funded.covers(commitment.ceiling, delay, patience, now) {
            Ok(()) => Ok(()),
            Err(lack) => Err(self.lacks(lack)?),
        }
    }

    /// Has the money moved, and writes down what came of it. It goes on whoever waits for it.
    async fn fund(mut self, record: Record, amount: Amount) -> Result<(Self, SettleResponse), Denial> {
        let (core, payer) = (Arc::clone(&self.core), self.paid.commitment.payer.clone());
        let question = Question { core, request: self.paid.request.clone(), payer };
        let timer = Timer::start("deposit");
        let answer = match question.pursue(|_| ()).await {
            Ok(answer) => answer,
            Err(error) if error.was_sent() && !matches!(error, FacilitatorError::Refused { .. }) => {
                return Err(Denial::unknown(error));
            }
            // It is as it was, whatever that was: asked for once more, it tells.
            Err(error) => return Err(Denial::Facilitator { error, held: false }),
        };
        let channel = &self.paid.commitment.channel;
        let transaction = answer.transaction.clone();
        match answer.outcome() {
            Outcome::Settled => {
                timer.stop();
                tracing::info!(%channel, %amount, transaction, "deposited");
                let backing = self.landed(&answer, &record, amount).await?;
                self.note(&answer, &backing).await?;
                Ok((self, answer))
            }
            Outcome::Pending => Err(Denial::Pending(Box::new(answer))),
            Outcome::Failed => {
                let reason = answer.error_reason.as_ref().map_or("no reason", |code| code.as_str());
                tracing::warn!(%channel, %amount, reason, "a deposit failed");
                self.forget().await;
                Err(Denial::SettleFailed(Box::new(answer)))
            }
        }
    }

    /// What stands behind the channel now: the chain's word where there is a witness, and what the facilitator says else.
    async fn landed(
        &self,
        answer: &SettleResponse,
        record: &Record,
        amount: Amount,
    ) -> Result<Backing, Denial> {
        let (scheme, commitment) = (self.paid.channels()?, &self.paid.commitment);
        let request = &self.paid.request;
        if self.core.channels.witness(&request.requirements.network).is_some() {
            for _ in 0..LOOKS {
                let backing = look(&self.core, scheme, request, commitment).await;
                if let Ok(backing) =
                    backing.map_err(|denial| tracing::debug!(%denial, "no look at the chain"))
                    && backing.balance >= commitment.ceiling
                {
                    return Ok(backing);
                }
                tokio::time::sleep(self.core.limits.pending_wait).await;
            }
            let network = answer.network.clone();
            let pending = SettleResponse::pending(network, &commitment.payer, answer.transaction.clone());
            return Err(Denial::Pending(Box::new(pending)));
        }
        let before = record.seen.backing();
        let backing = match scheme.backing(&answer.extra) {
            Some(backing) => backing,
            None => Backing { balance: before.balance.checked_add(amount).unwrap_or_default(), ..before },
        };
        if backing.balance < commitment.ceiling {
            let detail = "settle claims a deposit that the channel does not hold".to_owned();
            return Err(Denial::unknown(FacilitatorError::BadAnswer { status: 200, detail }));
        }
        Ok(backing)
    }

    /// Writes down that the money is there.
    async fn note(&mut self, answer: &SettleResponse, backing: &Backing) -> Result<(), Denial> {
        let held = |error| Denial::Ledger { error, held: true };
        for _ in 0..MAX_READS {
            let channel = self.paid.commitment.channel.clone();
            self.lease.row = None;
            let Some((mut row, mut record)) = book::read(&self.core, &channel).await.map_err(held)? else {
                break;
            };
            row.see(backing, self.core.clock.now());
            if let Some(note) = &mut record.deposit {
                note.transaction.clone_from(&answer.transaction);
            }
            let written = book::write(&self.core, &channel, &mut row, &mut record).await;
            if written.map_err(held)? {
                self.lease.row = Some(row);
                return Ok(());
            }
        }
        Err(self.paid.busy()?)
    }

    /// Forgets a deposit that came to nothing, and the channel if it came with it.
    async fn forget(&mut self) {
        let channel = self.paid.commitment.channel.clone();
        self.lease.row = None;
        let forgotten = match book::read(&self.core, &channel).await {
            Ok(Some((row, record)))
                if row.proof.is_empty() && record.seen.backing() == Backing::default() =>
            {
                book::remove(&self.core, &channel, &row).await
            }
            Ok(Some((mut row, mut record))) => {
                record.deposit = None;
                book::write(&self.core, &channel, &mut row, &mut record).await
            }
            Ok(None) => Ok(true),
            Err(error) => Err(error),
        };
        if let Err(error) = forgotten {
            tracing::warn!(%error, %channel, "that nothing was deposited is not written yet");
        }
    }

    /// A deposit that was made before, as it was told then.
    fn told(&self, note: &DepositNote) -> SettleResponse {
        let network = self.paid.request.requirements.network.clone();
        let mut told =
            SettleResponse::settled(network, &self.paid.commitment.payer, note.transaction.clone());
        told.amount = Some(note.amount.to_string());
        told
    }
}

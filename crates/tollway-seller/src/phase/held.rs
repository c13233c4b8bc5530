//! Money that is held before the handler runs: taken when it has succeeded, given back when it has failed. What is written
//! of it, and how a step is asked for, is in [`crate::escrow`].

use std::sync::Arc;

use tollway_core::model::SettleResponse;
use tollway_core::{Amount, EscrowTerms};

use super::admit::used;
use super::reserved::Reserved;
use super::ticket::Charge;
use crate::denial::Denial;
use crate::escrow::{self, EscrowError, Stepped};
use crate::purchase::{HoldState, Record};

/// What is held for a ticket.
#[derive(Debug)]
pub(super) struct Held {
    record: Record,
    /// What the facilitator said of the hold.
    answer: SettleResponse,
    is_deferred: bool,
}

impl Reserved {
    /// Has the money held. That it may be is written down first, so that it is given back if nothing comes of it.
    pub(super) async fn hold(&mut self, terms: &EscrowTerms) -> Result<(), Denial> {
        let (request, checked) = (self.request().clone(), self.checked());
        let fresh = Record::new(checked.key.clone(), request.clone(), &checked.payer, terms);
        let mut record = escrow::open(self.core(), fresh).await.map_err(|error| self.denial(error, false))?;
        if record.facts.state == HoldState::Capturing {
            let stepped = escrow::advance(self.core(), &mut record).await;
            stepped.map_err(|error| self.denial(error, true))?;
        }
        match record.facts.state {
            HoldState::Held | HoldState::Served => {
                let is_new = record.version == 1;
                match self.settlement(request).run().await {
                    Ok(answer) => {
                        self.held = Some(Held { record, answer, is_deferred: terms.is_deferred });
                        Ok(())
                    }
                    Err(denial) => {
                        if is_new && matches!(denial, Denial::SettleFailed(_)) {
                            record.begin(HoldState::Nothing, Amount::ZERO);
                            self.note(&mut record).await;
                        }
                        Err(denial)
                    }
                }
            }
            // It was taken for this request, and the answer has not left.
            HoldState::Captured | HoldState::Refunding => {
                self.settled = Some(self.told(&record));
                Ok(())
            }
            HoldState::Capturing => {
                let network = self.requirements().network.clone();
                let (payer, transaction) = (self.payer(), record.facts.transaction.clone());
                Err(Denial::Pending(Box::new(SettleResponse::pending(network, payer, transaction))))
            }
            _ => Err(self.denial(EscrowError::Changed, false)),
        }
    }

    /// Takes what is charged, and has the rest given back; or leaves all of it held, to be taken later.
    pub(super) async fn take(&mut self, held: Held, charge: Charge) -> Result<(), Denial> {
        let Held { mut record, answer, is_deferred } = held;
        let amount = match self.charged(charge) {
            Ok(Some(amount)) => amount,
            Ok(None) => return self.give_back(record).await,
            Err(denial) => {
                self.give_back(record).await?;
                return Err(denial);
            }
        };
        if is_deferred {
            record.begin(HoldState::Served, amount);
            escrow::write(self.core(), &mut record).await.map_err(|error| self.denial(error, true))?;
            self.settled = Some(answer);
            return Ok(());
        }
        let begun = escrow::begin(self.core(), &mut record, HoldState::Capturing, amount).await;
        begun.map_err(|error| self.denial(error, true))?;
        // In a task of its own: a buyer who hangs up cannot cut it in half.
        let core = Arc::clone(self.core());
        let task = tokio::spawn(async move {
            let stepped = escrow::advance(&core, &mut record).await;
            if matches!(stepped, Ok(Stepped::Refused(_))) {
                escrow::advance_soon(&core, record);
            }
            stepped
        });
        match task.await {
            Ok(Ok(Stepped::Done(answer))) => {
                self.charged_amount(amount);
                self.settled = Some(answer);
                Ok(())
            }
            Ok(Ok(Stepped::Refused(answer))) => {
                self.fail();
                Err(Denial::SettleFailed(Box::new(answer)))
            }
            Ok(Ok(Stepped::Pending(answer))) => Err(Denial::Pending(Box::new(answer))),
            Ok(Ok(Stepped::Unknown(error))) => Err(Denial::unknown(error)),
            Ok(Err(error)) => Err(self.denial(error, true)),
            Err(_) => {
                let error = "the capture broke off".to_owned();
                Err(Denial::unknown(tollway_core::FacilitatorError::NoAnswer(error)))
            }
        }
    }

    /// The handler has failed: what is held goes back. That it does is written down, so it does whoever is alive.
    pub(super) async fn give_back_held(&mut self) {
        let Some(Held { record, .. }) = self.held.take() else { return };
        self.fail();
        if let Err(denial) = self.give_back(record).await {
            tracing::warn!(%denial, "what is held is given back before its deadline");
        }
    }

    /// Writes down what was charged at once, for what may be given back of it.
    pub(super) async fn keep_charge(
        &self,
        record: Record,
        amount: Amount,
        answer: &SettleResponse,
    ) -> Result<(), Denial> {
        let mut record = record;
        record.charged(amount, answer);
        match escrow::write(self.core(), &mut record).await {
            // It is there already.
            Ok(()) | Err(EscrowError::Changed) => Ok(()),
            Err(error) => Err(self.denial(error, true)),
        }
    }

    /// The settlement of a payment that was taken before.
    pub(super) fn told(&self, record: &Record) -> SettleResponse {
        let network = self.requirements().network.clone();
        let mut told = SettleResponse::settled(network, self.payer(), record.facts.transaction.clone());
        told.amount = Some(record.captured().to_string());
        told
    }

    async fn give_back(&self, mut record: Record) -> Result<(), Denial> {
        let begun = escrow::begin(self.core(), &mut record, HoldState::Voiding, Amount::ZERO).await;
        begun.map_err(|error| self.denial(error, true))?;
        escrow::advance_soon(self.core(), record);
        Ok(())
    }

    async fn note(&self, record: &mut Record) {
        if let Err(error) = escrow::write(self.core(), record).await {
            tracing::warn!(%error, id = %record.key, "that nothing is held is not written");
        }
    }

    fn denial(&self, error: EscrowError, held: bool) -> Denial {
        match error {
            EscrowError::Ledger(error) => Denial::Ledger { error, held },
            _ => {
                let rule = "has been given back or taken otherwise: sign a new one";
                Denial::Refused(used(&self.request().payment, self.checked(), rule))
            }
        }
    }
}

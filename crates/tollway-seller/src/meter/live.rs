//! The payment behind an answer that streams. What is charged on a channel is written before the part that it pays for
//! leaves; when the voucher is used up, the answer waits for the next one, and no longer than a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tollway_core::Amount;

use super::MeterError;
use super::renewal::{Renewal, Stream};
use crate::denial::Denial;
use crate::phase::{ChannelTicket, Charge, Receipt, Ticket};

/// How long a stream waits for the next voucher.
const PAUSE: Duration = Duration::from_secs(30);

/// What pays for an answer that streams.
pub(crate) enum Live {
    /// A maximum that was signed once (scheme `upto`): it is settled when the answer has ended.
    Once(Ticket),
    /// Vouchers, one after the other.
    Channel(Box<Vouchers>),
}

/// The voucher that pays now, and where the next one comes in.
pub(crate) struct Vouchers {
    ticket: ChannelTicket,
    stream: Arc<Stream>,
    renewals: mpsc::Receiver<Renewal>,
    /// What vouchers before this one paid of the answer.
    before: Amount,
}

impl Live {
    pub(crate) fn channel(
        ticket: ChannelTicket,
        stream: Arc<Stream>,
        renewals: mpsc::Receiver<Renewal>,
    ) -> Self {
        Self::Channel(Box::new(Vouchers { ticket, stream, renewals, before: Amount::ZERO }))
    }

    /// Charges until the answer has cost `total`.
    pub(super) async fn reach(&mut self, total: Amount) -> Result<(), MeterError> {
        match self {
            Self::Once(ticket) => {
                let agreed = ticket.requirements().amount;
                if total > agreed { Err(MeterError::Exhausted { wanted: total, agreed }) } else { Ok(()) }
            }
            Self::Channel(vouchers) => vouchers.reach(total).await,
        }
    }

    /// Ends the payment; what it came to, or none if that is not known.
    pub(super) async fn end(self, total: Amount) -> Option<Receipt> {
        match self {
            Self::Once(ticket) => ended(ticket, total).await,
            Self::Channel(vouchers) => vouchers.end().await,
        }
    }
}

impl Vouchers {
    async fn reach(&mut self, total: Amount) -> Result<(), MeterError> {
        loop {
            let more = total.checked_sub(self.before).and_then(|more| more.checked_sub(self.ticket.spent()));
            let Some(more) = more.filter(|more| *more > Amount::ZERO) else { return Ok(()) };
            let agreed = self.ticket.requirements().amount;
            if more > agreed {
                return Err(MeterError::Exhausted { wanted: more, agreed });
            }
            if more <= self.ticket.left() {
                return self.ticket.charge_more(more).await.map_err(not_charged);
            }
            self.renewed(total).await?;
        }
    }

    /// Waits for a voucher that is good.
    async fn renewed(&mut self, wanted: Amount) -> Result<(), MeterError> {
        let deadline = Instant::now() + PAUSE;
        let agreed = self.ticket.requirements().amount;
        let (corrected, receipt) = self.ticket.used_up().map_err(not_charged)?;
        self.stream.wants(corrected, receipt);
        loop {
            let Ok(Some(renewal)) = timeout_at(deadline, self.renewals.recv()).await else {
                return Err(MeterError::Exhausted { wanted, agreed });
            };
            let (Renewal { paid, answer }, spent) = (renewal, self.ticket.spent());
            let renewed = self.ticket.renew(*paid).await;
            let is_renewed = renewed.is_ok();
            if is_renewed {
                self.before = self.before.checked_add(spent).unwrap_or(Amount::MAX);
                self.stream.runs();
            }
            // Who asked may have hung up: it is renewed all the same, and the channel's state tells.
            let _ = answer.send(renewed);
            if is_renewed {
                return Ok(());
            }
        }
    }

    async fn end(self) -> Option<Receipt> {
        let Self { ticket, stream, .. } = self;
        let spent = ticket.spent();
        let receipt = ended(ticket.into(), spent).await;
        stream.ends(receipt.clone());
        receipt
    }
}

/// Writes the end down; its receipt, if it is known.
async fn ended(mut ticket: Ticket, total: Amount) -> Option<Receipt> {
    let ended = async {
        let mut receipt = ticket.charge(Charge::Amount(total)).await?;
        ticket.attest(&mut receipt).await;
        ticket.deliver(None).await?;
        Ok::<_, Denial>(receipt)
    };
    match ended.await {
        Ok(receipt) => Some(receipt),
        Err(denial) => {
            tracing::error!(%denial, %total, "an answer has left, and its end is not written down");
            None
        }
    }
}

fn not_charged(denial: Denial) -> MeterError {
    MeterError::NotCharged(denial.to_string())
}

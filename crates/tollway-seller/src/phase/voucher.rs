//! The right to run a handler once for a voucher, and to charge for it up to the price: at once, or bit by bit while it is
//! served. A charge counts when it is written; what is not charged leaves the channel as it was.

use std::sync::Arc;
use std::time::Duration;

use tollway_core::model::{PaymentRequirements, SettleResponse, X402Version};
use tollway_core::{Amount, ChannelKey, SellerScheme};
use tollway_ledger::{Holder, LedgerError, StoredResponse};

use super::channel::{Committed, MAX_READS, Visit};
use super::ticket::{Charge, Receipt, Served};
use crate::channel::book::{self, Writer};
use crate::channel::row::{Row, Stand};
use crate::denial::Denial;
use crate::paywall::Core;
use crate::telemetry::Timer;

/// How long is waited between the tries to extend a hold.
const EXTENSION_PAUSES: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(2)];

/// A voucher that was admitted. Its channel is this request's alone while it lives, in this process; on an exclusive route,
/// among all sellers of the ledger.
#[derive(Debug)]
pub(crate) struct ChannelTicket {
    visit: Visit,
    /// What was charged on the channel before this voucher.
    base: Amount,
    /// What was charged for this very request before: it is served again.
    paid: Amount,
    /// What is written of this request's charge.
    spent: Amount,
    /// What is written when the answer leaves.
    planned: Amount,
    /// The facilitator's answer to the deposit that came with it.
    deposit: Option<SettleResponse>,
    /// Who holds the channel, where somebody has to.
    holder: Option<Holder>,
    span: tracing::Span,
}

impl ChannelTicket {
    pub(super) fn new(
        visit: Visit,
        stand: Stand,
        deposit: Option<SettleResponse>,
        span: tracing::Span,
    ) -> Result<Self, Denial> {
        let base = visit.paid.base();
        let base = base.ok_or_else(|| Denial::Internal("a voucher below its price".to_owned()))?;
        let charged = visit.lease.row.as_ref().map_or(base, |row| row.charged);
        let paid = match stand {
            Stand::Again => charged.checked_sub(base).unwrap_or_default(),
            _ => Amount::ZERO,
        };
        Ok(Self { visit, base, paid, spent: paid, planned: paid, deposit, holder: None, span })
    }

    pub(crate) fn payer(&self) -> &str {
        &self.visit.paid.commitment.payer
    }

    pub(crate) const fn requirements(&self) -> &PaymentRequirements {
        &self.visit.paid.request.requirements
    }

    pub(crate) const fn version(&self) -> X402Version {
        self.visit.paid.request.payment.version
    }

    pub(crate) fn scheme(&self) -> &dyn SellerScheme {
        self.visit.paid.scheme.as_ref()
    }

    pub(super) const fn scheme_shared(&self) -> &Arc<dyn SellerScheme> {
        &self.visit.paid.scheme
    }

    pub(super) const fn channel(&self) -> &ChannelKey {
        self.visit.paid.channel()
    }

    pub(crate) const fn core(&self) -> &Arc<Core> {
        &self.visit.core
    }

    pub(crate) const fn span(&self) -> &tracing::Span {
        &self.span
    }

    pub(crate) fn presented(&self) -> Option<[u8; 32]> {
        self.visit.presented()
    }

    /// Makes the channel this seller's alone among all that share its ledger.
    pub(crate) async fn hold(&mut self) -> Result<(), Denial> {
        let Some(mut row) = self.visit.lease.row.take() else { return Err(self.visit.paid.busy()?) };
        if row.version == 0 && !self.add(&mut row).await? {
            return Err(self.visit.paid.busy()?);
        }
        if !self.take(&mut row).await.map_err(Denial::unwritten)? {
            return Err(self.visit.paid.busy()?);
        }
        self.visit.lease.row = Some(row);
        Ok(())
    }

    /// Holds the channel, if it is as `row` has it. Whether it does.
    async fn take(&mut self, row: &mut Row) -> Result<bool, LedgerError> {
        let core = Arc::clone(self.core());
        let Some(member) = core.reservations.membership.member().await else {
            return Err(LedgerError::Unavailable("this seller is no member of it now".to_owned()));
        };
        let delay = self.visit.paid.commitment.withdraw_delay_seconds;
        let Some(holder) = book::hold(&core, self.channel(), row, member, delay).await? else {
            return Ok(false);
        };
        self.holder = Some(holder);
        Ok(true)
    }

    /// Holds the channel for as long again. A ledger that fails is asked again, a few times, while the hold that there is has
    /// time left.
    async fn extend(&mut self) -> Result<(), Denial> {
        let Some(Holder { until, .. }) = self.holder else { return Ok(()) };
        let mut pauses = EXTENSION_PAUSES.into_iter();
        loop {
            let error = match self.retake().await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(self.visit.paid.busy()?),
                Err(error) => error,
            };
            let Some(pause) = pauses.next().filter(|_| self.core().clock.now() < until) else {
                return Err(Denial::unwritten(error));
            };
            tracing::debug!(%error, "a stream's hold is not extended yet");
            tokio::time::sleep(pause).await;
        }
    }

    /// Holds the channel again. False: another one has charged it, or may take money out of it.
    async fn retake(&mut self) -> Result<bool, LedgerError> {
        let Some(mut row) = self.visit.lease.row.clone() else { return Ok(false) };
        let mut is_held = self.take(&mut row).await?;
        if !is_held {
            // It is another version if only the answer of the try before was lost.
            let Some((written, _)) = book::read(self.core(), self.channel()).await? else { return Ok(false) };
            let is_same = (written.charged, written.reserved) == (row.charged, row.reserved);
            row.version = written.version;
            is_held = is_same && self.take(&mut row).await?;
        }
        if is_held {
            self.visit.lease.row = Some(row);
        }
        Ok(is_held)
    }

    /// What is charged for this voucher, and written.
    pub(crate) const fn spent(&self) -> Amount {
        self.spent
    }

    /// What may still be charged.
    pub(crate) fn left(&self) -> Amount {
        self.requirements().amount.checked_sub(self.spent).unwrap_or_default()
    }

    /// Charges `amount` more for this request. It is written when this returns: only then may what it pays for leave.
    ///
    /// # Errors
    /// [`Denial`]: it is more than the voucher covers, or it is not written.
    pub(crate) async fn charge_more(&mut self, amount: Amount) -> Result<(), Denial> {
        let total = self.spent.checked_add(amount).filter(|total| *total <= self.requirements().amount);
        let Some(total) = total else {
            let fault =
                format!("cannot charge {amount} more: the buyer agreed to {}", self.requirements().amount);
            return Err(Denial::Internal(fault));
        };
        self.write(total, None, false).await?;
        self.planned = self.spent;
        Ok(())
    }

    /// What the buyer is told when more is wanted than is [`left`](Self::left): the denial that asks for the next voucher, and
    /// this one's receipt.
    pub(crate) fn used_up(&self) -> Result<(Denial, Receipt), Denial> {
        Ok((self.visit.corrected()?, self.receipt(self.spent)?))
    }

    /// Goes on with the next voucher: this request is charged on from what was charged. A hold is extended with it.
    ///
    /// # Errors
    /// [`Denial`]: the voucher is not the next one or not backed, or the channel is held no longer. The one before still stands.
    pub(crate) async fn renew(&mut self, next: Committed) -> Result<(), Denial> {
        let base = self.visit.renewable(&next).await?;
        self.extend().await?;
        self.visit.paid = next;
        (self.base, self.paid, self.spent, self.planned) = (base, Amount::ZERO, Amount::ZERO, Amount::ZERO);
        self.deposit = None;
        Ok(())
    }

    /// Says what is charged, and what the buyer is told of it. Nothing is written before [`Self::deliver`].
    pub(crate) fn charge(&mut self, charge: Charge) -> Result<Receipt, Denial> {
        let full = self.requirements().amount;
        let wanted = match charge {
            Charge::Full => full,
            Charge::Nothing => Amount::ZERO,
            Charge::Amount(amount) if amount <= full => amount,
            Charge::Amount(amount) => {
                let fault = format!("cannot charge {amount}: the buyer agreed to {full} at most");
                return Err(Denial::Internal(fault));
            }
        };
        // What is served again costs nothing again, and what was charged on the way is charged.
        self.planned = if self.paid == Amount::ZERO { wanted.max(self.spent) } else { self.spent };
        self.receipt(self.planned)
    }

    /// Adds what extensions say of a payment that was served.
    pub(crate) async fn attest(&self, receipt: &mut Receipt) {
        let Visit { core, paid, presentation, .. } = &self.visit;
        let fingerprint = presentation.fingerprint;
        let (request, payer) = (&paid.request, self.payer());
        let served = Served { request, payer, amount: self.planned, fingerprint };
        paid.word.attest(core, served, receipt).await;
    }

    /// Writes down what is charged, with the answer if it is kept. Only then may the answer leave.
    pub(crate) async fn deliver(mut self, response: Option<StoredResponse>) -> Result<(), Denial> {
        if self.planned != Amount::ZERO {
            let Visit { core, paid, presentation, .. } = &self.visit;
            let network = &paid.request.requirements.network;
            paid.word.remember(core, self.payer(), network, presentation.fingerprint).await?;
        }
        let timer = Timer::start("charge");
        self.write(self.planned, response, true).await?;
        timer.stop();
        Ok(())
    }

    /// The handler failed: the channel is as it was. A deposit stays in it, and its payer is told.
    pub(crate) async fn release(mut self) -> Receipt {
        let version = self.version();
        let is_told = self.deposit.is_some() || self.spent != Amount::ZERO;
        let told = if is_told { self.receipt(self.spent).ok() } else { None };
        if let Err(denial) = self.let_go().await {
            tracing::warn!(%denial, "a channel stays held until its time is over");
        }
        Receipt { settlement: told.and_then(|told| told.settlement), version }
    }

    fn receipt(&self, charged: Amount) -> Result<Receipt, Denial> {
        let paid = &self.visit.paid;
        let Some(row) = &self.visit.lease.row else { return Err(paid.busy()?) };
        let mut snapshot = row.snapshot(&paid.commitment.channel);
        snapshot.charged = self.cumulative(charged)?;
        let (offer, payer) = (self.requirements(), self.payer());
        let settlement =
            paid.channels()?.receipt(offer, payer, &snapshot, Some(charged), self.deposit.as_ref());
        Ok(Receipt { settlement: Some(settlement), version: self.version() })
    }

    fn cumulative(&self, total: Amount) -> Result<Amount, Denial> {
        let sum = self.base.checked_add(total).filter(|sum| *sum <= self.visit.paid.commitment.ceiling);
        sum.ok_or_else(|| Denial::Internal("more is charged than the voucher covers".to_owned()))
    }

    /// Writes that this request has cost `total`. Where another has written the channel without charging on it (a claim, a
    /// look at the chain) it is written all the same, if it is still backed.
    async fn write(
        &mut self,
        total: Amount,
        answer: Option<StoredResponse>,
        is_last: bool,
    ) -> Result<(), Denial> {
        let is_charge = total > self.spent;
        if !is_charge && (total == Amount::ZERO || answer.is_none()) {
            return if is_last { self.let_go().await } else { Ok(()) };
        }
        let charged = self.cumulative(total)?;
        let answer = answer.filter(book::is_small);
        for _ in 0..MAX_READS {
            let Some(mut row) = self.current().await? else { break };
            if row.version == 0 && !self.add(&mut row).await? {
                continue;
            }
            let mut next = self.charged_row(row, charged);
            let channel = &self.visit.paid.commitment.channel;
            let writer = Writer { member: self.holder.as_ref().map(|holder| &holder.member), is_last };
            let written = book::charge(&self.visit.core, channel, &mut next, answer.clone(), writer).await;
            // After an error it may be written all the same: presented again, the voucher tells.
            if written.map_err(|error| Denial::Ledger { error, held: true })? {
                self.visit.lease.row = Some(next);
                self.spent = total;
                if is_last {
                    self.holder = None;
                }
                return Ok(());
            }
        }
        self.overtaken().await
    }

    /// Another process has charged the channel. If it has charged this very request, its answer is the answer.
    async fn overtaken(&mut self) -> Result<(), Denial> {
        self.visit.read().await.map_err(|_| self.unread())?;
        if self.visit.stand_here() == Some(Stand::Again)
            && let Some(answer) = self.visit.kept().await?
        {
            return Err(answer);
        }
        Err(self.visit.paid.busy()?)
    }

    /// The channel as this request may charge it; none if another has been charged on it, or it is backed no more.
    async fn current(&mut self) -> Result<Option<Row>, Denial> {
        if let Some(row) = self.visit.lease.row.take() {
            return Ok(Some(row));
        }
        let read = self.visit.read().await.map_err(|_| self.unread())?;
        let (Some(_), Some(row)) = (read, self.visit.lease.row.take()) else { return Ok(None) };
        let commitment = &self.visit.paid.commitment;
        let (delay, now) = (commitment.withdraw_delay_seconds, self.core().clock.now());
        let patience = self.core().channels.rules.patience(delay);
        let is_ours = Some(row.charged) == self.base.checked_add(self.spent);
        let is_backed = row.covers(commitment.ceiling, delay, patience, now).is_ok();
        Ok((is_ours && (is_backed || self.spent != Amount::ZERO)).then_some(row))
    }

    fn unread(&self) -> Denial {
        let error = LedgerError::Unavailable("the channel could not be read again".to_owned());
        Denial::Ledger { error, held: true }
    }

    /// The row once `charged` is charged on it in all.
    fn charged_row(&self, row: Row, charged: Amount) -> Row {
        let (commitment, now) = (&self.visit.paid.commitment, self.core().clock.now());
        let is_again = self.paid != Amount::ZERO;
        Row {
            charged,
            signed: commitment.ceiling,
            proof: commitment.proof.as_str().into(),
            request: Some(self.visit.asked),
            repeats: if is_again { row.repeats } else { 0 },
            used_at: if is_again { row.used_at } else { now },
            due: row.due_after_charge(&self.core().claims.policy, commitment.withdraw_delay_seconds, now),
            ..row
        }
    }

    /// Writes a channel down for the first time. False: it is there.
    async fn add(&self, row: &mut Row) -> Result<bool, Denial> {
        let Visit { core, paid, .. } = &self.visit;
        let mut record = paid.record(row.seen)?;
        let written = book::write(core, &paid.commitment.channel, row, &mut record).await;
        let is_written = written.map_err(Denial::unwritten)?;
        if is_written {
            core.channels.added();
        }
        Ok(is_written)
    }

    /// Gives up the hold on the channel.
    async fn let_go(&mut self) -> Result<(), Denial> {
        let Some(Holder { member, .. }) = self.holder.take() else { return Ok(()) };
        // It is another version then.
        self.visit.lease.row = None;
        let channel = &self.visit.paid.commitment.channel;
        book::release(&self.visit.core, channel, &member).await.map_err(Denial::unwritten)
    }
}

impl Drop for ChannelTicket {
    fn drop(&mut self) {
        let Some(Holder { member, .. }) = self.holder.take() else { return };
        let (core, channel) = (Arc::clone(&self.visit.core), self.visit.paid.commitment.channel.clone());
        // Nobody waits for it: the buyer hung up, or the handler panicked.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = book::release(&core, &channel, &member).await {
                tracing::warn!(%error, %channel, "a channel stays held until its time is over");
            }
        });
    }
}

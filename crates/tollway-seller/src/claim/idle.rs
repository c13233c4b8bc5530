//! What is left in a channel is given back: where nobody has used it for long, or the seller wants to. What was charged is
//! claimed in the same step. It is written down before it is asked for, and backs no voucher from then on.

use tollway_core::{Amount, ChannelKey, SignError, UnixTime};
use tollway_ledger::LedgerError;

use super::batch::step;
use super::payout;
use super::waiting::Waiting;
use super::worker::{Asked, ClaimEnd, ClaimOutcome, ClaimStep, ClaimWorker};
use crate::channel::record::{NEVER, RefundNote, SCOPE};
use crate::membership::bounded;
use crate::telemetry;

/// The pause after one without an end.
const PAUSE_SECONDS: u64 = 60;

impl ClaimWorker {
    /// Gives back what is left in a channel, or `amount` of it.
    ///
    /// # Errors
    /// [`LedgerError`]: it was not written down, so it was not asked for. `None` if there is no such channel, or nothing to
    /// give back.
    ///
    /// ```
    /// use tollway_core::ChannelKey;
    /// use tollway_ledger::LedgerError;
    /// use tollway_seller::{ClaimStep, ClaimWorker};
    /// async fn close(worker: &ClaimWorker, key: &ChannelKey) -> Result<Option<ClaimStep>, LedgerError> {
    ///     worker.refund(key, None).await
    /// }
    /// ```
    pub async fn refund(
        &self,
        channel: &ChannelKey,
        amount: Option<Amount>,
    ) -> Result<Option<ClaimStep>, LedgerError> {
        let Some(found) = bounded(self.ledger.channel_get(SCOPE, channel)).await? else { return Ok(None) };
        let mut row = Waiting::of(found)?;
        // What stands behind it is asked for afresh.
        row.row.seen.at = 0;
        let looked = self.look_at(row).await;
        let Some(row) = looked else { return Ok(None) };
        let mut outcome = ClaimOutcome::default();
        self.give_back(row, amount, &mut outcome).await?;
        self.pay_out(false, &mut outcome).await?;
        Ok(outcome.steps.into_iter().find(|step| step.operation == "refund"))
    }

    /// Whether nobody has used it for long.
    pub(super) fn is_idle(&self, row: &Waiting, now: UnixTime) -> bool {
        let is_over = |idle| now >= row.row.used_at.plus_seconds(idle);
        self.policy.idle_refund_seconds.is_some_and(is_over)
    }

    /// Gives back what is left in those that nobody uses, and goes on with what was asked for before. The others.
    pub(super) async fn refund_idle(&self, rows: Vec<Waiting>, outcome: &mut ClaimOutcome) -> Vec<Waiting> {
        let now = self.clock.now();
        let is_over = |row: &Waiting| {
            let is_free = row.record.claim.note.is_none() && row.unclaimed() == Amount::ZERO;
            let is_idle = self.is_idle(row, now) && !row.is_closing() && rest(row) > Amount::ZERO;
            row.record.refund.is_some() || (is_free && is_idle && !row.row.proof.is_empty())
        };
        let (over, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_over);
        for row in over {
            let key = row.key.clone();
            if let Err(error) = self.give_back(row, None, outcome).await {
                tracing::warn!(%error, channel = %key, "a refund waits for its turn");
                outcome.troubled += 1;
            }
        }
        others
    }

    async fn look_at(&self, row: Waiting) -> Option<Waiting> {
        let asked = row.clone();
        let looked = match self.witness(&row.offer.network) {
            Some(witness) => {
                let seen = self.backings(witness, std::slice::from_ref(&row.key)).await.ok()?;
                let mut row = row;
                row.see(seen.first()?, self.clock.now());
                row
            }
            None => self.verify(asked).await,
        };
        (looked.row.seen.at != 0).then_some(looked)
    }

    async fn give_back(
        &self,
        row: Waiting,
        amount: Option<Amount>,
        outcome: &mut ClaimOutcome,
    ) -> Result<(), LedgerError> {
        let lease = self.lease_end();
        let noted = self.write(row, |row| {
            if row.record.refund.is_none() {
                let backing = row.row.seen.backing();
                let amount = amount.unwrap_or(rest(row)).min(rest(row));
                if amount == Amount::ZERO {
                    return false;
                }
                row.record.refund = Some(RefundNote { amount, nonce: backing.refund_nonce });
            }
            row.row.due = lease;
            true
        });
        let Some(row) = noted.await else { return Ok(()) };
        let Some(note) = row.record.refund.clone() else { return Ok(()) };
        let asked = self.ask_back(&row, note.amount).await;
        let (result, end) = match &asked {
            Asked::Done(answer) => ("refunded", ClaimEnd::Done(answer.transaction.clone())),
            Asked::Refused(reason) => ("refund_refused", ClaimEnd::Refused(reason.clone())),
            Asked::Unknown(cause) => ("refund_pending", ClaimEnd::Pending(cause.clone())),
        };
        telemetry::claim(result, 1);
        tracing::info!(channel = %row.key, amount = %note.amount, ?end, "a refund");
        let told = ClaimStep { amount: note.amount, ..step("refund", std::slice::from_ref(&row), end) };
        outcome.steps.push(told);
        if matches!(asked, Asked::Done(_)) {
            // What was charged was claimed with it.
            payout::wake(self.ledger.as_ref(), &row.record.offer, self.clock.now()).await?;
        }
        self.given_back(row, &asked).await;
        Ok(())
    }

    async fn ask_back(&self, row: &Waiting, amount: Amount) -> Asked {
        let Some((_, scheme)) = self.scheme(&row.offer.network, row.offer.scheme.as_str()) else {
            return Asked::Unknown("this seller does not accept its scheme".to_owned());
        };
        let claim = row.record.claim(row.claimable(), row.row.signed, row.row.proof.to_string());
        match scheme.refund_request(&row.offer, &claim, &row.row.seen.backing(), amount).await {
            Ok(request) => self.ask(request).await,
            Err(SignError::Offer(refusal)) => Asked::Refused(refusal.to_string()),
            Err(error) => Asked::Unknown(error.to_string()),
        }
    }

    /// Writes down what came of it. Where that fails, the next look tells.
    async fn given_back(&self, row: Waiting, asked: &Asked) {
        let now = self.clock.now();
        let told = match asked {
            Asked::Done(answer) => {
                let scheme = self.scheme(&row.offer.network, row.offer.scheme.as_str());
                scheme.and_then(|(_, scheme)| scheme.backing(&answer.extra))
            }
            _ => None,
        };
        let written = self.write(row, |row| {
            match (asked, &told) {
                (Asked::Done(_), Some(backing)) => {
                    row.see(backing, now);
                    row.record.refund = None;
                    row.row.due = row.next_due(&self.policy, now);
                }
                (Asked::Refused(_), _) => {
                    row.record.refund = None;
                    row.row.due = if row.unclaimed() > Amount::ZERO { now } else { NEVER };
                }
                // Its number tells at the next look what became of it.
                _ => {
                    row.row.seen.at = 0;
                    row.row.due = now.plus_seconds(PAUSE_SECONDS);
                }
            }
            true
        });
        written.await;
    }
}

/// What is neither charged nor claimed.
fn rest(row: &Waiting) -> Amount {
    let backing = row.row.seen.backing();
    backing.balance.checked_sub(row.row.charged.max(backing.claimed)).unwrap_or_default()
}

//! Every channel is seen now and then, page by page, due or not: what nobody would come back to is made due, and all of them
//! are summed up.

use std::collections::BTreeMap;

use tollway_core::{Amount, ChannelKey, UnixTime};
use tollway_ledger::LedgerError;

use super::payout;
use super::waiting::Waiting;
use super::worker::{ClaimOutcome, ClaimWorker};
use crate::channel::record::{NEVER, SCOPE};
use crate::membership::bounded;
use crate::telemetry;

/// How many channels one page has.
const PAGE: u32 = 250;
/// How many pages a report reads at most.
const MAX_PAGES: usize = 8_000;

/// Where the sweep is.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    after: Option<ChannelKey>,
    unclaimed: u64,
    deadline: Option<UnixTime>,
}

/// A channel as its seller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelView {
    /// Its name.
    pub channel: ChannelKey,
    /// Who pays.
    pub payer: String,
    /// Whom it pays.
    pub receiver: String,
    /// In what.
    pub asset: String,
    /// What was put in and not given back, as it was last seen.
    pub balance: Amount,
    /// What was charged in all.
    pub charged: Amount,
    /// What the newest voucher lets be claimed in all.
    pub signed: Amount,
    /// What was claimed of it.
    pub claimed: Amount,
    /// What can still be claimed.
    pub at_risk: Amount,
    /// What was charged and can be claimed no more: it was withdrawn.
    pub lost: Amount,
    /// When its payer asked to withdraw.
    pub withdraw_requested_at: Option<UnixTime>,
    /// When its payer can have the rest at the soonest, by what was seen; none if nothing is at risk.
    pub deadline: Option<UnixTime>,
    /// When it was charged last.
    pub used_at: UnixTime,
    /// Whether a claim was asked for and has no known end.
    pub is_claiming: bool,
}

/// All channels that pay one receiver in one token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelSums {
    /// The network, as CAIP-2 has it.
    pub network: String,
    /// The token.
    pub asset: String,
    /// Who is paid.
    pub receiver: String,
    /// How many channels there are.
    pub channels: u64,
    /// How many of them have something to claim.
    pub unclaimed: u64,
    /// How many of these are being withdrawn.
    pub closing: u64,
    /// What stands behind all of them, what was claimed included.
    pub balance: Amount,
    /// What was charged in all.
    pub charged: Amount,
    /// What of that was claimed.
    pub claimed: Amount,
    /// What can still be claimed.
    pub at_risk: Amount,
    /// What can be claimed no more.
    pub lost: Amount,
    /// What was paid out, as the facilitator has told.
    pub settled: Amount,
    /// Whether something claimed waits to be paid out.
    pub is_payout_due: bool,
    /// When the first of those at risk can be withdrawn.
    pub next_deadline: Option<UnixTime>,
}

/// What a seller has on its channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelReport {
    /// By network, token and receiver.
    pub sums: Vec<ChannelSums>,
    /// How many channels could not be read.
    pub unreadable: u64,
    /// Whether all channels are in it; not if there are more than two million.
    pub is_whole: bool,
}

impl ClaimWorker {
    /// Channels in the order of their names, from behind `after` on. One that cannot be read is left out and logged.
    ///
    /// # Errors
    /// [`LedgerError`].
    ///
    /// ```
    /// use tollway_ledger::LedgerError;
    /// use tollway_seller::{ChannelView, ClaimWorker};
    /// async fn first(worker: &ClaimWorker) -> Result<Vec<ChannelView>, LedgerError> {
    ///     worker.list(None, 100).await
    /// }
    /// ```
    pub async fn list(
        &self,
        after: Option<&ChannelKey>,
        limit: u32,
    ) -> Result<Vec<ChannelView>, LedgerError> {
        let listed = bounded(self.ledger.channel_list(SCOPE, after, limit)).await?;
        let rows = self.read(listed, &mut ClaimOutcome::default());
        Ok(rows.iter().map(view).collect())
    }

    /// What was charged, claimed and paid out, and what is at risk, over all channels.
    ///
    /// # Errors
    /// [`LedgerError`].
    ///
    /// ```
    /// use tollway_core::Amount;
    /// use tollway_ledger::LedgerError;
    /// use tollway_seller::ClaimWorker;
    /// async fn at_risk(worker: &ClaimWorker) -> Result<Vec<Amount>, LedgerError> {
    ///     Ok(worker.report().await?.sums.iter().map(|sum| sum.at_risk).collect())
    /// }
    /// ```
    pub async fn report(&self) -> Result<ChannelReport, LedgerError> {
        let mut sums: BTreeMap<(String, String, String), ChannelSums> = BTreeMap::new();
        let mut report = ChannelReport::default();
        let mut after: Option<ChannelKey> = None;
        for _ in 0..MAX_PAGES {
            let page = bounded(self.ledger.channel_list(SCOPE, after.as_ref(), PAGE)).await?;
            let Some(last) = page.last() else {
                report.is_whole = true;
                break;
            };
            after = Some(last.id.clone());
            let mut read = ClaimOutcome::default();
            for row in self.read(page, &mut read) {
                let name = |text: &str| text.to_lowercase();
                let network = row.offer.network.to_string();
                let key = (network, name(&row.offer.asset), name(&row.offer.pay_to));
                add(sums.entry(key).or_default(), &view(&row));
            }
            report.unreadable += u64::try_from(read.troubled).unwrap_or(u64::MAX);
        }
        for paid in payout::list(self.ledger.as_ref()).await? {
            let key = (paid.network.clone(), paid.token.to_lowercase(), paid.receiver.to_lowercase());
            let sum = sums.entry(key).or_default();
            (sum.network, sum.asset, sum.receiver) = (paid.network, paid.token, paid.receiver);
            sum.settled = plus(sum.settled, paid.settled);
            sum.is_payout_due |= paid.is_due;
        }
        report.sums = sums.into_values().collect();
        Ok(report)
    }

    /// Sees every channel once, as a paywall does bit by bit: what nobody would come back to is due then.
    ///
    /// # Errors
    /// [`LedgerError`].
    ///
    /// ```
    /// use tollway_ledger::LedgerError;
    /// use tollway_seller::{ClaimOutcome, ClaimWorker};
    /// async fn by_the_hour(worker: &ClaimWorker) -> Result<ClaimOutcome, LedgerError> {
    ///     worker.sweep_all().await?;
    ///     worker.run_due().await
    /// }
    /// ```
    pub async fn sweep_all(&self) -> Result<(), LedgerError> {
        for _ in 0..MAX_PAGES {
            self.sweep_page().await?;
            if self.sweep.lock().after.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Sees the next page.
    pub(crate) async fn sweep_page(&self) -> Result<(), LedgerError> {
        let after = self.sweep.lock().after.clone();
        let page = bounded(self.ledger.channel_list(SCOPE, after.as_ref(), PAGE)).await?;
        let last = page.last().map(|channel| channel.id.clone());
        let rows = self.read(page, &mut ClaimOutcome::default());
        let now = self.clock.now();
        for row in &rows {
            if row.unclaimed() > Amount::ZERO {
                let mut sweep = self.sweep.lock();
                sweep.unclaimed += 1;
                sweep.deadline = [sweep.deadline, Some(row.deadline())].into_iter().flatten().min();
            }
        }
        for row in rows.into_iter().filter(|row| self.is_forgotten(row, now)) {
            self.write(row, |row| {
                row.row.due = row.row.due.min(now);
                true
            })
            .await;
        }
        let mut sweep = self.sweep.lock();
        if last.is_none() {
            telemetry::channels(sweep.unclaimed, sweep.deadline.map(|at| at.0.saturating_sub(now.0)));
            *sweep = Sweep::default();
        }
        sweep.after = last;
        Ok(())
    }

    /// Whether there is something to do with it, and nobody would come back.
    fn is_forgotten(&self, row: &Waiting, now: UnixTime) -> bool {
        let is_open =
            row.unclaimed() > Amount::ZERO || row.record.claim.note.is_some() || row.record.refund.is_some();
        let is_idle = self.is_idle(row, now) && !row.row.proof.is_empty();
        let latest = now.plus_seconds(row.record.withdraw_delay_seconds / 3);
        (is_open && row.row.due > latest) || (is_idle && row.row.due == NEVER)
    }
}

fn view(row: &Waiting) -> ChannelView {
    let backing = row.row.seen.backing();
    let at_risk = row.unclaimed();
    ChannelView {
        channel: row.key.clone(),
        payer: row.record.payer.clone(),
        receiver: row.offer.pay_to.clone(),
        asset: row.offer.asset.clone(),
        balance: backing.balance,
        charged: row.row.charged,
        signed: row.row.signed,
        claimed: backing.claimed,
        at_risk,
        lost: row.lost(),
        withdraw_requested_at: backing.withdraw_requested_at,
        deadline: (at_risk > Amount::ZERO).then(|| row.deadline()),
        used_at: row.row.used_at,
        is_claiming: row.record.claim.note.is_some(),
    }
}

fn add(sum: &mut ChannelSums, view: &ChannelView) {
    view.channel.network().clone_into(&mut sum.network);
    sum.asset.clone_from(&view.asset);
    sum.receiver.clone_from(&view.receiver);
    let is_open = view.at_risk > Amount::ZERO;
    sum.channels += 1;
    sum.unclaimed += u64::from(is_open);
    sum.closing += u64::from(is_open && view.withdraw_requested_at.is_some());
    sum.balance = plus(sum.balance, view.balance);
    sum.charged = plus(sum.charged, view.charged);
    sum.claimed = plus(sum.claimed, view.claimed);
    sum.at_risk = plus(sum.at_risk, view.at_risk);
    sum.lost = plus(sum.lost, view.lost);
    sum.next_deadline = [sum.next_deadline, view.deadline].into_iter().flatten().min();
}

fn plus(sum: Amount, more: Amount) -> Amount {
    sum.checked_add(more).unwrap_or(Amount::MAX)
}

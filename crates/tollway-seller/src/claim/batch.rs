//! One claim: written down channel by channel, asked for, its end written down. What is refused as a whole is asked for in
//! halves, so that one channel that cannot be claimed keeps no other from it.

use futures_util::future::join_all;
use tollway_core::{Amount, ChannelKey, ClaimRow, SignError};

use super::payout;
use super::waiting::Waiting;
use super::worker::{Asked, ClaimEnd, ClaimOutcome, ClaimStep, ClaimWorker};
use crate::telemetry;

/// How many rows are written at once.
const MAX_WRITES: usize = 32;
/// How often one claim is asked for in parts.
const MAX_ASKED: usize = 32;
/// The pause after a claim without an end; it doubles, up to a twelfth of the delay of withdrawal and ten minutes.
const FIRST_PAUSE_SECONDS: u64 = 5;
const MAX_PAUSE_SECONDS: u64 = 600;
const MAX_DOUBLINGS: u32 = 7;
const PAUSES_PER_DELAY: u64 = 12;

impl ClaimWorker {
    /// Claims channels of one company until that has an end, or none that can be known now.
    pub(super) async fn pursue(&self, rows: Vec<Waiting>) -> ClaimOutcome {
        let mut outcome = ClaimOutcome::default();
        let mut parts = vec![(rows, false)];
        let mut asked = 0;
        while let Some((rows, is_anew)) = parts.pop() {
            let rows = self.note(rows, is_anew, &mut outcome).await;
            let (seen, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_claimed);
            if !seen.is_empty() {
                self.done(seen, String::new(), &mut outcome).await;
            }
            if rows.is_empty() {
                continue;
            }
            asked += 1;
            if asked > MAX_ASKED {
                self.postpone(rows, "too many parts of it were refused", &mut outcome).await;
                continue;
            }
            match self.ask_for(&rows).await {
                Asked::Done(answer) => self.conclude(rows, answer.transaction, &mut outcome).await,
                Asked::Unknown(cause) => self.postpone(rows, &cause, &mut outcome).await,
                Asked::Refused(reason) => {
                    tracing::warn!(reason, channels = rows.len(), "a claim is refused");
                    match <[Waiting; 1]>::try_from(rows) {
                        Ok([row]) => self.refused(row, reason, &mut outcome).await,
                        Err(mut rows) => {
                            let second = rows.split_off(rows.len() / 2);
                            parts.extend([(second, true), (rows, true)]);
                        }
                    }
                }
            }
        }
        outcome
    }

    /// Writes down what is asked for; what was asked for before stays as it was, unless it is to be asked `anew`. What cannot
    /// be written is left out, but for what would be lost meanwhile.
    async fn note(&self, mut rows: Vec<Waiting>, is_anew: bool, outcome: &mut ClaimOutcome) -> Vec<Waiting> {
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        let Some(first) = rows.first() else { return rows };
        let (batch, now) = (format!("{}@{}", first.key, first.claimable()), self.clock.now());
        let mut noted = Vec::with_capacity(rows.len());
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let writes = rows.by_ref().take(MAX_WRITES).map(|row| self.note_one(row, &batch, is_anew));
            for (written, row) in join_all(writes.collect::<Vec<_>>()).await {
                match written {
                    Some(written) => noted.push(written),
                    None => {
                        outcome.troubled += 1;
                        // It is asked for all the same: to claim it twice brings the same.
                        noted.extend(row.is_urgent(now).then_some(row));
                    }
                }
            }
        }
        noted
    }

    async fn note_one(&self, mut row: Waiting, batch: &str, is_anew: bool) -> (Option<Waiting>, Waiting) {
        if row.record.claim.note.is_some() && !is_anew {
            return (Some(row.clone()), row);
        }
        let lease = self.lease_end();
        row.record.claim.note = None;
        let written = self.write(row.clone(), |row| {
            if row.unclaimed() == Amount::ZERO
                || row.record.claim.note.as_ref().is_some_and(|note| note.batch != batch)
            {
                // Another seller is at it.
                return false;
            }
            row.record.claim.note = Some(row.note(batch));
            row.row.due = lease;
            true
        });
        let written = written.await;
        row.record.claim.note = Some(row.note(batch));
        (written, row)
    }

    async fn ask_for(&self, rows: &[Waiting]) -> Asked {
        let Some(first) = rows.first() else { return Asked::Unknown("nothing is asked for".to_owned()) };
        let claims: Vec<ClaimRow> = rows.iter().filter_map(Waiting::claim_row).collect();
        let Some((_, scheme)) = self.scheme(&first.offer.network, first.offer.scheme.as_str()) else {
            return Asked::Unknown("this seller does not accept its scheme".to_owned());
        };
        match scheme.claim_request(&first.offer, &claims).await {
            Ok(request) => self.ask(request).await,
            Err(SignError::Offer(refusal)) => Asked::Refused(refusal.to_string()),
            Err(error) => Asked::Unknown(error.to_string()),
        }
    }

    /// Believes what was seen, where there is somebody to see it.
    async fn conclude(&self, mut rows: Vec<Waiting>, transaction: String, outcome: &mut ClaimOutcome) {
        let Some(witness) = rows.first().and_then(|row| self.witness(&row.offer.network)) else {
            return self.done(rows, transaction, outcome).await;
        };
        let keys: Vec<ChannelKey> = rows.iter().map(|row| row.key.clone()).collect();
        match self.backings(witness, &keys).await {
            Ok(seen) => {
                for (row, backing) in rows.iter_mut().zip(&seen) {
                    row.see(backing, self.clock.now());
                }
            }
            Err(error) => tracing::warn!(%error, "a claim cannot be looked at yet"),
        }
        let (done, rest): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_claimed);
        if !done.is_empty() {
            self.done(done, transaction, outcome).await;
        }
        if !rest.is_empty() {
            self.postpone(rest, "the claim is not seen on chain yet", outcome).await;
        }
    }

    /// Writes down that it is claimed. That it is to be paid out comes first: what is forgotten then is found again.
    async fn done(&self, rows: Vec<Waiting>, transaction: String, outcome: &mut ClaimOutcome) {
        let Some(first) = rows.first() else { return };
        if let Err(error) = payout::wake(self.ledger.as_ref(), &first.record.offer, self.clock.now()).await {
            let cause = format!("that it is to be paid out is not written: {error}");
            return self.postpone(rows, &cause, outcome).await;
        }
        let mut step = step("claim", &rows, ClaimEnd::Done(transaction));
        step.amount = rows.iter().fold(Amount::ZERO, |sum, row| {
            let added = row.record.claim.note.as_ref().map_or(Amount::ZERO, |note| {
                note.total.checked_sub(row.record.seen.backing().claimed).unwrap_or_default()
            });
            sum.checked_add(added).unwrap_or(sum)
        });
        telemetry::claim("claimed", rows.len());
        tracing::info!(channels = rows.len(), amount = %step.amount, asset = step.asset, "claimed");
        outcome.steps.push(step);
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let writes = rows.by_ref().take(MAX_WRITES).map(|row| self.done_one(row));
            let written = join_all(writes.collect::<Vec<_>>()).await;
            outcome.troubled += written.into_iter().filter(|is_written| !is_written).count();
        }
    }

    async fn done_one(&self, row: Waiting) -> bool {
        let now = self.clock.now();
        let seen = row.row.seen;
        let total = row.record.claim.note.as_ref().map(|note| note.total).unwrap_or_default();
        let written = self.write(row, |row| {
            if row.row.seen.at < seen.at {
                row.see(&seen.backing(), tollway_core::UnixTime(seen.at));
            }
            row.claimed(total);
            row.record.claim = Default::default();
            if row.unclaimed() > Amount::ZERO {
                row.record.claim.since = now.0;
            }
            row.row.due = row.next_due(&self.policy, now);
            true
        });
        written.await.is_some()
    }

    /// Leaves a claim without an end for later, to whoever comes first.
    pub(super) async fn postpone(&self, rows: Vec<Waiting>, cause: &str, outcome: &mut ClaimOutcome) {
        let now = self.clock.now();
        tracing::warn!(cause, channels = rows.len(), "a claim is not known to be done yet");
        telemetry::claim("pending", rows.len());
        outcome.steps.push(step("claim", &rows, ClaimEnd::Pending(cause.to_owned())));
        for row in rows {
            self.alarm(&row, cause);
            let noted = row.record.claim.note.clone();
            let written = self.write(row, |row| {
                row.record.claim.note.clone_from(&noted);
                row.row.due = now.plus_seconds(pause_seconds(row));
                row.record.claim.tries = row.record.claim.tries.saturating_add(1);
                true
            });
            outcome.troubled += usize::from(written.await.is_none());
        }
    }

    /// A channel that cannot be claimed, by itself.
    async fn refused(&self, row: Waiting, reason: String, outcome: &mut ClaimOutcome) {
        let now = self.clock.now();
        tracing::error!(channel = %row.key, reason, amount = %row.unclaimed(), "a channel cannot be claimed");
        telemetry::claim("refused", 1);
        self.alarm(&row, &reason);
        outcome.steps.push(step("claim", std::slice::from_ref(&row), ClaimEnd::Refused(reason)));
        let written = self.write(row, |row| {
            row.record.claim.note = None;
            row.record.claim.tries = row.record.claim.tries.saturating_add(1);
            row.record.claim.refusals = row.record.claim.refusals.saturating_add(1);
            row.row.due = now.plus_seconds(pause_seconds(row));
            true
        });
        outcome.troubled += usize::from(written.await.is_none());
    }

    /// Cries when only an owner can help in time.
    fn alarm(&self, row: &Waiting, cause: &str) {
        let now = self.clock.now();
        if !row.is_endangered(now) {
            return;
        }
        let left = row.deadline().0.saturating_sub(now.0);
        let (channel, amount) = (&row.key, row.unclaimed());
        tracing::error!(%channel, %amount, seconds = left, cause, "a channel may be withdrawn before it is claimed");
        telemetry::channel_alarm("deadline");
    }
}

/// Whether it was seen that what is asked for is there.
fn is_claimed(row: &Waiting) -> bool {
    let note = row.record.claim.note.as_ref();
    note.is_some_and(|note| row.row.seen.backing().claimed >= note.total)
}

fn pause_seconds(row: &Waiting) -> u64 {
    let most = (row.record.withdraw_delay_seconds / PAUSES_PER_DELAY).clamp(1, MAX_PAUSE_SECONDS);
    (FIRST_PAUSE_SECONDS << row.record.claim.tries.min(MAX_DOUBLINGS)).min(most)
}

/// What is told of a claim.
pub(super) fn step(operation: &'static str, rows: &[Waiting], end: ClaimEnd) -> ClaimStep {
    let (network, asset, receiver) = rows.first().map_or_else(
        || (tollway_core::Network::evm(0), String::new(), String::new()),
        |row| (row.offer.network.clone(), row.offer.asset.clone(), row.offer.pay_to.clone()),
    );
    let channels = rows.iter().map(|row| row.key.clone()).collect();
    ClaimStep { operation, network, asset, receiver, channels, amount: Amount::ZERO, end }
}

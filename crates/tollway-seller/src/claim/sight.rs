//! What stands behind channels that are due: by the seller's own node where there is one, many at once, else by the
//! facilitator's word on the newest voucher. What is not seen stays as it was, and grows old.

use std::time::Duration;

use futures_util::future::join_all;
use tollway_core::{Amount, Backing, ChannelKey, ChannelWitness, FacilitatorError, Network};

use super::payout;
use super::waiting::Waiting;
use super::worker::ClaimWorker;

/// What was seen less than this ago is not looked at again, nor within a twelfth of the delay of withdrawal.
const FRESH_SECONDS: u64 = 60;
const FRESH_PER_DELAY: u64 = 12;
/// How many channels the node is asked about at once, and the facilitator.
const MAX_SEEN: usize = 100;
const MAX_VERIFIED: usize = 8;
const LOOK_DEADLINE: Duration = Duration::from_secs(20);

impl ClaimWorker {
    /// Looks at those whose look is old. Nothing is written yet.
    pub(super) async fn look(&self, rows: Vec<Waiting>) -> Vec<Waiting> {
        let now = self.clock.now();
        let is_old = |row: &Waiting| {
            let fresh = FRESH_SECONDS.min(row.record.withdraw_delay_seconds / FRESH_PER_DELAY);
            let is_asked = row.unclaimed() > Amount::ZERO
                || row.record.claim.note.is_some()
                || row.record.refund.is_some()
                || self.is_idle(row, now);
            // What became of a refund is seen before it is asked for again: one that is done would be refused.
            is_asked && (row.record.refund.is_some() || now.0 >= row.row.seen.at.saturating_add(fresh))
        };
        let (mut old, mut rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_old);
        old.sort_by(|a, b| a.key.cmp(&b.key));
        while !old.is_empty() {
            let network = old.first().map(|row| row.offer.network.clone());
            let Some(network) = network else { break };
            let witness = self.witness(&network);
            let most = if witness.is_some() { MAX_SEEN } else { MAX_VERIFIED };
            let alike = old.iter().take(most).take_while(|row| row.offer.network == network).count();
            let some: Vec<Waiting> = old.drain(..alike.max(1)).collect();
            rows.extend(match witness {
                Some(witness) => self.see(witness, some).await,
                None => join_all(some.into_iter().map(|row| self.verify(row))).await,
            });
        }
        rows
    }

    /// Who sees this network.
    pub(super) fn witness(&self, network: &Network) -> Option<&dyn ChannelWitness> {
        self.witness.as_deref().filter(|witness| witness.covers(network))
    }

    /// What the chain says of channels on one network.
    pub(super) async fn backings(
        &self,
        witness: &dyn ChannelWitness,
        keys: &[ChannelKey],
    ) -> Result<Vec<Backing>, FacilitatorError> {
        let seen = tokio::time::timeout(LOOK_DEADLINE, witness.backings(keys)).await;
        let late = |_| Err(FacilitatorError::NoAnswer("the chain took too long".to_owned()));
        let seen = seen.unwrap_or_else(late)?;
        if seen.len() != keys.len() {
            let detail = format!("{} channels were asked about, {} were seen", keys.len(), seen.len());
            return Err(FacilitatorError::BadAnswer { status: 200, detail });
        }
        Ok(seen)
    }

    async fn see(&self, witness: &dyn ChannelWitness, mut rows: Vec<Waiting>) -> Vec<Waiting> {
        let keys: Vec<ChannelKey> = rows.iter().map(|row| row.key.clone()).collect();
        match self.backings(witness, &keys).await {
            Ok(seen) => {
                for (row, backing) in rows.iter_mut().zip(&seen) {
                    self.saw(row, backing).await;
                }
            }
            Err(error) => tracing::warn!(%error, count = keys.len(), "channels could not be looked at"),
        }
        rows
    }

    /// Takes over what was seen. A refund that turns out to be done has claimed what is to be paid out.
    async fn saw(&self, row: &mut Waiting, backing: &Backing) {
        let now = self.clock.now();
        let note = row.record.refund.clone();
        row.see(backing, now);
        if note.is_some() && row.record.refund.is_none() {
            let woken = payout::wake(self.ledger.as_ref(), &row.record.offer, now).await;
            if let Err(error) = woken {
                tracing::warn!(%error, channel = %row.key, "that a refund is done is not written yet");
                row.record.refund = note;
            }
        }
    }

    pub(super) async fn verify(&self, mut row: Waiting) -> Waiting {
        let scheme = self.scheme(&row.offer.network, row.offer.scheme.as_str());
        let Some((_, scheme)) = scheme.filter(|_| !row.row.proof.is_empty()) else { return row };
        let claim = row.record.claim(row.row.charged, row.row.signed, row.row.proof.to_string());
        let asked = self.facilitator.verify(scheme.look_request(&row.offer, &claim));
        match tokio::time::timeout(LOOK_DEADLINE, asked).await {
            // A voucher that was claimed is good for nothing more; how its channel stands is told all the same.
            Ok(Ok(answer)) => match scheme.backing(&answer.extra) {
                Some(backing) => self.saw(&mut row, &backing).await,
                None => {
                    tracing::warn!(channel = %row.key, "verify does not say what stands behind a channel")
                }
            },
            Ok(Err(error)) => tracing::warn!(%error, channel = %row.key, "a channel could not be looked at"),
            Err(_) => tracing::warn!(channel = %row.key, "a channel could not be looked at in time"),
        }
        row
    }
}

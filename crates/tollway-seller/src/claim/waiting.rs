//! A channel with something to do, as it was read. It is written only if nobody has written it since.

use tollway_core::model::PaymentRequirements;
use tollway_core::{Amount, Backing, ChannelKey, ClaimRow, UnixTime};
use tollway_ledger::{Channel, Ledger, LedgerError};

use super::policy::ClaimPolicy;
use crate::channel::record::{ClaimNote, NEVER, Record, SCOPE};
use crate::channel::row::Row;
use crate::membership::bounded;

/// How often a row that others write is read again.
pub(super) const MAX_READS: u32 = 4;

/// A channel.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) key: ChannelKey,
    pub(crate) row: Row,
    pub(crate) record: Record,
    /// The offer that it was opened for.
    pub(crate) offer: PaymentRequirements,
}

/// Whose claims can be one transaction and one payment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Company {
    pub(crate) network: String,
    pub(crate) scheme: String,
    pub(crate) receiver: String,
    pub(crate) token: String,
    pub(crate) authorizer: String,
}

impl Waiting {
    /// As the ledger has it.
    pub(crate) fn of(channel: Channel) -> Result<Self, LedgerError> {
        let key = channel.id.clone();
        let (row, record) = Row::of(channel)?;
        let offer = record.offer.requirements()?;
        if key.network() != offer.network.as_str() {
            return Err(LedgerError::Corrupt("a channel on another network than its offer".to_owned()));
        }
        Ok(Self { key, row, record, offer })
    }

    /// What can be claimed of it in all: what was charged, is signed for, and is there.
    pub(crate) fn claimable(&self) -> Amount {
        if self.row.proof.is_empty() {
            return Amount::ZERO;
        }
        let owed = self.row.charged.min(self.row.signed);
        if self.row.seen.at == 0 { owed } else { owed.min(self.row.seen.backing().balance) }
    }

    /// What of that is not claimed.
    pub(crate) fn unclaimed(&self) -> Amount {
        self.claimable().checked_sub(self.row.seen.backing().claimed).unwrap_or_default()
    }

    /// What was charged and can be claimed no more.
    pub(crate) fn lost(&self) -> Amount {
        let backing = self.row.seen.backing();
        let there = self.claimable().max(backing.claimed);
        self.row.charged.checked_sub(there).unwrap_or_default()
    }

    /// When its payer can have the money at the soonest, by what was seen: it may have asked right after.
    pub(crate) fn deadline(&self) -> UnixTime {
        let asked = self.row.seen.backing().withdraw_requested_at;
        asked.unwrap_or(UnixTime(self.row.seen.at)).plus_seconds(self.record.withdraw_delay_seconds)
    }

    /// Whether its payer has asked for its money.
    pub(crate) fn is_closing(&self) -> bool {
        self.row.seen.backing().withdraw_requested_at.is_some()
    }

    /// Whether it is claimed whatever it costs: it is being withdrawn, or nobody has seen for half the delay that it is not.
    pub(crate) fn is_urgent(&self, now: UnixTime) -> bool {
        let delay = self.record.withdraw_delay_seconds;
        self.unclaimed() > Amount::ZERO
            && (self.is_closing() || now.plus_seconds(delay / 2) >= self.deadline())
    }

    /// Whether it is high time: nothing but an owner can help soon.
    pub(crate) fn is_endangered(&self, now: UnixTime) -> bool {
        now.plus_seconds(self.record.withdraw_delay_seconds / 3) >= self.deadline()
    }

    /// When somebody must look at it next, if nothing is under way.
    pub(crate) fn next_due(&self, policy: &ClaimPolicy, now: UnixTime) -> UnixTime {
        let delay = self.record.withdraw_delay_seconds;
        let is_open = self.unclaimed() > Amount::ZERO || self.record.refund.is_some();
        match (is_open, self.is_closing()) {
            (false, _) => NEVER,
            (true, true) => ClaimPolicy::next_hasty(delay, now),
            (true, false) => policy.next_look(delay, now),
        }
    }

    pub(crate) fn company(&self) -> Company {
        let text = |name: &str| self.record.terms.get(name).and_then(|value| value.as_str());
        Company {
            network: self.offer.network.to_string(),
            scheme: self.offer.scheme.to_string(),
            receiver: self.offer.pay_to.to_lowercase(),
            token: self.offer.asset.to_lowercase(),
            authorizer: text("receiverAuthorizer").unwrap_or_default().to_lowercase(),
        }
    }

    /// All that can be claimed, as it is written down before it is asked for.
    pub(crate) fn note(&self, batch: &str) -> ClaimNote {
        ClaimNote {
            batch: batch.to_owned(),
            total: self.claimable(),
            signed: self.row.signed,
            proof: self.row.proof.to_string(),
        }
    }

    /// Its part of the claim that is written down.
    pub(crate) fn claim_row(&self) -> Option<ClaimRow> {
        let note = self.record.claim.note.as_ref()?;
        Some(ClaimRow {
            terms: self.record.terms.clone(),
            signed: note.signed,
            proof: note.proof.clone(),
            total: note.total,
        })
    }

    /// That so much was claimed, when nothing else was seen.
    pub(crate) fn claimed(&mut self, total: Amount) {
        let seen = self.row.seen;
        let backing = Backing { claimed: seen.backing().claimed.max(total), ..seen.backing() };
        self.row.see(&backing, UnixTime(seen.at));
    }

    /// What was seen of it.
    pub(crate) fn see(&mut self, backing: &Backing, now: UnixTime) {
        self.row.see(backing, now);
        if self.record.refund.as_ref().is_some_and(|refund| backing.refund_nonce > refund.nonce) {
            self.record.refund = None;
        }
    }

    /// Writes it, if nobody has since it was read. Whether it was.
    pub(crate) async fn write(&mut self, ledger: &dyn Ledger, now: UnixTime) -> Result<bool, LedgerError> {
        self.record.seen = self.row.seen;
        self.row.reserved = self.record.reserved();
        let channel = Channel {
            scope: SCOPE.to_owned(),
            id: self.key.clone(),
            version: self.row.version,
            charged: self.row.charged,
            signed: self.row.signed,
            claimed: self.row.seen.backing().claimed,
            proof: self.row.proof.to_string(),
            request: self.row.request,
            repeats: self.row.repeats,
            body: self.record.text()?,
            holder: None,
            used_at: self.row.used_at,
            due: self.row.due,
        };
        let is_written = bounded(ledger.channel_put(channel, None, now)).await?;
        if is_written {
            self.row.version = self.row.version.saturating_add(1);
        }
        Ok(is_written)
    }

    /// Changes it and writes it, reading it again where others have written it. False: they did so all the time, somebody
    /// holds it, it is gone, or `change` says that there is nothing to do any more.
    pub(crate) async fn change(
        &mut self,
        ledger: &dyn Ledger,
        now: UnixTime,
        change: impl Fn(&mut Self) -> bool + Send,
    ) -> Result<bool, LedgerError> {
        for _ in 0..MAX_READS {
            if !change(self) {
                return Ok(false);
            }
            if self.write(ledger, now).await? {
                return Ok(true);
            }
            let Some(channel) = bounded(ledger.channel_get(SCOPE, &self.key)).await? else {
                return Ok(false);
            };
            *self = Self::of(channel)?;
        }
        Ok(false)
    }
}

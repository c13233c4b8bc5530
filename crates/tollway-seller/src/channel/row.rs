//! A channel as a request works with it: a few hundred bytes. What is decided by numbers alone is decided here.

use tollway_core::{Amount, Backing, ChannelKey, ChannelSnapshot, Fingerprint, UnixTime};
use tollway_ledger::{Channel, LedgerError};

use super::record::{NEVER, Record, Seen};
use crate::claim::ClaimPolicy;

/// How often a request that was charged is served again without a charge, and for how long.
pub(crate) const MAX_REPEATS: u32 = 3;
pub(crate) const REPEAT_SECONDS: u64 = 600;
/// No node that is asked is further behind than this.
const LAG_SECONDS: u64 = 600;

/// A channel.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What the ledger has of it; 0 before it has it.
    pub(crate) version: u64,
    pub(crate) charged: Amount,
    /// The newest voucher that was charged, with its signature; nothing before the first.
    pub(crate) signed: Amount,
    pub(crate) proof: Box<str>,
    /// The request that was charged last.
    pub(crate) request: Option<Fingerprint>,
    pub(crate) repeats: u32,
    pub(crate) seen: Seen,
    /// How much of the balance may be on its way back.
    pub(crate) reserved: Amount,
    pub(crate) used_at: UnixTime,
    pub(crate) due: UnixTime,
}

/// What a voucher is to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// The next one.
    Next,
    /// The one that was charged last, for the same request.
    Again,
    /// Neither.
    Astray,
}

/// How long what was seen of the chain is good, and how late a channel that is being withdrawn is still served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) age_seconds: u64,
    pub(crate) margin_seconds: u64,
}

/// Why a voucher is not served, by what stands behind the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Nobody has looked for too long.
    Stale,
    /// The payer takes its money back before this could be claimed for certain.
    Closing,
    /// There is not so much.
    Balance,
    /// So much was claimed before.
    Claimed,
}

impl Row {
    /// A channel that nothing was charged on here. What was charged before is what its payer owns up to, `charged`.
    pub(crate) fn new(charged: Amount, seen: Seen, now: UnixTime) -> Self {
        Self {
            version: 0,
            charged,
            signed: Amount::ZERO,
            proof: Box::default(),
            request: None,
            repeats: 0,
            seen,
            reserved: Amount::ZERO,
            used_at: now,
            due: NEVER,
        }
    }

    /// As the ledger has it.
    pub(crate) fn of(channel: Channel) -> Result<(Self, Record), LedgerError> {
        let record = Record::read(&channel.body)?;
        let row = Self {
            version: channel.version,
            charged: channel.charged,
            signed: channel.signed,
            proof: channel.proof.into_boxed_str(),
            request: channel.request,
            repeats: channel.repeats,
            seen: record.seen,
            reserved: record.reserved(),
            used_at: channel.used_at,
            due: channel.due,
        };
        Ok((row, record))
    }

    /// What a voucher up to `ceiling` for `amount` is, presented for `request`.
    pub(crate) fn stand(&self, ceiling: Amount, amount: Amount, request: &Fingerprint) -> Stand {
        let is_charged = ceiling.checked_sub(amount).is_some_and(|base| self.charged > base);
        if self.charged.checked_add(amount) == Some(ceiling) {
            Stand::Next
        } else if is_charged && ceiling == self.signed && self.request.as_ref() == Some(request) {
            Stand::Again
        } else {
            Stand::Astray
        }
    }

    /// Whether the last request may be served once more without a charge.
    pub(crate) fn may_repeat(&self, now: UnixTime) -> bool {
        self.repeats < MAX_REPEATS && now <= self.used_at.plus_seconds(REPEAT_SECONDS)
    }

    /// Whether `total` could be claimed for certain, by what was seen last.
    pub(crate) fn covers(
        &self,
        total: Amount,
        delay_seconds: u64,
        patience: Patience,
        now: UnixTime,
    ) -> Result<(), Lack> {
        let backing = self.seen.backing();
        if now > UnixTime(self.seen.at).plus_seconds(patience.age_seconds) {
            return Err(Lack::Stale);
        }
        if let Some(asked) = backing.withdraw_requested_at
            && now.plus_seconds(patience.margin_seconds) >= asked.plus_seconds(delay_seconds)
        {
            return Err(Lack::Closing);
        }
        if backing.balance.checked_sub(self.reserved).is_none_or(|left| total > left) {
            return Err(Lack::Balance);
        }
        if total <= backing.claimed { Err(Lack::Claimed) } else { Ok(()) }
    }

    /// Takes over what was seen of the chain, unless it is an older look than the one before. What was claimed was charged,
    /// whoever has written it down.
    pub(crate) fn see(&mut self, backing: &Backing, now: UnixTime) {
        if self.is_behind(backing, now) {
            return;
        }
        self.seen = Seen::new(backing, now);
        if backing.claimed > self.charged {
            self.charged = backing.claimed;
            self.request = None;
        }
        if self.signed < self.charged {
            self.signed = Amount::ZERO;
            self.proof = Box::default();
        }
        if backing.withdraw_requested_at.is_some() && self.charged > backing.claimed {
            self.due = self.due.min(now);
        }
    }

    /// Whether `backing` is from before a refund that was seen already. Nodes do not see blocks at the same moment, and answers
    /// overtake each other: what was given back must not back a voucher again. Only when it stays so, the chain itself has
    /// taken the refund back.
    fn is_behind(&self, backing: &Backing, now: UnixTime) -> bool {
        let known = self.seen.backing();
        backing.refund_nonce < known.refund_nonce && now <= UnixTime(self.seen.at).plus_seconds(LAG_SECONDS)
    }

    /// When somebody must look after the channel, once it is charged at `now`.
    pub(crate) fn due_after_charge(
        &self,
        policy: &ClaimPolicy,
        delay_seconds: u64,
        now: UnixTime,
    ) -> UnixTime {
        let next = match self.seen.backing().withdraw_requested_at {
            // Not at once: each charge by itself would cost more gas than it brings.
            Some(_) => ClaimPolicy::next_hasty(delay_seconds, now),
            None => policy.next_look(delay_seconds, now),
        };
        // As it was, where something waits already: to move it costs a write to an index.
        self.due.min(next)
    }

    /// What its payer is told of it.
    pub(crate) fn snapshot(&self, channel: &ChannelKey) -> ChannelSnapshot {
        ChannelSnapshot {
            channel: channel.clone(),
            charged: self.charged,
            backing: self.seen.backing(),
            signed: self.signed,
            proof: self.proof.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tollway_core::{Amount, Backing, Fingerprint, UnixTime};

    use super::{LAG_SECONDS, Lack, MAX_REPEATS, Patience, REPEAT_SECONDS, Row, Stand};
    use crate::channel::record::{NEVER, Seen};
    use crate::claim::ClaimPolicy;

    const NOW: UnixTime = UnixTime(1_750_000_000);
    const PATIENCE: Patience = Patience { age_seconds: 150, margin_seconds: 450 };

    fn print(byte: u8) -> Fingerprint {
        Fingerprint::from_bytes([byte; 32])
    }

    fn row(charged: u64, signed: u64) -> Row {
        let backing = Backing { balance: 1_000u64.into(), ..Backing::default() };
        let mut row = Row::new(charged.into(), Seen::new(&backing, NOW), NOW);
        row.signed = signed.into();
        row.request = Some(print(1));
        row
    }

    #[test]
    fn only_the_next_voucher_buys() {
        let row = row(300, 300);
        let stand = |ceiling: u64, request| row.stand(ceiling.into(), 100u64.into(), &print(request));
        assert_eq!(stand(400, 2), Stand::Next);
        for astray in [0, 1, 99, 299, 301, 399, 401, 500] {
            assert_eq!(stand(astray, 1), Stand::Astray, "{astray}");
        }
        assert_eq!(stand(300, 1), Stand::Again);
        assert_eq!(stand(300, 2), Stand::Astray, "what was charged buys no other request");
        assert_eq!(row.stand(Amount::MAX, Amount::MAX, &print(1)), Stand::Astray);
        let full = Row { charged: Amount::MAX, ..row };
        assert_eq!(full.stand(0u64.into(), 1u64.into(), &print(1)), Stand::Astray, "no sum begins anew");
    }

    #[test]
    fn what_cost_less_than_its_voucher_is_still_one_purchase() {
        let row = row(330, 400);
        assert_eq!(row.stand(400u64.into(), 100u64.into(), &print(1)), Stand::Again);
        assert_eq!(row.stand(430u64.into(), 100u64.into(), &print(1)), Stand::Next);
        let free = Row { charged: 300u64.into(), ..row };
        assert_eq!(free.stand(400u64.into(), 100u64.into(), &print(1)), Stand::Next, "nothing was charged");
    }

    #[test]
    fn repeats_are_few_and_soon() {
        let mut row = row(300, 300);
        assert!(row.may_repeat(NOW.plus_seconds(REPEAT_SECONDS)));
        assert!(!row.may_repeat(NOW.plus_seconds(REPEAT_SECONDS + 1)));
        row.repeats = MAX_REPEATS;
        assert!(!row.may_repeat(NOW));
    }

    #[test]
    fn nothing_is_served_that_could_not_be_claimed() {
        let mut row = row(300, 300);
        let covers = |row: &Row, total: u64, now| row.covers(total.into(), 900, PATIENCE, now);
        assert_eq!(covers(&row, 1_000, NOW), Ok(()));
        assert_eq!(covers(&row, 1_001, NOW), Err(Lack::Balance));
        assert_eq!(covers(&row, 400, NOW.plus_seconds(150)), Ok(()));
        assert_eq!(covers(&row, 400, NOW.plus_seconds(151)), Err(Lack::Stale));
        row.reserved = 700u64.into();
        assert_eq!(covers(&row, 300, NOW), Ok(()));
        assert_eq!(covers(&row, 301, NOW), Err(Lack::Balance), "what may be given back backs nothing");
        row.reserved = Amount::MAX;
        assert_eq!(covers(&row, 1, NOW), Err(Lack::Balance));
        row.reserved = Amount::ZERO;
        let claimed = Backing { claimed: 400u64.into(), ..row.seen.backing() };
        row.see(&claimed, NOW);
        assert_eq!(covers(&row, 400, NOW), Err(Lack::Claimed));
        assert_eq!(covers(&row, 401, NOW), Ok(()));
    }

    #[test]
    fn a_withdrawal_stops_the_channel_while_there_is_time_to_claim() {
        let mut row = row(300, 300);
        let asked = Backing { withdraw_requested_at: Some(NOW), ..row.seen.backing() };
        row.see(&asked, NOW);
        assert_eq!(row.due, NOW, "what was charged is claimed at once");
        assert_eq!(row.due_after_charge(&ClaimPolicy::default(), 900, NOW.plus_seconds(5)), NOW);
        row.due = NEVER;
        let next = row.due_after_charge(&ClaimPolicy::default(), 900, NOW);
        assert_eq!(next, NOW.plus_seconds(75), "then again before it is over");
        let covers = |now| row.covers(400u64.into(), 900, Patience { age_seconds: 900, ..PATIENCE }, now);
        assert_eq!(covers(NOW.plus_seconds(449)), Ok(()));
        assert_eq!(covers(NOW.plus_seconds(450)), Err(Lack::Closing));
    }

    #[test]
    fn a_node_that_lags_does_not_bring_back_what_was_given_back() {
        let mut row = row(300, 300);
        let before = row.seen.backing();
        let after =
            Backing { balance: 400u64.into(), claimed: 300u64.into(), refund_nonce: 1u64.into(), ..before };
        row.see(&after, NOW);
        row.see(&before, NOW.plus_seconds(LAG_SECONDS));
        assert_eq!(row.covers(1_000u64.into(), 900, PATIENCE, NOW), Err(Lack::Balance));
        assert_eq!(row.seen.backing(), after, "and it grows old as if nobody had looked");
        row.see(&before, NOW.plus_seconds(LAG_SECONDS + 1));
        assert_eq!(row.seen.backing(), before, "the chain has taken the refund back");
    }

    #[test]
    fn what_was_claimed_was_charged() {
        let mut row = row(300, 300);
        let claimed = Backing { claimed: 350u64.into(), ..row.seen.backing() };
        row.see(&claimed, NOW);
        assert_eq!((row.charged, row.signed, &*row.proof), (350u64.into(), Amount::ZERO, ""));
    }

    #[test]
    fn charges_wait_for_company_once() {
        let mut row = row(0, 0);
        assert_eq!(row.due, NEVER);
        let policy = ClaimPolicy::default();
        let first = row.due_after_charge(&policy, 900, NOW);
        assert!(first > NOW && first <= NOW.plus_seconds(300), "within a third of the delay");
        (row.charged, row.due) = (100u64.into(), first);
        assert_eq!(row.due_after_charge(&policy, 900, NOW.plus_seconds(60)), first);
    }
}

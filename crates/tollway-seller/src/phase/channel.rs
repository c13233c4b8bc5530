//! A payment on a channel: from its voucher to the right to be served. Nothing is written and nothing charged before the
//! handler has succeeded, unless money is put into the channel first ([`deposit`](super::deposit)).
//!
//! What keeps a voucher from buying twice: its ceiling must be what was charged and the price, a request has its channel to
//! itself in this process, and a charge is written in the version of the row that was read. Whoever comes second, in whatever
//! process, finds another version.

use std::sync::Arc;

use tollway_core::model::{FacilitatorRequest, PaymentPayload, PaymentRequirements, SettleResponse};
use tollway_core::{
    Amount, ChannelKey, ChannelScheme, Commitment, CommitmentKind, ErrorCode, Fingerprint, Refusal,
    SellerScheme, UnixTime,
};
use tracing::Instrument;

use super::admit::{LATE_SECONDS, Presentation, denial};
use super::ticket::Word;
use super::voucher::ChannelTicket;
use crate::channel::book;
use crate::channel::look::look;
use crate::channel::record::{Claiming, Essentials, Record, Seen};
use crate::channel::row::{Lack, Row, Stand};
use crate::channel::table::{Lease, Taken};
use crate::denial::Denial;
use crate::offers::Offer;
use crate::paywall::Core;
use crate::route::Route;
use crate::telemetry;

/// How often a request reads its channel again because others write it.
pub(super) const MAX_READS: u32 = 3;
/// What says no is looked at again if it is older than this: a deposit may have landed since.
const SECOND_LOOK_SECONDS: u64 = 5;

pub(super) const CEILING: &str = "payload.voucher.maxClaimableAmount";

/// A payment on a channel that breaks no rule that can be known here.
#[derive(Clone, Debug)]
pub(crate) struct Committed {
    pub(super) scheme: Arc<dyn SellerScheme>,
    pub(super) request: FacilitatorRequest,
    pub(super) commitment: Commitment,
    is_exclusive: bool,
    /// Why its deposit is refused unless it was under way before it expired.
    pub(super) late: Option<Refusal>,
    pub(super) word: Word,
}

/// One request with its channel, which it has to itself.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) core: Arc<Core>,
    pub(super) paid: Committed,
    pub(super) lease: Lease,
    /// The request, and who it says it is from.
    pub(super) asked: Fingerprint,
    pub(super) presentation: Presentation,
    /// Whether the facilitator has said of this payment that it is good.
    is_verified: bool,
}

/// Everything local. What is left is what was charged before, and what stands behind the channel.
pub(super) fn check(
    core: &Core,
    route: &Route,
    offer: &Offer,
    payment: PaymentPayload,
    word: Word,
) -> Result<Committed, Refusal> {
    let requirements = &offer.requirements;
    let Some(scheme) = offer.scheme.channel() else {
        return Err(Refusal::new(ErrorCode::INVALID_SCHEME, "accepted", "must be of a channel"));
    };
    if let Some(refusal) = &offer.stale {
        return Err(refusal.clone());
    }
    let (commitment, late) = committed(scheme, &payment, requirements, core.clock.now())?;
    if !commitment.is_proved && (core.keys_only || !route.trusts_code) {
        // It is claimed long after it was served, and by then code may say no.
        let rule = "must be by a key: what an account's code says may change before it is claimed";
        let refusal = Refusal::new(scheme.codes().signature.clone(), "payload.voucher.signature", rule);
        return Err(refusal.by(commitment.payer));
    }
    Ok(Committed {
        scheme: Arc::clone(&offer.scheme),
        request: FacilitatorRequest { payment, requirements: requirements.clone() },
        commitment,
        is_exclusive: route.is_exclusive,
        late,
        word,
    })
}

/// What the payment says. A deposit that has only expired, not long ago, comes with its refusal: one that was under way then
/// is still owed an answer.
fn committed(
    scheme: &dyn ChannelScheme,
    payment: &PaymentPayload,
    offer: &PaymentRequirements,
    now: UnixTime,
) -> Result<(Commitment, Option<Refusal>), Refusal> {
    let expiries = [
        ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_PAYLOAD_AUTHORIZATION_VALID_BEFORE,
        ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_PERMIT2_DEADLINE_EXPIRED,
    ];
    match scheme.commitment(payment, offer, now) {
        Ok(commitment) => Ok((commitment, None)),
        Err(refusal) if expiries.contains(&refusal.code) => {
            let earlier = UnixTime(now.0.saturating_sub(LATE_SECONDS));
            match scheme.commitment(payment, offer, earlier) {
                Ok(commitment) => Ok((commitment, Some(refusal))),
                Err(_) => Err(refusal),
            }
        }
        Err(refusal) => Err(refusal),
    }
}

/// From a voucher to the right to be served once.
pub(super) async fn admit(
    core: &Arc<Core>,
    paid: Committed,
    presentation: Presentation,
) -> Result<ChannelTicket, Denial> {
    let Commitment { channel, payer, .. } = &paid.commitment;
    let span = telemetry::span(channel.as_str(), payer, &paid.request.requirements);
    let lease = match core.channels.table.take(channel) {
        Ok(lease) => lease,
        Err(Taken::Full) => return Err(Denial::Full),
        Err(Taken::Busy) => return Err(paid.busy()?),
    };
    let asked = presentation.asked();
    let core = Arc::clone(core);
    let visit = Visit { core, paid, lease, asked, presentation, is_verified: false };
    visit.begin(span.clone()).instrument(span).await
}

impl Committed {
    pub(crate) const fn channel(&self) -> &ChannelKey {
        &self.commitment.channel
    }

    /// The answer to a voucher for a stream that another channel pays.
    pub(crate) fn of_another_channel(&self) -> Denial {
        let rule = "must be the channel that pays this answer";
        let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_CHANNEL_ID_MISMATCH;
        let refusal = Refusal::new(code, "payload.voucher.channelId", rule);
        denial(refusal.by(self.commitment.payer.clone()))
    }

    /// The scheme, as one of channels.
    pub(super) fn channels(&self) -> Result<&dyn ChannelScheme, Denial> {
        self.scheme.channel().ok_or_else(|| Denial::Internal("a channel's scheme has none".to_owned()))
    }

    /// What the request costs at most.
    pub(super) const fn amount(&self) -> Amount {
        self.request.requirements.amount
    }

    /// What the voucher takes for granted: that so much was charged before.
    pub(super) fn base(&self) -> Option<Amount> {
        self.commitment.ceiling.checked_sub(self.amount())
    }

    pub(crate) fn busy(&self) -> Result<Denial, Denial> {
        let code = self.channels()?.codes().busy.clone();
        let rule = "is of a channel on which another request is under way: present it again";
        let refusal = Refusal::new(code, "payload.voucher.channelId", rule);
        Ok(Denial::Busy(Box::new(refusal.by(self.commitment.payer.clone()))))
    }

    /// A row for a channel that is not written down. What was charged before is what its payer says, and it signs for it.
    pub(super) fn record(&self, seen: Seen) -> Result<Record, Denial> {
        let terms = self.channels()?.terms(&self.request.payment).cloned();
        Ok(Record {
            payer: self.commitment.payer.clone(),
            terms: terms
                .ok_or_else(|| Denial::Internal("a voucher without its channel's terms".to_owned()))?,
            offer: Essentials::of(&self.request.requirements),
            seen,
            withdraw_delay_seconds: self.commitment.withdraw_delay_seconds,
            deposit: None,
            refund: None,
            claim: Claiming::default(),
        })
    }
}

impl Visit {
    async fn begin(self, span: tracing::Span) -> Result<ChannelTicket, Denial> {
        match self.paid.commitment.kind.clone() {
            CommitmentKind::Voucher => self.serve(None, span).await,
            CommitmentKind::Deposit { amount, key } => {
                let (visit, told) = Box::pin(self.deposit(amount, &key)).await?;
                visit.serve(told, span).await
            }
            CommitmentKind::Refund { amount } => Err(Box::pin(self.refund(amount)).await?),
        }
    }

    /// The right to be served, or why not.
    async fn serve(
        mut self,
        deposit: Option<SettleResponse>,
        span: tracing::Span,
    ) -> Result<ChannelTicket, Denial> {
        for _ in 0..MAX_READS {
            let stand = match self.stand().await? {
                Some(stand) => stand,
                None => Box::pin(self.open()).await?,
            };
            let total = match stand {
                Stand::Astray => return Err(self.corrected()?),
                Stand::Next => self.paid.commitment.ceiling,
                Stand::Again => {
                    if let Some(answer) = Box::pin(self.kept()).await? {
                        return Err(answer);
                    }
                    self.charged()
                }
            };
            if !self.is_backed(total, stand).await? {
                continue;
            }
            if stand == Stand::Again && !Box::pin(self.repeat()).await? {
                continue;
            }
            let is_exclusive = self.paid.is_exclusive;
            let mut ticket = ChannelTicket::new(self, stand, deposit, span)?;
            if is_exclusive {
                ticket.hold().await?;
            }
            return Ok(ticket);
        }
        Err(self.paid.busy()?)
    }

    /// What the voucher is to the channel as it is written; none if it is not. What is kept here may be old: others write
    /// it too.
    async fn stand(&mut self) -> Result<Option<Stand>, Denial> {
        match self.stand_here() {
            None | Some(Stand::Astray) => {
                self.read().await?;
                Ok(self.stand_here())
            }
            stand => Ok(stand),
        }
    }

    pub(super) fn stand_here(&self) -> Option<Stand> {
        let (ceiling, amount) = (self.paid.commitment.ceiling, self.paid.amount());
        self.lease.row.as_ref().map(|row| row.stand(ceiling, amount, &self.asked))
    }

    /// Reads the channel as it is written now.
    pub(super) async fn read(&mut self) -> Result<Option<Record>, Denial> {
        self.lease.row = None;
        let read = book::read(&self.core, &self.paid.commitment.channel).await;
        let Some((row, record)) = read.map_err(Denial::unwritten)? else { return Ok(None) };
        self.lease.row = Some(row);
        Ok(Some(record))
    }

    /// A channel that is not written down: what its payer says was charged before counts, if no less was claimed.
    async fn open(&mut self) -> Result<Stand, Denial> {
        if !self.core.channels.has_room() {
            return Err(Denial::Full);
        }
        let (scheme, now) = (self.paid.channels()?, self.core.clock.now());
        let backing = look(&self.core, scheme, &self.paid.request, &self.paid.commitment).await?;
        self.is_verified = true;
        let base = self.paid.base().filter(|base| *base >= backing.claimed);
        // If it is less, its payer is told what was claimed.
        let charged = base.unwrap_or(backing.claimed);
        let mut row = Row::new(charged, Seen::default(), now);
        row.see(&backing, now);
        self.lease.row = Some(row);
        Ok(if base.is_some() { Stand::Next } else { Stand::Astray })
    }

    /// The answer that the voucher has bought already, if it was kept and this presentation may have it.
    pub(super) async fn kept(&mut self) -> Result<Option<Denial>, Denial> {
        let Some(presented) = self.presented() else { return Ok(None) };
        let answer = book::answer(&self.core, &self.paid.commitment.channel).await;
        let now = self.core.clock.now();
        let may_have =
            |answer: &tollway_ledger::StoredResponse| answer.presented == presented && now < answer.expires;
        let Some(answer) = answer.map_err(Denial::unwritten)?.filter(may_have) else { return Ok(None) };
        let refusal = Box::new(self.refusal(Stand::Again)?);
        Ok(Some(Denial::AlreadyUsed { refusal, transaction: String::new(), answer: Some(Box::new(answer)) }))
    }

    /// Counts that what was charged is served once more. False: somebody else has written the channel.
    async fn repeat(&mut self) -> Result<bool, Denial> {
        let now = self.core.clock.now();
        let Some(mut row) = self.lease.row.take() else { return Ok(false) };
        if !row.may_repeat(now) {
            self.lease.row = Some(row);
            return Err(self.corrected()?);
        }
        row.repeats = row.repeats.saturating_add(1);
        let channel = &self.paid.commitment.channel;
        // It may be another's by its bytes, and stays for who it is.
        let answer = book::answer(&self.core, channel).await.map_err(Denial::unwritten)?;
        let writer = book::Writer::default();
        let is_written = book::charge(&self.core, channel, &mut row, answer, writer).await;
        let is_written = is_written.map_err(Denial::unwritten)?;
        if is_written {
            self.lease.row = Some(row);
        }
        Ok(is_written)
    }

    /// Whether `total` can be claimed for certain. False: that could not be seen in the row as it was, look again.
    async fn is_backed(&mut self, total: Amount, stand: Stand) -> Result<bool, Denial> {
        let Some(row) = &self.lease.row else { return Ok(false) };
        let (commitment, now) = (&self.paid.commitment, self.core.clock.now());
        let delay = commitment.withdraw_delay_seconds;
        let lack = match row.covers(total, delay, self.core.channels.rules.patience(delay), now) {
            // What was charged may have been claimed since.
            Err(Lack::Claimed) if stand == Stand::Again => None,
            Ok(()) => None,
            Err(lack) => Some(lack),
        };
        let is_old = now > UnixTime(row.seen.at).plus_seconds(SECOND_LOOK_SECONDS);
        let must_ask = !commitment.is_proved && !self.is_verified;
        match lack {
            None if !must_ask => Ok(true),
            Some(lack) if lack != Lack::Stale && !is_old && !must_ask => Err(self.lacks(lack)?),
            _ => {
                Box::pin(self.refresh()).await?;
                Ok(false)
            }
        }
    }

    /// Looks at the chain, and writes down what was seen.
    async fn refresh(&mut self) -> Result<(), Denial> {
        let scheme = self.paid.channels()?;
        let backing = look(&self.core, scheme, &self.paid.request, &self.paid.commitment).await?;
        self.is_verified = true;
        let Some(mut record) = self.read().await? else { return Ok(()) };
        let Some(mut row) = self.lease.row.take() else { return Ok(()) };
        row.see(&backing, self.core.clock.now());
        if record.refund.as_ref().is_some_and(|refund| backing.refund_nonce > refund.nonce) {
            record.refund = None;
        }
        let channel = &self.paid.commitment.channel;
        let written = book::write(&self.core, channel, &mut row, &mut record).await;
        if written.map_err(Denial::unwritten)? {
            self.lease.row = Some(row);
        }
        Ok(())
    }

    /// Whether the next voucher may take the place of this one: it must be as good as the first. What was charged before it.
    pub(super) async fn renewable(&mut self, next: &Committed) -> Result<Amount, Denial> {
        let Commitment { kind, ceiling, withdraw_delay_seconds: delay, .. } = &next.commitment;
        if !matches!(kind, CommitmentKind::Voucher) {
            let rule = "must be \"voucher\": no deposit goes to an answer that is under way";
            let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_PAYLOAD_TYPE;
            return Err(denial(Refusal::new(code, "payload.type", rule).by(next.commitment.payer.clone())));
        }
        let (core, mut must_look) = (Arc::clone(&self.core), !next.commitment.is_proved);
        let Some(row) = &mut self.lease.row else {
            return Err(Denial::Internal("a stream without its channel".to_owned()));
        };
        if row.charged.checked_add(next.amount()) != Some(*ceiling) {
            return Err(self.corrected()?);
        }
        let patience = core.channels.rules.patience(*delay);
        must_look |= row.covers(*ceiling, *delay, patience, core.clock.now()).is_err();
        if must_look {
            // It is not written down: who reads the row next looks again.
            let backing = look(&core, next.channels()?, &next.request, &next.commitment).await?;
            row.see(&backing, core.clock.now());
        }
        let (charged, lack) = (row.charged, row.covers(*ceiling, *delay, patience, core.clock.now()));
        match lack {
            Ok(()) => Ok(charged),
            Err(lack) => Err(self.lacks(lack)?),
        }
    }

    /// What a stored answer is bound to, if one may be kept.
    pub(super) fn presented(&self) -> Option<[u8; 32]> {
        self.presentation.presented.filter(|_| self.core.stored.is_for(false))
    }

    fn charged(&self) -> Amount {
        self.lease.row.as_ref().map_or(Amount::ZERO, |row| row.charged)
    }

    /// Why the voucher buys nothing, with where the channel stands.
    pub(super) fn corrected(&self) -> Result<Denial, Denial> {
        let refusal = Box::new(self.refusal(Stand::Astray)?);
        let Some(row) = &self.lease.row else { return Ok(Denial::Refused(*refusal)) };
        let snapshot = row.snapshot(&self.paid.commitment.channel);
        let offer = self.paid.channels()?.corrected(&self.paid.request.requirements, &snapshot);
        Ok(Denial::Corrected { refusal, offer: Box::new(offer) })
    }

    fn refusal(&self, stand: Stand) -> Result<Refusal, Denial> {
        let rule = match stand {
            Stand::Again => "has bought this request already",
            _ => "must be what was charged on the channel, and the price",
        };
        let code = self.paid.channels()?.codes().mismatch.clone();
        Ok(Refusal::new(code, CEILING, rule).by(self.paid.commitment.payer.clone()))
    }

    pub(super) fn lacks(&self, lack: Lack) -> Result<Denial, Denial> {
        let codes = self.paid.channels()?.codes();
        let (code, field, rule) = match lack {
            Lack::Stale => (&codes.unavailable, "payload.voucher", "is of a channel that could not be seen"),
            Lack::Closing => {
                let rule = "is of a channel that is being withdrawn, and could not be claimed in time";
                (&codes.exceeds_balance, "payload.voucher.channelId", rule)
            }
            Lack::Balance => (&codes.exceeds_balance, CEILING, "must be no more than the channel holds"),
            Lack::Claimed => (&codes.below_claimed, CEILING, "must be more than what was claimed"),
        };
        Ok(denial(Refusal::new(code.clone(), field, rule).by(self.paid.commitment.payer.clone())))
    }
}

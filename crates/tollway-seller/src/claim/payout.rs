//! What was claimed is paid out: one transfer for each receiver and token, whatever number of channels it is from. That it
//! is to be done is a row of its own in the ledger, written before a claim counts as done.

use serde::{Deserialize, Serialize};
use tollway_core::{Amount, ChannelKey, ErrorCode, UnixTime};
use tollway_ledger::{Channel, Ledger, LedgerError};

use super::worker::{Asked, ClaimEnd, ClaimOutcome, ClaimStep, ClaimWorker};
use crate::channel::record::{Essentials, NEVER};
use crate::membership::bounded;
use crate::telemetry;

/// Whose rows these are, among all channels of a ledger.
const SCOPE: &str = "seller-payout";
/// How many are taken at once, and how many a ledger lists.
const PAGE: u32 = 64;
/// How many pages one call pays out: the rest is due still.
const MAX_PAGES: usize = 1_000;
/// How often a row that others write is read again.
const MAX_READS: u32 = 4;
/// The pause after one without an end; it doubles.
const FIRST_PAUSE_SECONDS: u64 = 5;
const MAX_DOUBLINGS: u32 = 9;

/// What is written of a receiver's money in one token.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Payout {
    offer: Essentials,
    /// What facilitators have told of as paid out, in all.
    settled: Amount,
    /// How often in a row it was asked for in vain.
    tries: u32,
    /// The newest transaction that was told.
    transaction: String,
}

/// What is known of a receiver's money.
#[derive(Clone, Debug)]
pub(super) struct PaidOut {
    pub(super) network: String,
    pub(super) receiver: String,
    pub(super) token: String,
    pub(super) settled: Amount,
    /// Whether something claimed waits to be paid out.
    pub(super) is_due: bool,
}

/// Has what was claimed under this offer paid out soon. It is, in time, when this returns.
pub(crate) async fn wake(ledger: &dyn Ledger, offer: &Essentials, now: UnixTime) -> Result<(), LedgerError> {
    let id = name(offer)?;
    for _ in 0..MAX_READS {
        let channel = match bounded(ledger.channel_get(SCOPE, &id)).await? {
            Some(known) if known.due <= now => return Ok(()),
            Some(known) => Channel { due: now, ..known },
            None => {
                let (offer, transaction) = (offer.clone(), String::new());
                let fresh = Payout { offer, settled: Amount::ZERO, tries: 0, transaction };
                row(&id, &fresh, now)?
            }
        };
        if bounded(ledger.channel_put(channel, None, now)).await? {
            return Ok(());
        }
    }
    Err(LedgerError::Unavailable("a payout is written by others all the time".to_owned()))
}

/// Everything that was ever to be paid out.
pub(super) async fn list(ledger: &dyn Ledger) -> Result<Vec<PaidOut>, LedgerError> {
    let (mut listed, mut after) = (Vec::new(), None::<ChannelKey>);
    loop {
        let page = bounded(ledger.channel_list(SCOPE, after.as_ref(), PAGE)).await?;
        let Some(last) = page.last() else { return Ok(listed) };
        after = Some(last.id.clone());
        for channel in page {
            let payout = read(&channel.body)?;
            let offer = payout.offer.requirements()?;
            listed.push(PaidOut {
                network: offer.network.to_string(),
                receiver: offer.pay_to,
                token: offer.asset,
                settled: payout.settled,
                is_due: channel.due < NEVER,
            });
        }
    }
}

impl ClaimWorker {
    /// Asks for what is due; for all there is, if `is_all`.
    pub(super) async fn pay_out(&self, is_all: bool, outcome: &mut ClaimOutcome) -> Result<(), LedgerError> {
        let now = self.clock.now();
        if is_all {
            self.wake_all(now).await?;
        }
        for _ in 0..MAX_PAGES {
            let due = bounded(self.ledger.channel_due(SCOPE, now, self.lease_end(), PAGE)).await?;
            if due.is_empty() {
                break;
            }
            for channel in due {
                let id = channel.id.clone();
                if let Err(error) = self.pay(channel, outcome).await {
                    tracing::warn!(%error, payout = %id, "a payout waits for its turn");
                    outcome.troubled += 1;
                }
            }
        }
        Ok(())
    }

    /// Makes every payout due. One that others write meanwhile is due by them.
    async fn wake_all(&self, now: UnixTime) -> Result<(), LedgerError> {
        let mut after = None::<ChannelKey>;
        loop {
            let page = bounded(self.ledger.channel_list(SCOPE, after.as_ref(), PAGE)).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id.clone());
            for paid in page {
                bounded(self.ledger.channel_put(Channel { due: now, ..paid }, None, now)).await?;
            }
        }
    }

    async fn pay(&self, channel: Channel, outcome: &mut ClaimOutcome) -> Result<(), LedgerError> {
        let payout = read(&channel.body)?;
        let offer = payout.offer.requirements()?;
        let asked = match self.scheme(&offer.network, offer.scheme.as_str()) {
            Some((_, scheme)) => self.ask(scheme.settle_request(&offer)).await,
            None => Asked::Unknown("this seller does not accept its scheme".to_owned()),
        };
        let is_nothing = |reason: &String| {
            reason.starts_with(ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_NOTHING_TO_SETTLE.as_str())
        };
        let (result, amount, end) = match asked {
            Asked::Done(answer) => {
                let amount = answer.amount.as_ref().and_then(|text| text.parse().ok()).unwrap_or_default();
                ("settled", amount, ClaimEnd::Done(answer.transaction))
            }
            // Somebody has had it paid out already, as anybody may.
            Asked::Refused(reason) if is_nothing(&reason) => {
                ("settled", Amount::ZERO, ClaimEnd::Done(String::new()))
            }
            Asked::Refused(reason) => ("refused", Amount::ZERO, ClaimEnd::Refused(reason)),
            Asked::Unknown(cause) => ("pending", Amount::ZERO, ClaimEnd::Pending(cause)),
        };
        telemetry::payout(result);
        match &end {
            ClaimEnd::Done(transaction) => {
                tracing::info!(%amount, receiver = offer.pay_to, transaction, "paid out");
            }
            end => tracing::warn!(?end, receiver = offer.pay_to, "not paid out yet"),
        }
        let (network, asset, receiver) = (offer.network, offer.asset, offer.pay_to);
        let (operation, channels) = ("settle", Vec::new());
        let end_written = end.clone();
        outcome.steps.push(ClaimStep { operation, network, asset, receiver, channels, amount, end });
        self.paid(channel, amount, &end_written).await
    }

    /// Writes down what came of it.
    async fn paid(&self, mut channel: Channel, amount: Amount, end: &ClaimEnd) -> Result<(), LedgerError> {
        let now = self.clock.now();
        // Who has written it since has claimed more, and made it due again.
        let mut is_ours = true;
        for _ in 0..MAX_READS {
            let mut payout = read(&channel.body)?;
            let due = match end {
                ClaimEnd::Done(transaction) => {
                    payout.settled = payout.settled.checked_add(amount).unwrap_or(Amount::MAX);
                    payout.transaction.clone_from(transaction);
                    payout.tries = 0;
                    NEVER
                }
                _ => {
                    let pause = FIRST_PAUSE_SECONDS << payout.tries.min(MAX_DOUBLINGS);
                    payout.tries = payout.tries.saturating_add(1);
                    now.plus_seconds(pause)
                }
            };
            let due = if is_ours { due } else { channel.due };
            let next = Channel { version: channel.version, ..row(&channel.id, &payout, due)? };
            if bounded(self.ledger.channel_put(next, None, now)).await? {
                return Ok(());
            }
            is_ours = false;
            match bounded(self.ledger.channel_get(SCOPE, &channel.id)).await? {
                Some(found) => channel = found,
                None => return Ok(()),
            }
        }
        Err(LedgerError::Unavailable("a payout is written by others all the time".to_owned()))
    }
}

fn name(offer: &Essentials) -> Result<ChannelKey, LedgerError> {
    let offer = offer.requirements()?;
    let (receiver, token) = (offer.pay_to.to_lowercase(), offer.asset.to_lowercase());
    Ok(ChannelKey::new(format!("{}/{receiver}:{token}:{}", offer.network, offer.scheme)))
}

fn read(text: &str) -> Result<Payout, LedgerError> {
    serde_json::from_str(text).map_err(|error| LedgerError::Corrupt(format!("a payout: {error}")))
}

fn row(id: &ChannelKey, payout: &Payout, due: UnixTime) -> Result<Channel, LedgerError> {
    let body = serde_json::to_string(payout);
    Ok(Channel {
        scope: SCOPE.to_owned(),
        id: id.clone(),
        version: 0,
        charged: Amount::ZERO,
        signed: Amount::ZERO,
        claimed: payout.settled,
        proof: String::new(),
        request: None,
        repeats: 0,
        body: body.map_err(|error| LedgerError::Corrupt(format!("a payout: {error}")))?,
        holder: None,
        used_at: UnixTime(0),
        due,
    })
}

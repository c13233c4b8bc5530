//! The rate that an offer was shown at, under the seller's seal, in the offer's `extra.quote`: `rate@until.seal`.
//!
//! A buyer repeats the offer with the payment. So any seller on the ledger knows at which rate it was made, after a restart
//! too, and no buyer can make up a rate. The seal covers network, asset and payee; the price is the route's, and is not
//! believed from anybody.
//!
//! Who could profit: a buyer who keeps a quote and pays when the asset has lost. So a quote is good for as long as the
//! offer said, for an asset that is offered now, and only if the payment is worth nearly what is asked now
//! ([`Guard::drift`](crate::Guard::drift)). Whatever is refused here has moved no money.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;
use tollway_core::model::PaymentRequirements;
use tollway_core::{Decimal, ErrorCode, Refusal, UnixTime};

use crate::coin::{Floating, Watched};
use crate::credit::Seal;
use crate::guard::Withdrawal;
use crate::offers::Offer;
use crate::watch::{Snapshot, Watches};

/// The name in `extra`.
const NAME: &str = "quote";
/// No quote of ours is longer.
const MAX_QUOTE_BYTES: usize = 96;
/// What is left of the seal: 128 bits.
const SEAL_BYTES: usize = 16;

/// What offers are held against: what is known of the assets now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing<'a> {
    pub(crate) watches: &'a Watches,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) seal: &'a Seal,
}

/// A rate as it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quoted {
    dollars: Decimal,
    until: UnixTime,
}

impl Standing<'_> {
    /// The offer as it is shown now; none while its asset is withdrawn.
    pub(crate) fn shown(&self, offer: &Offer) -> Option<Offer> {
        let Some(watched) = &offer.watched else { return Some(offer.clone()) };
        let dollars = self.snapshot.verdict(watched.watch).ok()?;
        match &watched.floating {
            None => Some(offer.clone()),
            Some(floating) => {
                let lasts = offer.requirements.max_timeout_seconds;
                let lasts = lasts.saturating_add(self.watches.every_seconds(watched.watch));
                let until = self.snapshot.made_at().plus_seconds(lasts);
                let quoted = Quoted { dollars, until };
                priced(offer, floating, quoted, &self.seal(quoted, &offer.requirements)?)
            }
        }
    }

    /// The offers of `all` that a payment may answer, each with why it is refused if the payment was not under way before.
    /// What the buyer repeats of its offer says at which rate it was shown.
    pub(crate) fn answered<'a>(
        &self,
        all: &'a [Offer],
        theirs: Option<&PaymentRequirements>,
        now: UnixTime,
    ) -> Cow<'a, [Offer]> {
        if all.iter().all(|offer| offer.watched.is_none() && !offer.is_timed()) {
            return Cow::Borrowed(all);
        }
        let answered = all.iter().filter_map(|offer| self.answer(offer, theirs, now));
        Cow::Owned(answered.map(|offer| offer.told(theirs, now)).collect())
    }

    fn answer(&self, offer: &Offer, theirs: Option<&PaymentRequirements>, now: UnixTime) -> Option<Offer> {
        let Some(watched) = &offer.watched else { return Some(offer.clone()) };
        let verdict = self.snapshot.verdict(watched.watch);
        let Some(floating) = &watched.floating else {
            return Some(Offer { stale: verdict.err().map(withdrawn), ..offer.clone() });
        };
        let text = theirs.and_then(|theirs| theirs.extra_str(NAME));
        let Some(quoted) = text.and_then(|text| self.open(text, &offer.requirements)) else {
            return self.shown(offer);
        };
        let stale = match verdict {
            Err(reason) => Some(withdrawn(reason)),
            Ok(dollars) => self.outdated(watched, quoted, dollars, now),
        };
        Some(Offer { stale, ..priced(offer, floating, quoted, text?)? })
    }

    /// Why a quote is no longer good where the asset is worth `dollars`.
    fn outdated(
        &self,
        watched: &Watched,
        quoted: Quoted,
        dollars: Decimal,
        now: UnixTime,
    ) -> Option<Refusal> {
        let rule = if quoted.dollars == dollars {
            return None;
        } else if now > quoted.until {
            "has expired"
        } else if !quoted.dollars.is_at_most(dollars, self.watches.drift(watched.watch)) {
            "is too far from the rate of now"
        } else {
            return None;
        };
        let rule = format!("{rule}: take the offer as it is now");
        Some(Refusal::new(ErrorCode::INVALID_PAYMENT_REQUIREMENTS, "accepted.extra.quote", rule))
    }

    fn seal(&self, quoted: Quoted, offer: &PaymentRequirements) -> Option<String> {
        let text = format!("{}@{}", quoted.dollars, quoted.until.0);
        let seal = self.seal.mac(&sealed(&text, offer))?.finalize().into_bytes();
        let seal = URL_SAFE_NO_PAD.encode(seal.get(..SEAL_BYTES)?);
        Some(format!("{text}.{seal}"))
    }

    /// Reads a quote of ours for the asset and payee of `offer`.
    fn open(&self, text: &str, offer: &PaymentRequirements) -> Option<Quoted> {
        let (body, seal) = text.rsplit_once('.').filter(|_| text.len() <= MAX_QUOTE_BYTES)?;
        let seal = URL_SAFE_NO_PAD.decode(seal).ok().filter(|seal| seal.len() == SEAL_BYTES)?;
        self.seal.mac(&sealed(body, offer))?.verify_truncated_left(&seal).ok()?;
        let (dollars, until) = body.split_once('@')?;
        Some(Quoted { dollars: dollars.parse().ok()?, until: UnixTime(until.parse().ok()?) })
    }
}

/// The offer at the rate of `quoted`, which is `text`.
fn priced(offer: &Offer, floating: &Floating, quoted: Quoted, text: &str) -> Option<Offer> {
    let mut offer = offer.clone();
    offer.requirements.amount = floating.amount(quoted.dollars)?;
    offer.requirements.extra.insert(NAME.to_owned(), text.into());
    Some(offer)
}

/// What the seal covers. A credit's text is base64 and has no line break: neither can be taken for the other.
fn sealed(text: &str, offer: &PaymentRequirements) -> String {
    let PaymentRequirements { scheme, network, asset, pay_to, .. } = offer;
    format!("quote\n{scheme}\n{network}\n{asset}\n{pay_to}\n{text}")
}

fn withdrawn(reason: Withdrawal) -> Refusal {
    let rule = format!("is not taken for now ({}): choose another offer", reason.as_str());
    Refusal::new(ErrorCode::INVALID_PAYMENT_REQUIREMENTS, "accepted.asset", rule)
}

//! Redeeming a credit: the phases of a payment that has settled already. What it buys it buys by the reservation of that
//! payment, so that neither can be used after the other.

use std::sync::Arc;

use tollway_core::model::{Accepted, FacilitatorRequest, PaymentPayload, SettleResponse};
use tollway_core::{Checked, JsonObject, X402Version};
use tollway_ledger::Fate;
use tracing::Instrument;

use super::admit::Presentation;
use super::reserved::{Admitted, Reserved};
use super::select::same_account;
use super::ticket::{Ticket, Word};
use crate::credit::{Redemption, malformed, refused};
use crate::denial::Denial;
use crate::offers::{Offer, Offers};
use crate::paywall::Core;
use crate::reservation::{Claimed, Hold, Wanted};
use crate::telemetry;

/// The offer that a credit covers: of the same payee, on the same network, in the same asset, for no more.
pub(crate) fn select<'a>(redemption: &Redemption, offers: &'a Offers) -> Result<&'a Offer, Denial> {
    let credit = &redemption.credit;
    let covers = |offer: &&Offer| {
        let ours = &offer.requirements;
        let same = |one: &str, other: &str| same_account(&ours.network, one, other);
        ours.network == credit.network
            && same(&ours.asset, &credit.asset)
            && same(&ours.pay_to, &credit.pay_to)
            && ours.amount <= credit.amount
    };
    // What is withdrawn is covered too: it has been paid already. But what floats has no price then.
    let is_fixed = |offer: &&Offer| offer.watched.as_ref().is_none_or(|watched| watched.floating.is_none());
    let covered = offers.list.iter().chain(offers.all.iter().filter(is_fixed)).find(covers);
    covered.ok_or_else(|| Denial::Refused(refused("must cover an offer of this resource")))
}

/// From a credit to the right to be served.
pub(crate) async fn admit(
    core: &Arc<Core>,
    redemption: Redemption,
    offer: &Offer,
    word: Word,
    presentation: Presentation,
) -> Result<Ticket, Denial> {
    redemption.check_payer(presentation.fingerprint)?;
    let credit = redemption.credit;
    let checked = Checked {
        key: credit.id.clone(),
        payer: credit.payer.clone(),
        amount: credit.amount,
        valid_before: credit.expires_at,
        settles_first: false,
    };
    let span = telemetry::span(checked.key.as_str(), &checked.payer, &offer.requirements);
    let claim = claim(core, &checked, &presentation, &credit).instrument(span.clone());
    let hold = claim.await?;
    let settled = SettleResponse::settled(credit.network.clone(), &credit.payer, &credit.transaction);
    let payment = PaymentPayload {
        version: X402Version::V2,
        accepted: Accepted::Offer(Box::new(offer.requirements.clone())),
        payload: JsonObject::new(),
        resource: None,
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    };
    // Never sent: the money has moved.
    let request = FacilitatorRequest { payment, requirements: offer.requirements.clone() };
    let presented = presentation.presented.filter(|_| core.stored.is_for(true));
    let admitted = Admitted {
        scheme: Arc::clone(&offer.scheme),
        request,
        checked,
        hold,
        owed_limits: None,
        presented,
        fingerprint: credit.request,
        served: presentation.fingerprint,
        credit: Some(credit),
        word,
        span,
    };
    Ok(Ticket::from(Reserved::settled(Arc::clone(core), admitted, settled)))
}

/// Claims the reservation of the payment that the credit is for.
async fn claim(
    core: &Core,
    checked: &Checked,
    presentation: &Presentation,
    credit: &tollway_core::Credit,
) -> Result<Arc<Hold>, Denial> {
    let wanted = Wanted {
        key: checked.key.clone(),
        fingerprint: credit.request,
        payer: checked.payer.clone(),
        identifier: None,
        valid_before: credit.expires_at,
    };
    let hold = match core.reservations.reservation_insert(wanted).await.map_err(Denial::unwritten)? {
        Claimed::Again(hold) => hold,
        Claimed::Fresh(hold) => {
            hold.close().await;
            return Err(refused("must be remembered by this seller").into());
        }
        Claimed::Running => return Err(Denial::InProgress),
        Claimed::Full => return Err(Denial::Full),
        Claimed::Delivered { transaction, response } => {
            let answer = response
                .filter(|_| core.stored.is_for(true))
                .filter(|response| presentation.presented == Some(response.presented))
                .filter(|response| core.clock.now() < response.expires)
                .map(Box::new);
            let refusal = Box::new(refused("has been redeemed").by(credit.payer.clone()));
            return Err(Denial::AlreadyUsed { refusal, transaction, answer });
        }
        Claimed::Elsewhere | Claimed::IdentifierTaken => {
            return Err(malformed("must be for a payment as it was made").into());
        }
    };
    if !matches!(hold.fate(), Fate::Pending(_)) {
        hold.close().await;
        return Err(refused("must be for a payment that is still owed something").into());
    }
    // Whatever becomes of this request, the credit stays good for its time.
    hold.set_fate(Fate::Pending(credit.transaction.clone()));
    hold.keep_until(credit.expires_at);
    Ok(hold)
}

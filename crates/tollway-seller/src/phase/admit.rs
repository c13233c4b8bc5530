//! Phases two to six: from a payment to a [`Ticket`], which is the right to run the handler once.

use std::sync::Arc;

use tollway_core::model::{FacilitatorRequest, PaymentFlow, PaymentPayload};
use tollway_core::wire::WireError;
use tollway_core::{Checked, ErrorCode, Fingerprint, Refusal, SellerScheme, UnixTime};

use super::ticket::Ticket;
use super::{echo, select, verify};
use crate::denial::Denial;
use crate::offers::{Offer, Offers};
use crate::paywall::Core;
use crate::reservation::{Claim, Hold};

/// How long after its expiry an unfinished payment may still be presented, to learn its fate.
const LATE_SECONDS: u64 = 600;

/// A payment that breaks no rule that can be known here. Nothing is reserved for it yet.
#[derive(Clone, Debug)]
#[must_use = "a checked payment is not yet reserved: admit it"]
pub struct CheckedPayment {
    scheme: Arc<dyn SellerScheme>,
    flow: PaymentFlow,
    request: FacilitatorRequest,
    checked: Checked,
}

/// Everything local, before a byte of the body is read or anybody is asked.
pub(crate) fn check(
    core: &Core,
    offers: &Offers,
    mut payment: PaymentPayload,
    resource_url: &str,
) -> Result<CheckedPayment, Denial> {
    echo::check(&offers.about.extensions, &payment.extensions)?;
    let candidates = select::select(&payment, &offers.list)?;
    echo::check_resource(offers.about.announced(resource_url), payment.resource.as_ref())?;
    let (offer, checked) = check_offers(core, candidates, &payment).map_err(denial)?;
    if payment.resource.is_none() {
        // v1 payments do not name the resource; a facilitator's request does.
        payment.resource = Some(offers.resource(resource_url));
    }
    let request = FacilitatorRequest { payment, requirements: offer.requirements.clone() };
    Ok(CheckedPayment { scheme: Arc::clone(&offer.scheme), flow: offers.flow, request, checked })
}

/// From a checked payment to the right to be served: the reservation, then the facilitator.
pub(crate) async fn admit(
    core: &Arc<Core>,
    payment: CheckedPayment,
    fingerprint: Fingerprint,
) -> Result<Ticket, Denial> {
    let CheckedPayment { scheme, flow, request, checked } = payment;
    let (hold, is_again) = reserve(core, &request.payment, &checked, fingerprint)?;
    let mut ticket = Ticket::new(Arc::clone(core), scheme, request, checked, hold);
    if !is_again {
        // Also where it settles first: an idempotent facilitator settles a spent authorization "again", and
        // only verifying tells.
        verify::verify(core, ticket.request(), ticket.checked()).await?;
    }
    if is_again || flow != PaymentFlow::Authorization {
        ticket.settle_first().await?;
    }
    Ok(ticket)
}

/// What no scheme can read is malformed, whoever found out.
fn denial(refusal: Refusal) -> Denial {
    let Refusal { code, field, rule, .. } = refusal;
    if code == ErrorCode::INVALID_PAYLOAD {
        return Denial::Malformed(WireError::new(code, field, rule));
    }
    Denial::Refused(Refusal { code, field, rule, payer: refusal.payer })
}

/// The offer the payment answers, and what its scheme found: signature, amount, time, recipient.
fn check_offers<'a>(
    core: &Core,
    candidates: Vec<&'a Offer>,
    payment: &PaymentPayload,
) -> Result<(&'a Offer, Checked), Refusal> {
    let now = core.clock.now();
    let mut first_refusal = None;
    for offer in candidates {
        match offer.scheme.check(payment, &offer.requirements, now) {
            Ok(checked) => return Ok((offer, checked)),
            Err(refusal) => {
                if let Some(checked) = check_late(core, offer, payment, &refusal, now) {
                    return Ok((offer, checked));
                }
                first_refusal.get_or_insert(refusal);
            }
        }
    }
    let unmatched = || Refusal::new(ErrorCode::INVALID_PAYMENT_REQUIREMENTS, "accepted", "must be an offer");
    Err(first_refusal.unwrap_or_else(unmatched))
}

/// An expired payment whose settlement was under way when it expired is still owed an answer.
fn check_late(
    core: &Core,
    offer: &Offer,
    payment: &PaymentPayload,
    refusal: &Refusal,
    now: UnixTime,
) -> Option<Checked> {
    let expiries = [
        ErrorCode::INVALID_EXACT_EVM_PAYLOAD_AUTHORIZATION_VALID_BEFORE,
        ErrorCode::PAYMENT_EXPIRED,
        ErrorCode::PERMIT2_DEADLINE_EXPIRED,
    ];
    if !expiries.contains(&refusal.code) {
        return None;
    }
    let earlier = UnixTime(now.0.saturating_sub(LATE_SECONDS));
    let checked = offer.scheme.check(payment, &offer.requirements, earlier).ok()?;
    core.reservations.reservation_is_open(&checked.key).then_some(checked)
}

/// Claims the reservation; says whether the payment was held before and must settle first.
fn reserve(
    core: &Core,
    payment: &PaymentPayload,
    checked: &Checked,
    fingerprint: Fingerprint,
) -> Result<(Arc<Hold>, bool), Denial> {
    match core.reservations.reservation_insert(&checked.key, fingerprint, checked.valid_before) {
        Claim::Fresh(hold) => Ok((hold, false)),
        Claim::Again(hold) => Ok((hold, true)),
        Claim::Running => Err(Denial::InProgress),
        Claim::Full => Err(Denial::Full),
        Claim::Elsewhere => Err(Denial::Refused(used(
            payment,
            checked,
            "is bound to another request, and can buy that one only",
        ))),
        Claim::Settled(transaction) => {
            // No word of a new payment: this one is paid and delivered, and another would pay twice.
            let rule = format!("has bought this request already, in transaction {transaction}");
            Err(Denial::AlreadyUsed { refusal: used(payment, checked, &rule), transaction })
        }
    }
}

fn used(payment: &PaymentPayload, checked: &Checked, rule: &str) -> Refusal {
    let code = match payment.network().namespace() {
        "eip155" => ErrorCode::INVALID_EXACT_EVM_NONCE_ALREADY_USED,
        _ => ErrorCode::DUPLICATE_SETTLEMENT,
    };
    let field = match &payment.payload {
        payload if payload.contains_key("permit2Authorization") => "payload.permit2Authorization.nonce",
        payload if payload.contains_key("authorization") => "payload.authorization.nonce",
        _ => "payload",
    };
    Refusal::new(code, field, rule).by(checked.payer.clone())
}

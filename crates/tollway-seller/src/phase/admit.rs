//! Phases two to six: from a payment to a [`Ticket`], which is the right to run the handler once.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tollway_core::model::{Accepted, FacilitatorRequest, PaymentFlow, PaymentPayload};
use tollway_core::wire::WireError;
use tollway_core::{
    Checked, ErrorCode, Fingerprint, Refusal, RequestProof, SchemeName, SellerScheme, UnixTime,
};
use tollway_ledger::{Fate, OwedLimits, StoredResponse};
use tracing::Instrument;

use super::channel::{self, Committed};
use super::reserved::{Admitted, Reserved};
use super::ticket::{Ticket, Word};
use super::{echo, select, verify};
use crate::denial::Denial;
use crate::escrow;
use crate::offers::{Offer, Offers};
use crate::paywall::Core;
use crate::reservation::{Claimed, Hold, UNFINISHED_SECONDS, Wanted};
use crate::{identifier, telemetry};

/// How long after its expiry an unfinished payment may still be presented, to learn its fate.
pub(crate) const LATE_SECONDS: u64 = 600;

/// A payment that breaks no rule that can be known here. Nothing is reserved for it yet.
#[derive(Clone, Debug)]
#[must_use = "a checked payment is not yet reserved: admit it"]
pub struct CheckedPayment(Way);

/// How it pays.
#[derive(Clone, Debug)]
enum Way {
    Once(Box<Once>),
    Channel(Box<Committed>),
}

/// By an authorization that is good once.
#[derive(Clone, Debug)]
struct Once {
    scheme: Arc<dyn SellerScheme>,
    when: When,
    request: FacilitatorRequest,
    checked: Checked,
    owed_limits: Option<OwedLimits>,
    identifier: Option<String>,
    /// Why it is refused unless it was under way before it expired.
    late: Option<Refusal>,
    /// Why it is refused unless it was under way before its offer was withdrawn.
    stale: Option<Refusal>,
    word: Word,
}

/// When the money moves.
#[derive(Clone, Copy, Debug)]
struct When {
    flow: PaymentFlow,
    /// Whether a payer's code is believed before it is settled.
    trusts_code: bool,
}

/// For which request a payment is presented, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presentation {
    pub(crate) fingerprint: Fingerprint,
    /// What a stored answer would be bound to; none where none can be given.
    pub(crate) presented: Option<[u8; 32]>,
    /// Whom the request says it is from, if it says anything.
    pub(crate) requester: Option<[u8; 32]>,
}

impl CheckedPayment {
    /// The voucher on a channel, if it is one.
    pub(crate) fn into_committed(self) -> Option<Committed> {
        match self.0 {
            Way::Channel(committed) => Some(*committed),
            Way::Once(_) => None,
        }
    }
}

impl Once {
    fn span(&self) -> tracing::Span {
        let Self { checked, request, .. } = self;
        telemetry::span(checked.key.as_str(), &checked.payer, &request.requirements)
    }
}

impl Presentation {
    /// The request and who it says it is from: what was bought is given again to nobody else.
    pub(crate) fn asked(&self) -> Fingerprint {
        let Some(requester) = self.requester else { return self.fingerprint };
        let mut hash = Sha256::new();
        hash.update(self.fingerprint.as_bytes());
        hash.update(requester);
        Fingerprint::from_bytes(hash.finalize().into())
    }
}

/// Everything local, before a byte of the body is read or anybody is asked.
pub(crate) fn check(
    core: &Core,
    offers: &Offers,
    payment: PaymentPayload,
    resource_url: &str,
) -> Result<CheckedPayment, Denial> {
    check_proved(core, offers, payment, resource_url, None)
}

/// Everything local, of a payment whose request was signed by the account that pays, as `proof` says.
pub(crate) fn check_proved(
    core: &Core,
    offers: &Offers,
    mut payment: PaymentPayload,
    resource_url: &str,
    proof: Option<&RequestProof>,
) -> Result<CheckedPayment, Denial> {
    echo::check(offers, &payment.extensions, resource_url)?;
    // As it is now, whenever the offers were made.
    let now = core.clock.now();
    let snapshot = core.watches.snapshot(now);
    let theirs = match &payment.accepted {
        Accepted::Offer(theirs) => Some(theirs.as_ref()),
        Accepted::Kind { .. } => None,
    };
    let list = core.standing(&snapshot).answered(&offers.all, theirs, now);
    let candidates = select::select(&payment, &list)?;
    echo::check_resource(offers.about.announced(resource_url), payment.resource.as_ref())?;
    let identifier = match offers.route.identifier {
        Some(rule) => identifier::read(rule, &payment)?,
        None => None,
    };
    if payment.resource.is_none() {
        // v1 payments do not name the resource; a facilitator's request does.
        payment.resource = Some(offers.resource(resource_url));
    }
    if let [offer] = candidates.as_slice()
        && offer.scheme.channel().is_some()
    {
        let committed = channel::check(core, &offers.route, offer, payment, Word::new(offers, resource_url));
        return Ok(CheckedPayment(Way::Channel(Box::new(committed.map_err(denial)?))));
    }
    let (offer, checked, late) = check_offers(core, candidates, &payment, proof).map_err(denial)?;
    if let Some(proof) = proof {
        tollway_core::attach_proof(&mut payment.payload, proof);
    }
    let owed_limits = offers.route.owed_limits(offer.scheme.as_ref(), &offer.requirements);
    let request = FacilitatorRequest { payment, requirements: offer.requirements.clone() };
    let scheme = Arc::clone(&offer.scheme);
    let when = When { flow: offers.route.flow, trusts_code: offers.route.trusts_code };
    let word = Word::new(offers, resource_url);
    let stale = offer.stale.clone();
    let once = Once { scheme, when, request, checked, owed_limits, identifier, late, stale, word };
    Ok(CheckedPayment(Way::Once(Box::new(once))))
}

/// From a checked payment to the right to be served: the reservation, then the facilitator.
pub(crate) async fn admit(
    core: &Arc<Core>,
    payment: CheckedPayment,
    presentation: Presentation,
) -> Result<Ticket, Denial> {
    match payment.0 {
        Way::Once(once) => {
            let span = once.span();
            Box::pin(reserve_and_ask(core, *once, presentation, span.clone()))
                .instrument(span)
                .await
                .map(Ticket::from)
        }
        Way::Channel(committed) => channel::admit(core, *committed, presentation).await.map(Ticket::from),
    }
}

async fn reserve_and_ask(
    core: &Arc<Core>,
    payment: Once,
    presentation: Presentation,
    span: tracing::Span,
) -> Result<Reserved, Denial> {
    if let Some(refusal) = &payment.late
        && !core.reservations.reservation_is_open(&payment.checked.key).await.map_err(Denial::unwritten)?
    {
        return Err(denial(refusal.clone()));
    }
    let (hold, is_again) = reserve(core, &payment, presentation).await?;
    if let Some(refusal) = &payment.stale
        && !(is_again && is_under_way(&hold.fate()))
    {
        // Nothing has moved, and nothing is on its way: it waits for nobody.
        hold.close().await;
        return Err(denial(refusal.clone()));
    }
    let Once { scheme, when, request, checked, owed_limits, identifier, word, .. } = payment;
    let has_identifier = identifier.is_some();
    let presented = presentation.presented.filter(|_| core.stored.is_for(has_identifier));
    let fingerprint = presentation.fingerprint;
    let admitted = Admitted {
        scheme,
        request,
        checked,
        hold,
        owed_limits,
        presented,
        fingerprint,
        served: fingerprint,
        credit: None,
        word,
        span,
    };
    let mut ticket = Reserved::new(Arc::clone(core), admitted);
    let was_served = ticket.was_served();
    let asked = ask(core, &mut ticket, is_again, when).await;
    match asked {
        Err(denial) => {
            ticket.close().await;
            Err(denial)
        }
        // It was served before it settled; now it is paid, and buys nothing more.
        Ok(()) if was_served => Err(ticket.settle_debt().await),
        Ok(()) => Ok(ticket),
    }
}

/// Whether money may be on its way, or is owed to us.
const fn is_under_way(fate: &Fate) -> bool {
    matches!(fate, Fate::Pending(_) | Fate::Unpaid)
}

/// The facilitator's word, and its money where that comes first.
async fn ask(core: &Core, ticket: &mut Reserved, is_again: bool, when: When) -> Result<(), Denial> {
    let mut has_code = ticket.checked().settles_first;
    if !is_again {
        // Also where it settles first: an idempotent facilitator settles a spent authorization "again", and
        // only verifying tells.
        let answer = verify::verify(core, ticket.request(), &ticket.checked().payer).await?;
        has_code |= verify::has_code(&answer);
    }
    let settles_code = has_code && !when.trusts_code;
    // What is charged is known after the handler only, and then code may say no.
    if settles_code && ticket.request().requirements.scheme == SchemeName::UPTO {
        let rule = "must be by an account without code: what is charged is known after it is served";
        let refusal = Refusal::new(ErrorCode::INVALID_PERMIT2_SIGNATURE, "payload.signature", rule);
        return Err(Denial::Refused(refusal.by(ticket.payer().to_owned())));
    }
    if settles_code {
        ticket.owe_nothing();
    }
    let is_held = escrow::terms(core, ticket.request()).is_some_and(|(_, terms)| terms.is_held);
    if is_again || settles_code || is_held || when.flow != PaymentFlow::Authorization {
        ticket.settle_first().await?;
    }
    Ok(())
}

/// What no scheme can read is malformed, whoever found out.
pub(super) fn denial(refusal: Refusal) -> Denial {
    let Refusal { code, field, rule, .. } = refusal;
    if code == ErrorCode::INVALID_PAYLOAD {
        return Denial::Malformed(WireError::new(code, field, rule));
    }
    Denial::Refused(Refusal { code, field, rule, payer: refusal.payer })
}

/// The offer the payment answers, and what its scheme found: signature, amount, time, recipient. A payment that has only
/// expired, not long ago, comes with its refusal: one whose settlement was under way then is still owed an answer.
fn check_offers<'a>(
    core: &Core,
    candidates: Vec<&'a Offer>,
    payment: &PaymentPayload,
    proof: Option<&RequestProof>,
) -> Result<(&'a Offer, Checked, Option<Refusal>), Refusal> {
    let now = core.clock.now();
    let mut first_refusal = None;
    for offer in candidates {
        match check_offer(core, offer, payment, proof, now) {
            Ok(checked) => {
                rememberable(&checked, now)?;
                return Ok((offer, checked, None));
            }
            Err(refusal) => {
                if let Some(checked) = check_late(core, offer, (payment, proof), &refusal, now) {
                    return Ok((offer, checked, Some(refusal)));
                }
                first_refusal.get_or_insert(refusal);
            }
        }
    }
    let unmatched = || Refusal::new(ErrorCode::INVALID_PAYMENT_REQUIREMENTS, "accepted", "must be an offer");
    Err(first_refusal.unwrap_or_else(unmatched))
}

/// The payer picks the expiry, and a payment is remembered until then: so there is a latest.
fn rememberable(checked: &Checked, now: UnixTime) -> Result<(), Refusal> {
    if checked.valid_before <= now.plus_seconds(UNFINISHED_SECONDS) {
        return Ok(());
    }
    let code = ErrorCode::INVALID_EXACT_EVM_PAYLOAD_AUTHORIZATION_VALID_BEFORE;
    let rule = format!("must be at most {UNFINISHED_SECONDS} seconds from now");
    Err(Refusal::new(code, "payload.authorization.validBefore", rule).by(checked.payer.clone()))
}

fn check_late(
    core: &Core,
    offer: &Offer,
    (payment, proof): (&PaymentPayload, Option<&RequestProof>),
    refusal: &Refusal,
    now: UnixTime,
) -> Option<Checked> {
    let expiries = [
        ErrorCode::INVALID_EXACT_EVM_PAYLOAD_AUTHORIZATION_VALID_BEFORE,
        ErrorCode::PAYMENT_EXPIRED,
        ErrorCode::PERMIT2_DEADLINE_EXPIRED,
        ErrorCode::INVALID_AUTH_CAPTURE_EVM_AUTHORIZATION_EXPIRED,
    ];
    if !expiries.contains(&refusal.code) {
        return None;
    }
    let earlier = UnixTime(now.0.saturating_sub(LATE_SECONDS));
    check_offer(core, offer, payment, proof, earlier).ok()
}

/// What the scheme says, and whether the seller takes what only the chain can judge.
fn check_offer(
    core: &Core,
    offer: &Offer,
    payment: &PaymentPayload,
    proof: Option<&RequestProof>,
    now: UnixTime,
) -> Result<Checked, Refusal> {
    if let (Some(scheme), Some(proof)) = (offer.scheme.signed_request(), proof) {
        return scheme.check_signed(payment, &offer.requirements, proof, now);
    }
    let checked = offer.scheme.check(payment, &offer.requirements, now)?;
    if !core.keys_only || !checked.settles_first {
        return Ok(checked);
    }
    let code = match offer.requirements.extra_str("assetTransferMethod") {
        Some("permit2") => ErrorCode::INVALID_PERMIT2_SIGNATURE,
        _ => ErrorCode::INVALID_EXACT_EVM_SIGNATURE,
    };
    Err(Refusal::new(code, "payload.signature", "must be by the payer's own key").by(checked.payer))
}

/// Claims the reservation; says whether the payment was held before and must settle first.
async fn reserve(
    core: &Core,
    payment: &Once,
    presentation: Presentation,
) -> Result<(Arc<Hold>, bool), Denial> {
    let Once { checked, request, identifier, .. } = payment;
    let fingerprint = presentation.fingerprint;
    let bind = |id: &String| identifier::bind(id.clone(), core.base.as_str(), request, fingerprint);
    let wanted = Wanted {
        key: checked.key.clone(),
        fingerprint,
        payer: checked.payer.clone(),
        identifier: identifier.as_ref().map(bind),
        valid_before: checked.valid_before,
    };
    let timer = telemetry::Timer::start("reserve");
    let claimed = core.reservations.reservation_insert(wanted).await.map_err(Denial::unwritten)?;
    timer.stop();
    match claimed {
        Claimed::Fresh(hold) => Ok((hold, false)),
        Claimed::Again(hold) => Ok((hold, true)),
        Claimed::Running => Err(Denial::InProgress),
        Claimed::Full => Err(Denial::Full),
        Claimed::IdentifierTaken => Err(Denial::IdentifierTaken),
        Claimed::Elsewhere => Err(Denial::Refused(used(
            &request.payment,
            checked,
            "is bound to another request, and can buy that one only",
        ))),
        Claimed::Delivered { transaction, response } => {
            let may_have = |response: &StoredResponse| {
                core.stored.is_for(identifier.is_some())
                    && presentation.presented == Some(response.presented)
                    && core.clock.now() < response.expires
            };
            let answer = response.filter(may_have).map(Box::new);
            Err(delivered(&request.payment, checked, transaction, answer))
        }
    }
}

/// A payment that has bought this request already.
pub(super) fn delivered(
    payment: &PaymentPayload,
    checked: &Checked,
    transaction: String,
    answer: Option<Box<StoredResponse>>,
) -> Denial {
    // No word of a new payment: this one is paid and delivered, and another would pay twice.
    let rule = match transaction.as_str() {
        "" => "has bought this request already, and is being settled".to_owned(),
        transaction => format!("has bought this request already, in transaction {transaction}"),
    };
    Denial::AlreadyUsed { refusal: Box::new(used(payment, checked, &rule)), transaction, answer }
}

pub(super) fn used(payment: &PaymentPayload, checked: &Checked, rule: &str) -> Refusal {
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

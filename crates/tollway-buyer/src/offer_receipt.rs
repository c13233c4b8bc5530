//! The extension `offer-receipt` at the buyer: signed offers held against what is asked, and the receipt for what was bought.
//!
//! A signature that is there and wrong means that somebody has changed what the seller wrote: nothing is paid. One whose
//! signer cannot be told without asking somebody is no error, and says no more than an offer without any.
//!
//! What does not live here: how signatures are checked (`tollway-evm`).

use tollway_core::model::{PaymentRequired, PaymentRequirements, SettleResponse, X402Version};
use tollway_core::wire::WireError;
use tollway_core::{Amount, ErrorCode, Fingerprint, JsonObject, UnixTime, canonical_url};
use tollway_evm::offer_receipt::{Facts, Keys, SignedOffer, SignedReceipt, Standing, offers_in, receipt_in};
use url::Url;

use crate::origin;
use crate::policy::Policy;
use crate::policy::decision::{Decision, Reason};
use crate::selection::JudgedOffer;
use crate::sign::SignedPayment;

/// How far the seller's clock may be from the wallet's, and a receipt from its answer.
const MAX_AGE_SECONDS: u64 = 3600;
/// The longest text of a fault that is shown.
const MAX_FAULT_CHARS: usize = 200;

/// An offer that its seller has signed, with what is known of the signature. It is right, as far as it could be checked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CheckedOffer {
    /// The offer, with its signature.
    pub signed: SignedOffer,
    /// Whose the signature is.
    pub standing: Standing,
}

/// A receipt that fits what was paid and asked, with what is known of its signature. Keep it: it says that the seller was
/// paid and served.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CheckedReceipt {
    /// The receipt, with its signature.
    pub signed: SignedReceipt,
    /// Whose the signature is.
    pub standing: Standing,
}

/// What the purchase is held against.
#[derive(Clone, Debug)]
pub(crate) struct Purchase {
    pub(crate) keys: Keys,
    /// The resource as the 402 names it, or the request's own URL.
    pub(crate) resource_url: String,
    /// The request by its own URL, and by the resource's: a proxy may stand between the two.
    pub(crate) requests: Vec<Fingerprint>,
    pub(crate) now: UnixTime,
}

impl Purchase {
    pub(crate) fn new(
        keys: Keys,
        resource_url: Option<&str>,
        request: &reqwest::Request,
        now: UnixTime,
    ) -> Self {
        let resource_url = match resource_url {
            Some(named) => request.url().join(named).map_or_else(|_| named.to_owned(), String::from),
            None => request.url().as_str().to_owned(),
        };
        let body = request.body().map_or(Some(&[][..]), |body| body.as_bytes());
        let of = |url: &Url| body.map(|body| Fingerprint::of(request.method().as_str(), url, body));
        let named = Url::parse(&resource_url).ok();
        let requests = [Some(request.url()), named.as_ref()].into_iter().flatten().filter_map(of).collect();
        Self { keys, resource_url, requests, now }
    }
}

/// Denies what a wrong signature is on, and what none is on if the policy requires one; notes the others.
pub(crate) fn judge(
    judged: &mut [JudgedOffer],
    required: &PaymentRequired,
    requested: &Url,
    (policy, keys, now): (&Policy, &Keys, UnixTime),
) {
    let signed = extensions(required).map_or(Ok(Vec::new()), offers_in);
    for judged in judged.iter_mut().filter(|judged| judged.decision.is_allow()) {
        let checked = signed.as_ref().map_err(Clone::clone).and_then(|signed| {
            let checks = Checks { required, requested, policy, keys, now };
            checks.check(&judged.offer, signed)
        });
        match checked {
            Err(error) => judged.decision = Decision::Deny(Reason::SignedOffer(text(&error))),
            Ok(checked) => {
                let is_proven = checked.as_ref().is_some_and(|checked| checked.standing.is_sellers());
                if policy.requires_signed_offers() && !is_proven {
                    judged.decision = Decision::Deny(Reason::NotSigned);
                }
                judged.signed = checked;
            }
        }
    }
}

/// The receipt that `told` carries. An error is that of a receipt that is there and is not for this purchase.
pub(crate) fn receipt(
    payment: &SignedPayment,
    told: &SettleResponse,
    purchase: &Purchase,
) -> Result<Option<CheckedReceipt>, WireError> {
    let Some(signed) = receipt_in(&told.extensions)? else { return Ok(None) };
    let (offer, terms) = (&payment.offer, signed.terms());
    let standing = signed.check(Some(&offer.pay_to), &purchase.keys)?;
    let claimed = terms.binding.as_ref().map(|bound| bound.request);
    let request = purchase.requests.iter().copied().find(|own| Some(*own) == claimed);
    let charged = told.amount.as_deref().and_then(|amount| amount.parse::<Amount>().ok());
    let facts = Facts {
        resource_url: Some(&purchase.resource_url),
        network: Some(&offer.network),
        payer: payment.payer.as_deref(),
        asset: Some(&offer.asset),
        pay_to: Some(&offer.pay_to),
        amount: Some(charged.unwrap_or(offer.amount)),
        transaction: Some(&*told.transaction).filter(|hash| !hash.is_empty()),
        request: request.or(purchase.requests.first().copied()),
    };
    if let Some(contradiction) = terms.contradictions(&facts).into_iter().next() {
        return Err(contradiction);
    }
    if terms.issued_at.0.abs_diff(purchase.now.0) > MAX_AGE_SECONDS {
        return Err(wrong("receipt.issuedAt", &format!("must be within {MAX_AGE_SECONDS} s of now")));
    }
    Ok(Some(CheckedReceipt { signed, standing }))
}

/// What one offer's signatures are held against.
struct Checks<'a> {
    required: &'a PaymentRequired,
    requested: &'a Url,
    policy: &'a Policy,
    keys: &'a Keys,
    now: UnixTime,
}

impl Checks<'_> {
    fn check(
        &self,
        offer: &PaymentRequirements,
        signed: &[SignedOffer],
    ) -> Result<Option<CheckedOffer>, WireError> {
        let mut best: Option<CheckedOffer> = None;
        for signed in signed.iter().filter(|signed| signed.terms().is_of(offer)) {
            self.check_resource(&signed.terms().resource_url)?;
            if signed.terms().valid_until.is_some_and(|until| self.now > until) {
                return Err(wrong("offer.validUntil", "must not be over"));
            }
            let standing = signed.check(self.keys)?;
            if best.as_ref().is_none_or(|best| !best.standing.is_sellers()) {
                best = Some(CheckedOffer { signed: signed.clone(), standing });
            }
        }
        match best {
            None => self.check_orphans(offer, signed).map(|()| None),
            best => Ok(best),
        }
    }

    /// The resource is the 402's, and of the request's seller.
    fn check_resource(&self, url: &str) -> Result<(), WireError> {
        let field = "offer.resourceUrl";
        if !origin::is_of_seller(url, self.requested, self.policy) {
            return Err(wrong(field, "must be of the seller that was asked"));
        }
        let canonical = |url: &str| self.requested.join(url).ok().map(|url| canonical_url(&url));
        match &self.required.resource {
            Some(resource) if canonical(&resource.url) != canonical(url) => {
                Err(wrong(field, "must be the resource that the 402 is for"))
            }
            _ => Ok(()),
        }
    }

    /// A seller signs what it offers. A signed offer that is not offered, where this one is not signed, is what this one
    /// was before somebody changed it.
    fn check_orphans(&self, offer: &PaymentRequirements, signed: &[SignedOffer]) -> Result<(), WireError> {
        let is_orphan = |signed: &&SignedOffer| {
            let terms = signed.terms();
            terms.network == offer.network
                && terms.scheme == offer.scheme.as_str()
                && !self.required.accepts.iter().any(|offered| terms.is_of(offered))
        };
        let Some(orphan) = signed.iter().find(is_orphan) else { return Ok(()) };
        let terms = orphan.terms();
        let differs = [
            ("asset", !terms.asset.eq_ignore_ascii_case(&offer.asset)),
            ("payTo", !terms.pay_to.eq_ignore_ascii_case(&offer.pay_to)),
            ("amount", terms.amount != offer.amount),
        ];
        let field = differs.iter().find(|(_, differs)| *differs).map_or("asset", |(field, _)| field);
        Err(wrong(&format!("offer.{field}"), "must be what the seller has signed"))
    }
}

/// v2 has a place for extensions; v1 sellers put them into the body beside what v1 names.
fn extensions(required: &PaymentRequired) -> Option<&JsonObject> {
    match required.version {
        X402Version::V2 => Some(&required.extensions),
        X402Version::V1 => required.other.get("extensions")?.as_object(),
    }
}

fn text(error: &WireError) -> String {
    error.to_string().chars().take(MAX_FAULT_CHARS).flat_map(char::escape_debug).collect()
}

fn wrong(field: &str, rule: &str) -> WireError {
    WireError::new(ErrorCode::INVALID_PAYLOAD, field, rule)
}

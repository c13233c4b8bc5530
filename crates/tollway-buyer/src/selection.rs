//! Holding every offer of a 402 against the wallet, and ranking those that may be paid.

use std::fmt;
use std::sync::Arc;

use tollway_core::model::{PaymentFlow, PaymentRequirements};
use tollway_core::{BuyerScheme, OfferedValue};
use url::Url;

use crate::offer_receipt::CheckedOffer;
use crate::origin::clip;
use crate::policy::decision::{Decision, Reason};
use crate::policy::{Policy, asset_key};

/// An offer with what it costs and what the wallet says to it. Printed, it is a line for people:
/// `0.05 USDC on eip155:8453: above the cap of $0.01 per payment`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JudgedOffer {
    /// The offer.
    pub offer: PaymentRequirements,
    /// What it costs; `None` for an asset the wallet does not know.
    pub value: Option<OfferedValue>,
    /// What the wallet says.
    pub decision: Decision,
    /// The seller's signature on it, if there is one and it is right as far as that can be told.
    pub signed: Option<CheckedOffer>,
}

impl fmt::Display for JudgedOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = &self.offer.network;
        match &self.value {
            Some(value) => {
                write!(f, "{} {} on {network}", value.amount.to_decimal(value.decimals), value.symbol)?;
            }
            None => {
                write!(f, "{} atomic units of {} on {network}", self.offer.amount, clip(&self.offer.asset))?;
            }
        }
        write!(f, ": {}", self.decision)
    }
}

/// Judges the offers in the seller's order.
pub(crate) fn judge(
    offers: &[PaymentRequirements],
    schemes: &[Arc<dyn BuyerScheme>],
    policy: &Policy,
    url: &Url,
) -> Vec<JudgedOffer> {
    let judge = |offer: &PaymentRequirements| {
        let (value, decision) = match scheme_for(offer, schemes) {
            Some(scheme) => {
                let value = scheme.value(offer);
                let decision = policy.decide(offer, value.as_ref(), url);
                (value, decision)
            }
            None => (None, Decision::Deny(Reason::NotCovered { scheme: clip(offer.scheme.as_str()) })),
        };
        JudgedOffer { offer: offer.clone(), value, decision, signed: None }
    };
    offers.iter().map(judge).collect()
}

/// The offers that may be paid, the best first: the seller's order, but those that are charged after they
/// served before those that are charged up front, as published clients choose. What the same 402 sells for less of the
/// same asset comes before what is dearer: a seller's order is no reason to pay more.
pub(crate) fn rank(offers: &[JudgedOffer]) -> Vec<&JudgedOffer> {
    let allowed: Vec<_> = offers.iter().filter(|judged| judged.decision.is_allow()).collect();
    let cheaper = |judged: &JudgedOffer| {
        let offer = &judged.offer;
        let others = allowed.iter().map(|other| &other.offer);
        others.filter(|other| other.amount < offer.amount && is_same_coin(other, offer)).count()
    };
    let mut ranked = allowed.clone();
    ranked.sort_by_key(|judged| {
        (judged.offer.payment_flow() != Some(PaymentFlow::Authorization), cheaper(judged))
    });
    ranked
}

/// Whether two offers differ in price, payee and words at most.
fn is_same_coin(one: &PaymentRequirements, other: &PaymentRequirements) -> bool {
    let coin = |offer: &PaymentRequirements| asset_key(&offer.network, &offer.asset);
    one.scheme == other.scheme && one.payment_flow() == other.payment_flow() && coin(one) == coin(other)
}

/// The scheme of the wallet that signs `offer`.
pub(crate) fn scheme_for<'a>(
    offer: &PaymentRequirements,
    schemes: &'a [Arc<dyn BuyerScheme>],
) -> Option<&'a Arc<dyn BuyerScheme>> {
    schemes.iter().find(|scheme| *scheme.name() == offer.scheme && scheme.covers(&offer.network))
}

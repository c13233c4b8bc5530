//! Phase two: which of our offers the payment answers. When none, which field of the closest differs.

use serde_json::Value;
use tollway_core::model::{Accepted, PaymentPayload, PaymentRequirements};
use tollway_core::{ErrorCode, JsonObject, Network, Refusal, SchemeName, X402Version};

use crate::offers::Offer;

/// The offers the payment may answer: in v2 exactly one; in v1, which names only scheme and network, all
/// of that kind, and the scheme's check decides.
pub(crate) fn select<'a>(payment: &PaymentPayload, list: &'a [Offer]) -> Result<Vec<&'a Offer>, Refusal> {
    match &payment.accepted {
        Accepted::Offer(accepted) => {
            if let Some(offer) =
                list.iter().find(|offer| first_difference(&offer.requirements, accepted).is_none())
            {
                return Ok(vec![offer]);
            }
            Err(diagnose(list, accepted))
        }
        Accepted::Kind { scheme, network } => {
            let of_kind = |offer: &&Offer| {
                offer.takes_v1
                    && offer.requirements.scheme == *scheme
                    && offer.requirements.network == *network
            };
            let offers: Vec<&Offer> = list.iter().filter(of_kind).collect();
            if offers.is_empty() { Err(diagnose_kind(list, scheme, network)) } else { Ok(offers) }
        }
    }
}

/// The fields of an offer, from the most to the least telling.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Scheme,
    Network,
    Asset,
    Amount,
    PayTo,
    MaxTimeoutSeconds,
    Extra,
}

/// The first field in which `theirs` is not our offer. Our `extra` must be contained in theirs: a scheme
/// may have added to it on the buyer's side. When the money moves is not for the buyer to add.
fn first_difference(ours: &PaymentRequirements, theirs: &PaymentRequirements) -> Option<Field> {
    let same = |one: &str, other: &str| same_account(&ours.network, one, other);
    let checks = [
        (Field::Scheme, ours.scheme == theirs.scheme),
        (Field::Network, ours.network == theirs.network),
        (Field::Asset, same(&ours.asset, &theirs.asset)),
        (Field::Amount, ours.amount == theirs.amount),
        (Field::PayTo, same(&ours.pay_to, &theirs.pay_to)),
        (Field::MaxTimeoutSeconds, ours.max_timeout_seconds == theirs.max_timeout_seconds),
        (Field::Extra, contains(&theirs.extra, &ours.extra) && ours.payment_flow() == theirs.payment_flow()),
    ];
    checks.into_iter().find(|(_, is_same)| !is_same).map(|(field, _)| field)
}

/// Whether two spellings name one account or contract: on EVM, letter case is a checksum and no more.
pub(crate) fn same_account(network: &Network, one: &str, other: &str) -> bool {
    if network.namespace() == "eip155" { one.eq_ignore_ascii_case(other) } else { one == other }
}

/// Whether every field of `part` is in `whole` with the same value, objects recursively.
pub(crate) fn contains(whole: &JsonObject, part: &JsonObject) -> bool {
    part.iter().all(|(name, value)| match (whole.get(name), value) {
        (Some(Value::Object(whole)), Value::Object(part)) => contains(whole, part),
        (Some(theirs), value) => theirs == value,
        (None, _) => false,
    })
}

fn diagnose(list: &[Offer], theirs: &PaymentRequirements) -> Refusal {
    let difference = |offer: &Offer| first_difference(&offer.requirements, theirs);
    let closest = list.iter().filter_map(|offer| difference(offer).map(|field| (field, &offer.requirements)));
    // The last field in which an offer differs is the one it comes closest with; the first such offer.
    let closest = closest.reduce(|best, next| if next.0 > best.0 { next } else { best });
    let Some((field, ours)) = closest else {
        return Refusal::new(
            ErrorCode::INVALID_PAYMENT_REQUIREMENTS,
            "accepted",
            "must be an offer of this resource",
        );
    };
    let terms = ErrorCode::INVALID_PAYMENT_REQUIREMENTS;
    match field {
        Field::Scheme => one_of(list, "accepted.scheme", ErrorCode::INVALID_SCHEME, |o| o.scheme.to_string()),
        Field::Network => {
            one_of(list, "accepted.network", ErrorCode::INVALID_NETWORK, |o| o.network.to_string())
        }
        Field::Asset => must_be(terms, "accepted.asset", &ours.asset),
        Field::Amount => must_be(terms, "accepted.amount", ours.amount),
        Field::PayTo => must_be(terms, "accepted.payTo", &ours.pay_to),
        Field::MaxTimeoutSeconds => must_be(terms, "accepted.maxTimeoutSeconds", ours.max_timeout_seconds),
        Field::Extra if contains(&theirs.extra, &ours.extra) => {
            let flow = ours.payment_flow().unwrap_or_default().as_str();
            Refusal::new(
                terms,
                "accepted.extra",
                format!("must keep the paymentFlow offered, which is {flow}"),
            )
        }
        Field::Extra => {
            let rule = format!("must contain {}", Value::Object(ours.extra.clone()));
            Refusal::new(terms, "accepted.extra", rule)
        }
    }
}

fn diagnose_kind(list: &[Offer], scheme: &SchemeName, network: &Network) -> Refusal {
    let is_v2_only =
        |offer: &Offer| offer.requirements.scheme == *scheme && offer.requirements.network == *network;
    if list.iter().any(is_v2_only) {
        let rule = format!("must be {}: v1 is not settled for this offer", X402Version::V2.number());
        return Refusal::new(ErrorCode::INVALID_X402_VERSION, "x402Version", rule);
    }
    if list.iter().any(|offer| offer.requirements.scheme == *scheme) {
        let name = |o: &PaymentRequirements| o.network.v1_name().unwrap_or(o.network.as_str()).to_owned();
        return one_of(list, "network", ErrorCode::INVALID_NETWORK, name);
    }
    one_of(list, "scheme", ErrorCode::INVALID_SCHEME, |o| o.scheme.to_string())
}

fn must_be(code: ErrorCode, field: &str, ours: impl std::fmt::Display) -> Refusal {
    Refusal::new(code, field, format!("must be {ours}, as offered"))
}

fn one_of(
    list: &[Offer],
    field: &str,
    code: ErrorCode,
    name: impl Fn(&PaymentRequirements) -> String,
) -> Refusal {
    let mut names: Vec<String> = list.iter().map(|offer| name(&offer.requirements)).collect();
    names.dedup();
    Refusal::new(code, field, format!("must be {}, as offered", names.join(" or ")))
}

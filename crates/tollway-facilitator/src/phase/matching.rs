//! Phase 2: is this a payment for a network, scheme and asset that the operator settles, and does what the
//! buyer accepted say the same as what the seller requires.

use std::sync::Arc;

use tollway_core::model::{Accepted, FacilitatorRequest, PaymentRequirements};
use tollway_core::{ErrorCode, Refusal, SchemeName};
use tollway_evm::{Asset, Payment};

use crate::evm_network::EvmNetwork;

/// Finds the network that settles `request`.
pub(crate) fn find<'a>(
    networks: &'a [Arc<EvmNetwork>],
    request: &FacilitatorRequest,
) -> Result<&'a Arc<EvmNetwork>, Refusal> {
    let requirements = &request.requirements;
    let schemes = Payment::SCHEMES.into_iter().chain([SchemeName::BATCH_SETTLEMENT]);
    if !schemes.clone().any(|scheme| scheme == requirements.scheme) {
        let known: Vec<String> = schemes.map(|scheme| format!("{:?}", scheme.as_str())).collect();
        let known = known.join(" or ");
        let rule = format!("must be {known}, not {:?}", requirements.scheme.as_str());
        return Err(refuse(ErrorCode::UNSUPPORTED_SCHEME, "scheme", rule));
    }
    let network = networks.iter().find(|network| network.network() == &requirements.network);
    let network = network.ok_or_else(|| {
        let rule = format!("is not served here: {}", requirements.network);
        refuse(ErrorCode::INVALID_NETWORK, "network", rule)
    })?;
    let asset = requirements.asset.parse().ok().and_then(|address| network.asset(address));
    let asset = asset.ok_or_else(|| {
        let rule = format!("is not on this facilitator's list for {}", requirements.network);
        refuse(ErrorCode::INVALID_PAYMENT_REQUIREMENTS, "asset", rule)
    })?;
    same_domain(requirements, asset)?;
    if let Accepted::Offer(accepted) = &request.payment.accepted {
        same_terms(accepted, requirements)?;
    }
    Ok(network)
}

/// A signature under another domain than the token's could never settle.
fn same_domain(requirements: &PaymentRequirements, asset: &Asset) -> Result<(), Refusal> {
    let domain = [
        ("name", &asset.name, ErrorCode::INVALID_EXACT_EVM_TOKEN_NAME_MISMATCH),
        ("version", &asset.version, ErrorCode::INVALID_EXACT_EVM_TOKEN_VERSION_MISMATCH),
    ];
    for (field, ours, code) in domain {
        // What is missing is told by the scheme's own check.
        if requirements.extra_str(field).is_some_and(|theirs| theirs != ours) {
            return Err(refuse(code, &format!("extra.{field}"), format!("must be {ours:?}")));
        }
    }
    Ok(())
}

/// v2 repeats the offer in the payment. Were the two to differ, somebody altered one of them.
fn same_terms(accepted: &PaymentRequirements, required: &PaymentRequirements) -> Result<(), Refusal> {
    let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    // Scheme `upto` settles for what was used: at most what was offered.
    let same_amount = match required.scheme == SchemeName::UPTO {
        true => accepted.amount >= required.amount,
        false => accepted.amount == required.amount,
    };
    let (field, holds) = [
        ("amount", same_amount),
        ("asset", same(&accepted.asset, &required.asset)),
        ("payTo", same(&accepted.pay_to, &required.pay_to)),
    ]
    .into_iter()
    .find(|(_, holds)| !holds)
    .unwrap_or(("", true));
    if holds {
        return Ok(());
    }
    let field = format!("paymentPayload.accepted.{field}");
    Err(Refusal::new(ErrorCode::INVALID_PAYLOAD, field, "must equal the payment requirements"))
}

fn refuse(code: ErrorCode, field: &str, rule: String) -> Refusal {
    Refusal::new(code, format!("paymentRequirements.{field}"), rule)
}

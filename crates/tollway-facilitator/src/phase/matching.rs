//! Phase 2: is this a payment for a network, scheme and asset that the operator settles, and does what the
//! buyer accepted say the same as what the seller requires.

use std::sync::Arc;

use tollway_core::model::{Accepted, FacilitatorRequest, PaymentRequirements};
use tollway_core::{ErrorCode, Refusal, SchemeName};

use crate::evm_network::EvmNetwork;

/// Finds the network that settles `request`.
pub(crate) fn find<'a>(
    networks: &'a [Arc<EvmNetwork>],
    request: &FacilitatorRequest,
) -> Result<&'a Arc<EvmNetwork>, Refusal> {
    let requirements = &request.requirements;
    if requirements.scheme != SchemeName::EXACT {
        let rule = format!("must be \"exact\", not {:?}", requirements.scheme.as_str());
        return Err(refuse(ErrorCode::UNSUPPORTED_SCHEME, "scheme", rule));
    }
    let network = networks.iter().find(|network| network.network() == &requirements.network);
    let network = network.ok_or_else(|| {
        let rule = format!("is not served here: {}", requirements.network);
        refuse(ErrorCode::INVALID_NETWORK, "network", rule)
    })?;
    let listed = requirements.asset.parse().is_ok_and(|asset| network.allows(asset));
    if !listed {
        let rule = format!("is not on this facilitator's list for {}", requirements.network);
        return Err(refuse(ErrorCode::INVALID_PAYMENT_REQUIREMENTS, "asset", rule));
    }
    if let Accepted::Offer(accepted) = &request.payment.accepted {
        same_terms(accepted, requirements)?;
    }
    Ok(network)
}

/// v2 repeats the offer in the payment. Were the two to differ, somebody altered one of them.
fn same_terms(accepted: &PaymentRequirements, required: &PaymentRequirements) -> Result<(), Refusal> {
    let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    let (field, holds) = [
        ("amount", accepted.amount == required.amount),
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

//! Phase 3: every rule that needs no chain. The signature is checked in `tollway_evm`, `Payment::check`.

use tollway_core::model::FacilitatorRequest;
use tollway_core::{Refusal, UnixTime};
use tollway_evm::{Payment, Trouble};

use crate::evm_network::EvmNetwork;
use crate::{Limits, telemetry};

/// All local rules.
pub(crate) fn check(
    request: &FacilitatorRequest,
    network: &EvmNetwork,
    limits: &Limits,
    now: UnixTime,
) -> Result<Payment, Refusal> {
    let payment = Payment::check(request, Some(now))?;
    telemetry::identify(&payment);
    sender(&payment, network)?;
    validity(&payment, limits, now)?;
    Ok(payment)
}

/// All but the clock's: enough to be told the fate of an earlier settlement.
pub(crate) fn check_at_any_time(
    request: &FacilitatorRequest,
    network: &EvmNetwork,
) -> Result<Payment, Refusal> {
    let payment = Payment::check(request, None)?;
    telemetry::identify(&payment);
    sender(&payment, network)?;
    Ok(payment)
}

/// What is charged is said by the account that the payer signed for: one of our own. Who may operate a payment that is
/// held is for `admission.rs`.
fn sender(payment: &Payment, network: &EvmNetwork) -> Result<(), Refusal> {
    match payment.sender() {
        Some(sender)
            if payment.is_metered() && !network.lanes.iter().any(|lane| lane.address() == sender) =>
        {
            let rule = format!("must be an address of this facilitator, not {sender}");
            Err(payment.refusal(Trouble::Sender, rule))
        }
        _ => Ok(()),
    }
}

/// The clock's rules.
pub(crate) fn window(payment: &Payment, limits: &Limits, now: UnixTime) -> Result<(), Refusal> {
    payment.check_window(now)?;
    validity(payment, limits, now)
}

/// The payer picks `validBefore`; what is reserved is remembered until then, so it has a limit. And there must be time
/// for it to be included.
fn validity(payment: &Payment, limits: &Limits, now: UnixTime) -> Result<(), Refusal> {
    let refuse = |rule| Err(payment.refusal(Trouble::ValidBefore, rule));
    if payment.expires() < now.plus_seconds(limits.min_validity_seconds) {
        return refuse(format!("must be at least {} seconds from now", limits.min_validity_seconds));
    }
    let latest = now.plus_seconds(limits.max_validity_seconds);
    let has_no_such_limit = payment.is_later()
        // What nobody on chain keeps a nonce of has no expiry either: the account's code says when it is too late.
        || payment.state_call().is_none();
    if payment.expires() <= latest || has_no_such_limit {
        return Ok(());
    }
    refuse(format!("must be at most {} seconds from now", limits.max_validity_seconds))
}

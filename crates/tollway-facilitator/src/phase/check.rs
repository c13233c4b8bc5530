//! Phase 3: every rule that needs no chain. The signature is checked in `tollway_evm::exact::check`.

use tollway_core::model::FacilitatorRequest;
use tollway_core::{ErrorCode, Refusal, UnixTime};
use tollway_evm::exact::{self, ExactPayment};

use crate::{Limits, telemetry};

/// All local rules.
pub(crate) fn check(
    request: &FacilitatorRequest,
    limits: &Limits,
    now: UnixTime,
) -> Result<ExactPayment, Refusal> {
    let payment = exact::check(&request.payment, &request.requirements, now)?;
    telemetry::identify(&payment);
    validity(&payment, limits, now)?;
    Ok(payment)
}

/// All but the clock's: enough to be told the fate of an earlier settlement.
pub(crate) fn check_at_any_time(request: &FacilitatorRequest) -> Result<ExactPayment, Refusal> {
    let payment = exact::check_at_any_time(&request.payment, &request.requirements)?;
    telemetry::identify(&payment);
    Ok(payment)
}

/// The clock's rules.
pub(crate) fn window(payment: &ExactPayment, limits: &Limits, now: UnixTime) -> Result<(), Refusal> {
    exact::check_window(payment, now)?;
    validity(payment, limits, now)
}

/// The payer picks `validBefore`; what is reserved is remembered until then, so it has a limit. And there must be time
/// for it to be included.
fn validity(payment: &ExactPayment, limits: &Limits, now: UnixTime) -> Result<(), Refusal> {
    let code = ErrorCode::INVALID_EXACT_EVM_PAYLOAD_AUTHORIZATION_VALID_BEFORE;
    let refuse = |rule| {
        let refusal = Refusal::new(code, "payload.authorization.validBefore", rule);
        Err(refusal.by(payment.authorization.from.to_checksum(None)))
    };
    if payment.authorization.expires() < now.plus_seconds(limits.min_validity_seconds) {
        return refuse(format!("must be at least {} seconds from now", limits.min_validity_seconds));
    }
    let latest = now.plus_seconds(limits.max_validity_seconds);
    if payment.authorization.expires() <= latest {
        return Ok(());
    }
    refuse(format!("must be at most {} seconds from now", limits.max_validity_seconds))
}

//! Phase six: the facilitator's word that the payment would settle now. It can refuse what we allow, never
//! allow what we refuse.

use serde_json::Value;
use tollway_core::model::{FacilitatorRequest, VerifyResponse};
use tollway_core::{ErrorCode, FacilitatorError, PAYER_HAS_CODE, Refusal};

use super::select::same_account;
use crate::denial::{Denial, field_and_rule};
use crate::paywall::Core;

/// Asks the facilitator. No error leaves a reservation behind: nothing was settled.
pub(crate) async fn verify(
    core: &Core,
    request: &FacilitatorRequest,
    payer: &str,
) -> Result<VerifyResponse, Denial> {
    let Ok(_permit) = core.verify_permits.try_acquire() else {
        let error = FacilitatorError::Busy("too many payments are being verified".to_owned());
        return Err(Denial::outage(error));
    };
    let asked = core.facilitator.verify(request.clone());
    let answer = tokio::time::timeout(core.limits.verify_timeout, asked)
        .await
        .unwrap_or_else(|_| Err(FacilitatorError::NoAnswer("verify took too long".to_owned())))
        .map_err(|error| {
            let network = &request.requirements.network;
            tracing::warn!(%error, %network, payer, "verify failed: the facilitator gave no answer");
            Denial::outage(error)
        })?;
    if !answer.is_valid {
        let code = answer.invalid_reason.unwrap_or(ErrorCode::UNEXPECTED_VERIFY_ERROR);
        tracing::info!(%code, payer, "the facilitator refused a payment");
        let message =
            answer.invalid_message.unwrap_or_else(|| format!("was refused by the facilitator: {code}"));
        let (field, rule) = field_and_rule(&message);
        return Err(Denial::Refused(Refusal::new(code, field, rule).by(payer.to_owned())));
    }
    match &answer.payer {
        Some(named) if !same_account(&request.requirements.network, named, payer) => {
            let detail = format!("verify names payer {named:.64}, the signature is by {payer}");
            Err(Denial::outage(FacilitatorError::BadAnswer { status: 200, detail }))
        }
        _ => Ok(answer),
    }
}

/// Whether the facilitator says that the payer has code.
pub(super) fn has_code(answer: &VerifyResponse) -> bool {
    answer.extra.get(PAYER_HAS_CODE).and_then(Value::as_bool) == Some(true)
}

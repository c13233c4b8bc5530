//! Whom the facilitator signs for as the receiver's authorizer.
//!
//! Who could be hurt by whom: a claim pays a receiver what its payer has signed, and no more; whoever has the voucher is one of
//! the two. So claims are signed for whoever may settle here. A refund takes back from a seller what it has earned and not
//! claimed; the payer itself has everything that asks for one. So refunds are signed only for sellers that the operator
//! knows, when they ask themselves, by their own key to this facilitator.

use std::time::Duration;

use tokio::time::timeout;
use tollway_core::model::FacilitatorRequest;
use tollway_core::{ErrorCode, FacilitatorError, Refusal};
use tollway_evm::Address;
use tollway_evm::batch_settlement::{BatchPayload, ConsentError, consented, is_request};

use super::{ChannelSetup, Stop};

/// How long the authorizer's key may take.
const SIGN_DEADLINE: Duration = Duration::from_secs(10);

/// Signs what `request` leaves to this facilitator to sign, if it may be.
pub(super) async fn complete(
    setup: &ChannelSetup,
    caller: Option<&str>,
    request: &mut FacilitatorRequest,
) -> Result<(), Stop> {
    if !is_request(&request.payment.payload) {
        return Ok(());
    }
    if let BatchPayload::Refund(refund) = BatchPayload::decode(&request.payment.payload)?
        && refund.completion.is_some_and(|completion| completion.refund_signature.is_none())
        && setup.authorizer() == Some(refund.config.receiver_authorizer)
        && !setup.may_refund(refund.config.receiver, caller)
    {
        let code = ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_AUTHORIZER_NOT_CONFIGURED;
        let rule =
            "must be there, or asked for by the seller's own caller: refunds are signed for nobody else";
        return Err(Refusal::new(code, "payload.refundAuthorizerSignature", rule).into());
    }
    match timeout(SIGN_DEADLINE, consented(request, setup.authorizer.as_deref())).await {
        Ok(Ok(Some(signed))) => {
            *request = signed;
            Ok(())
        }
        Ok(Ok(None)) => Ok(()),
        Ok(Err(ConsentError::Refused(refusal))) => Err(refusal.into()),
        Ok(Err(error)) => {
            tracing::error!(%error, "the authorizer's key does not sign");
            Err(FacilitatorError::Busy("the authorizer's key is out of reach".to_owned()).into())
        }
        Err(_) => Err(FacilitatorError::Busy("the authorizer's key took too long".to_owned()).into()),
    }
}

impl ChannelSetup {
    /// Whether refunds of this seller's channels are signed for `caller`.
    fn may_refund(&self, receiver: Address, caller: Option<&str>) -> bool {
        self.refunds_for.iter().any(|known| known.receiver == receiver && known.caller.as_deref() == caller)
    }
}

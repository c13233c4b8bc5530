//! What a paywall asks of this scheme: what becomes of a payment after it was collected, with the seller's consent.

use alloy_primitives::U256;
use tollway_core::model::{FacilitatorRequest, PaymentRequirements};
use tollway_core::{BoxFuture, EscrowScheme, EscrowStep, EscrowTerms, Refusal, SignError, UnixTime};

use super::authorizer::Balances;
use super::held::HeldPayment;
use super::lifecycle::Operation;
use super::offer::AuthCaptureSeller;
use super::terms::{CaptureMode, Flow};
use super::verify::check_at_any_time;
use crate::Signer;

impl EscrowScheme for AuthCaptureSeller {
    fn has_key(&self) -> bool {
        self.key().is_some()
    }

    fn stamped(&self, offer: &PaymentRequirements, now: UnixTime) -> PaymentRequirements {
        Self::stamped(self, offer, now)
    }

    fn as_accepted(
        &self,
        offer: &PaymentRequirements,
        accepted: &PaymentRequirements,
        now: UnixTime,
    ) -> PaymentRequirements {
        Self::as_accepted(self, offer, accepted, now)
    }

    fn escrow_terms(&self, offer: &PaymentRequirements) -> Result<EscrowTerms, Refusal> {
        let terms = self.terms(offer)?;
        Ok(EscrowTerms {
            is_held: terms.flow == Flow::Escrow,
            is_deferred: terms.flow == Flow::Escrow && terms.capture_mode == CaptureMode::Deferred,
            capture_deadline: UnixTime(terms.capture_deadline),
            refund_deadline: UnixTime(terms.refund_deadline),
        })
    }

    fn escrow_request<'a>(
        &'a self,
        collected: &'a FacilitatorRequest,
        step: EscrowStep,
    ) -> BoxFuture<'a, Result<FacilitatorRequest, SignError>> {
        Box::pin(request(self.key(), collected, step))
    }
}

async fn request(
    key: Option<&dyn Signer>,
    collected: &FacilitatorRequest,
    step: EscrowStep,
) -> Result<FacilitatorRequest, SignError> {
    let key = key.ok_or_else(|| SignError::Signer("has no key of receiverAuthorizer".to_owned()))?;
    let FacilitatorRequest { payment, requirements } = collected;
    let collection = check_at_any_time(payment, requirements).map_err(SignError::Offer)?;
    let signer = |error: crate::SignerError| SignError::Signer(error.to_string());
    let whole = U256::from(collection.info.maxAmount);
    let operation = match step {
        EscrowStep::Charge { amount } => {
            let payment = collection.charged(payment, amount.atomic(), key).await.map_err(signer)?;
            return Ok(FacilitatorRequest { payment, requirements: requirements.clone() });
        }
        EscrowStep::Capture { amount } => {
            let (amount, fees) = (amount.atomic(), collection.terms.fees);
            Operation::Capture {
                amount,
                fee: fees.least(amount, collection.terms.deployment.fee_unit),
                fee_receiver: fees.recipient,
                expected: Balances { capturable: whole, refundable: U256::ZERO },
                voids_rest: amount < whole,
            }
        }
        EscrowStep::Void => Operation::Void,
        EscrowStep::Refund { amount, refundable } => Operation::Refund {
            amount: amount.atomic(),
            expected: Balances { capturable: U256::ZERO, refundable: refundable.atomic() },
        },
    };
    HeldPayment::of(&collection, requirements).request(&operation, key).await.map_err(signer)
}

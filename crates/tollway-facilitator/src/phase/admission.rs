//! After phase 3: is this a payment that this operator stands for, and that a lane can send.

use alloy_primitives::Address;
use tollway_core::{ErrorCode, Refusal};
use tollway_evm::Payment;
use tollway_evm::auth_capture::Deployment;

use crate::evm_network::EvmNetwork;

/// What an operator does of scheme `auth-capture`.
#[derive(Clone, Debug)]
pub struct AuthCaptureSetup {
    /// The contracts that payments may be held in.
    pub deployments: Vec<Deployment>,
    /// Receivers whose refunds are paid from the lanes' own tokens: those that have agreed with the operator to make up
    /// for it. Of nobody else's payments anything is refunded.
    pub refunds_for: Vec<Address>,
}

impl Default for AuthCaptureSetup {
    fn default() -> Self {
        Self { deployments: vec![Deployment::CURRENT], refunds_for: Vec::new() }
    }
}

/// Refuses what no lane could send, or the operator does not stand for.
pub(crate) fn admit(network: &EvmNetwork, payment: &Payment) -> Result<(), Refusal> {
    let refuse = |code, field: &str, rule: &str| {
        Err(Refusal::new(code, field, rule).by(payment.payer().to_checksum(None)))
    };
    let Some(asked) = payment.auth_capture() else { return Ok(()) };
    if !network.auth_capture.deployments.contains(&asked.deployment()) {
        let rule = "is not one that this facilitator holds payments in";
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_EXTRA;
        return refuse(code, "paymentRequirements.extra.authCaptureEscrow", rule);
    }
    let is_lane = |sender: Address| network.lanes.iter().any(|lane| lane.address() == sender);
    if !payment.sender().is_some_and(is_lane) {
        let rule = "must be an account of this facilitator";
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_OPERATOR_NOT_ADMITTED;
        return refuse(code, "paymentRequirements.extra.captureAuthorizer", rule);
    }
    match asked.refund_for() {
        Some(receiver) if !network.auth_capture.refunds_for.contains(&receiver) => {
            let rule = "must be agreed upon with the operator: it is paid from the facilitator's own account";
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_REFUND_FUNDING_UNAVAILABLE;
            refuse(code, "payload.type", rule)
        }
        _ => Ok(()),
    }
}

/// Refuses to settle what is not said yet: how much of it is charged.
pub(crate) fn complete(payment: &Payment) -> Result<(), Refusal> {
    if !payment.auth_capture().is_some_and(|asked| asked.is_incomplete()) {
        return Ok(());
    }
    let rule = "must be there to settle, with the fee, feeReceiver and authorizerSignature";
    let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_PAYLOAD_FORMAT;
    Err(Refusal::new(code, "payload.amount", rule).by(payment.payer().to_checksum(None)))
}

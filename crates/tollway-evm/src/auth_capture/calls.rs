//! The escrow's interface: the calls that an operator sends, what a payment looks like, and why a call would revert.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolError};
use tollway_core::ErrorCode;

use super::abi::{Escrow, EscrowInBps};
use super::authorizer::Balances;
use super::info::PaymentInfo;
use super::lifecycle::{Lifecycle, Operation};
use super::terms::{Fee, Flow};
use super::verify::Collection;
use crate::multicall::Call;

/// What the escrow says of a payment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaymentState {
    /// Whether it was ever held or charged. Then it never is again.
    pub is_collected: bool,
    /// What is held, and what can be given back.
    pub balances: Balances,
}

impl PaymentState {
    /// The question to the escrow.
    ///
    /// ```
    /// use tollway_evm::auth_capture::{Deployment, PaymentState};
    /// let call = PaymentState::question(Deployment::CURRENT.escrow, Default::default());
    /// assert_eq!(call.data[..4], [0x34, 0xb7, 0x78, 0xed]);
    /// ```
    pub fn question(escrow: Address, payment: B256) -> Call {
        let call = Escrow::paymentStateCall { paymentInfoHash: payment };
        Call { to: escrow, data: call.abi_encode().into() }
    }

    /// Reads the answer.
    ///
    /// ```
    /// use tollway_evm::auth_capture::PaymentState;
    /// assert_eq!(PaymentState::read(&[0; 96]), Some(PaymentState::default()));
    /// assert_eq!(PaymentState::read(&[0; 32]), None);
    /// ```
    pub fn read(answer: &[u8]) -> Option<Self> {
        let state = Escrow::paymentStateCall::abi_decode_returns_validate(answer).ok()?;
        let capturable = U256::from(state.capturableAmount);
        let refundable = U256::from(state.refundableAmount);
        Some(Self { is_collected: state.hasCollectedPayment, balances: Balances { capturable, refundable } })
    }
}

impl Collection {
    /// The call that collects the payment. Only the operator can send it.
    ///
    /// ```
    /// use tollway_evm::auth_capture;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let collection = auth_capture::check_at_any_time(&request.payment, &request.requirements)?;
    /// let authorize = [0x41, 0xd6, 0x62, 0x02];
    /// assert_eq!(collection.collecting_call().data[..4], authorize);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn collecting_call(&self) -> Call {
        let (info, collector, data) = (self.info.clone(), self.collector(), self.signature.clone());
        let amount = self.amount();
        let data: Vec<u8> = match (self.terms.flow, self.charged_fee()) {
            (Flow::Escrow, _) => Escrow::authorizeCall {
                paymentInfo: info,
                amount,
                tokenCollector: collector,
                collectorData: data,
            }
            .abi_encode(),
            (Flow::Charge, (Fee::Amount(fee), receiver)) => Escrow::chargeCall {
                paymentInfo: info,
                amount,
                tokenCollector: collector,
                collectorData: data,
                feeAmount: fee,
                feeReceiver: receiver,
            }
            .abi_encode(),
            (Flow::Charge, (Fee::Bps(bps), receiver)) => EscrowInBps::chargeCall {
                paymentInfo: info,
                amount,
                tokenCollector: collector,
                collectorData: data,
                feeBps: bps,
                feeReceiver: receiver,
            }
            .abi_encode(),
        };
        Call { to: self.terms.deployment.escrow, data: data.into() }
    }
}

impl Lifecycle {
    /// The call that does it. Only the operator can send it.
    ///
    /// ```
    /// # use tollway_evm::auth_capture::{self, Deployment, Lifecycle, Operation};
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// # let held = auth_capture::check_at_any_time(&request.payment, &request.requirements)?;
    /// # let (network, deployment) = (held.network.clone(), Deployment::CURRENT);
    /// # let (info, hash, operation) = (held.info.clone(), held.hash, Operation::Void);
    /// let void = Lifecycle { network, deployment, info, hash, operation };
    /// assert_eq!(void.operating_call().data[..4], [0xfa, 0x1c, 0xad, 0x17]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn operating_call(&self) -> Call {
        let info = self.info.clone();
        let data: Vec<u8> = match self.operation {
            Operation::Capture { amount, fee: Fee::Amount(fee), fee_receiver, .. } => {
                let (fee, to) = (fee, fee_receiver);
                Escrow::captureCall { paymentInfo: info, amount, feeAmount: fee, feeReceiver: to }
                    .abi_encode()
            }
            Operation::Capture { amount, fee: Fee::Bps(bps), fee_receiver, .. } => {
                let to = fee_receiver;
                EscrowInBps::captureCall { paymentInfo: info, amount, feeBps: bps, feeReceiver: to }
                    .abi_encode()
            }
            Operation::Void => Escrow::voidCall { paymentInfo: info }.abi_encode(),
            Operation::Refund { amount, .. } => Escrow::refundCall {
                paymentInfo: info,
                amount,
                tokenCollector: self.deployment.refund_collector,
                collectorData: Bytes::new(),
            }
            .abi_encode(),
        };
        Call { to: self.deployment.escrow, data: data.into() }
    }
}

/// The call by which a payer takes back what is still held after the capture deadline. Only the payer can send it.
///
/// ```
/// use tollway_evm::auth_capture::{self, Deployment, reclaim_call};
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// let held = auth_capture::check_at_any_time(&request.payment, &request.requirements)?;
/// assert_eq!(reclaim_call(&held.terms.deployment, &held.info).to, Deployment::CURRENT.escrow);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn reclaim_call(deployment: &super::Deployment, info: &PaymentInfo) -> Call {
    let call = Escrow::reclaimCall { paymentInfo: info.clone() };
    Call { to: deployment.escrow, data: call.abi_encode().into() }
}

/// The code for what the escrow says when a call would revert.
///
/// ```
/// use tollway_core::ErrorCode;
/// use tollway_evm::auth_capture::revert_code;
/// let zero_amount = [0x1f, 0x2a, 0x20, 0x05];
/// assert_eq!(revert_code(&zero_amount), ErrorCode::INVALID_AUTH_CAPTURE_EVM_AMOUNT_MISMATCH);
/// assert_eq!(revert_code(&[]), ErrorCode::INVALID_AUTH_CAPTURE_EVM_SIMULATION_FAILED);
/// ```
pub fn revert_code(data: &[u8]) -> ErrorCode {
    let selector = data.get(..4).unwrap_or_default();
    let named = REVERTS.iter().find(|(known, _)| known == selector);
    named.map_or(ErrorCode::INVALID_AUTH_CAPTURE_EVM_SIMULATION_FAILED, |(_, code)| code.clone())
}

/// Each error of the escrow, by its selector.
const REVERTS: &[([u8; 4], ErrorCode)] = &[
    (Escrow::AfterPreApprovalExpiry::SELECTOR, ErrorCode::INVALID_AUTH_CAPTURE_EVM_AUTHORIZATION_EXPIRED),
    (Escrow::InvalidExpiries::SELECTOR, ErrorCode::INVALID_AUTH_CAPTURE_EVM_DEADLINE_ORDERING),
    (Escrow::ExceedsMaxAmount::SELECTOR, ErrorCode::INVALID_AUTH_CAPTURE_EVM_AMOUNT_MISMATCH),
    (
        Escrow::PaymentAlreadyCollected::SELECTOR,
        ErrorCode::INVALID_AUTH_CAPTURE_EVM_PAYMENT_ALREADY_COLLECTED,
    ),
    (Escrow::TokenCollectionFailed::SELECTOR, ErrorCode::INVALID_AUTH_CAPTURE_EVM_TOKEN_COLLECTION_FAILED),
    (Escrow::InvalidCollectorForOperation::SELECTOR, ErrorCode::INVALID_AUTH_CAPTURE_EVM_COLLECTOR),
    (Escrow::InvalidSender::SELECTOR, ErrorCode::INVALID_AUTH_CAPTURE_EVM_OPERATOR_MISMATCH),
    (Escrow::ZeroAmount::SELECTOR, ErrorCode::INVALID_AUTH_CAPTURE_EVM_AMOUNT_MISMATCH),
    (Escrow::AmountOverflow::SELECTOR, ErrorCode::INVALID_AUTH_CAPTURE_EVM_AMOUNT_OVERFLOW),
    (Escrow::FeeBpsOverflow::SELECTOR, ErrorCode::INVALID_AUTH_CAPTURE_EVM_FEE_BPS),
    (Escrow::InvalidFeeBpsRange::SELECTOR, ErrorCode::INVALID_AUTH_CAPTURE_EVM_FEE_BPS_RANGE),
    (Escrow::FeeBpsOutOfRange::SELECTOR, ErrorCode::INVALID_AUTH_CAPTURE_EVM_FEE_BPS_OUT_OF_RANGE),
    (Escrow::FeeAmountOutOfRange::SELECTOR, ErrorCode::INVALID_AUTH_CAPTURE_EVM_FEE_BPS_OUT_OF_RANGE),
    (Escrow::ZeroFeeReceiver::SELECTOR, ErrorCode::INVALID_AUTH_CAPTURE_EVM_ZERO_FEE_RECEIVER),
    (Escrow::InvalidFeeReceiver::SELECTOR, ErrorCode::INVALID_AUTH_CAPTURE_EVM_FEE_RECEIVER),
    (
        Escrow::AfterAuthorizationExpiry::SELECTOR,
        ErrorCode::INVALID_AUTH_CAPTURE_EVM_CAPTURE_DEADLINE_EXPIRED,
    ),
    (
        Escrow::InsufficientAuthorization::SELECTOR,
        ErrorCode::INVALID_AUTH_CAPTURE_EVM_INSUFFICIENT_AUTHORIZATION,
    ),
    (Escrow::ZeroAuthorization::SELECTOR, ErrorCode::INVALID_AUTH_CAPTURE_EVM_ZERO_AUTHORIZATION),
    (Escrow::AfterRefundExpiry::SELECTOR, ErrorCode::INVALID_AUTH_CAPTURE_EVM_REFUND_DEADLINE_EXPIRED),
    (Escrow::RefundExceedsCapture::SELECTOR, ErrorCode::INVALID_AUTH_CAPTURE_EVM_REFUND_EXCEEDS_CAPTURE),
];

#[cfg(test)]
mod tests {
    use alloy_sol_types::SolCall;

    use crate::auth_capture::abi::{Escrow, EscrowInBps};

    #[test]
    fn the_calls_are_those_of_the_contracts_on_chain() {
        assert_eq!(Escrow::chargeCall::SELECTOR, [0xc4, 0x49, 0xd1, 0x7c]);
        assert_eq!(Escrow::captureCall::SELECTOR, [0x3e, 0xfa, 0x46, 0xe1]);
        assert_eq!(Escrow::refundCall::SELECTOR, [0xd4, 0x58, 0xdb, 0x5a]);
        assert_ne!(Escrow::chargeCall::SELECTOR, EscrowInBps::chargeCall::SELECTOR);
        assert_ne!(Escrow::captureCall::SELECTOR, EscrowInBps::captureCall::SELECTOR);
    }
}

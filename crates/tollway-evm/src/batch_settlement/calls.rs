//! The calls that a facilitator sends to the contract of channels, and that a payer sends for its own; and why one would
//! revert.

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{SolCall, SolError, SolValue};
use tollway_core::ErrorCode;

use super::abi::{Channels, VoucherClaim};
use super::channel::ChannelConfig;
use super::deposit::CheckedDeposit;
use super::payload::{ClaimEntry, RefundCompletion};
use super::{SETTLEMENT, code};
use crate::asset::TransferMethod;
use crate::multicall::{Call, after_deployment};
use crate::permit2::Approval;

impl CheckedDeposit {
    /// The call that puts the money into the channel; whoever sends it pays the gas. With the payer's approval of Permit2
    /// (EIP-2612), if there is one; after the payer's account is deployed, if it is to be (ERC-6492).
    ///
    /// ```
    /// use tollway_evm::{Call, batch_settlement::{ChannelConfig, CheckedDeposit, SETTLEMENT}};
    /// fn call(deposit: &CheckedDeposit, config: &ChannelConfig) -> Call {
    ///     deposit.call(config, None)
    /// }
    /// ```
    pub fn call(&self, config: &ChannelConfig, approval: Option<&Approval>) -> Call {
        let signature = self.signature.inner();
        let data = match self.method {
            TransferMethod::Eip3009 => {
                (self.valid_after, self.valid_before, self.salt, signature).abi_encode_params()
            }
            TransferMethod::Permit2 => {
                let approval = approval.map(|approval| encode_approval(approval, self.amount));
                let nonce = U256::from_be_bytes(self.nonce.0);
                (nonce, self.valid_before, signature, approval.unwrap_or_default()).abi_encode_params()
            }
        };
        let call = Channels::depositCall {
            config: config.into(),
            amount: self.amount,
            collector: self.collector(),
            collectorData: data.into(),
        };
        after_deployment(self.signature.deployment(), to_contract(&call))
    }
}

/// The call that claims vouchers, with the consent of their receiver's authorizer.
///
/// ```
/// use tollway_evm::{Bytes, batch_settlement::{SETTLEMENT, claim_call}};
/// assert_eq!(claim_call(&[], Bytes::new()).to, SETTLEMENT);
/// ```
pub fn claim_call(claims: &[ClaimEntry], authorizer_signature: Bytes) -> Call {
    to_contract(&Channels::claimWithSignatureCall {
        voucherClaims: claims.iter().map(VoucherClaim::from).collect(),
        authorizerSignature: authorizer_signature,
    })
}

/// The call that pays out what was claimed for a receiver.
///
/// ```
/// use tollway_evm::{Address, batch_settlement::settle_call};
/// let call = settle_call(Address::repeat_byte(1), Address::repeat_byte(2));
/// assert_eq!(call.data.len(), 4 + 2 * 32);
/// ```
pub fn settle_call(receiver: Address, token: Address) -> Call {
    to_contract(&Channels::settleCall { receiver, token })
}

/// The call that gives `amount` back to a channel's payer, after what is claimed of it: both or neither. What is not signed is
/// sent empty, and reverts.
///
/// ```
/// use tollway_evm::Call;
/// use tollway_evm::batch_settlement::{ChannelConfig, RefundCompletion, refund_call};
/// fn all(config: &ChannelConfig, left: u128, consents: &RefundCompletion) -> Call {
///     refund_call(config, left, consents)
/// }
/// ```
pub fn refund_call(config: &ChannelConfig, amount: u128, completion: &RefundCompletion) -> Call {
    let refund = Channels::refundWithSignatureCall {
        config: config.into(),
        amount,
        nonce: completion.nonce,
        receiverAuthorizerSignature: completion.refund_signature.clone().unwrap_or_default(),
    };
    if completion.claims.is_empty() {
        return to_contract(&refund);
    }
    let claim = claim_call(&completion.claims, completion.claim_signature.clone().unwrap_or_default());
    to_contract(&Channels::multicallCall { data: vec![claim.data, refund.abi_encode().into()] })
}

/// The call by which a payer begins to take `amount` back. Only the payer can send it, or the key that signs its vouchers.
///
/// ```
/// use tollway_evm::{Call, batch_settlement::{ChannelConfig, initiate_withdraw_call}};
/// fn begin(config: &ChannelConfig) -> Call {
///     initiate_withdraw_call(config, 1_000)
/// }
/// ```
pub fn initiate_withdraw_call(config: &ChannelConfig, amount: u128) -> Call {
    to_contract(&Channels::initiateWithdrawCall { config: config.into(), amount })
}

/// The call that ends it, when the delay is over.
///
/// ```
/// use tollway_evm::{Call, batch_settlement::{ChannelConfig, finalize_withdraw_call}};
/// fn end(config: &ChannelConfig) -> Call {
///     finalize_withdraw_call(config)
/// }
/// ```
pub fn finalize_withdraw_call(config: &ChannelConfig) -> Call {
    to_contract(&Channels::finalizeWithdrawCall { config: config.into() })
}

/// The code for what the contract says when a call would revert; none if it says nothing that is known.
///
/// ```
/// use tollway_evm::batch_settlement::revert_code;
/// assert_eq!(revert_code(&[]), None);
/// let reason_in_words = [0x08, 0xc3, 0x79, 0xa0];
/// assert_eq!(revert_code(&reason_in_words), None);
/// ```
pub fn revert_code(data: &[u8]) -> Option<ErrorCode> {
    let selector = data.get(..4)?;
    REVERTS.iter().find(|(known, _)| known == selector).map(|(_, code)| code.clone())
}

/// Each error of the contract, by its selector.
const REVERTS: &[([u8; 4], ErrorCode)] = &[
    (Channels::InvalidChannel::SELECTOR, code::CHANNEL_NOT_FOUND),
    (Channels::ZeroDeposit::SELECTOR, code::DEPOSIT_PAYLOAD),
    (Channels::DepositOverflow::SELECTOR, code::DEPOSIT_PAYLOAD),
    (Channels::InvalidCollector::SELECTOR, code::DEPOSIT_PAYLOAD),
    (Channels::DepositCollectionFailed::SELECTOR, code::DEPOSIT_SIMULATION_FAILED),
    (Channels::WithdrawDelayOutOfRange::SELECTOR, code::WITHDRAW_DELAY_OUT_OF_RANGE),
    (Channels::InvalidSignature::SELECTOR, code::VOUCHER_SIGNATURE),
    (Channels::ECDSAInvalidSignature::SELECTOR, code::VOUCHER_SIGNATURE),
    (Channels::ECDSAInvalidSignatureLength::SELECTOR, code::VOUCHER_SIGNATURE),
    (Channels::ECDSAInvalidSignatureS::SELECTOR, code::VOUCHER_SIGNATURE),
    (Channels::NotReceiverAuthorizer::SELECTOR, code::AUTHORIZER_ADDRESS_MISMATCH),
    (Channels::ClaimExceedsCeiling::SELECTOR, code::CHARGE_EXCEEDS_SIGNED_CUMULATIVE),
    (Channels::ClaimExceedsBalance::SELECTOR, code::CUMULATIVE_EXCEEDS_BALANCE),
    (Channels::EmptyBatch::SELECTOR, code::CLAIM_PAYLOAD),
    (Channels::InvalidRefundNonce::SELECTOR, code::REFUND_SIMULATION_FAILED),
    (Channels::ZeroRefund::SELECTOR, code::REFUND_AMOUNT_INVALID),
];

/// The payer's approval, as the collector takes it. Its value is what is deposited: the two are compared.
fn encode_approval(approval: &Approval, amount: u128) -> Bytes {
    let Approval { deadline, signature } = approval;
    let v = U256::from(27 + u8::from(signature.v()));
    (U256::from(amount), *deadline, v, signature.r(), signature.s()).abi_encode_params().into()
}

fn to_contract(call: &impl SolCall) -> Call {
    Call { to: SETTLEMENT, data: call.abi_encode().into() }
}

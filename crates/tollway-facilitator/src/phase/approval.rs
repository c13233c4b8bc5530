//! Beside phase 3: the approval of Permit2 that a payment carries as a signed transaction (extension
//! `erc20ApprovalGasSponsoring`). Where the operator pays for none it is not looked at; where he does, everything about it
//! that needs no chain is held against his limits before anybody is asked.

use tollway_core::model::FacilitatorRequest;
use tollway_core::{ErrorCode, Refusal};
use tollway_evm::Payment;
use tollway_evm::permit2::ERC20_APPROVAL_GAS_SPONSORING;

use crate::Limits;
use crate::evm_network::EvmNetwork;

/// Takes it up, if there is one and it may be sent.
pub(crate) fn take(
    payment: &mut Payment,
    request: &FacilitatorRequest,
    network: &EvmNetwork,
    limits: &Limits,
) -> Result<(), Refusal> {
    let Some(sponsoring) = network.sponsoring else { return Ok(()) };
    payment.take_approval(request)?;
    let Some(approval) = payment.sponsored_approval() else { return Ok(()) };
    if !payment.signature().is_by_key() {
        let (code, rule) = (ErrorCode::ERC20_APPROVAL_FROM_MISMATCH, "must be a plain key");
        return Err(refuse(payment, code, "from", rule));
    }
    let code = ErrorCode::ERC20_APPROVAL_TX_FAILED;
    if approval.max_fee_per_gas > limits.max_fee_per_gas {
        let rule = format!("must be at most {} wei, which is paid for here", limits.max_fee_per_gas);
        return Err(refuse(payment, code, "signedTransaction.maxFeePerGas", rule));
    }
    if approval.max_cost() > sponsoring.max_cost {
        let (cost, most) = (approval.max_cost(), sponsoring.max_cost);
        let rule = format!("may cost {cost} wei with maxFeePerGas; at most {most} are paid for here");
        return Err(refuse(payment, code, "signedTransaction.gas", rule));
    }
    Ok(())
}

/// About a field of the extension.
pub(crate) fn refuse(payment: &Payment, code: ErrorCode, field: &str, rule: impl Into<String>) -> Refusal {
    let field = format!("extensions.{ERC20_APPROVAL_GAS_SPONSORING}.info.{field}");
    Refusal::new(code, field, rule.into()).by(payment.payer().to_checksum(None))
}

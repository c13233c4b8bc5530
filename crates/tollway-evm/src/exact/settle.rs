//! The facilitator's side on chain: simulate the transfer, build the call that makes it.

use alloy_primitives::{Address, U256};
use alloy_sol_types::{SolCall, SolValue, sol};
use tollway_core::{ErrorCode, Refusal};

use super::ExactPayment;
use crate::chain::{Chain, ChainError};
use crate::multicall::{self, Call, Returned};

sol! {
    /// What Tollway calls on a token: EIP-20 and EIP-3009.
    interface Token {
        function balanceOf(address account) external view returns (uint256);
        function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
        function transferWithAuthorization(
            address from, address to, uint256 value, uint256 validAfter, uint256 validBefore,
            bytes32 nonce, uint8 v, bytes32 r, bytes32 s
        ) external;
    }
}

/// The call that moves the money: `transferWithAuthorization` of the token, with `v`, `r` and `s` (EIP-3009).
/// Whoever sends it pays the gas.
///
/// ```
/// use tollway_evm::exact;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// # let payment = exact::check_at_any_time(&request.payment, &request.requirements)?;
/// let call = exact::transfer_call(&payment);
/// assert_eq!((call.to, &call.data[..4]), (payment.asset, &[0xe3, 0xee, 0x16, 0x0e][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn transfer_call(payment: &ExactPayment) -> Call {
    let (authorization, signature) = (&payment.authorization, &payment.signature);
    let call = Token::transferWithAuthorizationCall {
        from: authorization.from,
        to: authorization.to,
        value: authorization.value,
        validAfter: authorization.valid_after,
        validBefore: authorization.valid_before,
        nonce: authorization.nonce,
        v: 27 + u8::from(signature.v()),
        r: signature.r().into(),
        s: signature.s().into(),
    };
    Call { to: payment.asset, data: call.abi_encode().into() }
}

/// Runs the transfer on the latest state in one `eth_call`, with what explains a failure around it: the nonce,
/// the payer's balance, and the payee's balance before and after.
///
/// # Errors
/// [`SimulationError::Refused`] when the transfer would not move exactly the value;
/// [`SimulationError::Chain`] when the node gave no answer, which says nothing about the payment.
pub async fn simulate(chain: &Chain, payment: &ExactPayment, sender: Address) -> Result<(), SimulationError> {
    let authorization = &payment.authorization;
    let call = |data: Vec<u8>| Call { to: payment.asset, data: data.into() };
    let balance_of = |account| call(Token::balanceOfCall { account }.abi_encode());
    let calls = [
        call(
            Token::authorizationStateCall { authorizer: authorization.from, nonce: authorization.nonce }
                .abi_encode(),
        ),
        balance_of(authorization.from),
        balance_of(authorization.to),
        transfer_call(payment),
        balance_of(authorization.to),
    ];
    let returned = multicall::call(chain, sender, &calls).await?;
    judge(payment, &returned)
        .map_err(|refusal| SimulationError::Refused(refusal.by(authorization.from.to_checksum(None))))
}

/// Why a simulation did not end well.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The transfer would fail.
    #[error(transparent)]
    Refused(Refusal),
    /// The node gave no answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

fn judge(payment: &ExactPayment, returned: &[Returned]) -> Result<(), Refusal> {
    let [state, payer_balance, before, transfer, after] = returned else {
        return Err(refuse(ErrorCode::UNEXPECTED_VERIFY_ERROR, "asset", "the simulation was cut short"));
    };
    if returned.iter().all(|result| result.success && result.data.is_empty()) {
        let rule = "must be a contract: there is no code at this address";
        return Err(refuse(ErrorCode::ASSET_NOT_DEPLOYED_CONTRACT, "asset", rule));
    }
    let authorization = &payment.authorization;
    match bool::abi_decode(&state.data) {
        Ok(false) if state.success => {}
        Ok(true) if state.success => {
            let rule = "must be unused: this authorization is used or canceled on chain";
            return Err(refuse(
                ErrorCode::INVALID_EXACT_EVM_NONCE_ALREADY_USED,
                "payload.authorization.nonce",
                rule,
            ));
        }
        _ => {
            let rule = "must implement EIP-3009: authorizationState fails";
            return Err(refuse(ErrorCode::INVALID_EXACT_EVM_EIP3009_NOT_SUPPORTED, "asset", rule));
        }
    }
    let balance = |result: &Returned| U256::abi_decode(&result.data).ok().filter(|_| result.success);
    if balance(payer_balance).is_some_and(|balance| balance < authorization.value) {
        let rule = "must be covered by the payer's balance";
        return Err(refuse(
            ErrorCode::INVALID_EXACT_EVM_INSUFFICIENT_BALANCE,
            "payload.authorization.value",
            rule,
        ));
    }
    if !transfer.success {
        let rule = format!("the transfer would revert: {}", transfer.revert_reason());
        return Err(refuse(
            ErrorCode::INVALID_EXACT_EVM_TRANSACTION_SIMULATION_FAILED,
            "payload.authorization",
            rule,
        ));
    }
    // Paying oneself moves nothing that a balance shows; the Transfer event will have to do.
    let moved = match (balance(before), balance(after)) {
        (Some(before), Some(after)) => after.checked_sub(before) == Some(authorization.value),
        _ => false,
    };
    if moved || authorization.from == authorization.to {
        return Ok(());
    }
    let rule = "must deliver exactly its value: the payee's balance would change by another amount";
    Err(refuse(ErrorCode::INVALID_EXACT_EVM_TRANSFER_EVENT_MISMATCH, "payload.authorization.value", rule))
}

fn refuse(code: ErrorCode, field: &str, rule: impl Into<String>) -> Refusal {
    Refusal::new(code, field, rule)
}

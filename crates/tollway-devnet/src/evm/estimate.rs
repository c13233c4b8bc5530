//! `eth_estimateGas`: the least gas limit, to within a tolerance, with which a message succeeds.
//!
//! What a run used is not what it needs: a call passes on at most 63/64 of its gas, and refunds come only at
//! the end. So the limit is searched for by running, as nodes do.

use alloy_primitives::U256;
use alloy_rpc_types_eth::TransactionRequest;
use revm::context::result::ExecutionResult;

use super::{Call, TRANSACTION_GAS_CAP, simulate};
use crate::failure::Failure;

/// The gas of a plain transfer.
const TRANSFER_GAS: u64 = 21_000;
/// What a call with value gives on top of what the caller pays.
const CALL_STIPEND: u64 = 2_300;
/// The search stops when the bounds are this close: one part in this many.
const TOLERANCE: u64 = 64;

/// Finds a gas limit for `request`.
pub(crate) fn estimate(call: &Call, request: &TransactionRequest) -> Result<u64, Failure> {
    let mut high = ceiling(call, request)?;
    if is_plain_transfer(call, request) && succeeds(call, request, TRANSFER_GAS)? {
        return Ok(TRANSFER_GAS);
    }
    let gas = match simulate(call, request, high)? {
        ExecutionResult::Success { gas, .. } => gas,
        ExecutionResult::Revert { output, .. } => return Err(Failure::reverted(output)),
        ExecutionResult::Halt { reason, .. } => return Err(halted(&reason, high)),
    };
    let mut low = gas.tx_gas_used().saturating_sub(1);
    // Most messages succeed with what they used before refunds, plus the 64th that calls hold back.
    let likely = (gas.total_gas_spent().max(gas.floor_gas()) + CALL_STIPEND).saturating_mul(64) / 63;
    if likely < high {
        if succeeds(call, request, likely)? { high = likely } else { low = likely }
    }
    while high - low > 1 && (high - low) > high / TOLERANCE {
        // Needs are usually just above what was used, so the search leans to the low side.
        let middle = (low + (high - low) / 2).min(low.saturating_mul(2));
        if succeeds(call, request, middle)? { high = middle } else { low = middle }
    }
    Ok(high)
}

/// The most gas the message may have: what it says, what a transaction may ask for, what its sender can pay.
fn ceiling(call: &Call, request: &TransactionRequest) -> Result<u64, Failure> {
    let most = call.block.gas_limit.min(TRANSACTION_GAS_CAP);
    let gas = request.gas.map_or(most, |gas| gas.min(most));
    let price = request.gas_price.or(request.max_fee_per_gas).unwrap_or_default();
    if price == 0 {
        return Ok(gas);
    }
    let balance = call.state.balance(request.from.unwrap_or_default());
    let available = balance
        .checked_sub(request.value.unwrap_or_default())
        .ok_or_else(|| Failure::server("insufficient funds for transfer"))?;
    let affordable = available / U256::from(price);
    Ok(gas.min(affordable.saturating_to()))
}

fn is_plain_transfer(call: &Call, request: &TransactionRequest) -> bool {
    let to = request.to.and_then(|to| to.to().copied());
    to.is_some_and(|to| call.state.code(to).is_empty())
        && request.input.input().is_none_or(|data| data.is_empty())
        && request.authorization_list.is_none()
        && request.access_list.is_none()
}

fn succeeds(call: &Call, request: &TransactionRequest, gas: u64) -> Result<bool, Failure> {
    match simulate(call, request, gas) {
        Ok(result) => Ok(result.is_success()),
        // Below the intrinsic gas the message can't even start; anything else would fail at every limit.
        Err(failure) if failure.message.starts_with("intrinsic gas too low") => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn halted(reason: &revm::context::result::HaltReason, gas: u64) -> Failure {
    match reason {
        revm::context::result::HaltReason::OutOfGas(_) => {
            Failure::server(format!("gas required exceeds allowance ({gas})"))
        }
        other => Failure::halted(other),
    }
}

//! Running things: calls, estimates, transactions.

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Bytes, U64};
use alloy_rpc_types_eth::{
    BlockOverrides, TransactionRequest,
    simulate::{SimulatePayload, SimulatedBlock},
    state::StateOverride,
};
use revm::context::result::ExecutionResult;

use super::{
    Answer, Params, reply,
    view::{rpc_block, rpc_logs},
};
use crate::{
    evm::{Call, estimate, simulate},
    failure::Failure,
    node::Sight,
    simulation::Simulation,
};

pub(super) fn call(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let (call, request) = prepare(node, params)?;
    let most = node.config.limits.call_gas;
    let gas = request.gas.map_or(most, |gas| gas.min(most));
    match simulate(&call, &request, gas)? {
        ExecutionResult::Success { output, .. } => reply(output.data()),
        ExecutionResult::Revert { output, .. } => Err(Failure::reverted(output)),
        ExecutionResult::Halt { reason, .. } => Err(Failure::halted(&reason)),
    }
}

pub(super) fn estimate_gas(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let (call, request) = prepare(node, params)?;
    reply(&U64::from(estimate(&call, &request)?))
}

pub(super) fn simulate_blocks(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let payload = params.get::<SimulatePayload>(0, "simulation")?;
    let block = params.optional(1, "block")?.unwrap_or(BlockId::Number(BlockNumberOrTag::Latest));
    let full = payload.return_full_transactions;
    let blocks = Simulation::new(node, block, payload.validation)?.run(payload)?;
    let told = blocks.into_iter().map(|(block, mut calls)| {
        for (index, call) in calls.iter_mut().enumerate() {
            call.logs = rpc_logs(&block, index).collect();
        }
        SimulatedBlock { inner: rpc_block(&block, full), calls }
    });
    reply(&told.collect::<Vec<_>>())
}

pub(super) fn send_raw(node: &Sight<'_>, params: &Params<'_>) -> Answer {
    let raw = params.get::<Bytes>(0, "transaction")?;
    reply(&node.submit(&raw)?)
}

fn prepare(node: &Sight<'_>, params: &Params<'_>) -> Result<(Call, TransactionRequest), Failure> {
    let request = params.get(0, "transaction")?;
    let block = params.optional(1, "block")?.unwrap_or(BlockId::Number(BlockNumberOrTag::Latest));
    let mut call = node.call(block)?;
    if let Some(overrides) = params.optional::<StateOverride>(2, "stateOverrides")? {
        call.override_state(overrides)?;
    }
    if let Some(overrides) = params.optional::<BlockOverrides>(3, "blockOverrides")? {
        call.override_block(overrides)?;
    }
    Ok((call, request))
}

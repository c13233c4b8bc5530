//! The JSON-RPC methods: from a method name and its parameters to an answer.
//!
//! Framing (HTTP, WebSocket, batches, ids) is in [`crate::serve`] and [`crate::transport`]. The chain is in
//! [`crate::node`]; methods only translate.

mod accounts;
mod blocks;
mod control;
mod execute;
mod fees;
mod logs;
mod params;
mod view;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

pub(crate) use self::{logs::block_logs, params::Params, view::rpc_header};
use crate::{
    failure::Failure,
    node::{Node, Sight},
};

/// What a method answers.
pub(crate) type Answer = Result<Box<RawValue>, Failure>;

/// Whether a method may take long enough to deserve a thread of its own.
pub(crate) fn is_heavy(method: &str) -> bool {
    matches!(
        method,
        "eth_call"
            | "eth_estimateGas"
            | "eth_simulateV1"
            | "eth_getLogs"
            | "anvil_mine"
            | "hardhat_mine"
            | "evm_mine"
    )
}

/// Answers one request. Runs to its end on the calling thread.
pub(crate) fn answer(node: &Node, method: &str, params: Option<&RawValue>) -> Answer {
    let strike = node.strike(method);
    if let Some(failure) = strike.failure {
        return Err(failure);
    }
    let answer = dispatch(&Sight::new(node, strike.behind), method, &Params::parse(params)?);
    match strike.instead {
        Some(failure) => Err(failure),
        None => answer,
    }
}

fn dispatch(node: &Sight<'_>, method: &str, params: &Params<'_>) -> Answer {
    match method {
        "eth_chainId" => reply(&format!("0x{:x}", node.config.chain_id)),
        "net_version" => reply(&node.config.chain_id.to_string()),
        "net_listening" => reply(&true),
        "web3_clientVersion" => reply(concat!("tollway-devnet/v", env!("CARGO_PKG_VERSION"))),
        "web3_sha3" => reply(&alloy_primitives::keccak256(params.get::<alloy_primitives::Bytes>(0, "data")?)),
        "eth_syncing" => reply(&false),
        // The node holds no keys: transactions arrive signed.
        "eth_accounts" => reply::<[(); 0]>(&[]),

        "eth_blockNumber" => blocks::number(node),
        "eth_getBlockByNumber" => blocks::by_number(node, params),
        "eth_getBlockByHash" => blocks::by_hash(node, params),
        "eth_getBlockTransactionCountByNumber" => blocks::transaction_count_by_number(node, params),
        "eth_getBlockTransactionCountByHash" => blocks::transaction_count_by_hash(node, params),
        "eth_getBlockReceipts" => blocks::receipts(node, params),
        "eth_getTransactionByBlockNumberAndIndex" => blocks::transaction_by_number_and_index(node, params),
        "eth_getTransactionByBlockHashAndIndex" => blocks::transaction_by_hash_and_index(node, params),
        "eth_getTransactionByHash" => blocks::transaction(node, params),
        "eth_getTransactionReceipt" => blocks::receipt(node, params),

        "eth_getBalance" => accounts::balance(node, params),
        "eth_getCode" => accounts::code(node, params),
        "eth_getStorageAt" => accounts::storage(node, params),
        "eth_getTransactionCount" => accounts::nonce(node, params),

        "eth_call" => execute::call(node, params),
        "eth_estimateGas" => execute::estimate_gas(node, params),
        "eth_simulateV1" => execute::simulate_blocks(node, params),
        "eth_sendRawTransaction" => execute::send_raw(node, params),

        "eth_gasPrice" => fees::gas_price(node),
        "eth_maxPriorityFeePerGas" => fees::priority_fee(),
        "eth_feeHistory" => fees::history(node, params),
        "eth_blobBaseFee" => reply("0x1"),

        "eth_getLogs" => logs::get(node, params),
        "eth_newFilter" => logs::new_filter(node, params),
        "eth_newBlockFilter" => logs::new_block_filter(node),
        "eth_getFilterChanges" => logs::changes(node, params),
        "eth_getFilterLogs" => logs::all(node, params),
        "eth_uninstallFilter" => logs::uninstall(node, params),

        _ => control::answer(node, method, params),
    }
}

/// Turns a result into an answer.
fn reply<T: Serialize + ?Sized>(result: &T) -> Answer {
    to_raw_value(result).map_err(|problem| Failure::new(-32_603, problem.to_string()))
}

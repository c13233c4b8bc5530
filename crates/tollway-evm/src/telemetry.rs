//! What is measured of the node. Labels: `network`, `method`, and for errors `kind`.

use std::borrow::Cow;

use metrics::{counter, histogram};
use tokio::time::Instant;
use tollway_core::Network;

/// JSON-RPC calls. Those that travel together in a batch count once, under the method that the batch is for.
pub const RPC_CALLS: &str = "tollway_rpc_calls_total";
/// JSON-RPC calls without a result. A call that reverts is among them, as `rejected`. Kinds: `timeout`, `rejected` (an
/// error object), `http` (a status), `unreachable`, `malformed`.
pub const RPC_ERRORS: &str = "tollway_rpc_errors_total";
/// How long the node took.
pub const RPC_SECONDS: &str = "tollway_rpc_seconds";

/// The methods that are told apart; all others are `other`.
const METHODS: &[&str] = &[
    "eth_blockNumber",
    "eth_call",
    "eth_chainId",
    "eth_estimateGas",
    "eth_feeHistory",
    "eth_getBalance",
    "eth_getBlockByHash",
    "eth_getBlockByNumber",
    "eth_getBlockReceipts",
    "eth_getCode",
    "eth_getLogs",
    "eth_getTransactionByHash",
    "eth_getTransactionCount",
    "eth_getTransactionReceipt",
    "eth_maxPriorityFeePerGas",
    "eth_sendRawTransaction",
    "eth_subscribe",
];

/// Counts a call that has ended.
pub(crate) fn called(network: &Network, method: &str, began: Instant, error: Option<&'static str>) {
    let method = METHODS.iter().find(|known| **known == method).copied().unwrap_or("other");
    let network = Cow::<'static, str>::Owned(network.as_str().to_owned());
    counter!(RPC_CALLS, "network" => network.clone(), "method" => method).increment(1);
    if let Some(kind) = error {
        counter!(RPC_ERRORS, "network" => network.clone(), "method" => method, "kind" => kind).increment(1);
    }
    histogram!(RPC_SECONDS, "network" => network, "method" => method).record(began.elapsed());
}

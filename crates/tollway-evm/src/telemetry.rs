//! What is measured of the nodes. Labels: `network`, `method`, and for errors `kind`; of each single node `network`, `node`
//! (its place in the configuration) and `host`, never more of its URL.

use std::borrow::Cow;

use metrics::{Label, counter, gauge, histogram};
use tokio::time::Instant;
use tollway_core::Network;

/// JSON-RPC calls. Those that travel together in a batch count once, under the method that the batch is for.
pub const RPC_CALLS: &str = "tollway_rpc_calls_total";
/// JSON-RPC calls without a result. A call that reverts is among them, as `rejected`. Kinds: `timeout`, `rejected` (an
/// error object), `http` (a status), `unreachable`, `malformed`.
pub const RPC_ERRORS: &str = "tollway_rpc_errors_total";
/// How long the node took.
pub const RPC_SECONDS: &str = "tollway_rpc_seconds";
/// What one node was asked; a batch counts once.
pub const NODE_CALLS: &str = "tollway_rpc_node_calls_total";
/// What one node was asked in vain, by `kind`: `unreachable`, `slow`, `http`, `malformed`, `limited`, `troubled`, `unable`.
pub const NODE_ERRORS: &str = "tollway_rpc_node_errors_total";
/// How long one node took.
pub const NODE_SECONDS: &str = "tollway_rpc_node_seconds";
/// How often our own limit for a node held a call up (`result` is `waited`) or left no room for it (`refused`).
pub const NODE_THROTTLED: &str = "tollway_rpc_node_throttled_total";
/// Whether a node is well: 1 or 0.
pub const NODE_HEALTHY: &str = "tollway_rpc_node_healthy";
/// How often a node changed its state, by the new `state`.
pub const NODE_CHANGES: &str = "tollway_rpc_node_changes_total";

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

/// One node's labels.
#[derive(Clone, Debug)]
pub(crate) struct NodeLabels(Vec<Label>);

impl NodeLabels {
    pub(crate) fn new(network: &Network, index: usize, host: &str) -> Self {
        let network = network.as_str().to_owned();
        Self(vec![
            Label::new("network", network),
            Label::new("node", index.to_string()),
            Label::new("host", host.to_owned()),
        ])
    }

    /// It was asked.
    pub(crate) fn asked(&self, began: Instant, error: Option<&'static str>) {
        counter!(NODE_CALLS, self.0.clone()).increment(1);
        histogram!(NODE_SECONDS, self.0.clone()).record(began.elapsed());
        if let Some(kind) = error {
            counter!(NODE_ERRORS, self.with("kind", kind)).increment(1);
        }
    }

    /// Its rate limit was felt.
    pub(crate) fn throttled(&self, result: &'static str) {
        counter!(NODE_THROTTLED, self.with("result", result)).increment(1);
    }

    /// It is in another state now.
    pub(crate) fn changed(&self, state: &'static str, is_healthy: bool) {
        gauge!(NODE_HEALTHY, self.0.clone()).set(if is_healthy { 1.0 } else { 0.0 });
        counter!(NODE_CHANGES, self.with("state", state)).increment(1);
    }

    fn with(&self, name: &'static str, value: &'static str) -> Vec<Label> {
        let mut labels = self.0.clone();
        labels.push(Label::new(name, value));
        labels
    }
}

//! Misbehaviour on demand: what a node, a mempool or a provider may do to a payer, made to happen when a test
//! says so.

use std::sync::Arc;

use serde::Deserialize;

use crate::{failure::Failure, node::Node};

/// How many error faults may be armed at the same time.
const ERRORS_ARMED: usize = 64;

/// Arms and disarms faults of a running devnet. Cheap to clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> tollway_devnet::Result<()> {
/// use tollway_devnet::{Config, Fault};
///
/// let devnet = tollway_devnet::spawn(Config::default()).await?;
/// devnet.faults().inject(Fault::Drop { count: 1 });
/// devnet.faults().inject(Fault::Clear);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Faults {
    node: Arc<Node>,
}

/// One fault. As a parameter of `tollway_setFault` it is an object with a `kind`: `{"kind": "drop", "count":
/// 2}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Fault {
    /// The next valid raw transactions get their hash as an answer and are then forgotten.
    Drop {
        /// How many.
        count: u64,
    },
    /// Transactions stay in the pool and blocks stay empty, until [`Fault::Release`].
    Hold,
    /// Ends a hold. On an instant chain what waits is mined at once.
    Release,
    /// The latest blocks are taken back and a chain that is one block longer takes their place, at once. What
    /// they held goes back to the pool and is included again, unless a [`Fault::Hold`] is in force.
    Reorg {
        /// How many blocks; at most [`Config::finality_blocks`](crate::Config::finality_blocks).
        depth: u64,
        /// Forgets the transactions instead.
        #[serde(default)]
        lost: bool,
    },
    /// The next requests fail. Methods that start with `tollway_` never do.
    Error {
        /// Only requests for this method; all methods if absent.
        #[serde(default)]
        method: Option<String>,
        /// How many requests fail.
        count: u64,
        /// The JSON-RPC error code.
        #[serde(default = "default_code")]
        code: i64,
        /// The JSON-RPC error message.
        #[serde(default = "default_message")]
        message: String,
        /// Answers with this HTTP status and the message as the body, instead of a JSON-RPC error. On a
        /// WebSocket, where there is no status, the error is told as JSON-RPC.
        #[serde(default)]
        http_status: Option<u16>,
    },
    /// Disarms everything; a hold is released.
    Clear,
}

impl Faults {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// Arms one fault, in addition to those already armed. At most 64 errors are armed at once: the oldest
    /// makes room.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tollway_devnet::Config;
    /// let devnet = tollway_devnet::spawn(Config::default()).await?;
    /// use tollway_devnet::Fault;
    /// let message = "header not found".to_owned();
    /// let fault = Fault::Error { method: None, count: 1, code: -32_000, message, http_status: None };
    /// devnet.faults().inject(fault);
    /// let rpc = alloy_rpc_client::RpcClient::new(devnet.transport(), true);
    /// assert!(rpc.request_noparams::<String>("eth_chainId").await.is_err());
    /// assert!(rpc.request_noparams::<String>("eth_chainId").await.is_ok());
    /// # Ok(()) }
    /// ```
    pub fn inject(&self, fault: Fault) {
        self.node.inject(fault);
    }
}

/// What is armed at the moment.
#[derive(Debug, Default)]
pub(crate) struct Armed {
    drops: u64,
    held: bool,
    errors: Vec<(Option<String>, u64, Failure)>,
}

impl Armed {
    /// Arms or disarms. Returns whether a hold has ended.
    pub(crate) fn apply(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Drop { count } => self.drops = self.drops.saturating_add(count),
            Fault::Hold => self.held = true,
            Fault::Release => return std::mem::take(&mut self.held),
            Fault::Error { method, count, code, message, http_status } => {
                if self.errors.len() == ERRORS_ARMED {
                    self.errors.remove(0);
                }
                self.errors.push((method, count, Failure { http_status, ..Failure::new(code, message) }));
            }
            Fault::Clear => return std::mem::take(self).held,
            // Nothing to arm: it has happened by now.
            Fault::Reorg { .. } => {}
        }
        false
    }

    /// Whether transactions are kept out of blocks.
    pub(crate) fn held(&self) -> bool {
        self.held
    }

    /// Whether the transaction at hand is to be lost. Counts it.
    pub(crate) fn take_drop(&mut self) -> bool {
        let drop = self.drops > 0;
        self.drops = self.drops.saturating_sub(1);
        drop
    }

    /// The error that the request at hand is to fail with, if any. Counts it.
    pub(crate) fn take_error(&mut self, method: &str) -> Option<Failure> {
        if self.errors.is_empty() || method.starts_with("tollway_") {
            return None;
        }
        let matching = |(only, count, _): &&mut (Option<String>, u64, Failure)| {
            *count > 0 && only.as_deref().is_none_or(|only| only == method)
        };
        let (_, count, failure) = self.errors.iter_mut().find(matching)?;
        *count -= 1;
        let failure = failure.clone();
        self.errors.retain(|(_, count, _)| *count > 0);
        Some(failure)
    }
}

fn default_code() -> i64 {
    -32_000
}

fn default_message() -> String {
    "injected fault".into()
}

#[cfg(test)]
mod tests {
    use super::{Armed, Fault};

    #[test]
    fn an_error_fault_hits_its_method_as_often_as_it_says() {
        let mut armed = Armed::default();
        let fault = r#"{"kind": "error", "method": "eth_call", "count": 2, "httpStatus": 503}"#;
        armed.apply(serde_json::from_str::<Fault>(fault).unwrap());
        assert!(armed.take_error("eth_chainId").is_none());
        assert_eq!(armed.take_error("eth_call").unwrap().http_status, Some(503));
        assert!(armed.take_error("eth_call").is_some());
        assert!(armed.take_error("eth_call").is_none());
    }

    #[test]
    fn clearing_ends_a_hold() {
        let mut armed = Armed::default();
        assert!(!armed.apply(Fault::Hold));
        assert!(armed.held());
        assert!(armed.apply(Fault::Clear));
        assert!(!armed.held());
    }
}

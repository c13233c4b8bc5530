//! Why a chain gave no answer. Nothing here shows a node's URL: URLs of nodes hold keys.

use std::fmt;

use alloy_json_rpc::RpcError;
use alloy_transport::{TransportError, TransportErrorKind};
use tollway_core::Network;

/// Why the node gave no answer. It says nothing about any payment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The node was not reached, or answered with an error.
    #[error("{method}: {error}")]
    Rpc {
        /// The JSON-RPC method.
        method: String,
        /// What went wrong.
        error: NodeError,
    },
    /// No answer in time.
    #[error("{method}: no answer within {deadline_ms} ms")]
    Timeout {
        /// The JSON-RPC method.
        method: String,
        /// The deadline.
        deadline_ms: u128,
    },
    /// The node is on another chain.
    #[error("the node is on chain {actual}, configured is {expected}")]
    OtherChain {
        /// The configured chain id.
        expected: u64,
        /// The node's.
        actual: u64,
    },
    /// The network is not an EVM network.
    #[error("{0} is not an EVM network")]
    NotEvm(Network),
    /// Not a URL.
    #[error("rpc url: {0}")]
    Url(String),
    /// No node was given, or too many.
    #[error("nodes: there must be 1 to {0}")]
    Nodes(usize),
    /// Multicall3 is not at its address, or does not behave.
    #[error("Multicall3 at 0xcA11bde05977b3631167028862bE2a173976CA11 does not answer as it should")]
    NoMulticall,
    /// A token does not tell the state of an authorization.
    #[error("an asset does not tell the state of an authorization: it does not implement EIP-3009")]
    NoState,
    /// The node does not run a call without a target, or gives it too little gas for one payment.
    #[error(
        "the node does not simulate transfers: an eth_call without a target does not answer as it should"
    )]
    NoSimulation,
    /// The node has no latest block.
    #[error("the node has no latest block")]
    NoBlock,
}

/// What a node or the way to it did wrong. It is never shown as the transport has it: that holds the node's URL, and
/// URLs of nodes hold keys.
pub struct NodeError(pub(super) TransportError);

impl NodeError {
    fn describe(&self) -> String {
        if let Some(unanswered) = Unanswered::of(&self.0) {
            return unanswered.to_string();
        }
        match &self.0 {
            RpcError::ErrorResp(answer) => {
                let words: String = answer.message.chars().filter(|c| !c.is_control()).take(200).collect();
                format!("the node answered error {}: {words}", answer.code)
            }
            RpcError::Transport(kind) => match kind.as_http_error() {
                Some(http) => format!("the node answered with HTTP status {}", http.status),
                None => Unanswered::NotReached.to_string(),
            },
            RpcError::DeserError { .. } | RpcError::SerError(_) => {
                "the node's answer is not of the method".to_owned()
            }
            _ => "the node gave no usable answer".to_owned(),
        }
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

impl fmt::Debug for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeError({:?})", self.describe())
    }
}

impl ChainError {
    /// The node's own words for a call it rejected, if it answered at all: foreign text, without bound.
    ///
    /// ```
    /// # use alloy_transport::mock::{Asserter, MockTransport};
    /// # use tollway_core::Network;
    /// # use tollway_evm::Bytes;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let node = Asserter::new();
    /// # node.push_failure_msg("nonce too low");
    /// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
    /// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
    /// # let raw = Bytes::from_static(&[2]);
    /// let error = chain.send_raw(&raw).await.unwrap_err();
    /// assert_eq!(error.rejection(), Some("nonce too low"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn rejection(&self) -> Option<&str> {
        match self {
            Self::Rpc { error, .. } => error.0.as_error_resp().map(|error| error.message.as_ref()),
            _ => None,
        }
    }

    /// Whether the node does not know the method (JSON-RPC 2.0, section 5.1).
    pub(crate) fn is_missing_method(&self) -> bool {
        let response = match self {
            Self::Rpc { error, .. } => error.0.as_error_resp(),
            _ => None,
        };
        response.is_some_and(|response| response.code == -32_601)
    }

    /// Whether the node ran a call, and its gas did not last. Nodes have no code for it, and say it in these words.
    pub(crate) fn is_out_of_gas(&self) -> bool {
        let said = match self {
            Self::Rpc { error, .. } => {
                error.0.as_error_resp().map(|response| response.message.to_lowercase())
            }
            _ => None,
        };
        said.is_some_and(|said| {
            ["out of gas", "outofgas", "intrinsic gas"].iter().any(|one| said.contains(one))
        })
    }

    /// One word for it, for who counts.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "timeout",
            Self::Rpc { error: NodeError(RpcError::ErrorResp(_)), .. } => "rejected",
            Self::Rpc { error: NodeError(RpcError::Transport(kind)), .. } => match kind.as_http_error() {
                Some(_) => "http",
                None => "unreachable",
            },
            _ => "malformed",
        }
    }
}

/// Why nobody answered, as this side knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unanswered {
    /// No answer in time.
    #[error("no answer in time")]
    Late,
    /// No connection: what was to be sent never left.
    #[error("the node was not reached")]
    NotReached,
    /// It was sent, and then the connection broke.
    #[error("the connection to the node broke")]
    Broken,
    /// More than is read.
    #[error("the node's answer is too long")]
    TooLong,
    /// The node's rate limit leaves no room before the deadline. Nothing was sent.
    #[error("the rate limit of the node leaves no room in time")]
    Throttled,
    /// Those that answer are behind what was already seen.
    #[error("no node has come to block {0}, which was already seen")]
    Behind(u64),
    /// Nobody is there to be asked.
    #[error("no node is healthy")]
    Nobody,
}

impl Unanswered {
    pub(super) fn of(error: &TransportError) -> Option<Self> {
        match error {
            RpcError::Transport(TransportErrorKind::Custom(error)) => error.downcast_ref::<Self>().copied(),
            _ => None,
        }
    }
}

impl From<Unanswered> for TransportError {
    fn from(unanswered: Unanswered) -> Self {
        TransportErrorKind::custom(unanswered)
    }
}

//! One EVM network through its nodes: the few JSON-RPC methods that settling needs, each with a deadline.
//!
//! The transport is alloy's, so a node over HTTP and a devnet in this process look the same. Which of several nodes is
//! asked, [`nodes`] says; here they are one.

mod answer;
mod board;
mod broadcast;
mod endpoint;
mod error;
mod node;
mod nodes;
mod rate;

use std::borrow::Cow;
use std::time::Duration;

use alloy_json_rpc::{ResponsePacket, RpcRecv, RpcSend};
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use alloy_rpc_client::{RpcClient, Waiter};
use alloy_rpc_types_eth::simulate::{SimBlock, SimCallResult, SimulatePayload, SimulatedBlock};
use alloy_rpc_types_eth::{
    Block, BlockNumberOrTag, Filter, Log, TransactionInput, TransactionReceipt, TransactionRequest,
};
use alloy_transport::{IntoBoxTransport, TransportError};
use futures_util::future::try_join_all;
use serde_json::Value;
use tollway_core::Network;

use crate::multicall::Call;
use crate::telemetry;

use self::error::Unanswered;
use self::nodes::{Checked, Nodes};

pub use self::answer::Refused;
pub use self::error::{ChainError, NodeError};
pub use self::node::{Node, NodeStatus};
pub use self::nodes::NodeRules;

/// A network behind one node, or several.
#[derive(Clone, Debug)]
pub struct Chain {
    client: RpcClient,
    nodes: Nodes,
    network: Network,
    chain_id: u64,
    deadline: Duration,
}

/// How an `eth_call` ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    /// With this data.
    Returned(Bytes),
    /// Reverted, with this data.
    Reverted(Bytes),
}

/// What a block's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// The hash of the block before it.
    pub parent_hash: B256,
    /// Its timestamp, seconds.
    pub timestamp: u64,
    /// Its base fee, wei.
    pub base_fee: u128,
}

impl Chain {
    /// A network behind the node at `url` (HTTP). Nothing is sent yet; each later request has `deadline` for
    /// its answer.
    ///
    /// # Errors
    /// [`ChainError::Url`], [`ChainError::NotEvm`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollway_core::Network;
    /// use tollway_evm::Chain;
    /// let chain = Chain::connect("https://mainnet.base.org", &Network::evm(8453), Duration::from_secs(5))?;
    /// assert_eq!(chain.chain_id(), 8453);
    /// # Ok::<(), tollway_evm::ChainError>(())
    /// ```
    pub fn connect(url: &str, network: &Network, deadline: Duration) -> Result<Self, ChainError> {
        Self::over(vec![Node::http(url)?], NodeRules::default(), network, deadline)
    }

    /// A network behind any transport, such as a devnet in this process.
    ///
    /// # Errors
    /// [`ChainError::NotEvm`].
    ///
    /// ```
    /// use alloy_transport::mock::{Asserter, MockTransport};
    /// # use std::time::Duration;
    /// # use tollway_evm::{Chain, ChainError};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let node = MockTransport::new(Asserter::new());
    /// let solana = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp".parse()?;
    /// let refused = Chain::from_transport(node, &solana, Duration::from_secs(5));
    /// assert!(matches!(refused, Err(ChainError::NotEvm(network)) if network == solana));
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_transport(
        transport: impl IntoBoxTransport,
        network: &Network,
        deadline: Duration,
    ) -> Result<Self, ChainError> {
        let node = Node::from_transport("here", transport);
        Self::over(vec![node], NodeRules::default(), network, deadline)
    }

    /// A network behind these nodes. The first that is well answers, until it is well no longer; a transaction is offered
    /// to all. A single node is asked however it is.
    ///
    /// # Errors
    /// [`ChainError::NotEvm`], [`ChainError::Nodes`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollway_core::Network;
    /// use tollway_evm::{Chain, Node, NodeRules};
    /// let nodes = vec![Node::http("https://one.example.org")?, Node::http("https://two.example.org")?];
    /// let (rules, deadline) = (NodeRules::default(), Duration::from_secs(5));
    /// let chain = Chain::over(nodes, rules, &Network::evm(8453), deadline)?;
    /// assert_eq!(chain.nodes().len(), 2);
    /// # Ok::<(), tollway_evm::ChainError>(())
    /// ```
    pub fn over(
        nodes: Vec<Node>,
        rules: NodeRules,
        network: &Network,
        deadline: Duration,
    ) -> Result<Self, ChainError> {
        let chain_id = network.evm_chain_id().ok_or_else(|| ChainError::NotEvm(network.clone()))?;
        let nodes = Nodes::new(nodes, rules, network, chain_id, deadline)?;
        let client = RpcClient::new(nodes.clone(), true);
        Ok(Self { client, nodes, network: network.clone(), chain_id, deadline })
    }

    /// How its nodes are, as far as is known. Nobody is asked.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollway_core::Network;
    /// use tollway_evm::Chain;
    /// let url = "https://rpc.example.org/a-secret-key";
    /// let chain = Chain::connect(url, &Network::evm(8453), Duration::from_secs(5))?;
    /// let node = &chain.nodes()[0];
    /// assert_eq!((&*node.name, node.state, node.head), ("rpc.example.org", "unchecked", None));
    /// # Ok::<(), tollway_evm::ChainError>(())
    /// ```
    pub fn nodes(&self) -> Vec<NodeStatus> {
        self.nodes.statuses()
    }

    /// The network.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tollway_core::Network;
    /// # use tollway_evm::Chain;
    /// let chain = Chain::connect("http://127.0.0.1:8545", &Network::evm(31337), Duration::from_secs(5))?;
    /// assert_eq!(chain.network().as_str(), "eip155:31337");
    /// # Ok::<(), tollway_evm::ChainError>(())
    /// ```
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// Its chain id (EIP-155), as configured: the node is asked by [`check_chain_id`](Self::check_chain_id).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tollway_core::Network;
    /// # use tollway_evm::Chain;
    /// let chain = Chain::connect("http://127.0.0.1:8545", &Network::evm(31337), Duration::from_secs(5))?;
    /// assert_eq!(chain.chain_id(), 31337);
    /// # Ok::<(), tollway_evm::ChainError>(())
    /// ```
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Makes sure that the node is on the configured chain.
    ///
    /// # Errors
    /// [`ChainError::OtherChain`], or no answer.
    ///
    /// ```
    /// # use alloy_transport::mock::{Asserter, MockTransport};
    /// # use tollway_core::Network;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let node = Asserter::new();
    /// # node.push_success(&"0x1");
    /// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
    /// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
    /// # use tollway_evm::ChainError;
    /// let error = chain.check_chain_id().await.unwrap_err(); // the node is on Ethereum
    /// assert!(matches!(error, ChainError::OtherChain { expected: 8453, actual: 1 }));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn check_chain_id(&self) -> Result<(), ChainError> {
        let actual: U64 = self.request("eth_chainId", ()).await?;
        let (expected, actual) = (self.chain_id, actual.to());
        if expected == actual { Ok(()) } else { Err(ChainError::OtherChain { expected, actual }) }
    }

    /// Asks every node for its chain and its head, and tells what is wrong with each, in their order: nothing, that it is
    /// on another chain, or that it gave no answer.
    pub(crate) async fn check_nodes(&self) -> Vec<Result<(), ChainError>> {
        let expected = self.chain_id;
        let told = |found: Checked| match found {
            Checked::Well | Checked::Behind | Checked::Busy => Ok(()),
            Checked::OtherChain(actual) => Err(ChainError::OtherChain { expected, actual }),
            Checked::Failed(trouble) => match trouble.came {
                Err(error) => Err(self.error("eth_chainId", error)),
                Ok(answer) => Err(self.error("eth_chainId", answer_error(answer))),
            },
        };
        self.nodes.check_all().await.into_iter().map(told).collect()
    }

    /// Runs a call on the latest state (`eth_call`) with at most `gas`. A revert is an answer.
    pub(crate) async fn call(
        &self,
        sender: Address,
        call: &Call,
        gas: u64,
    ) -> Result<CallOutcome, ChainError> {
        self.eth_call(transaction_request(sender, call, Some(gas))).await
    }

    /// Runs the creation of a contract on the latest state (`eth_call` without a target) with at most `gas`, and
    /// returns what would be its code. A revert is an answer.
    pub(crate) async fn call_creation(
        &self,
        sender: Address,
        initcode: Bytes,
        gas: u64,
    ) -> Result<CallOutcome, ChainError> {
        self.eth_call(TransactionRequest {
            from: Some(sender),
            gas: Some(gas),
            input: TransactionInput::new(initcode),
            ..TransactionRequest::default()
        })
        .await
    }

    /// The same at the price that a transaction would have: without one a node runs a call on a block whose base fee is
    /// zero.
    pub(crate) async fn call_at(
        &self,
        sender: Address,
        call: &Call,
        gas: u64,
        (max_fee_per_gas, max_priority_fee_per_gas): (u128, u128),
    ) -> Result<CallOutcome, ChainError> {
        self.eth_call(TransactionRequest {
            max_fee_per_gas: Some(max_fee_per_gas),
            max_priority_fee_per_gas: Some(max_priority_fee_per_gas),
            ..transaction_request(sender, call, Some(gas))
        })
        .await
    }

    /// Runs calls as the transactions of the next block, one after the other, from one account, with all that a block
    /// checks (`eth_simulateV1`): nonces, fees, the base fee.
    pub(crate) async fn simulate_block(
        &self,
        sender: Address,
        calls: &[(Call, u64)],
        (max_fee_per_gas, max_priority_fee_per_gas): (u128, u128),
    ) -> Result<Vec<SimCallResult>, ChainError> {
        let calls = calls.iter().map(|(call, gas)| TransactionRequest {
            max_fee_per_gas: Some(max_fee_per_gas),
            max_priority_fee_per_gas: Some(max_priority_fee_per_gas),
            ..transaction_request(sender, call, Some(*gas))
        });
        self.simulate_requests(SimBlock::default().extend_calls(calls)).await
    }

    /// The same for messages of whoever sends them, with whatever they are given.
    pub(crate) async fn simulate_requests(&self, block: SimBlock) -> Result<Vec<SimCallResult>, ChainError> {
        let payload = SimulatePayload::default().extend(block).with_validation();
        let blocks: Vec<SimulatedBlock<Value>> =
            self.request("eth_simulateV1", (payload, BlockNumberOrTag::Latest)).await?;
        Ok(blocks.into_iter().flat_map(|block| block.calls).collect())
    }

    /// What a transaction offers for gas, so that it is included soon: at most, and as a tip.
    pub(crate) async fn suggested_fees(&self) -> Result<(u128, u128), ChainError> {
        let (head, tip) = tokio::join!(self.head(), self.priority_fee());
        let (base_fee, tip) = (head?.base_fee, tip?);
        Ok((base_fee.saturating_mul(2).saturating_add(tip), tip))
    }

    async fn eth_call(&self, request: TransactionRequest) -> Result<CallOutcome, ChainError> {
        outcome(self.request("eth_call", (request, BlockNumberOrTag::Latest)).await)
    }

    /// How much gas a call needs, as the node sees it.
    ///
    /// # Errors
    /// No answer; a call that reverts is told as a rejection.
    ///
    /// ```
    /// # use alloy_transport::mock::{Asserter, MockTransport};
    /// # use tollway_core::Network;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let node = Asserter::new();
    /// # node.push_success(&"0x14c08");
    /// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
    /// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
    /// # use tollway_evm::{Address, Bytes, Call};
    /// # let lane = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266".parse()?;
    /// # let data = Bytes::from_static(&[0xe3, 0xee, 0x16, 0x0e]);
    /// let call = Call { to: Address::repeat_byte(0xaa), data };
    /// assert_eq!(chain.estimate_gas(lane, &call).await?, 85_000);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn estimate_gas(&self, sender: Address, call: &Call) -> Result<u64, ChainError> {
        let gas: U64 = self.request("eth_estimateGas", (transaction_request(sender, call, None),)).await?;
        Ok(gas.to())
    }

    /// The newest block. Its base fee is 0 on a chain without EIP-1559.
    ///
    /// # Errors
    /// [`ChainError::NoBlock`] from a node that has just begun to sync, or no answer.
    ///
    /// ```
    /// # use alloy_transport::mock::{Asserter, MockTransport};
    /// # use tollway_core::Network;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let node = Asserter::new();
    /// # node.push_success(&serde_json::json!(null));
    /// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
    /// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
    /// # use tollway_evm::ChainError;
    /// let error = chain.head().await.unwrap_err();
    /// assert!(matches!(error, ChainError::NoBlock));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn head(&self) -> Result<Head, ChainError> {
        self.block(BlockNumberOrTag::Latest).await?.ok_or(ChainError::NoBlock)
    }

    /// The block with this number; `None` where the chain has not come to it.
    ///
    /// # Errors
    /// No answer.
    ///
    /// ```
    /// # use alloy_transport::mock::{Asserter, MockTransport};
    /// # use tollway_core::Network;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let node = Asserter::new();
    /// # node.push_success(&serde_json::json!(null));
    /// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
    /// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
    /// assert_eq!(chain.block_by_number(40_000_000).await?, None); // not yet
    /// # Ok(())
    /// # }
    /// ```
    pub async fn block_by_number(&self, number: u64) -> Result<Option<Head>, ChainError> {
        self.block(BlockNumberOrTag::Number(number)).await
    }

    async fn block(&self, tag: BlockNumberOrTag) -> Result<Option<Head>, ChainError> {
        let block: Option<Block<B256>> = self.request("eth_getBlockByNumber", (tag, false)).await?;
        Ok(block.map(|Block { header, .. }| Head {
            number: header.number,
            hash: header.hash,
            parent_hash: header.parent_hash,
            timestamp: header.timestamp,
            base_fee: header.base_fee_per_gas.map_or(0, u128::from),
        }))
    }

    /// The tip the node suggests, wei per gas (`eth_maxPriorityFeePerGas`).
    ///
    /// # Errors
    /// No answer.
    ///
    /// ```
    /// # use alloy_transport::mock::{Asserter, MockTransport};
    /// # use tollway_core::Network;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let node = Asserter::new();
    /// # node.push_success(&"0xf4240");
    /// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
    /// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
    /// assert_eq!(chain.priority_fee().await?, 1_000_000);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn priority_fee(&self) -> Result<u128, ChainError> {
        let fee: U256 = self.request("eth_maxPriorityFeePerGas", ()).await?;
        Ok(u128::try_from(fee).unwrap_or(u128::MAX))
    }

    /// How many transactions of `account` are included: the nonce of its next. Those that wait do not count.
    ///
    /// # Errors
    /// No answer.
    ///
    /// ```
    /// # use alloy_transport::mock::{Asserter, MockTransport};
    /// # use tollway_core::Network;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let node = Asserter::new();
    /// # node.push_success(&"0x2a");
    /// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
    /// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
    /// # let lane = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266".parse()?;
    /// assert_eq!(chain.nonce(lane).await?, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn nonce(&self, account: Address) -> Result<u64, ChainError> {
        let nonce: U64 = self.request("eth_getTransactionCount", (account, BlockNumberOrTag::Latest)).await?;
        Ok(nonce.to())
    }

    /// The native balance of `account`, wei.
    ///
    /// # Errors
    /// No answer.
    ///
    /// ```
    /// # use alloy_transport::mock::{Asserter, MockTransport};
    /// # use tollway_core::Network;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let node = Asserter::new();
    /// # node.push_success(&"0x38d7ea4c68000");
    /// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
    /// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
    /// # let lane = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266".parse()?;
    /// assert_eq!(chain.balance(lane).await?.to_string(), "1000000000000000"); // a thousandth of an ether
    /// # Ok(())
    /// # }
    /// ```
    pub async fn balance(&self, account: Address) -> Result<U256, ChainError> {
        self.request("eth_getBalance", (account, BlockNumberOrTag::Latest)).await
    }

    /// The code at `account`; empty where there is no contract.
    ///
    /// # Errors
    /// No answer.
    ///
    /// ```
    /// # use alloy_transport::mock::{Asserter, MockTransport};
    /// # use tollway_core::Network;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let node = Asserter::new();
    /// # node.push_success(&"0x");
    /// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
    /// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
    /// # let payer = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266".parse()?;
    /// assert!(chain.code(payer).await?.is_empty()); // a key, no contract
    /// # Ok(())
    /// # }
    /// ```
    pub async fn code(&self, account: Address) -> Result<Bytes, ChainError> {
        self.request("eth_getCode", (account, BlockNumberOrTag::Latest)).await
    }

    /// Hands a signed transaction to the node, as EIP-2718 bytes. That a node answers says nothing about
    /// inclusion; that it does not answer says nothing about the transaction.
    ///
    /// # Errors
    /// No answer, or a rejection (see [`ChainError::rejection`]).
    ///
    /// ```
    /// # use alloy_transport::mock::{Asserter, MockTransport};
    /// # use tollway_core::Network;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let node = Asserter::new();
    /// # node.push_failure_msg("already known");
    /// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
    /// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
    /// # let raw = tollway_evm::Bytes::from_static(&[2]);
    /// let error = chain.send_raw(&raw).await.unwrap_err();
    /// assert_eq!(error.rejection(), Some("already known")); // sent twice: all is well
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_raw(&self, raw: &Bytes) -> Result<B256, ChainError> {
        self.request("eth_sendRawTransaction", (raw,)).await
    }

    /// The receipt of an included transaction; `None` before that, and for a transaction nobody knows.
    ///
    /// # Errors
    /// No answer.
    ///
    /// ```
    /// # use alloy_transport::mock::{Asserter, MockTransport};
    /// # use tollway_core::Network;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let node = Asserter::new();
    /// # node.push_success(&serde_json::json!(null));
    /// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
    /// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
    /// # let hash = tollway_evm::B256::repeat_byte(0xab);
    /// assert!(chain.receipt(hash).await?.is_none()); // not yet
    /// # Ok(())
    /// # }
    /// ```
    pub async fn receipt(&self, hash: B256) -> Result<Option<TransactionReceipt>, ChainError> {
        self.request("eth_getTransactionReceipt", (hash,)).await
    }

    /// The receipts of several transactions, in their order, in one round of JSON-RPC batches.
    ///
    /// # Errors
    /// No answer to one of them.
    ///
    /// ```
    /// # use alloy_transport::mock::{Asserter, MockTransport};
    /// # use tollway_core::Network;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let node = Asserter::new();
    /// # node.push_success(&serde_json::json!(null));
    /// # node.push_success(&serde_json::json!(null));
    /// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
    /// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
    /// # let hashes = [0xab, 0xcd].map(tollway_evm::B256::repeat_byte);
    /// assert_eq!(chain.receipts(&hashes).await?, [None, None]); // not yet
    /// # Ok(())
    /// # }
    /// ```
    pub async fn receipts(&self, hashes: &[B256]) -> Result<Vec<Option<TransactionReceipt>>, ChainError> {
        self.batch("eth_getTransactionReceipt", hashes.iter().map(|hash| (hash,))).await
    }

    /// The logs that match a filter (`eth_getLogs`).
    ///
    /// # Errors
    /// No answer; a range that the node finds too wide is told as a rejection.
    pub(crate) async fn logs(&self, filter: &Filter) -> Result<Vec<Log>, ChainError> {
        self.request("eth_getLogs", (filter,)).await
    }

    /// Whether the node knows the transaction, included or not.
    ///
    /// # Errors
    /// No answer.
    ///
    /// ```
    /// # use alloy_transport::mock::{Asserter, MockTransport};
    /// # use tollway_core::Network;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let node = Asserter::new();
    /// # node.push_success(&serde_json::json!(null));
    /// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
    /// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
    /// # let hash = tollway_evm::B256::repeat_byte(0xab);
    /// assert!(!chain.knows(hash).await?); // never sent, or dropped
    /// # Ok(())
    /// # }
    /// ```
    pub async fn knows(&self, hash: B256) -> Result<bool, ChainError> {
        let transaction: Option<Value> = self.request("eth_getTransactionByHash", (hash,)).await?;
        Ok(transaction.is_some())
    }

    /// Whether the node knows each transaction, included or not, in one round of JSON-RPC batches.
    ///
    /// # Errors
    /// No answer to one of them.
    ///
    /// ```
    /// # use alloy_transport::mock::{Asserter, MockTransport};
    /// # use tollway_core::Network;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let node = Asserter::new();
    /// # node.push_success(&serde_json::json!(null));
    /// # node.push_success(&serde_json::json!({}));
    /// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
    /// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
    /// # let hashes = [0xab, 0xcd].map(tollway_evm::B256::repeat_byte);
    /// assert_eq!(chain.transactions_known(&hashes).await?, [false, true]); // the first was dropped
    /// # Ok(())
    /// # }
    /// ```
    pub async fn transactions_known(&self, hashes: &[B256]) -> Result<Vec<bool>, ChainError> {
        let found: Vec<Option<Value>> =
            self.batch("eth_getTransactionByHash", hashes.iter().map(|hash| (hash,))).await?;
        Ok(found.iter().map(Option::is_some).collect())
    }

    /// The codes at several addresses, in one round of JSON-RPC batches.
    pub(crate) async fn codes(&self, accounts: &[Address]) -> Result<Vec<Bytes>, ChainError> {
        self.batch("eth_getCode", accounts.iter().map(|account| (account, BlockNumberOrTag::Latest))).await
    }

    /// Any JSON-RPC method, for controls that only a development node has.
    ///
    /// # Errors
    /// No answer.
    ///
    /// ```
    /// # use alloy_transport::mock::{Asserter, MockTransport};
    /// # use tollway_core::Network;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let node = Asserter::new();
    /// # node.push_success(&"0x12");
    /// # let (node, deadline) = (MockTransport::new(node), std::time::Duration::from_secs(5));
    /// # let chain = tollway_evm::Chain::from_transport(node, &Network::evm(8453), deadline)?;
    /// # use serde_json::json;
    /// let block = chain.raw("anvil_mine", json!(["0x1"])).await?;
    /// assert_eq!(block, "0x12");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn raw(&self, method: &str, params: Value) -> Result<Value, ChainError> {
        self.request(method.to_owned(), params).await
    }

    async fn request<P: RpcSend, R: RpcRecv>(
        &self,
        method: impl Into<Cow<'static, str>>,
        params: P,
    ) -> Result<R, ChainError> {
        let method = method.into();
        let call = self.client.request::<P, R>(method.clone(), params);
        self.within(&method, call).await
    }

    /// One method with many parameters: batches of a size that nodes take, all at once.
    async fn batch<P: RpcSend, R: RpcRecv>(
        &self,
        method: &'static str,
        params: impl IntoIterator<Item = P>,
    ) -> Result<Vec<R>, ChainError> {
        let params: Vec<P> = params.into_iter().collect();
        let batches = params.chunks(BATCH_REQUESTS).map(|chunk| {
            self.within(method, async move {
                let mut batch = self.client.new_batch();
                let add = |params| batch.add_call::<P, R>(method, params);
                let answers: Vec<Waiter<R>> = chunk.iter().map(add).collect::<Result<_, _>>()?;
                batch.send().await?;
                try_join_all(answers).await
            })
        });
        Ok(try_join_all(batches).await?.into_iter().flatten().collect())
    }

    /// Says which method a failure was of. The wait itself is bounded by the nodes' transport.
    async fn within<R>(
        &self,
        method: &str,
        call: impl IntoFuture<Output = Result<R, TransportError>>,
    ) -> Result<R, ChainError> {
        let began = tokio::time::Instant::now();
        let answer = call.await.map_err(|error| self.error(method, error));
        telemetry::called(&self.network, method, began, answer.as_ref().err().map(ChainError::kind));
        answer
    }

    fn error(&self, method: &str, error: TransportError) -> ChainError {
        let method = method.to_owned();
        match Unanswered::of(&error) {
            Some(Unanswered::Late) => ChainError::Timeout { method, deadline_ms: self.deadline.as_millis() },
            _ => ChainError::Rpc { method, error: NodeError(error) },
        }
    }
}

/// The most requests in one JSON-RPC batch: what the stricter of public nodes take.
const BATCH_REQUESTS: usize = 10;

/// What a node said instead of an answer, as an error.
fn answer_error(answer: ResponsePacket) -> TransportError {
    match answer.as_error() {
        Some(error) => TransportError::err_resp(error.clone()),
        None => Unanswered::Broken.into(),
    }
}

pub(crate) fn transaction_request(sender: Address, call: &Call, gas: Option<u64>) -> TransactionRequest {
    TransactionRequest {
        from: Some(sender),
        to: Some(call.to.into()),
        gas,
        input: TransactionInput::new(call.data.clone()),
        ..TransactionRequest::default()
    }
}

/// A revert is an answer; everything else that is no data is none.
fn outcome(answer: Result<Bytes, ChainError>) -> Result<CallOutcome, ChainError> {
    let error = match answer {
        Ok(bytes) => return Ok(CallOutcome::Returned(bytes)),
        Err(error) => error,
    };
    let reverted = match &error {
        ChainError::Rpc { error, .. } => error.0.as_error_resp().and_then(|response| {
            let reverts = response.code == 3 || response.message.contains("revert");
            reverts.then(|| response.as_revert_data().unwrap_or_default())
        }),
        _ => None,
    };
    reverted.map(CallOutcome::Reverted).ok_or(error)
}

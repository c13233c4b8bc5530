//! Nodes that do what they are told to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use alloy_json_rpc::{
    ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload, SerializedRequest,
};
use alloy_transport::{TransportError, TransportErrorKind, TransportFut};
use parking_lot::Mutex;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tollway_core::Network;
use tollway_evm::{Chain, Node, NodeRules};
use tower::Service;

/// How long a request may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(6);

/// What a node does with what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// The connection breaks.
    Broken,
    /// No answer, ever.
    Silent,
    /// An answer after this.
    Late(Duration),
    /// Results that are none.
    Nonsense,
    /// A status, and how long to stay away.
    Status(u16, Option<u64>),
    /// An error object.
    Error(i64, &'static str),
    /// Raw transactions are refused with these words; all else is well.
    Refuses(&'static str),
    /// Raw transactions are taken, and the connection breaks.
    TakesAndBreaks,
}

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Scripted(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    mood: Mood,
    chain_id: u64,
    head: u64,
    asked: BTreeMap<String, u64>,
    taken: Vec<String>,
}

impl Scripted {
    pub(crate) fn at(head: u64) -> Self {
        let (asked, taken) = (BTreeMap::new(), Vec::new());
        Self(Arc::new(Mutex::new(Inner { mood: Mood::Well, chain_id: 8_453, head, asked, taken })))
    }

    pub(crate) fn feels(&self, mood: Mood) {
        self.0.lock().mood = mood;
    }

    pub(crate) fn comes_to(&self, head: u64) {
        self.0.lock().head = head;
    }

    pub(crate) fn is_on(&self, chain_id: u64) {
        self.0.lock().chain_id = chain_id;
    }

    /// How often it was asked this.
    pub(crate) fn asked(&self, method: &str) -> u64 {
        self.0.lock().asked.get(method).copied().unwrap_or_default()
    }

    /// How often it was asked anything.
    pub(crate) fn asked_at_all(&self) -> u64 {
        self.0.lock().asked.values().sum()
    }

    /// How many transactions it took.
    pub(crate) fn took(&self) -> usize {
        self.0.lock().taken.len()
    }
}

impl Inner {
    fn answer(&mut self, request: &SerializedRequest) -> Result<ResponsePayload, TransportError> {
        *self.asked.entry(request.method().to_owned()).or_default() += 1;
        let is_raw = request.method() == "eth_sendRawTransaction";
        match self.mood {
            Mood::Broken => Err(TransportErrorKind::custom_str("broken, at https://host/SECRET")),
            Mood::Nonsense => Ok(success(&json!({ "nonsense": true }))),
            Mood::Status(status, retry_after) => Err(TransportErrorKind::http_error_with_retry_after(
                status,
                String::new(),
                retry_after.map(Duration::from_secs),
            )),
            Mood::Error(code, words) => Ok(failure(code, words)),
            Mood::Refuses(words) if is_raw => Ok(failure(-32_000, words)),
            Mood::TakesAndBreaks if is_raw => {
                self.taken.push(request.serialized().get().to_owned());
                Err(TransportErrorKind::custom_str("broken"))
            }
            _ => Ok(success(&self.result(request))),
        }
    }

    fn result(&mut self, request: &SerializedRequest) -> Value {
        let text = request.serialized().get().to_owned();
        match request.method() {
            "eth_chainId" => json!(format!("{:#x}", self.chain_id)),
            // A nonce that tells which block it was read at.
            "eth_blockNumber" | "eth_getTransactionCount" => json!(format!("{:#x}", self.head)),
            "eth_getTransactionReceipt" => Value::Null,
            "eth_sendRawTransaction" if self.taken.contains(&text) => Value::Null,
            "eth_sendRawTransaction" => {
                self.taken.push(text);
                json!(format!("0x{:064x}", 7))
            }
            "eth_getCode" => json!("0x60"),
            "eth_call" => json!("0x"),
            _ => json!("0x1"),
        }
    }
}

fn success(result: &Value) -> ResponsePayload {
    ResponsePayload::Success(to_raw_value(result).unwrap())
}

fn failure(code: i64, words: &'static str) -> ResponsePayload {
    ResponsePayload::Failure(ErrorPayload { code, message: words.into(), data: None })
}

impl Service<RequestPacket> for Scripted {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let mood = inner.lock().mood;
            match mood {
                Mood::Silent => {
                    *inner.lock().asked.entry("silence".to_owned()).or_default() += 1;
                    std::future::pending::<()>().await;
                }
                Mood::Late(by) => tokio::time::sleep(by).await,
                _ => {}
            }
            let answer = |request: &SerializedRequest| {
                let payload = inner.lock().answer(request)?;
                Ok(Response { id: request.id().clone(), payload })
            };
            match &packet {
                RequestPacket::Single(request) => answer(request).map(ResponsePacket::Single),
                RequestPacket::Batch(all) => {
                    all.iter().map(answer).collect::<Result<_, _>>().map(ResponsePacket::Batch)
                }
            }
        })
    }
}

/// A chain over these nodes.
pub(crate) fn chain(nodes: &[&Scripted]) -> Chain {
    let node =
        |(index, node): (usize, &&Scripted)| Node::from_transport(format!("n{index}"), (*node).clone());
    over(nodes.iter().enumerate().map(node).collect())
}

pub(crate) fn over(nodes: Vec<Node>) -> Chain {
    Chain::over(nodes, NodeRules::default(), &Network::evm(8_453), DEADLINE).unwrap()
}

/// The states of its nodes.
pub(crate) fn states(chain: &Chain) -> Vec<&'static str> {
    chain.nodes().iter().map(|node| node.state).collect()
}

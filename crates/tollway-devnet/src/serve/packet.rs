//! One HTTP body or WebSocket message: a request or a batch of them, and the text that answers it.

use std::{borrow::Cow, sync::Arc};

use alloy_primitives::Bytes as HexBytes;
use axum::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    failure::Failure,
    node::Node,
    rpc::{self, Answer},
};

/// The most bytes that the answers of one batch may have together before the rest is refused.
const BATCH_ANSWER_BYTES: usize = 32 << 20;

/// One request, borrowed from its packet.
#[derive(Debug, Deserialize)]
pub(super) struct Request<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) method: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) params: Option<&'a RawValue>,
}

/// What goes back.
#[derive(Debug)]
pub(super) enum Reply {
    /// JSON-RPC.
    Json(String),
    /// A bare HTTP status, injected as a fault.
    Status(u16, String),
}

/// Answers a packet when it has come through, on another thread if that may take long. Each request is answered by
/// `answer`. `None` if the caller gets no answer: it has been lost, or the connection is cut.
pub(super) async fn respond(
    node: &Arc<Node>,
    packet: Bytes,
    answer: fn(&Node, &Request<'_>) -> Answer,
) -> Option<Reply> {
    let (mut passage, is_heavy) = {
        let parsed = Packet::parse(&packet);
        (node.passage(parsed.methods()), parsed.is_heavy())
    };
    if passage.is_muted {
        return None;
    }
    passage.arrive().await.ok()?;
    let reply = if is_heavy {
        respond_elsewhere(node, packet, answer).await
    } else {
        respond_with(node, &packet, &mut |request| answer(node, request))
    };
    if passage.is_lost {
        return None;
    }
    passage.leave().await.ok()?;
    Some(reply)
}

/// Answers a packet on another thread.
async fn respond_elsewhere(
    node: &Arc<Node>,
    packet: Bytes,
    answer: fn(&Node, &Request<'_>) -> Answer,
) -> Reply {
    let worker = node.clone();
    let Ok(_permit) = node.calls.acquire().await else { return internal_error() };
    let work = move || respond_with(&worker, &packet, &mut |request| answer(&worker, request));
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| internal_error())
}

/// Answers a packet here and now, each request by `answer`.
pub(super) fn respond_with(
    node: &Node,
    packet: &[u8],
    answer: &mut dyn FnMut(&Request<'_>) -> Answer,
) -> Reply {
    let parts = match Packet::parse(packet) {
        Packet::Malformed => return single(None, Err(Failure::new(-32_700, "parse error"))),
        Packet::Single(part) => return respond_to(part, answer),
        Packet::Batch(parts) if parts.is_empty() => {
            return single(None, Err(Failure::invalid_request("empty batch")));
        }
        Packet::Batch(parts) if parts.len() > node.config.limits.batch => {
            return single(None, Err(Failure::invalid_request("batch too large")));
        }
        Packet::Batch(parts) => parts,
    };
    let mut text = String::from("[");
    for part in parts {
        let mut too_large = |_: &Request<'_>| Err(Failure::new(-32_003, "response too large"));
        let answer = if text.len() > BATCH_ANSWER_BYTES { &mut too_large } else { &mut *answer };
        match respond_to(part, answer) {
            Reply::Json(json) => {
                if text.len() > 1 {
                    text.push(',');
                }
                text.push_str(&json);
            }
            status => return status,
        }
    }
    text.push(']');
    Reply::Json(text)
}

/// Answers one request, where a fault may be told as a bare HTTP status.
pub(super) fn answer(node: &Node, request: &Request<'_>) -> Answer {
    rpc::answer(node, &request.method, request.params)
}

/// Answers one request, where there is no HTTP status.
pub(super) fn answer_without_status(node: &Node, request: &Request<'_>) -> Answer {
    answer(node, request).map_err(|failure| Failure { http_status: None, ..failure })
}

/// A packet, taken apart but its requests not yet read.
pub(super) enum Packet<'a> {
    Malformed,
    Single(&'a RawValue),
    Batch(Vec<&'a RawValue>),
}

impl<'a> Packet<'a> {
    pub(super) fn parse(packet: &'a [u8]) -> Self {
        let is_batch = packet.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        let parsed = if is_batch {
            serde_json::from_slice(packet).map(Self::Batch)
        } else {
            serde_json::from_slice(packet).map(Self::Single)
        };
        parsed.unwrap_or(Self::Malformed)
    }

    pub(super) fn methods(&self) -> impl Iterator<Item = Cow<'a, str>> {
        let parts = match self {
            Self::Malformed => &[],
            Self::Single(part) => std::slice::from_ref(part),
            Self::Batch(parts) => parts.as_slice(),
        };
        parts
            .iter()
            .filter_map(|part| serde_json::from_str::<Request<'a>>(part.get()).ok())
            .map(|part| part.method)
    }

    fn is_heavy(&self) -> bool {
        self.methods().any(|method| rpc::is_heavy(&method))
    }
}

fn respond_to(part: &RawValue, answer: &mut dyn FnMut(&Request<'_>) -> Answer) -> Reply {
    match serde_json::from_str::<Request<'_>>(part.get()) {
        Ok(request) => single(request.id, answer(&request)),
        Err(problem) => single(None, Err(Failure::invalid_request(format!("invalid request: {problem}")))),
    }
}

fn single(id: Option<&RawValue>, answer: Answer) -> Reply {
    #[derive(Serialize)]
    struct Response<'a> {
        jsonrpc: &'static str,
        id: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Problem>,
    }
    #[derive(Serialize)]
    struct Problem {
        code: i64,
        message: Cow<'static, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<HexBytes>,
    }
    let (result, error) = match answer {
        Ok(result) => (Some(result), None),
        Err(Failure { http_status: Some(status), message, .. }) => {
            return Reply::Status(status, message.into_owned());
        }
        Err(Failure { code, message, data, .. }) => (None, Some(Problem { code, message, data })),
    };
    serde_json::to_string(&Response { jsonrpc: "2.0", id, result, error })
        .map_or_else(|_| internal_error(), Reply::Json)
}

fn internal_error() -> Reply {
    Reply::Status(500, "internal error".into())
}

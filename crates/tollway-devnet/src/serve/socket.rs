//! JSON-RPC over a WebSocket, with subscriptions to new heads and logs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alloy_primitives::U64;
use alloy_rpc_types_eth::{Filter, Log};
use axum::{
    body::Bytes,
    extract::ws::{Message, WebSocket},
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::{
    sync::{
        broadcast::{Receiver, error::RecvError},
        watch,
    },
    time::timeout,
};

use super::packet::{Packet, Reply, Request, answer_without_status, respond, respond_with};
use crate::{
    failure::Failure,
    node::{Event, Node},
    rpc::{Answer, Params, block_logs, rpc_header},
};

/// How long a client may take to read before it is given up.
const SEND_DEADLINE: Duration = Duration::from_secs(10);

/// What one connection has subscribed to.
struct Subscriptions {
    node: Arc<Node>,
    events: Receiver<Event>,
    wanted: BTreeMap<u64, Wanted>,
    taken: u64,
}

enum Wanted {
    Heads,
    Logs(Box<Filter>),
}

/// Talks to one client until it leaves, falls too far behind, or the devnet stops.
pub(super) async fn run(mut socket: WebSocket, node: Arc<Node>, mut stopped: watch::Receiver<bool>) {
    let mut connection = node.connections();
    let mut subscriptions = Subscriptions::new(node);
    loop {
        tokio::select! {
            _ = connection.changed() => return,
            message = socket.recv() => {
                let packet = match message {
                    Some(Ok(Message::Text(text))) => Bytes::from(text),
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                };
                let Some(reply) = subscriptions.respond(packet).await else { continue };
                if send(&mut socket, reply).await.is_none() {
                    return;
                }
            }
            event = subscriptions.events.recv(), if !subscriptions.wanted.is_empty() => {
                let event = match event {
                    Ok(event) => event,
                    // A subscriber that missed events must not believe that there were none.
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return,
                };
                for notification in subscriptions.notifications(&event) {
                    if send(&mut socket, notification).await.is_none() {
                        return;
                    }
                }
            }
            _ = stopped.changed() => return,
        }
    }
}

impl Subscriptions {
    fn new(node: Arc<Node>) -> Self {
        Self { events: node.events(), node, wanted: BTreeMap::new(), taken: 0 }
    }

    /// `None` if the caller gets no answer.
    async fn respond(&mut self, packet: Bytes) -> Option<String> {
        let ours = |method: &str| matches!(method, "eth_subscribe" | "eth_unsubscribe");
        let reply = if Packet::parse(&packet).methods().any(|method| ours(&method)) {
            let node = self.node.clone();
            respond_with(&node, &packet, &mut |request| self.answer(request))
        } else {
            respond(&self.node, packet, answer_without_status).await?
        };
        Some(match reply {
            Reply::Json(json) => json,
            // Only what failed before it could be read as a request has no JSON.
            Reply::Status(_, message) => message,
        })
    }

    fn answer(&mut self, request: &Request<'_>) -> Answer {
        match &*request.method {
            "eth_subscribe" => self.subscribe(&Params::parse(request.params)?),
            "eth_unsubscribe" => {
                let id = Params::parse(request.params)?.get::<U64>(0, "subscription id")?;
                encode(&self.wanted.remove(&id.to()).is_some())
            }
            _ => answer_without_status(&self.node, request),
        }
    }

    fn subscribe(&mut self, params: &Params<'_>) -> Answer {
        let wanted = match params.get::<String>(0, "subscription")?.as_str() {
            "newHeads" => Wanted::Heads,
            "logs" => Wanted::Logs(params.optional(1, "filter")?.unwrap_or_default()),
            other => {
                return Err(Failure::invalid_params("subscription", format!("no \"{other}\" subscription")));
            }
        };
        if self.wanted.len() >= self.node.config.limits.subscriptions {
            return Err(Failure::limit_exceeded("too many subscriptions"));
        }
        if self.wanted.is_empty() {
            // Nobody read the events until now; what happened before is of no interest.
            self.events = self.node.events();
        }
        self.taken += 1;
        self.wanted.insert(self.taken, wanted);
        encode(&U64::from(self.taken))
    }

    fn notifications(&self, event: &Event) -> Vec<String> {
        let notify = |(id, wanted): (&u64, &Wanted)| match (wanted, event) {
            (Wanted::Heads, Event::Added(block)) => vec![notification(*id, &rpc_header(block))],
            (Wanted::Heads, Event::Removed(_)) => vec![],
            (Wanted::Logs(filter), Event::Added(block)) => {
                block_logs(block, filter).iter().map(|log| notification(*id, log)).collect()
            }
            (Wanted::Logs(filter), Event::Removed(block)) => {
                let removed = block_logs(block, filter).into_iter().map(|log| Log { removed: true, ..log });
                removed.map(|log| notification(*id, &log)).collect()
            }
        };
        self.wanted.iter().flat_map(notify).collect()
    }
}

async fn send(socket: &mut WebSocket, text: String) -> Option<()> {
    timeout(SEND_DEADLINE, socket.send(Message::Text(text.into()))).await.ok()?.ok()
}

fn notification<T: Serialize>(id: u64, result: &T) -> String {
    #[derive(Serialize)]
    struct Notification<'a, T> {
        jsonrpc: &'static str,
        method: &'static str,
        params: Body<'a, T>,
    }
    #[derive(Serialize)]
    struct Body<'a, T> {
        subscription: U64,
        result: &'a T,
    }
    let params = Body { subscription: U64::from(id), result };
    serde_json::to_string(&Notification { jsonrpc: "2.0", method: "eth_subscription", params })
        .unwrap_or_default()
}

fn encode<T: Serialize>(value: &T) -> Result<Box<RawValue>, Failure> {
    to_raw_value(value).map_err(|problem| Failure::new(-32_603, problem.to_string()))
}

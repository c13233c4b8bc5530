//! JSON-RPC over HTTP: framing, batches, bounds. WebSockets are in [`socket`].

mod listener;
mod packet;
mod socket;

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use tokio::{net::TcpListener, sync::watch};

use self::{
    listener::Bounded,
    packet::{Reply, answer, respond},
};
use crate::node::Node;

/// Browsers may talk to the devnet from any page: there is nothing on it worth protecting.
const CORS: [(HeaderName, HeaderValue); 3] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS")),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*")),
];

#[derive(Clone)]
struct Server {
    node: Arc<Node>,
    stopped: watch::Receiver<bool>,
}

/// Serves until told to stop, or until whoever could tell is gone.
pub(crate) async fn run(listener: TcpListener, node: Arc<Node>, mut stopped: watch::Receiver<bool>) {
    let limits = &node.config.limits;
    let listener = Bounded::new(listener, limits.connections, node.connections());
    let app = Router::new()
        .route("/", post(http).get(websocket).options(|| async { (CORS, StatusCode::NO_CONTENT) }))
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .with_state(Server { node: node.clone(), stopped: stopped.clone() });
    let stop = async move {
        let _ = stopped.changed().await;
    };
    if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "the devnet's server failed");
    }
}

async fn http(State(server): State<Server>, body: Bytes) -> Response {
    let Some(reply) = respond(&server.node, body, answer).await else { return silence(server).await };
    match reply {
        Reply::Json(json) => {
            let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            (CORS, kind, json).into_response()
        }
        Reply::Status(status, message) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, CORS, message).into_response()
        }
    }
}

/// Says nothing until the caller gives up, or the devnet ends. A connection that is cut goes down with its stream.
async fn silence(mut server: Server) -> Response {
    let _ = server.stopped.changed().await;
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

async fn websocket(
    State(server): State<Server>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return (StatusCode::METHOD_NOT_ALLOWED, "JSON-RPC takes POST, or a WebSocket upgrade\n")
            .into_response();
    };
    let most = server.node.config.limits.body_bytes;
    upgrade
        .max_message_size(most)
        .max_frame_size(most)
        .on_upgrade(move |socket| socket::run(socket, server.node, server.stopped))
}

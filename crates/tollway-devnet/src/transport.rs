//! An alloy transport that calls the devnet directly.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use alloy_json_rpc::{RequestPacket, Response, ResponsePacket, ResponsePayload, SerializedRequest};
use alloy_transport::{TransportError, TransportErrorKind, TransportFut};
use tower::Service;

use crate::{
    failure::Failure,
    node::{Cut, Node},
    rpc,
};

/// The transport. Cheap to clone; it keeps the chain alive, though not its server.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use alloy_provider::{Provider, RootProvider};
/// use alloy_rpc_client::RpcClient;
/// use tollway_devnet::Config;
///
/// let devnet = tollway_devnet::spawn(Config::default()).await?;
/// let provider = RootProvider::<alloy_network::Ethereum>::new(RpcClient::new(devnet.transport(), true));
/// assert_eq!(provider.get_chain_id().await?, 31_337);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct DevnetTransport {
    node: Arc<Node>,
}

impl DevnetTransport {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }
}

impl Service<RequestPacket> for DevnetTransport {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let node = self.node.clone();
        Box::pin(async move {
            let mut passage = node.passage(packet.method_names());
            passage.arrive().await.map_err(reset)?;
            let answer = run(&node, packet).await;
            passage.leave().await.map_err(reset)?;
            answer
        })
    }
}

/// Answers on another thread if that may take long and there may be one.
async fn run(node: &Arc<Node>, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
    if node.config.in_process || !packet.method_names().any(rpc::is_heavy) {
        return answer_packet(node, packet);
    }
    let _permit = node.calls.acquire().await.map_err(TransportErrorKind::custom)?;
    let worker = node.clone();
    let done = tokio::task::spawn_blocking(move || answer_packet(&worker, packet)).await;
    done.map_err(TransportErrorKind::custom)?
}

fn reset(_: Cut) -> TransportError {
    TransportErrorKind::custom_str("connection reset by the devnet")
}

fn answer_packet(node: &Node, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
    match packet {
        RequestPacket::Single(request) => answer(node, &request).map(ResponsePacket::Single),
        RequestPacket::Batch(requests) if requests.len() > node.config.limits.batch => {
            Err(TransportErrorKind::custom_str("batch too large"))
        }
        RequestPacket::Batch(requests) => {
            let responses: Result<_, _> = requests.iter().map(|request| answer(node, request)).collect();
            responses.map(ResponsePacket::Batch)
        }
    }
}

fn answer(node: &Node, request: &SerializedRequest) -> Result<Response, TransportError> {
    let payload = match rpc::answer(node, request.method(), request.params()) {
        Ok(result) => ResponsePayload::Success(result),
        Err(Failure { http_status: Some(status), message, .. }) => {
            return Err(TransportErrorKind::http_error(status, message.into_owned()));
        }
        Err(failure) => ResponsePayload::Failure(failure.payload()),
    };
    Ok(Response { id: request.id().clone(), payload })
}

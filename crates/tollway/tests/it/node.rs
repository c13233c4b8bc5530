//! The chain under a test: our devnet, or anvil with the same genesis.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use alloy_json_rpc::{RequestPacket, ResponsePacket};
use alloy_transport::{TransportError, TransportFut};
use tollway_core::Network;
use tollway_devnet::{Config, DevnetTransport, Handle, genesis};
use tollway_evm::Chain;
use tower::Service;

use crate::process::{Background, Drained, tool};

/// Which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Devnet,
    Anvil,
}

/// A running node.
pub(crate) struct Node {
    pub(crate) rpc_url: String,
    pub(crate) chain_id: u64,
    devnet: Option<Handle>,
    _anvil: Option<Drained>,
}

impl Node {
    /// Starts a node; none if it is not installed.
    pub(crate) async fn start(kind: Kind, chain_id: u64) -> Option<Self> {
        let config = Config { chain_id, ..Config::default() };
        match kind {
            Kind::Devnet => {
                let devnet = tollway_devnet::spawn(config).await.expect("the devnet starts");
                let rpc_url = devnet.rpc_url();
                Some(Self { rpc_url, chain_id, devnet: Some(devnet), _anvil: None })
            }
            Kind::Anvil => {
                let mut command = Command::new(tool("TOLLWAY_ANVIL")?);
                command.args(["--port", "0", "--chain-id", &chain_id.to_string()]);
                let mut anvil = Background::start(&mut command);
                let address = loop {
                    if let Some(address) = anvil.line().strip_prefix("Listening on ") {
                        break address.to_owned();
                    }
                };
                let node = Self {
                    rpc_url: format!("http://{address}"),
                    chain_id,
                    devnet: None,
                    _anvil: Some(anvil.drain()),
                };
                let chain = node.chain();
                for (method, params) in genesis::anvil_calls(&config) {
                    chain.raw(method, params).await.expect("anvil takes the genesis");
                }
                // At its genesis anvil runs calls with a clock that stands at 1.
                chain.raw("anvil_mine", serde_json::json!(["0x1"])).await.expect("anvil mines");
                Some(node)
            }
        }
    }

    pub(crate) const fn rpc_is_ours(&self) -> bool {
        self.devnet.is_some()
    }

    pub(crate) fn network(&self) -> Network {
        Network::evm(self.chain_id)
    }

    /// The chain over HTTP.
    pub(crate) fn chain(&self) -> Chain {
        Chain::connect(&self.rpc_url, &self.network(), Duration::from_secs(5)).expect("the URL is one")
    }

    /// The devnet's own controls.
    pub(crate) fn devnet(&self) -> &Handle {
        self.devnet.as_ref().expect("only on the devnet")
    }

    /// The devnet without a socket, every call counted.
    pub(crate) fn counted_chain(&self) -> (Chain, Arc<AtomicU64>) {
        let calls = Arc::new(AtomicU64::new(0));
        let transport = Counting { inner: self.devnet().transport(), calls: Arc::clone(&calls) };
        let chain = Chain::from_transport(CountingBox(transport), &self.network(), Duration::from_secs(5));
        (chain.expect("an EVM network"), calls)
    }
}

#[derive(Clone)]
struct Counting {
    inner: DevnetTransport,
    calls: Arc<AtomicU64>,
}

/// Named apart so that alloy's blanket implementation for transports applies to one type only.
#[derive(Clone)]
struct CountingBox(Counting);

impl Service<RequestPacket> for CountingBox {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.inner.poll_ready(context)
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        let answer = self.0.inner.call(request);
        Box::pin(answer)
    }
}

//! A whole market in this process: devnet with instant blocks, facilitator, seller over HTTP, wallets.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tollway_buyer::Wallet;
use tollway_core::model::{PaymentRequired, X402Version};
use tollway_core::{Facilitator, Network};
use tollway_devnet::{ACCOUNTS, Config, Handle, genesis};
use tollway_evm::{Address, Asset, AssetTable, Chain, LocalSigner, Signer};
use tollway_facilitator::{Callers, Engine, NetworkSetup, router};
use tollway_seller::{HttpFacilitator, Paywall};

use super::child::{self, Child};
use super::cpu;

pub(super) const PATH: &str = "/data";
const PRICE: &str = "$0.01";
const LANE: usize = 1;
/// The accounts that pay. The lane's own is not among them.
const PAYERS: std::ops::Range<usize> = 2..10;

/// What is in this process, beside the seller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The facilitator and the node.
    AllHere,
    /// The facilitator, and HTTP between it and the seller; the node.
    HttpBetween,
    /// The facilitator. The node is a process of its own, over HTTP.
    NodeApart,
}

/// The node: here, or elsewhere.
#[derive(Debug)]
enum Node {
    Here { _devnet: Handle },
    Apart(Child),
}

/// A running market.
#[derive(Debug)]
pub(super) struct Market {
    /// `127.0.0.1:port` of the seller.
    pub(super) address: String,
    required: PaymentRequired,
    chain: Chain,
    assets: AssetTable,
    servers: Vec<JoinHandle<()>>,
    node: Node,
}

impl Market {
    /// Opens a market on the current runtime.
    pub(super) async fn open(place: Place) -> Result<Self> {
        let network = Network::evm(Config::default().chain_id);
        let (node, chain) = Node::start(place, &network).await?;
        let assets = assets(&network);
        let setup = NetworkSetup {
            chain: chain.clone(),
            assets: assets.clone(),
            signers: vec![Arc::new(signer(LANE)?)],
        };
        let engine = Engine::builder().network(setup).start().await?;
        let mut servers = Vec::new();
        let facilitator: Arc<dyn Facilitator> = match place {
            Place::AllHere | Place::NodeApart => Arc::new(engine),
            Place::HttpBetween => {
                let (address, server) = serve(router(engine, Callers::open(None))).await?;
                servers.push(server);
                Arc::new(HttpFacilitator::new(&format!("http://{address}"))?)
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        // Nobody's address: that the money arrives is the end-to-end suite's business.
        let payee = Address::repeat_byte(0x77).to_string();
        let paywall = Paywall::builder(format!("http://{address}"))
            .accept(network.as_str(), payee)
            .assets(assets.clone())
            .shared_facilitator(facilitator)
            .start()
            .await?;
        let priced = paywall.price(PRICE)?;
        let offers = priced.offers().context("a fixed price has offers")?;
        let required = offers.payment_required(X402Version::V2, &format!("http://{address}{PATH}"), None);
        let shop = Router::new().route(PATH, get(|| async { "data" }).layer(priced));
        servers.push(spawn(listener, shop));
        Ok(Self { address, required, chain, assets, servers, node })
    }

    /// The address of what is sold.
    pub(super) fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// One payer's wallet.
    pub(super) fn wallet(&self) -> Result<Wallet> {
        account(PAYERS.start, self.assets.clone())
    }

    /// The headers of `count` payments, all payers in turn. Never two the same.
    pub(super) async fn sign(&self, count: usize) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for payer in PAYERS {
            let wallet = account(payer, self.assets.clone())?;
            let each = count.div_ceil(PAYERS.len());
            all.push(sign(&wallet, &self.required, &self.url(), each).await?.into_iter());
        }
        let mut headers = Vec::new();
        while headers.len() < count {
            headers.extend(all.iter_mut().filter_map(Iterator::next));
        }
        Ok(headers)
    }

    /// What the node has used of the processor, if it is a process of its own.
    pub(super) fn node_cpu(&self) -> Result<Duration> {
        match &self.node {
            Node::Here { .. } => Ok(Duration::ZERO),
            Node::Apart(child) => cpu::of_process(child.id()),
        }
    }

    /// How many transactions the facilitator has had included.
    pub(super) async fn transactions(&self) -> Result<u64> {
        Ok(self.chain.nonce(ACCOUNTS[LANE].address).await?)
    }
}

impl Drop for Market {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

impl Node {
    async fn start(place: Place, network: &Network) -> Result<(Self, Chain)> {
        let deadline = Duration::from_secs(5);
        if place == Place::NodeApart {
            let child = Child::start(&mut child::command("node", None)?)?;
            let chain = Chain::connect(&child.address, network, deadline)?;
            return Ok((Self::Apart(child), chain));
        }
        let devnet = tollway_devnet::spawn(Config::default()).await?;
        let chain = Chain::from_transport(devnet.transport(), network, deadline)?;
        Ok((Self::Here { _devnet: devnet }, chain))
    }
}

/// The role of the process with the node.
pub(super) fn run_node() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let devnet = tollway_devnet::spawn(Config::default()).await?;
        child::announce(&devnet.rpc_url())?;
        std::future::pending().await
    })
}

/// The wallet of one of the devnet's accounts.
pub(super) fn account(index: usize, assets: AssetTable) -> Result<Wallet> {
    Ok(Wallet::builder().signer(Arc::new(signer(index)?)).assets(assets).build()?)
}

/// Signs `count` payments for what `required` asks at `url`; the values of their headers.
pub(super) async fn sign(
    wallet: &Wallet,
    required: &PaymentRequired,
    url: &str,
    count: usize,
) -> Result<Vec<String>> {
    let url = url.parse()?;
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        headers.push(wallet.pay(required, &url).await?.header.value().to_owned());
    }
    Ok(headers)
}

/// Runs a future on a runtime of its own, on this thread.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future))
}

/// Serves an app on a free port.
pub(super) async fn serve(app: Router) -> Result<(String, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    Ok((address, spawn(listener, app)))
}

/// Serves an app on a socket that listens already.
pub(super) fn spawn(listener: TcpListener, app: Router) -> JoinHandle<()> {
    use axum::serve::ListenerExt;
    // As a server in earnest would: without it, a small answer waits for the acknowledgement of the last.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    tokio::spawn(async move {
        let _ = axum::serve(listener, app).await;
    })
}

fn signer(index: usize) -> Result<impl Signer + use<>> {
    Ok(LocalSigner::from_hex(&ACCOUNTS[index].secret_key.to_string())?)
}

fn assets(network: &Network) -> AssetTable {
    AssetTable::empty().with(Asset {
        network: network.clone(),
        symbol: "USDC".to_owned(),
        address: genesis::USDC,
        name: "USDC".to_owned(),
        version: "2".to_owned(),
        decimals: 6,
        is_usd: true,
        transfer_method: tollway_evm::TransferMethod::Eip3009,
    })
}

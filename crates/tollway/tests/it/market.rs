//! A whole market for one test: node, engine, facilitator over HTTP, seller over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tollway_buyer::{Policy, Wallet};
use tollway_core::{Amount, Clock, Facilitator, Network, SystemClock};
use tollway_devnet::{ACCOUNTS, genesis};
use tollway_evm::exact::ExactSeller;
use tollway_evm::{Address, Asset, AssetTable, Chain, LocalSigner, U256};
use tollway_facilitator::{Callers, Engine, Limits, NetworkSetup, router};
use tollway_ledger::Ledger;
use tollway_seller::{HttpFacilitator, Paywall};

use crate::node::{Kind, Node};

/// Which of the ten funded accounts plays whom.
const LANE: usize = 1;
const BUYER: usize = 2;

/// A running market.
pub(crate) struct Market {
    pub(crate) node: Node,
    pub(crate) chain: Chain,
    pub(crate) engine: Engine,
    pub(crate) facilitator_url: String,
    pub(crate) seller_url: String,
    pub(crate) paywall: Paywall,
    pub(crate) payee: Address,
    /// How often a paid handler ran.
    pub(crate) handled: Arc<AtomicU64>,
    /// JSON-RPC calls of the engine; counted on the devnet only.
    pub(crate) rpc_calls: Arc<AtomicU64>,
    servers: Vec<JoinHandle<()>>,
}

impl Market {
    pub(crate) async fn open() -> Self {
        Self::open_with(Limits::default()).await
    }

    pub(crate) async fn open_with(limits: Limits) -> Self {
        let node = Node::start(Kind::Devnet, 31_337).await.expect("the devnet is always there");
        Self::on(node, limits).await
    }

    /// A market whose facilitator reads the time from `clock`.
    pub(crate) async fn open_at(limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let node = Node::start(Kind::Devnet, 31_337).await.expect("the devnet is always there");
        Self::build(node, limits, clock, None).await
    }

    /// A market whose facilitator writes to `ledger`.
    pub(crate) async fn open_on(ledger: Arc<dyn Ledger>) -> Self {
        let node = Node::start(Kind::Devnet, 31_337).await.expect("the devnet is always there");
        Self::build(node, Limits::default(), Arc::new(SystemClock), Some(ledger)).await
    }

    pub(crate) async fn on(node: Node, limits: Limits) -> Self {
        Self::build(node, limits, Arc::new(SystemClock), None).await
    }

    async fn build(
        node: Node,
        limits: Limits,
        clock: Arc<dyn Clock>,
        ledger: Option<Arc<dyn Ledger>>,
    ) -> Self {
        let (chain, rpc_calls) =
            if node.rpc_is_ours() { node.counted_chain() } else { (node.chain(), Arc::default()) };
        let assets = assets(node.chain_id);
        let setup = NetworkSetup { chain, assets: assets.clone(), signers: vec![Arc::new(account(LANE))] };
        let mut engine = Engine::builder().network(setup).limits(limits).clock(clock);
        if let Some(ledger) = ledger {
            engine = engine.ledger(ledger);
        }
        let engine = engine.start().await.expect("the engine starts");
        let (facilitator_url, facilitator) = serve(router(engine.clone(), Callers::open(None))).await;

        let payee = LocalSigner::random().map(|signer| tollway_evm::Signer::address(&signer)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let seller_url = format!("http://{}", listener.local_addr().unwrap());
        let paywall = paywall(&seller_url, &node.network(), payee, &assets)
            .facilitator(HttpFacilitator::new(&facilitator_url).unwrap())
            .start()
            .await
            .expect("the paywall starts");
        let handled = Arc::new(AtomicU64::new(0));
        let seller = spawn(listener, shop(&paywall, &handled));
        let chain = node.chain();
        Self {
            node,
            chain,
            engine,
            facilitator_url,
            seller_url,
            paywall,
            payee,
            handled,
            rpc_calls,
            servers: vec![facilitator, seller],
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.seller_url)
    }

    pub(crate) fn handled(&self) -> u64 {
        self.handled.load(Ordering::SeqCst)
    }

    /// A wallet with the buyer's funded account.
    pub(crate) fn wallet(&self) -> Wallet {
        let wallet = Wallet::builder().signer(Arc::new(account(BUYER))).assets(assets(self.node.chain_id));
        wallet.policy(Policy::default()).build().expect("the wallet is whole")
    }

    pub(crate) fn buyer(&self) -> Address {
        ACCOUNTS[BUYER].address
    }

    pub(crate) fn buyer_key(&self) -> String {
        ACCOUNTS[BUYER].secret_key.to_string()
    }

    /// How many atomic units of the token an account has.
    pub(crate) async fn balance(&self, account: Address) -> Amount {
        token_balance(&self.chain, account).await
    }

    /// What the seller has received.
    pub(crate) async fn received(&self) -> u64 {
        self.balance(self.payee).await.to_string().parse().expect("fits")
    }

    /// Stops the facilitator's HTTP server, as if it had crashed.
    pub(crate) async fn stop_facilitator(&mut self) {
        let server = self.servers.remove(0);
        server.abort();
        let _ = server.await;
    }
}

impl Drop for Market {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

fn alloy_hex(account: Address) -> String {
    account.to_string().trim_start_matches("0x").to_lowercase()
}

fn shop(paywall: &Paywall, handled: &Arc<AtomicU64>) -> Router {
    let counted = |handled: &Arc<AtomicU64>, answer: &'static str| {
        let handled = Arc::clone(handled);
        move |body: String| {
            let handled = Arc::clone(&handled);
            async move {
                handled.fetch_add(1, Ordering::SeqCst);
                // Long enough for a race to show itself.
                tokio::time::sleep(Duration::from_millis(20)).await;
                format!("{answer}{body}")
            }
        }
    };
    let priced = |price: &str| paywall.price(price).expect("the price is one");
    Router::new()
        .route("/data", get(counted(handled, "data")).layer(priced("$0.01")))
        .route("/other", get(counted(handled, "other")).layer(priced("$0.01")))
        .route("/echo", post(counted(handled, "echo:")).layer(priced("$0.02")))
        .route("/euro", get(counted(handled, "euro")).layer(priced("0.10 EURC")))
        .route("/upfront", get(counted(handled, "upfront")).layer(priced("$0.03").upfront()))
        .route("/dear", get(counted(handled, "dear")).layer(priced("$5")))
}

/// A paywall that accepts `payee` on `network`, still without a facilitator.
pub(crate) fn paywall(
    url: &str,
    network: &Network,
    payee: Address,
    assets: &AssetTable,
) -> tollway_seller::PaywallBuilder {
    Paywall::builder(url)
        .accept(network.as_str(), payee.to_string())
        .scheme(ExactSeller::new(assets.clone()))
        .pending_wait_ms(50)
        .keys_only()
}

/// The known assets and the devnet's.
pub(crate) fn assets(chain_id: u64) -> AssetTable {
    let token = |symbol: &str, address| Asset {
        network: Network::evm(chain_id),
        symbol: symbol.to_owned(),
        address,
        name: symbol.to_owned(),
        version: "2".to_owned(),
        decimals: 6,
        is_usd: symbol == "USDC",
        transfer_method: tollway_evm::TransferMethod::Eip3009,
    };
    let own = AssetTable::empty().with(token("USDC", genesis::USDC)).with(token("EURC", genesis::EURC));
    AssetTable::known()
        .iter()
        .filter(|asset| asset.network != Network::evm(chain_id))
        .cloned()
        .fold(own, AssetTable::with)
}

/// How many atomic units of the token an account has.
pub(crate) async fn token_balance(chain: &Chain, account: Address) -> Amount {
    let data = format!("0x70a08231{:0>64}", alloy_hex(account));
    let word = chain.raw("eth_call", json!([{ "to": genesis::USDC, "data": data }, "latest"])).await;
    let word: U256 = serde_json::from_value(word.expect("the node answers")).expect("a number");
    Amount::from_atomic(word)
}

/// One of the funded accounts.
pub(crate) fn account(index: usize) -> LocalSigner {
    LocalSigner::from_hex(&ACCOUNTS[index].secret_key.to_string()).expect("the key is one")
}

/// Serves an app on a free port.
pub(crate) async fn serve(app: Router) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (url, spawn(listener, app))
}

pub(crate) fn spawn(listener: TcpListener, app: Router) -> JoinHandle<()> {
    tokio::spawn(async move { axum::serve(listener, app).await.expect("the server runs") })
}

/// A header's base64 undone.
pub(crate) fn decoded(header: &http::HeaderValue) -> Value {
    let bytes = tollway_core::wire::decode_header("header", header.as_bytes()).expect("base64");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Makes sure that `Facilitator` is what the engine is used through.
pub(crate) fn as_facilitator(engine: &Engine) -> Arc<dyn Facilitator> {
    Arc::new(engine.clone())
}

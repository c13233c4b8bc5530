//! Everything the demo needs, started: a devnet, a facilitator and a seller, each behind its own port.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use tollway_core::{Amount, Network};
use tollway_devnet::{ACCOUNTS, Config, Grant, Handle, genesis};
use tollway_evm::exact::ExactSeller;
use tollway_evm::{Address, AssetTable, Chain, LocalSigner, Signer, U256};
use tollway_facilitator::{Callers, Engine, NetworkSetup, router};
use tollway_seller::{HttpFacilitator, Paywall, StoredResponses};

use super::shop::{self, ROUTES};
use crate::dev_assets::with_dev_assets;
use crate::serving::Server;

/// What the agent's owner gives it, in millionths of a dollar.
const AGENT_FUNDS: u64 = 5_000_000;
/// What a foreign client may spend.
const TEST_FUNDS: u64 = 1_000_000_000;
const RPC_DEADLINE: Duration = Duration::from_secs(5);

/// Where things listen; 0 is any free port.
#[derive(Debug)]
pub(crate) struct WorldPorts {
    pub(crate) chain_id: u64,
    pub(crate) rpc: u16,
    pub(crate) facilitator: u16,
    pub(crate) seller: u16,
}

/// A running market.
#[derive(Debug)]
pub(crate) struct World {
    devnet: Handle,
    facilitator: Server,
    seller: Server,
    chain: Chain,
    /// The agent's key, funded with tokens only: it needs no gas.
    pub(super) agent: Arc<LocalSigner>,
    test_key: LocalSigner,
    pub(super) payee: Address,
    pub(super) assets: AssetTable,
    pub(super) network: Network,
}

impl World {
    /// Starts everything, the chain first.
    pub(crate) async fn start(ports: &WorldPorts) -> anyhow::Result<Self> {
        let config = Config { chain_id: ports.chain_id, port: ports.rpc, ..Config::default() };
        let devnet = tollway_devnet::spawn(config).await.context("cannot start the devnet")?;
        let network = Network::evm(ports.chain_id);
        let chain = Chain::connect(&devnet.rpc_url(), &network, RPC_DEADLINE)?;
        let assets = with_dev_assets(ports.chain_id);

        let agent = Arc::new(LocalSigner::random()?);
        let test_key = LocalSigner::random()?;
        for (signer, tokens) in [(agent.as_ref(), AGENT_FUNDS), (&test_key, TEST_FUNDS)] {
            let grant = Grant { wei: U256::ZERO, token_atomic: U256::from(tokens) };
            devnet.grant(signer.address(), grant);
        }
        let payee = LocalSigner::random()?.address();

        let lane = LocalSigner::from_hex(&ACCOUNTS[0].secret_key.to_string())?;
        let setup =
            NetworkSetup { chain: chain.clone(), assets: assets.clone(), signers: vec![Arc::new(lane)] };
        let engine = Engine::builder().network(setup).start().await?;
        let listener = Server::listen(&format!("127.0.0.1:{}", ports.facilitator)).await?;
        let facilitator = Server::spawn(listener, router(engine, Callers::open(None)))?;

        // The port must be known first: the paywall is told under which URL buyers see it.
        let listener = Server::listen(&format!("127.0.0.1:{}", ports.seller)).await?;
        let paywall = Paywall::builder(format!("http://{}", listener.local_addr()?))
            .accept(network.as_str(), payee.to_string())
            .scheme(ExactSeller::new(assets.clone()))
            .facilitator(HttpFacilitator::new(&facilitator.url())?)
            // A payment presented again is refused here, to be seen; by default it gets its answer again.
            .stored_responses(StoredResponses::off())
            .start()
            .await?;
        let app = shop::app(&paywall, Arc::new(shop::Stats::new()))?;
        let seller = Server::spawn(listener, app)?;
        Ok(Self { devnet, facilitator, seller, chain, agent, test_key, payee, assets, network })
    }

    /// The URL of a path of the seller's.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.seller.url())
    }

    /// How much of the token `account` has on chain.
    pub(super) async fn balance(&self, account: Address) -> anyhow::Result<Amount> {
        let words = [&[0x70, 0xa0, 0x82, 0x31][..], &[0; 12], account.as_slice()].concat();
        let params = json!([{ "to": genesis::USDC, "data": tollway_evm::Bytes::from(words) }, "latest"]);
        let answer = self.chain.raw("eth_call", params).await?;
        let word: U256 = serde_json::from_value(answer).context("balanceOf did not answer a number")?;
        Ok(Amount::from_atomic(word))
    }

    /// Ends everything.
    pub(crate) async fn stop(self) {
        drop(self.seller);
        drop(self.facilitator);
        self.devnet.shutdown(Duration::from_secs(2)).await;
    }
}

/// Where everything is, for machines and for people.
pub(crate) fn describe(world: &World) -> anyhow::Result<(Value, String)> {
    let routes: Vec<Value> = ROUTES
        .iter()
        .map(|(method, path, price)| json!({ "method": method, "path": path, "price": price }))
        .collect();
    let key = world.test_key.expose_hex();
    let object = json!({
        "rpcUrl": world.devnet.rpc_url(), "network": world.network.as_str(),
        "asset": genesis::USDC.to_string(), "facilitatorUrl": world.facilitator.url(),
        "sellerUrl": world.seller.url(), "routes": routes, "testKey": key.as_str(),
    });
    let mut text = format!(
        "JSON-RPC     {}\nnetwork      {}\nasset        {} (USDC)\nfacilitator  {}\nseller       {}\n\
         test key     {}  (funded, throw-away)\n\n",
        world.devnet.rpc_url(),
        world.network,
        genesis::USDC,
        world.facilitator.url(),
        world.seller.url(),
        key.as_str(),
    );
    for (method, path, price) in ROUTES {
        text.push_str(&format!("  {method:<5} {path:<11} {price}\n"));
    }
    text.push_str(&format!(
        "  GET   /stats      free\n\nPay with:\n  TOLLWAY_KEY={} tollway pay {}/weather",
        key.as_str(),
        world.seller.url(),
    ));
    Ok((object, text))
}

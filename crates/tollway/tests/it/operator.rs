//! A facilitator as an operator runs it: the program, one configuration file, a ledger of its own. And a seller that
//! asks it, for payments to ask about.

use std::fs::File;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tollway_buyer::{Policy, Wallet};
use tollway_core::wire::PAYMENT_REQUIRED;
use tollway_devnet::ACCOUNTS;
use tollway_seller::HttpFacilitator;

use crate::market::{account, assets, decoded, paywall};
use crate::node::Node;
use crate::process::{Background, tollway};

/// Which funded account is the lane's.
const LANE: usize = 5;
/// The key of the caller `shop`.
pub(crate) const SHOP_KEY: &str = "the-key-that-the-shop-was-given";
/// The key of the caller `rival`.
pub(crate) const RIVAL_KEY: &str = "another-key-for-another-shop";
/// The secret of webhooks.
pub(crate) const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Two callers without quotas of note.
pub(crate) const CALLERS: &str = "[[callers]]\nname = \"shop\"\nkey = \"env:SHOP_KEY\"\n\
                                  [[callers]]\nname = \"rival\"\nkey = \"env:RIVAL_KEY\"\n";

/// The program, running.
pub(crate) struct Operator {
    pub(crate) url: String,
    pub(crate) metrics_url: Option<String>,
    process: Background,
    folder: TempDir,
}

impl Operator {
    /// Runs it on `node` with these further lines of configuration: top-level keys, then tables.
    pub(crate) fn start(node: &Node, keys: &str, tables: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), node, keys, tables)
    }

    /// The same, in a folder where one ran before.
    pub(crate) fn start_in(folder: TempDir, node: &Node, keys: &str, tables: &str) -> Self {
        let file = folder.path().join("facilitator.toml");
        std::fs::write(&file, config(node, keys, tables)).unwrap();
        let log = File::options().append(true).create(true).open(folder.path().join("log")).unwrap();
        let mut command = tollway();
        secrets(&mut command).args(["facilitator", "--config"]).arg(&file);
        command.current_dir(folder.path()).stderr(log);
        let mut process = Background::start(&mut command);
        let url = process.line().strip_prefix("listening on ").unwrap().to_owned();
        let has_metrics = tables.contains("metrics_listen");
        let metrics_url = has_metrics.then(|| process.line().strip_prefix("metrics on ").unwrap().to_owned());
        Self { url, metrics_url, process, folder }
    }

    /// Ends it as an operator does; what it logged, and its folder.
    pub(crate) fn stop(self) -> (String, TempDir) {
        assert_eq!(self.process.interrupt(), Some(0));
        (read(&self.folder.path().join("log")), self.folder)
    }

    /// Ends it as a power cut does.
    pub(crate) fn kill(self) -> TempDir {
        drop(self.process);
        self.folder
    }

    /// The page for Prometheus.
    pub(crate) async fn metrics(&self) -> String {
        reqwest::get(self.metrics_url.as_ref().unwrap()).await.unwrap().text().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str, key: Option<&str>) -> Answer {
        let request = reqwest::Client::new().get(format!("{}{path}", self.url));
        Answer::to(with_key(request, key)).await
    }

    pub(crate) async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Answer {
        let request = reqwest::Client::new().post(format!("{}{path}", self.url)).body(body.to_string());
        Answer::to(with_key(request, key)).await
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    async fn to(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default();
        Self { status, headers, body }
    }
}

/// A seller whose offers wallets can sign. It asks the facilitator only what is supported.
pub(crate) struct Stall {
    url: String,
    server: JoinHandle<()>,
    chain_id: u64,
}

impl Stall {
    pub(crate) async fn open(node: &Node, operator: &Operator, key: Option<&str>) -> Self {
        let mut facilitator = HttpFacilitator::new(&operator.url).unwrap();
        if let Some(key) = key {
            facilitator = facilitator.bearer(key);
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let payee = tollway_evm::Address::repeat_byte(0x77);
        let paywall = paywall(&url, &node.network(), payee, &assets(node.chain_id))
            .facilitator(facilitator)
            .start()
            .await
            .unwrap();
        let data = axum::routing::get(async || "data").layer(paywall.price("$0.01").unwrap());
        let app = axum::Router::new().route("/data", data);
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, server, chain_id: node.chain_id }
    }

    pub(crate) fn wallet(&self, buyer: usize) -> Wallet {
        let wallet = Wallet::builder()
            .signer(std::sync::Arc::new(account(buyer)))
            .assets(assets(self.chain_id))
            .policy(Policy::default());
        wallet.build().unwrap()
    }

    /// A body for `/verify` and `/settle`, signed by this funded account.
    pub(crate) async fn body(&self, buyer: usize) -> Value {
        let url = format!("{}/data", self.url);
        let response = reqwest::get(&url).await.unwrap();
        let required = decoded(&response.headers()[PAYMENT_REQUIRED]);
        let typed = tollway_core::wire::decode_payment_required(required.to_string().as_bytes()).unwrap();
        let payment = self.wallet(buyer).pay(&typed, &url.parse().unwrap()).await.unwrap();
        let header = http::HeaderValue::from_str(payment.header.value()).unwrap();
        json!({
            "x402Version": 2, "paymentPayload": decoded(&header),
            "paymentRequirements": required["accepts"][0],
        })
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A configuration of a facilitator on `node`.
pub(crate) fn config(node: &Node, keys: &str, tables: &str) -> String {
    let rpc_url = &node.rpc_url;
    format!(
        "listen = \"127.0.0.1:0\"\n{keys}\n{tables}\n[[networks]]\nnetwork = \"{}\"\nrpc_url = \"{rpc_url}\"\n\
         keys = [\"env:LANE_KEY\"]\n",
        node.network()
    )
}

/// Gives the program the secrets that configurations name.
pub(crate) fn secrets(command: &mut std::process::Command) -> &mut std::process::Command {
    command
        .env("LANE_KEY", lane_key())
        .env("SHOP_KEY", SHOP_KEY)
        .env("RIVAL_KEY", RIVAL_KEY)
        .env("WEBHOOK_SECRET", WEBHOOK_SECRET)
}

/// The lane's private key.
pub(crate) fn lane_key() -> String {
    ACCOUNTS[LANE].secret_key.to_string()
}

fn with_key(request: reqwest::RequestBuilder, key: Option<&str>) -> reqwest::RequestBuilder {
    match key {
        Some(key) => request.bearer_auth(key),
        None => request,
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

//! A fleet of real processes: facilitators and sellers that share ledgers, over a node. Any of them may be killed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tollway_buyer::{Patience, PaymentError, Wallet, payment_error};
use tollway_devnet::{ACCOUNTS, genesis};
use tollway_evm::auth_capture::AuthCaptureBuyer;
use tollway_evm::{Address, LocalSigner, Signer};
use tollway_ledger::{TestServer, own_loopback};

use crate::market::assets;
use crate::node::Node;
use crate::process::{Background, Captured, tollway};

/// How long anything in a fleet may take.
const DEADLINE: Duration = Duration::from_secs(90);
/// Which of the funded accounts pays, and which consents to what happens with held payments.
const PAYER: usize = 5;
const AUTHORIZER: usize = 7;
const PATIENCE: Patience =
    Patience { presentations: 3, answer: Duration::from_secs(12), total: Duration::from_secs(20) };

/// A PostgreSQL server; none if it is not installed, which the test says.
pub(crate) async fn postgres() -> Option<TestServer> {
    let server = TestServer::start_new().await.expect("PostgreSQL starts");
    if server.is_none() {
        assert!(std::env::var_os("TOLLWAY_REQUIRE_FOREIGN").is_none(), "PostgreSQL must be installed");
        eprintln!("NOT RUN: PostgreSQL is not installed");
    }
    server
}

/// Where processes write down what they do.
#[derive(Clone, Debug)]
pub(crate) struct Stores {
    pub(crate) facilitators: String,
    pub(crate) sellers: String,
}

pub(crate) struct Fleet {
    pub(crate) node: Node,
    pub(crate) payee: Address,
    stores: Stores,
    folder: tempfile::TempDir,
    addresses: Mutex<BTreeMap<String, SocketAddr>>,
}

/// One process of a fleet.
pub(crate) struct Member {
    pub(crate) url: String,
    captured: Captured,
}

impl Fleet {
    pub(crate) fn new(node: Node, stores: Stores) -> Self {
        let payee = LocalSigner::random().expect("randomness").address();
        let folder = tempfile::tempdir().expect("a folder");
        Self { node, payee, stores, folder, addresses: Mutex::default() }
    }

    /// Where the process of this name listens, or will. Always the same, so that one that starts again is found there.
    fn address(&self, name: &str) -> SocketAddr {
        let mut addresses = self.addresses.lock().unwrap();
        *addresses.entry(name.to_owned()).or_insert_with(|| {
            let listener = std::net::TcpListener::bind((own_loopback(), 0)).expect("a free port");
            listener.local_addr().expect("an address")
        })
    }

    /// The same, as a URL.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}", self.address(name))
    }

    /// Starts a facilitator with lanes for these of the funded accounts.
    pub(crate) fn facilitator(&self, name: &str, lanes: &[usize], kill_at: Option<&str>) -> Member {
        let listen = self.address(name);
        let keys: Vec<String> = lanes.iter().map(|lane| format!("\"env:LANE_{lane}\"")).collect();
        let config = format!(
            "listen = \"{listen}\"\nname = \"{name}\"\nopen = true\nledger = \"{ledger}\"\n\
             [limits]\nrebroadcast_ms = 200\nsettle_deadline_ms = 5000\n\
             [[networks]]\nnetwork = \"{network}\"\nrpc_url = \"{rpc}\"\nkeys = [{keys}]\nassets = [\"USDC\"]\n\
             [[networks.tokens]]\nsymbol = \"USDC\"\naddress = \"{token}\"\nname = \"USDC\"\nversion = \"2\"\n\
             decimals = 6\n",
            ledger = self.stores.facilitators,
            network = self.node.network(),
            rpc = self.node.rpc_url,
            keys = keys.join(", "),
            token = genesis::USDC,
        );
        let path = self.folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, config).expect("the folder is ours");
        let mut command = tollway();
        command.arg("facilitator").arg("--config").arg(path);
        for lane in lanes {
            command.env(format!("LANE_{lane}"), ACCOUNTS[*lane].secret_key.to_string());
        }
        self.start(command, kill_at, self.url(name))
    }

    /// Starts a seller of the shop at `shop`, behind a facilitator.
    pub(crate) fn seller(&self, name: &str, shop: &str, facilitator: &str, kill_at: Option<&str>) -> Member {
        self.start_seller(name, shop, facilitator, kill_at, &[])
    }

    /// The same, which also holds money first, and believes that it is so much later than it is.
    pub(crate) fn holding_seller(
        &self,
        name: &str,
        (shop, facilitator): (&str, &str),
        kill_at: Option<&str>,
        ahead_seconds: u64,
    ) -> Member {
        let key = ACCOUNTS[AUTHORIZER].secret_key.to_string();
        let more = [("AUTHORIZER_KEY", key), ("AHEAD_SECONDS", ahead_seconds.to_string())];
        self.start_seller(name, shop, facilitator, kill_at, &more)
    }

    fn start_seller(
        &self,
        name: &str,
        shop: &str,
        facilitator: &str,
        kill_at: Option<&str>,
        more: &[(&str, String)],
    ) -> Member {
        // Beside the program under test, where cargo puts examples.
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_tollway")).with_file_name("examples/seller");
        let mut command = Command::new(program);
        command
            .env("LISTEN", self.address(name).to_string())
            // One public address for all of them.
            .env("URL", shop)
            .env("FACILITATOR", facilitator)
            .env("NETWORK", self.node.network().as_str())
            .env("PAY_TO", self.payee.to_checksum(None))
            .env("TOKEN", genesis::USDC.to_checksum(None))
            .env("LEDGER", &self.stores.sellers)
            .env("NAME", name)
            .envs(more.iter().map(|(name, value)| (name, value)));
        self.start(command, kill_at, self.url(name))
    }

    /// Starts a buyer of `url`/`from` up to `url`/`to`, within `budget` for all buyers on the ledger.
    pub(crate) fn buyer(
        &self,
        (url, from, to): (&str, u64, u64),
        (ledger, budget): (&str, &str),
        kill_at: Option<&str>,
    ) -> Member {
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_tollway")).with_file_name("examples/buyer");
        let mut command = Command::new(program);
        command
            .env("URL", url)
            .env("FROM", from.to_string())
            .env("TO", to.to_string())
            .env("KEY", ACCOUNTS[PAYER].secret_key.to_string())
            .env("NETWORK", self.node.network().as_str())
            .env("TOKEN", genesis::USDC.to_checksum(None))
            .env("LEDGER", ledger)
            .env("BUDGET", budget);
        self.start(command, kill_at, url.to_owned())
    }

    fn start(&self, mut command: Command, kill_at: Option<&str>, url: String) -> Member {
        command.env_remove("TOLLWAY_KILL_AT");
        if let Some(at) = kill_at {
            command.env("TOLLWAY_KILL_AT", at);
        }
        let captured = Background::start(&mut command).capture();
        Member { url, captured }
    }

    /// What the payee holds, atomic units.
    pub(crate) async fn received(&self) -> u64 {
        crate::market::token_balance(&self.node.chain(), self.payee).await.to_string().parse().expect("fits")
    }

    /// What the payer still has of what it had at first, atomic units.
    pub(crate) async fn payers_balance(&self) -> u64 {
        let balance = crate::market::token_balance(&self.node.chain(), ACCOUNTS[PAYER].address).await;
        balance.to_string().parse().expect("fits")
    }

    /// A wallet that pays into the escrow.
    pub(crate) fn holding_wallet(&self) -> Wallet {
        let key = LocalSigner::from_hex(&ACCOUNTS[PAYER].secret_key.to_string()).expect("a key");
        let (key, assets) = (Arc::new(key), assets(self.node.chain_id));
        let scheme = AuthCaptureBuyer::new(Arc::clone(&key) as Arc<dyn Signer>, assets.clone());
        let wallet = Wallet::builder().signer(key).assets(assets).scheme(Arc::new(scheme));
        wallet.patience(PATIENCE).build().expect("a wallet")
    }

    pub(crate) fn wallet(&self) -> Wallet {
        let key = ACCOUNTS[PAYER].secret_key.to_string();
        let wallet = Wallet::builder().key(&key).expect("a key").assets(assets(self.node.chain_id));
        wallet.patience(PATIENCE).build().expect("a wallet")
    }

    /// The journal of the facilitators.
    pub(crate) async fn journal(&self, facilitator: &Member) -> Vec<Value> {
        let url = format!("{}/settlements?payer={}&limit=200", facilitator.url, ACCOUNTS[PAYER].address);
        let text = reqwest::get(url).await.expect("it answers").text().await.expect("text");
        let json: Value = serde_json::from_str(&text).expect("JSON");
        json["settlements"].as_array().cloned().unwrap_or_else(|| panic!("a list: {json}"))
    }

    /// Waits until every payment in the journal has come to its end.
    pub(crate) async fn journal_at_rest(&self, facilitator: &Member) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let rows = self.journal(facilitator).await;
            let is_open =
                |row: &Value| ["reserved", "pending"].contains(&row["state"].as_str().unwrap_or(""));
            if !rows.iter().any(is_open) {
                return rows;
            }
            assert!(began.elapsed() < DEADLINE, "without an end: {rows:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Member {
    /// Waits until it answers.
    pub(crate) async fn up(self) -> Self {
        let began = Instant::now();
        while reqwest::get(format!("{}/supported", self.url)).await.is_err() {
            assert!(!self.captured.has_ended(), "it ended: {:?}", self.captured.lines());
            assert!(began.elapsed() < DEADLINE, "it does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self
    }

    /// Waits until it has ended by itself; what it printed.
    pub(crate) async fn ended(&self) -> Vec<String> {
        self.killed().await;
        // The last line may still be on its way through the pipe.
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.captured.lines().lock().unwrap().clone()
    }

    /// Waits until it has killed itself.
    pub(crate) async fn killed(&self) {
        let began = Instant::now();
        while !self.captured.has_ended() {
            assert!(began.elapsed() < DEADLINE, "it was to die on the way");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A load balancer: each connection goes to the next that takes it.
pub(crate) async fn balancer(backends: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        for first in 0.. {
            let Ok((mut client, _)) = listener.accept().await else { return };
            let backends = backends.clone();
            tokio::spawn(async move {
                for offset in 0..backends.len() {
                    let backend = &backends[(first + offset) % backends.len()];
                    let address = backend.trim_start_matches("http://");
                    if let Ok(mut server) = TcpStream::connect(address).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                        return;
                    }
                }
            });
        }
    });
    url
}

/// Buys `path` from the shop, with one authorization, until it is served. The answer's body.
pub(crate) async fn buy(wallet: &Wallet, shop: &str, path: &str) -> String {
    let began = Instant::now();
    let plain = reqwest::Client::builder().timeout(Duration::from_secs(15)).build().expect("a client");
    let client = wallet.client().expect("a client");
    let (url, mut payment) = (format!("{shop}{path}"), None);
    loop {
        assert!(began.elapsed() < DEADLINE, "{path} is not served");
        let answer = match &payment {
            None => client.get(&url).send().await.map_err(|error| {
                if let Some(PaymentError::Unresolved { payment: signed, .. }) = payment_error(&error) {
                    payment = Some(signed.header.clone());
                }
            }),
            Some(header) => {
                let request = plain.get(&url).header(header.name(), header.value());
                request.send().await.map_err(drop)
            }
        };
        if let Ok(answer) = answer {
            if let Some(paid) = tollway_buyer::paid(&answer) {
                payment = Some(paid.header.clone());
            }
            if answer.status().is_success() {
                return answer.text().await.expect("text");
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

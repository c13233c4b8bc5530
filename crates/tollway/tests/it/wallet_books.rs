//! The books of a wallet over real purchases: every purchase and every earning once, exact, whichever way they are told; and
//! a kill switch that another process throws.

use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use tollway_buyer::{Wallet, payment_error};
use tollway_evm::{Address, Signer};
use tollway_ledger::Ledger;

use crate::market::{Market, account, assets};
use crate::process::{run, tollway};

/// A market whose facilitator and buyer share one ledger in a file.
struct Shared {
    folder: TempDir,
    market: Market,
    wallet: Wallet,
    buyer: Address,
}

impl Shared {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger: Arc<dyn Ledger> = tollway_ledger::open(&url(&folder)).await.unwrap();
        let market = Market::open_on(Arc::clone(&ledger)).await;
        let signer = Arc::new(account(2));
        let buyer = signer.address();
        let wallet = Wallet::builder().signer(signer).assets(assets(31_337)).ledger(ledger).build().unwrap();
        Self { folder, market, wallet, buyer }
    }

    /// Buys at each path, as an agent.
    async fn buy(&self, agent: &str, paths: &[&str]) {
        let client = self.wallet.as_agent(agent).client().unwrap();
        for path in paths {
            let answer = client.get(self.market.url(path)).send().await.unwrap();
            assert!(answer.status().is_success(), "{path}");
            answer.text().await.unwrap();
        }
        self.wallet.flush().await;
    }

    fn command(&self, wallet: Address, arguments: &[&str]) -> Command {
        let mut command = tollway();
        let wallet = wallet.to_string();
        command.arg("wallet").args(arguments).args(["--ledger", &url(&self.folder), "--wallet", &wallet]);
        command.env_remove("TOLLWAY_KEY");
        command
    }

    async fn lines(&self, wallet: Address, arguments: &[&str]) -> Vec<Value> {
        let (code, lines) = run(self.command(wallet, arguments)).await;
        assert_eq!(code, Some(0), "{arguments:?}");
        lines
    }

    async fn text(&self, wallet: Address, arguments: &[&str]) -> String {
        let mut command = self.command(wallet, arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn url(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("wallet.db").display())
}

/// In an order of their own: what was bought in one second is told in any.
fn all<'a>(lines: &'a [Value], name: &str) -> Vec<&'a str> {
    let mut all: Vec<&str> = lines.iter().map(|line| line[name].as_str().unwrap_or_default()).collect();
    all.sort_unstable();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn books_tell_every_purchase_and_every_earning_once() {
    let shared = Shared::open().await;
    shared.buy("scout", &["/data", "/other"]).await;
    shared.buy("planner", &["/data", "/upfront"]).await;
    let (buyer, payee) = (shared.buyer, shared.market.payee);

    let spent = shared.lines(buyer, &["history", "--json"]).await;
    assert_eq!(all(&spent, "kind"), ["spent"; 4]);
    assert_eq!(all(&spent, "amount"), ["0.01", "0.01", "0.01", "0.03"]);
    assert_eq!(all(&spent, "usd"), all(&spent, "amount"));
    assert_eq!(all(&spent, "agent"), ["planner", "planner", "scout", "scout"]);
    assert_eq!(all(&spent, "state"), ["paid"; 4]);
    assert!(spent.iter().all(|line| line["transaction"].as_str().is_some_and(|hash| hash.len() == 66)));

    let earned = shared.lines(payee, &["history", "--json"]).await;
    assert_eq!(all(&earned, "kind"), ["earned"; 4]);
    assert_eq!(all(&earned, "transaction"), all(&spent, "transaction"));
    assert_eq!(all(&earned, "amount"), all(&spent, "amount"));

    let groups = shared.lines(buyer, &["history", "--json", "--by", "transaction"]).await;
    let payments: u64 = groups.iter().map(|group| group["payments"].as_u64().unwrap()).sum();
    assert_eq!(payments, 4);

    for (filter, count) in [
        (&["--agent", "scout"][..], 2),
        (&["--host", "127.0.0.1"], 4),
        (&["--host", "elsewhere.example"], 0),
        (&["--from", "2200-01-01"], 0),
        (&["--to", "2001-01-01T00:00:00Z"], 0),
        (&["--limit", "1"], 1),
    ] {
        let lines = shared.lines(buyer, &[&["history", "--json"][..], filter].concat()).await;
        assert_eq!(lines.len(), count, "{filter:?}");
    }
    assert_eq!(shared.lines(buyer, &["history", "--json", "--limit", "1"]).await[0], spent[3], "the newest");
    assert_eq!(shared.text(buyer, &["history"]).await.lines().count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn books_are_written_out_the_same_each_time_and_drawn() {
    let shared = Shared::open().await;
    shared.buy("scout", &["/data", "/other", "/data"]).await;
    let (buyer, payee) = (shared.buyer, shared.market.payee);
    for format in ["table", "json", "csv", "beancount", "ledger"] {
        for by in ["purchase", "transaction"] {
            let arguments = ["export", "--format", format, "--by", by];
            let once = shared.text(buyer, &arguments).await;
            assert_eq!(once, shared.text(buyer, &arguments).await, "{format} {by}");
            let file = shared.folder.path().join(format!("{format}-{by}"));
            let written = [&arguments[..], &["--output", file.to_str().unwrap()]].concat();
            assert_eq!(shared.text(buyer, &written).await, "");
            assert_eq!(std::fs::read_to_string(file).unwrap(), once);
        }
    }
    let csv = shared.text(buyer, &["export", "--format", "csv"]).await;
    assert_eq!(csv.matches("\r\n").count(), 4);
    let entry = shared.text(buyer, &["export", "--format", "beancount"]).await;
    let out = format!("  Assets:Tollway:{}  -0.01 USDC.31337.", buyer.to_string().to_lowercase());
    assert_eq!(entry.matches(&out).count(), 3, "{entry}");
    assert_eq!(entry.matches("  Expenses:Tollway:Scout:127-0-0-1").count(), 3, "{entry}");
    let income = shared.text(payee, &["export", "--format", "ledger"]).await;
    assert_eq!(income.matches("-0.01 USD\n").count(), 3, "{income}");

    let report = shared.text(buyer, &["report"]).await;
    assert!(report.contains("$0.03 spent in 3 purchases"), "{report}");
    let file = shared.folder.path().join("report.svg");
    assert_eq!(shared.text(buyer, &["report", "--svg", file.to_str().unwrap()]).await, "");
    let svg = std::fs::read_to_string(file).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("scout") && svg.contains("$0.03"), "{svg}");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_purchases_are_listed_and_a_node_says_what_became_of_them() {
    let shared = Shared::open().await;
    shared.buy("scout", &["/data"]).await;
    let all = shared.lines(shared.buyer, &["intents", "--all", "--json"]).await;
    assert_eq!((all.len(), &all[0]["state"], &all[0]["agent"]), (1, &"paid".into(), &"scout".into()));
    let node = shared.market.node.rpc_url.clone();
    let done = shared.lines(shared.buyer, &["intents", "--json", "--reconcile", "--rpc-url", &node]).await;
    assert!(done[0]["reconciled"]["lookedAt"].is_u64(), "{done:?}");
    let all = shared.lines(shared.buyer, &["intents", "--all", "--json"]).await;
    assert_eq!(all.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_by_another_process_stops_a_wallet_that_runs() {
    let shared = Shared::open().await;
    shared.buy("scout", &["/data"]).await;
    for (freeze, unfreeze) in [
        (&["freeze", "--json", "--reason", "lunch"][..], &["unfreeze", "--json"][..]),
        (&["freeze", "--json", "--agent", "scout"], &["unfreeze", "--json", "--agent", "scout"]),
    ] {
        shared.lines(shared.buyer, freeze).await;
        let client = shared.wallet.as_agent("scout").client().unwrap();
        let refused = client.get(shared.market.url("/other")).send().await.unwrap_err();
        assert!(
            payment_error(&refused).is_some_and(|error| error.to_string().contains("frozen")),
            "{refused:?}"
        );
        shared.lines(shared.buyer, unfreeze).await;
        shared.buy("scout", &["/other"]).await;
    }
    assert_eq!(shared.market.received().await, 30_000, "nothing was paid while it was frozen");
}

//! Several agents behind one `tollway proxy`: each pays by its own rules, and its owner stops it while it runs.

use std::process::Command;

use http::StatusCode;
use reqwest::Response;
use serde_json::Value;
use tempfile::TempDir;

use crate::market::Market;
use crate::paying_proxy::Running;
use crate::process::{run, tollway};

const POLICY: &str = "max_payment = \"$1\"\n\
     [agent.scout]\nmax_payment = \"$0.001\"\n\
     [agent.trader]\ndeny_tools = [\"gamble*\"]\n[agent.trader.budget]\nlifetime = \"$0.025\"\n";

/// A proxy over a policy and a ledger in a folder.
struct Owner {
    folder: TempDir,
    market: Market,
    proxy: Running,
}

impl Owner {
    async fn open() -> Self {
        let (folder, market) = (tempfile::tempdir().unwrap(), Market::open().await);
        let file = folder.path().join("policy.toml");
        std::fs::write(&file, POLICY).unwrap();
        let ledger = url(&folder);
        let arguments = ["--policy", file.to_str().unwrap(), "--ledger", &ledger, "--wallet", "owner"];
        let proxy = Running::start(&market, &arguments);
        Self { folder, market, proxy }
    }

    /// What a guest of this name is answered, with a tool or without.
    async fn ask(&self, agent: &str, tool: Option<&str>, path: &str) -> Response {
        let through = reqwest::Proxy::all(&self.proxy.url).unwrap().basic_auth(agent, "");
        let client = reqwest::Client::builder().proxy(through).build().unwrap();
        let mut request = client.get(self.market.url(path));
        if let Some(tool) = tool {
            request = request.header("tollway-tool", tool);
        }
        request.send().await.unwrap()
    }

    async fn wallet(&self, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
        let mut command: Command = tollway();
        command.arg("wallet").args(arguments).args([
            "--ledger",
            &url(&self.folder),
            "--wallet",
            "owner",
            "--json",
        ]);
        run(command).await
    }
}

fn url(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("wallet.db").display())
}

fn header(answer: &Response, name: &str) -> String {
    answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_guest_pays_by_its_own_agents_rules() {
    let owner = Owner::open().await;
    let refused = owner.ask("scout", None, "/data").await;
    assert_eq!(refused.status(), StatusCode::PAYMENT_REQUIRED);
    assert!(
        header(&refused, "tollway-refused").contains("$0.001"),
        "{}",
        header(&refused, "tollway-refused")
    );
    let gambled = owner.ask("trader", Some("gamble-more"), "/data").await;
    assert_eq!(gambled.status(), StatusCode::PAYMENT_REQUIRED);
    let stranger = owner.ask("mallory", None, "/data").await;
    assert_eq!(
        (stranger.status(), header(&stranger, "tollway-error")),
        (StatusCode::FORBIDDEN, "agent".into())
    );
    assert_eq!(owner.market.received().await, 0, "nothing of that was paid");

    for bought in 1..=2 {
        let answer = owner.ask("trader", Some("search"), "/data").await;
        assert_eq!((answer.status(), header(&answer, "tollway-paid").is_empty()), (StatusCode::OK, false));
        assert_eq!(answer.text().await.unwrap(), "data");
        assert_eq!(owner.market.received().await, bought * 10_000);
    }
    let spent = owner.ask("trader", None, "/data").await;
    assert_eq!(spent.status(), StatusCode::PAYMENT_REQUIRED, "two cents and a half are two payments");
    assert_eq!(owner.market.received().await, 20_000);

    let policy = owner.folder.path().join("policy.toml");
    let (code, lines) = owner.wallet(&["budget", "--policy", policy.to_str().unwrap()]).await;
    let line = lines.iter().find(|line| line["window"] == "lifetime").expect("the trader's budget");
    assert_eq!(code, Some(0));
    assert!(line["level"].as_str().unwrap().contains("trader"), "{line}");
    assert!(line["left"].as_str().unwrap().contains("0.005"), "{line}");
    let (_, lines) = owner.wallet(&["history"]).await;
    let agents: Vec<_> = lines.iter().filter_map(|line| line["agent"].as_str()).collect();
    assert_eq!(agents, ["trader", "trader"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_runs_stops_paying_when_its_owner_freezes_the_wallet() {
    let owner = Owner::open().await;
    assert_eq!(owner.ask("trader", None, "/data").await.text().await.unwrap(), "data");
    assert_eq!(owner.wallet(&["freeze", "--agent", "trader", "--reason", "out of hand"]).await.0, Some(0));
    let refused = owner.ask("trader", None, "/data").await;
    assert_eq!(refused.status(), StatusCode::PAYMENT_REQUIRED);
    assert!(
        header(&refused, "tollway-refused").contains("out of hand"),
        "{}",
        header(&refused, "tollway-refused")
    );
    assert_eq!(owner.market.received().await, 10_000);
    assert_eq!(owner.wallet(&["unfreeze", "--agent", "trader"]).await.0, Some(0));
    assert_eq!(owner.ask("trader", None, "/data").await.text().await.unwrap(), "data");
    assert_eq!(owner.market.received().await, 20_000);
}

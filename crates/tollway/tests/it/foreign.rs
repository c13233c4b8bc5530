//! The published packages as partners, against our devnet and against anvil.

use std::process::Command;

use serde_json::{Value, json};
use tollway_buyer::paid;
use tollway_devnet::{ACCOUNTS, genesis};
use tollway_facilitator::Limits;

use crate::market::Market;
use crate::node::{Kind, Node};
use crate::process::{Background, node_script, python_script, run};

async fn market(kind: Kind, chain_id: u64) -> Option<Market> {
    Some(Market::on(Node::start(kind, chain_id).await?, Limits::default()).await)
}

/// A foreign buyer pays our seller for a GET and for a POST.
async fn foreign_buyer(kind: Kind, script: fn() -> Option<Command>) {
    if script().is_none() {
        return;
    }
    let Some(market) = market(kind, 31_337).await else { return };
    for (path, method, expected) in [("/data", "GET", "data"), ("/echo", "POST", "echo:{\"a\":1}")] {
        let mut command = script().unwrap();
        let network = market.node.network();
        command.args(["--url", &market.url(path), "--key", &market.buyer_key()]);
        command.args([
            "--token",
            &genesis::USDC.to_string(),
            "--network",
            network.as_str(),
            "--method",
            method,
        ]);
        if method == "POST" {
            command.args(["--body", "{\"a\":1}"]);
        }
        if command.get_args().any(|argument| argument.to_string_lossy().ends_with(".mjs")) {
            command.args(["--rpc", &market.node.rpc_url]);
        }
        let (code, lines) = run(command).await;
        let answer = lines.last().expect("the script prints a line");
        assert_eq!((code, answer["status"].as_u64()), (Some(0), Some(200)), "{answer}");
        assert_eq!(answer["settlement"]["success"], true, "{answer}");
        assert!(answer["body"].as_str().is_some_and(|body| body == expected), "{answer}");
    }
    assert_eq!((market.received().await, market.handled()), (30_000, 2));
}

fn typescript() -> Option<Command> {
    node_script("pay.mjs")
}

fn python() -> Option<Command> {
    python_script("pay.py")
}

#[tokio::test]
async fn the_typescript_client_pays_our_seller_on_our_devnet() {
    foreign_buyer(Kind::Devnet, typescript).await;
}

#[tokio::test]
async fn the_typescript_client_pays_our_seller_on_anvil() {
    foreign_buyer(Kind::Anvil, typescript).await;
}

#[tokio::test]
async fn the_python_client_pays_our_seller_on_our_devnet() {
    foreign_buyer(Kind::Devnet, python).await;
}

#[tokio::test]
async fn the_python_client_pays_our_seller_on_anvil() {
    foreign_buyer(Kind::Anvil, python).await;
}

/// Our buyer pays a foreign seller that settles through our facilitator.
async fn foreign_seller(kind: Kind) {
    let Some(mut command) = node_script("serve.mjs") else { return };
    let Some(market) = market(kind, 31_337).await else { return };
    command.args(["--facilitator", &market.facilitator_url, "--token", &genesis::USDC.to_string()]);
    command.args(["--pay-to", &market.payee.to_string(), "--network", market.node.network().as_str()]);
    command.args(["--name", "USDC", "--token-version", "2"]);
    let mut seller = Background::start(&mut command);
    let (url, seller) = tokio::task::spawn_blocking(move || (seller.line(), seller)).await.unwrap();
    let client = market.wallet().client().unwrap();
    let get = client.get(format!("{url}/paid")).send().await.unwrap();
    assert_eq!(get.status(), 200);
    let settled = paid(&get).unwrap().settlement.clone().unwrap();
    assert!(settled.success, "{settled:?}");
    assert_eq!(paid(&get).unwrap().suspicious, None);
    let post = client
        .post(format!("{url}/paid-post"))
        .header("content-type", "application/json")
        .body("{\"a\":1}")
        .send()
        .await
        .unwrap();
    let body: Value = serde_json::from_str(&post.text().await.unwrap()).unwrap();
    assert_eq!(body["echo"], json!({ "a": 1 }));
    // What fails at the foreign seller is not charged.
    let failed = client.get(format!("{url}/fails")).send().await.unwrap();
    assert_eq!((failed.status().as_u16(), market.received().await), (500, 20_000));
    drop(seller);
}

#[tokio::test]
async fn our_buyer_pays_the_express_seller_through_our_facilitator_on_our_devnet() {
    foreign_seller(Kind::Devnet).await;
}

#[tokio::test]
async fn our_buyer_pays_the_express_seller_through_our_facilitator_on_anvil() {
    foreign_seller(Kind::Anvil).await;
}

/// The v1 client knows networks by name only: the chain calls itself base-sepolia.
async fn v1_buyer(kind: Kind) {
    let Some(mut command) = node_script("pay_v1.mjs") else { return };
    let Some(market) = market(kind, 84_532).await else { return };
    command.args(["--url", &market.url("/data"), "--key", &market.buyer_key()]);
    let (code, lines) = run(command).await;
    let answer = lines.last().expect("the script prints a line");
    assert_eq!((code, &answer["settlement"]["success"]), (Some(0), &json!(true)), "{answer}");
    assert_eq!((market.received().await, market.handled()), (10_000, 1));
}

#[tokio::test]
async fn the_v1_client_pays_our_seller_on_our_devnet() {
    v1_buyer(Kind::Devnet).await;
}

#[tokio::test]
async fn the_v1_client_pays_our_seller_on_anvil() {
    v1_buyer(Kind::Anvil).await;
}

#[tokio::test]
async fn viem_uses_our_devnet_unchanged() {
    let Some(mut command) = node_script("viem.mjs") else { return };
    let node = Node::start(Kind::Devnet, 31_337).await.unwrap();
    command.args(["--rpc", &node.rpc_url, "--key", &ACCOUNTS[3].secret_key.to_string()]);
    command.args(["--token", &genesis::USDC.to_string()]);
    let (code, lines) = run(command).await;
    assert_eq!(code, Some(0), "{lines:?}");
}

#[tokio::test]
async fn our_own_market_works_on_anvil() {
    let Some(market) = market(Kind::Anvil, 31_337).await else { return };
    let client = market.wallet().client().unwrap();
    for path in ["/data", "/upfront"] {
        assert_eq!(client.get(market.url(path)).send().await.unwrap().status(), 200, "{path}");
    }
    assert_eq!(market.received().await, 40_000);
}

//! The published clients as buyers who pay by channel. They run where their packages are: `TOLLWAY_NODE_DIR` names the
//! folder of the TypeScript ones, `TOLLWAY_PYTHON` a Python that has the other.

use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use serde_json::{Value, json};
use tollway_core::SystemClock;

use crate::channel_double::{PRICE, Shop, Vault};

const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const USDC: &str = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";

/// Where the packages are; none if they are not installed, which the test says.
fn installed(name: &str) -> Option<std::path::PathBuf> {
    let place = std::env::var_os(name).map(std::path::PathBuf::from);
    if place.is_none() {
        assert!(std::env::var_os("TOLLWAY_REQUIRE_FOREIGN").is_none(), "{name} must say where packages are");
        eprintln!("NOT RUN: the packages of {name} are not installed");
    }
    place
}

fn chain(vault: &Arc<Vault>) -> Router {
    let vault = Arc::clone(vault);
    let look = move |Path(id): Path<String>| async move {
        let backing = vault.backing(&id);
        json!({ "balance": backing.balance.to_string(), "claimed": backing.claimed.to_string() }).to_string()
    };
    Router::new().route("/chain/{id}", get(look))
}

/// Has a foreign buyer do what its script says; `command` makes it of shop and chain.
async fn bought(command: impl FnOnce(&str) -> Command) -> (Shop, Vec<Value>) {
    let shop = Shop::open_with(|builder| builder.clock(Arc::new(SystemClock))).await;
    let origin = crate::doubles::serve(shop.app().merge(chain(&shop.vault))).await;
    let mut command = command(&origin);
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (told, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let told = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}\n{failed}"));
    (shop, told)
}

/// A deposit, vouchers, one that cost less, one after all was forgotten, and the money back.
fn judge(shop: &Shop, told: &[Value]) {
    let partly = 3_000;
    let voucher = json!(["voucher"]);
    let expected = [
        (json!(["deposit"]), PRICE, PRICE),
        (voucher.clone(), PRICE, 2 * PRICE),
        (voucher.clone(), partly, 2 * PRICE + partly),
        (voucher, PRICE, 3 * PRICE + partly),
        // It went by the chain, and was told better, with its own voucher.
        (json!(["voucher", "voucher"]), PRICE, 4 * PRICE + partly),
    ];
    let (requests, refund) = told.split_at(told.len() - 1);
    assert_eq!(requests.len(), expected.len());
    for (number, (answer, (sent, cost, total))) in requests.iter().zip(expected).enumerate() {
        assert_eq!(answer["status"], 200, "{number}: {answer}");
        assert_eq!(answer["body"], format!("content {}", number + 1));
        assert_eq!(answer["sent"], sent, "{number}: {answer}");
        let extra = &answer["settlement"]["extra"];
        assert_eq!(extra["chargedAmount"], cost.to_string());
        assert_eq!(extra["channelState"]["chargedCumulativeAmount"], total.to_string());
    }
    let total = 4 * PRICE + partly;
    let refund = &refund[0]["settlement"];
    assert_eq!(refund["success"], true, "{refund}");
    assert_eq!(refund["extra"]["channelState"]["totalClaimed"], total.to_string());
    let id = refund["extra"]["channelState"]["channelId"].as_str().unwrap();
    let backing = shop.vault.backing(id);
    assert_eq!((backing.balance, backing.claimed), (total.into(), total.into()));
    assert_eq!(shop.runs(), 5);
}

#[tokio::test]
async fn the_published_typescript_client_pays_by_channel() {
    let Some(folder) = installed("TOLLWAY_NODE_DIR") else { return };
    let (shop, told) = bought(|origin| {
        // The script is ours, the packages may be elsewhere: modules are found from where a script is.
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../interop/node/channel_buyer.mjs");
        let source = std::fs::read_to_string(script).unwrap();
        let mut node = Command::new("node");
        node.current_dir(folder).args(["--input-type=module", "--eval", &source, "--"]);
        node.args(["--shop", origin, "--chain", &format!("{origin}/chain")]);
        node.args(["--key", KEY, "--network", crate::doubles::BASE, "--asset", USDC]);
        node
    })
    .await;
    judge(&shop, &told);
}

#[tokio::test]
async fn the_published_python_client_pays_by_channel() {
    let Some(python) = installed("TOLLWAY_PYTHON") else { return };
    let (shop, told) = bought(|origin| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../interop/python/channel_buyer.py");
        let mut command = Command::new(python);
        command.args([script, origin, &format!("{origin}/chain"), KEY]);
        command
    })
    .await;
    judge(&shop, &told);
}

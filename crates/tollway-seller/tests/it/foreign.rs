//! The published TypeScript client as a buyer with an identity. It runs where its packages are: `TOLLWAY_NODE_DIR` names
//! their folder.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tollway_core::Facilitator;
use tollway_seller::{Paywall, SignIn, SignedIn};

use crate::doubles::{BASE, PAY_TO, ScriptedFacilitator};

const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const PAYER: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
const USDC: &str = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";

/// The folder of the packages; none if they are not installed, which the test says.
fn packages() -> Option<PathBuf> {
    let folder = std::env::var_os("TOLLWAY_NODE_DIR").map(PathBuf::from);
    if folder.is_none() {
        assert!(std::env::var_os("TOLLWAY_REQUIRE_FOREIGN").is_none(), "the node packages must be installed");
        eprintln!("NOT RUN: the node packages are not installed");
    }
    folder
}

#[tokio::test]
async fn the_published_client_buys_once_and_comes_back_by_signing_in() {
    let Some(folder) = packages() else { return };
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let paywall = Paywall::builder(&origin)
        .accept(BASE, PAY_TO)
        .shared_facilitator(Arc::clone(&facilitator) as Arc<dyn Facilitator>)
        .start()
        .await
        .unwrap();
    let rule = SignIn::for_seconds(3600).statement("Read again what you have bought");
    let priced = paywall.price("$0.01").unwrap().sign_in(rule).unwrap();
    let priced = priced.builder_code("our_shop", &["our_mcp"]).unwrap();
    let handler = |who: Option<axum::Extension<SignedIn>>| async move {
        who.map_or_else(|| "bought".to_owned(), |who| format!("again, {}", who.address))
    };
    let app = Router::new().route("/data", get(handler).layer(priced));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

    // The script is ours and stands in our folder, the packages may be elsewhere: modules are found from where a script is.
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../interop/node/come_back.mjs");
    let source = std::fs::read_to_string(script).unwrap();
    let mut node = std::process::Command::new("node");
    node.current_dir(&folder).args(["--input-type=module", "--eval", &source, "--"]);
    node.args(["--url", &format!("{origin}/data"), "--key", KEY, "--network", BASE, "--asset", USDC]);
    node.args(["--code", "their_client"]).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || node.output()).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}\n{failed}"));
    let expected = serde_json::json!([
        { "status": 200, "body": "bought", "paid": true },
        { "status": 200, "body": format!("again, {PAYER}"), "paid": false },
    ]);
    assert_eq!(told, expected, "{failed}");
    assert_eq!(facilitator.calls(), (1, 1), "one payment for both");
    let settled = facilitator.last_settle.lock().unwrap().clone().unwrap();
    let codes = &settled.payment.extensions["builder-code"]["info"];
    assert_eq!(*codes, serde_json::json!({ "a": "our_shop", "s": ["their_client", "our_mcp"] }));
}

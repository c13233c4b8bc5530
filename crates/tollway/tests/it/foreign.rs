//! Foreign tools around us: viem on our devnet, and our own market on anvil. The published x402 packages as partners
//! are in the interop matrix, `tests/interop`.

use tollway_devnet::{ACCOUNTS, genesis};
use tollway_facilitator::Limits;

use crate::market::Market;
use crate::node::{Kind, Node};
use crate::process::{node_script, run};

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
    let Some(node) = Node::start(Kind::Anvil, 31_337).await else { return };
    let market = Market::on(node, Limits::default()).await;
    let client = market.wallet().client().unwrap();
    for path in ["/data", "/upfront"] {
        assert_eq!(client.get(market.url(path)).send().await.unwrap().status(), 200, "{path}");
    }
    assert_eq!(market.received().await, 40_000);
}

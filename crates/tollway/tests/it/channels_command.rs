//! `tollway channels` and `tollway pay` on a channel: the real program, on a seller's ledger and a payer's, before our
//! facilitator and a chain.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollway_core::SchemeName;
use tollway_devnet::ACCOUNTS;
use tollway_evm::batch_settlement::BatchSettlement;
use tollway_evm::{Address, LocalSigner, Signer};
use tollway_ledger::SqliteLedger;
use tollway_seller::{ClaimPolicy, HttpFacilitator, Paywall};

use crate::market::{Market, account, assets, spawn, token_balance};
use crate::process::{run, tollway};

const PAYER: usize = 8;
const PRICE: u64 = 10_000;
const DELAY_SECONDS: u64 = 900;

struct Shop {
    market: Market,
    folder: tempfile::TempDir,
    url: String,
    authorizer: String,
}

impl Shop {
    async fn open() -> Self {
        let (market, folder) = (Market::open().await, tempfile::tempdir().unwrap());
        let (known, network) = (assets(market.node.chain_id), market.node.network());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        // The dev account that signs for the seller: the program is given the same key.
        let authorizer = ACCOUNTS[6].secret_key.to_string();
        let signer: LocalSigner = account(6);
        let ledger = SqliteLedger::open(folder.path().join("seller.db")).await.unwrap();
        let scheme = BatchSettlement::new(known).with_key(Arc::new(signer));
        let paywall = Paywall::builder(&origin)
            .scheme(scheme.with_withdraw_delay_seconds(DELAY_SECONDS))
            .accept_by(SchemeName::BATCH_SETTLEMENT, network.as_str(), market.payee.to_string())
            .facilitator(HttpFacilitator::new(&market.facilitator_url).unwrap())
            .ledger(Arc::new(ledger))
            .claims(ClaimPolicy::default().by_hand())
            .pending_wait_ms(50)
            .start()
            .await
            .unwrap();
        let priced = paywall.price("$0.01").unwrap();
        spawn(listener, Router::new().route("/data", get(|| async { "data" }).layer(priced)));
        Self { market, folder, url: format!("{origin}/data"), authorizer }
    }

    fn file(&self, name: &str) -> String {
        format!("sqlite:{}", self.folder.path().join(name).display())
    }

    /// The payer's program, with a wallet that outlives it.
    async fn payer(&self, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
        let mut program = tollway();
        program.args(arguments).arg("--json").env("TOLLWAY_KEY", ACCOUNTS[PAYER].secret_key.to_string());
        run(program_with(program, "TOLLWAY_WALLET_LEDGER", &self.file("payer.db"))).await
    }

    /// The seller's.
    async fn seller(&self, arguments: &[&str], asks: bool) -> (Option<i32>, Vec<Value>) {
        let (mut program, ledger) = (tollway(), self.file("seller.db"));
        program.arg("channels").args(arguments).args(["--json", "--ledger", &ledger]);
        if asks {
            program.args(["--facilitator", &self.market.facilitator_url, "--key", "env:SELLERS_KEY"]);
        }
        run(program_with(program, "SELLERS_KEY", &self.authorizer)).await
    }

    async fn has(&self, who: Address) -> u64 {
        token_balance(&self.market.chain, who).await.to_string().parse().unwrap()
    }

    async fn later(&self, seconds: u64) {
        self.market.chain.raw("evm_increaseTime", json!([seconds])).await.unwrap();
        self.market.chain.raw("evm_mine", json!([])).await.unwrap();
    }
}

fn program_with(mut program: std::process::Command, name: &str, value: &str) -> std::process::Command {
    program.env(name, value);
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_charged_is_claimed_and_paid_out_and_the_rest_is_withdrawn_by_the_program_alone() {
    let shop = Shop::open().await;
    let (payer, payee) = (account(PAYER).address(), shop.market.payee);
    let (before, earned) = (shop.has(payer).await, shop.has(payee).await);
    for _ in 0..3 {
        let (code, told) = shop.payer(&["pay", &shop.url]).await;
        assert_eq!((code, &told[0]["body"]), (Some(0), &json!("data")), "{told:?}");
    }
    let deposit = before - shop.has(payer).await;
    assert!(deposit >= 3 * PRICE, "three purchases, one deposit: {deposit}");
    assert_eq!(shop.has(payee).await, earned, "nothing is paid out yet");

    let (code, told) = shop.seller(&["list"], false).await;
    assert_eq!(code, Some(0), "{told:?}");
    let channel = told[0]["channel"].as_str().unwrap().to_owned();
    assert_eq!((&told[0]["charged"], &told[0]["atRisk"]), (&json!("30000"), &json!("30000")));
    let (code, told) = shop.seller(&["claim", &channel, "eip155:31337/0x00"], true).await;
    assert_eq!((code, told.len()), (Some(1), 0), "a name that is mistyped is not nothing to do: {told:?}");
    let (code, told) = shop.seller(&["claim"], true).await;
    assert_eq!((code, &told[0]["outcome"]), (Some(0), &json!("done")), "{told:?}");
    let (code, told) = shop.seller(&["settle"], true).await;
    assert_eq!(code, Some(0), "{told:?}");
    assert_eq!(shop.has(payee).await, earned + 3 * PRICE);
    let (code, told) = shop.seller(&["claim"], true).await;
    assert_eq!((code, &told[0]["operation"]), (Some(0), &json!(null)), "there is nothing more: {told:?}");
    let (_, told) = shop.seller(&["list"], false).await;
    assert_eq!((&told[0]["claimed"], &told[0]["atRisk"]), (&json!("30000"), &json!("0")));

    // The payer takes back what is left, without the seller.
    let rpc = shop.market.node.rpc_url.clone();
    let (code, told) = shop.payer(&["wallet", "channels", "list"]).await;
    assert_eq!((code, &told[0]["channel"], &told[0]["charged"]), (Some(0), &json!(channel), &json!("30000")));
    let withdraw = ["wallet", "channels", "withdraw", &channel, "--rpc-url", &rpc];
    let (code, told) = shop.payer(&withdraw).await;
    assert_eq!((code, &told[0]["outcome"]), (Some(0), &json!("done")), "{told:?}");
    let (code, told) = shop.payer(&["pay", &shop.url]).await;
    let why = told[0]["message"].as_str().unwrap_or_default();
    assert!(code == Some(3) && why.contains("being withdrawn"), "nothing more is bought on it: {told:?}");
    let finalize = [&withdraw[..], &["--finalize"]].concat();
    let (code, told) = shop.payer(&finalize).await;
    assert_eq!((code, &told[0]["outcome"]), (Some(3), &json!("refused")), "too early: {told:?}");
    shop.later(DELAY_SECONDS + 1).await;
    let (code, told) = shop.payer(&finalize).await;
    assert_eq!((code, &told[0]["outcome"]), (Some(0), &json!("done")), "{told:?}");
    assert_eq!(shop.has(payer).await, before - 3 * PRICE, "what was bought is what it cost");
    let (_, told) = shop.payer(&["wallet", "channels", "list"]).await;
    assert_eq!((&told[0]["balance"], &told[0]["exposed"]), (&json!("30000"), &json!("0")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seller_gives_back_what_is_left_by_the_program_and_the_channel_is_empty() {
    let shop = Shop::open().await;
    let payer = account(PAYER).address();
    let before = shop.has(payer).await;
    assert_eq!(shop.payer(&["pay", &shop.url]).await.0, Some(0));
    let (_, told) = shop.seller(&["list"], false).await;
    let channel = told[0]["channel"].as_str().unwrap().to_owned();
    let (code, told) = shop.seller(&["refund", &channel], true).await;
    assert_eq!((code, &told[0]["outcome"]), (Some(0), &json!("done")), "{told:?}");
    assert_eq!(shop.has(payer).await, before - PRICE);
    let (code, _) = shop.seller(&["refund", "eip155:31337/0x00"], true).await;
    assert_eq!(code, Some(1), "there is no such channel");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_gets_back_what_is_left_by_the_program_with_the_seller_and_without_gas() {
    let shop = Shop::open().await;
    let (payer, rpc) = (account(PAYER).address(), shop.market.node.rpc_url.clone());
    let (before, nonce) = (shop.has(payer).await, shop.market.chain.nonce(payer).await.unwrap());
    let (code, told) = shop.payer(&["wallet", "channels", "list"]).await;
    assert_eq!((code, told.len()), (Some(1), 0), "there is no ledger yet: {told:?}");
    assert_eq!(shop.payer(&["pay", &shop.url]).await.0, Some(0));
    let (code, told) = shop.payer(&["wallet", "channels", "list"]).await;
    let channel = told[0]["channel"].as_str().unwrap().to_owned();
    assert_eq!((code, &told[0]["charged"], &told[0]["url"]), (Some(0), &json!("10000"), &json!(shop.url)));
    let refund = ["wallet", "channels", "refund", &channel, "--rpc-url", &rpc];
    let (code, told) = shop.payer(&[&refund[..], &["--amount", "20000"]].concat()).await;
    assert_eq!((code, &told[0]["outcome"], &told[0]["amount"]), (Some(0), &json!("done"), &json!("20000")));
    let (code, told) = shop.payer(&refund).await;
    assert_eq!((code, &told[0]["outcome"]), (Some(0), &json!("done")), "{told:?}");
    assert_eq!(shop.has(payer).await, before - PRICE, "what was bought is what it cost");
    assert_eq!(shop.market.chain.nonce(payer).await.unwrap(), nonce, "the payer sent nothing");
    let (_, told) = shop.payer(&["wallet", "channels", "list"]).await;
    assert_eq!((&told[0]["balance"], &told[0]["exposed"]), (&json!("10000"), &json!("0")), "{told:?}");
    let (code, told) = shop.payer(&refund).await;
    assert_eq!((code, &told[0]["outcome"]), (Some(3), &json!("refused")), "nothing is left: {told:?}");
    let nobodys = ["wallet", "channels", "refund", "eip155:31337/0x00"];
    assert_eq!(shop.payer(&nobodys).await.0, Some(1), "there is no such channel");
    // It goes on with another deposit.
    let (code, told) = shop.payer(&["pay", &shop.url]).await;
    assert_eq!((code, &told[0]["body"]), (Some(0), &json!("data")), "{told:?}");
}

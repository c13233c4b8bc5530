//! Several assets for one price, with money on a chain.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tollway_buyer::{Policy, Wallet, paid, payment_error};
use tollway_core::Amount;
use tollway_devnet::{Grant, genesis};
use tollway_evm::{Address, LocalSigner, Signer, U256};
use tollway_seller::{Coin, FileSource, Guard, HttpFacilitator, HttpSource, Paywall};

use crate::market::{Market, assets, paywall, serve};

/// A buyer who has nothing but euros, and what a test pays them with.
struct Tourist {
    address: Address,
    wallet: Wallet,
}

impl Tourist {
    async fn arrive(market: &Market) -> Self {
        let signer = LocalSigner::random().unwrap();
        let address = signer.address();
        let funds = Grant { wei: U256::ZERO, token_atomic: U256::from(1_000_000) };
        market.node.devnet().grant(address, funds);
        let slot = format!("{:#066x}", genesis::balance_slot(address));
        let zero = format!("{:#066x}", U256::ZERO);
        let emptied = json!([genesis::USDC.to_string(), slot, zero]);
        market.chain.raw("anvil_setStorageAt", emptied).await.unwrap();
        let network = market.node.network();
        // No dollars without a cap for them: what is left is the euro.
        let policy = Policy::default().cap_per_payment("1 EURC".parse().unwrap()).allow_asset(
            network.clone(),
            &genesis::EURC.to_string(),
            Amount::from(50_000),
        );
        let wallet = Wallet::builder().signer(Arc::new(signer)).assets(assets(market.node.chain_id));
        Self { address, wallet: wallet.policy(policy).build().unwrap() }
    }
}

async fn balance(market: &Market, token: Address, account: Address) -> u64 {
    let data = format!("0x70a08231{:0>64}", account.to_string().trim_start_matches("0x").to_lowercase());
    let call = json!([{ "to": token.to_string(), "data": data }, "latest"]);
    let word: U256 = serde_json::from_value(market.chain.raw("eth_call", call).await.unwrap()).unwrap();
    word.to()
}

/// A seller of the market's payee that takes both of the devnet's tokens for a cent.
async fn seller(market: &Market, guard: Guard) -> (Paywall, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let paywall = paywall(&url, &market.node.network(), market.payee, &assets(market.node.chain_id))
        .coins([Coin::new("USDC"), Coin::new("EURC").guard(guard)])
        .facilitator(HttpFacilitator::new(&market.facilitator_url).unwrap())
        .start()
        .await
        .unwrap();
    let route = get(|| async { "data" }).layer(paywall.price("$0.01").unwrap());
    let app = Router::new().route("/data", route);
    tokio::spawn(async move { axum::serve(listener, app).await.expect("the server runs") });
    (paywall, format!("{url}/data"))
}

#[tokio::test]
async fn a_buyer_with_euros_alone_pays_a_price_in_dollars() {
    let market = Market::open().await;
    let tourist = Tourist::arrive(&market).await;
    let rates = get(|| async { r#"{"rates":{"USD":1.0832}}"# });
    let (rates, _server) = serve(Router::new().route("/latest", rates)).await;
    let source = HttpSource::new(&format!("{rates}/latest"), "/rates/USD").unwrap();
    let (paywall, url) = seller(&market, Guard::new(source).band("0.95", "1.35")).await;
    assert_eq!(paywall.assets()[0].standing, Ok("1.0832".parse().unwrap()));
    let held = |token| balance(&market, token, tourist.address);
    assert_eq!((held(genesis::USDC).await, held(genesis::EURC).await), (0, 1_000_000));

    let response = tourist.wallet.client().unwrap().get(&url).send().await.unwrap();
    let settled = paid(&response).unwrap().settlement.clone().unwrap();
    assert!(settled.success, "{settled:?}");
    assert_eq!(response.text().await.unwrap(), "data");
    // 0.01 / 1.0832 = 0.009231905…, rounded up.
    assert_eq!(held(genesis::EURC).await, 1_000_000 - 9_232);
    assert_eq!(balance(&market, genesis::EURC, market.payee).await, 9_232);
    assert_eq!(balance(&market, genesis::USDC, market.payee).await, 0);
}

#[tokio::test]
async fn a_buyer_with_dollars_pays_while_the_euro_is_withdrawn() {
    let market = Market::open().await;
    let tourist = Tourist::arrive(&market).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rates.json");
    std::fs::write(&path, r#"{"EURC": -1.0832}"#).unwrap();
    let guard = Guard::new(FileSource::new(&path, "/EURC")).band("0.95", "1.35");
    let (_paywall, url) = seller(&market, guard).await;
    let error = tourist.wallet.client().unwrap().get(&url).send().await.unwrap_err();
    assert!(payment_error(&error).is_some(), "{error}");
    let response = market.wallet().client().unwrap().get(&url).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "data");
    assert_eq!(balance(&market, genesis::USDC, market.payee).await, 10_000);
    assert_eq!(balance(&market, genesis::EURC, market.payee).await, 0);
}

//! Buyers whose approval of Permit2 is a transaction that the facilitator sends and pays for: ours, the program, and published
//! partners.

use std::sync::Arc;

use serde_json::json;
use tollway_buyer::{Wallet, paid};
use tollway_core::model::{FacilitatorRequest, PaymentRequired};
use tollway_core::wire::encode_facilitator_request;
use tollway_core::{
    BuyerScheme, Clock, JsonObject, Price, SchemeName, SellerScheme, SystemClock, Terms, X402Version,
};
use tollway_devnet::{ACCOUNTS, Grant, genesis};
use tollway_evm::exact::{ExactBuyer, ExactSeller};
use tollway_evm::permit2::{Allowances, ERC20_APPROVAL_GAS_SPONSORING};
use tollway_evm::{LocalSigner, Signer, U256};
use tollway_facilitator::Sponsoring;

use crate::market::account;
use crate::node::{Kind, Node};
use crate::permit2::{Shop, assets, pay};
use crate::process::{node_script, run};

const GIVEN: Sponsoring = Sponsoring {
    // 0.01 of the chain's coin: an approval at any price that it may have in a test.
    max_cost: U256::from_limbs([10_000_000_000_000_000, 0, 0, 0]),
    payer_approvals_a_day: 2,
    approvals_a_day: 10,
};

/// Money of the token, and none for gas.
fn grant(node: &Node, payer: &LocalSigner) {
    let grant = Grant { wei: U256::ZERO, token_atomic: U256::from(1_000_000) };
    node.devnet().grant(payer.address(), grant);
}

#[tokio::test]
async fn who_has_no_gas_signs_the_approval_that_others_send_and_is_served() {
    for scheme in [SchemeName::EXACT, SchemeName::UPTO] {
        let shop = Shop::with(genesis::PLAIN_USD, scheme, Some(GIVEN)).await;
        grant(&shop.node, &shop.payer);
        let wallet = Wallet::builder().signer(Arc::new(shop.payer.clone()));
        let wallet = wallet.assets(assets(&shop.node, shop.token)).allowances(Arc::new(shop.node.chain()));
        let client = wallet.build().unwrap().client().unwrap();
        let served = client.get(format!("{}/data", shop.url)).send().await.unwrap();
        assert!(paid(&served).unwrap().settlement.as_ref().unwrap().success);
        assert_eq!((served.text().await.unwrap().as_str(), shop.received().await), ("data", 10_000));
        assert_eq!(shop.chain.nonce(shop.payer.address()).await.unwrap(), 1, "the approval");
        let left = Allowances::allowance(&shop.chain, shop.token, shop.payer.address()).await;
        assert_eq!(left, Ok(U256::ZERO), "what was approved was due");
    }
}

#[tokio::test]
async fn who_has_no_gas_is_served_on_anvil_too() {
    let Some(node) = Node::start(Kind::Anvil, 31_337).await else { return };
    let shop = Shop::on(node, genesis::PLAIN_USD, SchemeName::EXACT, Some(GIVEN)).await;
    // Who has the token has gas too, at first.
    let payer = account(3);
    shop.chain.raw("anvil_setBalance", json!([payer.address(), "0x0"])).await.unwrap();
    let wallet = Wallet::builder().signer(Arc::new(payer.clone()));
    let wallet = wallet.assets(assets(&shop.node, shop.token)).allowances(Arc::new(shop.node.chain()));
    let client = wallet.build().unwrap().client().unwrap();
    let served = client.get(format!("{}/data", shop.url)).send().await.unwrap();
    assert!(paid(&served).unwrap().settlement.as_ref().unwrap().success);
    assert_eq!((served.text().await.unwrap().as_str(), shop.received().await), ("data", 10_000));
    assert_eq!(shop.chain.nonce(payer.address()).await.unwrap(), 1, "the approval");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_with_a_node_pays_without_any_gas() {
    let shop = Shop::with(genesis::PLAIN_USD, SchemeName::EXACT, Some(GIVEN)).await;
    grant(&shop.node, &shop.payer);
    let (code, told) = pay(&shop, &["--rpc-url", &shop.node.rpc_url]).await;
    assert_eq!((code, &told["body"]), (Some(0), &json!("data")), "{told}");
    assert_eq!(shop.received().await, 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_buyer_without_gas_is_served() {
    let shop = Shop::with(genesis::PLAIN_USD, SchemeName::EXACT, Some(GIVEN)).await;
    grant(&shop.node, &shop.payer);
    let Some(mut command) = node_script("approval.mjs") else { return };
    command.args(["buy", "--rpc", &shop.node.rpc_url, "--key", shop.payer.expose_hex().as_str()]);
    command.args(["--url", &format!("{}/data", shop.url)]);
    let (code, lines) = run(command).await;
    assert_eq!(code, Some(0), "{lines:?}");
    assert_eq!(lines[0], json!({ "status": 200, "body": "data" }));
    assert_eq!((shop.received().await, shop.chain.nonce(shop.payer.address()).await.unwrap()), (10_000, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_facilitator_takes_our_approval() {
    let Some(mut command) = node_script("approval.mjs") else { return };
    let node = Node::start(Kind::Devnet, 31_337).await.unwrap();
    let (token, payer) = (genesis::PLAIN_USD, LocalSigner::random().unwrap());
    // It gives no money: the payer has its own.
    let money = Grant { wei: U256::from(10u64.pow(18)), token_atomic: U256::from(1_000_000) };
    node.devnet().grant(payer.address(), money);
    let payee = LocalSigner::random().unwrap().address().to_string();
    let terms = Terms { network: node.network(), pay_to: payee, max_timeout_seconds: 300 };
    // Its check of a payment needs a domain, which this token has for nothing.
    let extra = json!({ "name": "Plain USD", "version": "1" }).as_object().cloned().unwrap();
    let price = Price::Asset { amount: 700.into(), asset: token.to_string(), extra };
    let seller = ExactSeller::new(assets(&node, token));
    let mut offer = seller.offer(&price, &terms).unwrap();
    offer.extra.insert("assetTransferMethod".to_owned(), "permit2".into());
    let required = PaymentRequired {
        version: X402Version::V2,
        error: None,
        resource: None,
        accepts: vec![offer.clone()],
        extensions: seller.declare(&offer, &[ERC20_APPROVAL_GAS_SPONSORING.to_owned()]),
        other: JsonObject::new(),
    };
    let buyer = ExactBuyer::new(Arc::new(payer), assets(&node, token)).allowances(Arc::new(node.chain()));
    let payment = buyer.sign(&required, &offer, SystemClock.now()).await.unwrap();
    let request = encode_facilitator_request(&FacilitatorRequest { payment, requirements: offer });
    let request = serde_json::to_string(&request).unwrap();
    command.args(["settle", "--rpc", &node.rpc_url, "--request", &request]);
    command.args(["--key", &ACCOUNTS[1].secret_key.to_string()]);
    let (code, lines) = run(command).await;
    assert_eq!(code, Some(0), "{lines:?}");
    assert_eq!(lines[0], json!({ "isValid": true, "success": true }), "{lines:?}");
}

//! Buyer, seller and facilitator, with a dollar that only Permit2 moves: by scheme `exact`, and by `upto`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tollway_buyer::{PaymentError, Policy, Wallet, paid, payment_error};
use tollway_core::SchemeName;
use tollway_devnet::{Grant, genesis};
use tollway_evm::exact::ExactSeller;
use tollway_evm::permit2::{Allowances, ApproveError, EIP2612_GAS_SPONSORING, UptoSeller, approve_call};
use tollway_evm::{
    Address, Asset, AssetTable, Chain, LocalSigner, Signer, Transaction, TransferMethod, U256,
};
use tollway_facilitator::{Callers, Engine, NetworkSetup, Sponsoring, router};
use tollway_seller::{HttpFacilitator, Meter, PaidBody, Paywall};

use crate::market::{account, serve};
use crate::node::{Kind, Node};
use crate::process::{run, tollway};

/// A shop that takes this dollar, and who would pay in it.
pub(crate) struct Shop {
    pub(crate) node: Node,
    pub(crate) chain: Chain,
    pub(crate) token: Address,
    payee: Address,
    pub(crate) payer: LocalSigner,
    wallet: Wallet,
    pub(crate) url: String,
}

pub(crate) fn assets(node: &Node, token: Address) -> AssetTable {
    let has_domain = token == genesis::PERMIT_USD;
    AssetTable::empty().with(Asset {
        network: node.network(),
        symbol: "DOLLAR".to_owned(),
        address: token,
        name: if has_domain { "Permit USD".to_owned() } else { String::new() },
        version: if has_domain { "1".to_owned() } else { String::new() },
        decimals: 6,
        is_usd: true,
        transfer_method: TransferMethod::Permit2,
    })
}

/// Five parts of $0.003: three of them fit into the price, `$0.01`.
async fn parts(Extension(meter): Extension<Meter>) -> Result<Response<PaidBody>, StatusCode> {
    let parts = (1..=5).map(|number| Ok::<_, std::io::Error>(Bytes::from(format!("part {number}\n"))));
    let each = meter.tariff("$0.003", 1)?;
    Ok(meter.stream(Response::new(Body::from_stream(stream::iter(parts))), each, |_| 1))
}

impl Shop {
    async fn open(scheme: SchemeName) -> Self {
        Self::taking(genesis::PLAIN_USD, scheme).await
    }

    async fn taking(token: Address, scheme: SchemeName) -> Self {
        Self::with(token, scheme, None).await
    }

    /// One whose facilitator pays for approvals.
    pub(crate) async fn with(token: Address, scheme: SchemeName, given: Option<Sponsoring>) -> Self {
        let node = Node::start(Kind::Devnet, 31_337).await.expect("the devnet is always there");
        Self::on(node, token, scheme, given).await
    }

    pub(crate) async fn on(
        node: Node,
        token: Address,
        scheme: SchemeName,
        given: Option<Sponsoring>,
    ) -> Self {
        let (chain, assets) = (node.chain(), assets(&node, token));
        let setup =
            NetworkSetup { chain: node.chain(), assets: assets.clone(), signers: vec![Arc::new(account(1))] };
        let mut engine = Engine::builder().network(setup);
        if let Some(given) = given {
            engine = engine.sponsoring(node.network(), given);
        }
        let engine = engine.start().await.expect("the engine starts");
        let (facilitator, _) = serve(router(engine, Callers::open(None))).await;
        let payee = LocalSigner::random().unwrap().address();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let paywall = Paywall::builder(&url)
            .accept_by(scheme, node.network().as_str(), payee.to_string())
            .scheme(ExactSeller::new(assets.clone()))
            .scheme(UptoSeller::new(assets.clone()))
            .pending_wait_ms(50)
            .facilitator(HttpFacilitator::new(&facilitator).unwrap())
            .start()
            .await
            .expect("the paywall starts");
        let price = || paywall.price("$0.01").expect("the price is one");
        let used =
            |charge: &'static str| move || async move { ([("Settlement-Overrides", charge)], "metered") };
        let app = Router::new()
            .route("/data", get(|| async { "data" }).layer(price()))
            .route("/half", get(used("50%")).layer(price()))
            .route("/nothing", get(used("0")).layer(price()))
            .route("/parts", get(parts).layer(price()));
        tokio::spawn(async move { axum::serve(listener, app).await.expect("the server runs") });
        let payer = LocalSigner::random().unwrap();
        let wallet = Wallet::builder().signer(Arc::new(payer.clone())).assets(assets);
        let wallet = wallet.policy(Policy::default()).build().expect("the wallet is whole");
        Self { node, chain, token, payee, payer, wallet, url }
    }

    async fn fund(&self) {
        let grant = Grant { wei: U256::from(10u64.pow(18)), token_atomic: U256::from(1_000_000) };
        self.node.devnet().grant(self.payer.address(), grant);
    }

    async fn approve(&self) {
        approve(&self.node, &self.payer, self.token).await;
    }

    pub(crate) async fn received(&self) -> u64 {
        let data = format!("0x70a08231{:0>64}", format!("{:x}", self.payee));
        let call = json!([{ "to": self.token, "data": data }, "latest"]);
        let word: U256 = serde_json::from_value(self.chain.raw("eth_call", call).await.unwrap()).unwrap();
        word.to()
    }
}

/// Lets Permit2 take what it will of the payer's token.
pub(crate) async fn approve(node: &Node, payer: &LocalSigner, token: Address) {
    let (chain, call) = (node.chain(), approve_call(token, U256::MAX));
    let transaction = Transaction {
        chain_id: node.chain_id,
        nonce: chain.nonce(payer.address()).await.unwrap(),
        to: call.to,
        value: U256::ZERO,
        data: call.data,
        gas_limit: 100_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
    };
    let signed = transaction.sign(payer).await.unwrap();
    chain.send_raw(&signed.raw).await.unwrap();
    while chain.receipt(signed.hash).await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn who_has_not_approved_permit2_is_told_so_and_is_served_after_approving() {
    for scheme in [SchemeName::EXACT, SchemeName::UPTO] {
        let shop = Shop::open(scheme).await;
        shop.fund().await;
        let client = shop.wallet.client().unwrap();
        let url = format!("{}/data", shop.url);
        let error = client.get(&url).send().await.unwrap_err();
        let Some(PaymentError::AllowanceRequired { payment }) = payment_error(&error) else {
            panic!("{error}");
        };
        let (header, value) = (payment.header.name(), payment.header.value());
        let refused = reqwest::Client::new().get(&url).header(header, value).send().await.unwrap();
        assert_eq!(
            (refused.status(), &refused.headers()["cache-control"]),
            (StatusCode::PRECONDITION_FAILED, &"no-store".parse().unwrap())
        );
        let body: serde_json::Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
        assert_eq!(body["error"], "permit2_allowance_required", "{body}");
        assert_eq!(shop.received().await, 0);
        let due = payment.offer.amount.atomic();
        let approved = shop.wallet.approve(&shop.chain, shop.token, due, Duration::from_secs(20)).await;
        assert!(shop.chain.receipt(approved.unwrap()).await.unwrap().unwrap().status());
        let served = shop.wallet.present(client.get(&url).build().unwrap(), payment).await.unwrap();
        assert!(paid(&served).unwrap().settlement.as_ref().unwrap().success);
        assert_eq!((served.text().await.unwrap().as_str(), shop.received().await), ("data", 10_000));
        assert_eq!(shop.wallet.spent()[0].amount.to_string(), "10000", "signed once, charged once");
        let error = client.get(&url).send().await.unwrap_err();
        let refused = payment_error(&error);
        assert!(
            matches!(refused, Some(PaymentError::AllowanceRequired { .. })),
            "it was for one alone: {error}"
        );
    }
}

#[tokio::test]
async fn upto_charges_what_the_handler_says_was_used() {
    let shop = Shop::open(SchemeName::UPTO).await;
    shop.fund().await;
    shop.approve().await;
    let client = shop.wallet.client().unwrap();
    let half = client.get(format!("{}/half", shop.url)).send().await.unwrap();
    let settlement = paid(&half).unwrap().settlement.clone().unwrap();
    assert_eq!((settlement.success, settlement.amount.as_deref()), (true, Some("5000")));
    assert_eq!((half.text().await.unwrap().as_str(), shop.received().await), ("metered", 5_000));
    let nothing = client.get(format!("{}/nothing", shop.url)).send().await.unwrap();
    assert_eq!(nothing.status(), StatusCode::OK);
    assert_eq!((nothing.text().await.unwrap().as_str(), shop.received().await), ("metered", 5_000));
}

#[tokio::test]
async fn upto_charges_for_what_has_left_of_a_stream_and_ends_it_where_the_maximum_is_used_up() {
    let shop = Shop::open(SchemeName::UPTO).await;
    shop.fund().await;
    shop.approve().await;
    let client = shop.wallet.client().unwrap();
    let mut answer = client.get(format!("{}/parts", shop.url)).send().await.unwrap();
    assert!(shop.wallet.pay_on(&answer, 5).unwrap().is_none(), "its maximum is signed, and no more");
    for number in 1..=3 {
        assert_eq!(answer.chunk().await.unwrap().unwrap(), format!("part {number}\n"));
    }
    assert!(answer.chunk().await.is_err(), "less than the whole does not look like it");
    for _ in 0..200 {
        if shop.received().await > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(shop.received().await, 9_000);
}

#[tokio::test]
async fn who_may_sign_the_approval_beside_the_payment_needs_no_gas_and_no_transaction() {
    for scheme in [SchemeName::EXACT, SchemeName::UPTO] {
        let shop = Shop::taking(genesis::PERMIT_USD, scheme).await;
        let grant = Grant { wei: U256::ZERO, token_atomic: U256::from(1_000_000) };
        shop.node.devnet().grant(shop.payer.address(), grant);
        let url = format!("{}/data", shop.url);
        let error = shop.wallet.client().unwrap().get(&url).send().await.unwrap_err();
        let refused = payment_error(&error);
        assert!(matches!(refused, Some(PaymentError::AllowanceRequired { .. })), "without a node: {error}");
        let wallet = Wallet::builder().signer(Arc::new(shop.payer.clone()));
        let wallet = wallet.assets(assets(&shop.node, shop.token)).allowances(Arc::new(shop.node.chain()));
        let client = wallet.build().unwrap().client().unwrap();
        for bought in 1..=2u64 {
            let served = client.get(&url).send().await.unwrap();
            assert!(paid(&served).unwrap().settlement.as_ref().unwrap().success);
            assert_eq!(
                (served.text().await.unwrap().as_str(), shop.received().await),
                ("data", bought * 10_000)
            );
        }
        assert_eq!(shop.chain.nonce(shop.payer.address()).await.unwrap(), 0, "the payer sent nothing");
    }
}

#[tokio::test]
async fn approvals_by_signature_are_declared_for_tokens_that_take_them_alone() {
    for (token, is_declared) in [(genesis::PERMIT_USD, true), (genesis::PLAIN_USD, false)] {
        let shop = Shop::taking(token, SchemeName::EXACT).await;
        let asked = reqwest::get(format!("{}/data", shop.url)).await.unwrap();
        let header = asked.headers()["payment-required"].as_bytes();
        let json = tollway_core::wire::decode_header("payment-required", header).unwrap();
        let required = tollway_core::wire::decode_payment_required(&json).unwrap();
        assert_eq!(required.extensions.contains_key(EIP2612_GAS_SPONSORING), is_declared, "{token}");
    }
}

#[tokio::test]
async fn an_approval_that_cannot_be_paid_for_is_not_sent() {
    let shop = Shop::open(SchemeName::EXACT).await;
    let (due, patience) = (U256::from(10_000), Duration::from_secs(20));
    let refused = shop.wallet.approve(&shop.chain, shop.token, due, patience).await;
    assert!(matches!(refused, Err(ApproveError::Gas { has: U256::ZERO, .. })), "{refused:?}");
    shop.fund().await;
    let nobody = shop.wallet.approve(&shop.chain, Address::repeat_byte(7), due, Duration::ZERO).await;
    assert!(!matches!(nobody, Err(ApproveError::Gas { .. })), "{nobody:?}");
}

/// Runs `tollway pay` for the shop's data, in JSON.
pub(crate) async fn pay(shop: &Shop, more: &[&str]) -> (Option<i32>, serde_json::Value) {
    let allowed = format!("{}/{}=10000", shop.node.network().as_str(), shop.token);
    let mut command = tollway();
    command.args(["pay", "--json", "--allow-asset", &allowed]).args(more).arg(format!("{}/data", shop.url));
    command.env("TOLLWAY_KEY", shop.payer.expose_hex().as_str());
    let (code, mut lines) = run(command).await;
    (code, lines.remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_approves_only_if_it_is_told_to_and_only_what_is_due() {
    let shop = Shop::open(SchemeName::EXACT).await;
    shop.fund().await;
    let node = ["--rpc-url", &shop.node.rpc_url];
    let (code, told) = pay(&shop, &node).await;
    let message = told["message"].as_str().unwrap_or_default();
    assert!(code == Some(3) && message.contains("--approve"), "{told}");
    assert_eq!(shop.chain.nonce(shop.payer.address()).await.unwrap(), 0);
    let (code, told) = pay(&shop, &[&node[..], &["--approve", "--approve-amount", "9999"]].concat()).await;
    assert!(code == Some(1) && told["message"].as_str().unwrap().contains("less than"), "{told}");
    assert_eq!(shop.chain.nonce(shop.payer.address()).await.unwrap(), 0);
    let (code, told) = pay(&shop, &[&node[..], &["--approve"]].concat()).await;
    assert_eq!(
        (code, &told["paid"]["success"], &told["body"]),
        (Some(0), &json!(true), &json!("data")),
        "{told}"
    );
    assert_eq!(shop.received().await, 10_000);
    let left = Allowances::allowance(&shop.chain, shop.token, shop.payer.address()).await;
    assert_eq!(left, Ok(U256::ZERO), "what was approved was due");
    assert_eq!(shop.chain.nonce(shop.payer.address()).await.unwrap(), 1);
}

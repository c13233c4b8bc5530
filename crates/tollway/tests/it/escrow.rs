//! A shop whose payments are held first: taken when they were served, given back when not, and refunded by their names;
//! whoever dies in between.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use reqwest_middleware::ClientWithMiddleware;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tollway_buyer::{Policy, Wallet, paid};
use tollway_core::{Amount, Clock, ManualClock, SchemeName, SystemClock};
use tollway_devnet::{ACCOUNTS, Grant, genesis};
use tollway_evm::auth_capture::{AuthCaptureBuyer, AuthCaptureSeller, Deployment};
use tollway_evm::permit2::approve_call;
use tollway_evm::{Address, Chain, LocalSigner, Signer, Transaction, U256};
use tollway_facilitator::{AuthCaptureSetup, Callers, Engine, NetworkSetup, router};
use tollway_ledger::{Ledger, MemoryLedger};
use tollway_seller::{EscrowError, HeldPurchase, HoldState, HttpFacilitator, Paywall, PaywallBuilder};

use crate::market::{account, assets, serve, token_balance};
use crate::node::{Kind, Node};
use crate::process::{run, tollway};

const LANE: usize = 1;
/// Who pays by the program, and has gas.
const PAYER: usize = 8;
const FUNDS: u64 = 1_000_000;
const CAPTURE_SECONDS: u64 = 3_600;

/// Everything but the seller, who comes and goes.
pub(crate) struct World {
    node: Node,
    pub(crate) chain: Chain,
    pub(crate) facilitator: String,
    ledger: Arc<dyn Ledger>,
    authorizer: LocalSigner,
    payee: Address,
    payer: LocalSigner,
}

/// A seller that is alive.
pub(crate) struct Shop {
    pub(crate) paywall: Paywall,
    pub(crate) url: String,
    server: JoinHandle<()>,
}

impl World {
    pub(crate) async fn open() -> Self {
        let node = Node::start(Kind::Devnet, 31_337).await.expect("the devnet is always there");
        let (chain, payee) = (node.chain(), LocalSigner::random().unwrap().address());
        let setup = NetworkSetup {
            chain: node.chain(),
            assets: assets(node.chain_id),
            signers: vec![Arc::new(account(LANE))],
        };
        let operator = AuthCaptureSetup { refunds_for: vec![payee], ..AuthCaptureSetup::default() };
        let engine = Engine::builder().network(setup).auth_capture(operator).start().await.unwrap();
        let (facilitator, _) = serve(router(engine, Callers::open(None))).await;
        let payer = LocalSigner::random().unwrap();
        let grant = Grant { wei: U256::ZERO, token_atomic: U256::from(FUNDS) };
        node.devnet().grant(payer.address(), grant);
        let (ledger, authorizer) = (Arc::new(MemoryLedger::new()), LocalSigner::random().unwrap());
        Self { node, chain, facilitator, ledger, authorizer, payee, payer }
    }

    async fn shop(
        &self,
        configure: fn(AuthCaptureSeller) -> AuthCaptureSeller,
        clock: Arc<dyn Clock>,
    ) -> Shop {
        let facilitator = HttpFacilitator::new(&self.facilitator).unwrap();
        self.shop_with(configure, |builder| builder.clock(clock).facilitator(facilitator)).await
    }

    pub(crate) async fn shop_with(
        &self,
        configure: fn(AuthCaptureSeller) -> AuthCaptureSeller,
        refine: impl FnOnce(PaywallBuilder) -> PaywallBuilder,
    ) -> Shop {
        let known = assets(self.node.chain_id);
        let scheme = AuthCaptureSeller::new(known, self.authorizer.address())
            .with_key(Arc::new(self.authorizer.clone()))
            .with_deadlines(CAPTURE_SECONDS, 30 * 86_400);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let network = self.node.network();
        let builder = Paywall::builder(&url)
            .accept_by(SchemeName::AUTH_CAPTURE, network.as_str(), self.payee.to_string())
            .scheme(configure(scheme))
            .ledger(Arc::clone(&self.ledger))
            .pending_wait_ms(50);
        let paywall = refine(builder).start().await.expect("the paywall starts");
        let price = || paywall.price("$0.01").expect("the price is one");
        let used =
            |charge: &'static str| move || async move { ([("Settlement-Overrides", charge)], "metered") };
        let fails = || async { (StatusCode::INTERNAL_SERVER_ERROR, "broken") };
        let app = Router::new()
            .route("/data", get(|| async { "data" }).layer(price()))
            .route("/half", get(used("50%")).layer(price()))
            .route("/nothing", get(used("0")).layer(price()))
            .route("/fail", get(fails).layer(price()))
            .route("/stuck", get(|| async { pending::<&str>().await }).layer(price()));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("the server runs") });
        Shop { paywall, url, server }
    }

    pub(crate) fn client(&self) -> ClientWithMiddleware {
        let known = assets(self.node.chain_id);
        let key = Arc::new(self.payer.clone());
        let scheme = AuthCaptureBuyer::new(Arc::clone(&key) as Arc<dyn Signer>, known.clone());
        let wallet = Wallet::builder().signer(key).scheme(Arc::new(scheme)).assets(known);
        wallet.policy(Policy::default()).build().expect("the wallet is whole").client().unwrap()
    }

    pub(crate) async fn allow_refunds(&self) {
        let call = approve_call(genesis::USDC, U256::MAX);
        // The same call, for another spender.
        let mut data = call.data.to_vec();
        data[16..36].copy_from_slice(Deployment::CURRENT.refund_collector.as_slice());
        let lane = account(LANE);
        let transaction = Transaction {
            chain_id: self.node.chain_id,
            nonce: self.chain.nonce(lane.address()).await.unwrap(),
            to: call.to,
            value: U256::ZERO,
            data: data.into(),
            gas_limit: 100_000,
            max_fee_per_gas: 10_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
        };
        self.chain.send_raw(&transaction.sign(&lane).await.unwrap().raw).await.unwrap();
    }

    async fn balance(&self, holder: Address) -> u64 {
        token_balance(&self.chain, holder).await.atomic().to()
    }

    /// Waits until the payee has received, and the payer spent, just so much.
    pub(crate) async fn ends(&self, received: u64, spent: u64) {
        let mut last = (0, 0);
        for _ in 0..600 {
            last = (self.balance(self.payee).await, FUNDS - self.balance(self.payer.address()).await);
            if last == (received, spent) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(last, (received, spent), "received and spent");
    }
}

impl Shop {
    pub(crate) async fn only(&self, state: HoldState) -> HeldPurchase {
        let mut last = Vec::new();
        for _ in 0..300 {
            last = self.paywall.purchases(None, 100).await.unwrap();
            if let Some(found) = last.iter().find(|purchase| purchase.state == state) {
                return found.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("none is {state:?}: {last:?}")
    }

    /// Nothing of it is left but what is in the ledger.
    async fn dies(self) {
        self.server.abort();
        let _ = self.server.await;
    }
}

#[tokio::test]
async fn what_was_served_is_taken_before_the_answer_leaves_and_what_was_not_goes_back() {
    let world = World::open().await;
    let shop = world.shop(|scheme| scheme, Arc::new(SystemClock)).await;
    let client = world.client();
    let get = |path: &str| client.get(format!("{}{path}", shop.url)).send();
    let served = get("/data").await.unwrap();
    let settlement = paid(&served).unwrap().settlement.clone().unwrap();
    assert!(settlement.success);
    assert_eq!((served.text().await.unwrap().as_str(), world.balance(world.payee).await), ("data", 10_000));
    let taken = shop.only(HoldState::Captured).await;
    assert_eq!((taken.captured, &taken.transaction), (Amount::from(10_000u64), &settlement.transaction));
    let half = get("/half").await.unwrap();
    assert!(paid(&half).unwrap().settlement.as_ref().unwrap().success);
    assert_eq!(half.text().await.unwrap(), "metered");
    world.ends(15_000, 15_000).await;
    let failed = get("/fail").await.unwrap();
    assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
    shop.only(HoldState::Voided).await;
    let nothing = get("/nothing").await.unwrap();
    assert_eq!((nothing.status(), nothing.text().await.unwrap().as_str()), (StatusCode::OK, "metered"));
    world.ends(15_000, 15_000).await;
}

#[tokio::test]
async fn what_is_held_is_taken_or_given_back_in_time_by_whoever_is_left() {
    let world = World::open().await;
    let (start, clock) = (SystemClock.now(), Arc::new(ManualClock::new(SystemClock.now())));
    let shop = world.shop(AuthCaptureSeller::deferred, clock).await;
    let client = world.client();
    let served = client.get(format!("{}/half", shop.url)).send().await.unwrap();
    assert!(paid(&served).unwrap().settlement.as_ref().unwrap().success);
    assert_eq!(served.text().await.unwrap(), "metered");
    assert_eq!(shop.only(HoldState::Served).await.captured, Amount::ZERO);
    world.ends(0, 10_000).await;
    let stuck = tokio::spawn(client.get(format!("{}/stuck", shop.url)).send());
    world.ends(0, 20_000).await;
    shop.dies().await;
    stuck.abort();
    // Long before the deadline nobody touches what is held.
    let early = world
        .shop(
            AuthCaptureSeller::deferred,
            Arc::new(ManualClock::new(start.plus_seconds(CAPTURE_SECONDS / 2))),
        )
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        (early.only(HoldState::Held).await.captured, world.balance(world.payee).await),
        (Amount::ZERO, 0)
    );
    early.dies().await;
    let late = world
        .shop(
            AuthCaptureSeller::deferred,
            Arc::new(ManualClock::new(start.plus_seconds(CAPTURE_SECONDS - 60))),
        )
        .await;
    world.ends(5_000, 5_000).await;
    assert_eq!(late.only(HoldState::Captured).await.captured, Amount::from(5_000u64));
    late.only(HoldState::Voided).await;
}

#[tokio::test]
async fn a_purchase_is_taken_and_given_back_by_its_name_once_however_often_it_is_asked() {
    let world = World::open().await;
    world.allow_refunds().await;
    let shop = world.shop(AuthCaptureSeller::deferred, Arc::new(SystemClock)).await;
    let client = world.client();
    let buy = || client.get(format!("{}/data", shop.url)).send();
    assert_eq!(buy().await.unwrap().text().await.unwrap(), "data");
    let id = shop.only(HoldState::Served).await.id;
    let amount = |atomic: u64| Amount::from(atomic);
    let too_much = shop.paywall.capture(&id, Some(amount(10_001))).await;
    assert!(matches!(too_much, Err(EscrowError::State { .. })), "{too_much:?}");
    let taken = shop.paywall.capture(&id, Some(amount(4_000))).await.unwrap();
    assert_eq!((taken.state, taken.captured), (HoldState::Captured, amount(4_000)));
    assert_eq!(shop.paywall.capture(&id, Some(amount(4_000))).await.unwrap().captured, amount(4_000));
    assert!(shop.paywall.capture(&id, Some(amount(5_000))).await.is_err());
    assert!(shop.paywall.void(&id).await.is_err(), "it was taken");
    world.ends(4_000, 4_000).await;
    for _ in 0..2 {
        let refunded = refunded(&shop, &id, 1_000).await;
        assert_eq!((refunded.state, refunded.refunded), (HoldState::Captured, amount(1_000)));
        world.ends(4_000, 3_000).await;
    }
    assert_eq!(refunded(&shop, &id, 2_500).await.refunded, amount(2_500));
    world.ends(4_000, 1_500).await;
    assert!(shop.paywall.refund(&id, amount(4_001)).await.is_err(), "more than was taken");
    assert_eq!(buy().await.unwrap().text().await.unwrap(), "data");
    let other = shop.only(HoldState::Served).await.id;
    for _ in 0..2 {
        assert_eq!(shop.paywall.void(&other).await.unwrap().state, HoldState::Voided);
    }
    world.ends(4_000, 1_500).await;
    let gone = shop.paywall.capture(&other, None).await;
    assert!(matches!(gone, Err(EscrowError::State { state: HoldState::Voided, .. })), "{gone:?}");
    assert_eq!(json!(shop.paywall.purchases(None, 100).await.unwrap().len()), json!(2));
}

#[tokio::test]
async fn what_is_charged_at_once_is_what_was_used_and_can_be_given_back() {
    let world = World::open().await;
    world.allow_refunds().await;
    let shop = world.shop(AuthCaptureSeller::charging, Arc::new(SystemClock)).await;
    let client = world.client();
    let get = |path: &str| client.get(format!("{}{path}", shop.url)).send();
    let half = get("/half").await.unwrap();
    assert!(paid(&half).unwrap().settlement.as_ref().unwrap().success);
    assert_eq!((half.text().await.unwrap().as_str(), world.balance(world.payee).await), ("metered", 5_000));
    let charged = shop.only(HoldState::Captured).await;
    assert_eq!((charged.amount, charged.captured), (Amount::from(10_000u64), Amount::from(5_000u64)));
    assert_eq!(refunded(&shop, &charged.id, 2_000).await.refunded, Amount::from(2_000u64));
    world.ends(5_000, 3_000).await;
    assert_eq!(get("/fail").await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    world.ends(5_000, 3_000).await;
    assert_eq!(
        shop.paywall.purchases(None, 100).await.unwrap().len(),
        1,
        "nothing moved, nothing to give back"
    );
}

/// By the program alone, and without seller and facilitator: they are gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_in_time_its_payer_takes_back_with_what_pay_has_kept() {
    let world = World::open().await;
    let shop = world.shop(AuthCaptureSeller::deferred, Arc::new(SystemClock)).await;
    let (folder, payer) = (tempfile::tempdir().unwrap(), account(PAYER));
    let file = folder.path().join("hold.json").display().to_string();
    let by = |account: usize, arguments: &[&str]| {
        let mut program = tollway();
        program.args(arguments).env("TOLLWAY_KEY", ACCOUNTS[account].secret_key.to_string());
        run(program)
    };
    let (data, rpc) = (format!("{}/data", shop.url), world.node.rpc_url.clone());
    let before = world.balance(payer.address()).await;
    let (code, told) = by(PAYER, &["pay", "--json", &data]).await;
    assert_eq!(code, Some(3), "nobody pays into an escrow unasked: {told:?}");
    let (code, told) = by(PAYER, &["pay", "--json", "--hold", &file, &data]).await;
    assert_eq!((code, &told[0]["body"]), (Some(0), &json!("data")), "{told:?}");
    let (code, told) = by(PAYER, &["pay", "--json", "--hold", &file, &data]).await;
    assert_eq!(code, Some(1), "what is kept is never written over: {told:?}");
    assert_eq!(before - world.balance(payer.address()).await, 10_000);
    shop.dies().await;
    let reclaim = ["reclaim", "--json", "--rpc-url", &rpc, &file];
    let refused = |(code, told): (Option<i32>, Vec<Value>), why: &str| {
        assert_eq!((code, &told[0]["outcome"]), (Some(3), &json!("refused")), "{told:?}");
        assert!(told[0]["message"].as_str().is_some_and(|said| said.contains(why)), "{told:?}");
    };
    refused(by(PAYER, &reclaim).await, "it may be taken back from");
    world.chain.raw("evm_increaseTime", json!([CAPTURE_SECONDS + 60])).await.unwrap();
    world.chain.raw("evm_mine", json!([])).await.unwrap();
    refused(by(LANE, &reclaim).await, "only");
    let (code, told) = by(PAYER, &reclaim).await;
    assert_eq!((code, &told[0]["outcome"], &told[0]["amount"]), (Some(0), &json!("done"), &json!("10000")));
    assert_eq!(world.balance(payer.address()).await, before);
    refused(by(PAYER, &reclaim).await, "nothing is held");
    let (code, told) = by(PAYER, &["status", "--json", "--rpc-url", &rpc, &file]).await;
    assert_eq!((code, &told[0]["collected"], &told[0]["capturable"]), (Some(0), &json!(true), &json!("0")));
}

/// Asked again where the worker was faster with what the capture had left.
pub(crate) async fn refunded(shop: &Shop, id: &str, total: u64) -> HeldPurchase {
    for _ in 0..20 {
        match shop.paywall.refund(id, Amount::from(total)).await {
            Ok(purchase) => return purchase,
            Err(EscrowError::Changed) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("somebody else is always faster")
}

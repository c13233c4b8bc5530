//! Answers that are lost, for each kind of payment: before the payment arrived, or after it was settled; the wallet dies with
//! it, or the line does. Another process on the same ledger finds out on chain what became of it. Nothing is paid twice, and
//! no budget is released before the chain says that nothing can move any more.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue};
use axum::routing::get as route;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tollway_buyer::{ChainVerdict, IntentRecord, IntentState, Policy, Reconciled, Wallet, Window};
use tollway_core::{Clock, ManualClock, SchemeName, SystemClock};
use tollway_devnet::{Grant, genesis};
use tollway_evm::auth_capture::{AuthCaptureBuyer, AuthCaptureSeller};
use tollway_evm::batch_settlement::BatchSettlement;
use tollway_evm::exact::ExactSeller;
use tollway_evm::permit2::UptoSeller;
use tollway_evm::{Address, AssetTable, Chain, LocalSigner, Signer, U256};
use tollway_facilitator::{AuthCaptureSetup, Callers, Engine, NetworkSetup, router};
use tollway_seller::{HttpFacilitator, Paywall};

use crate::between::{Between, Paid};
use crate::delegating::{DelegatedSeller, Delegating};
use crate::market::{account, serve, spawn};
use crate::node::{Kind as NodeKind, Node};
use crate::permit2::approve;
use crate::purchases::{get, later, records};

const PRICE: u64 = 10_000;
const FUNDS: u64 = 1_000_000;
/// What a channel is given: ten times the price, as the seller wants it.
const DEPOSIT: u64 = 100_000;
/// A millionth of a dollar, as budgets count it.
const COUNTED: &str = "000000000000";
/// Longer than the dead count as alive.
const AFTER_A_DEATH: u64 = 10;

/// How a purchase is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Permit2,
    Upto,
    AuthCapture,
    Delegation,
    Channel,
}

/// Who is gone when the answer is.
#[derive(Clone, Copy, Debug)]
enum Gone {
    Wallet,
    Line,
}

impl Kind {
    fn token(self) -> Address {
        match self {
            Self::Permit2 | Self::Upto => genesis::PLAIN_USD,
            Self::AuthCapture | Self::Delegation | Self::Channel => genesis::USDC,
        }
    }

    fn assets(self, node: &Node) -> AssetTable {
        match self {
            Self::Permit2 | Self::Upto => crate::permit2::assets(node, self.token()),
            Self::AuthCapture | Self::Delegation | Self::Channel => crate::market::assets(node.chain_id),
        }
    }

    fn scheme(self) -> SchemeName {
        match self {
            Self::Permit2 | Self::Delegation => SchemeName::EXACT,
            Self::Upto => SchemeName::UPTO,
            Self::AuthCapture => SchemeName::AUTH_CAPTURE,
            Self::Channel => SchemeName::BATCH_SETTLEMENT,
        }
    }

    /// What the answer costs: less than the maximum where it is metered.
    fn cost(self) -> u64 {
        if self == Self::Upto { PRICE / 2 } else { PRICE }
    }

    /// What leaves the payer's account for one purchase.
    fn leaves(self) -> u64 {
        if self == Self::Channel { DEPOSIT } else { self.cost() }
    }

    /// Whether some contract keeps account of what was signed for the purchase, so that the chain alone can tell its fate.
    fn is_told_by_the_chain(self) -> bool {
        !matches!(self, Self::Delegation | Self::Channel)
    }
}

struct World {
    kind: Kind,
    node: Node,
    chain: Chain,
    clock: Arc<ManualClock>,
    between: Between,
    payer: LocalSigner,
    account: Address,
    delegating: Arc<Delegating>,
    folder: TempDir,
}

impl World {
    async fn open(kind: Kind) -> Self {
        let node = Node::start(NodeKind::Devnet, 31_337).await.expect("the devnet is always there");
        let (chain, clock) = (node.chain(), Arc::new(ManualClock::new(SystemClock.now())));
        let (payee, payer) = (LocalSigner::random().unwrap().address(), LocalSigner::random().unwrap());
        let setup = NetworkSetup {
            chain: node.chain(),
            assets: kind.assets(&node),
            signers: vec![Arc::new(account(1))],
        };
        let engine = Engine::builder().network(setup).auth_capture(AuthCaptureSetup::default());
        let engine = engine.clock(Arc::clone(&clock) as Arc<dyn Clock>).start().await.unwrap();
        let (facilitator, _) = serve(router(engine, Callers::open(None))).await;
        let seller = shop(kind, &node, payee, &facilitator, Arc::clone(&clock) as Arc<dyn Clock>).await;
        let delegating = Arc::new(Delegating::open(&node, payer.clone()).await);
        let account = if kind == Kind::Delegation { delegating.delegator } else { payer.address() };
        let grant = Grant { wei: U256::from(10u64.pow(18)), token_atomic: U256::from(FUNDS) };
        node.devnet().grant(account, grant);
        if matches!(kind, Kind::Permit2 | Kind::Upto) {
            approve(&node, &payer, kind.token()).await;
        }
        let between = Between::open(&seller, Paid::Pass).await;
        let folder = tempfile::tempdir().unwrap();
        Self { kind, node, chain, clock, between, payer, account, delegating, folder }
    }

    /// The wallet, as each process makes it.
    async fn wallet(&self) -> Wallet {
        let (known, payer) = (self.kind.assets(&self.node), Arc::new(self.payer.clone()));
        let held = AuthCaptureBuyer::new(Arc::clone(&payer) as Arc<dyn Signer>, known.clone());
        let url = format!("sqlite:{}", self.folder.path().join("wallet.db").display());
        let policy = Policy::default()
            .trust_resource_host("127.0.0.1")
            .budget_per(Window::Lifetime, &"$0.01".parse().unwrap());
        let mut wallet = Wallet::builder().signer(payer).assets(known).scheme(Arc::new(held));
        if self.kind == Kind::Delegation {
            wallet = wallet.scheme(Arc::clone(&self.delegating) as _);
        }
        wallet
            .ledger(tollway_ledger::open(&url).await.unwrap())
            .chain(self.chain.clone())
            .policy(policy)
            .patience(crate::purchases::patience())
            .clock(Arc::clone(&self.clock) as _)
            .build()
            .unwrap()
    }

    /// Another process, after the one before is known to be dead.
    async fn restart(&self) -> Wallet {
        self.clock.set(self.clock.now().plus_seconds(AFTER_A_DEATH));
        self.wallet().await
    }

    /// Buys, and loses the answer.
    async fn lose(&self, paid: Paid, gone: Gone) {
        self.between.now(paid);
        let url = self.between.url("/data");
        // A process of its own: nothing that it left undone is done after it.
        let process = Runtime::new().unwrap();
        let handle = process.handle().clone();
        let wallet = {
            let _inside = handle.enter();
            self.wallet().await
        };
        let buying = wallet.clone();
        let bought = handle.spawn(async move { get(&buying, &url).await });
        self.between.lost().await;
        if let Gone::Line = gone {
            self.between.breaks();
            assert!(bought.await.unwrap().is_err());
            wallet.flush().await;
        }
        process.shutdown_background();
        drop(wallet);
    }

    /// Lets time pass for everybody, until nothing that was signed is good any more, and says so in a block that is final.
    async fn everything_ends(&self) {
        later(&self.chain, 1_000).await;
        self.clock.set(self.clock.now().plus_seconds(1_000));
    }

    async fn becomes_final(&self) {
        for _ in 0..6 {
            self.chain.raw("evm_mine", json!([])).await.unwrap();
        }
    }

    /// What has left the payer's account.
    async fn gone(&self) -> u64 {
        let data = format!("0x70a08231{:0>64}", format!("{:x}", self.account));
        let call = json!([{ "to": self.kind.token(), "data": data }, "latest"]);
        let word: U256 = serde_json::from_value(self.chain.raw("eth_call", call).await.unwrap()).unwrap();
        FUNDS - word.to::<u64>()
    }
}

/// A shop that is paid so.
async fn shop(kind: Kind, node: &Node, payee: Address, facilitator: &str, clock: Arc<dyn Clock>) -> String {
    let (known, key) = (kind.assets(node), Arc::new(LocalSigner::random().unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let builder = Paywall::builder(&url)
        .accept_by(kind.scheme(), node.network().as_str(), payee.to_string())
        .clock(clock)
        .pending_wait_ms(50)
        .facilitator(HttpFacilitator::new(facilitator).unwrap());
    let builder = match kind {
        Kind::Permit2 => builder.scheme(ExactSeller::new(known)),
        Kind::Delegation => builder.scheme(DelegatedSeller(ExactSeller::new(known))),
        Kind::Upto => builder.scheme(UptoSeller::new(known)),
        Kind::AuthCapture => builder.scheme(AuthCaptureSeller::new(known, key.address()).with_key(key)),
        Kind::Channel => builder.scheme(BatchSettlement::new(known).with_key(key)),
    };
    let paywall = builder.start().await.expect("the paywall starts");
    let price = || paywall.price("$0.01").unwrap();
    let answer = move |text: &'static str| {
        move || async move {
            let mut headers = HeaderMap::new();
            if kind == Kind::Upto {
                headers.insert("Settlement-Overrides", HeaderValue::from_static("50%"));
            }
            (headers, text)
        }
    };
    let app = Router::new()
        .route("/data", route(answer("data")).layer(price()))
        .route("/other", route(answer("other")).layer(price()));
    spawn(listener, app);
    url
}

/// What all budgets of the wallet hold, in millionths of a dollar.
async fn held(wallet: &Wallet) -> u64 {
    let budgets = wallet.ledger().budget_list(wallet.name(), None, 10).await.unwrap();
    let of_purchases = budgets.iter().find(|budget| !budget.name.contains("exposure"));
    let counted = of_purchases.map_or("0".to_owned(), |budget| budget.amount.to_string());
    if counted == "0" { 0 } else { counted.strip_suffix(COUNTED).unwrap().parse().unwrap() }
}

/// What counts as exposure, atomic units.
async fn exposed(wallet: &Wallet) -> u64 {
    let channels = wallet.channels().await.unwrap();
    channels.iter().map(|channel| channel.exposed.to_string().parse::<u64>().unwrap()).sum()
}

async fn only(wallet: &Wallet) -> IntentRecord {
    let mut records = records(wallet).await;
    assert_eq!(records.len(), 1, "one purchase has one intent");
    records.remove(0)
}

fn counts(seen: Reconciled) -> (u64, u64, u64) {
    (seen.paid, seen.dead, seen.open)
}

/// It was settled, and nobody heard.
async fn settled_in_silence(kind: Kind, gone: Gone) {
    let world = World::open(kind).await;
    world.lose(Paid::Silence, gone).await;
    assert_eq!(world.gone().await, kind.leaves(), "it was settled");
    let wallet = world.restart().await;
    let seen = counts(wallet.reconcile(10).await.unwrap());
    let record = only(&wallet).await;
    if kind.is_told_by_the_chain() {
        let chain = record.chain.clone().expect("the chain tells");
        assert_eq!(
            (seen, record.state, chain.verdict),
            ((1, 0, 0), IntentState::Paid, ChainVerdict::Confirmed)
        );
        assert_eq!(
            (chain.moved, held(&wallet).await),
            (Some(kind.cost().into()), kind.cost()),
            "what moved counts"
        );
    } else {
        assert_eq!(
            (seen, held(&wallet).await),
            ((0, 0, 1), PRICE),
            "nobody can tell, so it counts: {record:?}"
        );
    }
    let denied = get(&wallet, &world.between.url("/other")).await;
    assert!(denied.as_ref().is_err_and(|why| why.contains("budget")), "{denied:?}");
    // The same request gets what was paid for, by the same payment.
    world.between.now(Paid::Pass);
    assert_eq!(get(&wallet, &world.between.url("/data")).await.as_deref(), Ok("data"));
    let record = only(&wallet).await;
    assert_eq!((record.state, world.between.distinct()), (IntentState::Paid, 1), "{record:?}");
    assert_eq!((world.gone().await, held(&wallet).await), (kind.leaves(), kind.cost()), "once");
    assert!(record.alarms.is_empty(), "{record:?}");
}

/// It never arrived.
async fn swallowed(kind: Kind, gone: Gone) {
    let world = World::open(kind).await;
    world.lose(Paid::Swallow, gone).await;
    let wallet = world.restart().await;
    let denied = async || {
        let denied = get(&wallet, &world.between.url("/other")).await;
        assert!(denied.as_ref().is_err_and(|why| why.contains("budget")), "{denied:?}");
    };
    assert_eq!(counts(wallet.reconcile(10).await.unwrap()), (0, 0, 1), "it may still be charged");
    assert_eq!(exposed(&wallet).await, if kind == Kind::Channel { DEPOSIT } else { 0 }, "it may arrive");
    world.everything_ends().await;
    assert_eq!(counts(wallet.reconcile(10).await.unwrap()), (0, 0, 1), "its end can be taken back");
    assert_eq!(held(&wallet).await, PRICE);
    denied().await;
    world.becomes_final().await;
    let seen = counts(wallet.reconcile(10).await.unwrap());
    let record = only(&wallet).await;
    if kind.is_told_by_the_chain() {
        assert_eq!((seen, record.state, held(&wallet).await), ((0, 1, 0), IntentState::Dead, 0));
    } else {
        assert_eq!((seen, held(&wallet).await), ((0, 0, 1), PRICE), "nothing proves it dead: {record:?}");
        denied().await;
    }
    assert_eq!((world.gone().await, exposed(&wallet).await), (0, 0), "nothing was settled, nothing is out");
    world.between.now(Paid::Pass);
    if kind == Kind::Channel && matches!(gone, Gone::Line) {
        // An error was answered: the request means another purchase by now, and the one before stays counted.
        denied().await;
        assert_eq!((get(&wallet, &world.between.url("/data")).await.is_err(), world.gone().await), (true, 0));
        return;
    }
    assert_eq!(get(&wallet, &world.between.url("/data")).await.as_deref(), Ok("data"));
    let signed = if kind == Kind::Delegation { 1 } else { 2 };
    assert_eq!(world.between.distinct(), signed, "a delegation ends never, all others are signed anew");
    wallet.flush().await;
    wallet.reconcile(10).await.unwrap();
    assert_eq!((world.gone().await, held(&wallet).await), (kind.leaves(), kind.cost()), "paid once");
}

#[tokio::test(flavor = "multi_thread")]
async fn permit2_settled_in_silence_is_found_or_counted_and_fetched_once() {
    settled_in_silence(Kind::Permit2, Gone::Wallet).await;
    settled_in_silence(Kind::Permit2, Gone::Line).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn permit2_that_never_arrived_is_released_only_by_the_chain_and_paid_once() {
    swallowed(Kind::Permit2, Gone::Wallet).await;
    swallowed(Kind::Permit2, Gone::Line).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upto_settled_in_silence_is_found_or_counted_and_fetched_once() {
    settled_in_silence(Kind::Upto, Gone::Wallet).await;
    settled_in_silence(Kind::Upto, Gone::Line).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upto_that_never_arrived_is_released_only_by_the_chain_and_paid_once() {
    swallowed(Kind::Upto, Gone::Wallet).await;
    swallowed(Kind::Upto, Gone::Line).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_settled_in_silence_is_found_or_counted_and_fetched_once() {
    settled_in_silence(Kind::AuthCapture, Gone::Wallet).await;
    settled_in_silence(Kind::AuthCapture, Gone::Line).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_never_arrived_is_released_only_by_the_chain_and_paid_once() {
    swallowed(Kind::AuthCapture, Gone::Wallet).await;
    swallowed(Kind::AuthCapture, Gone::Line).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegation_settled_in_silence_is_found_or_counted_and_fetched_once() {
    settled_in_silence(Kind::Delegation, Gone::Wallet).await;
    settled_in_silence(Kind::Delegation, Gone::Line).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegation_that_never_arrived_is_released_only_by_the_chain_and_paid_once() {
    swallowed(Kind::Delegation, Gone::Wallet).await;
    swallowed(Kind::Delegation, Gone::Line).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_into_a_channel_settled_in_silence_is_found_or_counted_and_fetched_once() {
    settled_in_silence(Kind::Channel, Gone::Wallet).await;
    settled_in_silence(Kind::Channel, Gone::Line).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_into_a_channel_that_never_arrived_is_released_only_by_the_chain_and_paid_once() {
    swallowed(Kind::Channel, Gone::Wallet).await;
    swallowed(Kind::Channel, Gone::Line).await;
}

//! Random walks through whole channels: a wallet, two sellers on one ledger, our facilitator and a chain. Purchases, partial
//! charges, failures, top-ups, claims, payouts, refunds, sellers that die and wallets that lose their books, in an order that a
//! seed says. After each step the books are compared with a model that is four sums. In fair weather: what goes on while the
//! chain is taken back and time passes is in [`channel_storms`](super::channel_storms).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tollway_buyer::{Patience, Policy, Wallet, payment_error};
use tollway_core::{Amount, Backing, Clock, SchemeName, SystemClock, UnixTime};
use tollway_devnet::{Fault, batch_settlement::BATCH_SETTLEMENT};
use tollway_evm::batch_settlement::{BatchSettlement, backings};
use tollway_evm::{Address, Signer};
use tollway_facilitator::Limits;
use tollway_ledger::{Channel, Ledger, MemoryLedger, own_loopback};
use tollway_seller::{ClaimEnd, ClaimOutcome, ClaimPolicy, HttpFacilitator, Paywall};

use crate::market::{Market, account, assets, spawn, token_balance};

pub(crate) const PAYER: usize = 8;
const AUTHORIZER: usize = 6;
const STEPS: u32 = 45;
pub(crate) const DELAY_SECONDS: u64 = 900;
pub(crate) const WHOLE: (&str, u64) = ("/whole", 10_000);
pub(crate) const PART: (&str, u64) = ("/part", 7_000);
pub(crate) const FAILS: (&str, u64) = ("/fails", 0);

/// The system's clock, and what a walk has added to it.
#[derive(Debug, Default)]
pub(crate) struct Ahead(AtomicU64);

impl Ahead {
    pub(crate) fn pass(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Ahead {
    fn now(&self) -> UnixTime {
        SystemClock.now().plus_seconds(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

pub(crate) struct Seller {
    pub(crate) paywall: Paywall,
    url: String,
    at: SocketAddr,
    server: JoinHandle<()>,
}

pub(crate) struct World {
    pub(crate) market: Market,
    pub(crate) clock: Arc<Ahead>,
    ledger: Arc<MemoryLedger>,
    claims: ClaimPolicy,
    pub(crate) sellers: Vec<Seller>,
    pub(crate) wallet: Wallet,
    /// What all have at first: payer, payee and contract.
    money: u64,
    payer_had: u64,
    /// The model: what was bought for, atomic units.
    pub(crate) charged: u64,
}

/// A facilitator that tries again soon, and that no jump of the clock makes think it is dead.
fn limits() -> Limits {
    Limits {
        settle_deadline: Duration::from_secs(1),
        rebroadcast_every: Duration::from_millis(50),
        member_ttl: Duration::from_secs(86_400),
        ..Limits::default()
    }
}

pub(crate) fn number(amount: Amount) -> u64 {
    amount.to_string().parse().unwrap()
}

pub(crate) fn is_done(outcome: &ClaimOutcome) -> bool {
    outcome.steps.iter().all(|step| matches!(step.end, ClaimEnd::Done(_)))
}

impl World {
    pub(crate) async fn open(claims: ClaimPolicy) -> Self {
        let clock = Arc::new(Ahead::default());
        let market = Market::open_at(limits(), Arc::clone(&clock) as Arc<dyn Clock>).await;
        let wallet = Self::new_wallet(&market, &clock);
        let (ledger, sellers) = (Arc::new(MemoryLedger::new()), Vec::new());
        let mut world =
            Self { market, clock, ledger, claims, sellers, wallet, money: 0, payer_had: 0, charged: 0 };
        for _ in 0..2 {
            let seller = world.new_seller(SocketAddr::from((own_loopback(), 0))).await;
            world.sellers.push(seller);
        }
        world.payer_had = world.payer_has().await;
        world.money = world.all().await;
        world
    }

    async fn new_seller(&self, at: SocketAddr) -> Seller {
        let (market, network) = (&self.market, self.market.node.network());
        let listener = TcpListener::bind(at).await.unwrap();
        let at = listener.local_addr().unwrap();
        let url = format!("http://{at}");
        let scheme =
            BatchSettlement::new(assets(market.node.chain_id)).with_key(Arc::new(account(AUTHORIZER)));
        let paywall = Paywall::builder(&url)
            .scheme(scheme.with_withdraw_delay_seconds(DELAY_SECONDS))
            .accept_by(SchemeName::BATCH_SETTLEMENT, network.as_str(), market.payee.to_string())
            .facilitator(HttpFacilitator::new(&market.facilitator_url).unwrap())
            .ledger(Arc::clone(&self.ledger) as Arc<dyn Ledger>)
            .clock(Arc::clone(&self.clock) as Arc<dyn Clock>)
            .claims(self.claims.clone())
            .pending_wait_ms(50)
            .start()
            .await
            .unwrap();
        let price = || paywall.price("$0.01").unwrap();
        let app = Router::new()
            .route(WHOLE.0, get(|| async { "content" }).layer(price()))
            .route(PART.0, get(|| async { ([("settlement-overrides", "7000")], "content") }).layer(price()))
            .route(FAILS.0, get(|| async { StatusCode::INTERNAL_SERVER_ERROR }).layer(price()));
        Seller { paywall, url, at, server: spawn(listener, app) }
    }

    fn new_wallet(market: &Market, clock: &Arc<Ahead>) -> Wallet {
        let builder = Wallet::builder().signer(Arc::new(account(PAYER))).assets(assets(market.node.chain_id));
        let total = Duration::from_secs(4);
        builder
            .policy(Policy::default())
            .chain(market.node.chain())
            .clock(Arc::clone(clock) as Arc<dyn Clock>)
            .patience(Patience { total, ..Patience::default() })
            .build()
            .unwrap()
    }

    async fn has(&self, who: Address) -> u64 {
        number(token_balance(&self.market.chain, who).await)
    }

    async fn payer_has(&self) -> u64 {
        self.has(account(PAYER).address()).await
    }

    /// What was paid out.
    pub(crate) async fn earned(&self) -> u64 {
        self.has(self.market.payee).await
    }

    async fn all(&self) -> u64 {
        self.payer_has().await + self.earned().await + self.has(BATCH_SETTLEMENT).await
    }

    /// The sellers' row of the one channel there is.
    pub(crate) async fn row(&self) -> Option<Channel> {
        let mut rows = self.ledger.channel_list("seller", None, 10).await.unwrap();
        assert!(rows.len() <= 1, "one payer, one payee, one channel: {rows:?}");
        rows.pop()
    }

    pub(crate) async fn backing(&self) -> Backing {
        let Some(row) = self.row().await else { return Backing::default() };
        let id = row.id.id().parse().unwrap();
        backings(&self.market.chain, &[id]).await.unwrap().remove(0)
    }

    /// Buys once; why not, if nothing is served.
    pub(crate) async fn buy(&mut self, seller: usize, (path, price): (&str, u64)) -> Result<(), String> {
        let client = self.wallet.client().unwrap();
        let before = self.row().await.map_or(0, |row| row.repeats);
        let answer = match client.get(format!("{}{path}", self.sellers[seller].url)).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let why = payment_error(&error).map(ToString::to_string);
                return Err(why.unwrap_or_else(|| format!("{error:?}")));
            }
        };
        if path == FAILS.0 && answer.status() == 500 {
            return Ok(());
        }
        if answer.status() != 200 {
            return Err(format!("{}: {}", answer.status(), answer.text().await.unwrap()));
        }
        // A wallet that has lost its books may sign the very voucher that has bought this before: it gets what it bought,
        // stored or, a few times, anew.
        let is_copy = answer.headers().contains_key("idempotent-replayed");
        assert_eq!(answer.text().await.unwrap(), "content");
        let repeats = self.row().await.unwrap().repeats;
        assert!(repeats <= 3, "what was paid once is served {repeats} times more");
        self.charged += if is_copy || repeats > before { 0 } else { price };
        Ok(())
    }

    pub(crate) async fn kill(&mut self, which: usize) {
        let Seller { at, server, .. } = &mut self.sellers[which];
        server.abort();
        let (at, _gone) = (*at, server.await);
        self.sellers[which] = self.new_seller(at).await;
    }

    pub(crate) fn lose_the_wallets_books(&mut self) {
        self.wallet = Self::new_wallet(&self.market, &self.clock);
    }

    async fn step(&mut self, dice: &mut Dice) -> &'static str {
        let which = usize::from(dice.roll(2) == 1);
        match dice.roll(16) {
            0..=5 => {
                self.buy(which, WHOLE).await.unwrap();
                "buys"
            }
            6..=8 => {
                self.buy(which, PART).await.unwrap();
                "buys for a part"
            }
            9 => {
                self.buy(which, FAILS).await.unwrap();
                "is not served"
            }
            10..=11 => {
                let outcome = self.sellers[which].paywall.claims().claim(&[]).await.unwrap();
                assert!(is_done(&outcome), "{outcome:?}");
                "claims"
            }
            12 => {
                let outcome = self.sellers[which].paywall.claims().settle().await.unwrap();
                assert!(is_done(&outcome), "{outcome:?}");
                "is paid out"
            }
            13 => {
                self.give_back(Some(1_000 + dice.roll(20_000))).await.unwrap();
                "gives back"
            }
            14 => {
                self.kill(which).await;
                "a seller dies"
            }
            _ => {
                self.lose_the_wallets_books();
                "the wallet loses its books"
            }
        }
    }

    /// As much as there is, if it is less.
    pub(crate) async fn give_back(&self, wanted: Option<u64>) -> Result<(), String> {
        for channel in self.wallet.channels().await.unwrap() {
            let left = number(channel.balance.checked_sub(channel.charged).unwrap_or_default());
            if left > 0 {
                let amount = wanted.map(|wanted| wanted.min(left).into());
                let asked = self.wallet.refund_channel(&channel.key, amount).await;
                asked.map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// What must hold after every step, whatever the weather.
    pub(crate) async fn check_always(&self, what: &str) {
        assert_eq!(self.all().await, self.money, "{what}: no money comes or goes");
        let row = self.row().await;
        let charged = row.as_ref().map_or(0, |row| number(row.charged));
        assert_eq!(charged, self.charged, "{what}: what is charged is what was served");
        let is_signed = row.is_none_or(|row| row.signed >= row.charged || row.signed == Amount::ZERO);
        assert!(is_signed, "{what}: all that is charged is signed for");
        for channel in self.wallet.channels().await.unwrap() {
            assert_eq!(channel.broken, None, "{what}: these sellers are honest");
        }
        // What is paid out was claimed before: the later question comes first.
        let earned = self.earned().await;
        let claimed = number(self.backing().await.claimed);
        assert!(claimed <= self.charged, "{what}: {claimed} is claimed, and {} was charged", self.charged);
        assert!(earned <= claimed, "{what}: {earned} is paid out, and {claimed} was claimed");
    }

    /// And where nothing is on its way.
    pub(crate) async fn check(&self, what: &str) {
        self.check_always(what).await;
        let (balance, charged) = (number(self.backing().await.balance), self.charged);
        assert!(balance >= charged, "{what}: {charged} was served, and {balance} can be redeemed");
    }

    /// That everybody has what is due, in the end.
    pub(crate) async fn check_the_end(&self, what: &str) {
        assert_eq!(self.earned().await, self.charged, "{what}: what was served is paid");
        assert_eq!(self.payer_had - self.payer_has().await, self.charged, "{what}: and costs no more");
        assert_eq!(self.has(BATCH_SETTLEMENT).await, 0, "{what}: nothing stays behind");
    }
}

async fn walk(seed: u64) {
    let (mut world, mut dice) = (World::open(ClaimPolicy::default().by_hand()).await, Dice(seed));
    for step in 0..STEPS {
        let what = world.step(&mut dice).await;
        world.check(&format!("seed {seed}, step {step}, {what}")).await;
    }
    // In the end everybody has what is due.
    let worker = world.sellers[0].paywall.claims();
    worker.claim(&[]).await.unwrap();
    worker.settle().await.unwrap();
    if world.charged > 0 {
        world.buy(0, PART).await.unwrap();
    }
    world.give_back(None).await.unwrap();
    world.sellers[1].paywall.claims().settle().await.unwrap();
    world.check_the_end(&format!("seed {seed}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_on_a_channel_what_was_served_is_paid_and_the_rest_comes_back() {
    for seed in 1..=6 {
        walk(seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seller_that_gives_back_unasked_is_no_liar_where_the_chain_can_be_asked() {
    let mut world = World::open(ClaimPolicy::default().by_hand()).await;
    world.buy(0, WHOLE).await.unwrap();
    let key = world.row().await.unwrap().id;
    let before = number(world.backing().await.balance);
    let given =
        world.sellers[0].paywall.claims().refund(&key, Some(20_000u64.into())).await.unwrap().unwrap();
    assert!(matches!(given.end, ClaimEnd::Done(_)), "{given:?}");
    for _ in 0..3 {
        world.buy(0, WHOLE).await.unwrap();
        world.check("the wallet was not told of it").await;
    }
    assert_eq!(number(world.backing().await.balance), before - 20_000, "what is left is spent first");
    assert_eq!(number(world.wallet.channels().await.unwrap()[0].balance), before - 20_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_the_chain_takes_back_makes_no_liar_of_the_seller() {
    let mut world = World::open(ClaimPolicy::default().by_hand()).await;
    world.buy(0, WHOLE).await.unwrap();
    world.give_back(Some(20_000)).await.unwrap();
    // Who has no books looks at the chain, which has just lost what the seller has seen.
    world.lose_the_wallets_books();
    let faults = world.market.node.devnet().faults();
    faults.inject(Fault::Hold);
    faults.inject(Fault::Reorg { depth: 1, lost: false });
    world.buy(0, PART).await.unwrap();
    world.check_always("blocks are taken back").await;
    faults.inject(Fault::Release);
    world.buy(0, WHOLE).await.unwrap();
    world.check("they are there again").await;
}

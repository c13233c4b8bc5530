//! Random walks through whole channels: a wallet, two sellers on one ledger, our facilitator and a chain. Purchases, partial
//! charges, failures, top-ups, claims, payouts, refunds, sellers that die and wallets that lose their books, in an order that a
//! seed says. After each step the books are compared with a model that is four sums.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tollway_buyer::{Policy, Wallet};
use tollway_core::SchemeName;
use tollway_devnet::batch_settlement::BATCH_SETTLEMENT;
use tollway_evm::batch_settlement::{BatchSettlement, backings};
use tollway_evm::{Address, Signer};
use tollway_ledger::{Ledger, MemoryLedger, own_loopback};
use tollway_seller::{ClaimEnd, ClaimPolicy, HttpFacilitator, Paywall};

use crate::market::{Market, account, assets, spawn, token_balance};

const PAYER: usize = 8;
const AUTHORIZER: usize = 6;
const STEPS: u32 = 45;

struct Seller {
    paywall: Paywall,
    url: String,
    at: SocketAddr,
    server: JoinHandle<()>,
}

struct World {
    market: Market,
    ledger: Arc<MemoryLedger>,
    sellers: [Seller; 2],
    wallet: Wallet,
    /// What all have at first: payer, payee and contract.
    money: u64,
    payer_had: u64,
    /// The model: what was bought for, what was given back, atomic units.
    charged: u64,
    is_open: bool,
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

async fn seller(market: &Market, ledger: &Arc<MemoryLedger>, at: SocketAddr) -> Seller {
    let network = market.node.network();
    let listener = TcpListener::bind(at).await.unwrap();
    let at = listener.local_addr().unwrap();
    let url = format!("http://{at}");
    let scheme = BatchSettlement::new(assets(market.node.chain_id)).with_key(Arc::new(account(AUTHORIZER)));
    let paywall = Paywall::builder(&url)
        .scheme(scheme)
        .accept_by(SchemeName::BATCH_SETTLEMENT, network.as_str(), market.payee.to_string())
        .facilitator(HttpFacilitator::new(&market.facilitator_url).unwrap())
        .ledger(Arc::clone(ledger) as Arc<dyn Ledger>)
        .claims(ClaimPolicy::default().by_hand())
        .pending_wait_ms(50)
        .start()
        .await
        .unwrap();
    let price = || paywall.price("$0.01").unwrap();
    let app = Router::new()
        .route("/whole", get(|| async { "content" }).layer(price()))
        .route("/part", get(|| async { ([("settlement-overrides", "7000")], "content") }).layer(price()))
        .route("/fails", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }).layer(price()));
    Seller { paywall, url, at, server: spawn(listener, app) }
}

fn wallet(market: &Market) -> Wallet {
    let builder = Wallet::builder().signer(Arc::new(account(PAYER))).assets(assets(market.node.chain_id));
    builder.policy(Policy::default()).chain(market.node.chain()).build().unwrap()
}

impl World {
    async fn open() -> Self {
        let (market, ledger) = (Market::open().await, Arc::new(MemoryLedger::new()));
        let any = SocketAddr::from((own_loopback(), 0));
        let sellers = [seller(&market, &ledger, any).await, seller(&market, &ledger, any).await];
        let wallet = wallet(&market);
        let mut world =
            Self { market, ledger, sellers, wallet, money: 0, payer_had: 0, charged: 0, is_open: false };
        world.payer_had = world.has(account(PAYER).address()).await;
        world.money = world.all().await;
        world
    }

    async fn has(&self, who: Address) -> u64 {
        token_balance(&self.market.chain, who).await.to_string().parse().unwrap()
    }

    async fn all(&self) -> u64 {
        let (payer, payee) = (account(PAYER).address(), self.market.payee);
        self.has(payer).await + self.has(payee).await + self.has(BATCH_SETTLEMENT).await
    }

    async fn buy(&mut self, seller: usize, path: &str, price: u64) {
        let client = self.wallet.client().unwrap();
        let answer = client.get(format!("{}{path}", self.sellers[seller].url)).send().await.unwrap();
        self.is_open = true;
        if path == "/fails" {
            assert_eq!(answer.status(), 500);
        } else {
            // A wallet that has lost its books may sign the very voucher that has bought this before: it gets what it bought.
            let is_copy = answer.headers().contains_key("idempotent-replayed");
            assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "content"));
            self.charged += if is_copy { 0 } else { price };
        }
    }

    async fn step(&mut self, dice: &mut Dice) -> &'static str {
        let which = usize::from(dice.roll(2) == 1);
        match dice.roll(16) {
            0..=5 => {
                self.buy(which, "/whole", 10_000).await;
                "buys"
            }
            6..=8 => {
                self.buy(which, "/part", 7_000).await;
                "buys for a part"
            }
            9 => {
                self.buy(which, "/fails", 0).await;
                "is not served"
            }
            10..=11 => {
                let outcome = self.sellers[which].paywall.claims().claim(&[]).await.unwrap();
                assert!(
                    outcome.steps.iter().all(|step| matches!(step.end, ClaimEnd::Done(_))),
                    "{outcome:?}"
                );
                "claims"
            }
            12 => {
                let outcome = self.sellers[which].paywall.claims().settle().await.unwrap();
                assert!(
                    outcome.steps.iter().all(|step| matches!(step.end, ClaimEnd::Done(_))),
                    "{outcome:?}"
                );
                "is paid out"
            }
            13 => {
                self.give_back(Some(1_000 + dice.roll(20_000))).await;
                "gives back"
            }
            14 => {
                let Seller { at, server, .. } = &mut self.sellers[which];
                server.abort();
                let (at, _gone) = (*at, server.await);
                self.sellers[which] = seller(&self.market, &self.ledger, at).await;
                "a seller dies"
            }
            _ => {
                self.wallet = wallet(&self.market);
                "the wallet loses its books"
            }
        }
    }

    /// As much as there is, if it is less.
    async fn give_back(&self, wanted: Option<u64>) {
        for channel in self.wallet.channels().await.unwrap() {
            let left = channel.balance.checked_sub(channel.charged).unwrap_or_default();
            let left: u64 = left.to_string().parse().unwrap();
            if left > 0 {
                let amount = wanted.map(|wanted| wanted.min(left).into());
                self.wallet.refund_channel(&channel.key, amount).await.unwrap();
            }
        }
    }

    /// What must hold after every step.
    async fn check(&self, what: &str) {
        assert_eq!(self.all().await, self.money, "{what}: no money comes or goes");
        let rows = self.ledger.channel_list("seller", None, 10).await.unwrap();
        let [row] = rows.as_slice() else {
            assert!(!self.is_open && rows.is_empty(), "{what}: {rows:?}");
            return;
        };
        let id = row.id.id().parse().unwrap();
        let backing = backings(&self.market.chain, &[id]).await.unwrap().remove(0);
        let number = |amount: tollway_core::Amount| -> u64 { amount.to_string().parse().unwrap() };
        assert_eq!(number(row.charged), self.charged, "{what}: what is charged is what was served");
        assert!(row.signed >= row.charged || row.signed == tollway_core::Amount::ZERO, "{what}: {row:?}");
        assert!(number(backing.claimed) <= self.charged, "{what}: nothing is claimed that was not charged");
        assert!(number(backing.balance) >= self.charged, "{what}: what was served can be redeemed");
        let earned = self.has(self.market.payee).await;
        assert!(earned <= number(backing.claimed), "{what}: nothing is paid out that was not claimed");
    }
}

async fn walk(seed: u64) {
    let (mut world, mut dice) = (World::open().await, Dice(seed));
    for step in 0..STEPS {
        let what = world.step(&mut dice).await;
        world.check(&format!("seed {seed}, step {step}, {what}")).await;
    }
    // In the end everybody has what is due.
    let worker = world.sellers[0].paywall.claims();
    worker.claim(&[]).await.unwrap();
    worker.settle().await.unwrap();
    if world.charged > 0 {
        world.buy(0, "/part", 7_000).await;
    }
    world.give_back(None).await;
    world.sellers[1].paywall.claims().settle().await.unwrap();
    let earned = world.has(world.market.payee).await;
    assert_eq!(earned, world.charged, "seed {seed}: what was served is paid");
    assert_eq!(world.payer_had - world.has(account(PAYER).address()).await, world.charged, "seed {seed}");
    assert_eq!(world.has(BATCH_SETTLEMENT).await, 0, "seed {seed}: nothing stays behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_on_a_channel_what_was_served_is_paid_and_the_rest_comes_back() {
    for seed in 1..=6 {
        walk(seed).await;
    }
}

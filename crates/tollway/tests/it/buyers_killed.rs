//! Buyers killed with SIGKILL, at every step of a purchase and at any moment: what they share is never exceeded, every
//! purchase is charged once at most, and who comes after gets what was paid for. On SQLite and PostgreSQL.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use tollway_core::Amount;
use tollway_ledger::TestServer;

use crate::fleet::{Fleet, Member, Stores};
use crate::node::{Kind, Node};

const PRICE_ATOMIC: u64 = 10_000;
/// What a purchase counts for in a budget: 10^-18 dollars.
const PRICE_COUNTED: &str = "10000000000000000";

/// What a buyer writes in the life of one purchase: the lease is no step of it.
const STEPS: [&str; 6] = [
    "intent_open:before:1",
    "intent_open:after:1",
    "intent_put:before:1",
    "intent_put:after:1",
    "intent_put:before:2",
    "intent_put:after:2",
];

struct Stand {
    fleet: Fleet,
    _members: [Member; 2],
    shop: String,
    ledger: String,
    _folder: tempfile::TempDir,
    _server: Option<TestServer>,
}

#[derive(Clone, Copy, Debug)]
enum Store {
    Sqlite,
    Postgres,
}

/// A seller, its facilitator, and a ledger for buyers; none without a server for it.
async fn stand(store: Store) -> Option<Stand> {
    let node = Node::start(Kind::Devnet, 31_337).await?;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let server = match store {
        Store::Sqlite => None,
        Store::Postgres => Some(crate::fleet::postgres().await?),
    };
    let ledger = match &server {
        Some(server) => server.database().await.expect("a database"),
        None => path("wallet.db"),
    };
    let fleet =
        Fleet::new(node, Stores { facilitators: path("facilitators.db"), sellers: path("sellers.db") });
    let facilitator = fleet.facilitator("facilitator", &[1], None).up().await;
    let url = fleet.url("seller");
    let seller = fleet.seller("seller", &url, &facilitator.url, None).up().await;
    let shop = format!("{url}/authorization");
    Some(Stand { fleet, _members: [facilitator, seller], shop, ledger, _folder: folder, _server: server })
}

impl Stand {
    /// What all purchases count for in the buyers' budgets.
    async fn counted(&self) -> Amount {
        let ledger = tollway_ledger::open(&self.ledger).await.expect("it opens");
        let budgets = ledger.budget_list("0x", None, 100).await.expect("it answers");
        budgets.iter().fold(Amount::ZERO, |sum, budget| sum.checked_add(budget.amount).unwrap())
    }
}

fn counted(purchases: u64) -> Amount {
    let price: Amount = PRICE_COUNTED.parse().unwrap();
    (0..purchases).fold(Amount::ZERO, |sum, _| sum.checked_add(price).unwrap())
}

async fn every_step(store: Store) {
    let Some(stand) = stand(store).await else { return };
    let lives = STEPS.iter().zip(0..).map(|(step, n)| {
        let stand = &stand;
        async move {
            let one = (&*stand.shop, n, n + 1);
            stand.fleet.buyer(one, (&stand.ledger, "$1"), Some(step)).killed().await;
            let lines = stand.fleet.buyer(one, (&stand.ledger, "$1"), None).ended().await;
            assert_eq!(lines, [format!("{n} thing {n}")], "{step}");
        }
    });
    join_all(lives).await;
    let purchases = STEPS.len() as u64;
    assert_eq!(stand.fleet.received().await, purchases * PRICE_ATOMIC, "each charged once");
    assert_eq!(stand.counted().await, counted(purchases), "and each counted, and nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_killed_at_any_step_is_charged_once_and_gets_what_it_paid_for_on_sqlite() {
    every_step(Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_killed_at_any_step_is_charged_once_and_gets_what_it_paid_for_on_postgres() {
    every_step(Store::Postgres).await;
}

/// Four processes, each after eight things, of which the budget allows twelve in all.
async fn never_exceed(store: Store) {
    const BUYERS: u64 = 4;
    const WANTED: u64 = 8;
    const ALLOWED: u64 = 12;
    let Some(stand) = stand(store).await else { return };
    let start = |buyer: u64| {
        let from = buyer * 100;
        stand.fleet.buyer((&stand.shop, from, from + WANTED), (&stand.ledger, "$0.12"), None)
    };
    let mut buyers: Vec<Member> = (0..BUYERS).map(start).collect();
    for kill in 0..16u64 {
        tokio::time::sleep(Duration::from_millis(120 + 37 * (kill % 5))).await;
        let victim = (kill * 7 + kill / 4) % BUYERS;
        // Dropped is killed, with SIGKILL.
        buyers[usize::try_from(victim).unwrap()] = start(victim);
        assert!(stand.fleet.received().await <= ALLOWED * PRICE_ATOMIC, "the cap");
    }
    let lines = join_all(buyers.iter().map(Member::ended)).await.concat();
    let served: BTreeSet<&String> = lines.iter().filter(|line| line.contains("thing")).collect();
    assert!(lines.iter().any(|line| line.ends_with("denied")), "more is wanted than allowed: {lines:?}");
    let served = served.len() as u64;
    assert_eq!(stand.fleet.received().await, served * PRICE_ATOMIC, "each charged once: {lines:?}");
    assert_eq!(stand.counted().await, counted(served), "what was charged is what counts");
    assert_eq!(served, ALLOWED, "and all that is allowed is bought: {lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn four_buyers_that_are_killed_again_and_again_never_exceed_their_budget_on_sqlite() {
    never_exceed(Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_buyers_that_are_killed_again_and_again_never_exceed_their_budget_on_postgres() {
    never_exceed(Store::Postgres).await;
}

//! A seller that holds money first, killed with SIGKILL around every write between the hold and the capture: whoever is left
//! on the ledger takes what was served and gives back what was not, once, before the deadline; and who comes back for what
//! it paid is served, once. On SQLite and PostgreSQL, on our devnet and on anvil.

use std::time::{Duration, Instant};

use crate::fleet::{Fleet, Member, Stores, buy, postgres};
use crate::node::{Kind, Node};

const PRICE_ATOMIC: u64 = 10_000;
/// A seller believes that it is so much later: the deadline of an hour is near for it.
const LATE_SECONDS: u64 = 3_600 - 60;
const DEADLINE: Duration = Duration::from_secs(60);

/// Where a seller dies, and what becomes of the payment when its buyer does not come back: whether it is taken.
///
/// The first write is that money may be held. Before the second it is, and the handler has run. The second is that it is
/// taken (`escrow`), or that it was served (`deferred`); the third, that it was taken.
const ESCROW: [(&str, bool); 5] = [
    ("purchase_put:after:1", false),
    ("purchase_put:before:2", false),
    ("purchase_put:after:2", true),
    ("purchase_put:before:3", true),
    ("purchase_put:after:3", true),
];
const DEFERRED: [(&str, bool); 3] =
    [("purchase_put:after:1", false), ("purchase_put:before:2", false), ("purchase_put:after:2", true)];

/// What runs beside the seller that dies.
struct Scene {
    fleet: Fleet,
    facilitator: Member,
    shop: String,
    before: u64,
    _folder: tempfile::TempDir,
    _postgres: Option<tollway_ledger::TestServer>,
}

impl Scene {
    async fn open(kind: Kind, on_postgres: bool) -> Option<Self> {
        let node = Node::start(kind, 31_337).await?;
        let folder = tempfile::tempdir().unwrap();
        let server = if on_postgres { Some(postgres().await?) } else { None };
        let stores = match &server {
            Some(server) => {
                let database = async || server.database().await.expect("a database");
                Stores { facilitators: database().await, sellers: database().await }
            }
            None => {
                let path = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
                Stores { facilitators: path("facilitators.db"), sellers: path("sellers.db") }
            }
        };
        let fleet = Fleet::new(node, stores);
        let facilitator = fleet.facilitator("facilitator", &[1], None).up().await;
        let (shop, before) = (fleet.url("seller"), fleet.payers_balance().await);
        Some(Self { fleet, facilitator, shop, before, _folder: folder, _postgres: server })
    }

    async fn seller(&self, name: &str, kill_at: Option<&str>, ahead_seconds: u64) -> Member {
        let behind = (self.shop.as_str(), self.facilitator.url.as_str());
        self.fleet.holding_seller(name, behind, kill_at, ahead_seconds).up().await
    }

    /// Asks once, and dies of it: the seller, not the buyer.
    async fn dies(&self, seller: &Member, path: &str) {
        let client = self.fleet.holding_wallet().client().expect("a client");
        let asked = tokio::spawn(client.get(format!("{}{path}", self.shop)).send());
        seller.killed().await;
        asked.abort();
    }

    /// Waits until nothing is held any more, and the payee has been paid so often. What is held is with neither.
    async fn ends(&self, times: u64, what: &str) {
        let (began, due) = (Instant::now(), times * PRICE_ATOMIC);
        loop {
            let spent = self.before - self.fleet.payers_balance().await;
            let received = self.fleet.received().await;
            assert!(received <= due, "{what}: taken twice, or what was not served");
            if (spent, received) == (due, due) {
                return;
            }
            assert!(began.elapsed() < DEADLINE, "{what}: spent {spent}, received {received}, due {due}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The buyer never comes back; the seller does, near the deadline.
async fn ends_by_the_deadline(kind: Kind, on_postgres: bool) {
    let Some(scene) = Scene::open(kind, on_postgres).await else { return };
    let mut taken = 0;
    for (route, points) in [("escrow", &ESCROW[..]), ("deferred", &DEFERRED[..])] {
        for (kill_at, is_taken) in points {
            let what = format!("{kind:?} {route} {kill_at}");
            eprintln!("{what}");
            let seller = scene.seller("seller", Some(kill_at), 0).await;
            scene.dies(&seller, &format!("/{route}/thing")).await;
            let again = scene.seller("seller", None, LATE_SECONDS).await;
            taken += u64::from(*is_taken);
            scene.ends(taken, &what).await;
            drop(again);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_seller_held_ends_by_the_deadline_on_sqlite_and_our_devnet() {
    ends_by_the_deadline(Kind::Devnet, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_seller_held_ends_by_the_deadline_on_postgres_and_our_devnet() {
    ends_by_the_deadline(Kind::Devnet, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_seller_held_ends_by_the_deadline_on_sqlite_and_anvil() {
    ends_by_the_deadline(Kind::Anvil, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_seller_held_ends_by_the_deadline_on_postgres_and_anvil() {
    ends_by_the_deadline(Kind::Anvil, true).await;
}

/// The second seller has been there all along.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_seller_held_is_taken_or_given_back_by_another_on_postgres() {
    let Some(scene) = Scene::open(Kind::Devnet, true).await else { return };
    let other = scene.seller("other", None, LATE_SECONDS).await;
    let points = [
        ("escrow", "purchase_put:before:2", false),
        ("escrow", "purchase_put:after:2", true),
        ("deferred", "purchase_put:after:2", true),
    ];
    let mut taken = 0;
    for (route, kill_at, is_taken) in points {
        let what = format!("{route} {kill_at}");
        eprintln!("{what}");
        let seller = scene.seller("seller", Some(kill_at), 0).await;
        scene.dies(&seller, &format!("/{route}/thing")).await;
        taken += u64::from(is_taken);
        scene.ends(taken, &what).await;
    }
    drop(other);
}

/// The buyer comes back with the payment that it has signed.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_to_a_seller_that_died_is_served_and_charged_once() {
    let Some(scene) = Scene::open(Kind::Devnet, false).await else { return };
    let wallet = scene.fleet.holding_wallet();
    for (times, (kill_at, _)) in (1..).zip(ESCROW) {
        eprintln!("{kill_at}");
        let seller = scene.seller("seller", Some(kill_at), 0).await;
        let path = format!("/escrow/{times}");
        let revived = async {
            seller.killed().await;
            scene.seller("seller", None, 0).await
        };
        let (served, again) = tokio::join!(buy(&wallet, &scene.shop, &path), revived);
        assert_eq!(served, format!("thing {times}"), "{kill_at}");
        scene.ends(times, kill_at).await;
        drop(again);
    }
}

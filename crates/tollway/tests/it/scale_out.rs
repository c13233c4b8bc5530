//! `docs/operations.md`, run: two facilitators and two sellers on one PostgreSQL; one facilitator is killed in the middle of
//! a batch and one seller while it sells. Nothing is lost, nothing happens twice.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::fleet::{Fleet, Stores, balancer, buy};
use crate::node::{Kind, Node};

const PURCHASES: usize = 90;
const PRICE_ATOMIC: u64 = 10_000;

async fn two_and_two(kind: Kind) {
    let Some(node) = Node::start(kind, 31_337).await else { return };
    let Some(postgres) = crate::fleet::postgres().await else { return };
    let database = async || postgres.database().await.expect("a database");
    let stores = Stores { facilitators: database().await, sellers: database().await };
    let fleet = Fleet::new(node, stores);
    // Both know all the keys; who may use which is settled between them.
    let doomed = fleet.facilitator("facilitator-1", &[1, 2], Some("settlement_sent:after:3")).up().await;
    let steady = fleet.facilitator("facilitator-2", &[1, 2], None).up().await;
    let facilitators = balancer(vec![doomed.url.clone(), steady.url.clone()]).await;
    let shop = balancer(vec![fleet.url("seller-1"), fleet.url("seller-2")]).await;
    let mortal =
        fleet.seller("seller-1", &shop, &facilitators, Some("reservation_finish:before:12")).up().await;
    let _other = fleet.seller("seller-2", &shop, &facilitators, None).up().await;
    let wallet = fleet.wallet();
    let flows = ["authorization", "upfront", "background"];
    let purchases = async {
        let mut bodies = Vec::new();
        for round in 0..PURCHASES / 15 {
            let buys = (0..15).map(|index| {
                let number = round * 15 + index;
                let path = format!("/{}/{number}", flows[number % 3]);
                let (wallet, shop) = (wallet.clone(), shop.clone());
                async move { buy(&wallet, &shop, &path).await }
            });
            bodies.extend(join_all(buys).await);
        }
        bodies
    };
    let misfortune = async {
        doomed.killed().await;
        mortal.killed().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let facilitator = fleet.facilitator("facilitator-1", &[1, 2], None).up().await;
        let seller = fleet.seller("seller-1", &shop, &facilitators, None).up().await;
        (facilitator, seller)
    };
    let (bodies, (again, _seller)) = tokio::join!(purchases, misfortune);
    let expected: Vec<String> = (0..PURCHASES).map(|number| format!("thing {number}")).collect();
    assert_eq!(bodies, expected);
    for facilitator in [&steady, &again] {
        let journal = fleet.journal_at_rest(facilitator).await;
        assert_eq!(journal.len(), PURCHASES);
        assert!(journal.iter().all(|row| row["state"] == json!("settled")), "{journal:?}");
        let proofs: BTreeSet<String> =
            journal.iter().map(|row| format!("{} {}", row["transaction"], row["logIndex"])).collect();
        assert_eq!(proofs.len(), PURCHASES, "each payment has a transfer of its own");
    }
    assert_eq!(fleet.received().await, PRICE_ATOMIC * PURCHASES as u64, "each charged once");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_facilitators_and_two_sellers_on_one_postgres_lose_nothing_when_killed() {
    two_and_two(Kind::Devnet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_facilitators_and_two_sellers_on_one_postgres_lose_nothing_when_killed_on_anvil() {
    two_and_two(Kind::Anvil).await;
}

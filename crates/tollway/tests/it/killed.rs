//! Killed with SIGKILL between every two durable steps, started again: every purchase is served, each is charged once, and
//! every payment has an end in the journal. On SQLite and PostgreSQL, on our devnet and on anvil.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tollway_evm::Chain;

use crate::fleet::{Fleet, Member, Stores, buy};
use crate::node::{Kind, Node};

/// The durable steps of a facilitator and of a seller in the life of one payment.
const FACILITATOR_STEPS: [(&str, u32); 3] =
    [("settlement_insert", 2), ("settlement_sent", 1), ("settlement_advance", 1)];
const SELLER_STEPS: [(&str, u32); 2] = [("reservation_insert", 2), ("reservation_finish", 1)];
const FLOWS: [&str; 3] = ["authorization", "upfront", "background"];
const PRICE_ATOMIC: u64 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Store {
    Sqlite,
    Postgres,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Facilitator,
    Seller,
}

/// From now on no block holds a transaction, until [`release`].
async fn hold(chain: &Chain) {
    chain.raw("evm_setAutomine", json!([false])).await.expect("it may be told");
}

/// Blocks hold transactions again, and one that holds what waits is made.
pub(crate) async fn release(chain: &Chain) {
    chain.raw("evm_setAutomine", serde_json::json!([true])).await.expect("it may be told");
    chain.raw("evm_mine", serde_json::json!([])).await.expect("it may be told");
}

/// One victim, one point, the three flows at once.
async fn survives(kind: Kind, store: Store, victim: Victim, kill_at: &str) {
    let Some(node) = Node::start(kind, 31_337).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let postgres = match store {
        Store::Sqlite => None,
        Store::Postgres => match crate::fleet::postgres().await {
            Some(server) => Some(server),
            None => return,
        },
    };
    let stores = match &postgres {
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
    let at = |who| (victim == who).then_some(kill_at);
    let facilitator = fleet.facilitator("facilitator", &[1], at(Victim::Facilitator)).up().await;
    let facilitator_url = facilitator.url.clone();
    let shop = fleet.url("seller");
    let seller = fleet.seller("seller", &shop, &facilitator_url, at(Victim::Seller)).up().await;
    if kind == Kind::Anvil {
        hold(&fleet.node.chain()).await;
    }
    let (wallet, chain) = (fleet.wallet(), fleet.node.chain());
    let paths: Vec<String> = FLOWS.iter().map(|flow| format!("/{flow}/{flow}-1")).collect();
    let purchases = async { join_all(paths.iter().map(|path| buy(&wallet, &shop, path))).await };
    let revive = async {
        let again: Member = match victim {
            Victim::Facilitator => {
                facilitator.killed().await;
                fleet.facilitator("facilitator", &[1], None).up().await
            }
            Victim::Seller => {
                seller.killed().await;
                fleet.seller("seller", &shop, &facilitator_url, None).up().await
            }
        };
        again
    };
    let held = async {
        // Some die while their transaction waits, some when it is included.
        if kind == Kind::Anvil {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            release(&chain).await;
        }
    };
    let (answers, again, ()) = tokio::join!(purchases, revive, held);
    for (flow, answer) in FLOWS.iter().zip(answers) {
        assert_eq!(answer, format!("thing {flow}-1"));
    }
    let journal = match victim {
        Victim::Facilitator => fleet.journal_at_rest(&again).await,
        Victim::Seller => fleet.journal_at_rest(&facilitator).await,
    };
    assert_eq!(journal.len(), FLOWS.len(), "{journal:?}");
    assert!(journal.iter().all(|row| row["state"] == json!("settled")), "{journal:?}");
    assert_eq!(fleet.received().await, PRICE_ATOMIC * FLOWS.len() as u64, "each charged once");
}

async fn every_step(kind: Kind, store: Store) {
    for (victim, steps) in
        [(Victim::Facilitator, &FACILITATOR_STEPS[..]), (Victim::Seller, &SELLER_STEPS[..])]
    {
        for (step, call) in steps {
            for when in ["before", "after"] {
                let kill_at = format!("{step}:{when}:{call}");
                eprintln!("{kind:?} {store:?} {victim:?} {kill_at}");
                survives(kind, store, victim, &kill_at).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_any_two_steps_on_sqlite_and_our_devnet() {
    every_step(Kind::Devnet, Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_any_two_steps_on_postgres_and_our_devnet() {
    every_step(Kind::Devnet, Store::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_any_two_steps_on_sqlite_and_anvil_with_mining_held() {
    every_step(Kind::Anvil, Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_any_two_steps_on_postgres_and_anvil_with_mining_held() {
    every_step(Kind::Anvil, Store::Postgres).await;
}

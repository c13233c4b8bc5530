//! What is asked of the node to verify, and what is refused before a handler runs for it.

use futures_util::future::join_all;
use serde_json::json;
use tollway_core::{Facilitator, FacilitatorError};
use tollway_devnet::ACCOUNTS;
use tollway_ledger::MemoryLedger;

use crate::world::{LANES, PAYER, World, account};

#[tokio::test]
async fn a_balance_for_one_payment_stands_for_one() {
    let world = World::open().await;
    let engine = world.engine(&MemoryLedger::new()).start().await.unwrap();
    let poor = world.payer_with(1);
    let requests = join_all((0..50).map(|_| world.pay(&poor, 1))).await;
    let verdicts = join_all(requests.iter().map(|request| engine.verify(request.clone()))).await;
    let valid =
        verdicts.iter().filter(|verdict| verdict.as_ref().is_ok_and(|verdict| verdict.is_valid)).count();
    assert_eq!(valid, 1, "{verdicts:?}");
    let short = |verdict: &&Result<tollway_core::model::VerifyResponse, FacilitatorError>| {
        let reason = verdict.as_ref().ok().and_then(|verdict| verdict.invalid_reason.clone());
        reason.is_some_and(|reason| reason.as_str() == "invalid_exact_evm_insufficient_balance")
    };
    assert_eq!(verdicts.iter().filter(short).count(), 49);
}

#[tokio::test]
async fn many_verifications_at_once_cost_few_calls() {
    let world = World::open().await;
    let engine = world.engine(&MemoryLedger::new()).start().await.unwrap();
    let payer = account(PAYER);
    let requests = join_all((0..200).map(|_| world.pay(&payer, 1))).await;
    let before = world.asked.all();
    let verdicts = join_all(requests.iter().map(|request| engine.verify(request.clone()))).await;
    assert!(verdicts.iter().all(|verdict| verdict.as_ref().unwrap().is_valid), "{verdicts:?}");
    let calls = world.asked.all() - before;
    assert!(calls < 20, "{calls}");
}

#[tokio::test]
async fn a_lone_verification_costs_one_call_and_the_same_asked_by_many_no_more() {
    let world = World::open().await;
    let engine = world.engine(&MemoryLedger::new()).start().await.unwrap();
    let one = world.pay(&account(PAYER), 1).await;
    let before = world.asked.of("eth_call");
    assert!(engine.verify(one.clone()).await.unwrap().is_valid);
    assert_eq!(world.asked.of("eth_call") - before, 1);
    let another = world.pay(&account(PAYER), 1).await;
    let verdicts = join_all((0..100).map(|_| engine.verify(another.clone()))).await;
    assert!(verdicts.iter().all(|verdict| verdict.as_ref().unwrap().is_valid), "counted once: {verdicts:?}");
    assert!(world.asked.of("eth_call") - before <= 3);
}

#[tokio::test]
async fn a_lane_that_cannot_pay_refuses_at_verify() {
    let world = World::open().await;
    let lane = ACCOUNTS[LANES[0]].address.to_string();
    world.chain.raw("anvil_setBalance", json!([lane, "0x0"])).await.unwrap();
    let engine = world.engine(&MemoryLedger::new()).start().await.unwrap();
    let request = world.pay(&account(PAYER), 1).await;
    // The balance is asked for when the engine starts.
    while engine.lanes()[0].balance_wei.is_none() {
        tokio::task::yield_now().await;
    }
    for answer in [engine.verify(request.clone()).await.err(), engine.settle(request.clone()).await.err()] {
        assert!(
            matches!(&answer, Some(FacilitatorError::Busy(why)) if why.contains("pay for gas")),
            "{answer:?}"
        );
    }
    world.chain.raw("anvil_setBalance", json!([lane, "0xde0b6b3a7640000"])).await.unwrap();
    assert!(engine.verify(request.clone()).await.unwrap().is_valid);
    assert!(engine.settle(request).await.unwrap().success);
}

#[tokio::test]
async fn an_idle_engine_asks_the_node_for_nothing() {
    let world = World::open().await;
    let engine = world.engine(&MemoryLedger::new()).start().await.unwrap();
    while engine.lanes()[0].balance_wei.is_none() {
        tokio::task::yield_now().await;
    }
    let before = world.asked.all();
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert_eq!(world.asked.all(), before);
}

//! An engine is gone, at the worst moments; the next one on the same ledger ends what it began.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tollway_core::Facilitator;
use tollway_core::model::FacilitatorRequest;
use tollway_devnet::Fault;
use tollway_facilitator::Engine;
use tollway_ledger::{Ledger, MemoryLedger, SettlementState};

use crate::gate::{Gate, GatedLedger};
use crate::world::{PAYER, World, account, id, is_pending, quick, until, until_settled};

/// Lets an engine settle until `seen` tells that it is where it shall die, and drops it.
async fn dies(
    world: &World,
    ledger: &GatedLedger,
    memory: &MemoryLedger,
    is_there: fn(&SettlementState) -> bool,
) -> FacilitatorRequest {
    let engine = world.engine(ledger).start().await.unwrap();
    let request = world.pay(&account(PAYER), 1_000).await;
    let settling = tokio::spawn({
        let (engine, request) = (engine.clone(), request.clone());
        async move { engine.settle(request).await }
    });
    until(memory, &request, |found| is_there(&found.state)).await;
    settling.abort();
    let _ = settling.await;
    drop(engine);
    sleep(Duration::from_millis(20)).await;
    request
}

/// The next engine under the same name settles it once.
async fn is_ended_by_the_next(
    world: &World,
    memory: &MemoryLedger,
    request: &FacilitatorRequest,
) -> (Engine, String) {
    let next = world.engine(memory).start().await.unwrap();
    let transaction = until_settled(memory, request).await;
    assert_eq!(world.received().await, 1_000);
    let told = next.settle(request.clone()).await.unwrap();
    assert_eq!(told.transaction, transaction);
    assert_eq!((world.received().await, memory.settlement_open_count().await.unwrap()), (1_000, 0));
    (next, transaction)
}

#[tokio::test]
async fn what_was_only_accepted_is_settled_by_the_next() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let ledger = Gate::ledger(&memory);
    ledger.interposer().shut_before("settlement_sent");
    let request = dies(&world, &ledger, &memory, |state| *state == SettlementState::Reserved).await;
    assert_eq!(world.asked.of("eth_sendRawTransaction"), 0);
    is_ended_by_the_next(&world, &memory, &request).await;
    assert_eq!(world.lane_nonce(0).await, 1);
}

#[tokio::test]
async fn what_was_signed_and_not_sent_is_sent_by_the_next() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let ledger = Gate::ledger(&memory);
    ledger.interposer().shut_after("settlement_sent");
    let request = dies(&world, &ledger, &memory, |state| matches!(state, SettlementState::Sent { .. })).await;
    assert_eq!(world.asked.of("eth_sendRawTransaction"), 0);
    let signed = memory.settlement_find(id(&request)).await.unwrap().unwrap().transactions;
    let (_, transaction) = is_ended_by_the_next(&world, &memory, &request).await;
    assert_eq!((signed, world.lane_nonce(0).await), (vec![transaction], 1), "the same bytes");
}

#[tokio::test]
async fn what_waits_in_the_pool_is_followed_by_the_next() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let ledger = Gate::ledger(&memory);
    world.fault(Fault::Hold);
    let request = dies(&world, &ledger, &memory, |state| matches!(state, SettlementState::Sent { .. })).await;
    let next = world.engine(&memory).start().await.unwrap();
    assert!(is_pending(&next.settle(request.clone()).await.unwrap()));
    world.fault(Fault::Release);
    until_settled(&memory, &request).await;
    assert_eq!((world.received().await, world.lane_nonce(0).await), (1_000, 1));
    // The lane goes on with the next nonce.
    let another = world.pay(&account(PAYER), 500).await;
    assert!(next.settle(another).await.unwrap().success);
}

#[tokio::test]
async fn what_was_included_meanwhile_is_found_by_the_next() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let ledger = Gate::ledger(&memory);
    world.fault(Fault::Hold);
    let request = dies(&world, &ledger, &memory, |state| matches!(state, SettlementState::Sent { .. })).await;
    world.fault(Fault::Release);
    assert_eq!(world.received().await, 1_000);
    is_ended_by_the_next(&world, &memory, &request).await;
    assert_eq!(world.lane_nonce(0).await, 1);
}

#[tokio::test]
async fn what_a_rival_sent_meanwhile_is_settled_once_by_the_rivals_transaction() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let ledger = Gate::ledger(&memory);
    ledger.interposer().shut_after("settlement_sent");
    let request = dies(&world, &ledger, &memory, |state| matches!(state, SettlementState::Sent { .. })).await;
    let rival = world.front_run(&request).await;
    let (_next, transaction) = is_ended_by_the_next(&world, &memory, &request).await;
    assert_eq!(transaction, rival);
    world.mine(8);
    let is_final = |state: &SettlementState| matches!(state, SettlementState::Settled { is_final: true, .. });
    until(&memory, &request, |found| is_final(&found.state)).await;
}

#[tokio::test]
async fn what_was_settled_and_not_final_is_followed_by_the_next() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let ledger = Gate::ledger(&memory);
    let is_settled = |state: &SettlementState| matches!(state, SettlementState::Settled { .. });
    let request = dies(&world, &ledger, &memory, is_settled).await;
    world.mine(8);
    let (_next, _) = is_ended_by_the_next(&world, &memory, &request).await;
    let is_final = |state: &SettlementState| matches!(state, SettlementState::Settled { is_final: true, .. });
    until(&memory, &request, |found| is_final(&found.state)).await;
}

#[tokio::test]
async fn a_process_that_was_superseded_stops_for_good() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let first = world.engine(&memory).start().await.unwrap();
    let second = world.engine(&memory).start().await.unwrap();
    let superseded = async {
        let request = world.pay(&account(PAYER), 1).await;
        while first.verify(request.clone()).await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(10), superseded).await.expect("it hears of it at its next sign of life");
    let request = world.pay(&account(PAYER), 1_000).await;
    assert!(first.settle(request.clone()).await.is_err());
    assert!(second.settle(request).await.unwrap().success);
    assert_eq!(world.received().await, 1_000);
}

#[tokio::test]
async fn an_engine_that_is_shut_down_leaves_nothing_and_the_next_begins_at_once() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let first = world.engine(&memory).name("first").start().await.unwrap();
    let request = world.pay(&account(PAYER), 1_000).await;
    assert!(first.settle(request.clone()).await.unwrap().success);
    assert!(first.shutdown(Duration::from_secs(5)).await);
    assert!(first.settle(request).await.is_err());
    let second = world.engine(&memory).name("second").limits(quick()).start().await.unwrap();
    assert!(second.lanes().iter().all(|lane| lane.is_held), "no waiting for the dead");
    let _ = Arc::new(second);
}

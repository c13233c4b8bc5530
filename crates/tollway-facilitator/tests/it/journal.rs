//! Written down, then done; done, then written down, then told.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tollway_core::{Facilitator, FacilitatorError};
use tollway_devnet::Fault;
use tollway_facilitator::Limits;
use tollway_ledger::{Ledger, MemoryLedger, SettlementState};

use crate::gate::Gate;
use crate::world::{PAYER, World, account, id, is_pending, is_settled, quick, until, until_settled};

const SEND: &str = "eth_sendRawTransaction";

#[tokio::test]
async fn no_node_sees_a_transaction_that_is_not_written_down() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let ledger = Gate::ledger(&memory);
    let engine = world.engine(&ledger).limits(Limits { settle_deadline: Duration::from_secs(9), ..quick() });
    let engine = engine.start().await.unwrap();
    let request = world.pay(&account(PAYER), 1_000).await;
    ledger.interposer().shut_before("settlement_sent");
    let settling = engine.settle(request.clone());
    tokio::pin!(settling);
    assert!(timeout(Duration::from_millis(400), &mut settling).await.is_err(), "it waits for the ledger");
    assert_eq!((world.asked.of(SEND), world.lane_nonce(0).await), (0, 0));
    ledger.interposer().open();
    let settled = settling.await.unwrap();
    assert!(settled.success && world.asked.of(SEND) == 1, "{settled:?}");
    let known = memory.settlement_find(id(&request)).await.unwrap().unwrap();
    assert_eq!(known.transactions, [settled.transaction]);
}

#[tokio::test]
async fn a_ledger_that_is_down_denies_and_nothing_is_signed() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let ledger = Gate::ledger(&memory);
    let engine = world.engine(&ledger).start().await.unwrap();
    let request = world.pay(&account(PAYER), 1_000).await;
    ledger.interposer().fail("settlement_insert");
    let denied = engine.settle(request.clone()).await;
    assert!(matches!(denied, Err(FacilitatorError::Busy(_))), "{denied:?}");
    ledger.interposer().fail("settlement_get");
    assert!(engine.settle(request.clone()).await.is_err());
    assert_eq!((world.asked.of(SEND), memory.settlement_open_count().await.unwrap()), (0, 0));
    ledger.interposer().open();
    for _ in 0..200 {
        if engine.open_payments() == 0 {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert!(engine.settle(request).await.unwrap().success);
    assert_eq!(world.received().await, 1_000);
}

#[tokio::test]
async fn a_payment_whose_acceptance_was_not_answered_is_denied_and_ends() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let ledger = Gate::ledger(&memory);
    let engine = world.engine(&ledger).start().await.unwrap();
    let request = world.pay(&account(PAYER), 1_000).await;
    ledger.interposer().fail_after("settlement_insert");
    assert!(engine.settle(request.clone()).await.is_err());
    ledger.interposer().open();
    let ended = until(&memory, &request, |found| found.state.is_ended()).await;
    assert!(matches!(ended.state, SettlementState::Abandoned { .. }), "{ended:?}");
    assert_eq!(world.asked.of(SEND), 0);
    for _ in 0..100 {
        if engine.open_payments() == 0 {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert!(engine.settle(request).await.unwrap().success, "asked again, it begins anew");
}

#[tokio::test]
async fn an_outcome_is_told_only_when_it_is_written_down() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let ledger = Gate::ledger(&memory);
    let engine = world.engine(&ledger).start().await.unwrap();
    let request = world.pay(&account(PAYER), 1_000).await;
    ledger.interposer().fail("settlement_advance");
    let answer = engine.settle(request.clone()).await.unwrap();
    assert!(is_pending(&answer), "the money has moved, and nobody may say so yet: {answer:?}");
    assert_eq!(world.received().await, 1_000);
    ledger.interposer().open();
    let transaction = until_settled(&memory, &request).await;
    assert_eq!(engine.settle(request).await.unwrap().transaction, transaction);
}

#[tokio::test]
async fn a_settlement_has_a_public_name_and_is_found_by_it() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let engine = world.engine(&memory).start().await.unwrap();
    let request = world.pay(&account(PAYER), 1_000).await;
    let settled = engine.settle_for(Some("shop"), request.clone()).await.unwrap();
    let name = settled.extra.get("settlementId").and_then(|id| id.as_str()).unwrap().to_owned();
    let found = engine.settlement(name.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((found.caller.as_deref(), is_settled(&found.state)), (Some("shop"), true));
    world.mine(5);
    let is_final = |state: &SettlementState| matches!(state, SettlementState::Settled { is_final: true, .. });
    until(&memory, &request, |found| is_final(&found.state)).await;
}

#[tokio::test]
async fn what_is_not_included_is_offered_more_for_with_the_same_nonce_and_call() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let limits = Limits { bump_after: Duration::from_millis(150), max_bumps: 2, ..quick() };
    let engine = world.engine(&memory).limits(limits).start().await.unwrap();
    let request = world.pay(&account(PAYER), 1_000).await;
    world.fault(Fault::Hold);
    assert!(is_pending(&engine.settle(request.clone()).await.unwrap()));
    let bumped = until(&memory, &request, |found| found.transactions.len() == 3).await;
    sleep(Duration::from_millis(400)).await;
    let known = memory.settlement_find(id(&request)).await.unwrap().unwrap();
    assert_eq!(known.transactions, bumped.transactions, "no more than it may");
    world.fault(Fault::Release);
    let transaction = until_settled(&memory, &request).await;
    assert_eq!(Some(&transaction), bumped.transactions.last());
    assert_eq!((world.received().await, world.lane_nonce(0).await), (1_000, 1));
}

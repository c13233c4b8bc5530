//! Blocks are taken back. What was told settled is settled again, once, or told otherwise.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use tollway_core::{Facilitator, JsonObject};
use tollway_devnet::{ACCOUNTS, Fault, Mining, genesis};
use tollway_facilitator::Limits;
use tollway_ledger::{Ledger, MemoryLedger, SettlementState};

use crate::world::{PAYER, World, account, id, is_pending, is_settled, quick, until, until_settled};

fn confirmations(blocks: u64) -> JsonObject {
    json!({ "confirmations": blocks }).as_object().cloned().unwrap()
}

fn is_final(state: &SettlementState) -> bool {
    matches!(state, SettlementState::Settled { is_final: true, .. })
}

fn patient() -> Limits {
    Limits { settle_deadline: Duration::from_secs(10), ..quick() }
}

#[tokio::test]
async fn what_a_reorganisation_of_any_depth_takes_back_is_settled_again_once() {
    for (depth, lost) in (1..=5).flat_map(|depth| [(depth, false), (depth, true)]) {
        let world = World::open().await;
        let memory = MemoryLedger::new();
        let engine = world.engine(&memory).limits(patient()).start().await.unwrap();
        let request = world.pay(&account(PAYER), 1_000).await;
        let settled = engine.settle(request.clone()).await.unwrap();
        assert!(settled.success, "{settled:?}");
        // It is as deep as the reorganisation goes, and not final.
        world.mine(usize::try_from(depth).unwrap() - 1);
        let SettlementState::Settled { block_hash: before, .. } =
            memory.settlement_find(id(&request)).await.unwrap().unwrap().state
        else {
            panic!("told before it was written");
        };
        world.fault(Fault::Reorg { depth, lost });
        let elsewhere = |state: &SettlementState| matches!(state, SettlementState::Settled { block_hash, .. } if *block_hash != before);
        let again = until(&memory, &request, |found| elsewhere(&found.state)).await;
        assert_eq!(
            again.transactions,
            std::slice::from_ref(&settled.transaction),
            "depth {depth}, lost {lost}"
        );
        assert_eq!((world.received().await, world.lane_nonce(0).await), (1_000, 1));
        world.mine(6);
        until(&memory, &request, |found| is_final(&found.state)).await;
        let next = world.pay(&account(PAYER), 500).await;
        assert!(engine.settle(next).await.unwrap().success, "the lane goes on");
    }
}

#[tokio::test]
async fn a_route_that_asks_for_confirmations_is_told_settled_when_they_are_there() {
    for blocks in 0..=4u64 {
        let world = World::with(Mining::Manual).await;
        let memory = MemoryLedger::new();
        let limits = Limits { settle_deadline: Duration::from_millis(250), ..quick() };
        let engine = world.engine(&memory).limits(limits).start().await.unwrap();
        let request = world.pay_with(&account(PAYER), 1_000, confirmations(blocks)).await;
        assert!(is_pending(&engine.settle(request.clone()).await.unwrap()));
        // Its own block, and those on top of it.
        for on_top in 0..=blocks {
            let known = memory.settlement_find(id(&request)).await.unwrap().unwrap();
            assert!(!is_settled(&known.state), "with {on_top} of {blocks}");
            world.mine(1);
            sleep(Duration::from_millis(if on_top == blocks { 0 } else { 120 })).await;
        }
        until_settled(&memory, &request).await;
        assert!(engine.settle(request).await.unwrap().success);
    }
}

#[tokio::test]
async fn what_was_taken_back_before_its_confirmations_was_never_told_settled() {
    let world = World::with(Mining::Manual).await;
    let memory = MemoryLedger::new();
    let engine = world.engine(&memory).start().await.unwrap();
    let request = world.pay_with(&account(PAYER), 1_000, confirmations(2)).await;
    assert!(is_pending(&engine.settle(request.clone()).await.unwrap()));
    world.mine(1);
    sleep(Duration::from_millis(300)).await;
    world.fault(Fault::Hold);
    world.fault(Fault::Reorg { depth: 1, lost: true });
    world.mine(3);
    sleep(Duration::from_millis(600)).await;
    let known = memory.settlement_find(id(&request)).await.unwrap().unwrap();
    assert!(matches!(known.state, SettlementState::Sent { .. }), "{known:?}");
    world.fault(Fault::Release);
    sleep(Duration::from_millis(200)).await;
    world.mine(3);
    until_settled(&memory, &request).await;
    assert_eq!(world.received().await, 1_000);
}

#[tokio::test]
async fn a_failure_that_a_reorganisation_undoes_is_corrected() {
    // The block is seen to be gone, or is already followed by the one that holds the payment.
    for seen in [Duration::from_millis(900), Duration::ZERO] {
        let world = World::open().await;
        let memory = MemoryLedger::new();
        let engine = world.engine(&memory).start().await.unwrap();
        let request = world.pay(&account(PAYER), 1_000).await;
        let slot = genesis::balance_slot(ACCOUNTS[PAYER].address);
        let set = |balance: u64| {
            let params = json!([genesis::USDC, slot, format!("0x{balance:064x}")]);
            world.chain.raw("anvil_setStorageAt", params)
        };
        world.fault(Fault::Hold);
        assert!(is_pending(&engine.settle(request.clone()).await.unwrap()));
        set(0).await.unwrap();
        world.fault(Fault::Release);
        let is_failed = |state: &SettlementState| matches!(state, SettlementState::Failed { .. });
        until(&memory, &request, |found| is_failed(&found.state)).await;
        world.fault(Fault::Hold);
        world.fault(Fault::Reorg { depth: 1, lost: false });
        set(1_000_000).await.unwrap();
        sleep(seen).await;
        world.fault(Fault::Release);
        until_settled(&memory, &request).await;
        assert_eq!((world.received().await, world.lane_nonce(0).await), (1_000, 1));
    }
}

#[tokio::test]
async fn depth_alone_makes_nothing_final() {
    let world = World::with(Mining::Manual).await;
    let memory = MemoryLedger::new();
    let limits = Limits { settle_deadline: Duration::from_millis(250), ..quick() };
    let engine = world.engine(&memory).limits(limits).start().await.unwrap();
    let request = world.pay(&account(PAYER), 1_000).await;
    assert!(is_pending(&engine.settle(request.clone()).await.unwrap()));
    world.mine(1);
    until_settled(&memory, &request).await;
    // It is gone from the chain, and the node that is asked for receipts has not heard of that.
    world.receipts.repeat(true);
    world.fault(Fault::Hold);
    world.fault(Fault::Reorg { depth: 1, lost: true });
    // Each block is seen, so that none is missed: that would be a reason to look again.
    for blocks in [1, 1] {
        world.mine(blocks);
        let before = world.asked.of("eth_getBlockByNumber");
        while world.asked.of("eth_getBlockByNumber") < before + 3 {
            sleep(Duration::from_millis(10)).await;
        }
    }
    let known = memory.settlement_find(id(&request)).await.unwrap().unwrap();
    assert!(is_settled(&known.state) && !is_final(&known.state), "{known:?}");
    world.receipts.repeat(false);
    world.mine(2);
    until(&memory, &request, |found| matches!(found.state, SettlementState::Sent { .. })).await;
    world.fault(Fault::Release);
    sleep(Duration::from_millis(200)).await;
    world.mine(1);
    until_settled(&memory, &request).await;
    assert_eq!(world.received().await, 1_000);
}

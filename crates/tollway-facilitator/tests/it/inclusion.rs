//! When a payment counts as settled: by network, by value, and by what a block that is taken back says about it.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use tollway_core::model::FacilitatorRequest;
use tollway_core::{Amount, Facilitator, UnixTime};
use tollway_devnet::{Config, Fault, Mining, genesis};
use tollway_facilitator::{Inclusion, Limits, OutcomeEndpoints, Profile};
use tollway_ledger::{Ledger, MemoryLedger, SettlementState};

use crate::world::{PAYER, World, account, id, is_pending, is_settled, payment, quick, until, until_settled};

/// When everything is due.
const DUE: UnixTime = UnixTime(4_000_000_000);

fn is_final(state: &SettlementState) -> bool {
    matches!(state, SettlementState::Settled { is_final: true, .. })
}

#[tokio::test]
async fn a_preconfirmation_is_enough_only_where_the_operator_says_so_and_its_block_is_awaited() {
    for inclusion in [Inclusion::Preconfirmation, Inclusion::Block] {
        let config = Config { mining: Mining::Manual, preconfirm: true, ..Config::default() };
        let world = World::with_config(config).await;
        let memory = MemoryLedger::new();
        let profile = Profile { inclusion, ..Profile::usual(&world.network) };
        let engine = world.engine(&memory).profile(world.network.clone(), profile);
        let engine = engine.start().await.unwrap();
        let request = world.pay(&account(PAYER), 1_000).await;
        let answer = engine.settle(request.clone()).await.unwrap();
        assert_eq!(answer.success, inclusion == Inclusion::Preconfirmation, "{answer:?}");
        assert_eq!(world.received().await, 0, "no block holds it");
        world.mine(1);
        until_settled(&memory, &request).await;
        world.mine(6);
        let known = until(&memory, &request, |found| is_final(&found.state)).await;
        let SettlementState::Settled { block_number, block_hash, .. } = known.state else { unreachable!() };
        let block = world.chain.block_by_number(block_number).await.unwrap().unwrap();
        assert_eq!(block_hash, block.hash.to_string(), "the block that it is in, not the one foretold");
        assert_eq!((world.received().await, world.lane_nonce(0).await), (1_000, 1));
    }
}

#[tokio::test]
async fn more_money_takes_more_confirmations() {
    let world = World::with(Mining::Manual).await;
    let memory = MemoryLedger::new();
    let thresholds = vec![(Amount::from(1_000u64), 2)];
    let profile = Profile { thresholds, ..Profile::usual(&world.network) };
    let engine = world.engine(&memory).profile(world.network.clone(), profile).start().await.unwrap();
    let (little, much) = (world.pay(&account(PAYER), 999).await, world.pay(&account(PAYER), 1_000).await);
    let (one, other) = tokio::join!(engine.settle(little.clone()), engine.settle(much.clone()));
    assert!(is_pending(&one.unwrap()) && is_pending(&other.unwrap()));
    // Their transactions may be two: the lane sends the second when the first is included.
    let both = async |blocks: usize| {
        for _ in 0..blocks {
            world.mine(1);
            sleep(Duration::from_millis(150)).await;
        }
    };
    both(1).await;
    until_settled(&memory, &little).await;
    let known = memory.settlement_find(id(&much)).await.unwrap().unwrap();
    assert!(!is_settled(&known.state), "{known:?}");
    both(3).await;
    until_settled(&memory, &much).await;
    assert_eq!(world.received().await, 1_999);
}

#[tokio::test]
async fn who_was_told_of_a_settlement_is_told_when_its_block_is_taken_back() {
    let world = World::with(Mining::Manual).await;
    let memory = MemoryLedger::new();
    let endpoints = OutcomeEndpoints { of_all: vec!["shop".to_owned()], ..OutcomeEndpoints::default() };
    let limits = Limits { settle_deadline: Duration::from_millis(250), ..quick() };
    let engine = world.engine(&memory).limits(limits).outcome_endpoints(endpoints).start().await.unwrap();
    let request = world.pay(&account(PAYER), 1_000).await;
    assert!(is_pending(&engine.settle(request.clone()).await.unwrap()));
    world.mine(1);
    until_settled(&memory, &request).await;
    world.fault(Fault::Hold);
    world.fault(Fault::Reorg { depth: 1, lost: true });
    world.mine(2);
    until(&memory, &request, |found| matches!(found.state, SettlementState::Sent { .. })).await;
    world.fault(Fault::Release);
    sleep(Duration::from_millis(200)).await;
    world.mine(1);
    until_settled(&memory, &request).await;
    world.mine(6);
    until(&memory, &request, |found| is_final(&found.state)).await;
    let told = memory.delivery_claim("shop", DUE, DUE, 10).await.unwrap();
    let word = |body: &str| serde_json::from_str::<serde_json::Value>(body).unwrap()["type"].clone();
    let words: Vec<_> = told.iter().map(|delivery| word(&delivery.body)).collect();
    assert_eq!(
        words,
        ["settlement.settled", "settlement.taken_back", "settlement.settled", "settlement.final"]
    );
    assert_eq!(world.received().await, 1_000);
}

#[tokio::test]
async fn what_waited_for_a_block_is_simulated_again_before_it_is_signed_for() {
    let world = World::with(Mining::Manual).await;
    let memory = MemoryLedger::new();
    let limits = Limits { settle_deadline: Duration::from_secs(10), ..quick() };
    let engine = world.engine(&memory).limits(limits).start().await.unwrap();
    let settle = |request: &FacilitatorRequest| {
        let (engine, request) = (engine.clone(), request.clone());
        tokio::spawn(async move { engine.settle(request).await })
    };
    let first = world.pay(&account(PAYER), 1_000).await;
    let one = settle(&first);
    until(&memory, &first, |found| matches!(found.state, SettlementState::Sent { .. })).await;
    let waiting = world.pay(&world.payer_with(1_000), 1_000).await;
    let other = settle(&waiting);
    until(&memory, &waiting, |found| found.state == SettlementState::Reserved).await;
    // Meanwhile its payer spends what it has.
    let slot = genesis::balance_slot(payment(&waiting).authorization.from);
    let nothing = json!([genesis::USDC, slot, format!("0x{:064x}", 0)]);
    world.chain.raw("anvil_setStorageAt", nothing).await.unwrap();
    world.mine(1);
    assert!(one.await.unwrap().unwrap().success);
    let refused = other.await.unwrap().unwrap();
    assert!(!refused.success && refused.transaction.is_empty(), "{refused:?}");
    world.mine(1);
    assert_eq!((world.received().await, world.lane_nonce(0).await), (1_000, 1), "and costs no gas");
}

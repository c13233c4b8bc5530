//! Several engines on one ledger: lanes are shared out, what one leaves another ends, and nothing moves twice.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use tollway_core::{Clock, Facilitator, FacilitatorError, ManualClock, SystemClock, UnixTime};
use tollway_devnet::{ACCOUNTS, Fault};
use tollway_facilitator::{Engine, EngineBuilder, Limits, OutcomeEndpoints};
use tollway_ledger::{Ledger, MemoryLedger, Role};

use crate::gate::Gate;
use crate::world::{LANES, PAYER, World, account, quick, until_settled};

fn two_lanes(world: &World, ledger: &MemoryLedger, name: &str) -> EngineBuilder {
    let limits = Limits { settle_deadline: Duration::from_secs(10), ..quick() };
    let builder = Engine::builder().network(world.setup(2)).ledger(Arc::new(ledger.clone()));
    builder.name(name).limits(limits)
}

async fn holding(engine: &Engine, lanes: usize) {
    for _ in 0..1_000 {
        if engine.lanes().iter().filter(|lane| lane.is_held).count() == lanes {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", engine.lanes());
}

#[tokio::test]
async fn lanes_are_shared_out_among_the_living_and_one_authorization_moves_once() {
    let world = World::open().await;
    let ledger = MemoryLedger::new();
    let one = two_lanes(&world, &ledger, "one").start().await.unwrap();
    holding(&one, 2).await;
    let other = two_lanes(&world, &ledger, "other").start().await.unwrap();
    holding(&one, 1).await;
    holding(&other, 1).await;
    let request = world.pay(&account(PAYER), 1_000).await;
    let calls = (0..10).map(|n| [&one, &other][n % 2].settle(request.clone()));
    let answers = join_all(calls).await;
    let first = answers[0].as_ref().unwrap();
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer == first)), "{answers:?}");
    assert!(first.success);
    assert_eq!(world.received().await, 1_000);
    assert_eq!(world.lane_nonce(0).await + world.lane_nonce(1).await, 1);
}

#[tokio::test]
async fn a_process_without_a_lane_accepts_and_one_that_has_it_settles() {
    let world = World::open().await;
    let ledger = MemoryLedger::new();
    let limits = Limits { settle_deadline: Duration::from_secs(10), ..quick() };
    let has = world.engine(&ledger).name("has").limits(limits.clone()).start().await.unwrap();
    let has_not = world.engine(&ledger).name("has not").limits(limits).start().await.unwrap();
    assert!(has.lanes()[0].is_held && !has_not.lanes()[0].is_held);
    let request = world.pay(&account(PAYER), 1_000).await;
    assert!(has_not.verify(request.clone()).await.unwrap().is_valid);
    let answer = has_not.settle(request.clone()).await.unwrap();
    assert!(answer.success, "{answer:?}");
    assert_eq!(has.settle(request).await.unwrap(), answer);
    assert_eq!(world.received().await, 1_000);
}

#[tokio::test]
async fn what_nobody_takes_over_in_time_is_abandoned_and_that_is_told() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let gated = Gate::ledger(&memory);
    let has = world.engine(&gated).name("has").start().await.unwrap();
    let of_all = vec!["shop".to_owned()];
    let has_not = world.engine(&memory).name("has not");
    let has_not = has_not.outcome_endpoints(OutcomeEndpoints { of_all, ..OutcomeEndpoints::default() });
    let has_not = has_not.start().await.unwrap();
    assert!(has.lanes()[0].is_held && !has_not.lanes()[0].is_held);
    gated.interposer().shut_before("settlement_adopt");
    let request = world.pay(&account(PAYER), 1_000).await;
    let answer = has_not.settle(request.clone()).await;
    assert!(matches!(answer, Err(FacilitatorError::Busy(_))), "{answer:?}");
    let due = UnixTime(4_000_000_000);
    let told = memory.delivery_claim("shop", due, due, 10).await.unwrap();
    assert!(told.len() == 1 && told[0].body.contains("settlement.abandoned"), "{told:?}");
    gated.interposer().open();
    assert!(has.settle(request).await.unwrap().success, "it may be presented again");
    assert_eq!(world.received().await, 1_000);
}

#[tokio::test]
async fn what_a_process_leaves_in_the_middle_of_its_batches_another_ends() {
    let world = World::open().await;
    let ledger = MemoryLedger::new();
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let one = two_lanes(&world, &ledger, "one").clock(clock.clone()).start().await.unwrap();
    let other = two_lanes(&world, &ledger, "other").clock(clock.clone()).start().await.unwrap();
    holding(&one, 1).await;
    holding(&other, 1).await;
    world.fault(Fault::Hold);
    let mut requests = Vec::new();
    for amount in 1..=20 {
        requests.push(world.pay(&account(PAYER), amount).await);
    }
    let settling: Vec<_> = requests
        .iter()
        .map(|request| {
            let (one, request) = (one.clone(), request.clone());
            tokio::spawn(async move { one.settle(request).await })
        })
        .collect();
    sleep(Duration::from_millis(300)).await;
    settling.iter().for_each(tokio::task::JoinHandle::abort);
    join_all(settling).await;
    drop(one);
    world.fault(Fault::Release);
    // The dead one's time is over; the living says that it lives.
    clock.set(clock.now().plus_seconds(5));
    for request in &requests {
        until_settled(&ledger, request).await;
    }
    assert_eq!(world.received().await, (1..=20).sum::<u64>());
    assert_eq!(ledger.settlement_open_count().await.unwrap(), 0);
    assert!(requests.len() == 20 && !other.lanes().is_empty());
}

#[tokio::test]
async fn a_lane_that_is_anothers_sends_nothing() {
    let world = World::open().await;
    let ledger = MemoryLedger::new();
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let engine = world.engine(&ledger).clock(clock.clone()).start().await.unwrap();
    let (network, address) = (&world.network, ACCOUNTS[LANES[0]].address.to_string());
    // By the clock of the ledger the engine is dead, and another takes its lane before it hears of it.
    clock.set(clock.now().plus_seconds(5));
    let now = clock.now();
    let rival = ledger.member_join(Role::Facilitator, "rival", now, now.plus_seconds(1_000)).await.unwrap();
    assert!(ledger.lane_acquire(network, &address, &rival, now).await.unwrap().is_some());
    let request = world.pay(&account(PAYER), 1_000).await;
    let answer = engine.settle(request).await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!((world.asked.of("eth_sendRawTransaction"), world.received().await), (0, 0));
}

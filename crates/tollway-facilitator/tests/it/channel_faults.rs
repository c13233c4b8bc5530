//! What is done with channels while everything breaks: processes die, answers are lost, blocks are taken back, others are
//! first. It is done once, and never told failed while it was.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use tollway_core::Facilitator;
use tollway_core::model::{FacilitatorRequest, SettleResponse};
use tollway_devnet::Fault;
use tollway_evm::Payment;
use tollway_facilitator::{Engine, Limits};
use tollway_ledger::{Ledger, MemoryLedger, SettlementId, SettlementState};

use crate::gate::Gate;
use crate::shop::{Agent, Shop, patient};
use crate::world::{is_pending, quick};

/// The claim of one channel, all of what is charged.
async fn claim_of(shop: &Shop, agent: &Agent, total: u64) -> FacilitatorRequest {
    shop.claim(&[shop.row(agent, total, total).await]).await
}

/// Asks until it is told done.
async fn until_done(engine: &Engine, request: &FacilitatorRequest) -> SettleResponse {
    let mut last = None;
    for _ in 0..500 {
        match engine.settle(request.clone()).await {
            Ok(answer) if answer.success => return answer,
            answer => last = Some(answer),
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("not within 10 s; it is {last:?}");
}

fn id(request: &FacilitatorRequest) -> SettlementId {
    SettlementId::of(&Payment::check(request, None).unwrap().key())
}

pub(crate) async fn until_sent(ledger: &MemoryLedger, request: &FacilitatorRequest) {
    for _ in 0..1_000 {
        let known = ledger.settlement_find(id(request)).await.unwrap();
        if known.is_some_and(|known| matches!(known.state, SettlementState::Sent { .. })) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("it was not sent within 10 s");
}

/// A facilitator of its own, with another lane and another ledger.
async fn another(shop: &Shop) -> Engine {
    let mut setup = shop.world.setup(2);
    setup.signers.remove(0);
    Engine::builder().network(setup).name("another").limits(patient()).start().await.unwrap()
}

#[tokio::test]
async fn what_a_dying_process_had_signed_is_done_once_by_the_next() {
    for (method, is_after) in [("settlement_sent", false), ("settlement_sent", true)] {
        let shop = Shop::open().await;
        let agent = shop.paying(1_000).await;
        let requests = [
            shop.deposit(&shop.agent(700), 700, 100).await,
            claim_of(&shop, &agent, 400).await,
            shop.refund(&agent, 0, 250).await,
        ];
        let Shop { world, engine, .. } = &shop;
        engine.shutdown(Duration::from_secs(1)).await;
        for request in requests {
            let (memory, nonce) = (MemoryLedger::new(), world.lane_nonce(0).await);
            let gated = Gate::ledger(&memory);
            match is_after {
                true => gated.interposer().shut_after(method),
                false => gated.interposer().shut_before(method),
            }
            let dying = world.engine(&gated).start().await.unwrap();
            let asked = tokio::spawn({
                let (dying, request) = (dying.clone(), request.clone());
                async move { dying.settle(request).await }
            });
            for _ in 0..500 {
                let known = memory.settlement_find(id(&request)).await.unwrap();
                if known.is_some_and(|known| !is_after || !known.transactions.is_empty()) {
                    break;
                }
                sleep(Duration::from_millis(10)).await;
            }
            asked.abort();
            let _ = asked.await;
            drop(dying);
            sleep(Duration::from_millis(20)).await;
            let next = world.engine(&memory).limits(patient()).start().await.unwrap();
            let done = until_done(&next, &request).await;
            assert_eq!(until_done(&next, &request).await.transaction, done.transaction);
            assert_eq!(world.lane_nonce(0).await, nonce + 1, "one transaction");
            next.shutdown(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test]
async fn an_answer_that_came_too_late_is_told_when_it_is_asked_for_again() {
    let shop = Shop::open().await;
    let agent = shop.paying(1_000).await;
    shop.engine.shutdown(Duration::from_secs(1)).await;
    let impatient = shop.world.engine(&MemoryLedger::new()).start().await.unwrap();
    shop.world.fault(Fault::Hold);
    let claim = claim_of(&shop, &agent, 400).await;
    let early = impatient.settle(claim.clone()).await.unwrap();
    assert!(is_pending(&early) && early.amount.is_none(), "{early:?}");
    shop.world.fault(Fault::Release);
    let done = until_done(&impatient, &claim).await;
    assert_eq!((done.transaction, done.amount.as_deref()), (early.transaction, Some("")));
    shop.world.fault(Fault::Hold);
    let early = impatient.settle(shop.pay_out()).await.unwrap();
    assert!(is_pending(&early), "{early:?}");
    let again = impatient.settle(shop.pay_out()).await.unwrap();
    assert_eq!(again.transaction, early.transaction, "it is the same while nothing was paid out");
    shop.world.fault(Fault::Release);
    for _ in 0..500 {
        if shop.world.received().await == 400 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((shop.world.received().await, shop.world.lane_nonce(0).await), (400, 3));
}

#[tokio::test]
async fn a_claim_that_waits_is_replaced_and_is_one_claim() {
    let shop = Shop::open().await;
    let agent = shop.paying(1_000).await;
    shop.engine.shutdown(Duration::from_secs(1)).await;
    let memory = MemoryLedger::new();
    let limits = Limits { bump_after: Duration::from_millis(60), ..quick() };
    let eager = shop.world.engine(&memory).limits(limits).start().await.unwrap();
    shop.world.fault(Fault::Hold);
    let claim = claim_of(&shop, &agent, 400).await;
    assert!(is_pending(&eager.settle(claim.clone()).await.unwrap()));
    for _ in 0..500 {
        let known = memory.settlement_find(id(&claim)).await.unwrap().unwrap();
        if known.transactions.len() > 1 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    shop.world.fault(Fault::Release);
    let done = until_done(&eager, &claim).await;
    let known = memory.settlement_find(id(&claim)).await.unwrap().unwrap();
    assert!(known.transactions.len() > 1 && known.transactions.contains(&done.transaction), "{known:?}");
    assert_eq!((shop.held(&agent).await, shop.world.lane_nonce(0).await), ((1_000, 400), 2));
}

#[tokio::test]
async fn what_a_reorganisation_takes_back_is_done_again_once() {
    for lost in [false, true] {
        let shop = Shop::open().await;
        let agent = shop.paying(1_000).await;
        shop.world.mine(6);
        let claim = claim_of(&shop, &agent, 400).await;
        let before = shop.settle(&claim).await;
        assert!(before.success, "{before:?}");
        shop.world.fault(Fault::Reorg { depth: 1, lost });
        shop.world.mine(1);
        for _ in 0..500 {
            if shop.held(&agent).await == (1_000, 400) {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        let after = until_done(&shop.engine, &claim).await;
        assert_eq!((after.transaction, shop.held(&agent).await), (before.transaction, (1_000, 400)));
        let paid = shop.settle(&shop.pay_out()).await;
        assert_eq!((paid.amount.as_deref(), shop.world.received().await), (Some("400"), 400));
        assert_eq!(shop.world.lane_nonce(0).await, 3, "lost {lost}");
    }
}

#[tokio::test]
async fn two_facilitators_that_are_asked_at_once_claim_and_pay_out_once() {
    let shop = Shop::open().await;
    let other = another(&shop).await;
    let agents = shop.many(4, 1_000).await;
    let rows = join_all(agents.iter().map(|agent| shop.row(agent, 500, 500))).await;
    let claim = shop.claim(&rows).await;
    let (one, two) = tokio::join!(until_done(&shop.engine, &claim), until_done(&other, &claim));
    assert!(one.success && two.success);
    for agent in &agents {
        assert_eq!(shop.held(agent).await, (1_000, 500));
    }
    let (one, two) = tokio::join!(shop.engine.settle(shop.pay_out()), other.settle(shop.pay_out()));
    assert!(
        [&one, &two].iter().any(|answer| answer.as_ref().is_ok_and(|answer| answer.success)),
        "{one:?} {two:?}"
    );
    assert_eq!(shop.world.received().await, 2_000);
    let refund = shop.refund(&agents[0], 500, 500).await;
    let (one, two) = tokio::join!(shop.engine.settle(refund.clone()), other.settle(refund));
    assert!(
        [&one, &two].iter().any(|answer| answer.as_ref().is_ok_and(|answer| answer.success)),
        "{one:?} {two:?}"
    );
    assert_eq!(shop.tokens_of(tollway_evm::Signer::address(&agents[0].key)).await, 500);
    assert!(shop.is_conserved(&agents, 2_000).await);
}

#[tokio::test]
async fn who_was_first_while_ours_waited_has_done_it_and_nothing_is_told_failed() {
    let shop = Shop::open().await;
    let agents = shop.many(2, 1_000).await;
    shop.engine.shutdown(Duration::from_secs(1)).await;
    let memory = MemoryLedger::new();
    let gated = Gate::ledger(&memory);
    let ours = shop.world.engine(&gated).limits(patient()).start().await.unwrap();
    let rows = join_all(agents.iter().map(|agent| shop.row(agent, 400, 400))).await;
    let deposit = shop.deposit(&shop.agent(300), 300, 100).await;
    for request in [deposit, shop.claim(&rows).await, shop.refund(&agents[1], 400, 100).await] {
        gated.interposer().shut_after("settlement_sent");
        let asked = tokio::spawn({
            let (ours, request) = (ours.clone(), request.clone());
            async move { ours.settle(request).await }
        });
        until_sent(&memory, &request).await;
        let rival = shop.front_run(&request).await;
        gated.interposer().open();
        let answer = asked.await.unwrap().unwrap();
        let answer = if answer.success { answer } else { until_done(&ours, &request).await };
        assert_eq!(answer.transaction, rival.to_string(), "{answer:?}");
    }
    assert_eq!((shop.held(&agents[0]).await, shop.held(&agents[1]).await), ((1_000, 400), (900, 400)));
}

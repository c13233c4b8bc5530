//! Background settlement: how much may be owed, who settles it, and what is lost.

use std::sync::Arc;
use std::time::Duration;

use tollway_core::model::SettleResponse;
use tollway_core::{Amount, Clock, ErrorCode, FacilitatorError, ManualClock};
use tollway_ledger::{Ledger, MemoryLedger};
use tollway_seller::{BackgroundLimits, PaywallBuilder, Priced};

use crate::doubles::{Buyer, ScriptedFacilitator, Signed, base, builder, now, pending};
use crate::stall::{Stall, content, fails_at_first, on_ledger};

fn limits(per_payer: &str, in_all: &str) -> impl FnOnce(Priced) -> Priced {
    let limits = BackgroundLimits { per_payer: per_payer.parse().unwrap(), in_all: in_all.parse().unwrap() };
    move |priced| priced.background(limits).unwrap()
}

async fn open(builder: PaywallBuilder, per_payer: &str, in_all: &str) -> Stall {
    Stall::with(builder, limits(per_payer, in_all), content(Duration::ZERO)).await
}

/// Lets background work go on.
async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn failed() -> SettleResponse {
    SettleResponse::failed(base(), Some(ErrorCode::INSUFFICIENT_FUNDS), "the balance is too low")
}

#[tokio::test(start_paused = true)]
async fn the_answer_leaves_before_the_settlement_and_settles_at_once() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let gate = facilitator.settle_gate.acquire_many(1000).await.unwrap();
    let ledger = Arc::new(MemoryLedger::new());
    let stall = open(on_ledger(&facilitator, ledger), "$0.10", "$1").await;
    let signed = stall.sign(&Buyer::new()).await;
    let answer = stall.present(&signed).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "paid content"));
    assert!(answer.settlement().is_none(), "nothing has settled, and nothing says so");
    assert_eq!(answer.header("cache-control"), Some("private"));
    let again = stall.present(&signed).await;
    assert!(again.is_replay() && again.body == answer.body);
    drop(gate);
    pass(1).await;
    assert_eq!((facilitator.calls(), stall.runs()), ((1, 1), 1));
    assert!(stall.present(&signed).await.is_replay(), "settled, and still the same answer");
    assert_eq!(stall.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn above_the_caps_of_a_payer_or_of_all_it_settles_before_the_answer_leaves() {
    for (per_payer, in_all, one_payer) in [("$0.02", "$1", true), ("$1", "$0.02", false)] {
        let facilitator = Arc::new(ScriptedFacilitator::default());
        let ledger = Arc::new(MemoryLedger::new());
        let stall = open(on_ledger(&facilitator, ledger), per_payer, in_all).await;
        let held = facilitator.settle_gate.acquire_many(1000).await.unwrap();
        let buyers = [Buyer::new(), Buyer::new(), Buyer::new()];
        let buyer = |number: usize| if one_payer { &buyers[0] } else { &buyers[number] };
        for number in 0..2 {
            let signed = stall.sign(buyer(number)).await;
            assert!(stall.present(&signed).await.settlement().is_none());
        }
        let third = stall.sign(buyer(2)).await;
        let waits = tokio::time::timeout(Duration::from_secs(1), stall.present(&third)).await;
        assert!(waits.is_err(), "it does not leave unsettled");
        drop(held);
        pass(5).await;
        let signed = stall.sign(buyer(2)).await;
        assert!(stall.present(&signed).await.settlement().is_none(), "what is paid is owed no more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_facilitator_that_is_down_for_a_while_is_asked_until_it_has_settled() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    for _ in 0..2 {
        facilitator.then_settle(Err(FacilitatorError::Unreachable("down".to_owned())));
        facilitator.then_settle(Ok(pending("0xaa")));
        facilitator.then_settle(Err(FacilitatorError::NoAnswer("cut".to_owned())));
    }
    let clock = Arc::new(ManualClock::new(now()));
    let stall =
        open(on_ledger(&facilitator, Arc::new(MemoryLedger::new())).clock(clock.clone()), "$0.01", "$1")
            .await;
    let buyer = Buyer::new();
    let signed = stall.sign(&buyer).await;
    assert!(stall.present(&signed).await.settlement().is_none());
    for _ in 0..200 {
        clock.set(clock.now().plus_seconds(1));
        pass(1).await;
    }
    assert_eq!(
        facilitator.calls(),
        (1, 7),
        "six tries came to nothing, the seventh settled, and there is no eighth"
    );
    assert_eq!(stall.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_an_ended_seller_left_owed_another_settles() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new());
    let clock = Arc::new(ManualClock::new(now()));
    let builder = || on_ledger(&facilitator, Arc::clone(&ledger)).clock(clock.clone());
    let first = open(builder(), "$0.10", "$1").await;
    facilitator.then_settle(Err(FacilitatorError::Unreachable("down".to_owned())));
    let signed = first.sign(&Buyer::new()).await;
    let answer = first.present(&signed).await;
    assert_eq!(answer.status, 200);
    pass(1).await;
    drop(first);
    assert_eq!(facilitator.calls(), (1, 1));
    clock.set(clock.now().plus_seconds(60));
    let second = open(builder(), "$0.10", "$1").await;
    pass(5).await;
    assert_eq!(facilitator.calls(), (1, 2), "the next seller settles what is due");
    let asked = facilitator.last_settle.lock().unwrap().clone().unwrap();
    assert_eq!(asked.payment.payload, signed.payment.payload, "the same payment, word for word");
    assert!(second.present(&signed).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_a_loss_that_stays_counted_against_its_payer() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let stall = open(on_ledger(&facilitator, Arc::new(MemoryLedger::new())), "$0.01", "$1").await;
    let (poor, rich) = (Buyer::new(), Buyer::new());
    let lost = stall.sign(&poor).await;
    facilitator.then_settle(Ok(failed()));
    assert!(stall.present(&lost).await.settlement().is_none());
    pass(1).await;
    let next = stall.sign(&poor).await;
    assert!(stall.present(&next).await.settlement().is_some(), "no more on credit for this payer");
    let other = stall.sign(&rich).await;
    assert!(stall.present(&other).await.settlement().is_none(), "for another there is");
    // Presented again it is asked to pay, and serves nothing more.
    facilitator.then_settle(Ok(failed()));
    assert_eq!(stall.present(&lost).await.status, 402);
    let runs = stall.runs();
    let paid = stall.present(&lost).await;
    assert_eq!((paid.status, stall.runs()), (402, runs), "{}", paid.body);
    assert!(paid.json("rule").contains("has bought this request already"));
    let next = stall.sign(&poor).await;
    assert!(stall.present(&next).await.settlement().is_none(), "what is paid is forgiven");
}

#[tokio::test(start_paused = true)]
async fn a_payment_that_expires_soon_settles_before_its_answer_leaves() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let builder = builder(&facilitator).max_timeout_seconds(59);
    let stall = open(builder, "$0.10", "$1").await;
    let signed = stall.sign(&Buyer::new()).await;
    assert!(stall.present(&signed).await.settlement().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_owes_nothing() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let builder = on_ledger(&facilitator, Arc::new(MemoryLedger::new()));
    let stall = Stall::with(builder, limits("$0.10", "$1"), fails_at_first(1)).await;
    let signed = stall.sign(&Buyer::new()).await;
    assert_eq!(stall.present(&signed).await.status, 502);
    pass(5).await;
    assert_eq!((facilitator.calls(), stall.paywall.reservation_count().await), ((1, 0), Ok(0)));
    assert_eq!(stall.present(&signed).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn one_payment_many_times_at_once_owes_once() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let stall = open(on_ledger(&facilitator, Arc::new(MemoryLedger::new())), "$0.10", "$1").await;
    let signed: Signed = stall.sign(&Buyer::new()).await;
    futures_util::future::join_all((0..50).map(|_| stall.present(&signed))).await;
    pass(5).await;
    assert_eq!((stall.runs(), facilitator.calls()), (1, (1, 1)));
    let asked = facilitator.last_settle.lock().unwrap().clone().unwrap();
    assert_eq!(asked.requirements.amount, Amount::from(10_000u64));
}

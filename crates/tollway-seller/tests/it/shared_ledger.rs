//! Exactly once over a ledger: among processes, through deaths, and when the ledger fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tollway_core::model::X402Version;
use tollway_ledger::{Ledger, MemoryLedger, Role, SqliteLedger};

use crate::doubles::{Buyer, ScriptedFacilitator, Signed, now, pending};
use crate::stall::{Moment, Stall, content, faulty, on_ledger};

/// Other spellings of one authorization: of its nonce, and of its signature.
fn spellings(signed: &Signed) -> Vec<Signed> {
    let nonce = signed.payment.payload["authorization"]["nonce"].as_str().unwrap().to_owned();
    let spelled = |nonce: String| {
        let mut twin = signed.payment.clone();
        twin.payload["authorization"]["nonce"] = nonce.into();
        Signed::of(twin)
    };
    let mixed = nonce[2..].chars().enumerate();
    let mixed = mixed.map(|(at, c)| if at % 2 == 0 { c.to_ascii_uppercase() } else { c });
    let mixed = spelled(format!("0x{}", mixed.collect::<String>()));
    let upper = spelled(format!("0x{}", nonce[2..].to_uppercase()));
    let mut other_version = signed.payment.clone();
    other_version.version = X402Version::V1;
    vec![signed.clone(), upper, mixed, Signed::of(other_version), high_s(signed)]
}

/// The malleable twin of a payment's signature.
pub(crate) fn high_s(signed: &Signed) -> Signed {
    let order = tollway_evm::U256::from_str_radix(
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        16,
    );
    let text = signed.payment.payload["signature"].as_str().unwrap().to_owned();
    let s = tollway_evm::U256::from_str_radix(&text[66..130], 16).unwrap();
    let v = if text.ends_with("1b") { "1c" } else { "1b" };
    let mut twin = signed.payment.clone();
    twin.payload["signature"] = format!("{}{:064x}{v}", &text[..66], order.unwrap() - s).into();
    Signed::of(twin)
}

async fn races(count: usize, rounds: usize, stalls: &[Stall], facilitator: &ScriptedFacilitator) {
    let buyer = Buyer::new();
    for round in 1..=rounds {
        let signed = stalls[0].sign(&buyer).await;
        let spellings = spellings(&signed);
        let presented = (0..count).map(|number| {
            let stall = &stalls[number % stalls.len()];
            stall.present(&spellings[(number / stalls.len()) % spellings.len()])
        });
        let answers = join_all(presented).await;
        let runs: usize = stalls.iter().map(Stall::runs).sum();
        assert_eq!(runs, round, "{count} presentations run the handler once");
        assert_eq!(facilitator.calls().1, round, "and settle once");
        let served = answers.iter().filter(|answer| answer.status == 200 && !answer.is_replay()).count();
        assert_eq!(served, 1);
        for answer in &answers {
            assert!(answer.status == 200 || !answer.body.contains("paid content"), "{answer:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_payload_many_times_at_once_runs_the_handler_once() {
    for count in [10, 50, 200] {
        let facilitator = Arc::new(ScriptedFacilitator::default());
        let stall = Stall::open(on_ledger(&facilitator, Arc::new(MemoryLedger::new()))).await;
        races(count, 50, &[stall], &facilitator).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_payload_at_two_sellers_on_one_ledger_runs_one_handler_once() {
    for count in [10, 50, 200] {
        let facilitator = Arc::new(ScriptedFacilitator::default());
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new());
        let one = Stall::open(on_ledger(&facilitator, Arc::clone(&ledger))).await;
        let other = Stall::open(on_ledger(&facilitator, ledger)).await;
        races(count, 50, &[one, other], &facilitator).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_real_time_on_two_threads_the_handler_runs_once_too() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new());
    let one = Stall::open(on_ledger(&facilitator, Arc::clone(&ledger))).await;
    let other = Stall::open(on_ledger(&facilitator, ledger)).await;
    races(50, 5, &[one, other], &facilitator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sellers_on_one_file_serve_once_and_what_was_sold_outlives_both() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let open = async || {
        let ledger: Arc<dyn Ledger> = Arc::new(SqliteLedger::open(&path).await.unwrap());
        Stall::open(on_ledger(&facilitator, ledger)).await
    };
    let stalls = [open().await, open().await];
    races(30, 3, &stalls, &facilitator).await;
    let signed = stalls[0].sign(&Buyer::new()).await;
    let sold = stalls[0].present(&signed).await;
    drop(stalls);
    let again = open().await.present(&signed).await;
    assert!(again.is_replay() && again.body == sold.body);
    assert_eq!(again.settlement(), sold.settlement());
}

#[tokio::test]
async fn the_high_s_twin_is_refused_before_anything_is_reserved() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let stall = Stall::open(on_ledger(&facilitator, Arc::new(MemoryLedger::new()))).await;
    let signed = stall.sign(&Buyer::new()).await;
    let answer = stall.present(&high_s(&signed)).await;
    assert_eq!((answer.status, answer.json("field").as_str()), (402, "payload.signature"));
    assert_eq!(stall.paywall.reservation_count().await, Ok(0));
    assert_eq!(stall.present(&signed).await.status, 200, "the control");
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_is_down_denies_and_nothing_is_served() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let (ledger, _) = faulty();
    let stall = Stall::open(on_ledger(&facilitator, ledger.clone())).await;
    let signed = stall.sign(&Buyer::new()).await;
    ledger.interposer().is_down.store(true, Ordering::SeqCst);
    let answer = stall.present(&signed).await;
    assert_eq!((answer.status, answer.json("error").as_str()), (503, "ledger_unavailable"));
    assert!(answer.headers.contains_key("retry-after") && !answer.headers.contains_key("payment-required"));
    assert_eq!((stall.runs(), facilitator.calls()), (0, (0, 0)));
    ledger.interposer().is_down.store(false, Ordering::SeqCst);
    assert_eq!(stall.present(&signed).await.status, 200, "the same payment is good when it is over");
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_goes_down_under_the_handler_lets_no_answer_out() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let (ledger, _) = faulty();
    let stall = Stall::open(on_ledger(&facilitator, ledger.clone())).await;
    let signed = stall.sign(&Buyer::new()).await;
    let faults = ledger.interposer();
    let down = async {
        tokio::time::sleep(Duration::from_millis(25)).await;
        faults.is_down.store(true, Ordering::SeqCst);
    };
    let (answer, ()) = tokio::join!(stall.present(&signed), down);
    assert_eq!((answer.status, answer.json("error").as_str()), (503, "ledger_unavailable"));
    assert!(answer.json("rule").contains("present the same payment again"), "{}", answer.body);
    faults.is_down.store(false, Ordering::SeqCst);
    // The end is written in the background; then it settles first, and is served once.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let again = stall.present(&signed).await;
    assert_eq!((again.status, again.body.as_str()), (200, "paid content"));
    assert_eq!((stall.runs(), facilitator.calls()), (2, (1, 2)));
    assert!(stall.present(&signed).await.is_replay());
}

#[tokio::test(start_paused = true)]
async fn whichever_write_fails_nothing_leaves_unrecorded_and_the_payment_serves_once() {
    for (operation, moment) in [
        ("reservation_insert", Moment::Before),
        ("reservation_insert", Moment::After),
        ("reservation_finish", Moment::Before),
        ("reservation_finish", Moment::After),
    ] {
        for failures in [1, 20] {
            let facilitator = Arc::new(ScriptedFacilitator::default());
            let (ledger, memory) = faulty();
            let stall = Stall::open(on_ledger(&facilitator, ledger.clone())).await;
            let signed = stall.sign(&Buyer::new()).await;
            (0..failures).for_each(|_| ledger.interposer().next(operation, moment));
            let mut served = 0;
            for _ in 0..100 {
                let answer = stall.present(&signed).await;
                assert!(matches!(answer.status, 200 | 409 | 503), "{answer:?}");
                if answer.status == 200 && !answer.is_replay() {
                    served += 1;
                    let claim = memory.reservation_count().await;
                    assert_eq!(claim, Ok(1), "{operation}: what was served is recorded");
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            assert_eq!(served, 1, "{operation} {moment:?} {failures}: served once");
            assert!(stall.runs() <= 2, "an answer that could not leave is all that is lost");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_was_lost_is_given_back() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let (ledger, memory) = faulty();
    let stall = Stall::open(on_ledger(&facilitator, ledger.clone())).await;
    let signed = stall.sign(&Buyer::new()).await;
    ledger.interposer().next("reservation_insert", Moment::After);
    assert_eq!(stall.present(&signed).await.status, 503);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(memory.reservation_count().await, Ok(0));
    assert_eq!(stall.present(&signed).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_seller_held_settles_first_and_is_served_once() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let memory = Arc::new(MemoryLedger::new());
    let slow = content(Duration::from_secs(3600));
    let named = |name: &str| on_ledger(&facilitator, memory.clone()).name(name);
    let dying = Stall::with(named("shop"), |priced| priced, slow).await;
    let signed = dying.sign(&Buyer::new()).await;
    let task = {
        let (dying, signed) = (dying.clone(), signed.clone());
        tokio::spawn(async move { dying.present(&signed).await })
    };
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(dying.runs(), 1);
    // Another starts under its name: it is as dead as if it had been killed.
    let heir = Stall::open(named("shop")).await;
    let answer = heir.present(&signed).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "paid content"));
    assert_eq!((heir.runs(), facilitator.calls()), (1, (1, 1)), "settled, never verified again");
    assert!(heir.present(&signed).await.is_replay());
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn who_was_taken_over_from_must_not_deliver() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let memory = Arc::new(MemoryLedger::new());
    let named = || on_ledger(&facilitator, memory.clone()).name("shop");
    let slow = Stall::with(named(), |priced| priced, content(Duration::from_secs(2))).await;
    let signed = slow.sign(&Buyer::new()).await;
    let late = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let heir = Stall::open(named()).await;
        heir.present(&signed).await
    };
    let (fenced, heir) = tokio::join!(slow.present(&signed), late);
    assert_eq!((heir.status, heir.body.as_str()), (200, "paid content"));
    assert_eq!(fenced.status, 409, "{fenced:?}");
    assert!(!fenced.body.contains("paid content"));
    let denied = slow.present(&slow.sign(&Buyer::new()).await).await;
    // Its next heartbeat tells it; until then the ledger would.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = slow.present(&slow.sign(&Buyer::new()).await).await;
    assert_eq!((after.status, after.json("error").as_str()), (503, "ledger_unavailable"), "{denied:?}");
}

#[tokio::test(start_paused = true)]
async fn a_seller_that_cannot_renew_denies_and_comes_back_as_somebody_new() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let (ledger, memory) = faulty();
    let stall = Stall::open(on_ledger(&facilitator, ledger.clone())).await;
    let buyer = Buyer::new();
    ledger.interposer().is_down.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(stall.present(&stall.sign(&buyer).await).await.status, 503);
    ledger.interposer().is_down.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(stall.present(&stall.sign(&buyer).await).await.status, 200);
    assert_eq!(memory.member_list(Role::Seller, now()).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_seller_that_ends_leaves_the_ledger() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let memory = Arc::new(MemoryLedger::new());
    let stall = Stall::open(on_ledger(&facilitator, memory.clone())).await;
    assert_eq!(memory.member_list(Role::Seller, now()).await.unwrap().len(), 1);
    drop(stall);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(memory.member_list(Role::Seller, now()).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_purchase_is_two_writes_and_no_read() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let counted =
        Arc::new(tollway_ledger::Interposed::new(Arc::new(MemoryLedger::new()), Counter::default()));
    let stall = Stall::open(on_ledger(&facilitator, counted.clone())).await;
    let signed = stall.sign(&Buyer::new()).await;
    // What it does when it starts is not the purchase's.
    tokio::time::sleep(Duration::from_millis(1)).await;
    counted.interposer().0.lock().unwrap().clear();
    assert_eq!(stall.present(&signed).await.status, 200);
    assert_eq!(*counted.interposer().0.lock().unwrap(), ["reservation_insert", "reservation_finish"]);
}

#[derive(Debug, Default)]
struct Counter(std::sync::Mutex<Vec<&'static str>>);

impl tollway_ledger::Interposer for Counter {
    fn before(
        &self,
        operation: &'static str,
        _: bool,
    ) -> tollway_core::BoxFuture<'_, Result<(), tollway_ledger::LedgerError>> {
        self.0.lock().unwrap().push(operation);
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_request_frees_or_keeps_its_reservation_rightly() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let memory = Arc::new(MemoryLedger::new());
    let stall = Stall::open(on_ledger(&facilitator, memory.clone())).await;
    let buyer = Buyer::new();
    let hang_up = async |signed: &Signed, after_ms: u64| {
        let patience = Duration::from_millis(after_ms);
        assert!(tokio::time::timeout(patience, stall.present(signed)).await.is_err());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    // In the handler: nothing was settled.
    let free = stall.sign(&buyer).await;
    hang_up(&free, 25).await;
    assert_eq!(memory.reservation_count().await, Ok(0));
    // In the settlement: its fate is asked for first.
    let held = stall.sign(&buyer).await;
    facilitator.then_settle(Ok(pending("0xaa")));
    facilitator.then_settle(Ok(pending("0xaa")));
    hang_up(&held, 55).await;
    assert_eq!(memory.reservation_count().await, Ok(1));
    let settles = facilitator.calls().1;
    assert_eq!(stall.present(&held).await.status, 200);
    assert_eq!(facilitator.calls(), (2, settles + 1));
}

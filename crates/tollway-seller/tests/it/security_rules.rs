//! The rules that published x402 systems were measured by, each as one test over every flow. Of the facilitator's own
//! (bounded sponsorship, verifying again at settlement, only what is understood) the tests are with the engine.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tollway_core::model::{
    Accepted, FacilitatorRequest, PaymentRequired, PaymentRequirements, SettleResponse, X402Version,
};
use tollway_core::{BoxFuture, BuyerScheme, ErrorCode, Network, SettlementWitness, UnixTime, Witnessed};
use tollway_ledger::MemoryLedger;
use tollway_seller::{BackgroundLimits, PaywallBuilder, Priced};

use crate::doubles::{Buyer, ScriptedFacilitator, Signed, base, now};
use crate::stall::{Stall, URL, content, faulty, on_ledger};

/// Makes an offer another.
type Change = fn(&mut PaymentRequirements);

/// When the money moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Authorization,
    Upfront,
    Background,
}

const FLOWS: [Flow; 3] = [Flow::Authorization, Flow::Upfront, Flow::Background];

impl Flow {
    fn refine(self, priced: Priced) -> Priced {
        let limits =
            || BackgroundLimits { per_payer: "$0.01".parse().unwrap(), in_all: "$1".parse().unwrap() };
        match self {
            Self::Authorization => priced,
            Self::Upfront => priced.upfront(),
            Self::Background => priced.background(limits()).unwrap(),
        }
    }

    async fn open_with(self, builder: PaywallBuilder) -> Stall {
        Stall::with(builder, |priced| self.refine(priced), content(Duration::from_millis(5))).await
    }

    async fn open(self) -> (Stall, Arc<ScriptedFacilitator>) {
        let facilitator = Arc::new(ScriptedFacilitator::default());
        let builder = on_ledger(&facilitator, Arc::new(MemoryLedger::new()));
        (self.open_with(builder).await, facilitator)
    }
}

/// Presents what must be refused before anybody is asked and anything is reserved.
async fn refused(flow: Flow, stall: &Stall, facilitator: &ScriptedFacilitator, what: &str, payment: &Signed) {
    let answer = stall.present(payment).await;
    assert!(matches!(answer.status, 400 | 402), "{flow:?}, {what}: {answer:?}");
    assert!(!answer.json("field").is_empty(), "{flow:?}, {what}: names no field");
    assert_eq!((stall.runs(), facilitator.calls()), (0, (0, 0)), "{flow:?}, {what}");
    assert_eq!(stall.paywall.reservation_count().await, Ok(0), "{flow:?}, {what}");
}

async fn sign(required: &PaymentRequired, at: UnixTime) -> Signed {
    Signed::of(Buyer::new().scheme.sign(required, &required.accepts[0], at).await.unwrap())
}

/// SR1: what was signed is bound to what was required, in the JSON and in the EIP-712 domain.
#[tokio::test]
async fn sr1_a_payment_is_bound_to_the_requirements_and_to_the_domain() {
    const ELSEWHERE: &str = "0x0000000000000000000000000000000000000001";
    let changes: [(&str, Change); 7] = [
        ("amount", |offer| offer.amount = 9_999u64.into()),
        ("payTo", |offer| offer.pay_to = ELSEWHERE.to_owned()),
        ("asset", |offer| offer.asset = ELSEWHERE.to_owned()),
        ("network", |offer| offer.network = Network::evm(137)),
        ("timeout", |offer| offer.max_timeout_seconds = 1),
        ("domain name", |offer| {
            offer.extra.insert("name".to_owned(), "USDC".into());
        }),
        ("domain version", |offer| {
            offer.extra.insert("version".to_owned(), "1".into());
        }),
    ];
    for flow in FLOWS {
        let (stall, facilitator) = flow.open().await;
        for (what, change) in changes {
            let mut required = stall.required();
            change(&mut required.accepts[0]);
            let honest = sign(&required, now()).await;
            refused(flow, &stall, &facilitator, what, &honest).await;
            // Signed for that, and said to be for this. How long it may take is in the offer only.
            let mut lying = honest.payment.clone();
            lying.accepted = Accepted::Offer(Box::new(stall.required().accepts[0].clone()));
            if what != "timeout" {
                refused(flow, &stall, &facilitator, what, &Signed::of(lying)).await;
            }
        }
        let good = sign(&stall.required(), now()).await;
        assert_eq!(stall.present(&good).await.status, 200, "{flow:?}: the control");
    }
}

/// SR2: the signature is authentic, has one spelling, and means off chain what it means on chain.
#[tokio::test]
async fn sr2_only_the_payers_own_signature_in_its_one_spelling_counts() {
    for flow in FLOWS {
        let (stall, facilitator) = flow.open().await;
        let signed = sign(&stall.required(), now()).await;
        let other = sign(&stall.required(), now()).await;
        let text = signed.payment.payload["signature"].as_str().unwrap().to_owned();
        let with = |signature: Value| {
            let mut forged = signed.payment.clone();
            forged.payload["signature"] = signature;
            Signed::of(forged)
        };
        for (what, signature) in [
            ("nobody's", format!("0x{}", "11".repeat(65)).into()),
            ("another's", other.payment.payload["signature"].clone()),
            ("short", text[..130].into()),
            ("of a contract", format!("{text}{}", "00".repeat(64)).into()),
            ("empty", "0x".into()),
            ("none", Value::Null),
        ] {
            refused(flow, &stall, &facilitator, what, &with(signature)).await;
        }
        refused(flow, &stall, &facilitator, "high s", &crate::shared_ledger::high_s(&signed)).await;
        let mut claimed = signed.payment.clone();
        claimed.payload["authorization"]["from"] = other.payment.payload["authorization"]["from"].clone();
        refused(flow, &stall, &facilitator, "in another's name", &Signed::of(claimed)).await;
        assert_eq!(stall.present(&signed).await.status, 200, "{flow:?}: the control");
    }
}

/// SR3: only within its time window.
#[tokio::test]
async fn sr3_a_payment_counts_only_in_its_time() {
    for flow in FLOWS {
        let (stall, facilitator) = flow.open().await;
        let required = stall.required();
        let long_ago = sign(&required, UnixTime(now().0 - 5_000)).await;
        refused(flow, &stall, &facilitator, "expired long ago", &long_ago).await;
        let just_now = sign(&required, UnixTime(now().0 - 320)).await;
        refused(flow, &stall, &facilitator, "expired just now", &just_now).await;
        let mut first_version = stall.offers.payment_required(X402Version::V1, URL, None);
        first_version.version = X402Version::V1;
        let early = sign(&first_version, now().plus_seconds(10_000)).await;
        refused(flow, &stall, &facilitator, "not yet", &early).await;
        let good = sign(&required, now()).await;
        assert_eq!(stall.present(&good).await.status, 200, "{flow:?}: the control");
    }
}

/// SR4: a settlement is what the transaction did, not the word "success".
#[tokio::test(start_paused = true)]
async fn sr4_success_is_what_the_transaction_shows() {
    let stranger = "0x0000000000000000000000000000000000000001";
    let lies = [
        ("no transaction", SettleResponse { payer: None, ..SettleResponse::settled(base(), "", "") }),
        ("another network", SettleResponse::settled(Network::evm(1), stranger, "0xaa")),
        ("another payer", SettleResponse::settled(base(), stranger, "0xaa")),
        ("another's hash", SettleResponse { payer: None, ..SettleResponse::settled(base(), "", "0xdead") }),
    ];
    for flow in FLOWS {
        for (what, lie) in &lies {
            let facilitator = Arc::new(ScriptedFacilitator::default());
            let witness = Arc::new(Ledgerless { lie: "0xdead" });
            let builder = on_ledger(&facilitator, Arc::new(MemoryLedger::new()))
                .confirm_settlements(witness, "$0.001".parse().unwrap());
            let stall = flow.open_with(builder).await;
            let buyer = Buyer::new();
            let signed = stall.sign(&buyer).await;
            facilitator.then_settle(Ok(lie.clone()));
            let answer = stall.present(&signed).await;
            if flow == Flow::Background {
                // It left before the lie; what it is owed is not paid by one.
                tokio::time::sleep(Duration::from_secs(1)).await;
                facilitator.then_settle(Ok(lie.clone()));
                let next = stall.present(&stall.sign(&buyer).await).await;
                assert_eq!(next.status, 502, "{what}: this payer owes still");
                assert!(!next.body.contains("paid content"), "{what}");
            } else {
                assert_eq!(answer.status, 502, "{flow:?}, {what}");
                assert!(!answer.body.contains("paid content"), "{flow:?}, {what}");
                assert_eq!(stall.paywall.reservation_count().await, Ok(1), "{flow:?}, {what}: held");
                assert_eq!(stall.present(&signed).await.status, 200, "{flow:?}, {what}: the truth is served");
            }
        }
    }
}

/// Sees what everybody says, except for one hash.
#[derive(Debug)]
struct Ledgerless {
    lie: &'static str,
}

impl SettlementWitness for Ledgerless {
    fn covers(&self, _: &Network) -> bool {
        true
    }

    fn confirm<'a>(&'a self, _: &'a FacilitatorRequest, transaction: &'a str) -> BoxFuture<'a, Witnessed> {
        let is_lie = transaction == self.lie;
        Box::pin(std::future::ready(if is_lie { Witnessed::Disproved } else { Witnessed::Proved }))
    }
}

/// SR5: what cannot settle is refused before anything is spent on it: no price of nothing, no nonce twice, nothing that
/// is about to expire.
#[tokio::test(start_paused = true)]
async fn sr5_what_cannot_settle_fails_fast() {
    for flow in FLOWS {
        let (stall, facilitator) = flow.open().await;
        assert!(stall.paywall.price("$0").is_err(), "a price of nothing is none");
        let dying = sign(&stall.required(), UnixTime(now().0 - 298)).await;
        refused(flow, &stall, &facilitator, "about to expire", &dying).await;
        let mut nothing = stall.required();
        nothing.accepts[0].amount = 0u64.into();
        let nothing = sign(&nothing, now()).await;
        refused(flow, &stall, &facilitator, "zero", &nothing).await;
        let good = sign(&stall.required(), now()).await;
        assert_eq!(stall.present(&good).await.status, 200);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let asked = facilitator.calls();
        stall.present(&good).await;
        assert_eq!((facilitator.calls(), stall.runs()), (asked, 1), "{flow:?}: a used nonce asks nobody");
    }
}

/// Server-SR1: released only after settlement (in the background: after the debt is written down), and one authorization
/// is one release.
#[tokio::test(start_paused = true)]
async fn server_sr1_release_after_settlement_and_once() {
    for flow in FLOWS {
        let facilitator = Arc::new(ScriptedFacilitator::default());
        let (ledger, _) = faulty();
        let stall = flow.open_with(on_ledger(&facilitator, ledger.clone())).await;
        let signed = stall.sign(&Buyer::new()).await;
        if flow == Flow::Background {
            let down = async {
                tokio::time::sleep(Duration::from_millis(2)).await;
                ledger.interposer().is_down.store(true, Ordering::SeqCst);
            };
            let (answer, ()) = tokio::join!(stall.present(&signed), down);
            assert_eq!(answer.status, 503, "no debt written, no release");
            ledger.interposer().is_down.store(false, Ordering::SeqCst);
        } else {
            let gate = facilitator.settle_gate.acquire_many(1000).await.unwrap();
            let unsettled = tokio::time::timeout(Duration::from_secs(1), stall.present(&signed)).await;
            assert!(unsettled.is_err(), "{flow:?}: not settled, not released");
            assert_eq!(stall.runs(), usize::from(flow == Flow::Authorization));
            drop(gate);
        }
        tokio::time::sleep(Duration::from_secs(6)).await;
        let mut released = 0;
        for _ in 0..10 {
            let answers = futures_util::future::join_all((0..5).map(|_| stall.present(&signed))).await;
            released += answers.iter().filter(|answer| answer.status == 200 && !answer.is_replay()).count();
        }
        assert_eq!(released, 1, "{flow:?}");
    }
}

/// Server-SR2: a settlement that fails is rolled back: nothing is released, and nothing stays granted.
#[tokio::test(start_paused = true)]
async fn server_sr2_a_failed_settlement_takes_back_what_it_was_for() {
    let failed =
        || SettleResponse::failed(base(), Some(ErrorCode::INSUFFICIENT_FUNDS), "the balance is too low");
    for flow in FLOWS {
        let (stall, facilitator) = flow.open().await;
        let buyer = Buyer::new();
        let signed = stall.sign(&buyer).await;
        facilitator.then_settle(Ok(failed()));
        let answer = stall.present(&signed).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if flow == Flow::Background {
            // What has left cannot be taken back; that it was lent to this payer is.
            facilitator.then_settle(Ok(failed()));
            let next = stall.present(&stall.sign(&buyer).await).await;
            assert_eq!(next.status, 402, "no more on credit");
            assert!(!next.body.contains("paid content"));
        } else {
            assert_eq!(answer.status, 402, "{flow:?}");
            assert!(!answer.body.contains("paid content"), "{flow:?}");
            assert!(!answer.settlement().unwrap().success);
            let runs = stall.runs();
            facilitator.then_settle(Ok(failed()));
            assert_eq!(stall.present(&signed).await.status, 402, "{flow:?}: it is asked to settle first");
            assert_eq!(stall.runs(), runs, "{flow:?}: and nothing runs for it");
            assert_eq!(stall.present(&signed).await.status, 200, "{flow:?}: until it has settled");
        }
    }
}

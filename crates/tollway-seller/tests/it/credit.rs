//! Credits: what was paid upfront and not served may be redeemed once, by who paid.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use futures_util::future::join_all;
use tollway_core::{Clock, Credit, Fingerprint, ManualClock, UnixTime};
use tollway_evm::exact::ExactBuyer;
use tollway_evm::{AssetTable, LocalSigner, Signer, credit};
use tollway_ledger::MemoryLedger;

use crate::doubles::{Buyer, ScriptedFacilitator, Signed, builder, now};
use crate::stall::{Answer, Stall, fails_at_first, on_ledger};

/// A payer whose key a test can use.
struct Payer {
    signer: Arc<LocalSigner>,
    buyer: Buyer,
}

impl Payer {
    fn new() -> Self {
        let signer = Arc::new(LocalSigner::random().unwrap());
        let scheme = ExactBuyer::new(Arc::clone(&signer) as Arc<dyn Signer>, AssetTable::known());
        let http = reqwest::Client::new();
        Self { signer, buyer: Buyer { scheme, http } }
    }

    /// The header that redeems `sealed` for a request.
    async fn redeem(&self, sealed: &str, method: &str, path: &str, until: UnixTime) -> String {
        let url = format!("https://api.example.com{path}").parse().unwrap();
        let request = Fingerprint::of(method, &url, b"");
        let given = Credit::decode(sealed.split('.').next().unwrap()).unwrap();
        let preimage = credit::preimage(&given, sealed, request, until).unwrap();
        let signature = self.signer.sign(&preimage).await.unwrap();
        format!("{sealed}.{}.{signature}", until.0)
    }
}

/// A shop that fails `failures` times, and a payer who paid and was not served.
async fn unserved(failures: usize) -> (Stall, Arc<ScriptedFacilitator>, Payer, Signed, String) {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let builder = on_ledger(&facilitator, Arc::new(MemoryLedger::new()));
    let stall = Stall::with(builder, |priced| priced.upfront(), fails_at_first(failures)).await;
    let payer = Payer::new();
    let signed = stall.sign(&payer.buyer).await;
    let answer = stall.present(&signed).await;
    assert_eq!(answer.status, 502);
    assert!(answer.settlement().unwrap().success, "the payer learns what was charged");
    let sealed = answer.header("payment-credit").unwrap().to_owned();
    (stall, facilitator, payer, signed, sealed)
}

async fn send(stall: &Stall, path: &str, header: &str) -> Answer {
    stall.send(Method::GET, path, &[("payment-credit", header)], "").await
}

fn soon() -> UnixTime {
    now().plus_seconds(60)
}

#[tokio::test]
async fn a_credit_buys_another_request_of_the_seller_once() {
    let (stall, facilitator, payer, signed, sealed) = unserved(1).await;
    let header = payer.redeem(&sealed, "GET", "/other", soon()).await;
    let answer = send(&stall, "/other", &header).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "content"));
    assert!(answer.settlement().unwrap().success, "by the transaction that paid");
    let again = send(&stall, "/other", &header).await;
    assert!(again.is_replay() && again.body == "content");
    let elsewhere = payer.redeem(&sealed, "GET", "/data", soon()).await;
    let elsewhere = send(&stall, "/data", &elsewhere).await;
    assert_eq!((elsewhere.status, elsewhere.json("error").as_str()), (402, "invalid_payment_credit"));
    let by_payment = stall.present(&signed).await;
    assert_eq!((by_payment.status, stall.runs()), (402, 2), "nor by the payment itself");
    assert_eq!(facilitator.calls(), (1, 1), "nothing is asked and nothing charged");
}

#[tokio::test]
async fn a_payment_that_was_presented_again_leaves_no_credit() {
    let (stall, _, payer, signed, sealed) = unserved(1).await;
    assert_eq!(stall.present(&signed).await.status, 200);
    let header = payer.redeem(&sealed, "GET", "/other", soon()).await;
    assert_eq!(send(&stall, "/other", &header).await.status, 402);
    assert_eq!(stall.runs(), 2);
}

#[tokio::test]
async fn a_credit_survives_a_handler_that_fails_again() {
    let (stall, _, payer, _, sealed) = unserved(3).await;
    for _ in 0..2 {
        let header = payer.redeem(&sealed, "GET", "/data", soon()).await;
        let answer = send(&stall, "/data", &header).await;
        assert_eq!((answer.status, answer.header("payment-credit")), (502, Some(sealed.as_str())));
    }
    let header = payer.redeem(&sealed, "GET", "/data", soon()).await;
    assert_eq!(send(&stall, "/data", &header).await.body, "content");
}

#[tokio::test]
async fn only_its_payer_redeems_a_credit_and_only_for_the_request_signed() {
    let (stall, _, payer, _, sealed) = unserved(1).await;
    let thief = Payer::new().redeem(&sealed, "GET", "/other", soon()).await;
    let elsewhere = payer.redeem(&sealed, "GET", "/data", soon()).await;
    let other_method = payer.redeem(&sealed, "POST", "/other", soon()).await;
    for header in [thief, elsewhere, other_method] {
        let answer = send(&stall, "/other", &header).await;
        assert_eq!((answer.status, answer.json("field").as_str()), (402, "PAYMENT-CREDIT"));
        assert!(answer.json("rule").contains("signed by its payer"), "{}", answer.body);
    }
    assert_eq!(stall.runs(), 1);
    let header = payer.redeem(&sealed, "GET", "/other", soon()).await;
    assert_eq!(send(&stall, "/other", &header).await.status, 200, "the control");
}

#[tokio::test]
async fn a_credit_that_was_touched_is_refused() {
    let (stall, _, payer, signed, sealed) = unserved(1).await;
    let (body, seal) = sealed.split_once('.').unwrap();
    let mut richer = Credit::decode(body).unwrap();
    richer.amount = 1_000_000u64.into();
    let forged = payer.redeem(&format!("{}.{seal}", richer.encode()), "GET", "/other", soon()).await;
    let good = payer.redeem(&sealed, "GET", "/other", soon()).await;
    let far = payer.redeem(&sealed, "GET", "/other", now().plus_seconds(100_000)).await;
    let late = payer.redeem(&sealed, "GET", "/other", UnixTime(now().0 - 1)).await;
    for (header, status) in [
        (forged.as_str(), 402),
        (&far, 402),
        (&late, 402),
        (&good[..good.len() - 2], 400),
        (&good[..good.len() - 140], 400),
        (&sealed, 400),
        ("", 400),
        ("a.YmI.1.0x", 402),
        (&format!("{good}.x"), 400),
        (&"x".repeat(5_000), 400),
    ] {
        let answer = send(&stall, "/other", header).await;
        assert_eq!(
            (answer.status, answer.json("field").as_str()),
            (status, "PAYMENT-CREDIT"),
            "{header:.40}"
        );
    }
    let both = [("payment-credit", good.as_str()), (signed.name, signed.value.as_str())];
    assert_eq!(stall.send(Method::GET, "/data", &both, "").await.status, 400);
    assert_eq!(stall.runs(), 1);
}

#[tokio::test]
async fn a_credit_covers_no_more_than_was_paid_and_no_other_seller() {
    let (_, facilitator, payer, _, sealed) = unserved(1).await;
    let header = payer.redeem(&sealed, "GET", "/data", soon()).await;
    let stranger = Stall::open(builder(&facilitator)).await;
    let answer = send(&stranger, "/data", &header).await;
    assert_eq!((answer.status, stranger.runs()), (402, 0), "another ledger, another seal");

    let ledger = Arc::new(MemoryLedger::new());
    let cheap =
        Stall::with(on_ledger(&facilitator, ledger.clone()), |priced| priced.upfront(), fails_at_first(1))
            .await;
    let answer = cheap.present(&cheap.sign(&payer.buyer).await).await;
    let sealed = answer.header("payment-credit").unwrap().to_owned();
    let paywall = on_ledger(&facilitator, ledger).start().await.unwrap();
    let dear = paywall.price("$0.02").unwrap();
    let app = axum::Router::new().route("/data", axum::routing::get(|| async { "dear" }).layer(dear));
    let header = payer.redeem(&sealed, "GET", "/data", soon()).await;
    let request = axum::http::Request::get("/data").header("payment-credit", header);
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response = tower::ServiceExt::oneshot(app, request).await.unwrap();
    assert_eq!(response.status(), 402);
}

#[tokio::test(start_paused = true)]
async fn a_credit_and_its_payment_at_once_many_times_buy_once() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let ledger = Arc::new(MemoryLedger::new());
    let slow_after_failure: crate::stall::Handler = Arc::new(|run| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            match run {
                0 => axum::response::IntoResponse::into_response(axum::http::StatusCode::BAD_GATEWAY),
                _ => axum::response::IntoResponse::into_response("content"),
            }
        })
    });
    let stall =
        Stall::with(on_ledger(&facilitator, ledger), |priced| priced.upfront(), slow_after_failure).await;
    let payer = Payer::new();
    let signed = stall.sign(&payer.buyer).await;
    let sealed = stall.present(&signed).await.header("payment-credit").unwrap().to_owned();
    let data = payer.redeem(&sealed, "GET", "/data", soon()).await;
    let other = payer.redeem(&sealed, "GET", "/other", soon()).await;
    let presented = (0..60).map(|number| {
        let (stall, signed, data, other) = (&stall, &signed, &data, &other);
        async move {
            match number % 3 {
                0 => stall.present(signed).await,
                1 => send(stall, "/data", data).await,
                _ => send(stall, "/other", other).await,
            }
        }
    });
    let answers = join_all(presented).await;
    assert_eq!(stall.runs(), 2, "the failure, and one success");
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(facilitator.calls().0, 1);
}

#[tokio::test]
async fn a_credit_is_over_after_its_time() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let clock = Arc::new(ManualClock::new(now()));
    let builder = on_ledger(&facilitator, Arc::new(MemoryLedger::new())).clock(clock.clone());
    let stall = Stall::with(builder, |priced| priced.upfront(), fails_at_first(1)).await;
    let payer = Payer::new();
    let signed = stall.sign(&payer.buyer).await;
    let sealed = stall.present(&signed).await.header("payment-credit").unwrap().to_owned();
    clock.set(clock.now().plus_seconds(24 * 3600 - 30));
    let header = payer.redeem(&sealed, "GET", "/data", clock.now().plus_seconds(600)).await;
    clock.set(clock.now().plus_seconds(31));
    assert_eq!(send(&stall, "/data", &header).await.status, 402);
    clock.set(UnixTime(clock.now().0 - 31));
    assert_eq!(send(&stall, "/data", &header).await.status, 200, "half a minute earlier it was good");
}

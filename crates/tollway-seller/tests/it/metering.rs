//! Answers that are charged by use: whole, and part by part while they leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt;
use tollway_core::model::{PaymentPayload, SettleResponse};
use tollway_core::{Amount, BoxFuture, BuyerChannelScheme, Clock, ManualClock, wire};
use tollway_ledger::{Channel, Interposed, Interposer, Ledger, LedgerError, MemoryLedger};
use tollway_seller::{Meter, PaidBody};
use tower::ServiceExt;

use super::channel_double::{
    Answer, DELAY_SECONDS, DEPOSIT, NOW, PRICE, Payer, Shop, Vault, builder, offer, paying,
};
use super::doubles::base;

/// What a part costs, atomic units: two of them fit into one voucher, and a half.
const PART: u64 = 4_000;

/// Sells by the meter: `/words` whole, `/story` in parts.
struct Press {
    shop: Shop,
    ledger: Arc<MemoryLedger>,
    app: Router,
}

async fn words(Extension(meter): Extension<Meter>) -> Result<String, StatusCode> {
    // A third of an atomic unit each.
    let tariff = meter.tariff("$0.000001", 3)?;
    for _ in 0..100 {
        meter.charge(&tariff, 10).await?;
    }
    Ok(format!("{} used", meter.used()))
}

async fn greedy(Extension(meter): Extension<Meter>) -> Result<String, StatusCode> {
    meter.charge(&meter.tariff("$0.01", 1)?, 1).await?;
    meter.charge(&meter.tariff("$0.000001", 1)?, 1).await?;
    Ok("never".to_owned())
}

async fn story(Extension(meter): Extension<Meter>) -> Result<Response<PaidBody>, StatusCode> {
    let parts = (1..=5).map(|number| Ok::<_, std::io::Error>(Bytes::from(format!("part {number}\n"))));
    let answer = Response::new(Body::from_stream(stream::iter(parts)));
    let each = meter.tariff("$0.004", 1)?;
    Ok(meter.stream(answer, each, |_| 1))
}

async fn dear(Extension(meter): Extension<Meter>) -> Result<Response<PaidBody>, StatusCode> {
    let each = meter.tariff("$0.02", 1)?;
    Ok(meter.stream(Response::new(Body::from("gold")), each, |_| 1))
}

impl Press {
    async fn open() -> Self {
        Self::open_over(|memory, _| memory).await
    }

    /// A press over something around its ledger, which may set the clock.
    async fn open_over(around: impl FnOnce(Arc<dyn Ledger>, Arc<ManualClock>) -> Arc<dyn Ledger>) -> Self {
        let (vault, clock) = (Arc::new(Vault::default()), Arc::new(ManualClock::new(NOW)));
        let ledger = Arc::new(MemoryLedger::new());
        let shared = Arc::clone(&ledger) as Arc<dyn Ledger>;
        let around = around(Arc::clone(&shared), Arc::clone(&clock));
        let paywall = builder(&vault, &clock).ledger(around).start().await.unwrap();
        let price = || paywall.price("$0.01").unwrap();
        let app = Router::new()
            .route("/words", get(words).layer(price()))
            .route("/greedy", get(greedy).layer(price()))
            .route("/story", get(story).layer(price()))
            .route("/dear", get(dear).layer(price()));
        let shop = Shop::beside(vault, clock, |builder| builder.ledger(shared)).await;
        Self { shop, ledger, app }
    }

    /// A voucher up to `ceiling` for the request to `path`.
    async fn voucher(&self, payer: &Payer, path: &str, ceiling: u64) -> PaymentPayload {
        let asked = self.app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        payer.voucher_for(&read(asked).await.required(), ceiling.into()).await
    }

    /// The same with a deposit.
    async fn deposit(&self, payer: &Payer, path: &str, ceiling: u64) -> PaymentPayload {
        let asked = self.app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let required = read(asked).await.required();
        let (offer, channel) = (offer(&required), &payer.channel);
        let deposit = payer.scheme.sign_deposit(offer, channel, DEPOSIT.into(), NOW).await.unwrap();
        let signed = payer.scheme.sign_voucher(&required, offer, channel, ceiling.into(), Some(&deposit));
        signed.await.unwrap()
    }

    async fn get(&self, path: &str, payment: &PaymentPayload) -> Response<Body> {
        self.app.clone().oneshot(paying(Method::GET, path, payment)).await.unwrap()
    }

    /// Asks the stream of `answer` how it stands, or renews it.
    async fn renew(&self, name: &str, payment: Option<&PaymentPayload>) -> Response<Body> {
        let mut request = match payment {
            Some(payment) => paying(Method::GET, "/story", payment),
            None => Request::get("/story").body(Body::empty()).unwrap(),
        };
        request.headers_mut().insert("tollway-stream", name.parse().unwrap());
        self.app.clone().oneshot(request).await.unwrap()
    }

    async fn row(&self, payer: &Payer) -> Channel {
        self.ledger.channel_get("seller", &payer.channel.key).await.unwrap().unwrap()
    }

    /// How much of the channel is charged, by the ledger.
    async fn charged(&self, payer: &Payer) -> u64 {
        self.row(payer).await.charged.to_string().parse().unwrap()
    }
}

async fn read(answer: Response<Body>) -> Answer {
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

fn name(answer: &Response<Body>) -> String {
    answer.headers()["tollway-stream"].to_str().unwrap().to_owned()
}

fn receipt(headers: &HeaderMap) -> (u64, u64) {
    let json = wire::decode_header("PAYMENT-RESPONSE", headers["payment-response"].as_bytes()).unwrap();
    let receipt: SettleResponse = wire::decode_settle_response(&json, &base()).unwrap();
    let number = |value: &serde_json::Value| value.as_str().unwrap().parse().unwrap();
    (
        number(&receipt.extra["chargedAmount"]),
        number(&receipt.extra["channelState"]["chargedCumulativeAmount"]),
    )
}

async fn part(body: &mut Body) -> Option<String> {
    let frame = body.frame().await?.ok()?;
    frame.into_data().ok().map(|data| String::from_utf8(data.to_vec()).unwrap())
}

#[tokio::test]
async fn what_is_used_is_charged_and_no_more_to_the_fraction_of_a_unit() {
    let press = Press::open().await;
    let payer = Payer::funded(&press.shop).await;
    let answer = press.get("/words", &press.voucher(&payer, "/words", PRICE).await).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(receipt(answer.headers()), (334, 334), "a thousand thirds");
    assert_eq!(press.charged(&payer).await, 334);
}

#[tokio::test]
async fn who_uses_more_than_was_agreed_is_stopped_and_nothing_is_charged() {
    let press = Press::open().await;
    let payer = Payer::funded(&press.shop).await;
    let answer = press.get("/greedy", &press.voucher(&payer, "/greedy", PRICE).await).await;
    assert_eq!(answer.status(), 413);
    assert!(press.ledger.channel_get("seller", &payer.channel.key).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_part_leaves_when_it_is_charged_and_the_stream_waits_for_the_next_voucher() {
    let press = Press::open().await;
    let payer = Payer::funded(&press.shop).await;
    let answer = press.get("/story", &press.voucher(&payer, "/story", PRICE).await).await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("payment-response"), "nobody knows yet what it comes to");
    let (name, mut body) = (name(&answer), answer.into_body());
    for number in 1..=2 {
        assert_eq!(part(&mut body).await.unwrap(), format!("part {number}\n"));
        assert!(press.charged(&payer).await >= number * PART, "it was charged before it left");
    }
    let reading = tokio::spawn(async move {
        let mut parts = Vec::new();
        loop {
            match body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => parts.push(String::from_utf8(data.to_vec()).unwrap()),
                    Err(trailers) => return (parts, trailers.into_trailers().ok()),
                },
                _ => return (parts, None),
            }
        }
    });

    // It wants a voucher, and says where the channel stands.
    let asked = press.renew(&name, None).await;
    assert_eq!(asked.status(), 402);
    assert_eq!(
        read(asked).await.required().accepts[0].extra["channelState"]["chargedCumulativeAmount"],
        "8000"
    );
    assert_eq!(press.charged(&payer).await, 2 * PART, "nothing is charged for what has not left");

    // A voucher that is not the next one is of no use.
    let wrong = press.renew(&name, Some(&press.voucher(&payer, "/story", 2 * PRICE).await)).await;
    assert_eq!(wrong.status(), 402);
    let used = press.renew(&name, Some(&press.voucher(&payer, "/story", 2 * PART + PRICE).await)).await;
    assert_eq!(used.status(), 204);
    assert_eq!(used.headers()["tollway-stream"], "used");
    assert_eq!(receipt(used.headers()), (2 * PART, 4 * PART));
    let last = press.renew(&name, Some(&press.voucher(&payer, "/story", 4 * PART + PRICE).await)).await;
    assert_eq!(last.status(), 204);
    assert_eq!(receipt(last.headers()), (PART, 5 * PART));

    let (parts, trailers) = reading.await.unwrap();
    assert_eq!(parts, ["part 3\n", "part 4\n", "part 5\n"]);
    assert_eq!(receipt(&trailers.unwrap()), (PART, 5 * PART));
    let row = press.row(&payer).await;
    assert_eq!(row.charged, Amount::from(5 * PART));
    assert!(row.holder.is_none(), "the channel is free for others");
    assert_eq!(press.renew(&name, None).await.status(), 404, "a stream that is over is none");
    assert!(press.shop.get("/data", &payer.voucher(5 * PART + PRICE).await).await.is_content());
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_buyer_signs_no_more_ends_and_charges_what_has_left() {
    let press = Press::open().await;
    let payer = Payer::funded(&press.shop).await;
    let answer = press.get("/story", &press.voucher(&payer, "/story", PRICE).await).await;
    let mut body = answer.into_body();
    assert!(part(&mut body).await.is_some() && part(&mut body).await.is_some());
    let end = tokio::time::timeout(Duration::from_secs(60), body.frame()).await.unwrap();
    assert!(end.unwrap().is_err(), "half a story does not look like a whole one");
    assert_eq!(press.charged(&payer).await, 2 * PART);
    assert!(press.shop.get("/data", &payer.voucher(2 * PART + PRICE).await).await.is_content());
}

#[tokio::test]
async fn who_hangs_up_pays_for_what_has_left_and_frees_the_channel() {
    let press = Press::open().await;
    let payer = Payer::funded(&press.shop).await;
    let answer = press.get("/story", &press.voucher(&payer, "/story", PRICE).await).await;
    let mut body = answer.into_body();
    assert!(part(&mut body).await.is_some());
    drop(body);
    tokio::time::timeout(Duration::from_secs(10), async {
        while press.row(&payer).await.holder.is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(press.charged(&payer).await, PART);
    assert!(press.shop.get("/data", &payer.voucher(PART + PRICE).await).await.is_content());
}

#[tokio::test]
async fn a_part_that_no_voucher_covers_never_leaves() {
    let press = Press::open().await;
    let payer = Payer::funded(&press.shop).await;
    let answer = press.get("/dear", &press.voucher(&payer, "/dear", PRICE).await).await;
    let mut body = answer.into_body();
    assert!(body.frame().await.unwrap().is_err());
    assert_eq!(press.row(&payer).await.charged, Amount::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nobody_else_charges_a_channel_that_pays_a_stream() {
    let press = Press::open().await;
    let payer = Payer::funded(&press.shop).await;
    let answer = press.get("/story", &press.voucher(&payer, "/story", PRICE).await).await;
    let name = name(&answer);
    let mut body = answer.into_body();
    assert!(part(&mut body).await.is_some());
    let holder = press.row(&payer).await.holder.unwrap();
    let latest = NOW.plus_seconds(DELAY_SECONDS / 4);
    assert!(holder.until <= latest, "who claims has its time before a withdrawal ends");
    let busy = "invalid_batch_settlement_evm_channel_busy";
    // Another seller on the same ledger, with a voucher that is the next one by its books.
    let other = press.shop.get("/data", &payer.voucher(PART + PRICE).await).await;
    assert_eq!((other.status, other.code().as_str()), (402, busy));
    // Another payer's voucher renews nothing.
    assert!(part(&mut body).await.is_some());
    let waiting = tokio::spawn(async move { body.frame().await.is_some_and(|frame| frame.is_ok()) });
    assert_eq!(press.renew(&name, None).await.status(), 402);
    let stranger = Payer::funded(&press.shop).await;
    assert_eq!(
        press.renew(&name, Some(&press.voucher(&stranger, "/story", PRICE).await)).await.status(),
        402
    );
    assert_eq!(press.charged(&payer).await, 2 * PART);
    assert!(!waiting.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn no_deposit_goes_to_a_stream_and_the_next_voucher_lets_it_go_on_all_the_same() {
    let press = Press::open().await;
    let payer = Payer::funded(&press.shop).await;
    let answer = press.get("/story", &press.voucher(&payer, "/story", PRICE).await).await;
    let (name, mut body) = (name(&answer), answer.into_body());
    assert!(part(&mut body).await.is_some() && part(&mut body).await.is_some());
    let reading = tokio::spawn(async move { part(&mut body).await });
    assert_eq!(press.renew(&name, None).await.status(), 402);
    let deposit = press.deposit(&payer, "/story", 2 * PART + PRICE).await;
    let deposit = read(press.renew(&name, Some(&deposit)).await).await;
    let code = "invalid_batch_settlement_evm_payload_type";
    assert_eq!((deposit.status, deposit.code().as_str()), (402, code));
    assert_eq!(press.shop.vault.settles.load(Ordering::SeqCst), 0, "no money has moved");
    assert_eq!(press.charged(&payer).await, 2 * PART);
    let next = press.voucher(&payer, "/story", 2 * PART + PRICE).await;
    let renewing = press.renew(&name, Some(&next));
    let (read, _) = tokio::join!(reading, renewing);
    assert_eq!(read.unwrap().unwrap(), "part 3\n");
}

/// A ledger that fails to hold channels, from the second time on: a stream's first hold is its beginning.
#[derive(Debug)]
struct Unholding {
    /// How many of the next holds are not written.
    refused: AtomicUsize,
    /// How many of the next ones are written, and the answer is lost.
    lost: AtomicUsize,
    tries: AtomicUsize,
    /// How far each failure sets the clock forward, seconds.
    delay_seconds: u64,
    clock: Arc<ManualClock>,
}

impl Unholding {
    fn fails(&self, operation: &'static str, times: &AtomicUsize) -> Result<(), LedgerError> {
        let is_one = |left: usize| left.checked_sub(1);
        if operation != "channel_hold"
            || self.tries.load(Ordering::SeqCst) == 1
            || times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, is_one).is_err()
        {
            return Ok(());
        }
        self.clock.set(self.clock.now().plus_seconds(self.delay_seconds));
        Err(LedgerError::Unavailable("a fault".to_owned()))
    }
}

impl Interposer for Unholding {
    fn before(&self, operation: &'static str, _: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        if operation == "channel_hold" {
            self.tries.fetch_add(1, Ordering::SeqCst);
        }
        Box::pin(std::future::ready(self.fails(operation, &self.refused)))
    }

    fn after(&self, operation: &'static str, _: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(std::future::ready(self.fails(operation, &self.lost)))
    }
}

/// Reads a story whose hold cannot be extended at first; what of it came after the first voucher, how the renewal was answered,
/// how often the hold was asked for, and what was charged.
async fn extended(refused: usize, lost: usize, delay_seconds: u64) -> (usize, u16, usize, u64) {
    let mut unholding = None;
    let press = Press::open_over(|memory, clock| {
        let faults = Unholding {
            refused: refused.into(),
            lost: lost.into(),
            tries: AtomicUsize::new(0),
            delay_seconds,
            clock,
        };
        let faults = Arc::clone(unholding.insert(Arc::new(faults)));
        Arc::new(Interposed::new(memory, faults))
    });
    let press = press.await;
    let payer = Payer::funded(&press.shop).await;
    let answer = press.get("/story", &press.voucher(&payer, "/story", PRICE).await).await;
    let (name, mut body) = (name(&answer), answer.into_body());
    assert!(part(&mut body).await.is_some() && part(&mut body).await.is_some());
    let reading = tokio::spawn(async move {
        let mut parts = 0;
        while part(&mut body).await.is_some() {
            parts += 1;
        }
        parts
    });
    let next = press.voucher(&payer, "/story", 2 * PART + PRICE).await;
    assert_eq!(press.renew(&name, None).await.status(), 402);
    let renewed = press.renew(&name, Some(&next)).await.status().as_u16();
    let parts = reading.await.unwrap();
    let tries = unholding.unwrap().tries.load(Ordering::SeqCst) - 1;
    assert!(press.row(&payer).await.holder.is_none(), "the channel is free for others");
    (parts, renewed, tries, press.charged(&payer).await)
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_fails_for_a_moment_ends_no_stream_whose_voucher_is_good() {
    assert_eq!(extended(1, 0, 0).await, (2, 204, 2, 4 * PART));
    assert_eq!(extended(3, 0, 0).await, (2, 204, 4, 4 * PART));
    // Written, and the answer lost: it is another version then, and still this stream's.
    assert_eq!(extended(0, 1, 0).await, (2, 204, 3, 4 * PART));
    assert_eq!(extended(1, 1, 0).await, (2, 204, 4, 4 * PART));
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_hold_cannot_be_extended_ends_and_serves_nothing_more() {
    assert_eq!(
        extended(usize::MAX, 0, 0).await,
        (0, 503, 4, 2 * PART),
        "it is asked four times, not for ever"
    );
    // The hold's time ends while the ledger fails.
    assert_eq!(extended(usize::MAX, 0, DELAY_SECONDS / 4).await, (0, 503, 1, 2 * PART));
}

#[tokio::test]
async fn what_is_no_stream_is_renewed_by_nobody() {
    let press = Press::open().await;
    let payer = Payer::funded(&press.shop).await;
    for payment in [None, Some(&press.voucher(&payer, "/story", PRICE).await)] {
        assert_eq!(press.renew("0123456789abcdef", payment).await.status(), 404);
    }
}

//! Outcomes told over HTTP: signed, tried again, not twice, none held up by a dead neighbour.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tollway_core::{Amount, AuthorizationKey, Clock, ManualClock, Network, UnixTime, WebhookSecret};
use tollway_facilitator::{WebhookLimits, WebhookSetup, Webhooks};
use tollway_ledger::{
    Advance, Inserted, Ledger, Member, MemoryLedger, NewDelivery, NewSettlement, Role, SettlementState,
};

const NOW: UnixTime = UnixTime(1_750_000_000);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// No test waits longer for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Message {
    headers: HeaderMap,
    body: Bytes,
}

impl Message {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// An endpoint that answers its n-th message as it is told.
async fn endpoint<F, A>(answer: F) -> (String, UnboundedReceiver<Message>)
where
    F: Fn(usize) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = StatusCode> + Send + 'static,
{
    let (told, messages) = unbounded_channel();
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let app = Router::new().route(
        "/told",
        post(move |headers: HeaderMap, body: Bytes| {
            let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            receive(told.clone(), Message { headers, body }, answer(n))
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/told", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, messages)
}

async fn receive(
    told: UnboundedSender<Message>,
    message: Message,
    answer: impl Future<Output = StatusCode>,
) -> StatusCode {
    let _ = told.send(message);
    answer.await
}

async fn next(messages: &mut UnboundedReceiver<Message>) -> Message {
    timeout(PATIENCE, messages.recv()).await.expect("a message comes").unwrap()
}

/// The next message, while every moment takes `seconds`.
async fn next_as_time_passes(
    messages: &mut UnboundedReceiver<Message>,
    clock: &ManualClock,
    seconds: u64,
) -> Message {
    let patience = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < patience {
        match timeout(Duration::from_millis(10), messages.recv()).await {
            Ok(message) => return message.unwrap(),
            Err(_) => clock.set(clock.now().plus_seconds(seconds)),
        }
    }
    panic!("no message came");
}

/// A ledger with these messages to deliver, as the engine would have written them down.
async fn ledger(messages: &[(&str, &str)]) -> Arc<MemoryLedger> {
    let ledger = MemoryLedger::new();
    let until = NOW.plus_seconds(1_000_000);
    let member = ledger.member_join(Role::Facilitator, "one", NOW, until).await.unwrap();
    for (index, (endpoint, body)) in messages.iter().enumerate() {
        write_down(&ledger, &member, index, endpoint, body).await;
    }
    Arc::new(ledger)
}

async fn write_down(ledger: &MemoryLedger, member: &Member, index: usize, endpoint: &str, body: &str) {
    let key = AuthorizationKey::new(format!("eip155:31337/0x05dc/0x3c44/{index:#06x}"));
    let new = NewSettlement {
        key: key.clone(),
        digest: [7; 32],
        payment: "{}".to_owned(),
        network: Network::evm(31_337),
        asset: "0x05dc".to_owned(),
        payer: "0x3c44".to_owned(),
        pay_to: "0x7777".to_owned(),
        amount: Amount::from(10_000u64),
        caller: None,
        valid_before: NOW.plus_seconds(300),
        confirmations: 0,
        member: member.clone(),
        now: NOW,
    };
    let Inserted::New { attempt, .. } = ledger.settlement_insert(new).await.unwrap() else {
        panic!("the first of its key");
    };
    let to = SettlementState::Abandoned { message: "the node was down".to_owned() };
    let deliveries = vec![NewDelivery { endpoint: endpoint.to_owned(), body: body.to_owned() }];
    let advance = Advance { key, attempt, to, deliveries };
    assert_eq!(ledger.settlement_advance(vec![advance], Vec::new(), NOW).await.unwrap(), [true]);
}

fn limits() -> WebhookLimits {
    WebhookLimits {
        deadline: Duration::from_millis(300),
        concurrency: 2,
        poll_every: Duration::from_millis(5),
        first_retry_seconds: 5,
    }
}

fn setup(name: &str, url: &str, secret: &str) -> WebhookSetup {
    let (name, url) = (name.to_owned(), url.to_owned());
    WebhookSetup { name, url, secret: WebhookSecret::parse(secret).unwrap() }
}

fn start(ledger: &Arc<MemoryLedger>, clock: &Arc<ManualClock>, endpoints: Vec<WebhookSetup>) -> Webhooks {
    let ledger: Arc<dyn Ledger> = Arc::clone(ledger) as Arc<dyn Ledger>;
    let clock: Arc<dyn Clock> = Arc::clone(clock) as Arc<dyn Clock>;
    Webhooks::start(ledger, clock, endpoints, limits()).unwrap()
}

/// HMAC-SHA256 as RFC 2104 defines it, from the hash alone.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    assert!(key.len() <= 64);
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(key).for_each(|(pad, key)| *pad ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

fn expected(key: &[u8], message: &Message) -> String {
    let (id, timestamp) = (message.header("webhook-id"), message.header("webhook-timestamp"));
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", &message.body].concat();
    format!("v1,{}", BASE64.encode(hmac(key, &signed)))
}

#[tokio::test]
async fn a_message_is_signed_so_that_its_reader_can_check_it() {
    // RFC 4231, test case 2: the checking side is right itself.
    let known = hmac(b"Jefe", b"what do ya want for nothing?");
    assert_eq!(known[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    let raw = "a secret as it is, long enough";
    let decoded = BASE64.decode(SECRET.trim_start_matches("whsec_")).unwrap();
    for (secret, key) in [(SECRET, decoded.as_slice()), (raw, raw.as_bytes())] {
        let (url, mut messages) = endpoint(|_| async { StatusCode::NO_CONTENT }).await;
        let ledger = ledger(&[("shop", "{\"type\":\"settlement.settled\"}")]).await;
        let clock = Arc::new(ManualClock::new(NOW));
        let webhooks = start(&ledger, &clock, vec![setup("shop", &url, secret)]);
        let message = next(&mut messages).await;
        assert_eq!(message.body, "{\"type\":\"settlement.settled\"}");
        assert_eq!(message.header("content-type"), "application/json");
        assert_eq!(message.header("webhook-timestamp"), NOW.0.to_string());
        assert_eq!(message.header("webhook-signature"), expected(key, &message));
        webhooks.stop().await;
        let later = NOW.plus_seconds(1_000_000);
        assert_eq!(ledger.delivery_claim("shop", later, later, 10).await.unwrap(), [], "it is over");
    }
}

#[tokio::test]
async fn a_message_is_tried_again_under_the_same_name_until_it_arrives() {
    let (url, mut messages) = endpoint(|n| async move {
        match n {
            0 => StatusCode::INTERNAL_SERVER_ERROR,
            1 => std::future::pending().await,
            2 => StatusCode::FOUND,
            _ => StatusCode::OK,
        }
    })
    .await;
    let ledger = ledger(&[("shop", "{}")]).await;
    let clock = Arc::new(ManualClock::new(NOW));
    let webhooks = start(&ledger, &clock, vec![setup("shop", &url, SECRET)]);
    let first = next(&mut messages).await;
    for _ in 0..3 {
        let again = next_as_time_passes(&mut messages, &clock, 60).await;
        assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
        assert_ne!(again.header("webhook-timestamp"), first.header("webhook-timestamp"), "signed anew");
        assert_eq!(again.body, first.body);
    }
    webhooks.stop().await;
    let later = NOW.plus_seconds(1_000_000);
    assert_eq!(ledger.delivery_claim("shop", later, later, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_message_that_never_arrives_is_given_up_after_a_day() {
    let (url, mut messages) = endpoint(|_| async { StatusCode::SERVICE_UNAVAILABLE }).await;
    let ledger = ledger(&[("shop", "{}")]).await;
    let clock = Arc::new(ManualClock::new(NOW));
    let webhooks = start(&ledger, &clock, vec![setup("shop", &url, SECRET)]);
    for _ in 0..15 {
        next_as_time_passes(&mut messages, &clock, 200_000).await;
    }
    webhooks.stop().await;
    let later = NOW.plus_seconds(1_000_000_000);
    assert_eq!(ledger.delivery_claim("shop", later, later, 10).await.unwrap(), []);
    assert!(messages.try_recv().is_err(), "fifteen tries and no more");
}

#[tokio::test]
async fn two_processes_on_one_ledger_send_nothing_twice() {
    let (url, mut messages) = endpoint(|_| async { StatusCode::OK }).await;
    let bodies: Vec<(&str, &str)> = vec![("shop", "{}"); 150];
    let ledger = ledger(&bodies).await;
    let clock = Arc::new(ManualClock::new(NOW));
    let both = [(); 2].map(|()| start(&ledger, &clock, vec![setup("shop", &url, SECRET)]));
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    while seen.len() < bodies.len() {
        *seen.entry(next(&mut messages).await.header("webhook-id").to_owned()).or_default() += 1;
    }
    for webhooks in both {
        webhooks.stop().await;
    }
    while let Ok(message) = messages.try_recv() {
        *seen.entry(message.header("webhook-id").to_owned()).or_default() += 1;
    }
    assert!(seen.values().all(|times| *times == 1), "{seen:?}");
}

#[tokio::test]
async fn a_dead_endpoint_holds_up_no_other() {
    let (dead, mut at_dead) = endpoint(|_| std::future::pending()).await;
    let (alive, mut messages) = endpoint(|_| async { StatusCode::OK }).await;
    let mut bodies = vec![("dead", "{}"); 50];
    bodies.extend([("alive", "{}"); 50]);
    let ledger = ledger(&bodies).await;
    let clock = Arc::new(ManualClock::new(NOW));
    let setups = vec![setup("dead", &dead, SECRET), setup("alive", &alive, SECRET)];
    let limits = WebhookLimits { deadline: Duration::from_secs(3_600), ..limits() };
    let webhooks = Webhooks::start(ledger, clock, setups, limits).unwrap();
    for _ in 0..50 {
        next(&mut messages).await;
    }
    next(&mut at_dead).await;
    next(&mut at_dead).await;
    assert!(at_dead.try_recv().is_err(), "no more tries at once than allowed");
    // Dropped, not stopped: nothing of it lives on.
    drop(webhooks);
}

#[tokio::test]
async fn what_one_process_leaves_another_delivers() {
    let (dead, mut at_dead) = endpoint(|_| std::future::pending()).await;
    let (alive, mut messages) = endpoint(|_| async { StatusCode::OK }).await;
    let ledger = ledger(&[("shop", "{}")]).await;
    let clock = Arc::new(ManualClock::new(NOW));
    let killed = start(&ledger, &clock, vec![setup("shop", &dead, SECRET)]);
    let first = next(&mut at_dead).await;
    drop(killed);
    clock.set(NOW.plus_seconds(60));
    let webhooks = start(&ledger, &clock, vec![setup("shop", &alive, SECRET)]);
    let again = next(&mut messages).await;
    assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
    webhooks.stop().await;
}

#[tokio::test]
async fn no_redirect_takes_a_message_elsewhere() {
    let (elsewhere, mut at_elsewhere) = endpoint(|_| async { StatusCode::OK }).await;
    let moved = Router::new().route(
        "/",
        post(move || {
            let to = elsewhere.clone();
            async move { axum::response::Redirect::temporary(&to) }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, moved).await.unwrap() });
    let (marked, mut at_marked) = endpoint(|_| async { StatusCode::OK }).await;
    let ledger = ledger(&[("moved", "{}"), ("marked", "{}")]).await;
    let clock = Arc::new(ManualClock::new(NOW));
    let webhooks =
        start(&ledger, &clock, vec![setup("moved", &url, SECRET), setup("marked", &marked, SECRET)]);
    next(&mut at_marked).await;
    webhooks.stop().await;
    assert!(at_elsewhere.try_recv().is_err());
    let later = NOW.plus_seconds(100);
    assert_eq!(ledger.delivery_claim("moved", later, later, 10).await.unwrap().len(), 1, "it is still owed");
}

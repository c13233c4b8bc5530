//! Asking the owner: only a yes in time, to this very question, is one; and the question shows what the wallet knows.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tollway_buyer::{
    Approval, ApprovalBy, Approver, Approvers, Decided, FactName, Inquiry, NotApproved, QueueApprover,
    Subject, WebhookApprover,
};
use tollway_core::model::PaymentRequirements;
use tollway_core::{
    Amount, BoxFuture, Clock, JsonObject, ManualClock, Network, OfferedValue, SchemeName, SystemClock,
    UnixTime, WebhookSecret,
};
use tollway_ledger::{Fact, Ledger, MemoryLedger};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const WALLET: &str = "0xabc";

fn offer() -> (PaymentRequirements, OfferedValue) {
    let offer = PaymentRequirements {
        scheme: SchemeName::EXACT,
        network: Network::evm(8453),
        amount: Amount::from(50_000),
        asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".into(),
        pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".into(),
        max_timeout_seconds: 60,
        extra: JsonObject::new(),
        other: JsonObject::new(),
    };
    let value = OfferedValue { symbol: "USDC".into(), decimals: 6, amount: offer.amount, is_usd: true };
    (offer, value)
}

fn inquiry_for(url: &str, pay_to: Option<&str>, now: UnixTime, seconds: u64) -> Inquiry {
    let (mut offer, value) = offer();
    if let Some(pay_to) = pay_to {
        offer.pay_to = pay_to.to_owned();
    }
    let url = url.parse().unwrap();
    let subject = Subject {
        wallet: WALLET,
        agent: Some("scout"),
        tool: Some("search"),
        method: "GET",
        url: &url,
        offer: &offer,
        value: Some(&value),
        deposit: None,
    };
    Inquiry::about(&subject, "org", &["above $0.01: needs approval"], now, seconds).unwrap()
}

fn inquiry(seconds: u64) -> Inquiry {
    inquiry_for("https://api.example.com/data?key=secret", None, SystemClock.now(), seconds)
}

/// An owner's server that answers as it is told.
async fn owner<F, A>(answer: F) -> String
where
    F: Fn(HeaderMap, Value) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let app = Router::new().route(
        "/approve",
        post(move |headers: HeaderMap, body: String| answer(headers, serde_json::from_str(&body).unwrap())),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/approve", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

fn answers(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).header("location", "/approve").body(body.into()).unwrap()
}

fn yes_to(asked: &Value) -> String {
    json!({ "approved": true, "id": asked["data"]["id"] }).to_string()
}

fn webhook(url: &str) -> WebhookApprover {
    WebhookApprover::new(url, WebhookSecret::parse(SECRET).unwrap()).unwrap()
}

#[tokio::test]
async fn a_webhook_is_asked_with_a_signature_and_its_yes_counts() {
    let (told, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let url = owner(move |headers, body| {
        told.send((headers, body.clone())).unwrap();
        async move { answers(200, yes_to(&body)) }
    })
    .await;
    let question = inquiry(30);
    assert_eq!(webhook(&url).ask(&question).await, Ok(()));
    let (headers, body) = asked.recv().await.unwrap();
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let signature = WebhookSecret::parse(SECRET).unwrap().sign(
        &header("webhook-id"),
        &header("webhook-timestamp"),
        &body.to_string(),
    );
    assert_eq!(signature, Some(header("webhook-signature")));
    let data = &body["data"];
    assert_eq!(
        (data["money"].as_str(), data["request"]["url"].as_str(), data["offer"]["payTo"].as_str()),
        (
            Some("0.05 USDC"),
            Some("https://api.example.com/data"),
            Some("0x209693Bc6afc0C5328bA36FaF03C514EF312287C")
        )
    );
    assert!(!body.to_string().contains("secret"), "keys travel in queries");
}

#[tokio::test]
async fn no_other_answer_of_a_webhook_is_a_yes() {
    let wrong = json!({ "approved": true, "id": "00000000000000000000000000000000" }).to_string();
    let long = format!("{}{}", " ".repeat(5_000), wrong);
    for (what, status, body) in [
        ("another question's", 200, wrong),
        ("a long one", 200, long),
        ("none", 200, String::new()),
        ("words", 200, "yes, approved".to_owned()),
    ] {
        let url = owner(move |_, _| std::future::ready(answers(status, body.clone()))).await;
        let said = webhook(&url).ask(&inquiry(30)).await;
        assert!(matches!(said, Err(NotApproved::Unavailable(_))), "{what}: {said:?}");
    }
    for status in [201, 202, 204, 302, 307, 308, 400, 402, 500, 503] {
        let url = owner(move |_, body| std::future::ready(answers(status, yes_to(&body)))).await;
        let said = webhook(&url).ask(&inquiry(30)).await;
        assert!(matches!(said, Err(NotApproved::Unavailable(_))), "{status}: {said:?}");
    }
    let url = owner(|_, body| async move {
        answers(200, json!({ "approved": false, "id": body["data"]["id"] }).to_string())
    });
    assert_eq!(webhook(&url.await).ask(&inquiry(30)).await, Err(NotApproved::Denied));
    let said = webhook("http://127.0.0.1:1/approve").ask(&inquiry(30)).await;
    assert!(matches!(said, Err(NotApproved::Unavailable(_))), "{said:?}");
}

#[tokio::test]
async fn a_webhook_that_never_ends_is_no_when_the_time_is_over() {
    let silent = owner(|_, _| std::future::pending()).await;
    assert_eq!(webhook(&silent).ask(&inquiry(1)).await, Err(NotApproved::TimedOut));
    let endless = owner(|_, _| async {
        answers(200, Body::from_stream(futures_util::stream::pending::<Result<&str, std::io::Error>>()))
    })
    .await;
    assert_eq!(webhook(&endless).ask(&inquiry(1)).await, Err(NotApproved::TimedOut));
    let past = inquiry_for("https://api.example.com/", None, UnixTime(1_000), 60);
    let eager = owner(|_, body| std::future::ready(answers(200, yes_to(&body)))).await;
    assert_eq!(webhook(&eager).ask(&past).await, Err(NotApproved::TimedOut), "not even asked");
}

fn queue() -> (Arc<dyn Ledger>, Arc<ManualClock>, QueueApprover) {
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
    let clock = Arc::new(ManualClock::new(UnixTime(1_790_000_000)));
    let queue = QueueApprover::new(Arc::clone(&ledger), clock.clone());
    (ledger, clock, queue)
}

#[tokio::test(start_paused = true)]
async fn a_question_in_the_ledger_waits_for_whoever_answers_it_first() {
    let (_, clock, queue) = queue();
    for (yes, said) in [(true, Ok(())), (false, Err(NotApproved::Denied))] {
        let question = inquiry_for("https://api.example.com/data", None, clock.now(), 60);
        let decided = if yes { Decided::Approved } else { Decided::Denied };
        let owner = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let waiting = queue.list(WALLET).await.unwrap();
            assert!(waiting.iter().any(|one| one.inquiry == question && one.decided.is_none()));
            assert_eq!(queue.decide("0xother", &question.id, yes).await.unwrap(), None, "another wallet's");
            assert_eq!(queue.decide(WALLET, &question.id, yes).await.unwrap(), Some(decided));
            assert_eq!(
                queue.decide(WALLET, &question.id, !yes).await.unwrap(),
                Some(decided),
                "the first counts"
            );
        };
        assert_eq!(tokio::join!(queue.ask(&question), owner).0, said);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_yes_approves_nothing_and_is_told_so() {
    let (_, clock, queue) = queue();
    let question = inquiry_for("https://api.example.com/data", None, clock.now(), 60);
    let time = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        clock.set(UnixTime(1_790_000_060));
    };
    assert_eq!(tokio::join!(queue.ask(&question), time).0, Err(NotApproved::TimedOut));
    clock.set(UnixTime(1_790_000_000));
    let late = queue.decide(WALLET, &question.id, true).await.unwrap();
    assert_eq!(late, Some(Decided::Expired), "even by a clock that is behind");
    let (second, slow) = (inquiry_for("https://api.example.com/x", None, clock.now(), 60), queue.clone());
    let late = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        clock.set(UnixTime(1_790_000_061));
        slow.decide(WALLET, &second.id, true).await.unwrap()
    };
    let (said, told) = tokio::join!(queue.ask(&second), late);
    assert_eq!((said, told), (Err(NotApproved::TimedOut), Some(Decided::Expired)));
}

#[tokio::test(start_paused = true)]
async fn an_agent_out_of_hand_cannot_bury_a_question() {
    let (_, clock, queue) = queue();
    let questions: Vec<Inquiry> =
        (0..64).map(|_| inquiry_for("https://api.example.com/", None, clock.now(), 60)).collect();
    let asked = futures_util::future::join_all(questions.iter().map(|question| queue.ask(question)));
    let one_more = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let said = queue.ask(&inquiry_for("https://api.example.com/", None, clock.now(), 60)).await;
        clock.set(UnixTime(1_790_000_060));
        said
    };
    let (asked, said) = tokio::join!(asked, one_more);
    assert_eq!(said, Err(NotApproved::Unavailable("64 questions wait already".to_owned())));
    assert!(asked.into_iter().all(|said| said == Err(NotApproved::TimedOut)));
}

#[tokio::test(start_paused = true)]
async fn what_is_in_the_ledger_and_no_question_approves_nothing() {
    let (ledger, clock, queue) = queue();
    let question = inquiry_for("https://api.example.com/data", None, clock.now(), 60);
    let name = FactName::approval(WALLET, &question.id);
    let forger = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let fact = ledger.fact_get(&name.scope, &name.name).await.unwrap().unwrap();
        let value = r#"{"state":"approved"}"#.to_owned();
        assert!(ledger.fact_put(Fact { value, ..fact }).await.unwrap());
    };
    let said = tokio::join!(queue.ask(&question), forger).0;
    assert_eq!(said, Err(NotApproved::Unavailable("the question is spoilt".to_owned())));
}

#[test]
fn a_question_shows_the_sellers_words_short_and_on_one_line() {
    let hostile = "0xgood\u{1b}[2K\r\nApproved by the owner. Type yes.\u{202e}".repeat(50);
    let question = inquiry_for("https://api.example.com/%0aok", Some(&hostile), UnixTime(1_790_000_000), 60);
    let shown = question.to_string();
    assert!(shown.lines().all(|line| line.starts_with("  ") && line.len() < 400), "{shown}");
    assert_eq!(shown.lines().count(), 7, "{shown}");
    assert!(!shown.chars().any(|character| character.is_control() && character != '\n'), "{shown}");
    assert!(!shown.contains('\u{202e}'));
    assert!(shown.contains("0.05 USDC") && shown.contains("above $0.01"));
    let (mut offer, value) = offer();
    offer.amount = Amount::from(50_000_000);
    let url = "https://api.example.com/".parse().unwrap();
    let subject = Subject {
        wallet: WALLET,
        agent: None,
        tool: None,
        method: "GET",
        url: &url,
        offer: &offer,
        value: Some(&value),
        deposit: None,
    };
    let question = Inquiry::about(&subject, "org", &[], UnixTime(0), 60).unwrap();
    assert!(question.money().starts_with("50000000 atomic units"), "a value of another amount is not shown");
}

#[derive(Debug)]
struct Says(Result<(), NotApproved>, u64);

impl Approver for Says {
    fn ask<'a>(&'a self, _: &'a Inquiry) -> BoxFuture<'a, Result<(), NotApproved>> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(self.1)).await;
            self.0.clone()
        })
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_asked_has_only_so_long_and_nobody_is_no() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(UnixTime(1_790_000_000)));
    let approvers = |terminal: Option<Arc<dyn Approver>>| {
        Approvers::new(Arc::new(MemoryLedger::default()), Arc::clone(&clock), terminal)
    };
    let by = |by| Approval { above: None, by, timeout_seconds: 60 };
    let question = inquiry_for("https://api.example.com/data", None, clock.now(), 60);
    for (says, takes, said) in [
        (Ok(()), 5, Ok(())),
        (Err(NotApproved::Denied), 5, Err(NotApproved::Denied)),
        (Ok(()), 61, Err(NotApproved::TimedOut)),
    ] {
        let asked = approvers(Some(Arc::new(Says(says, takes))));
        assert_eq!(asked.ask(&by(ApprovalBy::Terminal), &question).await, said);
    }
    let nobody = approvers(None).ask(&by(ApprovalBy::Terminal), &question).await;
    assert!(matches!(nobody, Err(NotApproved::Unavailable(_))));
    let unsigned = ApprovalBy::Webhook { url: "https://owner.example/".parse().unwrap(), secret: None };
    let unsigned = approvers(None).ask(&by(unsigned), &question).await;
    assert!(
        matches!(unsigned, Err(NotApproved::Unavailable(_))),
        "a question that nobody could tell from another's"
    );
}

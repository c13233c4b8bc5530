//! Which agent sends a request: known by its signature, or not at all.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use tollway_core::http_signature::{MessageSigner, SignedRequest};
use tollway_core::{ManualClock, UnixTime};
use tollway_seller::{MessageSignatures, Priced};

use crate::doubles::{Buyer, ScriptedFacilitator, Signed, builder, now};
use crate::stall::{Answer, Stall, URL, content};

fn signer() -> MessageSigner {
    MessageSigner::from_seed(&[7; 32])
}

fn rule() -> MessageSignatures {
    MessageSignatures::new("https://api.example.com/agents").key(signer().public_key())
}

async fn stall(facilitator: &Arc<ScriptedFacilitator>, rule: MessageSignatures) -> Stall {
    let clock = Arc::new(ManualClock::new(now()));
    let builder = builder(facilitator).clock(clock);
    Stall::with(builder, |priced: Priced| priced.message_signatures(rule).unwrap(), content(Duration::ZERO))
        .await
}

/// Presents `signed` with a signature over `covered` of a request to `url` made at `at`.
async fn present(
    stall: &Stall,
    signed: &Signed,
    signer: &MessageSigner,
    covered: &[&str],
    url: &str,
    at: UnixTime,
) -> Answer {
    let url = url.parse().unwrap();
    let headers = vec![(signed.name, signed.value.as_bytes())];
    let request = SignedRequest { method: "GET", url: &url, headers };
    let signature = signer.sign(&request, covered, at, 600).unwrap();
    let mut headers = vec![(signed.name, signed.value.as_str())];
    let added = signature.headers();
    headers.extend(added.iter().map(|(name, value)| (*name, std::str::from_utf8(value).unwrap())));
    stall.send(Method::GET, "/data", &headers, "").await
}

#[tokio::test]
async fn a_required_signature_is_by_a_known_key_over_this_request() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let stall = stall(&facilitator, rule().required().covering(&["payment-signature"])).await;
    let buyer = Buyer::new();
    let (signed, other) = (stall.sign(&buyer).await, stall.sign(&buyer).await);
    let covered = ["@authority", "payment-signature"];
    let refused = |answer: Answer, rule: &str| {
        let told = (answer.status, answer.json("error"), answer.header("accept-signature").is_some());
        assert_eq!(told, (403, "invalid_http_message_signature".to_owned(), true), "{}", answer.body);
        assert!(answer.json("rule").contains(rule), "{rule}: {}", answer.body);
    };
    refused(stall.present(&signed).await, "is required");
    let stranger = MessageSigner::from_seed(&[8; 32]);
    refused(present(&stall, &signed, &stranger, &covered, URL, now()).await, "known here");
    let pretender = stranger.named(signer().key_id());
    refused(present(&stall, &signed, &pretender, &covered, URL, now()).await, "known here");
    refused(
        present(&stall, &signed, &signer(), &["@authority"], URL, now()).await,
        "must cover payment-signature",
    );
    refused(
        present(&stall, &signed, &signer(), &covered, "https://evil.example/data", now()).await,
        "known here",
    );
    let late = UnixTime(now().0 - 301);
    refused(present(&stall, &signed, &signer(), &covered, URL, late).await, "must not have expired");
    refused(
        present(&stall, &signed, &signer(), &covered, URL, now().plus_seconds(60)).await,
        "in the future",
    );
    refused(
        present(&stall, &signed, &signer().tagged("other"), &covered, URL, now()).await,
        "must have a tag",
    );
    assert_eq!((stall.runs(), facilitator.calls()), (0, (0, 0)), "nothing is reserved or asked");
    let url = URL.parse().unwrap();
    let request =
        SignedRequest { method: "GET", url: &url, headers: vec![(other.name, other.value.as_bytes())] };
    let of_other = signer().sign(&request, &covered, now(), 60).unwrap();
    let (input, signature) = (of_other.input.as_str(), of_other.signature.as_str());
    let headers =
        [(signed.name, signed.value.as_str()), ("signature-input", input), ("signature", signature)];
    refused(stall.send(Method::GET, "/data", &headers, "").await, "known here");
    let good = present(&stall, &signed, &signer(), &covered, URL, now()).await;
    assert_eq!((good.status, stall.runs()), (200, 1), "{}", good.body);
}

#[tokio::test]
async fn a_signature_that_is_not_required_keeps_nobody_out() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let stall = stall(&facilitator, rule()).await;
    let buyer = Buyer::new();
    let plain = stall.sign(&buyer).await;
    assert_eq!(stall.present(&plain).await.status, 200);
    let stranger = MessageSigner::from_seed(&[8; 32]);
    let signed = stall.sign(&buyer).await;
    assert_eq!(present(&stall, &signed, &stranger, &["@authority"], URL, now()).await.status, 200);
}

#[tokio::test]
async fn an_agent_that_is_not_listed_is_not_asked_for_its_keys() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let rule = rule().required().agent("https://agent.example");
    let stall = stall(&facilitator, rule).await;
    let signed = stall.sign(&Buyer::new()).await;
    let inner = MessageSigner::from_seed(&[8; 32]).publishing("https://169.254.169.254");
    let answer = present(&stall, &signed, &inner, &["@authority"], URL, now()).await;
    assert_eq!(
        (answer.status, answer.json("rule").as_str()),
        (403, "must be by an agent that is known here")
    );
}

#[tokio::test]
async fn any_agent_is_not_any_address() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let stall = stall(&facilitator, rule().required().any_agent()).await;
    let signed = stall.sign(&Buyer::new()).await;
    for inner in ["https://169.254.169.254", "https://[::1]", "https://2130706433", "https://localhost"] {
        let agent = MessageSigner::from_seed(&[8; 32]).publishing(inner);
        let answer = present(&stall, &signed, &agent, &["@authority"], URL, now()).await;
        let told = (answer.status, answer.json("rule"));
        assert_eq!(told, (403, "must be by an agent whose keys can be had".to_owned()), "{inner}");
    }
}

//! Stored responses and payment identifiers: who presents the same again gets the same answer, and nobody else does.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::json;
use tollway_core::ManualClock;
use tollway_ledger::MemoryLedger;
use tollway_seller::{IdentifierRule, PaywallBuilder, StoredResponses};

use crate::doubles::{Buyer, ScriptedFacilitator, Signed, now};
use crate::stall::{Answer, Handler, Stall, on_ledger};

const ID: &str = "pay_7d5d747be160e280504c099d984bcfe0";

fn builder() -> PaywallBuilder {
    on_ledger(&Arc::new(ScriptedFacilitator::default()), Arc::new(MemoryLedger::new()))
}

fn answering(answer: fn(usize) -> Response) -> Handler {
    Arc::new(move |run| Box::pin(std::future::ready(answer(run))))
}

async fn twice(builder: PaywallBuilder, answer: fn(usize) -> Response) -> (Stall, Answer, Answer) {
    let stall = Stall::with(builder, |priced| priced, answering(answer)).await;
    let signed = stall.sign(&Buyer::new()).await;
    let (first, again) = (stall.present(&signed).await, stall.present(&signed).await);
    (stall, first, again)
}

fn identified(signed: &Signed, id: &str) -> Signed {
    let mut payment = signed.payment.clone();
    payment.extensions["payment-identifier"]["info"]["id"] = id.into();
    Signed::of(payment)
}

#[tokio::test]
async fn the_same_payment_again_gets_the_same_answer_and_its_receipt() {
    let (stall, first, again) = twice(builder(), |run| {
        let headers = [("x-run", run.to_string()), ("content-type", "text/weather".to_owned())];
        (axum::http::StatusCode::CREATED, headers, format!("run {run}")).into_response()
    })
    .await;
    assert!(!first.is_replay() && again.is_replay());
    assert_eq!((first.status, first.body.as_str()), (201, "run 0"));
    assert_eq!((again.status, &again.body, again.header("x-run")), (201, &first.body, Some("0")));
    assert_eq!(again.settlement(), first.settlement());
    assert!(again.settlement().unwrap().success);
    assert_eq!(again.header("cache-control"), Some("private"));
    assert_eq!(stall.runs(), 1);
}

#[tokio::test]
async fn what_is_not_kept_is_refused_as_used_without_a_word_of_paying() {
    let long: fn(usize) -> Response = |_| "x".repeat(64 * 1024 + 1).into_response();
    let no_store: fn(usize) -> Response =
        |_| ([("cache-control", "max-age=0, No-Store")], "x").into_response();
    let events: fn(usize) -> Response =
        |_| ([("content-type", "text/event-stream")], "data: x\n\n").into_response();
    let plain: fn(usize) -> Response = |_| "x".into_response();
    let heavy: fn(usize) -> Response = |_| ([("x-heavy", "h".repeat(17 * 1024))], "x").into_response();
    for (name, builder, answer) in [
        ("too long", builder(), long),
        ("no-store", builder(), no_store),
        ("events", builder(), events),
        ("heavy head", builder(), heavy),
        ("off", builder().stored_responses(StoredResponses::off()), plain),
        ("bound", builder().stored_responses(StoredResponses::default().max_body_bytes(0)), plain),
    ] {
        let (stall, first, again) = twice(builder, answer).await;
        assert_eq!((first.status, again.status), (200, 402), "{name}");
        assert_eq!(again.json("error"), "invalid_exact_evm_nonce_already_used", "{name}");
        assert!(!again.json("rule").contains("sign") && !again.json("rule").contains("new"), "{name}");
        assert_eq!(stall.runs(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_stream_whose_end_is_there_is_kept_and_one_that_waits_goes_on() {
    let ready: fn(usize) -> Response = |_| {
        let chunks = ["one ", "two"].map(Ok::<_, std::io::Error>);
        Body::from_stream(stream::iter(chunks)).into_response()
    };
    let (_, first, again) = twice(builder(), ready).await;
    assert_eq!((first.body.as_str(), again.body.as_str(), again.is_replay()), ("one two", "one two", true));
    let waits: fn(usize) -> Response = |_| {
        let chunks = stream::unfold(0, |at| async move {
            if at == 1 {
                tokio::task::yield_now().await;
            }
            (at < 3).then(|| (Ok::<_, std::io::Error>(format!("{at} ")), at + 1))
        });
        Body::from_stream(chunks).into_response()
    };
    let (stall, first, again) = twice(builder(), waits).await;
    assert_eq!((first.body.as_str(), again.status), ("0 1 2 ", 402), "whole, and not kept");
    assert_eq!(stall.runs(), 1);
}

#[tokio::test]
async fn an_answer_that_breaks_before_it_is_charged_is_not_charged() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let breaks: fn(usize) -> Response = |run| match run {
        0 => {
            let broken = [Ok("half"), Err(std::io::Error::other("broken"))];
            Body::from_stream(stream::iter(broken)).into_response()
        }
        _ => "whole".into_response(),
    };
    let builder = on_ledger(&facilitator, Arc::new(MemoryLedger::new()));
    let (_, first, again) = twice(builder, breaks).await;
    assert_eq!((first.status, again.status, again.body.as_str()), (500, 200, "whole"));
    assert_eq!(facilitator.calls(), (2, 1));
}

#[tokio::test]
async fn no_cookie_and_no_connection_header_is_kept() {
    let (_, first, again) = twice(builder(), |_| {
        let mut response = "x".into_response();
        let headers = response.headers_mut();
        headers.append(header::SET_COOKIE, HeaderValue::from_static("session=secret"));
        headers.append(header::CONNECTION, HeaderValue::from_static("close"));
        headers.append("x-kept", HeaderValue::from_static("yes"));
        response
    })
    .await;
    assert!(first.headers.contains_key("set-cookie"));
    assert!(again.is_replay() && again.header("x-kept") == Some("yes"));
    assert!(!again.headers.contains_key("set-cookie") && !again.headers.contains_key("connection"));
}

#[tokio::test]
async fn another_presenter_of_the_same_payment_does_not_get_the_answer() {
    let stall = Stall::open(builder()).await;
    let signed = stall.sign(&Buyer::new()).await;
    let send = async |headers: &[(&str, &str)]| {
        let all = [&[(signed.name, signed.value.as_str())], headers].concat();
        stall.send(Method::GET, "/data", &all, "").await
    };
    let mine = [("authorization", "Bearer me"), ("cookie", "session=me")];
    assert_eq!(send(&mine).await.status, 200);
    assert!(send(&mine).await.is_replay());
    for others in [
        &[][..],
        &mine[..1],
        &mine[1..],
        &[("authorization", "Bearer you"), ("cookie", "session=me")],
        &[("cookie", "Bearer me"), ("authorization", "session=me")],
    ] {
        assert_eq!(send(others).await.status, 402, "{others:?}");
    }
    // The same authorization, rebuilt from the chain in another spelling.
    let mut rebuilt = signed.payment.clone();
    rebuilt.other.insert("more".to_owned(), 1.into());
    let rebuilt = Signed::of(rebuilt);
    let all = [&[(rebuilt.name, rebuilt.value.as_str())], &mine[..]].concat();
    assert_eq!(stall.send(Method::GET, "/data", &all, "").await.status, 402);
    assert_eq!(stall.runs(), 1);
}

#[tokio::test]
async fn a_stored_answer_is_given_out_for_its_age_and_no_longer() {
    let clock = Arc::new(ManualClock::new(now()));
    let stored = StoredResponses::default().age_seconds(100);
    let stall = Stall::open(builder().clock(clock.clone()).stored_responses(stored)).await;
    let signed = stall.sign(&Buyer::new()).await;
    assert_eq!(stall.present(&signed).await.status, 200);
    clock.set(now().plus_seconds(90));
    assert!(stall.present(&signed).await.is_replay());
    clock.set(now().plus_seconds(110));
    assert_eq!(stall.present(&signed).await.status, 402);
    assert_eq!(stall.runs(), 1);
}

#[tokio::test]
async fn an_answer_outlives_the_seller_that_gave_it() {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    let ledger = Arc::new(MemoryLedger::new());
    let first = Stall::open(on_ledger(&facilitator, ledger.clone())).await;
    let signed = first.sign(&Buyer::new()).await;
    let answer = first.present(&signed).await;
    drop(first);
    let second = Stall::open(on_ledger(&facilitator, ledger)).await;
    let again = second.present(&signed).await;
    assert!(again.is_replay() && again.body == answer.body);
    assert_eq!((second.runs(), facilitator.calls()), (0, (1, 1)));
}

async fn identifying(rule: IdentifierRule) -> (Stall, Signed) {
    let stall = Stall::open(builder().payment_identifier(rule)).await;
    let signed = stall.sign(&Buyer::new()).await;
    (stall, signed)
}

#[tokio::test]
async fn a_new_identifier_is_processed_and_the_same_with_the_same_payload_is_answered_again() {
    let (stall, signed) = identifying(IdentifierRule::Optional).await;
    let signed = identified(&signed, ID);
    let first = stall.present(&signed).await;
    let again = stall.present(&signed).await;
    assert_eq!((first.status, first.is_replay(), again.is_replay()), (200, false, true));
    assert_eq!((first.body, stall.runs()), (again.body, 1));
}

#[tokio::test]
async fn the_same_identifier_with_another_payload_is_409_and_names_the_field() {
    let (stall, signed) = identifying(IdentifierRule::Optional).await;
    assert_eq!(stall.present(&identified(&signed, ID)).await.status, 200);
    let other = identified(&stall.sign(&Buyer::new()).await, ID);
    let answer = stall.present(&other).await;
    assert_eq!((answer.status, answer.json("error").as_str()), (409, "payment_identifier_conflict"));
    assert_eq!(answer.json("field"), "extensions.payment-identifier.info.id");
    assert!(!answer.headers.contains_key("retry-after"), "it will not pass by itself");
    // The same payload for another request is another operation.
    let same = identified(&signed, ID);
    let elsewhere = stall.send(Method::POST, "/data", &[(same.name, &same.value)], "").await;
    assert_eq!(elsewhere.status, 409);
    assert_eq!(stall.runs(), 1);
}

#[tokio::test]
async fn a_required_identifier_that_is_missing_is_400() {
    let (stall, signed) = identifying(IdentifierRule::Required).await;
    let answer = stall.present(&signed).await;
    assert_eq!(
        (answer.status, answer.json("field").as_str()),
        (400, "extensions.payment-identifier.info.id")
    );
    assert_eq!(stall.paywall.reservation_count().await, Ok(0));
    assert_eq!(stall.present(&identified(&signed, ID)).await.status, 200);
}

#[tokio::test]
async fn an_identifier_that_is_none_is_400_and_reserves_nothing() {
    let (stall, signed) = identifying(IdentifierRule::Optional).await;
    for wrong in ["", "short", &"a".repeat(129), "pay 7d5d747be160e280", "pay_7d5d747be160\"e280"] {
        assert_eq!(stall.present(&identified(&signed, wrong)).await.status, 400, "{wrong}");
    }
    let mut number = signed.payment.clone();
    number.extensions["payment-identifier"]["info"]["id"] = json!(1_234_567_890_123_456u64);
    assert_eq!(stall.present(&Signed::of(number)).await.status, 400);
    assert_eq!((stall.runs(), stall.paywall.reservation_count().await), (0, Ok(0)));
    assert_eq!(stall.present(&signed).await.status, 200, "none is fine");
}

#[tokio::test]
async fn the_echo_of_the_declaration_is_still_held() {
    let (stall, signed) = identifying(IdentifierRule::Required).await;
    let mut denied = identified(&signed, ID).payment;
    denied.extensions["payment-identifier"]["info"]["required"] = false.into();
    let answer = stall.present(&Signed::of(denied)).await;
    assert_eq!((answer.status, answer.json("error").as_str()), (402, "extension_echo_mismatch"));
}

#[tokio::test]
async fn where_an_identifier_is_required_for_it_only_who_had_one_gets_the_stored_answer() {
    let stored = StoredResponses::default().require_identifier();
    let builder = builder().stored_responses(stored).payment_identifier(IdentifierRule::Optional);
    let stall = Stall::open(builder).await;
    let buyer = Buyer::new();
    let (plain, named) = (stall.sign(&buyer).await, identified(&stall.sign(&buyer).await, ID));
    for signed in [&plain, &named] {
        assert_eq!(stall.present(signed).await.status, 200);
    }
    assert_eq!(stall.present(&plain).await.status, 402);
    assert!(stall.present(&named).await.is_replay());
    // Without the secret the chain does not tell.
    let mut stripped = named.payment.clone();
    stripped.extensions["payment-identifier"]["info"]["id"] = "pay_00000000000000000000000000000000".into();
    assert_eq!(stall.present(&Signed::of(stripped)).await.status, 402);
}

#[tokio::test(start_paused = true)]
async fn the_same_identifier_while_it_runs_is_409_and_worth_a_retry() {
    let (stall, signed) = identifying(IdentifierRule::Optional).await;
    let signed = identified(&signed, ID);
    let late = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        stall.present(&signed).await
    };
    let (first, second) = tokio::join!(stall.present(&signed), late);
    assert_eq!((first.status, second.status), (200, 409));
    assert_eq!(second.json("error"), "payment_in_progress");
    assert!(second.headers.contains_key("retry-after"));
}

//! The wallet's client among other middleware, and bodies that stream, in both directions.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use http_body::Frame;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use tokio::sync::mpsc;
use tollway_buyer::{PaymentError, paid};

use crate::purse::{Purse, error_of};
use crate::shop::{Shop, challenge, plain, sell, usdc};

/// A client of the purse's below a layer that retries whatever it takes for transient.
fn retrying(purse: &Purse) -> ClientWithMiddleware {
    let brief = Duration::from_millis(1);
    let policy = ExponentialBackoff::builder().retry_bounds(brief, brief).build_with_max_retries(3);
    ClientBuilder::new(reqwest::Client::new())
        .with(RetryTransientMiddleware::new_with_policy(policy))
        .with(purse.wallet.middleware().unwrap())
        .build()
}

/// A body that comes as it is sent, and cannot be sent twice.
struct Stream(mpsc::Receiver<Bytes>);

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn stream_of(text: &'static str) -> reqwest::Body {
    let (sender, receiver) = mpsc::channel(1);
    sender.try_send(Bytes::from_static(text.as_bytes())).unwrap();
    reqwest::Body::wrap(Stream(receiver))
}

#[tokio::test]
async fn a_streaming_body_is_free_to_pass_and_too_late_to_pay_for() {
    let shop = Shop::open(|seen| {
        Some(match seen.path.as_str() {
            "/free" => plain(StatusCode::OK, seen.body.clone()),
            _ => sell(seen, || challenge(&seen.bill(vec![usdc(1)]))),
        })
    })
    .await;
    let purse = Purse::default();
    let client = purse.wallet.client().unwrap();
    let free = client.post(shop.url("/free")).body(stream_of("question")).send().await.unwrap();
    assert_eq!(free.text().await.unwrap(), "question");
    let result = client.post(shop.url("/paid")).body(stream_of("question")).send().await;
    assert!(matches!(error_of(&result), PaymentError::BodyNotReplayable));
    assert!(result.unwrap_err().to_string().contains("buffer it"));
    // A layer that retries keeps a copy of its own, and says so before anything is sent.
    let error =
        retrying(&purse).post(shop.url("/paid")).body(stream_of("question")).send().await.unwrap_err();
    assert!(error.to_string().contains("streaming body"), "{error}");
    assert_eq!((purse.signatures(), shop.payments().len()), (0, 0));
}

#[tokio::test]
async fn a_layer_that_retries_buys_once_and_tells_what_became_of_it() {
    // The unpaid request fails once, which is retried; what is paid for is not.
    let failed = Mutex::new(false);
    let shop = Shop::open(move |seen| {
        let is_first = !std::mem::replace(&mut *failed.lock().unwrap(), true);
        Some(match is_first {
            true => plain(StatusCode::SERVICE_UNAVAILABLE, ""),
            false => sell(seen, || challenge(&seen.bill(vec![usdc(1)]))),
        })
    })
    .await;
    let purse = Purse::default();
    let response = retrying(&purse).get(shop.url("/data")).send().await.unwrap();
    assert!(response.status() == StatusCode::OK && paid(&response).is_some());
    assert_eq!((purse.signatures(), shop.payments().len(), shop.seen().len()), (1, 1, 3));
    // A payment whose answer is lost is presented again by the wallet, and bought anew by nobody.
    let silent =
        Shop::open(|seen| seen.payment().is_none().then(|| challenge(&seen.bill(vec![usdc(1)])))).await;
    let purse = Purse::waiting(Duration::from_secs(1));
    let result = retrying(&purse).get(silent.url("/data")).send().await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("do not buy anew"), "{error}");
    assert_eq!((purse.signatures(), silent.distinct_payments()), (1, 1));
}

#[tokio::test]
async fn a_paid_answer_streams_as_it_comes() {
    let (sender, receiver) = mpsc::channel(1);
    let events = Mutex::new(Some(receiver));
    let shop = Shop::open(move |seen| {
        let mut response = sell(seen, || challenge(&seen.bill(vec![usdc(1)])));
        if seen.payment().is_some() {
            let events = events.lock().unwrap().take().unwrap();
            *response.body_mut() = Body::new(Stream(events));
            response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
        }
        Some(response)
    })
    .await;
    let purse = Purse::default();
    // The answer is here before there is anything in it, and each event before the next is thought of.
    let mut response = purse.get(&shop.url("/events")).await.unwrap();
    assert!(paid(&response).is_some());
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        sender.send(Bytes::from_static(event.as_bytes())).await.unwrap();
        assert_eq!(response.chunk().await.unwrap().unwrap(), event);
    }
    drop(sender);
    assert_eq!(response.chunk().await.unwrap(), None);
}

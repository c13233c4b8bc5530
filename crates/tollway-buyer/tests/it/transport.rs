//! Where payments go: to the origin that was requested, over a connection nobody listens to, once.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::http::StatusCode;
use bytes::Bytes;
use http_body::Frame;
use tollway_buyer::{PaymentError, Policy, paid};
use tollway_core::wire;

use crate::purse::{Purse, error_of};
use crate::shop::{Shop, bill, challenge, challenge_v1, plain, redirect, sell, usdc};

#[tokio::test]
async fn plaintext_is_refused_before_anything_is_signed() {
    let shop = Shop::honest(vec![usdc(1)]).await;
    let address = shop.address;
    // The name leads to this machine, but the wallet cannot know that it will tomorrow.
    let purse = Purse::with(Policy::default(), move |http| http.resolve("shop.example.com", address));
    let error = purse.refusal(&format!("http://shop.example.com:{}/data?key=s3cret", address.port())).await;
    assert!(error.contains("plaintext") && !error.contains("s3cret"), "{error}");
    assert_eq!(shop.payments().len(), 0);
    assert_eq!(purse.get(&shop.url("/data")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn localhost_by_name_is_paid() {
    let shop = Shop::open(|seen| {
        let resource = format!("http://localhost:{}/data", seen.shop.port());
        Some(sell(seen, || challenge(&bill(&resource, vec![usdc(1)]))))
    })
    .await;
    let purse = Purse::default();
    let response = purse.get(&format!("http://localhost:{}/data", shop.address.port())).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_plaintext_payment_passes_no_proxy() {
    let shop = Shop::honest(vec![usdc(1)]).await;
    let resource = shop.url("/data");
    let proxy = Shop::open(move |_| Some(challenge(&bill(&resource, vec![usdc(1)])))).await;
    let url = proxy.url("");
    let through = move |http: reqwest::ClientBuilder| http.proxy(reqwest::Proxy::http(&url).unwrap());
    let purse = Purse::with(Policy::default(), through);
    assert_eq!(purse.get(&shop.url("/data")).await.unwrap().status(), 200);
    assert_eq!((proxy.seen().len(), proxy.payments().len(), shop.payments().len()), (1, 0, 1));
}

#[tokio::test]
async fn a_payment_to_localhost_stays_here_whatever_the_name_leads_to() {
    let shop = Shop::open(|seen| Some(seen.goods())).await;
    let port = shop.address.port();
    // The same port of another address is free: nobody else uses that one.
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], port));
    let liar = Shop::open_at(elsewhere, |seen| {
        let resource = format!("http://localhost:{}/data", seen.shop.port());
        Some(challenge(&bill(&resource, vec![usdc(1)])))
    })
    .await;
    let purse = Purse::with(Policy::default(), move |http| http.resolve("localhost", elsewhere));
    let response = purse.get(&format!("http://localhost:{port}/data")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!((liar.payments().len(), shop.payments().len()), (0, 1));
}

#[tokio::test]
async fn a_resource_somewhere_else_is_refused() {
    let victim = Shop::honest(vec![usdc(1)]).await;
    let lure = victim.url("/data");
    let spoof = lure.clone();
    let shop = Shop::open(move |seen| Some(sell(seen, || challenge(&bill(&spoof, vec![usdc(1)]))))).await;
    let error = Purse::default().refusal(&shop.url("/data")).await;
    assert!(error.contains(&victim.url("")) && error.contains("trust that resource host"), "{error}");
    let v1 = Shop::open(move |seen| Some(sell(seen, || challenge_v1(&bill(&lure, vec![usdc(1)]))))).await;
    Purse::default().refusal(&v1.url("/data")).await;
    assert_eq!((shop.payments().len(), v1.payments().len(), victim.payments().len()), (0, 0, 0));
}

#[tokio::test]
async fn a_lookalike_of_the_host_is_refused_unless_trusted() {
    let shop = Shop::open(|seen| {
        let resource = format!("http://127.0.0.1.example.com:{}/data", seen.shop.port());
        Some(sell(seen, || challenge(&bill(&resource, vec![usdc(1)]))))
    })
    .await;
    Purse::default().refusal(&shop.url("/data")).await;
    let trusting = Purse::new(Policy::default().trust_resource_host("127.0.0.1.example.com"));
    assert_eq!(trusting.get(&shop.url("/data")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_402_behind_a_redirect_is_not_paid() {
    let other = Shop::honest(vec![usdc(1)]).await;
    let (away, target) = (other.url("/data"), other.url("/data"));
    let shop =
        Shop::open(move |seen| Some(if seen.path == "/here" { redirect("/there") } else { redirect(&away) }))
            .await;
    for path in ["/data", "/here"] {
        let error = Purse::default().refusal(&shop.url(path)).await;
        assert!(error.contains("request it directly") && error.contains(&target), "{error}");
    }
    assert_eq!((shop.payments().len(), other.payments().len()), (0, 0));
    assert_eq!(Purse::default().get(&target).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_redirect_of_the_paid_request_is_not_followed() {
    let other = Shop::open(|_| Some(plain(StatusCode::OK, "thanks"))).await;
    let away = other.url("/data");
    let shop = Shop::open(move |seen| {
        Some(if seen.payment().is_some() { redirect(&away) } else { challenge(&seen.bill(vec![usdc(1)])) })
    })
    .await;
    let purse = Purse::default();
    let response = purse.get(&shop.url("/data")).await.unwrap();
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert!(paid(&response).is_some_and(|paid| paid.settlement.is_none()));
    assert_eq!((shop.payments().len(), other.seen().len()), (1, 0));
}

#[tokio::test]
async fn a_paid_request_answered_by_a_redirect_is_suspicious() {
    for (status, has_receipt) in [(303, false), (307, true), (308, false)] {
        let shop = Shop::open(move |seen| {
            let mut response = sell(seen, || challenge(&seen.bill(vec![usdc(1)])));
            if seen.payment().is_some() {
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                response.headers_mut().insert("location", "/elsewhere".parse().unwrap());
                if !has_receipt {
                    response.headers_mut().remove(wire::PAYMENT_RESPONSE);
                }
            }
            Some(response)
        })
        .await;
        let response = Purse::default().get(&shop.url("/data")).await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        let paid = paid(&response).unwrap();
        assert_eq!(paid.settlement.is_some(), has_receipt);
        let suspicious = paid.suspicious.as_deref().unwrap();
        assert!(suspicious.contains("redirect") && suspicious.contains("not followed"), "{suspicious}");
    }
}

#[tokio::test]
async fn a_paid_answer_that_is_not_modified_is_no_redirect() {
    let shop = Shop::open(|seen| {
        let mut response = sell(seen, || challenge(&seen.bill(vec![usdc(1)])));
        if seen.payment().is_some() {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        Some(response)
    })
    .await;
    let response = Purse::default().get(&shop.url("/data")).await.unwrap();
    assert_eq!((response.status().as_u16(), paid(&response).unwrap().suspicious.as_ref()), (304, None));
}

#[tokio::test]
async fn a_caller_that_brings_a_payment_is_not_paid_for_and_not_redirected() {
    let other = Shop::open(|_| Some(plain(StatusCode::OK, "thanks"))).await;
    let away = other.url("/data");
    let shop = Shop::open(move |seen| {
        Some(if seen.path == "/away" { redirect(&away) } else { challenge(&seen.bill(vec![usdc(1)])) })
    })
    .await;
    let purse = Purse::default();
    let client = purse.wallet.client().unwrap();
    for (header, path, status) in [
        (wire::PAYMENT_SIGNATURE, "/data", StatusCode::PAYMENT_REQUIRED),
        (wire::X_PAYMENT, "/data", StatusCode::PAYMENT_REQUIRED),
        (wire::X_PAYMENT, "/away", StatusCode::TEMPORARY_REDIRECT),
    ] {
        let response = client.get(shop.url(path)).header(header, "mine").send().await.unwrap();
        assert_eq!(response.status(), status);
        assert!(paid(&response).is_none());
    }
    assert_eq!((purse.signatures(), shop.payments(), other.seen().len()), (0, vec!["mine".to_owned(); 3], 0));
}

/// A body that can be sent once.
struct Stream(Option<Bytes>);

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[tokio::test]
async fn a_streaming_body_is_refused_before_anything_is_signed() {
    let shop = Shop::honest(vec![usdc(1)]).await;
    let purse = Purse::default();
    let client = purse.wallet.client().unwrap();
    let stream = reqwest::Body::wrap(Stream(Some(Bytes::from_static(b"question"))));
    let result = client.post(shop.url("/ask")).body(stream).send().await;
    assert!(matches!(error_of(&result), PaymentError::BodyNotReplayable));
    assert_eq!((purse.signatures(), shop.payments().len()), (0, 0));

    let response = client.post(shop.url("/ask")).body("question").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let seen = shop.seen();
    assert!(seen.iter().all(|seen| seen.body == "question"));
    assert_eq!(purse.signatures(), 1);
}

#[tokio::test]
async fn the_paid_request_is_the_unpaid_one_with_a_payment() {
    let shop = Shop::honest(vec![usdc(1)]).await;
    let client = Purse::default().wallet.client().unwrap();
    client.put(shop.url("/a?b=c")).header("x-mine", "1").body("body").send().await.unwrap();
    let seen = shop.seen();
    assert_eq!(seen[0].path, seen[1].path);
    assert_eq!(seen[0].body, seen[1].body);
    let mut paid = seen[1].headers.clone();
    assert!(paid.remove(wire::PAYMENT_SIGNATURE).is_some());
    assert_eq!(paid, seen[0].headers);
}

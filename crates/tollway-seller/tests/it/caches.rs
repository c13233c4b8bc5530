//! What caches may keep, judged by a library that real ones are built with (RFC 9111): nothing that was paid for in a shared
//! one, whatever the handler allows; no 402 in any; and nothing is given from a private one to a request that does not pay.

use std::sync::Arc;
use std::time::SystemTime;

use axum::http::header::CACHE_CONTROL;
use axum::http::{Method, Request, Response};
use axum::response::IntoResponse;
use http_cache_semantics::{CacheOptions, CachePolicy};

use crate::doubles::{Buyer, ScriptedFacilitator, Signed, builder};
use crate::stall::{Answer, Handler, Stall, URL};

/// What handlers say of their answers, from nothing to everything.
const ALLOWED: [&str; 6] = [
    "",
    "max-age=3600",
    "public, max-age=3600",
    "public, s-maxage=3600, max-age=3600, immutable",
    "must-revalidate, max-age=3600, stale-while-revalidate=60",
    "private=\"x-user\", s-maxage=3600",
];

/// A handler whose answers may be kept so.
fn allowing(cache_control: &'static str) -> Handler {
    Arc::new(move |_| {
        let response = match cache_control {
            "" => "paid content".into_response(),
            _ => ([(CACHE_CONTROL, cache_control)], "paid content").into_response(),
        };
        Box::pin(std::future::ready(response))
    })
}

fn request(signed: Option<&Signed>) -> Request<()> {
    let request = Request::builder().method(Method::GET).uri(URL);
    match signed {
        Some(signed) => request.header(signed.name, &signed.value),
        None => request,
    }
    .body(())
    .unwrap()
}

/// What a cache makes of an answer.
fn kept(request: &Request<()>, answer: &Answer, shared: bool) -> CachePolicy {
    let mut response = Response::builder().status(answer.status).body(()).unwrap();
    *response.headers_mut() = answer.headers.clone();
    let options = CacheOptions { shared, ..CacheOptions::default() };
    CachePolicy::new_options(request, &response, SystemTime::now(), options)
}

async fn stall(cache_control: &'static str) -> Stall {
    let facilitator = Arc::new(ScriptedFacilitator::default());
    Stall::with(builder(&facilitator), |priced| priced, allowing(cache_control)).await
}

#[test]
fn the_judge_keeps_what_may_be_kept() {
    for (cache_control, is_kept) in [("public, max-age=3600", true), ("private, max-age=3600", false)] {
        let headers = [(CACHE_CONTROL, cache_control.parse().unwrap())].into_iter().collect();
        let answer = Answer { status: 200, headers, body: String::new() };
        assert_eq!(kept(&request(None), &answer, true).is_storable(), is_kept, "{cache_control}");
    }
}

#[tokio::test]
async fn no_shared_cache_keeps_what_was_paid_for_whatever_the_handler_allows() {
    let buyer = Buyer::new();
    for cache_control in ALLOWED {
        let stall = stall(cache_control).await;
        let signed = stall.sign(&buyer).await;
        let paid = stall.present(&signed).await;
        assert_eq!(paid.status, 200, "{cache_control}");
        assert!(
            !kept(&request(Some(&signed)), &paid, true).is_storable(),
            "{cache_control}: {:?}",
            paid.headers
        );
    }
}

#[tokio::test]
async fn no_cache_keeps_a_402() {
    let buyer = Buyer::new();
    for cache_control in ALLOWED {
        let stall = stall(cache_control).await;
        let unpaid = stall.send(Method::GET, "/data", &[], "").await;
        let mut forged = stall.sign(&buyer).await;
        forged.value = stall.sign(&Buyer::new()).await.value.replacen('A', "B", 40);
        let refused = stall.present(&forged).await;
        assert_eq!(unpaid.status, 402);
        assert!(refused.status >= 400, "{refused:?}");
        for shared in [true, false] {
            assert!(!kept(&request(None), &unpaid, shared).is_storable(), "{cache_control}: {unpaid:?}");
            assert!(
                !kept(&request(Some(&forged)), &refused, shared).is_storable(),
                "{cache_control}: {refused:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_private_cache_gives_what_was_paid_for_to_nobody_who_does_not_pay() {
    let (stall, buyer) = (stall("public, max-age=3600").await, Buyer::new());
    let signed = stall.sign(&buyer).await;
    let paid = stall.present(&signed).await;
    let own = kept(&request(Some(&signed)), &paid, false);
    assert!(own.is_storable(), "a browser's own cache may keep it: {:?}", paid.headers);
    let now = SystemTime::now();
    assert!(own.before_request(&request(Some(&signed)), now).satisfies_without_revalidation());
    assert!(!own.before_request(&request(None), now).satisfies_without_revalidation());
    let another = stall.sign(&Buyer::new()).await;
    assert!(!own.before_request(&request(Some(&another)), now).satisfies_without_revalidation());
}

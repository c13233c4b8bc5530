//! Prices over HTTP and from files, as they come: slow, huge, elsewhere, and nonsense.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use tollway_core::{Decimal, UnixTime};
use tollway_seller::{FileSource, HttpSource, PriceSource, Quote, SourceError, SourceUrlError};

use crate::doubles::serve;

async fn told(source: HttpSource) -> Result<Quote, SourceError> {
    source.quote().await
}

fn unreadable(answer: &Result<Quote, SourceError>) -> bool {
    matches!(answer, Err(SourceError::Unreadable(_)))
}

fn no_answer(answer: &Result<Quote, SourceError>) -> bool {
    matches!(answer, Err(SourceError::NoAnswer(_)))
}

#[tokio::test]
async fn a_price_is_read_from_where_the_pointers_say() {
    const BODY: &str = r#"{"timestamp":1750000000,"rates":{"USD":1.0832}}"#;
    let app = Router::new().route(
        "/latest",
        get(|headers: HeaderMap| async move {
            if headers.get("x-api-key").is_some_and(|key| key == "s3cret") {
                BODY.into_response()
            } else {
                StatusCode::UNAUTHORIZED.into_response()
            }
        }),
    );
    let origin = serve(app).await;
    let source = HttpSource::new(&format!("{origin}/latest?base=EUR&key=s3cret"), "/rates/USD").unwrap();
    let source = source.time_at("/timestamp");
    assert!(unreadable(&source.quote().await), "401 is no price");
    let source = source.header("X-Api-Key", "s3cret").unwrap();
    let expected = Quote { dollars: "1.0832".parse().unwrap(), at: Some(UnixTime(1_750_000_000)) };
    assert_eq!(source.quote().await, Ok(expected));
    assert_eq!(source.name(), origin);
    assert!(!format!("{source:?}").contains("s3cret"), "{source:?}");
}

#[tokio::test]
async fn an_answer_that_is_no_price_is_none() {
    let huge = || async { format!(r#"{{"usd":1,"pad":"{}"}}"#, "x".repeat(70_000)) };
    // Announces no length, and has no end.
    let endless = || async {
        let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>("1".repeat(1_000)));
        Body::from_stream(chunks)
    };
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let elsewhere = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async { r#"{"usd":1}"# }
    };
    let app = Router::new()
        .route("/huge", get(huge))
        .route("/endless", get(endless))
        .route("/redirect", get(|| async { Redirect::temporary("/elsewhere") }))
        .route("/elsewhere", get(elsewhere))
        .route("/nothing", get(|| async { StatusCode::NO_CONTENT }))
        .route("/html", get(|| async { "<html>1.08</html>" }))
        .route(
            "/number/{text}",
            get(|path: axum::extract::Path<String>| async move { format!(r#"{{"usd":{}}}"#, *path) }),
        );
    let origin = serve(app).await;
    let source = |path: &str| HttpSource::new(&format!("{origin}{path}"), "/usd").unwrap();
    for path in ["/huge", "/endless", "/redirect", "/nothing", "/html", "/unknown"] {
        let answer = told(source(path)).await;
        assert!(unreadable(&answer), "{path}: {answer:?}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "no redirect is followed");
    for text in ["NaN", "Infinity", "-1", "0", "1e2", "1E-2", "null", "\"NaN\"", "\"-1\"", "[1]", "1,0"] {
        let path = format!("/number/{}", text.replace('"', "%22").replace('[', "%5B").replace(']', "%5D"));
        let answer = told(source(&path)).await;
        assert!(unreadable(&answer), "{text}: {answer:?}");
    }
    let exact = told(source("/number/0.99970000000000003")).await.map(|quote| quote.dollars);
    assert_eq!(exact, Ok("0.99970000000000003".parse::<Decimal>().unwrap()), "no digit is lost");
}

#[tokio::test]
async fn a_source_that_does_not_answer_is_waited_for_within_its_limit() {
    let silent = || async { std::future::pending::<&str>().await };
    let stalled = || async {
        let first = futures_util::stream::iter([Ok::<_, std::io::Error>("{\"usd\":")]);
        Body::from_stream(futures_util::StreamExt::chain(first, futures_util::stream::pending()))
    };
    let app = Router::new()
        .route("/silent", get(silent))
        .route("/stalled", get(stalled))
        .route("/busy", get(|| async { StatusCode::TOO_MANY_REQUESTS }))
        .route("/broken", get(|| async { StatusCode::BAD_GATEWAY }));
    let origin = serve(app).await;
    let source = |path: &str| HttpSource::new(&format!("{origin}{path}"), "/usd").unwrap().timeout_ms(200);
    for path in ["/silent", "/stalled", "/busy", "/broken"] {
        let answer = tokio::time::timeout(Duration::from_secs(5), told(source(path))).await.unwrap();
        assert!(no_answer(&answer), "{path}: {answer:?}");
    }
    assert!(no_answer(&told(HttpSource::new("http://127.0.0.1:9/", "/usd").unwrap()).await));
}

#[test]
fn prices_come_over_https_or_from_this_machine() {
    for url in ["http://rates.example/", "ftp://127.0.0.1/", "http://10.0.0.7/", "http://localhost.example/"]
    {
        assert_eq!(HttpSource::new(url, "/usd").unwrap_err(), SourceUrlError::Insecure, "{url}");
    }
    let credentials = HttpSource::new("https://user:secret@rates.example/", "/usd").unwrap_err();
    assert_eq!(credentials, SourceUrlError::Credentials);
    assert!(matches!(HttpSource::new("rates.example", "/usd"), Err(SourceUrlError::Malformed(_))));
    assert!(matches!(HttpSource::new("https://rates.example/", "usd"), Err(SourceUrlError::Pointer(_))));
    let source = HttpSource::new("https://rates.example/", "/usd").unwrap();
    assert!(matches!(source.clone().header("no name", "x"), Err(SourceUrlError::Header(_))));
    let error = source.header("x-api-key", "s3cret\n").unwrap_err();
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_price_is_none_and_its_age_is_that_of_its_last_change() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rates.json");
    let source = FileSource::new(&path, "/EURC");
    assert!(unreadable(&source.quote().await), "it is not there");
    assert!(unreadable(&FileSource::new(directory.path(), "/EURC").quote().await), "it is a directory");
    std::fs::write(&path, r#"{"EURC": 1.08"#).unwrap();
    assert!(unreadable(&source.quote().await), "it is half a file");
    std::fs::write(&path, format!(r#"{{"EURC": 1, "pad": "{}"}}"#, "x".repeat(70_000))).unwrap();
    assert!(unreadable(&source.quote().await), "it is too long");
    std::fs::write(&path, r#"{"EURC": 1.08, "at": 1750000000123}"#).unwrap();
    let changed = UnixTime(1_700_000_000);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(changed.0)).unwrap();
    let dollars = "1.08".parse().unwrap();
    assert_eq!(source.quote().await, Ok(Quote { dollars, at: Some(changed) }));
    let at = Some(UnixTime(1_750_000_000));
    assert_eq!(source.clone().time_at("/at").quote().await, Ok(Quote { dollars, at }));
    assert!(unreadable(&source.clone().time_at("/nowhere").quote().await));
    assert!(unreadable(&FileSource::new(&path, "EURC").quote().await), "that is no pointer");
    std::fs::remove_file(&path).unwrap();
    assert!(unreadable(&source.quote().await), "what was read before is not told again");
}

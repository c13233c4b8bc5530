//! Attacks on `tollway proxy`, and on whoever uses it: from clients, from pages in browsers, from sellers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::{get, post};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tollway_core::model::{PaymentRequired, PaymentRequirements, ResourceInfo};
use tollway_core::{JsonObject, Network, SchemeName, X402Version, wire};
use tollway_devnet::genesis;

use crate::market::{Market, serve};
use crate::paying_proxy::Running;
use crate::process::tollway;

/// Sends bytes as they are, and reads until the other end closes.
async fn raw(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Who refuses early does not read on.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(20), reading).await.expect("the proxy closes");
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
}

/// A header as text; nothing if it is not there.
fn told<'a>(response: &'a reqwest::Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// A 402 for one cent at `url`.
fn challenge(url: &str) -> Response<Body> {
    let extra = json!({"name": "USDC", "version": "2"});
    let offer = PaymentRequirements {
        scheme: SchemeName::EXACT,
        network: Network::evm(31_337),
        amount: 10_000.into(),
        asset: genesis::USDC.to_string(),
        pay_to: "0x1111111111111111111111111111111111111111".to_owned(),
        max_timeout_seconds: 60,
        extra: extra.as_object().unwrap().clone(),
        other: JsonObject::new(),
    };
    let required = PaymentRequired {
        version: X402Version::V2,
        error: None,
        resource: Some(ResourceInfo::new(url)),
        accepts: vec![offer],
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    };
    let header = wire::encode_header(&wire::encode_payment_required(&required, X402Version::V2));
    let response = Response::builder().status(402).header(wire::PAYMENT_REQUIRED, header);
    response.body(Body::from("pay")).unwrap()
}

/// Shows what it was sent, and pretends to be the proxy.
async fn echo() -> (String, tokio::task::JoinHandle<()>) {
    let show = |headers: HeaderMap, body: String| async move {
        let shown: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        let response = Response::builder().header("tollway-paid", "0 USDC").header("x-seller", "1");
        response.body(Body::from(format!("{}\n\n{body}", shown.join("\n")))).unwrap()
    };
    serve(Router::new().route("/", get(show).post(show))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_wanted_and_never_shown_to_a_seller() {
    let market = Market::open().await;
    let (url, _echo) = echo().await;
    let proxy = Running::start_with(&market, &["--token", "alice=env:PROXY_TOKEN"], |command| {
        command.env("PROXY_TOKEN", "a-token-of-some-length");
    });
    let ask = |user: &'static str, token: &'static str, url: String| {
        let through = reqwest::Proxy::all(&proxy.url).unwrap();
        let through = if token.is_empty() { through } else { through.basic_auth(user, token) };
        reqwest::Client::builder().proxy(through).build().unwrap().get(url).send()
    };
    for (user, token) in
        [("alice", ""), ("alice", "a-token-of-some-lengtH"), ("bob", "a-token-of-some-length")]
    {
        let refused = ask(user, token, market.url("/data")).await.unwrap();
        assert_eq!(
            (refused.status().as_u16(), told(&refused, "proxy-authenticate")),
            (407, "Basic realm=\"tollway\"")
        );
    }
    assert_eq!(market.received().await, 0);
    let answer = ask("alice", "a-token-of-some-length", url).await.unwrap();
    assert_eq!((told(&answer, "tollway-paid"), told(&answer, "x-seller")), ("", "1"));
    let shown = answer.text().await.unwrap();
    assert!(!shown.contains("proxy-authorization") && shown.contains("via"), "{shown}");
    let bought = ask("alice", "a-token-of-some-length", market.url("/data")).await.unwrap();
    assert_eq!((bought.status().as_u16(), market.received().await), (200, 10_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_this_machine_it_wants_a_token_and_leads_to_nothing_private() {
    let market = Market::open().await;
    let open = tollway()
        .args(["proxy", "--listen", "0.0.0.0:0"])
        .env("TOLLWAY_KEY", market.buyer_key())
        .output()
        .unwrap();
    assert!(!open.status.success() && String::from_utf8_lossy(&open.stderr).contains("--token"));
    let arguments = ["--listen", "0.0.0.0:0", "--token", "env:PROXY_TOKEN"];
    let proxy = Running::start_with(&market, &arguments, |command| {
        command.env("PROXY_TOKEN", "a-token-of-some-length");
    });
    let through = reqwest::Proxy::all(&proxy.url).unwrap().basic_auth("a", "a-token-of-some-length");
    let client = reqwest::Client::builder().proxy(through).build().unwrap();
    let port = market.seller_url.rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"] {
        let refused = client.get(format!("http://{host}:{port}/data")).send().await.unwrap();
        assert_eq!((refused.status().as_u16(), told(&refused, "tollway-error")), (403, "reach"), "{host}");
    }
    let token = "Proxy-Authorization: Bearer a-token-of-some-length\r\n";
    let tunnel = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{token}\r\n");
    assert_eq!(status(&raw(proxy.address(), &tunnel).await), 403);
    assert_eq!((market.received().await, market.handled()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_in_browsers_do_not_spend() {
    let market = Market::open().await;
    let base = Running::start(&market, &["--upstream", &market.seller_url]);
    let proxy = Running::start(&market, &[]);
    let direct = reqwest::Client::new();
    for (name, value, expected) in [
        ("origin", "https://evil.example", 403),
        ("origin", "http://localhost:3000", 403),
        ("origin", "null", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("host", "rebound.evil.example", 421),
    ] {
        let refused = direct.get(format!("{}/data", base.url)).header(name, value).send().await.unwrap();
        assert_eq!(refused.status(), expected, "{name}: {value}");
        if name != "host" {
            let refused = proxy.client().get(market.url("/data")).header(name, value).send().await.unwrap();
            assert_eq!(refused.status(), expected, "{name}: {value}");
        }
    }
    assert_eq!((market.received().await, market.handled()), (0, 0));
    assert_eq!(direct.get(format!("{}/data", base.url)).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leads_back_into_the_proxy() {
    let market = Market::open().await;
    let proxy = Running::start(&market, &[]);
    let second = Running::start(&market, &["--upstream", &proxy.url]);
    let port = proxy.address().rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "localhost", "0.0.0.0"] {
        let answer = proxy.client().get(format!("http://{host}:{port}/")).send().await.unwrap();
        // What comes back is asked of a server, not of a proxy, or has been here before.
        assert!([400, 508].contains(&answer.status().as_u16()), "{host}: {}", answer.status());
        let tunnel = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&raw(proxy.address(), &tunnel).await), 508, "{host}");
    }
    let answer = proxy.client().get(format!("{}/x", second.url)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::LOOP_DETECTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_framed_anew_and_what_is_no_request_is_refused() {
    let market = Market::open().await;
    let (url, _echo) = echo().await;
    let proxy = Running::start(&market, &[]);
    let address = proxy.address();
    let ask = |request: String| async move { raw(address, &request).await };
    // Two lengths: the chunks are the body, and what follows them is no part of it.
    let both = ask(format!(
        "POST {url}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
         2\r\nhi\r\n0\r\n\r\nGET {} HTTP/1.1\r\nHost: x\r\n\r\n",
        market.url("/data")
    ))
    .await;
    assert!(
        both.contains("content-length: \"2\"") && !both.contains("transfer-encoding: \"chunked\""),
        "{both}"
    );
    let host = url.trim_start_matches("http://");
    let elsewhere =
        ask(format!("GET {url}/ HTTP/1.1\r\nHost: bank.example\r\nConnection: close\r\n\r\n")).await;
    assert!(
        elsewhere.contains(&format!("host: \"{host}\"")) && !elsewhere.contains("bank.example"),
        "{elsewhere}"
    );
    for (request, expected) in [
        (format!("GET http://user:secret@{host}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 400),
        (format!("GET {url}/ HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n"), 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), 400),
        (format!("TRACE {url}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 405),
        (format!("POST {url}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), 400),
        (format!("POST {url}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nab"), 400),
        (
            format!(
                "GET {url}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: {}\r\n\r\n",
                "a".repeat(100_000)
            ),
            431,
        ),
        (
            format!(
                "GET {url}/ HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n"
            ),
            501,
        ),
    ] {
        let answer = ask(request.clone()).await;
        assert_eq!(status(&answer), expected, "{}: {answer}", &request[..60.min(request.len())]);
    }
    assert_eq!(market.received().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_long_is_refused_before_anything_is_asked() {
    let market = Market::open().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let (url, _shop) = serve(Router::new().route(
        "/",
        post(move |body: String| {
            count.fetch_add(1, Ordering::SeqCst);
            async move { body.len().to_string() }
        }),
    ))
    .await;
    let proxy = Running::start(&market, &["--max-body", "1000"]);
    let long =
        raw(proxy.address(), &format!("POST {url}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n"))
            .await;
    assert!(status(&long) == 413 && long.contains("1000 bytes"), "{long}");
    let chunk = format!("3e9\r\n{}\r\n", "a".repeat(1001));
    let chunked =
        format!("POST {url}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n");
    assert_eq!(status(&raw(proxy.address(), &chunked).await), 413);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let fits = proxy.client().post(format!("{url}/")).body("a".repeat(1000)).send().await.unwrap();
    assert_eq!(fits.text().await.unwrap(), "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_the_clients_and_takes_no_payment_along() {
    let market = Market::open().await;
    let (other, _other) = serve(Router::new().route("/", get(|| async { "elsewhere" }))).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (bill, away) = (format!("{url}/paid"), other.clone());
    let redirect =
        move || Response::builder().status(307).header("location", away.clone()).body(Body::empty()).unwrap();
    let free = redirect.clone();
    let paid = move |headers: HeaderMap| {
        let answer =
            if headers.contains_key(wire::PAYMENT_SIGNATURE) { redirect() } else { challenge(&bill) };
        async move { answer }
    };
    let app = Router::new().route("/free", get(move || async move { free() })).route("/paid", get(paid));
    let shop = tokio::spawn(axum::serve(listener, app).into_future());
    let proxy = Running::start(&market, &[]);
    let answer = proxy.client().get(format!("{url}/free")).send().await.unwrap();
    assert_eq!(
        (answer.status(), answer.headers()["location"].to_str().unwrap()),
        (StatusCode::TEMPORARY_REDIRECT, &*other)
    );
    let answer = proxy.client().get(format!("{url}/paid")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    assert!(answer.headers()["tollway-warning"].to_str().unwrap().contains("redirect"));
    assert!(
        answer.headers().contains_key("tollway-presented") && !answer.headers().contains_key("tollway-paid")
    );
    shop.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_told_and_not_to_be_bought_anew() {
    let market = Market::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/data", listener.local_addr().unwrap());
    let bill = challenge(&url);
    let header = bill.headers()[wire::PAYMENT_REQUIRED].to_str().unwrap().to_owned();
    let payments = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let seen = Arc::clone(&payments);
    // A seller that breaks off whenever it is paid.
    let shop = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 32 * 1024];
            let length = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            if let Some(payment) = head.lines().find(|line| line.starts_with("payment-signature")) {
                seen.lock().push(payment.to_owned());
                continue;
            }
            let answer = format!(
                "HTTP/1.1 402 x\r\npayment-required: {header}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let proxy = Running::start(&market, &["--timeout", "20"]);
    let answer = proxy.client().get(&url).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), told(&answer, "tollway-error")), (504, "unresolved"));
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: serde_json::Value = answer.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("do not buy anew"), "{problem}");
    assert_eq!(
        (problem["buyAnew"].as_bool(), problem["payment"]["amount"].as_str()),
        (Some(false), Some("10000"))
    );
    let mut payments = payments.lock().clone();
    payments.dedup();
    assert_eq!(payments.len(), 1, "one payment, presented again");
    shop.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_stops_what_is_free_and_no_purchase() {
    let market = Market::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (arrived, release, ended) =
        (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let done = Arc::new(AtomicUsize::new(0));
    let bill = format!("{url}/paid");
    let (coming, going, over, count) = (arrived.clone(), release.clone(), ended.clone(), done.clone());
    let paid = move |headers: HeaderMap| {
        let (coming, going, over, count) = (coming.clone(), going.clone(), over.clone(), count.clone());
        let answer = challenge(&bill);
        async move {
            if !headers.contains_key(wire::PAYMENT_SIGNATURE) {
                return answer;
            }
            coming.notify_one();
            going.notified().await;
            count.fetch_add(1, Ordering::SeqCst);
            over.notify_one();
            Response::new(Body::from("goods"))
        }
    };
    let (coming, dropped) = (arrived.clone(), Arc::new(Notify::new()));
    let gone = dropped.clone();
    let free = move || {
        let (coming, guard) = (coming.clone(), Told(gone.clone()));
        async move {
            coming.notify_one();
            std::future::pending::<()>().await;
            drop(guard);
        }
    };
    let app = Router::new().route("/paid", get(paid)).route("/free", get(free));
    let shop = tokio::spawn(axum::serve(listener, app).into_future());
    let proxy = Running::start(&market, &[]);
    let patience = Duration::from_secs(20);
    let leave_after = async |path: &str| {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(format!("GET {url}{path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        tokio::time::timeout(patience, arrived.notified()).await.unwrap();
    };
    leave_after("/free").await;
    tokio::time::timeout(patience, dropped.notified()).await.expect("nobody waits for what nobody reads");
    leave_after("/paid").await;
    release.notify_one();
    tokio::time::timeout(patience, ended.notified()).await.expect("the purchase goes on");
    assert_eq!(done.load(Ordering::SeqCst), 1);
    shop.abort();
}

/// Tells when it is dropped.
struct Told(Arc<Notify>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

//! A node behind a real socket that misbehaves as a seed says: it passes what it is asked on to a devnet, or does not.

use std::convert::Infallible;
use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What it does with what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    Well,
    /// Every connection breaks before anything is done.
    Down,
    /// It is done, and then the connection breaks.
    BreaksAfter,
    /// No answer for this long, and then one.
    Slow(Duration),
    /// A page for people.
    Page,
    /// Results of another shape.
    Nonsense,
    /// A status.
    Status(u16),
    /// An error object that speaks of limits, and of the path that was asked.
    LimitError,
    /// It points to another place.
    Redirect,
    /// More than anybody reads.
    Endless,
    /// Another chain's id.
    OtherChain,
    /// So many blocks are not seen.
    Behind(u64),
}

/// The proxy. It ends when it is dropped.
pub(crate) struct Proxy {
    pub(crate) address: String,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

struct Shared {
    upstream: String,
    client: reqwest::Client,
    sky: Mutex<Sky>,
}

struct Sky {
    weather: Weather,
    /// How it changes by itself: the state of the dice, and how many requests until then.
    dice: Option<(u64, u64)>,
    changes: u64,
}

impl Proxy {
    pub(crate) async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let sky = Sky { weather: Weather::Well, dice: None, changes: 0 };
        let client = reqwest::Client::new();
        let shared = Arc::new(Shared { upstream: upstream.to_owned(), client, sky: Mutex::new(sky) });
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&shared)));
        Self { address, shared, _server: server }
    }

    /// Its URL, with a secret in every part.
    pub(crate) fn url(&self) -> String {
        format!("http://user:SECRET-1@{}/v2/SECRET-2?apikey=SECRET-3", self.address)
    }

    pub(crate) fn weather(&self, weather: Weather) {
        let mut sky = self.shared.sky.lock();
        (sky.weather, sky.dice) = (weather, None);
    }

    /// From now on the weather changes by itself.
    pub(crate) fn changes_by(&self, seed: u64) {
        self.shared.sky.lock().dice = Some((seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, 20));
    }

    pub(crate) fn changes(&self) -> u64 {
        self.shared.sky.lock().changes
    }
}

impl Sky {
    /// The weather for one more request.
    fn next(&mut self) -> Weather {
        if let Some((dice, left)) = &mut self.dice {
            *left = left.saturating_sub(1);
            if *left == 0 {
                // Xorshift: it is the same for the same seed.
                *dice ^= *dice << 13;
                *dice ^= *dice >> 7;
                *dice ^= *dice << 17;
                let bad = [
                    Weather::Down,
                    Weather::BreaksAfter,
                    Weather::Slow(Duration::from_millis(1_500)),
                    Weather::Page,
                    Weather::Nonsense,
                    Weather::Status(502),
                    Weather::Status(429),
                    Weather::LimitError,
                    Weather::OtherChain,
                    Weather::Behind(2),
                ];
                let is_bad = self.weather == Weather::Well;
                let index = usize::try_from((*dice >> 8) % bad.len() as u64).unwrap();
                self.weather = if is_bad { bad[index] } else { Weather::Well };
                *left = if is_bad { 1 + (*dice >> 20) % 4 } else { 8 + (*dice >> 20) % 40 };
                self.changes += 1;
            }
        }
        self.weather
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let answer = service_fn(|request| answer(&shared, request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(shared: &Shared, request: http::Request<Incoming>) -> Result<Response<Body>, Error> {
    let broken = || Error::new(ErrorKind::ConnectionReset, "the weather");
    let body = axum::body::to_bytes(Body::new(request.into_body()), 1 << 24).await.map_err(|_| broken())?;
    let asked: Value = serde_json::from_slice(&body).map_err(|_| broken())?;
    let weather = shared.sky.lock().next();
    let plain = |status: u16, text: String| {
        let status = StatusCode::from_u16(status).unwrap();
        Ok(Response::builder().status(status).body(Body::from(text)).unwrap())
    };
    match weather {
        Weather::Down => Err(broken()),
        Weather::BreaksAfter => {
            passed_on(shared, body).await;
            Err(broken())
        }
        Weather::Page => plain(200, "<html>welcome to SECRET-2</html>".to_owned()),
        Weather::Status(status) => plain(status, "no SECRET-2".to_owned()),
        Weather::Redirect => {
            let to = format!("{}/elsewhere", shared.upstream);
            Ok(Response::builder().status(307).header(header::LOCATION, to).body(Body::empty()).unwrap())
        }
        Weather::Endless => {
            let chunk = || Ok::<_, Infallible>(Bytes::from_static(&[b' '; 1 << 16]));
            Ok(Response::new(Body::from_stream(futures_util::stream::repeat_with(chunk))))
        }
        Weather::LimitError => {
            let error = json!({ "code": -32_005, "message": "too many requests for /v2/SECRET-2" });
            plain(200, json!({ "jsonrpc": "2.0", "id": asked["id"], "error": error }).to_string())
        }
        _ => {
            if let Weather::Slow(by) = weather {
                tokio::time::sleep(by).await;
            }
            let mut told = passed_on(shared, body).await;
            bend(&asked, &mut told, weather);
            plain(200, told.to_string())
        }
    }
}

async fn passed_on(shared: &Shared, body: Bytes) -> Value {
    let request =
        shared.client.post(&shared.upstream).header(header::CONTENT_TYPE, "application/json").body(body);
    match request.send().await {
        Ok(response) => serde_json::from_str(&response.text().await.unwrap_or_default()).unwrap_or_default(),
        Err(_) => Value::Null,
    }
}

/// Makes the answers what the weather has of them.
fn bend(asked: &Value, told: &mut Value, weather: Weather) {
    if let (Some(asked), Some(told)) = (asked.as_array(), told.as_array_mut()) {
        asked.iter().zip(told).for_each(|(asked, told)| bend(asked, told, weather));
        return;
    }
    let number = |value: &Value| {
        value.as_str().and_then(|hex| u64::from_str_radix(hex.trim_start_matches("0x"), 16).ok())
    };
    match (weather, asked["method"].as_str().unwrap_or_default()) {
        (Weather::Nonsense, _) => told["result"] = json!({ "nonsense": true }),
        (Weather::OtherChain, "eth_chainId") => told["result"] = json!("0x1"),
        (Weather::Behind(blocks), "eth_blockNumber") => {
            let head = number(&told["result"]).unwrap_or_default();
            told["result"] = json!(format!("{:#x}", head.saturating_sub(blocks)));
        }
        (Weather::Behind(blocks), "eth_getBlockByNumber") => {
            let head = number(&told["result"]["number"]).unwrap_or_default();
            told["result"]["number"] = json!(format!("{:#x}", head.saturating_sub(blocks)));
        }
        (Weather::Behind(_), "eth_getTransactionReceipt") => told["result"] = Value::Null,
        _ => {}
    }
}

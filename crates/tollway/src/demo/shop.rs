//! The seller's app: a few priced routes, and free statistics about them.

use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Json, Response};
use axum::routing::{MethodRouter, get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tollway_core::wire::{PAYMENT_RESPONSE, X_PAYMENT_RESPONSE};
use tollway_core::{Amount, Price};
use tollway_seller::{BoxError, Paywall, PriceError};

/// A route as it is advertised: method, path, price.
pub(super) const ROUTES: [(&str, &str, &str); 4] = [
    ("GET", "/weather", "$0.01"),
    ("POST", "/summarize", "$0.02"),
    ("GET", "/search", "$0.005"),
    ("GET", "/report", "$5"),
];

/// What one result of `/search` costs, in millionths of a dollar.
const RESULT_PRICE: u64 = 5_000;

/// How often each route's handler ran, and how often it was paid for.
#[derive(Debug, Default)]
pub(super) struct Stats(BTreeMap<&'static str, Counters>);

#[derive(Debug, Default)]
struct Counters {
    handled: AtomicU64,
    paid: AtomicU64,
}

impl Stats {
    pub(super) fn new() -> Self {
        Self(ROUTES.iter().map(|(_, path, _)| (*path, Counters::default())).collect())
    }

    fn handled(&self, path: &str) {
        if let Some(counters) = self.0.get(path) {
            counters.handled.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn to_json(&self) -> Value {
        let routes: serde_json::Map<String, Value> = self
            .0
            .iter()
            .map(|(path, counters)| {
                let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                let row = json!({ "handled": load(&counters.handled), "paid": load(&counters.paid) });
                ((*path).to_owned(), row)
            })
            .collect();
        json!({ "routes": routes })
    }
}

/// The app behind `paywall`.
pub(super) fn app(paywall: &Paywall, stats: Arc<Stats>) -> Result<Router, PriceError> {
    // A priced route in one line: the handler, and its price.
    let routes: [(&str, MethodRouter<Arc<Stats>>); 4] = [
        ("/weather", get(weather).layer(paywall.price("$0.01")?.description("The weather, now"))),
        ("/summarize", post(summarize).layer(paywall.price("$0.02")?.description("A summary of the body"))),
        ("/search", get(search).layer(paywall.dynamic(search_price).description("Results, by the piece"))),
        ("/report", get(report).layer(paywall.price("$5")?.description("A dear report"))),
    ];
    let mut app = Router::new().route("/stats", get(statistics));
    for (path, route) in routes {
        app = app.route(path, route);
    }
    let count = from_fn_with_state(Arc::clone(&stats), count_paid);
    Ok(app.layer(count).with_state(stats))
}

async fn weather(State(stats): State<Arc<Stats>>) -> Json<Value> {
    stats.handled("/weather");
    Json(json!({ "place": "Lisbon", "sky": "clear", "celsius": 21 }))
}

async fn summarize(State(stats): State<Arc<Stats>>, body: Bytes) -> Json<Value> {
    stats.handled("/summarize");
    let text = String::from_utf8_lossy(&body);
    let summary: Vec<&str> = text.split_whitespace().take(8).collect();
    Json(json!({ "words": text.split_whitespace().count(), "summary": summary.join(" ") }))
}

#[derive(Deserialize)]
struct Search {
    results: Option<u64>,
}

async fn search(State(stats): State<Arc<Stats>>, Query(search): Query<Search>) -> Json<Value> {
    stats.handled("/search");
    let results: Vec<String> = (1..=results(search.results)).map(|n| format!("result {n}")).collect();
    Json(json!({ "results": results }))
}

fn results(asked: Option<u64>) -> u64 {
    asked.unwrap_or(1).clamp(1, 20)
}

/// A price by closure: the same request always has the same price, so that it still fits when it comes back
/// with its payment. What the handler will refuse costs what one result does, and is not charged.
fn search_price(parts: &http::request::Parts) -> Ready<Result<Option<Vec<Price>>, BoxError>> {
    let asked = Query::<Search>::try_from_uri(&parts.uri).ok().and_then(|Query(search)| search.results);
    let millionths = Amount::from(RESULT_PRICE * results(asked));
    let money = format!("${}", millionths.to_decimal(6)).parse();
    ready(money.map(|money| Some(vec![Price::Money(money)])).map_err(BoxError::from))
}

async fn report(State(stats): State<Arc<Stats>>) -> Json<Value> {
    stats.handled("/report");
    Json(json!({ "title": "A dear report" }))
}

async fn statistics(State(stats): State<Arc<Stats>>) -> Json<Value> {
    Json(stats.to_json())
}

/// Counts answers that carry a settlement.
async fn count_paid(State(stats): State<Arc<Stats>>, request: Request<Body>, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let headers = response.headers();
    let settled = headers.contains_key(PAYMENT_RESPONSE) || headers.contains_key(X_PAYMENT_RESPONSE);
    if response.status().is_success()
        && settled
        && let Some(counters) = stats.0.get(path.as_str())
    {
        counters.paid.fetch_add(1, Ordering::Relaxed);
    }
    response
}

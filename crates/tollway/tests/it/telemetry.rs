//! What a running facilitator tells of itself: metrics, spans, logs; and what it never tells.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use serde_json::Value;

use crate::market::serve;
use crate::node::{Kind, Node};
use crate::operator::{CALLERS, Operator, RIVAL_KEY, SHOP_KEY, Stall, WEBHOOK_SECRET, lane_key};

async fn devnet() -> Node {
    Node::start(Kind::Devnet, 31_337).await.unwrap()
}

/// One settled payment, one refused, one that is no payment.
async fn traffic(operator: &Operator, stall: &Stall) -> Value {
    let body = stall.body(2).await;
    assert_eq!(operator.post("/verify", Some(SHOP_KEY), &body).await.body["isValid"], true);
    assert_eq!(operator.post("/settle", Some(SHOP_KEY), &body).await.body["success"], true);
    let mut wrong = stall.body(2).await;
    wrong["paymentRequirements"]["payTo"] = "0x0000000000000000000000000000000000000001".into();
    wrong["paymentPayload"]["accepted"]["payTo"] = wrong["paymentRequirements"]["payTo"].clone();
    assert_eq!(operator.post("/verify", Some(SHOP_KEY), &wrong).await.body["isValid"], false);
    assert_eq!(operator.post("/verify", Some(SHOP_KEY), &Value::Null).await.status, 400);
    body
}

/// The values of one family, by their labels.
fn samples<'a>(page: &'a str, family: &str) -> Vec<(&'a str, f64)> {
    let sample = |line: &'a str| {
        let (name, value) = line.rsplit_once(' ')?;
        let rest = name.strip_prefix(family)?;
        (rest.is_empty() || rest.starts_with('{')).then(|| (rest, value.parse().unwrap()))
    };
    page.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_for_prometheus_has_each_promised_family_after_traffic() {
    let node = devnet().await;
    let tables = format!("{CALLERS}[telemetry]\nmetrics_listen = \"127.0.0.1:0\"\n");
    let operator = Operator::start(&node, "ledger = \"memory:\"", &tables);
    let stall = Stall::open(&node, &operator, Some(SHOP_KEY)).await;
    traffic(&operator, &stall).await;
    let page = operator.metrics().await;
    for histogram in PROMISED_HISTOGRAMS {
        let count: f64 = samples(&page, &format!("{histogram}_count")).iter().map(|(_, n)| n).sum();
        assert!(
            count >= 1.0 && !samples(&page, &format!("{histogram}_bucket")).is_empty(),
            "{histogram}: {page}"
        );
    }
    for family in PROMISED {
        assert!(!samples(&page, family).is_empty(), "{family}: {page}");
    }
    let settled = samples(&page, "tollway_settled_total");
    assert!(
        settled.iter().any(|(labels, n)| labels.contains("outcome=\"settled\"") && *n == 1.0),
        "{settled:?}"
    );
    let verified = samples(&page, "tollway_verified_total");
    let refused = |(labels, _): &&(&str, f64)| {
        labels.contains("outcome=\"invalid\"") && labels.contains("reason=\"invalid_exact_evm_")
    };
    assert!(verified.iter().any(|sample| refused(&sample)), "{verified:?}");
    assert!(page.contains("# HELP tollway_verify_seconds"), "families are described");
    let elsewhere = reqwest::get(format!("{}/metrics", operator.url)).await.unwrap();
    assert_eq!(elsewhere.status(), 404, "not where strangers ask");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_reach_a_collector_and_go_on_what_the_caller_traces() {
    let taken: Arc<Mutex<Vec<(HeaderMap, Bytes)>>> = Arc::default();
    let sink = Arc::clone(&taken);
    let collector = Router::new().route(
        "/v1/traces",
        post(move |headers: HeaderMap, body: Bytes| {
            sink.lock().unwrap().push((headers, body));
            async {}
        }),
    );
    let (url, collecting) = serve(collector).await;
    let node = devnet().await;
    let tables = format!("{CALLERS}[telemetry]\notlp_endpoint = \"{url}\"\nservice_name = \"toll-house\"\n");
    let operator = Operator::start(&node, "ledger = \"memory:\"", &tables);
    let stall = Stall::open(&node, &operator, Some(SHOP_KEY)).await;
    let body = stall.body(2).await;
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = reqwest::Client::new().post(format!("{}/settle", operator.url)).body(body.to_string());
    request.bearer_auth(SHOP_KEY).header("traceparent", traceparent).send().await.unwrap();
    operator.stop();
    collecting.abort();

    let taken = taken.lock().unwrap();
    assert!(!taken.is_empty(), "the last spans leave before the program ends");
    assert!(taken.iter().all(|(headers, _)| headers["content-type"] == "application/x-protobuf"));
    let all: Vec<u8> = taken.iter().flat_map(|(_, body)| body.to_vec()).collect();
    let holds = |part: &[u8]| all.windows(part.len()).any(|window| window == part);
    let payer = body["paymentPayload"]["payload"]["authorization"]["from"].as_str().unwrap();
    for text in ["toll-house", "settle", "/settle", "eip155:31337", "shop", payer] {
        assert!(holds(text.as_bytes()), "{text}");
    }
    let trace_id = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
    assert!(holds(&trace_id), "the caller's trace goes on");
    let signature = body["paymentPayload"]["payload"]["signature"].as_str().unwrap();
    assert!(!holds(SHOP_KEY.as_bytes()) && !holds(&signature.as_bytes()[2..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_name_payments_and_no_secret() {
    let node = devnet().await;
    for (format, is_json) in [("text", false), ("json", true)] {
        let tables = format!("{CALLERS}[telemetry]\nlog_format = \"{format}\"\n");
        let operator = Operator::start(&node, "ledger = \"memory:\"", &tables);
        let stall = Stall::open(&node, &operator, Some(SHOP_KEY)).await;
        let body = traffic(&operator, &stall).await;
        assert_eq!(operator.post("/settle", Some("a key that nobody has"), &body).await.status, 401);
        let (log, _) = operator.stop();
        let authorization = &body["paymentPayload"]["payload"]["authorization"];
        let nonce = authorization["nonce"].as_str().unwrap();
        let line = log.lines().find(|line| line.contains("settle answered")).expect(&log);
        for part in ["eip155:31337", "shop", "10000", authorization["from"].as_str().unwrap(), &nonce[2..]] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert_eq!(serde_json::from_str::<Value>(line).is_ok(), is_json, "{line}");
        let signature = body["paymentPayload"]["payload"]["signature"].as_str().unwrap();
        let secrets =
            [SHOP_KEY, RIVAL_KEY, WEBHOOK_SECRET, "a key that nobody has", &lane_key()[4..], signature];
        for secret in secrets {
            assert!(!log.contains(secret.trim_start_matches("0x")), "{secret} in {log}");
        }
    }
}

const PROMISED_HISTOGRAMS: &[&str] = &[
    "tollway_verify_seconds",
    "tollway_settle_seconds",
    "tollway_batch_size",
    "tollway_simulation_size",
    "tollway_ledger_seconds",
    "tollway_rpc_seconds",
];

const PROMISED: &[&str] = &[
    "tollway_verified_total",
    "tollway_settled_total",
    "tollway_outcomes_total",
    "tollway_lane_balance_gwei",
    "tollway_lane_queue",
    "tollway_pending",
    "tollway_pending_age_seconds",
    "tollway_transactions_total",
    "tollway_rpc_calls_total",
    "tollway_http_requests_total",
];

//! Who may ask a facilitator, and how much: through the program itself.

use std::process::Output;

use serde_json::json;

use crate::node::{Kind, Node};
use crate::operator::{CALLERS, Operator, RIVAL_KEY, SHOP_KEY, Stall, config, secrets};
use crate::process::tollway;

const METRICS: &str = "[telemetry]\nmetrics_listen = \"127.0.0.1:0\"\n";

async fn devnet() -> Node {
    Node::start(Kind::Devnet, 31_337).await.unwrap()
}

/// How many calls were simulated: what a request costs the node.
async fn simulations(operator: &Operator) -> String {
    let is_call = |line: &&str| line.starts_with("tollway_rpc_calls_total") && line.contains("eth_call");
    operator.metrics().await.lines().find(is_call).unwrap_or("none").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_key_or_a_wrong_one_is_turned_away_before_the_node_is_asked() {
    let node = devnet().await;
    let operator = Operator::start(&node, "ledger = \"memory:\"", &format!("{CALLERS}{METRICS}"));
    let stall = Stall::open(&node, &operator, Some(SHOP_KEY)).await;
    let body = stall.body(2).await;
    let before = simulations(&operator).await;
    for (key, error) in [(None, "Bearer realm"), (Some("nobody's key, but long enough"), "invalid_token")] {
        for path in ["/verify", "/settle"] {
            let answer = operator.post(path, key, &body).await;
            let challenge = answer.headers["www-authenticate"].to_str().unwrap();
            assert!(answer.status == 401 && challenge.contains(error), "{path}: {answer:?}");
            assert!(answer.body["error"].is_string() && answer.body["isValid"].is_null());
        }
    }
    assert_eq!(simulations(&operator).await, before);
    for path in ["/supported", "/health"] {
        assert_eq!(operator.get(path, None).await.status, 200, "{path} is for everybody");
    }
    let answer = operator.post("/verify", Some(SHOP_KEY), &body).await;
    assert_eq!((answer.status, &answer.body["isValid"]), (200, &json!(true)));
    assert_ne!(simulations(&operator).await, before);
    assert!(operator.metrics().await.contains("tollway_http_denied_total{reason=\"wrong_key\"} 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seller_with_a_key_is_served_end_to_end() {
    let node = devnet().await;
    let operator = Operator::start(&node, "ledger = \"memory:\"", CALLERS);
    let stall = Stall::open(&node, &operator, Some(RIVAL_KEY)).await;
    let body = stall.body(2).await;
    let answer = operator.post("/settle", Some(RIVAL_KEY), &body).await;
    assert_eq!((answer.status, &answer.body["success"]), (200, &json!(true)), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_end_with_429_and_when_to_come_back() {
    let node = devnet().await;
    let callers = "[[callers]]\nname = \"shop\"\nkey = \"env:SHOP_KEY\"\nrequests_per_second = 1\nburst = 3\n\
                   [[callers]]\nname = \"rival\"\nkey = \"env:RIVAL_KEY\"\nsettlements_per_day = 1\n";
    let operator = Operator::start(&node, "ledger = \"memory:\"", callers);
    let nonsense = json!({});
    let mut statuses = Vec::new();
    for _ in 0..8 {
        let answer = operator.post("/verify", Some(SHOP_KEY), &nonsense).await;
        if answer.status == 429 {
            assert_eq!(answer.headers["retry-after"], "1");
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses[..3], [400; 3]);
    assert!(statuses[3..].contains(&429), "{statuses:?}");

    let stall = Stall::open(&node, &operator, Some(RIVAL_KEY)).await;
    let body = stall.body(2).await;
    assert_eq!(operator.post("/settle", Some(RIVAL_KEY), &body).await.body["success"], true);
    let over = operator.post("/settle", Some(RIVAL_KEY), &stall.body(2).await).await;
    let wait: u64 = over.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(over.status == 429 && (1..=86_400).contains(&wait), "{over:?}");
    assert_eq!(operator.post("/verify", Some(RIVAL_KEY), &stall.body(2).await).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_served_only_where_the_operator_says_so_and_share_one_limit() {
    let node = devnet().await;
    let strangers = "[strangers]\nrequests_per_second = 1\nburst = 2\n";
    let operator =
        Operator::start(&node, "ledger = \"memory:\"\nopen = true", &format!("{strangers}{CALLERS}"));
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(operator.post("/verify", None, &json!({})).await.status);
    }
    assert!(statuses[..2] == [400, 400] && statuses.contains(&429), "{statuses:?}");
    let known = operator.post("/verify", Some(SHOP_KEY), &json!({})).await;
    assert_eq!(known.status, 400, "callers with keys are not held up by strangers");
}

fn check(node: &Node, keys: &str, tables: &str) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config(node, keys, tables)).unwrap();
    let mut command = tollway();
    secrets(&mut command).args(["facilitator", "--check", "--config"]).arg(file.path()).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_that_nobody_could_ask_does_not_start() {
    let node = devnet().await;
    let output = check(&node, "", "");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && text.contains("[[callers]]") && text.contains("open = true"),
        "{text}"
    );
    assert!(check(&node, "open = true", "").status.success());
    assert!(check(&node, "", CALLERS).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_callers_and_webhooks_is_told_at_once_and_no_secret_with_it() {
    let node = devnet().await;
    let tables = "[[callers]]\nname = \"a shop\"\nkey = \"SECRET-in-the-file-itself\"\n\
                  [[callers]]\nname = \"b\"\nkey_sha256 = \"beef\"\n\
                  [[callers]]\nname = \"c\"\nkey = \"env:SHOP_KEY\"\nburst = 0\nwebhook = \"nowhere\"\n\
                  [[callers]]\nname = \"d\"\n\
                  [[webhooks]]\nname = \"plain\"\nurl = \"http://shop.example/\"\nsecret = \"env:WEBHOOK_SECRET\"\n\
                  [[webhooks]]\nname = \"short\"\nurl = \"https://shop.example/\"\nsecret = \"env:NOT_SET_ANYWHERE\"\n\
                  [telemetry]\notlp_endpoint = \"nowhere\"\n[score]\npayers = 0\n";
    let output = check(&node, "", tables);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    for fault in [
        "callers[0].key: must be env:NAME or file:PATH",
        "callers[1].key_sha256",
        "callers[2].burst",
        "callers[2].webhook",
        "callers[3].key",
        "webhooks[0].url",
        "webhooks[1].secret",
        "telemetry.otlp_endpoint",
        "score.payers",
    ] {
        assert!(text.contains(fault), "{fault} in {text}");
    }
    assert!(!output.status.success() && !text.contains("SECRET-in") && !text.contains(SHOP_KEY), "{text}");
}

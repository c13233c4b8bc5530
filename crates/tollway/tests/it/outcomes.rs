//! What became of payments, asked and told: through the program itself, on a ledger that outlives it.

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tollway_devnet::{ACCOUNTS, Fault, genesis};
use tollway_ledger::own_loopback;

use crate::node::{Kind, Node};
use crate::operator::{CALLERS, Operator, RIVAL_KEY, SHOP_KEY, Stall};

const PAYER: usize = 2;
const OTHER_PAYER: usize = 3;
/// No test waits longer for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

async fn devnet() -> Node {
    Node::start(Kind::Devnet, 31_337).await.unwrap()
}

async fn settle(operator: &Operator, stall: &Stall, key: &str, payer: usize) -> Value {
    let answer = operator.post("/settle", Some(key), &stall.body(payer).await).await;
    assert_eq!(answer.body["success"], true, "{answer:?}");
    answer.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_reads_its_own_settlements_and_no_others() {
    let node = devnet().await;
    let operator = Operator::start(&node, "ledger = \"memory:\"", CALLERS);
    let stall = Stall::open(&node, &operator, Some(SHOP_KEY)).await;
    let mut ids = Vec::new();
    for payer in [PAYER, PAYER, OTHER_PAYER] {
        let answer = settle(&operator, &stall, SHOP_KEY, payer).await;
        ids.push(answer["extra"]["settlementId"].as_str().unwrap().to_owned());
        let path = format!("/settlements/{}", ids[ids.len() - 1]);
        let told = operator.get(&path, Some(SHOP_KEY)).await.body;
        assert_eq!(told["transaction"], answer["transaction"]);
        assert_eq!(told["logIndex"], answer["extra"]["logIndex"]);
        for (field, value) in [
            ("state", json!("settled")),
            ("network", json!("eip155:31337")),
            ("amount", json!("10000")),
            ("caller", json!("shop")),
            ("payer", json!(ACCOUNTS[payer].address.to_string())),
            ("asset", json!(genesis::USDC.to_string())),
            ("transactions", json!([answer["transaction"]])),
        ] {
            assert_eq!(told[field], value, "{field} of {told}");
        }
        assert!(told["blockNumber"].is_u64() && told["final"].is_boolean() && told["createdAt"].is_u64());
        assert!(!told.to_string().contains("signature"), "{told}");
        assert_eq!(operator.get(&path, Some(RIVAL_KEY)).await.status, 404, "another's is as unknown as none");
        assert_eq!(operator.get(&path, None).await.status, 401);
    }
    let payer = ACCOUNTS[PAYER].address.to_string();
    let listed = |answer: &Value| -> Vec<String> {
        let all = answer["settlements"].as_array().unwrap();
        all.iter().map(|settlement| settlement["id"].as_str().unwrap().to_owned()).collect()
    };
    let path = format!("/settlements?payer={}&limit=1", payer.to_lowercase());
    let first = operator.get(&path, Some(SHOP_KEY)).await.body;
    assert_eq!(listed(&first), [ids[1].clone()], "newest first, of this payer");
    let next = first["next"].as_str().unwrap();
    let second = operator.get(&format!("{path}&before={next}"), Some(SHOP_KEY)).await.body;
    assert_eq!((listed(&second), &second["next"]), (vec![ids[0].clone()], &Value::Null));
    let all = operator.get("/settlements", Some(SHOP_KEY)).await.body;
    assert_eq!(listed(&all), [ids[2].clone(), ids[1].clone(), ids[0].clone()]);
    let none = operator.get("/settlements", Some(RIVAL_KEY)).await.body;
    assert_eq!(none, json!({ "settlements": [], "next": null }));
    for (path, field) in [
        ("/settlements?limit=0", "limit"),
        ("/settlements?limit=201", "limit"),
        ("/settlements?payer=me", "payer"),
        ("/settlements?before=now", "before"),
        ("/settlements?order=up", "query"),
        ("/settlements/00", "id"),
    ] {
        let answer = operator.get(path, Some(SHOP_KEY)).await;
        assert_eq!((answer.status, answer.body["field"].as_str()), (400, Some(field)), "{path}");
    }
    let unknown = operator.get("/settlements/00112233445566778899aabbccddeeff", Some(SHOP_KEY)).await;
    assert_eq!(unknown.status, 404);
}

/// An endpoint on this listener.
fn told(listener: TcpListener) -> (UnboundedReceiver<(HeaderMap, Value)>, JoinHandle<()>) {
    let (sender, messages) = unbounded_channel();
    let app = Router::new().route(
        "/",
        post(move |headers: HeaderMap, body: Bytes| {
            let _ = sender.send((headers, serde_json::from_slice(&body).unwrap()));
            async {}
        }),
    );
    (messages, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_told_to_its_caller_even_by_a_process_started_after_a_crash() {
    let node = devnet().await;
    let listener = TcpListener::bind((own_loopback(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let tables = format!(
        "[[callers]]\nname = \"shop\"\nkey = \"env:SHOP_KEY\"\nwebhook = \"shop\"\n\
         [[callers]]\nname = \"rival\"\nkey = \"env:RIVAL_KEY\"\n\
         [[webhooks]]\nname = \"shop\"\nurl = \"http://{address}/\"\nsecret = \"env:WEBHOOK_SECRET\"\n\
         [delivery]\nfirst_retry_seconds = 1\npoll_ms = 50\n"
    );
    let keys = "ledger = \"sqlite:tollway.db\"\nname = \"one\"";
    let operator = Operator::start(&node, keys, &tables);
    let stall = Stall::open(&node, &operator, Some(SHOP_KEY)).await;
    settle(&operator, &stall, RIVAL_KEY, OTHER_PAYER).await;
    let settled = settle(&operator, &stall, SHOP_KEY, PAYER).await;
    // Nobody listens at the endpoint, and the process dies.
    let folder = operator.kill();
    let (mut messages, serving) = told(TcpListener::bind(address).await.unwrap());
    let operator = Operator::start_in(folder, &node, keys, &tables);
    let (headers, message) = timeout(PATIENCE, messages.recv()).await.expect("it is told").unwrap();
    assert_eq!(message["type"], "settlement.settled");
    assert_eq!(message["data"]["transaction"], settled["transaction"]);
    assert_eq!(message["data"]["id"], settled["extra"]["settlementId"]);
    assert_eq!((&message["data"]["caller"], &message["data"]["amount"]), (&json!("shop"), &json!("10000")));
    assert!(headers["webhook-signature"].to_str().unwrap().starts_with("v1,"));
    assert!(headers["webhook-id"].to_str().unwrap().starts_with("msg_"));
    let path = format!("/settlements/{}", message["data"]["id"].as_str().unwrap());
    assert_eq!(operator.get(&path, Some(SHOP_KEY)).await.body["state"], "settled", "the ledger has it still");
    operator.stop();
    while let Ok((_, message)) = messages.try_recv() {
        assert_eq!(message["data"]["caller"], "shop", "nobody is told of another's");
    }
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_whose_payment_reverted_is_refused_before_the_node_is_asked() {
    let node = devnet().await;
    let tables = format!(
        "{CALLERS}[score]\nthreshold = 100\nreverted = 100\n[limits]\nsettle_deadline_ms = 200\n\
         [telemetry]\nmetrics_listen = \"127.0.0.1:0\"\n"
    );
    let operator = Operator::start(&node, "ledger = \"memory:\"", &tables);
    let stall = Stall::open(&node, &operator, Some(SHOP_KEY)).await;
    let body = stall.body(PAYER).await;
    node.devnet().faults().inject(Fault::Hold);
    let answer = operator.post("/settle", Some(SHOP_KEY), &body).await.body;
    assert_eq!(answer["errorReason"], "settlement_pending");
    let slot = genesis::balance_slot(ACCOUNTS[PAYER].address);
    let chain = node.chain();
    let word = |amount: u64| format!("0x{amount:064x}");
    chain.raw("anvil_setStorageAt", json!([genesis::USDC, slot, word(0)])).await.unwrap();
    node.devnet().faults().inject(Fault::Release);
    let path = format!("/settlements/{}", answer["extra"]["settlementId"].as_str().unwrap());
    let ended = async {
        while operator.get(&path, Some(SHOP_KEY)).await.body["state"] != "failed" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("it fails");
    chain.raw("anvil_setStorageAt", json!([genesis::USDC, slot, word(1_000_000)])).await.unwrap();

    let fresh = stall.body(PAYER).await;
    let calls = async || {
        let page = operator.metrics().await;
        let is_call =
            |line: &&str| line.starts_with("tollway_rpc_calls_total") && line.contains("eth_call\"");
        page.lines().filter(is_call).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = calls().await;
    let verdict = operator.post("/verify", Some(SHOP_KEY), &fresh).await.body;
    let message = verdict["invalidMessage"].as_str().unwrap_or_default();
    assert!(verdict["isValid"] == false && message.contains("not served"), "{verdict}");
    let answer = operator.post("/settle", Some(SHOP_KEY), &fresh).await.body;
    assert!(answer["errorMessage"].as_str().unwrap_or_default().contains("not served"), "{answer}");
    assert_eq!(calls().await, before, "no node was asked");
    settle(&operator, &stall, SHOP_KEY, OTHER_PAYER).await;
}

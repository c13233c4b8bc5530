//! A network behind several nodes with real sockets: what they do wrong reaches nobody, and payments settle once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tollway_core::{Facilitator, wire};
use tollway_evm::{Address, B256, Chain, Node as RpcNode, NodeRules};
use tollway_facilitator::{Engine, Limits, NetworkSetup};

use crate::lanes::body;
use crate::market::{Market, account, assets};
use crate::node::{Kind, Node};
use crate::operator::secrets;
use crate::process::{Background, tollway};
use crate::proxy::{Proxy, Weather};

/// Two nodes of one devnet, and the chain behind them.
async fn two(node: &Node) -> (Proxy, Proxy, Chain) {
    let (one, other) = (Proxy::start(&node.rpc_url).await, Proxy::start(&node.rpc_url).await);
    let chain = over(node, &[&one, &other]);
    (one, other, chain)
}

fn over(node: &Node, proxies: &[&Proxy]) -> Chain {
    let nodes = proxies.iter().map(|proxy| RpcNode::http(&proxy.url()).unwrap()).collect();
    let rules = NodeRules { check_every: Duration::from_millis(200), ..NodeRules::default() };
    Chain::over(nodes, rules, &node.network(), Duration::from_secs(2)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_node_answers_over_http_another_is_asked_and_no_url_is_told() {
    let node = Node::start(Kind::Devnet, 31_337).await.unwrap();
    node.chain().raw("anvil_mine", json!(["0x10"])).await.unwrap();
    for (weather, state) in [
        (Weather::Down, "unreachable"),
        (Weather::BreaksAfter, "unreachable"),
        (Weather::Slow(Duration::from_secs(3)), "slow"),
        (Weather::Page, "malformed"),
        (Weather::Nonsense, "malformed"),
        (Weather::Status(502), "http"),
        (Weather::Status(429), "limited"),
        (Weather::LimitError, "limited"),
        (Weather::Redirect, "http"),
        (Weather::Endless, "malformed"),
    ] {
        let (one, other, chain) = two(&node).await;
        assert_eq!(chain.head().await.unwrap().number, 16);
        one.weather(weather);
        assert_eq!(chain.head().await.unwrap().number, 16, "{weather:?}");
        assert_eq!((chain.nodes()[0].state, chain.nodes()[1].is_primary), (state, true), "{weather:?}");
        assert_eq!(
            chain.receipts(&[B256::ZERO; 3]).await.unwrap(),
            [None, None, None],
            "a batch: {weather:?}"
        );
        other.weather(weather);
        let error = chain.nonce(Address::ZERO).await.unwrap_err();
        for text in
            [error.to_string(), format!("{error:?}"), format!("{chain:?}"), format!("{:?}", chain.nodes())]
        {
            assert!(!text.contains("SECRET"), "{weather:?}: {text}");
        }
        one.weather(Weather::Well);
        // Who spoke of limits is left alone for a moment, whoever asks.
        let back = async {
            while chain.nonce(Address::ZERO).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await
            }
        };
        let patience = Duration::from_secs(5);
        tokio::time::timeout(patience, back).await.unwrap_or_else(|_| panic!("{weather:?}: it is back"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_where_nobody_listens_is_a_node_that_never_saw_the_transaction() {
    let node = Node::start(Kind::Devnet, 31_337).await.unwrap();
    let well = Proxy::start(&node.rpc_url).await;
    let nodes = vec![RpcNode::http("http://127.0.0.1:1/").unwrap(), RpcNode::http(&well.url()).unwrap()];
    let network = node.network();
    let chain = Chain::over(nodes, NodeRules::default(), &network, Duration::from_secs(2)).unwrap();
    let nonsense = tollway_evm::Bytes::from_static(&[2, 1]);
    let error = chain.send_raw(&nonsense).await.unwrap_err();
    assert!(error.rejection().is_some(), "the only node that got it refused it: {error}");
    well.weather(Weather::BreaksAfter);
    let error = chain.send_raw(&nonsense).await.unwrap_err();
    assert_eq!(error.rejection(), None, "it may have taken it");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_payments_settle_once_each_while_nodes_die_and_come_back() {
    let market = Market::open().await;
    let proxies = [
        Proxy::start(&market.node.rpc_url).await,
        Proxy::start(&market.node.rpc_url).await,
        Proxy::start(&market.node.rpc_url).await,
    ];
    let chain = over(&market.node, &[&proxies[0], &proxies[1], &proxies[2]]);
    let setup =
        NetworkSetup { chain: chain.clone(), assets: assets(31_337), signers: vec![Arc::new(account(7))] };
    let limits = Limits {
        settle_deadline: Duration::from_millis(1_500),
        rebroadcast_every: Duration::from_millis(200),
        batch: 10,
        ..Limits::default()
    };
    let engine = Engine::builder().network(setup).limits(limits).start().await.unwrap();
    proxies.iter().zip(1..).for_each(|(proxy, seed)| proxy.changes_by(seed));
    let bodies = join_all((0..200).map(|n| body(&market, account(3 + n % 3), 1 + n as u64))).await;
    let settled = bodies.chunks(25).map(|some| some.to_vec());
    for some in settled {
        let asking = some.into_iter().map(|body| settle(engine.clone(), body));
        tokio::time::timeout(Duration::from_secs(60), join_all(asking)).await.expect("all settle in time");
    }
    let changes: u64 = proxies.iter().map(Proxy::changes).sum();
    assert!(changes >= 10, "the weather was no weather: {changes}");
    assert_eq!(market.received().await, (1..=200).sum::<u64>(), "each once");
    assert_eq!(engine.open_payments(), 0);
    let transfers = json!([{
        "fromBlock": "0x0", "address": tollway_devnet::genesis::USDC,
        "topics": ["0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef", Value::Null,
                   format!("0x{:0>64}", market.payee.to_string().trim_start_matches("0x").to_lowercase())],
    }]);
    let logs = market.chain.raw("eth_getLogs", transfers).await.unwrap();
    assert_eq!(logs.as_array().unwrap().len(), 200);
}

/// Asks until it is settled. Whatever a node does, no payment is told as failed.
async fn settle(engine: Engine, body: String) {
    let request = wire::decode_facilitator_request(body.as_bytes()).unwrap();
    loop {
        match engine.settle(request.clone()).await {
            Ok(answer) if answer.success => return,
            Ok(answer) => {
                let reason = answer.error_reason.map(|code| code.to_string());
                assert_eq!(reason.as_deref(), Some("settlement_pending"), "{:?}", answer.error_message);
            }
            // No node to ask: it says nothing about the payment.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The program on these nodes, with everything logged; the folder has the log.
fn operate(node: &Node, urls: &str) -> (Background, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("facilitator.toml");
    let config = format!(
        "listen = \"127.0.0.1:0\"\nopen = true\nledger = \"memory:\"\n\
         [telemetry]\nmetrics_listen = \"127.0.0.1:0\"\n\
         [[networks]]\nnetwork = \"{}\"\nkeys = [\"env:LANE_KEY\"]\ncheck_ms = 100\nrpc_urls = [{urls}]\n",
        node.network()
    );
    std::fs::write(&file, config).unwrap();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut command = tollway();
    secrets(&mut command).args(["facilitator", "--config"]).arg(&file).env("RUST_LOG", "trace");
    command.current_dir(folder.path()).stderr(log);
    (Background::start(&mut command), folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_nodes_are_in_health_and_metrics_by_host_and_no_secret_is_told_anywhere() {
    let node = Node::start(Kind::Devnet, 31_337).await.unwrap();
    let (one, other) = (Proxy::start(&node.rpc_url).await, Proxy::start(&node.rpc_url).await);
    one.weather(Weather::Down);
    let urls = format!(
        "\"{}\", {{ url = \"{}\", name = \"paid\", requests_per_second = 500, burst = 100 }}",
        one.url(),
        other.url()
    );
    let (mut process, folder) = operate(&node, &urls);
    let url = process.line().strip_prefix("listening on ").unwrap().to_owned();
    let metrics = process.line().strip_prefix("metrics on ").unwrap().to_owned();
    let health =
        || async { reqwest::get(format!("{url}/health")).await.unwrap().json::<Value>().await.unwrap() };
    let told = health().await;
    let nodes = &told["networks"][0]["nodes"];
    assert_eq!(
        (&nodes[0]["host"], &nodes[1]["host"], &nodes[1]["state"], &nodes[1]["primary"]),
        (&json!(one.address), &json!("paid"), &json!("healthy"), &json!(true)),
        "{told}"
    );
    assert_eq!((&nodes[0]["state"], &told["status"]), (&json!("unreachable"), &json!("ok")), "{told}");
    one.weather(Weather::Well);
    // It is asked at most once a second, and checks the nodes.
    while health().await["networks"][0]["nodes"][0]["state"] != "healthy" {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let page = reqwest::get(&metrics).await.unwrap().text().await.unwrap();
    for part in ["tollway_rpc_node_calls_total", "tollway_rpc_node_healthy", "host=\"paid\"", &one.address] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert_eq!(process.interrupt(), Some(0));
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(log.contains(&format!("node 0 ({})", one.address)), "the start told of it");
    assert!(log.contains("a node is healthy again"));
    assert!(!log.contains("SECRET") && !page.contains("SECRET") && !told.to_string().contains("SECRET"));
    assert!(!log.contains(&base64_of("user:SECRET-1")));
}

fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

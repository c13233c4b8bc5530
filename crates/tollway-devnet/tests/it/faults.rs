//! Faults do what they say, and only that.

use std::time::Duration;

use alloy_rpc_client::RpcClient;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tollway_devnet::{Config, Fault, Handle, Mining};

use crate::fixture::{
    PAYEE, SENDER, Token, authorization, devnet, devnet_with, quantity, raw, signed, transfer,
};

/// A client that skips the socket.
fn inside(devnet: &Handle) -> RpcClient {
    RpcClient::new(devnet.transport(), true)
}

async fn set(rpc: &crate::fixture::Rpc, fault: Value) {
    rpc.ok("tollway_setFault", json!([fault])).await;
}

#[tokio::test]
async fn a_dropped_transaction_is_told_as_sent_and_never_seen_again() {
    let (devnet, rpc) = devnet().await;
    devnet.faults().inject(Fault::Drop { count: 1 });
    let raw = raw(&SENDER, transfer(0, PAYEE, 1));
    let hash = rpc.ok("eth_sendRawTransaction", json!([raw])).await;
    assert!(rpc.ok("eth_getTransactionByHash", json!([hash])).await.is_null());
    assert_eq!(rpc.nonce(SENDER.address).await, 0);
    assert_eq!(rpc.ok("eth_sendRawTransaction", json!([raw])).await, hash);
    assert_eq!(rpc.ok("eth_getTransactionReceipt", json!([hash])).await["status"], "0x1");
}

#[tokio::test]
async fn held_transactions_wait_while_blocks_go_on() {
    let (devnet, rpc) = devnet().await;
    rpc.ok("tollway_setFault", json!([{ "kind": "hold" }])).await;
    let hash = rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, transfer(0, PAYEE, 1))])).await;
    devnet.mine();
    assert_eq!(rpc.ok("eth_blockNumber", json!([])).await, "0x1");
    assert!(rpc.ok("eth_getTransactionReceipt", json!([hash])).await.is_null());
    rpc.ok("tollway_setFault", json!([{ "kind": "release" }])).await;
    assert_eq!(rpc.ok("eth_getTransactionReceipt", json!([hash])).await["blockNumber"], "0x2");
}

#[tokio::test]
async fn a_reorganisation_takes_blocks_back_and_includes_their_transactions_again() {
    let (devnet, rpc) = devnet().await;
    let mut hashes = Vec::new();
    for nonce in 0..3 {
        let raw = raw(&SENDER, transfer(nonce, PAYEE, 1));
        hashes.push(rpc.ok("eth_sendRawTransaction", json!([raw])).await);
    }
    let old = rpc.ok("eth_getBlockByNumber", json!(["0x2", false])).await["hash"].clone();
    rpc.ok("tollway_setFault", json!([{ "kind": "reorg", "depth": 2 }])).await;
    assert_eq!(rpc.ok("eth_blockNumber", json!([])).await, "0x4");
    assert!(rpc.ok("eth_getBlockByHash", json!([old, false])).await.is_null());
    for (hash, block) in hashes.iter().zip(["0x1", "0x2", "0x2"]) {
        assert_eq!(rpc.ok("eth_getTransactionReceipt", json!([hash])).await["blockNumber"], block);
    }
    devnet.faults().inject(Fault::Hold);
    devnet.faults().inject(Fault::Reorg { depth: 3, lost: false });
    assert!(rpc.ok("eth_getTransactionReceipt", json!([hashes[2]])).await.is_null());
    assert!(rpc.ok("eth_getTransactionByHash", json!([hashes[2]])).await["blockNumber"].is_null());
    devnet.faults().inject(Fault::Release);
    assert_eq!(rpc.nonce(SENDER.address).await, 3);
    devnet.faults().inject(Fault::Reorg { depth: 5, lost: true });
    assert_eq!(rpc.nonce(SENDER.address).await, 1);
}

#[tokio::test]
async fn an_error_hits_its_method_as_often_as_it_says() {
    let (_devnet, rpc) = devnet().await;
    let fault = json!({ "kind": "error", "method": "eth_blockNumber", "count": 1, "code": -32_005, "message": "slow down" });
    rpc.ok("tollway_setFault", json!([fault])).await;
    rpc.ok("eth_chainId", json!([])).await;
    assert_eq!(rpc.err("eth_blockNumber", json!([])).await, (-32_005, "slow down".into()));
    rpc.ok("eth_blockNumber", json!([])).await;
}

#[tokio::test]
async fn an_http_error_is_a_bare_status() {
    let (_devnet, rpc) = devnet().await;
    let fault = json!({ "kind": "error", "count": 1, "httpStatus": 503, "message": "busy" });
    rpc.ok("tollway_setFault", json!([fault])).await;
    let response = rpc.post(json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_chainId" }).to_string()).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.text().await.unwrap(), "busy");
}

#[tokio::test]
async fn a_fault_that_does_not_exist_is_refused() {
    let (_devnet, rpc) = devnet().await;
    let (code, message) = rpc.err("tollway_setFault", json!([{ "kind": "earthquake" }])).await;
    assert_eq!(code, -32_602);
    assert!(message.starts_with("invalid params: fault"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_says_what_was_so_when_it_was_asked_for() {
    let devnet = tollway_devnet::spawn(Config { in_process: true, ..Config::default() }).await.unwrap();
    let fault = json!({ "kind": "delay", "method": "eth_blockNumber", "count": 1, "delayMs": 5_000 });
    devnet.faults().inject(serde_json::from_value(fault).unwrap());
    let began = tokio::time::Instant::now();
    let asked = inside(&devnet);
    let asked = asked.request_noparams::<String>("eth_blockNumber");
    let ((), number) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            devnet.mine();
        },
        asked
    );
    assert_eq!((number.unwrap().as_str(), began.elapsed().as_secs()), ("0x0", 5));
    assert_eq!(inside(&devnet).request_noparams::<String>("eth_blockNumber").await.unwrap(), "0x1");
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_request_held_up_on_its_way_in_acts_when_it_arrives() {
    let devnet = tollway_devnet::spawn(Config { in_process: true, ..Config::default() }).await.unwrap();
    let method = Some("eth_sendRawTransaction".to_owned());
    devnet.faults().inject(Fault::Delay { method, count: Some(1), delay_ms: 5_000, inbound: true });
    let rpc = inside(&devnet);
    let raw = raw(&SENDER, transfer(0, PAYEE, 1));
    let sent = rpc.request::<_, Value>("eth_sendRawTransaction", (raw,));
    let looked = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        rpc.request_noparams::<String>("eth_blockNumber").await.unwrap()
    };
    let (sent, before) = tokio::join!(sent, looked);
    assert!(sent.is_ok());
    assert_eq!(before, "0x0");
    assert_eq!(rpc.request_noparams::<String>("eth_blockNumber").await.unwrap(), "0x1");
}

#[tokio::test]
async fn a_muted_request_does_nothing_and_is_never_answered() {
    let (devnet, rpc) = devnet().await;
    set(&rpc, json!({ "kind": "mute", "method": "eth_sendRawTransaction", "count": 2 })).await;
    let raw = raw(&SENDER, transfer(0, PAYEE, 1));
    let silent = timeout(Duration::from_millis(50), rpc.call("eth_sendRawTransaction", json!([raw]))).await;
    assert!(silent.is_err());
    let client = inside(&devnet);
    let silent = client.request::<_, Value>("eth_sendRawTransaction", (raw.clone(),));
    assert!(timeout(Duration::from_millis(50), silent).await.is_err());
    assert_eq!(rpc.nonce(SENDER.address).await, 0);
    rpc.ok("eth_sendRawTransaction", json!([raw])).await;
    // A caller that still waits does not keep the devnet from ending.
    devnet.faults().inject(Fault::Mute { method: None, count: None });
    let waiting = tokio::spawn(async move { rpc.call("eth_chainId", json!([])).await });
    tokio::task::yield_now().await;
    timeout(Duration::from_secs(5), devnet.shutdown(Duration::from_secs(10))).await.unwrap();
    waiting.abort();
}

#[tokio::test]
async fn a_lost_answer_leaves_the_transaction_where_it_is() {
    let (devnet, rpc) = devnet().await;
    let lost = |silent: bool, status: Option<u16>| json!({ "kind": "answerLost", "method": "eth_sendRawTransaction", "count": 1, "silent": silent, "httpStatus": status });
    set(&rpc, lost(false, None)).await;
    let error = rpc.err("eth_sendRawTransaction", json!([raw(&SENDER, transfer(0, PAYEE, 1))])).await;
    assert_eq!(error, (-32_000, "injected fault".to_owned()));
    assert_eq!(rpc.nonce(SENDER.address).await, 1);
    set(&rpc, lost(false, Some(502))).await;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw(&SENDER, transfer(1, PAYEE, 1))] });
    assert_eq!(rpc.post(body.to_string()).await.status(), 502);
    assert_eq!(rpc.nonce(SENDER.address).await, 2);
    set(&rpc, lost(true, None)).await;
    let raw = raw(&SENDER, transfer(2, PAYEE, 1));
    let client = inside(&devnet);
    let silent = client.request::<_, Value>("eth_sendRawTransaction", (raw,));
    assert!(timeout(Duration::from_millis(50), silent).await.is_err());
    assert_eq!(rpc.nonce(SENDER.address).await, 3);
}

#[tokio::test]
async fn a_transaction_delivered_twice_is_in_once_and_its_sender_is_told_an_error() {
    let (_devnet, rpc) = devnet_with(Config { mining: Mining::Manual, ..Config::default() }).await;
    set(&rpc, json!({ "kind": "duplicate", "count": 2 })).await;
    let (code, message) =
        rpc.err("eth_sendRawTransaction", json!([raw(&SENDER, transfer(0, PAYEE, 1))])).await;
    assert_eq!((code, message.as_str()), (-32_000, "already known"));
    rpc.ok("evm_setAutomine", json!([true])).await;
    let (_, message) = rpc.err("eth_sendRawTransaction", json!([raw(&SENDER, transfer(1, PAYEE, 1))])).await;
    assert!(message.starts_with("nonce too low"), "{message}");
    assert_eq!(rpc.nonce(SENDER.address).await, 2);
}

#[tokio::test]
async fn a_node_that_is_behind_does_not_know_the_latest_blocks() {
    let (_devnet, rpc) = devnet().await;
    let filter = rpc.ok("eth_newFilter", json!([{}])).await;
    rpc.ok("evm_mine", json!([])).await;
    let hash = rpc.send(tollway_devnet::genesis::USDC, signed(&authorization(1))).await;
    let block = rpc.ok("eth_getBlockByNumber", json!(["latest", false])).await["hash"].clone();
    let paid = rpc.balance_of(PAYEE).await;
    set(&rpc, json!({ "kind": "stale", "blocks": 1 })).await;
    assert_eq!(rpc.ok("eth_blockNumber", json!([])).await, "0x1");
    assert_eq!(rpc.ok("eth_getBlockByNumber", json!(["latest", false])).await["number"], "0x1");
    for (method, params) in [
        ("eth_getTransactionReceipt", json!([hash])),
        ("eth_getTransactionByHash", json!([hash])),
        ("eth_getBlockByHash", json!([block, false])),
        ("eth_getBlockByNumber", json!(["0x2", false])),
    ] {
        assert!(rpc.ok(method, params).await.is_null(), "{method}");
    }
    for tag in ["latest", "pending"] {
        assert_eq!(rpc.number("eth_getTransactionCount", json!([SENDER.address, tag])).await, 0);
    }
    assert!(rpc.balance_of(PAYEE).await < paid);
    assert!(
        !rpc.read(
            Token::authorizationStateCall {
                authorizer: crate::fixture::PAYER.address,
                nonce: authorization(1).nonce
            },
            "latest"
        )
        .await
    );
    assert_eq!(rpc.ok("eth_getLogs", json!([{ "fromBlock": "0x0" }])).await, json!([]));
    assert_eq!(rpc.ok("eth_getFilterChanges", json!([filter])).await, json!([]));
    // The chain itself goes on: what it has used is used.
    let again = rpc.err("eth_sendRawTransaction", json!([raw(&SENDER, transfer(0, PAYEE, 1))])).await;
    assert!(again.1.starts_with("nonce too low"), "{}", again.1);
    set(&rpc, json!({ "kind": "clear" })).await;
    assert_eq!(rpc.ok("eth_getFilterChanges", json!([filter])).await.as_array().unwrap().len(), 2);
    assert_eq!(rpc.ok("eth_getTransactionReceipt", json!([hash])).await["blockNumber"], "0x2");
}

#[tokio::test]
async fn a_stale_nonce_is_told_as_often_as_it_says() {
    let (_devnet, rpc) = devnet().await;
    rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, transfer(0, PAYEE, 1))])).await;
    set(&rpc, json!({ "kind": "stale", "method": "eth_getTransactionCount", "count": 2, "blocks": 1 })).await;
    rpc.ok("eth_blockNumber", json!([])).await;
    assert_eq!([rpc.nonce(SENDER.address).await, rpc.nonce(SENDER.address).await], [0, 0]);
    assert_eq!(rpc.nonce(SENDER.address).await, 1);
}

#[tokio::test]
async fn a_fee_spike_lasts_its_blocks_and_leaves_no_trace() {
    let config = Config { mining: Mining::Manual, base_fee_held: true, ..Config::default() };
    let (devnet, rpc) = devnet_with(config).await;
    devnet.mine();
    rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, transfer(0, PAYEE, 1))])).await;
    set(&rpc, json!({ "kind": "feeSpike", "factor": 20, "blocks": 2 })).await;
    let (_, message) = rpc.err("eth_sendRawTransaction", json!([raw(&SENDER, transfer(1, PAYEE, 1))])).await;
    assert_eq!(message, "max fee per gas less than block base fee");
    let mut fees = Vec::new();
    for _ in 0..3 {
        devnet.mine();
        let block = rpc.ok("eth_getBlockByNumber", json!(["latest", false])).await;
        fees.push((quantity(&block["baseFeePerGas"]), block["transactions"].as_array().unwrap().len()));
    }
    let gwei = 1_000_000_000;
    assert_eq!(fees, [(20 * gwei, 0), (20 * gwei, 0), (gwei, 1)]);
    set(&rpc, json!({ "kind": "feeSpike", "factor": 20, "blocks": 2 })).await;
    set(&rpc, json!({ "kind": "clear" })).await;
    devnet.mine();
    assert_eq!(rpc.ok("eth_getBlockByNumber", json!(["latest", false])).await["baseFeePerGas"], "0x3b9aca00");
}

#[tokio::test]
async fn the_clock_jumps_and_no_block_is_older_than_its_parent() {
    let clock = std::sync::Arc::new(tollway_core::ManualClock::new(tollway_core::UnixTime(1_000_000)));
    let (devnet, rpc) = devnet_with(Config { clock, ..Config::default() }).await;
    let mut times = Vec::new();
    for secs in [0, 3_600, -7_200, 7_200] {
        set(&rpc, json!({ "kind": "clockJump", "secs": secs })).await;
        devnet.mine();
        let block = rpc.ok("eth_getBlockByNumber", json!(["latest", false])).await;
        times.push(quantity(&block["timestamp"]));
    }
    assert_eq!(times, [1_000_000, 1_003_600, 1_003_600, 1_003_600]);
}

#[tokio::test]
async fn a_restart_forgets_the_pool_and_the_filters_and_keeps_the_chain() {
    let (_devnet, rpc) = devnet_with(Config { mining: Mining::Manual, ..Config::default() }).await;
    rpc.ok("evm_mine", json!([])).await;
    let filter = rpc.ok("eth_newBlockFilter", json!([])).await;
    let hash = rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, transfer(0, PAYEE, 1))])).await;
    set_and_lose_connection(&rpc).await;
    assert!(rpc.ok("eth_getTransactionByHash", json!([hash])).await.is_null());
    assert_eq!(rpc.err("eth_getFilterChanges", json!([filter])).await.1, "filter not found");
    assert_eq!(rpc.ok("eth_blockNumber", json!([])).await, "0x1");
    rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, transfer(0, PAYEE, 1))])).await;
}

/// The answer to the request for a restart goes down with its connection.
async fn set_and_lose_connection(rpc: &crate::fixture::Rpc) {
    let body =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tollway_setFault", "params": [{ "kind": "restart" }] });
    assert!(rpc.http.post(&rpc.url).body(body.to_string()).send().await.is_err());
}

#[tokio::test]
async fn a_restart_cuts_what_is_on_its_way() {
    let (devnet, rpc) = devnet().await;
    let (mut socket, _) = tokio_tungstenite::connect_async(devnet.ws_url()).await.unwrap();
    let ask = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"] });
    socket.send(Message::text(ask.to_string())).await.unwrap();
    assert!(socket.next().await.unwrap().is_ok());
    let method = Some("eth_chainId".to_owned());
    devnet.faults().inject(Fault::Delay { method, count: None, delay_ms: 600_000, inbound: false });
    let client = inside(&devnet);
    let within = client.request_noparams::<String>("eth_chainId");
    let without = rpc.http.post(&rpc.url).body(r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#).send();
    let restarted = async {
        // Both are on their way when the node goes down.
        tokio::time::sleep(Duration::from_millis(50)).await;
        devnet.faults().inject(Fault::Restart);
    };
    let (within, without, ()) = tokio::join!(within, without, restarted);
    assert!(within.is_err() && without.is_err());
    let end = timeout(Duration::from_secs(5), socket.next()).await.unwrap();
    assert!(end.is_none_or(|message| message.is_err()));
}

#[tokio::test]
async fn a_filter_is_told_what_a_reorganisation_takes_and_what_it_brings() {
    let (devnet, rpc) = devnet().await;
    let filter = rpc.ok("eth_newFilter", json!([{ "address": tollway_devnet::genesis::USDC }])).await;
    let blocks = rpc.ok("eth_newBlockFilter", json!([])).await;
    let hash = rpc.send(tollway_devnet::genesis::USDC, signed(&authorization(1))).await;
    let changes = |id: Value| {
        let rpc = rpc.clone();
        async move { rpc.ok("eth_getFilterChanges", json!([id])).await.as_array().unwrap().clone() }
    };
    assert_eq!((changes(filter.clone()).await.len(), changes(blocks.clone()).await.len()), (2, 1));
    devnet.faults().inject(Fault::Reorg { depth: 1, lost: false });
    let told = changes(filter.clone()).await;
    let removed: Vec<_> = told.iter().map(|log| log["removed"].as_bool().unwrap()).collect();
    assert_eq!(removed, [true, true, false, false]);
    let receipt = rpc.ok("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(told[2]["blockHash"], receipt["blockHash"]);
    assert_ne!(told[0]["blockHash"], receipt["blockHash"]);
    assert_eq!(changes(blocks.clone()).await.len(), 2, "the new chain is one longer");
    assert!(changes(filter).await.is_empty() && changes(blocks).await.is_empty());
}

#[tokio::test]
async fn a_reorganisation_of_five_blocks_may_lose_all_that_was_in_them() {
    let (devnet, rpc) = devnet().await;
    let mut hashes = Vec::new();
    for nonce in 0..5 {
        hashes.push(rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, transfer(nonce, PAYEE, 1))])).await);
    }
    devnet.faults().inject(Fault::Reorg { depth: 5, lost: true });
    assert_eq!(rpc.ok("eth_blockNumber", json!([])).await, "0x6");
    assert_eq!(rpc.nonce(SENDER.address).await, 0);
    for hash in hashes {
        assert!(rpc.ok("eth_getTransactionReceipt", json!([hash])).await.is_null());
        assert!(rpc.ok("eth_getTransactionByHash", json!([hash])).await.is_null());
    }
}

#[tokio::test]
async fn a_preconfirmed_receipt_is_told_before_its_block_and_only_where_that_is_wanted() {
    for preconfirm in [false, true] {
        let config = Config { mining: Mining::Manual, preconfirm, ..Config::default() };
        let (devnet, rpc) = devnet_with(config).await;
        let hash = rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, transfer(0, PAYEE, 1))])).await;
        let early = rpc.ok("eth_getTransactionReceipt", json!([hash])).await;
        assert_eq!(early["status"].as_str(), preconfirm.then_some("0x1"));
        assert_eq!(rpc.ok("eth_blockNumber", json!([])).await, "0x0");
        devnet.mine();
        assert_eq!(rpc.ok("eth_getTransactionReceipt", json!([hash])).await["blockNumber"], "0x1");
    }
}

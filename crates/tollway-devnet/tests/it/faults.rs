//! Faults do what they say, and only that.

use serde_json::json;
use tollway_devnet::Fault;

use crate::fixture::{PAYEE, SENDER, devnet, raw, transfer};

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

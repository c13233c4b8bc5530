//! Blocks, receipts and logs are told as Ethereum nodes tell them.

use alloy_primitives::B256;
use serde_json::{Value, json};
use tollway_devnet::{Config, Limits, Mining, genesis::USDC};

use crate::fixture::{
    PAYEE, PAYER, SENDER, authorization, devnet, devnet_with, quantity, raw, signed, transfer,
};

#[tokio::test]
async fn a_block_is_linked_to_its_parent_and_found_by_number_hash_and_tag() {
    let (_devnet, rpc) = devnet().await;
    let hash = rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, transfer(0, PAYEE, 1))])).await;
    let block = rpc.ok("eth_getBlockByNumber", json!(["latest", true])).await;
    let genesis = rpc.ok("eth_getBlockByNumber", json!(["earliest", false])).await;
    assert_eq!(block["parentHash"], genesis["hash"]);
    assert_eq!(block["transactions"][0]["hash"], hash);
    assert_eq!(block["transactions"][0]["from"], json!(SENDER.address));
    assert_eq!(rpc.ok("eth_getBlockByHash", json!([block["hash"], true])).await, block);
    assert_eq!(rpc.ok("eth_getBlockByNumber", json!(["0x1", true])).await, block);
    assert_eq!(rpc.ok("eth_getBlockByNumber", json!(["finalized", false])).await, genesis);
    assert_eq!(rpc.ok("eth_getBlockByNumber", json!(["pending", false])).await["number"], "0x2");
    assert!(rpc.ok("eth_getBlockByNumber", json!(["0x9", false])).await.is_null());
    assert_eq!(rpc.ok("eth_getBlockTransactionCountByNumber", json!(["latest"])).await, "0x1");
    assert_eq!(rpc.ok("eth_getBlockTransactionCountByHash", json!([block["hash"]])).await, "0x1");
    let (by_number, by_hash) =
        ("eth_getTransactionByBlockNumberAndIndex", "eth_getTransactionByBlockHashAndIndex");
    assert_eq!(rpc.ok(by_number, json!(["latest", "0x0"])).await, block["transactions"][0]);
    assert_eq!(rpc.ok(by_hash, json!([block["hash"], "0x0"])).await, block["transactions"][0]);
    assert!(rpc.ok(by_hash, json!([block["hash"], "0x1"])).await.is_null());
}

#[tokio::test]
async fn a_receipt_says_what_happened_and_where() {
    let (_devnet, rpc) = devnet().await;
    let hash = rpc.send(USDC, signed(&authorization(1))).await;
    let receipt = rpc.ok("eth_getTransactionReceipt", json!([hash])).await;
    let block = rpc.ok("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(receipt["blockHash"], block["hash"]);
    assert_eq!(receipt["transactionIndex"], "0x0");
    assert_eq!(receipt["type"], "0x2");
    assert_eq!(receipt["gasUsed"], receipt["cumulativeGasUsed"]);
    assert_eq!(receipt["gasUsed"], block["gasUsed"]);
    assert_eq!(receipt["logsBloom"], block["logsBloom"]);
    assert_eq!(receipt["to"], json!(USDC));
    assert_eq!(receipt["logs"][1]["logIndex"], "0x1");
    assert_eq!(receipt["logs"][1]["transactionHash"], hash);
    assert_eq!(rpc.ok("eth_getBlockReceipts", json!(["latest"])).await, json!([receipt]));
    assert!(rpc.ok("eth_getTransactionReceipt", json!([B256::ZERO])).await.is_null());
}

#[tokio::test]
async fn logs_are_found_by_address_topic_range_and_block() {
    let (_devnet, rpc) = devnet().await;
    for nonce in 1..=3 {
        rpc.send(USDC, signed(&authorization(nonce))).await;
    }
    let count = async |filter: Value| rpc.ok("eth_getLogs", json!([filter])).await.as_array().unwrap().len();
    assert_eq!(count(json!({ "fromBlock": "0x0" })).await, 6);
    assert_eq!(count(json!({})).await, 2);
    assert_eq!(count(json!({ "fromBlock": "0x1", "toBlock": "0x2", "address": USDC })).await, 4);
    assert_eq!(count(json!({ "fromBlock": "0x1", "address": PAYEE })).await, 0);
    let nonce = B256::repeat_byte(2);
    assert_eq!(
        count(json!({ "fromBlock": "0x1", "topics": [null, PAYER.address.into_word(), nonce] })).await,
        1
    );
    let hash = rpc.ok("eth_getBlockByNumber", json!(["0x1", false])).await["hash"].clone();
    assert_eq!(count(json!({ "blockHash": hash })).await, 2);
    let (code, _) = rpc.err("eth_getLogs", json!([{ "fromBlock": "0x2", "toBlock": "0x1" }])).await;
    assert_eq!(code, -32_602);
}

#[tokio::test]
async fn too_many_logs_are_an_error_not_an_answer() {
    let (_devnet, rpc) =
        devnet_with(Config { limits: Limits { logs: 3, ..Limits::default() }, ..Config::default() }).await;
    for nonce in 1..=2 {
        rpc.send(USDC, signed(&authorization(nonce))).await;
    }
    assert_eq!(rpc.err("eth_getLogs", json!([{ "fromBlock": "0x0" }])).await.0, -32_005);
}

#[tokio::test]
async fn a_filter_reports_each_thing_once() {
    let (_devnet, rpc) = devnet().await;
    let blocks = rpc.ok("eth_newBlockFilter", json!([])).await;
    let logs = rpc.ok("eth_newFilter", json!([{ "address": USDC }])).await;
    rpc.send(USDC, signed(&authorization(1))).await;
    for expected in [1, 0] {
        let found = rpc.ok("eth_getFilterChanges", json!([blocks])).await;
        assert_eq!(found.as_array().unwrap().len(), expected);
        let found = rpc.ok("eth_getFilterChanges", json!([logs])).await;
        assert_eq!(found.as_array().unwrap().len(), 2 * expected);
    }
    assert_eq!(rpc.ok("eth_uninstallFilter", json!([logs])).await, true);
    assert_eq!(rpc.err("eth_getFilterChanges", json!([logs])).await.1, "filter not found");
}

#[tokio::test]
async fn the_base_fee_follows_eip1559_unless_held() {
    for held in [false, true] {
        let config = Config { mining: Mining::Manual, base_fee_held: held, ..Config::default() };
        let (devnet, rpc) = devnet_with(config).await;
        devnet.mine();
        devnet.mine();
        let block = rpc.ok("eth_getBlockByNumber", json!(["latest", false])).await;
        let expected = if held { 1_000_000_000 } else { 875_000_000 };
        assert_eq!(quantity(&block["baseFeePerGas"]), expected);
    }
}

#[tokio::test]
async fn the_fee_history_reaches_one_block_ahead() {
    let (_devnet, rpc) = devnet().await;
    for nonce in 0..3 {
        rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, transfer(nonce, PAYEE, 1))])).await;
    }
    let history = rpc.ok("eth_feeHistory", json!(["0x2", "latest", [25.0, 75.0]])).await;
    assert_eq!(history["oldestBlock"], "0x2");
    assert_eq!(history["baseFeePerGas"].as_array().unwrap().len(), 3);
    assert_eq!(history["gasUsedRatio"], json!([0.0007, 0.0007]));
    assert_eq!(history["reward"][0], json!(["0x3b9aca00", "0x3b9aca00"]));
    assert_eq!(rpc.err("eth_feeHistory", json!(["0x2", "latest", [75.0, 25.0]])).await.0, -32_602);
}

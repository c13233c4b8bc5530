//! What this chain answers is what anvil answers: the same script of requests, side by side.
//!
//! Runs when `TOLLWAY_ANVIL` is the path of an anvil. Where the two are known to differ, the script says so
//! by comparing less: values, then shapes (keys and kinds of values), then only success or failure.

use std::collections::BTreeSet;

use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall;
use serde_json::{Value, json};
use tollway_devnet::genesis::{self, USDC};

use crate::{
    anvil::anvil,
    fixture::{PAYEE, PAYER, Rpc, SENDER, Token, authorization, devnet, raw, signed, transfer},
};

/// Both nodes, at the same genesis.
struct Pair {
    ours: Rpc,
    theirs: Rpc,
}

impl Pair {
    async fn same(&self, method: &str, params: Value) -> Value {
        let (ours, theirs) =
            (self.ours.call(method, params.clone()).await, self.theirs.call(method, params).await);
        assert_eq!(ours, theirs, "{method}");
        ours.unwrap()
    }

    /// The same but for what depends on when and on which chain it happened.
    async fn same_but(&self, ignored: &[&str], method: &str, params: Value) {
        let strip = |mut value: Value| {
            remove(&mut value, ignored);
            value
        };
        let ours = self.ours.ok(method, params.clone()).await;
        let mut theirs = self.theirs.ok(method, params.clone()).await;
        // anvil tells of a block a moment before it knows all of it.
        for _ in 0..100 {
            if theirs.is_null() == ours.is_null() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            theirs = self.theirs.ok(method, params.clone()).await;
        }
        assert_eq!(strip(ours), strip(theirs), "{method}");
    }

    async fn same_shape(&self, method: &str, params: Value) {
        let (ours, theirs) =
            (self.ours.ok(method, params.clone()).await, self.theirs.ok(method, params).await);
        let (ours, theirs) = (shape(&ours), shape(&theirs));
        assert_eq!(ours, theirs, "{method}");
    }

    /// Codes differ, ours being geth's; the words that clients look for do not.
    async fn both_refuse(&self, method: &str, params: Value, words: &str) {
        for rpc in [&self.ours, &self.theirs] {
            let (_, message) = rpc.err(method, params.clone()).await;
            assert!(message.to_lowercase().contains(words), "{method} at {}: {message}", rpc.url);
        }
    }

    async fn do_both(&self, method: &str, params: Value) {
        for rpc in [&self.ours, &self.theirs] {
            rpc.ok(method, params.clone()).await;
        }
    }
}

#[tokio::test]
async fn the_same_script_gets_the_same_answers() {
    let Some((_anvil, theirs)) = anvil().await else { return };
    let (_devnet, ours) = devnet().await;
    let nodes = Pair { ours, theirs };
    nodes.ours.rebuild_genesis().await;
    reads(&nodes).await;
    calls(&nodes).await;
    let hash = payments(&nodes).await;
    inclusion(&nodes, &hash).await;
    refusals(&nodes).await;
    controls(&nodes).await;
}

async fn reads(nodes: &Pair) {
    nodes.same("eth_chainId", json!([])).await;
    nodes.same("net_version", json!([])).await;
    nodes.same("eth_syncing", json!([])).await;
    nodes.same("eth_blockNumber", json!([])).await;
    nodes.same("eth_getBalance", json!([SENDER.address, "latest"])).await;
    nodes.same("eth_getBalance", json!([Address::repeat_byte(0x99), "latest"])).await;
    nodes.same("eth_getCode", json!([USDC, "latest"])).await;
    nodes.same("eth_getCode", json!([PAYEE, "latest"])).await;
    nodes.same("eth_getStorageAt", json!([USDC, "0x0", "latest"])).await;
    nodes.same("eth_getStorageAt", json!([USDC, genesis::balance_slot(PAYER.address), "latest"])).await;
    nodes.same("eth_getTransactionCount", json!([SENDER.address, "pending"])).await;
    nodes.same("eth_maxPriorityFeePerGas", json!([])).await;
    nodes.same("eth_getTransactionReceipt", json!([B256::ZERO])).await;
    nodes.same("eth_getTransactionByHash", json!([B256::ZERO])).await;
    nodes.same("eth_getBlockByNumber", json!(["0x63", false])).await;
    nodes.same("web3_sha3", json!(["0x1234"])).await;
}

async fn calls(nodes: &Pair) {
    let call = |data: Vec<u8>| json!({ "from": SENDER.address, "to": USDC, "data": Bytes::from(data) });
    nodes.same("eth_call", json!([call(Token::nameCall {}.abi_encode()), "latest"])).await;
    nodes.same("eth_call", json!([call(Token::DOMAIN_SEPARATORCall {}.abi_encode()), "latest"])).await;
    nodes.same("eth_call", json!([call(Token::balanceOfCall(PAYEE).abi_encode()), "latest"])).await;
    nodes.same("eth_call", json!([call(signed(&authorization(1)).abi_encode()), "latest"])).await;
    nodes.same("eth_estimateGas", json!([{ "from": SENDER.address, "to": PAYEE, "value": "0x1" }])).await;
    let slot = B256::from(genesis::balance_slot(PAYEE)).to_string();
    let overrides = json!({ USDC.to_string(): { "stateDiff": { slot: B256::with_last_byte(5) } } });
    nodes
        .same("eth_call", json!([call(Token::balanceOfCall(PAYEE).abi_encode()), "latest", overrides]))
        .await;
    let too_much = crate::fixture::TransferWithAuthorization { value: U256::MAX, ..authorization(1) };
    for method in ["eth_call", "eth_estimateGas"] {
        let params = json!([call(signed(&too_much).abi_encode()), "latest"]);
        let (ours, theirs) =
            (nodes.ours.call(method, params.clone()).await, nodes.theirs.call(method, params).await);
        assert_eq!(ours.unwrap_err(), theirs.unwrap_err(), "{method}");
    }
}

async fn payments(nodes: &Pair) -> Value {
    nodes.same("eth_sendRawTransaction", json!([raw(&SENDER, transfer(0, PAYEE, 5))])).await;
    let input: Bytes = signed(&authorization(1)).abi_encode().into();
    let payment = TxEip1559 { gas_limit: 150_000, input, ..transfer(1, USDC, 0) };
    let hash = nodes.same("eth_sendRawTransaction", json!([raw(&SENDER, payment.clone())])).await;
    let again = TxEip1559 { nonce: 2, ..payment };
    nodes.same("eth_sendRawTransaction", json!([raw(&SENDER, again)])).await;
    // Creates a contract whose code is one STOP.
    let init = Bytes::from_static(&[0x60, 0x01, 0x60, 0x00, 0xf3]);
    let create = TxEip1559 {
        to: alloy_primitives::TxKind::Create,
        gas_limit: 100_000,
        input: init,
        ..transfer(3, PAYEE, 0)
    };
    nodes.same("eth_sendRawTransaction", json!([raw(&SENDER, create)])).await;
    hash
}

async fn inclusion(nodes: &Pair, hash: &Value) {
    // anvil gives a blob gas price even to transactions without blobs.
    let ignored = ["blockHash", "blockTimestamp", "timestamp", "blobGasPrice"];
    for number in ["0x1", "0x2", "0x3", "0x4"] {
        nodes.same_but(&ignored, "eth_getBlockReceipts", json!([number])).await;
    }
    nodes.same_but(&ignored, "eth_getTransactionReceipt", json!([hash])).await;
    nodes.same_but(&ignored, "eth_getTransactionByHash", json!([hash])).await;
    nodes.same_but(&ignored, "eth_getLogs", json!([{ "fromBlock": "0x0", "address": USDC }])).await;
    nodes.same("eth_getBlockTransactionCountByNumber", json!(["0x1"])).await;
    nodes.same("eth_getBalance", json!([SENDER.address, "latest"])).await;
    nodes.same("eth_getBalance", json!([SENDER.address, "0x2"])).await;
    nodes.same("eth_getBalance", json!([PAYEE, "0x0"])).await;
    nodes.same("eth_gasPrice", json!([])).await;
    // These depend on the clock, on a state trie that we don't keep, and on how a node counts bytes.
    let ignored = [
        "hash",
        "parentHash",
        "stateRoot",
        "timestamp",
        "mixHash",
        "size",
        "extraData",
        "blockHash",
        "blockTimestamp",
        "parentBeaconBlockRoot",
        "blobGasUsed",
        "excessBlobGas",
        "totalDifficulty",
        "requestsHash",
    ];
    nodes.same_but(&ignored, "eth_getBlockByNumber", json!(["0x2", false])).await;
    nodes.same_but(&ignored, "eth_getBlockByNumber", json!(["0x2", true])).await;
    nodes.same_shape("eth_getBlockByNumber", json!(["latest", true])).await;
    nodes
        .same_but(
            &["baseFeePerBlobGas", "blobGasUsedRatio"],
            "eth_feeHistory",
            json!(["0x2", "latest", [50.0]]),
        )
        .await;
}

async fn refusals(nodes: &Pair) {
    let next = || transfer(4, PAYEE, 1);
    let waiting = json!([raw(&SENDER, transfer(5, PAYEE, 1))]);
    nodes.same("eth_sendRawTransaction", waiting).await;
    let cases = [
        (transfer(0, PAYEE, 6), "nonce too low"),
        (transfer(5, PAYEE, 2), "replacement transaction underpriced"),
        (TxEip1559 { value: U256::MAX >> 1, ..next() }, "insufficient funds for gas * price + value"),
        (TxEip1559 { gas_limit: 20_000, ..next() }, "intrinsic gas too low"),
        (
            TxEip1559 { max_fee_per_gas: 1, max_priority_fee_per_gas: 1, ..next() },
            "max fee per gas less than block base fee",
        ),
        (TxEip1559 { chain_id: 1, ..next() }, "invalid chain id for signer"),
    ];
    for (tx, words) in cases {
        nodes.both_refuse("eth_sendRawTransaction", json!([raw(&SENDER, tx)]), words).await;
    }
    nodes.both_refuse("eth_getBalance", json!(["0x12", "latest"]), "invalid string length").await;
    assert_eq!(
        nodes.ours.err("eth_nothing", json!([])).await.0,
        nodes.theirs.err("eth_nothing", json!([])).await.0
    );
}

async fn controls(nodes: &Pair) {
    let snapshot = |rpc: Rpc| async move { rpc.ok("evm_snapshot", json!([])).await };
    let (ours, theirs) = (snapshot(nodes.ours.clone()).await, snapshot(nodes.theirs.clone()).await);
    nodes.do_both("anvil_setBalance", json!([PAYEE, "0x7"])).await;
    nodes.do_both("anvil_mine", json!(["0x2"])).await;
    nodes.same("eth_blockNumber", json!([])).await;
    nodes.same("eth_getBalance", json!([PAYEE, "latest"])).await;
    assert_eq!(nodes.ours.ok("evm_revert", json!([ours])).await, json!(true));
    assert_eq!(nodes.theirs.ok("evm_revert", json!([theirs])).await, json!(true));
    nodes.same("eth_blockNumber", json!([])).await;
    nodes.same("eth_getBalance", json!([PAYEE, "latest"])).await;
}

fn remove(value: &mut Value, ignored: &[&str]) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !ignored.contains(&key.as_str()));
            fields.values_mut().for_each(|value| remove(value, ignored));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| remove(item, ignored)),
        _ => {}
    }
}

/// Every path in a value with the kind of what is there.
fn shape(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(key, value)| walk(value, &format!("{path}.{key}"), found));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, &format!("{path}[]"), found)),
            other => {
                let kind = if other.is_string() { "string" } else { &other.to_string() };
                found.insert(format!("{path}: {kind}"));
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(value, "", &mut found);
    found
}

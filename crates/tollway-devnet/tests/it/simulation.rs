//! `eth_simulateV1`: what a chain of messages would do, told as geth tells it, and on an anvil the same wherever the two
//! agree.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall;
use serde_json::{Value, json};
use tollway_devnet::{Config, genesis::USDC};

use crate::{
    anvil::nodes,
    fixture::{
        PAYEE, PAYER, Rpc, SENDER, Token, TransferWithAuthorization, authorization, devnet, quantity, signed,
    },
};

const TARGET: Address = Address::repeat_byte(0x78);
const PRICE: &str = "0x2540be400";

/// Returns base fee, gas price, timestamp and number of the block.
const TELLER: &str = "0x486000523a602052426040524360605260806000f3";

/// Simulates blocks and returns the results, or the error.
async fn simulate(rpc: &Rpc, blocks: Value, validation: bool) -> Result<Value, Value> {
    let payload = json!({ "blockStateCalls": blocks, "validation": validation });
    rpc.call("eth_simulateV1", json!([payload, "latest"])).await
}

async fn calls(rpc: &Rpc, blocks: Value) -> Vec<Value> {
    let blocks = simulate(rpc, blocks, false).await.unwrap();
    let blocks = blocks.as_array().unwrap().iter();
    blocks.flat_map(|block| block["calls"].as_array().unwrap().clone()).collect()
}

async fn refusal(rpc: &Rpc, blocks: Value, validation: bool) -> (i64, String) {
    let error = simulate(rpc, blocks, validation).await.unwrap_err();
    (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
}

fn with_code(code: &str) -> Value {
    json!({ TARGET.to_string(): { "code": code } })
}

fn message() -> Value {
    json!({ "from": SENDER.address, "to": TARGET })
}

fn to_token(data: impl SolCall) -> Value {
    json!({ "from": SENDER.address, "to": USDC, "data": Bytes::from(data.abi_encode()) })
}

/// The words that a message returned.
fn words(call: &Value) -> Vec<U256> {
    let data: Bytes = serde_json::from_value(call["returnData"].clone()).unwrap();
    data.chunks(32).map(U256::from_be_slice).collect()
}

#[tokio::test]
async fn each_message_sees_what_those_before_it_did_and_nothing_stays() {
    for rpc in nodes().await.rpcs {
        let all = rpc.balance_of(PAYER.address).await;
        let half = signed(&TransferWithAuthorization { value: all, ..authorization(1) });
        let again = signed(&authorization(2));
        let balance = Token::balanceOfCall(PAYER.address);
        let first = json!({ "calls": [to_token(balance.clone()), to_token(half), to_token(again)] });
        let second = json!({ "calls": [to_token(balance)] });
        let calls = calls(&rpc, json!([first, second])).await;
        let statuses: Vec<_> = calls.iter().map(|call| call["status"].as_str().unwrap()).collect();
        assert_eq!(statuses, ["0x1", "0x1", "0x0", "0x1"]);
        assert_eq!((words(&calls[0])[0], words(&calls[3])[0]), (all, U256::ZERO));
        assert_eq!(calls[1]["logs"].as_array().unwrap().len(), 2);
        assert!(calls[2]["logs"].as_array().unwrap().is_empty());
        assert_eq!(rpc.balance_of(PAYER.address).await, all);
        assert_eq!(rpc.number("eth_blockNumber", json!([])).await, 0);
    }
}

#[tokio::test]
async fn gas_status_and_logs_are_what_anvil_tells() {
    let mut told = Vec::new();
    for rpc in nodes().await.rpcs {
        // Logs twice, counts on storage, and fails for want of gas.
        let logs = "0x60016000526002600160206000a2";
        let counts = "0x600054600101806000556000526020600 0f3".replace(' ', "");
        let short = json!({ "from": SENDER.address, "to": TARGET, "gas": "0x5300" });
        let blocks = json!([
            { "stateOverrides": with_code(logs), "calls": [message(), message()] },
            { "stateOverrides": with_code(&counts), "calls": [message(), message(), short] },
            { "calls": [message(), to_token(signed(&authorization(1)))] },
        ]);
        let mut calls = calls(&rpc, blocks).await;
        let where_and_when = ["blockHash", "blockNumber", "blockTimestamp", "transactionHash"];
        for call in &mut calls {
            call.as_object_mut().unwrap().remove("error");
            for log in call["logs"].as_array_mut().unwrap() {
                where_and_when.iter().for_each(|field| drop(log.as_object_mut().unwrap().remove(*field)));
            }
        }
        assert_eq!(
            calls.iter().map(|call| call["status"] == "0x1").collect::<Vec<_>>(),
            [true, true, true, true, false, true, true]
        );
        assert_eq!((words(&calls[3])[0], words(&calls[5])[0]), (U256::from(2), U256::from(3)));
        told.push(calls);
    }
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{told:#?}");
}

#[tokio::test]
async fn a_failed_message_says_why_and_the_others_go_on() {
    let (_devnet, rpc) = devnet().await;
    let too_much = signed(&TransferWithAuthorization { value: U256::MAX, ..authorization(1) });
    let invalid = json!({ "from": SENDER.address, "to": TARGET, "gas": "0x186a0" });
    let blocks = json!([{
        "stateOverrides": with_code("0xfe"),
        "calls": [to_token(too_much), invalid, to_token(signed(&authorization(1)))],
    }]);
    let calls = calls(&rpc, blocks).await;
    let error = &calls[0]["error"];
    assert_eq!(error["code"], 3);
    assert_eq!(error["message"], "execution reverted: ERC20: transfer amount exceeds balance");
    assert!(error["data"].as_str().unwrap().starts_with("0x08c379a0"));
    assert_eq!((&calls[0]["status"], &calls[0]["returnData"]), (&json!("0x0"), &json!("0x")));
    assert_eq!(calls[1]["error"], json!({ "code": -32_015, "message": "invalid opcode" }));
    assert_eq!(quantity(&calls[1]["gasUsed"]), 100_000);
    assert_eq!((&calls[2]["status"], calls[2].get("error")), (&json!("0x1"), None));
}

#[tokio::test]
async fn blocks_are_what_they_are_told_to_be() {
    let (devnet, rpc) = devnet().await;
    devnet.mine();
    let overrides = json!({ "number": "0x4", "time": "0xffffffff", "baseFeePerGas": "0x7", "gasLimit": "0xf4240",
        "feeRecipient": PAYEE });
    let paying =
        json!({ "from": SENDER.address, "to": TARGET, "maxFeePerGas": "0x9", "maxPriorityFeePerGas": "0x1" });
    let blocks = json!([
        { "blockOverrides": overrides, "stateOverrides": with_code(TELLER), "calls": [message(), paying] },
        { "calls": [message()] },
    ]);
    let blocks = simulate(&rpc, blocks, false).await.unwrap();
    let blocks = blocks.as_array().unwrap();
    // Two empty ones fill the gap.
    let numbers: Vec<_> = blocks.iter().map(|block| quantity(&block["number"])).collect();
    assert_eq!(numbers, [2, 3, 4, 5]);
    let head = rpc.ok("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(blocks[0]["parentHash"], head["hash"]);
    assert!(blocks.windows(2).all(|pair| pair[1]["parentHash"] == pair[0]["hash"]));
    let [fee, time] = [U256::from(7), U256::from(0xffff_ffff_u64)];
    let told = |call: &Value| words(call);
    // Who pays nothing sees no base fee; who pays sees it, and its own price.
    assert_eq!(told(&blocks[2]["calls"][0]), [U256::ZERO, U256::ZERO, time, U256::from(4)]);
    assert_eq!(told(&blocks[2]["calls"][1]), [fee, U256::from(8), time, U256::from(4)]);
    assert_eq!(told(&blocks[3]["calls"][0])[2..], [time + U256::from(12), U256::from(5)]);
    assert_eq!((&blocks[2]["baseFeePerGas"], &blocks[3]["baseFeePerGas"]), (&json!("0x7"), &json!("0x0")));
    assert_eq!((&blocks[2]["gasLimit"], &blocks[3]["gasLimit"]), (&json!("0xf4240"), &json!("0xf4240")));
    let used: u64 =
        blocks[2]["calls"].as_array().unwrap().iter().map(|call| quantity(&call["gasUsed"])).sum();
    assert_eq!(quantity(&blocks[2]["gasUsed"]), used);
    assert_eq!(blocks[2]["transactions"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn with_validation_a_message_pays_like_a_transaction() {
    let (_devnet, rpc) = devnet().await;
    let paying = |mut fields: Value| {
        let common = json!({ "from": SENDER.address, "to": TARGET, "gas": "0x186a0", "maxFeePerGas": PRICE });
        fields.as_object_mut().unwrap().extend(common.as_object().unwrap().clone());
        fields
    };
    let block = |call: Value| json!([{ "stateOverrides": with_code(TELLER), "calls": [call] }]);
    let blocks = simulate(&rpc, block(paying(json!({}))), true).await.unwrap();
    let fee = U256::from(1_000_000_000);
    assert_eq!(words(&blocks[0]["calls"][0])[..2], [fee, fee]);
    let mut poor = paying(json!({}));
    poor["from"] = json!(Address::repeat_byte(0x55));
    let mut tight = paying(json!({}));
    tight["gas"] = json!("0x100");
    let cases = [
        (message(), -32_602, "max fee per gas less than block base fee"),
        (paying(json!({ "nonce": "0x7" })), -38_011, "nonce too high"),
        (poor, -38_014, "insufficient funds for gas * price + value"),
        (tight, -38_013, "intrinsic gas too low"),
    ];
    for (call, code, problem) in cases {
        let (found, message) = refusal(&rpc, block(call), true).await;
        assert!(found == code && message.starts_with(problem), "{found} {message}");
    }
    rpc.send_from(&SENDER, USDC, Token::approveCall { spender: PAYEE, value: U256::from(1) }).await;
    let stale = paying(json!({ "nonce": "0x0" }));
    assert_eq!(refusal(&rpc, block(stale.clone()), true).await.0, -38_010);
    // Without validation nobody asks for the nonce.
    simulate(&rpc, block(stale), false).await.unwrap();
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_its_code() {
    let (devnet, rpc) = devnet().await;
    devnet.mine();
    let over = |overrides: Value| json!([{ "blockOverrides": overrides, "calls": [] }]);
    let thirsty = json!({ "from": SENDER.address, "to": TARGET, "gas": "0x1c9c381" });
    let cases = [
        (json!([]), -32_602, "empty input"),
        (over(json!({ "number": "0x1" })), -38_020, "block numbers must be in order: 1 <= 1"),
        (over(json!({ "number": "0x102" })), -38_026, "too many blocks"),
        (over(json!({ "time": "0x1" })), -38_021, "block timestamps must be in order: 1 <= "),
        (over(json!({ "blobBaseFee": "0x1" })), -32_602, "invalid params: blockOverrides: blobBaseFee"),
        (json!([{ "calls": [thirsty] }]), -38_015, "block gas limit reached: 0 >= 30000000"),
    ];
    for (blocks, code, problem) in cases {
        let (found, message) = refusal(&rpc, blocks, false).await;
        assert!(found == code && message.starts_with(problem), "{found} {message}");
    }
    let traced = json!([{ "blockStateCalls": [{ "calls": [] }], "traceTransfers": true }, "latest"]);
    let (code, message) = rpc.err("eth_simulateV1", traced).await;
    assert_eq!((code, &*message), (-32_602, "invalid params: simulation: traceTransfers is not supported"));
}

#[tokio::test]
async fn one_request_burns_no_more_gas_than_it_may() {
    let limits = tollway_devnet::Limits { call_gas: 250_000, ..tollway_devnet::Limits::default() };
    let (_devnet, rpc) = crate::fixture::devnet_with(Config { limits, ..Config::default() }).await;
    let thirsty = json!({ "from": SENDER.address, "to": TARGET, "gas": "0x30d40" });
    let block = json!({ "stateOverrides": with_code("0xfe"), "calls": [thirsty, thirsty] });
    let calls = calls(&rpc, json!([block])).await;
    let used: Vec<_> = calls.iter().map(|call| quantity(&call["gasUsed"])).collect();
    assert_eq!(used, [200_000, 50_000]);
}

#[tokio::test]
async fn whole_transactions_are_told_to_who_wants_them() {
    let (_devnet, rpc) = devnet().await;
    let payload = json!({ "blockStateCalls": [{ "calls": [message()] }], "returnFullTransactions": true });
    let blocks = rpc.ok("eth_simulateV1", json!([payload, "latest"])).await;
    let transaction = &blocks[0]["transactions"][0];
    assert_eq!(serde_json::from_value::<Address>(transaction["from"].clone()).unwrap(), SENDER.address);
    assert_eq!(serde_json::from_value::<Address>(transaction["to"].clone()).unwrap(), TARGET);
    assert_eq!(transaction["blockHash"], blocks[0]["hash"]);
    assert_ne!(serde_json::from_value::<B256>(transaction["hash"].clone()).unwrap(), B256::ZERO);
}

#[tokio::test]
async fn a_message_may_create_a_contract() {
    let (_devnet, rpc) = devnet().await;
    // Whose code is one STOP.
    let create = json!({ "from": SENDER.address, "data": "0x60016000f3" });
    let created = SENDER.address.create(0);
    let blocks = json!([{ "calls": [create, { "from": SENDER.address, "to": created }] }]);
    let calls = calls(&rpc, blocks).await;
    assert_eq!(calls[0]["returnData"], "0x00");
    assert_eq!(calls.iter().map(|call| call["status"] == "0x1").collect::<Vec<_>>(), [true, true]);
}

//! Calls and estimates: on any block, under any assumption, told like a node tells them.

use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall;
use serde_json::{Value, json};
use tollway_devnet::{
    Config, Limits,
    genesis::{self, MULTICALL3, USDC},
};

use crate::fixture::{
    PAYEE, PAYER, SENDER, Token, authorization, devnet, devnet_with, quantity, raw, signed, transfer,
};

fn payment() -> Value {
    json!({ "from": SENDER.address, "to": USDC, "data": Bytes::from(signed(&authorization(1)).abi_encode()) })
}

#[tokio::test]
async fn a_call_at_an_older_block_sees_what_was_then() {
    let (_devnet, rpc) = devnet().await;
    let before = rpc.balance_of(PAYEE).await;
    rpc.send(USDC, signed(&authorization(1))).await;
    rpc.send(USDC, signed(&authorization(2))).await;
    let at = async |block: &str| rpc.read(Token::balanceOfCall(PAYEE), block).await - before;
    assert_eq!(at("0x0").await, U256::ZERO);
    assert_eq!(at("0x1").await, U256::from(1_000_000));
    assert_eq!(at("latest").await, U256::from(2_000_000));
    let hash = rpc.ok("eth_getBlockByNumber", json!(["0x1", false])).await["hash"].clone();
    let slot = genesis::balance_slot(PAYEE);
    let by_hash = rpc.ok("eth_getStorageAt", json!([USDC, slot, { "blockHash": hash }])).await;
    assert_eq!(by_hash, rpc.ok("eth_getStorageAt", json!([USDC, slot, "0x1"])).await);
    assert_eq!(rpc.err("eth_getBalance", json!([PAYEE, "0x63"])).await.1, "header not found");
}

#[tokio::test]
async fn a_state_that_is_no_longer_kept_is_an_error() {
    let limits = Limits { states: 2, ..Limits::default() };
    let (devnet, rpc) = devnet_with(Config { limits, ..Config::default() }).await;
    for _ in 0..3 {
        devnet.mine();
    }
    assert_eq!(
        rpc.err("eth_getBalance", json!([PAYEE, "0x1"])).await.1,
        "historical state 1 is not available"
    );
    rpc.ok("eth_getBalance", json!([PAYEE, "0x2"])).await;
}

#[tokio::test]
async fn a_revert_has_code_3_its_reason_and_its_data() {
    let (_devnet, rpc) = devnet().await;
    rpc.send(USDC, signed(&authorization(1))).await;
    for method in ["eth_call", "eth_estimateGas"] {
        let error = rpc.call(method, json!([payment()])).await.unwrap_err();
        assert_eq!(error["code"], 3);
        assert_eq!(error["message"], "execution reverted: FiatTokenV2: authorization is used or canceled");
        assert!(error["data"].as_str().unwrap().starts_with("0x08c379a0"));
    }
}

#[tokio::test]
async fn overrides_hold_for_one_call() {
    let (_devnet, rpc) = devnet().await;
    let holder = Address::repeat_byte(0x77);
    let data = Bytes::from(Token::balanceOfCall(holder).abi_encode());
    let call = json!({ "to": USDC, "data": data });
    let slot = B256::from(genesis::balance_slot(holder));
    let diff = json!({ USDC.to_string(): { "stateDiff": { slot.to_string(): B256::with_last_byte(5) } } });
    assert_eq!(rpc.ok("eth_call", json!([call, "latest", diff])).await, json!(B256::with_last_byte(5)));
    assert_eq!(rpc.ok("eth_call", json!([call, "latest"])).await, json!(B256::ZERO));
    // The whole storage replaced: nobody owns anything, and the sender isn't the owner.
    let empty = json!({ USDC.to_string(): { "state": {} } });
    let held = json!({ "to": USDC, "data": Bytes::from(Token::balanceOfCall(PAYEE).abi_encode()) });
    assert_eq!(rpc.ok("eth_call", json!([held, "latest", empty])).await, json!(B256::ZERO));
    // Code that returns the caller's balance and the block's timestamp.
    let code = json!({ holder.to_string(): { "code": "0x333160005260206000f3" }, PAYER.address.to_string(): { "balance": "0x9" } });
    let balance = json!([{ "from": PAYER.address, "to": holder }, "latest", code]);
    assert_eq!(rpc.ok("eth_call", balance).await, json!(B256::with_last_byte(9)));
    let time = json!({ holder.to_string(): { "code": "0x4260005260206000f3" } });
    let at = json!([{ "to": holder }, "latest", time, { "time": "0x7" }]);
    assert_eq!(rpc.ok("eth_call", at).await, json!(B256::with_last_byte(7)));
}

#[tokio::test]
async fn an_estimate_is_enough_and_not_much_more() {
    let (_devnet, rpc) = devnet().await;
    assert_eq!(
        rpc.ok("eth_estimateGas", json!([{ "from": SENDER.address, "to": PAYEE, "value": "0x1" }])).await,
        "0x5208"
    );
    let gas = rpc.number("eth_estimateGas", json!([payment()])).await;
    let tx = TxEip1559 {
        gas_limit: gas,
        input: signed(&authorization(1)).abi_encode().into(),
        ..transfer(0, USDC, 0)
    };
    let hash = rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, tx)])).await;
    let receipt = rpc.ok("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x1");
    let used = quantity(&receipt["gasUsed"]);
    assert!((used..used + used / 20).contains(&gas), "{gas} for {used}");
}

#[tokio::test]
async fn a_message_that_names_its_fees_must_be_able_to_pay_them() {
    let (_devnet, rpc) = devnet().await;
    let fees = json!({ "maxFeePerGas": "0x83215600", "maxPriorityFeePerGas": "0x3b9aca00", "nonce": "0x0" });
    let mut request = payment();
    request.as_object_mut().unwrap().extend(fees.as_object().unwrap().clone());
    rpc.ok("eth_call", json!([request])).await;
    rpc.ok("eth_estimateGas", json!([request])).await;
    request["maxFeePerGas"] = json!("0x1");
    request["maxPriorityFeePerGas"] = json!("0x1");
    let (_, message) = rpc.err("eth_call", json!([request])).await;
    assert_eq!(message, "max fee per gas less than block base fee");
    request["from"] = json!(Address::repeat_byte(0x55));
    request["maxFeePerGas"] = json!("0x83215600");
    let (_, message) = rpc.err("eth_call", json!([request])).await;
    assert!(message.starts_with("insufficient funds for gas * price + value"), "{message}");
}

#[tokio::test]
async fn a_message_that_names_no_fee_sees_a_block_without_one() {
    let (_devnet, rpc) = devnet().await;
    let target = Address::repeat_byte(0x79);
    // Returns the base fee and the price of gas.
    rpc.ok("anvil_setCode", json!([target, "0x486000523a60205260406000f3"])).await;
    let seen = async |fees: Value| {
        let mut message = json!({ "from": SENDER.address, "to": target });
        message.as_object_mut().unwrap().extend(fees.as_object().unwrap().clone());
        let words: Bytes = serde_json::from_value(rpc.ok("eth_call", json!([message])).await).unwrap();
        (U256::from_be_slice(&words[..32]), U256::from_be_slice(&words[32..]))
    };
    let (fee, price) = (U256::from(1_000_000_000), U256::from(3_000_000_000_u64));
    for free in [json!({}), json!({ "gasPrice": "0x0" }), json!({ "maxFeePerGas": "0x0" })] {
        assert_eq!(seen(free).await, (U256::ZERO, U256::ZERO));
    }
    assert_eq!(seen(json!({ "gasPrice": price })).await, (fee, price));
    assert_eq!(seen(json!({ "maxFeePerGas": price })).await, (fee, fee));
    let tip = U256::from(7);
    assert_eq!(seen(json!({ "maxFeePerGas": price, "maxPriorityFeePerGas": tip })).await, (fee, fee + tip));
    let refused = [
        (json!({ "maxPriorityFeePerGas": "0x1" }), "max priority fee per gas higher than max fee per gas"),
        (json!({ "gasPrice": "0x1" }), "max fee per gas less than block base fee"),
        (
            json!({ "gasPrice": price, "maxPriorityFeePerGas": "0x1" }),
            "invalid params: transaction: both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified",
        ),
    ];
    for (fees, words) in refused {
        let mut message = json!({ "from": SENDER.address, "to": target });
        message.as_object_mut().unwrap().extend(fees.as_object().unwrap().clone());
        for method in ["eth_call", "eth_estimateGas"] {
            assert_eq!(rpc.err(method, json!([message])).await.1, words, "{method}");
        }
    }
}

#[tokio::test]
async fn an_estimate_leaves_room_for_the_64th_that_calls_hold_back() {
    let (_devnet, rpc) = devnet().await;
    let target = Address::repeat_byte(0x78);
    // Calls itself with all its gas, and reverts unless that call, which uses nearly nothing, got 100,000.
    let wants = "0x36601b5760006000600160006000305af160195760006000fd5b005b620186a05a1160195760006000fd";
    rpc.ok("anvil_setCode", json!([target, wants])).await;
    let request = json!({ "from": SENDER.address, "to": target });
    let gas = rpc.number("eth_estimateGas", json!([request])).await;
    assert!((122_600..125_000).contains(&gas), "{gas}");
    rpc.ok("eth_call", json!([{ "from": SENDER.address, "to": target, "gas": format!("0x{gas:x}") }])).await;
}

#[tokio::test]
async fn an_estimate_fails_when_the_gas_allowed_is_too_little() {
    let (_devnet, rpc) = devnet().await;
    let mut request = payment();
    request["gas"] = json!("0xc350");
    assert_eq!(
        rpc.err("eth_estimateGas", json!([request])).await.1,
        "gas required exceeds allowance (50000)"
    );
}

#[tokio::test]
async fn multicall_simulates_payments_that_race_for_one_balance() {
    alloy_sol_types::sol! {
        struct Call3 { address target; bool allowFailure; bytes callData; }
        struct Outcome { bool success; bytes returnData; }
        function aggregate3(Call3[] calls) returns (Outcome[] returnData);
    }
    let (_devnet, rpc) = devnet().await;
    let all = rpc.balance_of(PAYER.address).await;
    let payment = |nonce| {
        signed(&crate::fixture::TransferWithAuthorization { value: all, ..authorization(nonce) }).abi_encode()
    };
    let calls =
        [1, 2].map(|nonce| Call3 { target: USDC, allowFailure: true, callData: payment(nonce).into() });
    let data = Bytes::from(aggregate3Call { calls: calls.into() }.abi_encode());
    let output = rpc.ok("eth_call", json!([{ "to": MULTICALL3, "data": data }])).await;
    let output = alloy_primitives::hex::decode(output.as_str().unwrap()).unwrap();
    let outcomes = aggregate3Call::abi_decode_returns(&output).unwrap();
    assert_eq!(outcomes.iter().map(|outcome| outcome.success).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn a_bad_parameter_is_named_and_an_unknown_method_is_told() {
    let (_devnet, rpc) = devnet().await;
    let (code, message) = rpc.err("eth_getBalance", json!(["0x12", "latest"])).await;
    assert_eq!(code, -32_602);
    assert!(message.starts_with("invalid params: address"), "{message}");
    assert_eq!(rpc.err("eth_getBalance", json!([])).await.0, -32_602);
    assert_eq!(rpc.err("eth_call", json!([{ "to": USDC }, "yesterday"])).await.0, -32_602);
    assert_eq!(rpc.err("eth_mineBitcoin", json!([])).await.0, -32_601);
}

#[tokio::test]
async fn a_batch_is_answered_in_order_and_bounded() {
    let limits = Limits { batch: 3, ..Limits::default() };
    let (_devnet, rpc) = devnet_with(Config { limits, ..Config::default() }).await;
    let request = |id: u64, method: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method });
    let batch = json!([request(7, "eth_chainId"), request(8, "eth_nothing"), request(9, "eth_blockNumber")]);
    let response: Value =
        serde_json::from_str(&rpc.post(batch.to_string()).await.text().await.unwrap()).unwrap();
    assert_eq!(response[0], json!({ "jsonrpc": "2.0", "id": 7, "result": "0x7a69" }));
    assert_eq!(response[1]["error"]["code"], -32_601);
    assert_eq!(response[2]["result"], "0x0");
    let long = json!([request(1, "a"), request(2, "a"), request(3, "a"), request(4, "a")]);
    for (body, code) in
        [(long.to_string(), -32_600), ("[]".into(), -32_600), ("{".into(), -32_700), ("{}".into(), -32_600)]
    {
        let response: Value = serde_json::from_str(&rpc.post(body).await.text().await.unwrap()).unwrap();
        assert_eq!(response["error"]["code"], code);
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let limits = Limits { body_bytes: 1_000, ..Limits::default() };
    let (_devnet, rpc) = devnet_with(Config { limits, ..Config::default() }).await;
    assert_eq!(rpc.post(" ".repeat(1_001)).await.status(), 413);
}

//! Every function of Multicall3 does what its clients expect.

use alloy_primitives::{Bytes, U256, hex};
use alloy_sol_types::{SolCall, sol};
use serde_json::json;
use tollway_devnet::genesis::{MULTICALL3, USDC};

use crate::fixture::{PAYEE, Rpc, SENDER, Token, devnet};

sol! {
    struct Call { address target; bytes callData; }
    struct Call3Value { address target; bool allowFailure; uint256 value; bytes callData; }
    struct Outcome { bool success; bytes returnData; }
    function aggregate(Call[] calls) returns (uint256 blockNumber, bytes[] returnData);
    function tryAggregate(bool requireSuccess, Call[] calls) returns (Outcome[] returnData);
    function blockAndAggregate(Call[] calls) returns (uint256 blockNumber, bytes32 blockHash, Outcome[] returnData);
    function aggregate3Value(Call3Value[] calls) returns (Outcome[] returnData);
    function getBlockNumber() returns (uint256);
    function getBlockHash(uint256 number) returns (bytes32);
    function getLastBlockHash() returns (bytes32);
    function getEthBalance(address account) returns (uint256);
    function getChainId() returns (uint256);
    function getCurrentBlockGasLimit() returns (uint256);
    function getBasefee() returns (uint256);
}

async fn read<C: SolCall>(rpc: &Rpc, call: C) -> C::Return {
    let output =
        rpc.ok("eth_call", json!([{ "to": MULTICALL3, "data": Bytes::from(call.abi_encode()) }])).await;
    C::abi_decode_returns(&hex::decode(output.as_str().unwrap()).unwrap()).unwrap()
}

fn good() -> Call {
    Call { target: USDC, callData: Token::balanceOfCall(PAYEE).abi_encode().into() }
}

fn bad() -> Call {
    Call { target: USDC, callData: Token::mintCall { to: PAYEE, amount: U256::from(1) }.abi_encode().into() }
}

#[tokio::test]
async fn one_failure_fails_all_unless_allowed() {
    let (_devnet, rpc) = devnet().await;
    assert_eq!(read(&rpc, aggregateCall { calls: vec![good(), good()] }).await.returnData.len(), 2);
    let outcomes = read(&rpc, tryAggregateCall { requireSuccess: false, calls: vec![good(), bad()] }).await;
    assert_eq!(outcomes.iter().map(|outcome| outcome.success).collect::<Vec<_>>(), [true, false]);
    assert_eq!(read(&rpc, blockAndAggregateCall { calls: vec![good()] }).await.returnData.len(), 1);
    let data = Bytes::from(aggregateCall { calls: vec![good(), bad()] }.abi_encode());
    let (code, message) = rpc.err("eth_call", json!([{ "to": MULTICALL3, "data": data }])).await;
    assert_eq!((code, &*message), (3, "execution reverted: Multicall3: call failed"));
}

#[tokio::test]
async fn the_value_sent_is_the_value_spent() {
    let (_devnet, rpc) = devnet().await;
    let call =
        Call3Value { target: PAYEE, allowFailure: false, value: U256::from(5), callData: Bytes::new() };
    let data = Bytes::from(aggregate3ValueCall { calls: vec![call] }.abi_encode());
    let request =
        |wei: &str| json!([{ "from": SENDER.address, "to": MULTICALL3, "data": data, "value": wei }]);
    rpc.ok("eth_call", request("0x5")).await;
    assert_eq!(rpc.err("eth_call", request("0x6")).await.1, "execution reverted: Multicall3: value mismatch");
}

#[tokio::test]
async fn the_getters_tell_about_the_block() {
    let (devnet, rpc) = devnet().await;
    let (_, first) = devnet.mine();
    devnet.mine();
    assert_eq!(read(&rpc, getBlockNumberCall {}).await, U256::from(2));
    assert_eq!(read(&rpc, getLastBlockHashCall {}).await, first);
    assert_eq!(read(&rpc, getBlockHashCall { number: U256::from(1) }).await, first);
    assert_eq!(
        read(&rpc, getEthBalanceCall { account: SENDER.address }).await,
        U256::from(10).pow(U256::from(22))
    );
    assert_eq!(read(&rpc, getChainIdCall {}).await, U256::from(31_337));
    assert_eq!(read(&rpc, getCurrentBlockGasLimitCall {}).await, U256::from(30_000_000));
    // Who names no fee is shown a block without one.
    assert_eq!(read(&rpc, getBasefeeCall {}).await, U256::ZERO);
    let data = Bytes::from(getBasefeeCall {}.abi_encode());
    let paid =
        json!({ "from": SENDER.address, "to": MULTICALL3, "data": data, "maxFeePerGas": "0x2540be400" });
    let fee = rpc.ok("eth_call", json!([paid])).await;
    assert!(serde_json::from_value::<U256>(fee).unwrap() > U256::from(500_000_000));
}

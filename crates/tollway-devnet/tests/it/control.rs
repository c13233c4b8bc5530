//! Snapshots, time, mining, the faucet.

use std::time::Duration;

use alloy_primitives::{Address, U256};
use serde_json::json;
use tollway_devnet::{Config, Grant, Mining, genesis::USDC};

use crate::fixture::{PAYEE, SENDER, authorization, devnet, devnet_with, quantity, raw, signed, transfer};

#[tokio::test]
async fn a_revert_takes_back_blocks_state_and_receipts() {
    let (_devnet, rpc) = devnet().await;
    rpc.ok("anvil_setBalance", json!([PAYEE, "0x5"])).await;
    let (before, snapshot) = (rpc.balance_of(PAYEE).await, rpc.ok("evm_snapshot", json!([])).await);
    let hash = rpc.send(USDC, signed(&authorization(1))).await;
    rpc.ok("anvil_setBalance", json!([PAYEE, "0x6"])).await;
    assert_eq!(rpc.ok("evm_revert", json!([snapshot])).await, true);
    assert_eq!(rpc.balance_of(PAYEE).await, before);
    assert_eq!(rpc.ok("eth_getBalance", json!([PAYEE, "latest"])).await, "0x5");
    assert_eq!(rpc.ok("eth_blockNumber", json!([])).await, "0x0");
    assert!(rpc.ok("eth_getTransactionReceipt", json!([hash])).await.is_null());
    assert_eq!(rpc.nonce(SENDER.address).await, 0);
    assert_eq!(rpc.ok("evm_revert", json!([snapshot])).await, false, "a snapshot is used up");
    // The same transaction goes in again, in a block with another hash.
    assert_eq!(rpc.send(USDC, signed(&authorization(1))).await, hash);
}

#[tokio::test]
async fn a_block_made_again_has_another_hash() {
    let (devnet, rpc) = devnet().await;
    let snapshot = rpc.ok("evm_snapshot", json!([])).await;
    let (_, first) = devnet.mine();
    rpc.ok("evm_revert", json!([snapshot])).await;
    assert_ne!(devnet.mine().1, first);
}

#[tokio::test]
async fn state_can_be_set_by_hand() {
    let (_devnet, rpc) = devnet().await;
    let account = Address::repeat_byte(0x31);
    rpc.ok("anvil_setBalance", json!([account, "0x1234"])).await;
    rpc.ok("anvil_setNonce", json!([account, "0x7"])).await;
    rpc.ok("hardhat_setCode", json!([account, "0x6001"])).await;
    let word = alloy_primitives::B256::with_last_byte(9);
    rpc.ok("anvil_setStorageAt", json!([account, "0x2", word])).await;
    assert_eq!(rpc.ok("eth_getBalance", json!([account, "latest"])).await, "0x1234");
    assert_eq!(rpc.nonce(account).await, 7);
    assert_eq!(rpc.ok("eth_getCode", json!([account])).await, "0x6001");
    assert_eq!(rpc.ok("eth_getStorageAt", json!([account, "0x2", "latest"])).await, json!(word));
}

#[tokio::test]
async fn the_clock_can_be_moved_and_goes_on_from_there() {
    let (devnet, rpc) = devnet().await;
    let time =
        async || quantity(&rpc.ok("eth_getBlockByNumber", json!(["latest", false])).await["timestamp"]);
    let start = time().await;
    rpc.ok("evm_increaseTime", json!([1_000])).await;
    devnet.mine();
    assert!((start + 1_000..start + 1_010).contains(&time().await));
    rpc.ok("evm_setNextBlockTimestamp", json!([start + 5_000])).await;
    devnet.mine();
    assert_eq!(time().await, start + 5_000);
    devnet.mine();
    assert!((start + 5_000..start + 5_010).contains(&time().await));
    assert_eq!(rpc.err("evm_setNextBlockTimestamp", json!([start])).await.0, -32_602);
    rpc.ok("anvil_mine", json!(["0x3", "0x3c"])).await;
    assert!((start + 5_120..start + 5_130).contains(&time().await));
}

#[tokio::test]
async fn a_call_at_the_latest_block_sees_the_time_of_now() {
    let (_devnet, rpc) = devnet().await;
    rpc.ok("evm_increaseTime", json!([7_200])).await;
    let head = rpc.ok("eth_getBlockByNumber", json!(["latest", false])).await;
    let late = U256::from(quantity(&head["timestamp"]) + 3_600);
    let expired = crate::fixture::TransferWithAuthorization { validBefore: late, ..authorization(1) };
    assert_eq!(rpc.revert_reason(signed(&expired)).await, "FiatTokenV2: authorization is expired");
}

#[tokio::test]
async fn mining_can_be_by_hand_at_once_or_by_interval() {
    let (devnet, rpc) = devnet_with(Config { mining: Mining::Manual, ..Config::default() }).await;
    let hash = rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, transfer(0, PAYEE, 1))])).await;
    assert!(rpc.ok("eth_getTransactionReceipt", json!([hash])).await.is_null());
    rpc.ok("evm_setAutomine", json!([true])).await;
    assert_eq!(rpc.ok("eth_getTransactionReceipt", json!([hash])).await["blockNumber"], "0x1");
    devnet.set_mining(Mining::Interval(Duration::from_millis(20)));
    let hash = rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, transfer(1, PAYEE, 1))])).await;
    while rpc.ok("eth_getTransactionReceipt", json!([hash])).await.is_null() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rpc.ok("evm_setIntervalMining", json!([0])).await;
    rpc.ok("evm_mine", json!([])).await;
}

#[tokio::test]
async fn the_next_base_fee_can_be_set() {
    let (devnet, rpc) = devnet().await;
    rpc.ok("anvil_setNextBlockBaseFeePerGas", json!(["0x12a05f200"])).await;
    let (_, message) = rpc
        .err(
            "eth_sendRawTransaction",
            json!([raw(
                &SENDER,
                alloy_consensus::TxEip1559 { max_fee_per_gas: 4_999_999_999, ..transfer(0, PAYEE, 1) }
            )]),
        )
        .await;
    assert_eq!(message, "max fee per gas less than block base fee");
    devnet.mine();
    let block = rpc.ok("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(block["baseFeePerGas"], "0x12a05f200");
}

#[tokio::test]
async fn the_faucet_gives_ether_and_tokens() {
    let (devnet, rpc) = devnet().await;
    let account = Address::repeat_byte(0x41);
    rpc.ok("tollway_faucet", json!([account])).await;
    assert_eq!(rpc.ok("eth_getBalance", json!([account, "latest"])).await, "0xde0b6b3a7640000");
    assert_eq!(rpc.balance_of(account).await, U256::from(1_000_000_000));
    rpc.ok("tollway_faucet", json!([account, "0x0", "0x5"])).await;
    assert_eq!(rpc.balance_of(account).await, U256::from(1_000_000_005));
    devnet.grant(account, Grant { wei: U256::ZERO, token_atomic: U256::from(1) });
    assert_eq!(rpc.balance_of(account).await, U256::from(1_000_000_006));
}

#[tokio::test]
async fn shutdown_frees_the_port() {
    let (devnet, rpc) = devnet().await;
    let port = devnet.port();
    rpc.ok("eth_chainId", json!([])).await;
    devnet.shutdown(Duration::from_millis(200)).await;
    let again = tollway_devnet::spawn(Config { port, ..Config::default() }).await.unwrap();
    assert_eq!(again.port(), port);
    drop(again);
    assert!(matches!(
        tollway_devnet::spawn(Config { mining: Mining::Interval(Duration::ZERO), ..Config::default() }).await,
        Err(tollway_devnet::Error::Config(_))
    ));
}

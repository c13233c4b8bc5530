//! What channels of scheme `batch-settlement` cost: the numbers are printed, and none may grow unseen.

use alloy_consensus::TxEip1559;
use alloy_primitives::{B256, Bytes, TxKind, U256, keccak256};
use alloy_sol_types::{SolCall, SolValue};
use serde_json::{Value, json};
use tollway_devnet::{Config, Limits, batch_settlement::BATCH_SETTLEMENT, genesis::USDC};

use crate::{
    batch_settlement::{
        AUTHORIZER, ChannelConfig, Channels, RECEIVER, VOUCHER_KEY, channel, credit, deposit, id,
        permit2_deposit, state,
    },
    batch_settlement_rules::{batch, row, signed_refund},
    fixture::{PAYER, Rpc, SENDER, devnet_with, quantity, raw, transfer},
    permit2,
};

/// What nodes commonly take as one transaction.
const TRANSACTION_BYTES: usize = 128 << 10;
/// The most gas that one transaction may have (EIP-7825).
const TRANSACTION_GAS: u64 = 1 << 24;
const ROWS_OF_A_TRANSACTION: u64 = 270;

fn numbered(number: u64) -> ChannelConfig {
    ChannelConfig { salt: keccak256(number.to_be_bytes()), ..channel(0) }
}

/// Opens a channel by hand: claims cost what they cost however the money came in.
async fn open(rpc: &Rpc, config: &ChannelConfig, balance: u128, claimed: u128) {
    let slot = keccak256((id(config), U256::ZERO).abi_encode());
    let word = B256::from((U256::from(claimed) << 128) | U256::from(balance));
    rpc.ok("anvil_setStorageAt", json!([BATCH_SETTLEMENT, slot, word])).await;
}

/// The receipt, and how many bytes the transaction has.
async fn send(rpc: &Rpc, call: impl SolCall) -> (Value, usize) {
    let nonce = rpc.nonce(SENDER.address).await;
    let to = TxKind::Call(BATCH_SETTLEMENT);
    let input = call.abi_encode().into();
    let tx = TxEip1559 { gas_limit: TRANSACTION_GAS, to, input, ..transfer(nonce, BATCH_SETTLEMENT, 0) };
    let raw = raw(&SENDER, tx);
    let hash = rpc.ok("eth_sendRawTransaction", json!([raw])).await;
    let receipt = rpc.receipt(&hash).await;
    assert_eq!(receipt["status"], "0x1");
    (receipt, raw.len())
}

async fn gas(rpc: &Rpc, call: impl SolCall) -> u64 {
    quantity(&send(rpc, call).await.0["gasUsed"])
}

#[tokio::test]
async fn a_voucher_in_a_batch_is_claimed_for_less_than_twenty_thousand_gas() {
    let limits = Limits { transaction_bytes: 2 << 20, body_bytes: 8 << 20, ..Limits::default() };
    let (_devnet, rpc) = devnet_with(Config { limits, ..Config::default() }).await;
    let mut first = 0;
    for rows in [1_u64, 10, 100, ROWS_OF_A_TRANSACTION, 800] {
        let mut claims = Vec::new();
        for number in first..first + rows {
            let config = numbered(number);
            open(&rpc, &config, 50_000_000, 1_000_000).await;
            claims.push(row(&config, &VOUCHER_KEY, 20_000_000, 11_000_000));
        }
        let (receipt, bytes) = send(&rpc, batch(&claims, &AUTHORIZER)).await;
        let used = quantity(&receipt["gasUsed"]);
        assert_eq!(receipt["logs"].as_array().unwrap().len() as u64, rows);
        assert_eq!(state(&rpc, &numbered(first)).await, (50_000_000, 11_000_000));
        eprintln!("{rows} vouchers: {used} gas, {} each; {bytes} bytes", used / rows);
        assert!(rows < 100 || used / rows < 20_000, "{rows}: {used}");
        assert!(rows > ROWS_OF_A_TRANSACTION || bytes <= TRANSACTION_BYTES, "{rows}: {bytes}");
        first += rows;
    }
    assert_eq!(credit(&rpc, RECEIVER.address, USDC).await.0, u128::from(first) * 10_000_000);
}

#[tokio::test]
async fn a_channel_takes_one_word_of_state_and_none_more_to_claim_from() {
    let (_devnet, rpc) = devnet_with(Config::default()).await;
    permit2::approve(&rpc, USDC, &PAYER).await;
    // The first of all also gives the contract its balance of the token.
    let first = gas(&rpc, deposit(&numbered(0), 1_000)).await;
    let opened = gas(&rpc, deposit(&numbered(1), 1_000)).await;
    let topped = gas(&rpc, deposit(&numbered(1), 1_000)).await;
    let by_permit2 = gas(&rpc, permit2_deposit(&numbered(2), 1_000, 0, Bytes::new())).await;
    let claim = gas(&rpc, batch(&[row(&numbered(1), &VOUCHER_KEY, 900, 10)], &AUTHORIZER)).await;
    let again = gas(&rpc, batch(&[row(&numbered(1), &VOUCHER_KEY, 900, 20)], &AUTHORIZER)).await;
    let refund = gas(&rpc, signed_refund(&numbered(1), 500, 0, &AUTHORIZER)).await;
    let settle = gas(&rpc, Channels::settleCall { receiver: RECEIVER.address, token: USDC }).await;
    eprintln!("deposit: {first} the first of all, {opened} a new channel, {topped} a top-up");
    eprintln!("deposit by Permit2: {by_permit2} a new channel; refund: {refund}; settle: {settle}");
    eprintln!("claim of one: {claim} the first of a receiver, {again} later");
    // A new word costs 17,100 more than one that is written again; the rest is the event of the new channel.
    assert!((17_100..22_100).contains(&(opened - topped)), "{opened} {topped}");
    assert!((17_000..17_200).contains(&(claim - again)), "the receiver's word: {claim} {again}");
}

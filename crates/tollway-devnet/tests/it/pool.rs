//! Which transactions are taken, which replace another one, and in what order they are mined.

use alloy_consensus::TxEip1559;
use alloy_primitives::{Bytes, U256, bytes};
use serde_json::json;
use tollway_devnet::{ACCOUNTS, Config, Limits, Mining};

use crate::fixture::{PAYEE, PAYER, SENDER, devnet, devnet_with, raw, transfer};

fn manual() -> Config {
    Config { mining: Mining::Manual, ..Config::default() }
}

#[tokio::test]
async fn an_unusable_transaction_is_refused_in_geths_words() {
    let (_devnet, rpc) = devnet().await;
    rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, transfer(0, PAYEE, 1))])).await;
    let cases = [
        (transfer(0, PAYEE, 2), "nonce too low: next nonce 1, tx nonce 0"),
        (
            TxEip1559 { value: U256::MAX >> 1, ..transfer(1, PAYEE, 0) },
            "insufficient funds for gas * price + value",
        ),
        (TxEip1559 { gas_limit: 20_999, ..transfer(1, PAYEE, 0) }, "intrinsic gas too low"),
        (TxEip1559 { gas_limit: 30_000_001, ..transfer(1, PAYEE, 0) }, "exceeds block gas limit"),
        (TxEip1559 { gas_limit: 16_777_217, ..transfer(1, PAYEE, 0) }, "transaction gas limit too high"),
        (
            TxEip1559 { max_fee_per_gas: 1, max_priority_fee_per_gas: 1, ..transfer(1, PAYEE, 0) },
            "max fee per gas less than block base fee",
        ),
        (
            TxEip1559 { max_priority_fee_per_gas: u128::MAX, ..transfer(1, PAYEE, 0) },
            "max priority fee per gas higher than max fee per gas",
        ),
        (
            TxEip1559 { chain_id: 1, ..transfer(1, PAYEE, 0) },
            "invalid chain id for signer: have 1 want 31337",
        ),
    ];
    for (tx, expected) in cases {
        let (code, message) = rpc.err("eth_sendRawTransaction", json!([raw(&SENDER, tx)])).await;
        assert_eq!(code, -32_000, "{message}");
        assert!(message.starts_with(expected), "{message}");
    }
}

#[tokio::test]
async fn what_is_no_transaction_is_an_invalid_parameter() {
    let (_devnet, rpc) = devnet().await;
    for junk in ["0x", "0x02", "0xc0", "0x03f8", "0xff00"] {
        let (code, message) = rpc.err("eth_sendRawTransaction", json!([junk])).await;
        assert_eq!(code, -32_602, "{junk}");
        assert!(message.starts_with("invalid params: transaction"), "{message}");
    }
}

#[tokio::test]
async fn an_account_with_code_sends_nothing() {
    let (_devnet, rpc) = devnet().await;
    rpc.ok("anvil_setCode", json!([SENDER.address, "0x00"])).await;
    let (_, message) = rpc.err("eth_sendRawTransaction", json!([raw(&SENDER, transfer(0, PAYEE, 1))])).await;
    assert_eq!(message, "sender not an eoa");
}

#[tokio::test]
async fn a_gap_in_the_nonces_is_waited_for() {
    let (_devnet, rpc) = devnet().await;
    let second = rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, transfer(1, PAYEE, 2))])).await;
    assert!(rpc.ok("eth_getTransactionReceipt", json!([second])).await.is_null());
    let waiting = rpc.ok("eth_getTransactionByHash", json!([second])).await;
    assert!(waiting["blockNumber"].is_null());
    assert_eq!(waiting["hash"], second);
    rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, transfer(0, PAYEE, 1))])).await;
    assert_eq!(rpc.ok("eth_getTransactionReceipt", json!([second])).await["blockNumber"], "0x2");
}

#[tokio::test]
async fn a_replacement_must_pay_ten_percent_more_of_both_fees() {
    let (devnet, rpc) = devnet_with(manual()).await;
    let first = raw(&SENDER, transfer(0, PAYEE, 1));
    let hash = rpc.ok("eth_sendRawTransaction", json!([first])).await;
    assert_eq!(rpc.err("eth_sendRawTransaction", json!([first])).await.1, "already known");
    let cheap = TxEip1559 { max_fee_per_gas: 11_000_000_000, ..transfer(0, PAYEE, 2) };
    let (code, message) = rpc.err("eth_sendRawTransaction", json!([raw(&SENDER, cheap.clone())])).await;
    assert_eq!((code, &*message), (-32_000, "replacement transaction underpriced"));
    let enough = TxEip1559 { max_priority_fee_per_gas: 1_100_000_000, ..cheap };
    let replacement = rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, enough)])).await;
    devnet.mine();
    assert!(rpc.ok("eth_getTransactionByHash", json!([hash])).await.is_null());
    assert_eq!(rpc.ok("eth_getTransactionReceipt", json!([replacement])).await["status"], "0x1");
}

#[tokio::test]
async fn the_pending_nonce_counts_what_waits() {
    let (_devnet, rpc) = devnet_with(manual()).await;
    for nonce in [0, 1, 3] {
        rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, transfer(nonce, PAYEE, 1))])).await;
    }
    let pending = rpc.number("eth_getTransactionCount", json!([SENDER.address, "pending"])).await;
    assert_eq!((rpc.nonce(SENDER.address).await, pending), (0, 2));
}

#[tokio::test]
async fn a_block_takes_transactions_in_the_order_they_came_as_far_as_gas_allows() {
    let (devnet, rpc) = devnet_with(Config { gas_limit: 63_000, ..manual() }).await;
    let mut hashes = Vec::new();
    // The sender's first transaction arrives after its second one, so both count as arrived then.
    for (account, nonce) in [(&SENDER, 1), (&PAYER, 0), (&SENDER, 0), (&ACCOUNTS[3], 0)] {
        let raw = raw(account, transfer(nonce, PAYEE, 1));
        hashes.push(rpc.ok("eth_sendRawTransaction", json!([raw])).await);
    }
    devnet.mine();
    devnet.mine();
    let block = rpc.ok("eth_getBlockByNumber", json!(["0x1", false])).await;
    assert_eq!(block["transactions"], json!([hashes[1], hashes[2], hashes[0]]));
    assert_eq!(block["gasUsed"], "0xf618");
    let block = rpc.ok("eth_getBlockByNumber", json!(["0x2", false])).await;
    assert_eq!(block["transactions"], json!([hashes[3]]));
}

#[tokio::test]
async fn the_pool_is_bounded() {
    let config = Config { limits: Limits { pool: 2, ..Limits::default() }, ..manual() };
    let (_devnet, rpc) = devnet_with(config).await;
    for nonce in 0..2 {
        rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, transfer(nonce, PAYEE, 1))])).await;
    }
    let (_, message) = rpc.err("eth_sendRawTransaction", json!([raw(&SENDER, transfer(2, PAYEE, 1))])).await;
    assert_eq!(message, "txpool is full");
    let large = TxEip1559 { input: Bytes::from(vec![0; 131_072]), ..transfer(0, PAYEE, 1) };
    assert_eq!(rpc.err("eth_sendRawTransaction", json!([raw(&SENDER, large)])).await.1, "oversized data");
}

#[tokio::test]
async fn every_transaction_type_but_blobs_runs() {
    use alloy_consensus::{SignableTransaction, TxEip2930, TxEip7702, TxEnvelope, TxLegacy};
    use alloy_eips::{Encodable2718, eip7702::Authorization};
    use alloy_primitives::TxKind;

    use crate::fixture::sign;

    let (_devnet, rpc) = devnet().await;
    let (chain_id, gas_price, to) = (31_337, 10_000_000_000, TxKind::Call(PAYEE));
    let legacy =
        TxLegacy { chain_id: Some(chain_id), gas_price, gas_limit: 21_000, to, ..TxLegacy::default() };
    let listed = TxEip2930 { chain_id, nonce: 1, gas_price, gas_limit: 30_000, to, ..TxEip2930::default() };
    let delegation = Authorization { chain_id: U256::from(chain_id), address: PAYEE, nonce: 0 };
    let signature = sign(&PAYER, delegation.signature_hash());
    let delegating = TxEip7702 {
        chain_id,
        nonce: 2,
        gas_limit: 100_000,
        max_fee_per_gas: gas_price,
        to: PAYEE,
        authorization_list: vec![delegation.into_signed(signature)],
        ..TxEip7702::default()
    };
    let envelopes: [TxEnvelope; 3] = [
        legacy.clone().into_signed(sign(&SENDER, legacy.signature_hash())).into(),
        listed.clone().into_signed(sign(&SENDER, listed.signature_hash())).into(),
        delegating.clone().into_signed(sign(&SENDER, delegating.signature_hash())).into(),
    ];
    for (kind, envelope) in ["0x0", "0x1", "0x4"].into_iter().zip(envelopes) {
        let raw = Bytes::from(envelope.encoded_2718());
        let hash = rpc.ok("eth_sendRawTransaction", json!([raw])).await;
        let receipt = rpc.ok("eth_getTransactionReceipt", json!([hash])).await;
        assert_eq!((&receipt["type"], &receipt["status"]), (&json!(kind), &json!("0x1")));
    }
    let code = rpc.ok("eth_getCode", json!([PAYER.address, "latest"])).await;
    assert_eq!(code, json!(Bytes::from([&bytes!("ef0100")[..], PAYEE.as_slice()].concat())));
}

/// Everything at once: senders in parallel, readers, and a hand on the mining switch. The chain must come out whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_senders_all_get_in_exactly_once() {
    let (devnet, rpc) = devnet().await;
    let senders = ACCOUNTS.iter().skip(3).map(|account| {
        let rpc = rpc.clone();
        tokio::spawn(async move {
            for nonce in 0..20 {
                rpc.ok("eth_sendRawTransaction", json!([raw(account, transfer(nonce, PAYEE, 1))])).await;
                rpc.ok("eth_getBalance", json!([PAYEE, "latest"])).await;
            }
        })
    });
    let senders: Vec<_> = senders.collect();
    for _ in 0..5 {
        devnet.set_mining(Mining::Manual);
        tokio::task::yield_now().await;
        devnet.set_mining(Mining::Instant);
    }
    for sender in senders {
        sender.await.unwrap();
    }
    let before = U256::from(10_000) * U256::from(10).pow(U256::from(18));
    assert_eq!(rpc.ok("eth_getBalance", json!([PAYEE, "latest"])).await, json!(before + U256::from(140)));
    for account in &ACCOUNTS[3..] {
        assert_eq!(rpc.nonce(account.address).await, 20);
    }
}

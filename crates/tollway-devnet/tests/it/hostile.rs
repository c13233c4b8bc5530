//! Each hostile token does what it is there for.

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{SolCall, SolStruct, eip712_domain};
use serde_json::{Value, json};
use tollway_devnet::hostile;

use crate::fixture::{
    PAYEE, PAYER, Rpc, SENDER, Split, Token, TransferWithAuthorization, authorization, devnet, raw, sign,
    transfer,
};

/// The payment to a token as its payer signs it.
fn payment(name: &str, token: Address, authorization: &TransferWithAuthorization) -> Bytes {
    let domain =
        eip712_domain! { name: name.to_owned(), version: "2", chain_id: 31_337, verifying_contract: token, };
    let TransferWithAuthorization { from, to, value, validAfter, validBefore, nonce } = authorization.clone();
    let signature = sign(&PAYER, authorization.eip712_signing_hash(&domain));
    let call = Split::transferWithAuthorizationCall {
        from,
        to,
        value,
        validAfter,
        validBefore,
        nonce,
        v: 27 + u8::from(signature.v()),
        r: signature.r().into(),
        s: signature.s().into(),
    };
    call.abi_encode().into()
}

fn name(address: Address) -> &'static str {
    hostile::TOKENS.into_iter().find(|token| token.address == address).unwrap().name
}

/// Sends a payment in a transaction and returns its receipt.
async fn pay(rpc: &Rpc, token: Address, nonce: u8) -> Value {
    let input = payment(name(token), token, &authorization(nonce));
    let count = rpc.nonce(SENDER.address).await;
    let tx = alloy_consensus::TxEip1559 { gas_limit: 400_000, input, ..transfer(count, token, 0) };
    let hash = rpc.ok("eth_sendRawTransaction", json!([raw(&SENDER, tx)])).await;
    rpc.ok("eth_getTransactionReceipt", json!([hash])).await
}

async fn balance(rpc: &Rpc, token: Address, holder: Address) -> U256 {
    let data = Bytes::from(Token::balanceOfCall(holder).abi_encode());
    let word = rpc.ok("eth_call", json!([{ "to": token, "data": data }, "latest"])).await;
    serde_json::from_value(word).unwrap()
}

/// What the payee gets by a payment of a million units, and how the receipt looks: status, logs.
async fn outcome(rpc: &Rpc, token: Address, nonce: u8) -> (u64, String, usize) {
    let before = balance(rpc, token, PAYEE).await;
    let receipt = pay(rpc, token, nonce).await;
    let got = balance(rpc, token, PAYEE).await - before;
    (got.to(), receipt["status"].as_str().unwrap().to_owned(), receipt["logs"].as_array().unwrap().len())
}

#[tokio::test]
async fn tokens_that_succeed_do_not_all_pay() {
    let (_devnet, rpc) = devnet().await;
    let ok = || "0x1".to_owned();
    assert_eq!(outcome(&rpc, hostile::SILENT, 1).await, (1_000_000, ok(), 2));
    assert_eq!(outcome(&rpc, hostile::SILENT, 1).await, (0, ok(), 1), "used, and no error");
    assert_eq!(outcome(&rpc, hostile::IDLE, 1).await, (0, ok(), 1));
    assert_eq!(outcome(&rpc, hostile::FEE, 1).await, (990_000, ok(), 3));
    assert_eq!(outcome(&rpc, hostile::FALSE, 1).await, (0, ok(), 0));
    assert_eq!(outcome(&rpc, hostile::GLUTTON, 1).await, (1_000_000, ok(), 2));
    assert_eq!(outcome(&rpc, hostile::BOMB, 1).await, (1_000_000, ok(), 2));
    assert_eq!(outcome(&rpc, hostile::MIRAGE, 1).await, (0, ok(), 1));
    assert_eq!(outcome(&rpc, hostile::BURNER, 1).await, (0, "0x0".to_owned(), 0));
}

#[tokio::test]
async fn burners_use_all_the_gas_they_get() {
    let (_devnet, rpc) = devnet().await;
    assert_eq!(pay(&rpc, hostile::BURNER, 1).await["gasUsed"], json!("0x61a80"));
    let used = crate::fixture::quantity(&pay(&rpc, hostile::GLUTTON, 1).await["gasUsed"]);
    assert!((320_000..400_000).contains(&used), "{used}");
}

#[tokio::test]
async fn a_mirage_pays_in_a_simulation_and_a_bomb_answers_a_quarter_of_a_mebibyte() {
    let (_devnet, rpc) = devnet().await;
    let call = |token: Address, value: u64| {
        let authorization = TransferWithAuthorization { value: U256::from(value), ..authorization(1) };
        json!([{ "from": SENDER.address, "to": token, "data": payment(name(token), token, &authorization) }, "latest"])
    };
    let answer = rpc.ok("eth_call", call(hostile::BOMB, 4)).await;
    assert_eq!(answer.as_str().unwrap().len(), 2 + (512 << 10));
    assert_eq!(rpc.err("eth_call", call(hostile::BOMB, 5)).await.0, 3);
    assert_eq!(rpc.ok("eth_call", call(hostile::MIRAGE, 4)).await, "0x");
    let paid = json!([{ "from": SENDER.address, "to": hostile::MIRAGE, "data": "0x" }, "latest"]);
    assert!(rpc.call("eth_call", paid).await.is_err(), "there is no fallback");
}

#[tokio::test]
async fn a_forged_signature_moves_nothing_of_any_token() {
    let (_devnet, rpc) = devnet().await;
    for token in hostile::TOKENS {
        let data = payment("Other", token.address, &authorization(1));
        let (_, message) = rpc
            .err("eth_call", json!([{ "from": SENDER.address, "to": token.address, "data": data }, "latest"]))
            .await;
        assert_eq!(message, "execution reverted: invalid signature", "{}", token.name);
    }
}

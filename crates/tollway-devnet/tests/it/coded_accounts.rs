//! Accounts with code that are honest: who answers for them, how they come to be, and that tokens and Permit2 take their
//! word.

use alloy_primitives::{Address, B256, Bytes, U256, fixed_bytes};
use alloy_sol_types::{SolCall, SolError, SolStruct, SolValue, sol};
use serde_json::json;
use tollway_devnet::{ACCOUNTS, deploy, genesis::USDC};

use crate::{
    anvil::nodes,
    fixture::{
        PAYEE, PAYER, Rpc, SENDER, Token, TransferWithAuthorization, authorization, domain, quantity, sign,
    },
};

sol! {
    function owner() returns (address);
    function isValidSignature(bytes32 hash, bytes signature) returns (bytes4);
    function execute(address target, uint256 value, bytes data) returns (bytes);
    function executeFromExecutor(bytes32 mode, bytes execution) returns (bytes[]);
    function make(address owner, bytes32 salt) returns (address);
    function addressOf(address owner, bytes32 salt) returns (address);

    error NotOwner();
    error NotManager();
}

const HASH: B256 = B256::repeat_byte(0x2a);

/// A wallet that the payer's key signs for.
async fn wallet(rpc: &Rpc) -> Address {
    rpc.deploy(&deploy::WALLET, (PAYER.address, Address::ZERO).abi_encode_params()).await
}

async fn takes(rpc: &Rpc, account: Address, signature: Bytes) -> bool {
    let answer = rpc.ask(account, isValidSignatureCall { hash: HASH, signature }).await;
    answer == fixed_bytes!("0x1626ba7e")
}

/// A payment of an account's, signed by the payer's key.
fn payment(from: Address) -> Token::transferWithAuthorizationCall {
    let authorization = TransferWithAuthorization { from, ..authorization(1) };
    let signature = sign(&PAYER, authorization.eip712_signing_hash(&domain())).as_bytes().into();
    let TransferWithAuthorization { to, value, validAfter, validBefore, nonce, .. } = authorization;
    Token::transferWithAuthorizationCall { from, to, value, validAfter, validBefore, nonce, signature }
}

/// Whether a payment of a million units reaches the payee.
async fn pays(rpc: &Rpc, from: Address) -> bool {
    let before = rpc.balance_of(PAYEE).await;
    let receipt = rpc.send_from(&SENDER, USDC, payment(from)).await;
    receipt["status"] == "0x1" && rpc.balance_of(PAYEE).await - before == U256::from(1_000_000)
}

#[tokio::test]
async fn a_wallet_answers_for_its_owners_key_and_obeys_it() {
    for rpc in nodes().await.rpcs {
        let wallet = wallet(&rpc).await;
        assert_eq!(rpc.ask(wallet, ownerCall {}).await, PAYER.address);
        assert!(takes(&rpc, wallet, sign(&PAYER, HASH).as_bytes().into()).await);
        assert!(!takes(&rpc, wallet, sign(&SENDER, HASH).as_bytes().into()).await);
        assert!(!takes(&rpc, wallet, Bytes::from_static(&[1; 64])).await);
        let approve = Token::approveCall { spender: PAYEE, value: U256::from(5) };
        let order = executeCall { target: USDC, value: U256::ZERO, data: approve.abi_encode().into() };
        assert_eq!(rpc.revert(PAYEE, wallet, order.clone()).await, NotOwner {}.abi_encode());
        assert_eq!(rpc.send_from(&PAYER, wallet, order).await["status"], "0x1");
        let allowance = Token::allowanceCall { owner: wallet, spender: PAYEE };
        assert_eq!(rpc.ask(USDC, allowance).await, U256::from(5));
        let managed = executeFromExecutorCall { mode: B256::ZERO, execution: Bytes::new() };
        assert_eq!(rpc.revert(PAYER.address, wallet, managed).await, NotManager {}.abi_encode());
    }
}

#[tokio::test]
async fn a_token_pays_from_a_wallet_on_its_word() {
    for rpc in nodes().await.rpcs {
        let wallet = wallet(&rpc).await;
        assert!(!pays(&rpc, wallet).await, "it owns nothing");
        rpc.send_from(&PAYER, USDC, Token::transferCall { to: wallet, value: U256::from(1_000_000) }).await;
        assert!(pays(&rpc, wallet).await);
        assert!(!pays(&rpc, wallet).await, "once");
    }
}

#[tokio::test]
async fn a_factory_makes_a_wallet_where_it_said_it_would() {
    for rpc in nodes().await.rpcs {
        let factory = rpc.deploy(&deploy::WALLET_FACTORY, vec![]).await;
        let (owner, salt) = (PAYER.address, B256::repeat_byte(3));
        let wallet = rpc.ask(factory, addressOfCall { owner, salt }).await;
        assert_ne!(wallet, rpc.ask(factory, addressOfCall { owner, salt: B256::ZERO }).await);
        // Money may be there before the code is, and then nobody's word is taken.
        rpc.send_from(&PAYER, USDC, Token::transferCall { to: wallet, value: U256::from(1_000_000) }).await;
        assert!(!pays(&rpc, wallet).await);
        for _ in 0..2 {
            assert_eq!(rpc.ask(factory, makeCall { owner, salt }).await, wallet);
            assert_eq!(rpc.send_from(&SENDER, factory, makeCall { owner, salt }).await["status"], "0x1");
            assert_eq!(rpc.ask(wallet, ownerCall {}).await, owner);
        }
        assert!(pays(&rpc, wallet).await);
    }
}

#[tokio::test]
async fn a_set_code_transaction_gives_a_key_an_account() {
    for rpc in nodes().await.rpcs {
        let code = rpc.deploy(&deploy::SET_CODE_ACCOUNT, Address::ZERO.abi_encode()).await;
        let receipt = rpc.set_code_of(&PAYER, code).await;
        assert_eq!((&receipt["status"], &receipt["type"]), (&json!("0x1"), &json!("0x4")));
        let designator = Bytes::from([&[0xef, 0x01, 0x00][..], code.as_slice()].concat());
        assert_eq!(rpc.ok("eth_getCode", json!([PAYER.address, "latest"])).await, json!(designator));
        assert_eq!(rpc.nonce(PAYER.address).await, 1);
        // Its key still signs, by way of the code; nobody else's does.
        assert!(takes(&rpc, PAYER.address, sign(&PAYER, HASH).as_bytes().into()).await);
        assert!(!takes(&rpc, PAYER.address, sign(&SENDER, HASH).as_bytes().into()).await);
        assert!(pays(&rpc, PAYER.address).await);
        // It still sends transactions of its own, through its own code too.
        let data = Token::transferCall { to: ACCOUNTS[7].address, value: U256::from(3) }.abi_encode().into();
        let order = executeCall { target: USDC, value: U256::ZERO, data };
        assert_eq!(rpc.send_from(&PAYER, PAYER.address, order).await["status"], "0x1");
        // To the zero address: it has no code again.
        let receipt = rpc.set_code_of(&PAYER, Address::ZERO).await;
        assert_eq!(receipt["status"], "0x1");
        assert_eq!(rpc.ok("eth_getCode", json!([PAYER.address, "latest"])).await, "0x");
    }
}

#[tokio::test]
async fn a_set_code_authorization_out_of_turn_changes_nothing() {
    for rpc in nodes().await.rpcs {
        let code = rpc.deploy(&deploy::SET_CODE_ACCOUNT, Address::ZERO.abi_encode()).await;
        // The sender authorizes with the nonce that its own transaction uses up.
        let receipt = rpc.set_code_of(&SENDER, code).await;
        assert_eq!(receipt["status"], "0x1");
        assert_eq!(rpc.ok("eth_getCode", json!([SENDER.address, "latest"])).await, "0x");
        assert!(quantity(&receipt["gasUsed"]) > 21_000);
    }
}

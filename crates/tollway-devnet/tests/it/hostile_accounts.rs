//! Each hostile account, factory and manager does what it is there for.

use alloy_primitives::{Address, B256, Bytes, U256, fixed_bytes};
use alloy_sol_types::{SolCall, SolError, SolEvent, SolValue, sol};
use serde_json::{Value, json};
use tollway_devnet::{
    deploy::{self, Creation},
    genesis::{EXACT_PROXY, USDC},
};

use crate::{
    anvil::nodes,
    fixture::{PAYEE, PAYER, Rpc, SENDER, Token, devnet, quantity, sign},
};

sol! {
    function isValidSignature(bytes32 hash, bytes signature) returns (bytes4);
    function redeemDelegations(bytes[] contexts, bytes32[] modes, bytes[] executions);
    function burn(address);
    function bomb(address);
    function failWithBomb(address);
    function steal(address token);
    function idle(address);

    event Transfer(address indexed from, address indexed to, uint256 value);

    struct TokenPermissions { address token; uint256 amount; }
    struct PermitTransferFrom { TokenPermissions permitted; uint256 nonce; uint256 deadline; }
    struct Witness { address to; uint256 validAfter; }
    struct EIP2612Permit { uint256 value; uint256 deadline; bytes32 r; bytes32 s; uint8 v; }
    function settleWithPermit(EIP2612Permit permit2612, PermitTransferFrom permit, address owner, Witness witness, bytes signature);
    error ReentrancyGuardReentrantCall();
    event EIP2612PermitFailedWithData(address indexed token, address indexed owner, bytes data);
}

const EVEN: B256 = B256::repeat_byte(0x2a);
const BOMB_BYTES: usize = 256 * 1024;

/// What a message without or with fees answers: the data, or of a failure its error object.
async fn message(rpc: &Rpc, to: Address, data: impl SolCall, fees: bool) -> Result<Bytes, Value> {
    let data = Bytes::from(data.abi_encode());
    let mut message = json!({ "from": SENDER.address, "to": to, "data": data, "gas": "0x2dc6c0" });
    if fees {
        message["maxFeePerGas"] = json!("0x2540be400");
        message["maxPriorityFeePerGas"] = json!("0x1");
    }
    let answer = rpc.call("eth_call", json!([message, "latest"])).await?;
    Ok(serde_json::from_value(answer).unwrap())
}

fn question(hash: B256) -> isValidSignatureCall {
    isValidSignatureCall { hash, signature: sign(&PAYER, hash).as_bytes().into() }
}

fn is_yes(answer: &Bytes) -> bool {
    answer.starts_with(fixed_bytes!("0x1626ba7e").as_slice())
}

async fn wallet(rpc: &Rpc, creation: &Creation) -> Address {
    rpc.deploy(creation, PAYER.address.abi_encode()).await
}

#[tokio::test]
async fn wallets_that_trust_a_free_call_know_one_with_fees() {
    let (_devnet, rpc) = devnet().await;
    for creation in [deploy::NO_BASE_FEE_WALLET, deploy::NO_GAS_PRICE_WALLET] {
        let wallet = wallet(&rpc, &creation).await;
        assert!(is_yes(&message(&rpc, wallet, question(EVEN), false).await.unwrap()), "{}", creation.name);
        assert!(!is_yes(&message(&rpc, wallet, question(EVEN), true).await.unwrap()), "{}", creation.name);
        // Nor do they take anybody's word in a free call.
        let forged = isValidSignatureCall { hash: EVEN, signature: sign(&SENDER, EVEN).as_bytes().into() };
        assert!(!is_yes(&message(&rpc, wallet, forged, false).await.unwrap()));
    }
}

#[tokio::test]
async fn a_wallet_may_know_who_sends() {
    for rpc in nodes().await.rpcs {
        for (origin, expected) in [(SENDER.address, true), (PAYEE, false)] {
            let arguments = (PAYER.address, origin).abi_encode_params();
            let wallet = rpc.deploy(&deploy::ORIGIN_WALLET, arguments).await;
            assert_eq!(is_yes(&message(&rpc, wallet, question(EVEN), true).await.unwrap()), expected);
        }
    }
}

#[tokio::test]
async fn bombs_answer_a_quarter_of_a_mebibyte_and_burners_burn() {
    for rpc in nodes().await.rpcs {
        let bomb = wallet(&rpc, &deploy::BOMB_WALLET).await;
        let answer = message(&rpc, bomb, question(EVEN), true).await.unwrap();
        assert_eq!((is_yes(&answer), answer.len()), (true, BOMB_BYTES));
        let error = message(&rpc, bomb, question(B256::repeat_byte(0x2b)), true).await.unwrap_err();
        assert_eq!(error["data"].as_str().unwrap().len(), 2 + 2 * BOMB_BYTES);
        let burner = wallet(&rpc, &deploy::BURNER_WALLET).await;
        assert!(message(&rpc, burner, question(EVEN), true).await.is_err());
        let receipt = rpc.send_from(&SENDER, burner, question(EVEN)).await;
        assert_eq!((&receipt["status"], quantity(&receipt["gasUsed"])), (&json!("0x0"), 2_000_000));
    }
}

#[tokio::test]
async fn an_evil_factory_makes_nothing_and_takes_what_it_may() {
    for rpc in nodes().await.rpcs {
        let factory = rpc.deploy(&deploy::EVIL_FACTORY, vec![]).await;
        let nobody = Address::ZERO;
        assert!(message(&rpc, factory, burnCall(nobody), true).await.is_err());
        assert_eq!(message(&rpc, factory, bombCall(nobody), true).await.unwrap().len(), BOMB_BYTES);
        let error = message(&rpc, factory, failWithBombCall(nobody), true).await.unwrap_err();
        assert_eq!(error["data"].as_str().unwrap().len(), 2 + 2 * BOMB_BYTES);
        assert!(message(&rpc, factory, idleCall(nobody), true).await.unwrap().is_empty());
        let before = rpc.balance_of(SENDER.address).await;
        rpc.send_from(&SENDER, factory, stealCall { token: USDC }).await;
        assert_eq!(rpc.balance_of(SENDER.address).await, before, "without an allowance");
        let approve = Token::approveCall { spender: factory, value: U256::from(40) };
        rpc.send_from(&SENDER, USDC, approve).await;
        rpc.send_from(&SENDER, factory, stealCall { token: USDC }).await;
        assert_eq!(rpc.balance_of(factory).await, U256::from(40));
    }
}

fn redemption(mood: u8, amount: u64) -> redeemDelegationsCall {
    let data = Token::transferCall { to: PAYEE, value: U256::from(amount) }.abi_encode();
    redeemDelegationsCall {
        contexts: vec![[&[mood], SENDER.address.as_slice()].concat().into()],
        modes: vec![B256::ZERO],
        executions: vec![[USDC.as_slice(), &[0; 32], &data].concat().into()],
    }
}

#[tokio::test]
async fn an_evil_manager_pays_as_it_likes() {
    for rpc in nodes().await.rpcs {
        let manager = rpc.deploy(&deploy::EVIL_MANAGER, vec![]).await;
        rpc.send_from(&PAYER, USDC, Token::transferCall { to: manager, value: U256::from(10_000) }).await;
        // The mood, what the payee gets of 100, whether it succeeds, and the logs in the receipt.
        let cases = [
            (1, 0, false, 0),
            (2, 0, true, 0),
            (3, 0, false, 0),
            (4, 0, true, 1),
            (5, 0, true, 0),
            (6, 0, true, 1),
            (7, 0, true, 0),
            (8, 50, true, 1),
            (9, 100, true, 1),
            (10, 100, true, 1),
        ];
        for (mood, paid, success, logs) in cases {
            let before = rpc.balance_of(PAYEE).await;
            let receipt = rpc.send_from(&SENDER, manager, redemption(mood, 100)).await;
            assert_eq!(rpc.balance_of(PAYEE).await - before, U256::from(paid), "{mood}");
            assert_eq!(receipt["status"] == "0x1", success, "{mood}");
            assert_eq!(receipt["logs"].as_array().unwrap().len(), logs, "{mood}");
            assert_eq!(quantity(&receipt["gasUsed"]) > 1_500_000, [1, 10].contains(&mood), "{mood}");
        }
        // The log of its own looks like the token's but for who wrote it.
        let receipt = rpc.send_from(&SENDER, manager, redemption(6, 100)).await;
        let log = &receipt["logs"][0];
        assert_eq!(log["topics"][0], json!(Transfer::SIGNATURE_HASH));
        assert_eq!(serde_json::from_value::<Address>(log["address"].clone()).unwrap(), manager);
    }
}

#[tokio::test]
async fn a_proxy_is_not_entered_twice() {
    for rpc in nodes().await.rpcs {
        let settle = |token, v| settleWithPermitCall {
            permit2612: EIP2612Permit { value: U256::from(1), deadline: U256::MAX, r: EVEN, s: EVEN, v },
            permit: PermitTransferFrom {
                permitted: TokenPermissions { token, amount: U256::from(1) },
                nonce: U256::ZERO,
                deadline: U256::MAX,
            },
            owner: PAYER.address,
            witness: Witness { to: PAYEE, validAfter: U256::ZERO },
            signature: Bytes::new(),
        };
        let again = Bytes::from(settle(USDC, 27).abi_encode());
        let token = rpc.deploy(&deploy::REENTRANT_TOKEN, again.abi_encode()).await;
        // An owner that takes everything: what is left to refuse is the second entry.
        rpc.ok("anvil_setCode", json!([PAYER.address, "0x631626ba7e60e01b60005260206000f3"])).await;
        let receipt = rpc.send_from(&SENDER, EXACT_PROXY, settle(token, 27)).await;
        assert_eq!(receipt["status"], "0x1");
        let log = &receipt["logs"][0];
        assert_eq!(log["topics"][0], json!(EIP2612PermitFailedWithData::SIGNATURE_HASH));
        let data: Bytes = serde_json::from_value(log["data"].clone()).unwrap();
        let data = Bytes::abi_decode(&data).unwrap();
        assert_eq!(data, ReentrancyGuardReentrantCall {}.abi_encode());
    }
}

//! One call simulates many payments: on our devnet, and the same on anvil.

use std::sync::atomic::Ordering;

use alloy_primitives::keccak256;
use serde_json::json;
use tollway_core::{Clock, ErrorCode, Network, SystemClock};
use tollway_devnet::hostile::{self, HostileToken};
use tollway_devnet::{ACCOUNTS, genesis};
use tollway_evm::eip712::Domain;
use tollway_evm::exact::{Authorization, ExactPayment, MAX_PAYMENTS_PER_CALL};
use tollway_evm::{Address, Asset, B256, Chain, Signer, U256, signature};
use tollway_evm::{Funds, Payment, Verdict, simulate};

use crate::market::{account, assets};
use crate::node::{Kind, Node};

const LANE: Address = ACCOUNTS[1].address;
const PAYEE: Address = Address::repeat_byte(0x77);

/// What an account of the genesis has.
const WEALTH: u64 = 1_000_000_000_000;

async fn nodes() -> Vec<Node> {
    let mut nodes = vec![Node::start(Kind::Devnet, 31_337).await.unwrap()];
    nodes.extend(Node::start(Kind::Anvil, 31_337).await);
    nodes
}

fn authorization(payer: usize, nonce: u64, value: u64) -> Authorization {
    Authorization {
        from: ACCOUNTS[payer].address,
        to: PAYEE,
        value: U256::from(value),
        valid_after: U256::ZERO,
        valid_before: U256::from(SystemClock.now().0 + 600),
        nonce: B256::from(U256::from(nonce)),
    }
}

async fn sign(payer: usize, authorization: Authorization) -> ExactPayment {
    let network = Network::evm(31_337);
    let known = assets(31_337);
    let preimage = Domain::of(known.find(&network, genesis::USDC).unwrap()).unwrap();
    let signature = account(payer).sign(&preimage.preimage(&authorization.message())).await.unwrap();
    ExactPayment { authorization, signature: signature.into(), asset: genesis::USDC, network }
}

async fn pays(payer: usize, nonce: u64, value: u64) -> ExactPayment {
    sign(payer, authorization(payer, nonce, value)).await
}

async fn verdicts(chain: &Chain, payments: &[ExactPayment]) -> Vec<Verdict> {
    let payments: Vec<Payment> = payments.iter().cloned().map(Payment::from).collect();
    simulate(chain, LANE, &payments.iter().collect::<Vec<_>>()).await.unwrap()
}

fn funds(balance: u64) -> Verdict {
    Ok(Funds { available: U256::from(balance), is_alone: false, payer_has_code: false })
}

/// The slot of `authorizationState[payer][nonce]`, as the token has it.
fn state_slot(authorization: &Authorization) -> B256 {
    let outer = keccak256([&[0; 12], &authorization.from[..], &U256::from(3).to_be_bytes::<32>()].concat());
    keccak256([authorization.nonce, outer].concat())
}

#[tokio::test]
async fn each_reason_against_a_payment_is_told_by_one_call() {
    for node in nodes().await {
        let chain = node.chain();
        let used = pays(3, 1, 5).await;
        let slot = state_slot(&used.authorization);
        chain.raw("anvil_setStorageAt", json!([genesis::USDC, slot, B256::with_last_byte(1)])).await.unwrap();
        let delegation = format!("0xef0100{}", alloy_primitives::hex::encode(genesis::USDC));
        chain.raw("anvil_setCode", json!([ACCOUNTS[4].address, delegation])).await.unwrap();
        let expired = Authorization { valid_before: U256::from(7), ..authorization(3, 2, 5) };
        let to_self = Authorization { to: ACCOUNTS[3].address, ..authorization(3, 3, 5) };
        let nowhere = Address::repeat_byte(0x99);
        let payments = [
            pays(3, 9, 5).await,
            used,
            pays(4, 1, 5).await,
            ExactPayment { asset: nowhere, ..pays(3, 4, 5).await },
            ExactPayment { asset: genesis::MULTICALL3, ..pays(3, 5, 5).await },
            pays(3, 6, WEALTH).await,
            sign(3, expired).await,
            sign(3, to_self).await,
            pays(3, 8, 6).await,
        ];
        let verdicts = verdicts(&chain, &payments).await;
        let expected = [
            (ErrorCode::INVALID_EXACT_EVM_NONCE_ALREADY_USED, "used or canceled on chain"),
            (ErrorCode::INVALID_EXACT_EVM_SIGNATURE, "FiatTokenV2: invalid signature"),
            (ErrorCode::ASSET_NOT_DEPLOYED_CONTRACT, "no code at this address"),
            (ErrorCode::INVALID_EXACT_EVM_EIP3009_NOT_SUPPORTED, "authorizationState fails"),
            (ErrorCode::INVALID_EXACT_EVM_INSUFFICIENT_BALANCE, "covered by the payer's balance"),
            (
                ErrorCode::INVALID_EXACT_EVM_TRANSACTION_SIMULATION_FAILED,
                "the transfer would revert: FiatTokenV2: authorization is expired",
            ),
            (ErrorCode::INVALID_EXACT_EVM_TRANSFER_EVENT_MISMATCH, "another amount"),
        ];
        assert_eq!(verdicts[0], funds(WEALTH));
        for (verdict, (code, rule)) in verdicts[1..8].iter().zip(expected) {
            let refusal = verdict.as_ref().unwrap_err();
            assert_eq!(refusal.code, code, "{refusal}");
            assert!(refusal.rule.contains(rule), "{refusal}");
            assert!(refusal.payer.is_some(), "{refusal}");
        }
        assert_eq!(verdicts[8], funds(WEALTH - 5), "after the first; nothing else has moved");
    }
}

#[tokio::test]
async fn of_two_payments_racing_for_one_balance_the_second_is_refused() {
    for node in nodes().await {
        let payments = [pays(3, 1, WEALTH - 1).await, pays(3, 2, 2).await, pays(5, 2, 2).await];
        let verdicts = verdicts(&node.chain(), &payments).await;
        assert_eq!(verdicts[0], funds(WEALTH));
        let refusal = verdicts[1].as_ref().unwrap_err();
        assert_eq!(refusal.code, ErrorCode::INVALID_EXACT_EVM_INSUFFICIENT_BALANCE);
        assert_eq!(verdicts[2], funds(WEALTH));
    }
}

#[tokio::test]
async fn one_authorization_twice_in_a_call_pays_once() {
    for node in nodes().await {
        let payment = pays(3, 1, 5).await;
        let verdicts = verdicts(&node.chain(), &[payment.clone(), payment]).await;
        assert_eq!(verdicts[0], funds(WEALTH));
        assert_eq!(verdicts[1].as_ref().unwrap_err().code, ErrorCode::INVALID_EXACT_EVM_NONCE_ALREADY_USED);
    }
}

#[tokio::test]
async fn a_full_call_is_one_request_and_one_more_payment_makes_it_two() {
    for node in nodes().await {
        let (chain, requests) =
            if node.rpc_is_ours() { node.counted_chain() } else { (node.chain(), Default::default()) };
        let mut payments = Vec::new();
        for nonce in 0..=MAX_PAYMENTS_PER_CALL {
            payments.push(pays(3 + nonce % 7, nonce.try_into().unwrap(), 1).await);
        }
        let full = verdicts(&chain, &payments[1..]).await;
        assert!(full.len() == MAX_PAYMENTS_PER_CALL && full.iter().all(Result::is_ok));
        let last = full.last().unwrap().as_ref().unwrap();
        assert_eq!(last.available, U256::from(WEALTH - 21), "each payer has paid 21 times before");
        assert!(!node.rpc_is_ours() || requests.load(Ordering::SeqCst) == 1);
        assert_eq!(verdicts(&chain, &payments).await.len(), MAX_PAYMENTS_PER_CALL + 1);
        assert!(!node.rpc_is_ours() || requests.load(Ordering::SeqCst) == 3);
    }
}

/// A payment in one of the hostile tokens.
async fn pays_in(token: HostileToken, nonce: u64, value: u64) -> ExactPayment {
    let network = Network::evm(31_337);
    let asset = Asset {
        network: network.clone(),
        symbol: token.name.to_owned(),
        address: token.address,
        name: token.name.to_owned(),
        version: "2".to_owned(),
        decimals: 6,
        is_usd: false,
        transfer_method: tollway_evm::TransferMethod::Eip3009,
    };
    let authorization = authorization(3, nonce, value);
    let preimage = Domain::of(&asset).unwrap().preimage(&authorization.message());
    let signature = account(3).sign(&preimage).await.unwrap();
    ExactPayment { authorization, signature: signature.into(), asset: token.address, network }
}

#[tokio::test]
async fn hostile_tokens_are_found_out_or_pay_in_the_simulation() {
    for node in nodes().await {
        let chain = node.chain();
        let silent = hostile::TOKENS.into_iter().find(|token| token.address == hostile::SILENT).unwrap();
        let mut payments = vec![pays_in(silent, 99, 4).await, pays_in(silent, 99, 4).await];
        for token in hostile::TOKENS {
            payments.push(pays_in(token, 1, 4).await);
            payments.push(pays_in(token, 2, 5).await);
        }
        // Whatever they do, the honest payment behind them is seen as it is.
        payments.push(pays(5, 1, 5).await);
        let verdicts = verdicts(&chain, &payments).await;
        assert!(verdicts[0].is_ok() && verdicts.last().unwrap() == &funds(WEALTH));
        assert_eq!(verdicts[1].as_ref().unwrap_err().code, ErrorCode::INVALID_EXACT_EVM_NONCE_ALREADY_USED);
        let (another, reverts) = (
            Some(ErrorCode::INVALID_EXACT_EVM_TRANSFER_EVENT_MISMATCH),
            Some(ErrorCode::INVALID_EXACT_EVM_TRANSACTION_SIMULATION_FAILED),
        );
        let expected = [
            [None, None],                       // silent
            [another.clone(), another.clone()], // idle
            [another.clone(), another.clone()], // fee
            [another.clone(), another],         // false
            [reverts.clone(), reverts.clone()], // burner
            [None, None],                       // glutton: within the gas that a transfer may use
            [None, reverts],                    // bomb
            [None, None],                       // mirage: only its receipt tells
        ];
        for ((token, verdicts), expected) in hostile::TOKENS.iter().zip(verdicts[2..].chunks(2)).zip(expected)
        {
            let codes = [0, 1].map(|of| verdicts[of].as_ref().err().map(|refusal| refusal.code.clone()));
            assert_eq!(codes, expected, "{}", token.name);
        }
    }
}

#[tokio::test]
async fn hostile_tokens_cost_a_full_call_more_rounds_and_nothing_else() {
    for node in nodes().await {
        let (chain, requests) =
            if node.rpc_is_ours() { node.counted_chain() } else { (node.chain(), Default::default()) };
        let burner = hostile::TOKENS.into_iter().find(|token| token.address == hostile::BURNER).unwrap();
        let mut payments = Vec::new();
        for nonce in 0..MAX_PAYMENTS_PER_CALL - 1 {
            payments.push(pays_in(burner, nonce.try_into().unwrap(), 4).await);
        }
        payments.push(pays(5, 1, 5).await);
        let verdicts = verdicts(&chain, &payments).await;
        assert_eq!(verdicts.iter().filter(|verdict| verdict.is_ok()).count(), 1);
        assert_eq!(verdicts.last(), Some(&funds(WEALTH)));
        assert!(requests.load(Ordering::SeqCst) <= 2);
    }
}

#[tokio::test]
async fn the_longest_reasons_of_a_full_call_fit_into_its_answer() {
    for node in nodes().await {
        let chain = node.chain();
        // A contract that says it knows no authorization, has all the money, and reverts everything else with 300 bytes
        // of text.
        let speaker = Address::repeat_byte(0x5e);
        chain.raw("anvil_setCode", json!([speaker, SPEAKER])).await.unwrap();
        let mut payments = Vec::new();
        for nonce in 0..MAX_PAYMENTS_PER_CALL {
            payments.push(ExactPayment { asset: speaker, ..pays(3, nonce.try_into().unwrap(), 5).await });
        }
        for verdict in verdicts(&chain, &payments).await {
            let rule = verdict.unwrap_err().rule;
            assert_eq!(rule, format!("the transfer would revert: {}", "a".repeat(120)));
        }
    }
}

/// Answers 0 to `authorizationState` (0xe94a0102), the largest number to `balanceOf` (0x70a08231), and reverts any other
/// call with `Error(string)` of 300 times "a".
const SPEAKER: &str = concat!(
    "0x",
    "60003560e01c8063e94a0102146088576370a0823114608e576308c379a060e01b600052602060045261012c6024527f",
    "616161616161616161616161616161616161616161616161616161616161616180610044528061006452806100845280",
    "6100a452806100c452806100e45280610104528061012452806101445280610164526101846000fd5b60206000f35b60",
    "001960005260206000f3",
);

#[tokio::test]
async fn a_signature_of_another_key_is_refused_by_the_token() {
    for node in nodes().await {
        let payment = ExactPayment {
            signature: signature::parse(&[&[1; 64][..], &[27]].concat()).unwrap().into(),
            ..pays(3, 1, 5).await
        };
        let verdict = verdicts(&node.chain(), &[payment]).await.remove(0);
        let refusal = verdict.unwrap_err();
        assert_eq!(refusal.code, ErrorCode::INVALID_EXACT_EVM_TRANSACTION_SIMULATION_FAILED);
        assert!(refusal.rule.contains("invalid signature"), "{refusal}");
    }
}

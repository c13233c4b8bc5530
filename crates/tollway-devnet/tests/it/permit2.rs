//! Permit2 keeps the rules of the canonical contract: who may spend, how much, when, and how often.

use alloy_primitives::{Address, Bytes, U256, b256};
use alloy_sol_types::{Eip712Domain, Revert, SolCall, SolError, SolStruct, eip712_domain, sol};
use serde_json::json;
use tollway_devnet::{
    Config, DevAccount,
    genesis::{PERMIT2, PLAIN_USD, USDC},
};

use crate::{
    anvil::nodes,
    fixture::{PAYEE, PAYER, Rpc, SENDER, Token, devnet_with, sign},
};

sol! {
    #[derive(Debug)]
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    /// As it is signed without a witness. The call leaves the spender out: it is who calls.
    #[derive(Debug)]
    struct PermitTransferFrom {
        TokenPermissions permitted;
        address spender;
        uint256 nonce;
        uint256 deadline;
    }

    struct Permit {
        TokenPermissions permitted;
        uint256 nonce;
        uint256 deadline;
    }

    struct Details {
        address to;
        uint256 requestedAmount;
    }

    function permitTransferFrom(Permit permit, Details transferDetails, address owner, bytes signature);
    function nonceBitmap(address owner, uint256 word) returns (uint256);
    function invalidateUnorderedNonces(uint256 wordPos, uint256 mask);
    function DOMAIN_SEPARATOR() returns (bytes32);

    #[derive(Debug, PartialEq)]
    error SignatureExpired(uint256 signatureDeadline);
    #[derive(Debug, PartialEq)]
    error InvalidAmount(uint256 maxAmount);
    error InvalidNonce();
    error InvalidSignature();
    error InvalidSignatureLength();
    error InvalidSigner();
    error InvalidContractSignature();
}

pub(crate) fn domain() -> Eip712Domain {
    eip712_domain! { name: "Permit2", chain_id: 31_337, verifying_contract: PERMIT2, }
}

/// Gives Permit2 an allowance without an end.
pub(crate) async fn approve(rpc: &Rpc, token: Address, holder: &DevAccount) {
    let call = Token::approveCall { spender: PERMIT2, value: U256::MAX };
    assert_eq!(rpc.send_from(holder, token, call).await["status"], "0x1");
}

pub(crate) async fn balance(rpc: &Rpc, token: Address, holder: Address) -> U256 {
    rpc.ask(token, Token::balanceOfCall(holder)).await
}

/// The payer lets the sender of the tests spend ten units.
fn permit(nonce: u64) -> PermitTransferFrom {
    PermitTransferFrom {
        permitted: TokenPermissions { token: PLAIN_USD, amount: U256::from(10) },
        spender: SENDER.address,
        nonce: U256::from(nonce),
        deadline: U256::MAX,
    }
}

fn call(permit: &PermitTransferFrom) -> permitTransferFromCall {
    let signature = sign(&PAYER, permit.eip712_signing_hash(&domain())).as_bytes().into();
    let PermitTransferFrom { permitted, nonce, deadline, .. } = permit.clone();
    permitTransferFromCall {
        transferDetails: Details { to: PAYEE, requestedAmount: permitted.amount },
        permit: Permit { permitted, nonce, deadline },
        owner: PAYER.address,
        signature,
    }
}

async fn refusal(rpc: &Rpc, call: permitTransferFromCall) -> Bytes {
    rpc.revert(SENDER.address, PERMIT2, call).await
}

#[test]
fn the_typehashes_are_the_published_ones() {
    // As the canonical contract has them.
    assert_eq!(
        permit(0).eip712_type_hash(),
        b256!("0x939c21a48a8dbe3a9a2404a1d46691e4d39f6583d6ec6b35714604c986d80106")
    );
    assert_eq!(
        permit(0).permitted.eip712_type_hash(),
        b256!("0x618358ac3db8dc274f0cd8829da7e234bd48cd73c4a740aede1adec9846d06a1")
    );
}

#[tokio::test]
async fn the_domain_is_the_canonical_one_on_every_chain() {
    for rpc in nodes().await.rpcs {
        assert_eq!(rpc.ask(PERMIT2, DOMAIN_SEPARATORCall {}).await, domain().separator());
    }
    // What the contract at this address on chain 1 answers.
    let (_devnet, rpc) = devnet_with(Config { chain_id: 1, ..Config::default() }).await;
    assert_eq!(
        rpc.ask(PERMIT2, DOMAIN_SEPARATORCall {}).await,
        b256!("0x866a5aba21966af95d6c7ab78eb2b2fc913915c28be3b9aa07cc04ff903e3f28")
    );
}

#[tokio::test]
async fn the_named_spender_moves_up_to_what_was_permitted_and_once() {
    for rpc in nodes().await.rpcs {
        approve(&rpc, PLAIN_USD, &PAYER).await;
        let before = balance(&rpc, PLAIN_USD, PAYEE).await;
        let mut less = call(&permit(300));
        less.transferDetails.requestedAmount = U256::from(7);
        assert_eq!(rpc.send_from(&SENDER, PERMIT2, less.clone()).await["status"], "0x1");
        assert_eq!(balance(&rpc, PLAIN_USD, PAYEE).await - before, U256::from(7));
        let bitmap = nonceBitmapCall { owner: PAYER.address, word: U256::from(1) };
        assert_eq!(rpc.ask(PERMIT2, bitmap).await, U256::from(1) << (300 - 256));
        assert_eq!(refusal(&rpc, less).await, InvalidNonce {}.abi_encode());
        // The nonce beside it is another one.
        assert_eq!(rpc.send_from(&SENDER, PERMIT2, call(&permit(301))).await["status"], "0x1");
    }
}

#[tokio::test]
async fn more_than_permitted_or_later_than_signed_is_refused() {
    for rpc in nodes().await.rpcs {
        approve(&rpc, PLAIN_USD, &PAYER).await;
        let mut more = call(&permit(1));
        more.transferDetails.requestedAmount = U256::from(11);
        assert_eq!(refusal(&rpc, more).await, InvalidAmount { maxAmount: U256::from(10) }.abi_encode());
        let late = PermitTransferFrom { deadline: U256::from(1_000), ..permit(1) };
        let expected = SignatureExpired { signatureDeadline: U256::from(1_000) }.abi_encode();
        assert_eq!(refusal(&rpc, call(&late)).await, expected);
    }
}

#[tokio::test]
async fn only_what_the_owner_signed_for_this_spender_counts() {
    for rpc in nodes().await.rpcs {
        approve(&rpc, PLAIN_USD, &PAYER).await;
        let other = PermitTransferFrom { spender: PAYEE, ..permit(1) };
        assert_eq!(refusal(&rpc, call(&other)).await, InvalidSigner {}.abi_encode());
        assert_eq!(rpc.revert(PAYEE, PERMIT2, call(&permit(1))).await, InvalidSigner {}.abi_encode());
        let mut call = call(&permit(1));
        call.permit.permitted.token = USDC;
        assert_eq!(refusal(&rpc, call).await, InvalidSigner {}.abi_encode());
    }
}

#[tokio::test]
async fn a_key_signs_in_65_bytes_or_in_64() {
    for rpc in nodes().await.rpcs {
        approve(&rpc, PLAIN_USD, &PAYER).await;
        for nonce in 1..5 {
            let mut call = call(&permit(nonce));
            let long = call.signature.clone();
            let mut compact = long[..64].to_vec();
            compact[32] |= (long[64] - 27) << 7;
            call.signature = compact.into();
            assert_eq!(rpc.send_from(&SENDER, PERMIT2, call).await["status"], "0x1");
        }
        let mut call = call(&permit(9));
        let long = call.signature.clone();
        call.signature = Bytes::copy_from_slice(&long[..63]);
        assert_eq!(refusal(&rpc, call.clone()).await, InvalidSignatureLength {}.abi_encode());
        call.signature = [&long[..64], &[3]].concat().into();
        assert_eq!(refusal(&rpc, call).await, InvalidSignature {}.abi_encode());
    }
}

#[tokio::test]
async fn an_account_with_code_answers_for_itself() {
    for rpc in nodes().await.rpcs {
        approve(&rpc, PLAIN_USD, &PAYER).await;
        let mut call = call(&permit(1));
        // Refuses everything, the key's signature too.
        rpc.ok("anvil_setCode", json!([PAYER.address, "0x60206000f3"])).await;
        assert_eq!(refusal(&rpc, call.clone()).await, InvalidContractSignature {}.abi_encode());
        // Accepts everything: returns 0x1626ba7e.
        rpc.ok("anvil_setCode", json!([PAYER.address, "0x631626ba7e60e01b60005260206000f3"])).await;
        call.signature = Bytes::from_static(b"whatever the wallet makes of it");
        assert_eq!(rpc.send_from(&SENDER, PERMIT2, call.clone()).await["status"], "0x1");
        assert_eq!(refusal(&rpc, call).await, InvalidNonce {}.abi_encode());
    }
}

#[tokio::test]
async fn an_owner_can_take_nonces_back() {
    for rpc in nodes().await.rpcs {
        approve(&rpc, PLAIN_USD, &PAYER).await;
        let take = invalidateUnorderedNoncesCall { wordPos: U256::ZERO, mask: U256::from(0b110) };
        let receipt = rpc.send_from(&PAYER, PERMIT2, take).await;
        assert_eq!(receipt["logs"][0]["topics"][1], json!(PAYER.address.into_word()));
        for nonce in [1, 2] {
            assert_eq!(refusal(&rpc, call(&permit(nonce))).await, InvalidNonce {}.abi_encode());
        }
        assert_eq!(rpc.send_from(&SENDER, PERMIT2, call(&permit(3))).await["status"], "0x1");
    }
}

#[tokio::test]
async fn without_an_allowance_or_the_money_nothing_moves() {
    for rpc in nodes().await.rpcs {
        let expected = Revert::from("TRANSFER_FROM_FAILED").abi_encode();
        assert_eq!(refusal(&rpc, call(&permit(1))).await, expected);
        approve(&rpc, PLAIN_USD, &PAYER).await;
        let all = balance(&rpc, PLAIN_USD, PAYER.address).await;
        let mut dear = permit(1);
        dear.permitted.amount = all + U256::from(1);
        assert_eq!(refusal(&rpc, call(&dear)).await, expected);
        dear.permitted.amount = all;
        assert_eq!(rpc.send_from(&SENDER, PERMIT2, call(&dear)).await["status"], "0x1");
        let allowance = Token::allowanceCall { owner: PAYER.address, spender: PERMIT2 };
        assert_eq!(rpc.ask(PLAIN_USD, allowance).await, U256::MAX);
    }
}

#[test]
fn the_selectors_are_the_published_ones() {
    assert_eq!(permitTransferFromCall::SELECTOR, [0x30, 0xf2, 0x8b, 0x7a]);
    assert_eq!(SignatureExpired::SELECTOR, [0xcd, 0x21, 0xdb, 0x4f]);
    assert_eq!(InvalidNonce::SELECTOR, [0x75, 0x66, 0x88, 0xfe]);
    assert_eq!(InvalidSigner::SELECTOR, [0x81, 0x5e, 0x1d, 0x64]);
    assert_eq!(InvalidContractSignature::SELECTOR, [0xb0, 0x66, 0x9c, 0xbc]);
}

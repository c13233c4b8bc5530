//! The token does what payers and facilitators rely on.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolEvent, SolStruct, sol};
use serde_json::json;
use tollway_devnet::genesis::{EURC, USDC};

use crate::fixture::{
    CancelAuthorization, PAYEE, PAYER, Permit, Split, Token, authorization, devnet, domain, sign, signed,
};

sol! {
    event Transfer(address indexed from, address indexed to, uint256 value);
    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
}

#[tokio::test]
async fn the_domain_separator_is_the_eip712_hash() {
    let (_devnet, rpc) = devnet().await;
    assert_eq!(rpc.read(Token::DOMAIN_SEPARATORCall {}, "latest").await, domain().separator());
}

#[tokio::test]
async fn an_authorization_in_one_piece_moves_the_money_and_says_so() {
    let (_devnet, rpc) = devnet().await;
    let before = rpc.balance_of(PAYEE).await;
    let hash = rpc.send(USDC, signed(&authorization(1))).await;
    let receipt = rpc.ok("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x1");
    assert_eq!(receipt["logs"][0]["topics"][0], json!(AuthorizationUsed::SIGNATURE_HASH));
    assert_eq!(receipt["logs"][1]["topics"][0], json!(Transfer::SIGNATURE_HASH));
    assert_eq!(receipt["logs"][1]["topics"][2], json!(PAYEE.into_word()));
    assert_eq!(rpc.balance_of(PAYEE).await - before, U256::from(1_000_000));
    let used = Token::authorizationStateCall { authorizer: PAYER.address, nonce: B256::repeat_byte(1) };
    assert!(rpc.read(used, "latest").await);
}

#[tokio::test]
async fn an_authorization_in_three_pieces_is_the_same() {
    let (_devnet, rpc) = devnet().await;
    let before = rpc.balance_of(PAYEE).await;
    let payment = authorization(2);
    let signature = sign(&PAYER, payment.eip712_signing_hash(&domain()));
    let split = Split::transferWithAuthorizationCall {
        from: payment.from,
        to: payment.to,
        value: payment.value,
        validAfter: payment.validAfter,
        validBefore: payment.validBefore,
        nonce: payment.nonce,
        v: 27 + u8::from(signature.v()),
        r: signature.r().into(),
        s: signature.s().into(),
    };
    assert!(rpc.succeeds(split).await);
    assert_eq!(rpc.balance_of(PAYEE).await - before, U256::from(1_000_000));
}

#[tokio::test]
async fn a_used_authorization_moves_nothing_again() {
    let (_devnet, rpc) = devnet().await;
    let payment = signed(&authorization(3));
    assert!(rpc.succeeds(payment.clone()).await);
    let before = rpc.balance_of(PAYEE).await;
    assert!(!rpc.succeeds(payment.clone()).await);
    assert_eq!(rpc.revert_reason(payment).await, "FiatTokenV2: authorization is used or canceled");
    assert_eq!(rpc.balance_of(PAYEE).await, before);
}

#[tokio::test]
async fn a_refused_authorization_names_the_reason() {
    let (_devnet, rpc) = devnet().await;
    let early = crate::fixture::TransferWithAuthorization { validAfter: U256::MAX, ..authorization(4) };
    assert_eq!(rpc.revert_reason(signed(&early)).await, "FiatTokenV2: authorization is not yet valid");
    let late = crate::fixture::TransferWithAuthorization { validBefore: U256::from(1), ..authorization(4) };
    assert_eq!(rpc.revert_reason(signed(&late)).await, "FiatTokenV2: authorization is expired");
    let large = crate::fixture::TransferWithAuthorization { value: U256::MAX, ..authorization(4) };
    assert_eq!(rpc.revert_reason(signed(&large)).await, "ERC20: transfer amount exceeds balance");
    let forged = Token::transferWithAuthorizationCall { value: U256::from(2), ..signed(&authorization(4)) };
    assert_eq!(rpc.revert_reason(forged).await, "FiatTokenV2: invalid signature");
    let short = Token::transferWithAuthorizationCall { signature: Bytes::new(), ..signed(&authorization(4)) };
    assert_eq!(rpc.revert_reason(short).await, "ECRecover: invalid signature length");
}

#[tokio::test]
async fn a_malleable_signature_is_refused() {
    let (_devnet, rpc) = devnet().await;
    let order = U256::from_be_bytes(alloy_primitives::hex!(
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
    ));
    let mut call = signed(&authorization(5));
    let mut twin = call.signature.to_vec();
    let s = order - U256::from_be_slice(&twin[32..64]);
    twin[32..64].copy_from_slice(&s.to_be_bytes::<32>());
    twin[64] = 55 - twin[64];
    call.signature = twin.into();
    assert_eq!(rpc.revert_reason(call).await, "ECRecover: invalid signature 's' value");
    let mut call = signed(&authorization(5));
    let mut odd = call.signature.to_vec();
    odd[64] -= 27;
    call.signature = odd.into();
    assert_eq!(rpc.revert_reason(call).await, "ECRecover: invalid signature 'v' value");
}

#[tokio::test]
async fn an_account_with_code_answers_by_erc1271() {
    let (_devnet, rpc) = devnet().await;
    let mut call = signed(&authorization(6));
    call.signature = Bytes::from_static(b"whatever the wallet makes of it");
    // A wallet that accepts everything: returns 0x1626ba7e.
    let yes = "0x631626ba7e60e01b60005260206000f3";
    rpc.ok("anvil_setCode", json!([PAYER.address, yes])).await;
    assert!(rpc.succeeds(call.clone()).await);
    // One that accepts nothing: returns zero.
    rpc.ok("anvil_setCode", json!([PAYER.address, "0x60206000f3"])).await;
    call.nonce = B256::repeat_byte(7);
    assert_eq!(rpc.revert_reason(call).await, "FiatTokenV2: invalid signature");
}

#[tokio::test]
async fn a_blacklisted_account_neither_pays_nor_is_paid() {
    for account in [PAYER.address, PAYEE] {
        let (_devnet, rpc) = devnet().await;
        assert!(rpc.succeeds(Token::blacklistCall { account }).await);
        let reason = rpc.revert_reason(signed(&authorization(8))).await;
        assert_eq!(reason, "Blacklistable: account is blacklisted");
    }
}

#[tokio::test]
async fn a_paused_token_moves_nothing() {
    let (_devnet, rpc) = devnet().await;
    assert!(rpc.succeeds(Token::pauseCall {}).await);
    assert_eq!(rpc.revert_reason(signed(&authorization(9))).await, "Pausable: paused");
}

#[tokio::test]
async fn a_canceled_authorization_is_dead() {
    let (_devnet, rpc) = devnet().await;
    let cancel = CancelAuthorization { authorizer: PAYER.address, nonce: B256::repeat_byte(10) };
    let signature = sign(&PAYER, cancel.eip712_signing_hash(&domain())).as_bytes().into();
    let CancelAuthorization { authorizer, nonce } = cancel;
    assert!(rpc.succeeds(Token::cancelAuthorizationCall { authorizer, nonce, signature }).await);
    let reason = rpc.revert_reason(signed(&authorization(10))).await;
    assert_eq!(reason, "FiatTokenV2: authorization is used or canceled");
}

#[tokio::test]
async fn a_permit_gives_an_allowance_once() {
    let (_devnet, rpc) = devnet().await;
    let permit = Permit {
        owner: PAYER.address,
        spender: PAYEE,
        value: U256::from(5),
        nonce: U256::ZERO,
        deadline: U256::MAX,
    };
    let signature = sign(&PAYER, permit.eip712_signing_hash(&domain())).as_bytes().into();
    let Permit { owner, spender, value, deadline, .. } = permit;
    let call = Token::permitCall { owner, spender, value, deadline, signature };
    assert!(rpc.succeeds(call.clone()).await);
    assert_eq!(rpc.read(Token::allowanceCall { owner, spender }, "latest").await, U256::from(5));
    assert_eq!(rpc.read(Token::noncesCall(owner), "latest").await, U256::from(1));
    assert_eq!(rpc.revert_reason(call).await, "EIP2612: invalid signature");
}

#[tokio::test]
async fn only_the_payee_may_receive_with_authorization() {
    let (_devnet, rpc) = devnet().await;
    let Token::transferWithAuthorizationCall { from, to, value, validAfter, validBefore, nonce, signature } =
        signed(&authorization(11));
    let call =
        Token::receiveWithAuthorizationCall { from, to, value, validAfter, validBefore, nonce, signature };
    assert_eq!(rpc.revert_reason(call).await, "FiatTokenV2: caller must be the payee");
}

#[tokio::test]
async fn only_the_owner_mints() {
    let (_devnet, rpc) = devnet().await;
    let to = Address::repeat_byte(9);
    assert!(rpc.succeeds(Token::mintCall { to, amount: U256::from(7) }).await);
    assert_eq!(rpc.balance_of(to).await, U256::from(7));
    rpc.ok("anvil_setStorageAt", json!([USDC, "0x0", PAYER.address.into_word()])).await;
    let reason = rpc.revert_reason(Token::mintCall { to, amount: U256::from(7) }).await;
    assert_eq!(reason, "Ownable: caller is not the owner");
}

#[tokio::test]
async fn the_euro_is_the_same_contract_with_another_name() {
    let (_devnet, rpc) = devnet().await;
    let name = rpc.ok("eth_call", json!([{ "to": EURC, "data": "0x06fdde03" }])).await;
    assert!(name.as_str().unwrap().contains(&alloy_primitives::hex::encode("EURC")));
}

//! What is refused of channels, by which code, before anything is sent: what does not hold by itself, what the chain does not
//! cover, and what somebody might try.

use std::sync::Arc;

use alloy_primitives::hex;
use alloy_sol_types::{SolValue, sol};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tollway_core::model::{Accepted, FacilitatorRequest};
use tollway_core::{ErrorCode, Facilitator, PAYER_HAS_CODE, SignError};
use tollway_devnet::{deploy, genesis};
use tollway_evm::batch_settlement::{
    BatchPayload, BatchSettlement, ChannelConfig, Deposit, DepositAuthorization, ERC3009_COLLECTOR, Voucher,
    deposit_nonce,
};
use tollway_evm::eip712::Domain;
use tollway_evm::{Address, B256, LocalSigner, Signer, U256};
use tollway_facilitator::{ChannelSetup, Engine, Limits};
use tollway_ledger::{Ledger, MemoryLedger, SettlementQuery};

use crate::coded_payers::{grant, place};
use crate::shop::{Agent, Shop, offer, patient, refused, strangers_signature, with};
use crate::world::World;

type Code = ErrorCode;

sol! {
    struct ReceiveWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }
}

/// The same with another offer on both sides.
fn under(request: &FacilitatorRequest, path: &str, value: Option<Value>) -> FacilitatorRequest {
    let mut request = request.clone();
    let offer = &mut request.requirements;
    match (path, value) {
        ("payTo", Some(value)) => offer.pay_to = value.as_str().unwrap().to_owned(),
        ("asset", Some(value)) => offer.asset = value.as_str().unwrap().to_owned(),
        (field, Some(value)) => {
            offer.extra.insert(field.to_owned(), value);
        }
        (field, None) => {
            offer.extra.shift_remove(field);
        }
    }
    request.payment.accepted = Accepted::Offer(Box::new(offer.clone()));
    request
}

async fn is_told(shop: &Shop, request: &FacilitatorRequest, code: Code) {
    let verdict = shop.verify(request).await;
    assert_eq!(verdict.invalid_reason, Some(code.clone()), "{verdict:?}");
    // And what is not good is not settled either.
    let answer = shop.settle(request).await;
    assert!(!answer.success && answer.transaction.is_empty(), "{code:?}: {answer:?}");
}

#[tokio::test]
async fn what_does_not_fit_its_offer_is_refused_by_the_code_of_its_field() {
    let shop = Shop::open().await;
    let agent = shop.agent(10_000);
    let request = shop.deposit(&agent, 5_000, 100).await;
    let other = json!(Address::repeat_byte(9).to_string());
    let asked = shop.world.asked.payments();
    let cases = [
        (
            with(&request, "/channelConfig/salt", json!(B256::repeat_byte(9))),
            Code::INVALID_BATCH_SETTLEMENT_EVM_CHANNEL_ID_MISMATCH,
        ),
        (
            with(&request, "/voucher/channelId", json!("0x12")),
            Code::INVALID_BATCH_SETTLEMENT_EVM_CHANNEL_ID_INVALID,
        ),
        (under(&request, "payTo", Some(other.clone())), Code::INVALID_BATCH_SETTLEMENT_EVM_RECEIVER_MISMATCH),
        (
            under(&request, "receiverAuthorizer", Some(other)),
            Code::INVALID_BATCH_SETTLEMENT_EVM_RECEIVER_AUTHORIZER_MISMATCH,
        ),
        (
            under(&request, "receiverAuthorizer", None),
            Code::INVALID_BATCH_SETTLEMENT_EVM_RECEIVER_AUTHORIZER_MISMATCH,
        ),
        (
            under(&request, "withdrawDelay", Some(json!(901))),
            Code::INVALID_BATCH_SETTLEMENT_EVM_WITHDRAW_DELAY_MISMATCH,
        ),
        (under(&request, "name", None), Code::INVALID_BATCH_SETTLEMENT_EVM_MISSING_EIP712_DOMAIN),
        (
            under(&request, "assetTransferMethod", Some(json!("permit2"))),
            Code::INVALID_BATCH_SETTLEMENT_EVM_PERMIT2_AUTHORIZATION_REQUIRED,
        ),
        (with(&request, "/type", json!("gift")), Code::INVALID_BATCH_SETTLEMENT_EVM_PAYLOAD_TYPE),
        (with(&request, "/deposit/amount", json!("0")), Code::INVALID_BATCH_SETTLEMENT_EVM_DEPOSIT_PAYLOAD),
        (
            with(&request, "/deposit/authorization", json!({})),
            Code::INVALID_BATCH_SETTLEMENT_EVM_DEPOSIT_PAYLOAD,
        ),
        (
            with(&request, "/voucher/signature", json!(strangers_signature().await)),
            Code::INVALID_BATCH_SETTLEMENT_EVM_VOUCHER_SIGNATURE,
        ),
    ];
    for (request, code) in cases {
        is_told(&shop, &request, code).await;
    }
    let voucher = shop.voucher(&agent, 100).await;
    let malformed = with(&voucher, "/voucher/maxClaimableAmount", json!("much"));
    is_told(&shop, &malformed, Code::INVALID_BATCH_SETTLEMENT_EVM_VOUCHER_PAYLOAD).await;
    let mut elsewhere = under(&voucher, "asset", Some(json!(genesis::PERMIT_USD.to_string())));
    for field in ["name", "version"] {
        elsewhere = under(&elsewhere, field, None);
    }
    is_told(&shop, &elsewhere, Code::INVALID_BATCH_SETTLEMENT_EVM_TOKEN_MISMATCH).await;
    let unknown = under(&voucher, "asset", Some(json!(Address::repeat_byte(7).to_string())));
    is_told(&shop, &unknown, Code::INVALID_PAYMENT_REQUIREMENTS).await;
    let mut astray = voucher.clone();
    let Accepted::Offer(accepted) = &mut astray.payment.accepted else { panic!("version 2") };
    accepted.network = tollway_core::Network::evm(1);
    is_told(&shop, &astray, Code::INVALID_BATCH_SETTLEMENT_EVM_NETWORK_MISMATCH).await;
    let mut another = voucher.clone();
    let Accepted::Offer(accepted) = &mut another.payment.accepted else { panic!("version 2") };
    accepted.scheme = tollway_core::SchemeName::EXACT;
    is_told(&shop, &another, Code::INVALID_BATCH_SETTLEMENT_EVM_SCHEME).await;
    assert_eq!(shop.world.asked.payments(), asked, "of all this no node is asked");
}

#[tokio::test]
async fn a_deposit_that_its_payer_did_not_sign_so_is_refused() {
    let shop = Shop::open().await;
    let agent = shop.agent(10_000);
    let request = shop.deposit(&agent, 5_000, 100).await;
    let signed = "/deposit/authorization/erc3009Authorization";
    let at = |field: &str| format!("{signed}/{field}");
    let by = |field, value: Value| with(&request, &at(field), value);
    is_told(
        &shop,
        &by("validBefore", json!("1")),
        Code::INVALID_BATCH_SETTLEMENT_EVM_PAYLOAD_AUTHORIZATION_VALID_BEFORE,
    )
    .await;
    let late = by("validAfter", json!("99999999999"));
    is_told(&shop, &late, Code::INVALID_BATCH_SETTLEMENT_EVM_PAYLOAD_AUTHORIZATION_VALID_AFTER).await;
    for forged in [
        by("signature", json!(strangers_signature().await)),
        by("salt", json!(B256::repeat_byte(1))),
        with(&request, "/deposit/amount", json!("5001")),
    ] {
        is_told(&shop, &forged, Code::INVALID_BATCH_SETTLEMENT_EVM_RECEIVE_AUTHORIZATION_SIGNATURE).await;
    }
    let poor = shop.deposit(&shop.agent(10), 5_000, 100).await;
    is_told(&shop, &poor, Code::INVALID_BATCH_SETTLEMENT_EVM_INSUFFICIENT_BALANCE).await;
    let beyond = shop.deposit(&agent, 5_000, 5_001).await;
    is_told(&shop, &beyond, Code::INVALID_BATCH_SETTLEMENT_EVM_CUMULATIVE_EXCEEDS_BALANCE).await;
    assert_eq!((shop.world.lane_nonce(0).await, shop.held(&agent).await), (0, (0, 0)), "nothing was sent");
}

#[tokio::test]
async fn a_deposit_by_permit2_is_held_to_every_word_that_is_signed() {
    let mut shop = Shop::open().await;
    shop.offer = offer(&shop.world, &shop.seller, "PUSD", 100);
    let agent = shop.agent_of(LocalSigner::random().unwrap(), &shop.offer);
    let request = shop.deposit(&agent, 2_000, 100).await;
    let other = json!(Address::repeat_byte(9).to_string());
    for (field, value, code) in [
        ("spender", other.clone(), Code::INVALID_BATCH_SETTLEMENT_EVM_PERMIT2_INVALID_SPENDER),
        ("from", other.clone(), Code::INVALID_BATCH_SETTLEMENT_EVM_PERMIT2_INVALID_SIGNATURE),
        ("permitted/token", other, Code::INVALID_BATCH_SETTLEMENT_EVM_TOKEN_MISMATCH),
        ("permitted/amount", json!("2001"), Code::INVALID_BATCH_SETTLEMENT_EVM_PERMIT2_AMOUNT_MISMATCH),
        (
            "witness/channelId",
            json!(B256::repeat_byte(1)),
            Code::INVALID_BATCH_SETTLEMENT_EVM_CHANNEL_ID_MISMATCH,
        ),
        ("deadline", json!("1"), Code::INVALID_BATCH_SETTLEMENT_EVM_PERMIT2_DEADLINE_EXPIRED),
    ] {
        let path = format!("/deposit/authorization/permit2Authorization/{field}");
        is_told(&shop, &with(&request, &path, value), code).await;
    }
    let by_token = under(&request, "assetTransferMethod", Some(json!("eip3009")));
    is_told(&shop, &by_token, Code::INVALID_BATCH_SETTLEMENT_EVM_ERC3009_AUTHORIZATION_REQUIRED).await;
    is_told(&shop, &request, Code::INVALID_BATCH_SETTLEMENT_EVM_INSUFFICIENT_BALANCE).await;
    let approval = json!({ "info": {
        "from": agent.key.address(), "asset": agent.config.token, "spender": genesis::PERMIT2, "amount": "2000",
        "nonce": "0", "deadline": "99999999999", "signature": strangers_signature().await, "version": "1",
    }});
    for (field, value, code) in [
        ("from", json!(Address::repeat_byte(9)), Code::INVALID_BATCH_SETTLEMENT_EVM_EIP2612_OWNER_MISMATCH),
        ("asset", json!(Address::repeat_byte(9)), Code::INVALID_BATCH_SETTLEMENT_EVM_EIP2612_ASSET_MISMATCH),
        (
            "spender",
            json!(Address::repeat_byte(9)),
            Code::INVALID_BATCH_SETTLEMENT_EVM_EIP2612_SPENDER_MISMATCH,
        ),
        ("amount", json!("1"), Code::INVALID_BATCH_SETTLEMENT_EVM_EIP2612_AMOUNT_MISMATCH),
        ("deadline", json!("1"), Code::INVALID_BATCH_SETTLEMENT_EVM_EIP2612_DEADLINE_EXPIRED),
        ("signature", json!("0x12"), Code::INVALID_BATCH_SETTLEMENT_EVM_EIP2612_INVALID_SIGNATURE),
        ("nonce", json!("first"), Code::INVALID_BATCH_SETTLEMENT_EVM_EIP2612_INVALID_FORMAT),
    ] {
        let mut approval = approval.clone();
        approval["info"][field] = value;
        let mut request = request.clone();
        request.payment.extensions.insert("eip2612GasSponsoring".to_owned(), approval);
        let verdict = shop.verify(&request).await;
        assert_eq!(verdict.invalid_reason, Some(code), "{field}: {verdict:?}");
    }
}

#[tokio::test]
async fn claims_that_do_not_hold_are_refused_as_a_whole_and_nothing_is_sent() {
    let shop = Shop::open().await;
    let agents = shop.many(3, 1_000).await;
    let rows = join_all(agents.iter().map(|agent| shop.row(agent, 500, 400))).await;
    let claim = shop.claim(&rows).await;
    let (sent, known) = (shop.world.lane_nonce(0).await, settlements(&shop.ledger).await);
    let mut twice = claim.clone();
    let first = twice.payment.payload["claims"][0].clone();
    twice.payment.payload["claims"].as_array_mut().unwrap().push(first);
    let cases = [
        (with(&claim, "/claims", json!([])), Code::INVALID_BATCH_SETTLEMENT_EVM_CLAIM_PAYLOAD),
        (twice, Code::INVALID_BATCH_SETTLEMENT_EVM_CLAIM_PAYLOAD),
        (
            with(&claim, "/claims/2/totalClaimed", json!("501")),
            Code::INVALID_BATCH_SETTLEMENT_EVM_CHARGE_EXCEEDS_SIGNED_CUMULATIVE,
        ),
        (
            with(&claim, "/claims/1/voucher/maxClaimableAmount", json!("999")),
            Code::INVALID_BATCH_SETTLEMENT_EVM_VOUCHER_SIGNATURE,
        ),
        (
            with(&claim, "/claims/1/signature", json!(strangers_signature().await)),
            Code::INVALID_BATCH_SETTLEMENT_EVM_VOUCHER_SIGNATURE,
        ),
        (
            with(&claim, "/claims/1/voucher/channel/receiverAuthorizer", json!(Address::repeat_byte(9))),
            Code::INVALID_BATCH_SETTLEMENT_EVM_AUTHORIZER_ADDRESS_MISMATCH,
        ),
        (
            with(&claim, "/claims/1/voucher/channel/token", json!(genesis::PERMIT_USD)),
            Code::INVALID_BATCH_SETTLEMENT_EVM_TOKEN_MISMATCH,
        ),
        (
            with(&claim, "/claimAuthorizerSignature", json!(strangers_signature().await)),
            Code::INVALID_BATCH_SETTLEMENT_EVM_CLAIM_SIMULATION_FAILED,
        ),
        (
            with(&claim, "/claims/0/totalClaimed", json!("450")),
            Code::INVALID_BATCH_SETTLEMENT_EVM_CLAIM_SIMULATION_FAILED,
        ),
    ];
    for (request, code) in cases {
        assert_eq!(refused(&shop.settle(&request).await), code);
    }
    let verdict = shop.verify(&claim).await;
    assert_eq!(
        verdict.invalid_reason,
        Some(Code::INVALID_BATCH_SETTLEMENT_EVM_PAYLOAD_TYPE),
        "it is no payment"
    );
    let beyond = [shop.row(&agents[0], 1_001, 1_001).await];
    let beyond = shop.settle(&shop.claim(&beyond).await).await;
    assert_eq!(refused(&beyond), Code::INVALID_BATCH_SETTLEMENT_EVM_CLAIM_SIMULATION_FAILED);
    let still = (shop.world.lane_nonce(0).await, settlements(&shop.ledger).await);
    assert_eq!(still, (sent, known), "nothing is written down for it either");
    assert!(shop.settle(&claim).await.success);
}

async fn settlements(ledger: &MemoryLedger) -> usize {
    let query = SettlementQuery { limit: 1_000, ..SettlementQuery::default() };
    ledger.settlement_list(query).await.unwrap().len()
}

#[tokio::test]
async fn one_wrong_signature_among_a_hundred_sends_nothing() {
    let shop = Shop::open().await;
    let agents = shop.many(100, 1_000).await;
    let rows = join_all(agents.iter().map(|agent| shop.row(agent, 500, 400))).await;
    let claim = shop.claim(&rows).await;
    let (sent, asked) = (shop.world.lane_nonce(0).await, shop.world.asked.payments());
    let forged = with(&claim, "/claims/57/signature", json!(strangers_signature().await));
    let answer = shop.settle(&forged).await;
    assert_eq!(refused(&answer), Code::INVALID_BATCH_SETTLEMENT_EVM_VOUCHER_SIGNATURE);
    assert!(answer.error_message.unwrap().contains("claims[57]"), "it is named");
    assert_eq!(
        (shop.world.lane_nonce(0).await, shop.world.asked.payments()),
        (sent, asked),
        "and no node asked"
    );
}

#[tokio::test]
async fn more_than_fit_one_transaction_are_refused_and_the_limit_is_told() {
    let setup = ChannelSetup { max_claims: 2, ..ChannelSetup::default() };
    let shop = Shop::on(World::open().await, setup, |seller| seller).await;
    let agents = shop.many(3, 1_000).await;
    let rows = join_all(agents.iter().map(|agent| shop.row(agent, 500, 400))).await;
    let answer = shop.settle(&shop.claim(&rows).await).await;
    assert_eq!(refused(&answer), Code::INVALID_BATCH_SETTLEMENT_EVM_CLAIM_PAYLOAD);
    assert!(answer.error_message.unwrap().contains("at most 2"), "the seller splits");
    assert!(shop.settle(&shop.claim(&rows[..2]).await).await.success);
}

#[tokio::test]
async fn only_what_is_known_here_is_paid_out_and_only_to_who_is_named() {
    let shop = Shop::open().await;
    let agent = shop.paying(1_000).await;
    assert!(shop.settle(&shop.claim(&[shop.row(&agent, 500, 400).await]).await).await.success);
    let pay_out = shop.pay_out();
    let other = json!(Address::repeat_byte(9).to_string());
    let cases = [
        (with(&pay_out, "/token", other.clone()), Code::INVALID_BATCH_SETTLEMENT_EVM_TOKEN_MISMATCH),
        (with(&pay_out, "/receiver", other.clone()), Code::INVALID_BATCH_SETTLEMENT_EVM_RECEIVER_MISMATCH),
        (
            with(&under(&pay_out, "asset", Some(other.clone())), "/token", other),
            Code::INVALID_PAYMENT_REQUIREMENTS,
        ),
        (with(&pay_out, "/receiver", json!(7)), Code::INVALID_BATCH_SETTLEMENT_EVM_SETTLE_PAYLOAD),
    ];
    for (request, code) in cases {
        assert_eq!(refused(&shop.settle(&request).await), code);
    }
    // What had been paid out before is part of what is asked.
    let mut second = pay_out.clone();
    second.payment.payload.insert("totalSettled".to_owned(), json!("1"));
    assert_eq!(refused(&shop.settle(&second).await), Code::INVALID_BATCH_SETTLEMENT_EVM_NOTHING_TO_SETTLE);
    let mut first = pay_out;
    first.payment.payload.insert("totalSettled".to_owned(), json!("0"));
    let paid = shop.settle(&first).await;
    assert!(paid.success, "{paid:?}");
    assert_eq!(shop.settle(&first).await, paid, "asked for by what had been paid out, it is told again");
}

#[tokio::test]
async fn refunds_that_do_not_hold_are_refused_and_nothing_is_sent() {
    let shop = Shop::open().await;
    let agent = shop.paying(1_000).await;
    let refund = shop.refund(&agent, 300, 200).await;
    let sent = shop.world.lane_nonce(0).await;
    let another = shop.paying(1_000).await;
    let mut foreign = refund.clone();
    foreign.payment.payload["claims"] =
        shop.refund(&another, 300, 200).await.payment.payload["claims"].clone();
    let cases = [
        (shop.refund_wish(&agent, 300, Some(200)).await, Code::INVALID_BATCH_SETTLEMENT_EVM_PAYLOAD_TYPE),
        (with(&refund, "/amount", json!("0")), Code::INVALID_BATCH_SETTLEMENT_EVM_REFUND_AMOUNT_INVALID),
        (with(&refund, "/amount", json!("all")), Code::INVALID_BATCH_SETTLEMENT_EVM_REFUND_AMOUNT_INVALID),
        (foreign, Code::INVALID_BATCH_SETTLEMENT_EVM_REFUND_PAYLOAD),
        (with(&refund, "/refundNonce", json!("1")), Code::INVALID_BATCH_SETTLEMENT_EVM_REFUND_PAYLOAD),
        (with(&refund, "/amount", json!("201")), Code::INVALID_BATCH_SETTLEMENT_EVM_REFUND_SIMULATION_FAILED),
        (
            with(&refund, "/refundAuthorizerSignature", json!(strangers_signature().await)),
            Code::INVALID_BATCH_SETTLEMENT_EVM_REFUND_SIMULATION_FAILED,
        ),
        (
            with(&refund, "/voucher/signature", json!(strangers_signature().await)),
            Code::INVALID_BATCH_SETTLEMENT_EVM_VOUCHER_SIGNATURE,
        ),
    ];
    for (at, (request, code)) in cases.into_iter().enumerate() {
        assert_eq!(refused(&shop.settle(&request).await), code, "case {at}");
    }
    assert_eq!(shop.world.lane_nonce(0).await, sent + 1, "the other channel alone");
    let voucher = shop.settle(&shop.voucher(&agent, 100).await).await;
    assert_eq!(refused(&voucher), Code::INVALID_BATCH_SETTLEMENT_EVM_PAYLOAD_TYPE, "it moves nothing");
    assert!(shop.settle(&refund).await.success);
}

#[tokio::test]
async fn a_seller_never_asks_for_channels_of_two_authorizers_at_once() {
    let shop = Shop::open().await;
    let theirs = BatchSettlement::new(shop.world.assets()).with_key(Arc::new(LocalSigner::random().unwrap()));
    let their_offer = offer(&shop.world, &theirs, "USDC", 100);
    let (ours, other) = (shop.agent(1_000), shop.agent_of(shop.world.payer_with(1_000), &their_offer));
    let mut rows = vec![shop.row(&ours, 500, 400).await, shop.row(&ours, 500, 400).await];
    rows[1].terms = other.channel.terms.clone();
    let denied = tollway_core::ChannelScheme::claim_request(&shop.seller, &shop.offer, &rows).await;
    assert!(matches!(denied, Err(SignError::Offer(_))), "{denied:?}");
}

/// A contract wallet whose code judges its vouchers, with so much in its channel.
async fn coded(shop: &Shop, owner: &LocalSigner) -> (ChannelConfig, FacilitatorRequest) {
    let arguments = (owner.address(), Address::ZERO).abi_encode_params();
    let wallet = place(&shop.world, &deploy::WALLET, &arguments).await;
    grant(&shop.world, wallet);
    let template: &Agent = &shop.agent(1);
    let config = ChannelConfig { payer: wallet, payer_authorizer: Address::ZERO, ..template.config };
    let chain_id = shop.world.devnet.chain_id();
    let (id, until) =
        (config.id(chain_id), U256::from(tollway_core::Clock::now(&tollway_core::SystemClock).0 + 200));
    let domain = Domain::new(&shop.world.network, config.token, "USDC", "2").unwrap();
    let signed = domain.preimage(&ReceiveWithAuthorization {
        from: wallet,
        to: ERC3009_COLLECTOR,
        value: U256::from(1_000),
        validAfter: U256::ZERO,
        validBefore: until,
        nonce: deposit_nonce(id, U256::from(1)),
    });
    let signature = owner.sign(&signed).await.unwrap().as_bytes().into();
    let authorization = DepositAuthorization::Erc3009 {
        valid_after: U256::ZERO,
        valid_before: until,
        salt: U256::from(1),
        signature,
    };
    let voucher = Voucher { channel_id: id, max_claimable: 100 }.sign(chain_id, owner).await.unwrap();
    let payload =
        BatchPayload::Deposit { config, voucher, deposit: Deposit { amount: 1_000, authorization } };
    let mut request = shop.voucher(template, 1).await;
    request.payment.payload = payload.encode();
    (config, request)
}

#[tokio::test]
async fn a_contract_wallets_code_judges_its_vouchers_and_the_claims_of_them() {
    let shop = Shop::open().await;
    let owner = LocalSigner::random().unwrap();
    let (config, deposit) = coded(&shop, &owner).await;
    let verdict = shop.verify(&deposit).await;
    assert!(verdict.is_valid && verdict.extra[PAYER_HAS_CODE] == true, "{verdict:?}");
    let put_in = shop.settle(&deposit).await;
    assert!(put_in.success, "{put_in:?}");
    let chain_id = shop.world.devnet.chain_id();
    let by = |key: LocalSigner, ceiling| {
        let (voucher, mut request) =
            (Voucher { channel_id: config.id(chain_id), max_claimable: ceiling }, deposit.clone());
        async move {
            let voucher = voucher.sign(chain_id, &key).await.unwrap();
            request.payment.payload = BatchPayload::Voucher { config, voucher }.encode();
            request
        }
    };
    let good = by(owner.clone(), 600).await;
    assert!(shop.verify(&good).await.is_valid);
    let forged = shop.verify(&by(LocalSigner::random().unwrap(), 600).await).await;
    assert_eq!(forged.invalid_reason, Some(Code::INVALID_BATCH_SETTLEMENT_EVM_VOUCHER_SIGNATURE));
    let proof = good.payment.payload["voucher"]["signature"].as_str().unwrap().to_owned();
    assert_eq!(hex::decode(&proof).unwrap().len(), 65);
    let row =
        tollway_core::ClaimRow { terms: config.to_terms(), signed: 600.into(), proof, total: 500.into() };
    let claimed = shop.settle(&shop.claim(&[row]).await).await;
    assert!(claimed.success, "{claimed:?}");
    assert_eq!(shop.settle(&shop.pay_out()).await.amount.as_deref(), Some("500"));
}

#[tokio::test]
async fn where_contract_wallets_are_not_served_their_vouchers_are_not_either() {
    let shop = Shop::open().await;
    let owner = LocalSigner::random().unwrap();
    let (_, deposit) = coded(&shop, &owner).await;
    let limits = Limits { contract_payers: false, ..patient() };
    let strict: Engine = shop.world.engine(&MemoryLedger::new()).limits(limits).start().await.unwrap();
    let verdict = strict.verify(deposit).await.unwrap();
    assert_eq!(verdict.invalid_reason, Some(Code::INVALID_BATCH_SETTLEMENT_EVM_VOUCHER_SIGNATURE));
}

#[tokio::test]
async fn where_contract_wallets_are_not_served_no_claim_runs_their_code() {
    let shop = Shop::open().await;
    let owner = LocalSigner::random().unwrap();
    let (config, deposit) = coded(&shop, &owner).await;
    let chain_id = shop.world.devnet.chain_id();
    // Another facilitator has put the money in, and the seller has served for it.
    assert!(shop.settle(&deposit).await.success);
    let voucher = Voucher { channel_id: config.id(chain_id), max_claimable: 100 };
    let voucher = voucher.sign(chain_id, &owner).await.unwrap();
    let (terms, proof) = (config.to_terms(), hex::encode_prefixed(&voucher.signature));
    let coded = tollway_core::ClaimRow { terms, signed: 100.into(), proof, total: 100.into() };
    let keyed = shop.row(&shop.paying(1_000).await, 100, 100).await;
    let limits = Limits { contract_payers: false, ..patient() };
    let strict: Engine = shop.world.engine(&MemoryLedger::new()).limits(limits).start().await.unwrap();
    let before = (shop.world.lane_nonce(0).await, shop.world.asked.payments());
    let refused = strict.settle(shop.claim(&[keyed.clone(), coded]).await).await.unwrap();
    let code = refused.error_reason.clone();
    assert_eq!(code, Some(Code::INVALID_BATCH_SETTLEMENT_EVM_VOUCHER_SIGNATURE), "{refused:?}");
    assert!(refused.error_message.is_some_and(|said| said.contains("payload.claims[1].signature")));
    assert_eq!((shop.world.lane_nonce(0).await, shop.world.asked.payments()), before);
    // What a key has signed is claimed without it.
    assert!(strict.settle(shop.claim(&[keyed]).await).await.unwrap().success);
}

//! Scheme `batch-settlement` on a devnet: money goes into channels, is claimed for many of them at once, paid out and given
//! back; each once, whatever is asked how often, and answered as published facilitators do.

use futures_util::future::join_all;
use serde_json::json;
use std::sync::Arc;
use tollway_core::{ChannelWitness, ErrorCode, Facilitator};
use tollway_devnet::Grant;
use tollway_evm::batch_settlement::{BatchSettlement, MAX_CLAIMS, SETTLEMENT};
use tollway_evm::{LocalSigner, Signer, U256, permit2};
use tollway_facilitator::{ChannelSetup, RefundsFor};
use tollway_ledger::{Ledger, SettlementQuery};

use crate::shop::{Shop, key_of, offer, refused, started, state};
use crate::world::World;

#[tokio::test]
async fn a_deposit_is_verified_put_in_once_and_told_with_its_channel() {
    let shop = Shop::open().await;
    let agent = shop.agent(10_000);
    let request = shop.deposit(&agent, 5_000, 100).await;
    let verdict = shop.verify(&request).await;
    assert!(verdict.is_valid, "{verdict:?}");
    assert_eq!((&verdict.extra["balance"], &verdict.extra["refundNonce"]), (&json!("0"), &json!("0")));
    assert_eq!(verdict.extra["channelId"], key_of(&agent).id());
    let answer = shop.settle(&request).await;
    assert!(answer.success, "{answer:?}");
    assert_eq!(answer.amount.as_deref(), Some("5000"));
    assert_eq!((state(&answer, "balance"), state(&answer, "totalClaimed")), (&json!("5000"), &json!("0")));
    let again = shop.settle(&request).await;
    assert_eq!(again, answer, "asked again, it is told again");
    assert_eq!((shop.held(&agent).await, shop.tokens_of(agent.key.address()).await), ((5_000, 0), 5_000));
    let more = shop.settle(&shop.deposit(&agent, 2_000, 6_000).await).await;
    assert_eq!(state(&more, "balance"), &json!("7000"), "topped up");
    assert!(shop.is_conserved(&[agent], 0).await);
}

#[tokio::test]
async fn a_voucher_is_verified_against_the_channel_as_it_stands() {
    let shop = Shop::open().await;
    let agent = shop.paying(1_000).await;
    let verdict = shop.verify(&shop.voucher(&agent, 1_000).await).await;
    assert!(verdict.is_valid, "{verdict:?}");
    assert_eq!(
        (&verdict.extra["balance"], &verdict.extra["withdrawRequestedAt"]),
        (&json!("1000"), &json!(0))
    );
    let beyond = shop.verify(&shop.voucher(&agent, 1_001).await).await;
    assert_eq!(
        beyond.invalid_reason,
        Some(ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_CUMULATIVE_EXCEEDS_BALANCE)
    );
    assert_eq!(beyond.extra["balance"], json!("1000"), "how the channel stands is told all the same");
    shop.withdraw(&agent, 400).await;
    let warned = shop.verify(&shop.voucher(&agent, 500).await).await;
    assert!(warned.is_valid && warned.extra["withdrawRequestedAt"].as_u64().unwrap() > 0, "{warned:?}");
    let claimed = shop.settle(&shop.claim(&[shop.row(&agent, 500, 300).await]).await).await;
    assert!(claimed.success, "{claimed:?}");
    let below = shop.verify(&shop.voucher(&agent, 300).await).await;
    assert_eq!(below.invalid_reason, Some(ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_CUMULATIVE_BELOW_CLAIMED));
    let wish = shop.verify(&shop.refund_wish(&agent, 300, None).await).await;
    assert!(wish.is_valid, "a refund buys nothing: its voucher may be what is claimed: {wish:?}");
    let stranger = shop.agent(1_000);
    let missing = shop.verify(&shop.voucher(&stranger, 100).await).await;
    assert_eq!(missing.invalid_reason, Some(ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_CHANNEL_NOT_FOUND));
}

#[tokio::test]
async fn what_is_claimed_of_many_channels_is_paid_out_in_one_transfer() {
    let shop = Shop::open().await;
    let agents = shop.many(5, 1_000).await;
    let rows = join_all(agents.iter().enumerate().map(|(at, agent)| {
        let at = u64::try_from(at).unwrap();
        shop.row(agent, 500, 100 + at)
    }));
    let claim = shop.claim(&rows.await).await;
    let before = shop.world.lane_nonce(0).await;
    let answer = shop.settle(&claim).await;
    assert!(answer.success, "{answer:?}");
    assert_eq!((answer.amount.as_deref(), &answer.payer), (Some(""), &None), "no money has moved");
    assert_eq!(shop.world.received().await, 0);
    assert_eq!(shop.settle(&claim).await, answer, "asked again, it is told again");
    let paid = shop.settle(&shop.pay_out()).await;
    assert!(paid.success, "{paid:?}");
    assert_eq!((paid.amount.as_deref(), shop.world.received().await), (Some("510"), 510));
    assert_eq!(shop.world.lane_nonce(0).await, before + 2, "one for the claim and one for the money");
    let nothing = shop.settle(&shop.pay_out()).await;
    assert_eq!(refused(&nothing), ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_NOTHING_TO_SETTLE);
    assert!(shop.is_conserved(&agents, 510).await);
}

#[tokio::test]
async fn as_many_channels_as_a_transaction_holds_are_claimed_in_one() {
    let setup = ChannelSetup { max_claims: MAX_CLAIMS, ..ChannelSetup::default() };
    let shop = Shop::on(World::open().await, setup, |seller| seller).await;
    let agents = shop.many(MAX_CLAIMS, 1_000).await;
    let deposits = shop.world.lane_nonce(0).await;
    assert!(deposits < 60, "deposits go together: {deposits} transactions");
    let rows = join_all(agents.iter().map(|agent| shop.row(agent, 700, 700))).await;
    let claim = shop.claim(&rows).await;
    let answer = shop.settle(&claim).await;
    assert!(answer.success, "{answer:?}");
    assert_eq!(shop.world.lane_nonce(0).await, deposits + 1);
    let receipt = shop.world.chain.receipt(answer.transaction.parse().unwrap()).await.unwrap().unwrap();
    let each = receipt.gas_used / u64::try_from(MAX_CLAIMS).unwrap();
    assert!(each < 40_000, "{each} gas for each channel");
    let keys: Vec<_> = agents.iter().map(key_of).collect();
    let backings = shop.engine.backings(&keys).await.unwrap();
    assert!(backings.iter().all(|backing| backing.claimed == 700.into()));
    let expected = 700 * u64::try_from(MAX_CLAIMS).unwrap();
    let paid = shop.settle(&shop.pay_out()).await;
    assert_eq!(paid.amount.as_deref(), Some(expected.to_string().as_str()));
    assert_eq!(shop.world.received().await, expected);
}

#[tokio::test]
async fn what_others_have_claimed_already_is_no_failure_and_costs_no_gas() {
    let shop = Shop::open().await;
    let agents = shop.many(2, 1_000).await;
    let rows = join_all(agents.iter().map(|agent| shop.row(agent, 500, 400))).await;
    let rival = shop.front_run(&shop.claim(&rows).await).await;
    let before = shop.world.lane_nonce(0).await;
    let answer = shop.settle(&shop.claim(&rows).await).await;
    assert!(answer.success, "{answer:?}");
    assert_eq!((answer.transaction, shop.world.lane_nonce(0).await), (rival.to_string(), before));
    // One of them is ahead: the other is claimed all the same.
    let more = [shop.row(&agents[0], 500, 450).await, shop.row(&agents[1], 500, 400).await];
    let answer = shop.settle(&shop.claim(&more).await).await;
    assert!(answer.success, "{answer:?}");
    assert_eq!((shop.held(&agents[0]).await.1, shop.held(&agents[1]).await.1), (450, 400));
}

#[tokio::test]
async fn a_refund_gives_back_what_is_asked_and_not_more_than_is_left() {
    let shop = Shop::open().await;
    let agent = shop.paying(1_000).await;
    let part = shop.refund(&agent, 300, 200).await;
    assert!(shop.verify(&part).await.is_valid);
    let answer = shop.settle(&part).await;
    assert!(answer.success, "{answer:?}");
    assert_eq!(
        (answer.amount.as_deref(), answer.payer.clone()),
        (Some("200"), Some(agent.key.address().to_string()))
    );
    let told = ["balance", "totalClaimed", "refundNonce"].map(|field| state(&answer, field).clone());
    assert_eq!(told, [json!("800"), json!("300"), json!("1")]);
    assert_eq!(shop.settle(&part).await, answer, "asked again, it is told again");
    assert_eq!(shop.tokens_of(agent.key.address()).await, 200);
    let rest = shop.settle(&shop.refund(&agent, 300, 100_000).await).await;
    assert_eq!((rest.amount.as_deref(), state(&rest, "balance")), (Some("500"), &json!("300")));
    let none = shop.settle(&shop.refund(&agent, 300, 1).await).await;
    assert_eq!(refused(&none), ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_REFUND_NO_BALANCE);
    let paid = shop.settle(&shop.pay_out()).await;
    assert_eq!((paid.amount.as_deref(), shop.tokens_of(agent.key.address()).await), (Some("300"), 700));
    // The channel is good for more.
    let again = shop.settle(&shop.deposit(&agent, 700, 400).await).await;
    assert_eq!((again.success, state(&again, "balance")), (true, &json!("1000")), "{again:?}");
    assert!(shop.is_conserved(&[agent], 300).await);
}

#[tokio::test]
async fn a_refund_takes_what_a_withdrawal_waits_for() {
    let shop = Shop::open().await;
    let agent = shop.paying(1_000).await;
    shop.withdraw(&agent, 600).await;
    assert!(shop.backing(&agent).await.withdraw_requested_at.is_some());
    let answer = shop.settle(&shop.refund(&agent, 100, 900).await).await;
    assert!(answer.success, "{answer:?}");
    assert_eq!((answer.amount.as_deref(), state(&answer, "withdrawRequestedAt")), (Some("900"), &json!(0)));
    assert_eq!(shop.held(&agent).await, (100, 100));
}

#[tokio::test]
async fn permit2_brings_deposits_too_with_an_approval_where_the_token_has_one() {
    let mut shop = Shop::open().await;
    shop.offer = offer(&shop.world, &shop.seller, "PUSD", 100);
    assert_eq!(shop.offer.extra_str("assetTransferMethod"), Some("permit2"));
    let agent = shop.agent_of(LocalSigner::random().unwrap(), &shop.offer);
    let token = agent.config.token;
    let rich = Grant { wei: U256::from(10u64.pow(18)), token_atomic: U256::from(5_000) };
    shop.world.devnet.grant(agent.key.address(), rich);
    let request = shop.deposit(&agent, 2_000, 100).await;
    let early = shop.verify(&request).await;
    assert_eq!(
        early.invalid_reason,
        Some(ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_PERMIT2_ALLOWANCE_REQUIRED)
    );
    let patience = std::time::Duration::from_secs(10);
    permit2::approve(&shop.world.chain, &agent.key, token, U256::from(1_000_000), patience).await.unwrap();
    assert!(shop.verify(&request).await.is_valid);
    let answer = shop.settle(&request).await;
    assert!(answer.success, "{answer:?}");
    assert_eq!((shop.settle(&request).await, shop.held(&agent).await), (answer, (2_000, 0)));
}

#[tokio::test]
async fn many_who_ask_for_the_same_get_it_once() {
    let shop = Shop::open().await;
    let agent = shop.agent(9_000);
    let deposit = shop.deposit(&agent, 1_000, 100).await;
    let answers = join_all((0..6).map(|_| shop.settle(&deposit))).await;
    assert!(answers.iter().all(|answer| answer.success && answer.transaction == answers[0].transaction));
    let claim = shop.claim(&[shop.row(&agent, 600, 600).await]).await;
    let answers = join_all((0..6).map(|_| shop.settle(&claim))).await;
    assert!(answers.iter().all(|answer| answer.success && answer.transaction == answers[0].transaction));
    let pay_out = shop.pay_out();
    let answers = join_all((0..6).map(|_| shop.settle(&pay_out))).await;
    assert!(
        answers.iter().all(|answer| answer.success && answer.amount.as_deref() == Some("600")),
        "{answers:?}"
    );
    let refund = shop.refund(&agent, 600, 400).await;
    let answers = join_all((0..6).map(|_| shop.settle(&refund))).await;
    assert!(
        answers.iter().all(|answer| answer.success && answer.amount.as_deref() == Some("400")),
        "{answers:?}"
    );
    assert_eq!(shop.world.lane_nonce(0).await, 4, "a transaction each");
    assert_eq!((shop.world.received().await, shop.tokens_of(agent.key.address()).await), (600, 8_400));
    assert_eq!(shop.tokens_of(SETTLEMENT).await, 0);
}

#[tokio::test]
async fn two_refunds_under_one_number_are_one_refund() {
    let shop = Shop::open().await;
    let agent = shop.paying(1_000).await;
    let (one, other) = (shop.refund(&agent, 100, 300).await, shop.refund(&agent, 100, 500).await);
    let (one, other) = tokio::join!(shop.settle(&one), shop.settle(&other));
    assert_eq!([&one, &other].iter().filter(|answer| answer.success).count(), 1, "{one:?} {other:?}");
    assert!([300, 500].contains(&shop.tokens_of(agent.key.address()).await));
}

#[tokio::test]
async fn the_facilitator_consents_to_claims_for_sellers_and_to_refunds_for_its_own_alone() {
    let world = World::open().await;
    let key = LocalSigner::random().unwrap();
    let own = RefundsFor { receiver: world.payee, caller: Some("shop".to_owned()) };
    let setup = ChannelSetup {
        authorizer: Some(Arc::new(key.clone())),
        refunds_for: vec![own],
        ..ChannelSetup::default()
    };
    let mut shop = Shop::on(world, setup, |seller| seller).await;
    let told = shop.engine.supported().await.unwrap();
    let kind = told.kinds.iter().find(|kind| kind.scheme.as_str() == "batch-settlement").unwrap();
    assert_eq!(kind.extra["receiverAuthorizer"], key.address().to_string());
    shop.seller = BatchSettlement::new(shop.world.assets()).with_receiver_authorizer(key.address());
    shop.offer = offer(&shop.world, &shop.seller, "USDC", 100);
    let agent = shop.paying(1_000).await;
    let claim = shop.claim(&[shop.row(&agent, 400, 250).await]).await;
    assert!(!claim.payment.payload.contains_key("claimAuthorizerSignature"));
    let claimed = shop.settle(&claim).await;
    assert!(claimed.success && shop.settle(&claim).await == claimed, "{claimed:?}");
    let refund = shop.refund(&agent, 250, 100).await;
    assert!(!refund.payment.payload.contains_key("refundAuthorizerSignature"));
    for stranger in [None, Some("another")] {
        let denied = shop.engine.settle_for(stranger, refund.clone()).await.unwrap();
        assert_eq!(refused(&denied), ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_AUTHORIZER_NOT_CONFIGURED);
    }
    let given = shop.engine.settle_for(Some("shop"), refund.clone()).await.unwrap();
    assert_eq!((given.success, given.amount.as_deref()), (true, Some("100")), "{given:?}");
    assert_eq!(shop.held(&agent).await, (900, 250));
}

#[tokio::test]
async fn what_is_not_signed_for_is_refused_where_the_facilitator_has_no_key_or_another() {
    for authorizer in [None, Some(LocalSigner::random().unwrap())] {
        let has_key = authorizer.is_some();
        let authorizer = authorizer.map(|key| Arc::new(key) as Arc<dyn Signer>);
        let setup = ChannelSetup { authorizer, ..ChannelSetup::default() };
        let shop = Shop::on(World::open().await, setup, |seller| seller).await;
        let agent = shop.paying(1_000).await;
        let mut claim = shop.claim(&[shop.row(&agent, 400, 250).await]).await;
        claim.payment.payload.shift_remove("claimAuthorizerSignature");
        let code = match has_key {
            true => ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_AUTHORIZER_ADDRESS_MISMATCH,
            false => ErrorCode::INVALID_BATCH_SETTLEMENT_EVM_AUTHORIZER_NOT_CONFIGURED,
        };
        assert_eq!(refused(&shop.settle(&claim).await), code);
    }
}

#[tokio::test]
async fn what_was_done_is_known_to_whoever_has_the_ledger() {
    let shop = Shop::open().await;
    let agent = shop.agent(1_000);
    let deposit = shop.deposit(&agent, 1_000, 100).await;
    let put_in = shop.settle(&deposit).await;
    let claim = shop.claim(&[shop.row(&agent, 400, 250).await]).await;
    let claimed = shop.settle(&claim).await;
    let refund = shop.refund(&agent, 250, 100).await;
    let given = shop.settle(&refund).await;
    assert!(put_in.success && claimed.success && given.success);
    let Shop { world, ledger, engine, .. } = shop;
    drop(engine);
    let next = started(&world, &ledger, ChannelSetup::default()).await;
    for (request, before) in [(claim, &claimed), (refund, &given)] {
        assert_eq!(&next.settle(request).await.unwrap(), before);
    }
    let told = next.settle(deposit).await.unwrap();
    assert_eq!((told.transaction, told.amount), (put_in.transaction, put_in.amount));
    assert_eq!(state_of(&told.extra), "900", "as the channel stands now");
    let query = SettlementQuery { limit: 10, ..SettlementQuery::default() };
    assert_eq!(ledger.settlement_list(query).await.unwrap().len(), 3);
}

fn state_of(extra: &tollway_core::JsonObject) -> &str {
    extra["channelState"]["balance"].as_str().unwrap()
}

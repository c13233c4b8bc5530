//! Error codes of channels that take more than a wrong field: approvals of Permit2 beside a deposit, and what goes wrong only
//! when it is simulated or in its block. A row a code, and beside it what is accepted.

use alloy_sol_types::SolValue;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tollway_core::model::FacilitatorRequest;
use tollway_core::{ErrorCode, Facilitator};
use tollway_devnet::genesis;
use tollway_evm::batch_settlement::{ChannelConfig, ERC3009_COLLECTOR, SETTLEMENT};
use tollway_evm::permit2::{ERC20_APPROVAL_GAS_SPONSORING, PERMIT2, approve_call};
use tollway_evm::{Address, Bytes, LocalSigner, Signer, Transaction, U256};
use tollway_facilitator::Sponsoring;
use tollway_ledger::MemoryLedger;

use crate::gate::Gate;
use crate::shop::{Agent, Shop, offer, patient, refused, strangers_signature, with};

type Code = ErrorCode;

const DEPOSIT: u64 = 500;

/// An agent with some of the dollar that knows no signature, and its deposit.
async fn plain(shop: &mut Shop) -> (Agent, FacilitatorRequest) {
    shop.offer = offer(&shop.world, &shop.seller, "PLAIN", 100);
    let key = shop.world.payer_with(DEPOSIT);
    let wei = U256::from(10u64.pow(18));
    let grant = tollway_devnet::Grant { wei, token_atomic: U256::from(DEPOSIT) };
    shop.world.devnet.grant(key.address(), grant);
    let agent = shop.agent_of(key, &shop.offer);
    let request = shop.deposit(&agent, DEPOSIT, 100).await;
    (agent, request)
}

fn approval(shop: &Shop, spender: Address) -> Transaction {
    let call = approve_call(genesis::PLAIN_USD, U256::from(DEPOSIT));
    let mut data = call.data.to_vec();
    data[16..36].copy_from_slice(spender.as_slice());
    Transaction {
        chain_id: shop.world.devnet.chain_id(),
        nonce: 0,
        to: call.to,
        value: U256::ZERO,
        data: data.into(),
        gas_limit: 100_000,
        max_fee_per_gas: 3_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
    }
}

async fn signed(transaction: Transaction, key: &LocalSigner) -> Value {
    json!(transaction.sign(key).await.unwrap().raw)
}

fn beside(request: &FacilitatorRequest, info: Value) -> FacilitatorRequest {
    let mut request = request.clone();
    request.payment.extensions.insert(ERC20_APPROVAL_GAS_SPONSORING.to_owned(), json!({ "info": info }));
    request
}

#[tokio::test]
async fn an_approval_by_transaction_beside_a_deposit_is_held_to_the_deposit() {
    let mut shop = Shop::open().await;
    let (agent, request) = plain(&mut shop).await;
    let given =
        Sponsoring { max_cost: U256::from(10u64.pow(15)), payer_approvals_a_day: 1, approvals_a_day: 1 };
    let builder = shop.world.engine(&MemoryLedger::new()).limits(patient());
    let engine = builder.sponsoring(shop.world.network.clone(), given).start().await.unwrap();
    let other = Address::repeat_byte(9);
    let info = json!({
        "from": agent.key.address(), "asset": genesis::PLAIN_USD, "spender": PERMIT2,
        "amount": DEPOSIT.to_string(), "version": "1",
        "signedTransaction": signed(approval(&shop, PERMIT2), &agent.key).await,
    });
    let stranger = LocalSigner::random().unwrap();
    let rows = [
        ("from", json!(other), Code::INVALID_BATCH_SETTLEMENT_EVM_ERC20_APPROVAL_FROM_MISMATCH),
        (
            "signedTransaction",
            signed(approval(&shop, PERMIT2), &stranger).await,
            Code::INVALID_BATCH_SETTLEMENT_EVM_ERC20_APPROVAL_FROM_MISMATCH,
        ),
        ("asset", json!(other), Code::INVALID_BATCH_SETTLEMENT_EVM_ERC20_APPROVAL_ASSET_MISMATCH),
        (
            "signedTransaction",
            signed(Transaction { to: other, ..approval(&shop, PERMIT2) }, &agent.key).await,
            Code::INVALID_BATCH_SETTLEMENT_EVM_ERC20_APPROVAL_ASSET_MISMATCH,
        ),
        ("spender", json!(other), Code::INVALID_BATCH_SETTLEMENT_EVM_ERC20_APPROVAL_WRONG_SPENDER),
        (
            "signedTransaction",
            signed(approval(&shop, other), &agent.key).await,
            Code::INVALID_BATCH_SETTLEMENT_EVM_ERC20_APPROVAL_WRONG_SPENDER,
        ),
        ("amount", json!("many"), Code::INVALID_BATCH_SETTLEMENT_EVM_ERC20_APPROVAL_INVALID_FORMAT),
        ("amount", json!("499"), Code::INVALID_BATCH_SETTLEMENT_EVM_ERC20_APPROVAL_INVALID_FORMAT),
        (
            "signedTransaction",
            json!(strangers_signature().await),
            Code::INVALID_BATCH_SETTLEMENT_EVM_ERC20_APPROVAL_INVALID_FORMAT,
        ),
    ];
    for (field, value, code) in rows {
        let mut info = info.clone();
        info[field] = value;
        let request = beside(&request, info);
        let verdict = engine.verify(request.clone()).await.unwrap();
        assert_eq!(verdict.invalid_reason, Some(code.clone()), "{field}: {verdict:?}");
        assert_eq!(refused(&engine.settle(request).await.unwrap()), code, "{field}");
    }
    // Without it, and where nobody sends it, the payer has to approve by itself.
    let code = Code::INVALID_BATCH_SETTLEMENT_EVM_PERMIT2_ALLOWANCE_REQUIRED;
    assert_eq!(refused(&engine.settle(request.clone()).await.unwrap()), code);
    let honest = beside(&request, info);
    let unavailable = Code::INVALID_BATCH_SETTLEMENT_EVM_ERC20_APPROVAL_UNAVAILABLE;
    assert_eq!(refused(&shop.settle(&honest).await), unavailable, "here nothing is sponsored");
    assert_eq!((shop.world.lane_nonce(0).await, shop.held(&agent).await), (0, (0, 0)), "nothing was sent");
    let settled = engine.settle(honest).await.unwrap();
    assert!(settled.success, "{settled:?}");
    assert_eq!(shop.held(&agent).await, (DEPOSIT, 0));
}

/// Sets how much of the dollar an account has.
async fn set_balance(shop: &Shop, of: Address, atomic: u64) {
    let params = json!([genesis::USDC, genesis::balance_slot(of), format!("0x{atomic:064x}")]);
    shop.world.chain.raw("anvil_setStorageAt", params).await.unwrap();
}

#[tokio::test]
async fn what_the_token_will_not_pay_out_is_not_sent() {
    let shop = Shop::open().await;
    let agent = shop.paying(1_000).await;
    assert!(shop.settle(&shop.claim(&[shop.row(&agent, 400, 400).await]).await).await.success);
    let sent = shop.world.lane_nonce(0).await;
    set_balance(&shop, SETTLEMENT, 0).await;
    let answer = shop.settle(&shop.pay_out()).await;
    assert_eq!(refused(&answer), Code::INVALID_BATCH_SETTLEMENT_EVM_SETTLE_SIMULATION_FAILED);
    assert_eq!(shop.world.lane_nonce(0).await, sent);
    set_balance(&shop, SETTLEMENT, 1_000).await;
    assert!(shop.settle(&shop.pay_out()).await.success);
}

#[tokio::test]
async fn what_fails_in_its_block_is_told_by_what_was_asked_for() {
    let shop = Shop::open().await;
    shop.engine.shutdown(std::time::Duration::from_secs(1)).await;
    let memory = MemoryLedger::new();
    let gated = Gate::ledger(&memory);
    let engine = shop.world.engine(&gated).limits(patient()).start().await.unwrap();
    let settle = |request: FacilitatorRequest| {
        let engine = engine.clone();
        async move { engine.settle(request).await.unwrap() }
    };
    let agents: Vec<Agent> = (0..3).map(|_| shop.agent(1_000)).collect();
    let deposits = join_all(agents.iter().map(|agent| shop.deposit(agent, 1_000, 100))).await;
    for deposit in &deposits[1..] {
        assert!(settle(deposit.clone()).await.success);
    }
    let payer = agents[0].key.address();
    let claim = shop.claim(&[shop.row(&agents[1], 400, 400).await]).await;
    let claimed = shop.claim(&[shop.row(&agents[2], 100, 100).await]).await;
    assert!(settle(claimed).await.success);
    let refund = shop.refund(&agents[2], 100, 200).await;
    let emptied = shop.refund(&agents[1], 0, 1_000).await;
    // The first there is, which is what the facilitator would write into it.
    let mut pay_out = shop.pay_out();
    pay_out.payment.payload.insert("totalSettled".to_owned(), json!("0"));
    let rows = [
        (deposits[0].clone(), Code::INVALID_BATCH_SETTLEMENT_EVM_DEPOSIT_TRANSACTION_FAILED),
        (claim, Code::INVALID_BATCH_SETTLEMENT_EVM_CLAIM_TRANSACTION_FAILED),
        (refund, Code::INVALID_BATCH_SETTLEMENT_EVM_REFUND_TRANSACTION_FAILED),
        (pay_out, Code::INVALID_BATCH_SETTLEMENT_EVM_SETTLE_TRANSACTION_FAILED),
    ];
    for (at, (request, code)) in rows.into_iter().enumerate() {
        let (nonce, held) = (shop.world.lane_nonce(0).await, shop.tokens_of(SETTLEMENT).await);
        // It is good when it is simulated and signed, and what it needs is gone before it is in a block.
        gated.interposer().shut_after("settlement_sent");
        let asked = tokio::spawn(settle(request.clone()));
        crate::channel_faults::until_sent(&memory, &request).await;
        match at {
            0 => set_balance(&shop, payer, 0).await,
            1 => {
                shop.front_run(&emptied).await;
            }
            _ => set_balance(&shop, SETTLEMENT, 0).await,
        }
        gated.interposer().open();
        let answer = asked.await.unwrap();
        assert_eq!(refused(&answer), code, "{answer:?}");
        assert_eq!(shop.world.lane_nonce(0).await, nonce + 1, "it was sent: {code:?}");
        if at > 1 {
            set_balance(&shop, SETTLEMENT, held).await;
        }
    }
    // What it needs is there again: the same is asked for anew, and done.
    set_balance(&shop, payer, 1_000).await;
    assert!(settle(deposits[0].clone()).await.success);
}

#[tokio::test]
async fn a_channel_whose_delay_no_contract_takes_is_no_channel() {
    let shop = Shop::open().await;
    let agent = shop.agent(1_000);
    for seconds in [899, 2_592_001] {
        let mut request = shop.deposit(&agent, 500, 100).await;
        let extra = &mut request.requirements.extra;
        extra.insert("withdrawDelay".to_owned(), json!(seconds));
        let accepted = Box::new(request.requirements.clone());
        request.payment.accepted = tollway_core::model::Accepted::Offer(accepted);
        let config = ChannelConfig { withdraw_delay_seconds: seconds, ..agent.config };
        request.payment.payload["channelConfig"]["withdrawDelay"] = json!(seconds);
        let id = config.id(shop.world.devnet.chain_id());
        request.payment.payload["voucher"]["channelId"] = json!(id);
        let verdict = shop.verify(&request).await;
        let code = Code::INVALID_BATCH_SETTLEMENT_EVM_WITHDRAW_DELAY_OUT_OF_RANGE;
        assert_eq!(verdict.invalid_reason, Some(code.clone()), "{verdict:?}");
        assert_eq!(refused(&shop.settle(&request).await), code);
    }
    assert!(shop.settle(&shop.deposit(&agent, 500, 100).await).await.success);
}

#[tokio::test]
async fn a_deposit_that_does_not_arrive_whole_is_not_sent() {
    let shop = Shop::open().await;
    let agent = shop.agent(1_000);
    let deposit = shop.deposit(&agent, 500, 100).await;
    let collector = ERC3009_COLLECTOR;
    let code = shop.world.chain.raw("eth_getCode", json!([collector, "latest"])).await.unwrap();
    // A collector that takes nothing.
    shop.world.chain.raw("anvil_setCode", json!([collector, "0x00"])).await.unwrap();
    let expected = Code::INVALID_BATCH_SETTLEMENT_EVM_DEPOSIT_SIMULATION_FAILED;
    let verdict = shop.verify(&deposit).await;
    assert_eq!(verdict.invalid_reason, Some(expected.clone()), "{verdict:?}");
    assert_eq!(refused(&shop.settle(&deposit).await), expected);
    shop.world.chain.raw("anvil_setCode", json!([collector, code])).await.unwrap();
    assert!(shop.settle(&deposit).await.success);
}

#[tokio::test]
async fn a_wallet_that_is_deployed_by_nobody_known_is_not_deployed_for_a_channel() {
    let shop = Shop::open().await;
    let agent = shop.agent(1_000);
    let deposit = shop.deposit(&agent, 500, 100).await;
    let payload = Value::Object(deposit.payment.payload.clone());
    let signature = "/deposit/authorization/erc3009Authorization/signature";
    let by_key: Bytes = serde_json::from_value(payload.pointer(signature).unwrap().clone()).unwrap();
    // As ERC-6492 has it: whom to call, with what, the signature, and a mark.
    let mut by_code = (Address::repeat_byte(9), Bytes::from(vec![1]), by_key).abi_encode_params();
    by_code.extend([0x64, 0x92].repeat(16));
    let request = with(&deposit, signature, json!(Bytes::from(by_code)));
    let code = Code::INVALID_BATCH_SETTLEMENT_EVM_EIP6492_FACTORY_NOT_ALLOWED;
    let asked = shop.world.asked.payments();
    let verdict = shop.verify(&request).await;
    assert_eq!(verdict.invalid_reason, Some(code.clone()), "{verdict:?}");
    assert_eq!(refused(&shop.settle(&request).await), code);
    assert_eq!(shop.world.asked.payments(), asked, "no node is asked");
    assert!(shop.settle(&deposit).await.success);
}

//! Payers who sign their approval of Permit2 as a transaction (extension `erc20ApprovalGasSponsoring`): it is sent for them,
//! and paid for within what the operator gives.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Bytes, keccak256};
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tollway_core::model::{FacilitatorRequest, SettleResponse, VerifyResponse};
use tollway_core::{Clock, Facilitator, ManualClock, SchemeName, SystemClock};
use tollway_devnet::{Fault, Grant, Mining, genesis};
use tollway_evm::permit2::{ERC20_APPROVAL_GAS_SPONSORING, PERMIT2, approve_call};
use tollway_evm::{LocalSigner, Payment, Signer, Transaction, U256};
use tollway_facilitator::{Engine, EngineBuilder, Limits, Sponsoring};
use tollway_ledger::{Ledger, MemoryLedger, Settlement, SettlementId, SettlementState};

use crate::gate::{Gate, GatedLedger};
use crate::permit2::{code, pay, received, send};
use crate::world::{World, account, is_settled, quick};

const GAS: u64 = 100_000;
const FEE: u128 = 3_000_000_000;
/// What the approvals here cost at most.
const COST: u128 = GAS as u128 * FEE;
/// A payee who spends what payers are given.
const STRANGER: usize = 6;

fn sponsoring(payer_approvals_a_day: u32, approvals_a_day: u32) -> Sponsoring {
    Sponsoring { max_cost: U256::from(COST), payer_approvals_a_day, approvals_a_day }
}

fn patient() -> Limits {
    Limits { settle_deadline: Duration::from_secs(20), ..quick() }
}

fn builder(world: &World, ledger: &(impl Ledger + Clone + 'static), given: Sponsoring) -> EngineBuilder {
    world.engine(ledger).limits(patient()).sponsoring(world.network.clone(), given)
}

async fn engine(world: &World, given: Sponsoring) -> Engine {
    builder(world, &MemoryLedger::new(), given).start().await.unwrap()
}

/// Who has some of the dollar that knows no signature, and so much for gas.
fn payer(world: &World, wei: u128) -> LocalSigner {
    let payer = LocalSigner::random().unwrap();
    let grant = Grant { wei: U256::from(wei), token_atomic: U256::from(1_000) };
    world.devnet.grant(payer.address(), grant);
    payer
}

fn approval(world: &World, nonce: u64, amount: u64) -> Transaction {
    let call = approve_call(genesis::PLAIN_USD, U256::from(amount));
    Transaction {
        chain_id: world.devnet.chain_id(),
        nonce,
        to: call.to,
        value: U256::ZERO,
        data: call.data,
        gas_limit: GAS,
        max_fee_per_gas: FEE,
        max_priority_fee_per_gas: 1_000_000_000,
    }
}

/// Puts the signed approval beside the payment.
async fn attach(request: &mut FacilitatorRequest, payer: &LocalSigner, approval: Transaction, amount: u64) {
    let raw = approval.sign(payer).await.unwrap().raw;
    let info = json!({
        "from": payer.address(), "asset": genesis::PLAIN_USD, "spender": PERMIT2, "amount": amount.to_string(),
        "signedTransaction": raw, "version": "1",
    });
    let name = ERC20_APPROVAL_GAS_SPONSORING.to_owned();
    request.payment.extensions.insert(name, json!({ "info": info }));
}

/// A payment of 10 with the approval for it.
async fn sponsored(world: &World, payer: &LocalSigner) -> FacilitatorRequest {
    let mut request = pay(world, payer, SchemeName::EXACT, 10).await;
    let nonce = world.chain.nonce(payer.address()).await.unwrap();
    attach(&mut request, payer, approval(world, nonce, 10), 10).await;
    request
}

fn refusal(verdict: &VerifyResponse) -> (&str, &str) {
    let reason = verdict.invalid_reason.as_ref().map_or("", |reason| reason.as_str());
    (reason, verdict.invalid_message.as_deref().unwrap_or_default())
}

async fn balance(world: &World, of: &LocalSigner) -> u128 {
    world.chain.balance(of.address()).await.unwrap().to()
}

/// What left the account but for what the gas of a lane's transactions cost.
async fn nonce(world: &World, of: &LocalSigner) -> u64 {
    world.chain.nonce(of.address()).await.unwrap()
}

async fn find(ledger: &impl Ledger, request: &FacilitatorRequest) -> Option<Settlement> {
    let id = SettlementId::of(&Payment::check(request, None).unwrap().key());
    ledger.settlement_find(id).await.unwrap()
}

async fn until(ledger: &impl Ledger, request: &FacilitatorRequest, is_so: fn(&SettlementState) -> bool) {
    let wait = async {
        while !find(ledger, request).await.is_some_and(|found| is_so(&found.state)) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(15), wait).await.expect("it comes to that");
}

#[tokio::test]
async fn nothing_is_told_taken_or_given_unless_the_operator_says_so() {
    let world = World::open().await;
    let off = world.engine(&MemoryLedger::new()).limits(patient()).start().await.unwrap();
    let name = ERC20_APPROVAL_GAS_SPONSORING.to_owned();
    assert!(!off.supported().await.unwrap().extensions.contains(&name));
    let poor = payer(&world, 0);
    let request = sponsored(&world, &poor).await;
    assert_eq!(refusal(&off.verify(request.clone()).await.unwrap()).0, "permit2_allowance_required");
    assert_eq!(code(&off.settle(request).await.unwrap()), "permit2_allowance_required");
    assert_eq!((world.lane_nonce(0).await, nonce(&world, &poor).await), (0, 0));
    drop(off);
    let on = engine(&world, sponsoring(1, 1)).await;
    assert!(on.supported().await.unwrap().extensions.contains(&name));
}

#[tokio::test]
async fn who_has_nothing_for_gas_is_given_what_is_missing_and_pays() {
    let world = World::open().await;
    let engine = engine(&world, sponsoring(1, 10)).await;
    for (has, scheme) in [(0, SchemeName::EXACT), (COST / 3, SchemeName::EXACT), (0, SchemeName::UPTO)] {
        let payer = payer(&world, has);
        let (before, lane, paid) = (received(&world).await, world.lane_nonce(0).await, 10);
        let mut request = pay(&world, &payer, scheme, paid).await;
        attach(&mut request, &payer, approval(&world, 0, paid), paid).await;
        let verdict = engine.verify(request.clone()).await.unwrap();
        assert!(verdict.is_valid, "{verdict:?}");
        assert_eq!((world.lane_nonce(0).await, nonce(&world, &payer).await), (lane, 0), "only looked at");
        let settled = engine.settle(request.clone()).await.unwrap();
        assert!(settled.success, "{settled:?}");
        assert_eq!(received(&world).await - before, paid);
        assert_eq!((world.lane_nonce(0).await - lane, nonce(&world, &payer).await), (2, 1));
        assert!(balance(&world, &payer).await < COST, "no more than its gas at the highest price");
        assert_eq!(engine.settle(request).await.unwrap(), settled, "told again the same");
        assert_eq!(world.lane_nonce(0).await - lane, 2);
    }
}

#[tokio::test]
async fn who_can_pay_or_has_approved_is_given_nothing() {
    let world = World::open().await;
    let engine = engine(&world, sponsoring(1, 10)).await;
    let rich = payer(&world, COST);
    let settled = engine.settle(sponsored(&world, &rich).await).await.unwrap();
    assert!(settled.success, "{settled:?}");
    assert_eq!(
        (world.lane_nonce(0).await, nonce(&world, &rich).await),
        (1, 1),
        "sent, and paid by the payer"
    );
    let call = approve_call(genesis::PLAIN_USD, U256::from(10));
    let approved = payer(&world, 10u128.pow(18));
    send(&world, &approved, call.to, call.data).await;
    let before = balance(&world, &approved).await;
    let request = sponsored(&world, &approved).await;
    assert!(engine.verify(request.clone()).await.unwrap().is_valid);
    assert!(engine.settle(request).await.unwrap().success);
    assert_eq!((nonce(&world, &approved).await, balance(&world, &approved).await), (1, before), "not sent");
    assert_eq!(world.lane_nonce(0).await, 2);
}

#[tokio::test]
async fn the_same_approval_many_times_at_once_is_paid_for_once() {
    let world = World::open().await;
    let engine = engine(&world, sponsoring(10, 100)).await;
    let payer = payer(&world, 0);
    let mut requests = Vec::new();
    for _ in 0..12 {
        requests.push(sponsored(&world, &payer).await);
    }
    // Every payment is asked for twice, and all have one approval, which covers one of them.
    let asked = requests.iter().chain(&requests).map(|request| engine.settle(request.clone()));
    let answers: Vec<_> = join_all(asked).await;
    let paid = |answers: &[Result<SettleResponse, _>]| {
        answers.iter().filter(|answer| answer.as_ref().is_ok_and(|answer| answer.success)).count()
    };
    assert_eq!(paid(&answers[..12]), 1, "{answers:?}");
    assert_eq!(received(&world).await, 10);
    assert_eq!(nonce(&world, &payer).await, 1);
    assert_eq!(world.lane_nonce(0).await, 2, "one gift, one settlement");
    assert!(balance(&world, &payer).await < COST);
}

#[tokio::test]
async fn a_payer_is_paid_for_so_often_a_day_and_all_together_so_often() {
    let world = World::open().await;
    let engine = engine(&world, sponsoring(1, 3)).await;
    let first = payer(&world, 0);
    assert!(engine.settle(sponsored(&world, &first).await).await.unwrap().success);
    // What is left of it is not enough for another.
    let again = sponsored(&world, &first).await;
    let told = engine.verify(again.clone()).await.unwrap();
    assert_eq!(refusal(&told).0, "permit2_allowance_required");
    assert!(refusal(&told).1.contains("of your own"), "{told:?}");
    assert_eq!(code(&engine.settle(again).await.unwrap()), "permit2_allowance_required");
    let mut served = 1;
    for _ in 0..6 {
        let request = sponsored(&world, &payer(&world, 0)).await;
        served += u32::from(engine.settle(request).await.unwrap().success);
    }
    assert_eq!((served, world.lane_nonce(0).await), (3, 6), "whoever asks");
    let rich = payer(&world, COST);
    let settled = engine.settle(sponsored(&world, &rich).await).await.unwrap();
    assert!(settled.success, "who needs no money is served: {settled:?}");
}

#[tokio::test]
async fn an_approval_beyond_the_operators_limits_is_refused_before_the_node_is_asked() {
    let world = World::open().await;
    let limits = Limits { max_fee_per_gas: 50_000_000_000, ..patient() };
    let engine = builder(&world, &MemoryLedger::new(), sponsoring(1, 1)).limits(limits);
    let engine = engine.start().await.unwrap();
    while engine.lanes()[0].balance_wei.is_none() {
        tokio::task::yield_now().await;
    }
    let payer = payer(&world, 10u128.pow(18));
    let plain = approval(&world, 0, 10);
    let cases = [
        (Transaction { gas_limit: GAS + 1, ..plain.clone() }, "erc20_approval_tx_failed", ".gas"),
        (Transaction { max_fee_per_gas: FEE + 1, ..plain.clone() }, "erc20_approval_tx_failed", ".gas"),
        (
            Transaction { max_fee_per_gas: 50_000_000_001, gas_limit: 30_000, ..plain.clone() },
            "erc20_approval_tx_failed",
            ".maxFeePerGas",
        ),
        (Transaction { value: U256::from(1), ..plain.clone() }, "erc20_approval_tx_failed", ".value"),
        (Transaction { chain_id: 1, ..plain.clone() }, "erc20_approval_tx_failed", ".chainId"),
        (Transaction { to: PERMIT2, ..plain.clone() }, "erc20_approval_tx_wrong_target", ".to"),
        (Transaction { data: vec![0; 68].into(), ..plain }, "erc20_approval_tx_wrong_selector", ".data"),
    ];
    for (transaction, reason, field) in cases {
        let mut request = pay(&world, &payer, SchemeName::EXACT, 10).await;
        attach(&mut request, &payer, transaction, 10).await;
        let before = world.asked.all();
        let verdict = engine.verify(request.clone()).await.unwrap();
        let (told, message) = refusal(&verdict);
        assert!(told == reason && message.contains(&format!("signedTransaction{field}")), "{verdict:?}");
        assert_eq!(code(&engine.settle(request).await.unwrap()), reason);
        assert_eq!(world.asked.all(), before, "{field}");
    }
    assert_eq!((nonce(&world, &payer).await, world.lane_nonce(0).await), (0, 0));
}

#[tokio::test]
async fn what_could_not_be_included_now_or_would_not_pay_is_given_nothing() {
    let world = World::open().await;
    let engine = engine(&world, sponsoring(5, 5)).await;
    let poor = payer(&world, 0);
    let plain = approval(&world, 0, 10);
    let cases = [
        (Transaction { nonce: 1, ..plain.clone() }, ".nonce"),
        (Transaction { max_fee_per_gas: 1, max_priority_fee_per_gas: 1, ..plain.clone() }, ".maxFeePerGas"),
        // The token's own code needs more.
        (Transaction { gas_limit: 30_000, ..plain }, "signedTransaction"),
    ];
    for (transaction, field) in cases {
        let mut request = pay(&world, &poor, SchemeName::EXACT, 10).await;
        attach(&mut request, &poor, transaction, 10).await;
        let verdict = engine.verify(request.clone()).await.unwrap();
        let (told, message) = refusal(&verdict);
        assert!(told == "erc20_approval_tx_failed" && message.contains(field), "{verdict:?}");
        assert_eq!(code(&engine.settle(request).await.unwrap()), "erc20_approval_tx_failed");
    }
    // Nothing to pay with.
    let mut request = pay(&world, &poor, SchemeName::EXACT, 1_001).await;
    attach(&mut request, &poor, approval(&world, 0, 1_001), 1_001).await;
    assert_eq!(code(&engine.settle(request).await.unwrap()), "permit2_insufficient_balance");
    // A key with code (EIP-7702) could take the money without a transaction of its own.
    let request = sponsored(&world, &poor).await;
    let code_of = json!([poor.address(), "0xef01000000000000000000000000000000000000000001"]);
    world.chain.raw("anvil_setCode", code_of).await.unwrap();
    let verdict = engine.verify(request).await.unwrap();
    assert_eq!(refusal(&verdict).0, "erc20_approval_from_mismatch", "{verdict:?}");
    assert_eq!((world.lane_nonce(0).await, balance(&world, &poor).await), (0, 0));
}

/// Makes the node one that knows no simulation of blocks, as many do not.
fn forget_simulation(world: &World) {
    let (method, message) = (Some("eth_simulateV1".to_owned()), "the method does not exist".to_owned());
    world.fault(Fault::Error { method, count: u64::MAX, code: -32_601, message, http_status: None });
}

#[tokio::test]
async fn a_node_that_cannot_simulate_is_asked_by_calls_and_the_payment_settles() {
    let world = World::open().await;
    forget_simulation(&world);
    let engine = engine(&world, sponsoring(1, 10)).await;
    for scheme in [SchemeName::EXACT, SchemeName::UPTO] {
        let (payer, before) = (payer(&world, 0), received(&world).await);
        let mut request = pay(&world, &payer, scheme, 10).await;
        attach(&mut request, &payer, approval(&world, 0, 10), 10).await;
        let (tried, called) = (world.asked.of("eth_simulateV1"), world.asked.of("eth_call"));
        let verdict = engine.verify(request.clone()).await.unwrap();
        assert!(verdict.is_valid, "{verdict:?}");
        assert!(world.asked.of("eth_simulateV1") > tried && world.asked.of("eth_call") > called);
        let settled = engine.settle(request).await.unwrap();
        assert!(settled.success, "{settled:?}");
        assert_eq!((received(&world).await - before, nonce(&world, &payer).await), (10, 1));
    }
    assert_eq!(world.lane_nonce(0).await, 4, "two gifts, two settlements");
}

#[tokio::test]
async fn what_a_node_that_cannot_simulate_sees_all_the_same_is_given_nothing() {
    let world = World::open().await;
    forget_simulation(&world);
    let engine = engine(&world, sponsoring(5, 5)).await;
    let poor = payer(&world, 0);
    // More than it has; and used before.
    let mut request = pay(&world, &poor, SchemeName::EXACT, 1_001).await;
    attach(&mut request, &poor, approval(&world, 0, 1_001), 1_001).await;
    assert_eq!(refusal(&engine.verify(request.clone()).await.unwrap()).0, "permit2_insufficient_balance");
    assert_eq!(code(&engine.settle(request).await.unwrap()), "permit2_insufficient_balance");
    // The token's own code needs more gas.
    let mut request = pay(&world, &poor, SchemeName::EXACT, 10).await;
    attach(&mut request, &poor, Transaction { gas_limit: 30_000, ..approval(&world, 0, 10) }, 10).await;
    assert_eq!(refusal(&engine.verify(request.clone()).await.unwrap()).0, "erc20_approval_tx_failed");
    assert_eq!(code(&engine.settle(request).await.unwrap()), "erc20_approval_tx_failed");
    assert_eq!((world.lane_nonce(0).await, balance(&world, &poor).await), (0, 0));
}

/// Puts there what rollups of the OP stack have: a contract that tells what a transaction's data costs, `fee` wei for any.
async fn charge_for_data(world: &World, fee: u128) {
    // PUSH32 fee, MSTORE at 0, RETURN 32 bytes from there.
    let tells = [&[0x7f][..], &U256::from(fee).to_be_bytes::<32>(), &[0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]];
    let code = json!(["0x420000000000000000000000000000000000000F", Bytes::from(tells.concat())]);
    world.chain.raw("anvil_setCode", code).await.unwrap();
}

#[tokio::test]
async fn what_a_rollup_charges_for_data_is_given_with_the_gas_within_the_operators_limit() {
    let world = World::open().await;
    charge_for_data(&world, 8_000_000_000_000).await;
    // It may rise by an eighth until it is charged.
    let needs = COST + 9_000_000_000_000;
    let strict = Sponsoring { max_cost: U256::from(needs - 1), ..sponsoring(1, 1) };
    let refused =
        engine(&world, strict).await.verify(sponsored(&world, &payer(&world, 0)).await).await.unwrap();
    let (reason, message) = refusal(&refused);
    assert!(
        reason == "erc20_approval_tx_failed" && message.contains(&format!("may cost {needs} wei")),
        "{refused:?}"
    );
    let payer = payer(&world, 0);
    let request = sponsored(&world, &payer).await;
    let raw = request.payment.extensions[ERC20_APPROVAL_GAS_SPONSORING]["info"]["signedTransaction"].clone();
    let hash = keccak256(serde_json::from_value::<Bytes>(raw).unwrap());
    let given = Sponsoring { max_cost: U256::from(needs), ..sponsoring(1, 1) };
    let settled = engine(&world, given).await.settle(request).await.unwrap();
    assert!(settled.success, "{settled:?}");
    let receipt = world.chain.receipt(hash).await.unwrap().unwrap();
    let gas = u128::from(receipt.gas_used) * receipt.effective_gas_price;
    // The devnet charges nothing for data, so that is left.
    assert_eq!(balance(&world, &payer).await, needs - gas);
}

/// Mines until it is so.
async fn mine_until(world: &World, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            world.mine(1);
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(15), wait).await.expect("it comes to that");
}

#[tokio::test]
async fn who_spends_the_money_elsewhere_is_given_no_more_than_a_days_share() {
    let world = World::with(Mining::Manual).await;
    let ledger = MemoryLedger::new();
    let engine = builder(&world, &ledger, sponsoring(1, 10)).start().await.unwrap();
    let thief = payer(&world, 0);
    let request = sponsored(&world, &thief).await;
    let settling = tokio::spawn({
        let (engine, request) = (engine.clone(), request.clone());
        async move { engine.settle(request).await }
    });
    mine_until(&world, async || balance(&world, &thief).await > 0).await;
    let given = balance(&world, &thief).await;
    let escape = Transaction {
        to: account(STRANGER).address(),
        value: U256::from(1),
        data: Vec::new().into(),
        gas_limit: 21_000,
        max_fee_per_gas: FEE * 4,
        max_priority_fee_per_gas: FEE * 2,
        ..approval(&world, 0, 10)
    };
    let escape = escape.sign(&thief).await.unwrap();
    world.chain.send_raw(&escape.raw).await.unwrap();
    mine_until(&world, async || nonce(&world, &thief).await == 1).await;
    let answer = settling.await.unwrap().unwrap();
    assert_eq!(code(&answer), "erc20_approval_tx_failed", "{answer:?}");
    assert!(given <= COST && received(&world).await == 0);
    let lane = world.lane_nonce(0).await;
    for _ in 0..3 {
        let again = sponsored(&world, &thief).await;
        assert!(!engine.settle(again).await.unwrap().success);
    }
    assert_eq!((world.lane_nonce(0).await, lane), (1, 1), "nothing but the gift");
}

/// The engine is gone while the gate is shut; what the ledger has of the payment is returned.
async fn dies(
    world: &World,
    ledger: &GatedLedger,
    request: &FacilitatorRequest,
    is_there: impl AsyncFn() -> bool,
) {
    let engine = builder(world, ledger, sponsoring(1, 10)).start().await.unwrap();
    let settling = tokio::spawn({
        let (engine, request) = (engine.clone(), request.clone());
        async move { engine.settle(request).await }
    });
    let wait = async {
        while !is_there().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(15), wait).await.expect("it comes to that");
    settling.abort();
    let _ = settling.await;
    drop(engine);
    sleep(Duration::from_millis(20)).await;
}

#[tokio::test]
async fn money_that_was_written_down_and_not_sent_is_given_by_the_next_once() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let ledger = Gate::ledger(&memory);
    let payer = payer(&world, 0);
    let request = sponsored(&world, &payer).await;
    ledger.interposer().shut_after("settlement_sent");
    // Written down: the gate is shut behind it.
    dies(&world, &ledger, &request, async || memory.mark_count().await.unwrap() == 3).await;
    assert_eq!((world.asked.of("eth_sendRawTransaction"), balance(&world, &payer).await), (0, 0));
    let next = builder(&world, &memory, sponsoring(1, 10)).start().await.unwrap();
    until(&memory, &request, is_settled).await;
    assert_eq!((world.lane_nonce(0).await, nonce(&world, &payer).await), (2, 1), "one gift, one settlement");
    assert!(next.settle(request).await.unwrap().success);
    assert_eq!((received(&world).await, memory.mark_count().await.unwrap()), (10, 3));
}

#[tokio::test]
async fn money_that_was_given_is_not_given_again_by_the_next() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let ledger = Gate::ledger(&memory);
    let payer = payer(&world, 0);
    let request = sponsored(&world, &payer).await;
    // The money has come, and the approval is not out.
    world.fault(Fault::Hold);
    dies(&world, &ledger, &request, async || world.asked.of("eth_sendRawTransaction") == 1).await;
    world.fault(Fault::Release);
    assert!(balance(&world, &payer).await > 0);
    let _next = builder(&world, &memory, sponsoring(1, 10)).start().await.unwrap();
    until(&memory, &request, is_settled).await;
    assert_eq!((world.lane_nonce(0).await, nonce(&world, &payer).await), (2, 1), "one gift, one settlement");
    assert_eq!(received(&world).await, 10);
}

#[tokio::test]
async fn a_payment_whose_approval_was_included_is_settled_by_the_next() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let ledger = Gate::ledger(&memory);
    let payer = payer(&world, COST);
    let request = sponsored(&world, &payer).await;
    ledger.interposer().shut_before("settlement_sent");
    dies(&world, &ledger, &request, async || nonce(&world, &payer).await == 1).await;
    assert_eq!((world.lane_nonce(0).await, received(&world).await), (0, 0));
    let _next = builder(&world, &memory, sponsoring(1, 10)).start().await.unwrap();
    until(&memory, &request, is_settled).await;
    assert_eq!((world.lane_nonce(0).await, received(&world).await), (1, 10));
}

#[tokio::test]
async fn a_place_that_was_taken_without_a_gift_is_not_taken_again_and_the_payment_ends() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let ledger = Gate::ledger(&memory);
    let payer = payer(&world, 0);
    let request = sponsored(&world, &payer).await;
    ledger.interposer().shut_before("settlement_sent");
    dies(&world, &ledger, &request, async || memory.mark_count().await.unwrap() == 3).await;
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let next = builder(&world, &memory, sponsoring(1, 10)).clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let _next = next.start().await.unwrap();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(find(&memory, &request).await.unwrap().state, SettlementState::Reserved, "nobody knows yet");
    clock.set(SystemClock.now().plus_seconds(400));
    until(&memory, &request, |state| !state.is_open()).await;
    assert!(!is_settled(&find(&memory, &request).await.unwrap().state));
    assert_eq!((world.lane_nonce(0).await, balance(&world, &payer).await), (0, 0), "nothing was given");
    assert_eq!(memory.mark_count().await.unwrap(), 3);
}

#[tokio::test]
async fn a_days_gifts_are_shared_by_all_who_share_the_ledger() {
    let world = World::open().await;
    let memory = MemoryLedger::new();
    let mut engines = Vec::new();
    for name in ["one", "two"] {
        engines.push(builder(&world, &memory, sponsoring(1, 2)).name(name).start().await.unwrap());
    }
    let mut served = 0;
    for turn in 0..6 {
        let request = sponsored(&world, &payer(&world, 0)).await;
        let answer = engines[turn % 2].settle(request).await;
        served += u32::from(answer.is_ok_and(|answer| answer.success));
    }
    assert!(served <= 2, "{served}");
    let given = world.lane_nonce(0).await - u64::from(served);
    assert!(given <= 2, "{given}");
}

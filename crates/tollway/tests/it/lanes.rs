//! The engine's lanes when their node, their key or their payers misbehave. Nothing is lost, nothing is told
//! that is not so, and what can be tried again can be tried again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tollway_core::model::{
    Accepted, FacilitatorRequest, PaymentPayload, PaymentRequired, PaymentRequirements,
};
use tollway_core::{
    Amount, BuyerScheme, Clock, JsonObject, Price, SellerScheme, SystemClock, Terms, X402Version, wire,
};
use tollway_devnet::{ACCOUNTS, Fault, Grant, genesis};
use tollway_evm::eip712::Domain;
use tollway_evm::exact::{Authorization, ExactBuyer, ExactSeller, check_at_any_time, transfer_call};
use tollway_evm::{AssetTable, B256, LocalSigner, Signer, Transaction, U256};
use tollway_facilitator::Limits;

use crate::facilitator_api::post;
use crate::market::{Market, account, assets};

const LANE: usize = 1;
const PAYER: usize = 3;

/// A settle request for `amount` to the market's payee, signed by `signer`.
pub(crate) async fn body(market: &Market, signer: LocalSigner, amount: u64) -> String {
    let (offer, known) = offer(market, &market.payee.to_string(), amount);
    let buyer = ExactBuyer::new(Arc::new(signer), known);
    let required = required(&offer);
    let payment = buyer.sign(&required, &offer, SystemClock.now()).await.unwrap();
    let request = FacilitatorRequest { payment, requirements: offer };
    Value::Object(wire::encode_facilitator_request(&request)).to_string()
}

fn offer(market: &Market, pay_to: &str, amount: u64) -> (PaymentRequirements, AssetTable) {
    let known = assets(market.node.chain_id);
    let terms = Terms { network: market.node.network(), pay_to: pay_to.to_owned(), max_timeout_seconds: 300 };
    let asset = genesis::USDC.to_string();
    let price = Price::Asset { amount: Amount::from(amount), asset, extra: JsonObject::new() };
    (ExactSeller::new(known.clone()).offer(&price, &terms).unwrap(), known)
}

fn required(offer: &PaymentRequirements) -> PaymentRequired {
    PaymentRequired {
        version: X402Version::V2,
        error: None,
        resource: None,
        accepts: vec![offer.clone()],
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    }
}

/// A settle request with every signed field chosen: what a hostile payer's own program makes.
async fn crafted(market: &Market, authorization: &Authorization, signer: &LocalSigner) -> String {
    let (mut offer, known) = offer(market, &authorization.to.to_string(), 1);
    offer.amount = Amount::from_atomic(authorization.value);
    let asset = known.find(&offer.network, genesis::USDC).unwrap();
    let preimage = Domain::of(asset).unwrap().preimage(&authorization.message());
    let signature = signer.sign(&preimage).await.unwrap();
    let text = |value: U256| Value::String(value.to_string());
    let payload = json!({
        "signature": format!("0x{}", hex(&signature.as_bytes())),
        "authorization": {
            "from": authorization.from, "to": authorization.to, "value": text(authorization.value),
            "validAfter": text(authorization.valid_after), "validBefore": text(authorization.valid_before),
            "nonce": authorization.nonce,
        },
    });
    let payment = PaymentPayload {
        version: X402Version::V2,
        accepted: Accepted::Offer(Box::new(offer.clone())),
        payload: payload.as_object().unwrap().clone(),
        resource: None,
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    };
    let request = FacilitatorRequest { payment, requirements: offer };
    Value::Object(wire::encode_facilitator_request(&request)).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn authorization(market: &Market, value: u64) -> Authorization {
    Authorization {
        from: ACCOUNTS[PAYER].address,
        to: market.payee,
        value: U256::from(value),
        valid_after: U256::ZERO,
        valid_before: U256::from(SystemClock.now().0 + 120),
        nonce: B256::repeat_byte(7),
    }
}

pub(crate) async fn settle(market: &Market, body: &str) -> (u16, Value) {
    post(market, "/settle", body.to_owned()).await
}

async fn control(market: &Market, method: &str, params: Value) {
    market.chain.raw(method, params).await.unwrap();
}

fn quick() -> Limits {
    Limits {
        settle_deadline: Duration::from_millis(300),
        rebroadcast_every: Duration::from_millis(50),
        ..Limits::default()
    }
}

fn lane() -> String {
    ACCOUNTS[LANE].address.to_string()
}

#[tokio::test]
async fn a_lane_without_gas_answers_503_and_the_payment_settles_once_it_is_funded() {
    let market = Market::open_with(quick()).await;
    let payment = body(&market, account(PAYER), 1_000).await;
    control(&market, "anvil_setBalance", json!([lane(), "0x0"])).await;
    let (status, answer) = settle(&market, &payment).await;
    assert_eq!((status, market.received().await, market.engine.open_payments()), (503, 0, 0), "{answer}");
    let health = reqwest::get(format!("{}/health", market.facilitator_url)).await.unwrap();
    assert_eq!(health.status(), 503, "a lane that cannot pay is no health");
    control(&market, "anvil_setBalance", json!([lane(), "0xde0b6b3a7640000"])).await;
    let (_, settled) = settle(&market, &payment).await;
    assert_eq!((&settled["success"], market.received().await), (&json!(true), 1_000), "{settled}");
}

#[tokio::test]
async fn a_nonce_that_another_program_used_is_replaced_by_a_fresh_one() {
    let market = Market::open().await;
    let (_, first) = settle(&market, &body(&market, account(PAYER), 1_000).await).await;
    assert_eq!(first["success"], true);
    control(&market, "anvil_setNonce", json!([lane(), "0x9"])).await;
    let (_, second) = settle(&market, &body(&market, account(PAYER), 1_000).await).await;
    assert_eq!((&second["success"], market.received().await), (&json!(true), 2_000), "{second}");
}

#[tokio::test]
async fn gas_above_the_operators_limit_is_not_paid() {
    let market = Market::open_with(Limits { max_fee_per_gas: 1_000_000, ..Limits::default() }).await;
    let (status, _) = settle(&market, &body(&market, account(PAYER), 1_000).await).await;
    assert_eq!((status, market.received().await, market.engine.open_payments()), (503, 0, 0));
}

#[tokio::test]
async fn a_transaction_whose_nonce_was_taken_is_given_up_and_the_payment_settles_by_another() {
    let market = Market::open_with(quick()).await;
    let payment = body(&market, account(PAYER), 1_000).await;
    market.node.devnet().faults().inject(Fault::Hold);
    let (_, pending) = settle(&market, &payment).await;
    assert_eq!(pending["errorReason"], "settlement_pending");
    // Another transaction of the same key, as far as anybody can see.
    control(&market, "anvil_setNonce", json!([lane(), "0x1"])).await;
    let mut again = pending.clone();
    for _ in 0..50 {
        if again["transaction"] != pending["transaction"] {
            break;
        }
        again = settle(&market, &payment).await.1;
        assert_eq!(again["errorReason"], "settlement_pending", "nobody's payment is at fault: {again}");
    }
    assert_ne!(again["transaction"], pending["transaction"]);
    market.node.devnet().faults().inject(Fault::Clear);
    let (_, settled) = settle(&market, &payment).await;
    assert_eq!((&settled["success"], market.received().await), (&json!(true), 1_000), "{settled}");
}

#[tokio::test]
async fn a_payment_that_no_lane_took_in_time_is_withdrawn_and_never_sent_later() {
    let market = Market::open_with(quick()).await;
    market.node.devnet().faults().inject(Fault::Hold);
    let first = body(&market, account(PAYER), 1_000).await;
    let (_, pending) = settle(&market, &first).await;
    assert_eq!(pending["errorReason"], "settlement_pending");
    let second = body(&market, account(PAYER), 500).await;
    let (status, _) = settle(&market, &second).await;
    assert_eq!((status, market.engine.open_payments()), (503, 1));
    market.node.devnet().faults().inject(Fault::Release);
    let (_, settled) = settle(&market, &first).await;
    assert_eq!(settled["success"], true);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(market.received().await, 1_000, "the withdrawn one was not sent");
    let (_, settled) = settle(&market, &second).await;
    assert_eq!((&settled["success"], market.received().await), (&json!(true), 1_500));
}

#[tokio::test]
async fn two_payments_racing_for_one_balance_end_as_one_settled_and_one_failed() {
    let market = Market::open_with(Limits { settle_deadline: Duration::from_secs(5), ..quick() }).await;
    let poor = LocalSigner::random().unwrap();
    market.node.devnet().grant(poor.address(), Grant { wei: U256::ZERO, token_atomic: U256::from(1_000) });
    let bodies = [body(&market, poor.clone(), 700).await, body(&market, poor, 700).await];
    market.node.devnet().faults().inject(Fault::Hold);
    // A first payment keeps the lane busy, so that the two pass their simulations and share a transaction.
    let busy = body(&market, account(PAYER), 1).await;
    let release = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        market.node.devnet().faults().inject(Fault::Release);
    };
    let (_, one, other, ()) = tokio::join!(
        settle(&market, &busy),
        async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            settle(&market, &bodies[0]).await.1
        },
        async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            settle(&market, &bodies[1]).await.1
        },
        release
    );
    let settled = [&one, &other].iter().filter(|answer| answer["success"] == true).count();
    let failed = [&one, &other].into_iter().find(|answer| answer["success"] == false).unwrap();
    assert_eq!((settled, market.received().await), (1, 701), "{one} {other}");
    assert!(failed["errorReason"].as_str().is_some_and(|code| code != "settlement_pending"), "{failed}");
}

#[tokio::test]
async fn a_transaction_that_reverts_is_a_failure_and_no_payment() {
    let market = Market::open_with(quick()).await;
    let payment = body(&market, account(PAYER), 1_000).await;
    market.node.devnet().faults().inject(Fault::Hold);
    let (_, mut answer) = settle(&market, &payment).await;
    assert_eq!(answer["errorReason"], "settlement_pending", "it is out");
    let slot = genesis::balance_slot(ACCOUNTS[PAYER].address);
    let zero = format!("0x{}", "0".repeat(64));
    control(&market, "anvil_setStorageAt", json!([genesis::USDC, slot, zero])).await;
    market.node.devnet().faults().inject(Fault::Release);
    for _ in 0..20 {
        if answer["errorReason"] != "settlement_pending" {
            break;
        }
        answer = settle(&market, &payment).await.1;
    }
    // Who asks after the end asks for another attempt, and that is refused for the balance.
    let reasons = ["invalid_transaction_state", "invalid_exact_evm_insufficient_balance"];
    let told = answer["errorReason"].as_str().unwrap_or_default();
    assert!(answer["success"] == false && reasons.contains(&told), "{answer}");
    assert_eq!(market.chain.nonce(ACCOUNTS[LANE].address).await.unwrap(), 1, "it was included");
    assert_eq!((market.received().await, market.engine.open_payments()), (0, 0));
}

#[tokio::test]
async fn a_full_journal_and_a_full_queue_answer_503() {
    let market = Market::open_with(Limits { journal: 1, ..quick() }).await;
    market.node.devnet().faults().inject(Fault::Hold);
    let (_, pending) = settle(&market, &body(&market, account(PAYER), 1).await).await;
    assert_eq!(pending["errorReason"], "settlement_pending");
    let (status, answer) = settle(&market, &body(&market, account(PAYER), 1).await).await;
    assert!(
        status == 503 && answer["error"].as_str().is_some_and(|text| text.contains("journal")),
        "{answer}"
    );

    let market = Market::open_with(Limits { lane_queue: 1, ..quick() }).await;
    market.node.devnet().faults().inject(Fault::Hold);
    let bodies = futures_util::future::join_all((1..6).map(|n| body(&market, account(PAYER), n))).await;
    let answers = futures_util::future::join_all(bodies.iter().map(|body| settle(&market, body))).await;
    assert!(
        answers.iter().any(|(status, answer)| {
            *status == 503 && answer["error"].as_str().is_some_and(|text| text.contains("queue"))
        }),
        "{answers:?}"
    );
}

#[tokio::test]
async fn an_engine_does_not_start_on_another_chain_or_without_multicall() {
    use tollway_facilitator::{Engine, NetworkSetup};
    let market = Market::open().await;
    let start = |chain| {
        let setup = NetworkSetup {
            chain,
            assets: tollway_evm::AssetTable::known(),
            signers: vec![Arc::new(account(LANE))],
        };
        Engine::builder().network(setup).start()
    };
    let connect = |network: &str| {
        tollway_evm::Chain::connect(&market.node.rpc_url, &network.parse().unwrap(), Duration::from_secs(1))
            .unwrap()
    };
    let error = start(connect("eip155:8453")).await.unwrap_err().to_string();
    assert!(error.contains("chain 31337") && error.contains("8453"), "{error}");
    control(&market, "anvil_setCode", json!([genesis::MULTICALL3, "0x"])).await;
    let error = start(connect("eip155:31337")).await.unwrap_err().to_string();
    assert!(error.contains("Multicall3") && error.contains("no asset"), "all at once: {error}");
    assert!(Engine::builder().start().await.is_err());
}

#[tokio::test]
async fn two_authorizations_under_one_nonce_do_not_share_a_fate() {
    let market = Market::open().await;
    let payer = account(PAYER);
    let to_seller = authorization(&market, 1_000);
    let to_accomplice = Authorization { to: ACCOUNTS[4].address, value: U256::from(1), ..to_seller.clone() };
    let first = crafted(&market, &to_accomplice, &payer).await;
    let second = crafted(&market, &to_seller, &payer).await;
    // At once and afterwards: the second is never told the first one's success.
    let (one, other) = tokio::join!(settle(&market, &first), settle(&market, &second));
    let (_, later) = settle(&market, &second).await;
    let claimed = [&one.1, &other.1].iter().filter(|answer| answer["success"] == true).count();
    assert_eq!(claimed, 1, "{one:?} {other:?}");
    let paid = market.received().await;
    assert_eq!(
        (other.1["success"] == true, later["success"] == true),
        (paid == 1_000, paid == 1_000),
        "{later}"
    );
}

#[tokio::test]
async fn what_moves_nothing_is_refused_before_it_costs_gas() {
    let market = Market::open().await;
    let payer = account(PAYER);
    let nothing = authorization(&market, 0);
    let to_self = Authorization { to: ACCOUNTS[PAYER].address, ..authorization(&market, 5) };
    for (authorization, field) in [(nothing, "authorization.value"), (to_self, "authorization.to")] {
        let request = crafted(&market, &authorization, &payer).await;
        let (_, answer) = settle(&market, &request).await;
        let names = answer["errorMessage"].as_str().is_some_and(|text| text.contains(field));
        assert!(answer["success"] == false && names, "{answer}");
    }
    assert_eq!(market.chain.nonce(ACCOUNTS[LANE].address).await.unwrap(), 0, "nothing was sent");
}

#[tokio::test]
async fn a_payer_with_code_is_refused_before_it_costs_gas() {
    let market = Market::open().await;
    let payment = body(&market, account(PAYER), 1_000).await;
    // EIP-7702: the account delegates to a contract, which then speaks for it.
    let delegation = format!("0xef0100{}", hex(genesis::USDC.as_slice()));
    control(&market, "anvil_setCode", json!([ACCOUNTS[PAYER].address, delegation])).await;
    let (_, answer) = settle(&market, &payment).await;
    assert_eq!(answer["errorReason"], "invalid_exact_evm_signature", "{answer}");
    assert_eq!(market.chain.nonce(ACCOUNTS[LANE].address).await.unwrap(), 0, "nothing was sent");
}

#[tokio::test]
async fn a_settled_payment_is_told_settled_after_it_has_expired() {
    let clock = Arc::new(tollway_core::ManualClock::new(SystemClock.now()));
    let market = Market::open_at(Limits::default(), clock.clone()).await;
    let payment = body(&market, account(PAYER), 1_000).await;
    let (_, settled) = settle(&market, &payment).await;
    assert_eq!(settled["success"], true);
    clock.set(SystemClock.now().plus_seconds(1_800));
    let (_, late) = settle(&market, &payment).await;
    assert_eq!(late, settled);
}

#[tokio::test]
async fn an_authorization_that_expires_in_the_pool_has_failed_and_the_lane_goes_on() {
    let market = Market::open_with(quick()).await;
    let payment = body(&market, account(PAYER), 1_000).await;
    market.node.devnet().faults().inject(Fault::Hold);
    let (_, pending) = settle(&market, &payment).await;
    assert_eq!(pending["errorReason"], "settlement_pending");
    control(&market, "evm_increaseTime", json!([600])).await;
    // No block can be taken back in which it could still be included.
    control(&market, "anvil_mine", json!(["0x8"])).await;
    let mut answer = pending;
    for _ in 0..20 {
        if answer["errorReason"] != "settlement_pending" {
            break;
        }
        answer = settle(&market, &payment).await.1;
    }
    let expired = answer["errorMessage"].as_str().is_some_and(|text| text.contains("expired"));
    assert!(answer["success"] == false && expired, "{answer}");
    assert_eq!((market.received().await, market.engine.open_payments()), (0, 0));
    market.node.devnet().faults().inject(Fault::Clear);
    // The next transaction takes the nonce from the one that was left behind.
    control(&market, "evm_increaseTime", json!([-600])).await;
    let next = crafted(
        &market,
        &Authorization {
            valid_before: U256::from(SystemClock.now().0 + 3_000),
            ..authorization(&market, 500)
        },
        &account(PAYER),
    )
    .await;
    let mut answer = settle(&market, &next).await.1;
    for _ in 0..20 {
        if answer["success"] == true {
            break;
        }
        answer = settle(&market, &next).await.1;
    }
    assert_eq!((&answer["success"], market.received().await), (&json!(true), 500), "{answer}");
}

#[tokio::test]
async fn every_fault_of_a_setup_is_told_at_the_start() {
    use tollway_facilitator::{Engine, NetworkSetup};
    let market = Market::open().await;
    let wrong = assets(31_337).with(tollway_evm::Asset {
        name: "US Dollar".to_owned(),
        ..assets(31_337).find(&market.node.network(), genesis::USDC).unwrap().clone()
    });
    let twice: Vec<Arc<dyn Signer>> = vec![Arc::new(account(LANE)), Arc::new(account(LANE))];
    let setup = NetworkSetup { chain: market.chain.clone(), assets: wrong, signers: twice };
    let limits = Limits { lane_queue: 0, batch: 1_000, ..Limits::default() };
    let error = Engine::builder().network(setup).limits(limits).start().await.unwrap_err();
    let text = error.to_string();
    for part in ["US Dollar", "given twice", "limits.lane_queue", "limits.batch"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// A stranger sends the payment's own call before the lane's transaction gets through.
async fn front_run(market: &Market, request: &str) -> String {
    let request = wire::decode_facilitator_request(request.as_bytes()).unwrap();
    let payment = check_at_any_time(&request.payment, &request.requirements).unwrap();
    let call = transfer_call(&payment);
    let rival = Transaction {
        chain_id: market.node.chain_id,
        nonce: 0,
        to: call.to,
        value: U256::ZERO,
        data: call.data,
        gas_limit: 200_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
    };
    let signed = rival.sign(&account(6)).await.unwrap();
    market.chain.send_raw(&signed.raw).await.unwrap().to_string()
}

#[tokio::test]
async fn a_payment_that_a_rival_sent_first_is_settled_once_and_proved_by_the_rivals_transaction() {
    let settle_deadline = Duration::from_millis(300);
    let market = Market::open_with(Limits { settle_deadline, ..Limits::default() }).await;
    let payment = body(&market, account(PAYER), 1_000).await;
    // The node loses our transaction, so that the stranger's comes first.
    market.node.devnet().faults().inject(Fault::Drop { count: 1 });
    let (_, mut answer) = settle(&market, &payment).await;
    assert_eq!(answer["errorReason"], "settlement_pending");
    let rival = front_run(&market, &payment).await;
    for _ in 0..40 {
        if answer["errorReason"] != "settlement_pending" {
            break;
        }
        answer = settle(&market, &payment).await.1;
    }
    assert_eq!((&answer["success"], &answer["transaction"]), (&json!(true), &json!(rival)), "{answer}");
    assert_eq!((market.received().await, market.engine.open_payments()), (1_000, 0));
    let (_, again) = settle(&market, &payment).await;
    assert_eq!(again, answer);
}

#[tokio::test]
async fn an_authorization_used_before_it_came_here_is_refused_though_its_payee_was_paid() {
    let market = Market::open().await;
    let payment = body(&market, account(PAYER), 1_000).await;
    front_run(&market, &payment).await;
    let (_, answer) = settle(&market, &payment).await;
    assert_eq!(
        answer["errorReason"], "invalid_exact_evm_nonce_already_used",
        "a replay is no payment: {answer}"
    );
}

#[tokio::test]
async fn a_lane_begun_anew_displaces_what_its_key_left_in_the_pool() {
    let market = Market::open_with(quick()).await;
    market.node.devnet().faults().inject(Fault::Hold);
    let (_, pending) = settle(&market, &body(&market, account(PAYER), 1_000).await).await;
    assert_eq!(pending["errorReason"], "settlement_pending");
    let setup = tollway_facilitator::NetworkSetup {
        chain: market.chain.clone(),
        assets: assets(market.node.chain_id),
        signers: vec![Arc::new(account(LANE))],
    };
    let engine = tollway_facilitator::Engine::builder().network(setup).start().await.unwrap();
    let request = body(&market, account(PAYER), 500).await;
    let request = wire::decode_facilitator_request(request.as_bytes()).unwrap();
    let (first, again) = (engine.clone(), request.clone());
    let settling = tokio::spawn(async move { tollway_core::Facilitator::settle(&first, again).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    market.node.devnet().faults().inject(Fault::Release);
    let mut answer = settling.await.unwrap().unwrap();
    // The other engine, on a ledger of its own, wants the key's nonces too: it may take a few turns.
    for _ in 0..3 {
        if answer.success {
            break;
        }
        answer = tollway_core::Facilitator::settle(&engine, request.clone()).await.unwrap();
    }
    assert!(answer.success, "{answer:?}");
}

#[tokio::test]
async fn a_transaction_that_succeeds_without_a_transfer_is_no_payment() {
    let market = Market::open_with(quick()).await;
    let payment = body(&market, account(PAYER), 1_000).await;
    market.node.devnet().faults().inject(Fault::Hold);
    let (_, mut answer) = settle(&market, &payment).await;
    assert_eq!(answer["errorReason"], "settlement_pending");
    // The token becomes one that says yes to everything and does nothing.
    control(&market, "anvil_setCode", json!([genesis::USDC, "0x60206000f3"])).await;
    market.node.devnet().faults().inject(Fault::Release);
    for _ in 0..40 {
        if answer["errorReason"] != "settlement_pending" {
            break;
        }
        answer = settle(&market, &payment).await.1;
    }
    // Who asks after the end is refused by the simulation, for the same reason or for the balance.
    let told = answer["errorReason"].as_str().unwrap_or_default();
    assert!(answer["success"] == false && told.starts_with("invalid_exact_evm_"), "{answer}");
    assert_eq!(
        market.chain.nonce(ACCOUNTS[LANE].address).await.unwrap(),
        1,
        "it was included, and succeeded"
    );
}

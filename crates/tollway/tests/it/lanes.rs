//! The engine's lanes when their node, their key or their payers misbehave. Nothing is lost, nothing is told
//! that is not so, and what can be tried again can be tried again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tollway_core::model::PaymentRequired;
use tollway_core::{
    Amount, BuyerScheme, Clock, JsonObject, Price, SellerScheme, SystemClock, Terms, X402Version, wire,
};
use tollway_devnet::{ACCOUNTS, Fault, Grant, genesis};
use tollway_evm::exact::{ExactBuyer, ExactSeller};
use tollway_evm::{LocalSigner, Signer, U256};
use tollway_facilitator::Limits;

use crate::facilitator_api::post;
use crate::market::{Market, account, assets};

const LANE: usize = 1;
const PAYER: usize = 3;

/// A settle request for `amount`, signed by `signer`.
async fn body(market: &Market, signer: LocalSigner, amount: u64) -> String {
    let known = assets(market.node.chain_id);
    let terms =
        Terms { network: market.node.network(), pay_to: market.payee.to_string(), max_timeout_seconds: 300 };
    let asset = genesis::USDC.to_string();
    let price = Price::Asset { amount: Amount::from(amount), asset, extra: JsonObject::new() };
    let offer = ExactSeller::new(known.clone()).offer(&price, &terms).unwrap();
    let required = PaymentRequired {
        version: X402Version::V2,
        error: None,
        resource: None,
        accepts: vec![offer.clone()],
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    };
    let buyer = ExactBuyer::new(Arc::new(signer), known);
    let payment = buyer.sign(&required, &offer, SystemClock.now()).await.unwrap();
    let request = tollway_core::model::FacilitatorRequest { payment, requirements: offer };
    Value::Object(wire::encode_facilitator_request(&request)).to_string()
}

async fn settle(market: &Market, body: &str) -> (u16, Value) {
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
async fn a_transaction_whose_nonce_was_taken_has_failed_and_the_payment_may_settle_anew() {
    let market = Market::open_with(quick()).await;
    let payment = body(&market, account(PAYER), 1_000).await;
    market.node.devnet().faults().inject(Fault::Hold);
    let (_, pending) = settle(&market, &payment).await;
    assert_eq!(pending["errorReason"], "settlement_pending");
    // Another transaction of the same key, as far as anybody can see.
    control(&market, "anvil_setNonce", json!([lane(), "0x1"])).await;
    let mut answer = pending;
    for _ in 0..50 {
        if answer["errorReason"] != "settlement_pending" {
            break;
        }
        answer = settle(&market, &payment).await.1;
    }
    assert_eq!(answer["errorReason"], "invalid_transaction_state", "{answer}");
    assert_eq!(answer["transaction"], "", "a failure carries no transaction");
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
    let market = Market::open_with(Limits { settle_deadline: Duration::from_secs(5), ..quick() }).await;
    let payment = body(&market, account(PAYER), 1_000).await;
    market.node.devnet().faults().inject(Fault::Hold);
    let drain = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let slot = genesis::balance_slot(ACCOUNTS[PAYER].address);
        let zero = format!("0x{}", "0".repeat(64));
        control(&market, "anvil_setStorageAt", json!([genesis::USDC, slot, zero])).await;
        market.node.devnet().faults().inject(Fault::Release);
    };
    let ((_, answer), ()) = tokio::join!(settle(&market, &payment), drain);
    assert_eq!(
        (&answer["success"], &answer["errorReason"]),
        (&json!(false), &json!("invalid_transaction_state"))
    );
    assert!(answer["errorMessage"].as_str().is_some_and(|text| text.contains("reverted")), "{answer}");
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

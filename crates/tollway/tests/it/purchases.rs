//! Purchases against the chain: what nobody answered is found there, and only what is provably dead is given back.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use serde_json::json;
use tollway_buyer::{
    AlarmCode, ChainVerdict, IntentKey, IntentRecord, IntentState, Patience, PaymentError, Policy, Wallet,
    Window, payment_error,
};
use tollway_core::Network;
use tollway_core::model::SettleResponse;
use tollway_evm::{Chain, LocalSigner, Signer};
use tollway_ledger::{IntentQuery, MemoryLedger};
use tollway_seller::HttpFacilitator;

use crate::between::{Between, Paid};
use crate::market::{Market, assets, paywall};

const PRICE_ATOMIC: u64 = 10_000;

/// A wallet of the market's buyer, with a budget for one purchase and a node.
fn wallet(market: &Market) -> Wallet {
    Wallet::builder()
        .key(&market.buyer_key())
        .unwrap()
        .assets(assets(market.node.chain_id))
        .ledger(Arc::new(MemoryLedger::new()))
        .chain(market.chain.clone())
        .patience(patience())
        .policy(
            Policy::default()
                .trust_resource_host("127.0.0.1")
                .budget_per(Window::Lifetime, &"$0.01".parse().unwrap()),
        )
        .build()
        .unwrap()
}

/// Once, and not for long.
pub(crate) fn patience() -> Patience {
    Patience { presentations: 1, answer: Duration::from_millis(1_500), total: Duration::from_secs(3) }
}

pub(crate) async fn get(wallet: &Wallet, url: &str) -> Result<String, String> {
    match wallet.client().unwrap().get(url).send().await {
        Ok(answer) if answer.status() == StatusCode::OK => Ok(answer.text().await.unwrap()),
        Ok(answer) => Err(format!("{}", answer.status())),
        Err(error) => Err(match payment_error(&error) {
            Some(PaymentError::Denied(offers)) => format!("denied: {}", offers[0].decision),
            Some(PaymentError::Unresolved { .. }) => "unresolved".to_owned(),
            _ => error.to_string(),
        }),
    }
}

pub(crate) async fn records(wallet: &Wallet) -> Vec<IntentRecord> {
    wallet.flush().await;
    let query = IntentQuery { wallet: wallet.name().to_owned(), limit: 100, ..IntentQuery::default() };
    let intents = wallet.ledger().intent_list(query).await.unwrap();
    intents.iter().map(|intent| IntentRecord::read(intent).unwrap()).collect()
}

/// Lets the chain's time pass, by one block.
pub(crate) async fn later(chain: &Chain, seconds: u64) {
    chain.raw("evm_increaseTime", json!([seconds])).await.unwrap();
    chain.raw("evm_mine", json!([])).await.unwrap();
}

#[tokio::test]
async fn a_budget_is_released_only_when_the_payment_is_dead_on_a_final_block() {
    let market = Market::open().await;
    let between = Between::open(&market.seller_url, Paid::Swallow).await;
    let wallet = wallet(&market);
    assert_eq!(get(&wallet, &between.url("/data")).await, Err("unresolved".to_owned()));
    assert_eq!(records(&wallet).await[0].state, IntentState::Unresolved);
    let other = between.url("/other");
    let is_denied = async || get(&wallet, &other).await.is_err_and(|error| error.contains("budget"));
    assert!(is_denied().await, "it is held");
    let seen = wallet.reconcile(10).await.unwrap();
    assert_eq!((seen.looked_at, seen.open, seen.dead), (1, 1, 0), "it may still be charged");
    later(&market.chain, 1_000).await;
    let seen = wallet.reconcile(10).await.unwrap();
    assert_eq!((seen.open, seen.dead), (1, 0), "its end is in a block that can be taken back");
    assert!(is_denied().await);
    for _ in 0..6 {
        market.chain.raw("evm_mine", json!([])).await.unwrap();
    }
    let seen = wallet.reconcile(10).await.unwrap();
    assert_eq!((seen.open, seen.dead), (0, 1));
    assert_eq!(records(&wallet).await[0].state, IntentState::Dead);
    // Now it is bought anew, by another authorization.
    between.now(Paid::Pass);
    market.chain.raw("evm_increaseTime", json!([0])).await.unwrap();
    assert_eq!(between.distinct(), 1);
    let again = get(&wallet, &between.url("/data")).await;
    assert_eq!(between.distinct(), 2, "{again:?}");
    let counted = wallet.ledger().budget_list(wallet.name(), None, 10).await.unwrap();
    assert_eq!(counted[0].amount.to_string(), "10000000000000000", "one purchase is held");
}

#[tokio::test]
async fn what_was_charged_in_silence_is_found_on_chain_and_fetched_with_the_same_payment() {
    let market = Market::open().await;
    let between = Between::open(&market.seller_url, Paid::Silence).await;
    let wallet = wallet(&market);
    assert_eq!(get(&wallet, &between.url("/data")).await, Err("unresolved".to_owned()));
    let seen = wallet.reconcile(10).await.unwrap();
    assert_eq!((seen.looked_at, seen.paid), (1, 1));
    let record = records(&wallet).await.remove(0);
    assert_eq!(record.state, IntentState::Paid);
    let fact = record.chain.clone().unwrap();
    assert_eq!(
        (fact.verdict, fact.moved.unwrap().to_string()),
        (ChainVerdict::Confirmed, PRICE_ATOMIC.to_string())
    );
    assert!(record.transaction().is_some() && fact.block.is_some() && fact.log_index.is_some());
    between.now(Paid::Pass);
    assert_eq!(get(&wallet, &between.url("/data")).await.unwrap(), "data");
    assert_eq!((market.received().await, between.distinct()), (PRICE_ATOMIC, 1));
}

#[tokio::test]
async fn a_payment_that_was_refused_and_charged_all_the_same_is_an_alarm() {
    let market = Market::open().await;
    let between = Between::open(&market.seller_url, Paid::Silence).await;
    let failed = SettleResponse::failed(Network::evm(31_337), None, "no money");
    let wallet = wallet(&market);
    assert_eq!(get(&wallet, &between.url("/data")).await, Err("unresolved".to_owned()));
    between.now(Paid::Claim(Box::new(failed)));
    assert_eq!(get(&wallet, &between.url("/data")).await.unwrap(), "goods");
    assert_eq!(wallet.reconcile(10).await.unwrap().alarms, 1);
    let alarms: Vec<AlarmCode> = records(&wallet).await[0].alarms.iter().map(|alarm| alarm.code).collect();
    assert!(alarms.contains(&AlarmCode::Contradiction), "{alarms:?}");
}

#[tokio::test]
async fn a_receipt_that_the_chain_does_not_confirm_is_an_alarm() {
    let market = Market::open().await;
    // The transaction of somebody else's payment.
    let honest = wallet(&market);
    let answer = honest.client().unwrap().get(market.url("/other")).send().await.unwrap();
    let of_another = tollway_buyer::paid(&answer).unwrap().settlement.clone().unwrap();
    answer.text().await.unwrap();
    let between = Between::open(&market.seller_url, Paid::Claim(Box::new(of_another))).await;
    let cheated = wallet(&market);
    let client = cheated.client().unwrap();
    let answer = client.get(between.url("/data")).with_extension(IntentKey::fresh()).send().await.unwrap();
    let id = tollway_buyer::paid(&answer).unwrap().intent.unwrap();
    assert_eq!(answer.text().await.unwrap(), "goods");
    let known = cheated.confirm(id, Duration::from_secs(5)).await.unwrap().unwrap();
    assert_eq!(known.chain.as_ref().unwrap().verdict, ChainVerdict::Contradicted);
    assert_eq!(known.alarms[0].code, AlarmCode::UnconfirmedReceipt);
    // It stays counted until it is dead; then it was never paid.
    later(&market.chain, 1_000).await;
    for _ in 0..6 {
        market.chain.raw("evm_mine", json!([])).await.unwrap();
    }
    assert_eq!(cheated.reconcile(10).await.unwrap().dead, 1);
    let record = records(&cheated).await.remove(0);
    assert_eq!((record.state, record.spent()), (IntentState::Dead, None));
    // The honest purchase is confirmed.
    assert_eq!(honest.reconcile(10).await.unwrap().paid, 1);
    assert!(records(&honest).await[0].alarms.is_empty());
}

#[tokio::test]
async fn what_a_wallet_earns_it_can_spend_at_once() {
    let market = Market::open().await;
    let earner = Arc::new(LocalSigner::random().unwrap());
    let known = assets(market.node.chain_id);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let own = paywall(&url, &market.node.network(), earner.address(), &known)
        .facilitator(HttpFacilitator::new(&market.facilitator_url).unwrap())
        .start()
        .await
        .unwrap();
    let app =
        Router::new().route("/work", axum::routing::get(async || "work").layer(own.price("$0.01").unwrap()));
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let wallet = Wallet::builder().signer(earner.clone()).assets(known).build().unwrap();
    let poor = get(&wallet, &market.url("/data")).await;
    assert!(poor.is_err(), "it has nothing yet: {poor:?}");
    assert_eq!(get(&market.wallet(), &format!("{url}/work")).await.unwrap(), "work");
    assert_eq!(market.balance(earner.address()).await.to_string(), PRICE_ATOMIC.to_string());
    assert_eq!(get(&wallet, &market.url("/other")).await.unwrap(), "other");
    assert_eq!(market.balance(earner.address()).await.to_string(), "0");
    assert_eq!(market.received().await, PRICE_ATOMIC);
    server.abort();
}

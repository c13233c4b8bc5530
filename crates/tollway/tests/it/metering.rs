//! Answers that are charged while they leave, over real HTTP: a story by the part on a channel, and by `upto`.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::stream;
use tokio::net::TcpListener;
use tollway_buyer::{Decision, PaymentError, Policy, Reason, Wallet, payment_error};
use tollway_core::{Amount, SchemeName};
use tollway_devnet::ACCOUNTS;
use tollway_evm::batch_settlement::BatchSettlement;
use tollway_evm::{LocalSigner, Signer};
use tollway_ledger::{Ledger, MemoryLedger};
use tollway_seller::{HttpFacilitator, Meter, PaidBody, Paywall};

use crate::market::{Market, account, assets, spawn, token_balance};
use crate::process::{run, tollway};

const PAYER: usize = 8;
const PARTS: usize = 7;
/// What a part costs, atomic units; a voucher covers two.
const PART: u64 = 4_000;

async fn story(Extension(meter): Extension<Meter>) -> Result<Response<PaidBody>, StatusCode> {
    let parts = (1..=PARTS).map(|number| Ok::<_, std::io::Error>(Bytes::from(format!("part {number}\n"))));
    let each = meter.tariff("$0.004", 1)?;
    Ok(meter.stream(Response::new(Body::from_stream(stream::iter(parts))), each, |_| 1))
}

/// More than one deposit pays for: that is ten times the price.
const SAGA: usize = 30;

async fn saga(Extension(meter): Extension<Meter>) -> Result<Response<PaidBody>, StatusCode> {
    let parts = (1..=SAGA).map(|number| Ok::<_, std::io::Error>(Bytes::from(format!("part {number}\n"))));
    let each = meter.tariff("$0.004", 1)?;
    Ok(meter.stream(Response::new(Body::from_stream(stream::iter(parts))), each, |_| 1))
}

struct Press {
    market: Market,
    ledger: Arc<MemoryLedger>,
    wallet: Wallet,
    url: String,
}

impl Press {
    async fn open() -> Self {
        let market = Market::open().await;
        let (known, network) = (assets(market.node.chain_id), market.node.network());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let ledger = Arc::new(MemoryLedger::new());
        let authorizer = Arc::new(LocalSigner::random().unwrap());
        let paywall = Paywall::builder(&origin)
            .scheme(BatchSettlement::new(known.clone()).with_key(authorizer))
            .accept_by(SchemeName::BATCH_SETTLEMENT, network.as_str(), market.payee.to_string())
            .facilitator(HttpFacilitator::new(&market.facilitator_url).unwrap())
            .ledger(Arc::clone(&ledger) as Arc<dyn Ledger>)
            .pending_wait_ms(50)
            .start()
            .await
            .unwrap();
        let price = || paywall.price("$0.01").unwrap();
        let app = Router::new().route("/story", get(story).layer(price()));
        spawn(listener, app.route("/saga", get(saga).layer(price())));
        let wallet = Wallet::builder().signer(Arc::new(account(PAYER))).assets(known);
        let wallet = wallet.policy(Policy::default()).build().unwrap();
        Self { market, ledger, wallet, url: format!("{origin}/story") }
    }

    /// What is charged on the wallet's one channel.
    async fn charged(&self) -> u64 {
        let rows = self.ledger.channel_list("seller", None, 10).await.unwrap();
        assert_eq!(rows.len(), 1);
        rows[0].charged.to_string().parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_pays_on_while_it_reads_and_pays_for_what_it_read() {
    let press = Press::open().await;
    let before = token_balance(&press.market.chain, account(PAYER).address()).await;
    let client = press.wallet.client().unwrap();
    let mut answer = client.get(&press.url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let paying = press.wallet.pay_on(&answer, 20).unwrap().expect("it streams");
    let mut text = String::new();
    while let Some(part) = answer.chunk().await.unwrap() {
        text.push_str(std::str::from_utf8(&part).unwrap());
    }
    let whole: String = (1..=PARTS).map(|number| format!("part {number}\n")).collect();
    assert_eq!(text, whole);
    assert_eq!(paying.ended().await.unwrap(), 3, "two parts a voucher, the first came with the request");
    assert_eq!(press.charged().await, PARTS as u64 * PART);
    // One deposit, and nothing else, moved on chain.
    let after = token_balance(&press.market.chain, account(PAYER).address()).await;
    assert!(before.checked_sub(after).unwrap() >= (PARTS as u64 * PART).into());
    // The wallet's own books say the same.
    let channels = press.wallet.channels().await.unwrap();
    assert_eq!(channels.len(), 1);
    assert_eq!(channels[0].charged.to_string(), (PARTS as u64 * PART).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_may_buy_no_more_has_the_beginning_and_pays_for_it() {
    let press = Press::open().await;
    let client = press.wallet.client().unwrap();
    let mut answer = client.get(&press.url).send().await.unwrap();
    let paying = press.wallet.pay_on(&answer, 1).unwrap();
    for number in 1..=4 {
        assert_eq!(answer.chunk().await.unwrap().unwrap(), format!("part {number}\n"));
    }
    drop((answer, paying));
    assert_eq!(press.charged().await, 4 * PART);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_channel_is_used_up_nothing_more_is_signed_and_the_next_request_brings_the_money() {
    let press = Press::open().await;
    let client = press.wallet.client().unwrap();
    let mut answer = client.get(press.url.replace("story", "saga")).send().await.unwrap();
    let paying = press.wallet.pay_on(&answer, 100).unwrap().unwrap();
    // Twelve vouchers of two parts: the thirteenth would be above the hundred thousand that are there.
    for number in 1..=24 {
        assert_eq!(answer.chunk().await.unwrap().unwrap(), format!("part {number}\n"));
    }
    let error = paying.ended().await.unwrap_err();
    let Some(PaymentError::Denied(denied)) = payment_error(&error) else { panic!("{error:?}") };
    assert!(
        denied.iter().any(|offer| offer.decision == Decision::Deny(Reason::DepositWhileUnderWay)),
        "{denied:?}"
    );
    drop(answer);
    let channels = press.wallet.channels().await.unwrap();
    assert_eq!((channels.len(), channels[0].balance), (1, Amount::from(100_000)));
    assert!(channels[0].deposit.is_none(), "nothing is signed that somebody could still put in");
    assert_eq!(press.charged().await, 24 * PART);
    let before = token_balance(&press.market.chain, account(PAYER).address()).await;
    let next = client.get(&press.url).send().await.unwrap();
    assert_eq!(next.status(), 200);
    drop(next);
    let after = token_balance(&press.market.chain, account(PAYER).address()).await;
    assert_eq!(before.checked_sub(after).unwrap(), 100_000u64.into(), "one deposit more");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_pays_on_as_far_as_it_is_told_to() {
    let press = Press::open().await;
    let pay = |arguments: &[&str]| {
        let mut program = tollway();
        program.args(["pay", "--json"]).args(arguments).arg(&press.url);
        program.env("TOLLWAY_KEY", ACCOUNTS[PAYER].secret_key.to_string());
        run(program)
    };
    let (code, told) = pay(&["--pay-on", "5"]).await;
    assert_eq!(code, Some(0), "{told:?}");
    assert!(told[0]["body"].as_str().is_some_and(|body| body.ends_with("part 7\n")), "{told:?}");
    assert_eq!(press.charged().await, PARTS as u64 * PART);
}

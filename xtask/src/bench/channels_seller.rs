//! The sellers of bench `channels` that are ours, each a process of its own with as many threads as there are cores: a
//! paywall as a program would build it; and a route that knows nothing of payments and answers as many bytes.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::net::TcpListener;
use tollway_core::{Network, SchemeName};
use tollway_devnet::genesis;
use tollway_evm::Signer;
use tollway_seller::{ClaimPolicy, HttpFacilitator, Paywall, StoredResponses};

use super::channels_agents::{CHAIN_ID, PRICE, PRICE_ATOMIC, RECEIVER, WITHDRAW_DELAY_SECONDS, authorizer};
use super::channels_parts::{assets, scheme};
use super::channels_stage::LEAN;
use super::child::announce;
use super::market::{PATH, spawn};

/// Serves until standard input ends, which it does when whoever started us is gone. Without a facilitator, the bare route.
pub(super) fn run(facilitator: &str, ledger: &str, keeps: &str) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?.to_string();
        let shop = if facilitator.is_empty() {
            bare()?
        } else {
            priced(&address, facilitator, ledger, keeps).await?
        };
        let server = spawn(listener, shop);
        announce(&address)?;
        server.await.context("the seller ended")
    })
}

async fn priced(address: &str, facilitator: &str, ledger: &str, keeps: &str) -> Result<Router> {
    let mut paywall = Paywall::builder(format!("http://{address}"))
        .accept_by(SchemeName::BATCH_SETTLEMENT, Network::evm(CHAIN_ID).as_str(), RECEIVER.to_string())
        .scheme(scheme()?)
        .assets(assets())
        .facilitator(HttpFacilitator::new(facilitator)?)
        // All cells share the chain: where something was claimed, the next seller finds the first vouchers worth nothing.
        .claims(ClaimPolicy::default().by_hand())
        .ledger(tollway_ledger::open(ledger).await?);
    if keeps == LEAN {
        paywall = paywall.stored_responses(StoredResponses::off());
    }
    let priced = paywall.start().await?.price(PRICE)?;
    Ok(Router::new().route(PATH, get(|| async { "data" }).layer(priced)))
}

/// Answers with as many bytes as a paid answer has, whoever asks; and with an offer to who brings nothing.
fn bare() -> Result<Router> {
    let (channel, amount) = (format!("{:#066x}", 1), PRICE_ATOMIC.to_string());
    let offer = json!({
        "scheme": "batch-settlement", "network": format!("eip155:{CHAIN_ID}"), "amount": amount,
        "asset": genesis::USDC.to_string(), "payTo": RECEIVER.to_string(), "maxTimeoutSeconds": 300,
        "extra": { "name": "USDC", "version": "2", "receiverAuthorizer": authorizer()?.address().to_string(),
                   "withdrawDelay": WITHDRAW_DELAY_SECONDS, "minDeposit": "3000" },
    });
    let required = json!({ "x402Version": 2, "resource": { "url": format!("http://127.0.0.1:65535{PATH}") },
                           "accepts": [offer] });
    let receipt = json!({
        "success": true, "transaction": "", "network": format!("eip155:{CHAIN_ID}"), "payer": RECEIVER.to_string(),
        "amount": "", "extra": { "chargedAmount": amount, "channelState": {
            "channelId": channel, "balance": "100000000", "totalClaimed": "0", "withdrawRequestedAt": 0,
            "refundNonce": "0", "chargedCumulativeAmount": "1000000" } },
    });
    let header = |value: serde_json::Value| HeaderValue::from_str(&STANDARD.encode(value.to_string()));
    let (required, receipt) = (header(required)?, header(receipt)?);
    Ok(Router::new().route(
        PATH,
        get(move |headers: HeaderMap| std::future::ready(answer(&headers, &required, &receipt))),
    ))
}

fn answer(headers: &HeaderMap, required: &HeaderValue, receipt: &HeaderValue) -> Response {
    if headers.contains_key("payment-signature") {
        let header = HeaderName::from_static("payment-response");
        return ([(header, receipt.clone())], "data").into_response();
    }
    let header = HeaderName::from_static("payment-required");
    (StatusCode::PAYMENT_REQUIRED, [(header, required.clone())], "").into_response()
}

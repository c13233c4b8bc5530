//! Payments that must be refused, made from honest ones.

use std::sync::Arc;

use anyhow::Context;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use tollway_buyer::{PaymentHeader, Policy, Wallet};
use tollway_core::model::{Accepted, PaymentPayload, PaymentRequired};
use tollway_core::wire::{self, PAYMENT_REQUIRED};
use tollway_core::{Amount, BuyerScheme, Clock, ManualClock, SystemClock, UnixTime};
use tollway_evm::exact::ExactBuyer;

use super::world::World;

/// The offers of an unpaid request.
pub(super) async fn offers(http: &reqwest::Client, url: &str) -> anyhow::Result<PaymentRequired> {
    let response = http.get(url).send().await?;
    let header = response.headers().get(PAYMENT_REQUIRED).context("no PAYMENT-REQUIRED header")?;
    Ok(wire::decode_payment_required(&wire::decode_header("PAYMENT-REQUIRED", header.as_bytes())?)?)
}

/// A payment whose signature has one digit changed.
pub(super) async fn tampered(world: &World, required: &PaymentRequired) -> anyhow::Result<HeaderMap> {
    let mut payment = sign(world, required, SystemClock.now()).await?;
    let signature = payment.payload.get("signature").and_then(Value::as_str).map(str::to_owned);
    let mut signature = signature.context("no signature")?;
    let flipped = if signature.ends_with("aa1b") { "bb1b" } else { "aa1b" };
    signature.replace_range(signature.len() - 4.., flipped);
    payment.payload.insert("signature".to_owned(), signature.into());
    headers(&payment)
}

/// A payment of one millionth of a dollar that claims to accept the offer.
pub(super) async fn underpaid(world: &World, required: &PaymentRequired) -> anyhow::Result<HeaderMap> {
    let mut cheaper = required.clone();
    for offer in &mut cheaper.accepts {
        offer.amount = Amount::from(1);
    }
    let mut payment = sign(world, &cheaper, SystemClock.now()).await?;
    let offer = required.accepts.first().context("no offers")?;
    payment.accepted = Accepted::Offer(Box::new(offer.clone()));
    headers(&payment)
}

/// A payment that was signed an hour ago.
pub(super) async fn expired(world: &World, required: &PaymentRequired) -> anyhow::Result<HeaderMap> {
    let an_hour_ago = UnixTime(SystemClock.now().0.saturating_sub(3_600));
    let clock = ManualClock::new(an_hour_ago);
    headers(&sign(world, required, clock.now()).await?)
}

/// The same payment again.
pub(super) fn again(payment: &PaymentHeader) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(payment.name(), HeaderValue::from_str(payment.value())?);
    Ok(headers)
}

/// The agent's honest wallet.
pub(super) fn wallet(world: &World, cap: &str) -> anyhow::Result<Wallet> {
    let policy = Policy::default().cap_per_payment(cap.parse()?);
    Ok(Wallet::builder().signer(world.agent.clone()).assets(world.assets.clone()).policy(policy).build()?)
}

async fn sign(world: &World, required: &PaymentRequired, now: UnixTime) -> anyhow::Result<PaymentPayload> {
    let offer = required.accepts.first().context("no offers")?;
    let buyer = ExactBuyer::new(Arc::clone(&world.agent) as _, world.assets.clone());
    Ok(buyer.sign(required, offer, now).await?)
}

fn headers(payment: &PaymentPayload) -> anyhow::Result<HeaderMap> {
    let (name, value) = wire::encode_payment_header(payment);
    let mut headers = HeaderMap::new();
    headers.insert(name, HeaderValue::from_str(&value)?);
    Ok(headers)
}

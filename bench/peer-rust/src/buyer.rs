//! The published Rust client in a closed loop, for benches.
//!
//!     peer-rust-buyer '{"url", "key", "inFlight", "warmUpMs", "measuredMs"}'
//!
//! It is composed as the documentation of `x402-reqwest` shows. Every purchase is of another URL, `?n=` and a number. It
//! prints `begin` and `end` around what is measured, then `{"latenciesUs": [...], "errors": {"what": count}}`.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy_signer_local::PrivateKeySigner;
use reqwest_middleware::ClientWithMiddleware;
use serde_json::{Value, json};
use tokio::time::sleep_until;
use x402_chain_eip155::V2Eip155ExactClient;
use x402_reqwest::{ReqwestWithPayments, ReqwestWithPaymentsBuild, X402Client};

/// After an error, so that a seller that refuses everything is not asked in a spin.
const AFTER_ERROR: Duration = Duration::from_millis(20);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let plan: Value = serde_json::from_str(&std::env::args().nth(1).ok_or("a plan is missing")?)?;
    let text = |name: &str| plan[name].as_str().map(str::to_owned).ok_or("the plan lacks a text");
    let number = |name: &str| plan[name].as_u64().ok_or("the plan lacks a number");
    let (url, key) = (text("url")?, text("key")?);
    let signer: Arc<PrivateKeySigner> = Arc::new(key.parse()?);
    let payments = X402Client::new().register(V2Eip155ExactClient::new(signer));
    let client = reqwest::Client::new().with_payments(payments).build();
    let begin = Instant::now() + Duration::from_millis(number("warmUpMs")?);
    let end = begin + Duration::from_millis(number("measuredMs")?);
    let next = Arc::new(AtomicU64::new(0));
    let mut buyers = tokio::task::JoinSet::new();
    for _ in 0..number("inFlight")? {
        let (client, url, next) = (client.clone(), url.clone(), Arc::clone(&next));
        buyers.spawn(async move {
            let (mut latencies, mut errors) = (Vec::new(), BTreeMap::new());
            while Instant::now() < end {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let sent = Instant::now();
                let bought = buy(&client, &format!("{url}?n={number}")).await;
                let done = Instant::now();
                match bought {
                    Ok(()) if done >= begin && done < end => latencies.push((done - sent).as_micros()),
                    Ok(()) => {}
                    Err(error) => {
                        *errors.entry(error).or_insert(0u64) += 1;
                        tokio::time::sleep(AFTER_ERROR).await;
                    }
                }
            }
            (latencies, errors)
        });
    }
    sleep_until(begin.into()).await;
    println!("begin");
    sleep_until(end.into()).await;
    println!("end");
    let (mut latencies, mut errors) = (Vec::new(), BTreeMap::<String, u64>::new());
    for (own, failed) in buyers.join_all().await {
        latencies.extend(own);
        failed.into_iter().for_each(|(error, count)| *errors.entry(error).or_default() += count);
    }
    println!("{}", json!({ "latenciesUs": latencies, "errors": errors }));
    Ok(())
}

async fn buy(client: &ClientWithMiddleware, url: &str) -> Result<(), String> {
    let response = client.get(url).send().await.map_err(|error| error.to_string())?;
    let (status, is_settled) = (response.status(), response.headers().contains_key("payment-response"));
    let body = response.text().await.map_err(|error| error.to_string())?;
    match status.as_u16() {
        200 if is_settled && body == "data" => Ok(()),
        status => Err(format!("answered {status}")),
    }
}

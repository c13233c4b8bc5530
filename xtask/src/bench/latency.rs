//! How long one purchase takes an agent that does nothing else: the wallet's client against a whole market.
//!
//! Measured, one request after the other, on a devnet with instant blocks: `end to end` through the wallet's
//! client, which asks, reads the 402, holds it against its policy, signs and pays; and `paid leg`, the request
//! with a payment that was signed before, through a client that does nothing but send it.
//!
//! The floor is the chain: a real one adds the wait for its block to every number here. How to read it: what
//! `end to end` has over `paid leg` is the first leg, the signature and the wallet.
#![expect(clippy::float_arithmetic, reason = "a measurement is not money")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::http::{Connection, get};
use super::market::{Market, PATH, Place};
use super::{Row, Rows, percentile};

const PURCHASES: usize = 2_000;
const WARM_UP: usize = 100;

/// Measures both, with the facilitator in the seller's process.
pub(super) fn run(rows: &mut Rows) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let market = Market::open(Place::AllHere).await?;
        let whole = end_to_end(&market).await?;
        push(rows, "end to end", whole);
        push(rows, "paid leg", paid_leg(&market).await?);
        Ok(())
    })
}

async fn end_to_end(market: &Market) -> Result<Vec<Duration>> {
    let client = market.wallet()?.client()?;
    let mut times = Vec::new();
    for _ in 0..WARM_UP + PURCHASES {
        let start = Instant::now();
        let response = client.get(market.url()).send().await?;
        let paid = tollway_buyer::paid(&response).is_some();
        let body = response.error_for_status()?.bytes().await?;
        times.push(start.elapsed());
        ensure!(paid && body == "data", "a purchase went wrong");
    }
    Ok(times.split_off(WARM_UP))
}

async fn paid_leg(market: &Market) -> Result<Vec<Duration>> {
    let mut connection = Connection::open(&market.address).await?;
    let mut times = Vec::new();
    for header in market.sign(WARM_UP + PURCHASES).await? {
        let request = get(PATH, Some(("payment-signature", &header)));
        let start = Instant::now();
        let status = connection.exchange(&request).await.context("the paid leg")?;
        times.push(start.elapsed());
        ensure!(status == 200, "the seller answered {status}");
    }
    Ok(times.split_off(WARM_UP))
}

fn push(rows: &mut Rows, params: &str, mut times: Vec<Duration>) {
    times.sort();
    for (metric, percent) in [("p50", 50), ("p99", 99)] {
        let value = percentile(&times, percent).as_secs_f64() * 1e3;
        let (system, params) = ("tollway".to_owned(), params.to_owned());
        rows.push(Row { bench: "latency", system, params, metric, value, unit: "ms" });
    }
}

//! How many paid requests a whole market serves on this machine: buyers, seller, facilitator and chain together.
//!
//! Measured: a closed loop of so many buyers, each with one request in flight on a connection of its own. Every
//! payment was signed before the clock started and is used once. The seller is a real HTTP server; each
//! request is checked, verified, served, settled in a transaction and proved by its receipt before the answer
//! leaves. The chain is the devnet, with a block for every transaction. Three ways to put it together:
//!
//! - `all in one process`: seller, facilitator and node. The least that it can cost.
//! - `facilitator over HTTP`: the same with HTTP between seller and facilitator.
//! - `node in its own process`: the facilitator speaks JSON-RPC over HTTP, as to any node. Only here is
//!   `cpu per payment` the price of our own work, without the chain's.
//!
//! There is no simple floor: the chain costs what it costs, and a real one waits for its block. How to read
//! it: `cpu per payment` is everything but the load, the devnet included; `payments per transaction` says how
//! well settlement batches; at one in flight, `p50` is what the machinery adds to a chain's own time.
#![expect(clippy::float_arithmetic, reason = "a measurement is not money")]
#![expect(clippy::cast_precision_loss, reason = "counts of a few seconds fit")]

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex;

use super::http::{Connection, get};
use super::market::{Market, PATH, Place, block_on};
use super::{Row, Rows, cpu, percentile};

/// Requests in flight, and the most payments that are spent on them.
const LEVELS: [(usize, usize); 4] = [(1, 4_000), (16, 8_000), (64, 12_000), (256, 16_000)];
const SYSTEMS: [(Place, &str); 3] = [
    (Place::AllHere, "all in one process"),
    (Place::HttpBetween, "facilitator over HTTP"),
    (Place::NodeApart, "node in its own process"),
];
const WARM_UP: usize = 200;
/// However many payments are left.
const LONGEST: Duration = Duration::from_secs(4);

/// Measures each place of the facilitator at each level.
pub(super) fn run(rows: &mut Rows) -> Result<()> {
    for (place, system) in SYSTEMS {
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        let market = runtime.block_on(Market::open(place))?;
        load(&runtime, &market, 4, WARM_UP)?;
        for (in_flight, payments) in LEVELS {
            let result = load(&runtime, &market, in_flight, payments)?;
            result.push(rows, system, in_flight);
        }
        drop(market);
        runtime.shutdown_timeout(Duration::from_secs(1));
    }
    Ok(())
}

/// What one level came to.
struct Level {
    elapsed: Duration,
    latencies: Vec<Duration>,
    errors: usize,
    transactions: u64,
    market_cpu: Duration,
    load_cpu: Duration,
    node_cpu: Duration,
}

impl Level {
    fn push(mut self, rows: &mut Rows, system: &str, in_flight: usize) {
        self.latencies.sort();
        let paid = self.latencies.len() as f64;
        let mut push = |metric, value, unit| {
            let (system, params) = (system.to_owned(), format!("in_flight={in_flight}"));
            rows.push(Row { bench: "paid", system, params, metric, value, unit });
        };
        push("paid requests", paid / self.elapsed.as_secs_f64(), "1/s");
        push("p50", percentile(&self.latencies, 50).as_secs_f64() * 1e3, "ms");
        push("p99", percentile(&self.latencies, 99).as_secs_f64() * 1e3, "ms");
        push("errors", self.errors as f64, "requests");
        push("payments per transaction", paid / self.transactions.max(1) as f64, "payments");
        push("cpu per payment", self.market_cpu.as_secs_f64() * 1e6 / paid, "us");
        if !self.node_cpu.is_zero() {
            push("cpu per payment of the node", self.node_cpu.as_secs_f64() * 1e6 / paid, "us");
        }
        push("cpu per payment of the load", self.load_cpu.as_secs_f64() * 1e6 / paid, "us");
    }
}

/// Spends `payments` payments, `in_flight` at a time, from a thread of its own.
fn load(runtime: &Runtime, market: &Market, in_flight: usize, payments: usize) -> Result<Level> {
    let headers = runtime.block_on(market.sign(payments))?;
    let requests = headers.iter().map(|header| get(PATH, Some(("payment-signature", header)))).collect();
    let transactions = runtime.block_on(market.transactions())?;
    let (address, node_before) = (market.address.clone(), market.node_cpu()?);
    let cpu_before = cpu::of_this_process()?;
    let spent = thread::spawn(move || block_on(spend(address, requests, in_flight))?).join();
    let mut level = spent.map_err(|_| anyhow!("the load broke off"))??;
    level.market_cpu = (cpu::of_this_process()? - cpu_before).saturating_sub(level.load_cpu);
    level.node_cpu = market.node_cpu()? - node_before;
    level.transactions = runtime.block_on(market.transactions())? - transactions;
    Ok(level)
}

async fn spend(address: String, requests: Vec<Vec<u8>>, in_flight: usize) -> Result<Level> {
    let mut connections = Vec::new();
    for _ in 0..in_flight {
        connections.push(Connection::open(&address).await?);
    }
    let left = Arc::new(Mutex::new(requests.into_iter()));
    let (cpu_before, start) = (cpu::of_this_thread()?, Instant::now());
    let mut buyers = tokio::task::JoinSet::new();
    for mut connection in connections {
        let left = Arc::clone(&left);
        buyers.spawn(async move {
            let (mut latencies, mut errors) = (Vec::new(), 0);
            while start.elapsed() < LONGEST {
                let Some(request) = left.lock().await.next() else { break };
                let sent = Instant::now();
                match connection.exchange(&request).await? {
                    200 => latencies.push(sent.elapsed()),
                    _ => errors += 1,
                }
            }
            Ok::<_, anyhow::Error>((latencies, errors))
        });
    }
    let (mut latencies, mut errors) = (Vec::new(), 0);
    while let Some(buyer) = buyers.join_next().await {
        let (own, failed) = buyer.context("a buyer broke off")??;
        latencies.extend(own);
        errors += failed;
    }
    let (elapsed, load_cpu) = (start.elapsed(), cpu::of_this_thread()? - cpu_before);
    let (market_cpu, node_cpu) = (Duration::ZERO, Duration::ZERO);
    Ok(Level { elapsed, latencies, errors, transactions: 0, market_cpu, load_cpu, node_cpu })
}

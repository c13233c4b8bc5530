//! What a wallet that keeps books costs: beside clients that keep none, on the same seller, in turn.
//!
//! - Decisions a second of a policy, on one core, alone.
//! - Purchases a second and their latency, with 1, 16 and 64 in flight: the library with its ledger in a file, in a file
//!   without a disk, in memory and on PostgreSQL; `tollway proxy`; and the published clients `x402-reqwest` and
//!   `@x402/fetch`, which write nothing down.
//! - What durability costs: the difference, beside the price of one fsync of the same disk in the same run.
//!
//! A purchase is a request, its 402, a decision, a signature, and the request with the payment, to the last byte of the
//! answer. Every one is of another URL: the same request twice would be one purchase of our wallet's. The seller
//! (`wallet_seller`) is a real paywall that settles at once. It has one core, whoever pays the other.

use std::fs;

use anyhow::{Context, Result};

use super::chart::Chart;
use super::findings::short;
use super::wallet_loop::Plan;
use super::wallet_page::{Finding, durability, rate, table};
use super::wallet_systems::{Measured, SYSTEMS, Stage, System};
use super::{How, Rows, machine, wallet_decisions};

const LEVELS: [usize; 3] = [1, 16, 64];
const RUNS: usize = 3;
/// The TypeScript client is compiled while it runs: by then it is.
const WARM_UP_MS: u64 = 1_000;
const MEASURED_MS: u64 = 2_500;
const QUICK_MS: u64 = 800;
/// In the curve.
const DRAWN: [System; 4] = [System::Sqlite, System::Proxy, System::PeerRust, System::PeerTypescript];

/// Measures all of it, and writes `wallet.md`.
pub(super) fn run(how: How<'_>, rows: &mut Rows) -> Result<()> {
    let stage = Stage::prepare(how.root)?;
    let is_partial = how.is_quick || how.only.is_some() || how.rival.is_some();
    let directory = if is_partial { stage.directory.clone() } else { how.root.join("docs/bench") };
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    let decisions = wallet_decisions::run(rows)?;
    let sync_ms = stage.sync_ms()?;
    let wants = |name: &str, part: Option<&str>| part.is_none_or(|part| name.contains(part));
    let levels: Vec<_> =
        LEVELS.into_iter().filter(|level| wants(&format!("{level} in flight"), how.only)).collect();
    let systems = SYSTEMS.into_iter().filter(|system| stage.has(*system) && wants(system.name(), how.rival));
    let mut findings: Vec<Finding> = systems
        .flat_map(|system| levels.iter().map(move |level| (system, *level)))
        .map(|(system, in_flight)| Finding { system, in_flight, runs: Vec::new() })
        .collect();
    for round in 0..how.runs.unwrap_or(if how.is_quick { 1 } else { RUNS }).max(1) {
        for finding in &mut findings {
            let Finding { system, in_flight, .. } = *finding;
            eprintln!("{}, {in_flight} in flight, run {}", system.name(), round + 1);
            let (warm_up_ms, measured_ms) =
                if how.is_quick { (QUICK_MS / 2, QUICK_MS) } else { (WARM_UP_MS, MEASURED_MS) };
            let plan = Plan { in_flight, warm_up_ms, measured_ms, ..Plan::default() };
            finding.runs.push(stage.measure(system, &plan).unwrap_or_else(|error| broken(&error)));
        }
    }
    findings.iter().for_each(|finding| finding.push(rows));
    let mut text = format!(
        "# cargo xtask bench wallet\n\nWritten by that command. {}; load when it began: {load}\n\n## Decisions, one \
         core\n\n| policy | decisions a second | with every rule explained |\n|---|---:|---:|\n",
        machine()
    );
    for (policy, judged, explained) in decisions {
        text.push_str(&format!("| {policy} | {} | {} |\n", short(judged), short(explained)));
    }
    for level in &levels {
        text.push_str(&format!("\n## {level} in flight\n\n{}", table(&findings, *level)));
    }
    text.push_str(&format!("\n## What durability costs\n\n{}", durability(&findings, &levels, sync_ms)));
    if levels.len() > 1 {
        draw(&findings, &levels, &directory.join("wallet-throughput.svg"))?;
        text.push_str("\n![paid requests a second against requests in flight](wallet-throughput.svg)\n");
    }
    let page = directory.join("wallet.md");
    fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))
}

fn draw(findings: &[Finding], levels: &[usize], file: &std::path::Path) -> Result<()> {
    let curve = |system: System| {
        let point = |level: &usize| {
            Some((
                f64::from(u32::try_from(*level).ok()?),
                rate(findings, system, *level).filter(|rate| *rate > 0.0)?,
            ))
        };
        (system.name().to_owned(), levels.iter().filter_map(point).collect())
    };
    let (machine, title) = (machine(), "wallet: paid requests a second against requests in flight");
    let curves = DRAWN.map(curve).into();
    Chart { title, machine: &machine, x: "in flight", y: "paid requests a second", is_log: true, curves }
        .draw(file)
}

/// A run that broke: it does not take the others with it, but it counts as an error.
fn broken(error: &anyhow::Error) -> Measured {
    eprintln!("the run broke: {error:#}");
    Measured { errors: 1, why: Some(format!("the run broke: {error}")), ..Measured::default() }
}

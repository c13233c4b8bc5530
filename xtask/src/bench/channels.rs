//! Thousands of agents at one endpoint, each on a channel of its own: what a request costs that is paid by a voucher.
//!
//! - Paid requests a second and their latency with 100, 1,000 and 10,000 agents, in a closed loop and in an open one at half
//!   its rate: our library with its ledger in a file and in memory, and the published TypeScript server with its channels
//!   in files and in memory; beside a route without a price, which is the floor of HTTP and of the load.
//! - What a channel takes: memory, bytes written, and at the end the gas of one claim for all.
//! - What all of it costs as the ledger fills up, and where the time of a request goes.
//!
//! Channels are opened on our devnet before. The load shares the cores with the seller, as in a market of one machine.

use std::fs;

use anyhow::{Context, Result};

use super::channels_claim::Claimed;
use super::channels_load::Plan;
use super::channels_page::{Finding, Found, page};
use super::channels_stage::{Measured, SYSTEMS, Scratch, Stage, System};
use super::{How, Rows};

const LEVELS: [usize; 3] = [100, 1_000, 10_000];
const QUICK_LEVELS: [usize; 1] = [100];
/// Where only the claim is measured.
const CLAIMED: usize = 1_000;
/// Channels in the ledger.
const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
const RUNS: usize = 3;
const WARM_UP_MS: u64 = 750;
const MEASURED_MS: u64 = 3_500;
const QUICK_MS: u64 = 500;

/// Measures all of it, and writes `channels.md`.
pub(super) fn run(how: How<'_>, rows: &mut Rows) -> Result<()> {
    let is_partial = how.is_quick || how.only.is_some() || how.rival.is_some();
    let wants = |name: &str, part: Option<&str>| part.is_none_or(|part| name.contains(part));
    let levels: &[usize] = if how.is_quick { &QUICK_LEVELS } else { &LEVELS };
    let levels: Vec<usize> =
        levels.iter().copied().filter(|level| wants(&format!("{level} agents"), how.only)).collect();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    let mut found = Found { levels, load, ..Found::default() };
    let most = found.levels.iter().copied().max().unwrap_or(CLAIMED);
    let stage = Stage::prepare(how.root, most)?;
    found.findings = measure(&stage, how, &found.levels, |system| wants(system.name(), how.rival))?;
    found.findings.iter().for_each(|finding| finding.push(rows));
    if wants("parts", how.only) {
        found.parts = super::channels_parts::run(rows)?;
    }
    if wants("store", how.only) {
        let sizes = if how.is_quick { &SIZES[..1] } else { &SIZES };
        found.filled = stage.fill(sizes, &Scratch::new(&stage.directory)?)?;
    }
    if wants("claim", how.only) {
        // The last thing: where something was claimed, the first vouchers are worth nothing any more.
        let claimed = claim(&stage, most)?;
        claimed.push(rows);
        found.claimed = Some(claimed);
    }
    let directory = super::channels_stage::target(how.root)?;
    let directory = if is_partial { directory } else { how.root.join("docs/bench") };
    let text = page(&found, &directory)?;
    let page = directory.join("channels.md");
    fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))
}

fn measure(
    stage: &Stage,
    how: How<'_>,
    levels: &[usize],
    wants: impl Fn(System) -> bool,
) -> Result<Vec<Finding>> {
    let cells = SYSTEMS.into_iter().filter(|system| wants(*system));
    let mut findings: Vec<Finding> = cells
        .flat_map(|system| levels.iter().map(move |agents| (system, *agents)))
        .map(|(system, agents)| Finding { system, agents, runs: Vec::new() })
        .collect();
    for round in 0..how.runs.unwrap_or(if how.is_quick { 1 } else { RUNS }).max(1) {
        for Finding { system, agents, runs } in &mut findings {
            // What is not ours and slow by an order of magnitude is measured once: three runs would take as long as all else.
            if round > 0 && !system.is_ours() {
                continue;
            }
            eprintln!("{}, {agents} agents, run {}", system.name(), round + 1);
            let plan = plan(*system, *agents, how.is_quick);
            let scratch = Scratch::new(&stage.directory)?;
            let measured = stage.measure(*system, &plan, &scratch);
            runs.push(measured.unwrap_or_else(|error| broken(&error)));
        }
    }
    Ok(findings)
}

/// Has every agent served, kills the seller, and claims what its ledger says.
fn claim(stage: &Stage, agents: usize) -> Result<Claimed> {
    eprintln!("one claim for {agents} channels");
    let scratch = Scratch::new(&stage.directory)?;
    let measured = stage.measure(System::Sqlite, &plan(System::Sqlite, agents, true), &scratch)?;
    stage.claim(&scratch, agents, measured.answered)
}

/// For both loops: the open one is half as fast.
fn plan(system: System, agents: usize, is_quick: bool) -> Plan {
    let (warm_up_ms, measured_ms) =
        if is_quick { (QUICK_MS / 2, QUICK_MS) } else { (WARM_UP_MS, MEASURED_MS) };
    let each = (warm_up_ms + measured_ms) * 3 / 2;
    let vouchers = usize::try_from(system.most_per_second() * each / 1_000).unwrap_or(usize::MAX);
    let is_read = system != System::Bare;
    Plan { address: String::new(), agents, vouchers, warm_up_ms, measured_ms, is_read }
}

/// A run that broke: it does not take the others with it, but it counts as an error.
fn broken(error: &anyhow::Error) -> Measured {
    eprintln!("the run broke: {error:#}");
    Measured { broken: Some(error.to_string()), ..Measured::default() }
}

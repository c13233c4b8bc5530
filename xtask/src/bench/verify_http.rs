//! `/verify` of three facilitators, over HTTP, in turn.
//!
//! - One core: the facilitator has core 0 to itself, its node answers from memory and shares core 1 with the load.
//!   What a facilitator costs by itself; the chain costs nothing.
//! - A real node: anvil, 256 in flight, everything on the machine's cores together.
//! - Bad traffic: good requests at an even rate, and beside them none, as many, or nine times as many bad ones.
//! - A node far away: one request at a time, and a node that answers 20 ms later. How many rounds a verify waits.
//!
//! Every payment is a different one. How to read it: CPU a payment is the price, throughput is what the machine
//! makes of it; `node's CPU` is what a facilitator makes its node do.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Rows;
use super::anvil::Blocks;
use super::cell::{Cell, Node};
use super::closed_loop::Plan;
use super::contest::Contest;
use super::findings::{ASKED, COMMON, Column, Finding, short};
use super::rivals::{RIVALS, Rival};

const IN_FLIGHT: usize = 256;
/// Good requests a second beside bad ones: far from what any of the three can take.
const GOOD_RATE: u64 = 100;
const GOOD_CONNECTIONS: usize = 32;
/// Of all requests so many are bad, percent.
const BAD_PERCENTS: [u64; 3] = [0, 50, 90];
const FAR: Duration = Duration::from_millis(20);
const CHAIN: Node = Node::Anvil(Blocks::Every(1));

/// Measures all of it, and writes `verify.md`.
pub(super) fn run(contest: &mut Contest, rows: &mut Rows) -> Result<()> {
    let plan = contest.stage.tempo.verify(IN_FLIGHT);
    if super::child::can_pin() {
        let findings = contest.compare(rows, "one core, node in memory", &RIVALS, |rival| Cell {
            is_pinned: true,
            ..Cell::new(rival, Node::Ready, plan.clone())
        })?;
        let heading = "## One core, the node's answers from memory, 256 in flight";
        contest.show(heading, &findings, &[&COMMON, &ASKED])?;
    }
    let findings = contest
        .compare(rows, "anvil, 256 in flight", &RIVALS, |rival| Cell::new(rival, CHAIN, plan.clone()))?;
    contest.show("## A real node, all on shared cores, 256 in flight", &findings, &[&COMMON, &ASKED])?;
    bad_traffic(contest, rows)?;
    far_node(contest, rows)?;
    let tempo = contest.stage.tempo;
    contest
        .curves("Against requests in flight, real node, shared cores, one run a point", |rival, in_flight| {
            Cell::new(rival, CHAIN, tempo.verify(in_flight))
        })
}

fn bad_traffic(contest: &mut Contest, rows: &mut Rows) -> Result<()> {
    const COLUMNS: [Column; 5] = [
        ("good p50, ms", |finding| short(finding.median(|run| run.outcome.p50_ms))),
        ("good p99, ms", |finding| finding.spread(|run| run.outcome.p99_ms)),
        ("good ones a second", |finding| short(finding.median(|run| run.per_second))),
        ("bad ones refused", |finding| {
            finding.runs.iter().map(|run| run.outcome.refused).sum::<u64>().to_string()
        }),
        ("errors of good ones", Finding::errors),
    ];
    contest.say(&format!(
        "## Good traffic beside bad traffic\n\n{GOOD_RATE} good requests a second throughout, and bad ones beside \
         them: in turn wrong signature, wrong amount, expired, wrong network, no JSON, and validly signed by a payer \
         without money. Real node, shared cores.\n"
    ))?;
    for percent in BAD_PERCENTS {
        let bad_rate = GOOD_RATE * percent / (100 - percent);
        let plan = Plan { good_rate: GOOD_RATE, bad_rate, ..contest.stage.tempo.verify(GOOD_CONNECTIONS) };
        let scenario = format!("{percent} % bad");
        let findings =
            contest.compare(rows, &scenario, &RIVALS, |rival| Cell::new(rival, CHAIN, plan.clone()))?;
        for finding in findings.iter().filter(|finding| finding.rival.is_ours()) {
            let taken: u64 = finding.runs.iter().map(|run| run.outcome.bad_taken).sum();
            ensure!(taken == 0, "{taken} bad payments were taken");
        }
        contest.show(&format!("### {scenario}"), &findings, &[&COLUMNS])?;
    }
    Ok(())
}

fn far_node(contest: &mut Contest, rows: &mut Rows) -> Result<()> {
    const COLUMNS: [Column; 3] = [
        ("p50, ms", |finding| finding.spread(|run| run.outcome.p50_ms)),
        ("p99, ms", |finding| short(finding.median(|run| run.outcome.p99_ms))),
        ("RPC calls a payment", |finding| finding.calls.map_or_else(String::new, short)),
    ];
    contest.say("## One request at a time, and a node that answers 20 ms later\n")?;
    let plan = contest.stage.tempo.verify(1);
    for (scenario, delay) in [("node near", Duration::ZERO), ("node 20 ms away", FAR)] {
        let cell = |rival: Rival| Cell { delay, is_counted: true, ..Cell::new(rival, CHAIN, plan.clone()) };
        let findings = contest.compare(rows, &format!("alone, {scenario}"), &RIVALS, cell)?;
        contest.show(&format!("### {scenario}"), &findings, &[&COLUMNS])?;
    }
    Ok(())
}

//! `/settle` of three facilitators, over HTTP, in turn, on anvil with blocks at an interval.
//!
//! - A closed loop, at 256 and 4,096 in flight on blocks of a second, and at 256 on blocks of two seconds. It is
//!   bounded by in flight / block time: compare at equal concurrency only.
//! - Alone: one settlement at a time, each begun at another moment between two blocks; its latency, and how long after
//!   its block the answer came.
//! - Held: payments in flight while no block comes, for what memory they take.
//! - Gas of a transaction against how many payments are in it, which is the chain's doing.
//!
//! Everybody has the same keys with money for gas. `money moved all the same` counts payments that the token knows of
//! and that were told as something else: an error that cost the payer.

use anyhow::Result;

use super::alone::alone;
use super::anvil::Blocks;
use super::cell::{Cell, LANES, Node};
use super::closed_loop::Plan;
use super::contest::Contest;
use super::findings::{ASKED, CHAIN, COMMON, short};
use super::rivals::{RIVALS, Rival};
use super::{Row, Rows, gas};

/// In flight, and seconds between blocks.
const CELLS: [(usize, u64); 3] = [(256, 1), (4_096, 1), (256, 2)];
/// Ours with other ledgers too, where they are there.
const CONTESTANTS: [Rival; 5] =
    [Rival::Tollway, Rival::TollwayPostgres, Rival::TollwayMemory, Rival::PeerRust, Rival::PeerTypescript];

/// Measures all of it, and writes `settle.md`.
pub(super) fn run(contest: &mut Contest, rows: &mut Rows) -> Result<()> {
    let tempo = contest.stage.tempo;
    contest.say(&format!("{LANES} keys pay for gas, the same for everybody.\n"))?;
    for (in_flight, seconds) in CELLS {
        let scenario = format!("{in_flight} in flight, blocks of {seconds} s");
        let findings = contest.compare(rows, &scenario, &CONTESTANTS, |rival| {
            Cell::new(rival, Node::Anvil(Blocks::Every(seconds)), tempo.settle(in_flight, seconds))
        })?;
        contest.show(&format!("## {scenario}"), &findings, &[&COMMON, &CHAIN, &ASKED])?;
    }
    one_by_one(contest, rows)?;
    held(contest, rows)?;
    contest
        .curves("Against requests in flight, blocks of a second, one run a point", |rival, in_flight| {
            Cell::new(rival, Node::Anvil(Blocks::Every(1)), tempo.settle(in_flight, 1))
        })?;
    if !contest.wants("gas") {
        return Ok(());
    }
    contest.say("## Gas a payment against payments in a transaction\n")?;
    let curves = gas::measure(&contest.stage, rows)?;
    let title = "gas a payment against payments in a transaction";
    contest.draw("gas.svg", title, ("payments in a transaction", "gas a payment"), false, curves)
}

fn one_by_one(contest: &mut Contest, rows: &mut Rows) -> Result<()> {
    if !contest.wants("alone") {
        return Ok(());
    }
    contest.say("## One settlement at a time\n")?;
    for seconds in [1, 2] {
        let mut text = format!(
            "### blocks of {seconds} s\n\n| facilitator | p50, ms | slowest, ms | after its block, p50, ms | after its \
             block, slowest, ms |\n|---|---:|---:|---:|---:|\n"
        );
        for rival in RIVALS.into_iter().filter(|rival| contest.stage.programs.has(*rival)) {
            eprintln!("alone, blocks of {seconds} s, {}", rival.name());
            let cell =
                Cell::new(rival, Node::Anvil(Blocks::Every(seconds)), contest.stage.tempo.settle(1, seconds));
            let alone = match alone(&contest.stage, &cell) {
                Ok(alone) => alone,
                Err(error) => {
                    text.push_str(&format!("| {} | {error:#} | | | |\n", rival.name()));
                    continue;
                }
            };
            let cells = alone.map(|(_, value)| short(value)).join(" | ");
            text.push_str(&format!("| {} | {cells} |\n", rival.name()));
            for (metric, value) in alone {
                let (system, params) = (rival.name().to_owned(), format!("alone, blocks of {seconds} s"));
                rows.push(Row { bench: "settle", system, params, metric, value, unit: "ms" });
            }
        }
        contest.say(&text)?;
    }
    Ok(())
}

fn held(contest: &mut Contest, rows: &mut Rows) -> Result<()> {
    if !contest.wants("held") {
        return Ok(());
    }
    let in_flight = contest.stage.tempo.held;
    let plan = Plan {
        most: in_flight,
        warm_up_ms: 10_000,
        measured_ms: 4_000,
        deadline_ms: 16_000,
        ..contest.stage.tempo.settle(in_flight, 1)
    };
    eprintln!("held, {in_flight} in flight");
    let cell = Cell::new(Rival::Tollway, Node::Anvil(Blocks::Held), plan);
    let held = cell.run(&contest.stage)?;
    let waiting: u64 = held
        .outcome
        .errors
        .iter()
        .filter(|(kind, _)| kind.contains("no answer"))
        .map(|(_, count)| count)
        .sum();
    let other: Vec<_> = held.outcome.errors.iter().filter(|(kind, _)| !kind.contains("no answer")).collect();
    contest.say(&format!(
        "## Held: {in_flight} payments in flight, no blocks\n\n{waiting} were waiting; resident {} MiB, at most {} \
         MiB. Others: {other:?}.\n",
        short(held.resident_mib),
        short(held.peak_mib)
    ))?;
    let mut push = |metric, value, unit| {
        let (system, params) = (Rival::Tollway.name().to_owned(), format!("held, {in_flight} in flight"));
        rows.push(Row { bench: "settle", system, params, metric, value, unit });
    };
    push("waiting", f64::from(u32::try_from(waiting)?), "payments");
    push("resident memory", held.resident_mib, "MiB");
    push("peak memory", held.peak_mib, "MiB");
    Ok(())
}

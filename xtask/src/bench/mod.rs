//! Measurements. Each bench is a file here: it builds what it measures, warms it up, and hands in [`Row`]s.

mod alone;
mod anvil;
mod cell;
mod channels;
mod channels_agents;
mod channels_chain;
mod channels_claim;
mod channels_load;
mod channels_page;
mod channels_parts;
mod channels_purse;
mod channels_seller;
mod channels_stage;
mod channels_store;
mod channels_watch;
mod chart;
mod child;
mod closed_loop;
mod codec;
mod contest;
mod cpu;
mod findings;
mod frames;
mod gas;
mod http;
mod latency;
mod load;
mod market;
mod paid;
mod proxy;
mod ready_node;
mod rivals;
mod row;
mod server;
mod settle;
mod signed;
mod tempo;
mod unpaid;
mod verify;
mod verify_http;
mod wallet;
mod wallet_buyer;
mod wallet_decisions;
mod wallet_loop;
mod wallet_page;
mod wallet_seller;
mod wallet_systems;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub(crate) use row::{Row, Rows};

use crate::process::{cargo, must};

/// What there is to measure: a name, what it tells, and how.
const BENCHES: [Bench; 8] = [
    ("codec", "reading and writing protocol objects, one core", |_, rows| codec::run(rows)),
    (
        "verify",
        "believing a payment: without a chain, and /verify against published facilitators",
        |how, rows| {
            if how.only.is_none() {
                verify::run(rows)?;
            }
            contest(how, "verify", rows, verify_http::run)
        },
    ),
    ("settle", "/settle against published facilitators, on anvil", |how, rows| {
        contest(how, "settle", rows, settle::run)
    }),
    ("unpaid", "turning unpaid requests away, one core, against a bare route", |_, rows| unpaid::run(rows)),
    ("paid", "serving paid requests, a whole market on this machine", |_, rows| paid::run(rows)),
    ("latency", "one purchase after the other, through the wallet", |_, rows| latency::run(rows)),
    ("channels", "serving thousands of agents on channels, beside the published server", channels::run),
    ("wallet", "buying with books kept, beside published clients that keep none", wallet::run),
];

type Bench = (&'static str, &'static str, fn(How<'_>, &mut Rows) -> Result<()>);

/// How to measure.
#[derive(Clone, Copy, Debug)]
struct How<'a> {
    root: &'a Path,
    is_quick: bool,
    runs: Option<usize>,
    only: Option<&'a str>,
    rival: Option<&'a str>,
}

/// What to measure, and for whom.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The bench; `all` for every one; without a name, the list
    name: Option<String>,
    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    /// Only see that a comparison runs: short, once, and its pages go to target/bench/
    #[arg(long)]
    quick: bool,
    /// How often each cell of a comparison is run; the median is told. 3 unless told
    #[arg(long)]
    runs: Option<usize>,
    /// Only the parts of a comparison with this in their name, like "4096", "alone", "held", "curves", "gas"
    #[arg(long)]
    only: Option<String>,
    /// Only the facilitators of a comparison with this in their name, like "tollway", "memory", "Rust"
    #[arg(long)]
    rival: Option<String>,
    /// The role of a process that a bench starts, and its arguments
    #[arg(long, hide = true, num_args = 1..)]
    child: Vec<String>,
}

/// Runs a bench, in a release build of this program.
///
/// # Errors
/// There is no such bench, or it fails.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    match arguments.child.as_slice() {
        [role, system] if role == "serve" => return server::run(system),
        [role] if role == "node" => return market::run_node(),
        [role, plan] if role == "load-payments" => {
            return market::block_on(closed_loop::Plan::from_argument(plan)?.run())?;
        }
        [role] if role == "ready-node" => return market::block_on(ready_node::run())?,
        [role, upstream, delay_ms] if role == "proxy" => {
            let delay = Duration::from_millis(delay_ms.parse()?);
            return market::block_on(proxy::run(upstream.clone(), delay))?;
        }
        [role] if role == "sell" => return wallet_seller::run(),
        [role, plan] if role == "buy" => {
            return wallet_buyer::run(&wallet_loop::Plan::from_argument(plan)?);
        }
        [role, plan] if role == "buy-through-proxy" => {
            return wallet_buyer::run_through_proxy(&wallet_loop::Plan::from_argument(plan)?);
        }
        [role, count] if role == "channel-chain" => return channels_chain::run(count),
        [role, facilitator, ledger, keeps] if role == "sell-channels" => {
            return channels_seller::run(facilitator, ledger, keeps);
        }
        [role, path, sizes] if role == "channel-store" => return channels_store::run(path, sizes),
        [role, plan] if role == "load-channels" => {
            return channels_load::Plan::from_argument(plan)?.run();
        }
        [role, load @ ..] if role == "load" => return load::Load::from_arguments(load)?.run(),
        _ => {}
    }
    let Some(name) = arguments.name.as_deref() else {
        println!("{}", machine());
        for (name, tells, _) in BENCHES {
            println!("{name:12} {tells}");
        }
        return Ok(());
    };
    let chosen: Vec<_> = BENCHES.iter().filter(|(known, ..)| name == "all" || name == *known).collect();
    if chosen.is_empty() {
        bail!("there is no bench {name:?}: `cargo xtask bench` lists them");
    }
    // A number from a debug build is worse than none.
    if cfg!(debug_assertions) {
        let mut command =
            cargo(root, &["run", "--quiet", "--release", "--package", "xtask", "--", "bench", name]);
        command.args(arguments.json.then_some("--json")).args(arguments.quick.then_some("--quick"));
        command.args(arguments.runs.iter().flat_map(|runs| ["--runs".to_owned(), runs.to_string()]));
        command.args(arguments.only.iter().flat_map(|only| ["--only", only]));
        command.args(arguments.rival.iter().flat_map(|rival| ["--rival", rival]));
        return must(&mut command);
    }
    let mut rows = Rows::default();
    for (_, _, bench) in chosen {
        let Arguments { quick, runs, only, rival, .. } = arguments;
        let (only, rival) = (only.as_deref(), rival.as_deref());
        bench(How { root, is_quick: *quick, runs: *runs, only, rival }, &mut rows)?;
    }
    rows.print(&machine(), arguments.json);
    Ok(())
}

/// A comparison with other facilitators.
fn contest(
    how: How<'_>,
    bench: &'static str,
    rows: &mut Rows,
    run: fn(&mut contest::Contest, &mut Rows) -> Result<()>,
) -> Result<()> {
    run(&mut contest::Contest::prepare(bench, how)?, rows)
}

/// The median time of `runs` runs.
pub(crate) fn median(runs: usize, mut run: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..runs.max(1))
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

/// The least of the sorted `times` that `percent` of them do not exceed.
pub(crate) fn percentile(times: &[Duration], percent: usize) -> Duration {
    let rank = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(rank).copied().unwrap_or_default()
}

/// The machine the numbers are from.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or(std::env::consts::ARCH, |(_, model)| model);
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let memory = read("/proc/meminfo").lines().find_map(|line| {
        let kib: u64 = line.strip_prefix("MemTotal:")?.trim().trim_end_matches(" kB").parse().ok()?;
        Some(format!(", {} GiB", kib / (1024 * 1024)))
    });
    let kernel = read("/proc/sys/kernel/osrelease");
    let (memory, system) = (memory.unwrap_or_default(), std::env::consts::OS);
    format!("{cores} cores, {model}{memory}, {system} {}", kernel.trim()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{median, percentile};

    #[test]
    fn a_percentile_is_a_measured_value() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(100));
        assert_eq!(percentile(&times, 99), Duration::from_millis(198));
        assert_eq!(percentile(&times[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }

    #[test]
    fn the_median_ignores_one_slow_run() {
        let mut runs = 0;
        let median = median(3, || {
            runs += 1;
            if runs == 1 {
                std::thread::sleep(Duration::from_millis(60));
            }
        });
        assert_eq!(runs, 3);
        assert!(median < Duration::from_millis(50));
    }
}

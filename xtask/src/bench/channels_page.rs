//! What bench `channels` found, as tables and curves for `docs/bench/`, and what it was aimed at.
#![expect(clippy::float_arithmetic, reason = "a measurement is not money")]

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use super::channels_claim::{Claimed, REQUESTS, VOUCHERS};
use super::channels_parts::Part;
use super::channels_stage::{Loop, Measured, SYSTEMS, System};
use super::channels_store::Filled;
use super::chart::{Chart, Curve};
use super::findings::short;
use super::{Row, Rows, machine};

/// One seller under one number of agents, measured several times.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) system: System,
    pub(super) agents: usize,
    pub(super) runs: Vec<Measured>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Numbers of agents.
    pub(super) levels: Vec<usize>,
    /// Of the machine, when measuring began.
    pub(super) load: String,
    pub(super) findings: Vec<Finding>,
    pub(super) filled: Vec<Filled>,
    pub(super) claimed: Option<Claimed>,
    /// Of a request.
    pub(super) parts: Vec<Part>,
}

type Value = fn(&Measured) -> f64;

/// Durable paid requests a second, in the closed loop.
const AIM_PER_SECOND: f64 = 12_000.0;
/// At half of the rate, with the most agents, milliseconds.
const AIM_P99_MS: f64 = 150.0;
/// Times the published server.
const AIM_TIMES: f64 = 20.0;
/// Of memory, for a channel that nobody uses.
const AIM_IDLE_BYTES: f64 = 2_048.0;
/// What is on disk before its answer leaves, and how it is told apart.
const DURABLE: [(System, &str); 2] = [(System::Sqlite, ""), (System::SqliteLean, ", no answers kept,")];
/// With fewer agents, memory says nothing of one.
const WEIGHED: usize = 1_000;
/// For a request, when each voucher stands for a thousand.
const AIM_GAS: f64 = 40.0;

impl Finding {
    /// The middle one of the runs that came to an end.
    fn median(&self, value: impl Fn(&Measured) -> f64) -> f64 {
        let mut values: Vec<f64> = self.whole().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    }

    fn spread(&self, value: impl Fn(&Measured) -> f64) -> String {
        let least = self.whole().map(&value).fold(f64::MAX, f64::min);
        let most = self.whole().map(&value).fold(0.0, f64::max);
        let count = self.whole().count();
        let median = short(self.median(value));
        if count < 2 { median } else { format!("{median} ({}–{})", short(least), short(most)) }
    }

    /// Of a channel; nothing where so few are that buffers and pools weigh more.
    fn memory(&self, value: Value) -> String {
        if self.agents < WEIGHED { String::new() } else { short(self.median(value)) }
    }

    fn whole(&self) -> impl Iterator<Item = &Measured> {
        self.runs.iter().filter(|run| run.broken.is_none())
    }

    /// Requests that were not paid, in all runs; a run that broke is one.
    fn failed(&self, part: fn(&Measured) -> &Loop) -> u64 {
        self.runs.iter().map(|run| part(run).outcome.failed() + u64::from(run.broken.is_some())).sum()
    }

    fn errors(&self, part: fn(&Measured) -> &Loop) -> String {
        let first =
            self.runs.iter().find_map(|run| part(run).outcome.errors.keys().next().or(run.broken.as_ref()));
        let count = self.failed(part);
        first.map_or_else(
            || count.to_string(),
            |why| format!("{count}: {}", why.replace(['|', '\n'], " ").chars().take(100).collect::<String>()),
        )
    }

    /// For people at a terminal, and as JSON.
    pub(super) fn push(&self, rows: &mut Rows) {
        let mut push = |metric, value, unit| {
            let (system, params) = (self.system.name().to_owned(), format!("agents={}", self.agents));
            rows.push(Row { bench: "channels", system, params, metric, value, unit });
        };
        push("paid requests", self.median(|run| run.closed.per_second), "1/s");
        push("p50, closed", self.median(|run| run.closed.outcome.p50_ms), "ms");
        push("p99, closed", self.median(|run| run.closed.outcome.p99_ms), "ms");
        push("paid requests, open", self.median(|run| run.open.per_second), "1/s");
        push("p50, open", self.median(|run| run.open.outcome.p50_ms), "ms");
        push("p99, open", self.median(|run| run.open.outcome.p99_ms), "ms");
        push("p99.9, open", self.median(|run| run.open.outcome.p999_ms), "ms");
        push("cpu per request", self.median(|run| run.closed.cpu_us), "us");
        push("load's cpu per request", self.median(|run| run.closed.load_cpu_us), "us");
        push("written per request", self.median(|run| run.closed.written_bytes), "bytes");
        push("memory per idle channel", self.median(|run| run.idle_bytes), "bytes");
        push("memory per connected agent", self.median(|run| run.agent_bytes), "bytes");
        let failed = self.failed(|run| &run.closed) + self.failed(|run| &run.open);
        push("errors", f64::from(u32::try_from(failed).unwrap_or(u32::MAX)), "requests");
    }
}

/// The whole page. Curves go beside it.
pub(super) fn page(found: &Found, directory: &Path) -> Result<String> {
    let Found { levels, load, findings, filled, claimed, parts } = found;
    let mut text = format!(
        "# cargo xtask bench channels\n\nWritten by that command. {}; load when it began: {load}\n",
        machine()
    );
    for level in levels {
        let _ = write!(text, "\n## {level} agents\n\n{}", tables(findings, *level));
    }
    if !parts.is_empty() {
        let _ = write!(text, "\n## Where the time goes\n\n{}", divided(found));
    }
    if !filled.is_empty() {
        let _ = write!(text, "\n## As the ledger fills up\n\n{}", store(filled));
    }
    if let Some(claimed) = claimed {
        let _ = write!(text, "\n## One claim for all\n\n{}", chain(claimed));
    }
    if !findings.is_empty() {
        let _ = write!(text, "\n## Aims\n\n{}", aims(findings, levels));
    }
    if levels.len() > 1 {
        draw(findings, directory)?;
        text.push_str(
            "\n![paid requests a second against agents](channels-throughput.svg)\n\n![p99 at half of that rate against \
             agents](channels-p99.svg)\n",
        );
    }
    if filled.len() > 1 {
        draw_store(filled, directory)?;
        text.push_str("\n![charges a second against channels in the ledger](channels-store.svg)\n");
    }
    Ok(text)
}

/// Under so many agents the whole is taken.
const WHOLE_AT: usize = 1_000;
/// And so many channels the charge.
const CHARGE_AT: u64 = 10_000;

/// The parts of a request, and what is left of the whole.
fn divided(found: &Found) -> String {
    let cpu = |system| {
        let finding = find(&found.findings, system, WHOLE_AT)?;
        Some(finding.median(|run| run.closed.cpu_us)).filter(|us| *us > 0.0)
    };
    let mut text = String::from(
        "Processor time, microseconds a request. Parts are measured alone, on one core and warm; the whole is the seller's \
         process under load, kernel included.\n\n| part | here | floor | what the floor is |\n|---|---:|---:|---|\n",
    );
    let (mut known, mut floors) = (0.0, 0.0);
    let mut line = |name: &str, ours: f64, floor: f64, what: &str| {
        (known, floors) = (known + ours, floors + floor);
        let _ = writeln!(text, "| {name} | {} | {} | {what} |", short(ours), short(floor));
    };
    for part in &found.parts {
        line(part.name, part.ours_us, part.floor_us, part.floor);
    }
    if let Some(bare) = cpu(System::Bare) {
        line("HTTP: sockets, parsing, routing", bare, bare, "a route without a price, same bytes, same load");
    }
    let charge = found.filled.iter().find(|one| one.channels == CHARGE_AT).or(found.filled.first());
    if let Some(charge) = charge {
        line(
            "charge: written and on disk",
            charge.charge_us,
            charge.floor_us,
            "the same bytes appended to a file, synced as often",
        );
    }
    if let Some(whole) = cpu(System::SqliteLean) {
        let rest = whole - known;
        let _ = writeln!(
            text,
            "| what lies between: tasks, locks, caches that are cold | {} | 0 | |",
            short(rest)
        );
        let _ = writeln!(
            text,
            "| **whole**, {WHOLE_AT} agents, SQLite, no answers kept | {} | {} | the floors together: {} times |",
            short(whole),
            short(floors),
            short(whole / floors.max(1e-9))
        );
    }
    text
}

fn store(filled: &[Filled]) -> String {
    let mut text = String::from(
        "The store alone, SQLite in a file, 512 charges under way, of channels all over the file; each is on disk before it is \
         answered.\n\n| channels | charges a second | CPU a charge, us | CPU a read, us | written a charge, bytes | file a \
         channel, bytes |\n|---:|---:|---:|---:|---:|---:|\n",
    );
    for one in filled {
        let numbers = [one.per_second, one.charge_us, one.read_us, one.written_bytes, one.file_bytes];
        let _ = writeln!(text, "| {} | {} |", one.channels, numbers.map(short).join(" | "));
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench fit")]
fn chain(claimed: &Claimed) -> String {
    let each = claimed.gas_per_voucher();
    let Claimed { channels, requests, transactions, settle_gas, first_gas, .. } = claimed;
    let verdict = if each / REQUESTS as f64 <= AIM_GAS { "met" } else { "missed" };
    format!(
        "The seller was killed; its ledger said just what agents had been answered ({requests} requests on {channels} channels), \
         all of it was claimed in {} transactions of at most {VOUCHERS} vouchers and one settlement, and just that arrived.\n\n\
         | gas a voucher, settlement included | of a request, at {REQUESTS} a channel | of a request, as served here | the first \
         claim ever, one voucher | settlement |\n|---:|---:|---:|---:|---:|\n| {} | {} | {} | {first_gas} | {settle_gas} |\n\n\
         Aimed at: at most {AIM_GAS} gas a request at {REQUESTS} requests a channel: {}, {verdict}. Not so many were made here, \
         but a claim names sums and not requests: what it costs is the same for a voucher over one request and over a thousand \
         (but for some gas for each byte of the sums that is not zero), so gas a voucher is divided by {REQUESTS}.\n",
        transactions + 1,
        short(each),
        short(each / REQUESTS as f64),
        short(each * *channels as f64 / (*requests as f64).max(1.0)),
        short(each / REQUESTS as f64),
    )
}

fn draw_store(filled: &[Filled], directory: &Path) -> Result<()> {
    let points = |value: fn(&Filled) -> f64| {
        let point = |one: &Filled| Some((f64::from(u32::try_from(one.channels).ok()?), value(one)));
        filled.iter().filter_map(point).collect::<Vec<_>>()
    };
    let machine = machine();
    let curves = vec![("charges a second, durable".to_owned(), points(|one| one.per_second))];
    let title = "channels: charges a second against channels in the ledger";
    Chart { title, machine: &machine, x: "channels", y: "charges a second", is_log: false, curves }
        .draw(&directory.join("channels-store.svg"))
}

/// Both loops of every seller under so many agents.
fn tables(findings: &[Finding], agents: usize) -> String {
    let mut text = String::from(
        "| closed loop | paid requests a second | p50, ms | p99, ms | p99.9, ms | CPU a request, us | load's CPU, us | \
         written a request, bytes | errors |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let of_level = || findings.iter().filter(|finding| finding.agents == agents);
    for finding in of_level() {
        let closed: fn(&Measured) -> &Loop = |run| &run.closed;
        let cells = [
            finding.spread(|run| run.closed.per_second),
            short(finding.median(|run| run.closed.outcome.p50_ms)),
            short(finding.median(|run| run.closed.outcome.p99_ms)),
            short(finding.median(|run| run.closed.outcome.p999_ms)),
            short(finding.median(|run| run.closed.cpu_us)),
            short(finding.median(|run| run.closed.load_cpu_us)),
            short(finding.median(|run| run.closed.written_bytes)),
            finding.errors(closed),
        ];
        let _ = writeln!(text, "| {} | {} |", finding.system.name(), cells.join(" | "));
    }
    text.push_str(
        "\n| open loop, half of that rate | paid requests a second | p50, ms | p99, ms | p99.9, ms | longest, ms | CPU a \
         request, us | memory an idle channel, bytes | memory a connected agent, bytes | errors \
         |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for finding in of_level() {
        let open: fn(&Measured) -> &Loop = |run| &run.open;
        let cells = [
            short(finding.median(|run| run.open.per_second)),
            finding.spread(|run| run.open.outcome.p50_ms),
            finding.spread(|run| run.open.outcome.p99_ms),
            finding.spread(|run| run.open.outcome.p999_ms),
            short(finding.median(|run| run.open.outcome.max_ms)),
            short(finding.median(|run| run.open.cpu_us)),
            finding.memory(|run| run.idle_bytes),
            finding.memory(|run| run.agent_bytes),
            finding.errors(open),
        ];
        let _ = writeln!(text, "| {} | {} |", finding.system.name(), cells.join(" | "));
    }
    text
}

fn find(findings: &[Finding], system: System, agents: usize) -> Option<&Finding> {
    findings.iter().find(|finding| finding.system == system && finding.agents == agents)
}

/// What was wanted, and what came of it.
fn aims(findings: &[Finding], levels: &[usize]) -> String {
    let mut text = String::new();
    let verdict = |is_met: bool| if is_met { "met" } else { "missed" };
    let _ = write!(text, "Durable paid requests a second, at least {AIM_PER_SECOND}:");
    for (system, what) in DURABLE {
        for level in levels {
            let Some(finding) = find(findings, system, *level) else { continue };
            let rate = finding.median(|run| run.closed.per_second);
            let _ =
                write!(text, " {level} agents{what} {}, {}.", short(rate), verdict(rate >= AIM_PER_SECOND));
        }
    }
    let most = levels.iter().copied().max().unwrap_or_default();
    if let Some(finding) = find(findings, System::Sqlite, most) {
        let p99 = finding.median(|run| run.open.outcome.p99_ms);
        let failed = finding.failed(|run| &run.open) + finding.failed(|run| &run.closed);
        let idle = finding.median(|run| run.idle_bytes);
        let _ = write!(
            text,
            "\n\n{most} agents at half of the rate, p99 below {AIM_P99_MS} ms and no error: {} ms, {failed} errors, {}.",
            short(p99),
            verdict(p99 < AIM_P99_MS && failed == 0)
        );
        if most >= WEIGHED {
            let verdict = verdict(idle < AIM_IDLE_BYTES);
            let _ = write!(
                text,
                "\n\nMemory of an idle channel, below {AIM_IDLE_BYTES} bytes: {}, {verdict}.",
                short(idle)
            );
        }
    }
    let _ = write!(text, "\n\nTimes the published server, at least {AIM_TIMES}:");
    for (ours, theirs, what) in [
        (System::Sqlite, System::PeerFiles, "both in files"),
        (System::SqliteLean, System::PeerFiles, "both in files, neither keeps answers"),
        (System::Memory, System::PeerMemory, "both in memory"),
    ] {
        for level in levels {
            let rate = |system| {
                let finding = find(findings, system, *level)?;
                Some(finding.median(|run| run.closed.per_second)).filter(|rate| *rate > 0.0)
            };
            let (Some(ours), Some(theirs)) = (rate(ours), rate(theirs)) else { continue };
            let times = ours / theirs;
            let _ =
                write!(text, " {level} agents, {what}: {}, {}.", short(times), verdict(times >= AIM_TIMES));
        }
    }
    text.push('\n');
    text
}

fn draw(findings: &[Finding], directory: &Path) -> Result<()> {
    let curves = |value: Value| -> Vec<Curve> {
        let of = |system: System| {
            let points = findings.iter().filter(|finding| finding.system == system);
            let points = points.filter_map(|finding| {
                let agents = f64::from(u32::try_from(finding.agents).ok()?);
                Some((agents, finding.median(value))).filter(|(_, value)| *value > 0.0)
            });
            (system.name().to_owned(), points.collect::<Vec<_>>())
        };
        SYSTEMS
            .into_iter()
            .filter(|system| *system != System::Bare)
            .map(of)
            .filter(|(_, points)| !points.is_empty())
            .collect()
    };
    let machine = machine();
    let chart = |title, y, curves| Chart { title, machine: &machine, x: "agents", y, is_log: true, curves };
    let rate = curves(|run| run.closed.per_second);
    chart("channels: paid requests a second, closed loop", "paid requests a second", rate)
        .draw(&directory.join("channels-throughput.svg"))?;
    let p99 = curves(|run| run.open.outcome.p99_ms);
    chart("channels: p99 at half of that rate, open loop", "p99, ms", p99)
        .draw(&directory.join("channels-p99.svg"))
}

#[cfg(test)]
mod tests {
    use super::{Finding, aims, tables};
    use crate::bench::channels_stage::{Measured, System};

    fn finding(system: System, per_second: f64, p99_ms: f64) -> Finding {
        let mut run = Measured { idle_bytes: 900.0, ..Measured::default() };
        run.closed.per_second = per_second;
        run.open.outcome.p99_ms = p99_ms;
        Finding { system, agents: 10_000, runs: vec![run; 3] }
    }

    #[test]
    fn an_aim_is_met_or_missed_by_its_numbers() {
        let mut findings =
            [finding(System::Sqlite, 12_500.0, 80.0), finding(System::PeerFiles, 600.0, 900.0)];
        let text = aims(&findings, &[10_000]);
        assert!(text.contains("10000 agents 12500, met"), "{text}");
        assert!(text.contains("80.0 ms, 0 errors, met"), "{text}");
        assert!(text.contains("both in files: 20.8, met"), "{text}");
        findings[0].runs[1].broken = Some("gone".to_owned());
        let text = aims(&findings, &[10_000]);
        assert!(text.contains("errors, missed"), "{text}");
        assert!(tables(&findings, 10_000).contains("1: gone"));
    }
}

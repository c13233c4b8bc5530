//! What bench `wallet` found, as tables and a curve for `docs/bench/`, and what it was aimed at.
#![expect(clippy::float_arithmetic, reason = "a measurement is not money")]

use std::fmt::Write;

use super::findings::short;
use super::wallet_systems::{Measured, System};
use super::{Row, Rows};

/// One system at one level, measured several times.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) system: System,
    pub(super) in_flight: usize,
    pub(super) runs: Vec<Measured>,
}

/// At most so much longer than a peer that writes nothing down, milliseconds.
const AIM_MS: f64 = 1.0;
/// And so many times the throughput of the TypeScript one.
const AIM_TIMES: f64 = 10.0;

impl Finding {
    /// The middle one of the runs.
    pub(super) fn median(&self, value: impl Fn(&Measured) -> f64) -> f64 {
        let mut values: Vec<f64> = self.runs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    }

    fn spread(&self, value: impl Fn(&Measured) -> f64) -> String {
        let all: Vec<f64> = self.runs.iter().map(&value).collect();
        let least = all.iter().copied().fold(f64::MAX, f64::min);
        let most = all.iter().copied().fold(0.0, f64::max);
        let median = short(self.median(value));
        if all.len() < 2 { median } else { format!("{median} ({}–{})", short(least), short(most)) }
    }

    fn errors(&self) -> String {
        let count: u64 = self.runs.iter().map(|run| run.errors).sum();
        match self.runs.iter().find_map(|run| run.why.as_deref()) {
            Some(why) => {
                format!("{count}: {}", why.replace(['|', '\n'], " ").chars().take(120).collect::<String>())
            }
            None => count.to_string(),
        }
    }

    /// For people at a terminal, and as JSON.
    pub(super) fn push(&self, rows: &mut Rows) {
        let mut push = |metric, value, unit| {
            let (system, params) = (self.system.name().to_owned(), format!("in_flight={}", self.in_flight));
            rows.push(Row { bench: "wallet", system, params, metric, value, unit });
        };
        push("paid requests", self.median(|run| run.per_second), "1/s");
        push("p50", self.median(|run| run.p50_ms), "ms");
        push("p99", self.median(|run| run.p99_ms), "ms");
        push("cpu per payment", self.median(|run| run.cpu_us), "us");
        push("seller's core", self.median(|run| run.seller_percent), "%");
        push(
            "errors",
            f64::from(u32::try_from(self.runs.iter().map(|run| run.errors).sum::<u64>()).unwrap_or(u32::MAX)),
            "requests",
        );
    }
}

/// All systems at one level.
pub(super) fn table(findings: &[Finding], in_flight: usize) -> String {
    let mut text = String::from(
        "| who pays | paid requests a second | p50, ms | p99, ms | CPU a payment, us | seller's core, % | errors | times \
         @x402/fetch |\n|---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let typescript = rate(findings, System::PeerTypescript, in_flight);
    for finding in findings.iter().filter(|finding| finding.in_flight == in_flight) {
        let times = typescript.filter(|rate| *rate > 0.0);
        let times = times.map_or_else(String::new, |rate| short(finding.median(|run| run.per_second) / rate));
        let cells = [
            finding.spread(|run| run.per_second),
            finding.spread(|run| run.p50_ms),
            short(finding.median(|run| run.p99_ms)),
            short(finding.median(|run| run.cpu_us)),
            short(finding.median(|run| run.seller_percent)),
            finding.errors(),
            times,
        ];
        let _ = writeln!(text, "| {} | {} |", finding.system.name(), cells.join(" | "));
    }
    text
}

/// What it costs that a purchase is written down, and what was aimed at.
pub(super) fn durability(findings: &[Finding], levels: &[usize], sync_ms: (f64, f64)) -> String {
    let mut text = format!(
        "One fsync of a page on the ledger's disk takes {} ms (p50; p99 {} ms). A purchase waits for two commits, one after \
         the other: its budget before it is signed, its signature before it is sent. The second is synced, and the first with it, \
         as the key is in the process; those of purchases under way at the same time share an fsync. What the seller said is written after the caller has its answer. Differences of medians, \
         ms:\n\n| in flight | SQLite − in memory | on tmpfs − in memory | SQLite − x402-reqwest | SQLite − @x402/fetch | on \
         tmpfs − x402-reqwest |\n|---:|---:|---:|---:|---:|---:|\n",
        short(sync_ms.0),
        short(sync_ms.1)
    );
    let pairs = [
        (System::Sqlite, System::Memory),
        (System::SqliteInRam, System::Memory),
        (System::Sqlite, System::PeerRust),
        (System::Sqlite, System::PeerTypescript),
        (System::SqliteInRam, System::PeerRust),
    ];
    for level in levels {
        let cells =
            pairs.map(|(one, other)| over(findings, one, other, *level).map_or_else(String::new, short));
        let _ = writeln!(text, "| {level} | {} |", cells.join(" | "));
    }
    text + "\n" + &aims(findings, levels)
}

fn aims(findings: &[Finding], levels: &[usize]) -> String {
    let mut text =
        format!("Aimed at: p50 with SQLite at most {AIM_MS} ms over each peer that writes nothing down.");
    for peer in [System::PeerRust, System::PeerTypescript] {
        for level in levels {
            let Some(over) = over(findings, System::Sqlite, peer, *level) else { continue };
            let verdict = if over <= AIM_MS { "met" } else { "missed" };
            let _ = write!(text, " {}, {level} in flight: {} ms, {verdict}.", peer.name(), short(over));
        }
    }
    let _ = write!(text, "\n\nAimed at: {AIM_TIMES} times the throughput of @x402/fetch.");
    for system in [System::Sqlite, System::SqliteInRam, System::Proxy] {
        for level in levels {
            let (ours, theirs) =
                (rate(findings, system, *level), rate(findings, System::PeerTypescript, *level));
            let (Some(ours), Some(theirs)) = (ours, theirs.filter(|rate| *rate > 0.0)) else { continue };
            let verdict = if ours / theirs >= AIM_TIMES { "met" } else { "missed" };
            let _ =
                write!(text, " {}, {level} in flight: {}, {verdict}.", system.name(), short(ours / theirs));
        }
    }
    text + "\n"
}

fn find(findings: &[Finding], system: System, in_flight: usize) -> Option<&Finding> {
    findings.iter().find(|finding| finding.system == system && finding.in_flight == in_flight)
}

/// Payments a second.
pub(super) fn rate(findings: &[Finding], system: System, in_flight: usize) -> Option<f64> {
    find(findings, system, in_flight).map(|finding| finding.median(|run| run.per_second))
}

/// How much longer `one` takes than `other`, milliseconds.
fn over(findings: &[Finding], one: System, other: System, in_flight: usize) -> Option<f64> {
    let p50 = |system| find(findings, system, in_flight).map(|finding| finding.median(|run| run.p50_ms));
    // Where nothing was bought there is nothing to compare.
    p50(one).zip(p50(other)).filter(|(one, other)| *one > 0.0 && *other > 0.0).map(|(one, other)| one - other)
}

#[cfg(test)]
mod tests {
    use super::{Finding, durability, table};
    use crate::bench::wallet_systems::{Measured, System};

    fn finding(system: System, p50_ms: f64, per_second: f64) -> Finding {
        let run = Measured { p50_ms, per_second, ..Measured::default() };
        Finding { system, in_flight: 1, runs: vec![run; 3] }
    }

    #[test]
    fn an_aim_is_met_or_missed_by_its_numbers() {
        let findings = [
            finding(System::Sqlite, 2.5, 500.0),
            finding(System::Memory, 1.0, 900.0),
            finding(System::PeerRust, 2.0, 400.0),
            finding(System::PeerTypescript, 1.0, 50.0),
        ];
        let text = durability(&findings, &[1], (0.5, 0.9));
        assert!(text.contains("| 1 | 1.50 |  | 0.50 | 1.50 |  |"), "{text}");
        assert!(text.contains("x402-reqwest, 1 in flight: 0.50 ms, met"), "{text}");
        assert!(text.contains("@x402/fetch, 1 in flight: 1.50 ms, missed"), "{text}");
        assert!(text.contains("tollway, SQLite, 1 in flight: 10.0, met"), "{text}");
        let table = table(&findings, 1);
        assert!(
            table.contains("| tollway, in memory | 900 (900–900) |") && table.contains("| 18.0 |"),
            "{table}"
        );
    }
}

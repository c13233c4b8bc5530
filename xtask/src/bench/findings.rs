//! What the facilitator benches found: medians, as rows, and as tables for `docs/bench/`.
#![expect(clippy::float_arithmetic, reason = "a measurement is not money")]
#![expect(clippy::cast_precision_loss, reason = "counts of a minute fit")]

use std::collections::BTreeMap;
use std::fmt::Write;

use super::cell::Measured;
use super::rivals::Rival;
use super::{Row, Rows};

/// One cell, measured several times.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) bench: &'static str,
    /// What was done, for a heading.
    pub(super) scenario: String,
    pub(super) rival: Rival,
    pub(super) runs: Vec<Measured>,
    /// Calls of the node for a payment, from a run of its own.
    pub(super) calls: Option<f64>,
}

/// A column: its title, and what stands in it.
pub(super) type Column = (&'static str, fn(&Finding) -> String);

/// What every table has.
pub(super) const COMMON: [Column; 5] = [
    ("payments a second", |finding| finding.spread(|run| run.per_second)),
    ("p50, ms", |finding| short(finding.median(|run| run.outcome.p50_ms))),
    ("p99, ms", |finding| short(finding.median(|run| run.outcome.p99_ms))),
    ("CPU a payment, us", |finding| short(finding.median(|run| run.cpu_us))),
    ("node's CPU a payment, us", |finding| short(finding.median(|run| run.node_cpu_us))),
];
/// Of the node, and of the system.
pub(super) const ASKED: [Column; 3] = [
    ("RPC calls a payment", |finding| finding.calls.map_or_else(|| "not counted".to_owned(), short)),
    ("peak memory, MiB", |finding| short(finding.median(|run| run.peak_mib))),
    ("errors", Finding::errors),
];
/// Of settlements.
pub(super) const CHAIN: [Column; 2] = [
    ("gas a payment", |finding| short(finding.median(|run| run.gas))),
    ("payments a transaction", |finding| short(finding.median(|run| run.per_transaction))),
];

impl Finding {
    /// The middle one of the runs.
    pub(super) fn median(&self, value: impl Fn(&Measured) -> f64) -> f64 {
        let mut values: Vec<f64> = self.runs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    }

    /// The median, and between what the runs lay.
    pub(super) fn spread(&self, value: impl Fn(&Measured) -> f64) -> String {
        let all: Vec<f64> = self.runs.iter().map(&value).collect();
        let (least, most) =
            (all.iter().copied().fold(f64::MAX, f64::min), all.iter().copied().fold(0.0, f64::max));
        let median = short(self.median(value));
        if all.len() < 2 { median } else { format!("{median} ({}–{})", short(least), short(most)) }
    }

    /// By kind, of all runs together, with what was sent.
    pub(super) fn errors(&self) -> String {
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for (kind, count) in self.runs.iter().flat_map(|run| &run.outcome.errors) {
            *kinds.entry(kind).or_default() += count;
        }
        let sent: u64 = self.runs.iter().map(|run| run.outcome.sent).sum();
        let failed: u64 = kinds.values().sum();
        let unknown: u64 =
            self.runs.iter().map(|run| run.on_chain.saturating_sub(run.outcome.taken_in_all)).sum();
        if failed == 0 {
            return format!("0 of {sent}");
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let shown = kinds.iter().take(3).map(|(kind, count)| format!("{count} × {}", kind.replace('|', "/")));
        let shown = shown.collect::<Vec<_>>().join("; ");
        let moved =
            if unknown > 0 { format!("; money moved all the same: {unknown}") } else { String::new() };
        format!("{failed} of {sent} ({:.0} %): {shown}{moved}", 100.0 * failed as f64 / sent as f64)
    }

    /// For people at a terminal, and as JSON.
    pub(super) fn push(&self, rows: &mut Rows) {
        let mut push = |metric, value, unit| {
            let (system, params) = (self.rival.name().to_owned(), self.scenario.clone());
            rows.push(Row { bench: self.bench, system, params, metric, value, unit });
        };
        push("payments", self.median(|run| run.per_second), "1/s");
        push("p50", self.median(|run| run.outcome.p50_ms), "ms");
        push("p99", self.median(|run| run.outcome.p99_ms), "ms");
        push("cpu per payment", self.median(|run| run.cpu_us), "us");
        push("node cpu per payment", self.median(|run| run.node_cpu_us), "us");
        if let Some(calls) = self.calls {
            push("rpc calls per payment", calls, "calls");
        }
        push("peak memory", self.median(|run| run.peak_mib), "MiB");
        push("errors", self.median(|run| run.outcome.failed() as f64), "requests");
        if self.runs.iter().any(|run| run.on_chain > 0) {
            push("gas per payment", self.median(|run| run.gas), "gas");
            push("payments per transaction", self.median(|run| run.per_transaction), "payments");
        }
    }
}

/// A table of findings, one a line, with how many times the throughput of the Rust peer each has.
pub(super) fn table(findings: &[Finding], columns: &[&[Column]]) -> String {
    let columns: Vec<Column> = columns.iter().flat_map(|part| part.iter().copied()).collect();
    let peer = findings.iter().find(|finding| finding.rival == Rival::PeerRust);
    let peer = peer.map_or(0.0, |peer| peer.median(|run| run.per_second));
    let mut text = String::from("| facilitator |");
    columns.iter().for_each(|(title, _)| write!(text, " {title} |").unwrap_or_default());
    text.push_str(" times the Rust peer |\n|---|");
    text.push_str(&"---:|".repeat(columns.len() + 1));
    for finding in findings {
        let _ = write!(text, "\n| {} |", finding.rival.name());
        columns.iter().for_each(|(_, cell)| write!(text, " {} |", cell(finding)).unwrap_or_default());
        let times = finding.median(|run| run.per_second) / peer;
        let _ = if peer > 0.0 { write!(text, " {times:.2} |") } else { write!(text, " no answer |") };
    }
    text + "\n"
}

/// Three digits that mean something, at least.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{ASKED, COMMON, Finding, table};
    use crate::bench::cell::Measured;
    use crate::bench::closed_loop::Outcome;
    use crate::bench::rivals::Rival;

    fn finding(rival: Rival, rates: [f64; 3], errors: u64) -> Finding {
        let run = |per_second| {
            let errors =
                [("timeout".to_owned(), errors)].into_iter().filter(|(_, count)| *count > 0).collect();
            let outcome = Outcome { sent: 10, errors, ..Outcome::default() };
            Measured { per_second, outcome, on_chain: 1, ..Measured::default() }
        };
        let runs = rates.map(run).to_vec();
        Finding { bench: "verify", scenario: "a".to_owned(), rival, runs, calls: Some(0.05) }
    }

    #[test]
    fn a_table_tells_medians_ratios_and_errors_by_kind() {
        let findings =
            [finding(Rival::Tollway, [300.0, 900.0, 100.0], 0), finding(Rival::PeerRust, [100.0; 3], 2)];
        let table = table(&findings, &[&COMMON, &ASKED]);
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[2].starts_with("| tollway | 300 (100–900) |"), "{table}");
        assert!(lines[2].ends_with("| 0.0500 | 0.00 | 0 of 30 | 3.00 |"), "{table}");
        assert!(lines[3].contains("6 of 30 (20 %): 6 × timeout; money moved all the same: 3 |"), "{table}");
    }
}

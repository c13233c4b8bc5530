//! Runs a cell for every rival in turn, as often as the tempo says, and collects what came of it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::cell::{Cell, Measured, Stage};
use super::chart::{Chart, Curve};
use super::closed_loop::Outcome;
use super::findings::{Column, Finding, table};
use super::rivals::{Programs, RIVALS, Rival};
use super::signed::Signed;
use super::tempo::Tempo;
use super::{How, Rows, machine};

/// In flight, for curves.
const LEVELS: [usize; 7] = [1, 4, 16, 64, 256, 1_024, 4_096];

/// A comparison: where things stand, and where its words go.
#[derive(Debug)]
pub(super) struct Contest {
    pub(super) stage: Stage,
    pub(super) bench: &'static str,
    directory: PathBuf,
    /// Only scenarios with this in their name.
    only: Option<String>,
    /// Markdown.
    text: String,
}

impl Contest {
    /// Builds, installs and signs what is needed. Nothing is measured while that happens.
    pub(super) fn prepare(bench: &'static str, how: How<'_>) -> Result<Self> {
        let How { root, is_quick, runs, only, rival } = how;
        let programs = Programs::prepare(root, rival)?;
        let signed = Signed::prepare(&programs.directory)?;
        let mut tempo = if is_quick { Tempo::QUICK } else { Tempo::FULL };
        tempo.repeats = runs.unwrap_or(tempo.repeats).max(1);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        // What is not whole does not replace what is.
        let is_partial = is_quick || only.is_some() || rival.is_some();
        let directory = if is_partial { programs.directory.clone() } else { root.join("docs/bench") };
        let stage = Stage { programs, signed, runtime, tempo };
        let text = format!("# cargo xtask bench {bench}\n\nWritten by that command. {}\n", machine());
        Ok(Self { stage, bench, directory, only: only.map(str::to_owned), text })
    }

    /// Measures what `cell` makes for each rival, taking turns; and once more with the node's calls counted.
    pub(super) fn compare(
        &self,
        rows: &mut Rows,
        scenario: &str,
        rivals: &[Rival],
        cell: impl Fn(Rival) -> Cell,
    ) -> Result<Vec<Finding>> {
        let finding = |rival: &Rival| Finding {
            bench: self.bench,
            scenario: scenario.to_owned(),
            rival: *rival,
            runs: Vec::new(),
            calls: None,
        };
        let is_wanted = self.wants(scenario);
        let rivals = rivals.iter().filter(|rival| is_wanted && self.stage.programs.has(**rival));
        let mut findings: Vec<_> = rivals.map(finding).collect();
        for round in 0..self.stage.tempo.repeats {
            for finding in &mut findings {
                let what = format!("{scenario}, {}, run {}", finding.rival.name(), round + 1);
                eprintln!("{what}");
                finding
                    .runs
                    .push(cell(finding.rival).run(&self.stage).unwrap_or_else(|error| broken(&error)));
            }
        }
        for finding in &mut findings {
            // A node of ours counts anyway.
            finding.calls = finding.runs.iter().rev().find_map(|run| run.calls);
            if finding.calls.is_none() {
                eprintln!("{scenario}, {}, counted", finding.rival.name());
                let cell = Cell { is_counted: true, ..cell(finding.rival) };
                finding.calls = cell.run(&self.stage).unwrap_or_else(|error| broken(&error)).calls;
            }
            finding.push(rows);
        }
        Ok(findings)
    }

    /// Measures once at every level, and draws throughput and p99 against what is in flight.
    pub(super) fn curves(&mut self, heading: &str, cell: impl Fn(Rival, usize) -> Cell) -> Result<()> {
        if !self.wants("curves") {
            return Ok(());
        }
        self.say(&format!("## {heading}\n"))?;
        let (mut rates, mut tails): (Vec<Curve>, Vec<Curve>) = (Vec::new(), Vec::new());
        let levels = if self.stage.tempo.is_quick { &LEVELS[3..4] } else { &LEVELS };
        for rival in RIVALS.into_iter().filter(|rival| self.stage.programs.has(*rival)) {
            let (mut rate, mut tail) = (Vec::new(), Vec::new());
            for in_flight in levels {
                let what = format!("curve of {}, {}, {in_flight} in flight", self.bench, rival.name());
                eprintln!("{what}");
                let measured =
                    cell(rival, *in_flight).run(&self.stage).unwrap_or_else(|error| broken(&error));
                let x = f64::from(u32::try_from(*in_flight)?);
                rate.push((x, measured.per_second));
                // Where nothing was answered there is no latency.
                if measured.outcome.taken > 0 {
                    tail.push((x, measured.outcome.p99_ms));
                }
            }
            rates.push((rival.name().to_owned(), rate));
            tails.push((rival.name().to_owned(), tail));
        }
        let bench = self.bench;
        let title = format!("{bench}: payments a second against requests in flight");
        self.draw(
            &format!("{bench}-throughput.svg"),
            &title,
            ("in flight", "payments a second"),
            true,
            rates,
        )?;
        let title = format!("{bench}: p99 latency against requests in flight");
        self.draw(&format!("{bench}-p99.svg"), &title, ("in flight", "p99, ms"), true, tails)
    }

    /// Draws a chart, and shows it in the text.
    pub(super) fn draw(
        &mut self,
        file: &str,
        title: &str,
        (x, y): (&str, &str),
        is_log: bool,
        curves: Vec<Curve>,
    ) -> Result<()> {
        let machine = machine();
        Chart { title, machine: &machine, x, y, is_log, curves }.draw(&self.directory.join(file))?;
        self.say(&format!("![{title}]({file})\n"))
    }

    /// Whether a scenario is to be measured.
    pub(super) fn wants(&self, scenario: &str) -> bool {
        self.only.as_ref().is_none_or(|only| scenario.contains(only.as_str()))
    }

    /// Adds a paragraph, a table or a heading to the page, and writes it: what was measured is not lost with what
    /// was not.
    pub(super) fn say(&mut self, text: &str) -> Result<()> {
        self.text.push('\n');
        self.text.push_str(text);
        let page = self.directory.join(format!("{}.md", self.bench));
        fs::write(&page, &self.text).with_context(|| format!("cannot write {}", page.display()))
    }

    /// Adds what was measured to the page, if anything was.
    pub(super) fn show(&mut self, heading: &str, findings: &[Finding], columns: &[&[Column]]) -> Result<()> {
        if findings.is_empty() {
            return Ok(());
        }
        self.say(&format!("{heading}\n\n{}", table(findings, columns)))
    }
}

/// A run that broke: it does not take the others with it, but it counts as an error.
fn broken(error: &anyhow::Error) -> Measured {
    eprintln!("the run broke: {error:#}");
    let errors = [(format!("the run broke: {error}"), 1)].into();
    Measured { outcome: Outcome { sent: 1, errors, ..Outcome::default() }, ..Measured::default() }
}

//! Runs a cell for every rival in turn, as often as the tempo says, and collects what came of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cell::{Cell, Stage};
use super::chart::{Chart, Curve};
use super::findings::Finding;
use super::rivals::{Programs, RIVALS, Rival};
use super::signed::Signed;
use super::tempo::Tempo;
use super::{Rows, machine};

/// In flight, for curves.
const LEVELS: [usize; 7] = [1, 4, 16, 64, 256, 1_024, 4_096];

/// A comparison: where things stand, and where its words go.
#[derive(Debug)]
pub(super) struct Contest {
    pub(super) stage: Stage,
    pub(super) bench: &'static str,
    directory: PathBuf,
    /// Markdown.
    text: String,
}

impl Contest {
    /// Builds, installs and signs what is needed. Nothing is measured while that happens.
    pub(super) fn prepare(root: &Path, bench: &'static str, is_quick: bool) -> Result<Self> {
        let programs = Programs::prepare(root)?;
        let signed = Signed::prepare(&programs.directory)?;
        let tempo = if is_quick { Tempo::QUICK } else { Tempo::FULL };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let directory = if is_quick { programs.directory.clone() } else { root.join("docs/bench") };
        let stage = Stage { programs, signed, runtime, tempo };
        let text = format!("# cargo xtask bench {bench}\n\nWritten by that command. {}\n", machine());
        Ok(Self { stage, bench, directory, text })
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
        let rivals = rivals.iter().filter(|rival| self.stage.programs.has(**rival));
        let mut findings: Vec<_> = rivals.map(finding).collect();
        for round in 0..self.stage.tempo.repeats {
            for finding in &mut findings {
                let what = format!("{scenario}, {}, run {}", finding.rival.name(), round + 1);
                eprintln!("{what}");
                let measured = cell(finding.rival).run(&self.stage).context(what)?;
                finding.runs.push(measured);
            }
        }
        for finding in &mut findings {
            // A node of ours counts anyway.
            finding.calls = finding.runs.iter().rev().find_map(|run| run.calls);
            if finding.calls.is_none() {
                eprintln!("{scenario}, {}, counted", finding.rival.name());
                let cell = Cell { is_counted: true, ..cell(finding.rival) };
                finding.calls = cell.run(&self.stage)?.calls;
            }
            finding.push(rows);
        }
        Ok(findings)
    }

    /// Measures once at every level, and draws throughput and p99 against what is in flight.
    pub(super) fn curves(&mut self, cell: impl Fn(Rival, usize) -> Cell) -> Result<()> {
        let (mut rates, mut tails): (Vec<Curve>, Vec<Curve>) = (Vec::new(), Vec::new());
        let levels = if self.stage.tempo.is_quick { &LEVELS[3..4] } else { &LEVELS };
        for rival in RIVALS {
            let (mut rate, mut tail) = (Vec::new(), Vec::new());
            for in_flight in levels {
                let what = format!("curve of {}, {}, {in_flight} in flight", self.bench, rival.name());
                eprintln!("{what}");
                let measured = cell(rival, *in_flight).run(&self.stage).context(what)?;
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
        self.say(&format!("![{title}]({file})\n"));
        Ok(())
    }

    /// Adds a paragraph, a table or a heading.
    pub(super) fn say(&mut self, text: &str) {
        self.text.push('\n');
        self.text.push_str(text);
    }

    /// Writes the page.
    pub(super) fn finish(self) -> Result<()> {
        let page = self.directory.join(format!("{}.md", self.bench));
        fs::write(&page, &self.text).with_context(|| format!("cannot write {}", page.display()))?;
        eprintln!("{}", page.display());
        Ok(())
    }
}

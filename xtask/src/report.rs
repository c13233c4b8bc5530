//! What the steps of a run came to: a heading and a time for each, a summary at the end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All well, with the number of checks made.
    Passed(Count),
    /// Not well.
    Failed(Count, String),
    /// Not done, and why.
    Skipped(String),
}

/// Checks counted inside a step. A step that counts nothing is itself one check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Held.
    pub(crate) passed: u64,
    /// Did not hold.
    pub(crate) failed: u64,
    /// Were not made.
    pub(crate) skipped: u64,
}

/// The steps so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    steps: Vec<(String, Verdict, Duration)>,
    failed: bool,
}

impl Verdict {
    /// One check that held.
    pub(crate) fn passed() -> Self {
        Self::Passed(Count { passed: 1, ..Count::default() })
    }

    /// One check that did not hold.
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(Count { failed: 1, ..Count::default() }, why.into())
    }

    fn count(&self) -> Count {
        match self {
            Self::Passed(count) | Self::Failed(count, _) => *count,
            Self::Skipped(_) => Count { skipped: 1, ..Count::default() },
        }
    }
}

impl Count {
    /// The tests in the output of `cargo test` and `cargo nextest`.
    pub(crate) fn of_tests(output: &str) -> Self {
        let mut count = Self::default();
        for line in output.lines().map(str::trim) {
            let libtest = line.strip_prefix("test result: ").is_some();
            let nextest = line.starts_with("Summary [");
            if libtest || nextest {
                count.passed += number_before(line, " passed");
                count.failed += number_before(line, " failed");
                count.skipped += number_before(line, if libtest { " ignored" } else { " skipped" });
            }
        }
        count
    }

    fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl Report {
    /// Runs a step, unless one before it failed: what follows a failure is seldom worth reading.
    pub(crate) fn step(&mut self, name: &str, step: impl FnOnce() -> Result<Verdict>) {
        if self.failed {
            let verdict = Verdict::Skipped("a step before it failed".to_owned());
            self.steps.push((name.to_owned(), verdict, Duration::ZERO));
            return;
        }
        println!("\n=== {name}");
        let start = Instant::now();
        let verdict = step().unwrap_or_else(|error| Verdict::failed(format!("{error:#}")));
        let elapsed = start.elapsed();
        let (word, why) = described(&verdict);
        println!("--- {name}: {word} in {}{why}", seconds(elapsed));
        self.failed = matches!(verdict, Verdict::Failed(..));
        self.steps.push((name.to_owned(), verdict, elapsed));
    }

    /// Prints the summary, the counted line alone at its end.
    ///
    /// # Errors
    /// A step failed.
    pub(crate) fn finish(self) -> Result<()> {
        println!("\n=== summary");
        let width = self.steps.iter().map(|(name, ..)| name.len()).max().unwrap_or_default();
        for (name, verdict, elapsed) in &self.steps {
            let (word, why) = described(verdict);
            println!("{name:width$}  {word:7} {:>8}{why}", seconds(*elapsed));
        }
        let total = self.total();
        println!("\n{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
        if self.failed {
            bail!("a step failed");
        }
        Ok(())
    }

    fn total(&self) -> Count {
        self.steps.iter().fold(Count::default(), |total, (_, verdict, _)| total.plus(verdict.count()))
    }
}

fn described(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Passed(count) if count.passed + count.skipped > 1 => {
            let skipped =
                if count.skipped > 0 { format!(", {} skipped", count.skipped) } else { String::new() };
            ("passed", format!("  ({}{skipped})", count.passed))
        }
        Verdict::Passed(_) => ("passed", String::new()),
        Verdict::Failed(_, why) => ("FAILED", format!("  {why}")),
        Verdict::Skipped(why) => ("skipped", format!("  {why}")),
    }
}

fn seconds(elapsed: Duration) -> String {
    format!("{}.{} s", elapsed.as_secs(), elapsed.subsec_millis() / 100)
}

/// The number that stands before `word`, as in `12 passed`.
fn number_before(line: &str, word: &str) -> u64 {
    line.split_once(word)
        .and_then(|(before, _)| before.rsplit(|c: char| !c.is_ascii_digit()).next())
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Count, Report, Verdict};

    #[test]
    fn tests_are_counted_in_the_words_of_both_runners() {
        let libtest = "test result: ok. 15 passed; 0 failed; 1 ignored; 0 measured\n\
                       test result: FAILED. 7 passed; 2 failed; 0 ignored; 0 measured";
        assert_eq!(Count::of_tests(libtest), Count { passed: 22, failed: 2, skipped: 1 });
        let nextest = "     Summary [   1.2s] 40 tests run: 38 passed (1 slow), 2 failed, 3 skipped";
        assert_eq!(Count::of_tests(nextest), Count { passed: 38, failed: 2, skipped: 3 });
        assert_eq!(Count::of_tests("running 3 tests"), Count::default());
    }

    #[test]
    fn after_a_failure_nothing_runs_and_everything_is_told() {
        let mut report = Report::default();
        report.step("one", || Ok(Verdict::passed()));
        report.step("two", || anyhow::bail!("no"));
        report.step("three", || panic!("must not run"));
        assert_eq!(report.total(), Count { passed: 1, failed: 1, skipped: 1 });
        assert!(report.finish().is_err());
    }
}

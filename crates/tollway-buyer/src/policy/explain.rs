//! A decision, rule by rule: every rule of every level, what it says, and whether it holds.
//!
//! The verdict and its explanation come from the same walk over the rules; they differ in what is kept of it.

use std::fmt;

use crate::policy::decision::{Breach, Reason, Verdict};

/// Why a policy says what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Every rule that has a say, the outermost level first.
    pub findings: Vec<Finding>,
    /// What follows from them.
    pub verdict: Verdict,
}

/// One rule, held against one purchase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whose rule it is: `org`, `team:research`; `always` for what no policy can change.
    pub level: String,
    /// Its key in policy files.
    pub rule: String,
    /// What it says.
    pub says: String,
    /// Whether it holds.
    pub outcome: Outcome,
}

/// Whether a rule holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It does.
    Passed,
    /// It does if somebody agrees.
    Asks(Reason),
    /// It does not.
    Failed(Reason),
}

impl Outcome {
    pub(crate) fn failed_if(is_broken: bool, reason: impl FnOnce() -> Reason) -> Self {
        if is_broken { Self::Failed(reason()) } else { Self::Passed }
    }
}

impl From<Option<Reason>> for Outcome {
    fn from(broken: Option<Reason>) -> Self {
        broken.map_or(Self::Passed, Self::Failed)
    }
}

/// Who listens to the rules as they are gone through.
pub(crate) trait Sink {
    fn rule(&mut self, level: &str, key: &str, says: impl FnOnce() -> String, outcome: Outcome);
}

/// Keeps what breaks.
#[derive(Debug, Default)]
pub(crate) struct Breaches {
    pub(crate) failed: Vec<Breach>,
    pub(crate) asks: Vec<Breach>,
}

impl Sink for Breaches {
    fn rule(&mut self, level: &str, _: &str, _: impl FnOnce() -> String, outcome: Outcome) {
        let breach = |reason| Breach { level: level.to_owned(), reason };
        match outcome {
            Outcome::Passed => {}
            Outcome::Asks(reason) => self.asks.push(breach(reason)),
            Outcome::Failed(reason) => self.failed.push(breach(reason)),
        }
    }
}

/// Keeps everything.
#[derive(Debug, Default)]
pub(crate) struct Findings(pub(crate) Vec<Finding>);

impl Sink for Findings {
    fn rule(&mut self, level: &str, key: &str, says: impl FnOnce() -> String, outcome: Outcome) {
        self.0.push(Finding { level: level.to_owned(), rule: key.to_owned(), says: says(), outcome });
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        write!(f, "{}", self.verdict)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, rule, says, outcome } = self;
        match outcome {
            Outcome::Passed => write!(f, "  pass  {level:<16} {rule:<26} {says}"),
            Outcome::Asks(reason) => write!(f, "  ASK   {level:<16} {rule:<26} {says}: {reason}"),
            Outcome::Failed(reason) => write!(f, "  FAIL  {level:<16} {rule:<26} {says}: {reason}"),
        }
    }
}

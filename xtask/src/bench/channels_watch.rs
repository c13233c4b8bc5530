//! A cell's load as whoever started it hears it: line by line, and no longer than a cell may take. So whoever is measured, a
//! cell ends, and with it the bench.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Of one cell, from its load's start to its end: several times what the slowest that gets through takes.
pub(super) const CELL_WITHIN: Duration = Duration::from_secs(300);
/// What a load says before why it has no numbers.
pub(super) const BROKEN: &str = "broken: ";

/// A load, ended with this at the latest.
#[derive(Debug)]
pub(super) struct Load {
    process: Child,
    lines: Receiver<String>,
    within: Duration,
    start: Instant,
}

impl Load {
    pub(super) fn start(command: &mut Command, within: Duration) -> Result<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = BufReader::new(process.stdout.take().context("a load has an output")?);
        let (said, lines) = mpsc::channel();
        // It ends with the load's output.
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        Ok(Self { process, lines, within, start: Instant::now() })
    }

    /// Its number.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it says next.
    pub(super) fn line(&self) -> Result<String> {
        let left = self.within.saturating_sub(self.start.elapsed());
        match self.lines.recv_timeout(left) {
            Ok(line) => match line.strip_prefix(BROKEN) {
                Some(why) => bail!("{why}"),
                None => Ok(line),
            },
            Err(RecvTimeoutError::Timeout) => bail!("not over within {} s", self.within.as_secs()),
            Err(RecvTimeoutError::Disconnected) => bail!("the load ended early"),
        }
    }

    /// Waits until it says `word`.
    pub(super) fn hear(&self, word: &str) -> Result<()> {
        let line = self.line()?;
        ensure!(line == word, "the load says {line:?} instead of {word:?}");
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::{CELL_WITHIN, Load};

    fn shell(script: &str, within: Duration) -> Load {
        Load::start(Command::new("sh").args(["-c", script]), within).unwrap()
    }

    #[test]
    fn a_cell_that_does_not_end_is_ended_and_says_so() {
        // Reads what nobody writes.
        let load = shell("cat", Duration::ZERO);
        assert_eq!(load.line().unwrap_err().to_string(), "not over within 0 s");
    }

    #[test]
    fn a_load_says_its_words_in_order_or_why_it_cannot() {
        let load = shell("echo warm; echo 'broken: 3 of 4 were answered'", CELL_WITHIN);
        load.hear("warm").unwrap();
        assert_eq!(load.line().unwrap_err().to_string(), "3 of 4 were answered");
        assert_eq!(load.line().unwrap_err().to_string(), "the load ended early");
        assert!(shell("echo known", CELL_WITHIN).hear("warm").is_err());
    }
}

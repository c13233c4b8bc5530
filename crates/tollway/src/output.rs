//! What the program prints. Results go to stdout, talk to stderr; with `--json` stdout holds one JSON object a
//! line and nothing else.
#![expect(clippy::print_stderr, reason = "the only place that prints")]

use std::io::{IsTerminal, Write};

use serde_json::Value;
use tracing_subscriber::EnvFilter;

/// How results are printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// Machine-readable if `json`.
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// One result: `object` for machines, `text` for people.
    pub(crate) fn result(self, object: &Value, text: &str) {
        if self.json { say(&object.to_string()) } else { say(text) }
    }

    /// A result that only machines get: people have it already.
    pub(crate) fn machine(self, object: &Value) {
        if self.json {
            say(&object.to_string());
        }
    }

    /// What is being done now, overwritten by the next line; only on a terminal.
    pub(crate) fn progress(self, text: &str) {
        if !self.json && std::io::stderr().is_terminal() {
            eprint!("\r\x1b[2K{text}");
        }
    }

    /// Wipes the progress line.
    pub(crate) fn progress_done(self) {
        self.progress("");
    }
}

/// A pipe that is closed early (`tollway … | head -1`) is no reason to die with a panic.
fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// Bytes as they are.
pub(crate) fn raw(bytes: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Something went wrong.
pub(crate) fn complain(text: &str) {
    eprintln!("{text}");
}

/// Sends logs to stderr: those that `RUST_LOG` selects, `default` otherwise.
pub(crate) fn start_logging(json: bool, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let is_terminal = std::io::stderr().is_terminal();
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_terminal).with_writer(std::io::stderr);
    if json {
        logs.json().init();
    } else {
        logs.init();
    }
}

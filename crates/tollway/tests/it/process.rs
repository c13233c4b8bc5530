//! Programs started by tests, ended with them.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
#[cfg(feature = "failpoints")]
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// A program in the background, killed when dropped.
pub(crate) struct Background {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Background {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        Self { child, lines }
    }

    /// The next line it prints.
    pub(crate) fn line(&mut self) -> String {
        self.lines.next().expect("the program prints a line").expect("the line is text")
    }

    /// Reads its output to the end, so that it never blocks on a full pipe.
    pub(crate) fn drain(mut self) -> Drained {
        let lines = std::mem::replace(&mut self.lines, BufReader::new(empty_stdout()).lines());
        std::thread::spawn(move || lines.for_each(drop));
        Drained { _background: self }
    }

    /// Reads its output to the end and keeps it.
    #[cfg(feature = "failpoints")]
    pub(crate) fn capture(mut self) -> Captured {
        let output = std::mem::replace(&mut self.lines, BufReader::new(empty_stdout()).lines());
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || {
            output.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line))
        });
        Captured { background: Arc::new(Mutex::new(self)), lines }
    }

    /// Asks it to stop, as an operator does, and waits for its exit code.
    pub(crate) fn interrupt(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill runs").success());
        self.child.wait().expect("the program ends").code()
    }
}

/// A program whose output is read by a thread, for tests to look at.
#[cfg(feature = "failpoints")]
pub(crate) struct Captured {
    background: Arc<Mutex<Background>>,
    lines: Arc<Mutex<Vec<String>>>,
}

#[cfg(feature = "failpoints")]
impl Captured {
    /// What it has printed so far.
    pub(crate) fn lines(&self) -> Arc<Mutex<Vec<String>>> {
        Arc::clone(&self.lines)
    }

    /// Whether it is no more.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.background.lock().unwrap().child.try_wait(), Ok(Some(_)))
    }
}

/// A program whose output nobody reads any more.
pub(crate) struct Drained {
    _background: Background,
}

fn empty_stdout() -> ChildStdout {
    let mut child = Command::new("true").stdout(Stdio::piped()).spawn().expect("true runs");
    let stdout = child.stdout.take().expect("stdout is piped");
    let _ = child.wait();
    stdout
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program under test. Its wallet is in memory unless the test says otherwise: not in the home of whoever runs it.
pub(crate) fn tollway() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollway"));
    command.env("TOLLWAY_WALLET_LEDGER", "memory:");
    command
}

/// Runs a program to its end: its exit code and the JSON lines it printed.
pub(crate) async fn run(mut command: Command) -> (Option<i32>, Vec<Value>) {
    let output = tokio::task::spawn_blocking(move || command.output().expect("the program starts"))
        .await
        .expect("the program ran");
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if lines.is_empty() {
        eprintln!("stdout: {text}\nstderr: {}", String::from_utf8_lossy(&output.stderr));
    }
    (output.status.code(), lines)
}

/// What a foreign program is found by; none if it is not there, which the test says.
pub(crate) fn tool(variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from);
    if found.is_none() {
        assert!(std::env::var_os("TOLLWAY_REQUIRE_FOREIGN").is_none(), "{variable} must be set");
        eprintln!("NOT RUN: {variable} is not set; `cargo xtask test` sets it");
    }
    found
}

/// `node` on one of our scripts beside the published packages.
pub(crate) fn node_script(script: &str) -> Option<Command> {
    let folder = tool("TOLLWAY_NODE_DIR")?;
    let mut command = Command::new("node");
    command.arg(folder.join(script)).current_dir(folder);
    Some(command)
}

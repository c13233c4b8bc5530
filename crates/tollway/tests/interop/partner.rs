//! A partner's program: started with one JSON argument, talked with in lines of JSON, ended with its stdin.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::peers::{Peer, Program};
use crate::process::{node_script, tool};

/// Loading the packages takes seconds, and longer while other tests run.
const START: Duration = Duration::from_secs(120);
/// One payment.
const ANSWER: Duration = Duration::from_secs(60);
/// How many of its last complaints are kept.
const COMPLAINTS: usize = 30;

/// A running program.
pub(crate) struct Partner {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    complaints: Arc<Mutex<VecDeque<String>>>,
}

impl Partner {
    /// Starts the program of `peer`; none if it is not installed.
    pub(crate) fn start(peer: &Peer, start: &Value) -> Option<Self> {
        let mut command = command(peer.program)?;
        command.arg(start.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{} does not start: {error}", peer.name));
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let complaints = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&complaints);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap();
                if kept.len() == COMPLAINTS {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        Some(Self { name: peer.name, stdin: child.stdin.take(), child, lines, complaints })
    }

    /// Waits until it serves: the URLs that it serves on, for a server or a facilitator.
    pub(crate) fn ready(&mut self) -> Vec<String> {
        let said = self.line(START);
        let urls = said["urls"].as_array().map(Vec::as_slice).unwrap_or_default();
        urls.iter().map(|url| url.as_str().expect("a URL").to_owned()).collect()
    }

    /// What it answers.
    pub(crate) fn ask(&mut self, request: &Value) -> Value {
        let stdin = self.stdin.as_mut().expect("only taken at the end");
        writeln!(stdin, "{request}").unwrap_or_else(|error| panic!("{} has ended: {error}", self.name));
        self.line(ANSWER)
    }

    fn line(&self, deadline: Duration) -> Value {
        loop {
            let line =
                tokio::task::block_in_place(|| self.lines.recv_timeout(deadline)).unwrap_or_else(|error| {
                    panic!(
                        "{} says nothing ({error}), but: {:#?}",
                        self.name,
                        self.complaints.lock().unwrap()
                    )
                });
            // Packages print notices of their own.
            if let Ok(said @ Value::Object(_)) = serde_json::from_str(&line) {
                return said;
            }
        }
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        drop(self.stdin.take());
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(program: Program) -> Option<Command> {
    match program {
        Program::Ours => None,
        Program::Node(script) => node_script(script),
        Program::Mppx(script) => {
            let folder = tool("TOLLWAY_MPPX_DIR")?;
            let mut command = Command::new("node");
            command.arg(folder.join(script)).current_dir(folder);
            Some(command)
        }
        Program::Python(script, what) => {
            let mut command = Command::new(tool("TOLLWAY_PYTHON")?);
            command
                .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/python").join(script))
                .arg(what);
            Some(command)
        }
        Program::Rust(role) => {
            let mut command = Command::new(tool("TOLLWAY_RUST_PEERS")?);
            command.arg(role);
            Some(command)
        }
    }
}

//! This program again as another process, in a role that a bench needs: a server, a node, a load.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::process::exists;

/// A process that serves. It ends with this.
#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    /// Where it serves.
    pub(super) address: String,
}

impl Child {
    /// Starts `command` and waits until it says where it serves.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a process for a bench")?;
        let stdout = process.stdout.take().context("a server has an output")?;
        let mut child = Self { process, address: String::new() };
        BufReader::new(stdout).read_line(&mut child.address)?;
        ensure!(!child.address.is_empty(), "a server for a bench did not start");
        child.address.truncate(child.address.trim_end().len());
        Ok(child)
    }

    /// Its number.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// This program in `role`; on one core, if processes can be pinned here.
pub(super) fn command(role: &str, core: Option<usize>) -> Result<Command> {
    let program = std::env::current_exe()?;
    let mut command = match core {
        // `taskset` becomes the program, so that the process keeps its number.
        Some(core) if can_pin() => {
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", &core.to_string()]).arg(program);
            command
        }
        _ => Command::new(program),
    };
    command.args(["bench", "--child", role]);
    Ok(command)
}

/// Whether a process can be kept on one core.
pub(super) fn can_pin() -> bool {
    exists("taskset", "--version")
}

/// The child's side: tells where it serves, and ends the process when whoever started it is gone.
pub(super) fn announce(address: &str) -> Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{address}")?;
    stdout.flush()?;
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    Ok(())
}

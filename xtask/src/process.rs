//! Running other programs: their output passes through as it comes, and is kept to be read afterwards.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

/// What a program said, and whether it was content.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Exit status zero.
    pub(crate) success: bool,
    /// Standard output and standard error, line by line.
    pub(crate) output: String,
}

impl Finished {
    /// What went wrong, in a line: the first errors it names.
    pub(crate) fn complaint(&self) -> String {
        let errors = self.output.lines().filter(|line| line.to_lowercase().contains("error"));
        errors.take(3).map(str::trim).collect::<Vec<_>>().join(" / ")
    }
}

/// A command in `directory`.
pub(crate) fn command(directory: &Path, program: impl AsRef<Path>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program.as_ref());
    command.current_dir(directory).args(arguments);
    command
}

/// `cargo`, the one that runs us.
pub(crate) fn cargo(directory: &Path, arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    command(directory, cargo, arguments)
}

/// Runs to the end, with the output passing through.
///
/// # Errors
/// The program cannot be started.
pub(crate) fn run(command: &mut Command) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    // Both pipes are read at once: a full pipe would stop the program for good.
    let stdout = child.stdout.take().map(|pipe| thread::spawn(|| pass(pipe, std::io::stdout())));
    let stderr = child.stderr.take().map(|pipe| thread::spawn(|| pass(pipe, std::io::stderr())));
    let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
    let mut output = String::new();
    for reader in [stdout, stderr].into_iter().flatten() {
        output.push_str(&reader.join().unwrap_or_default());
    }
    Ok(Finished { success: status.success(), output })
}

/// Runs to the end and insists on success.
///
/// # Errors
/// The program cannot be started or fails.
pub(crate) fn must(command: &mut Command) -> Result<()> {
    let finished = run(command)?;
    if !finished.success {
        bail!("{} failed", shown(command));
    }
    Ok(())
}

/// Runs quietly and returns standard output.
///
/// # Errors
/// The program cannot be started or fails.
pub(crate) fn read(command: &mut Command) -> Result<Vec<u8>> {
    let name = shown(command);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        bail!("{name} failed");
    }
    Ok(output.stdout)
}

/// Whether `program` can be started at all.
pub(crate) fn exists(program: &str, argument: &str) -> bool {
    let status = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn pass(from: impl Read, mut to: impl Write) -> String {
    let mut kept = String::new();
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // A closed terminal is no reason to stop the program.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        kept.push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
    kept
}

//! `tollway wallet policy`: what is wrong or dead in a policy file. What one says to a purchase is in [`super::explain`].

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};
use tollway_buyer::{PolicyFile, PolicyNote};

use crate::config::read_bounded;
use crate::output::Output;

/// The longest policy file, and the longest offer.
const MAX_BYTES: usize = 256 * 1024;

/// Policy files: check one, or have it explain what it says to a purchase.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(Check),
    Explain(Box<super::explain::Explain>),
}

/// Check a policy file: what is wrong, and what does nothing or something else than it seems to.
///
/// Exit codes: 0 it can be used; 1 there are warnings and --strict was given; 2 it is wrong, and nothing of it would
/// be in force.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct Check {
    /// The file.
    #[arg(value_name = "FILE", env = "TOLLWAY_POLICY")]
    file: PathBuf,
    /// Fail on warnings too.
    #[arg(long)]
    strict: bool,
    /// Print one JSON object: faults, warnings, agents.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Check(args) => check(args),
        Command::Explain(args) => super::explain::run(args).await,
    }
}

/// Reads a policy file, for whoever pays by it.
pub(crate) fn read_policy(path: &Path) -> anyhow::Result<PolicyFile> {
    let file = PolicyFile::parse(&read_text(path)?);
    file.with_context(|| format!("{} is no policy", path.display()))
}

fn check(args: &Check) -> anyhow::Result<ExitCode> {
    let output = Output::new(args.json);
    let (faults, warnings, agents) = match PolicyFile::parse(&read_text(&args.file)?) {
        Ok(file) => {
            let agents = file.agents().map(str::to_owned).collect();
            (Vec::new(), file.warnings(), agents)
        }
        Err(faults) => (faults.0, Vec::new(), Vec::new()),
    };
    let notes = |notes: &[PolicyNote]| -> Vec<Value> {
        notes.iter().map(|note| json!({ "key": note.key, "message": note.message })).collect()
    };
    let object = json!({ "faults": notes(&faults), "warnings": notes(&warnings), "agents": agents });
    let told = faults.iter().map(|note| format!("fault    {note}"));
    let mut lines: Vec<String> = told.chain(warnings.iter().map(|note| format!("warning  {note}"))).collect();
    lines.push(format!("{}: {} faults, {} warnings", args.file.display(), faults.len(), warnings.len()));
    output.result(&object, &lines.join("\n"));
    Ok(match (faults.is_empty(), warnings.is_empty()) {
        (false, _) => ExitCode::from(2),
        (true, false) if args.strict => ExitCode::from(1),
        (true, _) => ExitCode::SUCCESS,
    })
}

pub(super) fn read_text(path: &Path) -> anyhow::Result<String> {
    let read = || -> anyhow::Result<String> {
        let bytes = match path.as_os_str() == "-" {
            true => read_bounded(std::io::stdin().lock(), MAX_BYTES)?,
            false => read_bounded(std::fs::File::open(path)?, MAX_BYTES)?,
        };
        Ok(String::from_utf8(bytes)?)
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

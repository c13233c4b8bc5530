//! `tollway wallet list`: the keys in the folder of keystores.

use std::process::ExitCode;

use serde_json::json;

use crate::output::Output;
use crate::signing::{Folder, FolderArgs};

/// List the keys in the folder of keystores. No password is needed; accounts are what the files say.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    folder: FolderArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = Folder::of(&args.folder)?;
    let entries = folder.list()?;
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or_default();
    for entry in &entries {
        let address = entry.address().map(|address| address.to_string());
        // As long as an account: Foundry's files do not say whose they are.
        let shown = address.as_deref().unwrap_or("(account not in the file)                 ");
        let file = entry.path.display();
        lines.push(format!("{:width$}  {shown}  {file}", entry.name));
        rows.push(json!({ "name": entry.name, "address": address, "file": file.to_string() }));
    }
    let path = folder.path().display();
    let text = if lines.is_empty() { format!("no keys in {path}") } else { lines.join("\n") };
    let object = json!({ "folder": path.to_string(), "keys": rows });
    Output::new(args.json).result(&object, &text);
    Ok(ExitCode::SUCCESS)
}

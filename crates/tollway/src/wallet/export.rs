//! `tollway wallet export`: the books as a file; or a key out of its encrypted file, in the clear.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::json;
use tollway_evm::Signer;
use zeroize::Zeroizing;

use crate::books::formats::Format;
use crate::output::{Output, complain};
use crate::signing::KeySource;
use crate::wallet::history::{self, BooksArgs};

/// Write the whole books out with --format, or print a key in the clear without it.
///
/// Books: everything that the wallet spent and earned, the oldest first, exact, for spreadsheets and double entry. The same
/// ledger gives the same file.
///
/// A key: whoever reads it has the money of its account: think of what else sees this terminal. An encrypted copy is the file
/// itself, which geth, Foundry and most wallets read: `tollway wallet list` shows where it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write the books, and how.
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["yes", "json"])]
    format: Option<Format>,
    #[command(flatten)]
    books: BooksArgs,
    /// Write the books to this file.
    #[arg(short, long, value_name = "FILE", requires = "format")]
    output: Option<PathBuf>,
    /// Print the key of --key, without asking whether this is meant.
    #[arg(long)]
    yes: bool,
    /// Print the key as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match args.format {
        Some(format) => history::export(&args.books, format, args.output.as_ref()).await,
        None => print_key(args),
    }
}

fn print_key(args: &Args) -> anyhow::Result<ExitCode> {
    let owner = &args.books.owner;
    let key =
        owner.key.as_ref().context("either --format, for the books, or --key, for a key, is required")?;
    let source = key.as_name().context("--key")?;
    if !args.yes {
        confirm(&source)?;
    }
    let signer = owner.unlock.local(&source).with_context(|| source.to_string())?;
    let key = signer.expose_hex();
    let object = json!({ "address": signer.address().to_string(), "key": *key });
    Output::new(args.json).result(&object, &key);
    Ok(ExitCode::SUCCESS)
}

fn confirm(source: &KeySource) -> anyhow::Result<()> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        bail!("a key is only printed when somebody says so: with --yes, or at a terminal");
    }
    complain(&format!("This prints the key of {source} in the clear. Type yes if you mean it:"));
    let mut answer = Zeroizing::new(String::new());
    std::io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    if answer.trim() != "yes" {
        bail!("nothing was printed");
    }
    Ok(())
}

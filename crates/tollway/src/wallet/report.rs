//! `tollway wallet report`: what was spent by host, agent and day, drawn.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::books::tally::Tally;
use crate::books::{Books, chart};
use crate::commands::wallet_ledger::{Owned, OwnerArgs};
use crate::dev_assets::{DEV_CHAIN_ID, with_dev_assets};
use crate::output::raw;
use crate::wallet::history::{FilterArgs, warn};

/// Draw what was spent by host, agent and day: at the terminal, or into an SVG file.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    owner: OwnerArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Draw into this SVG file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Owned { ledger, wallet, account } = args.owner.open().await?;
    let assets = with_dev_assets(DEV_CHAIN_ID);
    let mut books = Books::new(ledger, &wallet, account, assets, args.filter.filter());
    let mut tally = Tally::default();
    while let Some(entry) = books.next().await? {
        tally.add(&entry);
    }
    let title = format!("tollway wallet {wallet}");
    match &args.svg {
        Some(file) => std::fs::write(file, chart::svg(&title, &tally))
            .with_context(|| format!("cannot write {}", file.display()))?,
        None => raw(chart::terminal(&title, &tally).as_bytes())?,
    }
    warn(&books);
    Ok(ExitCode::SUCCESS)
}

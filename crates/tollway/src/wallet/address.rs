//! `tollway wallet address`: which account a key is of.

use std::process::ExitCode;

use serde_json::json;

use super::account::AccountArgs;
use crate::output::Output;

/// Print the account that a key is of. No password is asked for if the file says it, and --check was not given.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    account: AccountArgs,
    /// Open the file, and see that its key is of the account that the file says.
    #[arg(long)]
    check: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let address = args.account.address(args.check).await?.to_string();
    Output::new(args.json).result(&json!({ "address": address }), &address);
    Ok(ExitCode::SUCCESS)
}

//! The `tollway` program: a demo, a paying client and its wallet, what a seller does with held payments, a facilitator, a devnet.

mod accounts;
mod arguments;
mod books;
mod commands;
mod config;
mod demo;
mod dev_assets;
mod ledger;
mod output;
mod proxy;
mod serving;
mod signing;
mod telemetry;
mod terminal;
mod wallet;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tikv_jemallocator::Jemalloc;

/// A request is hundreds of small allocations: with the system's allocator they cost nearly as much as the
/// signature.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// HTTP 402 that works: prices on HTTP resources, paid in stablecoins by x402.
#[derive(Debug, Parser)]
#[command(name = "tollway", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(commands::demo::Args),
    Pay(Box<commands::pay::Args>),
    Proxy(Box<commands::proxy::Args>),
    Wallet(wallet::Args),
    Receipt(commands::receipt::Args),
    Capture(commands::hold::Capture),
    Void(commands::hold::Void),
    Refund(commands::hold::Refund),
    Reclaim(commands::reclaim::Args),
    Status(commands::hold::Status),
    Channels(Box<commands::channels::Args>),
    Accounts(accounts::Args),
    Facilitator(commands::facilitator::Args),
    Devnet(commands::devnet::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let done = match cli.command {
        Command::Demo(args) => commands::demo::run(args).await,
        Command::Pay(args) => commands::pay::run(*args).await,
        Command::Proxy(args) => commands::proxy::run(*args).await,
        Command::Wallet(args) => wallet::run(args).await,
        Command::Receipt(args) => commands::receipt::run(args).await,
        Command::Capture(args) => commands::hold::capture(args).await,
        Command::Void(args) => commands::hold::void(args).await,
        Command::Refund(args) => commands::hold::refund(args).await,
        Command::Reclaim(args) => commands::reclaim::run(args).await,
        Command::Status(args) => commands::hold::status(args).await,
        Command::Channels(args) => commands::channels::run(*args).await,
        Command::Accounts(args) => accounts::run(args).await,
        Command::Facilitator(args) => commands::facilitator::run(args).await,
        Command::Devnet(args) => commands::devnet::run(args).await,
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            output::complain(&format!("error: {error:#}"));
            if error.is::<arguments::Misuse>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Wrong usage, or a wish for help. What was typed is repeated, unless it may be a key.
fn misused(error: &clap::Error) -> ExitCode {
    let text = error.to_string();
    match signing::without_keys(&text) {
        Some(text) => {
            output::complain(&text);
            ExitCode::from(2)
        }
        None => error.exit(),
    }
}

//! `tollway wallet`: keys, and what they did. One file a subcommand; where keys are, and what opens them, is in
//! [`crate::signing`].

mod account;
mod address;
mod alarms;
mod approvals;
mod balance;
mod budget;
mod channels;
mod explain;
mod export;
mod freeze;
mod fund;
mod history;
mod import;
mod intents;
mod list;
mod new;
mod pins;
pub(crate) mod policy;
mod report;

use std::process::ExitCode;

use clap::Subcommand;

/// The owner's side: keys, policies, the kill switch, approvals, and the books.
///
/// Keys are encrypted files (Web3 Secret Storage) in a folder, as geth and Foundry have them. Every command that needs a
/// key takes it by --key keystore:NAME, or from wherever else it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(new::Args),
    Import(import::Args),
    List(list::Args),
    Address(address::Args),
    Balance(balance::Args),
    Fund(fund::Args),
    Export(export::Args),
    Freeze(freeze::Freeze),
    Unfreeze(freeze::Unfreeze),
    Approvals(approvals::Args),
    Pins(pins::Args),
    Alarms(alarms::Args),
    Budget(budget::Args),
    Channels(channels::Args),
    Intents(intents::Args),
    History(history::Args),
    Report(report::Args),
    Policy(policy::Args),
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::New(args) => new::run(&args),
        Command::Import(args) => import::run(&args),
        Command::List(args) => list::run(&args),
        Command::Address(args) => address::run(&args).await,
        Command::Balance(args) => balance::run(&args).await,
        Command::Fund(args) => fund::run(&args).await,
        Command::Export(args) => export::run(&args).await,
        Command::Freeze(args) => freeze::freeze(args).await,
        Command::Unfreeze(args) => freeze::unfreeze(args).await,
        Command::Approvals(args) => approvals::run(args).await,
        Command::Pins(args) => pins::run(args).await,
        Command::Alarms(args) => alarms::run(args).await,
        Command::Budget(args) => budget::run(args).await,
        Command::Channels(args) => channels::run(args).await,
        Command::Intents(args) => intents::run(args).await,
        Command::History(args) => history::run(args).await,
        Command::Report(args) => report::run(args).await,
        Command::Policy(args) => policy::run(&args).await,
    }
}

//! `tollway wallet channels`: what a payer has in channels, and how it comes back: with the seller, or without it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use serde_json::json;
use tollway_buyer::{ChannelError, ChannelRecord, Wallet};
use tollway_core::{Amount, ChannelKey};
use tollway_evm::OwnError;
use tollway_evm::batch_settlement::{ChannelConfig, WithdrawError, begin_withdrawal, end_withdrawal};

use crate::arguments::{amount, narrow_amount, seconds};
use crate::books::text::visible;
use crate::commands::hold::{PENDING, REFUSED};
use crate::commands::purse::{NoKey, PurseArgs};
use crate::commands::wallet_ledger::OwnerArgs;
use crate::output::{Output, complain, start_logging};

/// The wallet's own payment channels: what is in them, and how it comes back.
///
/// Exit codes: 0 done; 1 it could not be asked; 2 wrong usage; 3 refused, nothing moved; 4 not known yet: ask again.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Refund(Box<Refund>),
    Withdraw(Box<Withdraw>),
}

/// List them: what is in each, what was spent of it, and whether something is wrong. Nobody is asked.
#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    owner: OwnerArgs,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Ask the seller to give back what is left in one: at once, and without gas.
///
/// With --rpc-url it is seen on chain that it is back; without, it counts as exposure until then. A seller that refuses cannot
/// keep it: see withdraw.
#[derive(Debug, clap::Args)]
struct Refund {
    /// A channel such as eip155:8453/0x6f0e….
    channel: String,
    /// How much, in atomic units; all that is left, if not given.
    #[arg(long, value_name = "ATOMIC", value_parser = amount)]
    amount: Option<Amount>,
    #[command(flatten)]
    purse: PurseArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Take back what is left in one, without the seller.
///
/// It takes two transactions of the payer's own account, which pays the gas: one begins it, and after the channel's delay
/// --finalize ends it. What the seller claims in between is the seller's. Nothing more is bought on it meanwhile.
#[derive(Debug, clap::Args)]
struct Withdraw {
    /// A channel such as eip155:8453/0x6f0e….
    channel: String,
    /// End a withdrawal that was begun.
    #[arg(long)]
    finalize: bool,
    /// How much, in atomic units; all that is left, if not given.
    #[arg(long, value_name = "ATOMIC", conflicts_with = "finalize", value_parser = narrow_amount)]
    amount: Option<u128>,
    #[command(flatten)]
    purse: PurseArgs,
    /// Seconds to wait until it is in a block.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = seconds)]
    timeout: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(args) => list(args).await,
        Command::Refund(args) => refund(*args).await,
        Command::Withdraw(args) => withdraw(*args).await,
    }
}

async fn list(args: List) -> anyhow::Result<ExitCode> {
    let owned = args.owner.open().await?;
    let output = Output::new(args.json);
    // It signs nothing: what is written is told.
    let wallet = Wallet::builder().signer(Arc::new(NoKey)).name(&owned.wallet);
    let wallet = wallet.ledger(Arc::clone(&owned.ledger)).build()?;
    let channels = wallet.channels().await?;
    channels.iter().for_each(|channel| tell(output, channel));
    if channels.is_empty() && !args.json {
        complain("the wallet has no channels");
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(output: Output, channel: &ChannelRecord) {
    let deposit = channel.deposit.as_ref().map(|pending| pending.amount.to_string());
    let object = json!({
        "channel": channel.key.as_str(), "url": channel.url, "network": channel.offer.network.as_str(),
        "asset": channel.offer.asset, "payTo": channel.offer.pay_to, "balance": channel.balance.to_string(),
        "charged": channel.charged.to_string(), "signed": channel.signed.to_string(),
        "claimed": channel.claimed.to_string(), "exposed": channel.exposed.to_string(), "deposit": deposit,
        "broken": channel.broken, "withdrawRequestedAt": channel.withdraw_requested_at.map(|at| at.0),
        "usedAt": channel.used_at.0,
    });
    let ChannelRecord { key, charged, balance, .. } = channel;
    let mut text = format!("{key}: {charged} of {balance} spent at {}", visible(&channel.url, 200));
    if let Some(deposit) = deposit {
        text.push_str(&format!(", {deposit} more on its way"));
    }
    if channel.withdraw_requested_at.is_some() {
        text.push_str(", is being withdrawn");
    }
    if let Some(broken) = &channel.broken {
        text.push_str(&format!("\n    GIVEN UP: {}", visible(broken, 300)));
    }
    output.result(&object, &text);
}

async fn refund(args: Refund) -> anyhow::Result<ExitCode> {
    start_logging(args.json, "warn");
    let output = Output::new(args.json);
    let chain = args.purse.connect().await.context("--rpc-url")?;
    let wallet = args.purse.wallet(chain.as_ref()).await?.build()?;
    let key = ChannelKey::new(&args.channel);
    let asked = wallet.refund_channel(&key, args.amount).await;
    wallet.flush().await;
    let (outcome, code, told, message) = match asked {
        Ok(told) => ("done", ExitCode::SUCCESS, Some(told), None),
        Err(error @ (ChannelError::NothingLeft { .. } | ChannelError::Refused(_))) => {
            ("refused", ExitCode::from(REFUSED), None, Some(error.to_string()))
        }
        Err(error @ ChannelError::Unresolved(_)) => {
            ("pending", ExitCode::from(PENDING), None, Some(error.to_string()))
        }
        Err(error) => return Err(error.into()),
    };
    let (amount, transaction) = told.map(|told| (told.amount, told.transaction)).unwrap_or_default();
    let object = json!({
        "outcome": outcome, "operation": "refund", "channel": args.channel, "amount": amount,
        "transaction": Some(&transaction).filter(|hash| !hash.is_empty()), "message": message,
    });
    let back = || format!("{} came back by {transaction}", amount.as_deref().unwrap_or("what was left"));
    output.result(&object, &message.clone().unwrap_or_else(back));
    Ok(code)
}

async fn withdraw(args: Withdraw) -> anyhow::Result<ExitCode> {
    start_logging(args.json, "warn");
    let output = Output::new(args.json);
    let (name, key) = (&args.channel, ChannelKey::new(&args.channel));
    let chain =
        args.purse.connect().await?.context("--rpc-url: is required: the transaction is sent there")?;
    let wallet = args.purse.wallet(Some(&chain)).await?.build()?;
    let channels = wallet.channels().await?;
    let found = channels.iter().find(|channel| channel.key == key);
    let found = found.with_context(|| format!("{name}: the wallet has no such channel"))?;
    let config = ChannelConfig::read(&found.terms).map_err(|refusal| anyhow::anyhow!("{name}: {refusal}"))?;
    let (signer, patience) = (args.purse.key().await?, Duration::from_secs(args.timeout));
    let done = match args.finalize {
        true => end_withdrawal(&chain, &*signer, &config, patience)
            .await
            .map(|back| (back.amount, back.transaction, None)),
        false => begin_withdrawal(&chain, &*signer, &config, args.amount, patience)
            .await
            .map(|begun| (begun.amount, begun.transaction, Some(begun.from.0))),
    };
    // The wallet knows at once: nothing more is bought on it, and what is back is exposure no longer.
    wallet.look_at_channel(&key).await?;
    wallet.flush().await;
    let operation = if args.finalize { "finalizeWithdraw" } else { "initiateWithdraw" };
    let (outcome, code, amount, transaction, from, message) = match done {
        Ok((amount, transaction, from)) => {
            ("done", ExitCode::SUCCESS, Some(amount), Some(transaction), from, None)
        }
        Err(error @ WithdrawError::Own(OwnError::Chain(_) | OwnError::Signer(_))) => return Err(error.into()),
        Err(error @ WithdrawError::Own(OwnError::Pending { transaction, .. })) => {
            ("pending", ExitCode::from(PENDING), None, Some(transaction), None, Some(error.to_string()))
        }
        Err(error) => ("refused", ExitCode::from(REFUSED), None, None, None, Some(error.to_string())),
    };
    let object = json!({
        "outcome": outcome, "operation": operation, "channel": name,
        "amount": amount.map(|amount| amount.to_string()), "transaction": transaction, "from": from,
        "message": message,
    });
    let text = match (&message, from) {
        (Some(message), _) => format!("{operation}: {message}"),
        (None, Some(from)) => format!("{} can be had from {from} on", amount.unwrap_or_default()),
        (None, None) => format!("{} came back", amount.unwrap_or_default()),
    };
    output.result(&object, &text);
    Ok(code)
}

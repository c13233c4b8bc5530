//! `tollway wallet approvals`: questions that agents have written into the ledger, and the owner's answers. From any process
//! and machine on the same ledger.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;
use tollway_buyer::{Decided, QueueApprover, QueuedInquiry};
use tollway_core::{Clock, SystemClock};

use crate::books::text::visible;
use crate::commands::wallet_ledger::{Owned, OwnerArgs};
use crate::output::{Output, complain};

/// Answer what agents ask for: purchases above the threshold of a policy that asks by the queue.
///
/// No answer in time is no, and an answer that comes too late changes nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the questions that wait; with --all also those that are over.
    List(List),
    /// Say yes to one. Exit code 3: it was too late, or somebody said no before.
    Approve(Answer),
    /// Say no to one. Exit code 3: somebody said yes before.
    Deny(Answer),
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    owner: OwnerArgs,
    /// Also those that are answered or over.
    #[arg(long)]
    all: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Answer {
    /// The question, as list names it.
    id: String,
    #[command(flatten)]
    owner: OwnerArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(args) => list(args).await,
        Command::Approve(args) => answer(args, true).await,
        Command::Deny(args) => answer(args, false).await,
    }
}

async fn list(args: List) -> anyhow::Result<ExitCode> {
    let Owned { ledger, wallet, .. } = args.owner.open().await?;
    let now = SystemClock.now();
    // What is past its time by far is of no use to anybody.
    ledger.fact_sweep(now, 1_000).await?;
    let mut questions = QueueApprover::new(ledger, Arc::new(SystemClock)).list(&wallet).await?;
    questions.sort_by(|one, other| {
        (one.inquiry.asked, &one.inquiry.id).cmp(&(other.inquiry.asked, &other.inquiry.id))
    });
    let waits = |question: &QueuedInquiry| question.decided.is_none() && question.inquiry.until > now;
    questions.retain(|question| args.all || waits(question));
    let output = Output::new(args.json);
    for question in &questions {
        let inquiry = &question.inquiry;
        let state = match question.decided {
            None if waits(question) => "waiting",
            None => Decided::Expired.as_str(),
            Some(decided) => decided.as_str(),
        };
        let left = inquiry.until.0.saturating_sub(now.0);
        let mut object = inquiry.to_json();
        object["state"] = state.into();
        let time = if state == "waiting" { format!(", {left} s left") } else { String::new() };
        output.result(&object, &format!("{}  {state}{time}\n{inquiry}", inquiry.id));
    }
    if questions.is_empty() && !args.json {
        complain("no question waits");
    }
    Ok(ExitCode::SUCCESS)
}

async fn answer(args: Answer, yes: bool) -> anyhow::Result<ExitCode> {
    let Owned { ledger, wallet, .. } = args.owner.open().await?;
    let queue = QueueApprover::new(ledger, Arc::new(SystemClock));
    let Some(decided) = queue.decide(&wallet, &args.id, yes).await? else {
        anyhow::bail!("there is no question {} for {wallet}", visible(&args.id, 64));
    };
    let wanted = if yes { Decided::Approved } else { Decided::Denied };
    let object = json!({ "id": args.id, "state": decided.as_str() });
    let text = match decided {
        Decided::Expired => "too late: its time is over, and nothing is approved".to_owned(),
        decided if decided == wanted => decided.as_str().to_owned(),
        decided => format!("somebody was first: {}", decided.as_str()),
    };
    Output::new(args.json).result(&object, &text);
    // Who says no has what they want when its time is over, too.
    let is_done = decided == wanted || (!yes && decided == Decided::Expired);
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

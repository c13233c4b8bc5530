//! `tollway channels`: what a seller has on its channels and how it becomes money, by the seller's ledger. A payer's own are in
//! `tollway wallet channels`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tollway_core::{Amount, ChannelKey, Facilitator};
use tollway_evm::Signer;
use tollway_evm::batch_settlement::BatchSettlement;
use tollway_seller::{ChannelView, ClaimEnd, ClaimOutcome, ClaimStep, ClaimWorker, HttpFacilitator};
use url::Url;

use crate::arguments::{amount, web_url};
use crate::commands::hold::{PENDING, REFUSED};
use crate::dev_assets::{DEV_CHAIN_ID, with_dev_assets};
use crate::output::{Output, complain, start_logging};
use crate::signing::{SourceText, Unlock};

/// How many channels are listed at once.
const PAGE: u32 = 250;

/// A seller's payment channels, by its ledger. A payer's own: `tollway wallet channels`.
///
/// Exit codes: 0 done; 1 it could not be asked; 2 wrong usage; 3 refused, nothing moved; 4 not known yet: ask again.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(List),
    Claim(Claim),
    Settle(Settle),
    Refund(Refund),
}

/// Tell of every channel what was charged, claimed and is at risk, and the sums.
#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    at: LedgerAt,
}

/// Claim what was charged, whatever the policy says: on all channels, or on those that are named.
#[derive(Debug, clap::Args)]
struct Claim {
    /// Channels such as eip155:8453/0x6f0e…; all, if none is named.
    channel: Vec<String>,
    #[command(flatten)]
    asking: Asking,
}

/// Have what was claimed paid out, to every receiver that the ledger knows of.
#[derive(Debug, clap::Args)]
struct Settle {
    #[command(flatten)]
    asking: Asking,
}

/// Give back what is left in a channel. What was charged is claimed in the same step.
#[derive(Debug, clap::Args)]
struct Refund {
    /// A channel such as eip155:8453/0x6f0e….
    channel: String,
    /// How much, in atomic units; all that is left, if not given.
    #[arg(long, value_name = "ATOMIC", value_parser = amount)]
    amount: Option<Amount>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, clap::Args)]
struct LedgerAt {
    /// The seller's ledger: sqlite:FILE, postgres:URL or env:NAME.
    #[arg(long, value_name = "URL")]
    ledger: String,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Asking {
    #[command(flatten)]
    at: LedgerAt,
    /// The facilitator that claims.
    #[arg(long, value_name = "URL", value_parser = web_url)]
    facilitator: Url,
    /// Where the key is of the account that the channels name as receiverAuthorizer, if the facilitator has not that key:
    /// env:NAME, file:PATH, keystore:NAME, web3signer:URL/ADDRESS, aws-kms:KEY or gcp-kms:RESOURCE.
    #[arg(long, value_name = "SOURCE")]
    key: Option<SourceText>,
    #[command(flatten)]
    unlock: Unlock,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(args) => list(args).await,
        Command::Claim(args) => {
            let channels: Vec<ChannelKey> = args.channel.iter().map(ChannelKey::new).collect();
            let (output, worker) = args.asking.open().await?;
            ensure_known(&worker, &channels).await?;
            Ok(tell_all(output, &worker.claim(&channels).await?))
        }
        Command::Settle(args) => {
            let (output, worker) = args.asking.open().await?;
            Ok(tell_all(output, &worker.settle().await?))
        }
        Command::Refund(args) => {
            let (output, worker) = args.asking.open().await?;
            let told = worker.refund(&ChannelKey::new(&args.channel), args.amount).await?;
            let Some(step) = told else {
                bail!("{}: there is no such channel, or nothing to give back", args.channel)
            };
            Ok(tell(output, &step))
        }
    }
}

/// A name that is mistyped must not look as if there were nothing to claim.
async fn ensure_known(worker: &ClaimWorker, channels: &[ChannelKey]) -> anyhow::Result<()> {
    let mut unknown: BTreeSet<&ChannelKey> = channels.iter().collect();
    let mut after: Option<ChannelKey> = None;
    while !unknown.is_empty() {
        let page = worker.list(after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.channel.clone());
        for view in &page {
            unknown.remove(&view.channel);
        }
    }
    match unknown.first() {
        Some(channel) => bail!("{channel}: there is no such channel in the ledger"),
        None => Ok(()),
    }
}

async fn list(args: List) -> anyhow::Result<ExitCode> {
    start_logging(args.at.json, "warn");
    let output = Output::new(args.at.json);
    // Nobody is asked: what is written is told.
    let nobody = HttpFacilitator::new("http://localhost")?;
    let worker = args.at.worker(Arc::new(nobody), None).await?;
    let mut after: Option<ChannelKey> = None;
    loop {
        let page = worker.list(after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.channel.clone());
        page.iter().for_each(|view| output.result(&described(view), &line(view)));
    }
    let report = worker.report().await?;
    for sum in &report.sums {
        let object = json!({
            "network": sum.network, "asset": sum.asset, "receiver": sum.receiver, "channels": sum.channels,
            "unclaimed": sum.unclaimed, "closing": sum.closing, "balance": sum.balance.to_string(),
            "charged": sum.charged.to_string(), "claimed": sum.claimed.to_string(),
            "atRisk": sum.at_risk.to_string(), "lost": sum.lost.to_string(), "settled": sum.settled.to_string(),
            "payoutDue": sum.is_payout_due, "nextDeadline": sum.next_deadline.map(|at| at.0),
        });
        let text = format!(
            "{} {} to {}: {} channels, charged {}, claimed {}, at risk {}, lost {}, paid out {}",
            sum.network,
            sum.asset,
            sum.receiver,
            sum.channels,
            sum.charged,
            sum.claimed,
            sum.at_risk,
            sum.lost,
            sum.settled
        );
        output.result(&object, &text);
    }
    Ok(ExitCode::SUCCESS)
}

fn described(view: &ChannelView) -> Value {
    json!({
        "channel": view.channel.as_str(), "payer": view.payer, "receiver": view.receiver, "asset": view.asset,
        "balance": view.balance.to_string(), "charged": view.charged.to_string(),
        "signed": view.signed.to_string(), "claimed": view.claimed.to_string(),
        "atRisk": view.at_risk.to_string(), "lost": view.lost.to_string(),
        "withdrawRequestedAt": view.withdraw_requested_at.map(|at| at.0),
        "deadline": view.deadline.map(|at| at.0), "usedAt": view.used_at.0, "claiming": view.is_claiming,
    })
}

fn line(view: &ChannelView) -> String {
    let closing = match (view.withdraw_requested_at, view.deadline) {
        (Some(_), Some(deadline)) => format!(", withdrawn from {} on", deadline.0),
        _ => String::new(),
    };
    let ChannelView { channel, payer, balance, charged, claimed, at_risk, .. } = view;
    format!(
        "{channel} of {payer}: {charged} of {balance} charged, {claimed} claimed, {at_risk} at risk{closing}"
    )
}

impl LedgerAt {
    async fn worker(
        &self,
        facilitator: Arc<dyn Facilitator>,
        key: Option<Arc<dyn Signer>>,
    ) -> anyhow::Result<ClaimWorker> {
        ensure!(self.ledger != "memory:", "--ledger: memory: is this process's own, and has no channels");
        let ledger = crate::ledger::open_kept(&self.ledger).await.context("--ledger")?;
        let scheme = BatchSettlement::new(with_dev_assets(DEV_CHAIN_ID));
        let scheme = match key {
            Some(key) => scheme.with_key(key),
            None => scheme,
        };
        Ok(ClaimWorker::new(ledger, facilitator, vec![Arc::new(scheme)]))
    }
}

impl Asking {
    async fn open(&self) -> anyhow::Result<(Output, ClaimWorker)> {
        start_logging(self.at.json, "warn");
        let facilitator = HttpFacilitator::new(self.facilitator.as_str())?;
        let key = match &self.key {
            Some(source) => Some(self.unlock.open(source).await.context("--key")?),
            None => None,
        };
        Ok((Output::new(self.at.json), self.at.worker(Arc::new(facilitator), key).await?))
    }
}

fn tell_all(output: Output, outcome: &ClaimOutcome) -> ExitCode {
    if outcome.troubled > 0 {
        // Others are at them, or their rows cannot be read, which the log says.
        complain(&format!("{} channels could not be worked on now: ask again", outcome.troubled));
    } else if outcome.steps.is_empty() {
        output.result(&json!({ "outcome": "done", "operation": null }), "there is nothing to do");
    }
    // Pending is more urgent to know than refused: it is to be asked again.
    let mut code = if outcome.troubled > 0 { ExitCode::from(PENDING) } else { ExitCode::SUCCESS };
    for step in &outcome.steps {
        let told = tell(output, step);
        code = if matches!(step.end, ClaimEnd::Done(_)) { code } else { told };
    }
    code
}

fn tell(output: Output, step: &ClaimStep) -> ExitCode {
    let (outcome, code, transaction, why) = match &step.end {
        ClaimEnd::Done(transaction) => ("done", ExitCode::SUCCESS, Some(transaction), None),
        ClaimEnd::Refused(why) => ("refused", ExitCode::from(REFUSED), None, Some(why)),
        ClaimEnd::Pending(why) => ("pending", ExitCode::from(PENDING), None, Some(why)),
        _ => ("unknown", ExitCode::from(PENDING), None, None),
    };
    let channels: Vec<&str> = step.channels.iter().map(ChannelKey::as_str).collect();
    let object = json!({
        "outcome": outcome, "operation": step.operation, "network": step.network.as_str(), "asset": step.asset,
        "receiver": step.receiver, "channels": channels, "amount": step.amount.to_string(),
        "transaction": transaction, "message": why,
    });
    let end = why.or(transaction).map_or("", String::as_str);
    let text = format!("{} {} ({} channels): {outcome} {end}", step.operation, step.amount, channels.len());
    output.result(&object, text.trim_end());
    code
}

//! `tollway wallet intents`: purchases, and what became of them.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use serde_json::json;
use tollway_buyer::Wallet;
use tollway_core::extension::format_timestamp;
use tollway_ledger::{Intent, IntentQuery};
use url::Url;

use crate::books::entry::Entry;
use crate::books::text::visible;
use crate::commands::approval;
use crate::commands::purse::NoKey;
use crate::commands::wallet_ledger::{Owned, OwnerArgs};
use crate::output::{Output, complain};

/// How many are read at once.
const PAGE: u32 = 500;

/// List purchases: those that are open, which is where money may still move or its way is not known for good.
///
/// With --reconcile a node is asked first what became of them. What is provably dead counts in no budget any more; what
/// nobody can tell of stays counted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    owner: OwnerArgs,
    /// Also those that are closed.
    #[arg(long)]
    all: bool,
    /// Only those that are open: what is listed without --all.
    #[arg(long, conflicts_with = "all")]
    open: bool,
    /// Ask the node of --rpc-url first.
    #[arg(long, requires = "rpc_url")]
    reconcile: bool,
    /// A node of the payer's network.
    #[arg(long, value_name = "URL")]
    rpc_url: Option<Url>,
    /// At most so many, the newest.
    #[arg(long, value_name = "PURCHASES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let owned = args.owner.open().await?;
    let output = Output::new(args.json);
    if args.reconcile {
        reconcile(&args, &owned, output).await?;
    }
    let (mut after, mut left) = (None, args.limit);
    while left > 0 {
        let query = IntentQuery {
            wallet: owned.wallet.clone(),
            is_open: (!args.all).then_some(true),
            after,
            is_newest_first: true,
            limit: left.min(PAGE),
            ..IntentQuery::default()
        };
        let asked = query.limit;
        let page = owned.ledger.intent_list(query).await?;
        after = page.last().map(|last| (last.created, last.id));
        page.iter().for_each(|intent| tell(output, intent));
        let read = u32::try_from(page.len()).unwrap_or(u32::MAX);
        if left == args.limit && read == 0 && !args.json {
            complain(if args.all { "there are no purchases" } else { "no purchase is open" });
        }
        left = left.saturating_sub(read);
        if read < asked {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn reconcile(args: &Args, owned: &Owned, output: Output) -> anyhow::Result<()> {
    let url = args.rpc_url.as_ref().context("--reconcile: needs --rpc-url")?;
    let chain = approval::connect(url).await?;
    // It signs nothing: what was signed is in the ledger.
    let wallet = Wallet::builder().signer(Arc::new(NoKey)).name(&owned.wallet);
    let wallet = wallet.ledger(Arc::clone(&owned.ledger)).chain(chain).build()?;
    let done = wallet.reconcile(args.limit).await?;
    wallet.flush().await;
    let object = json!({
        "lookedAt": done.looked_at, "paid": done.paid, "dead": done.dead, "open": done.open, "alarms": done.alarms,
    });
    let text = format!(
        "looked at {}: {} paid, {} dead, {} still open, {} new alarms",
        done.looked_at, done.paid, done.dead, done.open, done.alarms
    );
    output.result(&json!({ "reconciled": object }), &text);
    Ok(())
}

fn tell(output: Output, intent: &Intent) {
    let Some(entry) = Entry::spent(intent) else {
        let object = json!({ "id": intent.id.to_string(), "error": "unreadable" });
        output.result(&object, &format!("{}  this program cannot read it", intent.id));
        return;
    };
    let mut object: serde_json::Map<String, serde_json::Value> =
        entry.facts().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    object.insert("open".to_owned(), intent.is_open.into());
    object.insert("cause".to_owned(), entry.cause.as_deref().into());
    object.insert("expires".to_owned(), format_timestamp(entry.expires).into());
    let open = if intent.is_open { "open  " } else { "closed" };
    let host = visible(entry.host.as_deref().unwrap_or("-"), 40);
    let agent = visible(entry.agent.as_deref().unwrap_or("-"), 16);
    let mut text = format!(
        "{}  {}  {open}  {:<10}  {} {}  {host}  {agent}",
        intent.id,
        entry.time(),
        entry.state,
        entry.decimal(),
        visible(entry.symbol(), 42)
    );
    if let Some(cause) = &entry.cause {
        text.push_str(&format!("\n    {}", visible(cause, 300)));
    }
    for (code, alarm) in &entry.alarms {
        text.push_str(&format!("\n    ALARM {code}: {}", visible(alarm, 300)));
    }
    output.result(&object.into(), &text);
}

//! `tollway wallet alarms`: what was refused because something had changed, and what is wrong with purchases that are open.

use std::process::ExitCode;

use serde_json::{Value, json};
use tollway_buyer::{FactName, IntentRecord};
use tollway_core::UnixTime;
use tollway_core::extension::format_timestamp;
use tollway_ledger::IntentQuery;

use crate::books::text::visible;
use crate::commands::wallet_ledger::{Owned, OwnerArgs};
use crate::output::{Output, complain};

/// How many are read at once.
const PAGE: u32 = 500;

/// List what an owner should look at: hosts that were not paid because they named another account or a higher price, and
/// purchases whose receipts the chain does not confirm. Exit code 3 if there is any.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    owner: OwnerArgs,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Owned { ledger, wallet, .. } = args.owner.open().await?;
    let output = Output::new(args.json);
    let scope = FactName::alarm_scope(&wallet);
    let (mut after, mut count): (Option<String>, usize) = (None, 0);
    loop {
        let page = ledger.fact_list(&scope, after.as_deref(), PAGE).await?;
        for fact in &page {
            let alarm: Value = serde_json::from_str(&fact.value).unwrap_or_default();
            tell(output, &alarm, None);
        }
        count += page.len();
        after = page.last().map(|fact| fact.name.clone());
        if page.len() < PAGE as usize {
            break;
        }
    }
    let mut after = None;
    loop {
        let query = IntentQuery { wallet: wallet.clone(), after, limit: PAGE, ..IntentQuery::default() };
        let page = ledger.intent_list(query).await?;
        for intent in &page {
            let Some(record) = IntentRecord::read(intent) else { continue };
            for alarm in &record.alarms {
                count += 1;
                let object = json!({
                    "code": alarm.code.as_str(), "host": record.host, "text": alarm.text, "at": alarm.at.0,
                });
                tell(output, &object, Some(&intent.id.to_string()));
            }
        }
        after = page.last().map(|last| (last.created, last.id));
        if page.len() < PAGE as usize {
            break;
        }
    }
    if count == 0 && !args.json {
        complain("no alarms");
    }
    Ok(if count == 0 { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn tell(output: Output, alarm: &Value, purchase: Option<&str>) {
    let text = |name: &str| visible(alarm[name].as_str().unwrap_or_default(), 300);
    let at = alarm["at"].as_u64().map(|at| format_timestamp(UnixTime(at)));
    let mut object = json!({
        "time": at, "code": alarm["code"], "host": alarm["host"], "text": alarm["text"],
    });
    object["purchase"] = purchase.into();
    let line = format!(
        "{}  {}  {}  {}{}",
        at.as_deref().unwrap_or("-"),
        text("code"),
        text("host"),
        text("text"),
        purchase.map(|id| format!("  {id}")).unwrap_or_default()
    );
    output.result(&object, &line);
}

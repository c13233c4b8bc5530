//! `tollway wallet budget`: what every budget has left.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;
use tollway_buyer::{BudgetLine, Policy, Window, budget_prefix};
use tollway_core::extension::format_timestamp;
use tollway_core::{Clock, SystemClock, UnixTime};
use tollway_ledger::Budget;

use crate::books::text::visible;
use crate::commands::wallet_ledger::{Owned, OwnerArgs};
use crate::output::{Output, complain};
use crate::wallet::policy::read_policy;

/// How many windows are read at once.
const PAGE: u32 = 500;
/// How many are shown at most.
const MAX_WINDOWS: usize = 100_000;

/// What every budget of the wallet has in use, in the window that is open now; and with --policy, what it has left.
///
/// What is signed and not provably dead is in use: it may still be charged.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    owner: OwnerArgs,
    /// The policy: tells what each budget has left, too.
    #[arg(long, value_name = "FILE", env = "TOLLWAY_POLICY")]
    policy: Option<PathBuf>,
    /// For which agent of it; for all, one after the other, unless it is said.
    #[arg(long, value_name = "NAME", requires = "policy")]
    agent: Option<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Owned { ledger, wallet, .. } = args.owner.open().await?;
    let now = SystemClock.now();
    let (prefix, mut after, mut counted) = (budget_prefix(&wallet), None, Vec::<Budget>::new());
    loop {
        let page = ledger.budget_list(&prefix, after.as_ref(), PAGE).await?;
        after = page.last().map(|last| (last.name.clone(), last.window));
        let is_last = page.len() < PAGE as usize;
        counted.extend(page.into_iter().filter(|row| row.until > now));
        if is_last {
            break;
        }
        anyhow::ensure!(counted.len() <= MAX_WINDOWS, "there are more than {MAX_WINDOWS} budgets in use");
    }
    let policies = policies(&args)?;
    let told = policies.iter().flat_map(|policy| policy.budget_lines(&wallet, &counted, now));
    let lines = merged(told);
    let output = Output::new(args.json);
    for line in lines.values() {
        let ends = Some(line.until).filter(|until| *until != UnixTime(u64::MAX)).map(format_timestamp);
        let object = json!({
            "level": line.level, "rule": line.rule, "window": line.window.as_str(), "until": ends, "inUse": line.held,
            "limit": line.limit, "left": line.left,
        });
        let (level, rule) = (visible(&line.level, 24), visible(&line.rule, 48));
        let left = match (&line.left, &line.limit) {
            (Some(left), Some(limit)) => format!(", {left} left of {limit}"),
            _ => String::new(),
        };
        let text = format!("{level:<24} {:<8} {rule}: {} in use{left}", line.window.as_str(), line.held);
        output.result(&object, &text);
    }
    if lines.is_empty() && !args.json {
        complain("no budget is in use");
    }
    Ok(ExitCode::SUCCESS)
}

/// Those of every agent that is meant.
fn policies(args: &Args) -> anyhow::Result<Vec<Policy>> {
    let Some(file) = args.policy.as_deref().map(read_policy).transpose()? else {
        return Ok(vec![Policy::default()]);
    };
    let named: Vec<&str> = file.agents().collect();
    if args.agent.is_some() || named.is_empty() {
        return Ok(vec![file.policy(args.agent.as_deref())?]);
    }
    Ok(named.into_iter().map(|agent| file.policy(Some(agent))).collect::<Result<_, _>>()?)
}

/// One line a budget: agents share those of the levels above them, and only who has a level knows its limits.
fn merged(lines: impl Iterator<Item = BudgetLine>) -> BTreeMap<(String, String, Window), BudgetLine> {
    let mut merged = BTreeMap::new();
    for line in lines {
        let key = (line.level.clone(), line.rule.clone(), line.window);
        let known: &mut BudgetLine = merged.entry(key).or_insert_with(|| line.clone());
        if known.limit.is_none() {
            *known = line;
        }
    }
    merged
}

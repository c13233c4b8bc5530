//! `tollway wallet freeze` and `unfreeze`: the kill switch of a wallet, a team or an agent.
//!
//! A switch is a fact in the ledger, and no purchase is opened while it is there, in whatever process: the ledger checks it
//! in the same step in which it takes the money from the budgets.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;
use tollway_buyer::FactName;
use tollway_core::UnixTime;
use tollway_ledger::Fact;

use crate::arguments::name;
use crate::books::text::visible;
use crate::commands::wallet_ledger::{Owned, OwnerArgs};
use crate::output::Output;

/// The longest reason kept, in characters.
const MAX_REASON_CHARS: usize = 200;
/// How often a write is tried that another came before.
const ATTEMPTS: usize = 16;

/// Stop paying, at once and in every process that shares the ledger: of the whole wallet, or of one team or agent.
///
/// What was signed before may still be charged: `tollway wallet intents` lists it. Nothing new is signed until
/// `tollway wallet unfreeze`.
#[derive(Debug, clap::Args)]
pub(crate) struct Freeze {
    #[command(flatten)]
    level: LevelArgs,
    /// Why: told to whoever wants to pay.
    #[arg(long, value_name = "TEXT", default_value = "frozen by the owner")]
    reason: String,
    #[command(flatten)]
    owner: OwnerArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Pay again: the reverse of freeze, for the same level. Other levels that are frozen stay so.
#[derive(Debug, clap::Args)]
pub(crate) struct Unfreeze {
    #[command(flatten)]
    level: LevelArgs,
    #[command(flatten)]
    owner: OwnerArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Which level; without one the whole wallet.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct LevelArgs {
    /// Only the team of this name in the policy.
    #[arg(long, value_name = "TEAM", value_parser = name)]
    team: Option<String>,
    /// Only the agent of this name.
    #[arg(long, value_name = "AGENT", value_parser = name)]
    agent: Option<String>,
}

impl LevelArgs {
    fn name(&self) -> String {
        match (&self.team, &self.agent) {
            (Some(team), _) => format!("team:{team}"),
            (None, Some(agent)) => format!("agent:{agent}"),
            (None, None) => "org".to_owned(),
        }
    }
}

pub(crate) async fn freeze(args: Freeze) -> anyhow::Result<ExitCode> {
    let Owned { ledger, wallet, .. } = args.owner.open().await?;
    let level = args.level.name();
    let reason: String = args.reason.chars().take(MAX_REASON_CHARS).collect();
    let FactName { scope, name } = FactName::switch(&wallet, &level);
    for _ in 0..ATTEMPTS {
        let version = ledger.fact_get(&scope, &name).await?.map_or(0, |fact| fact.version);
        let (scope, name, value) = (scope.clone(), name.clone(), reason.clone());
        if ledger.fact_put(Fact { scope, name, version, value, until: UnixTime(u64::MAX) }).await? {
            let object = json!({ "wallet": wallet, "level": level, "frozen": true, "reason": reason });
            let text =
                format!("frozen: {wallet}, {level} ({}). Nothing new is signed.", visible(&reason, 200));
            Output::new(args.json).result(&object, &text);
            return Ok(ExitCode::SUCCESS);
        }
    }
    bail!("others write the same switch all the time: it may be on, look again")
}

pub(crate) async fn unfreeze(args: Unfreeze) -> anyhow::Result<ExitCode> {
    let Owned { ledger, wallet, .. } = args.owner.open().await?;
    let level = args.level.name();
    let FactName { scope, name } = FactName::switch(&wallet, &level);
    for _ in 0..ATTEMPTS {
        let fact = ledger.fact_get(&scope, &name).await?;
        let was = fact.is_some();
        let done = match fact {
            None => true,
            Some(fact) => ledger.fact_remove(&scope, &name, fact.version).await?,
        };
        if done {
            let object = json!({ "wallet": wallet, "level": level, "frozen": false, "was": was });
            let word = if was { "unfrozen" } else { "was not frozen" };
            Output::new(args.json).result(&object, &format!("{word}: {wallet}, {level}"));
            return Ok(ExitCode::SUCCESS);
        }
    }
    bail!("others write the same switch all the time: it may still be on, look again")
}

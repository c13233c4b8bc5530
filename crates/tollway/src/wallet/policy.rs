//! `tollway wallet policy`: what is wrong or dead in a policy file, and what it says to a purchase, rule by rule.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use tollway_buyer::{Explanation, Outcome, PolicyFile, PolicyNote, Purchase, Standing, Verdict};
use tollway_core::model::PaymentRequirements;
use tollway_core::{
    Amount, Clock, Currency, JsonObject, Money, Network, OfferedValue, SchemeName, SystemClock, wire,
};
use tollway_evm::{Asset, AssetTable};
use url::Url;

use crate::config::read_bounded;
use crate::dev_assets::{DEV_CHAIN_ID, with_dev_assets};
use crate::output::{Output, complain};

/// The longest policy file, and the longest offer.
const MAX_BYTES: usize = 256 * 1024;

/// Policy files: check one, or have it explain what it says to a purchase.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(Check),
    Explain(Box<Explain>),
}

/// Check a policy file: what is wrong, and what does nothing or something else than it seems to.
///
/// Exit codes: 0 it can be used; 1 there are warnings and --strict was given; 2 it is wrong, and nothing of it would
/// be in force.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct Check {
    /// The file.
    #[arg(value_name = "FILE", env = "TOLLWAY_POLICY")]
    file: PathBuf,
    /// Fail on warnings too.
    #[arg(long)]
    strict: bool,
    /// Print one JSON object: faults, warnings, agents.
    #[arg(long)]
    json: bool,
}

/// Tell every rule of every level, what it says to a purchase, and the verdict. Nothing is asked of anybody: budgets, pins
/// and prices count as if nothing had been bought before.
///
/// Exit codes: 0 it would be paid; 1 that could not be told; 2 the file is wrong; 3 it would not be paid, or not
/// without asking.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct Explain {
    /// The policy file.
    #[arg(long, value_name = "FILE", env = "TOLLWAY_POLICY")]
    policy: PathBuf,
    /// Who buys: an agent that the file names.
    #[arg(long, value_name = "NAME", env = "TOLLWAY_AGENT")]
    agent: Option<String>,
    /// With which of its tools.
    #[arg(long, value_name = "NAME", env = "TOLLWAY_TOOL")]
    tool: Option<String>,
    /// What is requested.
    #[arg(long)]
    url: Url,
    /// How.
    #[arg(long, default_value = "GET")]
    method: String,
    /// What a seller answered: the body of a 402, from a file or (-) from standard input. Each of its offers is told.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["amount", "amount_atomic", "asset", "pay_to"])]
    offer: Option<PathBuf>,
    /// What it costs, in units of an asset that is known: 0.05.
    #[arg(long, value_name = "DECIMAL", required_unless_present_any = ["offer", "amount_atomic"])]
    amount: Option<Money>,
    /// What it costs, in atomic units.
    #[arg(long, value_name = "ATOMIC", conflicts_with = "amount")]
    amount_atomic: Option<Amount>,
    /// On which network.
    #[arg(long, value_name = "CAIP-2", default_value = "eip155:8453")]
    network: Network,
    /// In which asset; the network's first known dollar unless told.
    #[arg(long, value_name = "ADDRESS")]
    asset: Option<String>,
    /// Who is paid; the zero address unless told.
    #[arg(long, value_name = "ADDRESS")]
    pay_to: Option<String>,
    /// By which scheme.
    #[arg(long, default_value = "exact")]
    scheme: String,
    /// How long the payment would stay good, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout_seconds: u64,
    /// Print one JSON object: verdict, offers, each with its findings.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Check(args) => check(args),
        Command::Explain(args) => explain(args),
    }
}

/// Reads a policy file, for whoever pays by it.
pub(crate) fn read_policy(path: &Path) -> anyhow::Result<PolicyFile> {
    let file = PolicyFile::parse(&read_text(path)?);
    file.with_context(|| format!("{} is no policy", path.display()))
}

fn check(args: &Check) -> anyhow::Result<ExitCode> {
    let output = Output::new(args.json);
    let (faults, warnings, agents) = match PolicyFile::parse(&read_text(&args.file)?) {
        Ok(file) => {
            let agents = file.agents().map(str::to_owned).collect();
            (Vec::new(), file.warnings(), agents)
        }
        Err(faults) => (faults.0, Vec::new(), Vec::new()),
    };
    let notes = |notes: &[PolicyNote]| -> Vec<Value> {
        notes.iter().map(|note| json!({ "key": note.key, "message": note.message })).collect()
    };
    let object = json!({ "faults": notes(&faults), "warnings": notes(&warnings), "agents": agents });
    let told = faults.iter().map(|note| format!("fault    {note}"));
    let mut lines: Vec<String> = told.chain(warnings.iter().map(|note| format!("warning  {note}"))).collect();
    lines.push(format!("{}: {} faults, {} warnings", args.file.display(), faults.len(), warnings.len()));
    output.result(&object, &lines.join("\n"));
    Ok(match (faults.is_empty(), warnings.is_empty()) {
        (false, _) => ExitCode::from(2),
        (true, false) if args.strict => ExitCode::from(1),
        (true, _) => ExitCode::SUCCESS,
    })
}

fn explain(args: &Explain) -> anyhow::Result<ExitCode> {
    let file = match PolicyFile::parse(&read_text(&args.policy)?) {
        Ok(file) => file,
        Err(faults) => {
            complain(&format!("error: {} is no policy:\n{faults}", args.policy.display()));
            return Ok(ExitCode::from(2));
        }
    };
    let mut policy = file.policy(args.agent.as_deref())?;
    if let Some(tool) = &args.tool {
        policy = policy.for_tool(tool);
    }
    let assets = with_dev_assets(DEV_CHAIN_ID);
    let (mut rows, mut texts, mut is_paid) = (Vec::new(), Vec::new(), false);
    for offer in offers(args, &assets)? {
        let value = value(&offer, &assets);
        let purchase = Purchase {
            wallet: "wallet",
            url: &args.url,
            method: &args.method,
            tool: None,
            offer: &offer,
            value: value.as_ref(),
            now: SystemClock.now(),
        };
        let explanation = policy.explain(&purchase, &Standing::default());
        is_paid |= explanation.verdict.is_allow();
        texts.push(format!("{}\n{explanation}", headline(args, &offer, value.as_ref())));
        rows.push(row(&offer, &explanation));
    }
    if rows.is_empty() {
        bail!("there is no offer that could be read");
    }
    let object = json!({ "levels": policy.levels().collect::<Vec<_>>(), "paid": is_paid, "offers": rows });
    Output::new(args.json).result(&object, &texts.join("\n\n"));
    Ok(if is_paid { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

/// The offers that are asked about.
fn offers(args: &Explain, assets: &AssetTable) -> anyhow::Result<Vec<PaymentRequirements>> {
    if let Some(file) = &args.offer {
        let body = read_text(file)?;
        let required = wire::decode_payment_required(body.as_bytes());
        return Ok(required.with_context(|| format!("{} is no 402 of x402", file.display()))?.accepts);
    }
    let dollar = || assets.resolve(&args.network, &Currency::Usd).map(|asset| asset.address.to_string());
    let Some(asset) = args.asset.clone().or_else(dollar) else {
        bail!("no dollar is known on {}: name an --asset", args.network);
    };
    let known = find(&args.network, &asset, assets);
    let amount = match (args.amount_atomic, &args.amount, known) {
        (Some(atomic), _, _) => atomic,
        (None, Some(amount), Some(known)) => amount.to_atomic(known.decimals).context("--amount")?,
        _ => bail!("--amount: the decimals of {asset} are not known: say --amount-atomic"),
    };
    Ok(vec![PaymentRequirements {
        scheme: SchemeName::new(&*args.scheme),
        network: args.network.clone(),
        amount,
        asset,
        pay_to: args.pay_to.clone().unwrap_or_else(|| tollway_evm::Address::ZERO.to_string()),
        max_timeout_seconds: args.timeout_seconds,
        extra: JsonObject::new(),
        other: JsonObject::new(),
    }])
}

fn find<'a>(network: &Network, address: &str, assets: &'a AssetTable) -> Option<&'a Asset> {
    assets.find(network, address.parse().ok()?)
}

fn value(offer: &PaymentRequirements, assets: &AssetTable) -> Option<OfferedValue> {
    let Asset { symbol, decimals, is_usd, .. } = find(&offer.network, &offer.asset, assets)?.clone();
    Some(OfferedValue { symbol, decimals, amount: offer.amount, is_usd })
}

fn headline(args: &Explain, offer: &PaymentRequirements, value: Option<&OfferedValue>) -> String {
    let cost = match value {
        Some(value) => format!("{} {}", value.amount.to_decimal(value.decimals), value.symbol),
        None => format!("{} atomic units of an unknown asset", offer.amount),
    };
    format!("{} {} for {cost} on {}", args.method, args.url, offer.network)
}

fn row(offer: &PaymentRequirements, explanation: &Explanation) -> Value {
    let findings = explanation.findings.iter().map(|finding| {
        let (outcome, reason) = match &finding.outcome {
            Outcome::Passed => ("passed", None),
            Outcome::Asks(reason) => ("asks", Some(reason.to_string())),
            Outcome::Failed(reason) => ("failed", Some(reason.to_string())),
        };
        json!({
            "level": finding.level, "rule": finding.rule, "says": finding.says,
            "outcome": outcome, "reason": reason,
        })
    });
    let verdict = match &explanation.verdict {
        Verdict::Allow => "allow",
        Verdict::Ask(_) => "ask",
        Verdict::Deny(_) => "deny",
    };
    json!({
        "verdict": verdict, "told": explanation.verdict.to_string(),
        "scheme": offer.scheme.as_str(), "network": offer.network.as_str(), "asset": offer.asset,
        "amount": offer.amount.to_string(), "payTo": offer.pay_to,
        "findings": findings.collect::<Vec<_>>(),
    })
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let read = || -> anyhow::Result<String> {
        let bytes = match path.as_os_str() == "-" {
            true => read_bounded(std::io::stdin().lock(), MAX_BYTES)?,
            false => read_bounded(std::fs::File::open(path)?, MAX_BYTES)?,
        };
        Ok(String::from_utf8(bytes)?)
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

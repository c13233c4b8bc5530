//! `tollway wallet policy explain`: what a policy says to a purchase, rule by rule, by what the wallet's ledger knows.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tollway_buyer::{Explanation, Outcome, PolicyFile, Purchase, Standing, Verdict};
use tollway_core::model::PaymentRequirements;
use tollway_core::{
    Amount, Clock, Currency, JsonObject, Money, Network, OfferedValue, SchemeName, SystemClock, wire,
};
use tollway_evm::{Asset, AssetTable};
use tollway_ledger::Ledger;
use url::Url;

use crate::commands::wallet_ledger::OwnerArgs;
use crate::dev_assets::{DEV_CHAIN_ID, with_dev_assets};
use crate::output::{Output, complain};
use crate::wallet::policy::read_text;

/// Tell every rule of every level, what it says to a purchase now, and the verdict: by what the wallet's ledger has counted in
/// each budget, who was paid and what before, and which switches are on. The ledger is only read, and may be in use. Without
/// one, or where no wallet is named, that is told, and it is decided as if nothing had been bought before.
///
/// Exit codes: 0 it would be paid; 1 that could not be told; 2 the file is wrong; 3 it would not be paid, or not
/// without asking.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Explain {
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
    /// What would be put into a channel with it, in atomic units: scheme batch-settlement.
    #[arg(long, value_name = "ATOMIC")]
    deposit: Option<Amount>,
    /// How long the payment would stay good, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout_seconds: u64,
    #[command(flatten)]
    owner: OwnerArgs,
    /// Print one JSON object: the wallet, whether its ledger was read, verdict, offers, each with its findings.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Explain) -> anyhow::Result<ExitCode> {
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
    let known = Known::of(&args.owner).await?;
    let (mut rows, mut texts, mut is_paid) = (Vec::new(), Vec::new(), false);
    for offer in offers(args, &assets)? {
        let value = value(&offer, &assets);
        let purchase = Purchase {
            wallet: &known.wallet,
            url: &args.url,
            method: &args.method,
            tool: None,
            offer: &offer,
            value: value.as_ref(),
            deposit: args.deposit,
            now: SystemClock.now(),
        };
        let standing = match &known.ledger {
            Ok(ledger) => policy.standing(&**ledger, &purchase).await?,
            Err(_) => Standing::default(),
        };
        let explanation = policy.explain(&purchase, &standing);
        is_paid |= explanation.verdict.is_allow();
        texts.push(format!("{}\n{explanation}", headline(args, &offer, value.as_ref())));
        rows.push(row(&offer, &explanation));
    }
    if rows.is_empty() {
        bail!("there is no offer that could be read");
    }
    if let Some(missing) = known.ledger.as_ref().err() {
        texts.push(format!("note: {missing}: decided as if nothing had been bought before"));
    }
    let object = json!({
        "levels": policy.levels().collect::<Vec<_>>(), "wallet": Some(&known.wallet).filter(|wallet| !wallet.is_empty()),
        "ledger": if known.ledger.is_ok() { "read" } else { "none" }, "paid": is_paid, "offers": rows,
    });
    Output::new(args.json).result(&object, &texts.join("\n\n"));
    Ok(if is_paid { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

/// Whose purchase it would be, and what is known of it.
struct Known {
    wallet: String,
    /// The ledger, or why there is none.
    ledger: Result<Arc<dyn Ledger>, &'static str>,
}

impl Known {
    async fn of(owner: &OwnerArgs) -> anyhow::Result<Self> {
        let Some((wallet, _)) = owner.named().await? else {
            let nobody = "no wallet is named (--wallet, or its --key)";
            return Ok(Self { wallet: String::new(), ledger: Err(nobody) });
        };
        let ledger = owner.at.open_to_read().await?.ok_or("there is no ledger yet");
        Ok(Self { wallet, ledger })
    }
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

//! `tollway wallet pins`: who may be paid at which host, learnt at the first payment. A host that names another account is
//! not paid until its owner says here that it is well.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use tollway_buyer::{FactName, KnownPayees};
use tollway_core::{Network, UnixTime};
use tollway_evm::Address;
use tollway_ledger::{Fact, Ledger};
use url::Url;

use crate::books::text::visible;
use crate::commands::wallet_ledger::{Owned, OwnerArgs};
use crate::output::{Output, complain};

/// How many pins are read at once.
const PAGE: u32 = 500;

/// Look at the accounts that hosts are paid at, and accept another after an alarm.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List what is pinned.
    List(List),
    /// Accept one more account for a host. Ask the seller by another way first whether it is theirs.
    Accept(Accept),
    /// Forget what is pinned for a host: the next payment pins anew.
    Remove(Remove),
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    owner: OwnerArgs,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Pin {
    /// The host, with its port if that is not the usual one.
    host: String,
    /// The network, such as eip155:8453.
    #[arg(long)]
    network: Network,
    #[command(flatten)]
    owner: OwnerArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Accept {
    #[command(flatten)]
    pin: Pin,
    /// The account to accept.
    #[arg(long, value_name = "ACCOUNT")]
    pay_to: String,
}

#[derive(Debug, clap::Args)]
struct Remove {
    #[command(flatten)]
    pin: Pin,
}

impl Pin {
    fn name(&self, wallet: &str) -> anyhow::Result<FactName> {
        let url: Url = format!("https://{}/", self.host).parse().context("HOST: it is no host")?;
        if url.path() != "/" || url.query().is_some() || !url.username().is_empty() {
            bail!("HOST: a host and a port, not a whole URL");
        }
        Ok(FactName::pin(wallet, &url, &self.network))
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(args) => list(args).await,
        Command::Accept(args) => accept(args).await,
        Command::Remove(args) => remove(args.pin).await,
    }
}

async fn list(args: List) -> anyhow::Result<ExitCode> {
    let Owned { ledger, wallet, .. } = args.owner.open().await?;
    let scope = FactName::pin_scope(&wallet);
    let output = Output::new(args.json);
    let (mut after, mut count): (Option<String>, usize) = (None, 0);
    loop {
        let page = ledger.fact_list(&scope, after.as_deref(), PAGE).await?;
        for fact in &page {
            let (host, network) = fact.name.rsplit_once('|').unwrap_or((&fact.name, ""));
            let payees: Value = serde_json::from_str(&fact.value).unwrap_or_else(|_| json!(fact.value));
            let object = json!({ "host": host, "network": network, "payTo": payees });
            let text = format!("{}  {network}  {}", visible(host, 200), visible(&payees.to_string(), 400));
            output.result(&object, &text);
        }
        count += page.len();
        after = page.last().map(|fact| fact.name.clone());
        if page.len() < PAGE as usize {
            break;
        }
    }
    if count == 0 && !args.json {
        complain("nothing is pinned");
    }
    Ok(ExitCode::SUCCESS)
}

async fn accept(args: Accept) -> anyhow::Result<ExitCode> {
    if args.pin.network.evm_chain_id().is_some() {
        args.pay_to.parse::<Address>().ok().context("--pay-to: must be 0x and 40 hexadecimal digits")?;
    }
    let Owned { ledger, wallet, .. } = args.pin.owner.open().await?;
    let FactName { scope, name } = args.pin.name(&wallet)?;
    let fact = read(ledger.as_ref(), &scope, &name).await?;
    let (version, known) = match &fact {
        Some(fact) => (fact.version, KnownPayees::read(&fact.value).context("the pin is spoilt: remove it")?),
        None => (0, KnownPayees::default()),
    };
    let value = known.and(&args.pin.network, &args.pay_to).value();
    if !ledger
        .fact_put(Fact { scope, name, version, value: value.clone(), until: UnixTime(u64::MAX) })
        .await?
    {
        bail!("another has written it since: look again");
    }
    let payees: Value = serde_json::from_str(&value)?;
    let object = json!({ "host": args.pin.host, "network": args.pin.network.as_str(), "payTo": payees });
    Output::new(args.pin.json)
        .result(&object, &format!("{} may be paid at {value}", visible(&args.pin.host, 200)));
    Ok(ExitCode::SUCCESS)
}

async fn remove(pin: Pin) -> anyhow::Result<ExitCode> {
    let Owned { ledger, wallet, .. } = pin.owner.open().await?;
    let FactName { scope, name } = pin.name(&wallet)?;
    let Some(fact) = read(ledger.as_ref(), &scope, &name).await? else { bail!("nothing is pinned for it") };
    if !ledger.fact_remove(&scope, &name, fact.version).await? {
        bail!("another has written it since: look again");
    }
    let object = json!({ "host": pin.host, "network": pin.network.as_str(), "removed": true });
    Output::new(pin.json).result(&object, &format!("forgotten: {}", visible(&pin.host, 200)));
    Ok(ExitCode::SUCCESS)
}

async fn read(ledger: &dyn Ledger, scope: &str, name: &str) -> anyhow::Result<Option<Fact>> {
    Ok(ledger.fact_get(scope, name).await?)
}

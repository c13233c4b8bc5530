//! `tollway receipt verify`: a seller's receipt checked on paper, and on the chain if a node is given. Also the file that
//! `tollway pay --receipt` writes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use tollway_buyer::Paid;
use tollway_core::wire::{Fields, WireError, parse_object};
use tollway_core::{Amount, Fingerprint, JsonObject, Network, Witnessed};
use tollway_evm::offer_receipt::{Facts, Keys, SignedOffer, SignedReceipt, Standing, confirm, receipt_in};
use tollway_evm::{Address, Chain};
use url::Url;

use crate::arguments::seconds;
use crate::config::read_bounded;
use crate::output::{Output, start_logging};

/// The longest file that is read.
const MAX_BYTES: usize = 256 * 1024;

/// Receipts that sellers sign for what they served.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Verify(Verify),
}

/// Check a receipt: its signature, whose that is, and its fields against the payment it is for.
///
/// FILE is what `tollway pay --receipt` wrote, or a receipt alone, or a settlement response, as JSON. Nobody is asked,
/// except the node of --rpc-url.
///
/// Exit codes: 0 all of it is right, and the signature is the seller's; 1 it could not be checked; 2 wrong usage;
/// 3 something in it is wrong; 4 nothing is wrong, but not everything is proven: nothing here shows whose the key is,
/// or the chain does not show the payment.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct Verify {
    /// The receipt; - reads standard input.
    file: PathBuf,
    /// Who must have been paid, if the file does not say it: then their signature is the seller's.
    #[arg(long, value_name = "ADDRESS")]
    pay_to: Option<Address>,
    /// An account that is known to sign for the seller; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    signer: Vec<Address>,
    /// Keys that are known to be the seller's: a JWK, a JWK set or a DID document.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// A node to ask whether the money moved.
    #[arg(long, value_name = "URL")]
    rpc_url: Option<Url>,
    /// Seconds to wait for the node.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = seconds)]
    timeout: u64,
    /// Print one JSON object: verdict (valid, wrong, unproven), signature, offer, chain, faults, receipt.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::Verify(args) = args.command;
    start_logging(args.json, "warn");
    let output = Output::new(args.json);
    match verify(&args).await {
        Ok(report) => Ok(report.tell(output)),
        Err(error) => {
            let message = format!("{error:#}");
            output.machine(&json!({ "verdict": "unchecked", "error": "failed", "message": message }));
            Err(error)
        }
    }
}

/// The file that keeps what was bought: the seller's word, and what the buyer knows itself.
pub(crate) fn evidence(paid: &Paid) -> Option<Value> {
    let receipt = paid.receipt.as_ref()?;
    let terms = receipt.signed.terms();
    let charged = paid.settlement.as_ref().and_then(|told| told.amount.clone());
    let mut payment = json!({
        "resource": terms.resource_url, "network": paid.offer.network.as_str(), "asset": paid.offer.asset,
        "payTo": paid.offer.pay_to, "amount": charged.unwrap_or_else(|| paid.offer.amount.to_string()),
    });
    if let Some(payer) = &paid.payer {
        payment["payer"] = payer.as_str().into();
    }
    if let Some(told) = &paid.settlement {
        payment["transaction"] = told.transaction.as_str().into();
    }
    let mut file = json!({ "receipt": receipt.signed.json(), "payment": payment });
    if let Some(offer) = &paid.signed_offer {
        file["offer"] = offer.signed.json().clone().into();
    }
    Some(file)
}

/// What a file holds.
struct Evidence {
    receipt: SignedReceipt,
    offer: Option<SignedOffer>,
    payment: Payment,
}

/// What the buyer wrote down of the payment.
#[derive(Default)]
struct Payment {
    resource: Option<String>,
    network: Option<Network>,
    asset: Option<String>,
    pay_to: Option<String>,
    amount: Option<Amount>,
    payer: Option<String>,
    transaction: Option<String>,
}

/// What was found.
struct Report {
    receipt: SignedReceipt,
    standing: Option<Standing>,
    offer: Option<Standing>,
    faults: Vec<String>,
    chain: Option<Witnessed>,
}

async fn verify(args: &Verify) -> anyhow::Result<Report> {
    let mut evidence = read(&args.file)?;
    let keys = args.signer.iter().fold(Keys::default(), |keys, signer| keys.account(*signer));
    let keys = read_keys(args.keys.as_deref(), keys)?;
    if let Some(pay_to) = &args.pay_to {
        evidence.payment.pay_to = Some(pay_to.to_string());
    }
    let Evidence { receipt, offer, payment } = evidence;
    let mut faults = Vec::new();
    let mut keep =
        |checked: Result<Standing, WireError>| checked.map_err(|error| faults.push(error.to_string())).ok();
    let standing = keep(receipt.check(payment.pay_to.as_deref(), &keys));
    let offered = offer.as_ref().and_then(|offer| keep(offer.check(&keys)));
    let terms = receipt.terms();
    faults.extend(terms.contradictions(&payment.facts()).iter().map(WireError::to_string));
    if let Some(offer) = &offer {
        faults.extend(against_offer(&receipt, offer, &payment));
    }
    let chain = match (&args.rpc_url, faults.is_empty()) {
        (Some(url), true) => Some(ask(url, args.timeout, &receipt, &payment).await),
        _ => None,
    };
    if chain == Some(Witnessed::Disproved) {
        faults.push("receipt.transaction: must have moved the money, and did not".to_owned());
    }
    Ok(Report { receipt, standing, offer: offered, faults, chain })
}

/// The receipt, and the payment, are for what was offered.
fn against_offer(receipt: &SignedReceipt, offer: &SignedOffer, payment: &Payment) -> Vec<String> {
    let terms = offer.terms();
    let facts = Facts {
        resource_url: Some(&terms.resource_url),
        network: Some(&terms.network),
        asset: Some(&terms.asset),
        pay_to: Some(&terms.pay_to),
        ..Facts::default()
    };
    let mut faults: Vec<String> =
        receipt.terms().contradictions(&facts).iter().map(|fault| format!("{fault} (as offered)")).collect();
    let amount = receipt.terms().binding.as_ref().map(|bound| bound.amount).or(payment.amount);
    if amount.is_some_and(|amount| amount > terms.amount) {
        faults.push(format!("receipt.amount: must be at most {} (as offered)", terms.amount));
    }
    faults
}

async fn ask(url: &Url, seconds: u64, receipt: &SignedReceipt, payment: &Payment) -> Witnessed {
    let terms = receipt.terms();
    let deadline = Duration::from_secs(seconds.clamp(1, 600));
    let chain = match Chain::connect(url.as_str(), &terms.network, deadline) {
        Ok(chain) => chain,
        Err(error) => return Witnessed::Unknown(error.to_string()),
    };
    // A node of another chain knows nothing of the transaction: that must not look like a payment that is not there.
    if let Err(error) = chain.check_chain_id().await {
        return Witnessed::Unknown(error.to_string());
    }
    let moved = match (&payment.asset, &payment.pay_to, payment.amount) {
        (Some(asset), Some(pay_to), Some(amount)) => Some((asset.as_str(), pay_to.as_str(), amount)),
        _ => None,
    };
    confirm(&chain, terms, moved).await
}

impl Payment {
    fn read(mut fields: Fields) -> Result<Self, WireError> {
        let network = fields.optional_string("network")?;
        let network = network
            .map(|text| text.parse().map_err(|error| fields.error("network", format!("{error}"))))
            .transpose()?;
        let amount = fields.optional_string("amount")?;
        let amount = amount
            .map(|text| text.parse().map_err(|error| fields.error("amount", format!("{error}"))))
            .transpose()?;
        Ok(Self {
            resource: fields.optional_string("resource")?,
            network,
            asset: fields.optional_string("asset")?,
            pay_to: fields.optional_string("payTo")?,
            amount,
            payer: fields.optional_string("payer")?,
            transaction: fields.optional_string("transaction")?,
        })
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            resource_url: self.resource.as_deref(),
            network: self.network.as_ref(),
            payer: self.payer.as_deref(),
            asset: self.asset.as_deref(),
            pay_to: self.pay_to.as_deref(),
            amount: self.amount,
            transaction: self.transaction.as_deref().filter(|hash| !hash.is_empty()),
            request: None::<Fingerprint>,
        }
    }
}

impl Report {
    fn tell(&self, output: Output) -> ExitCode {
        let is_sellers = self.standing.as_ref().is_some_and(Standing::is_sellers);
        let is_unseen = matches!(self.chain, Some(Witnessed::Unknown(_)));
        let (verdict, code) = match () {
            () if !self.faults.is_empty() => ("wrong", 3),
            () if !is_sellers || is_unseen => ("unproven", 4),
            () => ("valid", 0),
        };
        let standing = |standing: &Option<Standing>| standing.as_ref().map(ToString::to_string);
        let chain = self.chain.as_ref().map(|chain| match chain {
            Witnessed::Proved => "the money moved in that transaction".to_owned(),
            Witnessed::Disproved => "that transaction did not move the money".to_owned(),
            Witnessed::Unknown(why) => format!("unknown: {why}"),
        });
        let mut lines = vec![verdict.to_owned()];
        lines.extend(standing(&self.standing).map(|text| format!("  signature: {text}")));
        lines.extend(standing(&self.offer).map(|text| format!("  offer: {text}")));
        lines.extend(self.facts().into_iter().map(|(name, text)| format!("  {name}: {text}")));
        lines.extend(chain.iter().map(|text| format!("  chain: {text}")));
        lines.extend(self.faults.iter().map(|fault| format!("  wrong: {fault}")));
        let object = json!({
            "verdict": verdict, "signature": standing(&self.standing), "offer": standing(&self.offer),
            "chain": chain, "faults": self.faults,
            "receipt": self.facts().into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect::<JsonObject>(),
        });
        output.result(&object, &lines.join("\n"));
        ExitCode::from(code)
    }

    /// What the receipt says, by the names it uses.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let terms = self.receipt.terms();
        let mut facts = vec![
            ("resourceUrl", terms.resource_url.escape_debug().to_string()),
            ("network", terms.network.to_string()),
            ("payer", terms.payer.escape_debug().to_string()),
            ("issuedAt", terms.issued_at.0.to_string()),
        ];
        facts.extend(terms.transaction.clone().map(|hash| ("transaction", hash.escape_debug().to_string())));
        if let Some(bound) = &terms.binding {
            facts.push(("asset", bound.asset.escape_debug().to_string()));
            facts.push(("payTo", bound.pay_to.escape_debug().to_string()));
            facts.push(("amount", bound.amount.to_string()));
            facts.extend(bound.log_index.map(|index| ("logIndex", index.to_string())));
        }
        facts
    }
}

fn read(file: &Path) -> anyhow::Result<Evidence> {
    let bytes = match file.to_str() {
        Some("-") => read_bounded(std::io::stdin().lock(), MAX_BYTES),
        _ => std::fs::File::open(file)
            .map_err(anyhow::Error::from)
            .and_then(|file| read_bounded(file, MAX_BYTES)),
    };
    let bytes = bytes.with_context(|| format!("cannot read {}", file.display()))?;
    let object = parse_object(&bytes, "file")?;
    if object.contains_key("format") {
        return Ok(Evidence {
            receipt: SignedReceipt::read(object)?,
            offer: None,
            payment: Payment::default(),
        });
    }
    if let Some(Value::Object(extensions)) = object.get("extensions") {
        let Some(receipt) = receipt_in(extensions)? else { bail!("the settlement response has no receipt") };
        return Ok(Evidence { receipt, offer: None, payment: Payment::default() });
    }
    let mut fields = Fields::root(object);
    let receipt = SignedReceipt::read(fields.object("receipt")?.rest())?;
    let offer = fields.optional_object("offer")?.map(|offer| SignedOffer::read(offer.rest())).transpose()?;
    let payment = fields.optional_object("payment")?.map(Payment::read).transpose()?.unwrap_or_default();
    Ok(Evidence { receipt, offer, payment })
}

/// Adds the keys of a file.
pub(crate) fn read_keys(file: Option<&Path>, keys: Keys) -> anyhow::Result<Keys> {
    let Some(file) = file else { return Ok(keys) };
    let json = std::fs::File::open(file)
        .map_err(anyhow::Error::from)
        .and_then(|file| read_bounded(file, MAX_BYTES))
        .with_context(|| format!("cannot read {}", file.display()))?;
    Ok(keys.read(&json)?)
}

//! `tollway pay`: a request from the command line, paid for if it asks.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use reqwest_middleware::RequestBuilder;
use serde_json::{Value, json};
use tollway_buyer::{JudgedOffer, Paid, Patience, PaymentError, Policy, Wallet, paid, payment_error};
use tollway_core::{Amount, BoxFuture, Money, Network};
use tollway_evm::offer_receipt::Keys;
use tollway_evm::{Address, Chain, Signature, Signer, SignerError};
use url::Url;

use crate::commands::approval::{self, Terms};
use crate::commands::receipt::{evidence, read_keys};
use crate::config::{read_bounded, read_key};
use crate::dev_assets::{DEV_CHAIN_ID, with_dev_assets};
use crate::output::{Output, raw, start_logging};
use crate::serving::stop_signal;

/// The longest answer, and the longest request body, that is held in memory.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Where the key is unless told otherwise.
const DEFAULT_KEY: &str = "env:TOLLWAY_KEY";

/// Request a URL, and pay for it if it asks (402), at most once and at most the cap.
///
/// Only known dollar stablecoins are paid, up to --max-amount. Nothing is signed for plaintext http beyond this
/// machine, and no payment follows a redirect.
///
/// Exit codes: 0 the request succeeded; 1 it could not be made; 2 wrong usage; 3 payment was refused by the
/// policy, nothing was signed; 4 a payment was sent and its fate is unknown, do not buy anew; 5 the receipt does
/// not fit the payment; 22 the final answer has status 400 or above.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// What to request.
    url: Url,
    /// HTTP method; GET, or POST when there is data.
    #[arg(short = 'X', long, value_name = "METHOD")]
    request: Option<Method>,
    /// Request body; @FILE reads a file, @- reads standard input.
    #[arg(short, long, value_name = "DATA")]
    data: Option<String>,
    /// Request header, "Name: value"; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// Write the answer's body to a file.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the seller's signed receipt to a file, for `tollway receipt verify`; a seller that gives none is told of on
    /// stderr.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Where the private key is: env:NAME or file:PATH.
    #[arg(long, value_name = "SOURCE", default_value = DEFAULT_KEY)]
    key: String,
    /// The most one payment may cost, in dollars.
    #[arg(long, value_name = "MONEY", default_value = "$1")]
    max_amount: Money,
    /// Also pay in another asset, up to an atomic amount: NETWORK/ADDRESS=ATOMIC, such as
    /// eip155:8453/0x60a3…=50000.
    #[arg(long, value_name = "ASSET")]
    allow_asset: Vec<String>,
    /// Accept a 402 that names a resource at this host although another was requested.
    #[arg(long, value_name = "HOST")]
    trust_resource_host: Vec<String>,
    /// Pay only what is signed by who is paid, or by a key of --seller-keys.
    #[arg(long)]
    require_signed_offer: bool,
    /// Keys that are known to be of sellers: a JWK, a JWK set or a DID document.
    #[arg(long, value_name = "FILE")]
    seller_keys: Option<PathBuf>,
    /// A node of the payer's network: whether the contract Permit2 may move what is due is asked there, so that an approval can
    /// be signed beside the payment where that costs no gas.
    #[arg(long, value_name = "URL")]
    rpc_url: Option<Url>,
    /// Approve the contract Permit2 for what is due, if the seller says that it must be: a transaction of the payer's account,
    /// which pays the gas.
    #[arg(long, requires = "rpc_url")]
    approve: bool,
    /// Approve it for this much instead, in atomic units.
    #[arg(long, value_name = "ATOMIC", requires = "approve")]
    approve_amount: Option<Amount>,
    /// Seconds to wait for the paid answer, with the same payment presented again where the seller asks for it.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// Show what it would cost and what the policy says; sign nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object: url, status, paid, receipt, and the body unless it goes to a file; error and message if there
    /// is no answer.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    start_logging(args.json, "warn");
    let output = Output::new(args.json);
    match attempt(&args, output).await {
        Ok(code) => Ok(code),
        Err(error) => {
            output.machine(
                &json!({ "url": args.url.as_str(), "error": "failed", "message": format!("{error:#}") }),
            );
            Err(error)
        }
    }
}

async fn attempt(args: &Args, output: Output) -> anyhow::Result<ExitCode> {
    let chain = match &args.rpc_url {
        Some(url) => Some(approval::connect(url).await?),
        None => None,
    };
    let wallet = wallet(args, chain.as_ref())?;
    for file in [&args.output, &args.receipt].into_iter().flatten() {
        // Before anything is paid for.
        let opened = OpenOptions::new().create(true).append(true).open(file);
        opened.with_context(|| format!("cannot write {}", file.display()))?;
    }
    let client = wallet.client()?;
    let mut request = client
        .request(args.request.clone().unwrap_or_else(|| default_method(args)), args.url.clone())
        .headers(headers(&args.headers)?);
    if let Some(data) = &args.data {
        request = request.body(read_data(data)?);
    }
    if args.dry_run {
        let quote = wallet.quote(request.build()?).await?;
        return Ok(tell_quote(output, &args.url, quote.status.as_u16(), &quote.offers));
    }
    output.progress(&format!("requesting {} …", args.url));
    tokio::select! {
        done = buy(args, output, request, (&wallet, chain.as_ref())) => done,
        () = stop_signal() => Ok(interrupted(output, args, &wallet)),
    }
}

async fn buy(
    args: &Args,
    output: Output,
    request: RequestBuilder,
    (wallet, chain): (&Wallet, Option<&Chain>),
) -> anyhow::Result<ExitCode> {
    let again = request.try_clone();
    let mut answered = request.send().await;
    if let (true, Some(chain), Some(again), Err(error)) = (args.approve, chain, again, &answered)
        && let Some(PaymentError::AllowanceRequired { payment }) = payment_error(error)
    {
        let terms = Terms { amount: args.approve_amount, patience: Duration::from_secs(args.timeout) };
        output.progress("approving Permit2 …");
        let transaction = approval::approve(wallet, chain, payment, terms).await?;
        output.progress_done();
        if !args.json {
            crate::output::complain(&format!("approved Permit2, transaction {transaction}"));
        }
        answered =
            wallet.present(again.build()?, payment).await.map_err(reqwest_middleware::Error::middleware);
    }
    output.progress_done();
    match answered {
        Ok(response) => tell_answer(output, args, response).await,
        Err(error) => match payment_error(&error) {
            Some(refused) => Ok(tell_refusal(output, &args.url, refused)),
            None => Err(error.into()),
        },
    }
}

/// Stopped by the user, with a payment out or not.
fn interrupted(output: Output, args: &Args, wallet: &Wallet) -> ExitCode {
    output.progress_done();
    let is_signed = !wallet.spent().is_empty();
    let (word, message, code) = if is_signed {
        ("unresolved", "interrupted after a payment was signed: money may have moved, do not buy anew", 4)
    } else {
        ("failed", "interrupted before anything was signed", 1)
    };
    output.machine(&json!({ "url": args.url.as_str(), "error": word, "message": message }));
    crate::output::complain(&format!("{word}: {message}"));
    ExitCode::from(code)
}

fn wallet(args: &Args, chain: Option<&Chain>) -> anyhow::Result<Wallet> {
    let mut policy = Policy::default().cap_per_payment(args.max_amount.clone());
    if args.require_signed_offer {
        policy = policy.require_signed_offers();
    }
    for host in &args.trust_resource_host {
        policy = policy.trust_resource_host(host);
    }
    for allowed in &args.allow_asset {
        let parse = || {
            let (asset, amount) = allowed.split_once('=')?;
            let (network, address) = asset.split_once('/')?;
            Some((network.parse::<Network>().ok()?, address, amount.parse::<Amount>().ok()?))
        };
        let Some((network, address, amount)) = parse() else {
            bail!("--allow-asset {allowed:?}: must be NETWORK/ADDRESS=ATOMIC");
        };
        policy = policy.allow_asset(network, address, amount);
    }
    let total = Duration::from_secs(args.timeout);
    let mut wallet = Wallet::builder()
        .signer(signer(&args.key)?)
        .assets(with_dev_assets(DEV_CHAIN_ID))
        .seller_keys(read_keys(args.seller_keys.as_deref(), Keys::default())?)
        .patience(Patience { total, answer: total, ..Patience::default() })
        .policy(policy);
    if let Some(chain) = chain {
        wallet = wallet.allowances(Arc::new(chain.clone()));
    }
    Ok(wallet.build()?)
}

/// The key is needed to pay, not to ask: a free URL and a dry run do without.
fn signer(source: &str) -> anyhow::Result<Arc<dyn Signer>> {
    match read_key(source) {
        Ok(signer) => Ok(Arc::new(signer)),
        Err(_) if source == DEFAULT_KEY && std::env::var_os("TOLLWAY_KEY").is_none() => Ok(Arc::new(NoKey)),
        Err(fault) => bail!("--key: {fault}"),
    }
}

/// Stands for a key that was not given.
#[derive(Debug)]
struct NoKey;

impl Signer for NoKey {
    fn address(&self) -> Address {
        Address::ZERO
    }

    fn sign<'a>(&'a self, _: &'a [u8]) -> BoxFuture<'a, Result<Signature, SignerError>> {
        let missing = "there is no key: set TOLLWAY_KEY, or say with --key where it is";
        Box::pin(std::future::ready(Err(SignerError::Remote(missing.to_owned()))))
    }
}

fn default_method(args: &Args) -> Method {
    if args.data.is_some() { Method::POST } else { Method::GET }
}

fn headers(lines: &[String]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let parse = || {
            let (name, value) = line.split_once(':')?;
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        };
        let Some((name, value)) = parse() else { bail!("-H {line:?}: must be \"Name: value\"") };
        headers.append(name, value);
    }
    Ok(headers)
}

fn read_data(data: &str) -> anyhow::Result<Vec<u8>> {
    match data.strip_prefix('@') {
        None => Ok(data.as_bytes().to_vec()),
        Some("-") => read_bounded(std::io::stdin().lock(), MAX_BYTES),
        Some(file) => std::fs::File::open(file)
            .map_err(anyhow::Error::from)
            .and_then(|file| read_bounded(file, MAX_BYTES))
            .with_context(|| format!("cannot read {file}")),
    }
}

fn tell_quote(output: Output, url: &Url, status: u16, offers: &[JudgedOffer]) -> ExitCode {
    let allowed = offers.iter().any(|judged| judged.decision.is_allow());
    let rows: Vec<Value> = offers
        .iter()
        .map(|judged| {
            let offer = &judged.offer;
            json!({
                "scheme": offer.scheme.as_str(), "network": offer.network.as_str(), "asset": offer.asset,
                "amount": offer.amount.to_string(), "payTo": offer.pay_to,
                "allowed": judged.decision.is_allow(), "decision": judged.decision.to_string(),
                "signed": judged.signed.as_ref().map(|signed| signed.standing.to_string()),
            })
        })
        .collect();
    let lines: Vec<String> = offers.iter().map(|judged| format!("  {judged}")).collect();
    let text = match (status, offers.is_empty()) {
        (402, false) => format!("{url} asks to be paid, by one of:\n{}", lines.join("\n")),
        (402, true) => format!("{url} answers 402 without x402 offers"),
        _ => format!("{url} answers {status}: nothing to pay"),
    };
    let object = json!({ "url": url.as_str(), "status": status, "offers": rows });
    output.result(&object, &text);
    if status == 402 && !allowed { ExitCode::from(3) } else { ExitCode::SUCCESS }
}

async fn tell_answer(output: Output, args: &Args, response: reqwest::Response) -> anyhow::Result<ExitCode> {
    let status = response.status();
    let payment = paid(&response).cloned();
    if let Some(paid) = &payment {
        output_paid(args.json, paid);
    }
    let mut object = json!({
        "url": args.url.as_str(), "status": status.as_u16(), "paid": payment.as_ref().map(paid_object),
    });
    if let Some(file) = &args.receipt {
        object["receipt"] = keep_receipt(file, payment.as_ref());
    }
    let reading = tokio::time::timeout(Duration::from_secs(args.timeout), read_body(response)).await;
    let body = match reading.unwrap_or_else(|_| Err(anyhow::anyhow!("the answer did not end in time"))) {
        Ok(body) => body,
        Err(error) => {
            // The money is spent: what was paid is told all the same.
            object["error"] = "failed".into();
            object["message"] = format!("{error:#}").into();
            output.machine(&object);
            crate::output::complain(&format!("error: the answer broke off: {error:#}"));
            return Ok(ExitCode::FAILURE);
        }
    };
    match &args.output {
        Some(file) => {
            if let Err(error) = std::fs::write(file, &body) {
                // The money is spent: what was paid is told all the same.
                object["error"] = "failed".into();
                object["message"] = format!("cannot write {}: {error}", file.display()).into();
                output.machine(&object);
                crate::output::complain(&format!("error: cannot write {}: {error}", file.display()));
                return Ok(ExitCode::FAILURE);
            }
        }
        None if args.json => object["body"] = body_value(&body),
        None => raw(&body)?,
    }
    output.machine(&object);
    Ok(match payment.and_then(|paid| paid.suspicious) {
        Some(_) => ExitCode::from(5),
        None if status.as_u16() >= 400 => ExitCode::from(22),
        None => ExitCode::SUCCESS,
    })
}

/// Writes the receipt before the body is read: what was paid is spent, whatever becomes of the answer.
fn keep_receipt(file: &Path, paid: Option<&Paid>) -> Value {
    let Some(paid) = paid else { return Value::Null };
    let Some(evidence) = evidence(paid) else {
        crate::output::complain("warning: the seller gave no receipt that could be kept");
        return Value::Null;
    };
    if let Err(error) = std::fs::write(file, format!("{evidence:#}\n")) {
        crate::output::complain(&format!("warning: cannot write {}: {error}", file.display()));
        return Value::Null;
    }
    file.display().to_string().into()
}

async fn read_body(mut response: reqwest::Response) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_BYTES {
            bail!("the answer is longer than {MAX_BYTES} bytes");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What was paid goes to stderr, so that the body alone is on stdout.
fn output_paid(json: bool, paid: &Paid) {
    if json {
        return;
    }
    let amount = match &paid.value {
        Some(value) => format!("{} {}", value.amount.to_decimal(value.decimals), value.symbol),
        None => format!("{} atomic units of {}", paid.offer.amount, paid.offer.asset),
    };
    let transaction = paid.settlement.as_ref().map_or("not told", |settled| settled.transaction.as_str());
    let fate = match &paid.settlement {
        Some(settled) if settled.success => "paid",
        Some(_) => "not settled:",
        None => "presented, no settlement told:",
    };
    let line = format!("{fate} {amount} on {}, transaction {transaction}", paid.offer.network);
    crate::output::complain(&line);
    if let Some(suspicious) = &paid.suspicious {
        crate::output::complain(&format!("warning: the settlement does not fit the payment: {suspicious}"));
    }
}

fn paid_object(paid: &Paid) -> Value {
    let settled = paid.settlement.as_ref();
    json!({
        "amount": paid.offer.amount.to_string(), "asset": paid.offer.asset,
        "network": paid.offer.network.as_str(), "payTo": paid.offer.pay_to, "payer": paid.payer,
        "success": settled.map(|settled| settled.success),
        "transaction": settled.map(|settled| settled.transaction.clone()),
        "errorReason": settled.and_then(|settled| settled.error_reason.as_ref()).map(|code| code.as_str().to_owned()),
        "suspicious": paid.suspicious,
    })
}

fn body_value(body: &[u8]) -> Value {
    match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        Err(_) => json!({ "bytes": body.len(), "note": "not text: use -o FILE" }),
    }
}

fn tell_refusal(output: Output, url: &Url, error: &PaymentError) -> ExitCode {
    let (word, code) = match error {
        PaymentError::Unresolved { .. } => ("unresolved", 4),
        PaymentError::Http(_) | PaymentError::NotSent(_) => ("failed", 1),
        _ => ("refused", 3),
    };
    let mut object = json!({ "url": url.as_str(), "error": word, "message": error.to_string() });
    let mut text = format!("{word}: {error}");
    if let PaymentError::Unresolved { payment, .. } = error {
        let header = format!("{}: {}", payment.header.name(), payment.header.value());
        text.push_str(&format!("\nPresent the same payment again with:\n  -H '{header}'"));
        object["header"] = header.into();
    }
    output.machine(&object);
    crate::output::complain(&text);
    ExitCode::from(code)
}

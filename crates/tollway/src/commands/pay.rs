//! `tollway pay`: a request from the command line, paid for if it asks.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest_middleware::RequestBuilder;
use serde_json::{Value, json};
use tollway_buyer::{JudgedOffer, Paid, Patience, PayingOn, PaymentError, Wallet, paid, payment_error};
use tollway_core::Amount;
use tollway_core::wire::{PAYMENT_REQUIRED, decode_header, decode_payment_required};
use tollway_evm::Chain;
use tollway_ledger::IntentId;
use url::Url;

use crate::arguments::{Misuse, amount, seconds, web_url};
use crate::books::text::visible;
use crate::commands::approval::{self, Terms};
use crate::commands::purse::PurseArgs;
use crate::commands::receipt::evidence;
use crate::config::read_bounded;
use crate::output::{Output, raw, start_logging};
use crate::serving::stop_signal;

/// How long the chain may take to show what was paid, where there is a node to ask.
const CONFIRM_WITHIN: Duration = Duration::from_secs(15);
/// The longest answer, and the longest request body, that is held in memory.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// The exit code where money may have moved for an answer that is not here.
const UNRESOLVED: u8 = 4;
/// So many characters are shown of what a seller says.
const MAX_WORDS: usize = 300;

/// Request a URL, and pay for it if it asks (402), at most once and at most the cap.
///
/// Only known dollar stablecoins are paid, up to --max-amount. Nothing is signed for plaintext http beyond this
/// machine, and no payment follows a redirect.
///
/// Exit codes: 0 the request succeeded; 1 it could not be made; 2 wrong usage; 3 payment was refused by the
/// policy, nothing was signed; 4 a payment was sent, and its fate is unknown or its answer was lost: the same
/// request presents the same payment again; 5 the receipt does not fit the payment; 22 the final answer has status 400 or above.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// What to request.
    #[arg(value_parser = web_url)]
    url: Url,
    /// HTTP method; GET, or POST when there is data.
    #[arg(short = 'X', long, value_name = "METHOD")]
    request: Option<Method>,
    /// Request body; @FILE reads a file, @- reads standard input, both as they are. May be given several times: then the parts
    /// are joined by &. Sent as a form (application/x-www-form-urlencoded), unless -H says what it is.
    #[arg(short, long, visible_alias = "data-binary", value_name = "DATA")]
    data: Vec<String>,
    /// Request header, "Name: value"; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// User and password for the seller (not for the payment), as the header Authorization.
    #[arg(short, long, value_name = "USER:PASSWORD")]
    user: Option<String>,
    /// Write the answer's body to a file; - is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the answer's status and headers before its body.
    #[arg(short, long, conflicts_with = "json")]
    include: bool,
    /// Ask for the headers only (HEAD), and write them.
    #[arg(short = 'I', long, conflicts_with_all = ["data", "json"])]
    head: bool,
    /// Write no body if the final answer has status 400 or above.
    #[arg(short, long)]
    fail: bool,
    /// Say nothing of progress and of what was paid; faults are told.
    #[arg(short, long)]
    silent: bool,
    /// Write the seller's signed receipt to a file, for `tollway receipt verify`; a seller that gives none is told of on
    /// stderr.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Also pay sellers that hold the money first, in the escrow of scheme auth-capture, and take it when they have served.
    /// What is signed is kept in a new file before it is sent, for `tollway status` and `tollway reclaim`.
    #[arg(long, value_name = "FILE")]
    hold: Option<PathBuf>,
    #[command(flatten)]
    purse: PurseArgs,
    /// Approve the contract Permit2 for what is due, if the seller says that it must be: a transaction of the payer's account,
    /// which pays the gas.
    #[arg(long, requires = "rpc_url")]
    approve: bool,
    /// Approve it for this much instead, in atomic units.
    #[arg(long, value_name = "ATOMIC", requires = "approve", value_parser = amount)]
    approve_amount: Option<Amount>,
    /// Seconds to wait for the paid answer, with the same payment presented again where the seller asks for it.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = seconds)]
    timeout: u64,
    /// Show what it would cost and what the policy says; sign nothing.
    #[arg(long)]
    dry_run: bool,
    /// Pay on for an answer that is charged as it streams: so many vouchers more, each as the policy allows. Without it such an
    /// answer breaks off where the first voucher is used up.
    #[arg(long, value_name = "VOUCHERS", default_value_t = 0)]
    pay_on: u32,
    /// Print one JSON object: url, status, paid, receipt, and the body unless it goes to a file; error and message if there
    /// is no answer.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// The file that the body goes to, if it is not standard output.
    fn output_file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|file| *file != Path::new("-"))
    }

    fn method(&self) -> Method {
        match &self.request {
            Some(method) => method.clone(),
            None if self.head => Method::HEAD,
            None if self.data.is_empty() => Method::GET,
            None => Method::POST,
        }
    }
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
    let chain = args.purse.connect().await?;
    let total = Duration::from_secs(args.timeout);
    let patience = Patience { total, answer: total, ..Patience::default() };
    let wallet = match &args.hold {
        None => args.purse.wallet(chain.as_ref()).await?,
        Some(file) if file.exists() => {
            bail!("--hold: {} is there already: what it keeps may be needed still", file.display());
        }
        Some(file) => args.purse.holding_wallet(chain.as_ref(), file).await?,
    };
    let wallet = wallet.patience(patience).build()?;
    let wallet = match args.purse.agent() {
        Some(agent) => wallet.as_agent(agent),
        None => wallet,
    };
    for file in [args.output_file(), args.receipt.as_deref()].into_iter().flatten() {
        // Before anything is paid for.
        let opened = OpenOptions::new().create(true).append(true).open(file);
        opened.with_context(|| format!("cannot write {}", file.display()))?;
    }
    let client = wallet.client()?;
    let mut request = client.request(args.method(), args.url.clone()).headers(headers(args)?);
    if let Some(tool) = args.purse.tool() {
        request = request.with_extension(tool);
    }
    if !args.data.is_empty() {
        request = request.body(read_data(&args.data)?);
    }
    if args.dry_run {
        let quote = wallet.quote(request.build()?).await?;
        return Ok(tell_quote(output, &args.url, quote.status.as_u16(), &quote.offers));
    }
    if !args.silent {
        output.progress(&format!("requesting {} …", args.url));
    }
    let done = tokio::select! {
        done = buy(args, output, request, (&wallet, chain.as_ref())) => done,
        () = stop_signal() => Ok(interrupted(output, args, &wallet)),
    };
    // What is not written down by then would be bought as the same purchase again.
    wallet.flush().await;
    done
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
        if !args.json && !args.silent {
            crate::output::complain(&format!("approved Permit2, transaction {transaction}"));
        }
        answered =
            wallet.present(again.build()?, payment).await.map_err(reqwest_middleware::Error::middleware);
    }
    output.progress_done();
    match answered {
        Ok(response) => {
            let intent = paid(&response).and_then(|paid| paid.intent).filter(|_| chain.is_some());
            let paying_on = wallet.pay_on(&response, args.pay_on)?;
            let told = tokio::select! {
                told = tell_answer(output, args, response) => told?,
                never = warn_of_the_end(paying_on) => match never {},
            };
            match intent {
                Some(intent) => confirm(wallet, intent, told).await,
                None => Ok(told),
            }
        }
        Err(error) => match payment_error(&error) {
            Some(refused) => Ok(tell_refusal(output, &args.url, refused)),
            None => Err(error.into()),
        },
    }
}

/// Says why no more is paid for an answer that is still being read: it breaks off where what was paid for ends.
async fn warn_of_the_end(paying_on: Option<PayingOn>) -> Infallible {
    if let Some(paying_on) = paying_on
        && let Err(error) = paying_on.ended().await
    {
        crate::output::complain(&format!("warning: no more is paid for this answer: {error}"));
    }
    pending().await
}

/// Asks the node of --rpc-url whether what the seller told is true. What it is not is code 5.
async fn confirm(wallet: &Wallet, intent: IntentId, told: ExitCode) -> anyhow::Result<ExitCode> {
    let known = match wallet.confirm(intent, CONFIRM_WITHIN).await {
        Ok(known) => known,
        Err(error) => {
            crate::output::complain(&format!("warning: the settlement was not looked for: {error}"));
            return Ok(told);
        }
    };
    let alarms = known.map(|known| known.alarms).unwrap_or_default();
    for alarm in &alarms {
        crate::output::complain(&format!("alarm: {}: {}", alarm.code.as_str(), alarm.text));
    }
    Ok(if alarms.is_empty() { told } else { ExitCode::from(5) })
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

fn headers(args: &Args) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in &args.headers {
        let parse = || {
            let (name, value) = line.split_once(':')?;
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        };
        let Some((name, value)) = parse() else {
            return Err(Misuse(format!("-H {line:?}: must be \"Name: value\"")).into());
        };
        headers.append(name, value);
    }
    if !args.data.is_empty() && !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    }
    if let Some(user) = &args.user {
        if !user.contains(':') {
            return Err(Misuse("-u: must be USER:PASSWORD".to_owned()).into());
        }
        let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(user)))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

/// All parts, joined by &.
fn read_data(parts: &[String]) -> anyhow::Result<Vec<u8>> {
    let mut data = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            data.push(b'&');
        }
        data.extend(read_part(part)?);
        anyhow::ensure!(data.len() <= MAX_BYTES, "-d: longer than {MAX_BYTES} bytes");
    }
    Ok(data)
}

fn read_part(part: &str) -> anyhow::Result<Vec<u8>> {
    match part.strip_prefix('@') {
        None => Ok(part.as_bytes().to_vec()),
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
        output_paid(args.json || args.silent, paid);
    }
    let mut object = json!({
        "url": args.url.as_str(), "status": status.as_u16(), "paid": payment.as_ref().map(paid_object),
    });
    if let Some(file) = &args.receipt {
        object["receipt"] = keep_receipt(file, payment.as_ref());
    }
    if status == StatusCode::PAYMENT_REQUIRED {
        crate::output::complain(&why_unpaid(&response, payment.is_some()));
    }
    let head = if args.include || args.head { head(&response) } else { Vec::new() };
    let reading = tokio::time::timeout(Duration::from_secs(args.timeout), read_body(response)).await;
    let body = match reading.unwrap_or_else(|_| Err(anyhow::anyhow!("the answer did not end in time"))) {
        Ok(body) => body,
        Err(error) => {
            // The money is spent: what was paid is told all the same.
            object["error"] = "failed".into();
            object["message"] = format!("{error:#}").into();
            output.machine(&object);
            crate::output::complain(&format!("error: the answer broke off: {error:#}"));
            if payment.is_none() {
                return Ok(ExitCode::FAILURE);
            }
            crate::output::complain("Ask again: the same request presents the same payment.");
            return Ok(ExitCode::from(UNRESOLVED));
        }
    };
    let body = if args.fail && status.as_u16() >= 400 { Vec::new() } else { [head, body].concat() };
    match args.output_file() {
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

/// What the seller says to a payment, or why there was none. Its words are shown as they are, on one line.
fn why_unpaid(response: &reqwest::Response, is_presented: bool) -> String {
    let header = response.headers().get(PAYMENT_REQUIRED);
    let required = header.and_then(|value| decode_header(PAYMENT_REQUIRED, value.as_bytes()).ok());
    let error = required.and_then(|json| decode_payment_required(&json).ok()).and_then(|told| told.error);
    match (is_presented, error) {
        (true, Some(error)) => format!("the seller refused the payment: {}", visible(&error, MAX_WORDS)),
        (true, None) => "the seller refused the payment, and does not say why".to_owned(),
        (false, _) => "not paid: the answer is 402, without offers of x402 that can be read".to_owned(),
    }
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

/// Status and headers, as HTTP/1.1 writes them.
fn head(response: &reqwest::Response) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
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
fn output_paid(is_silent: bool, paid: &Paid) {
    if is_silent {
        return;
    }
    let note = paid.channel.as_ref();
    let cost = note.and_then(|note| note.charged).unwrap_or(paid.offer.amount);
    let amount = match &paid.value {
        Some(value) => format!("{} {}", cost.to_decimal(value.decimals), value.symbol),
        None => format!("{cost} atomic units of {}", paid.offer.asset),
    };
    let transaction = paid.settlement.as_ref().map_or("not told", |settled| settled.transaction.as_str());
    let fate = match paid.settlement.as_ref().map(|settled| (settled.success, &settled.error_reason)) {
        Some((true, _)) => "paid".to_owned(),
        Some((false, Some(reason))) => format!("not settled ({}):", visible(reason.as_str(), MAX_WORDS)),
        Some((false, None)) => "not settled:".to_owned(),
        None => "presented, no settlement told:".to_owned(),
    };
    let way = match note {
        Some(note) => format!("channel {}", note.key.id()),
        None => format!("transaction {transaction}"),
    };
    let line = format!("{fate} {amount} on {}, {way}", paid.offer.network);
    crate::output::complain(&line);
    if let Some(suspicious) = &paid.suspicious {
        crate::output::complain(&format!("warning: the settlement does not fit the payment: {suspicious}"));
    }
}

fn paid_object(paid: &Paid) -> Value {
    let note = paid.channel.as_ref();
    let charged = note.and_then(|note| note.charged);
    let settled = paid.settlement.as_ref();
    json!({
        "amount": charged.unwrap_or(paid.offer.amount).to_string(), "channel": note.map(|note| note.key.as_str()),
        "asset": paid.offer.asset,
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
        PaymentError::Unresolved { .. } | PaymentError::Busy => ("unresolved", UNRESOLVED),
        PaymentError::Http(_) | PaymentError::NotSent(_) | PaymentError::Ledger(_) => ("failed", 1),
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

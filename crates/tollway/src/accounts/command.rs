//! The subcommands of `tollway accounts`, over a ledger that sellers share.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use tollway_core::extension::parse_timestamp;
use tollway_core::{Amount, CREDIT_DECIMALS, Clock, Money, SystemClock, UnixTime};
use tollway_seller::{Accounts, CreditBook, Invoice};
use url::Url;

use super::iso20022::{File, Message};
use super::tell;
use crate::arguments::{Misuse, name, web_url};
use crate::config::read_bounded;
use crate::output::{Output, complain, raw};

/// The longest accounts file.
const MAX_BYTES: usize = 1024 * 1024;
const DAY_SECONDS: u64 = 86_400;

/// Accounts on credit: what they owe, statements, invoices, and files for banks.
///
/// Accounts stand in a TOML file; what they were charged and have paid is in the ledger that the sellers share.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The accounts file.
    #[arg(long, value_name = "FILE", env = "TOLLWAY_ACCOUNTS", global = true)]
    accounts: Option<PathBuf>,
    /// The sellers' ledger: sqlite:FILE, postgres:URL or env:NAME.
    #[arg(long, value_name = "URL", env = "TOLLWAY_LEDGER", hide_env_values = true, global = true)]
    ledger: Option<String>,
    /// Print one JSON object a line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How every account stands: what it owes, what it may, since when something is unpaid.
    List,
    /// What an account was charged and paid, row by row, between what was owed before and after.
    Statement(StatementArgs),
    /// Write the unpaid invoices as a payment file by ISO 20022.
    Export(ExportArgs),
    /// Refuse an account at every seller on the ledger, from its next request on.
    Suspend {
        /// The account.
        account: String,
        /// Why, for who asks later.
        #[arg(long, value_name = "TEXT", default_value = "by the operator")]
        reason: String,
    },
    /// End what `suspend` began. What the accounts file suspends stays suspended.
    Resume {
        /// The account.
        account: String,
    },
    /// Bill what was charged since the last invoice: of one account now, or of every account whose period is over.
    Settle {
        /// The account; every one that is due, if not given.
        account: Option<String>,
        /// Where invoices are paid: the address of each is this, a slash, and its name.
        #[arg(long, value_name = "URL", value_parser = web_url)]
        desk: Option<Url>,
    },
    /// Write down a payment that came through a bank. Its reference makes it unique: written down again, it counts once.
    Paid(PaidArgs),
}

#[derive(Debug, clap::Args)]
struct StatementArgs {
    /// The account.
    account: String,
    /// From this day (2026-01-01) on, in UTC; by default thirty days ago.
    #[arg(long, value_name = "DAY", value_parser = day)]
    from: Option<UnixTime>,
    /// Before this day; by default tomorrow.
    #[arg(long, value_name = "DAY", value_parser = day)]
    to: Option<UnixTime>,
    /// How it is written.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: StatementFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StatementFormat {
    /// For people.
    Text,
    /// One JSON object.
    Json,
    /// Rows for a spreadsheet.
    Csv,
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    /// Only this account; every account with a bank, if not given.
    account: Option<String>,
    /// Which file.
    #[arg(long, value_name = "FORMAT", default_value = "pain.008")]
    format: ExportFormat,
    /// The day on which money is to move: 2026-01-31.
    #[arg(long, value_name = "DAY", value_parser = day)]
    on: UnixTime,
    /// Write it here instead of to the terminal.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExportFormat {
    /// A collection (direct debit) by the seller.
    #[value(name = "pain.008")]
    Pain008,
    /// A transfer by one buyer.
    #[value(name = "pain.001")]
    Pain001,
}

#[derive(Debug, clap::Args)]
struct PaidArgs {
    /// The account.
    account: String,
    /// How much: "$12.50", "12.50 EUR".
    #[arg(long, value_name = "MONEY")]
    amount: Money,
    /// What makes the payment unique, such as the bank's reference.
    #[arg(long, value_name = "TEXT", value_parser = name)]
    reference: String,
    /// The invoice that it pays.
    #[arg(long, value_name = "INVOICE")]
    invoice: Option<String>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let file = args
        .accounts
        .as_deref()
        .ok_or_else(|| Misuse("which accounts? Say it with --accounts FILE".to_owned()))?;
    let accounts = Arc::new(read(file)?);
    let ledger =
        args.ledger.as_deref().ok_or_else(|| Misuse("which ledger? Say it with --ledger URL".to_owned()))?;
    let ledger = crate::ledger::open_kept(ledger).await.context("--ledger")?;
    let book = CreditBook::new(accounts, ledger, Arc::new(SystemClock));
    let output = Output::new(args.json);
    match args.command {
        Command::List => list(&book, output).await,
        Command::Statement(asked) => statement(&book, &asked, args.json).await,
        Command::Export(asked) => export(&book, &asked).await,
        Command::Suspend { account, reason } => {
            book.suspend(&account, Some(&reason)).await?;
            output.result(
                &json!({ "account": account, "suspended": reason }),
                &format!("{account} is suspended"),
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Resume { account } => {
            book.suspend(&account, None).await?;
            let suspended = book.standing(&account).await?.suspended;
            let text = match &suspended {
                Some(why) => format!("{account} stays suspended: {why}"),
                None => format!("{account} is not suspended"),
            };
            output.result(&json!({ "account": account, "suspended": suspended }), &text);
            Ok(if suspended.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Command::Settle { account, desk } => {
            settle(&book, account.as_deref(), desk.as_ref().map(Url::as_str), output).await
        }
        Command::Paid(asked) => paid(&book, &asked, output).await,
    }
}

fn read(file: &Path) -> anyhow::Result<Accounts> {
    let named = || format!("cannot read {}", file.display());
    let bytes =
        std::fs::File::open(file).map_err(anyhow::Error::from).and_then(|from| read_bounded(from, MAX_BYTES));
    let text = String::from_utf8(bytes.with_context(named)?).with_context(named)?;
    Accounts::parse(&text).with_context(|| file.display().to_string())
}

async fn list(book: &CreditBook, output: Output) -> anyhow::Result<ExitCode> {
    for account in book.accounts().iter() {
        let standing = book.standing(&account.id).await?;
        let (json, text) = tell::standing(&standing, &book.accounts().currency);
        output.result(&json, &text);
    }
    Ok(ExitCode::SUCCESS)
}

async fn statement(book: &CreditBook, asked: &StatementArgs, is_json: bool) -> anyhow::Result<ExitCode> {
    let now = SystemClock.now();
    let from = asked.from.unwrap_or(UnixTime(now.0.saturating_sub(30 * DAY_SECONDS)));
    let to = asked.to.unwrap_or(now.plus_seconds(DAY_SECONDS));
    if to <= from {
        return Err(Misuse("--to: must be after --from".to_owned()).into());
    }
    let stated = book.statement(&asked.account, from, to).await?;
    match asked.format {
        _ if is_json => Output::new(true).machine(&stated.to_json()),
        StatementFormat::Json => Output::new(true).machine(&stated.to_json()),
        StatementFormat::Text => Output::new(false).result(&json!({}), &tell::statement(&stated)),
        StatementFormat::Csv => raw(tell::statement_csv(&stated).as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn export(book: &CreditBook, asked: &ExportArgs) -> anyhow::Result<ExitCode> {
    let accounts = book.accounts();
    let creditor = accounts.creditor.as_ref().context("the accounts file has no [creditor]")?;
    if let Some(id) = &asked.account
        && accounts.get(id).is_none()
    {
        bail!("there is no account {id:?}");
    }
    let is_asked = |id: &str| asked.account.as_deref().is_none_or(|asked| asked == id);
    let mut unpaid: Vec<(Invoice, _)> = Vec::new();
    for account in accounts.iter().filter(|account| is_asked(&account.id)) {
        let open: Vec<_> = book.invoices(&account.id).await?.into_iter().filter(|one| !one.is_paid).collect();
        match &account.bank {
            Some(bank) => unpaid.extend(open.into_iter().map(|invoice| (invoice, bank))),
            None if open.is_empty() => {}
            None => complain(&format!(
                "account {} has no bank: its {} invoices are left out",
                account.id,
                open.len()
            )),
        }
    }
    let message = match asked.format {
        ExportFormat::Pain008 => Message::Collection,
        ExportFormat::Pain001 => Message::Transfer,
    };
    let entries = unpaid.iter().map(|(invoice, bank)| (invoice, *bank)).collect();
    let file =
        File { message, creditor, entries, on: &tell::day(asked.on), now: SystemClock.now() }.write()?;
    match &asked.output {
        Some(path) => {
            std::fs::write(path, file).with_context(|| format!("cannot write {}", path.display()))?
        }
        None => raw(file.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn settle(
    book: &CreditBook,
    account: Option<&str>,
    desk: Option<&str>,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let (invoices, faults) = match account {
        Some(account) => (book.bill(account).await?.into_iter().collect(), Vec::new()),
        None => book.bill_due().await,
    };
    for invoice in &invoices {
        let (json, text) = tell::invoice(invoice, desk);
        output.result(&json, &text);
    }
    for (account, error) in &faults {
        complain(&format!("account {account} is not billed: {error}"));
    }
    if invoices.is_empty() && faults.is_empty() {
        complain("nothing is to be billed");
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn paid(book: &CreditBook, asked: &PaidArgs, output: Output) -> anyhow::Result<ExitCode> {
    let amount = asked.amount.to_atomic(CREDIT_DECIMALS)?;
    let named = match asked.amount.currency() {
        tollway_core::Currency::Usd => "USD",
        tollway_core::Currency::Symbol(symbol) => symbol,
        _ => "",
    };
    let currency = &book.accounts().currency;
    if named != currency || amount == Amount::ZERO {
        bail!("--amount must be more than nothing, in {currency}");
    }
    if let Some(id) = &asked.invoice {
        let invoice = book.invoice(id).await?.with_context(|| format!("there is no invoice {id:?}"))?;
        if invoice.account != asked.account {
            bail!("the invoice is account {}'s", invoice.account);
        }
        if invoice.amount > amount {
            bail!(
                "the invoice is for {}: a part of it is written down without --invoice",
                tell::money(invoice.amount)
            );
        }
    }
    let invoice = asked.invoice.as_deref();
    let is_new = book.record_payment(&asked.account, amount, &asked.reference, invoice).await?;
    let standing = book.standing(&asked.account).await?;
    let text = if is_new { "written down" } else { "was known already: it counts once" };
    let json = json!({ "account": asked.account, "isNew": is_new, "owed": tell::money(standing.owed()) });
    output.result(&json, text);
    Ok(ExitCode::SUCCESS)
}

fn day(text: &str) -> anyhow::Result<UnixTime> {
    parse_timestamp(&format!("{text}T00:00:00Z")).context("must be a day like 2026-01-31")
}

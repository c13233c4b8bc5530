//! `tollway wallet history`, and the books of `tollway wallet export`: what a wallet spent and earned.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use tollway_core::UnixTime;
use tollway_core::extension::parse_timestamp;

use crate::books::formats::{By, Format, Writer};
use crate::books::groups::{Group, Groups};
use crate::books::{Books, Filter};
use crate::commands::wallet_ledger::{Owned, OwnerArgs};
use crate::dev_assets::{DEV_CHAIN_ID, with_dev_assets};
use crate::output::complain;

/// What a wallet spent and earned: the newest lines, in the order in which they happened.
///
/// Earnings are told where the seller or its facilitator keeps its settlements in the same ledger. Amounts are exact; a
/// dollar token counts as the dollar it stands for, and what nobody told the worth of has none. `?` marks what may still be
/// charged.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    books: BooksArgs,
    /// How it is written.
    #[arg(long, value_name = "FORMAT", default_value = "table", conflicts_with = "json")]
    format: Format,
    /// The same as --format json.
    #[arg(long)]
    json: bool,
    /// At most so many lines, the newest.
    #[arg(long, value_name = "LINES", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

/// Whose books, and what of them.
#[derive(Debug, clap::Args)]
pub(crate) struct BooksArgs {
    #[command(flatten)]
    pub(crate) owner: OwnerArgs,
    /// A line for every purchase, or for every transaction on chain: payments may share one.
    #[arg(long, value_name = "WHAT", default_value = "purchase")]
    by: By,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

/// Which lines.
#[derive(Debug, clap::Args)]
pub(crate) struct FilterArgs {
    /// From this day (2026-11-20) or time (2026-11-20T08:00:00Z) on, in UTC.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<UnixTime>,
    /// Before this day or time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<UnixTime>,
    /// Only what this agent bought.
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    /// Only what was bought at this host.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

impl FilterArgs {
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            from: self.from,
            to: self.to,
            agent: self.agent.clone(),
            host: self.host.as_ref().map(|host| host.to_ascii_lowercase()),
        }
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let format = if args.json { Format::Json } else { args.format };
    let (mut books, writer) = open(&args.books, format).await?;
    let limit = args.limit as usize;
    let mut text = writer.head();
    match args.books.by {
        By::Purchase => {
            books.newest(limit).await?.iter().for_each(|entry| text.push_str(&writer.entry(entry)));
        }
        By::Transaction => {
            newest_groups(&mut books, limit)
                .await?
                .iter()
                .for_each(|group| text.push_str(&writer.group(group)));
        }
    }
    write_all(&mut std::io::stdout().lock(), &text)?;
    warn(&books);
    Ok(ExitCode::SUCCESS)
}

/// Writes the whole books out, the oldest line first, a page at a time.
pub(crate) async fn export(
    args: &BooksArgs,
    format: Format,
    file: Option<&PathBuf>,
) -> anyhow::Result<ExitCode> {
    let (mut books, writer) = open(args, format).await?;
    let out: Box<dyn Write> = match file {
        Some(file) => {
            Box::new(File::create(file).with_context(|| format!("cannot write {}", file.display()))?)
        }
        None => Box::new(std::io::stdout().lock()),
    };
    let mut out = BufWriter::new(out);
    write_all(&mut out, &writer.head())?;
    let mut groups = Groups::default();
    while let Some(entry) = books.next().await? {
        match args.by {
            By::Purchase => write_all(&mut out, &writer.entry(&entry))?,
            By::Transaction => {
                for group in groups.push(entry) {
                    write_all(&mut out, &writer.group(&group))?;
                }
            }
        }
    }
    for group in groups.finish() {
        write_all(&mut out, &writer.group(&group))?;
    }
    finish(out)?;
    warn(&books);
    Ok(ExitCode::SUCCESS)
}

/// The last transactions. Which payments are in one is known only when all are read: but only the last are kept.
async fn newest_groups(books: &mut Books, limit: usize) -> anyhow::Result<VecDeque<Group>> {
    let (mut groups, mut newest) = (Groups::default(), VecDeque::new());
    let mut keep = |whole: Vec<Group>| {
        newest.extend(whole);
        while newest.len() > limit {
            newest.pop_front();
        }
    };
    while let Some(entry) = books.next().await? {
        keep(groups.push(entry));
    }
    keep(groups.finish());
    Ok(newest)
}

async fn open(args: &BooksArgs, format: Format) -> anyhow::Result<(Books, Writer)> {
    let Owned { ledger, wallet, account } = args.owner.open().await?;
    let books = Books::new(ledger, &wallet, account, with_dev_assets(DEV_CHAIN_ID), args.filter.filter());
    Ok((books, Writer { format, by: args.by, wallet }))
}

/// A reader that has enough is no error.
fn write_all(out: &mut impl Write, text: &str) -> anyhow::Result<()> {
    match out.write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done.context("cannot write the books"),
    }
}

fn finish(mut out: BufWriter<Box<dyn Write>>) -> anyhow::Result<()> {
    match out.flush() {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done.context("cannot write the books"),
    }
}

/// Books that are not whole are not told as if they were.
pub(crate) fn warn(books: &Books) {
    if books.unreadable > 0 {
        complain(&format!(
            "warning: {} purchases are left out: this program cannot read them",
            books.unreadable
        ));
    }
}

fn time(text: &str) -> anyhow::Result<UnixTime> {
    let whole = if text.len() == "2026-11-20".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    match parse_timestamp(&whole) {
        Some(time) => Ok(time),
        None => bail!("must be a day like 2026-11-20 or a time like 2026-11-20T08:00:00Z"),
    }
}

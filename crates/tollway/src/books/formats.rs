//! The books written down: as a table for people, JSON a line, CSV, Beancount and ledger-cli. What each makes of a line is
//! text; where that goes is the command's.

use serde_json::{Map, Value};

use crate::books::entry::{Entry, Fate};
use crate::books::groups::Group;
use crate::books::text::{csv, visible};
use crate::books::{beancount, ledger_cli};

/// How the books are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One object a line.
    Json,
    /// Comma-separated values (RFC 4180), for spreadsheets.
    Csv,
    /// Double entry for Beancount.
    Beancount,
    /// Double entry for ledger-cli and hledger.
    Ledger,
}

/// One line for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum By {
    /// A purchase, or an earning.
    #[default]
    Purchase,
    /// A transaction on chain.
    Transaction,
}

/// Writes the books of one wallet.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) format: Format,
    pub(crate) by: By,
    pub(crate) wallet: String,
}

impl Writer {
    /// What comes before the first line.
    pub(crate) fn head(&self) -> String {
        match (self.format, self.by) {
            (Format::Table, By::Purchase) => {
                table_row(["TIME", "WHAT", "STATE", "AMOUNT", "USD", "AGENT", "HOST", "TRANSACTION"])
            }
            (Format::Table, By::Transaction) => {
                table_row(["TIME", "WHAT", "PAYMENTS", "AMOUNT", "USD", "AGENTS", "HOSTS", "TRANSACTION"])
            }
            (Format::Json, _) => String::new(),
            (Format::Csv, By::Purchase) => csv_row(COLUMNS.iter().map(|name| (*name).to_owned())),
            (Format::Csv, By::Transaction) => csv_row(GROUP_COLUMNS.iter().map(|name| (*name).to_owned())),
            (Format::Beancount, _) => beancount::head(&self.wallet),
            (Format::Ledger, _) => ledger_cli::head(&self.wallet),
        }
    }

    /// A purchase or an earning.
    pub(crate) fn entry(&self, entry: &Entry) -> String {
        match self.format {
            Format::Table => entry_row(entry),
            Format::Json => json_row(entry.facts()),
            Format::Csv => csv_row(entry.facts().into_iter().map(|(_, value)| cell(&value))),
            Format::Beancount => beancount::transaction(&self.wallet, std::slice::from_ref(entry)),
            Format::Ledger => ledger_cli::transaction(&self.wallet, std::slice::from_ref(entry)),
        }
    }

    /// A transaction on chain.
    pub(crate) fn group(&self, group: &Group) -> String {
        match self.format {
            Format::Table => group_row(group),
            Format::Json => json_row(group.facts()),
            Format::Csv => csv_row(group.facts().into_iter().map(|(_, value)| cell(&value))),
            Format::Beancount => beancount::transaction(&self.wallet, &group.entries),
            Format::Ledger => ledger_cli::transaction(&self.wallet, &group.entries),
        }
    }
}

/// The names of a line's facts, in their order.
const COLUMNS: [&str; crate::books::entry::COLUMNS] = [
    "time",
    "kind",
    "id",
    "state",
    "moved",
    "amount",
    "symbol",
    "usd",
    "fee",
    "agent",
    "tool",
    "host",
    "method",
    "url",
    "counterparty",
    "network",
    "asset",
    "amountAtomic",
    "transaction",
    "logIndex",
    "block",
    "confirmedBy",
    "status",
    "receipt",
    "alarms",
];
/// The names of a transaction's facts, in their order.
const GROUP_COLUMNS: [&str; 15] = [
    "time",
    "kind",
    "transaction",
    "network",
    "block",
    "payments",
    "spent",
    "earned",
    "spentUsd",
    "earnedUsd",
    "fee",
    "confirmedBy",
    "agents",
    "hosts",
    "ids",
];

fn json_row(facts: impl IntoIterator<Item = (&'static str, Value)>) -> String {
    let object: Map<String, Value> =
        facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    format!("{}\n", Value::Object(object))
}

fn csv_row(cells: impl Iterator<Item = String>) -> String {
    format!("{}\r\n", cells.map(|cell| csv(&cell)).collect::<Vec<_>>().join(","))
}

/// A fact as one cell.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(many) => many.iter().map(cell).collect::<Vec<_>>().join("; "),
        other => other.to_string(),
    }
}

fn entry_row(entry: &Entry) -> String {
    let sign = match entry.fate {
        Fate::Moved => "",
        Fate::Open => "?",
        Fate::Still => "0 of ",
    };
    let alarm = if entry.alarms.is_empty() { "" } else { " !" };
    table_row([
        &entry.time(),
        entry.kind.as_str(),
        &format!("{}{alarm}", entry.state),
        &format!("{sign}{} {}", entry.decimal(), entry.symbol()),
        &entry.dollars().filter(|_| entry.fate == Fate::Moved).unwrap_or_default(),
        entry.agent.as_deref().unwrap_or("-"),
        entry.host.as_deref().unwrap_or(&entry.counterparty),
        entry.transaction.as_deref().unwrap_or("-"),
    ])
}

fn group_row(group: &Group) -> String {
    let facts = group.facts();
    let fact = |name: &str| -> String {
        facts.iter().find(|(known, _)| *known == name).map(|(_, value)| cell(value)).unwrap_or_default()
    };
    let both = |spent: &str, earned: &str| {
        let told = [fact(spent), fact(earned)];
        told.into_iter().filter(|told| !told.is_empty() && told != "0").collect::<Vec<_>>().join(" / ")
    };
    table_row([
        &fact("time"),
        &fact("kind"),
        &fact("payments"),
        &both("spent", "earned"),
        &both("spentUsd", "earnedUsd"),
        &fact("agents"),
        &fact("hosts"),
        &fact("transaction"),
    ])
}

fn table_row<T: AsRef<str>>(cells: [T; 8]) -> String {
    const WIDTHS: [usize; 8] = [20, 6, 12, 22, 10, 12, 28, 66];
    let mut row = String::new();
    for (cell, width) in cells.iter().zip(WIDTHS) {
        let cell = visible(cell.as_ref(), width);
        row.push_str(&cell);
        row.push_str(&" ".repeat(width.saturating_sub(cell.chars().count()) + 2));
    }
    format!("{}\n", row.trim_end())
}

#[cfg(test)]
pub(super) mod tests {
    use tollway_core::{Amount, UnixTime};

    use super::{By, COLUMNS, Format, GROUP_COLUMNS, Writer};
    use crate::books::entry::{Coin, Entry, Fate, Kind, Proof};
    use crate::books::groups::Groups;

    /// A purchase of 0.01 USDC, settled.
    pub(in crate::books) fn spent() -> Entry {
        Entry {
            at: UnixTime(1_795_205_730),
            kind: Kind::Spent,
            id: "int_000102030405060708090a0b0c0d0e0f".to_owned(),
            fate: Fate::Moved,
            state: "paid",
            agent: Some("scout".to_owned()),
            tool: Some("search".to_owned()),
            method: Some("GET".to_owned()),
            host: Some("api.example.com".to_owned()),
            url: Some("https://api.example.com/data".to_owned()),
            network: "eip155:8453".to_owned(),
            asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".to_owned(),
            coin: Some(Coin { symbol: "USDC".to_owned(), decimals: 6, is_usd: true }),
            amount: Amount::from(10_000),
            counterparty: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned(),
            transaction: Some("0xaa11".to_owned()),
            log_index: Some(3),
            block: Some(12),
            proof: Proof::Chain,
            status: Some(200),
            has_receipt: true,
            alarms: Vec::new(),
            cause: None,
            expires: UnixTime(1_795_205_790),
        }
    }

    /// One line of every sort, and one whose texts were written by an enemy.
    pub(in crate::books) fn sample() -> Vec<Entry> {
        let spent = spent();
        let evil =
            "=cmd|'/c calc'!A1\"\r\n2026-01-01 * \"x\" ; [2020/01/01] :tag:\u{202e}\u{1b}[2J".to_owned();
        vec![
            spent.clone(),
            Entry {
                id: "int_01".to_owned(),
                fate: Fate::Open,
                state: "unresolved",
                agent: None,
                transaction: None,
                proof: Proof::Nobody,
                block: None,
                log_index: None,
                status: None,
                ..spent.clone()
            },
            Entry {
                id: "int_02".to_owned(),
                fate: Fate::Still,
                state: "dead",
                transaction: None,
                ..spent.clone()
            },
            Entry {
                id: "int_03".to_owned(),
                coin: Some(Coin { symbol: "EURC".to_owned(), decimals: 6, is_usd: false }),
                asset: "0x60a3E35Cc302bFA44Cb288Bc5a4F316Fdb1adb42".to_owned(),
                amount: Amount::from(100_000),
                transaction: Some("0xbb22".to_owned()),
                ..spent.clone()
            },
            Entry {
                kind: Kind::Earned,
                id: "7f00".to_owned(),
                state: "final",
                agent: None,
                tool: None,
                method: None,
                host: None,
                url: None,
                amount: Amount::from(2_500_000),
                status: None,
                has_receipt: false,
                ..spent.clone()
            },
            Entry {
                id: "int_04".to_owned(),
                agent: Some(evil.clone()),
                tool: Some(evil.clone()),
                host: Some(evil.clone()),
                url: Some(evil.clone()),
                counterparty: evil.clone(),
                coin: None,
                amount: Amount::from(7),
                alarms: vec![("price_drift".to_owned(), evil)],
                transaction: Some("0xcc33".to_owned()),
                ..spent
            },
        ]
    }

    pub(in crate::books) fn written(format: Format, by: By) -> String {
        let writer = Writer { format, by, wallet: "0xabc".to_owned() };
        let mut text = writer.head();
        match by {
            By::Purchase => sample().iter().for_each(|entry| text.push_str(&writer.entry(entry))),
            By::Transaction => {
                let mut groups = Groups::default();
                for entry in sample() {
                    groups.push(entry).iter().for_each(|group| text.push_str(&writer.group(group)));
                }
                groups.finish().iter().for_each(|group| text.push_str(&writer.group(group)));
            }
        }
        text
    }

    /// A format as it was agreed on. `TOLLWAY_BLESS=1` writes it anew: look at what changed.
    pub(in crate::books) fn golden(name: &str, text: &str) {
        let file = format!("{}/tests/golden/books/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("TOLLWAY_BLESS").is_some() {
            std::fs::write(&file, text).unwrap();
        }
        let agreed = std::fs::read_to_string(&file).unwrap();
        assert!(text == agreed, "{name} is not as it was agreed on:\n{text}");
    }

    #[test]
    fn every_format_is_as_it_was_agreed_on() {
        for (name, format) in [
            ("table.txt", Format::Table),
            ("lines.json", Format::Json),
            ("books.csv", Format::Csv),
            ("books.beancount", Format::Beancount),
            ("books.ledger", Format::Ledger),
        ] {
            golden(&format!("purchase-{name}"), &written(format, By::Purchase));
            golden(&format!("transaction-{name}"), &written(format, By::Transaction));
        }
    }

    #[test]
    fn columns_are_named_in_the_order_they_are_written_in() {
        assert_eq!(spent().facts().map(|(name, _)| name), COLUMNS);
        let mut groups = Groups::default();
        groups.push(spent());
        let facts = groups.finish().remove(0).facts();
        assert_eq!(facts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), GROUP_COLUMNS);
    }

    #[test]
    fn a_line_of_the_table_is_one_line_and_moves_no_cursor() {
        let table = written(Format::Table, By::Purchase);
        assert_eq!(table.lines().count(), sample().len() + 1);
        assert!(!table.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'));
    }

    #[test]
    fn every_row_of_csv_has_every_column_and_none_is_a_formula() {
        for by in [By::Purchase, By::Transaction] {
            let rows = read_csv(&written(Format::Csv, by));
            let width = rows[0].len();
            for row in &rows {
                assert_eq!(row.len(), width, "{row:?}");
                assert!(row.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@'])), "{row:?}");
            }
        }
    }

    /// A reader of RFC 4180, to the letter.
    fn read_csv(text: &str) -> Vec<Vec<String>> {
        let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
        let mut rest = text.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '"' if cell.is_empty() => loop {
                    match (rest.next().expect("a quote ends"), rest.peek()) {
                        ('"', Some('"')) => cell.push(rest.next().unwrap()),
                        ('"', _) => break,
                        (inside, _) => cell.push(inside),
                    }
                },
                ',' => row.push(std::mem::take(&mut cell)),
                '\r' => {
                    assert_eq!(rest.next(), Some('\n'));
                    row.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut row));
                }
                '"' | '\n' => panic!("outside of quotes: {text}"),
                other => cell.push(other),
            }
        }
        assert!(row.is_empty() && cell.is_empty(), "the last row ends");
        rows
    }
}

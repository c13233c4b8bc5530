//! The books in double entry for ledger-cli and hledger: the same accounts and postings as for Beancount.

use crate::books::entry::{Entry, Fate, Kind};
use crate::books::text::{account, commodity, plain};

/// What comes before the first transaction.
pub(super) fn head(wallet: &str) -> String {
    format!("; tollway {}\n\n", plain(wallet))
}

/// One transaction: of one line, or of several that share one on chain.
pub(super) fn transaction(wallet: &str, entries: &[Entry]) -> String {
    let moved: Vec<&Entry> = entries.iter().filter(|entry| entry.fate != Fate::Still).collect();
    let Some(first) = moved.first() else { return String::new() };
    let flag =
        if moved.iter().any(|one| one.fate == Fate::Open || !one.alarms.is_empty()) { '!' } else { '*' };
    let payee = match moved.as_slice() {
        [one] => plain(one.host.as_deref().unwrap_or(&one.counterparty)),
        many => format!("{} payments", many.len()),
    };
    let mut text = format!("{} {flag} {payee}\n", first.day().replace('-', "/"));
    note(&mut text, "time", Some(&first.time()));
    note(&mut text, "network", Some(&first.network));
    note(&mut text, "transaction", first.transaction.as_deref());
    for entry in &moved {
        text.push_str(&postings(wallet, entry));
    }
    text.push('\n');
    text
}

fn postings(wallet: &str, entry: &Entry) -> String {
    let unit = commodity(entry.coin.as_ref().map(|coin| &*coin.symbol), &entry.network, &entry.asset);
    // Names with digits and points in them stand in quotes.
    let amount = format!("{} \"{unit}\"", entry.decimal());
    let purse = format!("Assets:Tollway:{}", account(wallet));
    let (price, worth) = match entry.dollars() {
        Some(dollars) if entry.fate == Fate::Moved => (" @ 1 USD", format!("{dollars} USD")),
        _ => ("", amount.clone()),
    };
    let lines = match (entry.kind, entry.fate) {
        (Kind::Earned, _) => {
            let from = format!("Income:Tollway:{}", account(&entry.counterparty.to_lowercase()));
            [(purse, format!("{amount}{price}")), (from, format!("-{worth}"))]
        }
        (Kind::Spent, Fate::Open) => {
            [(format!("{purse}:Pending"), amount.clone()), (purse, format!("-{amount}"))]
        }
        (Kind::Spent, _) => {
            let agent = entry.agent.as_deref().map_or_else(|| "NoAgent".to_owned(), account);
            let host = account(entry.host.as_deref().unwrap_or_default());
            [(format!("Expenses:Tollway:{agent}:{host}"), worth), (purse, format!("-{amount}{price}"))]
        }
    };
    let mut text = String::new();
    for (account, amount) in lines {
        text.push_str(&format!("    {account}  {amount}\n"));
        note(&mut text, "id", Some(&entry.id));
        if account.starts_with("Assets:") {
            continue;
        }
        note(&mut text, "agent", entry.agent.as_deref());
        note(&mut text, "tool", entry.tool.as_deref());
        note(&mut text, "url", entry.url.as_deref());
        note(&mut text, "counterparty", Some(&entry.counterparty));
        note(&mut text, "confirmed-by", Some(entry.proof.as_str()).filter(|who| !who.is_empty()));
        note(&mut text, "state", Some(entry.state));
        for (code, _) in &entry.alarms {
            note(&mut text, "alarm", Some(code));
        }
    }
    text
}

/// A tag with a value, in a note of its own line.
fn note(text: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value.map(plain).filter(|value| !value.is_empty()) {
        text.push_str(&format!("    ; {name}: {value}\n"));
    }
}

#[cfg(test)]
mod tests {
    use crate::books::double_entry::check;
    use crate::books::formats::tests::written;
    use crate::books::formats::{By, Format};

    #[test]
    fn what_is_written_is_a_journal_and_balances_whatever_sellers_write() {
        for (by, transactions) in [(By::Purchase, 5), (By::Transaction, 3)] {
            let text = written(Format::Ledger, by);
            assert_eq!(check::ledger(&text), transactions, "{text}");
        }
    }
}

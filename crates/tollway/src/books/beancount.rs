//! The books in double entry for Beancount.
//!
//! What was spent leaves the wallet's account in its own commodity, at the price of its time, and arrives as an expense in
//! dollars; so every transaction balances to zero. What may still move rests in an account of its own. What did not move is
//! not written.

use crate::books::entry::{Entry, Fate, Kind};
use crate::books::text::{account, commodity, quoted};

/// Accounts are opened where they are first used, by Beancount's own plugin: this file is written line by line.
pub(super) fn head(wallet: &str) -> String {
    format!(
        "option \"title\" {}\noption \"operating_currency\" \"USD\"\nplugin \"beancount.plugins.auto_accounts\"\n\n",
        quoted(&format!("tollway {wallet}"))
    )
}

/// One transaction: of one line, or of several that share one on chain.
pub(super) fn transaction(wallet: &str, entries: &[Entry]) -> String {
    let moved: Vec<&Entry> = entries.iter().filter(|entry| entry.fate != Fate::Still).collect();
    let Some(first) = moved.first() else { return String::new() };
    let needs_a_look = |entry: &&&Entry| entry.fate == Fate::Open || !entry.alarms.is_empty();
    let flag = if moved.iter().any(|entry| needs_a_look(&entry)) { '!' } else { '*' };
    let (payee, narration) = match moved.as_slice() {
        [one] => (one.host.as_deref().unwrap_or(&one.counterparty).to_owned(), narration(one)),
        many => (String::new(), format!("{} payments", many.len())),
    };
    let mut text = format!("{} {flag} {} {}\n", first.day(), quoted(&payee), quoted(&narration));
    let mut note = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            text.push_str(&format!("  {name}: {}\n", quoted(value)));
        }
    };
    note("time", Some(&first.time()));
    note("network", Some(&first.network));
    note("transaction", first.transaction.as_deref());
    for entry in &moved {
        text.push_str(&postings(wallet, entry));
    }
    text.push('\n');
    text
}

fn postings(wallet: &str, entry: &Entry) -> String {
    let unit = commodity(entry.coin.as_ref().map(|coin| &*coin.symbol), &entry.network, &entry.asset);
    let amount = entry.decimal();
    let purse = format!("Assets:Tollway:{}", account(wallet));
    // Both legs in dollars where the worth is known, otherwise both in the asset itself.
    let (price, worth) = match entry.dollars() {
        Some(dollars) if entry.fate == Fate::Moved => (" @ 1 USD".to_owned(), format!("{dollars} USD")),
        _ => (String::new(), format!("{amount} {unit}")),
    };
    let lines = match (entry.kind, entry.fate) {
        (Kind::Earned, _) => {
            let from = format!("Income:Tollway:{}", account(&entry.counterparty.to_lowercase()));
            [(purse, format!("{amount} {unit}{price}")), (from, format!("-{worth}"))]
        }
        (Kind::Spent, Fate::Open) => {
            let pending = format!("{purse}:Pending");
            [(pending, format!("{amount} {unit}")), (purse, format!("-{amount} {unit}"))]
        }
        (Kind::Spent, _) => {
            // `account` never makes this name: it has a capital inside.
            let agent = entry.agent.as_deref().map_or_else(|| "NoAgent".to_owned(), account);
            let host = account(entry.host.as_deref().unwrap_or_default());
            let expense = format!("Expenses:Tollway:{agent}:{host}");
            [(expense, worth), (purse, format!("-{amount} {unit}{price}"))]
        }
    };
    let mut text = String::new();
    for (account, amount) in lines {
        text.push_str(&format!("  {account}  {amount}\n"));
        let mut note = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                text.push_str(&format!("    {name}: {}\n", quoted(value)));
            }
        };
        note("id", Some(&entry.id));
        if account.starts_with("Assets:") {
            continue;
        }
        note("agent", entry.agent.as_deref());
        note("tool", entry.tool.as_deref());
        note("url", entry.url.as_deref());
        note("counterparty", Some(&entry.counterparty));
        note("asset", Some(&entry.asset));
        note("confirmed-by", Some(entry.proof.as_str()).filter(|who| !who.is_empty()));
        note("state", Some(entry.state));
        let alarms: Vec<String> = entry.alarms.iter().map(|(code, text)| format!("{code}: {text}")).collect();
        note("alarms", Some(&*alarms.join("; ")).filter(|alarms| !alarms.is_empty()));
    }
    text
}

fn narration(entry: &Entry) -> String {
    match (&entry.method, &entry.url) {
        (Some(method), Some(url)) => format!("{method} {url}"),
        (None, Some(url)) => url.clone(),
        _ => format!("earned from {}", entry.counterparty),
    }
}

#[cfg(test)]
mod tests {
    use crate::books::double_entry::check;
    use crate::books::formats::tests::written;
    use crate::books::formats::{By, Format};

    #[test]
    fn what_is_written_is_beancount_and_balances_whatever_sellers_write() {
        for (by, transactions) in [(By::Purchase, 5), (By::Transaction, 3)] {
            let text = written(Format::Beancount, by);
            assert_eq!(check::beancount(&text), transactions, "{text}");
        }
    }
}

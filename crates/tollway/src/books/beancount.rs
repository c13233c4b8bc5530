//! The books in double entry for Beancount.
//!
//! What was spent leaves the wallet's account in its own commodity, at the price of its time, and arrives as an expense in
//! dollars; so every transaction balances to zero. What may still move rests in an account of its own. What did not move is
//! not written.

use crate::books::entry::Entry;
use crate::books::postings::{flag, is_own, moved, notes, postings};
use crate::books::text::{commodity, quoted};

/// Accounts are opened where they are first used, by Beancount's own plugin: this file is written line by line.
pub(super) fn head(wallet: &str) -> String {
    format!(
        "option \"title\" {}\noption \"operating_currency\" \"USD\"\nplugin \"beancount.plugins.auto_accounts\"\n\n",
        quoted(&format!("tollway {wallet}"))
    )
}

/// One transaction: of one line, or of several that share one on chain.
pub(super) fn transaction(wallet: &str, entries: &[Entry]) -> String {
    let moved = moved(entries);
    let Some(first) = moved.first() else { return String::new() };
    let flag = flag(&moved);
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
        text.push_str(&written(wallet, entry));
    }
    text.push('\n');
    text
}

fn written(wallet: &str, entry: &Entry) -> String {
    let unit = commodity(entry.coin.as_ref().map(|coin| &*coin.symbol), &entry.network, &entry.asset);
    let amount = format!("{} {unit}", entry.decimal());
    let mut text = String::new();
    for (account, amount) in postings(wallet, entry, &amount) {
        text.push_str(&format!("  {account}  {amount}\n"));
        let mut note = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                text.push_str(&format!("    {name}: {}\n", quoted(value)));
            }
        };
        for (name, value) in notes(entry, &account) {
            note(name, value);
        }
        if !is_own(&account) && !entry.alarms.is_empty() {
            let alarms = entry.alarms.iter().map(|(code, text)| format!("{code}: {text}"));
            note("alarms", Some(&alarms.collect::<Vec<_>>().join("; ")));
        }
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

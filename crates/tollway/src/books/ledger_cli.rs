//! The books in double entry for ledger-cli and hledger: the same accounts and postings as for Beancount.

use crate::books::entry::Entry;
use crate::books::postings::{flag, is_own, moved, notes, postings};
use crate::books::text::{commodity, plain};

/// What comes before the first transaction.
pub(super) fn head(wallet: &str) -> String {
    format!("; tollway {}\n\n", plain(wallet))
}

/// One transaction: of one line, or of several that share one on chain.
pub(super) fn transaction(wallet: &str, entries: &[Entry]) -> String {
    let moved = moved(entries);
    let Some(first) = moved.first() else { return String::new() };
    let flag = flag(&moved);
    let payee = match moved.as_slice() {
        [one] => plain(one.host.as_deref().unwrap_or(&one.counterparty)),
        many => format!("{} payments", many.len()),
    };
    let mut text = format!("{} {flag} {payee}\n", first.day().replace('-', "/"));
    note(&mut text, "time", Some(&first.time()));
    note(&mut text, "network", Some(&first.network));
    note(&mut text, "transaction", first.transaction.as_deref());
    for entry in &moved {
        text.push_str(&written(wallet, entry));
    }
    text.push('\n');
    text
}

fn written(wallet: &str, entry: &Entry) -> String {
    let unit = commodity(entry.coin.as_ref().map(|coin| &*coin.symbol), &entry.network, &entry.asset);
    // Names with digits and points in them stand in quotes.
    let amount = format!("{} \"{unit}\"", entry.decimal());
    let mut text = String::new();
    for (account, amount) in postings(wallet, entry, &amount) {
        text.push_str(&format!("    {account}  {amount}\n"));
        // Which asset it is, the commodity says.
        for (name, value) in notes(entry, &account).into_iter().filter(|(name, _)| *name != "asset") {
            note(&mut text, name, value);
        }
        for (code, _) in entry.alarms.iter().filter(|_| !is_own(&account)) {
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

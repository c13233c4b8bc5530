//! What is the same in every book of double entry: which accounts a line moves money between, and what is noted of it. How
//! that is written is for the formats.

use crate::books::entry::{Entry, Fate, Kind};
use crate::books::text::account;

/// What of `entries` is written: what did not move is not.
pub(super) fn moved(entries: &[Entry]) -> Vec<&Entry> {
    entries.iter().filter(|entry| entry.fate != Fate::Still).collect()
}

/// `!` where somebody should look.
pub(super) fn flag(moved: &[&Entry]) -> char {
    let needs_a_look = |entry: &&Entry| entry.fate == Fate::Open || !entry.alarms.is_empty();
    if moved.iter().any(needs_a_look) { '!' } else { '*' }
}

/// Both postings, each an account and what it gets; `amount` is the asset's, as the format writes it. In dollars where the worth
/// is known, otherwise both in the asset itself.
pub(super) fn postings(wallet: &str, entry: &Entry, amount: &str) -> [(String, String); 2] {
    let purse = format!("Assets:Tollway:{}", account(wallet));
    let (price, worth) = match entry.dollars() {
        Some(dollars) if entry.fate == Fate::Moved => (" @ 1 USD", format!("{dollars} USD")),
        _ => ("", amount.to_owned()),
    };
    match (entry.kind, entry.fate) {
        (Kind::Earned, _) => {
            let from = format!("Income:Tollway:{}", account(&entry.counterparty.to_lowercase()));
            [(purse, format!("{amount}{price}")), (from, format!("-{worth}"))]
        }
        (Kind::Spent, Fate::Open) => {
            [(format!("{purse}:Pending"), amount.to_owned()), (purse, format!("-{amount}"))]
        }
        (Kind::Spent, _) => {
            // `account` never makes this name: it has a capital inside.
            let agent = entry.agent.as_deref().map_or_else(|| "NoAgent".to_owned(), account);
            let host = account(entry.host.as_deref().unwrap_or_default());
            [(format!("Expenses:Tollway:{agent}:{host}"), worth), (purse, format!("-{amount}{price}"))]
        }
    }
}

/// Whether an account is the wallet's own.
pub(super) fn is_own(account: &str) -> bool {
    account.starts_with("Assets:")
}

/// What is noted of the posting on `account`, by name: of the wallet's own only which line it is.
pub(super) fn notes<'a>(entry: &'a Entry, account: &str) -> Vec<(&'static str, Option<&'a str>)> {
    let id = ("id", Some(&*entry.id));
    if is_own(account) {
        return vec![id];
    }
    vec![
        id,
        ("agent", entry.agent.as_deref()),
        ("tool", entry.tool.as_deref()),
        ("url", entry.url.as_deref()),
        ("counterparty", Some(&entry.counterparty)),
        ("asset", Some(&entry.asset)),
        ("confirmed-by", Some(entry.proof.as_str()).filter(|who| !who.is_empty())),
        ("state", Some(entry.state)),
    ]
}

//! How accounts, invoices and statements are told: lines for people, JSON for programs, CSV for spreadsheets.

use serde_json::{Value, json};
use tollway_core::extension::format_timestamp;
use tollway_core::{Amount, CREDIT_DECIMALS, UnixTime};
use tollway_seller::{Invoice, Standing, Statement};

use crate::books::text::csv;

pub(super) fn standing(standing: &Standing, currency: &str) -> (Value, String) {
    let state = match standing {
        Standing { suspended: Some(why), .. } => format!("suspended: {why}"),
        Standing { is_overdue: true, .. } => "overdue".to_owned(),
        _ => "ok".to_owned(),
    };
    let json = json!({
        "account": standing.account,
        "currency": currency,
        "owed": money(standing.owed()),
        "charged": money(standing.charged),
        "paid": money(standing.paid),
        "limit": money(standing.limit),
        "available": money(standing.available),
        "oldestUnpaid": standing.oldest_unpaid.map(day),
        "isOverdue": standing.is_overdue,
        "suspended": standing.suspended,
    });
    let oldest = standing.oldest_unpaid.map_or_else(|| "-".to_owned(), day);
    let (owed, limit, available) = (money(standing.owed()), money(standing.limit), money(standing.available));
    let account = &standing.account;
    let text = format!(
        "{account}  owes {owed} of {limit} {currency}, {available} available, unpaid since {oldest}, {state}"
    );
    (json, text)
}

pub(super) fn invoice(invoice: &Invoice, url: Option<&str>) -> (Value, String) {
    let mut json = invoice.to_json();
    let mut text = format!(
        "{} {} {}, to be paid by {}",
        invoice.id,
        money(invoice.amount),
        invoice.currency,
        day(invoice.due_at)
    );
    if let Some(url) = url {
        let url = format!("{}/{}", url.trim_end_matches('/'), invoice.id);
        text.push_str(&format!(": {url}"));
        if let Some(object) = json.as_object_mut() {
            object.insert("url".to_owned(), url.into());
        }
    }
    (json, text)
}

/// A line an entry, and the sums around them.
pub(super) fn statement(statement: &Statement) -> String {
    let Statement { account, currency, before, within, .. } = statement;
    let mut text =
        format!("Account {account}, {currency}, from {} to {}\n", day(statement.from), day(statement.to));
    text.push_str(&format!("before: charged {}, paid {}\n", money(before.0), money(before.1)));
    for entry in &statement.entries {
        let (kind, amount, about) = (entry.kind.as_str(), money(entry.amount), shown(&entry.about));
        text.push_str(&format!("{}  {kind:<7}  {amount:>14}  {about}\n", time(entry.at)));
    }
    text.push_str(&format!("within: charged {}, paid {}\n", money(within.0), money(within.1)));
    let (owed, favour) = statement.balance();
    text.push_str(&match favour {
        Amount::ZERO => format!("owed at the end: {}", money(owed)),
        favour => format!("in the account's favour at the end: {}", money(favour)),
    });
    text
}

pub(super) fn statement_csv(statement: &Statement) -> String {
    let mut text = "time,kind,amount,currency,reference,about\r\n".to_owned();
    for entry in &statement.entries {
        let fields = [
            time(entry.at),
            entry.kind.as_str().to_owned(),
            money(entry.amount),
            statement.currency.clone(),
            csv(&entry.reference),
            csv(&entry.about),
        ];
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    }
    text
}

pub(super) fn money(amount: Amount) -> String {
    amount.to_decimal(CREDIT_DECIMALS)
}

/// `2026-01-31`, in UTC.
pub(super) fn day(at: UnixTime) -> String {
    let mut text = format_timestamp(at);
    text.truncate("2026-01-31".len());
    text
}

fn time(at: UnixTime) -> String {
    format_timestamp(at).replace(".000Z", "Z")
}

/// A buyer's text, on one line.
fn shown(text: &str) -> String {
    text.chars().flat_map(char::escape_debug).take(200).collect()
}

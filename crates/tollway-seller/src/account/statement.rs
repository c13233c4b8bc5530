//! Statements: every charge and every payment of an account in some days, between what was owed before and after. A day's
//! charges are held against the sum that was kept of that day; a statement that disagrees is none.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollway_core::{Amount, CREDIT_DECIMALS, UnixTime};
use tollway_ledger::{Intent, IntentQuery};

use super::book::CreditBook;
use super::charge::{ChargeRecord, day};
use super::line::{self, AccountError};
use super::payment::PaymentRecord;
use crate::membership::bounded;

/// How many rows are read at once.
const PAGE: u32 = 500;
/// How often rows and sums are looked at again that disagree: an account that is charged all the while is stated until
/// yesterday.
const TRIES: u32 = 4;

/// What an account was charged and paid in some days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The account.
    pub account: String,
    /// The currency.
    pub currency: String,
    /// The first second.
    pub from: UnixTime,
    /// The first second after it.
    pub to: UnixTime,
    /// What had been charged before, and what had been paid.
    pub before: (Amount, Amount),
    /// What was charged within it, and what was paid.
    pub within: (Amount, Amount),
    /// The rows, the oldest first.
    pub entries: Vec<Entry>,
}

/// A row of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: UnixTime,
    /// What it is.
    pub kind: EntryKind,
    /// How much, atomic units.
    pub amount: Amount,
    /// What makes it unique: a commitment's key, or a payment's reference.
    pub reference: String,
    /// What was bought, or the invoice that was paid.
    pub about: String,
}

/// What a row of a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// The account was charged.
    Charge,
    /// The account paid.
    Payment,
}

impl Statement {
    /// What was owed at the end, and what had been paid too much: one of them is nothing.
    ///
    /// ```
    /// # use tollway_seller::Statement;
    /// fn is_settled(statement: &Statement) -> bool {
    ///     statement.balance().0.to_string() == "0"
    /// }
    /// ```
    pub fn balance(&self) -> (Amount, Amount) {
        let sum = |one: Amount, two: Amount| one.checked_add(two).unwrap_or(one);
        let (charged, paid) = (sum(self.before.0, self.within.0), sum(self.before.1, self.within.1));
        (charged.checked_sub(paid).unwrap_or(Amount::ZERO), paid.checked_sub(charged).unwrap_or(Amount::ZERO))
    }

    /// The statement as JSON.
    ///
    /// ```
    /// # use tollway_seller::Statement;
    /// fn entries(statement: &Statement) -> usize {
    ///     statement.to_json()["entries"].as_array().map_or(0, Vec::len)
    /// }
    /// ```
    pub fn to_json(&self) -> Value {
        let text = |amount: Amount| amount.to_decimal(CREDIT_DECIMALS);
        let entry = |entry: &Entry| {
            json!({
                "at": entry.at.0,
                "kind": entry.kind.as_str(),
                "amount": text(entry.amount),
                "reference": entry.reference,
                "about": entry.about,
            })
        };
        json!({
            "account": self.account,
            "currency": self.currency,
            "from": self.from.0,
            "to": self.to.0,
            "chargedBefore": text(self.before.0),
            "paidBefore": text(self.before.1),
            "charged": text(self.within.0),
            "paid": text(self.within.1),
            "owed": text(self.balance().0),
            "inFavour": text(self.balance().1),
            "entries": self.entries.iter().map(entry).collect::<Vec<_>>(),
        })
    }
}

impl EntryKind {
    /// Its name in statements.
    ///
    /// ```
    /// assert_eq!(tollway_seller::EntryKind::Charge.as_str(), "charge");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Payment => "payment",
        }
    }
}

impl CreditBook {
    /// The statement of an account from the midnight (UTC) before `from` to the one before `to`.
    ///
    /// # Errors
    /// [`AccountError`]; [`AccountError::Disagrees`] where rows and sums do.
    ///
    /// ```
    /// # use tollway_seller::{AccountError, CreditBook};
    /// # use tollway_core::UnixTime;
    /// async fn january(book: &CreditBook) -> Result<String, AccountError> {
    ///     let (from, to) = (UnixTime(1_767_225_600), UnixTime(1_769_904_000));
    ///     Ok(book.statement("acme", from, to).await?.balance().0.to_decimal(6))
    /// }
    /// ```
    pub async fn statement(
        &self,
        account: &str,
        from: UnixTime,
        to: UnixTime,
    ) -> Result<Statement, AccountError> {
        let mut tries = TRIES;
        loop {
            match self.statement_once(account, from, to).await {
                // Something was charged between the two looks.
                Err(AccountError::Disagrees { .. }) if tries > 0 => tries -= 1,
                done => return done,
            }
        }
    }

    async fn statement_once(
        &self,
        account: &str,
        from: UnixTime,
        to: UnixTime,
    ) -> Result<Statement, AccountError> {
        let id = self.account(account)?.id.clone();
        let (from, to) = (day(from), day(to));
        let (charge_days, payment_days) = (line::charge_days_of(&id), line::payment_days_of(&id));
        let (charged, charges) =
            (self.days(&charge_days, to).await?, self.rows(&line::charges_of(&id), from, to).await?);
        let (paid, payments) =
            (self.days(&payment_days, to).await?, self.rows(&line::payments_of(&id), from, to).await?);
        let mut entries = Vec::new();
        for row in &charges {
            let record = ChargeRecord::read(row)?;
            let Some(amount) = record.charged else { continue };
            let (reference, about) = (record.key, record.resource);
            entries.push(Entry { at: row.created, kind: EntryKind::Charge, amount, reference, about });
        }
        for row in &payments {
            let PaymentRecord { amount, reference, invoice } = PaymentRecord::read(row)?;
            let (kind, about) = (EntryKind::Payment, invoice.unwrap_or_default());
            entries.push(Entry { at: row.created, kind, amount, reference, about });
        }
        entries.sort_by_key(|entry| entry.at);
        agree(&id, EntryKind::Charge, &entries, &charged, from)?;
        agree(&id, EntryKind::Payment, &entries, &paid, from)?;
        let split = |days: &BTreeMap<UnixTime, Amount>| (sum(days.range(..from)), sum(days.range(from..)));
        let ((charged_before, charged), (paid_before, paid)) = (split(&charged), split(&paid));
        let currency = self.accounts().currency.clone();
        let (before, within) = ((charged_before, paid_before), (charged, paid));
        Ok(Statement { account: id, currency, from, to, before, within, entries })
    }

    /// The sums of days before `to`.
    async fn days(&self, name: &str, to: UnixTime) -> Result<BTreeMap<UnixTime, Amount>, AccountError> {
        let (mut days, mut after) = (BTreeMap::new(), None);
        loop {
            let page = bounded(self.ledger().budget_list(name, after.as_ref(), PAGE)).await?;
            days.extend(page.iter().filter(|day| day.window < to).map(|day| (day.window, day.amount)));
            match page.last() {
                Some(last) if u32::try_from(page.len()) == Ok(PAGE) => {
                    after = Some((last.name.clone(), last.window))
                }
                _ => return Ok(days),
            }
        }
    }

    async fn rows(&self, wallet: &str, from: UnixTime, to: UnixTime) -> Result<Vec<Intent>, AccountError> {
        let mut rows: Vec<Intent> = Vec::new();
        loop {
            let after = rows.last().map(|row| (row.created, row.id));
            let page = bounded(self.ledger().intent_list(IntentQuery {
                wallet: wallet.to_owned(),
                from: Some(from),
                to: Some(to),
                after,
                limit: PAGE,
                ..IntentQuery::default()
            }));
            let page = page.await?;
            let is_last = u32::try_from(page.len()) != Ok(PAGE);
            rows.extend(page);
            if is_last {
                return Ok(rows);
            }
        }
    }
}

fn sum<'a>(amounts: impl Iterator<Item = (&'a UnixTime, &'a Amount)>) -> Amount {
    amounts.fold(Amount::ZERO, |sum, (_, amount)| sum.checked_add(*amount).unwrap_or(sum))
}

/// Holds the rows of each day from `from` on against the day's sum.
fn agree(
    account: &str,
    kind: EntryKind,
    entries: &[Entry],
    sums: &BTreeMap<UnixTime, Amount>,
    from: UnixTime,
) -> Result<(), AccountError> {
    let mut rows: BTreeMap<UnixTime, Amount> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.kind == kind) {
        let of_day = rows.entry(day(entry.at)).or_insert(Amount::ZERO);
        *of_day = of_day.checked_add(entry.amount).unwrap_or(*of_day);
    }
    let days = sums.range(from..).map(|(day, _)| *day).chain(rows.keys().copied());
    for day in days {
        let of = |days: &BTreeMap<UnixTime, Amount>| days.get(&day).copied().unwrap_or(Amount::ZERO);
        if of(&rows) != of(sums) {
            let account = account.to_owned();
            return Err(AccountError::Disagrees { account, day: day.0, rows: of(&rows), sum: of(sums) });
        }
    }
    Ok(())
}

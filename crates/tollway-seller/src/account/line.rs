//! An account's line: what it owes, what it may, and whether it may be charged at all. Names of the ledger's rows are here.
//!
//! Three sums are kept beside the charges, each in the step that writes one: what is held or charged (`line`), what was
//! charged in all, and what was charged each day. What was paid is a fourth. So no two sellers on one ledger can pass the
//! line together, and how old the oldest unpaid charge is can be told without reading charges.

use tollway_core::{Amount, CREDIT_DECIMALS, ErrorCode, Refusal, UnixTime};
use tollway_ledger::{Condition, Hold, LedgerError, NewHold};

use super::book::CreditBook;
use super::charge::{DAY_SECONDS, day};
use super::file::Account;
use crate::membership::bounded;

/// How many days of charges are read at once.
const DAYS: u32 = 400;
/// Once it was found which charge is the oldest unpaid, it is taken to stay so for this long, unless something is paid.
const REMEMBER_SECONDS: u64 = 60;

/// What an account owes, and what it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The account.
    pub account: String,
    /// Its credit line.
    pub limit: Amount,
    /// What was charged in all.
    pub charged: Amount,
    /// What was paid in all.
    pub paid: Amount,
    /// What may still be charged now. What is held for requests under way is taken off.
    pub available: Amount,
    /// The day of the oldest charge that is not paid.
    pub oldest_unpaid: Option<UnixTime>,
    /// Whether it is owed for too long.
    pub is_overdue: bool,
    /// Why it is suspended, if it is.
    pub suspended: Option<String>,
}

impl Standing {
    /// What is owed: charged and not paid. Nothing, if more was paid than charged.
    ///
    /// ```
    /// # use tollway_seller::Standing;
    /// fn is_even(standing: &Standing) -> bool {
    ///     standing.owed().to_string() == "0"
    /// }
    /// ```
    pub fn owed(&self) -> Amount {
        self.charged.checked_sub(self.paid).unwrap_or(Amount::ZERO)
    }
}

/// Why an account's books cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// There is no such account.
    #[error("there is no account {0:?}")]
    Unknown(String),
    /// The payment cannot be written down as it is.
    #[error("the payment {reference:?}: {rule}")]
    Payment {
        /// What makes it unique.
        reference: String,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// The ledger did not do what it was asked.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Others keep changing what this was to change.
    #[error("account {0:?} is being changed by others: try again")]
    Busy(String),
    /// The rows do not come to what was summed up.
    #[error(
        "the charges of {account:?} on the day that begins at {day} come to {rows}, the sum of that day is {sum}"
    )]
    Disagrees {
        /// The account.
        account: String,
        /// The day, seconds.
        day: u64,
        /// What the rows come to.
        rows: Amount,
        /// What was summed up.
        sum: Amount,
    },
}

/// The scopes of an account's rows.
pub(super) fn charges_of(account: &str) -> String {
    format!("account.charges/{account}/")
}

pub(super) fn payments_of(account: &str) -> String {
    format!("account.payments/{account}/")
}

pub(super) const SUSPENDED: &str = "account.suspended";

fn line_of(account: &str) -> String {
    format!("account.line/{account}/")
}

fn charged_of(account: &str) -> String {
    format!("account.charged/{account}/")
}

fn paid_of(account: &str) -> String {
    format!("account.paid/{account}/")
}

pub(super) fn charge_days_of(account: &str) -> String {
    format!("account.charge-day/{account}/")
}

pub(super) fn payment_days_of(account: &str) -> String {
    format!("account.payment-day/{account}/")
}

/// What is held of the line for a commitment.
pub(super) fn line_hold(account: &str, amount: Amount) -> Hold {
    whole(line_of(account), amount)
}

/// What is counted when a commitment of `at` is charged.
pub(super) fn charge_counts(account: &str, amount: Amount, at: UnixTime) -> Vec<NewHold> {
    counts(charged_of(account), charge_days_of(account), amount, at)
}

/// What is counted when something is paid.
pub(super) fn payment_counts(account: &str, amount: Amount, at: UnixTime) -> Vec<NewHold> {
    counts(paid_of(account), payment_days_of(account), amount, at)
}

/// The least that is billed: a hundredth of the currency.
pub(super) fn cent() -> Amount {
    Amount::from(10_u64.pow(u32::from(CREDIT_DECIMALS) - 2))
}

/// What must not be true.
pub(super) fn not_suspended(account: &str) -> Condition {
    Condition::Absent { scope: SUSPENDED.to_owned(), name: account.to_owned() }
}

fn counts(whole_name: String, day_name: String, amount: Amount, at: UnixTime) -> Vec<NewHold> {
    // Sums without a limit: what was promised within the line is charged, and what was paid is paid.
    let limit = Amount::from_atomic(!Amount::ZERO.atomic());
    let daily = Hold { budget: day_name, window: day(at), until: UnixTime(u64::MAX), amount };
    [whole(whole_name, amount), daily].map(|hold| NewHold { hold, limit }).into()
}

fn whole(budget: String, amount: Amount) -> Hold {
    Hold { budget, window: UnixTime(0), until: UnixTime(u64::MAX), amount }
}

impl CreditBook {
    /// How an account stands.
    ///
    /// # Errors
    /// [`AccountError`].
    ///
    /// ```
    /// # use tollway_seller::{AccountError, CreditBook};
    /// async fn owes(book: &CreditBook) -> Result<String, AccountError> {
    ///     Ok(book.standing("acme").await?.owed().to_decimal(6))
    /// }
    /// ```
    pub async fn standing(&self, account: &str) -> Result<Standing, AccountError> {
        let account = self.account(account)?;
        let id = &*account.id;
        let windows = [paid_of(id), charged_of(id), line_of(id)].map(|name| (name, UnixTime(0)));
        let sums = bounded(self.ledger().budget_get(&windows)).await?;
        let sum = |at: usize| sums.get(at).copied().unwrap_or(Amount::ZERO);
        let (paid, charged, counted) = (sum(0), sum(1), sum(2));
        let most = account.limit.checked_add(paid).unwrap_or(paid);
        let oldest_unpaid = self.oldest_unpaid(id, paid).await?;
        let suspended = bounded(self.ledger().fact_get(SUSPENDED, id)).await?.map(|fact| fact.value);
        let by_file = account.is_suspended.then(|| "by the accounts file".to_owned());
        Ok(Standing {
            account: account.id.clone(),
            limit: account.limit,
            charged,
            paid,
            available: most.checked_sub(counted).unwrap_or(Amount::ZERO),
            oldest_unpaid,
            is_overdue: self.is_over(account, oldest_unpaid),
            suspended: suspended.or(by_file),
        })
    }

    /// What the account may be charged in all, if it may be charged at all. The ledger has the last word on both.
    pub(super) async fn room(&self, account: &Account) -> Result<Result<Amount, Refusal>, LedgerError> {
        let refuse = |code, rule: &str| Ok(Err(Refusal::new(code, "payload.account", rule).by(&*account.id)));
        if account.is_suspended {
            return refuse(ErrorCode::CREDIT_SUSPENDED, "is suspended");
        }
        let window = [(paid_of(&account.id), UnixTime(0))];
        let paid = bounded(self.ledger().budget_get(&window)).await?;
        let paid = paid.first().copied().unwrap_or(Amount::ZERO);
        if self.is_over(account, self.oldest_unpaid(&account.id, paid).await?) {
            return refuse(
                ErrorCode::CREDIT_OVERDUE,
                "has charges that are unpaid for too long: pay the invoice",
            );
        }
        Ok(Ok(account.limit.checked_add(paid).unwrap_or(account.limit)))
    }

    fn is_over(&self, account: &Account, oldest: Option<UnixTime>) -> bool {
        let allowed = account.max_age_days.saturating_add(1).saturating_mul(DAY_SECONDS);
        oldest.is_some_and(|day| day.plus_seconds(allowed) <= self.clock().now())
    }

    /// The day of the first charge that is not covered by what was paid, the oldest being paid first.
    async fn oldest_unpaid(&self, account: &str, paid: Amount) -> Result<Option<UnixTime>, LedgerError> {
        let now = self.clock().now();
        if let Some(known) = self.known_oldest(account, paid, now) {
            return Ok(known);
        }
        let oldest = self.find_oldest(account, paid).await?;
        // If there is none, what is charged meanwhile is of today, and not due for long.
        self.remember_oldest(account, paid, oldest, now.plus_seconds(REMEMBER_SECONDS));
        Ok(oldest)
    }

    async fn find_oldest(&self, account: &str, paid: Amount) -> Result<Option<UnixTime>, LedgerError> {
        let name = charge_days_of(account);
        let (mut after, mut sum) = (None, Amount::ZERO);
        loop {
            let days = bounded(self.ledger().budget_list(&name, after.as_ref(), DAYS)).await?;
            for day in &days {
                sum = sum.checked_add(day.amount).unwrap_or(sum);
                // Less than a cent is on no invoice yet, and so not due.
                if sum.checked_sub(paid).is_some_and(|open| open >= cent()) {
                    return Ok(Some(day.window));
                }
            }
            match days.last() {
                Some(last) if u32::try_from(days.len()) == Ok(DAYS) => {
                    after = Some((last.name.clone(), last.window));
                }
                _ => return Ok(None),
            }
        }
    }
}

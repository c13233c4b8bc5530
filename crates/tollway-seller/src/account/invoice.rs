//! Invoices: what an account was charged since the one before, to be paid until a day. An invoice is written once and never
//! changed; that it is paid is a fact beside it. Its name cannot be guessed: who has it may see and pay it.

use serde_json::json;
use sha2::{Digest, Sha256};
use tollway_core::wire::{Fields, parse_object};
use tollway_core::{Amount, UnixTime};
use tollway_ledger::{Fact, LedgerError};

use super::book::CreditBook;
use super::charge::DAY_SECONDS;
use super::line::{AccountError, cent};
use super::payment::PAID_INVOICE;
use crate::membership::bounded;

/// The ledger's secret that invoices are named by.
const SECRET: &str = "account invoices";
/// How often somebody else may have billed meanwhile.
const TRIES: u32 = 4;
/// How many invoices are read at once.
const PAGE: u32 = 200;

/// A bill for what an account was charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// Its name: `inv_`, the account, its number, and what nobody can guess.
    pub id: String,
    /// The account.
    pub account: String,
    /// Its number among the account's, from 1 on.
    pub number: u64,
    /// What is to be paid, atomic units.
    pub amount: Amount,
    /// How much of what was charged in all is billed with it. The next invoice begins there.
    pub through: Amount,
    /// The currency.
    pub currency: String,
    /// When it was made.
    pub issued_at: UnixTime,
    /// Until when it is to be paid.
    pub due_at: UnixTime,
    /// Whether it is paid.
    pub is_paid: bool,
}

impl Invoice {
    /// The invoice as JSON.
    ///
    /// ```
    /// # use tollway_seller::Invoice;
    /// fn shown(invoice: &Invoice) -> String {
    ///     invoice.to_json()["amount"].to_string()
    /// }
    /// ```
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "invoice": self.id,
            "account": self.account,
            "number": self.number,
            "amount": self.amount.to_decimal(tollway_core::CREDIT_DECIMALS),
            "amountAtomic": self.amount.to_string(),
            "chargedThroughAtomic": self.through.to_string(),
            "currency": self.currency,
            "issuedAt": self.issued_at.0,
            "dueAt": self.due_at.0,
            "isPaid": self.is_paid,
        })
    }

    fn read(fact: &Fact, is_paid: bool) -> Result<Self, LedgerError> {
        let corrupt = || LedgerError::Corrupt(format!("the fact {} {}", fact.scope, fact.name));
        let mut fields = Fields::root(parse_object(fact.value.as_bytes(), "invoice").map_err(|_| corrupt())?);
        let mut read = || {
            Ok::<_, tollway_core::wire::WireError>(Self {
                id: fields.string("invoice")?,
                account: fields.string("account")?,
                number: fields.number("number")?,
                amount: fields.amount("amountAtomic")?,
                through: fields.amount("chargedThroughAtomic")?,
                currency: fields.string("currency")?,
                issued_at: UnixTime(fields.number("issuedAt")?),
                due_at: UnixTime(fields.number("dueAt")?),
                is_paid,
            })
        };
        read().map_err(|_| corrupt())
    }
}

impl CreditBook {
    /// Bills an account for what it was charged since its last invoice, in whole cents: banks move no less, and the rest
    /// is for the next one. None if that is nothing.
    ///
    /// # Errors
    /// [`AccountError`].
    ///
    /// ```
    /// # use tollway_seller::{AccountError, CreditBook};
    /// async fn bill(book: &CreditBook) -> Result<(), AccountError> {
    ///     let invoice = book.bill("acme").await?;
    ///     assert!(book.bill("acme").await?.is_none() || invoice.is_none());
    ///     Ok(())
    /// }
    /// ```
    pub async fn bill(&self, account: &str) -> Result<Option<Invoice>, AccountError> {
        for _ in 0..TRIES {
            let last = self.invoices(account).await?.pop();
            let standing = self.standing(account).await?;
            let before = last.as_ref().map_or(Amount::ZERO, |invoice| invoice.through);
            let amount = whole_cents(standing.charged.checked_sub(before).unwrap_or(Amount::ZERO));
            if amount == Amount::ZERO {
                return Ok(None);
            }
            let number = last.map_or(1, |invoice| invoice.number.saturating_add(1));
            let invoice = self.new_invoice(account, number, amount, before).await?;
            let fact = Fact {
                scope: invoices_of(account),
                name: name_of(number),
                version: 0,
                value: invoice.to_json().to_string(),
                until: UnixTime(u64::MAX),
            };
            if bounded(self.ledger().fact_put(fact)).await? {
                return Ok(Some(invoice));
            }
        }
        Err(AccountError::Busy(account.to_owned()))
    }

    /// Bills every account whose last invoice, or first charge, is as old as its period is long. What could be billed, and
    /// the accounts that could not.
    ///
    /// ```
    /// # use tollway_seller::CreditBook;
    /// async fn each_night(book: &CreditBook) {
    ///     let (invoices, faults) = book.bill_due().await;
    ///     println!("{} invoices, {} faults", invoices.len(), faults.len());
    /// }
    /// ```
    pub async fn bill_due(&self) -> (Vec<Invoice>, Vec<(String, AccountError)>) {
        let (mut invoices, mut faults) = (Vec::new(), Vec::new());
        for account in self.accounts().iter() {
            let period = account.bill_every_days.saturating_mul(DAY_SECONDS);
            let billed = async {
                let last = self.invoices(&account.id).await?.pop().map(|invoice| invoice.issued_at);
                let since = match last {
                    Some(at) => Some(at),
                    None => self.standing(&account.id).await?.oldest_unpaid,
                };
                match since {
                    Some(since) if since.plus_seconds(period) <= self.clock().now() => {
                        self.bill(&account.id).await
                    }
                    _ => Ok(None),
                }
            };
            match billed.await {
                Ok(invoice) => invoices.extend(invoice),
                Err(error) => faults.push((account.id.clone(), error)),
            }
        }
        (invoices, faults)
    }

    /// The invoices of an account, the oldest first.
    ///
    /// # Errors
    /// [`AccountError`].
    ///
    /// ```
    /// # use tollway_seller::{AccountError, CreditBook};
    /// async fn unpaid(book: &CreditBook) -> Result<usize, AccountError> {
    ///     Ok(book.invoices("acme").await?.iter().filter(|invoice| !invoice.is_paid).count())
    /// }
    /// ```
    pub async fn invoices(&self, account: &str) -> Result<Vec<Invoice>, AccountError> {
        let scope = invoices_of(&self.account(account)?.id);
        let (mut invoices, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = bounded(self.ledger().fact_list(&scope, after.as_deref(), PAGE)).await?;
            for fact in &page {
                let invoice = Invoice::read(fact, false)?;
                let paid = bounded(self.ledger().fact_get(PAID_INVOICE, &invoice.id)).await?;
                invoices.push(Invoice { is_paid: paid.is_some(), ..invoice });
            }
            match page.last() {
                Some(last) if u32::try_from(page.len()) == Ok(PAGE) => after = Some(last.name.clone()),
                _ => return Ok(invoices),
            }
        }
    }

    /// The invoice of this name; none if there is no such one.
    ///
    /// # Errors
    /// [`AccountError`]: the ledger did not answer.
    ///
    /// ```
    /// # use tollway_seller::{AccountError, CreditBook};
    /// async fn guessed(book: &CreditBook) -> Result<bool, AccountError> {
    ///     Ok(book.invoice("inv_acme_1_00").await?.is_some())
    /// }
    /// ```
    pub async fn invoice(&self, id: &str) -> Result<Option<Invoice>, AccountError> {
        let parts = id.strip_prefix("inv_").and_then(|rest| rest.rsplit_once('_'));
        let named = parts.and_then(|(name, _)| name.rsplit_once('_'));
        let Some((account, number)) = named else { return Ok(None) };
        let (Some(account), Ok(number)) = (self.accounts().get(account), number.parse()) else {
            return Ok(None);
        };
        let fact = bounded(self.ledger().fact_get(&invoices_of(&account.id), &name_of(number))).await?;
        let Some(invoice) = fact.map(|fact| Invoice::read(&fact, false)).transpose()? else {
            return Ok(None);
        };
        // Compared by its hash: how much of a guess is right shows in no time it takes.
        if Sha256::digest(&invoice.id) != Sha256::digest(id) {
            return Ok(None);
        }
        let paid = bounded(self.ledger().fact_get(PAID_INVOICE, &invoice.id)).await?;
        Ok(Some(Invoice { is_paid: paid.is_some(), ..invoice }))
    }

    async fn new_invoice(
        &self,
        account: &str,
        number: u64,
        amount: Amount,
        before: Amount,
    ) -> Result<Invoice, AccountError> {
        let through = before.checked_add(amount).unwrap_or(before);
        let account = self.account(account)?;
        let mut fresh = [0; 32];
        getrandom::fill(&mut fresh).map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        let secret = bounded(self.ledger().secret(SECRET, fresh)).await?;
        let text = format!("{}/{number}/{through}", account.id);
        let digest = Sha256::digest([&secret, text.as_bytes()].concat());
        let tail: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let issued_at = self.clock().now();
        Ok(Invoice {
            id: format!("inv_{}_{number}_{tail}", account.id),
            account: account.id.clone(),
            number,
            amount,
            through,
            currency: self.accounts().currency.clone(),
            issued_at,
            due_at: issued_at.plus_seconds(account.due_days.saturating_mul(DAY_SECONDS)),
            is_paid: false,
        })
    }
}

fn invoices_of(account: &str) -> String {
    format!("account.invoices/{account}/")
}

fn whole_cents(amount: Amount) -> Amount {
    let cent = cent().atomic();
    Amount::from_atomic(amount.atomic() / cent * cent)
}

/// In the order of numbers.
fn name_of(number: u64) -> String {
    format!("{number:020}")
}

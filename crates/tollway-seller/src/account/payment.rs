//! What accounts pay: each payment a row, by what makes it unique, and a sum that raises the account's line in the same step.

use serde_json::json;
use sha2::{Digest, Sha256};
use tollway_core::wire::{Fields, parse_object};
use tollway_core::{Amount, UnixTime};
use tollway_ledger::{Condition, Intent, IntentId, LedgerError, NewIntent, Opened};

use super::book::CreditBook;
use super::file::MAX_MONEY;
use super::line::{self, AccountError};
use crate::membership::bounded;

/// The scope of the facts that say which invoices are paid.
pub(super) const PAID_INVOICE: &str = "account.invoice-paid";

/// The longest reference.
const MAX_REFERENCE: usize = 500;

/// What is written of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PaymentRecord {
    pub(super) amount: Amount,
    /// What makes it unique.
    pub(super) reference: String,
    /// The invoice that it is for, if it is for one.
    pub(super) invoice: Option<String>,
}

impl CreditBook {
    /// Writes down that an account has paid `amount`, atomic units. `reference` makes the payment unique: a payment with
    /// one that is known counts for nothing more. Whether it counted now.
    ///
    /// # Errors
    /// [`AccountError`]: nothing is known of it then; write it down again.
    ///
    /// ```
    /// # use tollway_seller::{AccountError, CreditBook};
    /// async fn wired(book: &CreditBook) -> Result<(), AccountError> {
    ///     assert!(book.record_payment("acme", 5_000_000.into(), "bank 2026-01-31/17", None).await?);
    ///     assert!(!book.record_payment("acme", 5_000_000.into(), "bank 2026-01-31/17", None).await?);
    ///     Ok(())
    /// }
    /// ```
    pub async fn record_payment(
        &self,
        account: &str,
        amount: Amount,
        reference: &str,
        invoice: Option<&str>,
    ) -> Result<bool, AccountError> {
        let id = &*self.account(account)?.id;
        let wrong = |rule| AccountError::Payment { reference: reference.to_owned(), rule };
        if reference.trim().is_empty() || reference.len() > MAX_REFERENCE {
            return Err(wrong("its reference must be 1 to 500 bytes long: it makes the payment unique"));
        }
        if amount == Amount::ZERO || amount > MAX_MONEY {
            return Err(wrong("its amount must be more than nothing, and at most a million millions"));
        }
        let now = self.clock().now();
        let record =
            PaymentRecord { amount, reference: reference.to_owned(), invoice: invoice.map(str::to_owned) };
        let far = UnixTime(u64::MAX);
        // True from the first payment on; a second payment of the invoice counts, and leaves it true.
        let paid = invoice.map(|invoice| Condition::EqualOrSet {
            scope: PAID_INVOICE.to_owned(),
            name: invoice.to_owned(),
            value: "paid".to_owned(),
            until: far,
        });
        let row = Intent {
            id: payment_id(id, reference),
            wallet: line::payments_of(id),
            agent: None,
            key: None,
            version: 0,
            holder: None,
            is_open: false,
            repeat_until: far,
            due: far,
            created: now,
            until: far,
            holds: Vec::new(),
            body: record.body(),
        };
        let new = NewIntent {
            intent: row,
            holds: line::payment_counts(id, amount, now),
            conditions: paid.into_iter().collect(),
            is_synced: true,
            now,
        };
        match bounded(self.ledger().intent_open(new)).await? {
            Opened::Fresh(_) => Ok(true),
            Opened::Known { intent, .. } if PaymentRecord::read(&intent)?.amount == amount => Ok(false),
            Opened::Known { .. } => Err(wrong("is written down already, with another amount")),
            Opened::OverBudget(over) => Err(LedgerError::Corrupt(format!("the sum {}", over.budget)).into()),
            Opened::Unmet(fact) => {
                Err(LedgerError::Corrupt(format!("the fact {} {}", fact.scope, fact.name)).into())
            }
        }
    }
}

impl PaymentRecord {
    pub(super) fn read(row: &Intent) -> Result<Self, LedgerError> {
        let corrupt = || LedgerError::Corrupt(format!("the payment {}", row.id));
        let mut fields = Fields::root(parse_object(row.body.as_bytes(), "payment").map_err(|_| corrupt())?);
        let mut read = || {
            let (amount, reference) = (fields.amount("amount")?, fields.string("reference")?);
            Ok::<_, tollway_core::wire::WireError>(Self {
                amount,
                reference,
                invoice: fields.optional_string("invoice")?,
            })
        };
        read().map_err(|_| corrupt())
    }

    fn body(&self) -> String {
        json!({ "amount": self.amount.to_string(), "reference": self.reference, "invoice": self.invoice })
            .to_string()
    }
}

fn payment_id(account: &str, reference: &str) -> IntentId {
    let digest = Sha256::digest(format!("account payment {account}/{reference}"));
    let mut id = [0; 16];
    id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    IntentId(id)
}

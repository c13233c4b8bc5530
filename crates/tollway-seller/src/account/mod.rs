//! Accounts on credit: scheme `batch-settlement` with nothing on a chain. Who has a credit line signs each request; what is
//! charged is written down, billed on a schedule, and paid in a stablecoin or through a bank.
//!
//! - [`Accounts`]: who has a line, how long, and by which keys (`file`).
//! - [`CreditSeller`]: the scheme as the paywall uses it, on `tollway:credit` and by the profile `cloudflare:402` (`scheme`).
//! - [`CreditBook`]: what is held, charged and paid, in the ledger (`book`, with `line`, `charge`, `payment`).
//! - [`Invoice`], [`Statement`]: what is billed, and what it consists of (`invoice`, `statement`).
//! - [`BillDesk`]: where a buyer's wallet pays an invoice (`desk`).
//!
//! What does not live here: signatures on requests (`signature`, and `tollway-core`), the payment's reservation and its
//! stored answer, which are those of every other payment.

mod bank;
mod book;
mod charge;
mod desk;
mod file;
mod invoice;
mod line;
mod payment;
mod scheme;
mod statement;

pub use bank::{BankAccount, Mandate};
pub use book::CreditBook;
pub use desk::{BillDesk, BillDeskError};
pub use file::{Account, Accounts, AccountsFault};
pub use invoice::Invoice;
pub use line::{AccountError, Standing};
pub use scheme::CreditSeller;
pub use statement::{Entry, EntryKind, Statement};

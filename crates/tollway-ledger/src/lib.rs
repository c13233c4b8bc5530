//! Durable state: what was promised, what was signed, and what became of it.
//!
//! One trait, [`Ledger`], with three stores behind it that pass one conformance suite: [`MemoryLedger`] (the reference
//! model; lives as long as the process), SQLite (one machine) and PostgreSQL (several nodes). Callers write down here
//! first and act afterwards.
//!
//! What lives here: the records, the stores, group commit, migrations. What does not: when to write which record, and
//! what a chain has to say about it. Payments are kept as the text that their scheme wrote; the ledger does not read
//! it.
//!
//! Rules that every store keeps:
//!
//! - **Unique by index.** Who comes second finds the first's row, however close the two are.
//! - **Fenced.** Each right to act carries a token or an attempt number; who lost the right can write nothing more.
//! - **All or nothing.** One call is one transaction.
//! - **Down means deny.** A call that fails has [`LedgerError`]; after it the write may or may not be in the ledger.
//! - **Time is the caller's**, in whole seconds, so that a simulation can own it. Clocks decide only how soon a dead
//!   member's work is taken over, never who may act.

mod bounded;
mod budget;
mod channel;
mod delivery;
mod error;
mod fact;
#[cfg(feature = "failpoints")]
mod failpoints;
mod intent;
mod interposed;
mod lane;
mod ledger;
mod mark;
mod member;
mod memory;
mod open;
mod purchase;
mod reservation;
mod room;
mod settlement;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
mod tables;
#[cfg(feature = "test-server")]
mod test_server;

pub use bounded::{LEDGER_DEADLINE, bounded};
pub use budget::{Budget, Hold, NewHold, OverBudget};
pub use channel::{Channel, ChannelCharge, Holder};
pub use delivery::{Delivery, DeliveryId, DeliveryResult, NewDelivery};
pub use error::LedgerError;
pub use fact::{Condition, Fact};
#[cfg(feature = "failpoints")]
pub use failpoints::kill_point;
pub use intent::{Changed, Intent, IntentChange, IntentId, IntentQuery, NewIntent, Opened};
pub use interposed::{Interposed, Interposer};
pub use lane::{LaneLease, LaneTransaction, NewTransaction, TransactionState};
pub use ledger::{LaneContents, Ledger, LedgerFuture};
pub use mark::{Marked, NewMark};
pub use member::{Member, Role};
pub use memory::MemoryLedger;
pub use open::{OpenError, file_of, open, open_to_read};
pub use purchase::Purchase;
pub use reservation::{
    Claim, Fate, Finish, Finished, NewReservation, Owed, OwedLimits, PaymentIdentifier, StoredResponse, Token,
};
pub use settlement::{
    Advance, Inserted, NewSettlement, Sent, SentResult, Settlement, SettlementId, SettlementQuery,
    SettlementState, TransactionChange,
};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use sql::DEADLINE;
#[cfg(feature = "postgres")]
pub use sql::PostgresLedger;
#[cfg(feature = "sqlite")]
pub use sql::SqliteLedger;
#[cfg(feature = "test-server")]
pub use test_server::{TestServer, own_loopback};

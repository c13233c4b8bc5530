//! What a database has to offer: connections, and one text with rows for one text with rows.

use std::sync::Arc;
use std::time::Duration;

use tollway_core::BoxFuture;

use super::spec::Dialect;
use crate::LedgerError;

/// A database.
pub(crate) trait Backend: Send + Sync + std::fmt::Debug + 'static {
    /// A connection to write with.
    type Connection: Send;

    const DIALECT: Dialect;
    /// Begins a transaction that may write, and that is on the disk when it is committed.
    const BEGIN: &'static str;
    /// Begins one that is on the disk with the next that is, at the latest.
    const BEGIN_UNSYNCED: &'static str;

    /// Starts the writer, which lives as long as anybody can call.
    fn spawn(writer: BoxFuture<'static, ()>) -> std::io::Result<()>;

    /// The first of as many numbers as the answers of one transaction need, above all that were given before.
    const ANSWER_NUMBER: &'static str;

    fn connect(&self) -> BoxFuture<'_, Result<Self::Connection, Failure>>;

    /// Runs a statement with one parameter; the first column of each row.
    fn run<'a>(
        connection: &'a mut Self::Connection,
        statement: Arc<str>,
        parameter: String,
    ) -> BoxFuture<'a, Result<Vec<String>, Failure>>;

    /// Runs statements without parameters or answers.
    fn execute<'a>(
        connection: &'a mut Self::Connection,
        statements: &'static str,
    ) -> BoxFuture<'a, Result<(), Failure>>;

    /// Whether this transaction alone may sweep until it ends.
    fn is_alone(connection: &mut Self::Connection) -> BoxFuture<'_, Result<bool, Failure>>;

    /// Runs a statement that only reads, beside the writer.
    fn read(&self, statement: Arc<str>, parameter: String) -> BoxFuture<'_, Result<Vec<String>, Failure>>;

    /// After which a call is over.
    fn deadline(&self) -> Duration;
}

/// Why a transaction was not committed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another was at the same rows: once more.
    Conflict(String),
    /// The database refused a statement. Whose, is not known: each call alone will tell.
    Refused(String),
    /// The database is down, full or too slow; whether it has committed is not known.
    Lost(String),
    /// A row that cannot be read.
    Ledger(LedgerError),
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<Failure> for LedgerError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Conflict(message) | Failure::Refused(message) | Failure::Lost(message) => {
                Self::Unavailable(message)
            }
            Failure::Ledger(error) => error,
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

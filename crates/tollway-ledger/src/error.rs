//! Why the ledger gave no answer.

/// The ledger did not do what it was asked, or did not say that it did. After a write the record may be there or not:
/// only reading it back tells.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The store is down, full, or too slow.
    #[error("the ledger is unavailable: {0}")]
    Unavailable(String),
    /// A record that this program cannot have written.
    #[error("the ledger holds a record that cannot be read: {0}")]
    Corrupt(String),
}

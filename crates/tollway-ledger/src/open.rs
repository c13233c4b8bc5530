//! From a URL to a ledger.

use std::sync::Arc;

use crate::{Ledger, MemoryLedger};

/// Why no ledger was opened. Names no password: what is shown of a URL is its scheme.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is not of a store that this program has.
    #[error("ledger: {0}")]
    Url(String),
    /// The store was written by a newer program.
    #[error("the ledger's schema is version {found}, this program knows {known}: use a newer program")]
    Newer {
        /// What is there.
        found: u64,
        /// What is known.
        known: u64,
    },
    /// The store is down, or not ours to use.
    #[error("{0}")]
    Unavailable(String),
}

/// Opens the ledger that `url` names: `memory:`, `sqlite:PATH`, or `postgres://…`. A file and its tables are made if
/// they are not there; a database on a server must be there, its tables are made.
///
/// # Errors
/// [`OpenError`] for another URL, a store that cannot be reached, or one that a newer program has written.
///
/// ```
/// use tollway_ledger::{LedgerError, open};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ledger = open("memory:").await?;
/// assert_eq!(ledger.settlement_open_count().await?, 0);
/// assert!(open("mysql://root:secret@db/x").await.is_err_and(|error| !error.to_string().contains("secret")));
/// # Ok(())
/// # }
/// ```
pub async fn open(url: &str) -> Result<Arc<dyn Ledger>, OpenError> {
    if url == "memory:" {
        return Ok(Arc::new(MemoryLedger::new()));
    }
    #[cfg(feature = "sqlite")]
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.starts_with(':') || path.contains('?') {
            return Err(OpenError::Url("sqlite: needs the path of a file".to_owned()));
        }
        return Ok(Arc::new(crate::SqliteLedger::open(path).await?));
    }
    #[cfg(feature = "postgres")]
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Arc::new(crate::PostgresLedger::connect(url).await?));
    }
    let scheme = url.split(':').next().filter(|scheme| scheme.len() < url.len()).unwrap_or_default();
    Err(OpenError::Url(format!("must be memory:, sqlite:PATH or postgres://…, not {scheme:?}")))
}

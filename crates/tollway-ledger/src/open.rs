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
    /// The store was written by an older program, and is not to be changed.
    #[error(
        "the ledger's schema is version {found}, this program's is {known}: it is brought up to date when something is \
         written to it"
    )]
    Older {
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
        return Ok(Arc::new(crate::SqliteLedger::open(file(path)?).await?));
    }
    #[cfg(feature = "postgres")]
    if is_postgres(url) {
        return Ok(Arc::new(crate::PostgresLedger::connect(url).await?));
    }
    Err(unknown(url))
}

/// Opens the ledger that `url` names to read it: nothing is made, nothing changed, and no call that writes does anything but
/// fail. None if nothing was ever written there; `memory:` is each process's own, so there is never anything.
///
/// # Errors
/// As for [`open`]; and [`OpenError::Older`], where [`open`] would change the schema.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("ledger.db");
/// let url = format!("sqlite:{}", path.display());
/// assert!(tollway_ledger::open_to_read(&url).await?.is_none() && !path.exists());
/// let written = tollway_ledger::open(&url).await?;
/// let read = tollway_ledger::open_to_read(&url).await?.unwrap();
/// assert_eq!(read.fact_get("scope", "name").await?, None);
/// # Ok(())
/// # }
/// ```
pub async fn open_to_read(url: &str) -> Result<Option<Arc<dyn Ledger>>, OpenError> {
    if url == "memory:" {
        return Ok(None);
    }
    #[cfg(feature = "sqlite")]
    if let Some(path) = url.strip_prefix("sqlite:") {
        let found = crate::SqliteLedger::open_to_read(file(path)?).await?;
        return Ok(found.map(|ledger| Arc::new(ledger) as Arc<dyn Ledger>));
    }
    #[cfg(feature = "postgres")]
    if is_postgres(url) {
        let found = crate::PostgresLedger::connect_to_read(url).await?;
        return Ok(found.map(|ledger| Arc::new(ledger) as Arc<dyn Ledger>));
    }
    Err(unknown(url))
}

#[cfg(feature = "sqlite")]
fn file(path: &str) -> Result<&str, OpenError> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.starts_with(':') || path.contains('?') {
        return Err(OpenError::Url("sqlite: needs the path of a file".to_owned()));
    }
    Ok(path)
}

#[cfg(feature = "postgres")]
fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

fn unknown(url: &str) -> OpenError {
    let scheme = url.split(':').next().filter(|scheme| scheme.len() < url.len()).unwrap_or_default();
    OpenError::Url(format!("must be memory:, sqlite:PATH or postgres://…, not {scheme:?}"))
}

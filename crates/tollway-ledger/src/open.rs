//! From a URL to a ledger.

use std::path::Path;
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
    match Place::of(url)? {
        Place::Memory => Ok(Arc::new(MemoryLedger::new())),
        #[cfg(feature = "sqlite")]
        Place::Sqlite(path) => Ok(Arc::new(crate::SqliteLedger::open(path).await?)),
        #[cfg(feature = "postgres")]
        Place::Postgres => Ok(Arc::new(crate::PostgresLedger::connect(url).await?)),
        #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
        _ => Err(unknown_store()),
    }
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
    match Place::of(url)? {
        Place::Memory => Ok(None),
        #[cfg(feature = "sqlite")]
        Place::Sqlite(path) => {
            let found = crate::SqliteLedger::open_to_read(path).await?;
            Ok(found.map(|ledger| Arc::new(ledger) as Arc<dyn Ledger>))
        }
        #[cfg(feature = "postgres")]
        Place::Postgres => {
            let found = crate::PostgresLedger::connect_to_read(url).await?;
            Ok(found.map(|ledger| Arc::new(ledger) as Arc<dyn Ledger>))
        }
        #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
        _ => Err(unknown_store()),
    }
}

#[cfg(not(all(feature = "sqlite", feature = "postgres")))]
fn unknown_store() -> OpenError {
    OpenError::Url("this program was built without that store".to_owned())
}

/// The file of the ledger that `url` names, if it is one in a file. Nothing is opened.
///
/// # Errors
/// [`OpenError::Url`] for what [`open`] would not open either.
///
/// ```
/// use std::path::Path;
/// use tollway_ledger::file_of;
/// assert_eq!(file_of("sqlite:shop.db")?, Some(Path::new("shop.db")));
/// assert_eq!(file_of("memory:")?, None);
/// assert!(file_of("shop.db").is_err());
/// # Ok::<(), tollway_ledger::OpenError>(())
/// ```
pub fn file_of(url: &str) -> Result<Option<&Path>, OpenError> {
    match Place::of(url)? {
        Place::Sqlite(path) => Ok(Some(Path::new(path))),
        Place::Memory | Place::Postgres => Ok(None),
    }
}

/// Where a ledger is.
#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    Memory,
    Sqlite(&'a str),
    Postgres,
}

impl<'a> Place<'a> {
    fn of(url: &'a str) -> Result<Self, OpenError> {
        if url == "memory:" {
            return Ok(Self::Memory);
        }
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(':') || path.contains('?') {
                return Err(OpenError::Url("sqlite: needs the path of a file".to_owned()));
            }
            return Ok(Self::Sqlite(path));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres);
        }
        // Of what may hold a password only the scheme is told.
        let rule = "must be memory:, sqlite:PATH or postgres://…";
        let scheme = url.split(':').next().filter(|scheme| scheme.len() < url.len());
        Err(OpenError::Url(match scheme {
            Some(scheme) => format!("{rule}, not {scheme}:"),
            None => rule.to_owned(),
        }))
    }
}

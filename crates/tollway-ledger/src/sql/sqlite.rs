//! SQLite: one file on one machine, for any number of processes on it.
//!
//! Write-ahead log, `synchronous = FULL`: what was answered is on the disk, whatever happens to process or machine. One
//! connection writes, with `BEGIN IMMEDIATE`: of several processes one writes at a time, the others wait. A few
//! connections read beside it; they see the last commit.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tokio::time::{Instant, sleep};
use tollway_core::BoxFuture;

use super::SqlLedger;
use super::backend::{Backend, Failure};
use super::migrate::{is_there, migrate};
use super::spec::Dialect;
use crate::{DEADLINE, OpenError};

const STEPS: [&str; 5] = [
    include_str!("../../migrations/sqlite/0001_ledger.sql"),
    include_str!("../../migrations/sqlite/0002_mark.sql"),
    include_str!("../../migrations/sqlite/0003_purchase.sql"),
    include_str!("../../migrations/sqlite/0004_wallet.sql"),
    include_str!("../../migrations/sqlite/0005_channel.sql"),
];
const TABLES: &str = "SELECT CAST(COUNT(*) AS TEXT) FROM sqlite_master WHERE name = $1";
/// How long to wait for another process: less than a call's deadline.
const BUSY_TIMEOUT: Duration = Duration::from_secs(4);
const CONNECT_PAUSE: Duration = Duration::from_millis(10);
const READERS: u32 = 2;
/// How long the log may get, in pages of 4 KiB: 32 MiB. That is read when the file is opened after a crash.
const CHECKPOINT_PAGES: u32 = 8_192;
/// What the writer may keep in memory, in pages: 6 MiB, the rows of some 15,000 channels. What it drops is still in the
/// system's memory.
const CACHE_PAGES: u32 = 1_536;
/// And a reader, which begins anew after each commit: 2 MiB.
const READER_CACHE_PAGES: u32 = 512;
const ROW_BUFFER: usize = 1_024;

/// A ledger in a file.
pub type SqliteLedger = SqlLedger<Sqlite>;

impl SqliteLedger {
    /// Opens the file, or makes it. Its writer is a task of the runtime that this is called in.
    ///
    /// # Errors
    /// [`OpenError`]: the file cannot be used, or a newer program has written it.
    ///
    /// ```
    /// use tollway_ledger::{Ledger, SqliteLedger};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("ledger.db");
    /// let ledger = SqliteLedger::open(&path).await?;
    /// assert_eq!(ledger.secret("webhook", [1; 32]).await?, [1; 32]);
    /// let again = SqliteLedger::open(&path).await?;
    /// assert_eq!(again.secret("webhook", [2; 32]).await?, [1; 32]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::with_options(options(path.as_ref())).await
    }

    /// Opens the file, which is not to grow beyond `max_pages` of 4 KiB: when it is full, nothing more is written.
    ///
    /// # Errors
    /// As for [`Self::open`].
    ///
    /// ```
    /// use tollway_ledger::{Ledger, SqliteLedger};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("ledger.db");
    /// let one_gibibyte = 262_144;
    /// let ledger = SqliteLedger::open_within(&path, one_gibibyte).await?;
    /// assert_eq!(ledger.reservation_count().await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open_within(path: impl AsRef<Path>, max_pages: u32) -> Result<Self, OpenError> {
        Self::with_options(options(path.as_ref()).pragma("max_page_count", max_pages.to_string())).await
    }

    /// Opens the file to read it, beside whoever writes it: no call changes anything. None if nothing was ever written to it.
    ///
    /// # Errors
    /// [`OpenError`]: the file cannot be used, or another version of the program has written it.
    ///
    /// ```
    /// use tollway_ledger::SqliteLedger;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("ledger.db");
    /// assert!(SqliteLedger::open_to_read(&path).await?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open_to_read(path: impl AsRef<Path>) -> Result<Option<Self>, OpenError> {
        let is_missing = path.as_ref().try_exists().map(|exists| !exists);
        if is_missing.map_err(|error| OpenError::Unavailable(format!("SQLite: {error}")))? {
            return Ok(None);
        }
        // Not to change the file takes leaving its journal as it is, too.
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .create_if_missing(false)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        let readers = SqlitePoolOptions::new().max_connections(READERS).acquire_timeout(DEADLINE);
        let backend = Sqlite { readers: readers.connect_lazy_with(options.clone()), options };
        Ok(is_there(&backend, TABLES, &STEPS).await?.then(|| Self::start(backend)))
    }

    async fn with_options(options: SqliteConnectOptions) -> Result<Self, OpenError> {
        let file = options.get_filename().display().to_string();
        let named = |error| match error {
            OpenError::Unavailable(why) => OpenError::Unavailable(format!("{file}: {why}")),
            other => other,
        };
        let readers = SqlitePoolOptions::new().max_connections(READERS).acquire_timeout(DEADLINE);
        let readers = readers.connect_lazy_with(
            options.clone().pragma("query_only", "ON").pragma("cache_size", READER_CACHE_PAGES.to_string()),
        );
        let backend = Sqlite { options, readers };
        let mut connection = backend.connect_when_free().await.map_err(|failure| {
            named(OpenError::Unavailable(crate::LedgerError::from(failure).to_string()))
        })?;
        // BEGIN IMMEDIATE is the lock.
        migrate::<Sqlite>(&mut connection, "SELECT 1", &STEPS).await.map_err(named)?;
        Ok(Self::start(backend))
    }
}

/// How to reach the file.
#[derive(Debug)]
pub struct Sqlite {
    options: SqliteConnectOptions,
    readers: SqlitePool,
}

impl Sqlite {
    /// The change to a write-ahead log waits for nobody: while others open the same file it fails at once.
    async fn connect_when_free(&self) -> Result<SqliteConnection, Failure> {
        let give_up = Instant::now() + BUSY_TIMEOUT;
        loop {
            match self.connect().await {
                Err(Failure::Conflict(_)) if Instant::now() < give_up => sleep(CONNECT_PAUSE).await,
                result => return result,
            }
        }
    }
}

impl Backend for Sqlite {
    type Connection = SqliteConnection;

    const DIALECT: Dialect = Dialect::Sqlite;
    const BEGIN: &'static str = "BEGIN IMMEDIATE";
    const ANSWER_NUMBER: &'static str = "SELECT CAST(coalesce((SELECT max(number) FROM channel_answer), 0) + 1 \
         AS TEXT) WHERE CAST($1 AS TEXT) IS NOT NULL";

    fn connect(&self) -> BoxFuture<'_, Result<SqliteConnection, Failure>> {
        Box::pin(async { self.options.connect().await.map_err(failure) })
    }

    fn run<'a>(
        connection: &'a mut SqliteConnection,
        statement: Arc<str>,
        parameter: String,
    ) -> BoxFuture<'a, Result<Vec<String>, Failure>> {
        Box::pin(async move {
            let query = sqlx::query_scalar(AssertSqlSafe(statement)).bind(parameter);
            query.fetch_all(connection).await.map_err(failure)
        })
    }

    fn execute<'a>(
        connection: &'a mut SqliteConnection,
        statements: &'static str,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(
            async move { sqlx::raw_sql(statements).execute(connection).await.map(drop).map_err(failure) },
        )
    }

    /// There is one writer at a time.
    fn is_alone(_: &mut SqliteConnection) -> BoxFuture<'_, Result<bool, Failure>> {
        Box::pin(std::future::ready(Ok(true)))
    }

    fn read(&self, statement: Arc<str>, parameter: String) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        Box::pin(async move {
            let query = sqlx::query_scalar(AssertSqlSafe(statement)).bind(parameter);
            query.fetch_all(&self.readers).await.map_err(failure)
        })
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // Rows that are written again and again are copied from the log to the file once for many times.
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        .pragma("cache_size", CACHE_PAGES.to_string())
        .pragma("temp_store", "MEMORY")
        // As many as a batch may be answered with, so that the thread that steps through them need not wait for us.
        .row_buffer_size(ROW_BUFFER)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
}

/// Sorts errors by their primary result code, the low byte.
fn failure(error: sqlx::Error) -> Failure {
    let message = format!("SQLite: {error}");
    let code = error.as_database_error().and_then(|error| i32::from_str(&error.code()?).ok());
    match code.map(|code| code & 0xff) {
        // SQLITE_BUSY, SQLITE_LOCKED.
        Some(5 | 6) => Failure::Conflict(message),
        // SQLITE_ERROR, SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH.
        Some(1 | 18 | 19 | 20) => Failure::Refused(message),
        _ => Failure::Lost(message),
    }
}

//! SQLite: one file on one machine, for any number of processes on it.
//!
//! Write-ahead log, `synchronous = FULL`: what was answered is on the disk, whatever happens to process or machine. One
//! connection writes, with `BEGIN IMMEDIATE`: of several processes one writes at a time, the others wait. A few
//! connections read beside it; they see the last commit.
//!
//! SQLite is a library that answers when it is done, and most statements are done sooner than a thread wakes up. So the
//! writer has a thread to itself and calls it there; what only reads is done where the runtime may wait.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;
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
const READERS: usize = 2;
/// How long the log may get, in pages of 4 KiB: 32 MiB. That is read when the file is opened after a crash.
const CHECKPOINT_PAGES: u32 = 8_192;
/// What the writer may keep in memory, in pages: 6 MiB, the rows of some 15,000 channels. What it drops is still in the
/// system's memory.
const CACHE_PAGES: u32 = 1_536;
/// And a reader, which begins anew after each commit: 2 MiB.
const READER_CACHE_PAGES: u32 = 512;
/// How many statements a connection keeps prepared: more than the program has.
const STATEMENTS: usize = 512;

/// A ledger in a file.
pub type SqliteLedger = SqlLedger<Sqlite>;

impl SqliteLedger {
    /// Opens the file, or makes it. Its writer is a thread of its own.
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
        Self::start_on(Sqlite::new(path.as_ref(), Access::Write { max_pages: None })).await
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
        Self::start_on(Sqlite::new(path.as_ref(), Access::Write { max_pages: Some(max_pages) })).await
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
        let backend = Sqlite::new(path.as_ref(), Access::Read);
        let is_there = is_there(&backend, TABLES, &STEPS).await?;
        is_there.then(|| Self::start_with(backend)).transpose()
    }

    /// Where the runtime may wait: another process may be at the schema.
    async fn start_on(backend: Sqlite) -> Result<Self, OpenError> {
        let unavailable = |error: &dyn std::fmt::Display| OpenError::Unavailable(error.to_string());
        let file = backend.path.display().to_string();
        let named = |error| match error {
            OpenError::Unavailable(why) => OpenError::Unavailable(format!("{file}: {why}")),
            other => other,
        };
        let runtime = tokio::runtime::Handle::current();
        let opening = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                let opened = backend.connect_when_free().await.map_err(crate::LedgerError::from);
                let mut connection = opened.map_err(|error| unavailable(&error))?;
                // BEGIN IMMEDIATE is the lock.
                migrate::<Sqlite>(&mut connection, "SELECT 1", &STEPS).await?;
                Ok(backend)
            })
        });
        let backend = opening.await.map_err(|error| unavailable(&error))?;
        Self::start_with(backend.map_err(named)?)
    }

    fn start_with(backend: Sqlite) -> Result<Self, OpenError> {
        Self::start(backend).map_err(|error| OpenError::Unavailable(format!("SQLite: {error}")))
    }
}

/// How to reach the file.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    access: Access,
    readers: Arc<Readers>,
}

/// What may be done to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Up to so many pages, if there is a limit.
    Write { max_pages: Option<u32> },
    /// Its journal stays as it is, too.
    Read,
}

/// Connections that read.
#[derive(Debug)]
struct Readers {
    path: PathBuf,
    access: Access,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Sqlite {
    fn new(path: &Path, access: Access) -> Self {
        let path = path.to_owned();
        let (places, idle) = (Arc::new(Semaphore::new(READERS)), Mutex::default());
        let readers = Arc::new(Readers { path: path.clone(), access, places, idle });
        Self { path, access, readers }
    }

    fn open(&self) -> Result<Connection, Failure> {
        open(&self.path, self.access)
    }

    /// The change to a write-ahead log waits for nobody: while others open the same file it fails at once.
    async fn connect_when_free(&self) -> Result<Connection, Failure> {
        let give_up = Instant::now() + BUSY_TIMEOUT;
        loop {
            match self.open() {
                Err(Failure::Conflict(_)) if Instant::now() < give_up => sleep(CONNECT_PAUSE).await,
                result => return result,
            }
        }
    }
}

impl Readers {
    fn read(&self, statement: &str, parameter: &str) -> Result<Vec<String>, Failure> {
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let connection = open(&self.path, self.access)?;
                connection.pragma_update(None, "query_only", true).map_err(failure)?;
                connection.pragma_update(None, "cache_size", READER_CACHE_PAGES).map_err(failure)?;
                connection
            }
        };
        let rows = rows(&connection, statement, parameter)?;
        self.idle.lock().push(connection);
        Ok(rows)
    }
}

impl Backend for Sqlite {
    type Connection = Connection;

    const DIALECT: Dialect = Dialect::Sqlite;
    const BEGIN: &'static str = "PRAGMA synchronous = FULL; BEGIN IMMEDIATE";
    /// The log is one file: who syncs it syncs all that was written to it before.
    const BEGIN_UNSYNCED: &'static str = "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE";
    const ANSWER_NUMBER: &'static str = "SELECT CAST(coalesce((SELECT max(number) FROM channel_answer), 0) + 1 \
         AS TEXT) WHERE CAST($1 AS TEXT) IS NOT NULL";

    /// On a thread of its own, which ends with the task.
    fn spawn(writer: BoxFuture<'static, ()>) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread = std::thread::Builder::new().name("tollway-ledger".to_owned());
        thread.spawn(move || runtime.block_on(writer)).map(drop)
    }

    fn connect(&self) -> BoxFuture<'_, Result<Connection, Failure>> {
        Box::pin(std::future::ready(self.open()))
    }

    fn run<'a>(
        connection: &'a mut Connection,
        statement: Arc<str>,
        parameter: String,
    ) -> BoxFuture<'a, Result<Vec<String>, Failure>> {
        Box::pin(std::future::ready(rows(connection, &statement, &parameter)))
    }

    fn execute<'a>(
        connection: &'a mut Connection,
        statements: &'static str,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(std::future::ready(connection.execute_batch(statements).map_err(failure)))
    }

    /// There is one writer at a time.
    fn is_alone(_: &mut Connection) -> BoxFuture<'_, Result<bool, Failure>> {
        Box::pin(std::future::ready(Ok(true)))
    }

    fn read(&self, statement: Arc<str>, parameter: String) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        let readers = Arc::clone(&self.readers);
        Box::pin(async move {
            let lost = |error: &dyn std::fmt::Display| Failure::Lost(format!("SQLite: {error}"));
            let reading = async {
                let places = Arc::clone(&readers.places);
                let place = places.acquire_owned().await.map_err(|error| lost(&error))?;
                let reading = tokio::task::spawn_blocking(move || {
                    // Who does not wait for it any more does not make room for another.
                    let _place = place;
                    readers.read(&statement, &parameter)
                });
                reading.await.map_err(|error| lost(&error))?
            };
            let late = |_| lost(&format_args!("no answer after {} ms", DEADLINE.as_millis()));
            tokio::time::timeout(DEADLINE, reading).await.map_err(late)?
        })
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }
}

/// A connection, set up as all are. One thread at a time uses it.
fn open(path: &Path, access: Access) -> Result<Connection, Failure> {
    let flags = match access {
        Access::Write { .. } => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failure)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failure)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    if let Access::Write { max_pages } = access {
        set_up(&connection, max_pages).map_err(failure)?;
    }
    Ok(connection)
}

fn set_up(connection: &Connection, max_pages: Option<u32>) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Rows that are written again and again are copied from the log to the file once for many times.
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", CACHE_PAGES)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    match max_pages {
        Some(max_pages) => connection.pragma_update(None, "max_page_count", max_pages),
        None => Ok(()),
    }
}

/// The first column of each row.
fn rows(connection: &Connection, statement: &str, parameter: &str) -> Result<Vec<String>, Failure> {
    let mut statement = connection.prepare_cached(statement).map_err(failure)?;
    let rows = statement.query_map([parameter], |row| row.get(0)).map_err(failure)?;
    rows.collect::<Result<_, _>>().map_err(failure)
}

/// Sorts errors by their primary result code, the low byte.
fn failure(error: rusqlite::Error) -> Failure {
    let message = format!("SQLite: {error}");
    match error.sqlite_error().map(|error| error.extended_code & 0xff) {
        // SQLITE_BUSY, SQLITE_LOCKED.
        Some(5 | 6) => Failure::Conflict(message),
        // SQLITE_ERROR, SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH.
        Some(1 | 18 | 19 | 20) => Failure::Refused(message),
        _ => Failure::Lost(message),
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, Backend, Sqlite};

    #[tokio::test]
    async fn each_transaction_is_synced_or_not_as_it_begins() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = Sqlite::new(&folder.path().join("ledger.db"), Access::Write { max_pages: None })
            .connect_when_free()
            .await
            .unwrap();
        let (normal, full) = (1, 2);
        for (begin, expected) in
            [(Sqlite::BEGIN, full), (Sqlite::BEGIN_UNSYNCED, normal), (Sqlite::BEGIN, full)]
        {
            Sqlite::execute(&mut connection, begin).await.unwrap();
            let is: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
            assert_eq!(is, expected, "{begin}");
            assert!(!connection.is_autocommit(), "a transaction has begun");
            Sqlite::execute(&mut connection, "COMMIT").await.unwrap();
        }
        let log: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(log, "wal", "one log, which is synced as a whole");
    }
}

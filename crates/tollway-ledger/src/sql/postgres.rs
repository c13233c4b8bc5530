//! PostgreSQL: several nodes on one database.
//!
//! READ COMMITTED: rows that are changed are locked first, rows that are new are guarded by their unique index, and
//! what met another transaction begins anew. One connection writes for the process, a few read beside it; each is made
//! again when it breaks. What was answered is as durable as the server's `synchronous_commit` and `fsync` make it:
//! leave both on.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tokio::time::timeout;
use tollway_core::BoxFuture;

use super::SqlLedger;
use super::backend::{Backend, Failure};
use super::migrate::{is_there, migrate};
use super::spec::Dialect;
use crate::{DEADLINE, OpenError};

const STEPS: [&str; 5] = [
    include_str!("../../migrations/postgres/0001_ledger.sql"),
    include_str!("../../migrations/postgres/0002_mark.sql"),
    include_str!("../../migrations/postgres/0003_purchase.sql"),
    include_str!("../../migrations/postgres/0004_wallet.sql"),
    include_str!("../../migrations/postgres/0005_channel.sql"),
];
const TABLES: &str = "SELECT CAST(COUNT(to_regclass($1)) AS TEXT)";
/// One process brings the schema up to date, others wait: until its transaction ends.
const LOCK: &str = "SELECT pg_advisory_xact_lock(8402402)";
/// One process sweeps, others go on without: until its transaction ends.
const SWEEPER: &str =
    "SELECT CAST(pg_try_advisory_xact_lock(8402403) AS TEXT) WHERE CAST($1 AS TEXT) IS NOT NULL";
const READERS: u32 = 4;

/// A ledger on a PostgreSQL server.
pub type PostgresLedger = SqlLedger<Postgres>;

impl PostgresLedger {
    /// Connects to the database of a URL such as `postgres://user:password@host/database`. Its writer is a task of the
    /// runtime that this is called in.
    ///
    /// # Errors
    /// [`OpenError`]: the URL is not one, the server does not answer, or a newer program has written the database.
    ///
    /// ```no_run
    /// use tollway_ledger::{Ledger, PostgresLedger};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ledger = PostgresLedger::connect("postgres://tollway@localhost/tollway").await?;
    /// println!("{} payments are open", ledger.settlement_open_count().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(url: &str) -> Result<Self, OpenError> {
        let options = options(url)?;
        let readers = PgPoolOptions::new().max_connections(READERS).acquire_timeout(DEADLINE);
        let backend = Postgres { readers: readers.connect_lazy_with(options.clone()), options };
        let opened = timeout(DEADLINE, async {
            let mut connection = backend
                .connect()
                .await
                .map_err(|failure| OpenError::Unavailable(crate::LedgerError::from(failure).to_string()))?;
            migrate::<Postgres>(&mut connection, LOCK, &STEPS).await
        });
        opened.await.map_err(|_| OpenError::Unavailable("PostgreSQL: no answer".to_owned()))??;
        Self::start_with(backend)
    }

    fn start_with(backend: Postgres) -> Result<Self, OpenError> {
        Self::start(backend).map_err(|error| OpenError::Unavailable(format!("PostgreSQL: {error}")))
    }

    /// Connects to the database of a URL to read it: no call changes anything. None if nothing was ever written to it.
    ///
    /// # Errors
    /// [`OpenError`]: the URL is not one, the server does not answer, or another version of the program has written the
    /// database.
    ///
    /// ```no_run
    /// use tollway_ledger::PostgresLedger;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let found = PostgresLedger::connect_to_read("postgres://tollway@localhost/tollway").await?;
    /// println!("{}", if found.is_some() { "there is a ledger" } else { "there is none" });
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_to_read(url: &str) -> Result<Option<Self>, OpenError> {
        let options = options(url)?.options([("default_transaction_read_only", "on")]);
        let readers = PgPoolOptions::new().max_connections(READERS).acquire_timeout(DEADLINE);
        let backend = Postgres { readers: readers.connect_lazy_with(options.clone()), options };
        let is_there = is_there(&backend, TABLES, &STEPS).await?;
        is_there.then(|| Self::start_with(backend)).transpose()
    }
}

fn options(url: &str) -> Result<PgConnectOptions, OpenError> {
    // What is wrong with it is not told: it may be the password.
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| OpenError::Url("not a URL such as postgres://user@host/database".to_owned()))?;
    Ok(options
        .application_name("tollway")
        .options([
            ("statement_timeout", "4000"),
            ("lock_timeout", "3000"),
            ("idle_in_transaction_session_timeout", "10000"),
            // Every statement is about given keys. Tables grow faster than their statistics: never scan one.
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("plan_cache_mode", "force_generic_plan"),
            ("jit", "off"),
        ])
        .disable_statement_logging())
}

/// How to reach the server.
pub struct Postgres {
    options: PgConnectOptions,
    readers: PgPool,
}

impl fmt::Debug for Postgres {
    /// Without the options: they hold the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}

impl Backend for Postgres {
    type Connection = PgConnection;

    const DIALECT: Dialect = Dialect::Postgres;
    const BEGIN: &'static str = "BEGIN ISOLATION LEVEL READ COMMITTED";
    // A transaction has at most some thousand charges, and moves at most as many answers again.
    const ANSWER_NUMBER: &'static str = "SELECT CAST(nextval('channel_answer_block') * 65536 AS TEXT) \
         WHERE CAST($1 AS TEXT) IS NOT NULL";
    /// The log is one: who waits for a place in it waits for all that is before.
    const BEGIN_UNSYNCED: &'static str =
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off";

    fn spawn(writer: BoxFuture<'static, ()>) -> std::io::Result<()> {
        tokio::spawn(writer);
        Ok(())
    }

    fn connect(&self) -> BoxFuture<'_, Result<PgConnection, Failure>> {
        Box::pin(async { self.options.connect().await.map_err(failure) })
    }

    fn run<'a>(
        connection: &'a mut PgConnection,
        statement: Arc<str>,
        parameter: String,
    ) -> BoxFuture<'a, Result<Vec<String>, Failure>> {
        Box::pin(async move {
            let query = sqlx::query_scalar(AssertSqlSafe(statement)).bind(parameter);
            query.fetch_all(connection).await.map_err(failure)
        })
    }

    fn execute<'a>(
        connection: &'a mut PgConnection,
        statements: &'static str,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(
            async move { sqlx::raw_sql(statements).execute(connection).await.map(drop).map_err(failure) },
        )
    }

    fn is_alone(connection: &mut PgConnection) -> BoxFuture<'_, Result<bool, Failure>> {
        Box::pin(async move {
            let locked = Self::run(connection, SWEEPER.into(), String::new()).await?;
            Ok(locked == ["true"])
        })
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

/// Sorts errors by their SQLSTATE.
fn failure(error: sqlx::Error) -> Failure {
    let message = format!("PostgreSQL: {error}");
    let code = error.as_database_error().and_then(|error| error.code().map(String::from));
    match code.as_deref() {
        // Serialization failure, deadlock, a lock that was not given in time.
        Some("40001" | "40P01" | "55P03") => Failure::Conflict(message),
        // Data exceptions, violated constraints, and what is wrong with a statement itself.
        Some(code) if ["22", "23", "42"].iter().any(|class| code.starts_with(class)) => {
            Failure::Refused(message)
        }
        _ => Failure::Lost(message),
    }
}

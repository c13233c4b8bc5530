//! The schema, brought to the version that this program knows: forward only, each step in one transaction.

use super::backend::{Backend, Failure};
use crate::OpenError;

const LATEST: &str = "SELECT CAST(COALESCE(MAX(version), 0) AS TEXT) FROM tollway_schema \
     WHERE CAST($1 AS TEXT) IS NOT NULL";

/// Brings the schema up to date. `steps` are the files of `migrations/`, in order; the first makes version 1. `lock`
/// keeps a second process, which opens at the same time, waiting.
pub(super) async fn migrate<B: Backend>(
    connection: &mut B::Connection,
    lock: &'static str,
    steps: &[&'static str],
) -> Result<(), OpenError> {
    B::execute(connection, B::BEGIN).await.map_err(unavailable)?;
    let result = forward::<B>(connection, lock, steps).await;
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = B::execute(connection, end).await.map_err(unavailable);
    result.and(ended)
}

/// Whether there is a schema, and it is the one that this program knows: `tables` counts tables of a name. Changes nothing.
pub(super) async fn is_there<B: Backend>(
    backend: &B,
    tables: &str,
    steps: &[&'static str],
) -> Result<bool, OpenError> {
    let known = steps.len() as u64;
    let ask = async |statement: &str, parameter: &str| {
        let found = backend.read(statement.into(), parameter.to_owned()).await.map_err(unavailable)?;
        super::reads::number(&found).map_err(|error| OpenError::Unavailable(error.to_string()))
    };
    if ask(tables, "tollway_schema").await? == 0 {
        return Ok(false);
    }
    match ask(LATEST, "").await? {
        0 => Ok(false),
        found if found > known => Err(OpenError::Newer { found, known }),
        found if found < known => Err(OpenError::Older { found, known }),
        _ => Ok(true),
    }
}

async fn forward<B: Backend>(
    connection: &mut B::Connection,
    lock: &'static str,
    steps: &[&'static str],
) -> Result<(), OpenError> {
    B::execute(connection, lock).await.map_err(unavailable)?;
    let table = "CREATE TABLE IF NOT EXISTS tollway_schema (version BIGINT PRIMARY KEY)";
    B::execute(connection, table).await.map_err(unavailable)?;
    let found = B::run(connection, LATEST.into(), String::new()).await.map_err(unavailable)?;
    let found = super::reads::number(&found).map_err(|error| OpenError::Unavailable(error.to_string()))?;
    let known = steps.len() as u64;
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    for (version, step) in (1..=known).zip(steps).filter(|(version, _)| *version > found) {
        B::execute(connection, step).await.map_err(unavailable)?;
        let note = "INSERT INTO tollway_schema (version) VALUES (CAST($1 AS BIGINT))";
        B::run(connection, note.into(), version.to_string()).await.map_err(unavailable)?;
    }
    Ok(())
}

fn unavailable(failure: Failure) -> OpenError {
    OpenError::Unavailable(crate::LedgerError::from(failure).to_string())
}

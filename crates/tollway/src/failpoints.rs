//! Kill points, for tests of real processes: at a chosen step of the ledger the process ends as in a power cut. Only
//! built with the feature `failpoints`.
//!
//! `TOLLWAY_KILL_AT=settlement_sent:before:3` kills just before the third call of `settlement_sent` reaches the ledger;
//! `after` kills once it is written, before anybody is told.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tollway_core::BoxFuture;
use tollway_ledger::{Interposer, LedgerError};

/// Where to die.
#[derive(Debug)]
pub(crate) struct KillPoint {
    operation: String,
    is_after: bool,
    /// How many calls are left to pass.
    left: AtomicU32,
}

impl KillPoint {
    /// What `TOLLWAY_KILL_AT` says, if it is set.
    pub(crate) fn from_environment() -> anyhow::Result<Option<Self>> {
        let Ok(text) = std::env::var("TOLLWAY_KILL_AT") else { return Ok(None) };
        let parts: Vec<&str> = text.split(':').collect();
        let [operation, place @ ("before" | "after"), times] = parts[..] else {
            anyhow::bail!("TOLLWAY_KILL_AT: must be operation:before:n or operation:after:n");
        };
        let times = times.parse().ok().filter(|times| *times > 0);
        let left =
            AtomicU32::new(times.ok_or_else(|| anyhow::anyhow!("TOLLWAY_KILL_AT: n is a number from 1"))?);
        Ok(Some(Self { operation: operation.to_owned(), is_after: place == "after", left }))
    }

    async fn pass(&self, operation: &str, is_after: bool) -> Result<(), LedgerError> {
        if operation == self.operation
            && is_after == self.is_after
            && self.left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            // Safe code cannot signal itself. The signal ends all threads at once.
            let _ = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

impl Interposer for KillPoint {
    fn before(&self, operation: &'static str, _: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(self.pass(operation, false))
    }

    fn after(&self, operation: &'static str, _: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(self.pass(operation, true))
    }
}

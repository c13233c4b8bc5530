//! Kill points, for tests of real processes: at a chosen step of the ledger the process ends as in a power cut. Only
//! built with the feature `failpoints`.
//!
//! `TOLLWAY_KILL_AT=settlement_sent:before:3` kills just before the third call of `settlement_sent` reaches the ledger;
//! `after` kills once it is written, before anybody is told.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tollway_core::BoxFuture;

use crate::{Interposed, Interposer, Ledger, LedgerError};

/// The environment variable that says where to die.
const VARIABLE: &str = "TOLLWAY_KILL_AT";

/// Puts the kill point of `TOLLWAY_KILL_AT` around `ledger`, if that is set.
///
/// # Errors
/// What is wrong with the variable.
///
/// ```
/// use std::sync::Arc;
/// use tollway_ledger::{Ledger, MemoryLedger, kill_point};
/// let ledger: Arc<dyn Ledger> = kill_point(Arc::new(MemoryLedger::new()))?;
/// # Ok::<(), String>(())
/// ```
pub fn kill_point(ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, String> {
    let Ok(text) = std::env::var(VARIABLE) else { return Ok(ledger) };
    Ok(Arc::new(Interposed::new(ledger, KillPoint::read(&text)?)))
}

/// Where to die.
#[derive(Debug)]
struct KillPoint {
    operation: String,
    is_after: bool,
    /// How many calls are left to pass.
    left: AtomicU32,
}

impl KillPoint {
    fn read(text: &str) -> Result<Self, String> {
        let rule = || format!("{VARIABLE}: must be operation:before:n or operation:after:n, with n from 1");
        let parts: Vec<&str> = text.split(':').collect();
        let [operation, place @ ("before" | "after"), times] = parts[..] else { return Err(rule()) };
        let times: u32 = times.parse().ok().filter(|times| *times > 0).ok_or_else(rule)?;
        Ok(Self { operation: operation.to_owned(), is_after: place == "after", left: AtomicU32::new(times) })
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

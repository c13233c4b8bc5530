//! How long a buyer or a seller waits for its ledger.

use std::time::Duration;

use crate::LedgerError;

/// The longest wait for the ledger of who waits by [`bounded`]. A store that takes longer is as good as down.
pub const LEDGER_DEADLINE: Duration = Duration::from_secs(5);

/// Waits for the ledger, for [`LEDGER_DEADLINE`] at most. Whether a write that took longer was made is not known.
///
/// # Errors
/// [`LedgerError`], the ledger's own or that it did not answer.
///
/// ```
/// use tollway_ledger::{Ledger, MemoryLedger, bounded};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(bounded(MemoryLedger::new().secret("webhook", [1; 32])).await, Ok([1; 32]));
/// # }
/// ```
pub async fn bounded<T>(asked: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
    tokio::time::timeout(LEDGER_DEADLINE, asked).await.unwrap_or_else(|_| {
        let waited = LEDGER_DEADLINE.as_secs();
        Err(LedgerError::Unavailable(format!("no answer within {waited} s")))
    })
}

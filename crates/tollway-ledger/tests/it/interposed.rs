//! What is done around a call.

use std::sync::Arc;

use parking_lot::Mutex;
use tollway_core::BoxFuture;
use tollway_ledger::{Interposed, Interposer, Ledger, LedgerError, MemoryLedger};

use crate::records::{NOW, facilitator, intent, key, opening};

/// Fails where it is told to, and remembers what it saw.
#[derive(Debug, Default)]
struct Faults {
    before: Option<&'static str>,
    after: Option<&'static str>,
    seen: Mutex<Vec<(&'static str, bool)>>,
}

fn fault(is_due: bool) -> BoxFuture<'static, Result<(), LedgerError>> {
    let result = if is_due { Err(LedgerError::Unavailable("fault".to_owned())) } else { Ok(()) };
    Box::pin(std::future::ready(result))
}

impl Interposer for Faults {
    fn before(&self, operation: &'static str, is_write: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        self.seen.lock().push((operation, is_write));
        fault(self.before == Some(operation))
    }

    fn after(&self, operation: &'static str, _: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        fault(self.after == Some(operation))
    }
}

#[tokio::test]
async fn an_error_before_writes_nothing_and_an_error_after_loses_the_answer() {
    let shared: Arc<dyn Ledger> = Arc::new(MemoryLedger::new());
    let before = Faults { before: Some("secret"), ..Faults::default() };
    let after = Faults { after: Some("secret"), ..Faults::default() };
    let lost = Err(LedgerError::Unavailable("fault".to_owned()));
    let denying = Interposed::new(Arc::clone(&shared), before);
    assert_eq!(denying.secret("a", [1; 32]).await, lost);
    assert_eq!(Interposed::new(Arc::clone(&shared), after).secret("a", [2; 32]).await, lost);
    assert_eq!(shared.secret("a", [3; 32]).await, Ok([2; 32]));
    let member = facilitator(&denying, "a").await;
    assert!(denying.member_renew(&member, NOW, NOW).await.unwrap());
    assert_eq!(denying.settlement_get(&key("k")).await, Ok(None));
    assert_eq!(denying.intent_find("w", "k").await, Ok(None));
    assert!(denying.intent_open(opening(intent(1), vec![])).await.is_ok());
    let seen = [
        ("secret", true),
        ("member_join", true),
        ("member_renew", true),
        ("settlement_get", false),
        ("intent_find", false),
        ("intent_open", true),
    ];
    assert_eq!(*denying.interposer().seen.lock(), seen);
}

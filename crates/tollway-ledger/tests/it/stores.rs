//! The stores under test, each empty.

use std::sync::Arc;

use tollway_ledger::{Ledger, MemoryLedger};

/// A store, and what keeps it alive.
pub(crate) struct Store {
    pub(crate) ledger: Arc<dyn Ledger>,
}

pub(crate) async fn memory() -> Option<Store> {
    Some(Store { ledger: Arc::new(MemoryLedger::new()) })
}

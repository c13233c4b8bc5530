//! A ledger whose calls stand still or fail when a test says so.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tollway_core::BoxFuture;
use tollway_ledger::{Interposed, Interposer, LedgerError, MemoryLedger};

/// The ledger, and what stands in its way.
pub(crate) type GatedLedger = Interposed<Arc<MemoryLedger>, Gate>;

/// What stands in the way.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    shut: Arc<watch::Sender<BTreeSet<(&'static str, bool)>>>,
    down: Arc<Mutex<BTreeSet<(&'static str, bool)>>>,
}

impl Gate {
    pub(crate) fn ledger(ledger: &MemoryLedger) -> GatedLedger {
        let gate = Self { shut: Arc::new(watch::channel(BTreeSet::new()).0), down: Arc::default() };
        Interposed::new(Arc::new(ledger.clone()), gate)
    }

    /// Calls of this method are not made.
    pub(crate) fn shut_before(&self, operation: &'static str) {
        self.shut.send_modify(|shut| {
            shut.insert((operation, true));
        });
    }

    /// Calls of this method are made, and never answered.
    pub(crate) fn shut_after(&self, operation: &'static str) {
        self.shut.send_modify(|shut| {
            shut.insert((operation, false));
        });
    }

    /// Calls of this method fail, and nothing is done.
    pub(crate) fn fail(&self, operation: &'static str) {
        self.down.lock().insert((operation, true));
    }

    /// Calls of this method are made, and answered with an error.
    pub(crate) fn fail_after(&self, operation: &'static str) {
        self.down.lock().insert((operation, false));
    }

    pub(crate) fn open(&self) {
        self.down.lock().clear();
        self.shut.send_replace(BTreeSet::new());
    }

    fn pass(&self, operation: &'static str, is_before: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        let mut shut = self.shut.subscribe();
        let is_down = self.down.lock().contains(&(operation, is_before));
        Box::pin(async move {
            let _ = shut.wait_for(|shut| !shut.contains(&(operation, is_before))).await;
            match is_down {
                true => Err(LedgerError::Unavailable("down".to_owned())),
                false => Ok(()),
            }
        })
    }
}

impl Interposer for Gate {
    fn before(&self, operation: &'static str, _: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        self.pass(operation, true)
    }

    fn after(&self, operation: &'static str, _: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        self.pass(operation, false)
    }
}

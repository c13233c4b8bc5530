//! What can happen to a process at its ledger: death before or after any write, a full disk, a lost answer, delay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tollway_core::BoxFuture;
use tollway_ledger::{Interposer, LedgerError};

use crate::dice::Dice;
use crate::process::Process;

/// How often, in ten thousand calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LedgerRisk {
    pub(crate) dies_before: u64,
    pub(crate) dies_after: u64,
    pub(crate) answer_lost: u64,
    pub(crate) delay: Duration,
}

#[derive(Debug)]
pub(crate) struct Hazard {
    pub(crate) process: Process,
    pub(crate) dice: Dice,
    pub(crate) risk: LedgerRisk,
    /// The disk of all who share the ledger.
    pub(crate) disk_full: Arc<AtomicBool>,
}

impl Interposer for Hazard {
    fn before(&self, operation: &'static str, is_write: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            self.process.live();
            tokio::time::sleep(self.dice.pause(self.risk.delay)).await;
            if is_write && self.dice.happens(self.risk.dies_before) {
                self.dice.note(&format!("{} dies before {operation}", self.process.name()));
                self.process.kill();
            }
            self.process.live();
            if is_write && self.disk_full.load(Ordering::Relaxed) {
                return Err(LedgerError::Unavailable("the disk is full".to_owned()));
            }
            Ok(())
        })
    }

    fn after(&self, operation: &'static str, is_write: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            if is_write && self.dice.happens(self.risk.dies_after) {
                self.dice.note(&format!("{} dies after {operation}", self.process.name()));
                self.process.kill();
            }
            self.process.live();
            if is_write && self.dice.happens(self.risk.answer_lost) {
                return Err(LedgerError::Unavailable("the connection broke".to_owned()));
            }
            Ok(())
        })
    }
}

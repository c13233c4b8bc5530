//! What the rest of the engine knows of a lane: its key, whether this process holds it, and whether it can pay.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alloy_primitives::{Address, B256, U256};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tollway_evm::Signer;
use tollway_ledger::LaneLease;

/// A lane, held or not.
#[derive(Debug)]
pub(crate) struct LaneState {
    signer: Arc<dyn Signer>,
    address: Address,
    lease: watch::Sender<Option<LaneLease>>,
    is_asked_back: AtomicBool,
    asked: Notify,
    is_running: AtomicBool,
    funds: Mutex<Funds>,
    /// Transactions that the lane follows until they are final.
    tracked: Mutex<HashSet<B256>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Funds {
    balance: Option<U256>,
    is_broke: bool,
    is_low: bool,
}

/// Ends with the lane's task.
#[derive(Debug)]
pub(crate) struct Running(Arc<LaneState>);

impl LaneState {
    pub(crate) fn new(signer: Arc<dyn Signer>) -> Self {
        let address = signer.address();
        Self {
            signer,
            address,
            lease: watch::channel(None).0,
            is_asked_back: AtomicBool::new(false),
            asked: Notify::new(),
            is_running: AtomicBool::new(false),
            funds: Mutex::default(),
            tracked: Mutex::default(),
        }
    }

    /// The lane's account.
    pub(crate) const fn address(&self) -> Address {
        self.address
    }

    pub(crate) fn signer(&self) -> &dyn Signer {
        self.signer.as_ref()
    }

    /// To be told of a lease.
    pub(crate) fn leases(&self) -> watch::Receiver<Option<LaneLease>> {
        self.lease.subscribe()
    }

    /// This process holds the lane from now on.
    pub(crate) fn grant(&self, lease: LaneLease) {
        self.is_asked_back.store(false, Ordering::Release);
        self.lease.send_replace(Some(lease));
    }

    /// It no longer does.
    pub(crate) fn ended(&self) {
        self.lease.send_replace(None);
    }

    /// Whether this process holds it.
    pub(crate) fn is_held(&self) -> bool {
        self.lease.borrow().is_some()
    }

    /// Whether it is to be given back when it is idle.
    pub(crate) fn is_asked_back(&self) -> bool {
        self.is_asked_back.load(Ordering::Acquire)
    }

    /// Asks for it back, or takes that back.
    pub(crate) fn ask_back(&self, asked: bool) {
        self.is_asked_back.store(asked, Ordering::Release);
        if asked {
            self.asked.notify_one();
        }
    }

    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// The lane's task lives until the answer is dropped.
    pub(crate) fn running(self: &Arc<Self>) -> Running {
        self.is_running.store(true, Ordering::Release);
        Running(Arc::clone(self))
    }

    /// Whether the lane's task lives.
    pub(crate) fn is_running(&self) -> bool {
        self.is_running.load(Ordering::Acquire)
    }

    /// Whether it can pay for a transaction, as far as is known.
    pub(crate) fn can_pay(&self) -> bool {
        !self.funds.lock().is_broke
    }

    /// What it had when it was last asked for, wei.
    pub(crate) fn balance(&self) -> Option<U256> {
        self.funds.lock().balance
    }

    pub(crate) fn set_balance(&self, balance: U256, can_pay: bool) {
        let mut funds = self.funds.lock();
        funds.balance = Some(balance);
        funds.is_broke = !can_pay;
    }

    /// A node says that it cannot pay.
    pub(crate) fn set_broke(&self) {
        self.funds.lock().is_broke = true;
    }

    /// Whether that is news.
    pub(crate) fn set_low(&self, is_low: bool) -> bool {
        let mut funds = self.funds.lock();
        std::mem::replace(&mut funds.is_low, is_low) != is_low
    }

    /// Whether its balance is below the alarm's threshold.
    pub(crate) fn is_low(&self) -> bool {
        self.funds.lock().is_low
    }

    pub(crate) fn track(&self, transaction: B256) {
        self.tracked.lock().insert(transaction);
    }

    pub(crate) fn untrack(&self, transaction: B256) {
        self.tracked.lock().remove(&transaction);
    }

    /// Whether the lane follows this transaction.
    pub(crate) fn tracks(&self, transaction: &B256) -> bool {
        self.tracked.lock().contains(transaction)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.is_running.store(false, Ordering::Release);
    }
}

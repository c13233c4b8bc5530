//! A lane: one funded key on one network, its nonce sequence, and the queue of payments it settles. It holds
//! at most one transaction that is not included, so a gap cannot arise; what queues up meanwhile goes into the
//! next transaction together.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tollway_core::Clock;
use tollway_evm::exact::{self, ExactPayment};
use tollway_evm::{Chain, ChainError, Signer};

use crate::journal::{Journal, Progress, Row};
use crate::limits::Limits;
use crate::phase::prove::{Followed, follow};
use crate::phase::send::{NotSent, send};
use crate::phase::simulate::simulate;

/// How long what a transfer takes is believed.
const GAS_AGE: Duration = Duration::from_secs(60);
/// How long suggested fees are believed.
const FEES_AGE: Duration = Duration::from_secs(1);

/// The lane's own task.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) chain: Chain,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) limits: Limits,
    clock: Arc<dyn Clock>,
    nonce: Option<u64>,
    fees: Option<(Instant, Fees)>,
    /// By asset: how much gas a transfer takes, in hundredths of what it is known to need.
    gas_shares: HashMap<Address, (Instant, u64)>,
    /// What the next transaction must offer at least, to displace one that holds its nonce.
    floor: Fees,
}

/// What a transaction offers for gas, wei.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fees {
    pub(crate) max_fee_per_gas: u128,
    pub(crate) max_priority_fee_per_gas: u128,
}

/// How the engine speaks to a lane. Dropping it ends the lane's task.
#[derive(Debug)]
pub(crate) struct LaneHandle {
    queue: mpsc::Sender<Arc<Row>>,
    queued: Arc<AtomicUsize>,
    address: Address,
    task: AbortHandle,
}

impl LaneHandle {
    /// Starts a lane on the current runtime.
    pub(crate) fn spawn(
        chain: Chain,
        signer: Arc<dyn Signer>,
        journal: &Arc<Journal>,
        clock: &Arc<dyn Clock>,
        limits: &Limits,
    ) -> Self {
        let (queue, rows) = mpsc::channel(limits.lane_queue);
        let queued = Arc::new(AtomicUsize::new(0));
        let address = signer.address();
        let lane = Lane {
            chain,
            signer,
            journal: Arc::clone(journal),
            limits: limits.clone(),
            clock: Arc::clone(clock),
            nonce: None,
            fees: None,
            gas_shares: HashMap::new(),
            floor: Fees::default(),
        };
        let task = tokio::spawn(lane.run(rows, Arc::clone(&queued))).abort_handle();
        Self { queue, queued, address, task }
    }

    /// Queues a payment. False: the queue is full, or the lane has ended.
    pub(crate) fn enqueue(&self, row: Arc<Row>) -> bool {
        self.queued.fetch_add(1, Ordering::Relaxed);
        let taken = self.queue.try_send(row).is_ok();
        if !taken {
            self.queued.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// How many payments wait.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Whether the lane's task lives.
    pub(crate) fn is_running(&self) -> bool {
        !self.task.is_finished()
    }

    /// The lane's account.
    pub(crate) const fn address(&self) -> Address {
        self.address
    }
}

impl Drop for LaneHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lane {
    async fn run(mut self, mut queue: mpsc::Receiver<Arc<Row>>, queued: Arc<AtomicUsize>) {
        let mut rows = Vec::new();
        while queue.recv_many(&mut rows, self.limits.batch).await > 0 {
            queued.fetch_sub(rows.len(), Ordering::Relaxed);
            rows.retain(|row| row.claim());
            let ready = self.ready(&rows).await;
            if !ready.is_empty() {
                self.settle(&ready).await;
            }
            rows.clear();
        }
    }

    /// Those of `rows` that would still settle now, in one transaction together. The queue took time, and what one
    /// payer's balance covers alone it may not cover twice: gas is spent on nothing that is known to fail.
    async fn ready(&self, rows: &[Arc<Row>]) -> Vec<Arc<Row>> {
        let mut open = Vec::with_capacity(rows.len());
        for row in rows {
            match exact::check_window(&row.payment, self.clock.now()) {
                Ok(()) => open.push(Arc::clone(row)),
                Err(refusal) => self.journal.finish(row, failed(refusal)),
            }
        }
        if open.is_empty() {
            return open;
        }
        let payments: Vec<&ExactPayment> = open.iter().map(|row| &row.payment).collect();
        let verdicts = match simulate(&self.chain, self.signer.address(), &payments).await {
            Ok(verdicts) => verdicts,
            Err(error) => {
                for row in &open {
                    self.journal.finish(row, Progress::abandoned(&error));
                }
                return Vec::new();
            }
        };
        let mut ready = Vec::with_capacity(open.len());
        for (row, verdict) in open.into_iter().zip(verdicts) {
            match verdict {
                Ok(()) => ready.push(row),
                Err(refusal) => self.journal.finish(&row, failed(refusal)),
            }
        }
        ready
    }

    async fn settle(&mut self, rows: &[Arc<Row>]) {
        let sent = match send(self, rows).await {
            Ok(sent) => sent,
            Err(error) => return self.give_up(rows, &error),
        };
        let (network, transaction) = (self.chain.network(), sent.signed.hash);
        tracing::info!(%network, %transaction, payments = rows.len(), "sent");
        match follow(self, rows, &sent).await {
            Followed::Used => {
                self.nonce = Some(sent.nonce + 1);
                self.floor = Fees::default();
            }
            Followed::Unknown => self.forget_nonce(),
            Followed::Free => {
                self.nonce = Some(sent.nonce);
                self.raise_floor();
            }
        }
    }

    /// Nothing is out: the payments may be presented again.
    fn give_up(&mut self, rows: &[Arc<Row>], error: &NotSent) {
        tracing::error!(network = %self.chain.network(), %error, payments = rows.len(), "not sent");
        self.forget_nonce();
        for row in rows {
            let message = "the facilitator could not send the transaction".to_owned();
            self.journal.finish(row, Progress::Abandoned { message });
        }
    }

    /// The next nonce of the lane's key.
    pub(crate) async fn next_nonce(&mut self) -> Result<u64, ChainError> {
        if let Some(nonce) = self.nonce {
            return Ok(nonce);
        }
        let nonce = self.chain.nonce(self.signer.address()).await?;
        self.nonce = Some(nonce);
        Ok(nonce)
    }

    /// Asks the node for the nonce next time.
    pub(crate) const fn forget_nonce(&mut self) {
        self.nonce = None;
    }

    /// How much gas a transfer of `asset` takes, if it was asked for lately.
    pub(crate) fn gas_share(&self, asset: Address) -> Option<u64> {
        let (at, share) = self.gas_shares.get(&asset)?;
        (at.elapsed() < GAS_AGE).then_some(*share)
    }

    /// Remembers it. Only allowlisted assets get here: there are few.
    pub(crate) fn set_gas_share(&mut self, asset: Address, share: u64) {
        self.gas_shares.insert(asset, (Instant::now(), share));
    }

    /// What to offer for gas: twice the base fee, so that it stays good for six full blocks, and the tip.
    pub(crate) async fn fees(&mut self) -> Result<Fees, NotSent> {
        if let Some((at, fees)) = self.fees
            && at.elapsed() < FEES_AGE
        {
            return Ok(fees);
        }
        let (head, tip) = tokio::join!(self.chain.head(), self.chain.priority_fee());
        let (base_fee, tip) = (head?.base_fee, tip?.max(self.floor.max_priority_fee_per_gas));
        let (limit, price) = (self.limits.max_fee_per_gas, base_fee.saturating_add(tip));
        if price > limit {
            return Err(NotSent::TooDear { price, limit });
        }
        let generous = base_fee.saturating_mul(2).saturating_add(tip).max(self.floor.max_fee_per_gas);
        let fees = Fees { max_fee_per_gas: generous.min(limit), max_priority_fee_per_gas: tip };
        self.fees = Some((Instant::now(), fees));
        Ok(fees)
    }

    /// A pool gives a nonce to another transaction only for an eighth more.
    fn raise_floor(&mut self) {
        if let Some((_, fees)) = self.fees.take() {
            let more = |fee: u128| fee.saturating_add(fee / 8).saturating_add(1);
            self.floor = Fees {
                max_fee_per_gas: more(fees.max_fee_per_gas),
                max_priority_fee_per_gas: more(fees.max_priority_fee_per_gas),
            };
        }
    }
}

fn failed(refusal: tollway_core::Refusal) -> Progress {
    Progress::Failed { message: refusal.to_string(), code: refusal.code }
}

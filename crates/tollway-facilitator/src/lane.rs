//! A lane: one funded key on one network, its nonce sequence, and the queue of payments it settles. It holds
//! at most one transaction that is not included, so a gap cannot arise; what queues up meanwhile goes into the
//! next transaction together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tollway_core::AuthorizationKey;
use tollway_evm::exact::ExactPayment;
use tollway_evm::{Chain, ChainError, Signer};

use crate::journal::{Journal, Progress};
use crate::limits::{Limits, MAX_BATCH};
use crate::phase::prove::follow;
use crate::phase::send::{NotSent, send};

/// How long suggested fees are believed.
const FEES_AGE: Duration = Duration::from_secs(1);

/// The lane's own task.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) chain: Chain,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) limits: Limits,
    nonce: Option<u64>,
    fees: Option<(Instant, Fees)>,
}

/// One payment to settle.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) key: AuthorizationKey,
    pub(crate) payment: ExactPayment,
}

/// What a transaction offers for gas, wei.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fees {
    pub(crate) max_fee_per_gas: u128,
    pub(crate) max_priority_fee_per_gas: u128,
}

/// How the engine speaks to a lane. Dropping it ends the lane's task.
#[derive(Debug)]
pub(crate) struct LaneHandle {
    queue: mpsc::Sender<Job>,
    queued: Arc<AtomicUsize>,
    address: Address,
    task: AbortHandle,
}

impl LaneHandle {
    /// Starts a lane on the current runtime.
    pub(crate) fn spawn(
        chain: Chain,
        signer: Arc<dyn Signer>,
        journal: Arc<Journal>,
        limits: Limits,
    ) -> Self {
        let (queue, jobs) = mpsc::channel(limits.lane_queue);
        let queued = Arc::new(AtomicUsize::new(0));
        let address = signer.address();
        let lane = Lane { chain, signer, journal, limits, nonce: None, fees: None };
        let task = tokio::spawn(lane.run(jobs, Arc::clone(&queued))).abort_handle();
        Self { queue, queued, address, task }
    }

    /// Queues a payment. False: the queue is full.
    pub(crate) fn enqueue(&self, job: Job) -> bool {
        self.queued.fetch_add(1, Ordering::Relaxed);
        let taken = self.queue.try_send(job).is_ok();
        if !taken {
            self.queued.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// How many payments wait.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
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
    async fn run(mut self, mut queue: mpsc::Receiver<Job>, queued: Arc<AtomicUsize>) {
        let mut jobs = Vec::new();
        while queue.recv_many(&mut jobs, self.limits.batch.clamp(1, MAX_BATCH)).await > 0 {
            queued.fetch_sub(jobs.len(), Ordering::Relaxed);
            jobs.retain(|job| self.journal.claim(&job.key));
            if !jobs.is_empty() {
                self.settle(&jobs).await;
            }
            jobs.clear();
        }
    }

    async fn settle(&mut self, jobs: &[Job]) {
        match send(self, jobs).await {
            Ok(sent) => {
                self.nonce = Some(sent.nonce + 1);
                tracing::info!(
                    network = %self.chain.network(), transaction = %sent.signed.hash,
                    payments = jobs.len(), "sent"
                );
                follow(self, jobs, &sent).await;
            }
            Err(error) => self.give_up(jobs, &error),
        }
    }

    /// Nothing is out: the payments may be presented again.
    fn give_up(&mut self, jobs: &[Job], error: &NotSent) {
        tracing::error!(network = %self.chain.network(), %error, payments = jobs.len(), "not sent");
        self.forget_nonce();
        for job in jobs {
            let message = "the facilitator could not send the transaction".to_owned();
            self.journal.append(&job.key, Progress::Abandoned { message });
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

    /// What to offer for gas: twice the base fee, so that it stays good for six full blocks, and the tip.
    pub(crate) async fn fees(&mut self) -> Result<Fees, NotSent> {
        if let Some((at, fees)) = self.fees
            && at.elapsed() < FEES_AGE
        {
            return Ok(fees);
        }
        let (head, tip) = tokio::join!(self.chain.head(), self.chain.priority_fee());
        let (base_fee, tip) = (head?.base_fee, tip?);
        let limit = self.limits.max_fee_per_gas;
        if base_fee.saturating_add(tip) > limit {
            return Err(NotSent::TooDear { base_fee, limit });
        }
        let max_fee_per_gas = base_fee.saturating_mul(2).saturating_add(tip).min(limit);
        let fees = Fees { max_fee_per_gas, max_priority_fee_per_gas: tip };
        self.fees = Some((Instant::now(), fees));
        Ok(fees)
    }
}

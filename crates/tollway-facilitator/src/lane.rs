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
use tollway_core::{Clock, ErrorCode, Refusal};
use tollway_evm::exact::{self, ExactPayment};
use tollway_evm::{Chain, ChainError, Signer};

use crate::journal::{Journal, Progress, Row};
use crate::limits::Limits;
use crate::phase::late;
use crate::phase::prove::{Followed, follow};
use crate::phase::send::{NotSent, send};
use crate::phase::simulate::simulate;

/// How often what is left of a batch is simulated again after members were dropped.
const SIMULATIONS: usize = 3;
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
    /// By asset, alone or in a batch: how much gas a transfer takes, in hundredths of what it is known to need.
    gas_shares: HashMap<(Address, bool), (Instant, u64)>,
    /// What a transaction with this nonce must offer at least, to displace one that holds it.
    floor: Option<(u64, Fees)>,
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
            floor: None,
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
                Err(refusal) => self.refuse(row, refusal).await,
            }
        }
        // What is left is judged again without those that were dropped: some of them ran in the simulation all the
        // same, and will not in the transaction.
        for _ in 0..SIMULATIONS {
            if open.is_empty() {
                break;
            }
            let payments: Vec<&ExactPayment> = open.iter().map(|row| &row.payment).collect();
            let verdicts = match simulate(&self.chain, self.signer.address(), &payments).await {
                Ok(verdicts) => verdicts,
                Err(error) => {
                    open.iter().for_each(|row| self.journal.finish(row, Progress::abandoned(&error)));
                    return Vec::new();
                }
            };
            if verdicts.iter().all(Result::is_ok) {
                return open;
            }
            let mut left = Vec::with_capacity(open.len());
            for (row, verdict) in open.into_iter().zip(verdicts) {
                match verdict {
                    Ok(_) => left.push(row),
                    Err(refusal) => self.refuse(&row, refusal).await,
                }
            }
            open = left;
        }
        open
    }

    /// A reserved payment that will not settle by this lane. It was unused when it was reserved: if it is used now,
    /// the money may be where it should be.
    async fn refuse(&self, row: &Arc<Row>, refusal: Refusal) {
        let is_used = refusal.code == ErrorCode::INVALID_EXACT_EVM_NONCE_ALREADY_USED;
        let failed = Progress::Failed { message: refusal.to_string(), code: refusal.code };
        if !is_used && row.transactions().is_empty() {
            return self.journal.finish(row, failed);
        }
        late::end(&self.chain, &self.journal, row, Some(failed), self.limits.rebroadcast_every).await;
    }

    async fn settle(&mut self, rows: &[Arc<Row>]) {
        let sent = match send(self, rows).await {
            Ok(sent) => sent,
            Err(error) => return self.give_up(rows, &error),
        };
        let (network, transaction) = (self.chain.network(), sent.signed.hash);
        tracing::info!(%network, %transaction, payments = rows.len(), "sent");
        match follow(self, rows, &sent).await {
            Followed::Used => self.nonce = Some(sent.nonce + 1),
            Followed::Unknown => self.forget_nonce(),
            Followed::Free => {
                self.nonce = Some(sent.nonce);
                self.raise_floor(sent.nonce);
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

    /// How much gas a transfer of `asset` takes, alone or in a batch, if it was asked for lately.
    pub(crate) fn gas_share(&self, asset: Address, is_batch: bool) -> Option<u64> {
        let (at, share) = self.gas_shares.get(&(asset, is_batch))?;
        (at.elapsed() < GAS_AGE).then_some(*share)
    }

    /// Remembers it. Only allowlisted assets get here: there are few.
    pub(crate) fn set_gas_share(&mut self, asset: Address, is_batch: bool, share: u64) {
        self.gas_shares.insert((asset, is_batch), (Instant::now(), share));
    }

    /// What to offer for gas with `nonce`: twice the base fee, so that it stays good for six full blocks, and the
    /// tip; more if another transaction holds the nonce.
    pub(crate) async fn fees(&mut self, nonce: u64) -> Result<Fees, NotSent> {
        let suggested = match self.fees {
            Some((at, fees)) if at.elapsed() < FEES_AGE => fees,
            _ => self.suggested_fees().await?,
        };
        let limit = self.limits.max_fee_per_gas;
        Ok(match self.floor {
            Some((held, floor)) if held == nonce => Fees {
                max_fee_per_gas: suggested.max_fee_per_gas.max(floor.max_fee_per_gas).min(limit),
                max_priority_fee_per_gas: suggested
                    .max_priority_fee_per_gas
                    .max(floor.max_priority_fee_per_gas)
                    .min(limit),
            },
            _ => suggested,
        })
    }

    async fn suggested_fees(&mut self) -> Result<Fees, NotSent> {
        let (head, tip) = tokio::join!(self.chain.head(), self.chain.priority_fee());
        let (base_fee, tip) = (head?.base_fee, tip?);
        let (limit, price) = (self.limits.max_fee_per_gas, base_fee.saturating_add(tip));
        if price > limit {
            return Err(NotSent::TooDear { price, limit });
        }
        let generous = base_fee.saturating_mul(2).saturating_add(tip);
        let fees = Fees { max_fee_per_gas: generous.min(limit), max_priority_fee_per_gas: tip };
        self.fees = Some((Instant::now(), fees));
        Ok(fees)
    }

    /// A pool gives `nonce` to another transaction only for a tenth more; an eighth is surely enough. Not without
    /// end: beyond ten times what is usual, whoever holds the nonce may keep it.
    pub(crate) fn raise_floor(&mut self, nonce: u64) {
        let Some((_, usual)) = self.fees else { return };
        let held = match self.floor {
            Some((held, floor)) if held == nonce => floor,
            _ => usual,
        };
        let more = |fee: u128, usual: u128| {
            fee.saturating_add(fee / 8).saturating_add(1).min(usual.saturating_mul(10).saturating_add(1))
        };
        let floor = Fees {
            max_fee_per_gas: more(held.max_fee_per_gas, usual.max_fee_per_gas),
            max_priority_fee_per_gas: more(held.max_priority_fee_per_gas, usual.max_priority_fee_per_gas),
        };
        self.floor = Some((nonce, floor));
    }
}

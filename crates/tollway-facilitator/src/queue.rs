//! The payments of a network that wait for a lane. All lanes of the process take from one queue: whichever is free
//! takes what is there, and what is about to be there. A lone payment is taken at once; of many that come together the
//! first does not fill a transaction, and a lane until the next block, alone.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, U256};
use metrics::gauge;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::journal::Row;
use crate::phase::send::GAS_MOST;
use crate::telemetry::LANE_QUEUE;

/// How long a lane waits for those that are about to queue, at most. Short beside any block.
const LINGER: Duration = Duration::from_millis(40);

/// A queue with a limit.
#[derive(Debug)]
pub(crate) struct Queue {
    network: String,
    rows: Mutex<VecDeque<Arc<Row>>>,
    /// Places that are taken: by rows, and by those who are about to queue one.
    taken: AtomicUsize,
    most: usize,
    wake: Notify,
    /// Payments that are being looked at and written down: they queue in a moment, or not at all.
    approaching: AtomicUsize,
    arrived: Notify,
}

/// A payment on its way to the queue, until this is dropped.
#[derive(Debug)]
pub(crate) struct Approach(Arc<Queue>);

/// Whoever was woken and leaves something, or is called away, wakes another.
struct PassOn<'a>(&'a Queue);

/// The right to queue one payment.
#[derive(Debug)]
pub(crate) struct Place {
    queue: Arc<Queue>,
    is_used: bool,
}

impl Queue {
    pub(crate) fn new(network: String, most: usize) -> Arc<Self> {
        Arc::new(Self {
            network,
            rows: Mutex::default(),
            taken: AtomicUsize::new(0),
            most,
            wake: Notify::new(),
            approaching: AtomicUsize::new(0),
            arrived: Notify::new(),
        })
    }

    /// A place, if there is one.
    pub(crate) fn place(self: &Arc<Self>) -> Option<Place> {
        let more = |taken: usize| (taken < self.most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Place { queue: Arc::clone(self), is_used: false })
    }

    /// A payment is on its way here.
    pub(crate) fn approach(self: &Arc<Self>) -> Approach {
        self.approaching.fetch_add(1, Ordering::AcqRel);
        Approach(Arc::clone(self))
    }

    /// Up to `most` payments, those that came first; waits for one, and a moment for those that come with it.
    pub(crate) async fn take(&self, most: usize, lane: Address) -> Vec<Arc<Row>> {
        let mut until = None;
        let _others = PassOn(self);
        loop {
            let mut woken = std::pin::pin!(self.wake.notified());
            woken.as_mut().enable();
            if self.rows.lock().iter().any(|row| may_send(row, lane)) {
                let until = *until.get_or_insert_with(|| Instant::now() + LINGER);
                if !self.is_worth_waiting(most, until) {
                    return self.drain(most, lane);
                }
                // Woken by the last that arrives.
                let _ = timeout_at(until, self.arrived.notified()).await;
                continue;
            }
            woken.await;
        }
    }

    fn is_worth_waiting(&self, most: usize, until: Instant) -> bool {
        self.approaching.load(Ordering::Acquire) > 0
            && self.rows.lock().len() < most
            && Instant::now() < until
    }

    /// The first that this lane may send, and what may share a transaction with it.
    fn drain(&self, most: usize, lane: Address) -> Vec<Arc<Row>> {
        let mut rows = self.rows.lock();
        let mut taken: Vec<Arc<Row>> = Vec::new();
        let mut left = VecDeque::new();
        let mut movements = HashSet::new();
        let mut gas = 0u64;
        while let Some(row) = rows.pop_front() {
            let is_company = match taken.first() {
                None => may_send(&row, lane),
                Some(first) => may_send(&row, lane) && row.may_share_with(first),
            };
            // Each is given what it may need at most.
            let needs = if row.payment.is_marked() { 0 } else { row.payment.max_gas() };
            let fits = taken.is_empty() || gas.saturating_add(needs) <= GAS_MOST;
            if is_company && fits && (row.payment.is_marked() || movements.insert(movement(&row))) {
                gas = gas.saturating_add(needs);
                taken.push(row);
            } else {
                left.push_back(row);
            }
            if taken.len() >= most || taken.first().is_some_and(|first| first.is_alone()) {
                break;
            }
        }
        left.append(&mut rows);
        *rows = left;
        drop(rows);
        self.left(taken.len());
        taken
    }

    /// Puts one back that could not be served: it comes first again.
    pub(crate) fn put_back(&self, row: Arc<Row>) {
        self.taken.fetch_add(1, Ordering::AcqRel);
        self.rows.lock().push_front(row);
        self.wake.notify_waiters();
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.rows.lock().len()
    }

    fn left(&self, count: usize) {
        let before = self.taken.fetch_sub(count, Ordering::AcqRel);
        self.measure(before.saturating_sub(count));
    }

    fn measure(&self, waiting: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; the queue is bounded")]
        gauge!(LANE_QUEUE, "network" => self.network.clone()).set(waiting as f64);
    }
}

/// Whether `lane` may send it: some calls look at who sends them.
fn may_send(row: &Row, lane: Address) -> bool {
    row.payment.sender().is_none_or(|sender| sender == lane)
}

/// What a transfer looks like in a receipt.
fn movement(row: &Row) -> (Address, Address, Address, U256) {
    let payment = &row.payment;
    (payment.asset(), payment.payer(), payment.payee(), payment.value())
}

impl Place {
    /// Queues the payment.
    pub(crate) fn put(mut self, row: Arc<Row>) {
        self.is_used = true;
        self.queue.rows.lock().push_back(row);
        self.queue.measure(self.queue.taken.load(Ordering::Acquire));
        self.queue.wake.notify_waiters();
    }
}

impl Drop for PassOn<'_> {
    fn drop(&mut self) {
        if !self.0.rows.lock().is_empty() {
            self.0.wake.notify_waiters();
        }
    }
}

impl Drop for Approach {
    fn drop(&mut self) {
        if self.0.approaching.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.arrived.notify_waiters();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_used {
            self.queue.taken.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

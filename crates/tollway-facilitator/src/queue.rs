//! The payments of a network that wait for a lane. All lanes of the process take from one queue: whichever is free
//! takes what is there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::gauge;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::journal::Row;
use crate::telemetry::LANE_QUEUE;

/// A queue with a limit.
#[derive(Debug)]
pub(crate) struct Queue {
    network: String,
    rows: Mutex<VecDeque<Arc<Row>>>,
    /// Places that are taken: by rows, and by those who are about to queue one.
    taken: AtomicUsize,
    most: usize,
    wake: Notify,
}

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
        })
    }

    /// A place, if there is one.
    pub(crate) fn place(self: &Arc<Self>) -> Option<Place> {
        let more = |taken: usize| (taken < self.most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Place { queue: Arc::clone(self), is_used: false })
    }

    /// Up to `most` payments, those that came first; waits for one.
    pub(crate) async fn take(&self, most: usize) -> Vec<Arc<Row>> {
        loop {
            let woken = self.wake.notified();
            {
                let mut rows = self.rows.lock();
                if !rows.is_empty() {
                    let count = rows.len().min(most);
                    let taken: Vec<Arc<Row>> = rows.drain(..count).collect();
                    self.left(taken.len());
                    if !rows.is_empty() {
                        self.wake.notify_one();
                    }
                    return taken;
                }
            }
            woken.await;
        }
    }

    /// Puts one back that could not be served: it comes first again.
    pub(crate) fn put_back(&self, row: Arc<Row>) {
        self.taken.fetch_add(1, Ordering::AcqRel);
        self.rows.lock().push_front(row);
        self.wake.notify_one();
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

impl Place {
    /// Queues the payment.
    pub(crate) fn put(mut self, row: Arc<Row>) {
        self.is_used = true;
        self.queue.rows.lock().push_back(row);
        self.queue.measure(self.queue.taken.load(Ordering::Acquire));
        self.queue.wake.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_used {
            self.queue.taken.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

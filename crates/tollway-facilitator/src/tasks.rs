//! The engine's background work: none of it outlives the engine.

use std::future::Future;

use parking_lot::Mutex;
use tokio::task::JoinSet;

/// Every task the engine has started. They end when [`Tasks::abort_all`] is called or this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    running: Mutex<Option<JoinSet<()>>>,
    /// After the end nothing new is begun.
    ended: std::sync::atomic::AtomicBool,
}

impl Tasks {
    /// Starts a task on the current runtime. Nothing is started after the end.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running.lock();
        if self.ended.load(std::sync::atomic::Ordering::Acquire) {
            return;
        }
        let tasks = running.get_or_insert_with(JoinSet::new);
        // What has ended leaves its place.
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a task of the engine failed");
            }
        }
        tasks.spawn(task);
    }

    /// Ends every task.
    pub(crate) fn abort_all(&self) {
        let running = {
            let mut running = self.running.lock();
            self.ended.store(true, std::sync::atomic::Ordering::Release);
            running.take()
        };
        drop(running);
    }
}

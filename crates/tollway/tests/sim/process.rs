//! A process that can die: from then on nothing it asks for is answered, and nothing it does reaches anybody. Its tasks
//! stand still for ever, which is what a dead process does.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;

/// One life of one process. Cheap to clone; clones are the same life.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    name: Arc<str>,
    dead: watch::Sender<bool>,
}

impl Process {
    pub(crate) fn start(name: &str) -> Self {
        Self { name: name.into(), dead: watch::channel(false).0 }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn kill(&self) {
        self.dead.send_replace(true);
    }

    pub(crate) fn is_dead(&self) -> bool {
        *self.dead.borrow()
    }

    /// Goes on only while it lives.
    pub(crate) async fn live(&self) {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    /// Ready once it is dead.
    pub(crate) async fn death(&self) {
        let mut dead = self.dead.subscribe();
        let gone = dead.wait_for(|dead| *dead).await;
        assert!(gone.is_ok(), "the sender is ours");
    }

    /// The answer of work that this process does for another; none if it dies first.
    pub(crate) async fn serve<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.death() => None,
            answer = work => Some(answer),
        }
    }
}

//! A process that can die: from then on nothing it does reaches anybody. Its tasks end at the next thing they ask for.

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

    /// Goes on only while it lives: the task of a dead process ends where it stands.
    pub(crate) fn live(&self) {
        if self.is_dead() {
            std::panic::resume_unwind(Box::new("dead"));
        }
    }

    /// Ready once it is dead.
    pub(crate) async fn death(&self) {
        let mut dead = self.dead.subscribe();
        let gone = dead.wait_for(|dead| *dead).await;
        assert!(gone.is_ok(), "the sender is ours");
    }

    /// The answer of work that this process does for another; none if it dies first. Who asks and hangs up ends the work.
    pub(crate) async fn serve<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let mut work = Hangup(tokio::spawn(work));
        tokio::select! {
            biased;
            () = self.death() => None,
            answer = &mut work.0 => match answer {
                Ok(answer) => Some(answer),
                Err(_) if self.is_dead() => None,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
        }
    }
}

struct Hangup<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Hangup<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

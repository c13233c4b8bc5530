//! What a paywall does beside serving: staying a member of its ledger, settling what is owed, forgetting what is over,
//! asking for prices. It ends with the paywall.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::channel::record::SCOPE;
use crate::membership::{HEARTBEAT, bounded};
use crate::paywall::Core;
use crate::watch::Watches;
use crate::{background, escrow};

/// How often debts that are due are looked for.
const OWED_EVERY: Duration = Duration::from_secs(2);
/// How often the ledger forgets what is over, and how much at most each time.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
const SWEEP_LIMIT: u32 = 1_000;

/// How often channels that are due are looked for, and how often a page of all of them is seen.
const CLAIM_EVERY: Duration = Duration::from_secs(5);
const SEE_EVERY: Duration = Duration::from_secs(30);

/// The tasks of one paywall.
#[derive(Debug)]
pub(crate) struct Keeper(Vec<JoinHandle<()>>);

impl Keeper {
    pub(crate) fn start(core: &Arc<Core>) -> Self {
        // At once: another process may have left debts when it ended.
        let settle = each(OWED_EVERY, core, |core| async move {
            background::take_due(&core).await;
            escrow::take_due(&core).await;
        });
        let beat = each(HEARTBEAT, core, |core| async move { core.reservations.membership.renew().await });
        let sweep = each(SWEEP_EVERY, core, |core| async move { sweep(&core).await });
        let mut tasks = vec![tokio::spawn(beat), tokio::spawn(settle), tokio::spawn(sweep)];
        if core.claims.is_at_work() {
            let claim = each(CLAIM_EVERY, core, |core| async move { claim(&core).await });
            let see = each(SEE_EVERY, core, |core| async move { see(&core).await });
            tasks.extend([tokio::spawn(claim), tokio::spawn(see)]);
        }
        tasks.extend(Watches::tasks(core).into_iter().map(tokio::spawn));
        Self(tasks)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Does `chore` again and again, for as long as there is a paywall.
fn each<F, Done>(pause: Duration, core: &Arc<Core>, chore: F) -> impl Future<Output = ()> + Send + 'static
where
    F: Fn(Arc<Core>) -> Done + Send + 'static,
    Done: Future<Output = ()> + Send,
{
    let core: Weak<Core> = Arc::downgrade(core);
    async move {
        while let Some(core) = core.upgrade() {
            chore(core).await;
            tokio::time::sleep(pause).await;
        }
    }
}

/// Claims what is due on channels.
async fn claim(core: &Core) {
    if core.reservations.membership.member().await.is_none() {
        return;
    }
    if let Err(error) = core.claims.run_due().await {
        tracing::warn!(%error, "channels that are due cannot be read");
    }
}

/// Sees some of all channels, due or not.
async fn see(core: &Core) {
    if core.reservations.membership.member().await.is_some()
        && let Err(error) = core.claims.sweep_page().await
    {
        tracing::warn!(%error, "channels cannot be read");
    }
}

async fn sweep(core: &Core) {
    sweep_marks(core).await;
    sweep_purchases(core).await;
    let swept = core.reservations.ledger().reservation_sweep(core.clock.now(), SWEEP_LIMIT);
    match bounded(swept).await {
        Ok(0) => {}
        Ok(count) => tracing::debug!(count, "reservations that are over are forgotten"),
        Err(error) => tracing::warn!(%error, "the ledger does not sweep"),
    }
}

/// Forgets payments with which nothing can happen any more.
async fn sweep_purchases(core: &Core) {
    let swept = core.reservations.ledger().purchase_sweep(core.clock.now(), SWEEP_LIMIT);
    if let Err(error) = bounded(swept).await {
        tracing::warn!(%error, "the ledger does not sweep purchases");
    }
}

/// Forgets what was bought long ago, and counts the rest: the count is what capacity is held against.
async fn sweep_marks(core: &Core) {
    let ledger = core.reservations.ledger();
    if let Err(error) = bounded(ledger.mark_sweep(core.clock.now(), SWEEP_LIMIT)).await {
        tracing::warn!(%error, "the ledger does not sweep marks");
    }
    if let Ok(count) = bounded(ledger.mark_count()).await {
        core.marks.store(count, Ordering::Relaxed);
    }
    if let Ok(count) = bounded(ledger.channel_count(SCOPE)).await {
        core.channels.counted(count);
    }
}

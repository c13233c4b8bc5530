//! What a wallet does beside buying: staying a member of its ledger, asking nodes what became of payments, forgetting what
//! is over. It ends with the wallet.
//!
//! It presents nothing: nobody would read the answer, and a seller may give it once only. Who wants it asks again.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::intent::book::{Book, is_callers, turn_of};
use crate::intent::member::{HEARTBEAT, bounded};
use crate::intent::reconcile::reconcile;
use crate::intent::record::IntentRecord;
use crate::intent::work::Work;

/// How often purchases that are due are looked for, and how many at most.
const DUE_EVERY: Duration = Duration::from_secs(2);
const DUE_LIMIT: u32 = 32;
/// Who takes one and dies leaves it to others after this.
const RETRY_SECONDS: u64 = 120;
const SWEEP_EVERY: Duration = Duration::from_secs(30);
const SWEEP_LIMIT: u32 = 1_000;
/// How long a window of a budget is kept after its end, for clocks that differ.
const WINDOW_MARGIN_SECONDS: u64 = 24 * 3600;

/// The tasks of one wallet.
#[derive(Debug)]
pub(crate) struct Keeper(Vec<JoinHandle<()>>);

impl Keeper {
    pub(crate) fn start(book: &Arc<Book>) -> Self {
        let beat = each(HEARTBEAT, book, |book| async move {
            if book.membership.has_joined()
                && let Err(error) = book.membership.renew().await
            {
                tracing::error!(%error, "the ledger does not renew this wallet's membership");
            }
        });
        let due = each(DUE_EVERY, book, |book| async move { take_due(&book).await });
        let sweep = each(SWEEP_EVERY, book, |book| async move { sweep(&book).await });
        Self(vec![tokio::spawn(beat), tokio::spawn(due), tokio::spawn(sweep)])
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Does `chore` again and again, for as long as there is a wallet.
fn each<F, Done>(pause: Duration, book: &Arc<Book>, chore: F) -> impl Future<Output = ()> + Send + 'static
where
    F: Fn(Arc<Book>) -> Done + Send + 'static,
    Done: Future<Output = ()> + Send,
{
    let book: Weak<Book> = Arc::downgrade(book);
    async move {
        loop {
            tokio::time::sleep(pause).await;
            let Some(book) = book.upgrade() else { return };
            chore(book).await;
        }
    }
}

/// Looks at what is due.
async fn take_due(book: &Arc<Book>) {
    if book.witnesses.is_empty() || !book.membership.has_joined() {
        return;
    }
    let Ok(member) = book.membership.member().await else { return };
    let now = book.clock.now();
    let retry_at = now.plus_seconds(RETRY_SECONDS);
    let due = match bounded(book.ledger.intent_due(&book.wallet, &member, now, retry_at, DUE_LIMIT)).await {
        Ok(due) => due,
        Err(error) => return tracing::warn!(%error, "the ledger does not tell which purchases are due"),
    };
    for intent in due {
        // Whoever is at it here writes it down.
        let Some((turn, _)) = book.turns.take(&turn_of(&intent), Instant::now()).await else { continue };
        let Some(record) = IntentRecord::read(&intent) else { continue };
        let is_callers = is_callers(&intent);
        let work = Box::new(Work::new(Arc::clone(book), intent, record, is_callers, Some(turn)));
        if let Err(error) = reconcile(book, work).await {
            tracing::warn!(%error, "what the chain says of a purchase is not written down");
        }
    }
}

async fn sweep(book: &Book) {
    let now = book.clock.now();
    let ledger = &book.ledger;
    let ended = tollway_core::UnixTime(now.0.saturating_sub(WINDOW_MARGIN_SECONDS));
    let swept = async {
        bounded(ledger.intent_sweep(now, SWEEP_LIMIT)).await?;
        bounded(ledger.budget_sweep(ended, SWEEP_LIMIT)).await?;
        bounded(ledger.fact_sweep(now, SWEEP_LIMIT)).await?;
        bounded(ledger.intent_count(&book.wallet)).await
    };
    match swept.await {
        Ok(count) => book.count.store(count, Ordering::Relaxed),
        Err(error) => tracing::warn!(%error, "the ledger does not sweep"),
    }
}

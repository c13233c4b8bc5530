//! What became of promises: from the channel's row to the purchases that they were made for.

use std::sync::Arc;

use tokio::time::Instant;
use tollway_core::Amount;
use tollway_ledger::{IntentId, LedgerError};

use crate::channel::lane::{Lane, find};
use crate::channel::record::ChannelRecord;
use crate::intent::book::Book;
use crate::intent::reconcile::{Verdict, work_on};
use crate::intent::work::Work;

/// What the channel knows of one purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nobody has said.
    Open,
    Charged(Amount),
    /// It was not charged, and cannot be: the sum that it was promised upon has been outrun.
    Dead,
}

impl ChannelRecord {
    /// What became of a purchase.
    pub(crate) fn fate(&self, intent: IntentId) -> Fate {
        match self.promise_of(intent).map(|promise| promise.charged) {
            Some(Some(charged)) if charged == Amount::ZERO => Fate::Dead,
            Some(Some(charged)) => Fate::Charged(charged),
            Some(None) | None => Fate::Open,
        }
    }
}

impl Lane {
    /// Tells the other purchases on this channel what became of them, and forgets what they know.
    pub(crate) async fn tell(&mut self, except: Option<IntentId>) {
        let known: Vec<(IntentId, Amount)> = self
            .record
            .promises
            .iter()
            .filter(|promise| Some(promise.intent) != except)
            .filter_map(|promise| Some((promise.intent, promise.charged?)))
            .collect();
        for (intent, charged) in known {
            if tell_one(self.book(), intent, charged).await.unwrap_or(false) {
                self.record.promises.retain(|promise| promise.intent != intent);
            }
        }
    }
}

/// Whether the purchase knows now, or is over without it.
async fn tell_one(book: &Arc<Book>, intent: IntentId, charged: Amount) -> Result<bool, LedgerError> {
    if let Some(mut work) = work_on(book, intent, Instant::now()).await? {
        match charged == Amount::ZERO {
            true => work.dead("the channel has gone on without it"),
            false => work.charged(charged),
        }
        work.leave().await;
        return Ok(true);
    }
    Ok(book.get(intent).await?.is_none_or(|there| !there.is_open))
}

/// Looks at the channel of a purchase for what became of it, and writes that down.
pub(crate) async fn reconcile(book: &Book, mut work: Box<Work>) -> Result<(Verdict, usize), LedgerError> {
    let Some(note) = work.record.channel.clone() else {
        work.leave().await;
        return Ok((Verdict::Open, 0));
    };
    let row = find(book, &note.key).await?;
    let record = row.and_then(|row| ChannelRecord::from_json(&row.body));
    let is_known = note.charged.is_some();
    let verdict = match record.map_or(Fate::Open, |record| record.fate(work.id())) {
        _ if is_known => Verdict::Paid,
        Fate::Charged(charged) => {
            work.charged(charged);
            Verdict::Paid
        }
        Fate::Dead => {
            work.dead("the channel has gone on without it");
            Verdict::Dead
        }
        Fate::Open => Verdict::Open,
    };
    work.leave().await;
    Ok((verdict, 0))
}

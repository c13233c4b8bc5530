//! One pair of eyes for each network: it asks for the newest block, and for the receipts of all transactions that
//! somebody waits for, together. Nobody else polls.
//!
//! When to ask: at once after a transaction was sent, for chains that are quick; then around the time when the next
//! block is due, which is learnt from those before. While nothing is pending and everything is final, nothing is
//! asked.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use alloy_primitives::B256;
use alloy_rpc_types_eth::TransactionReceipt;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tollway_evm::{Chain, ChainError, Head};

use crate::inclusion::{Inclusion, Profile};
use crate::pace::Pace;

/// How many blocks are remembered.
const REMEMBERED: usize = 128;
/// How long a failing node is left alone.
const AFTER_ERROR: Duration = Duration::from_millis(50);
const LONGEST_AFTER_ERROR: Duration = Duration::from_secs(1);
/// How often a chain is looked at on which nothing is pending and something is not final yet, at most.
const UNHURRIED: Duration = Duration::from_millis(500);

/// What was seen in one look.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// The newest block; none before the first look.
    pub(crate) head: Option<Head>,
    /// Receipts of what is waited for and included.
    pub(crate) receipts: HashMap<B256, Arc<TransactionReceipt>>,
    /// Grows whenever a block turned out not to follow the one before it, or blocks were missed: what is included and
    /// not final must be looked at again.
    pub(crate) breaks: u64,
}

/// The eyes.
#[derive(Debug)]
pub(crate) struct Watcher {
    chain: Chain,
    is_preconfirmed: bool,
    /// Waited for, and by how many.
    pending: Mutex<BTreeMap<B256, usize>>,
    unfinal: AtomicUsize,
    /// Something is to be asked for though no block is new.
    is_due: AtomicBool,
    wake: Notify,
    views: watch::Sender<Arc<View>>,
}

/// What the watcher knows of the chain.
#[derive(Debug, Default)]
struct Seen {
    blocks: VecDeque<Head>,
    breaks: u64,
}

impl Watcher {
    pub(crate) fn new(chain: Chain, profile: &Profile) -> Self {
        Self {
            chain,
            is_preconfirmed: profile.inclusion == Inclusion::Preconfirmation,
            pending: Mutex::default(),
            unfinal: AtomicUsize::new(0),
            is_due: AtomicBool::new(true),
            wake: Notify::new(),
            views: watch::channel(Arc::default()).0,
        }
    }

    /// To see what is seen.
    pub(crate) fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    /// The newest block that was seen.
    pub(crate) fn block(&self) -> Option<B256> {
        self.views.borrow().head.map(|head| head.hash)
    }

    /// Waits from now on for a transaction that is about to be sent.
    pub(crate) fn follow(&self, transaction: B256) {
        *self.pending.lock().entry(transaction).or_default() += 1;
        self.wake.notify_one();
    }

    /// Whether a block is new or not, asks for all receipts once: some may have been missed.
    pub(crate) fn look_again(&self) {
        self.is_due.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Waits for it no longer.
    pub(crate) fn leave(&self, transaction: B256) {
        let mut pending = self.pending.lock();
        if let Some(waiting) = pending.get_mut(&transaction) {
            *waiting -= 1;
            if *waiting == 0 {
                pending.remove(&transaction);
            }
        }
    }

    /// Something was sent a moment ago: look now.
    pub(crate) fn hurry(&self) {
        self.wake.notify_one();
    }

    /// Something is included and not final: the chain is to be looked at until [`Self::unfinal_ended`].
    pub(crate) fn unfinal_began(&self) {
        self.unfinal.fetch_add(1, Ordering::AcqRel);
        self.wake.notify_one();
    }

    pub(crate) fn unfinal_ended(&self) {
        self.unfinal.fetch_sub(1, Ordering::AcqRel);
    }

    /// Looks, for as long as the engine lives.
    pub(crate) async fn run(self: Arc<Self>) {
        let (mut seen, mut pace) = (Seen::default(), Pace::new(Instant::now()));
        let mut after_error = AFTER_ERROR;
        loop {
            let is_pending = !self.pending.lock().is_empty();
            if !is_pending && self.unfinal.load(Ordering::Acquire) == 0 {
                self.wake.notified().await;
                pace.sent(Instant::now());
                continue;
            }
            let next = match is_pending {
                true => pace.next(Instant::now()),
                false => pace.unhurried(UNHURRIED),
            };
            tokio::select! {
                biased;
                () = self.wake.notified() => {
                    pace.sent(Instant::now());
                    continue;
                }
                () = sleep_until(next) => {}
            }
            match self.look(&mut seen, &mut pace).await {
                Ok(()) => after_error = AFTER_ERROR,
                Err(error) => {
                    tracing::warn!(network = %self.chain.network(), %error, "no answer about the chain");
                    tokio::time::sleep(after_error).await;
                    after_error = (after_error * 2).min(LONGEST_AFTER_ERROR);
                }
            }
        }
    }

    async fn look(&self, seen: &mut Seen, pace: &mut Pace) -> Result<(), ChainError> {
        let mut head = self.chain.head().await?;
        let is_new = seen.add(head);
        pace.looked(Instant::now(), head.number, is_new);
        if is_new {
            self.is_due.store(true, Ordering::Release);
        }
        if !self.is_preconfirmed && !self.is_due.load(Ordering::Acquire) {
            return Ok(());
        }
        let asked: Vec<B256> = self.pending.lock().keys().copied().collect();
        let mut receipts = receipts_of(&self.chain, &asked).await?;
        // The chain went on between the two questions.
        if !self.is_preconfirmed && receipts.iter().any(|receipt| is_beyond(receipt, &head)) {
            head = self.chain.head().await?;
            seen.add(head);
            receipts.retain(|receipt| !is_beyond(receipt, &head));
        } else {
            self.is_due.store(false, Ordering::Release);
        }
        let receipts =
            receipts.into_iter().map(|receipt| (receipt.transaction_hash, Arc::new(receipt))).collect();
        self.views.send_replace(Arc::new(View { head: Some(head), receipts, breaks: seen.breaks }));
        Ok(())
    }
}

impl Seen {
    /// Adds the newest block. Whether it is new.
    fn add(&mut self, head: Head) -> bool {
        if self.blocks.iter().rev().any(|block| block.hash == head.hash) {
            // An older one: a node that lags behind.
            return false;
        }
        let follows = match self.blocks.back() {
            None => true,
            Some(last) => last.number + 1 == head.number && last.hash == head.parent_hash,
        };
        if !follows {
            self.breaks += 1;
            while self.blocks.back().is_some_and(|block| block.number >= head.number) {
                self.blocks.pop_back();
            }
        }
        self.blocks.push_back(head);
        if self.blocks.len() > REMEMBERED {
            self.blocks.pop_front();
        }
        true
    }
}

/// Whether the receipt's block is not the chain's as far as `head` tells.
fn is_beyond(receipt: &TransactionReceipt, head: &Head) -> bool {
    match receipt.block_number {
        Some(number) if number < head.number => false,
        Some(number) if number == head.number => receipt.block_hash != Some(head.hash),
        _ => true,
    }
}

/// The receipts of those that are included.
pub(crate) async fn receipts_of(
    chain: &Chain,
    transactions: &[B256],
) -> Result<Vec<TransactionReceipt>, ChainError> {
    if transactions.is_empty() {
        return Ok(Vec::new());
    }
    Ok(chain.receipts(transactions).await?.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use tollway_evm::Head;

    use super::Seen;

    fn block(number: u64, hash: u8, parent: u8) -> Head {
        Head {
            number,
            hash: B256::repeat_byte(hash),
            parent_hash: B256::repeat_byte(parent),
            timestamp: 0,
            base_fee: 0,
        }
    }

    #[test]
    fn a_block_that_does_not_follow_is_a_break_and_an_old_one_is_none() {
        let mut seen = Seen::default();
        assert!(seen.add(block(5, 5, 4)) && seen.add(block(6, 6, 5)));
        assert!(!seen.add(block(5, 5, 4)), "a node that lags behind");
        assert_eq!(seen.breaks, 0);
        assert!(seen.add(block(6, 66, 5)));
        assert_eq!(seen.breaks, 1, "another block in its place");
        assert!(seen.add(block(7, 7, 66)));
        assert_eq!(seen.breaks, 1);
        assert!(seen.add(block(9, 9, 8)));
        assert_eq!(seen.breaks, 2, "blocks were missed");
    }
}

//! Phase 8: wait for inclusion, and believe only the token's `Transfer` event.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{B256, Log};
use alloy_rpc_types_eth::TransactionReceipt;
use tokio::time::{Instant, sleep};
use tollway_core::{ErrorCode, UnixTime};
use tollway_evm::exact::{self, ExactPayment, TransferProof, prove_transfer};

use super::send::{Offered, Sent, offer};
use crate::journal::{Progress, Row};
use crate::lane::Lane;

/// The first wait for a receipt; each further one is half as long again, up to the last.
const FIRST_POLL: Duration = Duration::from_millis(2);
const LAST_POLL: Duration = Duration::from_millis(400);
/// How often in a row a sign that the transaction is lost must be seen before it is believed: nodes behind one URL
/// do not all know the same.
const MISSES: u32 = 5;

/// What became of the nonce: how the lane goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    /// It is used.
    Used,
    /// The node must be asked.
    Unknown,
    /// Nothing took it; the old transaction may still hold it in somebody's pool.
    Free,
}

/// What is known of a transaction without a receipt.
#[derive(Debug, Default)]
struct Signs {
    nonce_used: u32,
    nonce_ahead: u32,
    unknown: u32,
}

/// Follows a transaction until its fate is known, and writes it into every row it carries. A transaction that a node
/// has lost is sent again: the bytes are the same, so it can only be included once.
pub(crate) async fn follow(lane: &Lane, rows: &[Arc<Row>], sent: &Sent) -> Followed {
    let (mut wait, mut signs) = (FIRST_POLL, Signs::default());
    let mut look_at = Instant::now() + lane.limits.rebroadcast_every;
    loop {
        match lane.chain.receipt(sent.signed.hash).await {
            Ok(Some(receipt)) => {
                conclude(lane, rows, &receipt).await;
                return Followed::Used;
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(network = %lane.chain.network(), %error, "no answer about a receipt");
            }
        }
        sleep(wait).await;
        wait = (wait * 3 / 2).min(LAST_POLL);
        if Instant::now() >= look_at {
            look_at = Instant::now() + lane.limits.rebroadcast_every;
            if let Some(followed) = signs.look(lane, rows, sent).await {
                return followed;
            }
        }
    }
}

impl Signs {
    /// Sends again, and asks what speaks against an inclusion. Every end needs the token's word that the
    /// authorizations are unused; where it says they are used, the receipt is waited for.
    async fn look(&mut self, lane: &Lane, rows: &[Arc<Row>], sent: &Sent) -> Option<Followed> {
        let offered = offer(lane, &sent.signed.raw).await;
        let nonce = lane.chain.nonce(lane.signer.address()).await.ok()?;
        let head = lane.chain.head().await.ok()?;
        let knows = lane.chain.knows(sent.signed.hash).await.ok()?;
        let is_refused = matches!(offered, Offered::Doubted | Offered::Rejected(_)) && !knows;
        self.nonce_used = if nonce > sent.nonce { self.nonce_used + 1 } else { 0 };
        self.nonce_ahead = if nonce < sent.nonce { self.nonce_ahead + 1 } else { 0 };
        self.unknown = if is_refused && nonce <= sent.nonce { self.unknown + 1 } else { 0 };
        let is_expired =
            rows.iter().all(|row| row.payment.authorization.expires() <= UnixTime(head.timestamp));
        let (why, followed) = if is_expired && nonce <= sent.nonce {
            ("the authorization expired before it was included", Followed::Free)
        } else if self.nonce_used >= MISSES {
            ("its nonce is used by another transaction of the lane's key", Followed::Used)
        } else if self.nonce_ahead >= MISSES {
            // The chain has lost what came before: another node, or a development chain begun anew.
            ("its nonce is ahead of the account's", Followed::Unknown)
        } else if self.unknown >= MISSES {
            ("no node takes it", Followed::Free)
        } else {
            return None;
        };
        let payments: Vec<&ExactPayment> = rows.iter().map(|row| &row.payment).collect();
        let used = exact::is_used(&lane.chain, &payments).await.ok()?;
        if used.contains(&true) {
            return None;
        }
        let message = format!("transaction {} was not included: {why}", sent.signed.hash);
        for row in rows {
            // Only the expiry is the payment's own; the rest is between the lane and its node.
            let ended = if is_expired {
                Progress::Failed { code: ErrorCode::INVALID_TRANSACTION_STATE, message: message.clone() }
            } else {
                Progress::Abandoned { message: message.clone() }
            };
            end(lane, row, ended);
        }
        Some(followed)
    }
}

async fn conclude(lane: &Lane, rows: &[Arc<Row>], receipt: &TransactionReceipt) {
    let logs = logs_of(receipt);
    let transaction = receipt.transaction_hash;
    for row in rows {
        let proof = receipt.status().then(|| prove(&row.payment, &logs)).flatten();
        let progress = match proof {
            Some(proof) => Progress::Settled { transaction, log_index: proof.log_index },
            None => match prove_by_others(lane, row, transaction).await {
                Some(settled) => settled,
                None => unproved(transaction, receipt.status()),
            },
        };
        end(lane, row, progress);
    }
}

fn unproved(transaction: B256, is_success: bool) -> Progress {
    if is_success {
        let message = format!("transaction {transaction} holds no transfer of this payment");
        Progress::Failed { code: ErrorCode::INVALID_EXACT_EVM_TRANSFER_EVENT_MISMATCH, message }
    } else {
        let message = format!("transaction {transaction} reverted");
        Progress::Failed { code: ErrorCode::INVALID_TRANSACTION_STATE, message }
    }
}

/// An earlier transaction for the same payment, counted as not included, may have been after all.
async fn prove_by_others(lane: &Lane, row: &Row, but: B256) -> Option<Progress> {
    for transaction in row.transactions().into_iter().filter(|hash| *hash != but) {
        if let Ok(Some(receipt)) = lane.chain.receipt(transaction).await
            && let Some(proof) = prove(&row.payment, &logs_of(&receipt))
        {
            return Some(Progress::Settled { transaction, log_index: proof.log_index });
        }
    }
    None
}

fn prove(payment: &ExactPayment, logs: &[(u64, Log)]) -> Option<TransferProof> {
    prove_transfer(payment, logs.iter().map(|(index, log)| (*index, log)))
}

/// The logs of a receipt, each with its index in the block.
fn logs_of(receipt: &TransactionReceipt) -> Vec<(u64, Log)> {
    let logs = receipt.inner.logs().iter().zip(0u64..);
    logs.map(|(log, position)| (log.log_index.unwrap_or(position), log.inner.clone())).collect()
}

fn end(lane: &Lane, row: &Arc<Row>, progress: Progress) {
    tracing::info!(network = %lane.chain.network(), key = %row.payment.key(), ?progress, "settlement ended");
    lane.journal.finish(row, progress);
}

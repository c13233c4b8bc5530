//! Phase 8: wait for inclusion, and believe only the token's `Transfer` event.

use std::time::Duration;

use alloy_primitives::Log;
use alloy_rpc_types_eth::TransactionReceipt;
use tokio::time::{Instant, sleep};
use tollway_core::ErrorCode;
use tollway_evm::exact::prove_transfer;

use super::send::{Sent, offer};
use crate::journal::Progress;
use crate::lane::{Job, Lane};

/// The first wait for a receipt; each further one is half as long again, up to the last.
const FIRST_POLL: Duration = Duration::from_millis(2);
const LAST_POLL: Duration = Duration::from_millis(400);
/// How often in a row the account's nonce may be beyond ours, without a receipt of ours, before the transaction
/// counts as replaced by another of the same key.
const MISSES: u32 = 5;

/// Follows a transaction until its fate is known, and writes it into the row of every payment it carries.
/// A transaction that a node has lost is sent again: the bytes are the same, so it can only be included once.
pub(crate) async fn follow(lane: &Lane, jobs: &[Job], sent: &Sent) {
    let (mut wait, mut misses) = (FIRST_POLL, 0);
    let mut resend_at = Instant::now() + lane.limits.rebroadcast_every;
    loop {
        match lane.chain.receipt(sent.signed.hash).await {
            Ok(Some(receipt)) => return conclude(lane, jobs, &receipt),
            Ok(None) if misses >= MISSES => return replaced(lane, jobs, sent),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(network = %lane.chain.network(), %error, "no answer about a receipt");
            }
        }
        sleep(wait).await;
        wait = (wait * 3 / 2).min(LAST_POLL);
        if Instant::now() >= resend_at {
            resend_at = Instant::now() + lane.limits.rebroadcast_every;
            offer(lane, &sent.signed.raw).await;
            misses = if is_nonce_used(lane, sent).await { misses + 1 } else { 0 };
        }
    }
}

/// Whether the account's nonce is beyond ours: then ours is included, or another took its place.
async fn is_nonce_used(lane: &Lane, sent: &Sent) -> bool {
    lane.chain.nonce(lane.signer.address()).await.is_ok_and(|nonce| nonce > sent.nonce)
}

fn conclude(lane: &Lane, jobs: &[Job], receipt: &TransactionReceipt) {
    let logs: Vec<(u64, Log)> = receipt
        .inner
        .logs()
        .iter()
        .enumerate()
        .map(|(position, log)| {
            let position = u64::try_from(position).unwrap_or(u64::MAX);
            (log.log_index.unwrap_or(position), log.inner.clone())
        })
        .collect();
    let transaction = receipt.transaction_hash;
    for job in jobs {
        let logs = logs.iter().map(|(index, log)| (*index, log));
        let proof = receipt.status().then(|| prove_transfer(&job.payment, logs)).flatten();
        let progress = match proof {
            Some(proof) => Progress::Settled { transaction, log_index: proof.log_index },
            None if receipt.status() => Progress::Failed {
                code: ErrorCode::INVALID_EXACT_EVM_TRANSFER_EVENT_MISMATCH,
                message: format!("transaction {transaction} holds no transfer of this payment"),
            },
            None => Progress::Failed {
                code: ErrorCode::INVALID_TRANSACTION_STATE,
                message: format!("transaction {transaction} reverted"),
            },
        };
        tracing::info!(network = %lane.chain.network(), key = %job.key, ?progress, "settlement ended");
        lane.journal.append(&job.key, progress);
    }
}

/// Another transaction of the lane's key took the nonce: ours can never be included.
fn replaced(lane: &Lane, jobs: &[Job], sent: &Sent) {
    for job in jobs {
        let message = format!(
            "transaction {} was replaced: nonce {} of the lane's key is used by another",
            sent.signed.hash, sent.nonce
        );
        let code = ErrorCode::INVALID_TRANSACTION_STATE;
        lane.journal.append(&job.key, Progress::Failed { code, message });
    }
}

//! Phase 8: wait for inclusion, and believe only the token's `Transfer` event.

use std::sync::Arc;
use std::time::Duration;

use alloy_rpc_types_eth::TransactionReceipt;
use tokio::time::{Instant, sleep};
use tollway_core::{ErrorCode, UnixTime};

use super::late;
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

/// The signs that speak against an inclusion, each by how often in a row it was seen.
#[derive(Debug, Default)]
struct Signs {
    nonce_used: u32,
    nonce_ahead: u32,
    refused: u32,
    expired: u32,
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
            if let Some((why, followed)) = signs.look(lane, rows, sent).await {
                return give_up(lane, rows, sent, why, followed).await;
            }
        }
    }
}

/// Why a transaction counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    NonceUsed,
    NonceAhead,
    Refused,
    Expired,
}

impl Signs {
    /// Sends again, and asks what speaks against an inclusion.
    async fn look(&mut self, lane: &Lane, rows: &[Arc<Row>], sent: &Sent) -> Option<(Lost, Followed)> {
        let offered = offer(lane, &sent.signed.raw).await;
        let nonce = lane.chain.nonce(lane.signer.address()).await.ok()?;
        let head = lane.chain.head().await.ok()?;
        let is_known = lane.chain.knows(sent.signed.hash).await.ok()?;
        let is_expired = |row: &Arc<Row>| row.payment.authorization.expires() <= UnixTime(head.timestamp);
        let is_waiting = nonce <= sent.nonce;
        count(&mut self.nonce_used, nonce > sent.nonce);
        count(&mut self.nonce_ahead, nonce < sent.nonce);
        count(&mut self.refused, is_waiting && !is_known && offered != Offered::Taken);
        count(&mut self.expired, is_waiting && rows.iter().all(is_expired));
        let signs = [
            (self.nonce_used, Lost::NonceUsed, Followed::Used),
            // The chain has lost what came before: another node, or a development chain begun anew.
            (self.nonce_ahead, Lost::NonceAhead, Followed::Unknown),
            (self.expired, Lost::Expired, Followed::Free),
            (self.refused, Lost::Refused, Followed::Unknown),
        ];
        let (_, why, followed) = signs.into_iter().find(|(seen, ..)| *seen >= MISSES)?;
        Some((why, followed))
    }
}

fn count(seen: &mut u32, is_seen: bool) {
    *seen = if is_seen { *seen + 1 } else { 0 };
}

/// Ends the rows of a transaction that counts as lost, each by what the token says of it.
async fn give_up(lane: &Lane, rows: &[Arc<Row>], sent: &Sent, why: Lost, mut followed: Followed) -> Followed {
    let text = match why {
        Lost::NonceUsed => "its nonce is used by another transaction of the lane's key",
        Lost::NonceAhead => "its nonce is ahead of the account's",
        Lost::Refused => "no node takes it",
        Lost::Expired => "the authorization expired before it was included",
    };
    let message = format!("transaction {} was not included: {text}", sent.signed.hash);
    for row in rows {
        // Only the expiry is the payment's own; the rest is between the lane and its node.
        let unused = match why {
            Lost::Expired => {
                Progress::Failed { code: ErrorCode::INVALID_TRANSACTION_STATE, message: message.clone() }
            }
            _ => Progress::Abandoned { message: message.clone() },
        };
        if !end(lane, row, unused).await {
            followed = if why == Lost::NonceUsed { Followed::Used } else { Followed::Unknown };
        }
    }
    followed
}

async fn conclude(lane: &Lane, rows: &[Arc<Row>], receipt: &TransactionReceipt) {
    let transaction = receipt.transaction_hash;
    for row in rows {
        if let Some(proof) = late::prove(&row.payment, receipt) {
            let log_index = proof.log_index;
            tracing::info!(network = %lane.chain.network(), key = %row.payment.key(), %transaction, "settled");
            lane.journal.finish(row, Progress::Settled { transaction, log_index });
            continue;
        }
        let unused = if receipt.status() {
            let message = format!("transaction {transaction} holds no transfer of this payment");
            Progress::Failed { code: ErrorCode::INVALID_EXACT_EVM_TRANSFER_EVENT_MISMATCH, message }
        } else {
            let message = format!("transaction {transaction} reverted");
            Progress::Failed { code: ErrorCode::INVALID_TRANSACTION_STATE, message }
        };
        end(lane, row, unused).await;
    }
}

/// Ends a row as `unused` if the token says that its authorization is. Whether it is.
async fn end(lane: &Lane, row: &Arc<Row>, unused: Progress) -> bool {
    late::end(&lane.chain, &lane.journal, row, Some(unused), lane.limits.rebroadcast_every).await
}

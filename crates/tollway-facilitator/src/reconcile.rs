//! Whatever is open and driven by nobody is brought to an end here: what dead processes left, what lanes let go of,
//! and what settled in a transaction that no lane follows. Nothing rests open for ever.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use tokio::time::{Instant, sleep};
use tollway_core::{ErrorCode, FacilitatorError, Refusal, UnixTime};
use tollway_evm::Trouble;
use tollway_ledger::{Settlement, SettlementState};

use crate::approval::{bring, judge as judge_on_chain};
use crate::core::Core;
use crate::evm_network::EvmNetwork;
use crate::journal::{Row, timed};
use crate::phase::check;
use crate::phase::late::{Fate, Unused, fate};
use crate::phase::prove::settled_by;
use crate::watch::receipts_of;

/// How often what dead processes left is looked for, by who holds a lane.
const ADOPT_EVERY: Duration = Duration::from_millis(250);
/// How many payments are adopted at once.
const ADOPTED: u32 = 256;
/// How often what is settled and not final is looked at, and how much of it.
const LEFTOVERS_EVERY: Duration = Duration::from_secs(1);
const LEFTOVERS: u32 = 256;
/// What a living process has settled is its own to follow, unless it did not for so long.
const OVERDUE_SECONDS: u64 = 120;
/// How often in a row the chain must say the same before a payment ends without its transfer: that a used authorization
/// has no proof, or that one whose transaction failed or was lost is unused. Nodes behind one URL do not all know the
/// same.
const LOOKS: u32 = 4;
/// How often what nobody on chain keeps account of is looked for: some ten minutes. By then the lane has given its nonce to
/// another transaction.
const PATIENCE: u32 = 120;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Looks after one network, for as long as the engine lives.
pub(crate) async fn run(core: Arc<Core>, network: Arc<EvmNetwork>) {
    let mut leftovers_at = Instant::now();
    loop {
        if network.holds_lanes() && core.member.is_current() {
            adopt(&core, &network).await;
            if Instant::now() >= leftovers_at {
                leftovers_at = Instant::now() + LEFTOVERS_EVERY;
                leftovers(&core, &network).await;
            }
        }
        network.measure(&core.journal);
        sleep(ADOPT_EVERY).await;
    }
}

/// Takes over what dead processes left open.
async fn adopt(core: &Arc<Core>, network: &Arc<EvmNetwork>) {
    let now = core.clock.now();
    let ledger = core.journal.ledger();
    let limit = ADOPTED.min(core.journal.room());
    let adopted = ledger.settlement_adopt(network.network(), core.member.member(), now, limit);
    match timed("settlement_adopt", adopted).await {
        Ok(settlements) => settlements.iter().for_each(|settlement| take_over(core, network, settlement)),
        Err(error) => tracing::warn!(%error, "what dead processes left is not known"),
    }
}

/// Drives a payment of the ledger from now on.
fn take_over(core: &Arc<Core>, network: &Arc<EvmNetwork>, settlement: &Settlement) {
    let Some(row) = core.journal.adopt(settlement) else { return };
    tracing::info!(network = %network.network(), settlement = %settlement.id, "taken over");
    core.chase(network, &row, Unused::Settle);
}

/// Follows one payment until it has ended, or waits for a lane.
pub(crate) async fn chase(core: &Core, network: &EvmNetwork, row: &Arc<Row>, unused: &Unused) {
    row.resume();
    let (mut pause, mut seen) = (FIRST_PAUSE, Looks::default());
    loop {
        match look(core, network, row, unused, &mut seen).await {
            Ok(Step::Ended(state)) => return core.journal.finish(row, state).await,
            Ok(Step::Queued) => return,
            Ok(Step::Wait) => {}
            Err(error) => {
                tracing::warn!(network = %network.network(), %error, "no answer about a payment's fate");
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What was seen, how often in a row.
#[derive(Debug, Default)]
struct Looks {
    unproved: u32,
    unused: u32,
    open: u32,
    refused: u32,
}

enum Step {
    Ended(SettlementState),
    Queued,
    Wait,
}

async fn look(
    core: &Core,
    network: &EvmNetwork,
    row: &Arc<Row>,
    unused: &Unused,
    seen: &mut Looks,
) -> Result<Step, FacilitatorError> {
    let node = |error: tollway_evm::ChainError| FacilitatorError::Busy(error.to_string());
    Ok(match fate(&network.chain, row).await.map_err(node)? {
        Fate::Settled { state, block_number } => {
            let head = network.chain.head().await.map_err(node)?.number;
            match head.saturating_sub(block_number) >= u64::from(row.confirmations) {
                true => Step::Ended(state),
                false => Step::Wait,
            }
        }
        // It is done, and not by what was signed for it here: whoever asks again is told what the chain says then.
        Fate::Unproved
            if seen.unproved >= LOOKS
                && row.payment.batch_settlement().is_some()
                && row.payment.is_later() =>
        {
            let message = "done by a transaction that was not found: ask again".to_owned();
            Step::Ended(SettlementState::Abandoned { message })
        }
        Fate::Unproved if seen.unproved >= LOOKS => {
            let message = "the authorization was used or canceled by another transaction".to_owned();
            Step::Ended(failed(&row.payment.naming(Trouble::NonceUsed).0, message))
        }
        Fate::Unproved => {
            *seen = Looks { unproved: seen.unproved + 1, ..Looks::default() };
            Step::Wait
        }
        Fate::Open if seen.open >= PATIENCE => {
            let message = "its transaction was not included".to_owned();
            Step::Ended(failed(&ErrorCode::INVALID_TRANSACTION_STATE, message))
        }
        Fate::Open => {
            seen.open += 1;
            Step::Wait
        }
        Fate::Unused if seen.unused < LOOKS && unused.ends_at_once() => {
            *seen = Looks { unused: seen.unused + 1, ..Looks::default() };
            Step::Wait
        }
        Fate::Unused => match unused {
            Unused::Fail { code, message } => Step::Ended(failed(code, message.clone())),
            Unused::Expired { message } if has_expired(network, row).await.map_err(node)? => {
                Step::Ended(failed(&ErrorCode::INVALID_TRANSACTION_STATE, message.clone()))
            }
            Unused::Expired { .. } => Step::Wait,
            Unused::Settle => settle(core, network, row, seen).await?,
        },
    })
}

/// Queues a payment that nobody drives, if it would settle.
async fn settle(
    core: &Core,
    network: &EvmNetwork,
    row: &Arc<Row>,
    seen: &mut Looks,
) -> Result<Step, FacilitatorError> {
    if let Err(refusal) = check::window(&row.payment, &core.limits, core.clock.now()) {
        return ended_when_expired(network, row, refusal).await;
    }
    match judge_on_chain(core, network, &row.payment).await? {
        Ok(funds) if funds.payer_has_code => row.keep_alone(),
        Ok(_) => {}
        // Used since it was looked at: the next look finds by what.
        Err(refusal) if row.payment.is_refused_as_used(&refusal) => {
            return Ok(Step::Wait);
        }
        Err(refusal) if row.transactions().is_empty() => {
            return Ok(Step::Ended(failed(&refusal.code, refusal.to_string())));
        }
        // What never ends is refused often enough instead: by then the lane has given its nonce to another transaction.
        Err(refusal) if row.payment.batch_settlement().is_some() && row.payment.is_later() => {
            seen.refused += 1;
            return Ok(match seen.refused >= PATIENCE {
                true => Step::Ended(failed(&refusal.code, refusal.to_string())),
                false => Step::Wait,
            });
        }
        // What was signed for it may be out: not failed before nothing can come of it.
        Err(refusal) => return ended_when_expired(network, row, refusal).await,
    }
    // Without a lane nobody here takes from the queue.
    let Some(place) = network.queue.place().filter(|_| network.holds_lane_for(&row.payment)) else {
        return Ok(Step::Wait);
    };
    if !row.requeue() {
        return Ok(Step::Queued);
    }
    if row.payment.sponsored_approval().is_some() {
        if !row.claim() {
            return Ok(Step::Queued);
        }
        if let Err(why) = bring(core, network, row).await {
            row.unclaim();
            return match row.transactions().is_empty() {
                true => Ok(Step::Ended(why.into())),
                // What was signed for it may be out.
                false => Ok(Step::Wait),
            };
        }
        row.unclaim();
    }
    place.put(Arc::clone(row));
    Ok(Step::Queued)
}

async fn ended_when_expired(
    network: &EvmNetwork,
    row: &Row,
    refusal: Refusal,
) -> Result<Step, FacilitatorError> {
    let node = |error: tollway_evm::ChainError| FacilitatorError::Busy(error.to_string());
    Ok(match row.transactions().is_empty() || has_expired(network, row).await.map_err(node)? {
        true => Step::Ended(failed(&refusal.code, refusal.to_string())),
        false => Step::Wait,
    })
}

/// Whether no block can include it any more, not even after a reorganisation.
async fn has_expired(network: &EvmNetwork, row: &Row) -> Result<bool, tollway_evm::ChainError> {
    let head = network.chain.head().await?.number;
    let Some(depth) = head.checked_sub(network.profile.final_depth) else { return Ok(false) };
    let block = network.chain.block_by_number(depth).await?;
    Ok(block.is_some_and(|block| row.payment.expires() <= UnixTime(block.timestamp)))
}

fn failed(code: &ErrorCode, message: String) -> SettlementState {
    SettlementState::Failed { code: code.as_str().to_owned(), message }
}

/// What is settled and not final, and followed by no lane: a stranger's transaction settled it, or its process is gone.
async fn leftovers(core: &Arc<Core>, network: &Arc<EvmNetwork>) {
    let now = core.clock.now();
    let ledger = core.journal.ledger();
    let living = match ledger.member_list(tollway_ledger::Role::Facilitator, now).await {
        Ok(living) => living,
        Err(_) => return,
    };
    let Ok(unfinal) = ledger.settlement_unfinal(network.network(), 0, LEFTOVERS).await else { return };
    let is_ours = |settlement: &Settlement| {
        let SettlementState::Settled { transaction, .. } = &settlement.state else { return false };
        let Ok(hash) = transaction.parse::<B256>() else { return false };
        let is_followed = network.lanes.iter().any(|lane| lane.tracks(&hash));
        let is_overdue = settlement.updated_at.plus_seconds(OVERDUE_SECONDS) <= now;
        let is_theirs = settlement.member != *core.member.member() && living.contains(&settlement.member);
        !is_followed && !core.journal.drives(&settlement.key) && (is_overdue || !is_theirs)
    };
    let left: Vec<Settlement> = unfinal.into_iter().filter(is_ours).collect();
    if left.is_empty() {
        return;
    }
    if let Err(error) = follow(core, network, left).await {
        tracing::warn!(network = %network.network(), %error, "no answer about settled payments");
    }
}

async fn follow(
    core: &Arc<Core>,
    network: &Arc<EvmNetwork>,
    left: Vec<Settlement>,
) -> Result<(), tollway_evm::ChainError> {
    let hashes: BTreeSet<B256> = left.iter().filter_map(|settlement| hash_of(&settlement.state)).collect();
    let hashes: Vec<B256> = hashes.into_iter().collect();
    let receipts = receipts_of(&network.chain, &hashes).await?;
    let head = network.chain.head().await?.number;
    let mut changes = Vec::new();
    for settlement in left {
        let (Some(hash), Some(row)) = (hash_of(&settlement.state), core.journal.adopt(&settlement)) else {
            continue;
        };
        let receipt = receipts.iter().find(|receipt| receipt.transaction_hash == hash);
        match receipt.and_then(|receipt| settled_by(&row.payment, receipt)) {
            Some(SettlementState::Settled { transaction, log_index, block_number, block_hash, .. }) => {
                let is_final = head.saturating_sub(block_number) >= network.profile.final_depth;
                let state =
                    SettlementState::Settled { transaction, log_index, block_number, block_hash, is_final };
                if state != settlement.state {
                    changes.push((row, state));
                }
            }
            _ => {
                let SettlementState::Settled { block_number, block_hash, .. } = &settlement.state else {
                    continue;
                };
                let block = network.chain.block_by_number(*block_number).await?;
                if block.is_none_or(|block| block.hash.to_string() == *block_hash) {
                    continue;
                }
                tracing::warn!(network = %network.network(), settlement = %settlement.id, "taken back by a reorganisation");
                core.journal.reopen(&row);
                let sent = SettlementState::Sent { transaction: hash.to_string() };
                core.journal.write(vec![(Arc::clone(&row), sent)], Vec::new()).await;
                core.chase(network, &row, Unused::Settle);
            }
        }
    }
    core.journal.write(changes, Vec::new()).await;
    Ok(())
}

fn hash_of(state: &SettlementState) -> Option<B256> {
    match state {
        SettlementState::Settled { transaction, .. } => transaction.parse().ok(),
        _ => None,
    }
}

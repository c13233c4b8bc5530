//! What became of an authorization, for whoever signed it: moved, used, unused, or provably dead. Asked of a node that the
//! payer has chosen; nobody's word is believed.
//!
//! A facilitator follows its own transactions (`tollway-facilitator`); a payer knows of none, except what it is told.

use alloy_primitives::{Address, B256, U256};
use alloy_rpc_types_eth::TransactionReceipt;
use alloy_sol_types::{SolCall, SolEvent, sol};
use tollway_core::UnixTime;

use crate::auth_capture;
use crate::chain::{Chain, ChainError};
use crate::exact::{Transfer, TransferProof};
use crate::multicall::{self, Call, MULTICALL3};
use crate::payment::Payment;
use crate::permit2;
use crate::state::find_uses;

sol! {
    interface BlockTime {
        function getCurrentBlockTimestamp() external view returns (uint256 timestamp);
    }
}

/// What a node says of an authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// What became of it.
    pub fate: Fate,
    /// The transaction that was told is in a block, and does not move this payment.
    pub is_contradicted: bool,
}

/// What became of an authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It moved, by the token's own event.
    Moved(Movement),
    /// It is used, and what used it was not found: too long ago for a node to be asked, or canceled.
    Used,
    /// It is unused, and can be used.
    Unused,
    /// It is unused, and no block can take it any more.
    Dead,
    /// Nobody on chain keeps account of it, and no transaction proves it.
    Untold,
}

/// Where an authorization moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// The transaction.
    pub transaction: B256,
    /// Its block.
    pub block_number: u64,
    /// The index of the token's event in the block.
    pub log_index: u64,
    /// What moved, atomic units: less than was signed, where that is allowed.
    pub amount: U256,
}

/// Asks `chain` what became of `payment`, which is settled by `told` if that is true. Dead is what is unused when a block
/// that `final_depth` others are on top of is later than its end.
///
/// Of a payment in escrow it tells whether it was collected, not what became of it then; of a delegation, which no contract
/// keeps account of, only whether `told` proves it.
///
/// # Errors
/// The node gave no answer, or a contract that keeps nonces does not tell.
///
/// ```no_run
/// # async fn look(chain: tollway_evm::Chain, payment: tollway_evm::Payment) -> Result<(), tollway_evm::ChainError> {
/// use tollway_evm::{Fate, fate};
/// if fate(&chain, &payment, None, 12).await?.fate == Fate::Dead {
///     println!("another authorization may be signed for it");
/// }
/// # Ok(()) }
/// ```
pub async fn fate(
    chain: &Chain,
    payment: &Payment,
    told: Option<B256>,
    final_depth: u64,
) -> Result<Sight, ChainError> {
    let mut is_contradicted = false;
    if let Some(told) = told
        && let Some(receipt) = chain.receipt(told).await?
    {
        match proved(chain, payment, &receipt).await? {
            Some(moved) => return Ok(Sight { fate: Fate::Moved(moved), is_contradicted }),
            None => is_contradicted = true,
        }
    }
    let fate = unaided(chain, payment, final_depth).await?;
    Ok(Sight { fate, is_contradicted })
}

/// What the chain says without a hint.
async fn unaided(chain: &Chain, payment: &Payment, final_depth: u64) -> Result<Fate, ChainError> {
    let Some(state) = payment.state_call() else { return Ok(Fate::Untold) };
    // Before the state is asked for: what is final stays so.
    let ended = has_ended(chain, payment.expires(), final_depth).await?;
    let time = BlockTime::getCurrentBlockTimestampCall {}.abi_encode();
    let asked = [state, Call { to: MULTICALL3, data: time.into() }];
    let answers = multicall::call(chain, Address::ZERO, &asked).await?;
    let [state, time] = &answers[..] else { return Err(ChainError::NoState) };
    let is_used = Some(&state.data).filter(|_| state.success).and_then(|data| payment.is_used(data));
    if is_used.ok_or(ChainError::NoState)? {
        for transaction in candidates(chain, payment).await? {
            let Some(receipt) = chain.receipt(transaction).await? else { continue };
            if let Some(moved) = proved(chain, payment, &receipt).await? {
                return Ok(Fate::Moved(moved));
            }
        }
        return Ok(Fate::Used);
    }
    // Of several nodes behind one name, one that is behind may have been asked for the state.
    let seen_at = time.data.get(..32).map(U256::from_be_slice).filter(|_| time.success);
    let is_dead = ended.zip(seen_at).is_some_and(|(ended, seen_at)| seen_at >= U256::from(ended.0));
    Ok(if is_dead { Fate::Dead } else { Fate::Unused })
}

/// The time of the newest final block, if that is past `expires`.
async fn has_ended(
    chain: &Chain,
    expires: UnixTime,
    final_depth: u64,
) -> Result<Option<UnixTime>, ChainError> {
    let head = chain.head().await?;
    let Some(number) = head.number.checked_sub(final_depth) else { return Ok(None) };
    let Some(block) = chain.block_by_number(number).await? else { return Ok(None) };
    Ok(Some(UnixTime(block.timestamp)).filter(|time| *time > expires))
}

/// The transactions that may have settled it lately.
async fn candidates(chain: &Chain, payment: &Payment) -> Result<Vec<B256>, ChainError> {
    match payment {
        Payment::AuthCapture(held) => auth_capture::find_uses(chain, held).await,
        Payment::Permit2(permit) if payment.is_metered() => permit2::find_metered(chain, permit).await,
        _ => find_uses(chain, payment).await,
    }
}

/// What a receipt proves of a payment.
async fn proved(
    chain: &Chain,
    payment: &Payment,
    receipt: &TransactionReceipt,
) -> Result<Option<Movement>, ChainError> {
    if !receipt.status() {
        return Ok(None);
    }
    for amount in amounts(payment, receipt) {
        let part = payment.of_amount(amount);
        let logs = receipt.inner.logs().iter().filter_map(|log| Some((log.log_index?, &log.inner)));
        let Some(TransferProof { log_index }) = part.prove_in(logs) else { continue };
        if let Payment::Permit2(permit) = &part
            && !permit2::is_settled_by(chain, permit, receipt.transaction_hash).await?
        {
            continue;
        }
        return Ok(Some(Movement {
            transaction: receipt.transaction_hash,
            block_number: receipt.block_number.unwrap_or_default(),
            log_index,
            amount,
        }));
    }
    Ok(None)
}

/// What may have moved of it: all, or of what is metered whatever the receipt says, up to all.
fn amounts(payment: &Payment, receipt: &TransactionReceipt) -> Vec<U256> {
    if !payment.is_metered() {
        return vec![payment.value()];
    }
    let of_token = receipt.inner.logs().iter().filter(|log| log.address() == payment.asset());
    let moves = of_token.filter_map(|log| Transfer::decode_log(&log.inner).ok());
    let ours = moves.filter(|moved| (moved.from, moved.to) == (payment.payer(), payment.payee()));
    let mut amounts: Vec<U256> =
        ours.map(|moved| moved.value).filter(|value| *value <= payment.value()).collect();
    amounts.dedup();
    amounts
}

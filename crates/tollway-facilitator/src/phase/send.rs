//! Phase 6: build the transaction, sign it, write it down, hand it to the node. This is where a transaction is sent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, Bytes, U256};
use metrics::counter;
use tokio::time::{Instant, sleep, timeout};
use tollway_core::AuthorizationKey;
use tollway_evm::{Call, Chain, ChainError, Refused, SignedTransaction, SignerError, Transaction, batch};

use crate::flight::{Flight, Version};
use crate::gas::Fees;
use crate::journal::{Row, Written};
use crate::lane::Lane;
use crate::limits::MAX_BATCH;
use crate::telemetry::TRANSACTIONS;

/// Gas for one `transferWithAuthorization` in its own transaction, with room for proxies.
const GAS_ALONE: u64 = 160_000;
/// Gas for each further one in a batch.
const GAS_EACH: u64 = 110_000;
/// Gas that money takes on its way to an account without code: usually, and on any network.
const GAS_MONEY: u64 = 21_000;
const GAS_MONEY_MOST: u64 = 1_000_000;
/// The most gas one transaction may use (EIP-7825).
pub(crate) const GAS_MOST: u64 = 1 << 24;
/// Of how many payments of a batch gas is estimated.
const ESTIMATED: usize = 8;
/// How often a nonce that somebody else used is replaced by a fresh one.
const ATTEMPTS: usize = 3;
/// How long a signer may take.
const SIGN_DEADLINE: Duration = Duration::from_secs(4);
/// How long a ledger may take to say that it has written a transaction down. After that its payments are not settled by
/// this transaction: what they were simulated on is too old.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

const _: () = assert!(GAS_ALONE + GAS_EACH * (MAX_BATCH as u64 - 1) < GAS_MOST, "EIP-7825");

/// Nothing is out: no node took the transaction.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSent {
    /// The node was asked before anything was signed, and failed.
    #[error("the node failed before anything was sent: {0}")]
    Chain(#[from] ChainError),
    /// The signer failed.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// Gas costs more than the operator pays.
    #[error("gas costs {price} wei, the limit is {limit}")]
    TooDear {
        /// Base fee and tip, per gas.
        price: u128,
        /// The limit.
        limit: u128,
    },
    /// The node rejected the transaction.
    #[error("the node rejected the transaction: {0}")]
    Rejected(String),
    /// The transaction could not be written down.
    #[error("the ledger did not take the transaction")]
    Unwritten,
    /// The lane is another process's now. Nothing was written down.
    #[error("the lane is another process's")]
    Fenced,
    /// It was written down when the right to send had ended on this side: whoever takes the lane next sends it.
    #[error("the membership has run out")]
    Halted,
    /// These payments are another process's now. What was signed was not sent.
    #[error("payments in it are another process's")]
    Stale(Vec<AuthorizationKey>),
}

/// Sends the transaction that settles `rows`. It is written down before any node sees it.
pub(crate) async fn send(lane: &mut Lane, rows: &[Arc<Row>]) -> Result<Flight, NotSent> {
    let gas_limit = gas_limit(lane, rows).await?;
    send_call(lane, rows, &call_for(rows), U256::ZERO, gas_limit).await
}

/// Sends the transaction that gives `value` to an account without code. It is written down before any node sees it.
pub(crate) async fn send_money(lane: &mut Lane, to: Address, value: U256) -> Result<Flight, NotSent> {
    let call = Call { to, data: Bytes::new() };
    // On some networks it takes more than elsewhere.
    let estimated = estimate(lane, &call).await?;
    if estimated > GAS_MONEY_MOST {
        return Err(NotSent::Rejected(format!("{estimated} gas to give money to {to}")));
    }
    let gas_limit = estimated.saturating_mul(130).div_ceil(100).max(GAS_MONEY);
    send_call(lane, &[], &call, value, gas_limit).await
}

async fn send_call(
    lane: &mut Lane,
    rows: &[Arc<Row>],
    call: &Call,
    value: U256,
    gas_limit: u64,
) -> Result<Flight, NotSent> {
    for _ in 0..ATTEMPTS {
        let nonce = lane.next_nonce().await?;
        let fees = lane.fees(nonce).await?;
        let unsigned = Transaction {
            chain_id: lane.chain().chain_id(),
            nonce,
            to: call.to,
            value,
            data: call.data.clone(),
            gas_limit,
            max_fee_per_gas: fees.max_fee_per_gas,
            max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
        };
        let version = sign(lane, unsigned).await?;
        write_down(lane, rows, &version, "first").await?;
        let offered = offer(lane.chain(), &version.signed.raw).await;
        match offered {
            Offered::Rejected(reason) => {
                // It is not out, and never will be.
                rows.iter().for_each(|row| row.forget(version.signed.hash));
                lane.lose(vec![version]);
                return Err(NotSent::Rejected(reason));
            }
            // An older transaction of this key holds the nonce, from before a restart.
            Offered::Underpriced => {
                rows.iter().for_each(|row| row.forget(version.signed.hash));
                lane.lose(vec![version]);
                lane.raise_floor(nonce).await;
            }
            // A proxy that delivered it twice hears of the second time only: then it is included.
            Offered::NonceUsed if !is_included(lane.chain(), &version.signed).await => {
                lane.lose(vec![version]);
                lane.forget_nonce();
            }
            Offered::NonceUsed | Offered::Taken | Offered::Doubted => {
                return Ok(Flight::new(nonce, rows.to_vec(), vec![version]));
            }
        }
    }
    Err(NotSent::Rejected("the lane's nonce is held or used by other transactions of its key".to_owned()))
}

/// Signs, if this process may.
pub(crate) async fn sign(lane: &Lane, unsigned: Transaction) -> Result<Version, NotSent> {
    if !lane.may_sign() {
        return Err(NotSent::Unwritten);
    }
    let fees = Fees {
        max_fee_per_gas: unsigned.max_fee_per_gas,
        max_priority_fee_per_gas: unsigned.max_priority_fee_per_gas,
    };
    let nonce = unsigned.nonce;
    let signed = timeout(SIGN_DEADLINE, unsigned.sign(lane.signer()))
        .await
        .unwrap_or_else(|_| Err(SignerError::Remote("no answer in time".to_owned())))?;
    Ok(Version { signed, nonce, fees })
}

/// Writes a signed transaction down, with the payments in it. Without this it is never sent. A ledger that does not say
/// whether it did is asked until it does, within a limit.
pub(crate) async fn write_down(
    lane: &mut Lane,
    rows: &[Arc<Row>],
    version: &Version,
    kind: &'static str,
) -> Result<(), NotSent> {
    counter!(TRANSACTIONS, "network" => lane.chain().network().as_str().to_owned(), "kind" => kind)
        .increment(1);
    let give_up = Instant::now() + WRITE_DEADLINE;
    let mut pause = Duration::from_millis(20);
    loop {
        match lane.journal().sent(lane.lease(), rows, &version.signed, version.as_new()).await {
            Written::Yes if lane.may_sign() => {
                lane.follow(version);
                return Ok(());
            }
            Written::Yes => return Err(NotSent::Halted),
            Written::Fenced => return Err(NotSent::Fenced),
            Written::Stale(keys) => return Err(NotSent::Stale(keys)),
            Written::Unknown(error) => {
                tracing::error!(network = %lane.chain().network(), %error, "a transaction is not written down");
                if Instant::now() >= give_up {
                    lane.lose(vec![version.clone()]);
                    return Err(NotSent::Unwritten);
                }
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }
}

/// What a node says to a raw transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// Taken, known already, or no answer: it may be out.
    Taken,
    /// Its nonce is behind the account's: it is included already, or can never be.
    NonceUsed,
    /// Refused, because another transaction holds the nonce and pays as much.
    Underpriced,
    /// Refused for good.
    Rejected(String),
    /// Refused with words nobody knows: it may be out all the same.
    Doubted,
}

/// Hands a signed transaction to the node. Only an answer that rejects it proves that it is not out.
pub(crate) async fn offer(chain: &Chain, raw: &Bytes) -> Offered {
    let error = match chain.send_raw(raw).await {
        Ok(_) => return Offered::Taken,
        Err(error) => error,
    };
    let Some(words) = error.rejection() else {
        tracing::warn!(network = %chain.network(), %error, "no answer to a transaction");
        return Offered::Taken;
    };
    let offered = understand(words);
    if offered != Offered::Taken {
        tracing::warn!(network = %chain.network(), %error, "the node did not take a transaction");
    }
    offered
}

fn understand(words: &str) -> Offered {
    match Refused::of(words) {
        Refused::Known => Offered::Taken,
        Refused::NonceUsed => Offered::NonceUsed,
        Refused::Underpriced => Offered::Underpriced,
        Refused::Rejected => Offered::Rejected(words.to_lowercase().chars().take(160).collect()),
        Refused::Doubtful => Offered::Doubted,
    }
}

async fn is_included(chain: &Chain, signed: &SignedTransaction) -> bool {
    // No answer is no proof that it is not.
    !matches!(chain.receipt(signed.hash).await, Ok(None))
}

/// What the call is known to need, or more where the node says so: on some networks data costs gas that only the
/// node knows of. A token's share is asked for once a minute, not every time; and it is not trusted for less, because
/// an estimate of a batch may let members fail.
async fn gas_limit(lane: &Lane, rows: &[Arc<Row>]) -> Result<u64, NotSent> {
    if let [only] = rows
        && (only.is_alone() || !only.payment.is_marked())
    {
        return gas_of_code(lane, only).await;
    }
    // What moves by another contract is no share of what the token's own transfers need; and those that wait together were
    // rehearsed with as much.
    if rows.iter().any(|row| !row.payment.is_marked()) {
        let limit = rows.iter().map(|row| row.payment.max_gas()).fold(0, u64::saturating_add);
        return within_most(limit);
    }
    let is_batch = rows.len() > 1;
    // Only allowlisted assets get here: there are few.
    let assets: BTreeSet<Address> = rows.iter().map(|row| row.payment.asset()).collect();
    let mut share = 100;
    for asset in assets {
        let estimate = async {
            // An estimate runs all of it many times over: a few tell as much as all.
            let of_asset = rows.iter().filter(|row| row.payment.asset() == asset);
            let others = rows.iter().filter(|row| row.payment.asset() != asset);
            let few: Vec<_> = of_asset.chain(others).take(ESTIMATED).map(Arc::clone).collect();
            let estimated = estimate(lane, &call_for(&few)).await?;
            Ok(estimated.saturating_mul(130) / needed(few.len()))
        };
        share = share.max(lane.network.gas.share(asset, is_batch, estimate).await?);
    }
    let limit = needed(rows.len()).saturating_mul(share).div_ceil(100);
    within_most(limit)
}

fn within_most(limit: u64) -> Result<u64, NotSent> {
    match limit <= GAS_MOST {
        true => Ok(limit),
        false => Err(NotSent::Rejected(format!("{limit} gas is more than one transaction may use"))),
    }
}

/// What code that is not known needs, as the node says now, and not more than its method may.
async fn gas_of_code(lane: &Lane, row: &Row) -> Result<u64, NotSent> {
    let estimated = estimate(lane, &row.payment.call()).await?;
    let most = row.payment.max_gas();
    match estimated <= most {
        true => Ok(estimated.saturating_mul(130).div_ceil(100).min(most)),
        false => Err(NotSent::Rejected(format!("{estimated} gas is more than such a payment may use"))),
    }
}

/// What so many transfers are known to need, gas.
fn needed(payments: usize) -> u64 {
    GAS_ALONE + GAS_EACH * u64::try_from(payments.saturating_sub(1)).unwrap_or(u64::MAX)
}

async fn estimate(lane: &Lane, call: &Call) -> Result<u64, NotSent> {
    let estimated = lane.chain().estimate_gas(lane.signer().address(), call).await;
    estimated.map_err(|error| match error.rejection() {
        Some(words) => NotSent::Rejected(words.chars().take(160).collect()),
        None => NotSent::Chain(error),
    })
}

fn call_for(rows: &[Arc<Row>]) -> Call {
    let mut call = match rows {
        [only] => only.payment.call(),
        many => batch(many.iter().map(|row| row.payment.call())),
    };
    // The same for all of them.
    if let Some(suffix) = rows.first().map(|row| &row.suffix).filter(|suffix| !suffix.is_empty()) {
        call.data = [&call.data[..], suffix].concat().into();
    }
    call
}

#[cfg(test)]
mod tests {
    use super::{Offered, understand};

    #[test]
    fn only_known_words_prove_that_a_transaction_is_not_out() {
        for words in ["already known", "ALREADY_EXISTS: already exists", "Known transaction"] {
            assert_eq!(understand(words), Offered::Taken, "{words}");
        }
        for words in ["nonce too low: next nonce 5, tx nonce 4", "OldNonce, Current nonce: 5"] {
            assert_eq!(understand(words), Offered::NonceUsed, "{words}");
        }
        for words in [
            "insufficient funds for gas * price + value",
            "tx fee (1.20 ether) exceeds the configured cap (1.00 ether)",
            "transaction underpriced: tip needed 1",
            "max fee per gas less than block base fee",
        ] {
            assert!(matches!(understand(words), Offered::Rejected(_)), "{words}");
        }
        assert_eq!(understand("replacement transaction underpriced"), Offered::Underpriced);
        for words in ["", "internal error", "rate limit exceeded", "txpool is full", "timeout"] {
            assert_eq!(understand(words), Offered::Doubted, "{words}");
        }
    }
}

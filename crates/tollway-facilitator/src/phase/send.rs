//! Phase 7: build the transaction, sign it, journal it, hand it to the node. This is where a transaction is
//! sent.

use alloy_primitives::Bytes;
use tollway_evm::{Call, ChainError, SignedTransaction, Transaction, batch, exact};

use super::journal::record_sent;
use crate::lane::{Job, Lane};
use crate::limits::MAX_BATCH;

/// Gas for one `transferWithAuthorization` in its own transaction, with room for proxies.
const GAS_ALONE: u64 = 160_000;
/// Gas for each further one in a batch.
const GAS_EACH: u64 = 110_000;
/// How often a nonce that somebody else used is replaced by a fresh one.
const ATTEMPTS: usize = 3;

const _: () = assert!(GAS_ALONE + GAS_EACH * (MAX_BATCH as u64 - 1) < 1 << 24, "EIP-7825");

/// A transaction that may be out.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) signed: SignedTransaction,
    pub(crate) nonce: u64,
}

/// Nothing is out: no node took the transaction.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSent {
    /// The node was asked before anything was signed, and failed.
    #[error("the node failed before anything was sent: {0}")]
    Chain(#[from] ChainError),
    /// The signer failed.
    #[error(transparent)]
    Signer(#[from] tollway_evm::SignerError),
    /// Gas costs more than the operator pays.
    #[error("gas costs {base_fee} wei, the limit is {limit}")]
    TooDear {
        /// Per gas now.
        base_fee: u128,
        /// The limit.
        limit: u128,
    },
    /// The node rejected the transaction.
    #[error("the node rejected the transaction: {0}")]
    Rejected(String),
}

/// Sends the transaction that settles `jobs`.
pub(crate) async fn send(lane: &mut Lane, jobs: &[Job]) -> Result<Sent, NotSent> {
    let call = call_for(jobs);
    let gas_limit = GAS_ALONE + GAS_EACH * (u64::try_from(jobs.len()).unwrap_or(u64::MAX) - 1);
    for _ in 0..ATTEMPTS {
        let fees = lane.fees().await?;
        let nonce = lane.next_nonce().await?;
        let unsigned = Transaction {
            chain_id: lane.chain.chain_id(),
            nonce,
            to: call.to,
            data: call.data.clone(),
            gas_limit,
            max_fee_per_gas: fees.max_fee_per_gas,
            max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
        };
        let signed = unsigned.sign(lane.signer.as_ref()).await?;
        record_sent(&lane.journal, jobs, &signed);
        match offer(lane, &signed.raw).await {
            Offered::Taken => return Ok(Sent { signed, nonce }),
            Offered::NonceUsed => lane.forget_nonce(),
            Offered::Rejected(reason) => return Err(NotSent::Rejected(reason)),
        }
    }
    Err(NotSent::Rejected("the lane's key is in use elsewhere: its nonces keep moving".to_owned()))
}

/// What a node says to a raw transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// Taken, known already, or no answer: it may be out.
    Taken,
    /// Its nonce is behind the account's: it is included already, or can never be.
    NonceUsed,
    /// Refused for good.
    Rejected(String),
}

/// Hands a signed transaction to the node. Only an answer that rejects it proves that it is not out.
pub(crate) async fn offer(lane: &Lane, raw: &Bytes) -> Offered {
    let error = match lane.chain.send_raw(raw).await {
        Ok(_) => return Offered::Taken,
        Err(error) => error,
    };
    tracing::warn!(network = %lane.chain.network(), %error, "the node did not take a transaction");
    let Some(words) = error.rejection().map(str::to_lowercase) else { return Offered::Taken };
    // The words are those of the common nodes; a word nobody knows is taken as "it may be out".
    let says = |known: &[&str]| known.iter().any(|word| words.contains(word));
    if says(&["nonce too low", "nonce is too low"]) {
        Offered::NonceUsed
    } else if says(&[
        "insufficient funds",
        "intrinsic gas",
        "gas limit",
        "less than block base fee",
        "underpriced",
        "invalid sender",
        "invalid chain",
    ]) {
        Offered::Rejected(words.chars().take(160).collect())
    } else {
        Offered::Taken
    }
}

fn call_for(jobs: &[Job]) -> Call {
    match jobs {
        [only] => exact::transfer_call(&only.payment),
        many => batch(many.iter().map(|job| exact::transfer_call(&job.payment))),
    }
}

//! The buyer's last resort: what nobody captured in time goes back to who paid it, by a transaction of the payer's own
//! account, which pays the gas. The escrow asks nobody else.

use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolEvent;
use serde_json::json;
use tollway_core::UnixTime;

use super::abi::Escrow;
use super::calls::{PaymentState, reclaim_call};
use super::verify::Collection;
use crate::chain::{Chain, ChainError};
use crate::own::{self, OwnError};
use crate::{Bytes, Signer};

/// The most gas that it is given. Tokens behind proxies take some 90,000.
const MAX_GAS: u64 = 400_000;

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reclaimed {
    /// The transaction.
    pub transaction: B256,
    /// How much, atomic units.
    pub amount: U256,
}

/// Why nothing came back, or nothing that is known of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReclaimError {
    /// The key is not the payer's.
    #[error("nothing was sent: only {payer} may take it back, and the key is of {account}")]
    NotPayer {
        /// Who paid.
        payer: Address,
        /// Whose key it is.
        account: Address,
    },
    /// The escrow holds nothing of it: it was never held, or was taken or given back since.
    #[error("nothing was sent: nothing is held of this payment")]
    NothingHeld,
    /// The seller may still take it.
    #[error("nothing was sent: it may be taken back from {} on, and the chain's time is {}", .from.0, .now.0)]
    Early {
        /// The capture deadline.
        from: UnixTime,
        /// Of the newest block.
        now: UnixTime,
    },
    /// The transaction is not there, or not known of.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// The node's answer is none of an escrow's. Nothing was sent.
    #[error("nothing was sent: there is no escrow of this payment on the node's chain")]
    NoEscrow,
    /// It is in a block, and the escrow says nothing of this payment there.
    #[error(
        "the transaction {transaction} was included, and the escrow does not say that anything came back"
    )]
    Unproved {
        /// The transaction.
        transaction: B256,
    },
}

/// Takes back what is still held of `collection` after its capture deadline, by a transaction that the payer's account pays
/// for; waits for `patience` until it is in a block.
///
/// # Errors
/// [`ReclaimError`].
///
/// ```no_run
/// use std::time::Duration;
/// use tollway_evm::auth_capture::{self, ReclaimError};
/// use tollway_evm::{Chain, LocalSigner};
/// # async fn back(chain: Chain, payer: LocalSigner, request: tollway_core::model::FacilitatorRequest)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// let paid = auth_capture::check_at_any_time(&request.payment, &request.requirements)?;
/// match auth_capture::reclaim(&chain, &payer, &paid, Duration::from_secs(60)).await {
///     Ok(back) => println!("{} came back", back.amount),
///     Err(ReclaimError::Early { from, .. }) => println!("the seller has until {}", from.0),
///     Err(error) => println!("{error}"),
/// }
/// # Ok(()) }
/// ```
pub async fn reclaim(
    chain: &Chain,
    signer: &dyn Signer,
    collection: &Collection,
    patience: Duration,
) -> Result<Reclaimed, ReclaimError> {
    let (payer, account) = (collection.info.payer, signer.address());
    if payer != account {
        return Err(ReclaimError::NotPayer { payer, account });
    }
    chain.check_chain_id().await?;
    let deployment = collection.terms.deployment;
    let question = PaymentState::question(deployment.escrow, collection.hash);
    let call = json!([{ "to": question.to, "data": question.data }, "latest"]);
    let answer: Option<Bytes> = serde_json::from_value(chain.raw("eth_call", call).await?).ok();
    let state = answer.and_then(|answer| PaymentState::read(&answer)).ok_or(ReclaimError::NoEscrow)?;
    if state.balances.capturable.is_zero() {
        return Err(ReclaimError::NothingHeld);
    }
    let (from, now) = (UnixTime(collection.terms.capture_deadline), UnixTime(chain.head().await?.timestamp));
    if now < from {
        return Err(ReclaimError::Early { from, now });
    }
    let call = reclaim_call(&deployment, &collection.info);
    let (transaction, receipt) = own::send(chain, signer, call, MAX_GAS, patience).await?;
    let said = receipt.inner.logs().iter().filter(|log| log.address() == deployment.escrow).find_map(|log| {
        let event = Escrow::PaymentReclaimed::decode_log_data(log.data()).ok()?;
        (event.paymentInfoHash == collection.hash).then_some(event.amount)
    });
    said.map(|amount| Reclaimed { transaction, amount }).ok_or(ReclaimError::Unproved { transaction })
}

impl From<ChainError> for ReclaimError {
    fn from(error: ChainError) -> Self {
        Self::Own(error.into())
    }
}

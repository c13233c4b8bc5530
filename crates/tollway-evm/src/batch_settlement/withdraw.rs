//! The payer's last resort: what is left of a channel comes back without the seller, after a delay, by two transactions of the
//! payer's own account or of the key that signs its vouchers. The contract asks nobody else.

use std::time::Duration;

use alloy_primitives::{Address, B256};
use alloy_rpc_types_eth::TransactionReceipt;
use alloy_sol_types::SolEvent;
use tollway_core::{Backing, UnixTime};

use super::SETTLEMENT;
use super::abi::Channels;
use super::calls::{finalize_withdraw_call, initiate_withdraw_call};
use super::chain::backings;
use super::channel::ChannelConfig;
use crate::Signer;
use crate::chain::{Chain, ChainError};
use crate::multicall::Call;
use crate::own::{self, OwnError};

/// The most gas that either is given.
const MAX_GAS: u64 = 400_000;

/// A withdrawal that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// The transaction.
    pub transaction: B256,
    /// How much comes back at most, atomic units: what the seller claims until then does not.
    pub amount: u128,
    /// From when on it can be ended.
    pub from: UnixTime,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// The transaction.
    pub transaction: B256,
    /// How much, atomic units.
    pub amount: u128,
}

/// Why nothing was begun or came back, or nothing that is known of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WithdrawError {
    /// The key is neither the payer's nor the one that signs its vouchers.
    #[error("nothing was sent: only {payer} may withdraw, and the key is of {account}")]
    NotPayer {
        /// Whose money it is.
        payer: Address,
        /// Whose key it is.
        account: Address,
    },
    /// Nothing is left: all was claimed or given back, or never put in.
    #[error("nothing was sent: there is nothing to withdraw")]
    NothingLeft,
    /// One is under way.
    #[error("nothing was sent: a withdrawal was begun at {}, and can be ended from {} on", .since.0, .from.0)]
    UnderWay {
        /// When it was begun.
        since: UnixTime,
        /// From when on it can be ended.
        from: UnixTime,
    },
    /// None is under way.
    #[error("nothing was sent: no withdrawal is under way")]
    NotBegun,
    /// The seller still has time to claim.
    #[error("nothing was sent: it can be ended from {} on, and the chain's time is {}", .from.0, .now.0)]
    Early {
        /// From when on it can be ended.
        from: UnixTime,
        /// Of the newest block.
        now: UnixTime,
    },
    /// The transaction is not there, or not known of.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// It is in a block, and the contract says nothing of this channel there.
    #[error("the transaction {transaction} was included, and the contract does not say what it did")]
    Unproved {
        /// The transaction.
        transaction: B256,
    },
}

/// Begins to take back `amount` of a channel, or all that is left, by a transaction that the signer's account pays for; waits
/// for `patience` until it is in a block.
///
/// # Errors
/// [`WithdrawError`].
///
/// ```no_run
/// use std::time::Duration;
/// use tollway_evm::batch_settlement::{ChannelConfig, WithdrawError, begin_withdrawal};
/// use tollway_evm::{Chain, LocalSigner};
/// # async fn back(chain: Chain, payer: LocalSigner, config: ChannelConfig) -> Result<(), WithdrawError> {
/// let begun = begin_withdrawal(&chain, &payer, &config, None, Duration::from_secs(60)).await?;
/// println!("{} can be had from {} on", begun.amount, begun.from.0);
/// # Ok(()) }
/// ```
pub async fn begin_withdrawal(
    chain: &Chain,
    signer: &dyn Signer,
    config: &ChannelConfig,
    amount: Option<u128>,
    patience: Duration,
) -> Result<Withdrawal, WithdrawError> {
    let (id, backing) = look(chain, signer, config).await?;
    if let Some(since) = backing.withdraw_requested_at {
        return Err(WithdrawError::UnderWay {
            since,
            from: since.plus_seconds(config.withdraw_delay_seconds),
        });
    }
    let left = backing.balance.checked_sub(backing.claimed).unwrap_or_default();
    let left = u128::try_from(left.atomic()).unwrap_or_default();
    let amount = amount.unwrap_or(left).min(left);
    if amount == 0 {
        return Err(WithdrawError::NothingLeft);
    }
    let call = initiate_withdraw_call(config, amount);
    let (transaction, receipt) = send(chain, signer, call, patience).await?;
    let said = said(&receipt, |event: Channels::WithdrawInitiated| {
        (event.channelId == id).then(|| (event.amount, UnixTime(event.finalizeAfter.to())))
    });
    said.map(|(amount, from)| Withdrawal { transaction, amount, from })
        .ok_or(WithdrawError::Unproved { transaction })
}

/// Ends a withdrawal whose delay is over: what the seller has not claimed in the meantime comes back to the payer.
///
/// # Errors
/// [`WithdrawError`].
///
/// ```no_run
/// use std::time::Duration;
/// use tollway_evm::batch_settlement::{ChannelConfig, WithdrawError, end_withdrawal};
/// use tollway_evm::{Chain, LocalSigner};
/// # async fn back(chain: Chain, payer: LocalSigner, config: ChannelConfig) -> Result<(), WithdrawError> {
/// match end_withdrawal(&chain, &payer, &config, Duration::from_secs(60)).await {
///     Ok(back) => println!("{} came back", back.amount),
///     Err(WithdrawError::Early { from, .. }) => println!("the seller has until {}", from.0),
///     Err(error) => return Err(error),
/// }
/// # Ok(()) }
/// ```
pub async fn end_withdrawal(
    chain: &Chain,
    signer: &dyn Signer,
    config: &ChannelConfig,
    patience: Duration,
) -> Result<Withdrawn, WithdrawError> {
    let (id, backing) = look(chain, signer, config).await?;
    let since = backing.withdraw_requested_at.ok_or(WithdrawError::NotBegun)?;
    let from = since.plus_seconds(config.withdraw_delay_seconds);
    let now = UnixTime(chain.head().await?.timestamp);
    if now < from {
        return Err(WithdrawError::Early { from, now });
    }
    let (transaction, receipt) = send(chain, signer, finalize_withdraw_call(config), patience).await?;
    let said =
        said(&receipt, |event: Channels::WithdrawFinalized| (event.channelId == id).then_some(event.amount));
    said.map(|amount| Withdrawn { transaction, amount }).ok_or(WithdrawError::Unproved { transaction })
}

/// The channel, if it is this key's to withdraw from, and how it stands.
async fn look(
    chain: &Chain,
    signer: &dyn Signer,
    config: &ChannelConfig,
) -> Result<(B256, Backing), WithdrawError> {
    let (payer, account) = (config.payer, signer.address());
    if account != payer && Some(account) != config.voucher_key() {
        return Err(WithdrawError::NotPayer { payer, account });
    }
    chain.check_chain_id().await?;
    let id = config.id(chain.chain_id());
    let backing = backings(chain, &[id]).await?.pop().ok_or(ChainError::NoState)?;
    Ok((id, backing))
}

async fn send(
    chain: &Chain,
    signer: &dyn Signer,
    call: Call,
    patience: Duration,
) -> Result<(B256, TransactionReceipt), WithdrawError> {
    Ok(own::send(chain, signer, call, MAX_GAS, patience).await?)
}

/// What the contract says in an event that `reads`.
fn said<E: SolEvent, T>(receipt: &TransactionReceipt, reads: impl Fn(E) -> Option<T>) -> Option<T> {
    let of_contract = receipt.inner.logs().iter().filter(|log| log.address() == SETTLEMENT);
    of_contract.filter_map(|log| E::decode_log_data(log.data()).ok()).find_map(reads)
}

impl From<ChainError> for WithdrawError {
    fn from(error: ChainError) -> Self {
        Self::Own(error.into())
    }
}

//! The payer's own approval of Permit2: a transaction of the payer's account, which pays the gas. Only an explicit wish sends one.

use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use tokio::time::{Instant, sleep};

use super::approve_call;
use crate::chain::{Chain, ChainError};
use crate::transaction::Transaction;
use crate::{Signer, SignerError};

/// The most gas that an approval is given. Tokens behind proxies take some 60,000.
const MAX_GAS: u64 = 300_000;
/// Between two looks for the receipt.
const PAUSE: Duration = Duration::from_millis(250);

/// Why there is no approval, or none that is known of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApproveError {
    /// The node gave no answer, or says that the token refuses. Nothing was sent.
    #[error("nothing was sent: {0}")]
    Chain(#[from] ChainError),
    /// The signer failed. Nothing was sent.
    #[error("nothing was sent: {0}")]
    Signer(#[from] SignerError),
    /// The account cannot pay the gas. Nothing was sent.
    #[error("nothing was sent: {account} has {has} wei for gas and may need {needs}")]
    Gas {
        /// Whose.
        account: Address,
        /// Its balance.
        has: U256,
        /// The most that the transaction can cost.
        needs: U256,
    },
    /// The token wants more gas than an approval ever needs. Nothing was sent.
    #[error("nothing was sent: {token} wants {gas} gas for an approval, more than {MAX_GAS}")]
    Greedy {
        /// The token.
        token: Address,
        /// What it wants.
        gas: u64,
    },
    /// It is in a block, and failed.
    #[error("the approval {transaction} was included and failed: the token refused it")]
    Reverted {
        /// The transaction.
        transaction: B256,
    },
    /// Sent, perhaps, and not seen in a block in time: it may still come.
    #[error("the approval {transaction} is not in a block yet ({cause}): it may still come")]
    Pending {
        /// The transaction.
        transaction: B256,
        /// What came instead of a receipt.
        cause: String,
    },
}

/// Lets Permit2 take up to `amount` of the signer's `token`, instead of what it could take before, by a transaction that the
/// signer's account pays for; returns it once it is in a block. It waits for that for `patience`.
///
/// # Errors
/// [`ApproveError`].
///
/// ```no_run
/// use std::time::Duration;
/// use tollway_evm::{Address, Chain, LocalSigner, U256, permit2};
/// # async fn allow(chain: Chain, token: Address, signer: LocalSigner) -> Result<(), permit2::ApproveError> {
/// let (amount, patience) = (U256::from(1_000_000), Duration::from_secs(60));
/// println!("approved by {}", permit2::approve(&chain, &signer, token, amount, patience).await?);
/// # Ok(()) }
/// ```
pub async fn approve(
    chain: &Chain,
    signer: &dyn Signer,
    token: Address,
    amount: U256,
    patience: Duration,
) -> Result<B256, ApproveError> {
    let until = Instant::now() + patience.min(Duration::from_secs(24 * 3600));
    chain.check_chain_id().await?;
    let transaction = prepare(chain, signer.address(), token, amount).await?;
    let signed = transaction.sign(signer).await?;
    let pending = |cause: String| ApproveError::Pending { transaction: signed.hash, cause };
    // The node may have taken it and lost its answer: only the receipt tells.
    let mut cause = match chain.send_raw(&signed.raw).await {
        Ok(_) => "sent".to_owned(),
        Err(error) => error.to_string(),
    };
    loop {
        match chain.receipt(signed.hash).await {
            Ok(Some(receipt)) if receipt.status() => return Ok(signed.hash),
            Ok(Some(_)) => return Err(ApproveError::Reverted { transaction: signed.hash }),
            Ok(None) => {}
            Err(error) => cause = error.to_string(),
        }
        if Instant::now() + PAUSE >= until {
            return Err(pending(cause));
        }
        sleep(PAUSE).await;
    }
}

/// The transaction, which the account can pay for.
async fn prepare(
    chain: &Chain,
    account: Address,
    token: Address,
    amount: U256,
) -> Result<Transaction, ApproveError> {
    let call = approve_call(token, amount);
    let gas = chain.estimate_gas(account, &call).await?;
    if gas > MAX_GAS {
        return Err(ApproveError::Greedy { token, gas });
    }
    let gas_limit = (gas + gas / 4).min(MAX_GAS);
    let (tip, base) = (chain.priority_fee().await?, chain.head().await?.base_fee);
    let max_fee = base.saturating_mul(2).saturating_add(tip);
    let needs = U256::from(max_fee).saturating_mul(U256::from(gas_limit));
    let has = chain.balance(account).await?;
    if has < needs {
        return Err(ApproveError::Gas { account, has, needs });
    }
    Ok(Transaction {
        chain_id: chain.chain_id(),
        nonce: chain.nonce(account).await?,
        to: call.to,
        data: call.data,
        gas_limit,
        max_fee_per_gas: max_fee,
        max_priority_fee_per_gas: tip,
    })
}

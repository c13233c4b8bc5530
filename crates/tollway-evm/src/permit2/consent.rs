//! The payer's own approval of Permit2: a transaction of the payer's account, which pays the gas. Only an explicit wish sends
//! one; what is signed for others to send is sent to nobody here.

use std::time::Duration;

use alloy_primitives::{Address, B256, U256};

use super::approve_call;
use crate::chain::{Chain, ChainError};
use crate::own::{self, OwnError};
use crate::transaction::SignedTransaction;
use crate::{Signer, SignerError};

/// The most gas that an approval is given. Tokens behind proxies take some 60,000.
const MAX_GAS: u64 = 300_000;

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
    chain.check_chain_id().await?;
    let sent = own::send(chain, signer, approve_call(token, amount), MAX_GAS, patience).await;
    sent.map(|(transaction, _)| transaction).map_err(|error| told(token, error))
}

/// The same approval, signed for others to send: whoever does may have to give the account the money for its gas.
pub(super) async fn sign_approval(
    chain: &Chain,
    signer: &dyn Signer,
    token: Address,
    amount: U256,
) -> Result<SignedTransaction, ApproveError> {
    chain.check_chain_id().await?;
    let signed = own::sign(chain, signer, approve_call(token, amount), MAX_GAS).await;
    signed.map_err(|error| told(token, error))
}

fn told(token: Address, error: OwnError) -> ApproveError {
    match error {
        OwnError::Chain(error) => ApproveError::Chain(error),
        OwnError::Signer(error) => ApproveError::Signer(error),
        OwnError::Gas { account, has, needs } => ApproveError::Gas { account, has, needs },
        OwnError::Greedy { gas, .. } => ApproveError::Greedy { token, gas },
        OwnError::Reverted { transaction } => ApproveError::Reverted { transaction },
        OwnError::Pending { transaction, cause } => ApproveError::Pending { transaction, cause },
    }
}

//! A transaction of the user's own account, which pays the gas: sent once, and waited for. What it is for is with who asks
//! for it: an approval of Permit2, money that is taken back. Only an explicit wish sends one.

use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use alloy_rpc_types_eth::TransactionReceipt;
use tokio::time::{Instant, sleep};

use crate::chain::{Chain, ChainError};
use crate::multicall::Call;
use crate::transaction::{SignedTransaction, Transaction};
use crate::{Signer, SignerError};

/// Between two looks for the receipt.
const PAUSE: Duration = Duration::from_millis(250);
/// Nobody waits for longer.
const MAX_PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Why there is no transaction of the user's own account, or none that is known of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnError {
    /// The node gave no answer, or says that the contract refuses. Nothing was sent.
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
    /// It wants more gas than it ever needs. Nothing was sent.
    #[error("nothing was sent: it wants {gas} gas, more than {most}")]
    Greedy {
        /// What it wants.
        gas: u64,
        /// What it may have.
        most: u64,
    },
    /// It is in a block, and failed: somebody else was faster.
    #[error("the transaction {transaction} was included and failed: look again at what is there")]
    Reverted {
        /// The transaction.
        transaction: B256,
    },
    /// Sent, perhaps, and not seen in a block in time: it may still come.
    #[error("the transaction {transaction} is not in a block yet ({cause}): it may still come")]
    Pending {
        /// The transaction.
        transaction: B256,
        /// What came instead of a receipt.
        cause: String,
    },
}

/// Sends `call` from the signer's account with at most `max_gas`, and waits for `patience` until it is in a block.
pub(crate) async fn send(
    chain: &Chain,
    signer: &dyn Signer,
    call: Call,
    max_gas: u64,
    patience: Duration,
) -> Result<(B256, TransactionReceipt), OwnError> {
    let until = Instant::now() + patience.min(MAX_PATIENCE);
    let transaction = prepare(chain, signer.address(), call, max_gas).await?;
    let signed = transaction.sign(signer).await.map_err(OwnError::Signer)?;
    // The node may have taken it and lost its answer: only the receipt tells.
    let mut cause = match chain.send_raw(&signed.raw).await {
        Ok(_) => "sent".to_owned(),
        Err(error) => error.to_string(),
    };
    loop {
        match chain.receipt(signed.hash).await {
            Ok(Some(receipt)) if receipt.status() => return Ok((signed.hash, receipt)),
            Ok(Some(_)) => return Err(OwnError::Reverted { transaction: signed.hash }),
            Ok(None) => {}
            Err(error) => cause = error.to_string(),
        }
        if Instant::now() + PAUSE >= until {
            return Err(OwnError::Pending { transaction: signed.hash, cause });
        }
        sleep(PAUSE).await;
    }
}

/// Signs `call` as the account's next transaction and sends it to nobody: whoever does may have to give it the money for its
/// gas.
pub(crate) async fn sign(
    chain: &Chain,
    signer: &dyn Signer,
    call: Call,
    max_gas: u64,
) -> Result<SignedTransaction, OwnError> {
    let transaction = build(chain, signer.address(), call, max_gas).await?;
    transaction.sign(signer).await.map_err(OwnError::Signer)
}

/// The transaction, which the account can pay for.
async fn prepare(chain: &Chain, account: Address, call: Call, max_gas: u64) -> Result<Transaction, OwnError> {
    let transaction = build(chain, account, call, max_gas).await?;
    let needs = U256::from(transaction.max_fee_per_gas).saturating_mul(U256::from(transaction.gas_limit));
    let has = chain.balance(account).await?;
    match has < needs {
        true => Err(OwnError::Gas { account, has, needs }),
        false => Ok(transaction),
    }
}

/// The transaction, at the network's price.
async fn build(chain: &Chain, account: Address, call: Call, max_gas: u64) -> Result<Transaction, OwnError> {
    let gas = chain.estimate_gas(account, &call).await?;
    if gas > max_gas {
        return Err(OwnError::Greedy { gas, most: max_gas });
    }
    let gas_limit = (gas + gas / 4).min(max_gas);
    let (max_fee_per_gas, max_priority_fee_per_gas) = chain.suggested_fees().await?;
    Ok(Transaction {
        chain_id: chain.chain_id(),
        nonce: chain.nonce(account).await?,
        to: call.to,
        value: U256::ZERO,
        data: call.data,
        gas_limit,
        max_fee_per_gas,
        max_priority_fee_per_gas,
    })
}

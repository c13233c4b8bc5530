//! How an account stands whose signed approval of Permit2 is to be sent for it: what its transaction needs to be included, and
//! whether it is still needed.

use alloy_primitives::{Address, Bytes, U64, U256, address};
use alloy_sol_types::{SolCall, sol};
use serde_json::json;
use tokio::try_join;

use super::settle::proxy::Approved;
use super::{PERMIT2, SponsoredApproval};
use crate::chain::{CallOutcome, Chain, ChainError};
use crate::multicall::Call;

sol! {
    interface GasPriceOracle {
        function getL1Fee(bytes transaction) external view returns (uint256);
    }
}

/// Where rollups of the OP stack tell what a transaction's data costs.
const GAS_PRICE_ORACLE: Address = address!("420000000000000000000000000000000000000F");
/// For one question to it, or to a token.
const ORACLE_GAS: u64 = 500_000;
const READ_GAS: u64 = 200_000;

/// How an account stands, on the latest block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The nonce of its next transaction.
    pub nonce: u64,
    /// The same after what the node's pool holds of it.
    pub pending_nonce: u64,
    /// What it has for gas, wei.
    pub balance: U256,
    /// Whether it has code.
    pub has_code: bool,
    /// How much of its token Permit2 may take.
    pub allowance: U256,
}

/// Asks how `account` stands, which pays in `token`.
///
/// # Errors
/// The node gave no answer.
///
/// ```no_run
/// # async fn run(chain: tollway_evm::Chain, token: tollway_evm::Address, payer: tollway_evm::Address)
/// # -> Result<(), tollway_evm::ChainError> {
/// let standing = tollway_evm::permit2::standing(&chain, token, payer).await?;
/// println!("has {} wei and sends its transaction {} next", standing.balance, standing.nonce);
/// # Ok(()) }
/// ```
pub async fn standing(chain: &Chain, token: Address, account: Address) -> Result<Standing, ChainError> {
    let asked = Approved::allowanceCall { owner: account, spender: PERMIT2 };
    let asked = Call { to: token, data: asked.abi_encode().into() };
    let asked = chain.call(account, &asked, READ_GAS);
    let pending = chain.raw("eth_getTransactionCount", json!([account, "pending"]));
    let (nonce, pending, balance, code, allowance) =
        try_join!(chain.nonce(account), pending, chain.balance(account), chain.code(account), asked)?;
    let allowance = match allowance {
        CallOutcome::Returned(word) if word.len() >= 32 => U256::from_be_slice(&word[..32]),
        // Who tells no allowance has none.
        _ => U256::ZERO,
    };
    let pending_nonce = serde_json::from_value::<U64>(pending).map_or(nonce, |nonce| nonce.to());
    Ok(Standing { nonce, pending_nonce, balance, has_code: !code.is_empty(), allowance })
}

/// What the payer's account must have to send its approval, wei: its gas at most, and on a rollup what its data costs.
///
/// # Errors
/// The node gave no answer.
///
/// ```no_run
/// # async fn run(chain: tollway_evm::Chain, approval: tollway_evm::permit2::SponsoredApproval)
/// # -> Result<(), tollway_evm::ChainError> {
/// let needs = tollway_evm::permit2::approval_cost(&chain, &approval).await?;
/// assert!(needs >= approval.max_cost());
/// # Ok(()) }
/// ```
pub async fn approval_cost(chain: &Chain, approval: &SponsoredApproval) -> Result<U256, ChainError> {
    let data = GasPriceOracle::getL1FeeCall { transaction: approval.raw.clone() }.abi_encode();
    let call = Call { to: GAS_PRICE_ORACLE, data: Bytes::from(data) };
    let fee = match chain.call(Address::ZERO, &call, ORACLE_GAS).await? {
        // It rises and falls with another chain's gas: an eighth more.
        CallOutcome::Returned(answer) if answer.len() == 32 => {
            let fee = U256::from_be_slice(&answer);
            fee.saturating_add(fee >> 3)
        }
        // Elsewhere there is no such contract.
        _ => U256::ZERO,
    };
    Ok(approval.max_cost().saturating_add(fee))
}

//! x402 on EVM chains: who signs, what is checked, how money moves and how that is proved.
//!
//! - [`exact`]: scheme `exact` by EIP-3009, one file a step.
//! - [`permit2`]: scheme `exact` for tokens without EIP-3009, and scheme `upto`.
//! - [`auth_capture`]: scheme `auth-capture`: money that is held, taken and given back.
//! - [`delegation`]: the same by delegation (ERC-7710).
//! - [`batch_settlement`]: scheme `batch-settlement`: channels, vouchers, many debts in few transactions.
//! - [`AssetTable`]: which token a price means, and the domain it signs under.
//! - [`signature`], [`eip712`]: the cryptography, on libsecp256k1.
//! - [`credit`]: the signature that redeems a seller's credit.
//! - [`offer_receipt`]: signed offers and receipts.
//! - [`sign_in`]: the signature of who signs in.
//! - [`Signer`], [`LocalSigner`]: whose key. With feature `keystore`, keys in encrypted files; with `web3signer`, keys
//!   behind a service.
//! - With feature `rpc`, for those who settle: [`Payment`], whatever authorizes it; [`simulate`]; [`Chain`] and
//!   [`Transaction`].
//!
//! What does not live here: state, retries, nonces and policy. Those belong to the facilitator's engine and
//! the buyer's wallet.

mod asset;
pub mod auth_capture;
pub mod batch_settlement;
#[cfg(feature = "rpc")]
mod chain;
pub mod credit;
pub mod delegation;
#[cfg(feature = "rpc")]
mod deployment;
pub mod eip712;
pub mod exact;
#[cfg(feature = "rpc")]
mod fate;
#[cfg(feature = "keystore")]
pub mod keystore;
#[cfg(feature = "rpc")]
mod multicall;
pub mod offer_receipt;
#[cfg(feature = "rpc")]
mod own;
#[cfg(feature = "rpc")]
mod payment;
pub mod permit2;
mod pricing;
mod recent;
pub mod sign_in;
pub mod signature;
mod signer;
#[cfg(feature = "rpc")]
mod simulate;
#[cfg(feature = "rpc")]
mod state;
#[cfg(feature = "rpc")]
pub mod telemetry;
#[cfg(feature = "rpc")]
mod transaction;
#[cfg(feature = "web3signer")]
mod web3signer;

pub use alloy_primitives::{Address, B256, Bytes, Signature, U256, keccak256};
pub use asset::{Asset, AssetTable, TransferMethod};
#[cfg(feature = "rpc")]
pub use chain::{Chain, ChainError, Head, Node, NodeError, NodeRules, NodeStatus, Refused};
#[cfg(feature = "rpc")]
pub use deployment::{asset_faults, deployment_faults};
#[cfg(feature = "rpc")]
pub use fate::{Fate, Movement, Sight, fate};
#[cfg(feature = "rpc")]
pub use multicall::{Call, MULTICALL3, batch};
#[cfg(feature = "rpc")]
pub use own::OwnError;
#[cfg(feature = "rpc")]
pub use payment::{Payment, Settleable, Trouble};
pub use signer::{LocalSigner, Signer, SignerError};
#[cfg(feature = "rpc")]
pub use simulate::{Funds, Verdict, simulate, simulate_approved};
#[cfg(feature = "rpc")]
pub use state::{are_used, find_uses};
#[cfg(feature = "rpc")]
pub use transaction::{SignedTransaction, Transaction};
#[cfg(feature = "web3signer")]
pub use web3signer::Web3Signer;

//! An Ethereum chain inside your process, for demos and tests: no testnet, no account, no other program.
//!
//! [`spawn`] starts a chain that runs real EVM code (revm) behind real Ethereum JSON-RPC, over HTTP and
//! WebSocket on one port of 127.0.0.1 and, without a socket, over [`Handle::transport`]. It comes with ten
//! funded [`ACCOUNTS`], tokens that speak EIP-3009 and EIP-2612 and such that do not, Permit2 and what x402 pays through
//! ([`genesis`]), a faucet, and [`Faults`] on demand. [`hostile`] tokens and contracts to [`deploy`] are for tests.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> tollway_devnet::Result<()> {
//! use tollway_devnet::Config;
//!
//! let devnet = tollway_devnet::spawn(Config::default()).await?;
//! assert!(devnet.rpc_url().starts_with("http://127.0.0.1:"));
//! # Ok(()) }
//! ```
//!
//! # What it speaks
//!
//! The `eth_`, `net_` and `web3_` methods that wallets, libraries and services use, with geth's error codes and
//! messages, `eth_simulateV1` among them; `eth_subscribe` to `newHeads` and `logs` on the WebSocket; filters to
//! poll; and of anvil's and hardhat's controls: `mine`, `setBalance`, `setCode`, `setNonce`, `setStorageAt`,
//! `setNextBlockBaseFeePerGas`, `snapshot`, `revert`, and the `evm_` ones for time and mining. Its own are
//!
//! * `tollway_faucet(address, wei?, tokenAtomic?)`: gives ether and the same amount of every token;
//! * `tollway_setFault(fault)`: see [`Fault`].
//!
//! # In a simulation
//!
//! With [`Config::in_process`] the devnet has neither threads nor a socket: requests come by [`Handle::transport`] and
//! are done where they are asked for. Waiting goes by tokio's time, so a runtime whose time is paused drives interval
//! mining and delays; the time in blocks comes from [`Config::clock`].
//!
//! # What it is not
//!
//! A chain with consensus, peers or a disk: everything is in memory, bounded by [`Limits`], and gone at the
//! end. State roots are zero, since no trie is kept over the accounts; hashes of transactions, receipts and
//! blocks are real. There are no blob transactions, and the node signs nothing: transactions arrive signed, of any other
//! type, set-code transactions (EIP-7702) included.
//!
//! # Where it differs from other nodes
//!
//! * A call at the latest block sees the time a block would have now, unless blocks come by themselves.
//!   Payments carry time windows, and an instant chain's latest block may be old.
//! * The first block of an `eth_simulateV1` at the latest block has that time too, unless it says another. Ether that
//!   moves leaves no logs there (`traceTransfers`).
//! * The pending state is the latest state. Only the pending nonce looks into the pool.
//! * Many blocks may share one second: time never runs ahead of the wall clock.

mod accounts;
pub mod auth_capture;
pub mod batch_settlement;
mod chain;
mod config;
pub mod deploy;
mod error;
mod evm;
mod failure;
mod faults;
mod filters;
pub mod genesis;
mod handle;
pub mod hostile;
mod node;
mod rpc;
mod serve;
mod simulation;
mod state;
mod transport;

pub use self::{
    accounts::{ACCOUNTS, DevAccount},
    config::{Config, Grant, Limits, Mining},
    error::{Error, Result},
    faults::{Fault, Faults},
    handle::{Handle, spawn},
    transport::DevnetTransport,
};

//! Claiming: what was charged on channels becomes the seller's money, many channels by one transaction, always before a payer
//! can have it back.
//!
//! - `policy`: when it is worth it, and when it is high time.
//! - `worker`: one round of it: who is due, what is done with each.
//! - `waiting`: a channel with something to do, and how it is written.
//! - `sight`: what stands behind channels, asked in good time.
//! - `batch`: one claim, from writing down to its end.
//! - `payout`: what was claimed is paid out, once for each receiver and token.
//! - `idle`: what nobody uses is given back.
//! - `sweep`: every channel is seen now and then, and summed up.
//!
//! Every step is written down before it is asked for, and asked for again until its end is known. A claim names what the
//! channel has paid in all, so the same one twice brings the same. What does not live here: what a claim looks like
//! (`tollway-evm`), and how it gets into a block (the facilitator).

mod batch;
mod idle;
mod payout;
mod policy;
mod sight;
mod sweep;
mod waiting;
mod worker;

pub(crate) use payout::wake as wake_payout;
pub use policy::{ClaimCost, ClaimCosts, ClaimPolicy};
pub use sweep::{ChannelReport, ChannelSums, ChannelView};
pub use worker::{ClaimEnd, ClaimOutcome, ClaimStep, ClaimWorker};

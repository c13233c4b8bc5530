//! Channels: money that a payer has put behind vouchers, so that a request costs a signature and no transaction.
//!
//! - `record`: what the ledger keeps of a channel beside its sums, for who claims what was charged.
//! - `row`: a channel as a request works with it, small enough to keep many.
//! - `table`: the rows that are kept in memory, and who works with which.
//! - `book`: reading and writing rows.
//! - `look`: what stands behind a channel now, by the chain or the facilitator.
//! - `rules`: what channels may cost the seller.
//!
//! What does not live here: a request's way through (`phase/channel.rs`), what a voucher says (`tollway-evm`).

pub(crate) mod book;
pub(crate) mod look;
pub(crate) mod record;
pub(crate) mod row;
mod rules;
pub(crate) mod table;

pub use rules::ChannelRules;
pub(crate) use rules::Channels;

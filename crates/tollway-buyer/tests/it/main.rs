//! The wallet against real shops over loopback TCP: honest ones, and ones that want more than they are owed.

#![expect(clippy::panic, clippy::unwrap_used, reason = "the shop and the purse are tests too")]

mod answers;
mod approve;
mod channels;
mod drift;
mod fate;
mod identity;
mod key;
mod offers;
mod once;
mod policy;
mod purse;
mod rules;
mod shop;
mod signed;
mod stacked;
mod terms;
mod till;
mod transport;

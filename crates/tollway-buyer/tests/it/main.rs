//! The wallet against real shops over loopback TCP: honest ones, and ones that want more than they are owed.

#![expect(clippy::panic, clippy::unwrap_used, reason = "the shop and the purse are tests too")]

mod answers;
mod fate;
mod identity;
mod key;
mod offers;
mod purse;
mod rules;
mod shop;
mod signed;
mod terms;
mod transport;

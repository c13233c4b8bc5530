//! Channels: money put aside for a seller once, and spent there purchase by purchase, by vouchers (scheme `batch-settlement`).
//!
//! Each purchase is an intent as any other, its price held in every budget at the most it may cost and counted at what was
//! charged. Beside it the channel has a row of its own in the wallet's ledger, under a wallet's name of its own: what was
//! charged, what was promised, and as holds of its own the exposure, put in and neither spent nor back.
//!
//! ```text
//! turn on the channel -> plan -> intent opened (price held) -> promise written (exposure held) -> signed -> presented
//!       ^                                                                                                     |
//!       +------ charged, and written <- told and held against the promise <- answer ----------------- or lost +
//!                                       same request: same voucher; another: the seller corrects us <---------+
//! ```
//!
//! A promise is written before anything is signed for it, and stays until it is known what was charged for it. Whoever comes
//! next goes by what is known; if that is too little, the seller shows our own voucher and says so, and the sum that it adds
//! belongs to the promise that was lost. So a lost answer is neither charged twice nor forgotten.
//!
//! `record` is what is written and what follows from it, `json` how it looks; `lane` is the right to use a channel, `pay` the
//! way from an offer to a signed voucher, `answer` what an answer comes to, `fate` what became of promises, `refund` the way
//! back of the money, `node` who sees what is in a channel.

pub(crate) mod answer;
pub(crate) mod fate;
mod json;
pub(crate) mod lane;
#[cfg(test)]
mod model;
#[cfg(feature = "rpc")]
pub(crate) mod node;
pub(crate) mod pay;
pub(crate) mod record;
pub(crate) mod refund;

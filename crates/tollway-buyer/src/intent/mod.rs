//! Intents: purchases that happen once.
//!
//! An intent is written before anything is signed, and what is signed is written before it leaves. Whatever breaks after
//! that, the same request finds its intent, and the same payment is presented again: a signature more could be a charge
//! more, the same one cannot. One intent has one authorization, ever; only when that is provably dead, another intent may
//! be opened for the same request.
//!
//! ```text
//!          sign             answer                                    read to its end
//! opened -------> signed ----------> paid | served ------------------------------------> closed
//!   |               |                  ^                                                 (the request buys anew)
//!   | not signed    |                  | a node: it moved
//!   v               +--------------> refused | failed | unresolved
//! void                                 | a node: expired on a final block, and unused
//!                                      v
//!                                     dead: the budget is free again
//! ```
//!
//! `record` is what is written, `json` how it looks; `key` says which requests are one purchase; `book` opens and takes
//! intents, `work` is the right to write on one, `turns` keeps the requests of a process apart and `member` the processes;
//! `answer` follows the answer to its end; `reconcile` takes in what `fate` sees on chain; `keeper` is what happens by itself.

pub(crate) mod answer;
pub(crate) mod book;
pub(crate) mod fate;
pub(crate) mod json;
mod keeper;
pub(crate) mod key;
pub(crate) mod member;
#[cfg(test)]
mod model;
pub(crate) mod reconcile;
pub(crate) mod record;
pub(crate) mod turns;
pub(crate) mod work;

//! The phases of one payment, one file each, in the order they happen: read, match, echo, check, reserve
//! and verify ([`admit`]), the handler in between, then settle. None of them knows how requests are served.

pub(crate) mod admit;
pub(crate) mod channel;
mod deposit;
mod echo;
mod held;
pub(crate) mod read;
pub(crate) mod redeem;
mod refund;
mod reserved;
mod select;
mod settle;
pub(crate) mod signature;
mod ticket;
pub(crate) mod verify;
mod voucher;

pub use admit::CheckedPayment;
pub(crate) use admit::Presentation;
pub(crate) use channel::Committed;
pub(crate) use settle::{Confirmation, Question};
pub(crate) use ticket::Word;
pub use ticket::{Charge, Receipt, Ticket};
pub(crate) use voucher::ChannelTicket;

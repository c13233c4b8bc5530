//! The phases of one payment, one file each, in the order they happen: read, match, echo, check, reserve
//! and verify ([`admit`]), the handler in between, then settle. None of them knows how requests are served.

pub(crate) mod admit;
mod echo;
mod held;
pub(crate) mod read;
pub(crate) mod redeem;
mod select;
mod settle;
mod ticket;
mod verify;

pub use admit::CheckedPayment;
pub(crate) use admit::Presentation;
pub(crate) use settle::{Confirmation, Question};
pub(crate) use ticket::Word;
pub use ticket::{Charge, Receipt, Ticket};

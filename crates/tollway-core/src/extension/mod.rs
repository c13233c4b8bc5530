//! Extensions, as far as both ends of a 402 must agree on them: what is declared, what is answered, and how it is spelled.
//!
//! - [`echo`]: which parts of a declaration a payment must carry back unchanged.
//! - [`sign_in`]: `sign-in-with-x`, a wallet's proof that it is who paid before.
//! - [`builder_code`]: `builder-code`, who took part in a payment, down to the bytes on chain.
//! - [`auth_hints`]: `auth-hints`, which offers need credentials besides.
//! - [`message_signatures`]: `http-message-signatures`, what a seller says of the signatures that it reads.
//!
//! What does not live here: the signatures themselves ([`http_signature`](crate::http_signature), `tollway-evm`), and what
//! a seller or a buyer does with an answer.

pub mod auth_hints;
pub mod builder_code;
pub mod echo;
pub mod message_signatures;
pub mod sign_in;
mod timestamp;

pub use timestamp::{format_timestamp, parse_timestamp};

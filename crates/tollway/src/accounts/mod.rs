//! `tollway accounts`: how accounts on credit stand, what they were charged, what is billed, and files for banks. One file a
//! concern: payment files (`iso20022`, by `xml`), how statements are written (`tell`).
//!
//! What does not live here: charging, and what accounts may (`tollway-seller`).

mod command;
mod iso20022;
mod tell;
mod xml;

pub(crate) use command::{Args, run};

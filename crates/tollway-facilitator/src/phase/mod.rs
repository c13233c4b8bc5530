//! The phases of one payment, in order. Each file is one step; [`crate::Engine`] composes them.

pub(crate) mod admission;
pub(crate) mod approval;
pub(crate) mod attribution;
pub(crate) mod check;
pub(crate) mod code;
pub(crate) mod decode;
pub(crate) mod late;
pub(crate) mod matching;
pub(crate) mod prove;
pub(crate) mod send;
pub(crate) mod simulate;

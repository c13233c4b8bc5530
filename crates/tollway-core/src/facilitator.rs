//! The seam to whoever verifies and settles: in this process, or over HTTP.

use std::future::Future;
use std::pin::Pin;

use crate::ErrorCode;
use crate::model::{FacilitatorRequest, SettleResponse, SupportedResponse, VerifyResponse};

/// A future that is boxed so that traits with it can be objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Verifies payments and settles them on chain (specification v2, section 7).
///
/// `settle` is idempotent by authorization: asking again about the same payment tells its fate, it never
/// moves money twice.
pub trait Facilitator: Send + Sync + std::fmt::Debug {
    /// Whether the payment would settle now.
    fn verify(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<VerifyResponse, FacilitatorError>>;

    /// Moves the money: settled, failed, or pending with a transaction.
    fn settle(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<SettleResponse, FacilitatorError>>;

    /// What can be verified and settled.
    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>>;
}

/// A facilitator that gave no usable answer. It says nothing about the payment: after `settle`, the fate is
/// unknown unless [`was_sent`](Self::was_sent) is false. To a buyer it is 502 or 503, never a fresh 402.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FacilitatorError {
    /// No connection: the request did not leave.
    #[error("facilitator unreachable: {0}")]
    Unreachable(String),
    /// The deadline passed, or the connection broke, after the request had left.
    #[error("facilitator did not answer: {0}")]
    NoAnswer(String),
    /// An answer that is not of the protocol.
    #[error("facilitator answered nonsense (status {status}): {detail}")]
    BadAnswer {
        /// HTTP status.
        status: u16,
        /// What is wrong with it.
        detail: String,
    },
    /// It is up and cannot serve this now: over a limit, or its node is down.
    #[error("facilitator busy: {0}")]
    Busy(String),
    /// It refuses the request as malformed: the seller's fault.
    #[error("facilitator refused the request: {code}: {detail}")]
    Refused {
        /// Its code.
        code: ErrorCode,
        /// The field and the rule.
        detail: String,
    },
}

impl FacilitatorError {
    /// Whether the request may have reached the facilitator.
    pub const fn was_sent(&self) -> bool {
        !matches!(self, Self::Unreachable(_))
    }
}

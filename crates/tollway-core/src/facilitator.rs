//! The seam to whoever verifies and settles: in this process, or over HTTP.

use std::future::Future;
use std::pin::Pin;

use crate::ErrorCode;
use crate::model::{FacilitatorRequest, SettleResponse, SupportedResponse, VerifyResponse};

/// A future that is boxed so that traits with it can be objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// In [`VerifyResponse::extra`]: `true` says that the payer has code, which may say yes now and no in a block. Who hears
/// it settles before anything is served.
pub const PAYER_HAS_CODE: &str = "payerHasCode";

/// Verifies payments and settles them on chain (specification v2, section 7).
///
/// `settle` is idempotent by authorization: asking again about the same payment tells its fate, it never
/// moves money twice.
pub trait Facilitator: Send + Sync + std::fmt::Debug {
    /// Whether the payment would settle now (section 7.1). That it breaks a rule is an answer, no error.
    ///
    /// # Errors
    /// [`FacilitatorError`] when there is no usable answer.
    ///
    /// ```
    /// use tollway_core::{Facilitator, FacilitatorError, model::FacilitatorRequest};
    /// async fn refusal(
    ///     facilitator: &dyn Facilitator,
    ///     request: FacilitatorRequest,
    /// ) -> Result<Option<String>, FacilitatorError> {
    ///     let answer = facilitator.verify(request).await?;
    ///     Ok(answer.invalid_message.filter(|_| !answer.is_valid))
    /// }
    /// ```
    fn verify(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<VerifyResponse, FacilitatorError>>;

    /// Moves the money: settled, failed, or pending with a transaction (section 7.2). The same request asked
    /// again tells what became of a pending one.
    ///
    /// # Errors
    /// [`FacilitatorError`] when there is no usable answer: the money may have moved all the same.
    ///
    /// ```
    /// use tollway_core::{Facilitator, FacilitatorError};
    /// use tollway_core::model::{FacilitatorRequest, Outcome};
    /// async fn has_moved(
    ///     facilitator: &dyn Facilitator,
    ///     request: FacilitatorRequest,
    /// ) -> Result<bool, FacilitatorError> {
    ///     Ok(facilitator.settle(request).await?.outcome() == Outcome::Settled)
    /// }
    /// ```
    fn settle(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<SettleResponse, FacilitatorError>>;

    /// What can be verified and settled (section 7.3).
    ///
    /// # Errors
    /// [`FacilitatorError`] when there is no usable answer.
    ///
    /// ```
    /// use tollway_core::{Facilitator, FacilitatorError, Network, SchemeName, X402Version};
    /// async fn settles_on_base(facilitator: &dyn Facilitator) -> Result<bool, FacilitatorError> {
    ///     let base = Network::evm(8453);
    ///     Ok(facilitator.supported().await?.supports(X402Version::V2, &SchemeName::EXACT, &base))
    /// }
    /// ```
    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>>;

    /// Lets go of a payment that was verified and will not be settled for this request: nothing was served for it. Who
    /// holds nothing for payments it has verified does nothing. It is not waited for long, and may not come.
    ///
    /// ```
    /// use tollway_core::{Facilitator, model::FacilitatorRequest};
    /// async fn handler_failed(facilitator: &dyn Facilitator, request: FacilitatorRequest) {
    ///     facilitator.release(request).await;
    /// }
    /// ```
    fn release(&self, request: FacilitatorRequest) -> BoxFuture<'_, ()> {
        let _ = request;
        Box::pin(std::future::ready(()))
    }
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
    /// Whether the request may have reached the facilitator. If not, nothing has moved by it.
    ///
    /// ```
    /// use tollway_core::FacilitatorError;
    /// assert!(!FacilitatorError::Unreachable("connection refused".to_owned()).was_sent());
    /// assert!(FacilitatorError::NoAnswer("no answer within 10 s".to_owned()).was_sent());
    /// ```
    pub const fn was_sent(&self) -> bool {
        !matches!(self, Self::Unreachable(_))
    }
}

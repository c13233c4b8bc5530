//! Bodies: handed through untouched, or, for a paid request, read within a limit to bind the payment to it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};

use crate::priced::BoxError;

/// The body of requests to and answers from what a paywall wraps.
///
/// It streams: a paywall never buffers an answer.
#[derive(Debug)]
pub struct PaidBody(UnsyncBoxBody<Bytes, BoxError>);

impl Body for PaidBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Default for PaidBody {
    fn default() -> Self {
        full(Bytes::new())
    }
}

/// Why a request body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    TooLarge,
    TooSlow,
    Broken,
}

/// Hands a body on as it streams.
pub(crate) fn stream<B>(body: B) -> PaidBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    PaidBody(body.map_err(Into::into).boxed_unsync())
}

/// A body that is known.
pub(crate) fn full(bytes: Bytes) -> PaidBody {
    PaidBody(Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
}

/// Reads a body of at most `limit_bytes`.
pub(crate) async fn read<B>(body: B, limit_bytes: usize, timeout: Duration) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |announced| announced > limit_bytes) {
        return Err(BodyError::TooLarge);
    }
    let collected = tokio::time::timeout(timeout, Limited::new(body, limit_bytes).collect())
        .await
        .map_err(|_| BodyError::TooSlow)?;
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Err(_) => Err(BodyError::Broken),
    }
}

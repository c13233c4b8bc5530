//! The answer to a paid request, on its way to the caller: whether it is read to its end, its purchase wants to know.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use reqwest::{Body, Response, ResponseBuilderExt};
use tokio::sync::oneshot;

use crate::intent::book::{Pending, Writes};

/// How an answer ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Whether all of it was read.
    pub(crate) is_read: bool,
    /// What must be written now.
    _pending: Pending,
}

/// The same answer, and how it ends.
pub(crate) fn followed(response: Response, writes: &Arc<Writes>) -> (Response, oneshot::Receiver<Ended>) {
    let (end, ended) = oneshot::channel();
    let mut end = End { told: Some(end), writes: Arc::clone(writes) };
    let response = with_body(response, |rest| {
        if rest.is_end_stream() {
            end.tell(true);
        }
        Body::wrap(Followed { rest, end })
    });
    (response, ended)
}

/// The response with another body, and everything else as it was.
pub(crate) fn with_body(response: Response, change: impl FnOnce(Body) -> Body) -> Response {
    let url = response.url().clone();
    let (parts, rest) = http::Response::<Body>::from(response).into_parts();
    let mut whole = http::Response::new(change(rest));
    *whole.status_mut() = parts.status;
    *whole.version_mut() = parts.version;
    *whole.headers_mut() = parts.headers;
    *whole.extensions_mut() = parts.extensions;
    // The URL travels in an extension that only the builder can write.
    if let Ok(stamp) = http::Response::builder().url(url).body(()) {
        whole.extensions_mut().extend(stamp.into_parts().0.extensions);
    }
    Response::from(whole)
}

/// A body whose end is told.
struct Followed {
    rest: Body,
    end: End,
}

struct End {
    told: Option<oneshot::Sender<Ended>>,
    writes: Arc<Writes>,
}

impl End {
    fn tell(&mut self, is_read: bool) {
        if let Some(told) = self.told.take() {
            let _ = told.send(Ended { is_read, _pending: self.writes.begin() });
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.tell(false);
    }
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        let polled = Pin::new(&mut self.rest).poll_frame(context);
        match &polled {
            Poll::Ready(None) => self.end.tell(true),
            Poll::Ready(Some(Ok(_))) if self.rest.is_end_stream() => self.end.tell(true),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.rest.size_hint()
    }
}

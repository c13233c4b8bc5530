//! The unpaid request, below the wallet: its 402 is kept, for the client must see it if nothing is paid; and whoever leaves
//! before there is anything to pay for is not waited for.
//!
//! Once there is a 402 nobody's leaving stops the purchase: a payment that may be out is followed until its fate is known.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Extensions, HeaderMap, StatusCode};
use http_body::{Body as HttpBody, Frame};
use parking_lot::Mutex;
use reqwest::{Request, Response, ResponseBuilderExt};
use reqwest_middleware::{Error, Middleware, Next};
use tokio::sync::watch;

/// The most of a 402's body that is kept.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// How long it may take.
const BODY_TIME: Duration = Duration::from_secs(30);

/// One request of a client's, while it is asked what it costs.
#[derive(Debug)]
pub(crate) struct Asking {
    /// Ends when the client leaves.
    left: watch::Receiver<()>,
    challenge: Mutex<Option<Challenge>>,
}

/// A 402 as it came.
#[derive(Clone, Debug)]
pub(crate) struct Challenge {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why there is no answer to the unpaid request. Nothing has been paid.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum Unasked {
    #[error("the client left")]
    Left,
    #[error("the seller did not answer in time")]
    Late,
}

impl Asking {
    pub(crate) fn new(left: watch::Receiver<()>) -> Self {
        Self { left, challenge: Mutex::default() }
    }

    /// The 402, if it was one.
    pub(crate) fn challenge(&self) -> Option<Challenge> {
        self.challenge.lock().clone()
    }
}

/// The middleware. It stands below the wallet's, and finds the [`Asking`] among the request's extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeper {
    /// How long the head of an answer may take.
    pub(crate) patience: Duration,
}

impl Keeper {
    async fn ask(
        self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        let Some(asking) = extensions.get::<Arc<Asking>>().cloned() else {
            return next.run(request, extensions).await;
        };
        let mut left = asking.left.clone();
        tokio::select! {
            answered = tokio::time::timeout(self.patience, next.run(request, extensions)) => {
                let response = answered.map_err(|_| Error::middleware(Unasked::Late))??;
                if response.status() == StatusCode::PAYMENT_REQUIRED {
                    return keep(response, &asking).await;
                }
                Ok(response)
            }
            _ = left.changed() => Err(Error::middleware(Unasked::Left)),
        }
    }
}

impl Middleware for Keeper {
    fn handle<'s, 'e, 'n, 'f>(
        &'s self,
        request: Request,
        extensions: &'e mut Extensions,
        next: Next<'n>,
    ) -> Pin<Box<dyn Future<Output = Result<Response, Error>> + Send + 'f>>
    where
        's: 'f,
        'e: 'f,
        'n: 'f,
        Self: 'f,
    {
        Box::pin(self.ask(request, extensions, next))
    }
}

/// Keeps a copy of a 402 of the usual size, and hands on the same answer.
async fn keep(mut response: Response, asking: &Asking) -> Result<Response, Error> {
    let headers = response.headers().clone();
    let read = tokio::time::timeout(BODY_TIME, read(&mut response));
    let (body, is_whole) = read.await.map_err(|_| Error::middleware(Unasked::Late))??;
    if is_whole {
        *asking.challenge.lock() = Some(Challenge { headers, body: body.clone() });
    }
    let url = response.url().clone();
    let (parts, rest) = http::Response::<reqwest::Body>::from(response).into_parts();
    let body = Rejoined { read: Some(body).filter(|body| !body.is_empty()), rest };
    let mut whole = http::Response::from_parts(parts, reqwest::Body::wrap(body));
    // The URL travels in an extension that only the builder can write.
    if let Ok(stamp) = http::Response::builder().url(url).body(()) {
        whole.extensions_mut().extend(stamp.into_parts().0.extensions);
    }
    Ok(Response::from(whole))
}

/// The body, or its beginning if it is too long to be kept.
async fn read(response: &mut Response) -> Result<(Bytes, bool), reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BODY_BYTES {
            return Ok((body.freeze(), false));
        }
    }
    Ok((body.freeze(), true))
}

/// A body of which a part has been read already.
struct Rejoined {
    read: Option<Bytes>,
    rest: reqwest::Body,
}

impl HttpBody for Rejoined {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        match self.read.take() {
            Some(read) => Poll::Ready(Some(Ok(Frame::data(read)))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }
}

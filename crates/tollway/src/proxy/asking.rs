//! The unpaid request, below the wallet: its 402 is kept, for the client must see it if nothing is paid; and whoever leaves
//! before there is anything to pay for is not waited for.
//!
//! Once there is a 402 nobody's leaving stops the purchase: a payment that may be out is followed until its fate is known.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Extensions, HeaderMap, StatusCode};
use parking_lot::Mutex;
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Next};
use tokio::sync::watch;
use tollway_buyer::peek;
use tollway_core::BoxFuture;

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

/// The middleware. It stands below the wallet's, and finds the [`Asking`] among the request's extensions. The head of an answer
/// may take as long as `patience`.
pub(crate) fn keeper(
    patience: Duration,
) -> impl for<'a> Fn(Request, &'a mut Extensions, Next<'a>) -> BoxFuture<'a, Result<Response, Error>>
+ Send
+ Sync
+ 'static {
    move |request, extensions, next| Box::pin(ask(patience, request, extensions, next))
}

async fn ask(
    patience: Duration,
    request: Request,
    extensions: &mut Extensions,
    next: Next<'_>,
) -> Result<Response, Error> {
    let Some(asking) = extensions.get::<Arc<Asking>>().cloned() else {
        return next.run(request, extensions).await;
    };
    let mut left = asking.left.clone();
    tokio::select! {
        answered = tokio::time::timeout(patience, next.run(request, extensions)) => {
            let response = answered.map_err(|_| Error::middleware(Unasked::Late))??;
            if response.status() == StatusCode::PAYMENT_REQUIRED {
                return keep(response, &asking).await;
            }
            Ok(response)
        }
        _ = left.changed() => Err(Error::middleware(Unasked::Left)),
    }
}

/// Keeps a copy of a 402 of the usual size, and hands on the same answer.
async fn keep(response: Response, asking: &Asking) -> Result<Response, Error> {
    let headers = response.headers().clone();
    let read = tokio::time::timeout(BODY_TIME, peek(response, MAX_BODY_BYTES));
    let (body, response) = read.await.map_err(|_| Error::middleware(Unasked::Late))??;
    if let Some(body) = body {
        *asking.challenge.lock() = Some(Challenge { headers, body });
    }
    Ok(response)
}

//! Stored responses: the answer that a payment bought, given out again to who presents the same payment again.
//!
//! A buyer who loses an answer after its settlement has paid and has nothing. The answer is therefore kept with the
//! reservation, in the same write that says that it was delivered, and only then does it leave.
//!
//! After settlement the authorization and its signature are public on chain: anybody can build the payment again, down to
//! the last byte if its encoding is guessed. So a stored answer is given only for the same bytes of the payment header, to
//! a request with the same `Authorization` and `Cookie`, and for a short time. What a stranger may never read should be
//! sold with [`StoredResponses::require_identifier`]: the identifier (extension `payment-identifier`) is in no transaction.
//!
//! What is never kept: answers that say `Cache-Control: no-store`, `Set-Cookie` (a cookie is a key to more than was
//! bought), streams, and what is too large. An answer is never waited for longer than [`WHOLE_WITHIN`] to be kept.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, COOKIE, DATE, PROXY_AUTHENTICATE, SET_COOKIE, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use sha2::{Digest, Sha256};
use tollway_core::UnixTime;
use tollway_ledger::StoredResponse;

use crate::body::{self, PaidBody};
use crate::priced::BoxError;

/// How long a body of known length may take to be whole. A slower one streams, and is not kept.
const WHOLE_WITHIN: Duration = Duration::from_secs(1);
/// More headers than any answer needs; one with more is not kept.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Says that an answer is one that was given before. There is no standard name; this one is widely known.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Which answers are kept for who presents the same payment again, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredResponses {
    /// Whether any are.
    pub is_on: bool,
    /// The longest body that is kept: 64 KiB by default.
    pub max_body_bytes: usize,
    /// How long an answer may be given out again, seconds: 600 by default.
    pub age_seconds: u64,
    /// Whether only payments with a client's identifier get them: it is a secret of the client's, where a payment is
    /// public once it has settled. False by default.
    pub require_identifier: bool,
}

impl Default for StoredResponses {
    fn default() -> Self {
        Self { is_on: true, max_body_bytes: 64 * 1024, age_seconds: 600, require_identifier: false }
    }
}

impl StoredResponses {
    /// None are kept: an answer that is lost is lost, and its payment is refused as used.
    ///
    /// ```
    /// use tollway_seller::{Paywall, StoredResponses};
    /// let builder = Paywall::builder("https://api.example.com").stored_responses(StoredResponses::off());
    /// ```
    pub fn off() -> Self {
        Self { is_on: false, ..Self::default() }
    }

    /// Keeps bodies of at most `bytes`.
    ///
    /// ```
    /// assert_eq!(tollway_seller::StoredResponses::default().max_body_bytes(1_000).max_body_bytes, 1_000);
    /// ```
    #[must_use]
    pub const fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// Gives an answer out again for `seconds`.
    ///
    /// ```
    /// assert_eq!(tollway_seller::StoredResponses::default().age_seconds(60).age_seconds, 60);
    /// ```
    #[must_use]
    pub const fn age_seconds(mut self, seconds: u64) -> Self {
        self.age_seconds = seconds;
        self
    }

    /// Gives answers out again only to payments that carried a client's identifier.
    ///
    /// ```
    /// assert!(tollway_seller::StoredResponses::default().require_identifier().require_identifier);
    /// ```
    #[must_use]
    pub const fn require_identifier(mut self) -> Self {
        self.require_identifier = true;
        self
    }
}

impl StoredResponses {
    /// Whether payments with or without an identifier get stored answers.
    pub(crate) const fn is_for(&self, has_identifier: bool) -> bool {
        self.is_on && (has_identifier || !self.require_identifier)
    }
}

/// What a stored answer is bound to: the payment as it came, and whom the request says it is from.
pub(crate) fn presented(payment: &HeaderValue, headers: &HeaderMap) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |tag: u8, bytes: &[u8]| {
        hash.update([tag]);
        hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(bytes);
    };
    part(0, payment.as_bytes());
    headers.get_all(AUTHORIZATION).iter().for_each(|value| part(1, value.as_bytes()));
    headers.get_all(COOKIE).iter().for_each(|value| part(2, value.as_bytes()));
    hash.finalize().into()
}

/// Whom a request says it is from, if it says anything.
pub(crate) fn requester(headers: &HeaderMap) -> Option<[u8; 32]> {
    let said = [AUTHORIZATION, COOKIE].iter().any(|name| headers.contains_key(name));
    said.then(|| presented(&HeaderValue::from_static(""), headers))
}

/// The body of an answer, whole if it may be kept.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    /// All of it.
    Whole(Bytes),
    /// It goes on as it streams.
    Stream(PaidBody),
}

impl AnswerBody {
    /// All of it, if it may be kept.
    pub(crate) fn whole(&self) -> Option<Bytes> {
        match self {
            Self::Whole(bytes) => Some(bytes.clone()),
            Self::Stream(_) => None,
        }
    }

    /// The body to be sent.
    pub(crate) fn into_body(self) -> PaidBody {
        match self {
            Self::Whole(bytes) => body::full(bytes),
            Self::Stream(body) => body,
        }
    }
}

/// Reads an answer that is small, whole at once or known to be soon, and not for a single use. A stream is never waited
/// for: what is not there yet goes on as it comes. An error is the body's: there is no answer.
pub(crate) async fn collect(
    response: Response<PaidBody>,
    limits: &StoredResponses,
) -> Result<(Response<()>, AnswerBody), BoxError> {
    let size = response.body().size_hint();
    let is_too_long = usize::try_from(size.lower()).map_or(true, |lower| lower > limits.max_body_bytes);
    if !limits.is_on || is_too_long || !may_be_kept(response.headers()) {
        let (head, body) = response.into_parts();
        return Ok((Response::from_parts(head, ()), AnswerBody::Stream(body)));
    }
    let is_known = size.exact().is_some();
    let (head, mut rest) = response.into_parts();
    let mut read = BytesMut::new();
    let reading = read_up_to(&mut rest, &mut read, limits.max_body_bytes);
    let whole = if is_known {
        tokio::time::timeout(WHOLE_WITHIN, reading).await.ok()
    } else {
        reading.now_or_never()
    };
    let body = match whole {
        Some(Ok(None)) => AnswerBody::Whole(read.freeze()),
        Some(Ok(frame)) => AnswerBody::Stream(rejoin(read, frame, rest)),
        Some(Err(error)) => return Err(error),
        None => AnswerBody::Stream(rejoin(read, None, rest)),
    };
    Ok((Response::from_parts(head, ()), body))
}

/// The record of an answer as it is about to leave; none if its head is too large to keep.
pub(crate) fn record(
    presented: [u8; 32],
    head: &Response<()>,
    body: &Bytes,
    expires: UnixTime,
) -> Option<StoredResponse> {
    let hop_by_hop = [CONNECTION, PROXY_AUTHENTICATE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    let is_kept = |name: &HeaderName| {
        !hop_by_hop.contains(name) && *name != SET_COOKIE && *name != DATE && name.as_str() != "keep-alive"
    };
    let headers: Vec<(String, Vec<u8>)> = head
        .headers()
        .iter()
        .filter(|(name, _)| is_kept(name))
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let (status, body) = (head.status().as_u16(), body.to_vec());
    (bytes <= MAX_HEADER_BYTES).then_some(StoredResponse { presented, status, headers, body, expires })
}

/// The stored answer, as it left then, and a word that it is the same.
pub(crate) fn replay(stored: &StoredResponse) -> Response<PaidBody> {
    metrics::counter!("tollway_seller_replays_total").increment(1);
    let mut response = Response::new(body::full(Bytes::from(stored.body.clone())));
    *response.status_mut() = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    for (name, value) in &stored.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// Whether the handler leaves it to us to keep its answer.
fn may_be_kept(headers: &HeaderMap) -> bool {
    let directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let forbids = directives
        .flat_map(|value| value.split(','))
        .any(|directive| directive.trim().eq_ignore_ascii_case("no-store"));
    let is_events =
        headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
    !forbids && !is_events
}

/// Reads until the end, or until a frame that is not to be kept: trailers, or more than `limit_bytes`.
async fn read_up_to(
    body: &mut PaidBody,
    read: &mut BytesMut,
    limit_bytes: usize,
) -> Result<Option<Frame<Bytes>>, BoxError> {
    while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        let frame = frame?;
        match frame.data_ref() {
            Some(data) if read.len() + data.len() <= limit_bytes => read.extend_from_slice(data),
            _ => return Ok(Some(frame)),
        }
    }
    Ok(None)
}

fn rejoin(read: BytesMut, frame: Option<Frame<Bytes>>, rest: PaidBody) -> PaidBody {
    let read = Some(read.freeze()).filter(|read| !read.is_empty());
    body::stream(Rejoined { read, frame, rest })
}

/// A body of which the beginning has been read already.
struct Rejoined {
    read: Option<Bytes>,
    frame: Option<Frame<Bytes>>,
    rest: PaidBody,
}

impl Body for Rejoined {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(read) = self.read.take() {
            return Poll::Ready(Some(Ok(Frame::data(read))));
        }
        if let Some(frame) = self.frame.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        Pin::new(&mut self.rest).poll_frame(context)
    }

    fn size_hint(&self) -> SizeHint {
        let data = |bytes: &Bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let frame = self.frame.as_ref().and_then(Frame::data_ref).map_or(0, data);
        let ahead = self.read.as_ref().map_or(0, data).saturating_add(frame);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        // The lower bound first: an upper one below it is a panic.
        hint.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint
    }
}

//! A look at the body of an answer that somebody else is still to read.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame};
use reqwest::{Body, Response};

use crate::intent::answer::with_body;

/// Reads the body of an answer if it is no longer than `most` bytes. With it, or without one that is longer, the answer as it was
/// before. For middlewares: what is below a wallet's must leave a 402 for the wallet to read.
///
/// # Errors
/// The body breaks off.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), reqwest::Error> {
/// let answer = reqwest::Response::from(http::Response::new("a few words"));
/// let (read, answer) = tollway_buyer::peek(answer, 64 * 1024).await?;
/// assert_eq!(read.as_deref(), Some(&b"a few words"[..]));
/// let (read, answer) = tollway_buyer::peek(answer, 5).await?;
/// assert_eq!((read, answer.text().await?.as_str()), (None, "a few words"));
/// # Ok(()) }
/// ```
pub async fn peek(mut answer: Response, most: usize) -> Result<(Option<Bytes>, Response), reqwest::Error> {
    let too_long = |length: u64| usize::try_from(length).map_or(true, |length| length > most);
    if answer.content_length().is_some_and(too_long) {
        return Ok((None, answer));
    }
    let (mut read, mut is_whole) = (BytesMut::new(), true);
    while is_whole && let Some(chunk) = answer.chunk().await? {
        read.extend_from_slice(&chunk);
        is_whole = read.len() <= most;
    }
    let read = read.freeze();
    let beginning = Some(read.clone()).filter(|read| !read.is_empty());
    let answer = with_body(answer, |rest| Body::wrap(Rejoined { read: beginning, rest }));
    Ok((is_whole.then_some(read), answer))
}

/// A body of which a part has been read already.
struct Rejoined {
    read: Option<Bytes>,
    rest: Body,
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

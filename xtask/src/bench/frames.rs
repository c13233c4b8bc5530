//! HTTP/1.1 messages on a raw socket, one after the other: what loads, proxies and small nodes of the benches are made
//! of. They share the cores with what is measured, so they must cost next to nothing.

use std::io::IoSlice;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HEAD_END: &[u8] = b"\r\n\r\n";
const FIRST_BYTES: usize = 8 * 1024;
/// Longer than any message here: a batch of simulations has some hundred kilobytes.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// A connection, and the message that was read last.
#[derive(Debug)]
pub(super) struct Frames {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    /// Where the body of the last message begins, and where it ends.
    last: (usize, usize),
}

impl Frames {
    /// Connects to `address`, as `127.0.0.1:80`.
    pub(super) async fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        Self::new(stream)
    }

    /// Takes over a connection.
    pub(super) fn new(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; FIRST_BYTES], filled: 0, last: (0, 0) })
    }

    /// Reads the next message to its end. False if the other side closed before it began.
    pub(super) async fn next(&mut self) -> Result<bool> {
        self.buffer.copy_within(self.last.1..self.filled, 0);
        self.filled -= self.last.1;
        self.last = (0, 0);
        let mut whole = None;
        loop {
            if whole.is_none() {
                whole = length(&self.buffer[..self.filled])?;
            }
            if let Some((body, end)) = whole {
                ensure!(end <= MAX_BYTES, "a message of {end} bytes");
                if self.filled >= end {
                    self.last = (body, end);
                    return Ok(true);
                }
                if self.buffer.len() < end {
                    self.buffer.resize(end, 0);
                }
            } else if self.filled == self.buffer.len() {
                self.buffer.resize(self.filled * 2, 0);
            }
            let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
            if read == 0 {
                ensure!(self.filled == 0, "the connection was closed in the middle of a message");
                return Ok(false);
            }
            self.filled += read;
        }
    }

    /// Sends bytes as they are.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Sends two pieces as one message, without copying them into one.
    pub(super) async fn send_both(&mut self, first: &[u8], second: &[u8]) -> Result<()> {
        let written = self.stream.write_vectored(&[IoSlice::new(first), IoSlice::new(second)]).await?;
        // Only a kernel without room takes less than everything.
        self.stream.write_all(first.get(written..).unwrap_or_default()).await?;
        let rest = second.get(written.saturating_sub(first.len())..).unwrap_or_default();
        Ok(self.stream.write_all(rest).await?)
    }

    /// Sends an answer with status 200 and a JSON body.
    pub(super) async fn send_json(&mut self, body: &str) -> Result<()> {
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.send(answer.as_bytes()).await
    }

    /// The last message, head and body.
    pub(super) fn message(&self) -> &[u8] {
        &self.buffer[..self.last.1]
    }

    /// The body of the last message.
    pub(super) fn body(&self) -> &[u8] {
        &self.buffer[self.last.0..self.last.1]
    }

    /// The status of the last message, an answer.
    pub(super) fn status(&self) -> Result<u16> {
        let digits = self.message().get(9..12).context("the answer has no status")?;
        Ok(std::str::from_utf8(digits)?.parse()?)
    }
}

/// A POST request with a JSON body.
pub(super) fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Where the needle is.
pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Where the body begins and where it ends, once the head is there.
fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(end) = find(bytes, HEAD_END) else {
        ensure!(bytes.len() < FIRST_BYTES * 8, "a head without an end");
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end])?;
    let mut length = 0;
    for (name, value) in head.split("\r\n").filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("a message in chunks");
        }
    }
    let body = end + HEAD_END.len();
    Ok(Some((body, body + length)))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::{Frames, post};

    #[tokio::test]
    async fn messages_are_told_apart_however_they_arrive() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut frames = Frames::new(listener.accept().await.unwrap().0).unwrap();
        let (first, second) = (post("/a", b"one"), post("/b", &[b'x'; 20_000]));
        let bytes = [first.as_slice(), &second, b"GET /c HTTP/1.1\r\n\r\n"].concat();
        let writer = tokio::spawn(async move {
            for chunk in bytes.chunks(7_001) {
                sender.write_all(chunk).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        assert!(frames.next().await.unwrap());
        assert_eq!((frames.message(), frames.body()), (first.as_slice(), b"one".as_slice()));
        assert!(frames.next().await.unwrap());
        assert_eq!(frames.message(), second);
        assert!(frames.next().await.unwrap());
        assert_eq!(frames.body(), b"");
        writer.await.unwrap();
        assert!(!frames.next().await.unwrap());
    }
}

//! The smallest HTTP client that is correct for our own servers: one request at a time on a connection that is
//! kept, answers with a `content-length`. It costs a fraction of what a server costs, so that a load generator
//! made of it is not what is measured.

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HEAD_END: &[u8] = b"\r\n\r\n";
/// Longer than any answer of a paywall.
const BUFFER_BYTES: usize = 64 * 1024;

/// A connection that is kept.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Head and body of the answer before this one: nearly every answer is cut the same.
    last: Option<(usize, usize)>,
}

impl Connection {
    /// Connects to `address`, as `127.0.0.1:80`.
    pub(super) async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES], last: None })
    }

    /// Sends a request and reads its answer to the end; the status.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                bail!("the server closed the connection");
            }
            filled += read;
            if self.is_whole(filled)? {
                return status(&self.buffer);
            }
        }
    }

    fn is_whole(&mut self, filled: usize) -> Result<bool> {
        let answer = &self.buffer[..filled];
        if let Some((head, body)) = self.last
            && filled == head + body
            && answer[..head].ends_with(HEAD_END)
        {
            return Ok(true);
        }
        let Some(end) = find(answer, HEAD_END) else { return Ok(false) };
        let head = end + HEAD_END.len();
        let body = content_length(&answer[..end])?;
        self.last = Some((head, body));
        Ok(filled >= head + body)
    }
}

/// A GET request for `path`, with one more header if there is one.
pub(super) fn get(path: &str, header: Option<(&str, &str)>) -> Vec<u8> {
    let header = header.map(|(name, value)| format!("{name}: {value}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{header}\r\n").into_bytes()
}

fn status(answer: &[u8]) -> Result<u16> {
    let digits = answer.get(9..12).context("the answer has no status")?;
    Ok(std::str::from_utf8(digits)?.parse()?)
}

fn content_length(head: &[u8]) -> Result<usize> {
    let head = std::str::from_utf8(head)?;
    let fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, length) = lengths.next().context("the answer has no content-length")?;
    Ok(length.trim().parse()?)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::{content_length, get, status};

    #[test]
    fn an_answer_is_read_by_its_content_length() {
        let head = b"HTTP/1.1 402 Payment Required\r\nvary: a\r\nContent-Length: 12";
        assert_eq!(status(head).unwrap(), 402);
        assert_eq!(content_length(head).unwrap(), 12);
        assert!(content_length(b"HTTP/1.1 200 OK\r\nvary: a").is_err());
        assert!(status(b"HTTP/1.1").is_err());
    }

    #[test]
    fn a_request_carries_its_header() {
        let text = String::from_utf8(get("/a", Some(("x", "1")))).unwrap();
        assert_eq!(text, "GET /a HTTP/1.1\r\nhost: localhost\r\nx: 1\r\n\r\n");
    }
}

//! JSON-RPC over HTTP to one URL. Not alloy's own client: that one writes the URL, which holds keys, into its spans,
//! follows redirects to wherever a node points, and reads answers without an end.

use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use alloy_json_rpc::{RequestPacket, ResponsePacket};
use alloy_transport::{TransportError, TransportErrorKind, TransportFut};
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, StatusCode, redirect};
use tower::Service;
use url::Url;

use super::error::{ChainError, Unanswered};

/// The longest answer that is read: many times the logs of the fullest batch.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// Shorter parts of a URL are no keys.
const SHORTEST_SECRET: usize = 6;

/// One URL. It shows its host only.
#[derive(Clone)]
pub(super) struct Endpoint {
    client: Client,
    url: Url,
}

impl Endpoint {
    pub(super) fn new(url: &str) -> Result<Self, ChainError> {
        let url: Url = url.trim().parse().map_err(|error| ChainError::Url(format!("{error}")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(ChainError::Url("must be http:// or https://".to_owned()));
        }
        let client = Client::builder()
            // A node that points elsewhere is not followed: elsewhere may be inside.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|_| ChainError::Url("there is no HTTP client".to_owned()))?;
        Ok(Self { client, url })
    }

    /// The host, with its port where one is given.
    pub(super) fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// All of the URL that may be secret.
    pub(super) fn secrets(&self) -> Vec<String> {
        let url = &self.url;
        let user = [Some(url.username()), url.password(), url.fragment()].into_iter().flatten();
        let path = url.path_segments().into_iter().flatten();
        let raw = url.query().unwrap_or_default().split(['&', '=']);
        let query: Vec<String> = url.query_pairs().map(|(_, value)| value.into_owned()).collect();
        let mut secrets: Vec<String> = user.chain(path).chain(raw).map(str::to_owned).chain(query).collect();
        secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
        // The longest first: one may be part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        secrets
    }

    async fn ask(self, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let sent = self.client.post(self.url).json(&packet).send().await;
        let mut response = sent.map_err(|error| match error.is_connect() {
            true => Unanswered::NotReached,
            false => Unanswered::Broken,
        })?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after =
            retry_after.and_then(|text| text.trim().parse::<u64>().ok()).map(Duration::from_secs);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| Unanswered::Broken)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(Unanswered::TooLong.into());
            }
            body.extend_from_slice(&chunk);
        }
        match serde_json::from_slice::<ResponsePacket>(&body) {
            Ok(packet) if status == StatusCode::OK => Ok(packet),
            // Some nodes tell an error of the call with a status too.
            Ok(packet) if packet.is_error() && !is_of_the_way(status) => Ok(packet),
            // What the body says is told to nobody.
            Err(error) if status == StatusCode::OK => Err(TransportError::deser_err(error, "")),
            _ => {
                let error = TransportErrorKind::http_error_with_retry_after;
                Err(error(status.as_u16(), String::new(), retry_after))
            }
        }
    }
}

/// Whether a status speaks of the way to the node, whatever the body says.
fn is_of_the_way(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 402 | 403 | 429 | 502..=504) || status.is_redirection()
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({:?})", self.host())
    }
}

impl Service<RequestPacket> for Endpoint {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        Box::pin(self.clone().ask(packet))
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn a_url_shows_its_host_and_nothing_else() {
        let url = "https://user-name:pass-word@rpc.example.org:8443/v2/key-in-path?apikey=key%2Din-query&a=b#frag-ment";
        let endpoint = Endpoint::new(url).unwrap();
        assert_eq!(endpoint.host(), "rpc.example.org:8443");
        assert_eq!(format!("{endpoint:?}"), "Endpoint(\"rpc.example.org:8443\")");
        let secrets = endpoint.secrets();
        for secret in ["user-name", "pass-word", "key-in-path", "key-in-query", "key%2Din-query", "frag-ment"]
        {
            assert!(secrets.iter().any(|known| known == secret), "{secret} in {secrets:?}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_node_is_refused_without_repeating_it() {
        for url in ["", "node", "ftp://SECRET@node.example.org/", "file:///etc/SECRET", "https://[SECRET/"] {
            let error = Endpoint::new(url).unwrap_err().to_string();
            assert!(error.starts_with("rpc url: ") && !error.contains("SECRET"), "{error}");
        }
    }
}

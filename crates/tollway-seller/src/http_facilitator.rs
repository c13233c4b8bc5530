//! A facilitator over HTTP (specification v2, section 7). Everything is bounded: waits, sizes, attempts.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Method, Response, StatusCode};
use serde_json::Value;
use tollway_core::model::{FacilitatorRequest, SettleResponse, SupportedResponse, VerifyResponse};
use tollway_core::wire::{self, WireError};
use tollway_core::{BoxFuture, ErrorCode, Facilitator, FacilitatorError, JsonObject, is_loopback};
use url::Url;

/// What the published sellers wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(90);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer of the protocol has a few hundred bytes; `/supported` a few thousand.
const MAX_BODY_BYTES: usize = 256 * 1024;
const SUPPORTED_ATTEMPTS: u32 = 3;
const MAX_RETRY_AFTER_SECONDS: u64 = 5;

/// A facilitator at a URL. No redirect is followed: a payment goes to whom it was configured for.
///
/// ```
/// use tollway_seller::HttpFacilitator;
/// assert!(HttpFacilitator::new("https://facilitator.example").is_ok());
/// assert!(HttpFacilitator::new("http://127.0.0.1:4021").is_ok());
/// assert!(HttpFacilitator::new("http://facilitator.example").is_err(), "plain http leaves this machine");
/// ```
#[derive(Clone, Debug)]
pub struct HttpFacilitator {
    base: String,
    client: Client,
    timeout: Duration,
    bearer: Option<Bearer>,
}

/// Why a URL is not one to send payments to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FacilitatorUrlError {
    /// Not a URL.
    #[error("facilitator URL: must be an absolute URL: {0}")]
    Malformed(String),
    /// Plain http beyond this machine, or another scheme.
    #[error("facilitator URL: must be https, or http to this machine; allow others with over_plain_http()")]
    Insecure,
    /// A query, a fragment or credentials.
    #[error("facilitator URL: must have no query, fragment or credentials")]
    Decorated,
    /// The HTTP client cannot be made.
    #[error("facilitator HTTP client: {0}")]
    Client(String),
}

/// A token that no log shows.
#[derive(Clone)]
struct Bearer(String);

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl HttpFacilitator {
    /// The facilitator at `url`: https, or http to this machine. A path is kept: `/verify`, `/settle` and
    /// `/supported` are looked for below it.
    ///
    /// # Errors
    /// [`FacilitatorUrlError`].
    ///
    /// ```
    /// use tollway_seller::{FacilitatorUrlError, HttpFacilitator};
    /// let refused = HttpFacilitator::new("http://10.0.0.7:4021").unwrap_err();
    /// assert_eq!(refused, FacilitatorUrlError::Insecure);
    /// ```
    pub fn new(url: &str) -> Result<Self, FacilitatorUrlError> {
        let parsed = parse(url)?;
        if parsed.scheme() == "http" && !is_loopback(&parsed) {
            return Err(FacilitatorUrlError::Insecure);
        }
        Self::at(&parsed, Client::builder())
    }

    /// The facilitator at `url`, even over plain http: for networks that are private by other means.
    ///
    /// # Errors
    /// [`FacilitatorUrlError`].
    ///
    /// ```
    /// use tollway_seller::HttpFacilitator;
    /// assert!(HttpFacilitator::over_plain_http("http://10.0.0.7:4021").is_ok());
    /// ```
    pub fn over_plain_http(url: &str) -> Result<Self, FacilitatorUrlError> {
        Self::at(&parse(url)?, Client::builder())
    }

    /// Sets how long an answer may take: 90 s by default. Where it is longer than the paywall's own wait
    /// ([`PaywallBuilder::settle_timeout_ms`](crate::PaywallBuilder::settle_timeout_ms)), that one counts.
    ///
    /// ```
    /// # use tollway_seller::HttpFacilitator;
    /// let facilitator = HttpFacilitator::new("https://facilitator.example")?.timeout_ms(20_000);
    /// # Ok::<(), tollway_seller::FacilitatorUrlError>(())
    /// ```
    #[must_use]
    pub const fn timeout_ms(mut self, milliseconds: u64) -> Self {
        self.timeout = Duration::from_millis(milliseconds);
        self
    }

    /// Sends `token` as bearer authorization (RFC 6750) with every request. No log shows it.
    ///
    /// ```
    /// # use tollway_seller::HttpFacilitator;
    /// let facilitator = HttpFacilitator::new("https://facilitator.example")?.bearer("s3cret");
    /// assert!(!format!("{facilitator:?}").contains("s3cret"));
    /// # Ok::<(), tollway_seller::FacilitatorUrlError>(())
    /// ```
    #[must_use]
    pub fn bearer(mut self, token: impl Into<String>) -> Self {
        self.bearer = Some(Bearer(token.into()));
        self
    }

    fn at(url: &Url, client: ClientBuilder) -> Result<Self, FacilitatorUrlError> {
        let mut client = client.redirect(Policy::none()).connect_timeout(CONNECT_TIMEOUT);
        if url.scheme() == "http" && is_loopback(url) {
            // Plaintext is allowed because it stays on this machine: so no proxy sees it, and `localhost` is
            // not for a name server to say.
            let here = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            let here = here.map(|address| SocketAddr::new(address, 0));
            client = client.no_proxy().resolve_to_addrs("localhost", &here);
        }
        let client = client.build().map_err(|error| FacilitatorUrlError::Client(error.to_string()))?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { base, client, timeout: TIMEOUT, bearer: None })
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, FacilitatorError> {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).timeout(self.timeout);
        if let Some(Bearer(token)) = &self.bearer {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header(http::header::CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.map_err(send_error)?;
        Answer::read(response).await
    }

    async fn post(&self, path: &str, request: &FacilitatorRequest) -> Result<Answer, FacilitatorError> {
        let body = Value::Object(wire::encode_facilitator_request(request)).to_string();
        self.ask(Method::POST, path, Some(body.into_bytes())).await
    }
}

impl Facilitator for HttpFacilitator {
    fn verify(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<VerifyResponse, FacilitatorError>> {
        Box::pin(async move {
            let mut answer = self.post("/verify", &request).await?;
            let said = std::mem::take(&mut answer.extension_responses);
            let mut response = answer.decode("isValid", wire::decode_verify_response)?;
            surface(said, &mut response.extension_responses);
            Ok(response)
        })
    }

    fn settle(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<SettleResponse, FacilitatorError>> {
        Box::pin(async move {
            let mut answer = self.post("/settle", &request).await?;
            let said = std::mem::take(&mut answer.extension_responses);
            let network = &request.requirements.network;
            let mut response =
                answer.decode("success", |json| wire::decode_settle_response(json, network))?;
            surface(said, &mut response.extension_responses);
            Ok(response)
        })
    }

    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        Box::pin(async move {
            let mut attempt = 1;
            loop {
                let answer = self.ask(Method::GET, "/supported", None).await?;
                let may_pass =
                    answer.status == StatusCode::TOO_MANY_REQUESTS || answer.status.is_server_error();
                if attempt == SUPPORTED_ATTEMPTS || !may_pass {
                    return answer.decode("kinds", wire::decode_supported);
                }
                let wait = answer.retry_after_seconds.map_or(Duration::from_millis(200), Duration::from_secs);
                tokio::time::sleep(wait).await;
                attempt += 1;
            }
        })
    }
}

/// An answer read within its limits.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    retry_after_seconds: Option<u64>,
    extension_responses: JsonObject,
    body: Vec<u8>,
}

impl Answer {
    async fn read(mut response: Response) -> Result<Self, FacilitatorError> {
        let status = response.status();
        let retry_after_seconds = response
            .headers()
            .get(http::header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(|seconds: u64| seconds.min(MAX_RETRY_AFTER_SECONDS));
        let extension_responses = extension_responses(&response);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(send_error)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                let detail = format!("an answer of more than {MAX_BODY_BYTES} bytes");
                return Err(FacilitatorError::BadAnswer { status: status.as_u16(), detail });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Self { status, retry_after_seconds, extension_responses, body })
    }

    /// Reads the answer. One that has the protocol's `marker` counts whatever its status: published
    /// facilitators say "invalid" with 4xx and 5xx too.
    fn decode<T>(
        self,
        marker: &str,
        decode: impl FnOnce(&[u8]) -> Result<T, WireError>,
    ) -> Result<T, FacilitatorError> {
        let object = wire::parse_object(&self.body, "body").ok();
        let status = self.status.as_u16();
        if self.status.is_success() || object.as_ref().is_some_and(|object| object.contains_key(marker)) {
            return decode(&self.body)
                .map_err(|error| FacilitatorError::BadAnswer { status, detail: error.to_string() });
        }
        let text = |name: &str| object.as_ref().and_then(|object| object.get(name)).and_then(Value::as_str);
        let said = [text("error"), text("field"), text("rule")].into_iter().flatten().collect::<Vec<_>>();
        match (status, text("error")) {
            (400 | 422, Some(code)) => Err(FacilitatorError::Refused {
                code: ErrorCode::from_wire(code),
                detail: excerpt(&said.join(": ")),
            }),
            (429 | 503, error) => Err(FacilitatorError::Busy(status_with(status, error))),
            // Whoever stands in front of the facilitator gave up waiting: what it did meanwhile is not known.
            (408 | 504, error) => Err(FacilitatorError::NoAnswer(status_with(status, error))),
            _ => {
                let detail = match said.as_slice() {
                    [] => excerpt(&String::from_utf8_lossy(&self.body)),
                    said => excerpt(&said.join(": ")),
                };
                Err(FacilitatorError::BadAnswer { status, detail })
            }
        }
    }
}

/// What the facilitator says of extensions beside its answer. What cannot be read says nothing: no payment hangs on it.
fn extension_responses(response: &Response) -> JsonObject {
    let value = response.headers().get(wire::EXTENSION_RESPONSES);
    let json = value.and_then(|value| wire::decode_header(wire::EXTENSION_RESPONSES, value.as_bytes()).ok());
    json.and_then(|json| wire::parse_object(&json, wire::EXTENSION_RESPONSES).ok()).unwrap_or_default()
}

/// Puts what the header says where the seller finds it: before what the body says. The log has the names alone, and the
/// facilitator's word on each.
fn surface(said: JsonObject, responses: &mut JsonObject) {
    responses.extend(said);
    for (extension, response) in responses.iter().take(16) {
        let word = |name: &str| response.get(name).and_then(Value::as_str).map(excerpt);
        let (extension, status, reason) = (excerpt(extension), word("status"), word("rejectedReason"));
        tracing::info!(extension, status, reason, "the facilitator says something of an extension");
    }
}

fn parse(url: &str) -> Result<Url, FacilitatorUrlError> {
    let parsed = Url::parse(url).map_err(|error| FacilitatorUrlError::Malformed(error.to_string()))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(FacilitatorUrlError::Insecure);
    }
    let is_decorated = parsed.query().is_some()
        || parsed.fragment().is_some()
        || !parsed.username().is_empty()
        || parsed.password().is_some();
    if is_decorated { Err(FacilitatorUrlError::Decorated) } else { Ok(parsed) }
}

/// Only a failed connection proves that nothing was sent.
fn send_error(error: reqwest::Error) -> FacilitatorError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    if error.is_connect() || error.is_builder() {
        FacilitatorError::Unreachable(text)
    } else {
        FacilitatorError::NoAnswer(text)
    }
}

/// The status, with the facilitator's own word for it where it has one.
fn status_with(status: u16, error: Option<&str>) -> String {
    match error.map(excerpt).filter(|error| !error.is_empty()) {
        Some(error) => format!("status {status}: {error}"),
        None => format!("status {status}"),
    }
}

fn excerpt(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::Router;
    use axum::routing::get;
    use reqwest::{Client, Proxy};
    use tollway_core::Facilitator;
    use url::Url;

    use super::HttpFacilitator;

    const KINDS: &str = r#"{"kinds":[{"x402Version":2,"scheme":"exact","network":"eip155:8453"}]}"#;
    const NOBODY: &str = "http://127.0.0.1:9";

    async fn facilitator_on_loopback() -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/supported", get(|| async { KINDS }));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        address
    }

    #[tokio::test]
    async fn a_question_to_this_machine_passes_no_proxy() {
        let address = facilitator_on_loopback().await;
        for host in ["127.0.0.1", "localhost"] {
            let url = Url::parse(&format!("http://{host}:{}", address.port())).unwrap();
            let proxied = Client::builder().proxy(Proxy::all(NOBODY).unwrap());
            let supported = HttpFacilitator::at(&url, proxied).unwrap().supported().await;
            assert_eq!(supported.unwrap().kinds.len(), 1, "{host}");
        }
    }

    #[tokio::test]
    async fn a_question_to_localhost_stays_here_whatever_the_name_leads_to() {
        let address = facilitator_on_loopback().await;
        let url = Url::parse(&format!("http://localhost:{}", address.port())).unwrap();
        let misled = Client::builder().no_proxy().resolve("localhost", "127.0.0.2:9".parse().unwrap());
        let supported = HttpFacilitator::at(&url, misled).unwrap().supported().await;
        assert_eq!(supported.unwrap().kinds.len(), 1);
    }
}

//! A price over HTTP. Everything is bounded: where it goes, how long it takes, how much is read.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use tollway_core::{BoxFuture, is_loopback};
use url::Url;

use crate::json_quote::{MAX_JSON_BYTES, Pointers};
use crate::price_source::{PriceSource, Quote, SourceError};

/// A price that takes longer is no use.
const TIMEOUT: Duration = Duration::from_secs(5);

/// JSON behind a URL, https or on this machine, 64 KiB at most. No redirect is followed.
///
/// A price is as old as the source says ([`Self::time_at`]). Without that, it counts as known when it was asked for: then
/// nobody sees that the source itself has stopped.
///
/// ```
/// use tollway_seller::HttpSource;
/// let source = HttpSource::new("https://rates.example/v1?base=EUR", "/rates/USD")?.time_at("/timestamp");
/// assert!(HttpSource::new("http://rates.example/v1", "/rates/USD").is_err(), "anybody on the way could set prices");
/// # Ok::<(), tollway_seller::SourceUrlError>(())
/// ```
#[derive(Clone)]
pub struct HttpSource {
    url: Url,
    client: Client,
    pointers: Pointers,
    header: Option<(HeaderName, HeaderValue)>,
    timeout: Duration,
}

/// Why a URL is not one to read prices from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceUrlError {
    /// Not a URL.
    #[error("price source URL: must be an absolute URL: {0}")]
    Malformed(String),
    /// Plain http beyond this machine, or another scheme.
    #[error("price source URL: must be https, or http to this machine")]
    Insecure,
    /// A user name or a password.
    #[error("price source URL: must hold no credentials: set them with header()")]
    Credentials,
    /// Not a header.
    #[error("price source header: {0}")]
    Header(String),
    /// The pointer is none.
    #[error("price source {0}")]
    Pointer(String),
    /// The HTTP client cannot be made.
    #[error("price source HTTP client: {0}")]
    Client(String),
}

impl HttpSource {
    /// The price that stands at `pointer` (RFC 6901) in what `url` answers: a number or a string, in dollars.
    ///
    /// # Errors
    /// [`SourceUrlError`].
    ///
    /// ```
    /// use tollway_seller::{HttpSource, SourceUrlError};
    /// let refused = HttpSource::new("http://10.0.0.7/eurc", "/usd").unwrap_err();
    /// assert_eq!(refused, SourceUrlError::Insecure);
    /// ```
    pub fn new(url: &str, pointer: impl Into<String>) -> Result<Self, SourceUrlError> {
        let url = Url::parse(url).map_err(|error| SourceUrlError::Malformed(error.to_string()))?;
        let is_here = url.scheme() == "http" && is_loopback(&url);
        if url.scheme() != "https" && !is_here {
            return Err(SourceUrlError::Insecure);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(SourceUrlError::Credentials);
        }
        let mut client = Client::builder().redirect(Policy::none()).connect_timeout(TIMEOUT);
        if is_here {
            // It stays on this machine: no proxy sees it, and `localhost` is not for a name server to say.
            let here = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            let here = here.map(|address| SocketAddr::new(address, 0));
            client = client.no_proxy().resolve_to_addrs("localhost", &here);
        }
        let client = client.build().map_err(|error| SourceUrlError::Client(error.to_string()))?;
        let pointers = Pointers { price: pointer.into(), time: None };
        match pointers.fault() {
            Some(fault) => Err(SourceUrlError::Pointer(fault)),
            None => Ok(Self { url, client, pointers, header: None, timeout: TIMEOUT }),
        }
    }

    /// Says where in the answer its time stands: whole seconds or milliseconds since 1970.
    ///
    /// ```
    /// # use tollway_seller::HttpSource;
    /// let source = HttpSource::new("https://rates.example/eurc", "/usd")?.time_at("/updatedAt");
    /// # Ok::<(), tollway_seller::SourceUrlError>(())
    /// ```
    #[must_use]
    pub fn time_at(mut self, pointer: impl Into<String>) -> Self {
        self.pointers.time = Some(pointer.into());
        self
    }

    /// Sends a header with every question, such as a key. No log shows its value.
    ///
    /// # Errors
    /// [`SourceUrlError::Header`].
    ///
    /// ```
    /// # use tollway_seller::HttpSource;
    /// let source = HttpSource::new("https://rates.example/eurc", "/usd")?.header("x-api-key", "s3cret")?;
    /// assert!(!format!("{source:?}").contains("s3cret"));
    /// # Ok::<(), tollway_seller::SourceUrlError>(())
    /// ```
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, SourceUrlError> {
        let name: HeaderName =
            name.parse().map_err(|_| SourceUrlError::Header(format!("{name:?} must be a name")))?;
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| SourceUrlError::Header(format!("the value of {name} must be visible ASCII")))?;
        value.set_sensitive(true);
        self.header = Some((name, value));
        Ok(self)
    }

    /// Sets how long an answer may take: 5 s by default.
    ///
    /// ```
    /// # use tollway_seller::HttpSource;
    /// let source = HttpSource::new("https://rates.example/eurc", "/usd")?.timeout_ms(2_000);
    /// # Ok::<(), tollway_seller::SourceUrlError>(())
    /// ```
    #[must_use]
    pub const fn timeout_ms(mut self, milliseconds: u64) -> Self {
        self.timeout = Duration::from_millis(milliseconds);
        self
    }

    async fn ask(&self) -> Result<Quote, SourceError> {
        if let Some(fault) = self.pointers.fault() {
            return Err(SourceError::Unreadable(fault));
        }
        let mut request = self.client.get(self.url.clone()).timeout(self.timeout);
        if let Some((name, value)) = &self.header {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(no_answer)?;
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Err(SourceError::NoAnswer(format!("status {status}")));
        }
        // A redirect too: whoever set it does not set prices.
        if status != StatusCode::OK {
            return Err(SourceError::Unreadable(format!("status {status}")));
        }
        self.pointers.read(&body(response).await?)
    }
}

impl std::fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpSource")
            .field("origin", &self.name())
            .field("pointers", &self.pointers)
            .finish_non_exhaustive()
    }
}

impl PriceSource for HttpSource {
    fn name(&self) -> String {
        // The path and the query may hold a key.
        self.url.origin().ascii_serialization()
    }

    fn quote(&self) -> BoxFuture<'_, Result<Quote, SourceError>> {
        Box::pin(self.ask())
    }
}

/// The body, within its limit. What is announced is not believed.
async fn body(mut response: Response) -> Result<Vec<u8>, SourceError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
        if body.len() + chunk.len() > MAX_JSON_BYTES {
            return Err(SourceError::Unreadable(format!("an answer of more than {MAX_JSON_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn no_answer(error: reqwest::Error) -> SourceError {
    SourceError::NoAnswer(error.without_url().to_string())
}

//! What makes two requests one purchase.

use http::Extensions;
use reqwest::Request;
use sha2::{Digest, Sha256};
use tollway_core::Fingerprint;

/// The request header by which callers name a purchase.
const HEADER: &str = "idempotency-key";
/// The longest name of a caller's.
const MAX_KEY_BYTES: usize = 255;
/// How keys begin that callers chose, and those that follow from the request.
const CALLERS: &str = "key|";
const REQUESTS: &str = "request|";

/// Names a purchase: requests with the same key are one, and are paid for once. Put it into a request's extensions; the
/// header `Idempotency-Key` does the same. Without either, requests with the same method, URL, body and token (header
/// `Authorization`) are one purchase, until its answer was read.
///
/// ```no_run
/// # async fn buy(wallet: tollway_buyer::Wallet) -> Result<(), Box<dyn std::error::Error>> {
/// use tollway_buyer::IntentKey;
/// let client = wallet.client()?;
/// let order = client.post("https://api.example.com/orders").body("one").with_extension(IntentKey::new("order 17"));
/// println!("{}", order.send().await?.status());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentKey(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Named(String),
    Fresh,
}

/// The tool of an agent's that a request is made for: policies and reports may go by it. Put it into a request's extensions.
///
/// ```no_run
/// # async fn buy(wallet: tollway_buyer::Wallet) -> Result<(), Box<dyn std::error::Error>> {
/// let search = wallet.client()?.get("https://api.example.com/search").with_extension(tollway_buyer::Tool::new("search"));
/// println!("{}", search.send().await?.status());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool(String);

/// Which purchase a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PurchaseKey {
    /// As the ledger has it; none for a purchase that no other request is part of.
    pub(crate) text: Option<String>,
    /// Whether the caller has named it.
    pub(crate) is_callers: bool,
    pub(crate) fingerprint: Option<Fingerprint>,
}

impl IntentKey {
    /// The purchase of this name. Names are the caller's; the same name for another request is an error. At most 255
    /// bytes count.
    ///
    /// ```
    /// use tollway_buyer::IntentKey;
    /// assert_eq!(IntentKey::new("order 17"), IntentKey::new(String::from("order 17")));
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        Self(Kind::Named(name.into()))
    }

    /// A purchase of its own, whatever was asked before: it waits for no other and is never repeated, except by
    /// [`Wallet::present`](crate::Wallet::present). A retry of such a request is **another** purchase.
    ///
    /// ```
    /// use tollway_buyer::IntentKey;
    /// assert_ne!(IntentKey::fresh(), IntentKey::new("order 17"));
    /// ```
    pub const fn fresh() -> Self {
        Self(Kind::Fresh)
    }
}

impl Tool {
    /// The tool of this name.
    ///
    /// ```
    /// assert_eq!(tollway_buyer::Tool::new("search").name(), "search");
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Its name.
    ///
    /// ```
    /// assert_eq!(tollway_buyer::Tool::new("search").name(), "search");
    /// ```
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl PurchaseKey {
    /// Of `request`, for this agent of a wallet's.
    pub(crate) fn of(request: &Request, extensions: &Extensions, agent: Option<&str>) -> Self {
        let body = match request.body() {
            None => Some(&[][..]),
            // A stream can be asked for once: it is a purchase of its own, and a 402 for it is an error.
            Some(body) => body.as_bytes(),
        };
        let fingerprint = body.map(|body| Fingerprint::of(request.method().as_str(), request.url(), body));
        let named = extensions.get::<IntentKey>().map(|key| key.0.clone()).or_else(|| {
            let text = request.headers().get(HEADER)?.to_str().ok()?;
            Some(Kind::Named(text.to_owned()))
        });
        // With its length, so that no name can pass for another agent's.
        let agent = agent.unwrap_or_default();
        let scope = format!("{}|{agent}", agent.len());
        let (text, is_callers) = match (named, fingerprint) {
            (Some(Kind::Named(name)), _) => {
                let name: String = name.chars().scan(0, within).collect();
                (Some(format!("{CALLERS}{scope}|{name}")), true)
            }
            (Some(Kind::Fresh), _) | (None, None) => (None, false),
            (None, Some(print)) => {
                let print = hex::encode(print.as_bytes());
                (Some(format!("{REQUESTS}{scope}|{print}{}", asker(request))), false)
            }
        };
        Self { text, is_callers, fingerprint }
    }

    /// Whether a key of the ledger's is one that a caller chose.
    pub(crate) fn is_callers_text(text: &str) -> bool {
        text.starts_with(CALLERS)
    }

    /// A purchase that no request is part of.
    pub(crate) const fn none() -> Self {
        Self { text: None, is_callers: false, fingerprint: None }
    }
}

/// Who asks: another token asks for something else.
fn asker(request: &Request) -> String {
    let token = request.headers().get(reqwest::header::AUTHORIZATION);
    token.map_or_else(String::new, |token| format!("|{}", hex::encode(Sha256::digest(token.as_bytes()))))
}

/// As much of a name as counts.
fn within(bytes: &mut usize, next: char) -> Option<char> {
    *bytes += next.len_utf8();
    (*bytes <= MAX_KEY_BYTES).then_some(next)
}

#[cfg(test)]
mod tests {
    use http::Extensions;
    use reqwest::{Method, Request};

    use super::{IntentKey, PurchaseKey};

    fn request(method: Method, url: &str, body: &'static str) -> Request {
        let mut request = Request::new(method, url.parse().unwrap());
        *request.body_mut() = Some(body.into());
        request
    }

    fn with_token(mut request: Request) -> Request {
        request.headers_mut().insert("authorization", "Bearer one".parse().unwrap());
        request
    }

    fn key(request: &Request) -> Option<String> {
        PurchaseKey::of(request, &Extensions::new(), None).text
    }

    #[test]
    fn requests_are_one_purchase_by_method_url_and_body() {
        let one = key(&request(Method::POST, "https://a.example/x?y=%7e", "1"));
        assert_eq!(one, key(&request(Method::POST, "https://A.example:443/x?y=~#z", "1")));
        for other in [
            request(Method::PUT, "https://a.example/x?y=~", "1"),
            request(Method::POST, "https://a.example/x?y=1", "1"),
            request(Method::POST, "https://a.example/x?y=~", "2"),
            with_token(request(Method::POST, "https://a.example/x?y=~", "1")),
        ] {
            assert_ne!(one, key(&other), "{other:?}");
        }
    }

    #[test]
    fn the_callers_key_counts_more_than_the_request_and_is_told_from_it() {
        let mut named = request(Method::GET, "https://a.example/x", "");
        named.headers_mut().insert("idempotency-key", "order 1".parse().unwrap());
        let of = PurchaseKey::of(&named, &Extensions::new(), Some("scout"));
        assert_eq!(of.text.as_deref(), Some("key|5|scout|order 1"));
        let mut extensions = Extensions::new();
        extensions.insert(IntentKey::fresh());
        assert_eq!(PurchaseKey::of(&named, &extensions, None).text, None);
        extensions.insert(IntentKey::new("x".repeat(1_000)));
        assert_eq!(PurchaseKey::of(&named, &extensions, None).text.unwrap().len(), 255 + 7);
    }
}

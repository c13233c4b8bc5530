//! Browsers: preflights are answered before the paywall, and every answer shows its payment headers.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW, VARY,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE, PAYMENT-CREDIT, Idempotent-Replayed, Retry-After",
);
const ANY: HeaderValue = HeaderValue::from_static("*");
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
/// Published clients send `Access-Control-Expose-Headers` as a request header.
const ALLOWED: &str = "PAYMENT-SIGNATURE, X-PAYMENT, PAYMENT-CREDIT, SIGN-IN-WITH-X, Access-Control-Expose-Headers, Content-Type";
/// More than any real preflight asks for.
const MAX_REQUESTED_BYTES: usize = 4096;

/// Which pages may read the answers of priced routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cors {
    /// Pages of every origin: what is behind a paywall is guarded by payment, not by cookies.
    #[default]
    AnyOrigin,
    /// Pages of these origins, such as `https://app.example.com`.
    Origins(Vec<String>),
    /// No CORS headers: the application has a layer of its own outside the paywall. `OPTIONS` is still
    /// answered before the paywall.
    Off,
}

impl Cors {
    /// The answer to `OPTIONS`.
    pub(crate) fn preflight<B: Default>(&self, request: &HeaderMap) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ALLOW, METHODS);
        if *self != Self::Off {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed(request));
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
        self.apply(headers, request.get(http::header::ORIGIN));
        response
    }

    /// Adds what a page of `origin` needs to read an answer. What the handler set itself is kept.
    pub(crate) fn apply(&self, answer: &mut HeaderMap, origin: Option<&HeaderValue>) {
        let allowed = match self {
            Self::Off => return,
            Self::AnyOrigin => Some(ANY),
            Self::Origins(origins) => {
                answer.append(VARY, HeaderValue::from_static("Origin"));
                origin
                    .filter(|origin| origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()))
                    .cloned()
            }
        };
        if let Some(allowed) = allowed {
            answer.entry(ACCESS_CONTROL_ALLOW_ORIGIN).or_insert(allowed);
        }
        answer.append(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

fn allowed(request: &HeaderMap) -> HeaderValue {
    request
        .get(ACCESS_CONTROL_REQUEST_HEADERS)
        .filter(|requested| requested.len() <= MAX_REQUESTED_BYTES)
        .and_then(|requested| requested.to_str().ok())
        .and_then(|requested| HeaderValue::from_str(&format!("{requested}, {ALLOWED}")).ok())
        .unwrap_or(HeaderValue::from_static(ALLOWED))
}

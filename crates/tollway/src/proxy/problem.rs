//! What the proxy says when it has no seller's answer: a status, a word, a sentence, as a problem (RFC 9457).

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, PROXY_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use super::Body;

/// Told with every answer that is the proxy's own: which rule.
pub(crate) const ERROR: &str = "tollway-error";

/// Why there is no seller's answer.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    word: &'static str,
    detail: String,
    payment: Option<Value>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, word: &'static str, detail: impl Into<String>) -> Self {
        Self { status, word, detail: detail.into(), payment: None }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "request", detail)
    }

    /// About a payment whose fate is not known: buying anew may pay twice.
    pub(crate) fn about(mut self, payment: Value) -> Self {
        self.payment = Some(payment);
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The answer. The connection is closed where the request was not read to its end.
    pub(crate) fn into_response(self) -> Response<Body> {
        let mut object = json!({
            "type": "about:blank", "title": self.word, "status": self.status.as_u16(), "detail": self.detail,
        });
        if let Some(payment) = self.payment {
            object["buyAnew"] = false.into();
            object["payment"] = payment;
        }
        let body = Full::new(Bytes::from(format!("{object}\n"))).map_err(|never| match never {});
        let mut response = Response::new(body.boxed_unsync());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(ERROR, HeaderValue::from_static(self.word));
        if self.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            headers.insert(PROXY_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"tollway\""));
        }
        if self.status == StatusCode::PAYLOAD_TOO_LARGE || self.status == StatusCode::REQUEST_TIMEOUT {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Text as it may stand in a header: visible ASCII on one line, and short.
pub(crate) fn header_text(text: &str) -> HeaderValue {
    let plain = |char: char| if char.is_ascii_graphic() { char } else { ' ' };
    let text: String = text.chars().take(600).map(plain).collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    HeaderValue::from_str(&words.join(" ")).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

//! What the client sees: the seller's answer with what was paid, the seller's 402 with why nothing was paid, or a problem.

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tollway_buyer::{Paid, PaymentError, SignedPayment, paid, payment_error};
use tollway_core::model::Outcome;

use super::Body;
use super::asking::{Challenge, Unasked};
use super::headers::Via;
use super::problem::{Problem, header_text};

/// What was paid: `0.01 USDC eip155:8453`.
const PAID: HeaderName = HeaderName::from_static("tollway-paid");
/// A payment that was presented, and of which the seller does not say that it settled.
const PRESENTED: HeaderName = HeaderName::from_static("tollway-presented");
/// Why a 402 was not paid.
const REFUSED: HeaderName = HeaderName::from_static("tollway-refused");
/// What does not fit about a paid answer.
const WARNING: HeaderName = HeaderName::from_static("tollway-warning");

/// The answer to a client, and what to write into the log about it.
pub(crate) struct Answer {
    pub(crate) response: Response<Body>,
    /// What was paid, or why nothing was.
    pub(crate) note: Option<String>,
}

/// Hands on what the seller said, its body as it comes.
pub(crate) fn of_seller(via: &Via, response: reqwest::Response) -> Answer {
    let payment = paid(&response).cloned();
    let mut headers = via.back(response.headers());
    let note = payment.as_ref().map(|payment| note(payment, &mut headers));
    let status = response.status();
    let body = http::Response::<reqwest::Body>::from(response).into_body();
    Answer { response: whole(status, headers, body.map_err(Into::into).boxed_unsync()), note }
}

/// Tells why there is no paid answer.
pub(crate) fn of_failure(
    via: &Via,
    error: &reqwest_middleware::Error,
    challenge: Option<Challenge>,
) -> Result<Answer, Problem> {
    if let reqwest_middleware::Error::Middleware(inner) = error
        && let Some(unasked) = inner.downcast_ref::<Unasked>()
    {
        return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "unreachable", unasked.to_string()));
    }
    match (payment_error(error), challenge) {
        (Some(PaymentError::Unresolved { payment, .. }), _) => {
            let detail = one_line(error);
            Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "unresolved", detail).about(told(payment)))
        }
        (Some(PaymentError::Http(error)), _) => Err(unreachable(error)),
        (Some(PaymentError::NotSent(_) | PaymentError::Unpresentable), _) => {
            Err(Problem::new(StatusCode::BAD_GATEWAY, "unsent", one_line(error)))
        }
        (Some(refused), Some(challenge)) => Ok(refusal(via, refused, challenge)),
        (Some(refused), None) => Err(Problem::new(StatusCode::BAD_GATEWAY, "refused", one_line(refused))),
        (None, _) => match error {
            reqwest_middleware::Error::Reqwest(error) => Err(unreachable(error)),
            reqwest_middleware::Error::Middleware(_) => {
                Err(Problem::new(StatusCode::BAD_GATEWAY, "failed", one_line(error)))
            }
        },
    }
}

/// The seller's own 402, for the client may be able to read it, and why it was not paid.
fn refusal(via: &Via, refused: &PaymentError, challenge: Challenge) -> Answer {
    let note = one_line(refused);
    let mut headers = via.back(&challenge.headers);
    headers.remove(CONTENT_LENGTH);
    headers.insert(REFUSED, header_text(&note));
    let body = Full::new(challenge.body).map_err(|never| match never {});
    let response = whole(StatusCode::PAYMENT_REQUIRED, headers, body.boxed_unsync());
    Answer { response, note: Some(format!("not paid: {note}")) }
}

fn whole(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Says on the answer what was paid for it.
fn note(paid: &Paid, headers: &mut HeaderMap) -> String {
    let offer = &paid.offer;
    let amount = match &paid.value {
        Some(value) => format!("{} {}", value.amount.to_decimal(value.decimals), value.symbol),
        None => format!("{} {}", offer.amount, offer.asset),
    };
    let text = format!("{amount} {}", offer.network);
    let outcome = paid.settlement.as_ref().map(|settled| settled.outcome());
    let (name, word) = match outcome {
        Some(Outcome::Settled) => (PAID, "paid"),
        Some(Outcome::Failed) => (REFUSED, "not settled:"),
        _ => (PRESENTED, "presented, not told to be settled:"),
    };
    headers.insert(name, header_text(&text));
    if let Some(suspicious) = &paid.suspicious {
        headers.insert(WARNING, header_text(suspicious));
    }
    format!("{word} {text}")
}

/// A payment, for whoever has to present it again. Its value is as good as the money, to the seller alone.
fn told(payment: &SignedPayment) -> Value {
    let offer = &payment.offer;
    json!({
        "intent": payment.intent.map(|intent| intent.to_string()),
        "header": payment.header.name(), "value": payment.header.value(), "expiresAt": payment.expires_at().0,
        "amount": offer.amount.to_string(), "asset": offer.asset, "network": offer.network.as_str(),
        "payTo": offer.pay_to,
    })
}

fn unreachable(error: &reqwest::Error) -> Problem {
    let status = if error.is_timeout() { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY };
    // What is behind it says more than the error itself, whose text may hold the URL's secrets.
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let is_bare = std::ptr::addr_eq(cause, error);
    let detail = if is_bare { "the seller's answer broke off".to_owned() } else { cause.to_string() };
    Problem::new(status, "unreachable", format!("the seller cannot be reached: {detail}"))
}

fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// No body.
pub(crate) fn empty() -> Body {
    Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync()
}

/// A header that is not text says nothing.
pub(crate) fn text(value: Option<&HeaderValue>) -> &str {
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

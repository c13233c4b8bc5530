//! Presenting the payment: sent, and sent again while its fate is open. Always the same payment: a second
//! signature could be a second charge, the same one cannot.

use std::time::Duration;

use reqwest::header::{HeaderName, RETRY_AFTER};
use reqwest::{Client, Request, Response, StatusCode};
use tokio::time::Instant;
use tollway_core::Clock;

use crate::error::PaymentError;
use crate::settlement;
use crate::sign::SignedPayment;

/// How long the wallet waits for a seller to make up its mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often one payment is presented at most, the first time included; 3 by default.
    pub presentations: u32,
    /// How long one answer may take to begin; 100 s by default, for facilitators are given 90.
    pub answer: Duration,
    /// How long all of it may take; 180 s by default. An authorization that expires ends it sooner.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { presentations: 3, answer: Duration::from_secs(100), total: Duration::from_secs(180) }
    }
}

/// How often a payment is presented again after an answer was lost.
const AFTER_LOSS: u32 = 1;

/// The pause after a connection failed.
const PAUSE: Duration = Duration::from_millis(200);

/// The shortest pause that a `Retry-After` is taken for.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// What became of one presentation.
enum Attempt {
    /// An answer for the caller.
    Answered(Response),
    /// The seller has not made up its mind.
    Pending { status: StatusCode, pause: Duration },
    /// The request may have arrived, and no answer did.
    Lost(String),
    /// The request never left.
    NotSent(reqwest::Error),
}

/// Presents `payment` with copies of `request` until there is an answer.
pub(crate) async fn present(
    client: &Client,
    request: Request,
    payment: &SignedPayment,
    patience: Patience,
    clock: &dyn Clock,
) -> Result<Response, PaymentError> {
    let deadline = after(patience.total);
    let mut losses = 0;
    // What is known of a payment that may have arrived. Nothing later makes it unseen.
    let mut seen: Option<String> = None;
    let mut presented = 0;
    loop {
        presented += 1;
        let copy = with_payment(&request, payment)?;
        let answer_by = deadline.min(after(patience.answer));
        let (pause, failure) = match attempt(client, copy, answer_by).await {
            Attempt::Answered(response) => match seen {
                // The payment that may have settled meanwhile may be the very reason why it is refused now.
                Some(seen)
                    if response.status() == StatusCode::PAYMENT_REQUIRED
                        && !settlement::says_failed(payment, &response) =>
                {
                    return Err(unresolved(payment, format!("{seen}; presented again, it was refused")));
                }
                _ => return Ok(response),
            },
            Attempt::Pending { status, pause } => {
                seen = Some(format!("the seller answered {status} and asked to wait"));
                (pause, None)
            }
            Attempt::Lost(cause) => {
                losses += 1;
                seen = Some(cause);
                (Duration::ZERO, None)
            }
            Attempt::NotSent(error) => (PAUSE, Some(error)),
        };
        let expired = clock.now().plus_seconds(pause.as_secs()) >= payment.expires_at();
        let late = pause >= deadline.saturating_duration_since(Instant::now());
        if presented >= patience.presentations || losses > AFTER_LOSS || expired || late {
            return Err(match (seen, failure) {
                (None, Some(error)) => PaymentError::NotSent(error),
                (seen, _) => unresolved(payment, seen.unwrap_or_default()),
            });
        }
        tracing::debug!(presented, ?pause, seen, "presenting the same payment again");
        tokio::time::sleep(pause).await;
    }
}

async fn attempt(client: &Client, request: Request, answer_by: Instant) -> Attempt {
    match tokio::time::timeout_at(answer_by, client.execute(request)).await {
        Ok(Ok(response)) => match pending(&response) {
            Some(pause) => Attempt::Pending { status: response.status(), pause },
            None => Attempt::Answered(response),
        },
        Ok(Err(error)) if error.is_connect() || error.is_builder() => Attempt::NotSent(error),
        // The URL may hold a key, the cause does not.
        Ok(Err(error)) => Attempt::Lost(error.without_url().to_string()),
        Err(_) => Attempt::Lost("no answer in time".to_owned()),
    }
}

/// How long to wait, if the answer is that the settlement is under way: 409 or 503 with `Retry-After`.
fn pending(response: &Response) -> Option<Duration> {
    if ![StatusCode::CONFLICT, StatusCode::SERVICE_UNAVAILABLE].contains(&response.status()) {
        return None;
    }
    let retry_after = response.headers().get(RETRY_AFTER)?;
    // The other form, a date, is rare enough to be taken for a second.
    let seconds = retry_after.to_str().ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1);
    Some(Duration::from_secs(seconds).max(SHORTEST_PAUSE))
}

fn unresolved(payment: &SignedPayment, cause: String) -> PaymentError {
    PaymentError::Unresolved { payment: Box::new(payment.clone()), cause }
}

/// The instant `wait` from now, or in a year: instants end somewhere, and what overflows them panics.
fn after(wait: Duration) -> Instant {
    Instant::now() + wait.min(Duration::from_secs(365 * 24 * 3600))
}

fn with_payment(request: &Request, payment: &SignedPayment) -> Result<Request, PaymentError> {
    let mut copy = request.try_clone().ok_or(PaymentError::BodyNotReplayable)?;
    let value = payment.header.to_http().ok_or(PaymentError::Unpresentable)?;
    copy.headers_mut().insert(HeaderName::from_static(payment.header.name()), value);
    Ok(copy)
}

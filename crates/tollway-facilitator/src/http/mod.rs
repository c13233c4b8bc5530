//! The facilitator's HTTP API (specification v2, section 7): `POST /verify`, `POST /settle`, `GET /supported`; and
//! `GET /settlements`, `GET /settlements/{id}`, `GET /health`.
//!
//! In the order of what they cost: who asks, how much, the body, the payment. A verdict on a payment is always status
//! 200, because published sellers read nothing else. A body that is not of the protocol is 400, a facilitator that
//! cannot judge now is 503. What is asked without a key or over a quota is 401 and 429, before the body is read.

mod settlements;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use metrics::counter;
use serde_json::{Value, json};
use tokio::time::timeout;
use tollway_core::model::FacilitatorRequest;
use tollway_core::wire::{self, WireError};
use tollway_core::{ErrorCode, Facilitator, FacilitatorError, JsonObject};
use tracing::field::Empty;
use tracing::{Instrument, Span, debug_span, info_span};

use crate::callers::{Caller, Callers, Denied};
use crate::engine::Engine;
use crate::phase::decode::decode;
use crate::telemetry::{self, HTTP_DENIED, HTTP_REQUESTS};

/// The longest request body read. A payment with every extension is a few kilobytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// The longest body of a request to settle: a claim names many channels, some 650 bytes each.
pub const MAX_SETTLE_BODY_BYTES: usize = 256 * 1024;
/// How long a request body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// What every request needs.
#[derive(Debug)]
struct Api {
    engine: Engine,
    callers: Callers,
}

/// The routes, to be served or nested.
///
/// ```no_run
/// # async fn run(engine: tollway_facilitator::Engine) -> std::io::Result<()> {
/// use tollway_facilitator::{CallerSetup, Callers, router};
/// let callers = Callers::closed().with(CallerSetup::new("shop", "the key that the shop was given"));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:4020").await?;
/// axum::serve(listener, router(engine, callers)).await
/// # }
/// ```
pub fn router(engine: Engine, callers: Callers) -> Router {
    Router::new()
        .route("/verify", post(verify))
        .route("/settle", post(settle))
        .route("/supported", get(supported))
        .route("/settlements", get(settlements::list))
        .route("/settlements/{id}", get(settlements::one))
        .route("/health", get(health))
        .with_state(Arc::new(Api { engine, callers }))
}

async fn verify(State(api): State<Arc<Api>>, request: Request) -> Response {
    // Its head is dropped here: what waits for a node or a block is small.
    let (admitted, body) = (api.callers.admit(request.headers()), request.into_body());
    let response = match admitted {
        Ok(caller) => verify_for(&api.engine, &caller, body).await,
        Err(denied) => refuse(denied),
    };
    counted("/verify", response)
}

async fn verify_for(engine: &Engine, caller: &Caller, body: Body) -> Response {
    let request = match read(body, MAX_BODY_BYTES).await {
        Ok(request) => request,
        Err((status, error)) => return malformed(status, "isValid", "invalid", &error),
    };
    // Below what logs show by default: a busy facilitator verifies more than anybody reads.
    let span = debug_span!(
        "verify", caller = caller.name.as_deref(), network = %request.requirements.network,
        asset = request.requirements.asset, amount = %request.requirements.amount, pay_to = request.requirements.pay_to,
        payer = Empty, payment = Empty, settlement = Empty, outcome = Empty, reason = Empty,
    );
    let verdict = span.in_scope(|| engine.verify_for(caller.name.as_deref(), request));
    let verdict = verdict.instrument(span.clone()).await;
    let _entered = span.enter();
    match verdict {
        Ok(response) => {
            note(
                &span,
                if response.is_valid { "valid" } else { "invalid" },
                response.invalid_reason.as_ref(),
            );
            tracing::debug!("verified");
            let body = wire::encode_verify_response(&response);
            with_extensions(answer(StatusCode::OK, body), &response.extension_responses)
        }
        Err(error) => unavailable(&error),
    }
}

async fn settle(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (admitted, body) = (api.callers.admit_settlement(request.headers()), request.into_body());
    let response = match admitted {
        Ok(caller) => settle_for(&api.engine, &caller, body).await,
        Err(denied) => refuse(denied),
    };
    counted("/settle", response)
}

async fn settle_for(engine: &Engine, caller: &Caller, body: Body) -> Response {
    let request = match read(body, MAX_SETTLE_BODY_BYTES).await {
        Ok(request) => request,
        Err((status, error)) => return malformed(status, "success", "error", &error),
    };
    let span = info_span!(
        "settle", caller = caller.name.as_deref(), network = %request.requirements.network,
        asset = request.requirements.asset, amount = %request.requirements.amount, pay_to = request.requirements.pay_to,
        payer = Empty, payment = Empty, settlement = Empty, outcome = Empty, reason = Empty,
    );
    let version = request.payment.version;
    let settled = span.in_scope(|| engine.settle_for(caller.name.as_deref(), request));
    let settled = settled.instrument(span.clone()).await;
    let _entered = span.enter();
    match settled {
        Ok(response) => {
            note(&span, telemetry::outcome_word(response.outcome()), response.error_reason.as_ref());
            tracing::info!(transaction = response.transaction, "settle answered");
            let body = wire::encode_settle_response(&response, version);
            with_extensions(answer(StatusCode::OK, body), &response.extension_responses)
        }
        Err(error) => unavailable(&error),
    }
}

async fn supported(State(api): State<Arc<Api>>) -> Response {
    let response = match api.engine.supported().await {
        Ok(response) => answer(StatusCode::OK, wire::encode_supported(&response)),
        Err(error) => unavailable(&error),
    };
    counted("/supported", response)
}

async fn health(State(api): State<Arc<Api>>) -> Response {
    let health = api.engine.health().await;
    let status = if health.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    counted("/health", respond(status, health.to_json().to_string()))
}

fn note(span: &Span, outcome: &str, reason: Option<&ErrorCode>) {
    span.record("outcome", outcome);
    if let Some(reason) = reason {
        span.record("reason", reason.as_str());
    }
}

fn counted(route: &'static str, response: Response) -> Response {
    let status = response.status().as_str().to_owned();
    counter!(HTTP_REQUESTS, "route" => route, "status" => status).increment(1);
    response
}

/// The answer to who may not ask, or not now.
fn refuse(denied: Denied) -> Response {
    counter!(HTTP_DENIED, "reason" => denied.word()).increment(1);
    let refused = |status, error: &str| respond(status, json!({ "error": error }).to_string());
    let challenge = |error: &str, challenge: &'static str| {
        let mut response = refused(StatusCode::UNAUTHORIZED, error);
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        response
    };
    let later = |error: &str, seconds: u64| {
        let mut response = refused(StatusCode::TOO_MANY_REQUESTS, error);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        response
    };
    match denied {
        Denied::NoKey => {
            challenge("a key is required: Authorization: Bearer <key>", "Bearer realm=\"facilitator\"")
        }
        Denied::WrongKey => {
            challenge("this key is not known here", "Bearer realm=\"facilitator\", error=\"invalid_token\"")
        }
        Denied::TooFast { retry_after_seconds } => later("too many requests", retry_after_seconds),
        Denied::DayOver { retry_after_seconds } => later("no more settlements today", retry_after_seconds),
    }
}

/// The body, bounded in size and time.
async fn read(body: Body, most: usize) -> Result<FacilitatorRequest, (StatusCode, WireError)> {
    let wrong = |status, rule: String| (status, WireError::new(ErrorCode::INVALID_PAYLOAD, "body", rule));
    let limited = Limited::new(body, most);
    let bytes = match timeout(BODY_DEADLINE, limited.collect()).await {
        Ok(Ok(whole)) => whole.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let rule = format!("must be at most {most} bytes long");
            return Err(wrong(StatusCode::PAYLOAD_TOO_LARGE, rule));
        }
        Ok(Err(_)) => return Err(wrong(StatusCode::BAD_REQUEST, "did not arrive whole".to_owned())),
        Err(_) => {
            let rule = format!("must arrive within {} seconds", BODY_DEADLINE.as_secs());
            return Err(wrong(StatusCode::REQUEST_TIMEOUT, rule));
        }
    };
    decode(&bytes).map_err(|error| (StatusCode::BAD_REQUEST, error))
}

/// A 4xx in the shape of the endpoint's verdict, with the field and the rule.
fn malformed(status: StatusCode, verdict: &str, prefix: &str, error: &WireError) -> Response {
    let mut body = JsonObject::new();
    body.insert(verdict.to_owned(), false.into());
    body.insert(format!("{prefix}Reason"), error.code.as_str().into());
    body.insert(format!("{prefix}Message"), error.to_string().into());
    body.insert("field".to_owned(), error.field.as_str().into());
    body.insert("rule".to_owned(), error.rule.as_str().into());
    if verdict == "success" {
        body.insert("transaction".to_owned(), "".into());
        body.insert("network".to_owned(), "".into());
    }
    answer(status, body)
}

/// Says nothing about the payment: the caller asks again.
fn unavailable(error: &FacilitatorError) -> Response {
    let status = match error {
        FacilitatorError::NoAnswer(_) => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = respond(status, json!({ "error": error.to_string() }).to_string());
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn answer(status: StatusCode, body: JsonObject) -> Response {
    respond(status, Value::Object(body).to_string())
}

/// Says beside an answer what became of extensions, for the seller alone.
fn with_extensions(mut response: Response, words: &JsonObject) -> Response {
    let header = (!words.is_empty()).then(|| HeaderValue::from_str(&wire::encode_header(words)).ok());
    if let Some(value) = header.flatten() {
        response.headers_mut().insert(wire::EXTENSION_RESPONSES, value);
    }
    response
}

fn respond(status: StatusCode, body: String) -> Response {
    let json = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, json)], body).into_response()
}

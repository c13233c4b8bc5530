//! The facilitator's HTTP API (specification v2, section 7): `POST /verify`, `POST /settle`,
//! `GET /supported`, `GET /health`.
//!
//! A verdict on a payment is always status 200, because published sellers read nothing else. A body that is not
//! of the protocol is 400, a facilitator that cannot judge now is 503.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Value, json};
use tokio::time::timeout;
use tollway_core::model::FacilitatorRequest;
use tollway_core::wire::{self, WireError};
use tollway_core::{ErrorCode, Facilitator, FacilitatorError, JsonObject};

use crate::engine::Engine;
use crate::health::NetworkHealth;
use crate::phase::decode::decode;

/// The longest request body read. A payment with every extension is a few kilobytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// How long a request body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// The routes, to be served or nested.
///
/// ```no_run
/// # async fn run(engine: tollway_facilitator::Engine) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:4020").await?;
/// axum::serve(listener, tollway_facilitator::router(engine)).await
/// # }
/// ```
pub fn router(engine: Engine) -> Router {
    Router::new()
        .route("/verify", post(verify))
        .route("/settle", post(settle))
        .route("/supported", get(supported))
        .route("/health", get(health))
        .with_state(Arc::new(engine))
}

async fn verify(State(engine): State<Arc<Engine>>, body: Body) -> Response {
    let request = match read(body).await {
        Ok(request) => request,
        Err((status, error)) => return malformed(status, "isValid", "invalid", &error),
    };
    match engine.verify(request).await {
        Ok(response) => answer(StatusCode::OK, wire::encode_verify_response(&response)),
        Err(error) => unavailable(&error),
    }
}

async fn settle(State(engine): State<Arc<Engine>>, body: Body) -> Response {
    let request = match read(body).await {
        Ok(request) => request,
        Err((status, error)) => return malformed(status, "success", "error", &error),
    };
    let FacilitatorRequest { payment, .. } = &request;
    let version = payment.version;
    match engine.settle(request).await {
        Ok(response) => answer(StatusCode::OK, wire::encode_settle_response(&response, version)),
        Err(error) => unavailable(&error),
    }
}

async fn supported(State(engine): State<Arc<Engine>>) -> Response {
    match engine.supported().await {
        Ok(response) => answer(StatusCode::OK, wire::encode_supported(&response)),
        Err(error) => unavailable(&error),
    }
}

async fn health(State(engine): State<Arc<Engine>>) -> Response {
    let networks = engine.health().await;
    let (status, word) = if networks.iter().all(NetworkHealth::is_ok) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "degraded")
    };
    let networks: Vec<Value> = networks.iter().map(NetworkHealth::to_json).collect();
    let body = json!({
        "status": word, "openPayments": engine.open_payments(), "networks": networks,
    });
    respond(status, body.to_string())
}

/// The body, bounded in size and time.
async fn read(body: Body) -> Result<FacilitatorRequest, (StatusCode, WireError)> {
    let wrong = |status, rule: String| (status, WireError::new(ErrorCode::INVALID_PAYLOAD, "body", rule));
    let limited = Limited::new(body, MAX_BODY_BYTES);
    let bytes = match timeout(BODY_DEADLINE, limited.collect()).await {
        Ok(Ok(whole)) => whole.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let rule = format!("must be at most {MAX_BODY_BYTES} bytes long");
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
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn answer(status: StatusCode, body: JsonObject) -> Response {
    respond(status, Value::Object(body).to_string())
}

fn respond(status: StatusCode, body: String) -> Response {
    let json = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, json)], body).into_response()
}

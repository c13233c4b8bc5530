//! Reading the 402: the header first, then the v1 body, bounded in size and time.
//!
//! Only the typed fields of the protocol are read. Prose, in the body or in the fields for people, decides
//! nothing here or later.

use std::time::Duration;

use http::HeaderMap;
use reqwest::{Response, StatusCode};
use tollway_core::model::{PaymentRequired, X402Version};
use tollway_core::wire::{self, WireError};
use tollway_core::{ErrorCode, JsonObject};

use crate::error::PaymentError;
use crate::peek::peek;

/// The most of a 402 body that is read.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// How long the body of a 402 may take: a seller that drips it must not hold the buyer.
const BODY_TIME: Duration = Duration::from_secs(30);

/// What an answer to an unpaid request is.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A 402 that speaks x402.
    Payable(Box<PaymentRequired>),
    /// Anything else, for the caller as it came.
    Other(Response),
}

/// Reads `response`. Status 402 and a `PAYMENT-REQUIRED` header, or a v1 body, make it payable.
pub(crate) async fn read(response: Response) -> Result<Answer, PaymentError> {
    if response.status() != StatusCode::PAYMENT_REQUIRED {
        return Ok(Answer::Other(response));
    }
    if let Some(required) = from_header(&response).map_err(PaymentError::Malformed402)? {
        return Ok(Answer::Payable(Box::new(required)));
    }
    let slow = |_| {
        let rule = format!("did not arrive within {} s", BODY_TIME.as_secs());
        PaymentError::Malformed402(WireError::new(ErrorCode::INVALID_PAYLOAD, "body", rule))
    };
    tokio::time::timeout(BODY_TIME, from_body(response)).await.map_err(slow)?
}

/// Whether an answer to a payment says that the payer must approve Permit2 first: status 412, and a 402's header for a reason.
/// Resources have uses of their own for the status.
pub(crate) fn is_allowance_required(status: StatusCode, headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(wire::PAYMENT_REQUIRED) else { return false };
    status == StatusCode::PRECONDITION_FAILED
        && wire::decode_header(wire::PAYMENT_REQUIRED, value.as_bytes())
            .and_then(|json| wire::decode_payment_required(&json))
            .is_ok_and(|required| {
                required.error.as_deref() == Some(ErrorCode::PERMIT2_ALLOWANCE_REQUIRED.as_str())
            })
}

/// A header that is there and broken is an error, never a reason to look elsewhere: whoever broke it must not
/// choose which of two prices is read.
fn from_header(response: &Response) -> Result<Option<PaymentRequired>, WireError> {
    let mut values = response.headers().get_all(wire::PAYMENT_REQUIRED).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(WireError::new(ErrorCode::INVALID_PAYLOAD, wire::PAYMENT_REQUIRED, "must stand once"));
    }
    let json = wire::decode_header(wire::PAYMENT_REQUIRED, value.as_bytes())?;
    wire::decode_payment_required(&json).map(Some)
}

async fn from_body(response: Response) -> Result<Answer, PaymentError> {
    let (body, response) = peek(response, MAX_BODY_BYTES).await?;
    let Some(body) = body else { return Ok(Answer::Other(response)) };
    // Only a body that is x402 v1 by its own account is held to the protocol.
    let says_v1 = |object: JsonObject| {
        object.get("x402Version").and_then(|version| version.as_u64()) == Some(X402Version::V1.number())
    };
    if !wire::parse_object(&body, "body").is_ok_and(says_v1) {
        return Ok(Answer::Other(response));
    }
    let required = wire::decode_payment_required(&body).map_err(PaymentError::Malformed402)?;
    Ok(Answer::Payable(Box::new(required)))
}

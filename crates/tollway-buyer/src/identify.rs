//! Showing who sends a request: signatures over it (RFC 9421), made anew each time it is sent. They say who asks, and pay
//! for nothing.

use reqwest::Request;
use reqwest::header::{HeaderName, HeaderValue};
use tollway_core::http_signature::{
    MessageSigner, SIGNATURE, SIGNATURE_AGENT, SIGNATURE_INPUT, SignedRequest, content_digest,
};
use tollway_core::{UnixTime, wire};

use crate::error::PaymentError;

/// How long a signature counts: long enough for clocks that differ.
const VALID_SECONDS: u64 = 60;
const CONTENT_DIGEST: &str = "content-digest";
/// What is signed where it is there: a payment or a proof that somebody else took up would be of somebody else.
const COVERED_IF_THERE: [&str; 5] = [
    wire::PAYMENT_SIGNATURE,
    wire::X_PAYMENT,
    tollway_core::PAYMENT_CREDIT,
    "sign-in-with-x",
    CONTENT_DIGEST,
];

/// Signs `request` as it is now: method, target and body, and what pays for it.
pub(crate) fn sign(request: &mut Request, signer: &MessageSigner, now: UnixTime) -> Result<(), PaymentError> {
    for name in [SIGNATURE, SIGNATURE_INPUT, SIGNATURE_AGENT] {
        request.headers_mut().remove(name);
    }
    if let Some(body) = request.body().and_then(|body| body.as_bytes()).filter(|body| !body.is_empty()) {
        let digest = HeaderValue::from_str(&content_digest(body)).map_err(|_| PaymentError::Unpresentable)?;
        request.headers_mut().insert(CONTENT_DIGEST, digest);
    }
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let signed = SignedRequest { method: request.method().as_str(), url: request.url(), headers };
    let mut covered = vec!["@method", "@authority", "@path", "@query"];
    covered.extend(COVERED_IF_THERE.iter().filter(|name| request.headers().contains_key(**name)));
    let signed =
        signer.sign(&signed, &covered, now, VALID_SECONDS).map_err(PaymentError::MessageSignature)?;
    for (name, value) in signed.headers() {
        let value = HeaderValue::from_bytes(value).map_err(|_| PaymentError::Unpresentable)?;
        request
            .headers_mut()
            .insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| PaymentError::Unpresentable)?, value);
    }
    Ok(())
}

//! Phase one: the payment headers. Exactly one, or none.

use http::{HeaderMap, HeaderValue};
use tollway_core::ErrorCode;
use tollway_core::model::PaymentPayload;
use tollway_core::wire::{self, PAYMENT_SIGNATURE, WireError, X_PAYMENT};

/// The names a buyer is told; header names are written in capitals in the standard.
const HEADERS: [(&str, &str); 2] = [(PAYMENT_SIGNATURE, "PAYMENT-SIGNATURE"), (X_PAYMENT, "X-PAYMENT")];

/// Whether the request carries a payment, of whatever quality.
pub(crate) fn is_present(headers: &HeaderMap) -> bool {
    HEADERS.iter().any(|(name, _)| headers.contains_key(*name))
}

/// The payment as it came.
pub(crate) fn raw(headers: &HeaderMap) -> Option<&HeaderValue> {
    HEADERS.iter().find_map(|(name, _)| headers.get(*name))
}

/// Reads the payment. Two of them are refused: which one counts must not be up to the reader.
pub(crate) fn read(headers: &HeaderMap) -> Result<PaymentPayload, WireError> {
    let mut found = HEADERS
        .iter()
        .flat_map(|(name, shown)| headers.get_all(*name).iter().map(move |value| (*shown, value)));
    let Some((name, value)) = found.next() else {
        return Err(WireError::new(ErrorCode::INVALID_PAYLOAD, "PAYMENT-SIGNATURE", "is required"));
    };
    if let Some((second, _)) = found.next() {
        let rule = format!("must be the only payment header, not beside another {second}");
        return Err(WireError::new(ErrorCode::INVALID_PAYLOAD, name, rule));
    }
    let json = wire::decode_header(name, value.as_bytes())?;
    wire::decode_payment(&json)
}

//! How a [`Denial`] and a [`Receipt`] look over HTTP. What they mean is decided elsewhere.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::Value;
use tollway_core::model::{PaymentRequired, PaymentRequirements, SettleResponse, X402Version};
use tollway_core::wire::{self, MAX_HEADER_BYTES, PAYMENT_REQUIRED, WireError};
use tollway_core::{ErrorCode, FacilitatorError, JsonObject, PAYMENT_CREDIT, Refusal};

use crate::body::{self, PaidBody};
use crate::denial::{Denial, field_and_rule};
use crate::meter::{Renewed, STREAM};
use crate::offers::Offers;
use crate::phase::Receipt;
use crate::{cache, identifier, stored};

/// When a request that is being served is worth presenting again.
const SOON_SECONDS: HeaderValue = HeaderValue::from_static("1");
/// When an outage or a pending settlement is.
const LATER_SECONDS: HeaderValue = HeaderValue::from_static("5");
/// Foreign text in an answer is cut here.
const MAX_TEXT_CHARS: usize = 512;

/// RFC 9421, section 5.1.
const ACCEPT_SIGNATURE: HeaderName = HeaderName::from_static("accept-signature");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The 402 to a request without a payment, with `header` as `PAYMENT-REQUIRED`.
pub(crate) fn unpaid(offers: &Offers, url: &str, header: Option<HeaderValue>) -> Response<PaidBody> {
    if offers.list.is_empty() {
        return withdrawn();
    }
    let body = offers.challenge.body(offers.about.announced(url));
    let mut response = json(StatusCode::PAYMENT_REQUIRED, body);
    if let Some(header) = header {
        response.headers_mut().insert(PAYMENT_REQUIRED, header);
    }
    response
}

/// The answer to a request that is not served.
pub(crate) fn denied(
    denial: &Denial,
    offers: &Offers,
    url: &str,
    version: X402Version,
) -> Response<PaidBody> {
    match denial {
        Denial::Malformed(error) => {
            fault(StatusCode::BAD_REQUEST, error.code.as_str(), &error.field, &error.rule)
        }
        Denial::Refused(refusal) => refused(refusal, offers, url, None),
        Denial::AlreadyUsed { refusal, transaction, answer } => match answer {
            Some(answer) => stored::replay(answer),
            None => refused(refusal, offers, url, Some(transaction)),
        },
        Denial::Busy(refusal) => {
            let mut response = refused(refusal, offers, url, None);
            response.headers_mut().insert(RETRY_AFTER, SOON_SECONDS);
            response
        }
        Denial::Corrected { refusal, offer } => corrected(refusal, offer, offers, url),
        Denial::Refunded(settlement) => refunded(settlement, version),
        Denial::IdentifierTaken => {
            let rule = "names another payment or another request already";
            fault(StatusCode::CONFLICT, denial.code(), identifier::FIELD, rule)
        }
        Denial::InProgress => {
            let rule = "is being settled for this very request: present it again";
            let mut response = fault(StatusCode::CONFLICT, denial.code(), "payload", rule);
            response.headers_mut().insert(RETRY_AFTER, SOON_SECONDS);
            response
        }
        Denial::Full => outage(denial, "the paywall holds as many payments as it can: present it again"),
        Denial::Pending(settlement) => {
            let rule = "the settlement is on its way: present the same payment again, do not sign a new one";
            let mut response = outage(denial, rule);
            settlement_header(response.headers_mut(), settlement, version);
            response
        }
        Denial::SettleFailed(settlement) => settle_failed(denial, settlement, offers, url, version),
        Denial::Facilitator { error, held } => {
            let rule = if *held {
                "the fate of the settlement is unknown: present the same payment again, do not sign a new one"
            } else {
                "the facilitator gave no usable answer, nobody was charged: present the same payment again"
            };
            let mut response = outage(denial, rule);
            if matches!(error, FacilitatorError::BadAnswer { .. } | FacilitatorError::Refused { .. }) {
                *response.status_mut() = StatusCode::BAD_GATEWAY;
            }
            response
        }
        Denial::Ledger { held, .. } => {
            let rule = if *held {
                "the payment is held and could not be written down: present the same payment again, do not sign a new one"
            } else {
                "the seller cannot write payments down now, nobody was charged: present the same payment again"
            };
            outage(denial, rule)
        }
        Denial::Internal(_) => internal(),
    }
}

/// The answer to a request without the signature that it needs: `accepted` is what it should have.
pub(crate) fn unsigned(error: &WireError, accepted: &str) -> Response<PaidBody> {
    let mut response = fault(StatusCode::FORBIDDEN, error.code.as_str(), &error.field, &error.rule);
    if let Ok(value) = HeaderValue::from_str(accepted) {
        response.headers_mut().insert(ACCEPT_SIGNATURE, value);
    }
    response
}

/// The answer to a fault of the seller's own.
pub(crate) fn internal() -> Response<PaidBody> {
    let rule = "the seller made a mistake, nobody was charged";
    fault(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "", rule)
}

/// An answer that names a field and the rule it breaks, without offers.
pub(crate) fn fault(status: StatusCode, code: &str, field: &str, rule: &str) -> Response<PaidBody> {
    let mut body = JsonObject::new();
    body.insert("x402Version".to_owned(), X402Version::V2.number().into());
    explain(&mut body, code, field, rule);
    json(status, serialize(body))
}

/// Puts the receipt on a paid answer.
pub(crate) fn receipt(headers: &mut HeaderMap, receipt: &Receipt) {
    if let Some(settlement) = &receipt.settlement {
        settlement_header(headers, settlement, receipt.version);
        cache::private(headers);
    }
}

/// Puts a receipt into the trailers of an answer that was charged while it left.
pub(crate) fn receipt_trailer(trailers: &mut HeaderMap, receipt: &Receipt) {
    if let Some(settlement) = &receipt.settlement {
        settlement_header(trailers, settlement, receipt.version);
    }
}

/// Marks an answer that is charged while it leaves: its receipt is a trailer. `name` is what renews it.
pub(crate) fn streams(headers: &mut HeaderMap, name: Option<&str>) {
    headers.remove(CONTENT_LENGTH);
    headers.insert(TRAILER, HeaderValue::from_static(wire::PAYMENT_RESPONSE));
    if let Some(Ok(name)) = name.map(HeaderValue::from_str) {
        headers.insert(STREAM, name);
    }
    cache::private(headers);
}

/// The answer to a request that renews a stream: 204, with the receipt of the voucher if that is used up. `Tollway-Stream`
/// says how the stream stands.
pub(crate) fn renewed(renewed: &Renewed) -> Response<PaidBody> {
    let mut response = Response::new(PaidBody::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let stand = match renewed {
        Renewed::Used(told) => {
            receipt(headers, told);
            "used"
        }
        Renewed::Ended => "ended",
        Renewed::Runs => "runs",
    };
    headers.insert(STREAM, HeaderValue::from_static(stand));
    cache::private(headers);
    response
}

/// Puts a credit on the answer to a payer who paid and was not served.
pub(crate) fn credit(headers: &mut HeaderMap, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(HeaderName::from_static(PAYMENT_CREDIT), value);
    }
}

/// The answer while nothing can be paid with: neither free nor at a price that nobody knows.
fn withdrawn() -> Response<PaidBody> {
    let rule = "every asset that this resource is paid in is withdrawn for now: ask again later";
    let mut response = fault(StatusCode::SERVICE_UNAVAILABLE, "no_asset_offered", "", rule);
    response.headers_mut().insert(RETRY_AFTER, LATER_SECONDS);
    response
}

fn refused(refusal: &Refusal, offers: &Offers, url: &str, transaction: Option<&str>) -> Response<PaidBody> {
    // One that was paid already is told so in any case.
    if offers.list.is_empty() && transaction.is_none() {
        return withdrawn();
    }
    let required = |version| offers.payment_required(version, url, Some(&refusal.code));
    told(refusal, &required(X402Version::V1), &required(X402Version::V2), transaction)
}

/// The 402 to a voucher that is not the next one: its offer says where the channel stands, and comes first.
fn corrected(
    refusal: &Refusal,
    offer: &PaymentRequirements,
    offers: &Offers,
    url: &str,
) -> Response<PaidBody> {
    let required = |version| offers.payment_required(version, url, Some(&refusal.code));
    let mut v2 = required(X402Version::V2);
    v2.accepts.retain(|other| !is_same_channel(other, offer));
    v2.accepts.insert(0, offer.clone());
    told(refusal, &required(X402Version::V1), &v2, None)
}

/// Whether an offer is another one only by what it says of a channel.
fn is_same_channel(one: &PaymentRequirements, corrected: &PaymentRequirements) -> bool {
    one.scheme == corrected.scheme
        && one.network == corrected.network
        && one.asset == corrected.asset
        && one.amount == corrected.amount
        && one.pay_to == corrected.pay_to
}

/// The answer to who asked its money back, in the words of the published sellers.
fn refunded(settlement: &SettleResponse, version: X402Version) -> Response<PaidBody> {
    let mut body = JsonObject::new();
    body.insert("message".to_owned(), "Refund acknowledged".into());
    let channel = settlement.extra.get("channelState").and_then(|state| state.get("channelId"));
    if let Some(channel) = channel {
        body.insert("channelId".to_owned(), channel.clone());
    }
    let mut response = json(StatusCode::OK, serialize(body));
    settlement_header(response.headers_mut(), settlement, version);
    cache::private(response.headers_mut());
    response
}

fn told(
    refusal: &Refusal,
    v1: &PaymentRequired,
    v2: &PaymentRequired,
    transaction: Option<&str>,
) -> Response<PaidBody> {
    let mut body = wire::encode_payment_required(v1, X402Version::V1);
    explain(&mut body, refusal.code.as_str(), &refusal.field, &refusal.rule);
    if let Some(transaction) = transaction.filter(|transaction| !transaction.is_empty()) {
        body.insert("transaction".to_owned(), transaction.into());
    }
    let status = if refusal.code == ErrorCode::PERMIT2_ALLOWANCE_REQUIRED {
        StatusCode::PRECONDITION_FAILED
    } else {
        StatusCode::PAYMENT_REQUIRED
    };
    let mut response = json(status, serialize(body));
    let header = wire::encode_header(&wire::encode_payment_required(v2, X402Version::V2));
    if let Ok(header) = HeaderValue::from_str(&header) {
        response.headers_mut().insert(PAYMENT_REQUIRED, header);
    }
    response
}

/// Without `PAYMENT-REQUIRED`, as the published sellers do: the same payment may settle when presented again.
fn settle_failed(
    denial: &Denial,
    settlement: &SettleResponse,
    offers: &Offers,
    url: &str,
    version: X402Version,
) -> Response<PaidBody> {
    let required = offers.payment_required(X402Version::V1, url, settlement.error_reason.as_ref());
    let mut body = wire::encode_payment_required(&required, X402Version::V1);
    let message = settlement.error_message.as_deref().filter(|text| !text.is_empty());
    let (field, rule) = field_and_rule(message.unwrap_or("did not settle, nobody was charged"));
    explain(&mut body, denial.code(), field, rule);
    let mut response = json(StatusCode::PAYMENT_REQUIRED, serialize(body));
    settlement_header(response.headers_mut(), settlement, version);
    response
}

fn outage(denial: &Denial, rule: &str) -> Response<PaidBody> {
    let mut response = fault(StatusCode::SERVICE_UNAVAILABLE, denial.code(), "", rule);
    response.headers_mut().insert(RETRY_AFTER, LATER_SECONDS);
    response
}

fn explain(body: &mut JsonObject, code: &str, field: &str, rule: &str) {
    body.insert("error".to_owned(), code.into());
    if !field.is_empty() {
        body.insert("field".to_owned(), field.into());
    }
    body.insert("rule".to_owned(), rule.chars().take(MAX_TEXT_CHARS).collect::<String>().into());
}

/// The settlement header. What a facilitator adds is left out where it would burst header limits.
fn settlement_header(headers: &mut HeaderMap, settlement: &SettleResponse, version: X402Version) {
    let (name, mut text) = wire::encode_settlement_header(settlement, version);
    if text.len() > MAX_HEADER_BYTES / 4 {
        let mut short = settlement.clone();
        short.extra.clear();
        short.extensions.clear();
        short.error_message = None;
        text = wire::encode_settlement_header(&short, version).1;
    }
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

fn json(status: StatusCode, body: Bytes) -> Response<PaidBody> {
    let mut response = Response::new(body::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    cache::no_store(response.headers_mut());
    response
}

fn serialize(body: JsonObject) -> Bytes {
    Bytes::from(Value::Object(body).to_string())
}

//! x402 v2 (specification v2, sections 5.1 and 5.2).

use serde_json::Value;

use super::encode::Builder;
use super::{Fields, WireError};
use crate::model::{
    Accepted, PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo, X402Version,
};
use crate::{CLOUDFLARE_NETWORK, ErrorCode, JsonObject};

/// The most offers one 402 may hold.
pub(super) const MAX_OFFERS: usize = 64;

pub(super) fn decode_payment(mut fields: Fields) -> Result<PaymentPayload, WireError> {
    Ok(PaymentPayload {
        version: X402Version::V2,
        payload: fields.object("payload")?.rest(),
        accepted: Accepted::Offer(Box::new(decode_requirements(fields.object("accepted")?)?)),
        resource: decode_resource(&mut fields)?,
        extensions: fields.map("extensions")?,
        other: fields.rest(),
    })
}

pub(super) fn encode_payment(payment: &PaymentPayload) -> JsonObject {
    let accepted = match &payment.accepted {
        Accepted::Offer(offer) => encode_requirements(offer),
        // A payment of kind only is a v1 payment; were it ever sent as v2, the seller names what is missing.
        Accepted::Kind { scheme, network } => Builder::default()
            .set("scheme", scheme.as_str())
            .set("network", network.as_str())
            .finish(&JsonObject::new()),
    };
    Builder::default()
        .set("x402Version", X402Version::V2.number())
        .set("payload", payment.payload.clone())
        .set_map("extensions", &payment.extensions)
        .set_some("resource", payment.resource.as_ref().map(encode_resource))
        .set("accepted", accepted)
        .finish(&payment.other)
}

pub(super) fn decode_payment_required(mut fields: Fields) -> Result<PaymentRequired, WireError> {
    let offers = fields.objects("accepts", MAX_OFFERS)?;
    Ok(PaymentRequired {
        version: X402Version::V2,
        error: fields.optional_string("error")?,
        resource: decode_resource(&mut fields)?,
        accepts: readable(offers.into_iter().map(decode_requirements))?,
        extensions: fields.map("extensions")?,
        other: fields.rest(),
    })
}

pub(super) fn encode_payment_required(required: &PaymentRequired) -> JsonObject {
    let offers = required.accepts.iter().map(|offer| Value::Object(encode_requirements(offer)));
    Builder::default()
        .set("x402Version", X402Version::V2.number())
        .set_some("error", required.error.clone())
        .set_some("resource", required.resource.as_ref().map(encode_resource))
        .set("accepts", offers.collect::<Vec<_>>())
        .set_map("extensions", &required.extensions)
        .finish(&required.other)
}

/// The offers that can be read; one that cannot be does not take the others with it. If none can be, why.
pub(super) fn readable<T>(offers: impl Iterator<Item = Result<T, WireError>>) -> Result<Vec<T>, WireError> {
    let mut first_error = None;
    let mut keep =
        |offer: Result<T, WireError>| offer.map_err(|error| first_error.get_or_insert(error).clone()).ok();
    let good: Vec<T> = offers.filter_map(&mut keep).collect();
    match first_error {
        Some(error) if good.is_empty() => Err(error),
        _ => Ok(good),
    }
}

/// Decodes the terms of one offer.
pub(super) fn decode_requirements(fields: Fields) -> Result<PaymentRequirements, WireError> {
    let mut fields = fields.with_code(ErrorCode::INVALID_PAYMENT_REQUIREMENTS);
    let (scheme, network) = (fields.scheme("scheme")?, fields.network("network")?);
    // The profile lets it be left out, which is said to be the same as none.
    let is_timeless = network.as_str() == CLOUDFLARE_NETWORK && !fields.has("maxTimeoutSeconds");
    Ok(PaymentRequirements {
        scheme,
        network,
        amount: fields.amount("amount")?,
        asset: fields.string("asset")?,
        pay_to: fields.string("payTo")?,
        max_timeout_seconds: if is_timeless { 0 } else { fields.number("maxTimeoutSeconds")? },
        extra: fields.map("extra")?,
        other: fields.rest(),
    })
}

pub(super) fn encode_requirements(offer: &PaymentRequirements) -> JsonObject {
    Builder::default()
        .set("scheme", offer.scheme.as_str())
        .set("network", offer.network.as_str())
        .set("amount", offer.amount.to_string())
        .set("asset", offer.asset.as_str())
        .set("payTo", offer.pay_to.as_str())
        .set("maxTimeoutSeconds", offer.max_timeout_seconds)
        .set("extra", offer.extra.clone())
        .finish(&offer.other)
}

fn decode_resource(fields: &mut Fields) -> Result<Option<ResourceInfo>, WireError> {
    let Some(mut resource) = fields.optional_object("resource")? else { return Ok(None) };
    Ok(Some(ResourceInfo {
        url: resource.string("url")?,
        description: resource.optional_string("description")?,
        mime_type: resource.optional_string("mimeType")?,
        other: resource.rest(),
    }))
}

fn encode_resource(resource: &ResourceInfo) -> JsonObject {
    Builder::default()
        .set("url", resource.url.as_str())
        .set_some("description", resource.description.clone())
        .set_some("mimeType", resource.mime_type.clone())
        .finish(&resource.other)
}

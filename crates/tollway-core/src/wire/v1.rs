//! x402 v1 (specification v1, section 5): network names, terms that carry the resource, payments that name
//! only scheme and network.

use serde_json::Value;

use super::encode::Builder;
use super::v2::{MAX_OFFERS, readable};
use super::{Fields, WireError};
use crate::model::{
    Accepted, PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo, X402Version,
};
use crate::{ErrorCode, JsonObject, Network};

pub(super) fn decode_payment(mut fields: Fields) -> Result<PaymentPayload, WireError> {
    Ok(PaymentPayload {
        version: X402Version::V1,
        accepted: Accepted::Kind { scheme: fields.scheme("scheme")?, network: decode_network(&mut fields)? },
        payload: fields.object("payload")?.rest(),
        resource: None,
        extensions: JsonObject::new(),
        other: fields.rest(),
    })
}

pub(super) fn encode_payment(payment: &PaymentPayload) -> JsonObject {
    Builder::default()
        .set("x402Version", X402Version::V1.number())
        .set("scheme", payment.scheme().as_str())
        .set("network", network_name(payment.network()))
        .set("payload", payment.payload.clone())
        .finish(&payment.other)
}

pub(super) fn decode_payment_required(mut fields: Fields) -> Result<PaymentRequired, WireError> {
    let offers = fields.objects("accepts", MAX_OFFERS)?.into_iter().map(|offer| {
        let mut offer = offer.with_code(ErrorCode::INVALID_PAYMENT_REQUIREMENTS);
        Ok((decode_resource(&mut offer)?, decode_terms(offer)?))
    });
    // One 402 is for one resource: the first that is named.
    let mut offers = readable(offers)?;
    let resource = offers.first().map(|(resource, _)| resource.clone());
    offers.retain(|(named, _)| resource.as_ref().is_some_and(|first| first.url == named.url));
    let accepts = offers.into_iter().map(|(_, terms)| terms).collect();
    Ok(PaymentRequired {
        version: X402Version::V1,
        error: fields.optional_string("error")?,
        resource,
        accepts,
        extensions: JsonObject::new(),
        other: fields.rest(),
    })
}

pub(super) fn encode_payment_required(required: &PaymentRequired) -> JsonObject {
    let unknown = ResourceInfo::default();
    let resource = required.resource.as_ref().unwrap_or(&unknown);
    // A published v1 client drops the whole 402 over one network it has no name for.
    let named = required.accepts.iter().any(|offer| offer.network.v1_name().is_some());
    let offers = required
        .accepts
        .iter()
        .filter(|offer| !named || offer.network.v1_name().is_some())
        .map(|offer| Value::Object(encode_requirements(offer, resource)));
    Builder::default()
        .set("x402Version", X402Version::V1.number())
        .set_some("error", required.error.clone())
        .set("accepts", offers.collect::<Vec<_>>())
        .finish(&required.other)
}

/// Decodes the `paymentRequirements` of a facilitator request, and the resource that v1 keeps in them.
pub(super) fn decode_requirements(fields: Fields) -> Result<(PaymentRequirements, ResourceInfo), WireError> {
    let mut fields = fields.with_code(ErrorCode::INVALID_PAYMENT_REQUIREMENTS);
    let resource = decode_resource(&mut fields)?;
    Ok((decode_terms(fields)?, resource))
}

fn decode_terms(mut fields: Fields) -> Result<PaymentRequirements, WireError> {
    Ok(PaymentRequirements {
        scheme: fields.scheme("scheme")?,
        network: decode_network(&mut fields)?,
        amount: fields.amount("maxAmountRequired")?,
        asset: fields.string("asset")?,
        pay_to: fields.string("payTo")?,
        max_timeout_seconds: fields.number("maxTimeoutSeconds")?,
        extra: fields.map("extra")?,
        other: fields.rest(),
    })
}

fn decode_resource(fields: &mut Fields) -> Result<ResourceInfo, WireError> {
    Ok(ResourceInfo {
        url: fields.string("resource")?,
        description: fields.optional_string("description")?,
        mime_type: fields.optional_string("mimeType")?,
        other: JsonObject::new(),
    })
}

/// v1 requires `description` and `mimeType` to be strings; its clients refuse `null`.
pub(super) fn encode_requirements(offer: &PaymentRequirements, resource: &ResourceInfo) -> JsonObject {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Builder::default()
        .set("scheme", offer.scheme.as_str())
        .set("network", network_name(&offer.network))
        .set("maxAmountRequired", offer.amount.to_string())
        .set("resource", resource.url.as_str())
        .set("description", text(&resource.description))
        .set("mimeType", text(&resource.mime_type))
        .set("payTo", offer.pay_to.as_str())
        .set("maxTimeoutSeconds", offer.max_timeout_seconds)
        .set("asset", offer.asset.as_str())
        .set("extra", offer.extra.clone())
        .finish(&offer.other)
}

/// A v1 network: a name of the v1 table, or a CAIP-2 identifier, which some sellers send in v1 too.
pub(super) fn decode_network(fields: &mut Fields) -> Result<Network, WireError> {
    let text = fields.string("network")?;
    Network::from_v1_name(&text).or_else(|| text.parse().ok()).ok_or_else(|| {
        let rule = "must be a network name of x402 v1 or a CAIP-2 identifier";
        WireError { code: ErrorCode::INVALID_NETWORK, ..fields.error("network", rule) }
    })
}

/// The v1 name, or the CAIP-2 identifier of a network that v1 never named.
pub(super) fn network_name(network: &Network) -> &str {
    network.v1_name().unwrap_or(network.as_str())
}

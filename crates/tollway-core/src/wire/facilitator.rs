//! The bodies of the facilitator's HTTP API (specification v2, section 7), both versions.

use serde_json::Value;

use super::encode::Builder;
use super::{Fields, WireError, encode_payment, parse_object, v1, v2};
use crate::model::{
    FacilitatorRequest, PaymentPayload, ResourceInfo, SettleResponse, SupportedKind, SupportedResponse,
    VerifyResponse, X402Version,
};
use crate::{ErrorCode, JsonObject, Network};

/// The most kinds read from a facilitator.
const MAX_KINDS: usize = 1024;

/// Decodes the body of `POST /verify` or `POST /settle`: `x402Version`, `paymentPayload` and
/// `paymentRequirements`, the latter two as that version writes them.
///
/// # Errors
/// [`WireError`] naming the field.
///
/// ```
/// use tollway_core::wire;
/// let error = wire::decode_facilitator_request(br#"{"x402Version":2,"paymentPayload":{}}"#).unwrap_err();
/// assert_eq!(error.to_string(), "paymentRequirements: is required");
/// ```
pub fn decode_facilitator_request(json: &[u8]) -> Result<FacilitatorRequest, WireError> {
    let mut fields = Fields::root(parse_object(json, "body")?);
    let outer = fields.optional_version()?;
    let mut payload = fields.object("paymentPayload")?;
    // The two say the same, and one may be absent: v1 sellers write the outer, the v2 specification's own example
    // only the inner.
    let version = match (outer, payload.optional_version()?) {
        (Some(outer), Some(inner)) if outer != inner => {
            let rule = format!("must equal x402Version, which is {}", outer.number());
            return Err(WireError {
                code: ErrorCode::INVALID_X402_VERSION,
                ..payload.error("x402Version", rule)
            });
        }
        (Some(version), _) | (None, Some(version)) => version,
        (None, None) => fields.version()?,
    };
    let requirements = fields.object("paymentRequirements")?;
    match version {
        X402Version::V1 => {
            let (requirements, resource) = v1::decode_requirements(requirements)?;
            // Kept so that a request read from one peer can be written to the next.
            let payment = PaymentPayload { resource: Some(resource), ..v1::decode_payment(payload)? };
            Ok(FacilitatorRequest { payment, requirements })
        }
        X402Version::V2 => {
            let requirements = v2::decode_requirements(requirements)?;
            Ok(FacilitatorRequest { payment: v2::decode_payment(payload)?, requirements })
        }
    }
}

/// The body of `POST /verify` or `POST /settle`, in the payment's version.
///
/// ```
/// use tollway_core::wire;
/// # let json = br#"{"x402Version":1,"paymentPayload":{"x402Version":1,"scheme":"exact","network":"base",
/// #   "payload":{}},"paymentRequirements":{"scheme":"exact","network":"base","maxAmountRequired":"10000",
/// #   "resource":"https://api.example.com/weather","maxTimeoutSeconds":60,
/// #   "asset":"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
/// #   "payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C"}}"#;
/// let request = wire::decode_facilitator_request(json)?;
/// assert_eq!(wire::encode_facilitator_request(&request)["paymentPayload"]["network"], "base");
/// # Ok::<(), wire::WireError>(())
/// ```
pub fn encode_facilitator_request(request: &FacilitatorRequest) -> JsonObject {
    let version = request.payment.version;
    let requirements = match version {
        X402Version::V1 => {
            let unknown = ResourceInfo::default();
            let resource = request.payment.resource.as_ref().unwrap_or(&unknown);
            v1::encode_requirements(&request.requirements, resource)
        }
        X402Version::V2 => v2::encode_requirements(&request.requirements),
    };
    Builder::default()
        .set("x402Version", version.number())
        .set("paymentPayload", encode_payment(&request.payment))
        .set("paymentRequirements", requirements)
        .finish(&JsonObject::new())
}

/// Decodes the answer to `POST /verify`.
///
/// # Errors
/// [`WireError`] naming the field.
///
/// ```
/// use tollway_core::{ErrorCode, wire};
/// let answer = wire::decode_verify_response(br#"{"isValid":false,"invalidReason":"insufficient_funds"}"#)?;
/// assert_eq!(answer.invalid_reason, Some(ErrorCode::INSUFFICIENT_FUNDS));
/// # Ok::<(), wire::WireError>(())
/// ```
pub fn decode_verify_response(json: &[u8]) -> Result<VerifyResponse, WireError> {
    let mut fields = Fields::root(parse_object(json, "body")?);
    Ok(VerifyResponse {
        is_valid: fields.boolean("isValid")?,
        invalid_reason: fields.optional_string("invalidReason")?.map(|code| ErrorCode::from_wire(&code)),
        invalid_message: fields.optional_string("invalidMessage")?,
        payer: fields.optional_string("payer")?,
        extra: fields.map("extra")?,
        extensions: fields.map("extensions")?,
        extension_responses: extension_responses(&mut fields),
        other: fields.rest(),
    })
}

/// The answer to `POST /verify`, without the fields that have nothing to say.
///
/// ```
/// use tollway_core::{model::VerifyResponse, wire};
/// let answer = VerifyResponse::valid("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
/// let json = wire::encode_verify_response(&answer);
/// assert_eq!((&json["isValid"], json.get("invalidReason")), (&true.into(), None));
/// ```
pub fn encode_verify_response(response: &VerifyResponse) -> JsonObject {
    Builder::default()
        .set("isValid", response.is_valid)
        .set_some("invalidReason", response.invalid_reason.as_ref().map(ErrorCode::as_str))
        .set_some("invalidMessage", response.invalid_message.clone())
        .set_some("payer", response.payer.clone())
        .set_map("extensions", &response.extensions)
        .set_map("extra", &response.extra)
        .finish(&response.other)
}

/// Decodes the answer to `POST /settle`, or a settlement header. The network may be a v1 name; an empty one,
/// which some peers send with a failure, stands for `expected`.
///
/// # Errors
/// [`WireError`] naming the field.
///
/// ```
/// use tollway_core::{Network, model::Outcome, wire};
/// let json = br#"{"success":false,"errorReason":"insufficient_funds","transaction":"","network":""}"#;
/// let answer = wire::decode_settle_response(json, &Network::evm(8453))?;
/// assert_eq!((answer.outcome(), answer.network), (Outcome::Failed, Network::evm(8453)));
/// # Ok::<(), wire::WireError>(())
/// ```
pub fn decode_settle_response(json: &[u8], expected: &Network) -> Result<SettleResponse, WireError> {
    let mut fields = Fields::root(parse_object(json, "body")?);
    let network = match fields.clone().optional_string("network")?.as_deref() {
        None | Some("") => expected.clone(),
        Some(_) => v1::decode_network(&mut fields)?,
    };
    Ok(SettleResponse {
        success: fields.boolean("success")?,
        error_reason: fields.optional_string("errorReason")?.map(|code| ErrorCode::from_wire(&code)),
        error_message: fields.optional_string("errorMessage")?,
        payer: fields.optional_string("payer")?,
        transaction: fields.optional_string("transaction")?.unwrap_or_default(),
        network,
        amount: fields.optional_string("amount")?,
        extra: fields.map("extra")?,
        extensions: fields.map("extensions")?,
        extension_responses: extension_responses(&mut fields),
        other: fields.rest(),
    })
}

/// Some facilitators also write them into the body, where a seller would hand them on to its buyer. What is no object says
/// nothing.
fn extension_responses(fields: &mut Fields) -> JsonObject {
    match fields.take("extensionResponses") {
        Some(Value::Object(responses)) => responses,
        _ => JsonObject::new(),
    }
}

/// The answer to `POST /settle`, with the network as `version` writes it.
///
/// ```
/// use tollway_core::{ErrorCode, Network, X402Version, model::SettleResponse, wire};
/// let code = ErrorCode::INVALID_TRANSACTION_STATE;
/// let answer = SettleResponse::failed(Network::evm(8453), Some(code), "execution reverted");
/// assert_eq!(wire::encode_settle_response(&answer, X402Version::V1)["network"], "base");
/// assert_eq!(wire::encode_settle_response(&answer, X402Version::V2)["network"], "eip155:8453");
/// ```
pub fn encode_settle_response(response: &SettleResponse, version: X402Version) -> JsonObject {
    let network = match version {
        X402Version::V1 => v1::network_name(&response.network),
        X402Version::V2 => response.network.as_str(),
    };
    Builder::default()
        .set("success", response.success)
        .set_some("errorReason", response.error_reason.as_ref().map(ErrorCode::as_str))
        .set_some("errorMessage", response.error_message.clone())
        .set_some("payer", response.payer.clone())
        .set("transaction", response.transaction.as_str())
        .set("network", network)
        .set_some("amount", response.amount.clone())
        .set_map("extensions", &response.extensions)
        .set_map("extra", &response.extra)
        .finish(&response.other)
}

/// Decodes the answer to `GET /supported`. Kinds of other protocol versions and networks that are not
/// networks (`eip155:*`) are passed over: they cannot be what a seller asks for.
///
/// # Errors
/// [`WireError`] naming the field.
///
/// ```
/// use tollway_core::wire;
/// let json = br#"{"kinds":[{"x402Version":2,"scheme":"exact","network":"eip155:8453"},
///     {"x402Version":2,"scheme":"exact","network":"eip155:*"}],"signers":{"eip155:*":["0xf39F"]}}"#;
/// let supported = wire::decode_supported(json)?;
/// assert_eq!((supported.kinds.len(), supported.signers["eip155:*"].len()), (1, 1));
/// # Ok::<(), wire::WireError>(())
/// ```
pub fn decode_supported(json: &[u8]) -> Result<SupportedResponse, WireError> {
    let mut fields = Fields::root(parse_object(json, "body")?);
    let kinds = fields.objects("kinds", MAX_KINDS)?.into_iter().filter_map(decode_kind).collect();
    let strings = |value: Value| match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    Ok(SupportedResponse {
        kinds,
        extensions: fields.take("extensions").map(strings).unwrap_or_default(),
        signers: fields.map("signers")?.into_iter().map(|(key, value)| (key, strings(value))).collect(),
    })
}

fn decode_kind(mut fields: Fields) -> Option<SupportedKind> {
    let version = fields.version().ok()?;
    let network = match version {
        X402Version::V1 => v1::decode_network(&mut fields).ok()?,
        X402Version::V2 => fields.network("network").ok()?,
    };
    let scheme = fields.scheme("scheme").ok()?;
    Some(SupportedKind { version, scheme, network, extra: fields.map("extra").ok()? })
}

/// The answer to `GET /supported`, each network as the version of its kind writes it.
///
/// ```
/// use tollway_core::{Network, SchemeName, X402Version, wire};
/// use tollway_core::model::{SupportedKind, SupportedResponse};
/// # let (scheme, network, extra) = (SchemeName::EXACT, Network::evm(8453), Default::default());
/// let kind = SupportedKind { version: X402Version::V1, scheme, network, extra };
/// let supported = SupportedResponse { kinds: vec![kind], ..SupportedResponse::default() };
/// assert_eq!(wire::encode_supported(&supported)["kinds"][0]["network"], "base");
/// ```
pub fn encode_supported(response: &SupportedResponse) -> JsonObject {
    let kind = |kind: &SupportedKind| {
        let network = match kind.version {
            X402Version::V1 => v1::network_name(&kind.network),
            X402Version::V2 => kind.network.as_str(),
        };
        Value::Object(
            Builder::default()
                .set("x402Version", kind.version.number())
                .set("scheme", kind.scheme.as_str())
                .set("network", network)
                .set_map("extra", &kind.extra)
                .finish(&JsonObject::new()),
        )
    };
    let signers: JsonObject =
        response.signers.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    Builder::default()
        .set("kinds", response.kinds.iter().map(kind).collect::<Vec<_>>())
        .set("extensions", response.extensions.clone())
        .set("signers", signers)
        .finish(&JsonObject::new())
}

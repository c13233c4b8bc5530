//! What a seller asks of a facilitator on its own account: to claim, to pay out, to give back. Every rule on it that needs no
//! chain; and the consent of the receiver's authorizer, which a facilitator adds where sellers leave that to it.

use alloy_primitives::{Address, Bytes, hex};
use serde_json::Value;
use tollway_core::model::{FacilitatorRequest, PaymentPayload, PaymentRequirements};
use tollway_core::{ErrorCode, JsonObject, Refusal};

use super::claim::{check_claim_consent, check_claims, sign_claims};
use super::code;
use super::payload::{BatchPayload, Refund};
use super::refund::{check_refund, check_refund_consent};
use super::verify::check_kind;
use crate::signature::PayerSignature;
use crate::{Signer, SignerError};

const CLAIM_SIGNATURE: &str = "claimAuthorizerSignature";
const REFUND_SIGNATURE: &str = "refundAuthorizerSignature";

/// A seller's request that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelRequest {
    /// What is asked for: a claim, a settlement or a completed refund, with every consent that it needs.
    pub payload: BatchPayload,
    /// How the receiver's authorizer consents: to the refund, if it is one. None to a settlement, which anybody may ask for.
    pub consent: Option<PayerSignature>,
}

/// Why a consent is not there.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsentError {
    /// It is not for this key to give, or the request is not one.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The key is out of reach.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

/// Whether a payload is what a seller asks for, rather than a buyer's payment. A refund is the seller's once it is completed.
///
/// ```
/// use tollway_core::wire::parse_object;
/// use tollway_evm::batch_settlement::is_request;
/// assert!(is_request(&parse_object(br#"{"type":"claim"}"#, "payload")?));
/// assert!(!is_request(&parse_object(br#"{"type":"refund"}"#, "payload")?));
/// # Ok::<(), tollway_core::wire::WireError>(())
/// ```
pub fn is_request(payload: &JsonObject) -> bool {
    match payload.get("type").and_then(Value::as_str) {
        Some("claim" | "settle") => true,
        Some("refund") => payload.get("refundNonce").is_some_and(|nonce| !nonce.is_null()),
        _ => false,
    }
}

/// Holds a seller's request to every rule that needs no chain, the authorizer's signatures included.
///
/// # Errors
/// [`Refusal`] with the code of the specification, the field and the rule.
///
/// ```
/// use tollway_core::model::FacilitatorRequest;
/// use tollway_core::Refusal;
/// use tollway_evm::batch_settlement::{BatchPayload, check_request};
/// fn rows(request: &FacilitatorRequest) -> Result<usize, Refusal> {
///     match check_request(&request.payment, &request.requirements)?.payload {
///         BatchPayload::Claim(batch) => Ok(batch.claims.len()),
///         _ => Ok(0),
///     }
/// }
/// ```
pub fn check_request(
    payment: &PaymentPayload,
    offer: &PaymentRequirements,
) -> Result<ChannelRequest, Refusal> {
    let (payload, chain_id) = read(payment, offer)?;
    let consent = match &payload {
        BatchPayload::Settle { .. } => None,
        BatchPayload::Claim(batch) => {
            let authorizer = check_claims(&batch.claims, chain_id)?;
            let signature = present(batch.authorizer_signature.as_ref(), CLAIM_SIGNATURE)?;
            Some(check_claim_consent(&batch.claims, chain_id, authorizer, signature)?)
        }
        BatchPayload::Refund(refund) => Some(check_whole_refund(refund, chain_id)?),
        BatchPayload::Deposit { .. } | BatchPayload::Voucher { .. } => return Err(not_a_request()),
    };
    Ok(ChannelRequest { payload, consent })
}

/// The request with the consents that its seller left to the facilitator, given by `key`; none if it has them all. Who may ask
/// for a refund is for the facilitator to say before: a payer that could have it consented to would take back what it owes.
///
/// # Errors
/// [`ConsentError`]: the request is not one, its authorizer is another account, or the key is out of reach.
///
/// ```
/// use tollway_core::model::FacilitatorRequest;
/// use tollway_evm::Signer;
/// use tollway_evm::batch_settlement::{ConsentError, consented};
/// async fn complete(
///     request: FacilitatorRequest, key: &dyn Signer,
/// ) -> Result<FacilitatorRequest, ConsentError> {
///     Ok(consented(&request, Some(key)).await?.unwrap_or(request))
/// }
/// ```
pub async fn consented(
    request: &FacilitatorRequest,
    key: Option<&dyn Signer>,
) -> Result<Option<FacilitatorRequest>, ConsentError> {
    let (payload, chain_id) = read(&request.payment, &request.requirements)?;
    let mut added: Vec<(&str, Bytes)> = Vec::new();
    match &payload {
        BatchPayload::Claim(batch) if batch.authorizer_signature.is_none() => {
            let key = key_of(key, check_claims(&batch.claims, chain_id)?)?;
            added.push((CLAIM_SIGNATURE, sign_claims(&batch.claims, chain_id, key).await?));
        }
        BatchPayload::Refund(refund) => {
            let completion = check_refund(refund, chain_id)?;
            let authorizer = refund.config.receiver_authorizer;
            if let (None, Some(consent)) = (&completion.refund_signature, refund.consent()) {
                let key = key_of(key, authorizer)?;
                added.push((REFUND_SIGNATURE, consent.sign(chain_id, key).await?));
            }
            if completion.claim_signature.is_none() && !completion.claims.is_empty() {
                let key = key_of(key, authorizer)?;
                added.push((CLAIM_SIGNATURE, sign_claims(&completion.claims, chain_id, key).await?));
            }
        }
        _ => {}
    }
    if added.is_empty() {
        return Ok(None);
    }
    let mut request = request.clone();
    for (name, signature) in added {
        request.payment.payload.insert(name.to_owned(), hex::encode_prefixed(signature).into());
    }
    Ok(Some(request))
}

fn read(payment: &PaymentPayload, offer: &PaymentRequirements) -> Result<(BatchPayload, u64), Refusal> {
    let chain_id = check_kind(payment, offer)?;
    match is_request(&payment.payload) {
        true => Ok((BatchPayload::decode(&payment.payload)?, chain_id)),
        false => Err(not_a_request()),
    }
}

fn check_whole_refund(refund: &Refund, chain_id: u64) -> Result<PayerSignature, Refusal> {
    let completion = check_refund(refund, chain_id)?;
    let authorizer = refund.config.receiver_authorizer;
    if !completion.claims.is_empty() {
        let signature = present(completion.claim_signature.as_ref(), CLAIM_SIGNATURE)?;
        check_claim_consent(&completion.claims, chain_id, authorizer, signature)?;
    }
    let signature = present(completion.refund_signature.as_ref(), REFUND_SIGNATURE)?;
    let consent = refund.consent().ok_or_else(not_a_request)?;
    check_refund_consent(&consent, chain_id, authorizer, signature)
}

fn present<'a>(signature: Option<&'a Bytes>, name: &str) -> Result<&'a Bytes, Refusal> {
    signature.ok_or_else(|| {
        let rule = "is required: nobody here has the key of the receiver's authorizer";
        Refusal::new(code::AUTHORIZER_NOT_CONFIGURED, format!("payload.{name}"), rule)
    })
}

fn key_of(key: Option<&dyn Signer>, authorizer: Address) -> Result<&dyn Signer, Refusal> {
    let refuse = |code: ErrorCode, rule: String| Err(Refusal::new(code, "payload.claims", rule));
    match key {
        Some(key) if key.address() == authorizer => Ok(key),
        Some(key) => {
            let rule = format!("must be of channels whose receiver authorizer is {}", key.address());
            refuse(code::AUTHORIZER_ADDRESS_MISMATCH, rule)
        }
        None => {
            let rule = "must come with the signature of the receiver's authorizer".to_owned();
            refuse(code::AUTHORIZER_NOT_CONFIGURED, rule)
        }
    }
}

fn not_a_request() -> Refusal {
    let rule = "must be \"claim\", \"settle\", or \"refund\" with refundNonce";
    Refusal::new(code::PAYLOAD_TYPE, "payload.type", rule)
}

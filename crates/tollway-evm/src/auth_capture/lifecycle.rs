//! What happens to a payment after it was collected: captured, voided, refunded. A seller asks for it at `POST /settle`,
//! with the signature of the receiver's authorizer; this file reads and checks what it asks.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use serde_json::Value;
use tollway_core::model::{Accepted, FacilitatorRequest, PaymentPayload, PaymentRequirements};
use tollway_core::wire::Fields;
use tollway_core::{AuthorizationKey, ErrorCode, JsonObject, Network, Refusal, SchemeName, UnixTime};

use super::authorizer::{Balances, Consent};
use super::deployment::{Deployment, FeeUnit};
use super::info::{PaymentInfo, bound_salt};
use super::payload::{bytes_field, object};
use super::terms::{CaptureTerms, Fee, Flow, OperatorType};
use super::verify::{check_consent, check_kind, parties};
use super::{address_field, word_field};

/// What is to happen to a payment that was collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Some of what is held goes to the receiver.
    Capture {
        /// How much.
        amount: U256,
        /// Of which so much is the fee.
        fee: Fee,
        /// To whom the fee goes.
        fee_receiver: Address,
        /// What the payment looks like before.
        expected: Balances,
        /// Whether the rest goes back to the payer then.
        voids_rest: bool,
    },
    /// All that is held goes back.
    Void,
    /// Some of what was taken goes back.
    Refund {
        /// How much.
        amount: U256,
        /// What the payment looks like before.
        expected: Balances,
    },
}

impl Operation {
    /// Its name in `payload.type`.
    ///
    /// ```
    /// use tollway_evm::auth_capture::Operation;
    /// assert_eq!(Operation::Void.name(), "void");
    /// ```
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Capture { .. } => "capture",
            Self::Void => "void",
            Self::Refund { .. } => "refund",
        }
    }

    /// What the authorizer consents to by it, given the collector that refunds come from.
    ///
    /// ```
    /// use tollway_evm::auth_capture::{Consent, Deployment, Operation};
    /// assert_eq!(Operation::Void.consent(&Deployment::CURRENT), Consent::Void);
    /// ```
    pub const fn consent(&self, deployment: &Deployment) -> Consent {
        match *self {
            Self::Capture { amount, fee, fee_receiver, expected, voids_rest: _ } => {
                Consent::Capture { amount, fee, fee_receiver, expected }
            }
            Self::Void => Consent::Void,
            Self::Refund { amount, expected } => {
                Consent::Refund { amount, collector: deployment.refund_collector, expected }
            }
        }
    }

    /// What the payment must look like before, where that is part of the consent.
    pub(super) const fn expected(&self) -> Option<Balances> {
        match self {
            Self::Capture { expected, .. } | Self::Refund { expected, .. } => Some(*expected),
            Self::Void => None,
        }
    }
}

/// An operation on a payment, as the receiver's authorizer consented to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// Where.
    pub network: Network,
    /// In which contracts.
    pub deployment: Deployment,
    /// The payment.
    pub info: PaymentInfo,
    /// The escrow's name for it.
    pub hash: B256,
    /// What is to happen.
    pub operation: Operation,
}

impl Lifecycle {
    /// What names this operation: the payment, what happens to it, and how it looks before. Asked twice, it is the same.
    ///
    /// ```
    /// # use tollway_core::{Network, UnixTime};
    /// # use tollway_evm::auth_capture::{self, Deployment, Lifecycle, Operation};
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// # let held = auth_capture::check_at_any_time(&request.payment, &request.requirements)?;
    /// # let (network, deployment) = (held.network.clone(), Deployment::CURRENT);
    /// # let (info, hash, operation) = (held.info.clone(), held.hash, Operation::Void);
    /// let void = Lifecycle { network, deployment, info, hash, operation };
    /// assert_eq!(void.key(), void.clone().key());
    /// assert_ne!(void.key(), held.key());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key(&self) -> AuthorizationKey {
        let (escrow, payer, nonce) = (self.deployment.escrow, self.info.payer, self.nonce());
        AuthorizationKey::new(format!("{}/{escrow:#x}/{payer:#x}/{nonce:#x}", self.network))
    }

    /// What makes it unique among the payer's: the digest of the consent.
    pub(super) fn nonce(&self) -> B256 {
        let consent = self.operation.consent(&self.deployment);
        // The network is one with chain ids, or it would not have passed the check.
        consent.digest(self.hash, &self.network, self.info.operator).unwrap_or_else(|| keccak256(self.hash))
    }

    /// How much of the payment it moves, as far as that is known before: a void moves all that is held.
    ///
    /// ```
    /// use tollway_evm::U256;
    /// # use tollway_evm::auth_capture::{self, Deployment, Lifecycle, Operation};
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// # let held = auth_capture::check_at_any_time(&request.payment, &request.requirements)?;
    /// # let (network, deployment) = (held.network.clone(), Deployment::CURRENT);
    /// # let (info, hash, operation) = (held.info.clone(), held.hash, Operation::Void);
    /// let void = Lifecycle { network, deployment, info, hash, operation };
    /// assert_eq!(void.amount(), U256::ZERO);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn amount(&self) -> U256 {
        match self.operation {
            Operation::Capture { amount, .. } | Operation::Refund { amount, .. } => amount,
            Operation::Void => U256::ZERO,
        }
    }
}

/// Whether a payload asks for something to happen to a payment that was collected.
///
/// ```
/// use tollway_core::wire::parse_object;
/// use tollway_evm::auth_capture::is_lifecycle;
/// assert!(is_lifecycle(&parse_object(br#"{"type":"void"}"#, "payload")?));
/// # Ok::<(), tollway_core::wire::WireError>(())
/// ```
pub fn is_lifecycle(payload: &JsonObject) -> bool {
    payload.get("type").is_some_and(|kind| !kind.is_null())
}

/// The request to void what a capture leaves, if the capture asks for that: with the consent that came with it.
///
/// ```
/// use tollway_evm::auth_capture::voiding_rest;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
/// let hold = tollway_core::wire::decode_facilitator_request(json)?;
/// assert_eq!(voiding_rest(&hold), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn voiding_rest(request: &FacilitatorRequest) -> Option<FacilitatorRequest> {
    let payload = &request.payment.payload;
    let is_capture = payload.get("type").and_then(Value::as_str) == Some("capture");
    if !is_capture || request.requirements.scheme != SchemeName::AUTH_CAPTURE {
        return None;
    }
    let consent = payload.get("voidAuthorizerSignature").filter(|consent| !consent.is_null())?;
    let mut rest = request.clone();
    rest.payment.payload = object([
        ("type", "void".into()),
        ("paymentInfo", payload.get("paymentInfo")?.clone()),
        ("saltNonce", payload.get("saltNonce")?.clone()),
        ("authorizerSignature", consent.clone()),
    ]);
    Some(rest)
}

/// Holds such a payload against the offer that the payment was collected under: every rule that needs no chain. Without
/// `now`, those of time are left out.
///
/// # Errors
/// [`Refusal`] with the code of the specification, the field and the rule.
///
/// ```
/// # use std::sync::Arc;
/// use tollway_evm::auth_capture::{self, HeldPayment, Operation, check_lifecycle};
/// # use tollway_evm::LocalSigner;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// let held = auth_capture::check_at_any_time(&request.payment, &request.requirements)?;
/// let held = HeldPayment::of(&held, &request.requirements);
/// let stranger = LocalSigner::random()?;
/// let void = held.request(&Operation::Void, &stranger).await?;
/// let refusal = check_lifecycle(&void.payment, &void.requirements, None).unwrap_err();
/// assert_eq!(refusal.field, "payload.authorizerSignature");
/// # Ok(())
/// # }
/// ```
pub fn check_lifecycle(
    payment: &PaymentPayload,
    offer: &PaymentRequirements,
    now: Option<UnixTime>,
) -> Result<Lifecycle, Refusal> {
    let asked = Asked::decode(&payment.payload)?;
    check_kind(payment, offer)?;
    let terms = CaptureTerms::read(offer)?;
    let payer = asked.info.payer.to_checksum(None);
    let rules = || {
        relayed(&asked, &terms)?;
        matching(&asked, &terms, payment, offer)?;
        let hash = asked.info.hash(&offer.network, terms.deployment.escrow).ok_or_else(|| {
            Refusal::new(ErrorCode::INVALID_NETWORK, "paymentRequirements.network", "must be an EVM network")
        })?;
        signatures(&asked, &terms, &offer.network, hash)?;
        sums(&asked, &terms)?;
        now.map_or(Ok(()), |now| in_time(&asked, now))?;
        let (network, deployment) = (offer.network.clone(), terms.deployment);
        Ok(Lifecycle { network, deployment, info: asked.info.clone(), hash, operation: asked.operation })
    };
    rules().map_err(|refusal: Refusal| refusal.by(payer))
}

/// The payload as it came.
struct Asked {
    operation: Operation,
    info: PaymentInfo,
    salt_nonce: B256,
    signature: Bytes,
    void_signature: Option<Bytes>,
}

impl Asked {
    fn decode(payload: &JsonObject) -> Result<Self, Refusal> {
        let mut fields = Fields::root(payload.clone()).at("payload");
        let kind = fields.string("type").unwrap_or_default();
        if !["capture", "void", "refund"].contains(&kind.as_str()) {
            let rule = "must be \"capture\", \"void\" or \"refund\"";
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_PAYLOAD_TYPE;
            return Err(Refusal::new(code, "payload.type", rule));
        }
        let void_signature = fields.take("voidAuthorizerSignature").is_some();
        if void_signature && kind != "capture" {
            let rule = "must not be there but for a capture";
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_VOID_AUTHORIZER_SIGNATURE;
            return Err(Refusal::new(code, "payload.voidAuthorizerSignature", rule));
        }
        Self::read(&kind, payload).map_err(|refusal| Refusal {
            code: ErrorCode::INVALID_AUTH_CAPTURE_EVM_PAYLOAD_FORMAT,
            ..refusal
        })
    }

    fn read(kind: &str, payload: &JsonObject) -> Result<Self, Refusal> {
        let mut fields = Fields::root(payload.clone()).at("payload");
        let info = PaymentInfo::decode(fields.object("paymentInfo")?)?;
        let salt_nonce = word_field(&mut fields, "saltNonce")?;
        let signature = bytes_field(&mut fields, "authorizerSignature")?;
        let has_void = payload.get("voidAuthorizerSignature").is_some_and(|value| !value.is_null());
        let void_signature =
            has_void.then(|| bytes_field(&mut fields, "voidAuthorizerSignature")).transpose()?;
        let operation = match kind {
            "capture" => Operation::Capture {
                amount: fields.amount("amount")?.atomic(),
                fee: Fee::read(&mut fields)?.ok_or_else(|| fields.error("feeAmount", "is required"))?,
                fee_receiver: address_field(&mut fields, "feeReceiver")?,
                expected: expected(&mut fields)?,
                voids_rest: void_signature.is_some(),
            },
            "refund" => Operation::Refund {
                amount: fields.amount("amount")?.atomic(),
                expected: expected(&mut fields)?,
            },
            _ => Operation::Void,
        };
        Ok(Self { operation, info, salt_nonce, signature, void_signature })
    }
}

fn expected(fields: &mut Fields) -> Result<Balances, Refusal> {
    Ok(Balances {
        capturable: fields.amount("expectedCapturableAmount")?.atomic(),
        refundable: fields.amount("expectedRefundableAmount")?.atomic(),
    })
}

/// Whether the facilitator does such a thing at all under these terms.
fn relayed(asked: &Asked, terms: &CaptureTerms) -> Result<(), Refusal> {
    if terms.operator_type != OperatorType::Delegated || !terms.is_bound() {
        let rule = "must be asked of the operator itself: the offer names no receiverAuthorizer";
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_LIFECYCLE_NOT_RELAYED;
        return Err(Refusal::new(code, "payload.type", rule));
    }
    if terms.flow == Flow::Charge && !matches!(asked.operation, Operation::Refund { .. }) {
        let rule = "must be \"refund\" where paymentFlow is \"authorization\": nothing is held";
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_PAYLOAD_TYPE;
        return Err(Refusal::new(code, "payload.type", rule));
    }
    if let Operation::Capture { fee, .. } = asked.operation {
        let fits = match terms.deployment.fee_unit {
            FeeUnit::Amount => matches!(fee, Fee::Amount(_)),
            FeeUnit::Bps => matches!(fee, Fee::Bps(_)),
        };
        if !fits {
            let rule = "must be the one that the escrow takes";
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_PAYLOAD_FORMAT;
            return Err(Refusal::new(code, "payload.feeAmount", rule));
        }
    }
    Ok(())
}

/// That the payment is one of this offer, bound to its authorizer.
fn matching(
    asked: &Asked,
    terms: &CaptureTerms,
    payment: &PaymentPayload,
    offer: &PaymentRequirements,
) -> Result<(), Refusal> {
    let info = &asked.info;
    if info.operator != terms.operator {
        let rule = format!("must be the offer's captureAuthorizer {}", terms.operator);
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_OPERATOR_MISMATCH;
        return Err(Refusal::new(code, "payload.paymentInfo.operator", rule));
    }
    if B256::from(info.salt) != bound_salt(terms.receiver_authorizer, asked.salt_nonce) {
        let rule = "must be the hash of the offer's receiverAuthorizer and saltNonce";
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_SALT_BINDING_MISMATCH;
        return Err(Refusal::new(code, "payload.paymentInfo.salt", rule));
    }
    let (receiver, token) = parties(offer)?;
    // Sellers that settle less than they offered name the whole amount in what the payer accepted only.
    let whole = match &payment.accepted {
        Accepted::Offer(accepted) => accepted.amount,
        Accepted::Kind { .. } => offer.amount,
    };
    let (capture, refund): (u64, u64) = (info.authorizationExpiry.to(), info.refundExpiry.to());
    let fees = (info.minFeeBps, info.maxFeeBps, info.feeReceiver);
    for (holds, field) in [
        (info.receiver == receiver, "receiver"),
        (info.token == token, "token"),
        (U256::from(info.maxAmount) == whole.atomic(), "maxAmount"),
        (capture == terms.capture_deadline, "authorizationExpiry"),
        (refund == terms.refund_deadline, "refundExpiry"),
        (fees == (terms.fees.min_bps, terms.fees.max_bps, terms.fees.recipient), "feeReceiver"),
    ] {
        if !holds {
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_PAYMENT_INFO_MISMATCH;
            let field = format!("payload.paymentInfo.{field}");
            return Err(Refusal::new(code, field, "must be what the offer says"));
        }
    }
    Ok(())
}

fn signatures(asked: &Asked, terms: &CaptureTerms, network: &Network, hash: B256) -> Result<(), Refusal> {
    let case = (hash, network, terms.operator);
    let consent = asked.operation.consent(&terms.deployment);
    check_consent(&consent, case, terms.receiver_authorizer, &asked.signature).map_err(|rule| {
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_AUTHORIZER_SIGNATURE;
        Refusal::new(code, "payload.authorizerSignature", rule)
    })?;
    let Some(signature) = &asked.void_signature else { return Ok(()) };
    check_consent(&Consent::Void, case, terms.receiver_authorizer, signature).map_err(|rule| {
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_VOID_AUTHORIZER_SIGNATURE;
        Refusal::new(code, "payload.voidAuthorizerSignature", rule)
    })
}

/// That the amounts can be, given what the payment is said to look like.
fn sums(asked: &Asked, terms: &CaptureTerms) -> Result<(), Refusal> {
    let (amount, most) = match asked.operation {
        Operation::Void => return Ok(()),
        Operation::Capture { amount, expected, .. } => (amount, expected.capturable),
        Operation::Refund { amount, expected } => (amount, expected.refundable),
    };
    if amount.is_zero() || amount > most {
        let rule = format!("must be more than zero and at most {most}");
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_AMOUNT_MISMATCH;
        return Err(Refusal::new(code, "payload.amount", rule));
    }
    let Operation::Capture { fee, fee_receiver, voids_rest, .. } = asked.operation else { return Ok(()) };
    if voids_rest && amount == most {
        let rule = "must not be there where everything is captured";
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_VOID_REMAINDER_FULL_CAPTURE;
        return Err(Refusal::new(code, "payload.voidAuthorizerSignature", rule));
    }
    terms.fees.admit(amount, fee, fee_receiver).map_err(|(code, rule)| {
        let field = match code == ErrorCode::INVALID_AUTH_CAPTURE_EVM_FEE_BPS_OUT_OF_RANGE {
            true => "payload.fee",
            false => "payload.feeReceiver",
        };
        Refusal::new(code, field, rule)
    })
}

fn in_time(asked: &Asked, now: UnixTime) -> Result<(), Refusal> {
    let (deadline, code): (u64, _) = match asked.operation {
        Operation::Capture { .. } => {
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_CAPTURE_DEADLINE_EXPIRED;
            (asked.info.authorizationExpiry.to(), code)
        }
        Operation::Refund { .. } => {
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_REFUND_DEADLINE_EXPIRED;
            (asked.info.refundExpiry.to(), code)
        }
        Operation::Void => return Ok(()),
    };
    if now.0 < deadline {
        return Ok(());
    }
    Err(Refusal::new(code, "payload.type", format!("must come before {deadline}")))
}

/// The payload that asks for `operation`.
pub(super) fn encode(
    info: &PaymentInfo,
    salt_nonce: B256,
    operation: &Operation,
    signature: &[u8],
    void_signature: Option<&[u8]>,
) -> JsonObject {
    let hex = |bytes: &[u8]| Value::from(alloy_primitives::hex::encode_prefixed(bytes));
    let mut payload = object([
        ("type", operation.name().into()),
        ("paymentInfo", info.encode().into()),
        ("saltNonce", salt_nonce.to_string().into()),
    ]);
    let mut set = |name: &str, value: Value| payload.insert(name.to_owned(), value);
    if let Operation::Capture { amount, .. } | Operation::Refund { amount, .. } = operation {
        set("amount", amount.to_string().into());
    }
    if let Some(expected) = operation.expected() {
        set("expectedCapturableAmount", expected.capturable.to_string().into());
        set("expectedRefundableAmount", expected.refundable.to_string().into());
    }
    set("authorizerSignature", hex(signature));
    if let Some(signature) = void_signature {
        set("voidAuthorizerSignature", hex(signature));
    }
    if let Operation::Capture { fee, fee_receiver, .. } = operation {
        fee.write(&mut payload);
        payload.insert("feeReceiver".to_owned(), fee_receiver.to_checksum(None).into());
    }
    payload
}

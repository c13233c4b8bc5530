//! Every rule that needs no chain, in the order of the specification.

use alloy_primitives::aliases::{U48, U120};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use tollway_core::model::{Accepted, PaymentPayload, PaymentRequirements};
use tollway_core::{Amount, AuthorizationKey, Checked, ErrorCode, Network, Refusal, SchemeName, UnixTime};

use super::authorizer::Consent;
use super::deployment::FeeUnit;
use super::info::{MAX_AMOUNT, MAX_SECOND, PaymentInfo, bound_salt};
use super::payload::{ChargeOrder, Collect, PermitTransferFrom, ReceiveWithAuthorization, TokenPermissions};
use super::terms::{CaptureTerms, Fee, Flow};
use crate::asset::TransferMethod;
use crate::eip712::Domain;
use crate::exact::{ADDRESS_RULE, MIN_REMAINING_SECONDS, parse_address};
use crate::permit2::PERMIT2;
use crate::signature::PayerSignature;
use crate::{recent, signature};

/// A payment that holds against its offer: it can be held, or charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Where.
    pub network: Network,
    /// What the offer says.
    pub terms: CaptureTerms,
    /// What the payer agreed to.
    pub info: PaymentInfo,
    /// The payer's signature, as it came and as the collector is given it.
    pub signature: Bytes,
    /// By whom it is: the payer's key, or what the payer's code must say when the collector asks.
    pub signed: PayerSignature,
    /// What the payer put into the salt, where that binds the payment to an authorizer. Who consents to anything later
    /// must still know it.
    pub salt_nonce: Option<B256>,
    /// How much is charged. `None` where the payment is held, or its seller has not said yet.
    pub charge: Option<ChargeOrder>,
    /// The escrow's name for the payment.
    pub hash: B256,
}

impl Collection {
    /// What makes it unique: the escrow collects a payment once.
    ///
    /// ```
    /// use tollway_evm::auth_capture;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let paid = auth_capture::check_at_any_time(&request.payment, &request.requirements)?;
    /// let escrow = "eip155:31337/0xf96815976523e00e65be8f34ca5e64b4f41eb19c";
    /// assert!(paid.key().as_str().starts_with(escrow)); // then payer and payment
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key(&self) -> AuthorizationKey {
        let (escrow, payer) = (self.terms.deployment.escrow, self.info.payer);
        AuthorizationKey::new(format!("{}/{escrow:#x}/{payer:#x}/{:#x}", self.network, self.hash))
    }

    /// What collects it.
    ///
    /// ```
    /// use tollway_evm::auth_capture::{self, Deployment};
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let paid = auth_capture::check_at_any_time(&request.payment, &request.requirements)?;
    /// assert_eq!(paid.collector(), Deployment::CURRENT.erc3009_collector);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn collector(&self) -> Address {
        self.terms.deployment.collector(self.terms.method)
    }

    /// How much leaves the payer: all of it into the escrow, or what is charged.
    ///
    /// ```
    /// use tollway_evm::{U256, auth_capture};
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let paid = auth_capture::check_at_any_time(&request.payment, &request.requirements)?;
    /// assert_eq!(paid.amount(), U256::from(20_000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn amount(&self) -> U256 {
        self.charge.as_ref().map_or(U256::from(self.info.maxAmount), |charge| charge.amount)
    }

    /// What a charge takes as the fee, and for whom. Until the seller says, the least to the recipient of the offer.
    #[cfg(feature = "rpc")]
    pub(super) fn charged_fee(&self) -> (Fee, Address) {
        match &self.charge {
            Some(charge) => (charge.fee, charge.fee_receiver),
            None => {
                let fees = self.terms.fees;
                (fees.least(self.amount(), self.terms.deployment.fee_unit), fees.recipient)
            }
        }
    }

    /// The scheme-independent part.
    pub(super) fn checked(&self) -> Checked {
        Checked {
            key: self.key(),
            payer: self.info.payer.to_checksum(None),
            amount: Amount::from_atomic(U256::from(self.info.maxAmount)),
            valid_before: UnixTime(self.info.preApprovalExpiry.to()),
            settles_first: !self.signed.is_by_key(),
        }
    }
}

/// Holds `payment` against `offer` at `now`.
///
/// # Errors
/// [`Refusal`] with the code of the specification, the field and the rule.
///
/// ```
/// use tollway_core::UnixTime;
/// use tollway_evm::auth_capture;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// let (payment, mut offer, now) = (request.payment, request.requirements, UnixTime(1_750_000_000));
/// assert!(auth_capture::check(&payment, &offer, now).is_ok());
/// offer.amount = 20_001.into();
/// assert_eq!(auth_capture::check(&payment, &offer, now).unwrap_err().field, "payload.authorization.value");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check(
    payment: &PaymentPayload,
    offer: &PaymentRequirements,
    now: UnixTime,
) -> Result<Collection, Refusal> {
    check_rules(payment, offer, Some(now))
}

/// The same without what depends on the time: for a payment whose fate is asked after it has expired.
///
/// # Errors
/// As [`check`].
///
/// ```
/// use tollway_core::UnixTime;
/// use tollway_evm::auth_capture;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth_capture_request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// let (payment, offer, late) = (request.payment, request.requirements, UnixTime(1_760_000_000));
/// assert!(auth_capture::check(&payment, &offer, late).is_err());
/// assert!(auth_capture::check_at_any_time(&payment, &offer).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_at_any_time(
    payment: &PaymentPayload,
    offer: &PaymentRequirements,
) -> Result<Collection, Refusal> {
    check_rules(payment, offer, None)
}

/// Scheme and network, of an offer and of what a peer accepts of it.
pub(super) fn check_kind(payment: &PaymentPayload, offer: &PaymentRequirements) -> Result<(), Refusal> {
    if let Accepted::Kind { .. } = payment.accepted {
        let rule = "must be 2: version 1 has no scheme \"auth-capture\"";
        return Err(Refusal::new(ErrorCode::INVALID_X402_VERSION, "x402Version", rule));
    }
    for (field, scheme) in
        [("paymentRequirements.scheme", &offer.scheme), ("accepted.scheme", payment.scheme())]
    {
        if *scheme != SchemeName::AUTH_CAPTURE {
            let rule = format!("must be \"auth-capture\", not {:?}", scheme.as_str());
            return Err(Refusal::new(ErrorCode::INVALID_AUTH_CAPTURE_EVM_SCHEME, field, rule));
        }
    }
    if payment.network() != &offer.network {
        let rule = format!("must be {}, not {}", offer.network, payment.network());
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_NETWORK_MISMATCH;
        return Err(Refusal::new(code, "accepted.network", rule));
    }
    if offer.network.evm_chain_id().is_none() {
        let rule = format!("must be an EVM network, not {}", offer.network);
        return Err(Refusal::new(ErrorCode::INVALID_NETWORK, "paymentRequirements.network", rule));
    }
    Ok(())
}

/// Receiver and token of an offer.
pub(super) fn parties(offer: &PaymentRequirements) -> Result<(Address, Address), Refusal> {
    let read = |text: &str, field: &str| {
        let address = parse_address(text).filter(|address| *address != Address::ZERO);
        address.ok_or_else(|| {
            let field = format!("paymentRequirements.{field}");
            Refusal::new(ErrorCode::INVALID_PAYMENT_REQUIREMENTS, field, ADDRESS_RULE)
        })
    };
    Ok((read(&offer.pay_to, "payTo")?, read(&offer.asset, "asset")?))
}

fn check_rules(
    payment: &PaymentPayload,
    offer: &PaymentRequirements,
    now: Option<UnixTime>,
) -> Result<Collection, Refusal> {
    let collect = Collect::decode(&payment.payload)?;
    check_kind(payment, offer)?;
    let terms = CaptureTerms::read(offer)?;
    let (receiver, token) = parties(offer)?;
    let case = Case { collect, terms, offer, receiver, token };
    let payer = case.collect.payer.to_checksum(None);
    case.check(now).map_err(|refusal| refusal.by(payer))
}

/// A payload beside the offer that it is held to.
struct Case<'a> {
    collect: Collect,
    terms: CaptureTerms,
    offer: &'a PaymentRequirements,
    receiver: Address,
    token: Address,
}

impl Case<'_> {
    fn check(self, now: Option<UnixTime>) -> Result<Collection, Refusal> {
        self.shape()?;
        self.method()?;
        if let Some(now) = now {
            self.deadlines(now)?;
            self.window(now)?;
        }
        self.collector()?;
        self.token()?;
        let signed = self.signature()?;
        self.amount()?;
        let info = self.info()?;
        let hash = self.nonce(&info)?;
        self.authorizer(hash)?;
        let Collect { signature, salt_nonce, charge, .. } = self.collect;
        let network = self.offer.network.clone();
        Ok(Collection { network, terms: self.terms, info, signature, signed, salt_nonce, charge, hash })
    }

    /// What must be there, and what must not, given the offer.
    fn shape(&self) -> Result<(), Refusal> {
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_PAYLOAD_FORMAT;
        if self.terms.is_bound() != self.collect.salt_nonce.is_some() {
            let rule = "must be there if the offer has a receiverAuthorizer, and only then";
            return Err(Refusal::new(code, "payload.saltNonce", rule));
        }
        let Some(charge) = &self.collect.charge else { return Ok(()) };
        if self.terms.flow == Flow::Escrow {
            let rule = "must not be there where paymentFlow is \"escrow\": all of it is held";
            return Err(Refusal::new(code, "payload.amount", rule));
        }
        match (charge.fee, self.terms.deployment.fee_unit) {
            (Fee::Amount(_), FeeUnit::Amount) | (Fee::Bps(_), FeeUnit::Bps) => Ok(()),
            (Fee::Amount(_), FeeUnit::Bps) => {
                Err(Refusal::new(code, "payload.feeAmount", "must be feeBps with this escrow"))
            }
            (Fee::Bps(_), FeeUnit::Amount) => {
                Err(Refusal::new(code, "payload.feeBps", "must be feeAmount with this escrow"))
            }
        }
    }

    fn method(&self) -> Result<(), Refusal> {
        if self.collect.method() == self.terms.method {
            return Ok(());
        }
        let rule = format!("must be for assetTransferMethod {:?}", self.terms.method.as_str());
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_PAYLOAD_METHOD_MISMATCH;
        Err(Refusal::new(code, self.signed(""), rule))
    }

    fn deadlines(&self, now: UnixTime) -> Result<(), Refusal> {
        let field = "paymentRequirements.extra.captureDeadline";
        let deadline = self.terms.capture_deadline;
        if deadline <= now.plus_seconds(MIN_REMAINING_SECONDS).0 {
            let rule = format!("must be more than {MIN_REMAINING_SECONDS} seconds from now ({})", now.0);
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_CAPTURE_DEADLINE_EXPIRED;
            return Err(Refusal::new(code, field, rule));
        }
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_DEADLINE_ORDERING;
        if now.plus_seconds(self.offer.max_timeout_seconds).0 > deadline {
            return Err(Refusal::new(code, field, "must leave maxTimeoutSeconds from now"));
        }
        if self.collect.valid_before > U256::from(deadline) {
            return Err(Refusal::new(code, self.expiry(), "must not be after captureDeadline"));
        }
        Ok(())
    }

    fn window(&self, now: UnixTime) -> Result<(), Refusal> {
        if self.collect.valid_before <= U256::from(now.plus_seconds(MIN_REMAINING_SECONDS).0) {
            let rule = format!("must be more than {MIN_REMAINING_SECONDS} seconds from now ({})", now.0);
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_AUTHORIZATION_EXPIRED;
            return Err(Refusal::new(code, self.expiry(), rule));
        }
        if self.collect.valid_after > U256::from(now.0) {
            let rule = format!("must not be after now ({})", now.0);
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_AUTHORIZATION_NOT_YET_VALID;
            return Err(Refusal::new(code, self.signed("validAfter"), rule));
        }
        Ok(())
    }

    fn collector(&self) -> Result<(), Refusal> {
        let collector = self.terms.deployment.collector(self.terms.method);
        if self.collect.collector == collector {
            return Ok(());
        }
        let field = match self.terms.method {
            TransferMethod::Eip3009 => "to",
            TransferMethod::Permit2 => "spender",
        };
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_TOKEN_COLLECTOR_MISMATCH;
        Err(Refusal::new(code, self.signed(field), format!("must be the collector {collector}")))
    }

    fn token(&self) -> Result<(), Refusal> {
        if self.collect.token.is_none_or(|token| token == self.token) {
            return Ok(());
        }
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_TOKEN_MISMATCH;
        Err(Refusal::new(code, self.signed("permitted.token"), "must be the offer's asset"))
    }

    fn signature(&self) -> Result<PayerSignature, Refusal> {
        let refuse = |rule: String| {
            Refusal::new(ErrorCode::INVALID_AUTH_CAPTURE_EVM_SIGNATURE, "payload.signature", rule)
        };
        // The collector knows no other beginning, so nobody could collect what was signed with one.
        if !self.collect.valid_after.is_zero() {
            return Err(refuse("must be for validAfter 0, which is what the collector asks for".to_owned()));
        }
        let digest = keccak256(self.preimage()?);
        PayerSignature::read(&self.collect.signature, digest, self.collect.payer)
            .map_err(|error| refuse(error.to_string()))
    }

    fn preimage(&self) -> Result<[u8; 66], Refusal> {
        preimage(&self.collect, &self.terms, &self.offer.network, self.token).ok_or_else(|| {
            let rule = "must be an EVM network";
            Refusal::new(ErrorCode::INVALID_NETWORK, "paymentRequirements.network", rule)
        })
    }

    fn amount(&self) -> Result<(), Refusal> {
        let (signed, asked) = (self.collect.value, self.offer.amount.atomic());
        let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_AMOUNT_MISMATCH;
        let field = match self.terms.method {
            TransferMethod::Eip3009 => self.signed("value"),
            TransferMethod::Permit2 => self.signed("permitted.amount"),
        };
        if signed != asked || signed.is_zero() {
            return Err(Refusal::new(code, field, format!("must be exactly {asked}, and more than zero")));
        }
        if signed > MAX_AMOUNT {
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_AMOUNT_OVERFLOW;
            return Err(Refusal::new(code, field, "must fit in 120 bits"));
        }
        let Some(charge) = &self.collect.charge else { return Ok(()) };
        if charge.amount.is_zero() || charge.amount > signed {
            let rule = format!("must be more than zero and at most {signed}");
            return Err(Refusal::new(code, "payload.amount", rule));
        }
        self.terms.fees.admit(charge.amount, charge.fee, charge.fee_receiver).map_err(|(code, rule)| {
            let field = match code == ErrorCode::INVALID_AUTH_CAPTURE_EVM_FEE_BPS_OUT_OF_RANGE {
                true => "payload.fee",
                false => "payload.feeReceiver",
            };
            Refusal::new(code, field, rule)
        })
    }

    /// What the payer agreed to, by the offer and the payload.
    fn info(&self) -> Result<PaymentInfo, Refusal> {
        let expiry = u64::try_from(self.collect.valid_before).ok().filter(|second| *second <= MAX_SECOND);
        let expiry = expiry.ok_or_else(|| {
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_DEADLINE_ORDERING;
            Refusal::new(code, self.expiry(), "must be a second in 48 bits")
        })?;
        Ok(info(&self.collect, &self.terms, self.receiver, self.token, expiry))
    }

    /// That the payer signed this payment and no other; answers with the escrow's name for it.
    fn nonce(&self, info: &PaymentInfo) -> Result<B256, Refusal> {
        let (network, escrow) = (&self.offer.network, self.terms.deployment.escrow);
        if info.nonce(network, escrow) != Some(self.collect.nonce) {
            let rule = "must be the hash of the payment that the offer and the salt describe";
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_NONCE_MISMATCH;
            return Err(Refusal::new(code, self.signed("nonce"), rule));
        }
        if let Some(salt_nonce) = self.collect.salt_nonce
            && self.collect.salt != bound_salt(self.terms.receiver_authorizer, salt_nonce)
        {
            let rule = "must be the hash of the offer's receiverAuthorizer and saltNonce";
            let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_SALT_BINDING_MISMATCH;
            return Err(Refusal::new(code, "payload.salt", rule));
        }
        info.hash(network, escrow).ok_or_else(|| {
            Refusal::new(ErrorCode::INVALID_NETWORK, "paymentRequirements.network", "must be an EVM network")
        })
    }

    fn authorizer(&self, hash: B256) -> Result<(), Refusal> {
        let Some(charge) = &self.collect.charge else { return Ok(()) };
        let consent = Consent::Charge {
            amount: charge.amount,
            collector: self.collect.collector,
            collector_data_hash: keccak256(&self.collect.signature),
            fee: charge.fee,
            fee_receiver: charge.fee_receiver,
        };
        let case = (hash, &self.offer.network, self.terms.operator);
        check_consent(&consent, case, self.terms.receiver_authorizer, &charge.authorizer_signature).map_err(
            |rule| {
                let code = ErrorCode::INVALID_AUTH_CAPTURE_EVM_AUTHORIZER_SIGNATURE;
                Refusal::new(code, "payload.authorizerSignature", rule)
            },
        )
    }

    fn signed(&self, field: &str) -> String {
        let object = match self.collect.method() {
            TransferMethod::Eip3009 => "authorization",
            TransferMethod::Permit2 => "permit2Authorization",
        };
        format!("payload.{object}.{field}").trim_end_matches('.').to_owned()
    }

    fn expiry(&self) -> String {
        match self.collect.method() {
            TransferMethod::Eip3009 => self.signed("validBefore"),
            TransferMethod::Permit2 => self.signed("deadline"),
        }
    }
}

/// What the payer signs.
pub(super) fn preimage(
    collect: &Collect,
    terms: &CaptureTerms,
    network: &Network,
    token: Address,
) -> Option<[u8; 66]> {
    Some(match terms.method {
        TransferMethod::Eip3009 => {
            let domain = Domain::new(network, token, &terms.name, &terms.version)?;
            domain.preimage(&ReceiveWithAuthorization {
                from: collect.payer,
                to: collect.collector,
                value: collect.value,
                validAfter: collect.valid_after,
                validBefore: collect.valid_before,
                nonce: collect.nonce,
            })
        }
        TransferMethod::Permit2 => {
            let domain = Domain::unversioned(network, PERMIT2, "Permit2")?;
            domain.preimage(&PermitTransferFrom {
                permitted: TokenPermissions { token, amount: collect.value },
                spender: collect.collector,
                nonce: collect.nonce.into(),
                deadline: collect.valid_before,
            })
        }
    })
}

/// The payment that a payload describes under an offer. `value` and deadlines are known to fit.
pub(super) fn info(
    collect: &Collect,
    terms: &CaptureTerms,
    receiver: Address,
    token: Address,
    expiry: u64,
) -> PaymentInfo {
    PaymentInfo {
        operator: terms.operator,
        payer: collect.payer,
        receiver,
        token,
        maxAmount: U120::saturating_from(collect.value),
        preApprovalExpiry: U48::saturating_from(expiry),
        authorizationExpiry: U48::saturating_from(terms.capture_deadline),
        refundExpiry: U48::saturating_from(terms.refund_deadline),
        minFeeBps: terms.fees.min_bps,
        maxFeeBps: terms.fees.max_bps,
        feeReceiver: terms.fees.recipient,
        salt: collect.salt.into(),
    }
}

/// That `authorizer` consented; if not, the rule.
pub(super) fn check_consent(
    consent: &Consent,
    (hash, network, operator): (B256, &Network, Address),
    authorizer: Address,
    bytes: &[u8],
) -> Result<(), String> {
    let digest = consent.digest(hash, network, operator).ok_or("must be for an EVM network")?;
    let signature = signature::parse(bytes).map_err(|error| error.to_string())?;
    let signer = recent::signer(digest, &signature).map_err(|error| error.to_string())?;
    if signer == authorizer { Ok(()) } else { Err(format!("must be by {authorizer}")) }
}

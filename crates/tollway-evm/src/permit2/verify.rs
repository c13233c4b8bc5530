//! Every rule that needs no chain, cheapest first, the signature last. The order and the codes are those of the
//! published facilitator, so that a payment which breaks several rules is told the same.

use alloy_primitives::{Address, B256, U256};
use tollway_core::model::{Accepted, PaymentFlow, PaymentPayload, PaymentRequirements};
use tollway_core::{
    Amount, AuthorizationKey, Checked, ErrorCode, Network, Refusal, SchemeName, UnixTime, X402Version,
};

use super::{Approval, Decoded, METHOD, METHOD_FIELD, PERMIT2, Permit, Proxy, SponsoredApproval};
use crate::exact::{ADDRESS_RULE, MIN_REMAINING_SECONDS, parse_address};
use crate::signature::PayerSignature;

/// How the offer's amount and the permit's relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceiling {
    /// They are equal: always in scheme `exact`, and in scheme `upto` while the payment is verified.
    Equal,
    /// The offer's is what was used, and no more than the permit's: scheme `upto` when it is settled.
    AtMost,
}

/// A payment that holds against its offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitPayment {
    /// What the payer signed.
    pub permit: Permit,
    /// By which signature.
    pub signature: PayerSignature,
    /// What moves: less than the permit allows only in scheme `upto`.
    pub value: U256,
    /// Where.
    pub network: Network,
    /// The approval of Permit2 that is presented with it, if the payer's allowance is short.
    pub approval: Option<Approval>,
    /// The transaction of the payer's that approves Permit2 and goes before it, if whoever settles it pays for such.
    pub sponsored: Option<Box<SponsoredApproval>>,
}

impl PermitPayment {
    /// What makes the permit unique, whatever the spelling it came in. Permit2 keeps one bitmap of nonces a payer,
    /// for all tokens and proxies: so does the key.
    ///
    /// ```
    /// use tollway_evm::permit2;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/permit2_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let payment = permit2::check_at_any_time(&request.payment, &request.requirements)?;
    /// let contract = "/0x000000000022d473030f116ddee9f6b43ac78ba3/";
    /// assert!(payment.key().as_str().contains(contract)); // network, Permit2, payer, nonce
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key(&self) -> AuthorizationKey {
        let (from, nonce) = (self.permit.from, B256::from(self.permit.nonce));
        AuthorizationKey::new(format!("{}/{PERMIT2:#x}/{from:#x}/{nonce:#x}", self.network))
    }

    /// The scheme-independent part. The amount is what was signed: what a payer is held to.
    pub(crate) fn checked(&self) -> Checked {
        Checked {
            key: self.key(),
            payer: self.permit.from.to_checksum(None),
            amount: Amount::from_atomic(self.permit.amount),
            valid_before: self.permit.expires(),
            settles_first: !self.signature.is_by_key(),
        }
    }
}

/// Holds `payment` against `offer` at `now`: scheme, network, spender, recipient, facilitator, time window, amount,
/// token, and whether the payer's key signed exactly this: if it did not, the payer's code must say so, on chain. Scheme
/// `upto` is told by the offer.
///
/// # Errors
/// [`Refusal`] with the code of the published facilitator, the field and the rule.
///
/// ```
/// use tollway_core::UnixTime;
/// use tollway_evm::permit2::{self, Ceiling};
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/permit2_request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// let (payment, mut offer, now) = (request.payment, request.requirements, UnixTime(1_750_000_000));
/// assert!(permit2::check(&payment, &offer, Ceiling::Equal, now).is_ok());
/// offer.amount = 1.into();
/// let refused = permit2::check(&payment, &offer, Ceiling::Equal, now).unwrap_err();
/// assert_eq!(refused.field, "payload.permit2Authorization.permitted.amount");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check(
    payment: &PaymentPayload,
    offer: &PaymentRequirements,
    ceiling: Ceiling,
    now: UnixTime,
) -> Result<PermitPayment, Refusal> {
    check_rules(payment, offer, ceiling, Some(now))
}

/// The same without the time window, the amount being what settles: for a payment whose fate is asked after it has
/// expired.
///
/// # Errors
/// As [`check`].
///
/// ```
/// use tollway_core::UnixTime;
/// use tollway_evm::permit2::{self, Ceiling};
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/permit2_request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// let (payment, offer, late) = (request.payment, request.requirements, UnixTime(1_760_000_000));
/// assert!(permit2::check(&payment, &offer, Ceiling::Equal, late).is_err());
/// assert!(permit2::check_at_any_time(&payment, &offer).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_at_any_time(
    payment: &PaymentPayload,
    offer: &PaymentRequirements,
) -> Result<PermitPayment, Refusal> {
    check_rules(payment, offer, Ceiling::AtMost, None)
}

/// The time window alone: not before `validAfter`, and at least six seconds left to `deadline`.
///
/// # Errors
/// As [`check`].
///
/// ```
/// use tollway_core::UnixTime;
/// use tollway_evm::permit2;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/permit2_request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// let payment = permit2::check_at_any_time(&request.payment, &request.requirements)?; // until 1750000300
/// assert!(permit2::check_window(&payment, UnixTime(1_750_000_294)).is_ok());
/// assert!(permit2::check_window(&payment, UnixTime(1_750_000_295)).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_window(payment: &PermitPayment, now: UnixTime) -> Result<(), Refusal> {
    let payer = payment.permit.from;
    window(&payment.permit, now).map_err(|refusal| refusal.by(payer.to_checksum(None)))
}

fn check_rules(
    payment: &PaymentPayload,
    offer: &PaymentRequirements,
    ceiling: Ceiling,
    now: Option<UnixTime>,
) -> Result<PermitPayment, Refusal> {
    let is_upto = offer.scheme == SchemeName::UPTO;
    let ceiling = if is_upto { ceiling } else { Ceiling::Equal };
    check_kind(payment, offer, is_upto)?;
    let asset = parse_address(&offer.asset).ok_or_else(|| {
        let code = ErrorCode::INVALID_PAYMENT_REQUIREMENTS;
        Refusal::new(code, "paymentRequirements.asset", ADDRESS_RULE)
    })?;
    let Decoded { permit, spender, signature } = Permit::decode(&payment.payload, is_upto)?;
    let payer = permit.from;
    check_parties(&permit, spender, offer)
        .and_then(|()| now.map_or(Ok(()), |now| window(&permit, now)))
        .and_then(|()| check_amount(&permit, offer.amount.atomic(), ceiling))
        .and_then(|()| check_token(&permit, asset))
        .and_then(|()| check_signature(&permit, &offer.network, &signature))
        .and_then(|signature| Ok((signature, Approval::read(payment, (&permit).into(), now)?)))
        .map(|(signature, approval)| PermitPayment {
            permit,
            signature,
            value: offer.amount.atomic(),
            network: offer.network.clone(),
            approval,
            sponsored: None,
        })
        .map_err(|refusal| refusal.by(payer.to_checksum(None)))
}

/// Whether an offer is paid by Permit2.
#[cfg(feature = "rpc")]
pub(crate) fn pays(offer: &PaymentRequirements) -> bool {
    offer.scheme == SchemeName::UPTO || offer.extra_str(METHOD_FIELD) == Some(METHOD)
}

fn check_kind(payment: &PaymentPayload, offer: &PaymentRequirements, is_upto: bool) -> Result<(), Refusal> {
    if payment.version == X402Version::V1 {
        let rule = "must be 2: v1 pays by EIP-3009 only";
        return Err(Refusal::new(ErrorCode::INVALID_X402_VERSION, "x402Version", rule));
    }
    let field = |name: &str| match payment.accepted {
        Accepted::Offer(_) => format!("accepted.{name}"),
        Accepted::Kind { .. } => name.to_owned(),
    };
    if payment.scheme() != &offer.scheme {
        let code = if is_upto { ErrorCode::INVALID_UPTO_EVM_SCHEME } else { ErrorCode::UNSUPPORTED_SCHEME };
        let rule = format!("must be {:?}, not {:?}", offer.scheme.as_str(), payment.scheme().as_str());
        return Err(Refusal::new(code, field("scheme"), rule));
    }
    if payment.network() != &offer.network {
        let code = match is_upto {
            true => ErrorCode::INVALID_UPTO_EVM_NETWORK_MISMATCH,
            false => ErrorCode::INVALID_EXACT_EVM_NETWORK_MISMATCH,
        };
        let rule = format!("must be {}, not {}", offer.network, payment.network());
        return Err(Refusal::new(code, field("network"), rule));
    }
    let flow = offer.payment_flow();
    let upfront = flow == Some(PaymentFlow::Upfront) && !is_upto;
    if flow != Some(PaymentFlow::Authorization) && !upfront {
        let rule =
            if is_upto { "must be \"authorization\"" } else { "must be \"authorization\" or \"upfront\"" };
        let field = "paymentRequirements.extra.paymentFlow";
        return Err(Refusal::new(ErrorCode::UNSUPPORTED_PAYMENT_FLOW, field, rule));
    }
    // Scheme `upto` knows no other method, and need not name it.
    match offer.extra_str(METHOD_FIELD) {
        Some(METHOD) => Ok(()),
        None if is_upto => Ok(()),
        other => Err(Refusal::new(
            ErrorCode::UNSUPPORTED_ASSET_TRANSFER_METHOD,
            format!("paymentRequirements.extra.{METHOD_FIELD}"),
            format!("must be \"permit2\", not {other:?}"),
        )),
    }
}

/// Spender, recipient and facilitator: who may send it, and who is paid.
fn check_parties(permit: &Permit, spender: Address, offer: &PaymentRequirements) -> Result<(), Refusal> {
    let proxy = permit.proxy.address();
    if spender != proxy {
        let rule = format!("must be the proxy of scheme {:?}, {proxy}, not {spender}", offer.scheme.as_str());
        return Err(refuse(ErrorCode::INVALID_PERMIT2_SPENDER, "spender", rule));
    }
    if parse_address(&offer.pay_to) != Some(permit.to) {
        let rule = format!("must be the offer's payTo {}, not {}", offer.pay_to, permit.to);
        return Err(refuse(ErrorCode::INVALID_PERMIT2_RECIPIENT_MISMATCH, "witness.to", rule));
    }
    // Neither is a payment: the one goes nowhere, the other moves nothing, and both would cost gas.
    if permit.to == Address::ZERO || permit.to == permit.from {
        let rule = "must be neither zero nor the payer".to_owned();
        return Err(refuse(ErrorCode::PERMIT2_INVALID_DESTINATION, "witness.to", rule));
    }
    let Proxy::Upto { facilitator } = permit.proxy else { return Ok(()) };
    match offer.extra_str("facilitatorAddress") {
        Some(offered) if parse_address(offered) != Some(facilitator) => {
            let rule = format!("must be the offer's facilitatorAddress {offered:.64}, not {facilitator}");
            Err(refuse(ErrorCode::UPTO_FACILITATOR_MISMATCH, "witness.facilitator", rule))
        }
        // A seller may settle by terms that name none; then the facilitator holds it to its own addresses.
        _ => Ok(()),
    }
}

fn window(permit: &Permit, now: UnixTime) -> Result<(), Refusal> {
    let expires = permit.expires();
    if expires < now.plus_seconds(MIN_REMAINING_SECONDS) {
        let rule = format!(
            "must be at least {MIN_REMAINING_SECONDS} seconds from now ({}), is {}",
            now.0, expires.0
        );
        return Err(refuse(ErrorCode::PERMIT2_DEADLINE_EXPIRED, "deadline", rule));
    }
    if permit.valid_after > U256::from(now.0) {
        let rule = format!("must not be after now ({}), is {}", now.0, permit.valid_after);
        return Err(refuse(ErrorCode::PERMIT2_NOT_YET_VALID, "witness.validAfter", rule));
    }
    Ok(())
}

fn check_amount(permit: &Permit, asked: U256, ceiling: Ceiling) -> Result<(), Refusal> {
    let field = "permitted.amount";
    if permit.amount.is_zero() {
        let rule = "must be more than zero".to_owned();
        return Err(refuse(ErrorCode::PERMIT2_INVALID_AMOUNT, field, rule));
    }
    match ceiling {
        Ceiling::Equal if permit.amount != asked => {
            let rule = format!("must be exactly {asked}, not {}", permit.amount);
            Err(refuse(ErrorCode::PERMIT2_AMOUNT_MISMATCH, field, rule))
        }
        Ceiling::AtMost if permit.amount < asked => {
            let code = ErrorCode::INVALID_UPTO_EVM_PAYLOAD_SETTLEMENT_EXCEEDS_AMOUNT;
            let rule = format!("must be at most the {} that the payer signed, is {asked}", permit.amount);
            Err(Refusal::new(code, "paymentRequirements.amount", rule))
        }
        _ => Ok(()),
    }
}

fn check_token(permit: &Permit, asset: Address) -> Result<(), Refusal> {
    if permit.token != asset {
        let rule = format!("must be the offer's asset {asset}, not {}", permit.token);
        return Err(refuse(ErrorCode::PERMIT2_TOKEN_MISMATCH, "permitted.token", rule));
    }
    Ok(())
}

fn check_signature(permit: &Permit, network: &Network, bytes: &[u8]) -> Result<PayerSignature, Refusal> {
    let digest = permit.digest(network).ok_or_else(|| {
        let rule = format!("must be an EVM network, not {network}");
        Refusal::new(ErrorCode::INVALID_NETWORK, "paymentRequirements.network", rule)
    })?;
    PayerSignature::read(bytes, digest, permit.from).map_err(|error| {
        Refusal::new(ErrorCode::INVALID_PERMIT2_SIGNATURE, "payload.signature", error.to_string())
    })
}

fn refuse(code: ErrorCode, field: &str, rule: String) -> Refusal {
    Refusal::new(code, format!("payload.permit2Authorization.{field}"), rule)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use alloy_primitives::{Address, U256};
    use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use secp256k1::SecretKey;
    use serde_json::{Value, json};
    use tollway_core::model::{Accepted, PaymentPayload, PaymentRequired, PaymentRequirements};
    use tollway_core::{
        Amount, BuyerScheme, ErrorCode, JsonObject, Network, Price, Refusal, SchemeName, SellerScheme, Terms,
        UnixTime, X402Version,
    };

    use super::{Ceiling, Permit, PermitPayment, check_at_any_time};
    use crate::exact::{ExactBuyer, ExactSeller};
    use crate::permit2::{Proxy, UptoBuyer, UptoSeller};
    use crate::{AssetTable, LocalSigner, signature};

    const NOW: UnixTime = UnixTime(1_750_000_000);
    const PAYEE: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";
    const FACILITATOR: &str = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
    const STRANGER: &str = "0x0000000000000000000000000000000000000001";
    const BOTH: [bool; 2] = [false, true];

    /// An offer of MegaUSD, which has no EIP-3009.
    fn offer(is_upto: bool) -> PaymentRequirements {
        let terms = Terms {
            network: "eip155:4326".parse().unwrap(),
            pay_to: PAYEE.to_owned(),
            max_timeout_seconds: 300,
        };
        let price = Price::Money("$0.01".parse().unwrap());
        if !is_upto {
            return ExactSeller::new(AssetTable::known()).offer(&price, &terms).unwrap();
        }
        let mut offer = UptoSeller::new(AssetTable::known()).offer(&price, &terms).unwrap();
        offer.extra.insert("facilitatorAddress".to_owned(), FACILITATOR.into());
        offer
    }

    fn pay(offer: &PaymentRequirements) -> PaymentPayload {
        let key = Arc::new(LocalSigner::from_hex(&"7".repeat(64)).unwrap());
        let (exact, upto) =
            (ExactBuyer::new(key.clone(), AssetTable::known()), UptoBuyer::new(key, AssetTable::known()));
        let buyer: &dyn BuyerScheme = if offer.scheme == SchemeName::UPTO { &upto } else { &exact };
        let required = PaymentRequired {
            version: X402Version::V2,
            error: None,
            resource: None,
            accepts: vec![offer.clone()],
            extensions: JsonObject::new(),
            other: JsonObject::new(),
        };
        let signing = buyer.sign(&required, offer, NOW);
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(signing).unwrap()
    }

    /// What no key of the payer's signed is left to the payer's code, and these payers have none.
    fn check(
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        ceiling: Ceiling,
        now: UnixTime,
    ) -> Result<PermitPayment, Refusal> {
        let held = super::check(payment, offer, ceiling, now)?;
        let is_by_key = held.signature.is_by_key();
        assert_eq!(held.checked().settles_first, !is_by_key);
        let refusal = Refusal::new(ErrorCode::INVALID_PERMIT2_SIGNATURE, "payload.signature", "by code");
        if is_by_key { Ok(held) } else { Err(refusal) }
    }

    fn field<'a>(payment: &'a mut PaymentPayload, path: &str) -> &'a mut Value {
        let mut at = &mut payment.payload["permit2Authorization"];
        for step in path.split('.') {
            at = at.get_mut(step).unwrap();
        }
        at
    }

    fn with(is_upto: bool, path: &str, value: Value) -> Result<PermitPayment, Refusal> {
        let offer = offer(is_upto);
        let mut payment = pay(&offer);
        *field(&mut payment, path) = value;
        check(&payment, &offer, Ceiling::Equal, NOW)
    }

    /// Signed anew by the same key, whatever was changed.
    fn sign(permit: &Permit, network: &Network) -> JsonObject {
        let secret = SecretKey::from_byte_array([0x77; 32]).unwrap();
        permit.to_payload(&signature::sign(permit.digest(network).unwrap(), &secret).into())
    }

    #[test]
    fn what_a_buyer_signs_a_seller_accepts() {
        for is_upto in BOTH {
            let offer = offer(is_upto);
            let payment = pay(&offer);
            let held = check(&payment, &offer, Ceiling::Equal, NOW).unwrap();
            assert_eq!(Amount::from_atomic(held.permit.amount), offer.amount);
            let (exact, upto) = (ExactSeller::new(AssetTable::known()), UptoSeller::new(AssetTable::known()));
            let seller: &dyn SellerScheme = if is_upto { &upto } else { &exact };
            let checked = seller.check(&payment, &offer, NOW).unwrap();
            assert_eq!((checked.key, checked.amount), (held.key(), offer.amount));
        }
    }

    #[test]
    fn each_broken_rule_is_named_by_field_and_code() {
        let format = ErrorCode::INVALID_PERMIT2_PAYLOAD_FORMAT;
        let cases = [
            ("spender", json!(STRANGER), ErrorCode::INVALID_PERMIT2_SPENDER),
            ("witness.to", json!(STRANGER), ErrorCode::INVALID_PERMIT2_RECIPIENT_MISMATCH),
            ("deadline", json!("1750000005"), ErrorCode::PERMIT2_DEADLINE_EXPIRED),
            ("deadline", json!("0"), ErrorCode::PERMIT2_DEADLINE_EXPIRED),
            ("witness.validAfter", json!("1750000001"), ErrorCode::PERMIT2_NOT_YET_VALID),
            ("permitted.amount", json!("9999999999999999"), ErrorCode::PERMIT2_AMOUNT_MISMATCH),
            ("permitted.amount", json!("10000000000000001"), ErrorCode::PERMIT2_AMOUNT_MISMATCH),
            ("permitted.amount", json!("0"), ErrorCode::PERMIT2_INVALID_AMOUNT),
            ("permitted.token", json!(STRANGER), ErrorCode::PERMIT2_TOKEN_MISMATCH),
            ("permitted.token", json!("0x12"), format.clone()),
            ("permitted.amount", json!("1e3"), format.clone()),
            ("permitted.amount", json!(10_000), format.clone()),
            ("permitted", json!("x"), format.clone()),
            ("witness", json!(null), format.clone()),
            ("from", json!(7), format.clone()),
            ("nonce", json!("-1"), format.clone()),
            ("nonce", json!("0x"), format.clone()),
            ("nonce", json!(format!("0x{}", "1".repeat(65))), format.clone()),
            ("nonce", json!("0x+1"), format.clone()),
            ("nonce", json!(1), format.clone()),
        ];
        for is_upto in BOTH {
            for (path, value, code) in cases.clone() {
                let refused = with(is_upto, path, value.clone()).unwrap_err();
                assert_eq!(refused.code, code, "{path} {value}");
                assert_eq!(refused.field, format!("payload.permit2Authorization.{path}"), "{value}");
            }
            for (path, value) in
                [("from", json!(STRANGER)), ("nonce", json!("7")), ("deadline", json!("1750000299"))]
            {
                let refused = with(is_upto, path, value).unwrap_err();
                assert_eq!(
                    (refused.code, &*refused.field),
                    (ErrorCode::INVALID_PERMIT2_SIGNATURE, "payload.signature")
                );
            }
        }
    }

    #[test]
    fn a_permit_is_for_the_facilitator_that_was_offered() {
        let refused = with(true, "witness.facilitator", json!(STRANGER)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::UPTO_FACILITATOR_MISMATCH);
        assert_eq!(refused.field, "payload.permit2Authorization.witness.facilitator");
        let missing = with(true, "witness.facilitator", json!(null)).unwrap_err();
        assert_eq!(missing.code, ErrorCode::INVALID_PERMIT2_PAYLOAD_FORMAT);
        // Terms that name none are a facilitator's to complete, but a seller never serves by them.
        let mut offer = offer(true);
        let payment = pay(&offer);
        offer.extra.shift_remove("facilitatorAddress");
        assert!(check(&payment, &offer, Ceiling::Equal, NOW).is_ok());
        let refused = UptoSeller::new(AssetTable::known()).check(&payment, &offer, NOW).unwrap_err();
        assert_eq!(refused.field, "paymentRequirements.extra.facilitatorAddress");
    }

    #[test]
    fn a_permit_of_one_scheme_pays_no_offer_of_the_other() {
        let (exact, upto) = (offer(false), offer(true));
        let refused = check(&pay(&exact), &upto, Ceiling::Equal, NOW).unwrap_err();
        assert_eq!(refused.code, ErrorCode::INVALID_UPTO_EVM_SCHEME);
        let refused = check(&pay(&upto), &exact, Ceiling::Equal, NOW).unwrap_err();
        assert_eq!(refused.code, ErrorCode::UNSUPPORTED_SCHEME);
        // Who renames the scheme of a payment has not signed for the other contract.
        let mut renamed = pay(&exact);
        renamed.accepted = Accepted::Offer(Box::new(upto.clone()));
        renamed.payload["permit2Authorization"]["witness"]["facilitator"] = FACILITATOR.into();
        let refused = check(&renamed, &upto, Ceiling::Equal, NOW).unwrap_err();
        assert_eq!(refused.code, ErrorCode::INVALID_PERMIT2_SPENDER);
        renamed.payload["permit2Authorization"]["spender"] =
            "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002".into();
        let refused = check(&renamed, &upto, Ceiling::Equal, NOW).unwrap_err();
        assert_eq!(refused.code, ErrorCode::INVALID_PERMIT2_SIGNATURE);
    }

    #[test]
    fn the_method_of_the_offer_decides_and_the_payload_must_follow() {
        let by_permit = offer(false);
        let mut by_token = by_permit.clone();
        by_token.extra.shift_remove("assetTransferMethod");
        let seller = ExactSeller::new(AssetTable::known());
        let refused = seller.check(&pay(&by_token), &by_permit, NOW).unwrap_err();
        assert_eq!(
            (refused.code, &*refused.field),
            (ErrorCode::UNSUPPORTED_PAYLOAD_TYPE, "payload.permit2Authorization")
        );
        let refused = seller.check(&pay(&by_permit), &by_token, NOW).unwrap_err();
        assert_eq!(refused.field, "payload.authorization");
        let mut unknown = by_permit.clone();
        unknown.extra.insert("assetTransferMethod".to_owned(), "barter".into());
        let refused = seller.check(&pay(&by_permit), &unknown, NOW).unwrap_err();
        assert_eq!(refused.code, ErrorCode::UNSUPPORTED_ASSET_TRANSFER_METHOD);
    }

    #[test]
    fn nothing_is_paid_to_nobody_or_to_oneself() {
        for is_upto in BOTH {
            let mut offer = offer(is_upto);
            let payer = LocalSigner::from_hex(&"7".repeat(64)).unwrap();
            for to in [Address::ZERO, crate::Signer::address(&payer)] {
                offer.pay_to = to.to_string();
                let refused = check(&pay(&offer), &offer, Ceiling::Equal, NOW).unwrap_err();
                assert_eq!(refused.code, ErrorCode::PERMIT2_INVALID_DESTINATION);
            }
        }
    }

    #[test]
    fn a_signature_is_65_bytes_however_many_come() {
        for is_upto in BOTH {
            let offer = offer(is_upto);
            let whole = pay(&offer);
            let text = whole.payload["signature"].as_str().unwrap().to_owned();
            let twin = {
                let order = alloy_primitives::uint!(
                    0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256
                );
                let s = order - U256::from_str_radix(&text[66..130], 16).unwrap();
                let v = if text.ends_with("1b") { "1c" } else { "1b" };
                format!("{}{s:064x}{v}", &text[..66])
            };
            for wrong in [
                json!(""),
                json!("0x"),
                json!(text[2..]),
                json!(format!("{text}{}", "00".repeat(100_000))),
                json!(twin),
            ] {
                let mut payment = whole.clone();
                payment.payload["signature"] = wrong;
                let refused = check(&payment, &offer, Ceiling::Equal, NOW).unwrap_err();
                assert_eq!(refused.code, ErrorCode::INVALID_PERMIT2_SIGNATURE);
                assert!(refused.rule.len() < 200, "an answer is bounded");
            }
        }
    }

    #[test]
    fn every_spelling_of_one_permit_has_one_key_and_both_proxies_share_it() {
        let offer = offer(false);
        let payment = pay(&offer);
        let held = check(&payment, &offer, Ceiling::Equal, NOW).unwrap();
        let mut hex = payment.clone();
        *field(&mut hex, "nonce") = format!("{:#x}", held.permit.nonce).into();
        let from = held.permit.from.to_string().to_uppercase().replacen("0X", "0x", 1);
        *field(&mut hex, "from") = from.into();
        assert_eq!(check(&hex, &offer, Ceiling::Equal, NOW).unwrap().key(), held.key());
        let proxy = Proxy::Upto { facilitator: Address::ZERO };
        let other = PermitPayment {
            permit: Permit { proxy, token: Address::ZERO, ..held.permit.clone() },
            ..held.clone()
        };
        assert_eq!(other.key(), held.key());
    }

    #[test]
    fn what_is_settled_is_at_most_what_was_signed() {
        let mut offer = offer(true);
        let payment = pay(&offer);
        let signed = offer.amount.atomic();
        let settle = |offer: &PaymentRequirements| check(&payment, offer, Ceiling::AtMost, NOW);
        for used in [U256::ZERO, U256::from(1), signed] {
            offer.amount = Amount::from_atomic(used);
            let held = settle(&offer).unwrap();
            assert_eq!((held.value, held.permit.amount), (used, signed));
            assert_eq!(check(&payment, &offer, Ceiling::Equal, NOW).is_ok(), used == signed);
        }
        offer.amount = Amount::from_atomic(signed + U256::from(1));
        let refused = settle(&offer).unwrap_err();
        assert_eq!(refused.code, ErrorCode::INVALID_UPTO_EVM_PAYLOAD_SETTLEMENT_EXCEEDS_AMOUNT);
        // Scheme `exact` knows no less.
        let mut exact = self::offer(false);
        let payment = pay(&exact);
        exact.amount = Amount::from(1u64);
        assert_eq!(
            check(&payment, &exact, Ceiling::AtMost, NOW).unwrap_err().code,
            ErrorCode::PERMIT2_AMOUNT_MISMATCH
        );
        assert!(check_at_any_time(&payment, &exact).is_err());
    }

    #[test]
    fn v1_has_no_permit2() {
        let mut payment = pay(&offer(false));
        payment.version = X402Version::V1;
        let refused = check(&payment, &offer(false), Ceiling::Equal, NOW).unwrap_err();
        assert_eq!(refused.code, ErrorCode::INVALID_X402_VERSION);
    }

    proptest! {
        /// Accepted exactly when every rule holds, over amounts, windows and parties around their edges.
        #[test]
        fn a_payment_is_accepted_iff_all_rules_hold(
            is_upto in any::<bool>(), at_most in any::<bool>(),
            asked in 0u64..5, signed in 0u64..5,
            starts in -2i64..3, ends in 3i64..10,
            right_payee in prop_oneof![4 => Just(true), 1 => Just(false)],
            right_token in prop_oneof![4 => Just(true), 1 => Just(false)],
            right_facilitator in prop_oneof![4 => Just(true), 1 => Just(false)],
            honest in prop_oneof![4 => Just(true), 1 => Just(false)],
        ) {
            let mut terms = offer(is_upto);
            let mut payment = pay(&terms);
            let mut permit = Permit::decode(&payment.payload, is_upto).unwrap().permit;
            let at = |offset: i64| U256::from(NOW.0.checked_add_signed(offset).unwrap());
            permit.amount = U256::from(signed);
            permit.valid_after = at(starts);
            permit.deadline = at(ends);
            if !right_payee {
                permit.to = STRANGER.parse().unwrap();
            }
            if !right_token {
                permit.token = STRANGER.parse().unwrap();
            }
            if !right_facilitator && is_upto {
                permit.proxy = Proxy::Upto { facilitator: STRANGER.parse().unwrap() };
            }
            payment.payload = sign(&permit, &terms.network);
            if !honest {
                *field(&mut payment, "nonce") = (permit.nonce ^ U256::from(1)).to_string().into();
            }
            terms.amount = Amount::from(asked);
            let ceiling = if at_most { Ceiling::AtMost } else { Ceiling::Equal };
            let amount = if is_upto && at_most { asked <= signed } else { asked == signed };
            let rules = amount && signed > 0 && starts <= 0 && ends >= 6
                && right_payee && right_token && (right_facilitator || !is_upto) && honest;
            prop_assert_eq!(check(&payment, &terms, ceiling, NOW).is_ok(), rules);
        }

        #[test]
        fn no_payload_panics(text in ".{0,200}", at in 0usize..10, is_upto in any::<bool>()) {
            let paths = ["from", "permitted", "permitted.token", "permitted.amount", "spender", "nonce",
                "deadline", "witness", "witness.to", "witness.validAfter"];
            prop_assert!(with(is_upto, paths[at], json!(text)).is_err());
        }
    }
}

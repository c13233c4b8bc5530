//! Every rule that needs no chain, cheapest first, the signature last. This is where a signature is checked.

use alloy_primitives::{Address, U256};
use tollway_core::model::{Accepted, PaymentFlow, PaymentPayload, PaymentRequirements};
use tollway_core::{
    Amount, AuthorizationKey, Checked, ErrorCode, Network, Refusal, SchemeName, UnixTime, X402Version,
};

use super::{ADDRESS_RULE, Authorization, parse_address};
use crate::eip712::Domain;
use crate::signature::PayerSignature;

/// An authorization must stay valid this long, seconds: time to be included. Peers use the same.
pub const MIN_REMAINING_SECONDS: u64 = 6;

/// A payment that holds against its offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactPayment {
    /// What the payer signed.
    pub authorization: Authorization,
    /// By which signature.
    pub signature: PayerSignature,
    /// The token.
    pub asset: Address,
    /// Where.
    pub network: Network,
}

impl ExactPayment {
    /// What makes the authorization unique, whatever the spelling it came in.
    ///
    /// ```
    /// use tollway_evm::exact;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let paid = exact::check_at_any_time(&request.payment, &request.requirements)?;
    /// let token = "eip155:31337/0x5fbdb2315678afecb367f032d93f642f64180aa3";
    /// assert!(paid.key().as_str().starts_with(token)); // then payer and nonce
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key(&self) -> AuthorizationKey {
        let Authorization { from, nonce, .. } = &self.authorization;
        AuthorizationKey::new(format!("{}/{:#x}/{from:#x}/{nonce:#x}", self.network, self.asset))
    }

    /// The scheme-independent part.
    pub(crate) fn checked(&self) -> Checked {
        Checked {
            key: self.key(),
            payer: self.authorization.from.to_checksum(None),
            amount: Amount::from_atomic(self.authorization.value),
            valid_before: self.authorization.expires(),
            settles_first: !self.signature.is_by_key(),
        }
    }
}

/// Holds `payment` against `offer` at `now`: scheme, network, domain, recipient, amount, time window, and
/// whether the payer's key signed exactly this. If it did not, the payer's code must say so, on chain.
///
/// # Errors
/// [`Refusal`] with the code of the specification, the field and the rule.
///
/// ```
/// use tollway_core::UnixTime;
/// use tollway_evm::exact;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// let (payment, mut offer, now) = (request.payment, request.requirements, UnixTime(1_750_000_000));
/// assert!(exact::check(&payment, &offer, now).is_ok());
/// offer.amount = 20_001.into();
/// assert_eq!(exact::check(&payment, &offer, now).unwrap_err().field, "payload.authorization.value");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check(
    payment: &PaymentPayload,
    offer: &PaymentRequirements,
    now: UnixTime,
) -> Result<ExactPayment, Refusal> {
    check_rules(payment, offer, Some(now))
}

/// The same without the time window: for a payment whose fate is asked after it has expired.
///
/// # Errors
/// As [`check`].
///
/// ```
/// use tollway_core::UnixTime;
/// use tollway_evm::exact;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// let (payment, offer, late) = (request.payment, request.requirements, UnixTime(1_760_000_000));
/// assert!(exact::check(&payment, &offer, late).is_err());
/// assert!(exact::check_at_any_time(&payment, &offer).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_at_any_time(
    payment: &PaymentPayload,
    offer: &PaymentRequirements,
) -> Result<ExactPayment, Refusal> {
    check_rules(payment, offer, None)
}

/// The time window alone: not before `validAfter`, and at least [`MIN_REMAINING_SECONDS`] left to
/// `validBefore`.
///
/// # Errors
/// As [`check`].
///
/// ```
/// use tollway_core::UnixTime;
/// use tollway_evm::exact;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// let paid = exact::check_at_any_time(&request.payment, &request.requirements)?; // until 1750000090
/// assert!(exact::check_window(&paid, UnixTime(1_750_000_084)).is_ok());
/// assert!(exact::check_window(&paid, UnixTime(1_750_000_085)).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_window(payment: &ExactPayment, now: UnixTime) -> Result<(), Refusal> {
    let payer = payment.authorization.from;
    window(&payment.authorization, now).map_err(|refusal| refusal.by(payer.to_checksum(None)))
}

fn check_rules(
    payment: &PaymentPayload,
    offer: &PaymentRequirements,
    now: Option<UnixTime>,
) -> Result<ExactPayment, Refusal> {
    check_kind(payment, offer)?;
    let (asset, domain) = domain(offer)?;
    let (authorization, signature) = Authorization::decode(&payment.payload)?;
    let payer = authorization.from;
    check_terms(&authorization, offer, payment.version)
        .and_then(|()| now.map_or(Ok(()), |now| window(&authorization, now)))
        .and_then(|()| check_signature(&domain, &authorization, &signature))
        .map(|signature| ExactPayment { authorization, signature, asset, network: offer.network.clone() })
        .map_err(|refusal| refusal.by(payer.to_checksum(None)))
}

fn check_kind(payment: &PaymentPayload, offer: &PaymentRequirements) -> Result<(), Refusal> {
    // v2 repeats the offer, v1 names scheme and network at the top.
    let field = |name: &str| match payment.accepted {
        Accepted::Offer(_) => format!("accepted.{name}"),
        Accepted::Kind { .. } => name.to_owned(),
    };
    let schemes =
        [(field("scheme"), payment.scheme()), ("paymentRequirements.scheme".to_owned(), &offer.scheme)];
    for (field, scheme) in schemes {
        if *scheme != SchemeName::EXACT {
            let rule = format!("must be \"exact\", not {:?}", scheme.as_str());
            return Err(Refusal::new(ErrorCode::UNSUPPORTED_SCHEME, field, rule));
        }
    }
    if payment.network() != &offer.network {
        let rule = format!("must be {}, not {}", offer.network, payment.network());
        return Err(Refusal::new(ErrorCode::INVALID_EXACT_EVM_NETWORK_MISMATCH, field("network"), rule));
    }
    if !matches!(offer.payment_flow(), Some(PaymentFlow::Authorization | PaymentFlow::Upfront)) {
        let rule = "must be \"authorization\" or \"upfront\"";
        let field = "paymentRequirements.extra.paymentFlow";
        return Err(Refusal::new(ErrorCode::UNSUPPORTED_PAYMENT_FLOW, field, rule));
    }
    match offer.extra_str("assetTransferMethod") {
        None | Some("eip3009") => Ok(()),
        Some(other) => Err(Refusal::new(
            ErrorCode::UNSUPPORTED_ASSET_TRANSFER_METHOD,
            "paymentRequirements.extra.assetTransferMethod",
            format!("must be \"eip3009\", not {other:?}"),
        )),
    }
}

/// The token of an offer and the domain it signs under.
pub(super) fn domain(offer: &PaymentRequirements) -> Result<(Address, Domain), Refusal> {
    let asset = parse_address(&offer.asset).ok_or_else(|| {
        let code = ErrorCode::INVALID_PAYMENT_REQUIREMENTS;
        Refusal::new(code, "paymentRequirements.asset", ADDRESS_RULE)
    })?;
    let text = |field: &str| {
        offer.extra_str(field).filter(|text| !text.is_empty()).ok_or_else(|| {
            Refusal::new(
                ErrorCode::INVALID_EXACT_EVM_MISSING_EIP712_DOMAIN,
                format!("paymentRequirements.extra.{field}"),
                "is required: it is part of the token's EIP-712 domain",
            )
        })
    };
    let domain = Domain::new(&offer.network, asset, text("name")?, text("version")?);
    let domain = domain.ok_or_else(|| {
        let rule = format!("must be an EVM network, not {}", offer.network);
        Refusal::new(ErrorCode::INVALID_NETWORK, "paymentRequirements.network", rule)
    })?;
    Ok((asset, domain))
}

fn check_terms(
    authorization: &Authorization,
    offer: &PaymentRequirements,
    version: X402Version,
) -> Result<(), Refusal> {
    if parse_address(&offer.pay_to) != Some(authorization.to) {
        let rule = format!("must be the offer's payTo {}, not {}", offer.pay_to, authorization.to);
        return Err(refuse(ErrorCode::INVALID_EXACT_EVM_RECIPIENT_MISMATCH, "to", rule));
    }
    if authorization.value != offer.amount.atomic() {
        let rule = format!("must be exactly {}, not {}", offer.amount, authorization.value);
        return Err(refuse(value_code(version), "value", rule));
    }
    // Neither moves anything that a Transfer event could prove, and both would cost gas.
    if authorization.value.is_zero() {
        return Err(refuse(value_code(version), "value", "must be more than zero".to_owned()));
    }
    if authorization.from == authorization.to {
        let code = ErrorCode::INVALID_EXACT_EVM_RECIPIENT_MISMATCH;
        return Err(refuse(code, "to", "must not be the payer".to_owned()));
    }
    Ok(())
}

const fn value_code(version: X402Version) -> ErrorCode {
    match version {
        X402Version::V1 => ErrorCode::INVALID_EXACT_EVM_AUTHORIZATION_VALUE,
        X402Version::V2 => ErrorCode::INVALID_EXACT_EVM_PAYLOAD_AUTHORIZATION_VALUE_MISMATCH,
    }
}

fn window(authorization: &Authorization, now: UnixTime) -> Result<(), Refusal> {
    let expires = authorization.expires();
    if expires < now.plus_seconds(MIN_REMAINING_SECONDS) {
        let rule = format!(
            "must be at least {MIN_REMAINING_SECONDS} seconds from now ({}), is {}",
            now.0, expires.0
        );
        let code = ErrorCode::INVALID_EXACT_EVM_PAYLOAD_AUTHORIZATION_VALID_BEFORE;
        return Err(refuse(code, "validBefore", rule));
    }
    if authorization.valid_after > U256::from(now.0) {
        let rule = format!("must not be after now ({}), is {}", now.0, authorization.valid_after);
        let code = ErrorCode::INVALID_EXACT_EVM_PAYLOAD_AUTHORIZATION_VALID_AFTER;
        return Err(refuse(code, "validAfter", rule));
    }
    Ok(())
}

fn refuse(code: ErrorCode, field: &str, rule: String) -> Refusal {
    Refusal::new(code, format!("payload.authorization.{field}"), rule)
}

fn check_signature(
    domain: &Domain,
    authorization: &Authorization,
    bytes: &[u8],
) -> Result<PayerSignature, Refusal> {
    let digest = domain.digest(&authorization.message());
    PayerSignature::read(bytes, digest, authorization.from).map_err(|error| {
        Refusal::new(ErrorCode::INVALID_EXACT_EVM_SIGNATURE, "payload.signature", error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use alloy_primitives::U256;
    use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use serde_json::{Value, json};
    use tollway_core::model::{PaymentPayload, PaymentRequired, PaymentRequirements};
    use tollway_core::{
        Amount, BuyerScheme, ErrorCode, Price, Refusal, SchemeName, SellerScheme, Terms, UnixTime,
        X402Version,
    };

    use super::ExactPayment;
    use crate::exact::{ExactBuyer, ExactSeller};
    use crate::{AssetTable, LocalSigner};

    const NOW: UnixTime = UnixTime(1_750_000_000);
    const PAYEE: &str = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";

    fn offer() -> PaymentRequirements {
        let terms = Terms {
            network: "eip155:8453".parse().unwrap(),
            pay_to: PAYEE.to_owned(),
            max_timeout_seconds: 300,
        };
        let price = Price::Money("$0.01".parse().unwrap());
        ExactSeller::new(AssetTable::known()).offer(&price, &terms).unwrap()
    }

    fn pay(version: X402Version, offer: &PaymentRequirements) -> PaymentPayload {
        let key = LocalSigner::from_hex(&"7".repeat(64)).unwrap();
        let buyer = ExactBuyer::new(Arc::new(key), AssetTable::known());
        let required = PaymentRequired {
            version,
            error: None,
            resource: None,
            accepts: vec![offer.clone()],
            extensions: tollway_core::JsonObject::new(),
            other: tollway_core::JsonObject::new(),
        };
        let signing = buyer.sign(&required, offer, NOW);
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(signing).unwrap()
    }

    /// What no key of the payer's signed is left to the payer's code, and these payers have none.
    fn check(
        payment: &PaymentPayload,
        offer: &PaymentRequirements,
        now: UnixTime,
    ) -> Result<ExactPayment, Refusal> {
        let checked = super::check(payment, offer, now)?;
        let is_by_key = checked.signature.is_by_key();
        assert_eq!(checked.checked().settles_first, !is_by_key);
        let refusal = Refusal::new(ErrorCode::INVALID_EXACT_EVM_SIGNATURE, "payload.signature", "by code");
        if is_by_key { Ok(checked) } else { Err(refusal) }
    }

    fn with(field: &str, value: Value) -> Result<ExactPayment, Refusal> {
        let offer = offer();
        let mut payment = pay(X402Version::V2, &offer);
        if field == "signature" {
            payment.payload["signature"] = value;
        } else {
            assert!(payment.payload["authorization"].get(field).is_some(), "{field}");
            payment.payload["authorization"][field] = value;
        }
        check(&payment, &offer, NOW)
    }

    #[test]
    fn what_a_buyer_signs_a_seller_accepts_in_both_versions() {
        let offer = offer();
        for version in [X402Version::V1, X402Version::V2] {
            let payment = check(&pay(version, &offer), &offer, NOW).unwrap();
            assert_eq!(Amount::from_atomic(payment.authorization.value), offer.amount);
        }
    }

    #[test]
    fn each_broken_rule_is_named_by_field_and_code() {
        let value = ErrorCode::INVALID_EXACT_EVM_PAYLOAD_AUTHORIZATION_VALUE_MISMATCH;
        let before = ErrorCode::INVALID_EXACT_EVM_PAYLOAD_AUTHORIZATION_VALID_BEFORE;
        let after = ErrorCode::INVALID_EXACT_EVM_PAYLOAD_AUTHORIZATION_VALID_AFTER;
        let payload = ErrorCode::INVALID_PAYLOAD;
        let signature = ErrorCode::INVALID_EXACT_EVM_SIGNATURE;
        let cases = [
            (
                "to",
                json!("0x0000000000000000000000000000000000000001"),
                ErrorCode::INVALID_EXACT_EVM_RECIPIENT_MISMATCH,
            ),
            ("to", json!("0x12"), payload.clone()),
            ("from", json!("0x0000000000000000000000000000000000000001"), signature.clone()),
            ("from", json!(7), payload.clone()),
            ("value", json!("9999"), value.clone()),
            ("value", json!("10001"), value),
            ("value", json!("1e4"), payload.clone()),
            ("value", json!(10000), payload.clone()),
            ("validBefore", json!(NOW.0.to_string()), before.clone()),
            ("validBefore", json!((NOW.0 + 5).to_string()), before),
            ("validBefore", json!((NOW.0 + 6).to_string()), signature.clone()),
            ("validAfter", json!((NOW.0 + 1).to_string()), after),
            ("nonce", json!("0x00"), payload.clone()),
            ("nonce", json!(format!("0x{}", "0".repeat(64))), signature.clone()),
            ("signature", json!("0x"), signature.clone()),
            ("signature", json!("zz"), signature.clone()),
            ("signature", json!(format!("0x{}", "11".repeat(64))), signature.clone()),
            ("signature", json!(format!("0x{}1b", "ff".repeat(64))), signature),
            ("signature", json!(null), payload),
        ];
        for (field, value, code) in cases {
            let refusal = with(field, value.clone()).unwrap_err();
            assert_eq!(refusal.code, code, "{field} = {value}: {refusal}");
            let named = if code == ErrorCode::INVALID_EXACT_EVM_SIGNATURE { "signature" } else { field };
            assert!(refusal.field.ends_with(named), "{field}: {refusal}");
        }
    }

    #[test]
    fn an_offer_altered_after_it_was_signed_is_refused() {
        let original = offer();
        let payment = pay(X402Version::V2, &original);
        let altered = |change: &dyn Fn(&mut PaymentRequirements)| {
            let mut offer = original.clone();
            change(&mut offer);
            check(&payment, &offer, NOW)
        };
        assert!(altered(&|_| {}).is_ok());
        assert!(altered(&|offer| offer.amount = Amount::from(1u64)).is_err());
        assert!(altered(&|offer| offer.pay_to = offer.asset.clone()).is_err());
        assert!(altered(&|offer| offer.asset = PAYEE.to_owned()).is_err());
        assert!(altered(&|offer| offer.network = tollway_core::Network::evm(1)).is_err());
        assert!(altered(&|offer| offer.scheme = SchemeName::new("upto")).is_err());
        for field in ["name", "version"] {
            assert!(
                altered(&|offer| {
                    offer.extra.insert(field.to_owned(), "x".into());
                })
                .is_err()
            );
            assert!(
                altered(&|offer| {
                    offer.extra.remove(field);
                })
                .is_err()
            );
        }
        for flow in ["escrow", "zzz"] {
            let refused = altered(&|offer| {
                offer.extra.insert("paymentFlow".to_owned(), flow.into());
            });
            assert_eq!(refused.unwrap_err().code, ErrorCode::UNSUPPORTED_PAYMENT_FLOW, "{flow}");
        }
        assert!(
            altered(&|offer| {
                offer.extra.insert("assetTransferMethod".to_owned(), "permit2".into());
            })
            .is_err()
        );
    }

    #[test]
    fn every_spelling_of_one_authorization_has_one_key() {
        let offer = offer();
        let payment = pay(X402Version::V2, &offer);
        let key = check(&payment, &offer, NOW).unwrap().key();
        let mut shouted = payment.clone();
        for field in ["from", "to", "nonce"] {
            let text = payment.payload["authorization"][field].as_str().unwrap();
            shouted.payload["authorization"][field] = format!("0x{}", text[2..].to_uppercase()).into();
        }
        let mut lower = offer.clone();
        lower.asset = lower.asset.to_lowercase();
        assert_eq!(check(&shouted, &lower, NOW).unwrap().key(), key);
    }

    proptest! {
        /// Accepted exactly when every rule holds, over amounts and windows around their edges.
        #[test]
        fn a_payment_is_accepted_iff_all_rules_hold(
            asked in 1u64..4, paid in 1u64..4,
            starts in -2i64..3, ends in 3i64..10,
            honest in prop_oneof![Just(true), any::<bool>()],
        ) {
            let mut signed = offer();
            signed.amount = Amount::from(paid);
            let mut payment = pay(X402Version::V2, &signed);
            let at = |offset: i64| NOW.0.checked_add_signed(offset).unwrap();
            // Sign again over the edge values: the buyer's own scheme would not.
            let key = LocalSigner::from_hex(&"7".repeat(64)).unwrap();
            let (mut authorization, _) = crate::exact::Authorization::decode(&payment.payload).unwrap();
            authorization.valid_after = U256::from(at(starts));
            authorization.valid_before = U256::from(at(ends));
            let (_, domain) = super::domain(&signed).unwrap();
            let preimage = domain.preimage(&authorization.message());
            let secret = secp256k1::SecretKey::from_byte_array([0x77; 32]).unwrap();
            let signature = crate::signature::sign(alloy_primitives::keccak256(preimage), &secret);
            payment.payload = authorization.encode(&signature);
            prop_assert_eq!(crate::Signer::address(&key), authorization.from);
            if !honest {
                let text = payment.payload["authorization"]["nonce"].as_str().unwrap().to_owned();
                let flipped = if text.ends_with('0') { '1' } else { '0' };
                payment.payload["authorization"]["nonce"] = format!("{}{flipped}", &text[..65]).into();
            }
            let mut held = signed.clone();
            held.amount = Amount::from(asked);
            let rules = honest && asked == paid && starts <= 0 && ends >= 6;
            prop_assert_eq!(check(&payment, &held, NOW).is_ok(), rules);
        }

        #[test]
        fn no_payload_panics(text in ".{0,200}", field in 0usize..8) {
            let fields = ["from", "to", "value", "validAfter", "validBefore", "nonce", "signature", "x"];
            let name = fields[field];
            prop_assert!(name == "x" || with(name, json!(text)).is_err());
        }
    }
}

//! Every rule that needs no chain. There are few: what is delegated is opaque, and its simulation is its check.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use tollway_core::model::{PaymentFlow, PaymentPayload, PaymentRequirements};
use tollway_core::wire::Fields;
use tollway_core::{
    Amount, AuthorizationKey, Checked, ErrorCode, Network, Refusal, SchemeName, UnixTime, X402Version,
};

#[cfg(feature = "rpc")]
use super::METHOD;
use crate::exact::{ADDRESS_RULE, parse_address};
use crate::signature::{CodeSignature, PayerSignature};

/// More than the managers that are known need; every byte of it costs gas.
const MOST_CONTEXT_BYTES: usize = 8_192;

/// A payment that holds against its offer, as far as can be told without the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegationPayment {
    /// Who redeems it (ERC-7710).
    pub manager: Address,
    /// Whose account pays.
    pub delegator: Address,
    /// What the manager is to be shown: kept as if it were a signature, for it is what only code can judge.
    pub context: PayerSignature,
    /// The token.
    pub asset: Address,
    /// Who is paid.
    pub payee: Address,
    /// How much, atomic units.
    pub value: U256,
    /// Where.
    pub network: Network,
}

impl DelegationPayment {
    /// What is shown to the manager.
    ///
    /// ```
    /// # use tollway_evm::delegation;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/delegation_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let payment = delegation::check(&request.payment, &request.requirements)?;
    /// assert_eq!(payment.permission_context().len(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn permission_context(&self) -> Bytes {
        self.context.inner()
    }

    /// One delegation, one payee, asset and amount: one payment.
    pub(super) fn nonce(&self) -> B256 {
        let mut bytes = self.permission_context().to_vec();
        for account in [self.asset, self.payee] {
            bytes.extend_from_slice(account.as_slice());
        }
        bytes.extend_from_slice(&self.value.to_be_bytes::<32>());
        keccak256(bytes)
    }

    /// The scheme-independent part. A delegation has no expiry that could be read: it is remembered as long as an offer
    /// holds.
    pub(crate) fn checked(&self, offer: &PaymentRequirements, now: UnixTime) -> Checked {
        let (network, manager) = (&self.network, self.manager);
        let key = format!("{network}/{manager:#x}/{:#x}/{:#x}", self.delegator, self.nonce());
        Checked {
            key: AuthorizationKey::new(key),
            payer: self.delegator.to_checksum(None),
            amount: Amount::from_atomic(self.value),
            valid_before: now.plus_seconds(offer.max_timeout_seconds),
            settles_first: true,
        }
    }
}

/// Whether `offer` is paid by delegation.
#[cfg(feature = "rpc")]
pub(crate) fn pays(offer: &PaymentRequirements) -> bool {
    offer.scheme == SchemeName::EXACT && offer.extra_str("assetTransferMethod") == Some(METHOD)
}

/// Holds `payment` against `offer`: what it names must be there, and the rest is for the chain to say.
///
/// # Errors
/// [`Refusal`] naming the field and the rule.
///
/// ```
/// use tollway_evm::delegation;
/// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/delegation_request.json"));
/// # let request = tollway_core::wire::decode_facilitator_request(json)?;
/// let (mut payment, offer) = (request.payment, request.requirements);
/// assert!(delegation::check(&payment, &offer).is_ok());
/// payment.payload.remove("delegator");
/// assert_eq!(delegation::check(&payment, &offer).unwrap_err().field, "payload.delegator");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check(payment: &PaymentPayload, offer: &PaymentRequirements) -> Result<DelegationPayment, Refusal> {
    check_kind(payment, offer)?;
    let mut fields = Fields::root(payment.payload.clone()).at("payload");
    let manager = address(&mut fields, "delegationManager")?;
    let delegator = address(&mut fields, "delegator")?;
    let text = fields.string("permissionContext")?;
    let bytes = alloy_primitives::hex::decode(&text)
        .ok()
        .filter(|bytes| text.starts_with("0x") && (1..=MOST_CONTEXT_BYTES).contains(&bytes.len()))
        .ok_or_else(|| {
            let rule = format!("must be 0x and 1 to {MOST_CONTEXT_BYTES} hex bytes");
            refuse(ErrorCode::INVALID_PAYLOAD, "payload.permissionContext", rule)
        })?;
    let required = |text: &str, field: &str| {
        parse_address(text)
            .ok_or_else(|| refuse(ErrorCode::INVALID_PAYMENT_REQUIREMENTS, field, ADDRESS_RULE.to_owned()))
    };
    let payment = DelegationPayment {
        manager,
        delegator,
        context: PayerSignature::Code(CodeSignature { bytes: bytes.into(), deployment: None }),
        asset: required(&offer.asset, "paymentRequirements.asset")?,
        payee: required(&offer.pay_to, "paymentRequirements.payTo")?,
        value: offer.amount.atomic(),
        network: offer.network.clone(),
    };
    check_terms(&payment).map_err(|refusal| refusal.by(delegator.to_checksum(None)))?;
    Ok(payment)
}

fn check_kind(payment: &PaymentPayload, offer: &PaymentRequirements) -> Result<(), Refusal> {
    if payment.version != X402Version::V2 {
        return Err(refuse(ErrorCode::INVALID_X402_VERSION, "x402Version", "must be 2".to_owned()));
    }
    if *payment.scheme() != SchemeName::EXACT || offer.scheme != SchemeName::EXACT {
        return Err(refuse(ErrorCode::UNSUPPORTED_SCHEME, "accepted.scheme", "must be \"exact\"".to_owned()));
    }
    if payment.network() != &offer.network || offer.network.evm_chain_id().is_none() {
        let rule = format!("must be {}, an EVM network", offer.network);
        return Err(refuse(ErrorCode::INVALID_EXACT_EVM_NETWORK_MISMATCH, "accepted.network", rule));
    }
    if !matches!(offer.payment_flow(), Some(PaymentFlow::Authorization | PaymentFlow::Upfront)) {
        let field = "paymentRequirements.extra.paymentFlow";
        let rule = "must be \"authorization\" or \"upfront\"".to_owned();
        return Err(refuse(ErrorCode::UNSUPPORTED_PAYMENT_FLOW, field, rule));
    }
    Ok(())
}

fn check_terms(payment: &DelegationPayment) -> Result<(), Refusal> {
    if payment.value.is_zero() {
        let rule = "must be more than zero".to_owned();
        return Err(refuse(ErrorCode::INVALID_PAYMENT_REQUIREMENTS, "paymentRequirements.amount", rule));
    }
    if payment.delegator == payment.payee {
        let rule = "must not be the payee".to_owned();
        return Err(refuse(ErrorCode::INVALID_PAYLOAD, "payload.delegator", rule));
    }
    // A manager that is the token would be told to transfer with our account's word.
    if payment.manager == payment.asset {
        let rule = "must not be the asset".to_owned();
        return Err(refuse(ErrorCode::INVALID_PAYLOAD, "payload.delegationManager", rule));
    }
    Ok(())
}

fn address(fields: &mut Fields, name: &str) -> Result<Address, Refusal> {
    let text = fields.string(name)?;
    parse_address(&text).ok_or_else(|| fields.error(name, ADDRESS_RULE).into())
}

fn refuse(code: ErrorCode, field: &str, rule: String) -> Refusal {
    Refusal::new(code, field, rule)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};
    use serde_json::{Value, json};
    use tollway_core::model::FacilitatorRequest;
    use tollway_core::{Network, UnixTime};

    use super::check;

    fn request() -> FacilitatorRequest {
        let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/delegation_request.json"));
        tollway_core::wire::decode_facilitator_request(json).unwrap()
    }

    fn refused(change: impl FnOnce(&mut FacilitatorRequest)) -> String {
        let mut request = request();
        change(&mut request);
        check(&request.payment, &request.requirements).unwrap_err().field
    }

    #[test]
    fn each_broken_rule_is_named_by_its_field() {
        let asset = request().requirements.asset;
        let set = |name: &'static str, value: Value| {
            refused(move |request| {
                request.payment.payload[name] = value;
            })
        };
        assert_eq!(set("delegationManager", json!("0x12")), "payload.delegationManager");
        assert_eq!(set("delegationManager", json!(asset)), "payload.delegationManager");
        assert_eq!(set("delegator", json!(7)), "payload.delegator");
        assert_eq!(set("delegator", json!(request().requirements.pay_to)), "payload.delegator");
        for wrong in ["", "0x", "0xzz", "010203", &format!("0x{}", "00".repeat(8_193))] {
            assert_eq!(set("permissionContext", json!(wrong)), "payload.permissionContext");
        }
        assert_eq!(refused(|r| r.requirements.amount = 0u64.into()), "paymentRequirements.amount");
        assert_eq!(refused(|r| r.requirements.pay_to = "me".to_owned()), "paymentRequirements.payTo");
        assert_eq!(refused(|r| r.requirements.network = Network::evm(1)), "accepted.network");
        let flow = |r: &mut FacilitatorRequest| {
            r.requirements.extra.insert("paymentFlow".to_owned(), "escrow".into());
        };
        assert_eq!(refused(flow), "paymentRequirements.extra.paymentFlow");
    }

    #[test]
    fn another_amount_payee_or_context_is_another_payment() {
        let key = |change: fn(&mut FacilitatorRequest)| {
            let mut request = request();
            change(&mut request);
            let payment = check(&request.payment, &request.requirements).unwrap();
            payment.checked(&request.requirements, UnixTime(7)).key
        };
        let same = key(|_| {});
        assert_eq!(same, key(|r| r.requirements.max_timeout_seconds = 1));
        assert_ne!(same, key(|r| r.requirements.amount = 1u64.into()));
        assert_ne!(same, key(|r| r.requirements.pay_to = format!("0x{}", "12".repeat(20))));
        assert_ne!(same, key(|r| r.payment.payload["permissionContext"] = "0x04".into()));
    }

    proptest! {
        #[test]
        fn no_payload_panics(name in "[a-zA-Z]{0,20}", text in ".{0,80}", number in any::<u64>()) {
            let mut request = request();
            for value in [json!(text), json!(number), Value::Null, json!([text])] {
                for field in ["delegationManager", "delegator", "permissionContext", name.as_str()] {
                    request.payment.payload.insert(field.to_owned(), value.clone());
                    let _ = check(&request.payment, &request.requirements);
                }
            }
            prop_assert!(check(&request.payment, &request.requirements).is_err());
        }
    }
}

//! A payment by Permit2 as the engine sees it.

use alloy_primitives::{Address, B256, U256, hex};
use serde_json::{Value, json};
use tollway_core::{ErrorCode, Network, UnixTime};

use super::settle::{allowance_call, bitmap_call, is_set};
use super::{Approval, METHOD, PERMIT2, Permit, PermitPayment, Proxy, SponsoredApproval, settle_call};
use crate::exact::{TokenEvents, TransferProof};
use crate::multicall::Call;
use crate::payment::{Settleable, Trouble, balance_call};
use crate::signature::{self, PayerSignature};

/// The most gas for what a plain key signed: proxy, Permit2, and a token that may itself be a proxy.
const GAS_OF_KEY: u64 = 350_000;
/// The payer's approval before it.
const GAS_OF_APPROVAL: u64 = 100_000;
/// With the payer's code, which says whether it signed.
const GAS_OF_CODE: u64 = 650_000;
/// And with its deployment (ERC-6492).
const GAS_OF_DEPLOYMENT: u64 = 2_000_000;

impl Settleable for PermitPayment {
    fn network(&self) -> &Network {
        &self.network
    }

    fn asset(&self) -> Address {
        self.permit.token
    }

    fn payer(&self) -> Address {
        self.permit.from
    }

    fn payee(&self) -> Address {
        self.permit.to
    }

    fn value(&self) -> U256 {
        self.value
    }

    fn valid_after(&self) -> U256 {
        self.permit.valid_after
    }

    fn expires(&self) -> UnixTime {
        self.permit.expires()
    }

    fn nonce(&self) -> B256 {
        self.permit.nonce.into()
    }

    fn nonce_space(&self) -> Address {
        PERMIT2
    }

    fn signature(&self) -> &PayerSignature {
        &self.signature
    }

    /// And what is charged: of two amounts asked for one permit of scheme `upto`, the second is another payment.
    fn signed_words(&self) -> Vec<B256> {
        let Permit { from, token, amount, nonce, deadline, proxy, to, valid_after } = &self.permit;
        let numbers = [*amount, *nonce, *deadline, *valid_after, self.value].map(B256::from);
        let facilitator = match proxy {
            Proxy::Exact => Address::ZERO,
            Proxy::Upto { facilitator } => *facilitator,
        };
        let accounts = [*from, *token, *to, proxy.address(), facilitator].map(|account| account.into_word());
        numbers.into_iter().chain(accounts).collect()
    }

    fn call(&self) -> Call {
        settle_call(self)
    }

    fn max_gas(&self) -> u64 {
        let settles = match (&self.signature, self.signature.deployment()) {
            (PayerSignature::Key(_), _) => GAS_OF_KEY,
            (PayerSignature::Code(_), None) => GAS_OF_CODE,
            (PayerSignature::Code(_), Some(_)) => GAS_OF_CODE + GAS_OF_DEPLOYMENT,
        };
        if self.approval.is_some() { settles + GAS_OF_APPROVAL } else { settles }
    }

    /// Only what a key has signed for the exact proxy has company: the other proxy knows its facilitator as the sender, and
    /// with an approval the token runs a second time.
    fn is_alone(&self) -> bool {
        let is_by_key = matches!(self.signature, PayerSignature::Key(_));
        self.permit.proxy != Proxy::Exact || !is_by_key || self.approval.is_some()
    }

    fn sender(&self) -> Option<Address> {
        match self.permit.proxy {
            Proxy::Exact => None,
            Proxy::Upto { facilitator } => Some(facilitator),
        }
    }

    fn state_call(&self) -> Option<Call> {
        Some(bitmap_call(self))
    }

    fn is_used(&self, answer: &[u8]) -> Option<bool> {
        is_set(answer, self.permit.nonce)
    }

    fn funds_calls(&self) -> Vec<Call> {
        match self.approval {
            Some(_) => vec![balance_call(self)],
            None => vec![balance_call(self), allowance_call(self)],
        }
    }

    fn prove(&self, events: &TokenEvents) -> Option<TransferProof> {
        if events.asset() != self.permit.token {
            return None;
        }
        events.moved(self.permit.from, self.permit.to, self.value)
    }

    fn naming(&self, trouble: Trouble) -> (ErrorCode, &'static str) {
        match trouble {
            Trouble::NonceUsed => (ErrorCode::PERMIT2_INVALID_NONCE, "payload.permit2Authorization.nonce"),
            Trouble::Funds => {
                (ErrorCode::PERMIT2_INSUFFICIENT_BALANCE, "payload.permit2Authorization.permitted.amount")
            }
            Trouble::Allowance => {
                (ErrorCode::PERMIT2_ALLOWANCE_REQUIRED, "payload.permit2Authorization.permitted.amount")
            }
            Trouble::Sender => {
                (ErrorCode::UPTO_FACILITATOR_MISMATCH, "payload.permit2Authorization.witness.facilitator")
            }
            Trouble::ValidBefore => {
                (ErrorCode::PERMIT2_DEADLINE_EXPIRED, "payload.permit2Authorization.deadline")
            }
            Trouble::ValidAfter => {
                (ErrorCode::PERMIT2_NOT_YET_VALID, "payload.permit2Authorization.witness.validAfter")
            }
            Trouble::Signature => (ErrorCode::INVALID_PERMIT2_SIGNATURE, "payload.signature"),
            Trouble::Reverts => (ErrorCode::PERMIT2_SIMULATION_FAILED, "payload.permit2Authorization"),
            Trouble::AnotherAmount => (
                ErrorCode::INVALID_EXACT_EVM_TRANSFER_EVENT_MISMATCH,
                "payload.permit2Authorization.permitted.amount",
            ),
        }
    }

    fn encode(&self) -> Value {
        let Permit { from, token, amount, nonce, deadline, proxy, to, valid_after } = &self.permit;
        let facilitator = match proxy {
            Proxy::Exact => None,
            Proxy::Upto { facilitator } => Some(facilitator),
        };
        json!({
            "method": METHOD, "network": self.network.as_str(), "asset": token, "from": from, "to": to,
            "value": self.value.to_string(), "amount": amount.to_string(), "nonce": nonce.to_string(),
            "deadline": deadline.to_string(), "validAfter": valid_after.to_string(),
            "approval": self.approval.as_ref().map(|approval| json!([
                approval.deadline.to_string(), hex::encode_prefixed(approval.signature.as_bytes()),
            ])),
            "sponsored": self.sponsored.as_ref().map(|sponsored| &sponsored.raw),
            "facilitator": facilitator, "byKey": self.signature.is_by_key(),
            "signature": hex::encode_prefixed(self.signature.to_bytes()),
        })
    }
}

impl PermitPayment {
    /// Reads what [`Settleable::encode`] wrote.
    pub(crate) fn decode(record: &Value) -> Option<Self> {
        let field = |name: &str| record.get(name).and_then(Value::as_str);
        let address = |name| field(name)?.parse::<Address>().ok();
        let number = |name| U256::from_str_radix(field(name)?, 10).ok();
        let proxy = match record.get("facilitator")? {
            Value::Null => Proxy::Exact,
            _ => Proxy::Upto { facilitator: address("facilitator")? },
        };
        let signature = hex::decode(field("signature")?).ok()?;
        let approval = match record.get("approval")? {
            Value::Null => None,
            written => {
                let text = |place: usize| written.get(place).and_then(Value::as_str);
                let deadline = U256::from_str_radix(text(0)?, 10).ok()?;
                let signature = signature::parse(&hex::decode(text(1)?).ok()?).ok()?;
                Some(Approval { deadline, signature })
            }
        };
        let sponsored = match record.get("sponsored") {
            // Written before there were any.
            None | Some(Value::Null) => None,
            Some(raw) => Some(Box::new(SponsoredApproval::recall(hex::decode(raw.as_str()?).ok()?.into())?)),
        };
        Some(Self {
            approval,
            sponsored,
            permit: Permit {
                from: address("from")?,
                token: address("asset")?,
                amount: number("amount")?,
                nonce: number("nonce")?,
                deadline: number("deadline")?,
                proxy,
                to: address("to")?,
                valid_after: number("validAfter")?,
            },
            signature: PayerSignature::recall(&signature, record.get("byKey")?.as_bool()?)?,
            value: number("value")?,
            network: field("network")?.parse::<Network>().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, Log, Signature, U256};
    use alloy_sol_types::SolEvent;
    use serde_json::{Value, json};
    use tollway_core::Network;

    use crate::exact::Transfer;
    use crate::payment::{Payment, Settleable};
    use crate::permit2::{Approval, Permit, PermitPayment, Proxy};
    use crate::signature::{CodeSignature, PayerSignature};

    fn payment(proxy: Proxy) -> PermitPayment {
        PermitPayment {
            permit: Permit {
                from: Address::repeat_byte(1),
                token: Address::repeat_byte(3),
                amount: U256::from(20),
                nonce: U256::MAX,
                deadline: U256::from(1_750_000_000u64),
                proxy,
                to: Address::repeat_byte(2),
                valid_after: U256::ZERO,
            },
            signature: Signature::test_signature().into(),
            value: U256::from(10),
            network: Network::evm(8453),
            approval: Some(Approval { deadline: U256::from(7), signature: Signature::test_signature() }),
            sponsored: None,
        }
    }

    fn upto() -> Proxy {
        Proxy::Upto { facilitator: Address::repeat_byte(4) }
    }

    #[test]
    fn what_is_written_is_read_back_whole() {
        for proxy in [Proxy::Exact, upto()] {
            let payment = payment(proxy);
            assert_eq!(Payment::decode(&payment.encode()), Some(payment.clone().into()));
            for field in payment.encode().as_object().unwrap().keys() {
                let mut damaged = payment.encode();
                damaged[field] = json!(7);
                assert_eq!(Payment::decode(&damaged), None, "{field}");
            }
        }
    }

    #[test]
    fn the_digest_is_of_every_signed_field_and_of_what_is_charged() {
        let digest = |payment: &PermitPayment| Payment::from(payment.clone()).digest();
        let signed = payment(upto());
        let changes: [fn(&mut PermitPayment); 9] = [
            |payment| payment.permit.from = Address::ZERO,
            |payment| payment.permit.token = Address::ZERO,
            |payment| payment.permit.to = Address::ZERO,
            |payment| payment.permit.amount = U256::ZERO,
            |payment| payment.permit.nonce = U256::ZERO,
            |payment| payment.permit.deadline = U256::ZERO,
            |payment| payment.permit.valid_after = U256::MAX,
            |payment| payment.permit.proxy = Proxy::Exact,
            |payment| payment.value = U256::from(9),
        ];
        for change in changes {
            let mut changed = signed.clone();
            change(&mut changed);
            assert_ne!(digest(&changed), digest(&signed), "{changed:?}");
        }
        let mut other = signed.clone();
        other.signature = Signature::new(U256::from(1), U256::from(2), true).into();
        assert_eq!(digest(&other), digest(&signed), "a payer can make several signatures of one permit");
    }

    #[test]
    fn a_payment_is_proved_by_the_exact_transfer_and_nothing_else() {
        let moved = |asset: u8, from: u8, to: u8, value: u64| {
            let (from, to) = (Address::repeat_byte(from), Address::repeat_byte(to));
            let event = Transfer { from, to, value: U256::from(value) };
            Log { address: Address::repeat_byte(asset), data: event.encode_log_data() }
        };
        let payment = Payment::from(payment(Proxy::Exact));
        let prove = |logs: &[Log]| payment.prove_in((0..).zip(logs)).map(|proof| proof.log_index);
        assert_eq!(prove(&[moved(3, 1, 2, 10)]), Some(0));
        assert_eq!(prove(&[moved(3, 1, 5, 1), moved(3, 1, 2, 10)]), Some(1));
        for wrong in [moved(9, 1, 2, 10), moved(3, 9, 2, 10), moved(3, 1, 9, 10), moved(3, 1, 2, 20)] {
            assert_eq!(prove(&[wrong]), None);
        }
        assert_eq!(prove(&[]), None, "silent no-op");
    }

    #[test]
    fn only_upto_names_its_sender_and_only_permits_of_one_token_by_keys_share_a_transaction() {
        let (exact, upto) = (Payment::from(payment(Proxy::Exact)), Payment::from(payment(upto())));
        assert_eq!((exact.sender(), upto.sender()), (None, Some(Address::repeat_byte(4))));
        assert!(!exact.may_share_with(&exact) && !upto.may_share_with(&upto) && !exact.is_marked());
        let with = |change: fn(&mut PermitPayment)| {
            let mut payment = PermitPayment { approval: None, ..payment(Proxy::Exact) };
            change(&mut payment);
            Payment::from(payment)
        };
        let by_key = with(|_| ());
        assert!(by_key.may_share_with(&with(|payment| payment.permit.from = Address::ZERO)));
        for other in [
            with(|payment| payment.permit.token = Address::ZERO),
            upto.clone(),
            with(|payment| {
                payment.signature =
                    PayerSignature::Code(CodeSignature { bytes: vec![1].into(), deployment: None })
            }),
            exact.clone(),
        ] {
            assert!(!by_key.may_share_with(&other) && !other.may_share_with(&by_key), "{other:?}");
        }
        assert_eq!(exact.nonce_space(), upto.nonce_space());
        assert_eq!(exact.funds_calls().len(), 1, "what may be taken comes with the approval");
        let plain = PermitPayment { approval: None, ..payment(Proxy::Exact) };
        assert_eq!(plain.funds_calls().len(), 2, "a balance, and what may be taken of it");
        assert_ne!(exact.encode(), Value::Null);
    }
}

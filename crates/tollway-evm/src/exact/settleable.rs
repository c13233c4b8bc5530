//! A payment by EIP-3009 as the engine sees it.

use alloy_primitives::{Address, B256, U256, hex};
use alloy_sol_types::SolValue;
use serde_json::{Value, json};
use tollway_core::{ErrorCode, Network, UnixTime};

use super::settle::{state_of, transfer_call};
use super::{Authorization, ExactPayment, TokenEvents, TransferProof};
use crate::multicall::Call;
use crate::payment::{Settleable, Trouble};
use crate::signature::PayerSignature;

/// A transfer that a key signed for takes 76,000 gas with the tokens that are known.
const GAS_OF_KEY: u64 = 300_000;
/// A wallet's code may check several signatures, or one of another curve.
const GAS_OF_CODE: u64 = 600_000;
const GAS_OF_DEPLOYMENT: u64 = 2_000_000;

impl Settleable for ExactPayment {
    fn network(&self) -> &Network {
        &self.network
    }

    fn asset(&self) -> Address {
        self.asset
    }

    fn payer(&self) -> Address {
        self.authorization.from
    }

    fn payee(&self) -> Address {
        self.authorization.to
    }

    fn value(&self) -> U256 {
        self.authorization.value
    }

    fn valid_after(&self) -> U256 {
        self.authorization.valid_after
    }

    fn expires(&self) -> UnixTime {
        self.authorization.expires()
    }

    fn nonce(&self) -> B256 {
        self.authorization.nonce
    }

    fn nonce_space(&self) -> Address {
        self.asset
    }

    fn signature(&self) -> &PayerSignature {
        &self.signature
    }

    fn signed_words(&self) -> Vec<B256> {
        let Authorization { from, to, value, valid_after, valid_before, nonce } = &self.authorization;
        let words = [*value, *valid_after, *valid_before].map(B256::from);
        words.into_iter().chain([from.into_word(), to.into_word(), *nonce]).collect()
    }

    fn call(&self) -> Call {
        transfer_call(self)
    }

    fn max_gas(&self) -> u64 {
        match (&self.signature, self.signature.deployment()) {
            (PayerSignature::Key(_), _) => GAS_OF_KEY,
            (PayerSignature::Code(_), None) => GAS_OF_CODE,
            (PayerSignature::Code(_), Some(_)) => GAS_OF_CODE + GAS_OF_DEPLOYMENT,
        }
    }

    fn is_alone(&self) -> bool {
        !self.signature.is_by_key()
    }

    fn state_call(&self) -> Option<Call> {
        Some(state_of(self))
    }

    fn is_used(&self, answer: &[u8]) -> Option<bool> {
        bool::abi_decode(answer).ok()
    }

    fn prove(&self, events: &TokenEvents) -> Option<TransferProof> {
        events.prove(self)
    }

    fn naming(&self, trouble: Trouble) -> (ErrorCode, &'static str) {
        match trouble {
            Trouble::NonceUsed => {
                (ErrorCode::INVALID_EXACT_EVM_NONCE_ALREADY_USED, "payload.authorization.nonce")
            }
            Trouble::Funds | Trouble::Allowance => {
                (ErrorCode::INVALID_EXACT_EVM_INSUFFICIENT_BALANCE, "payload.authorization.value")
            }
            Trouble::ValidBefore => (
                ErrorCode::INVALID_EXACT_EVM_PAYLOAD_AUTHORIZATION_VALID_BEFORE,
                "payload.authorization.validBefore",
            ),
            Trouble::ValidAfter => (
                ErrorCode::INVALID_EXACT_EVM_PAYLOAD_AUTHORIZATION_VALID_AFTER,
                "payload.authorization.validAfter",
            ),
            // Anybody may send it: the second cannot be.
            Trouble::Signature | Trouble::Sender => {
                (ErrorCode::INVALID_EXACT_EVM_SIGNATURE, "payload.signature")
            }
            Trouble::Reverts => {
                (ErrorCode::INVALID_EXACT_EVM_TRANSACTION_SIMULATION_FAILED, "payload.authorization")
            }
            Trouble::AnotherAmount => {
                (ErrorCode::INVALID_EXACT_EVM_TRANSFER_EVENT_MISMATCH, "payload.authorization.value")
            }
        }
    }

    fn encode(&self) -> Value {
        let Authorization { from, to, value, valid_after, valid_before, nonce } = &self.authorization;
        json!({
            "network": self.network.as_str(), "asset": self.asset,
            "from": from, "to": to, "value": value.to_string(), "validAfter": valid_after.to_string(),
            "validBefore": valid_before.to_string(), "nonce": nonce, "byKey": self.signature.is_by_key(),
            "signature": hex::encode_prefixed(self.signature.to_bytes()),
        })
    }
}

impl ExactPayment {
    /// Reads what [`Settleable::encode`] wrote. Not the wire: whoever reads this wrote it.
    pub(crate) fn decode(record: &Value) -> Option<Self> {
        let field = |name: &str| record.get(name).and_then(Value::as_str);
        let address = |name| field(name)?.parse::<Address>().ok();
        let number = |name| U256::from_str_radix(field(name)?, 10).ok();
        let signature = hex::decode(field("signature")?).ok()?;
        Some(Self {
            authorization: Authorization {
                from: address("from")?,
                to: address("to")?,
                value: number("value")?,
                valid_after: number("validAfter")?,
                valid_before: number("validBefore")?,
                nonce: field("nonce")?.parse::<B256>().ok()?,
            },
            signature: PayerSignature::recall(&signature, record.get("byKey")?.as_bool()?)?,
            asset: address("asset")?,
            network: field("network")?.parse::<Network>().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, Signature, U256};
    use serde_json::{Value, json};
    use tollway_core::Network;

    use crate::exact::{Authorization, ExactPayment};
    use crate::payment::{Payment, Settleable};
    use crate::signature::{CodeSignature, Deployment, PayerSignature};

    fn payment() -> ExactPayment {
        ExactPayment {
            authorization: Authorization {
                from: Address::repeat_byte(1),
                to: Address::repeat_byte(2),
                value: U256::MAX,
                valid_after: U256::ZERO,
                valid_before: U256::from(1_750_000_000u64),
                nonce: B256::repeat_byte(4),
            },
            signature: Signature::test_signature().into(),
            asset: Address::repeat_byte(3),
            network: Network::evm(8453),
        }
    }

    fn by_code(deployment: Option<Deployment>) -> ExactPayment {
        let signature = PayerSignature::Code(CodeSignature { bytes: vec![7; 65].into(), deployment });
        ExactPayment { signature, ..payment() }
    }

    #[test]
    fn what_is_written_is_read_back_whole() {
        let deployment = Deployment { factory: Address::repeat_byte(5), data: vec![1, 2, 3].into() };
        for payment in [payment(), by_code(None), by_code(Some(deployment))] {
            assert_eq!(Payment::decode(&payment.encode()), Some(payment.into()));
        }
        let mut renamed = payment().encode();
        let from = renamed.as_object_mut().unwrap().remove("from").unwrap();
        renamed["form"] = from;
        for damaged in [Value::Null, json!({}), json!([]), json!({ "from": 1 }), renamed] {
            assert_eq!(Payment::decode(&damaged), None, "{damaged}");
        }
    }

    #[test]
    fn the_digest_is_of_every_signed_field_and_not_of_the_signature() {
        let digest = |payment: ExactPayment| Payment::from(payment).digest();
        let signed = digest(payment());
        let another = Signature::new(U256::from(1), U256::from(2), true).into();
        assert_eq!(digest(ExactPayment { signature: another, ..payment() }), signed);
        let changes: [fn(&mut ExactPayment); 8] = [
            |payment| payment.authorization.from = Address::repeat_byte(9),
            |payment| payment.authorization.to = Address::repeat_byte(9),
            |payment| payment.authorization.value = U256::from(9),
            |payment| payment.authorization.valid_after = U256::from(9),
            |payment| payment.authorization.valid_before = U256::from(9),
            |payment| payment.authorization.nonce = B256::repeat_byte(9),
            |payment| payment.asset = Address::repeat_byte(9),
            |payment| payment.network = Network::evm(9),
        ];
        for change in changes {
            let mut changed = payment();
            change(&mut changed);
            assert_ne!(digest(changed.clone()), signed, "{changed:?}");
        }
    }

    #[test]
    fn only_what_a_key_signed_goes_into_a_transaction_with_others() {
        let (key, code) = (Payment::from(payment()), Payment::from(by_code(None)));
        assert!(key.may_share_with(&key));
        assert!(!key.may_share_with(&code) && !code.may_share_with(&code));
    }
}

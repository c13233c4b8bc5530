//! How a payment is written into the ledger and read back. Not the wire: whoever reads this wrote it.

use alloy_primitives::{Address, B256, Signature, U256};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tollway_core::Network;
use tollway_evm::exact::{Authorization, ExactPayment};

/// The payment as text.
pub(crate) fn encode(payment: &ExactPayment) -> String {
    let Authorization { from, to, value, valid_after, valid_before, nonce } = &payment.authorization;
    json!({
        "network": payment.network.as_str(), "asset": payment.asset,
        "from": from, "to": to, "value": value.to_string(), "validAfter": valid_after.to_string(),
        "validBefore": valid_before.to_string(), "nonce": nonce,
        "signature": alloy_primitives::hex::encode_prefixed(payment.signature.as_bytes()),
    })
    .to_string()
}

/// The payment that was written; none if nobody here can have written this.
pub(crate) fn decode(text: &str) -> Option<ExactPayment> {
    let object: Value = serde_json::from_str(text).ok()?;
    let field = |name: &str| object.get(name).and_then(Value::as_str);
    let address = |name| field(name)?.parse::<Address>().ok();
    let number = |name| U256::from_str_radix(field(name)?, 10).ok();
    let signature = alloy_primitives::hex::decode(field("signature")?).ok()?;
    Some(ExactPayment {
        authorization: Authorization {
            from: address("from")?,
            to: address("to")?,
            value: number("value")?,
            valid_after: number("validAfter")?,
            valid_before: number("validBefore")?,
            nonce: field("nonce")?.parse::<B256>().ok()?,
        },
        signature: Signature::from_raw(&signature).ok()?,
        asset: address("asset")?,
        network: field("network")?.parse::<Network>().ok()?,
    })
}

/// What was signed, whoever's spelling it came in. The signature plays no part: a payer can make several of one
/// authorization.
pub(crate) fn digest(payment: &ExactPayment) -> [u8; 32] {
    let Authorization { from, to, value, valid_after, valid_before, nonce } = &payment.authorization;
    let mut hash = Sha256::new();
    for word in [value, valid_after, valid_before] {
        hash.update(word.to_be_bytes::<32>());
    }
    for account in [from, to, &payment.asset] {
        hash.update(account);
    }
    hash.update(nonce);
    hash.update(payment.network.as_str());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, Signature, U256};
    use tollway_core::Network;
    use tollway_evm::exact::{Authorization, ExactPayment};

    use super::{decode, digest, encode};

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
            signature: Signature::test_signature(),
            asset: Address::repeat_byte(3),
            network: Network::evm(8453),
        }
    }

    #[test]
    fn what_is_written_is_read_back_whole() {
        assert_eq!(decode(&encode(&payment())), Some(payment()));
        for damaged in ["", "{}", "[]", &encode(&payment()).replace("from", "form"), "{\"from\":1}"] {
            assert_eq!(decode(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn the_digest_is_of_every_signed_field_and_not_of_the_signature() {
        let signed = digest(&payment());
        let mut other = payment();
        other.signature = Signature::new(U256::from(1), U256::from(2), true);
        assert_eq!(digest(&other), signed);
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
            assert_ne!(digest(&changed), signed, "{changed:?}");
        }
    }
}

//! What a payment on an EVM chain must hold against before anybody asks a chain.

use serde_json::Value;
use tollway_core::model::PaymentPayload;
use tollway_core::{UnixTime, wire};
use tollway_evm::{B256, exact, signature};

/// A payment held against the terms it came with.
pub(crate) fn exact(data: &[u8]) {
    let Ok(request) = wire::decode_facilitator_request(data) else { return };
    let (payment, terms) = (&request.payment, &request.requirements);
    let held = match exact::check_at_any_time(payment, terms) {
        Ok(held) => held,
        Err(refusal) => {
            assert!(!refusal.field.is_empty() && !refusal.rule.is_empty(), "{refusal:?}");
            // What does not hold at any time does not hold now.
            assert!(exact::check(payment, terms, UnixTime(1_750_000_000)).is_err());
            return;
        }
    };
    let authorization = &held.authorization;
    assert_eq!(authorization.value, terms.amount.atomic());
    assert!(terms.pay_to.eq_ignore_ascii_case(&format!("{:#x}", authorization.to)));
    assert!(terms.asset.eq_ignore_ascii_case(&format!("{:#x}", held.asset)));
    for now in [0, 1_749_999_000, 1_750_000_000, u64::MAX] {
        let now = UnixTime(now);
        let in_time = exact::check_window(&held, now);
        assert_eq!(exact::check(payment, terms, now).map(|_| ()), in_time);
    }
    // One authorization has one key, however it is spelled.
    let lower = exact::check_at_any_time(&lowercase(payment), terms).expect("only letters changed");
    assert_eq!(lower.key(), held.key());
    // Another amount is another authorization, and nobody signed that.
    let mut dearer = terms.clone();
    dearer.amount =
        tollway_core::Amount::from_atomic(authorization.value.wrapping_add(tollway_evm::U256::ONE));
    assert!(exact::check_at_any_time(payment, &dearer).is_err());
}

/// 65 bytes of signature after 32 of digest, or anything else.
pub(crate) fn signature(data: &[u8]) {
    let (digest, bytes) = data.split_at(data.len().min(32));
    let Ok(parsed) = signature::parse(bytes) else { return };
    assert_eq!(signature::parse(&parsed.as_bytes()), Ok(parsed));
    let signer = signature::recover(B256::right_padding_from(digest), &parsed);
    assert_eq!(signature::recover(B256::right_padding_from(digest), &parsed), signer);
}

fn lowercase(payment: &PaymentPayload) -> PaymentPayload {
    let mut payment = payment.clone();
    if let Some(Value::Object(authorization)) = payment.payload.get_mut("authorization") {
        for (_, value) in authorization.iter_mut() {
            if let Value::String(text) = value {
                *text = text.to_lowercase();
            }
        }
    }
    payment
}

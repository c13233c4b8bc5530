//! Payments by Permit2 that the published TypeScript and Python clients signed: we accept them, and sign the same
//! bytes. The vectors are made by `interop/node/vectors.mjs` and `interop/python/vectors.py`.

use serde_json::Value;
use tollway_core::model::{Accepted, PaymentPayload, PaymentRequirements};
use tollway_core::{ErrorCode, UnixTime, wire};
use tollway_evm::permit2::{Ceiling, PermitPayment, Proxy, check, check_at_any_time};
use tollway_evm::{LocalSigner, Signer};

/// What the clock of the generators stood still at.
const NOW: UnixTime = UnixTime(1_750_000_000);
/// The generators' key, a well-known development key.
const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

struct Vector {
    name: String,
    payment: PaymentPayload,
    offer: PaymentRequirements,
}

impl Vector {
    fn held(&self) -> PermitPayment {
        check(&self.payment, &self.offer, Ceiling::Equal, NOW)
            .unwrap_or_else(|refusal| panic!("{}: {refusal}", self.name))
    }
}

/// Every signed payment by Permit2 among the vectors.
fn vectors() -> Vec<Vector> {
    let mut all = Vec::new();
    for file in ["typescript", "python"] {
        let path = format!("{}/../tollway-core/tests/vectors/{file}.json", env!("CARGO_MANIFEST_DIR"));
        let list: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for vector in list.iter().filter(|vector| vector["kind"] == "payment-payload") {
            let payment = wire::decode_payment(vector["decoded"].to_string().as_bytes()).unwrap();
            if !payment.payload.contains_key("permit2Authorization") {
                continue;
            }
            let Accepted::Offer(offer) = payment.accepted.clone() else { panic!("v1 has no Permit2") };
            all.push(Vector { name: format!("{file}/{}", vector["name"]), payment, offer: *offer });
        }
    }
    assert_eq!(all.len(), 4, "one of each scheme by each client");
    all
}

#[test]
fn what_their_clients_sign_we_accept_until_its_last_seconds() {
    for vector in vectors() {
        let permit = vector.held().permit;
        let last = UnixTime(u64::try_from(permit.deadline).unwrap() - 6);
        assert!(check(&vector.payment, &vector.offer, Ceiling::Equal, last).is_ok(), "{}", vector.name);
        let late = UnixTime(last.0 + 1);
        let refused = check(&vector.payment, &vector.offer, Ceiling::Equal, late).unwrap_err();
        assert_eq!(refused.code, ErrorCode::PERMIT2_DEADLINE_EXPIRED, "{}", vector.name);
        match vector.offer.extra_str("facilitatorAddress") {
            Some(text) => assert_eq!(permit.proxy, Proxy::Upto { facilitator: text.parse().unwrap() }),
            None => assert_eq!(permit.proxy, Proxy::Exact),
        }
    }
}

#[tokio::test]
async fn we_sign_the_bytes_that_they_sign() {
    let signer = LocalSigner::from_hex(KEY).unwrap();
    for vector in vectors() {
        let theirs = vector.held();
        let ours = signer.sign(&theirs.permit.preimage(&theirs.network).unwrap()).await.unwrap();
        let ours = ours.into();
        assert_eq!(ours, theirs.signature, "{}", vector.name);
        assert_eq!(theirs.permit.to_payload(&ours), vector.payment.payload, "{}", vector.name);
    }
}

#[test]
fn a_permit_read_back_is_the_permit_that_was_written() {
    for mut vector in vectors() {
        let theirs = vector.held();
        vector.payment.payload = theirs.permit.to_payload(&theirs.signature);
        assert_eq!(check_at_any_time(&vector.payment, &vector.offer).unwrap(), theirs, "{}", vector.name);
    }
}

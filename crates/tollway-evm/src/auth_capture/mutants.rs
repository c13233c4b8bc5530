//! Payments with one thing changed: nothing is accepted that breaks a rule, and nothing panics. From a seed.

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256, hex};
use serde_json::{Value, json};
use tollway_core::model::{Accepted, FacilitatorRequest, PaymentPayload, PaymentRequirements};
use tollway_core::{JsonObject, UnixTime, X402Version, wire};

use super::{Balances, Fee, FeeUnit, Flow, HeldPayment, Operation, check, check_lifecycle, is_lifecycle};
use crate::{LocalSigner, Signer};

const VECTORS: &str = include_str!("../../tests/vectors/auth_capture.json");
const NOW: UnixTime = UnixTime(1_750_000_000);
/// The key of the account that the vectors' offers name as the receiver's authorizer.
const AUTHORIZER: &str = "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6";

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The vectors as requests to a facilitator, in JSON: what travels is what is changed.
fn collected() -> Vec<Value> {
    let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    // For an operator's contract nobody here collects; its type is no part of what is signed.
    let delegated = vectors.iter().filter(|vector| vector["offer"]["extra"].get("operatorType").is_none());
    delegated.map(|vector| request_of(&vector["offer"], &vector["payload"])).collect()
}

fn request_of(offer: &Value, payload: &Value) -> Value {
    let payment = json!({ "x402Version": 2, "accepted": offer, "payload": payload });
    json!({ "x402Version": 2, "paymentPayload": payment, "paymentRequirements": offer })
}

fn read(request: &Value) -> Option<FacilitatorRequest> {
    wire::decode_facilitator_request(request.to_string().as_bytes()).ok()
}

fn accepts(request: &Value) -> bool {
    let Some(FacilitatorRequest { payment, requirements }) = read(request) else { return false };
    match is_lifecycle(&payment.payload) {
        true => check_lifecycle(&payment, &requirements, Some(NOW)).is_ok(),
        // What no key signed is left to the payer's code, which these payers do not have.
        false => check(&payment, &requirements, NOW).is_ok_and(|paid| paid.signed.is_by_key()),
    }
}

/// Every leaf below, by its path.
fn leaves(value: &Value, path: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                leaves(value, &format!("{path}/{name}"), into);
            }
        }
        _ => into.push(path.to_owned()),
    }
}

/// Something else in its place.
fn changed(dice: &mut Dice, value: &Value) -> Value {
    match (dice.below(8), value) {
        (0, _) => Value::Null,
        (1, _) => [json!(7), json!(""), json!({}), json!([]), json!(true), json!(-1), json!(1.5)]
            [dice.below(7)]
        .clone(),
        (2, Value::String(text)) => json!(format!("{text}0")),
        (3, Value::String(text)) => json!(text.get(..text.len().saturating_sub(1)).unwrap_or_default()),
        (4, Value::String(text)) => json!(text.to_uppercase()),
        (_, Value::String(text)) if !text.is_empty() => {
            let mut bytes = text.clone().into_bytes();
            let at = dice.below(bytes.len());
            bytes[at] = b"0123456789abcdefx"[dice.below(17)];
            json!(String::from_utf8(bytes).unwrap())
        }
        (2, Value::Number(number)) => json!(number.to_string()),
        (_, Value::Number(number)) => {
            let number = number.as_u64().unwrap();
            json!([number + 1, number.wrapping_sub(1), number / 2, 0, u64::MAX, 1 << 48][dice.below(6)])
        }
        _ => json!("x"),
    }
}

/// What a value means: no two spellings of one meaning differ here.
fn meaning(path: &str, value: &Value) -> Value {
    let name = path.rsplit('/').next().unwrap();
    let zero = json!(format!("{:?}", Address::ZERO));
    let text = value.as_str().map(str::to_lowercase);
    match (name, text) {
        ("receiverAuthorizer" | "policy", None) if value.is_null() => zero,
        ("receiverAuthorizer" | "policy", Some(text)) if text.is_empty() => zero,
        ("authCaptureEscrow", Some(text)) if text.is_empty() => Value::Null,
        ("authCaptureEscrow", Some(text)) if text == format!("{:#x}", super::Deployment::CURRENT.escrow) => {
            Value::Null
        }
        ("assetTransferMethod", Some(text)) if text == "eip3009" => Value::Null,
        ("paymentFlow", Some(text)) if text == "escrow" => Value::Null,
        ("operatorType", Some(text)) if text == "delegated" => Value::Null,
        // `v` is 27 or 0, 28 or 1.
        (_, Some(text)) if name.to_lowercase().ends_with("signature") && text.len() == 132 => {
            json!(
                text[..130].to_owned()
                    + match &text[130..] {
                        "00" => "1b",
                        "01" => "1c",
                        other => other,
                    }
            )
        }
        (_, Some(text)) if text.starts_with("0x") => json!(text),
        _ => value.clone(),
    }
}

/// What may change without breaking a rule: what nobody signs, and is no rule.
fn is_free(request: &Value, path: &str) -> bool {
    let is_permit = request.pointer("/paymentPayload/payload/permit2Authorization").is_some();
    let accepted = path.starts_with("/paymentPayload/accepted/");
    let name = path.rsplit('/').next().unwrap();
    match name {
        "scheme" | "network" => false,
        // A capture is for the amount that was accepted.
        "amount" if accepted => request.pointer("/paymentPayload/payload/type").is_none(),
        "amount" if path.starts_with("/paymentRequirements") => {
            request.pointer("/paymentPayload/payload/type").is_some()
        }
        "name" | "version" => {
            is_permit || request.pointer("/paymentPayload/payload/type").is_some() || accepted
        }
        "x402Version" | "maxTimeoutSeconds" | "captureMode" | "paymentFlow" | "voidAuthorizerSignature" => {
            true
        }
        "assetTransferMethod" => accepted || request.pointer("/paymentPayload/payload/type").is_some(),
        _ => accepted,
    }
}

/// How many of `count` mutants were held to be refused, and were. All that are still accepted mean what they meant.
fn refused(seeds: &[Value], dice: &mut Dice, count: usize) -> usize {
    let mut refused = 0;
    for request in seeds {
        assert!(accepts(request), "{request}");
    }
    for _ in 0..count {
        let original = &seeds[dice.below(seeds.len())];
        let mut paths = Vec::new();
        leaves(original, "", &mut paths);
        let path = &paths[dice.below(paths.len())];
        let mut mutant = original.clone();
        let before = mutant.pointer(path).unwrap().clone();
        let after = changed(dice, &before);
        *mutant.pointer_mut(path).unwrap() = after.clone();
        let accepted = accepts(&mutant);
        if is_free(original, path) {
            continue;
        }
        if meaning(path, &before) != meaning(path, &after) {
            assert!(!accepted, "{path}: {before} became {after} in {original}");
            refused += 1;
        }
    }
    refused
}

#[test]
fn no_changed_payment_is_accepted_that_means_something_else() {
    let refused = refused(&collected(), &mut Dice(0xca97), 12_000);
    assert!(refused > 4_000, "{refused}");
}

#[test]
fn no_changed_charge_or_later_operation_is_accepted_that_means_something_else() {
    let authorizer = LocalSigner::from_hex(AUTHORIZER).unwrap();
    let mut seeds = Vec::new();
    for request in collected() {
        let FacilitatorRequest { payment, requirements } = read(&request).unwrap();
        let collection = check(&payment, &requirements, NOW).unwrap();
        if collection.terms.receiver_authorizer != authorizer.address() {
            continue;
        }
        let offer = &request["paymentRequirements"];
        if collection.terms.flow == Flow::Charge {
            let half = U256::from(500_000);
            let charge = run(collection.charged(&payment, half, &authorizer)).unwrap();
            seeds.push(request_of(offer, &Value::Object(charge.payload)));
        }
        let held = HeldPayment::of(&collection, &requirements);
        for operation in operations(&held) {
            if collection.terms.flow == Flow::Charge && !matches!(operation, Operation::Refund { .. }) {
                continue;
            }
            let asked = run(held.request(&operation, &authorizer)).unwrap();
            seeds.push(request_of(offer, &Value::Object(asked.payment.payload)));
        }
    }
    assert!(seeds.len() > 30);
    let refused = refused(&seeds, &mut Dice(0x0a7e), 12_000);
    assert!(refused > 4_000, "{refused}");
}

fn operations(held: &HeldPayment) -> Vec<Operation> {
    let expected = Balances { capturable: U256::from(900_000), refundable: U256::from(100_000) };
    let capture = |amount: u64, voids_rest: bool| {
        let amount = U256::from(amount);
        let fee = held.terms.fees.least(amount, held.terms.deployment.fee_unit);
        let fee_receiver = held.terms.fees.recipient;
        Operation::Capture { amount, fee, fee_receiver, expected, voids_rest }
    };
    let refund = Operation::Refund { amount: U256::from(100_000), expected };
    vec![capture(900_000, false), capture(400_000, true), capture(1, false), Operation::Void, refund]
}

/// What a charge or a capture must be: the model of the fee rules.
fn fits(held: &HeldPayment, amount: u64, most: u64, fee: Fee, to: Address) -> bool {
    let terms = held.terms.fees;
    let bound = |bps: u16| u128::from(amount) * u128::from(bps) / 10_000;
    let within = match fee {
        Fee::Amount(fee) => (bound(terms.min_bps)..=bound(terms.max_bps)).contains(&fee.to::<u128>()),
        Fee::Bps(bps) => (terms.min_bps..=terms.max_bps).contains(&bps),
    };
    let unit = match held.terms.deployment.fee_unit {
        FeeUnit::Amount => matches!(fee, Fee::Amount(_)),
        FeeUnit::Bps => matches!(fee, Fee::Bps(_)),
    };
    let free = matches!(fee, Fee::Amount(fee) if fee.is_zero()) || fee == Fee::Bps(0);
    let right = terms.recipient == Address::ZERO || to == terms.recipient;
    (1..=most).contains(&amount) && within && unit && right && (free || to != Address::ZERO)
}

#[test]
fn a_capture_is_accepted_exactly_if_amount_and_fee_fit() {
    let authorizer = LocalSigner::from_hex(AUTHORIZER).unwrap();
    let held: Vec<HeldPayment> = collected()
        .iter()
        .filter_map(read)
        .map(|request| {
            let collection = check(&request.payment, &request.requirements, NOW).unwrap();
            HeldPayment::of(&collection, &request.requirements)
        })
        .filter(|held| {
            held.terms.receiver_authorizer == authorizer.address() && held.terms.flow == Flow::Escrow
        })
        .collect();
    let mut dice = Dice(0xfee);
    let mut seen = [0; 2];
    for _ in 0..600 {
        let held = &held[dice.below(held.len())];
        let most = dice.below(50_000) as u64;
        let amount = dice.below(most as usize + 2) as u64;
        let bps = [held.terms.fees.min_bps, held.terms.fees.max_bps, 77][dice.below(3)];
        let fee = match dice.below(8) {
            0 => Fee::Bps(bps),
            1 => Fee::Amount(U256::from(amount)),
            _ if held.terms.deployment.fee_unit == FeeUnit::Bps => Fee::Bps(bps),
            _ => Fee::Amount(U256::from(u128::from(amount) * u128::from(bps) / 10_000)),
        };
        let to = [held.terms.fees.recipient, held.info.payer, Address::ZERO][dice.below(5).saturating_sub(2)];
        let expected = Balances { capturable: U256::from(most), refundable: U256::ZERO };
        let operation = Operation::Capture {
            amount: U256::from(amount),
            fee,
            fee_receiver: to,
            expected,
            voids_rest: false,
        };
        let asked = run(held.request(&operation, &authorizer)).unwrap();
        let accepted = check_lifecycle(&asked.payment, &asked.requirements, Some(NOW)).is_ok();
        assert_eq!(accepted, fits(held, amount, most, fee, to), "{operation:?} under {:?}", held.terms.fees);
        seen[usize::from(accepted)] += 1;
    }
    assert!(seen.iter().all(|seen| *seen > 50), "{seen:?}");
}

#[test]
fn a_payment_is_accepted_exactly_while_its_deadlines_hold() {
    let mut dice = Dice(0x71e);
    let mut seen = [0; 2];
    for _ in 0..400 {
        let timeout = 10 + dice.below(600) as u64;
        let capture = NOW.0 + dice.below(1_500) as u64;
        let refund = capture + dice.below(100) as u64;
        let now = UnixTime(NOW.0 + dice.below(900) as u64);
        let Some((payment, offer)) = signed(timeout, capture, refund) else { continue };
        let expires = NOW.0 + timeout;
        let holds =
            capture > now.0 + 6 && now.0 + timeout <= capture && expires <= capture && expires > now.0 + 6;
        assert_eq!(
            check(&payment, &offer, now).is_ok(),
            holds,
            "{timeout} {} {}",
            capture - NOW.0,
            now.0 - NOW.0
        );
        seen[usize::from(holds)] += 1;
    }
    assert!(seen.iter().all(|seen| *seen > 10), "{seen:?}");
}

/// What a payer signs at the beginning; nothing if the deadlines make no sense even then.
fn signed(timeout: u64, capture: u64, refund: u64) -> Option<(PaymentPayload, PaymentRequirements)> {
    let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    let mut offer = vectors[1]["offer"].clone();
    offer["maxTimeoutSeconds"] = timeout.into();
    offer["extra"]["captureDeadline"] = capture.into();
    offer["extra"]["refundDeadline"] = refund.into();
    let offer = read(&request_of(&offer, &json!({})))?.requirements;
    let key = hex::encode(B256::repeat_byte(7));
    let buyer = super::AuthCaptureBuyer::new(
        Arc::new(LocalSigner::from_hex(&key).unwrap()),
        crate::AssetTable::known(),
    );
    let payload = run(buyer.payload(&offer, NOW, B256::repeat_byte(9))).ok()?;
    let payment = PaymentPayload {
        version: X402Version::V2,
        accepted: Accepted::Offer(Box::new(offer.clone())),
        payload,
        resource: None,
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    };
    Some((payment, offer))
}

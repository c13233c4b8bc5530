//! Extension `eip2612GasSponsoring`: beside the payment the payer signs the approval of Permit2 (EIP-2612), and whoever
//! settles presents both in one call.

use alloy_primitives::{Address, Signature, U256, hex};
use serde_json::{Value, json};
use tollway_core::model::{PaymentPayload, PaymentRequirements};
use tollway_core::{Amount, ErrorCode, JsonObject, Refusal, UnixTime};

use super::{PERMIT2, Permit, approve, sponsored};
use crate::exact::{MIN_REMAINING_SECONDS, parse_address};
use crate::signature;

/// The extension's name.
pub const EIP2612_GAS_SPONSORING: &str = "eip2612GasSponsoring";

/// The version of it that is declared and spoken.
pub(super) const VERSION: &str = "1";

/// Fields that a payer fills in. Without one of them it only repeats what the 402 declared.
const FIELDS: [&str; 8] = ["from", "asset", "spender", "amount", "nonce", "deadline", "signature", "version"];

/// The payer's signed approval of Permit2, for exactly what the payment's permit allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Until when it may be presented.
    pub deadline: U256,
    /// By which signature, under the token's own domain.
    pub signature: Signature,
}

/// What an approval must be for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Covered {
    /// Whose.
    pub(crate) payer: Address,
    /// Of which token.
    pub(crate) token: Address,
    /// How much Permit2 takes.
    pub(crate) amount: U256,
}

impl From<&Permit> for Covered {
    fn from(permit: &Permit) -> Self {
        Self { payer: permit.from, token: permit.token, amount: permit.amount }
    }
}

impl Approval {
    /// Reads the approval of a payment, if it has one, and holds it against what Permit2 takes. The token alone can tell
    /// whether the signature is good: it knows its domain and the payer's nonce.
    pub(crate) fn read(
        payment: &PaymentPayload,
        covered: Covered,
        now: Option<UnixTime>,
    ) -> Result<Option<Self>, Refusal> {
        let info = payment.extensions.get(EIP2612_GAS_SPONSORING).and_then(|extension| extension.get("info"));
        let Some(Value::Object(info)) = info else { return Ok(None) };
        if !FIELDS.iter().all(|field| info.get(*field).is_some_and(|value| !value.is_null())) {
            return Ok(None);
        }
        let address = |field| text(info, field).and_then(parse_address).ok_or_else(|| malformed(field));
        let number = |field| {
            let number = text(info, field).and_then(|text| text.parse::<Amount>().ok());
            number.map(Amount::atomic).ok_or_else(|| malformed(field))
        };
        let (from, asset, spender) = (address("from")?, address("asset")?, address("spender")?);
        let (amount, deadline) = (number("amount")?, number("deadline")?);
        number("nonce")?;
        let signature = text(info, "signature")
            .filter(|text| text.starts_with("0x") && text.len() == 132)
            .and_then(|text| hex::decode(text).ok())
            .and_then(|bytes| signature::parse(&bytes).ok())
            .ok_or_else(|| malformed("signature"))?;
        must_be(from, covered.payer, "from", ErrorCode::EIP2612_FROM_MISMATCH)?;
        must_be(asset, covered.token, "asset", ErrorCode::EIP2612_ASSET_MISMATCH)?;
        must_be(spender, PERMIT2, "spender", ErrorCode::EIP2612_SPENDER_NOT_PERMIT2)?;
        if now.is_some_and(|now| deadline < U256::from(now.plus_seconds(MIN_REMAINING_SECONDS).0)) {
            let rule = format!("must be at least {MIN_REMAINING_SECONDS} seconds from now, is {deadline}");
            return Err(refuse(ErrorCode::EIP2612_DEADLINE_EXPIRED, "deadline", rule));
        }
        if amount != covered.amount {
            let rule = format!("must be the permit's amount {}, not {amount}", covered.amount);
            return Err(refuse(ErrorCode::PERMIT2_2612_AMOUNT_MISMATCH, "amount", rule));
        }
        Ok(Some(Self { deadline, signature }))
    }
}

/// What a 402 with `offer` declares of approvals beside a payment: of those that the facilitator, which understands the
/// extensions `understood`, presents.
pub(crate) fn declare(offer: &PaymentRequirements, understood: &[String]) -> JsonObject {
    let mut declared = declare_signature(offer, understood);
    declared.extend(sponsored::declare(offer, understood));
    declared
}

/// None for a token that has no EIP-2612, which is one without a domain.
fn declare_signature(offer: &PaymentRequirements, understood: &[String]) -> JsonObject {
    if !understood.iter().any(|name| name == EIP2612_GAS_SPONSORING) || approve::domain(offer).is_none() {
        return JsonObject::new();
    }
    let field =
        |pattern: &str, words: &str| json!({ "type": "string", "pattern": pattern, "description": words });
    let (address, number) = ("^0x[a-fA-F0-9]{40}$", "^[0-9]+$");
    let declaration = json!({
        "info": { "description": "Permit2 may be approved by a signature (EIP-2612), without gas.", "version": VERSION },
        "schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "from": field(address, "Who pays."),
                "asset": field(address, "The token."),
                "spender": field(address, "Permit2."),
                "amount": field(number, "What Permit2 may take, atomic units: the payment's amount."),
                "nonce": field(number, "The payer's nonce at the token."),
                "deadline": field(number, "Until when the approval is good, Unix seconds."),
                "signature": field("^0x[a-fA-F0-9]+$", "65 bytes: r, s, v."),
                "version": field("^[0-9]+(\\.[0-9]+)*$", "The version of this extension."),
            },
            "required": FIELDS,
        },
    });
    JsonObject::from_iter([(EIP2612_GAS_SPONSORING.to_owned(), declaration)])
}

fn text<'a>(info: &'a JsonObject, field: &str) -> Option<&'a str> {
    info.get(field).and_then(Value::as_str)
}

fn must_be(theirs: Address, ours: Address, field: &str, code: ErrorCode) -> Result<(), Refusal> {
    match theirs == ours {
        true => Ok(()),
        false => Err(refuse(code, field, format!("must be {ours}, not {theirs}"))),
    }
}

fn malformed(field: &str) -> Refusal {
    refuse(
        ErrorCode::INVALID_EIP2612_EXTENSION_FORMAT,
        field,
        "is not what the extension's schema says".to_owned(),
    )
}

fn refuse(code: ErrorCode, field: &str, rule: String) -> Refusal {
    Refusal::new(code, format!("extensions.{EIP2612_GAS_SPONSORING}.info.{field}"), rule)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Signature;
    use serde_json::{Value, json};
    use tollway_core::{ErrorCode, Refusal, UnixTime};

    use super::{Approval, EIP2612_GAS_SPONSORING};
    use crate::permit2::{PermitPayment, check_at_any_time};

    const NOW: UnixTime = UnixTime(1_750_000_000);

    fn info() -> Value {
        json!({
            "from": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
            "asset": "0xFAfDdbb3FC7688494971a79cc65DCa3EF82079E7",
            "spender": "0x000000000022D473030F116dDEE9F6B43aC78BA3",
            "amount": "750000000000000000", "nonce": "0", "deadline": "1750000300", "version": "1",
            "signature": alloy_primitives::hex::encode_prefixed(Signature::test_signature().as_bytes()),
        })
    }

    fn read(info: &Value) -> Result<Option<Approval>, Refusal> {
        let json = include_bytes!("../../tests/permit2_request.json");
        let mut request = tollway_core::wire::decode_facilitator_request(json).unwrap();
        let PermitPayment { permit, .. } =
            check_at_any_time(&request.payment, &request.requirements).unwrap();
        request.payment.extensions.insert(EIP2612_GAS_SPONSORING.to_owned(), json!({ "info": info }));
        Approval::read(&request.payment, (&permit).into(), Some(NOW))
    }

    #[test]
    fn an_approval_is_read_and_a_mere_echo_is_none() {
        assert!(read(&info()).unwrap().is_some());
        for echo in [json!({}), json!({ "description": "x", "version": "1" }), json!(null), json!(7)] {
            assert_eq!(read(&echo), Ok(None), "{echo}");
        }
    }

    #[test]
    fn each_broken_rule_is_named_by_field_and_code() {
        let stranger = json!("0x0000000000000000000000000000000000000001");
        let format = ErrorCode::INVALID_EIP2612_EXTENSION_FORMAT;
        let cases = [
            ("from", stranger.clone(), ErrorCode::EIP2612_FROM_MISMATCH),
            ("asset", stranger.clone(), ErrorCode::EIP2612_ASSET_MISMATCH),
            ("spender", stranger, ErrorCode::EIP2612_SPENDER_NOT_PERMIT2),
            ("deadline", json!("1750000005"), ErrorCode::EIP2612_DEADLINE_EXPIRED),
            ("amount", json!("1"), ErrorCode::PERMIT2_2612_AMOUNT_MISMATCH),
            ("amount", json!("x"), format.clone()),
            ("nonce", json!(0), format.clone()),
            ("from", json!("0x12"), format.clone()),
            ("signature", json!("0x12"), format.clone()),
            ("signature", json!(format!("0x{}", "00".repeat(100_000))), format),
        ];
        for (field, value, code) in cases {
            let mut info = info();
            info[field] = value;
            let refused = read(&info).unwrap_err();
            assert_eq!(
                (refused.code, refused.field),
                (code, format!("extensions.eip2612GasSponsoring.info.{field}"))
            );
        }
    }
}

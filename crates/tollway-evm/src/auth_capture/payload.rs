//! What travels: the payload that collects a payment, from the payer, and what the seller adds to a charge.

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_sol_types::sol;
use serde_json::Value;
use tollway_core::wire::Fields;
use tollway_core::{ErrorCode, JsonObject, Refusal};

use super::terms::Fee;
use super::{address_field, word_field};
use crate::asset::TransferMethod;

sol! {
    /// What the payer signs by EIP-3009: like a transfer, but only the receiver can send it.
    struct ReceiveWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }

    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    /// What the payer signs by Permit2. It needs no witness: its nonce is the payment.
    struct PermitTransferFrom {
        TokenPermissions permitted;
        address spender;
        uint256 nonce;
        uint256 deadline;
    }
}

/// More than any signature needs, wrappers included.
const MAX_SIGNATURE_BYTES: usize = 4096;

/// What a payer sends, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Collect {
    pub(super) payer: Address,
    /// Who collects: `to` of EIP-3009, `spender` of Permit2.
    pub(super) collector: Address,
    pub(super) value: U256,
    pub(super) valid_after: U256,
    pub(super) valid_before: U256,
    pub(super) nonce: B256,
    /// Permit2 names it; with EIP-3009 the domain does.
    pub(super) token: Option<Address>,
    pub(super) signature: Bytes,
    pub(super) salt: B256,
    pub(super) salt_nonce: Option<B256>,
    pub(super) charge: Option<ChargeOrder>,
}

/// How much of a payment is charged, and on whose word: what a seller adds to the payer's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeOrder {
    /// How much, at most what the payer signed.
    pub amount: U256,
    /// Of which so much is the fee.
    pub fee: Fee,
    /// To whom the fee goes.
    pub fee_receiver: Address,
    /// The authorizer's signature.
    pub authorizer_signature: Bytes,
}

impl Collect {
    pub(super) const fn method(&self) -> TransferMethod {
        match self.token {
            None => TransferMethod::Eip3009,
            Some(_) => TransferMethod::Permit2,
        }
    }

    pub(super) fn decode(payload: &JsonObject) -> Result<Self, Refusal> {
        Self::read(payload).map_err(|refusal| Refusal {
            code: ErrorCode::INVALID_AUTH_CAPTURE_EVM_PAYLOAD_FORMAT,
            ..refusal
        })
    }

    fn read(payload: &JsonObject) -> Result<Self, Refusal> {
        let mut fields = Fields::root(payload.clone()).at("payload");
        let signature = bytes_field(&mut fields, "signature")?;
        let salt = word_field(&mut fields, "salt")?;
        let salt_nonce = optional_word_field(&mut fields, "saltNonce")?;
        let charge = ChargeOrder::read(&mut fields)?;
        let by_token = fields.optional_object("authorization")?;
        let by_permit = fields.optional_object("permit2Authorization")?;
        let whole = match (by_token, by_permit) {
            (Some(signed), None) => Self::by_token(signed)?,
            (None, Some(signed)) => Self::by_permit(signed)?,
            _ => {
                let rule = "must be there, or permit2Authorization, and not both";
                return Err(fields.error("authorization", rule).into());
            }
        };
        Ok(Self { signature, salt, salt_nonce, charge, ..whole })
    }

    fn by_token(mut signed: Fields) -> Result<Self, Refusal> {
        Ok(Self {
            payer: address_field(&mut signed, "from")?,
            collector: address_field(&mut signed, "to")?,
            value: signed.amount("value")?.atomic(),
            valid_after: signed.amount("validAfter")?.atomic(),
            valid_before: signed.amount("validBefore")?.atomic(),
            nonce: word_field(&mut signed, "nonce")?,
            token: None,
            ..Self::empty()
        })
    }

    fn by_permit(mut signed: Fields) -> Result<Self, Refusal> {
        let mut permitted = signed.object("permitted")?;
        Ok(Self {
            payer: address_field(&mut signed, "from")?,
            collector: address_field(&mut signed, "spender")?,
            value: permitted.amount("amount")?.atomic(),
            valid_before: signed.amount("deadline")?.atomic(),
            nonce: signed.amount("nonce")?.atomic().into(),
            token: Some(address_field(&mut permitted, "token")?),
            ..Self::empty()
        })
    }

    fn empty() -> Self {
        Self {
            payer: Address::ZERO,
            collector: Address::ZERO,
            value: U256::ZERO,
            valid_after: U256::ZERO,
            valid_before: U256::ZERO,
            nonce: B256::ZERO,
            token: None,
            signature: Bytes::new(),
            salt: B256::ZERO,
            salt_nonce: None,
            charge: None,
        }
    }

    /// The `payload` of a payment. Addresses are spelled as published clients do.
    pub(super) fn encode(&self) -> JsonObject {
        let address = |address: Address| Value::from(address.to_checksum(None));
        let text = |value: U256| Value::from(value.to_string());
        let (name, signed) = match self.token {
            None => (
                "authorization",
                object([
                    ("from", address(self.payer)),
                    ("to", address(self.collector)),
                    ("value", text(self.value)),
                    ("validAfter", text(self.valid_after)),
                    ("validBefore", text(self.valid_before)),
                    ("nonce", self.nonce.to_string().into()),
                ]),
            ),
            Some(token) => (
                "permit2Authorization",
                object([
                    ("from", address(self.payer)),
                    ("permitted", object([("token", address(token)), ("amount", text(self.value))]).into()),
                    ("spender", address(self.collector)),
                    ("nonce", text(self.nonce.into())),
                    ("deadline", text(self.valid_before)),
                ]),
            ),
        };
        let mut payload = object([
            (name, signed.into()),
            ("signature", hex::encode_prefixed(&self.signature).into()),
            ("salt", self.salt.to_string().into()),
        ]);
        if let Some(nonce) = self.salt_nonce {
            payload.insert("saltNonce".to_owned(), nonce.to_string().into());
        }
        payload
    }
}

impl ChargeOrder {
    /// All of it or none of it.
    fn read(fields: &mut Fields) -> Result<Option<Self>, Refusal> {
        let amount = fields.take("amount");
        let fee = Fee::read(fields)?;
        let receiver = fields.take("feeReceiver");
        let signature = fields.take("authorizerSignature");
        let (amount, fee, receiver, signature) = match (amount, fee, receiver, signature) {
            (None, None, None, None) => return Ok(None),
            (Some(amount), Some(fee), Some(receiver), Some(signature)) => (amount, fee, receiver, signature),
            _ => {
                let rule = "must come with the fee, feeReceiver and authorizerSignature, or not at all";
                return Err(fields.error("amount", rule).into());
            }
        };
        let mut taken = Fields::root(object([
            ("amount", amount),
            ("feeReceiver", receiver),
            ("authorizerSignature", signature),
        ]))
        .at("payload");
        Ok(Some(Self {
            amount: taken.amount("amount")?.atomic(),
            fee,
            fee_receiver: address_field(&mut taken, "feeReceiver")?,
            authorizer_signature: bytes_field(&mut taken, "authorizerSignature")?,
        }))
    }

    /// Adds it to the payload of a payer.
    pub(super) fn complete(&self, payload: &mut JsonObject) {
        payload.insert("amount".to_owned(), self.amount.to_string().into());
        self.fee.write(payload);
        payload.insert("feeReceiver".to_owned(), self.fee_receiver.to_checksum(None).into());
        let signature = hex::encode_prefixed(&self.authorizer_signature);
        payload.insert("authorizerSignature".to_owned(), signature.into());
    }
}

impl Fee {
    /// One of the two spellings. Which of them the contracts know is asked later.
    pub(super) fn read(fields: &mut Fields) -> Result<Option<Self>, Refusal> {
        let (amount, bps) = (fields.take("feeAmount"), fields.take("feeBps"));
        match (amount, bps) {
            (None, None) => Ok(None),
            (Some(amount), None) => {
                let mut taken = Fields::root(object([("feeAmount", amount)])).at("payload");
                Ok(Some(Self::Amount(taken.amount("feeAmount")?.atomic())))
            }
            (None, Some(bps)) => {
                let bps = bps.as_u64().and_then(|bps| u16::try_from(bps).ok());
                let bps = bps.ok_or_else(|| fields.error("feeBps", "must be a number in 16 bits"))?;
                Ok(Some(Self::Bps(bps)))
            }
            (Some(_), Some(_)) => Err(fields.error("feeBps", "must not be there beside feeAmount").into()),
        }
    }

    pub(super) fn write(self, payload: &mut JsonObject) {
        match self {
            Self::Amount(fee) => payload.insert("feeAmount".to_owned(), fee.to_string().into()),
            Self::Bps(bps) => payload.insert("feeBps".to_owned(), bps.into()),
        };
    }
}

pub(super) fn bytes_field(fields: &mut Fields, name: &str) -> Result<Bytes, Refusal> {
    let text = fields.string(name)?;
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() <= 2 * MAX_SIGNATURE_BYTES);
    let bytes = digits.and_then(|digits| hex::decode(digits).ok());
    bytes.map(Bytes::from).ok_or_else(|| {
        fields.error(name, format!("must be 0x and up to {MAX_SIGNATURE_BYTES} bytes in hex")).into()
    })
}

fn optional_word_field(fields: &mut Fields, name: &str) -> Result<Option<B256>, Refusal> {
    let Some(value) = fields.take(name) else { return Ok(None) };
    let mut taken = Fields::root(object([(name, value)])).at("payload");
    word_field(&mut taken, name).map(Some)
}

pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> JsonObject {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

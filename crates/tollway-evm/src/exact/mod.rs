//! Scheme `exact` by EIP-3009: the payer signs `transferWithAuthorization`, the facilitator sends it. Offers of tokens
//! without it are paid by [`crate::permit2`]; which one it is, the offer says.
//!
//! | step | file | who |
//! |---|---|---|
//! | make the offer | `offer` | seller |
//! | sign it | `sign` | buyer |
//! | check what needs no chain | `verify` | seller, facilitator |
//! | simulate the transfer | `simulate` | facilitator |
//! | build the call that makes it | `settle` | facilitator |
//! | prove it moved | `prove` | facilitator |
//! | look at the receipt oneself | `witness` | seller |

mod offer;
mod prove;
#[cfg(feature = "rpc")]
mod settle;
#[cfg(feature = "rpc")]
mod settleable;
mod sign;
#[cfg(feature = "rpc")]
mod simulate;
mod verify;
#[cfg(feature = "rpc")]
mod witness;

pub use offer::ExactSeller;
#[cfg(feature = "rpc")]
pub(crate) use prove::Transfer;
pub use prove::{TokenEvents, TransferProof, prove_transfer};
#[cfg(feature = "rpc")]
pub use settle::{find_use, is_used, transfer_call};
pub use sign::ExactBuyer;
#[cfg(feature = "rpc")]
pub use simulate::MAX_PAYMENTS_PER_CALL;
#[cfg(feature = "rpc")]
pub(crate) use simulate::{Probed, probe};
pub use verify::{ExactPayment, MIN_REMAINING_SECONDS, check, check_at_any_time, check_window};
#[cfg(feature = "rpc")]
pub use witness::ReceiptWitness;

use alloy_primitives::{Address, B256, Signature, U256};
use tollway_core::wire::Fields;
use tollway_core::{ErrorCode, JsonObject, Refusal, UnixTime};

use crate::eip712::TransferWithAuthorization;

/// What the payer authorizes (EIP-3009): the transfer, its window, and a nonce that makes it unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Who pays.
    pub from: Address,
    /// Who is paid.
    pub to: Address,
    /// How much, atomic units.
    pub value: U256,
    /// Valid after this second.
    pub valid_after: U256,
    /// Valid before this second.
    pub valid_before: U256,
    /// 32 random bytes.
    pub nonce: B256,
}

impl Authorization {
    /// The struct that is hashed and signed (EIP-3009, `TransferWithAuthorization`).
    ///
    /// ```
    /// use alloy_sol_types::SolStruct;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// # let paid = tollway_evm::exact::check_at_any_time(&request.payment, &request.requirements)?;
    /// let type_hash = "0x7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267"; // of EIP-3009
    /// assert_eq!(paid.authorization.message().eip712_type_hash().to_string(), type_hash);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn message(&self) -> TransferWithAuthorization {
        TransferWithAuthorization {
            from: self.from,
            to: self.to,
            value: self.value,
            validAfter: self.valid_after,
            validBefore: self.valid_before,
            nonce: self.nonce,
        }
    }

    /// When it expires, as far as seconds in 64 bits reach. The second itself is too late (EIP-3009).
    ///
    /// ```
    /// use tollway_core::UnixTime;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// # let mut paid = tollway_evm::exact::check_at_any_time(&request.payment, &request.requirements)?;
    /// assert_eq!(paid.authorization.expires(), UnixTime(1_750_000_090));
    /// paid.authorization.valid_before = tollway_evm::U256::MAX;
    /// assert_eq!(paid.authorization.expires(), UnixTime(u64::MAX));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn expires(&self) -> UnixTime {
        UnixTime(u64::try_from(self.valid_before).unwrap_or(u64::MAX))
    }

    /// Reads the `payload` of a payment.
    fn decode(payload: &JsonObject) -> Result<(Self, Vec<u8>), Refusal> {
        let mut fields = Fields::root(payload.clone()).at("payload");
        let signature = fields.string("signature")?;
        let mut signed = fields.object("authorization")?;
        let authorization = Self {
            from: address_field(&mut signed, "from")?,
            to: address_field(&mut signed, "to")?,
            value: signed.amount("value")?.atomic(),
            valid_after: signed.amount("validAfter")?.atomic(),
            valid_before: signed.amount("validBefore")?.atomic(),
            nonce: nonce_field(&mut signed)?,
        };
        let signature = alloy_primitives::hex::decode(&signature)
            .ok()
            .filter(|_| signature.starts_with("0x"))
            .ok_or_else(|| fields.error("signature", "must be 0x and hex bytes"))
            .map_err(|error| Refusal { code: ErrorCode::INVALID_EXACT_EVM_SIGNATURE, ..error.into() })?;
        Ok((authorization, signature))
    }

    /// The `payload` of a payment.
    fn encode(&self, signature: &Signature) -> JsonObject {
        let text = |value: U256| serde_json::Value::String(value.to_string());
        let authorization: JsonObject = [
            ("from".to_owned(), self.from.to_checksum(None).into()),
            ("to".to_owned(), self.to.to_checksum(None).into()),
            ("value".to_owned(), text(self.value)),
            ("validAfter".to_owned(), text(self.valid_after)),
            ("validBefore".to_owned(), text(self.valid_before)),
            ("nonce".to_owned(), self.nonce.to_string().into()),
        ]
        .into_iter()
        .collect();
        let signature = alloy_primitives::hex::encode_prefixed(signature.as_bytes());
        [("authorization".to_owned(), authorization.into()), ("signature".to_owned(), signature.into())]
            .into_iter()
            .collect()
    }
}

fn address_field(fields: &mut Fields, name: &str) -> Result<Address, Refusal> {
    let text = fields.string(name)?;
    parse_address(&text).ok_or_else(|| fields.error(name, ADDRESS_RULE).into())
}

fn nonce_field(fields: &mut Fields) -> Result<B256, Refusal> {
    let text = fields.string("nonce")?;
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 64);
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| fields.error("nonce", "must be 0x and 64 hex digits").into())
}

pub(crate) const ADDRESS_RULE: &str = "must be an EVM address: 0x and 40 hex digits";

/// An address in any case: the checksum of EIP-55 is for people.
pub(crate) fn parse_address(text: &str) -> Option<Address> {
    text.strip_prefix("0x").filter(|digits| digits.len() == 40)?.parse().ok()
}

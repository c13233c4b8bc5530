//! Permit2: the payer signs one transfer for a proxy contract, and the witness inside says who is paid. It moves any
//! ERC-20 token, once the payer has approved the Permit2 contract. Scheme `exact` for tokens without EIP-3009, and
//! scheme `upto`.
//!
//! | step | file | who |
//! |---|---|---|
//! | make the offer of scheme `upto` | `offer` | seller |
//! | sign it | `sign` | buyer |
//! | check what needs no chain | `verify` | seller, facilitator |
//! | sign the approval beside it | `approve`, `allowances` | buyer |
//! | approve by a transaction of one's own | `consent` | buyer |
//! | declare that such approvals are taken, read one | `sponsor` | seller, facilitator |
//! | the same where the approval is a transaction that others pay for | `sponsored`, `raw_approval`, `standing` | all |
//! | what is signed (EIP-712) | `message` | all |
//! | build the call that settles it, find who sent it | `settle` | facilitator |
//! | what the engine asks of it | `settleable` | facilitator |
//!
//! Offers of scheme `exact` are made and routed in [`crate::exact`]: a scheme has one name, whatever moves the token.

#[cfg(feature = "rpc")]
mod allowances;
mod approve;
#[cfg(feature = "rpc")]
mod consent;
mod message;
mod offer;
#[cfg(feature = "rpc")]
mod raw_approval;
#[cfg(feature = "rpc")]
mod settle;
#[cfg(feature = "rpc")]
mod settleable;
mod sign;
mod sponsor;
mod sponsored;
#[cfg(feature = "rpc")]
mod standing;
mod verify;

pub use approve::{Allowances, Unknown};
pub(crate) use approve::{Due, Known, attach, attach_due};
#[cfg(feature = "rpc")]
pub use consent::{ApproveError, approve};
pub use message::{PERMIT2, Proxy};
pub use offer::UptoSeller;
#[cfg(feature = "rpc")]
pub use settle::{approve_call, find_uses, settle_call};
#[cfg(feature = "rpc")]
pub(crate) use settle::{find_metered, is_settled_by};
pub use sign::UptoBuyer;
pub(crate) use sign::sign_permit;
#[cfg(feature = "rpc")]
pub(crate) use sponsor::Covered;
pub(crate) use sponsor::declare;
pub use sponsor::{Approval, EIP2612_GAS_SPONSORING};
pub use sponsored::{ERC20_APPROVAL_GAS_SPONSORING, SponsoredApproval};
#[cfg(feature = "rpc")]
pub use standing::{Standing, approval_cost, standing};
#[cfg(feature = "rpc")]
pub(crate) use verify::pays;
pub use verify::{Ceiling, PermitPayment, check, check_at_any_time, check_window};

use alloy_primitives::{Address, U256};
use tollway_core::wire::Fields;
use tollway_core::{Amount, ErrorCode, JsonObject, Refusal, UnixTime};

use crate::exact::{ADDRESS_RULE, parse_address};
use crate::signature::PayerSignature;

/// The name of the method in `extra.assetTransferMethod`.
pub(crate) const METHOD: &str = "permit2";

/// The field of `extra` that names the method.
pub(crate) const METHOD_FIELD: &str = "assetTransferMethod";

/// The field of `payload` that holds what was signed.
const SIGNED: &str = "permit2Authorization";

/// What the payer authorizes (Permit2, `PermitWitnessTransferFrom`): one transfer of at most an amount, through one
/// proxy, to one payee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// Who pays.
    pub from: Address,
    /// The token.
    pub token: Address,
    /// How much, atomic units: all of it by the exact proxy, at most this by the other.
    pub amount: U256,
    /// Makes it unique: a bit in the payer's bitmap, shared by all spenders and tokens.
    pub nonce: U256,
    /// Valid until this second, and in it.
    pub deadline: U256,
    /// The contract that may spend it, with what only that contract knows.
    pub proxy: Proxy,
    /// Who is paid.
    pub to: Address,
    /// Valid from this second.
    pub valid_after: U256,
}

impl Permit {
    /// When it expires, as far as seconds in 64 bits reach. Unlike with EIP-3009 the second itself is in time.
    ///
    /// ```
    /// use tollway_core::UnixTime;
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/permit2_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// let payment = tollway_evm::permit2::check_at_any_time(&request.payment, &request.requirements)?;
    /// assert_eq!(payment.permit.expires(), UnixTime(1_750_000_300));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn expires(&self) -> UnixTime {
        UnixTime(u64::try_from(self.deadline).unwrap_or(u64::MAX))
    }

    /// Reads the `payload` of a payment. The proxy that it names is for the caller to hold against the scheme.
    fn decode(payload: &JsonObject, is_upto: bool) -> Result<Decoded, Refusal> {
        let mut fields = Fields::root(payload.clone()).at("payload");
        let Some(mut signed) = fields.optional_object(SIGNED).map_err(malformed)? else {
            let error = fields.error(SIGNED, "is required: the offer is paid by Permit2");
            return Err(Refusal { code: ErrorCode::UNSUPPORTED_PAYLOAD_TYPE, ..error.into() });
        };
        let signature = fields.string("signature").map_err(malformed)?;
        let mut permitted = signed.object("permitted").map_err(malformed)?;
        let mut witness = signed.object("witness").map_err(malformed)?;
        let proxy = match is_upto {
            false => Proxy::Exact,
            true => Proxy::Upto { facilitator: address(&mut witness, "facilitator")? },
        };
        let permit = Self {
            from: address(&mut signed, "from")?,
            token: address(&mut permitted, "token")?,
            amount: number(&mut permitted, "amount")?,
            nonce: nonce(&mut signed)?,
            deadline: number(&mut signed, "deadline")?,
            proxy,
            to: address(&mut witness, "to")?,
            valid_after: number(&mut witness, "validAfter")?,
        };
        let spender = address(&mut signed, "spender")?;
        let signature = alloy_primitives::hex::decode(&signature)
            .ok()
            .filter(|_| signature.starts_with("0x"))
            .ok_or_else(|| fields.error("signature", "must be 0x and hex bytes"))
            .map_err(|error| Refusal { code: ErrorCode::INVALID_PERMIT2_SIGNATURE, ..error.into() })?;
        Ok(Decoded { permit, spender, signature })
    }

    /// The `payload` of a payment.
    ///
    /// ```
    /// # let json = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/permit2_request.json"));
    /// # let request = tollway_core::wire::decode_facilitator_request(json)?;
    /// # let payment = tollway_evm::permit2::check_at_any_time(&request.payment, &request.requirements)?;
    /// assert_eq!(payment.permit.to_payload(&payment.signature), request.payment.payload);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_payload(&self, signature: &PayerSignature) -> JsonObject {
        let text = |value: U256| serde_json::Value::String(value.to_string());
        let address = |address: Address| serde_json::Value::String(address.to_checksum(None));
        let permitted: JsonObject =
            [("token".to_owned(), address(self.token)), ("amount".to_owned(), text(self.amount))]
                .into_iter()
                .collect();
        let mut witness = JsonObject::new();
        witness.insert("to".to_owned(), address(self.to));
        if let Proxy::Upto { facilitator } = self.proxy {
            witness.insert("facilitator".to_owned(), address(facilitator));
        }
        witness.insert("validAfter".to_owned(), text(self.valid_after));
        let signed: JsonObject = [
            ("from".to_owned(), address(self.from)),
            ("permitted".to_owned(), permitted.into()),
            ("spender".to_owned(), address(self.proxy.address())),
            ("nonce".to_owned(), text(self.nonce)),
            ("deadline".to_owned(), text(self.deadline)),
            ("witness".to_owned(), witness.into()),
        ]
        .into_iter()
        .collect();
        let signature = alloy_primitives::hex::encode_prefixed(signature.to_bytes());
        [("signature".to_owned(), signature.into()), (SIGNED.to_owned(), signed.into())].into_iter().collect()
    }
}

/// A payload as it was read: nothing in it is believed yet.
struct Decoded {
    permit: Permit,
    spender: Address,
    signature: Vec<u8>,
}

fn malformed(error: tollway_core::wire::WireError) -> Refusal {
    Refusal { code: ErrorCode::INVALID_PERMIT2_PAYLOAD_FORMAT, ..error.into() }
}

fn address(fields: &mut Fields, name: &str) -> Result<Address, Refusal> {
    let text = fields.string(name).map_err(malformed)?;
    parse_address(&text).ok_or_else(|| malformed(fields.error(name, ADDRESS_RULE)))
}

fn number(fields: &mut Fields, name: &str) -> Result<U256, Refusal> {
    fields.amount(name).map(Amount::atomic).map_err(malformed)
}

/// Published clients write the nonce in decimal, the specification shows it in hex too.
fn nonce(fields: &mut Fields) -> Result<U256, Refusal> {
    let text = fields.string("nonce").map_err(malformed)?;
    let value = match text.strip_prefix("0x") {
        Some(digits) if (1..=64).contains(&digits.len()) => {
            let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hex.then(|| U256::from_str_radix(digits, 16).ok()).flatten()
        }
        Some(_) => None,
        None => text.parse::<Amount>().ok().map(Amount::atomic),
    };
    let rule = "must be a number of 256 bits: decimal, or 0x and at most 64 hex digits";
    value.ok_or_else(|| malformed(fields.error("nonce", rule)))
}

//! Scheme `auth-capture`: the payer's money is held in an escrow, then taken or given back; or taken at once and given
//! back later. The payer signs once (EIP-3009 or Permit2), and what was signed bounds all that can happen.
//!
//! | step | file | who |
//! |---|---|---|
//! | make the offer | `offer`, `terms` | seller |
//! | sign it | `sign` | buyer |
//! | check what needs no chain | `verify` | seller, facilitator |
//! | consent to what happens later | `authorizer`, `held`, `escrow` | seller |
//! | check what is asked later | `lifecycle` | facilitator |
//! | build the calls | `calls` | facilitator |
//! | prove what moved | `prove` | facilitator |
//! | take back what nobody took in time | `reclaim` | buyer |
//! | what the engine sees | `settleable` | facilitator |
//!
//! The facilitator's own account is the operator, which alone the escrow obeys (`operatorType` "delegated"). What an
//! operator contract does ("custom") is between it and the seller: the facilitator of this crate does not collect for
//! one.

mod abi;
mod authorizer;
#[cfg(feature = "rpc")]
mod calls;
mod deployment;
mod escrow;
mod held;
mod info;
mod lifecycle;
#[cfg(test)]
mod mutants;
mod offer;
mod payload;
#[cfg(feature = "rpc")]
mod prove;
#[cfg(feature = "rpc")]
mod reclaim;
#[cfg(feature = "rpc")]
mod settleable;
mod sign;
mod terms;
#[cfg(feature = "rpc")]
mod uses;
mod verify;

pub use authorizer::{Balances, Consent};
#[cfg(feature = "rpc")]
pub use calls::{PaymentState, reclaim_call, revert_code};
pub use deployment::{Deployment, FeeUnit};
pub use held::HeldPayment;
pub use info::PaymentInfo;
pub use lifecycle::{Lifecycle, Operation, check_lifecycle, is_lifecycle, voiding_rest};
pub use offer::AuthCaptureSeller;
pub use payload::ChargeOrder;
#[cfg(feature = "rpc")]
pub use reclaim::{ReclaimError, Reclaimed, reclaim};
#[cfg(feature = "rpc")]
pub use settleable::AuthCapture;
pub use sign::AuthCaptureBuyer;
pub use terms::{CaptureMode, CaptureTerms, Fee, FeeTerms, Flow, OperatorType};
#[cfg(feature = "rpc")]
pub(crate) use uses::find_uses;
pub use verify::{Collection, check, check_at_any_time};

use alloy_primitives::{Address, B256};
use tollway_core::Refusal;
use tollway_core::wire::Fields;

use crate::exact::{ADDRESS_RULE, parse_address};

fn address_field(fields: &mut Fields, name: &str) -> Result<Address, Refusal> {
    let text = fields.string(name)?;
    parse_address(&text).ok_or_else(|| fields.error(name, ADDRESS_RULE).into())
}

/// 32 bytes in their one spelling.
fn word_field(fields: &mut Fields, name: &str) -> Result<B256, Refusal> {
    let text = fields.string(name)?;
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 64);
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| fields.error(name, "must be 0x and 64 hex digits").into())
}

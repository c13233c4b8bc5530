//! Extension `erc20ApprovalGasSponsoring`: beside the payment the payer signs the very transaction that approves Permit2,
//! and whoever settles sends it first, and pays for its gas if the payer cannot.
//!
//! Here is what it is, and what a 402 declares of it. The rules on it that need no chain are in `raw_approval`; how things
//! stand on chain is told by `standing`; who pays, and how often, is the facilitator's.

use alloy_primitives::{B256, Bytes, U256};
use serde_json::json;
use tollway_core::JsonObject;
use tollway_core::model::PaymentRequirements;

use super::{METHOD, METHOD_FIELD};

/// The extension's name.
pub const ERC20_APPROVAL_GAS_SPONSORING: &str = "erc20ApprovalGasSponsoring";

/// The version of it that is declared and spoken.
pub(super) const VERSION: &str = "1";

/// Fields that a payer fills in. Without one of them it only repeats what the 402 declared.
pub(super) const FIELDS: [&str; 6] = ["from", "asset", "spender", "amount", "signedTransaction", "version"];

/// The payer's signed transaction that lets Permit2 take at least what its payment moves. Nothing else can come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SponsoredApproval {
    /// Its bytes as they are sent (EIP-2718).
    pub raw: Bytes,
    /// Its hash.
    pub hash: B256,
    /// The payer's nonce that it takes.
    pub nonce: u64,
    /// The most gas it may use.
    pub gas_limit: u64,
    /// The most it pays per gas, wei.
    pub max_fee_per_gas: u128,
    /// The tip per gas, wei.
    pub max_priority_fee_per_gas: u128,
    /// How much Permit2 may take by it.
    pub amount: U256,
}

impl SponsoredApproval {
    /// The most that its gas can cost, wei: what its sender must have. What a rollup charges for its data comes on top.
    ///
    /// ```
    /// use tollway_evm::{B256, Bytes, U256, permit2::SponsoredApproval};
    /// let approval = SponsoredApproval {
    ///     raw: Bytes::new(), hash: B256::ZERO, nonce: 0, gas_limit: 70_000, max_fee_per_gas: 20_000_000,
    ///     max_priority_fee_per_gas: 1_000_000, amount: U256::MAX,
    /// };
    /// assert_eq!(approval.max_cost(), U256::from(1_400_000_000_000_u64));
    /// ```
    pub fn max_cost(&self) -> U256 {
        U256::from(self.gas_limit).saturating_mul(U256::from(self.max_fee_per_gas))
    }
}

/// What a 402 with `offer`, which is paid by Permit2, declares of it: that the facilitator, which understands the extensions
/// `understood`, sends such transactions.
pub(super) fn declare(offer: &PaymentRequirements, understood: &[String]) -> JsonObject {
    let is_by_permit = offer.extra_str(METHOD_FIELD) == Some(METHOD);
    if !is_by_permit || !understood.iter().any(|name| name == ERC20_APPROVAL_GAS_SPONSORING) {
        return JsonObject::new();
    }
    let field =
        |pattern: &str, words: &str| json!({ "type": "string", "pattern": pattern, "description": words });
    let (address, number) = ("^0x[a-fA-F0-9]{40}$", "^[0-9]+$");
    let declaration = json!({
        "info": {
            "description": "Permit2 may be approved by a signed transaction, whose gas is paid for.", "version": VERSION,
        },
        "schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "from": field(address, "Who pays."),
                "asset": field(address, "The token."),
                "spender": field(address, "Permit2."),
                "amount": field(number, "What Permit2 may take, atomic units: at least the payment's amount."),
                "signedTransaction": field("^0x[a-fA-F0-9]+$", "The signed transaction, as it is sent (EIP-2718)."),
                "version": field("^[0-9]+(\\.[0-9]+)*$", "The version of this extension."),
            },
            "required": FIELDS,
        },
    });
    JsonObject::from_iter([(ERC20_APPROVAL_GAS_SPONSORING.to_owned(), declaration)])
}

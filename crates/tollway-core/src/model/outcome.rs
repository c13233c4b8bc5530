//! What a facilitator is asked, and what it answers.

use std::collections::BTreeMap;

use super::{JsonObject, PaymentPayload, PaymentRequirements, SchemeName, X402Version};
use crate::{ErrorCode, Network};

/// The body of `POST /verify` and `POST /settle`.
#[derive(Clone, Debug, PartialEq)]
pub struct FacilitatorRequest {
    /// The buyer's payment.
    pub payment: PaymentPayload,
    /// The seller's own terms: what the payment is held against.
    pub requirements: PaymentRequirements,
}

/// The answer to `POST /verify`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VerifyResponse {
    /// Whether the payment would settle now.
    pub is_valid: bool,
    /// Why not.
    pub invalid_reason: Option<ErrorCode>,
    /// Why not, for people: the field and the rule.
    pub invalid_message: Option<String>,
    /// Who pays.
    pub payer: Option<String>,
    /// Scheme-specific additions.
    pub extra: JsonObject,
    /// Extensions.
    pub extensions: JsonObject,
    /// What the facilitator says of extensions beside the answer, by name (header `EXTENSION-RESPONSES`): for the seller, and
    /// never told to the buyer.
    pub extension_responses: JsonObject,
    /// Fields this version does not name, kept as they came.
    pub other: JsonObject,
}

/// The answer to `POST /settle`, and what a seller returns in `PAYMENT-RESPONSE`.
#[derive(Clone, Debug, PartialEq)]
pub struct SettleResponse {
    /// Whether the money has moved.
    pub success: bool,
    /// Why not (yet).
    pub error_reason: Option<ErrorCode>,
    /// Why not, for people.
    pub error_message: Option<String>,
    /// Who pays.
    pub payer: Option<String>,
    /// The transaction hash; empty if there is none.
    pub transaction: String,
    /// Where it settled.
    pub network: Network,
    /// What was charged, atomic units, where the scheme does not fix it.
    pub amount: Option<String>,
    /// Scheme-specific additions. Ours has `logIndex`: several payments may share one transaction.
    pub extra: JsonObject,
    /// Extensions.
    pub extensions: JsonObject,
    /// What the facilitator says of extensions beside the answer, by name (header `EXTENSION-RESPONSES`): for the seller, and
    /// never told to the buyer.
    pub extension_responses: JsonObject,
    /// Fields this version does not name, kept as they came.
    pub other: JsonObject,
}

/// The fate of a settlement: what a [`SettleResponse`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The money has moved.
    Settled,
    /// It has not moved and will not by this attempt.
    Failed,
    /// A transaction is out; nobody knows yet. Ask again.
    Pending,
}

/// The answer to `GET /supported`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SupportedResponse {
    /// What can be settled.
    pub kinds: Vec<SupportedKind>,
    /// Names of the extensions understood.
    pub extensions: Vec<String>,
    /// The facilitator's addresses by CAIP-2 pattern (`eip155:*`).
    pub signers: BTreeMap<String, Vec<String>>,
}

/// One scheme on one network in one protocol version.
#[derive(Clone, Debug, PartialEq)]
pub struct SupportedKind {
    /// The protocol version.
    pub version: X402Version,
    /// The scheme.
    pub scheme: SchemeName,
    /// The network.
    pub network: Network,
    /// Scheme-specific additions.
    pub extra: JsonObject,
}

impl VerifyResponse {
    /// Valid, paid by `payer`.
    ///
    /// ```
    /// use tollway_core::model::VerifyResponse;
    /// let answer = VerifyResponse::valid("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    /// assert!(answer.is_valid && answer.invalid_reason.is_none());
    /// ```
    pub fn valid(payer: impl Into<String>) -> Self {
        Self { is_valid: true, payer: Some(payer.into()), ..Self::default() }
    }
}

impl SettleResponse {
    /// Settled by `transaction`.
    ///
    /// ```
    /// use tollway_core::{Network, model::{Outcome, SettleResponse}};
    /// # let payer = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
    /// # let hash = "0xabababababababababababababababababababababababababababababababab";
    /// let answer = SettleResponse::settled(Network::evm(8453), payer, hash);
    /// assert_eq!(answer.outcome(), Outcome::Settled);
    /// ```
    pub fn settled(network: Network, payer: impl Into<String>, transaction: impl Into<String>) -> Self {
        let mut response = Self::failed(network, None, "");
        response.success = true;
        response.error_message = None;
        response.payer = Some(payer.into());
        response.transaction = transaction.into();
        response
    }

    /// Failed: no money moved. A failure carries no transaction.
    ///
    /// ```
    /// use tollway_core::{ErrorCode, Network, model::{Outcome, SettleResponse}};
    /// let code = ErrorCode::INVALID_EXACT_EVM_INSUFFICIENT_BALANCE;
    /// let answer = SettleResponse::failed(Network::evm(8453), Some(code), "must be covered by the balance");
    /// assert_eq!((answer.outcome(), answer.transaction.as_str()), (Outcome::Failed, ""));
    /// ```
    pub fn failed(network: Network, reason: Option<ErrorCode>, message: impl Into<String>) -> Self {
        Self {
            success: false,
            error_reason: reason,
            error_message: Some(message.into()),
            payer: None,
            transaction: String::new(),
            network,
            amount: None,
            extra: JsonObject::new(),
            extensions: JsonObject::new(),
            extension_responses: JsonObject::new(),
            other: JsonObject::new(),
        }
    }

    /// Pending: `transaction` is out and its fate unknown. The code is `settlement_pending`.
    ///
    /// ```
    /// use tollway_core::{Network, model::{Outcome, SettleResponse}};
    /// # let payer = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
    /// # let hash = "0xabababababababababababababababababababababababababababababababab";
    /// let answer = SettleResponse::pending(Network::evm(8453), payer, hash);
    /// assert!(!answer.success && answer.outcome() == Outcome::Pending);
    /// ```
    pub fn pending(network: Network, payer: impl Into<String>, transaction: impl Into<String>) -> Self {
        let message = "the transaction is broadcast and not yet included: ask again";
        let mut response = Self::failed(network, Some(ErrorCode::SETTLEMENT_PENDING), message);
        response.payer = Some(payer.into());
        response.transaction = transaction.into();
        response
    }

    /// The fate told. A failure that names a transaction is believed only where its code says that this
    /// transaction moved nothing (it reverted, or held no transfer); with any other code it is pending: unknown is
    /// not failed.
    ///
    /// ```
    /// use tollway_core::{ErrorCode, Network, model::{Outcome, SettleResponse}};
    /// let code = ErrorCode::INVALID_EXACT_EVM_TRANSACTION_FAILED;
    /// let mut reverted = SettleResponse::failed(Network::evm(8453), Some(code), "execution reverted");
    /// reverted.transaction = format!("0x{}", "ab".repeat(32));
    /// assert_eq!(reverted.outcome(), Outcome::Failed);
    /// ```
    pub fn outcome(&self) -> Outcome {
        if self.success {
            Outcome::Settled
        } else if self.transaction.is_empty() || self.error_reason.as_ref().is_some_and(moved_nothing) {
            Outcome::Failed
        } else {
            Outcome::Pending
        }
    }
}

/// The codes by which published facilitators say that an included transaction moved nothing.
fn moved_nothing(code: &ErrorCode) -> bool {
    let ends = ["transaction_failed", "transaction_reverted", "transfer_event_mismatch"];
    let whole = [ErrorCode::INVALID_TRANSACTION_STATE, ErrorCode::SMART_WALLET_DEPLOYMENT_FAILED];
    whole.contains(code) || ends.iter().any(|end| code.as_str().ends_with(end))
}

impl SupportedResponse {
    /// Whether the facilitator settles `scheme` on `network` in protocol `version`.
    ///
    /// ```
    /// use tollway_core::{Network, SchemeName, X402Version, wire};
    /// let json = br#"{"kinds":[{"x402Version":2,"scheme":"exact","network":"eip155:8453"}]}"#;
    /// let (supported, base) = (wire::decode_supported(json)?, Network::evm(8453));
    /// assert!(supported.supports(X402Version::V2, &SchemeName::EXACT, &base));
    /// assert!(!supported.supports(X402Version::V1, &SchemeName::EXACT, &base));
    /// # Ok::<(), wire::WireError>(())
    /// ```
    pub fn supports(&self, version: X402Version, scheme: &SchemeName, network: &Network) -> bool {
        self.kinds
            .iter()
            .any(|kind| kind.version == version && &kind.scheme == scheme && &kind.network == network)
    }
}

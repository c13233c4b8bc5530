//! What a seller asks for.

use serde_json::Value;

use super::{JsonObject, ResourceInfo, SchemeName, X402Version};
use crate::{Amount, Network};

/// The answer to a request that must be paid for: status 402.
#[derive(Clone, Debug, PartialEq)]
pub struct PaymentRequired {
    /// The wire it came from, or is meant for.
    pub version: X402Version,
    /// Why payment is required, for people.
    pub error: Option<String>,
    /// The resource. Always present in v2; in v1 absent only when `accepts` is empty.
    pub resource: Option<ResourceInfo>,
    /// The ways to pay, the seller's favourite first.
    pub accepts: Vec<PaymentRequirements>,
    /// Extensions by name (v2).
    pub extensions: JsonObject,
    /// Fields this version does not name, kept as they came.
    pub other: JsonObject,
}

/// One way to pay: an offer.
#[derive(Clone, Debug, PartialEq)]
pub struct PaymentRequirements {
    /// How the payment is formed.
    pub scheme: SchemeName,
    /// Where it settles.
    pub network: Network,
    /// How much, in atomic units of `asset` (v1: `maxAmountRequired`).
    pub amount: Amount,
    /// The token: on EVM a contract address.
    pub asset: String,
    /// Who is paid.
    pub pay_to: String,
    /// How long the payment may take, seconds.
    pub max_timeout_seconds: u64,
    /// Scheme-specific terms: on EVM the token's EIP-712 `name` and `version`.
    pub extra: JsonObject,
    /// Fields this version does not name, kept as they came.
    pub other: JsonObject,
}

/// When the money moves, relative to the answer (`extra.paymentFlow`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PaymentFlow {
    /// Verify, serve, settle before the answer leaves. The default, not written on the wire.
    #[default]
    Authorization,
    /// Settle, then serve.
    Upfront,
    /// Lock the money, serve, settle what was used.
    Escrow,
}

impl PaymentFlow {
    /// The name on the wire, in `extra.paymentFlow`.
    ///
    /// ```
    /// use tollway_core::model::PaymentFlow;
    /// assert_eq!(PaymentFlow::default().as_str(), "authorization");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authorization => "authorization",
            Self::Upfront => "upfront",
            Self::Escrow => "escrow",
        }
    }
}

impl PaymentRequirements {
    /// The flow this offer asks for; `None` when it names one nobody knows, and then a buyer must not use it.
    ///
    /// ```
    /// use tollway_core::model::PaymentFlow;
    /// # let json = br#"{"x402Version":2,"accepts":[{"scheme":"exact","network":"eip155:8453",
    /// #   "amount":"10000","asset":"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913","maxTimeoutSeconds":60,
    /// #   "payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C"}]}"#;
    /// # let mut offer = tollway_core::wire::decode_payment_required(json)?.accepts.remove(0);
    /// assert_eq!(offer.payment_flow(), Some(PaymentFlow::Authorization));
    /// offer.extra.insert("paymentFlow".to_owned(), "barter".into());
    /// assert_eq!(offer.payment_flow(), None);
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn payment_flow(&self) -> Option<PaymentFlow> {
        match self.extra.get("paymentFlow") {
            None | Some(Value::Null) => Some(PaymentFlow::Authorization),
            Some(Value::String(name)) => {
                [PaymentFlow::Authorization, PaymentFlow::Upfront, PaymentFlow::Escrow]
                    .into_iter()
                    .find(|flow| flow.as_str() == name)
            }
            Some(_) => None,
        }
    }

    /// A string in `extra`; `None` when it is absent or no string.
    ///
    /// ```
    /// # let json = br#"{"x402Version":2,"accepts":[{"scheme":"exact","network":"eip155:8453",
    /// #   "amount":"10000","asset":"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913","maxTimeoutSeconds":60,
    /// #   "payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","extra":{"name":"USD Coin"}}]}"#;
    /// # let offer = tollway_core::wire::decode_payment_required(json)?.accepts.remove(0);
    /// assert_eq!(offer.extra_str("name"), Some("USD Coin"));
    /// assert_eq!(offer.extra_str("version"), None);
    /// # Ok::<(), tollway_core::wire::WireError>(())
    /// ```
    pub fn extra_str(&self, name: &str) -> Option<&str> {
        self.extra.get(name).and_then(Value::as_str)
    }
}

//! What a buyer sends.

use super::{JsonObject, PaymentRequirements, ResourceInfo, SchemeName, X402Version};
use crate::Network;

/// A payment: the chosen offer and the scheme's proof that the payer agreed.
#[derive(Clone, Debug, PartialEq)]
pub struct PaymentPayload {
    /// The wire it came from, or is meant for.
    pub version: X402Version,
    /// What the buyer chose.
    pub accepted: Accepted,
    /// The scheme's own data: for `exact` on EVM, `authorization` and `signature`.
    pub payload: JsonObject,
    /// The resource it pays for, as the buyer was told. Not signed: never trust it.
    pub resource: Option<ResourceInfo>,
    /// Extensions, echoed from the offer (v2).
    pub extensions: JsonObject,
    /// Fields this version does not name, kept as they came.
    pub other: JsonObject,
}

/// Which offer a payment answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// v2 repeats the whole offer.
    Offer(Box<PaymentRequirements>),
    /// v1 names only the scheme and the network.
    Kind {
        /// The scheme.
        scheme: SchemeName,
        /// The network.
        network: Network,
    },
}

impl PaymentPayload {
    /// The scheme of the chosen offer.
    ///
    /// ```
    /// use tollway_core::{SchemeName, wire};
    /// let json = br#"{"x402Version":1,"scheme":"exact","network":"base","payload":{}}"#;
    /// assert_eq!(wire::decode_payment(json)?.scheme(), &SchemeName::EXACT);
    /// # Ok::<(), wire::WireError>(())
    /// ```
    pub fn scheme(&self) -> &SchemeName {
        match &self.accepted {
            Accepted::Offer(offer) => &offer.scheme,
            Accepted::Kind { scheme, .. } => scheme,
        }
    }

    /// The network of the chosen offer, by its CAIP-2 identifier in both versions.
    ///
    /// ```
    /// use tollway_core::wire;
    /// let json = br#"{"x402Version":1,"scheme":"exact","network":"base","payload":{}}"#;
    /// assert_eq!(wire::decode_payment(json)?.network().as_str(), "eip155:8453");
    /// # Ok::<(), wire::WireError>(())
    /// ```
    pub fn network(&self) -> &Network {
        match &self.accepted {
            Accepted::Offer(offer) => &offer.network,
            Accepted::Kind { network, .. } => network,
        }
    }
}

//! Networks: CAIP-2 identifiers, and the short names that x402 v1 used for some of them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A blockchain network by its CAIP-2 identifier, such as `eip155:8453` for Base.
///
/// ```
/// use tollway_core::Network;
/// let base: Network = "eip155:8453".parse()?;
/// assert_eq!(base.v1_name(), Some("base"));
/// assert_eq!(Network::from_v1_name("base"), Some(base));
/// # Ok::<(), tollway_core::NetworkError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(Cow<'static, str>);

/// Why a string is not a CAIP-2 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a CAIP-2 network such as \"eip155:8453\"")]
pub struct NetworkError;

impl Network {
    /// The EVM network with this chain id (CAIP-2 namespace `eip155`).
    ///
    /// ```
    /// use tollway_core::Network;
    /// assert_eq!(Network::evm(84532).as_str(), "eip155:84532");
    /// ```
    pub fn evm(chain_id: u64) -> Self {
        Self(Cow::Owned(format!("eip155:{chain_id}")))
    }

    /// The network that x402 v1 calls by this name; `None` for every other text, CAIP-2 included.
    ///
    /// ```
    /// use tollway_core::Network;
    /// assert_eq!(Network::from_v1_name("base-sepolia"), Some(Network::evm(84532)));
    /// assert_eq!(Network::from_v1_name("eip155:84532"), None);
    /// ```
    pub fn from_v1_name(name: &str) -> Option<Self> {
        V1_NAMES.iter().find(|(v1, _)| *v1 == name).map(|(_, caip2)| Self(Cow::Borrowed(caip2)))
    }

    /// The name x402 v1 has for this network, if it has one.
    ///
    /// ```
    /// use tollway_core::Network;
    /// assert_eq!(Network::evm(43114).v1_name(), Some("avalanche"));
    /// assert_eq!(Network::evm(42161).v1_name(), None);
    /// ```
    pub fn v1_name(&self) -> Option<&'static str> {
        V1_NAMES.iter().find(|(_, caip2)| *caip2 == self.0).map(|(v1, _)| *v1)
    }

    /// The CAIP-2 namespace: `eip155`, `solana`.
    ///
    /// ```
    /// use tollway_core::Network;
    /// let solana: Network = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp".parse()?;
    /// assert_eq!(solana.namespace(), "solana");
    /// # Ok::<(), tollway_core::NetworkError>(())
    /// ```
    pub fn namespace(&self) -> &str {
        self.0.split_once(':').map_or("", |(namespace, _)| namespace)
    }

    /// The CAIP-2 reference: the chain id of an EVM network.
    ///
    /// ```
    /// use tollway_core::Network;
    /// assert_eq!(Network::evm(8453).reference(), "8453");
    /// ```
    pub fn reference(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, reference)| reference)
    }

    /// The chain id, if this is an EVM network.
    ///
    /// ```
    /// use tollway_core::Network;
    /// let solana: Network = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp".parse()?;
    /// assert_eq!((Network::evm(8453).evm_chain_id(), solana.evm_chain_id()), (Some(8453), None));
    /// # Ok::<(), tollway_core::NetworkError>(())
    /// ```
    pub fn evm_chain_id(&self) -> Option<u64> {
        if self.namespace() != "eip155" { None } else { self.reference().parse().ok() }
    }

    /// The CAIP-2 identifier as text.
    ///
    /// ```
    /// use tollway_core::Network;
    /// assert_eq!(Network::from_v1_name("base").as_ref().map(Network::as_str), Some("eip155:8453"));
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// CAIP-2: a namespace of 3-8 characters `[-a-z0-9]`, a reference of 1-32 `[-_a-zA-Z0-9]`.
    /// A chain id has one spelling: `eip155:08453` is refused.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, reference) = text.split_once(':').ok_or(NetworkError)?;
        // The published profile of that name is longer than CAIP-2 has it.
        let namespace_ok = ((3..=8).contains(&namespace.len()) || namespace == "cloudflare")
            && namespace.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let reference_ok = (1..=32).contains(&reference.len())
            && reference.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let spelled_once =
            namespace != "eip155" || reference.parse::<u64>().is_ok_and(|id| id.to_string() == reference);
        if !(namespace_ok && reference_ok && spelled_once) {
            return Err(NetworkError);
        }
        Ok(match V1_NAMES.iter().find(|(_, caip2)| *caip2 == text) {
            Some((_, caip2)) => Self(Cow::Borrowed(caip2)),
            None => Self(Cow::Owned(text.to_owned())),
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The names x402 v1 gives to networks, with their CAIP-2 identifiers.
const V1_NAMES: &[(&str, &str)] = &[
    ("ethereum", "eip155:1"),
    ("sepolia", "eip155:11155111"),
    ("abstract", "eip155:2741"),
    ("abstract-testnet", "eip155:11124"),
    ("base-sepolia", "eip155:84532"),
    ("base", "eip155:8453"),
    ("avalanche-fuji", "eip155:43113"),
    ("avalanche", "eip155:43114"),
    ("iotex", "eip155:4689"),
    ("sei", "eip155:1329"),
    ("sei-testnet", "eip155:1328"),
    ("polygon", "eip155:137"),
    ("polygon-amoy", "eip155:80002"),
    ("peaq", "eip155:3338"),
    ("story", "eip155:1514"),
    ("educhain", "eip155:41923"),
    ("skale-base-sepolia", "eip155:324705682"),
    ("megaeth", "eip155:4326"),
    ("monad", "eip155:143"),
    ("monad-testnet", "eip155:10143"),
    ("stable", "eip155:988"),
    ("stable-testnet", "eip155:2201"),
    ("celo", "eip155:42220"),
    ("flare", "eip155:14"),
    ("solana", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"),
    ("solana-devnet", "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Network, V1_NAMES};

    #[test]
    fn v1_names_and_identifiers_are_one_to_one() {
        let names: HashSet<_> = V1_NAMES.iter().map(|(name, _)| name).collect();
        let networks: HashSet<_> = V1_NAMES.iter().map(|(_, caip2)| caip2).collect();
        assert_eq!((names.len(), networks.len()), (V1_NAMES.len(), V1_NAMES.len()));
        for (name, caip2) in V1_NAMES {
            let network: Network = caip2.parse().unwrap();
            assert_eq!(network.v1_name(), Some(*name));
            assert_eq!(Network::from_v1_name(name), Some(network));
        }
    }

    #[test]
    fn a_network_has_one_spelling() {
        for wrong in [
            "",
            "base",
            "eip155:",
            ":1",
            "eip155:08453",
            "eip155:+1",
            "EIP155:1",
            "eip155:1:2",
            "eip155:0x1",
            "eip155:99999999999999999999",
            "cloudflares:402",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong:?}");
        }
        assert!("cloudflare:402".parse::<Network>().is_ok() && "tollway:credit".parse::<Network>().is_ok());
        assert_eq!("eip155:31337".parse::<Network>().unwrap().evm_chain_id(), Some(31337));
        assert_eq!(
            "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1".parse::<Network>().unwrap().evm_chain_id(),
            None
        );
    }
}

//! What the wallet may agree to: a pure function from (rules, offer, decoded value, URL) to a decision.
//!
//! Nothing here reads a clock, a counter or a text of the seller's. Sums over time (budgets) come elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv6Addr;

use tollway_core::model::{PaymentFlow, PaymentRequirements};
use tollway_core::{Amount, Money, Network, OfferedValue, SchemeName};
use url::{Host, Url};

/// The rules a wallet pays by.
///
/// The default allows up to one dollar per payment, in assets the wallet knows to stand for a dollar, under
/// authorizations that live ten minutes at most. Everything unknown is denied.
///
/// ```
/// use tollway_buyer::Policy;
/// use tollway_core::{Amount, Network};
///
/// let policy = Policy::default()
///     .cap_per_payment("$0.05".parse()?)
///     .allow_network(Network::evm(8453))
///     .allow_host("api.example.com")
///     .allow_asset(Network::evm(8453), "0x60a3e35cc302bfa44cb288bc5a4f316fdb1adb42", Amount::from(50_000));
/// # drop(policy);
/// # Ok::<(), tollway_core::MoneyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    cap: Option<Money>,
    asset_caps: BTreeMap<(Network, String), Amount>,
    networks: Option<BTreeSet<Network>>,
    hosts: Option<BTreeSet<HostRule>>,
    resource_hosts: BTreeSet<HostRule>,
    max_timeout_seconds: u64,
    requires_signed_offers: bool,
}

/// A host as URLs spell it, on any port or on one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct HostRule {
    host: String,
    port: Option<u16>,
}

/// Whether an offer may be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allow,
    /// It may not.
    Deny(Reason),
}

/// The rule that an offer breaks. Shown to people as it is printed: it holds nothing that the seller wrote
/// except numbers and names that have been checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// No scheme of this wallet can sign it.
    #[error("this wallet cannot sign scheme {scheme} on this network")]
    NotCovered {
        /// The scheme, shortened and escaped.
        scheme: String,
    },
    /// The host is not on the list of hosts.
    #[error("the host {host} is not allowed")]
    Host {
        /// The request's host.
        host: String,
    },
    /// The network is not on the list of networks.
    #[error("the network is not allowed")]
    Network,
    /// `paymentFlow` has a value that nobody knows.
    #[error("its paymentFlow is unknown")]
    UnknownFlow,
    /// `paymentFlow` is one that this wallet does not support.
    #[error("its paymentFlow, {0}, is not supported")]
    UnsupportedFlow(&'static str),
    /// The seller's signature on it is wrong, or on something else.
    #[error("its signed offer is not to be trusted: {0}")]
    SignedOffer(String),
    /// The policy requires a signed offer.
    #[error("it is not signed by a key that is known to be the seller's")]
    NotSigned,
    /// A price of nothing: no payment says that.
    #[error("its amount is zero")]
    ZeroAmount,
    /// An authorization that is born expired.
    #[error("its maxTimeoutSeconds is zero")]
    ZeroTimeout,
    /// The authorization would be good for too long.
    #[error("its maxTimeoutSeconds is {asked}, the limit is {limit}")]
    LongTimeout {
        /// What the offer asks for.
        asked: u64,
        /// What the policy allows.
        limit: u64,
    },
    /// Nobody knows what the asset is worth.
    #[error("the asset is unknown: allow it with a cap of its own")]
    UnknownAsset,
    /// The asset is known and does not stand for a dollar.
    #[error("{symbol} is not a dollar: allow it with a cap of its own")]
    NotDollars {
        /// The asset.
        symbol: String,
    },
    /// No dollars at all may be spent without a cap of the asset's own.
    #[error("the policy has no cap for dollars: allow the asset with a cap of its own")]
    NoDollarCap,
    /// More than the cap.
    #[error("above the cap of {cap} per payment")]
    AboveCap {
        /// The cap, as it was set.
        cap: String,
    },
    /// The cap cannot be told in the asset's units, so nothing can be held against it.
    #[error("the cap of {cap} per payment cannot be told in the asset's {decimals} decimals")]
    UnusableCap {
        /// The cap, as it was set.
        cap: String,
        /// The asset's decimals.
        decimals: u8,
    },
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            // A cap that failed to parse would be no cap for dollars: nothing is allowed then.
            cap: "$1".parse().ok(),
            asset_caps: BTreeMap::new(),
            networks: None,
            hosts: None,
            resource_hosts: BTreeSet::new(),
            max_timeout_seconds: 600,
            requires_signed_offers: false,
        }
    }
}

impl Policy {
    /// At most `cap` per payment in any known dollar asset; the default is $1. A cap in something else than
    /// dollars allows no dollars: give that asset a cap of its own with [`Self::allow_asset`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (offer, value) = offer();
    /// // The offer is 0.05 USDC.
    /// let policy = tollway_buyer::Policy::default().cap_per_payment("$0.04".parse()?);
    /// assert!(!policy.decide(&offer, Some(&value), &url()).is_allow());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn cap_per_payment(mut self, cap: Money) -> Self {
        self.cap = Some(cap).filter(|cap| *cap.currency() == tollway_core::Currency::Usd);
        self
    }

    /// Allows `asset` on `network` up to `max_atomic`, in its atomic units, per payment, whether or not the
    /// wallet knows what it is worth. For a known dollar asset this replaces the cap in dollars.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_core::{Amount, Network};
    /// # let (offer, _) = offer();
    /// let policy = tollway_buyer::Policy::default();
    /// assert!(!policy.decide(&offer, None, &url()).is_allow(), "nobody knows what it is worth");
    /// let policy = policy.allow_asset(Network::evm(8453), &offer.asset, Amount::from(50_000));
    /// assert!(policy.decide(&offer, None, &url()).is_allow());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn allow_asset(mut self, network: Network, asset: &str, max_atomic: Amount) -> Self {
        let key = asset_key(&network, asset);
        self.asset_caps.insert(key, max_atomic);
        self
    }

    /// Allows `network`. With the first call every other network is denied.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_buyer::{Decision, Policy, Reason};
    /// # let (offer, value) = offer();
    /// let policy = Policy::default().allow_network(tollway_core::Network::evm(84532));
    /// assert_eq!(policy.decide(&offer, Some(&value), &url()), Decision::Deny(Reason::Network));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn allow_network(mut self, network: Network) -> Self {
        self.networks.get_or_insert_default().insert(network);
        self
    }

    /// Allows requests to `host`. With the first call every other host is denied; subdomains are other hosts.
    ///
    /// The host is spelt as in URLs or as people do: letter case, `bücher.example` and `::1` without brackets
    /// do not matter. With a port, as in `api.example.com:8443` or `[::1]:3000`, it is that host on that port
    /// only; without one, on any. What is no host, such as a whole URL, matches nothing.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (offer, value) = offer();
    /// let policy = tollway_buyer::Policy::default().allow_host("api.example.com");
    /// assert!(policy.decide(&offer, Some(&value), &"https://api.example.com/x".parse()?).is_allow());
    /// assert!(!policy.decide(&offer, Some(&value), &"https://evil.example/x".parse()?).is_allow());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn allow_host(mut self, host: &str) -> Self {
        self.hosts.get_or_insert_default().insert(HostRule::parse(host));
        self
    }

    /// Accepts a 402 that names a resource at `host` although the request went to another: for sellers whose
    /// program knows itself by another name than the world does. Spelt as for [`Self::allow_host`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_buyer::Policy;
    /// let mut required = required();
    /// required.resource.as_mut().unwrap().url = "http://backend.example.net/data".to_owned();
    /// assert!(wallet().judge(&required, &url()).is_err());
    /// let trusting = wallet_with(Policy::default().trust_resource_host("backend.example.net"));
    /// assert!(trusting.judge(&required, &url()).is_ok());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn trust_resource_host(mut self, host: &str) -> Self {
        self.resource_hosts.insert(HostRule::parse(host));
        self
    }

    /// The longest an authorization may live; the default is 600 seconds. An offer that asks for more is
    /// refused, not shortened: the seller said what it needs.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (offer, value) = offer();
    /// // The offer asks for 60 seconds.
    /// let policy = tollway_buyer::Policy::default().max_timeout_seconds(30);
    /// let decision = policy.decide(&offer, Some(&value), &url());
    /// assert_eq!(decision.to_string(), "its maxTimeoutSeconds is 60, the limit is 30");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn max_timeout_seconds(mut self, seconds: u64) -> Self {
        self.max_timeout_seconds = seconds;
        self
    }

    /// Whether a 402 from elsewhere may name the resource at `url`.
    pub(crate) fn trusts_resource_host(&self, url: &Url) -> bool {
        self.resource_hosts.iter().any(|rule| rule.matches(url))
    }

    /// Decides on one offer, made in answer to a request to `url`. `value` is what the wallet itself knows the
    /// offer to cost, `None` if it does not know the asset.
    ///
    /// ```
    /// use tollway_buyer::{Decision, Policy};
    /// use tollway_core::{Amount, JsonObject, Network, OfferedValue, SchemeName, model::PaymentRequirements};
    ///
    /// let offer = PaymentRequirements {
    ///     scheme: SchemeName::EXACT,
    ///     network: Network::evm(8453),
    ///     amount: Amount::from(50_000),
    ///     asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".into(),
    ///     pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".into(),
    ///     max_timeout_seconds: 60,
    ///     extra: JsonObject::new(),
    ///     other: JsonObject::new(),
    /// };
    /// let value = OfferedValue { symbol: "USDC".into(), decimals: 6, amount: offer.amount, is_usd: true };
    /// let url = "https://api.example.com/data".parse()?;
    ///
    /// assert_eq!(Policy::default().decide(&offer, Some(&value), &url), Decision::Allow);
    /// let frugal = Policy::default().cap_per_payment("$0.01".parse()?);
    /// let Decision::Deny(reason) = frugal.decide(&offer, Some(&value), &url) else { unreachable!() };
    /// assert_eq!(reason.to_string(), "above the cap of $0.01 per payment");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decide(&self, offer: &PaymentRequirements, value: Option<&OfferedValue>, url: &Url) -> Decision {
        let rules = [
            self.host_rule(url),
            self.network_rule(offer),
            flow_rule(offer),
            self.time_rule(offer),
            self.amount_rule(offer, value),
        ];
        match rules.into_iter().find_map(Result::err) {
            None => Decision::Allow,
            Some(reason) => Decision::Deny(reason),
        }
    }

    /// Pays only offers that are signed by payTo, or by a key that the wallet was given as the seller's
    /// ([`WalletBuilder::seller_keys`](crate::WalletBuilder::seller_keys)). Without it unsigned offers are paid too; wrongly
    /// signed ones never are.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_buyer::{Decision, Policy, Reason};
    /// let wallet = wallet_with(Policy::default().require_signed_offers());
    /// assert_eq!(wallet.judge(&required(), &url())?[0].decision, Decision::Deny(Reason::NotSigned));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn require_signed_offers(mut self) -> Self {
        self.requires_signed_offers = true;
        self
    }

    pub(crate) const fn requires_signed_offers(&self) -> bool {
        self.requires_signed_offers
    }

    fn host_rule(&self, url: &Url) -> Result<(), Reason> {
        match &self.hosts {
            Some(hosts) if !hosts.iter().any(|rule| rule.matches(url)) => {
                Err(Reason::Host { host: url.host_str().unwrap_or_default().to_owned() })
            }
            _ => Ok(()),
        }
    }

    fn network_rule(&self, offer: &PaymentRequirements) -> Result<(), Reason> {
        match &self.networks {
            Some(networks) if !networks.contains(&offer.network) => Err(Reason::Network),
            _ => Ok(()),
        }
    }

    fn time_rule(&self, offer: &PaymentRequirements) -> Result<(), Reason> {
        match (offer.max_timeout_seconds, self.max_timeout_seconds) {
            (0, _) => Err(Reason::ZeroTimeout),
            (asked, limit) if asked > limit => Err(Reason::LongTimeout { asked, limit }),
            _ => Ok(()),
        }
    }

    fn amount_rule(&self, offer: &PaymentRequirements, value: Option<&OfferedValue>) -> Result<(), Reason> {
        // The decoded value is what is shown and what is capped; it must be the sum that would be signed.
        if offer.amount == Amount::ZERO || value.is_some_and(|value| value.amount == Amount::ZERO) {
            return Err(Reason::ZeroAmount);
        }
        if let Some(max) = self.asset_caps.get(&asset_key(&offer.network, &offer.asset)) {
            if offer.amount <= *max {
                return Ok(());
            }
            let cap = value.map_or_else(
                || format!("{max} atomic units"),
                |value| format!("{} {}", max.to_decimal(value.decimals), value.symbol),
            );
            return Err(Reason::AboveCap { cap });
        }
        let value = value.ok_or(Reason::UnknownAsset)?;
        if !value.is_usd {
            return Err(Reason::NotDollars { symbol: value.symbol.clone() });
        }
        let cap = self.cap.as_ref().ok_or(Reason::NoDollarCap)?;
        let unusable = |_| Reason::UnusableCap { cap: cap.to_string(), decimals: value.decimals };
        let max = cap.to_atomic(value.decimals).map_err(unusable)?;
        if value.amount.max(offer.amount) > max {
            return Err(Reason::AboveCap { cap: cap.to_string() });
        }
        Ok(())
    }
}

impl HostRule {
    /// Reads `text` the way URLs are read. What is no host is kept as it is, and then equals none.
    fn parse(text: &str) -> Self {
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Self { host: Host::<String>::Ipv6(address).to_string(), port: None };
        }
        let (name, port) = match text.rsplit_once(':').map(|(name, port)| (name, port.parse())) {
            Some((name, Ok(port))) => (name, Some(port)),
            _ => (text, None),
        };
        match Host::parse(name) {
            Ok(host) => Self { host: host.to_string(), port },
            Err(error) => {
                tracing::warn!(host = text, %error, "this is no host: the policy's rule for it matches nothing");
                Self { host: text.to_owned(), port: None }
            }
        }
    }

    fn matches(&self, url: &Url) -> bool {
        url.host_str() == Some(&*self.host)
            && self.port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }
}

impl Decision {
    /// Whether the offer may be paid.
    ///
    /// ```
    /// use tollway_buyer::{Decision, Reason};
    /// assert!(Decision::Allow.is_allow() && !Decision::Deny(Reason::ZeroAmount).is_allow());
    /// ```
    pub fn is_allow(&self) -> bool {
        *self == Self::Allow
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("allowed"),
            Self::Deny(reason) => write!(f, "{reason}"),
        }
    }
}

fn flow_rule(offer: &PaymentRequirements) -> Result<(), Reason> {
    match offer.payment_flow() {
        Some(PaymentFlow::Authorization | PaymentFlow::Upfront) => Ok(()),
        // Only this scheme says what a hold is, by when it ends, and how the payer gets it back alone.
        Some(PaymentFlow::Escrow) if offer.scheme == SchemeName::AUTH_CAPTURE => Ok(()),
        Some(PaymentFlow::Escrow) => Err(Reason::UnsupportedFlow(PaymentFlow::Escrow.as_str())),
        None => Err(Reason::UnknownFlow),
    }
}

/// One spelling per asset. Hex addresses have two; base58 has one, and its case means something.
pub(crate) fn asset_key(network: &Network, asset: &str) -> (Network, String) {
    let asset = match network.namespace() {
        "eip155" => asset.to_ascii_lowercase(),
        _ => asset.to_owned(),
    };
    (network.clone(), asset)
}

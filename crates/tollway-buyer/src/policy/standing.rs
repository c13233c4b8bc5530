//! What a policy decides on: the purchase, and what is known of what came before. Snapshots only: whoever makes them reads
//! the ledger.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tollway_core::model::PaymentRequirements;
use tollway_core::{Amount, Network, OfferedValue, UnixTime};
use url::Url;

use crate::policy::asset_key;
use crate::policy::names::FactName;

/// What is about to be bought.
#[derive(Clone, Copy, Debug)]
pub struct Purchase<'a> {
    /// The wallet's name in the ledger.
    pub wallet: &'a str,
    /// What is requested.
    pub url: &'a Url,
    /// How.
    pub method: &'a str,
    /// Which tool of the agent's asks for it, if it says so.
    pub tool: Option<&'a str>,
    /// The offer that would be paid.
    pub offer: &'a PaymentRequirements,
    /// What the wallet itself knows the offer to cost; `None` if it does not know the asset.
    pub value: Option<&'a OfferedValue>,
    /// What would be put into a channel with it, in atomic units of the offer's asset; none if nothing is.
    pub deposit: Option<Amount>,
    /// When.
    pub now: UnixTime,
}

impl Purchase<'_> {
    /// Where the ledger has who was paid here before: [`Standing::payees`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() {
    /// # let (offer, value) = offer();
    /// # let url = url();
    /// let purchase = purchase(&url, &offer, &value);
    /// assert_eq!(purchase.pin_fact().name, "api.example.com|eip155:8453");
    /// # }
    /// ```
    pub fn pin_fact(&self) -> FactName {
        FactName::pin(self.wallet, self.url, &self.offer.network)
    }

    /// Where the ledger has what this cost before: [`Standing::price`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() {
    /// # let (offer, value) = offer();
    /// # let url = url();
    /// let purchase = purchase(&url, &offer, &value);
    /// assert!(purchase.price_fact().name.starts_with("api.example.com/data|eip155:8453/0x8335"));
    /// # }
    /// ```
    pub fn price_fact(&self) -> FactName {
        FactName::price(self.wallet, self.url, self.offer)
    }

    /// The larger of what is asked and what it is known to cost: they should be one.
    pub(crate) fn amount(&self) -> Amount {
        self.value.map_or(self.offer.amount, |value| value.amount.max(self.offer.amount))
    }
}

/// What is known of what came before, for one purchase. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What budgets hold, by name and by the start of the window, as [`Policy::holds`](crate::Policy::holds) names them.
    /// What is not there holds nothing.
    pub budgets: BTreeMap<(String, UnixTime), Amount>,
    /// The kill switches that are on, by level, with the reason.
    pub switches: BTreeMap<String, String>,
    /// Who has been paid at this host on this network.
    pub payees: Option<KnownPayees>,
    /// What this has cost.
    pub price: Option<PriceHistory>,
}

/// Who has been paid at a host on a network, and may be paid again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownPayees(BTreeSet<String>);

impl KnownPayees {
    /// Reads the value of a fact.
    ///
    /// # Errors
    /// It is none of these: then nothing may be paid.
    ///
    /// ```
    /// use tollway_buyer::KnownPayees;
    /// assert!(KnownPayees::read(r#"["0xabc"]"#).is_ok() && KnownPayees::read("0xabc").is_err());
    /// ```
    pub fn read(value: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(value).map(Self)
    }

    /// The value of the fact, in one spelling.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() {
    /// let known = tollway_buyer::KnownPayees::default().with(&offer().0);
    /// assert_eq!(known.value(), r#"["0x209693bc6afc0c5328ba36faf03c514ef312287c"]"#);
    /// # }
    /// ```
    pub fn value(&self) -> String {
        json!(self.0).to_string()
    }

    /// With the payee of `offer`: after somebody has agreed to it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() {
    /// let known = tollway_buyer::KnownPayees::default().with(&offer().0);
    /// assert!(known.contains(&offer().0));
    /// # }
    /// ```
    #[must_use]
    pub fn with(self, offer: &PaymentRequirements) -> Self {
        self.and(&offer.network, &offer.pay_to)
    }

    /// With the account `pay_to` on `network`.
    ///
    /// ```
    /// use tollway_buyer::KnownPayees;
    /// let known = KnownPayees::default().and(&tollway_core::Network::evm(8453), "0xABC");
    /// assert_eq!(known.value(), r#"["0xabc"]"#);
    /// ```
    #[must_use]
    pub fn and(mut self, network: &Network, pay_to: &str) -> Self {
        self.0.insert(payee(network, pay_to));
        self
    }

    /// Whether the payee of `offer` is known.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/offer.rs"));
    /// # fn main() {
    /// assert!(!tollway_buyer::KnownPayees::default().contains(&offer().0));
    /// # }
    /// ```
    pub fn contains(&self, offer: &PaymentRequirements) -> bool {
        self.0.contains(&payee(&offer.network, &offer.pay_to))
    }
}

/// What an offer has cost before, in atomic units of its asset. It changes only when a price is lower than all before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceHistory {
    /// The first time.
    pub first: Amount,
    /// At least.
    pub lowest: Amount,
}

impl PriceHistory {
    /// The history with one more price, which was signed for; with it alone if there is none.
    ///
    /// ```
    /// use tollway_buyer::PriceHistory;
    /// use tollway_core::Amount;
    /// let once = PriceHistory::after(None, Amount::from(10));
    /// let twice = PriceHistory::after(Some(once), Amount::from(8));
    /// assert_eq!((twice.first, twice.lowest), (Amount::from(10), Amount::from(8)));
    /// assert_eq!(PriceHistory::after(Some(twice), Amount::from(9)), twice);
    /// ```
    #[must_use]
    pub fn after(history: Option<Self>, paid: Amount) -> Self {
        match history {
            None => Self { first: paid, lowest: paid },
            Some(history) => Self { lowest: history.lowest.min(paid), ..history },
        }
    }

    /// Reads the value of a fact. `None`: it is no history, and nothing may be paid.
    ///
    /// ```
    /// use tollway_buyer::PriceHistory;
    /// use tollway_core::Amount;
    /// let history = PriceHistory::after(None, Amount::from(10));
    /// assert_eq!(PriceHistory::read(&history.value()), Some(history));
    /// assert_eq!(PriceHistory::read("10"), None);
    /// ```
    pub fn read(value: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(value).ok()?;
        let amount = |name: &str| value.get(name)?.as_str()?.parse().ok();
        Some(Self { first: amount("first")?, lowest: amount("lowest")? })
    }

    /// The value of the fact, in one spelling.
    ///
    /// ```
    /// use tollway_buyer::PriceHistory;
    /// let value = PriceHistory::after(None, tollway_core::Amount::from(10)).value();
    /// assert_eq!(value, r#"{"first":"10","lowest":"10"}"#);
    /// ```
    pub fn value(&self) -> String {
        json!({ "first": self.first.to_string(), "lowest": self.lowest.to_string() }).to_string()
    }
}

/// One spelling per payee, as for assets.
pub(crate) fn payee(network: &Network, pay_to: &str) -> String {
    asset_key(network, pay_to).1
}

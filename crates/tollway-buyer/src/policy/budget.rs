//! What budgets count: which purchases, in which unit, in which counter of which window.

use std::collections::BTreeSet;

use tollway_core::{Amount, Network};

use crate::policy::dollars;
use crate::policy::host::{HostPattern, host_of};
use crate::policy::names::{self, part};
use crate::policy::standing::Purchase;
use crate::policy::tool::ToolPattern;
use crate::policy::window::Window;

/// The most per window, in the unit of whoever holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits([Option<Amount>; Window::ALL.len()]);

impl Limits {
    pub(crate) fn set(&mut self, window: Window, limit: Amount) {
        if let Some(slot) =
            Window::ALL.iter().position(|known| *known == window).and_then(|at| self.0.get_mut(at))
        {
            *slot = Some(limit);
        }
    }

    /// The limits that there are, the shortest window first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Window, Amount)> {
        Window::ALL.into_iter().zip(self.0).filter_map(|(window, limit)| Some((window, limit?)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

/// A budget for some purchases only, in dollars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BudgetFor {
    pub(crate) scope: Scope,
    pub(crate) limits: Limits,
}

/// Which purchases a budget counts, and in how many counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scope {
    pub(crate) host: Option<HostPattern>,
    pub(crate) tool: Option<ToolPattern>,
    pub(crate) agent: Option<String>,
    pub(crate) network: Option<Network>,
    pub(crate) asset: Option<String>,
    pub(crate) per: BTreeSet<Dimension>,
}

/// What each value of has a counter of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dimension {
    Host,
    Tool,
    Agent,
    Network,
    Asset,
}

impl Dimension {
    pub(crate) const ALL: [Self; 5] = [Self::Host, Self::Tool, Self::Agent, Self::Network, Self::Asset];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Tool => "tool",
            Self::Agent => "agent",
            Self::Network => "network",
            Self::Asset => "asset",
        }
    }
}

impl Scope {
    /// Whether it counts `purchase`, which `agent` makes with `tool`.
    pub(crate) fn counts(&self, purchase: &Purchase<'_>, agent: Option<&str>, tool: Option<&str>) -> bool {
        let asset = || names::asset(purchase.offer);
        self.host.as_ref().is_none_or(|host| host.matches(purchase.url))
            && self.tool.as_ref().is_none_or(|pattern| tool.is_some_and(|tool| pattern.matches(tool)))
            && self.agent.as_ref().is_none_or(|name| agent == Some(name))
            && self.network.as_ref().is_none_or(|network| *network == purchase.offer.network)
            && self.asset.as_ref().is_none_or(|counted| *counted == asset())
    }

    /// The name of the counter that `purchase` is counted in. What is not named has a counter too.
    pub(crate) fn rule(&self, purchase: &Purchase<'_>, agent: Option<&str>, tool: Option<&str>) -> String {
        let filters = self.filters().into_iter().map(|(name, value)| format!("{name}={}", part(&value)));
        let own = self.per.iter().map(|dimension| {
            let value = match dimension {
                Dimension::Host => host_of(purchase.url),
                Dimension::Tool => tool.unwrap_or_default().to_owned(),
                Dimension::Agent => agent.unwrap_or_default().to_owned(),
                Dimension::Network => purchase.offer.network.to_string(),
                Dimension::Asset => names::asset(purchase.offer),
            };
            format!("{}:{}", dimension.as_str(), part(&value))
        });
        filters.chain(own).collect::<Vec<_>>().join(",")
    }

    /// What must be so for a purchase to be counted.
    pub(crate) fn filters(&self) -> Vec<(&'static str, String)> {
        let text = |name, value: Option<String>| Some((name, value?));
        let filters = [
            text("host", self.host.as_ref().map(ToString::to_string)),
            text("tool", self.tool.as_ref().map(ToString::to_string)),
            text("agent", self.agent.clone()),
            text("network", self.network.as_ref().map(ToString::to_string)),
            text("asset", self.asset.clone()),
        ];
        filters.into_iter().flatten().collect()
    }
}

/// What a budget counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// 10^-18 dollars.
    Dollars,
    /// Atomic units of the purchase's asset.
    Atomic,
    /// Payments.
    Payments {
        /// Whether the level is to be frozen when there are too many.
        freezes: bool,
    },
}

impl Unit {
    pub(crate) fn show(self, amount: Amount) -> String {
        match self {
            Self::Dollars => dollars::show(amount),
            Self::Atomic => format!("{amount} atomic units"),
            Self::Payments { .. } => format!("{amount} payments"),
        }
    }
}

/// One counter that a purchase is counted in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    /// The key of the policy file.
    pub(crate) key: String,
    /// The counter's name within its level.
    pub(crate) rule: String,
    pub(crate) window: Window,
    pub(crate) unit: Unit,
    /// How much the purchase adds.
    pub(crate) amount: Amount,
    pub(crate) limit: Amount,
}

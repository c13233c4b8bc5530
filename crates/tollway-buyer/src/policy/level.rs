//! One level of a policy: its rules, and what each says to a purchase. A level knows of no other.

use std::collections::{BTreeMap, BTreeSet};

use tollway_core::{Amount, Money, Network};

use crate::policy::approval::Approval;
use crate::policy::asset_key;
use crate::policy::budget::{BudgetFor, Count, Limits, Unit};
use crate::policy::channels::ChannelRules;
use crate::policy::decision::Reason;
use crate::policy::dollars;
use crate::policy::explain::{Outcome, Sink};
use crate::policy::host::{HostPattern, host_of};
use crate::policy::names;
use crate::policy::standing::{Purchase, payee};
use crate::policy::tool::{MAX_TOOL_BYTES, ToolPattern};
use crate::policy::window::Window;

/// The rules of one level. What is not set restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) name: String,
    pub(crate) max_payment: DollarCap,
    pub(crate) max_authorization_seconds: Option<u64>,
    pub(crate) requires_signed_offers: bool,
    pub(crate) allow_hosts: Option<BTreeSet<HostPattern>>,
    pub(crate) deny_hosts: BTreeSet<HostPattern>,
    pub(crate) trust_resource_hosts: Option<BTreeSet<HostPattern>>,
    pub(crate) allow_networks: Option<BTreeSet<Network>>,
    pub(crate) deny_networks: BTreeSet<Network>,
    pub(crate) allow_schemes: Option<BTreeSet<String>>,
    pub(crate) deny_schemes: BTreeSet<String>,
    pub(crate) allow_tools: Option<BTreeSet<ToolPattern>>,
    pub(crate) deny_tools: BTreeSet<ToolPattern>,
    pub(crate) only_listed_assets: bool,
    pub(crate) assets: BTreeMap<(Network, String), AssetRule>,
    pub(crate) pins: BTreeMap<HostPattern, BTreeSet<String>>,
    pub(crate) pin_first_use: bool,
    pub(crate) on_changed_payee: Alarm,
    pub(crate) drift: Option<Drift>,
    pub(crate) budget: Limits,
    pub(crate) budget_for: Vec<BudgetFor>,
    pub(crate) velocity: Velocity,
    pub(crate) approval: Option<Approval>,
    pub(crate) channels: ChannelRules,
}

/// The most that a payment may cost, in dollars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum DollarCap {
    /// This level has none: those outside it have.
    #[default]
    Unset,
    /// No dollars at all.
    Nothing,
    /// This much.
    Dollars(Money),
}

/// What a level says to one asset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AssetRule {
    /// The most per payment, in atomic units, instead of the cap in dollars.
    pub(crate) max_atomic: Option<Amount>,
    /// Budgets in atomic units.
    pub(crate) limits: Limits,
    /// The most per deposit, in atomic units, instead of the most in dollars.
    pub(crate) max_deposit_atomic: Option<Amount>,
    /// The most in all channels, in atomic units, instead of the most in dollars.
    pub(crate) max_exposure_atomic: Option<Amount>,
}

/// What happens when something is not as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Alarm {
    #[default]
    Deny,
    Ask,
}

/// How far a price may rise above what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drift {
    pub(crate) above_percent: u32,
    pub(crate) on: Alarm,
}

/// How many payments there may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Velocity {
    pub(crate) limits: Limits,
    pub(crate) freezes: bool,
}

impl Level {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Every rule that needs nothing but the purchase.
    pub(crate) fn judge(&self, purchase: &Purchase<'_>, tool: Option<&str>, sink: &mut impl Sink) {
        self.judge_hosts(purchase, sink);
        self.judge_networks(purchase, sink);
        self.judge_schemes(purchase, sink);
        self.judge_tools(tool, sink);
        if let Some(limit) = self.max_authorization_seconds {
            let asked = purchase.offer.max_timeout_seconds;
            let outcome = Outcome::failed_if(asked > limit, || Reason::LongTimeout { asked, limit });
            sink.rule(
                &self.name,
                "max_authorization_seconds",
                || format!("at most {limit} seconds, asked for {asked}"),
                outcome,
            );
        }
        self.judge_amount(purchase, sink);
        self.channels.judge(&self.name, purchase.offer, sink);
        for (pattern, payees) in self.pins.iter().filter(|(pattern, _)| pattern.matches(purchase.url)) {
            let is_pinned = payees.contains(&payee(&purchase.offer.network, &purchase.offer.pay_to));
            let says = || format!("{pattern} is paid at {}", list(payees));
            let outcome =
                Outcome::failed_if(!is_pinned, || Reason::PinnedPayee { host: host_of(purchase.url) });
            sink.rule(&self.name, "pin", says, outcome);
        }
    }

    fn judge_hosts(&self, purchase: &Purchase<'_>, sink: &mut impl Sink) {
        let host = || host_of(purchase.url);
        if !self.deny_hosts.is_empty() {
            let is_denied = self.deny_hosts.iter().any(|pattern| pattern.matches(purchase.url));
            let outcome = Outcome::failed_if(is_denied, || Reason::DeniedHost { host: host() });
            sink.rule(&self.name, "deny_hosts", || format!("never {}", list(&self.deny_hosts)), outcome);
        }
        if let Some(allowed) = &self.allow_hosts {
            let is_allowed = allowed.iter().any(|pattern| pattern.matches(purchase.url));
            let outcome = Outcome::failed_if(!is_allowed, || Reason::Host { host: host() });
            sink.rule(&self.name, "allow_hosts", || format!("only {}", list(allowed)), outcome);
        }
    }

    fn judge_networks(&self, purchase: &Purchase<'_>, sink: &mut impl Sink) {
        let network = &purchase.offer.network;
        if !self.deny_networks.is_empty() {
            let outcome = Outcome::failed_if(self.deny_networks.contains(network), || Reason::DeniedNetwork);
            sink.rule(
                &self.name,
                "deny_networks",
                || format!("never {}", list(&self.deny_networks)),
                outcome,
            );
        }
        if let Some(allowed) = &self.allow_networks {
            let outcome = Outcome::failed_if(!allowed.contains(network), || Reason::Network);
            sink.rule(&self.name, "allow_networks", || format!("only {}", list(allowed)), outcome);
        }
    }

    fn judge_schemes(&self, purchase: &Purchase<'_>, sink: &mut impl Sink) {
        let scheme = purchase.offer.scheme.as_str();
        if !self.deny_schemes.is_empty() {
            let outcome = Outcome::failed_if(self.deny_schemes.contains(scheme), || Reason::Scheme);
            sink.rule(&self.name, "deny_schemes", || format!("never {}", list(&self.deny_schemes)), outcome);
        }
        if let Some(allowed) = &self.allow_schemes {
            let outcome = Outcome::failed_if(!allowed.contains(scheme), || Reason::Scheme);
            sink.rule(&self.name, "allow_schemes", || format!("only {}", list(allowed)), outcome);
        }
    }

    fn judge_tools(&self, tool: Option<&str>, sink: &mut impl Sink) {
        // A name that is longer than any is not looked at further: it is on no list that allows.
        let tool = tool.filter(|tool| tool.len() <= MAX_TOOL_BYTES).ok_or(tool.is_some());
        let matches = |patterns: &BTreeSet<ToolPattern>| match tool {
            Ok(tool) => patterns.iter().any(|pattern| pattern.matches(tool)),
            Err(_) => false,
        };
        if !self.deny_tools.is_empty() {
            let is_denied = tool == Err(true) || matches(&self.deny_tools);
            let outcome = Outcome::failed_if(is_denied, || Reason::Tool);
            sink.rule(&self.name, "deny_tools", || format!("never {}", list(&self.deny_tools)), outcome);
        }
        if let Some(allowed) = &self.allow_tools {
            let outcome = Outcome::failed_if(!matches(allowed), || Reason::Tool);
            sink.rule(&self.name, "allow_tools", || format!("only {}", list(allowed)), outcome);
        }
    }

    fn judge_amount(&self, purchase: &Purchase<'_>, sink: &mut impl Sink) {
        let listed = self.asset_rule(purchase);
        if self.only_listed_assets {
            let outcome = Outcome::failed_if(listed.is_none(), || Reason::UnlistedAsset);
            sink.rule(&self.name, "only_listed_assets", || "only assets that are listed".to_owned(), outcome);
        }
        if let Some(max) = listed.and_then(|rule| rule.max_atomic) {
            let shown = match purchase.value {
                Some(value) => format!("{} {}", max.to_decimal(value.decimals), value.symbol),
                None => format!("{max} atomic units"),
            };
            let outcome =
                Outcome::failed_if(purchase.amount() > max, || Reason::AboveCap { cap: shown.clone() });
            sink.rule(&self.name, "asset.max_atomic", || format!("at most {shown} a payment"), outcome);
            return;
        }
        let says = || match &self.max_payment {
            DollarCap::Unset => "no cap".to_owned(),
            DollarCap::Nothing => "no dollars".to_owned(),
            DollarCap::Dollars(cap) => format!("at most {cap} a payment"),
        };
        if self.max_payment != DollarCap::Unset {
            sink.rule(&self.name, "max_payment", says, self.dollar_cap(purchase).err().into());
        }
    }

    /// Whether the cap in dollars holds.
    fn dollar_cap(&self, purchase: &Purchase<'_>) -> Result<(), Reason> {
        let value = purchase.value.ok_or(Reason::UnknownAsset)?;
        if !value.is_usd {
            return Err(Reason::NotDollars { symbol: value.symbol.clone() });
        }
        let DollarCap::Dollars(cap) = &self.max_payment else { return Err(Reason::NoDollarCap) };
        let unusable = |_| Reason::UnusableCap { cap: cap.to_string(), decimals: value.decimals };
        let max = cap.to_atomic(value.decimals).map_err(unusable)?;
        // The decoded value is what is shown and what is capped; it must be the sum that would be signed.
        if purchase.amount() > max {
            return Err(Reason::AboveCap { cap: cap.to_string() });
        }
        Ok(())
    }

    fn asset_rule(&self, purchase: &Purchase<'_>) -> Option<&AssetRule> {
        self.assets.get(&asset_key(&purchase.offer.network, &purchase.offer.asset))
    }

    /// Every counter that `purchase` is counted in at this level.
    ///
    /// # Errors
    /// It cannot be counted where it should be: then it may not be paid.
    pub(crate) fn counts(
        &self,
        purchase: &Purchase<'_>,
        agent: Option<&str>,
        tool: Option<&str>,
    ) -> Result<Vec<Count>, Reason> {
        let mut counts = Vec::new();
        let mut add = |key: &str, rule: &str, limits: &Limits, unit: Unit, amount: Amount| {
            counts.extend(limits.iter().map(|(window, limit)| Count {
                key: format!("{key}.{window}"),
                rule: rule.to_owned(),
                window,
                unit,
                amount,
                limit,
            }));
        };
        add(
            "velocity",
            "velocity",
            &self.velocity.limits,
            Unit::Payments { freezes: self.velocity.freezes },
            Amount::from(1),
        );
        let own = self.asset_rule(purchase).map(|rule| &rule.limits).filter(|limits| !limits.is_empty());
        if let Some(limits) = own {
            let rule = format!("asset:{}", names::asset(purchase.offer));
            add("asset", &rule, limits, Unit::Atomic, purchase.amount());
        }
        let mut scoped =
            self.budget_for.iter().filter(|budget| budget.scope.counts(purchase, agent, tool)).peekable();
        if self.budget.is_empty() && scoped.peek().is_none() {
            return Ok(counts);
        }
        let dollars = match purchase.value.filter(|value| value.is_usd) {
            Some(value) => dollars::from_atomic(purchase.amount(), value.decimals).ok_or(Reason::TooLarge)?,
            // What nobody knows the worth of is held by budgets of its own, or not paid.
            None if own.is_some() => return Ok(counts),
            None => return Err(Reason::Uncountable),
        };
        add("budget", "*", &self.budget, Unit::Dollars, dollars);
        for budget in scoped {
            let rule = budget.scope.rule(purchase, agent, tool);
            add("budget_for", &rule, &budget.limits, Unit::Dollars, dollars);
        }
        Ok(counts)
    }

    /// The windows in which the number of payments is limited, with the limit.
    pub(crate) fn velocities(&self) -> impl Iterator<Item = (Window, Amount)> {
        self.velocity.limits.iter()
    }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "nothing".to_owned() } else { items.join(", ") }
}

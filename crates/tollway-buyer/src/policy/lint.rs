//! What is not wrong in a policy file but does nothing, or something else than it seems to: dead numbers, rules that can
//! never have a say, doors left open.

use std::collections::{BTreeMap, BTreeSet};

use tollway_core::{Amount, Money};

use crate::policy::approval::ApprovalBy;
use crate::policy::budget::{Dimension, Limits, Scope, Unit};
use crate::policy::dollars;
use crate::policy::file::PolicyFile;
use crate::policy::host::HostPattern;
use crate::policy::keys::PolicyNote;
use crate::policy::level::{DollarCap, Level};
use crate::policy::lint_channels;

/// All warnings, each once.
pub(crate) fn warnings(file: &PolicyFile) -> Vec<PolicyNote> {
    let mut warnings = BTreeSet::new();
    for stack in file.stacks() {
        let Some(((path, level), outer)) = stack.split_last() else { continue };
        let mut lint = Lint { path, warnings: &mut warnings };
        lint.zeros(level);
        lint.lists(level);
        lint.windows(level);
        lint.approval(level, outer);
        lint.scopes(level, file);
        for (_, parent) in outer {
            lint.dead(level, parent);
        }
        for (key, message) in lint_channels::warnings(level, outer) {
            lint.warn(key, message);
        }
    }
    for (name, agent) in &file.agents {
        if agent.team.is_none() && !file.teams.is_empty() {
            let message = "belongs to no team: only the organisation is above it".to_owned();
            warnings.insert(PolicyNote { key: format!("agent.{name}"), message });
        }
    }
    for name in file.teams.keys() {
        if !file.agents.values().any(|agent| agent.team.as_ref() == Some(name)) {
            warnings.insert(PolicyNote { key: format!("team.{name}"), message: "has no agents".to_owned() });
        }
    }
    warnings.into_iter().collect()
}

/// One level that is looked at.
struct Lint<'a> {
    path: &'a str,
    warnings: &'a mut BTreeSet<PolicyNote>,
}

impl Lint<'_> {
    fn warn(&mut self, key: &str, message: impl Into<String>) {
        let separator = if self.path.is_empty() || key.is_empty() { "" } else { "." };
        self.warnings
            .insert(PolicyNote { key: format!("{}{separator}{key}", self.path), message: message.into() });
    }

    /// Numbers and lists that allow nothing.
    fn zeros(&mut self, level: &Level) {
        const NOTHING: &str = "allows nothing at all";
        if dollar_cap(level).is_some_and(|cap| is_zero(&cap)) {
            self.warn("max_payment", NOTHING);
        }
        if level.max_authorization_seconds == Some(0) {
            self.warn("max_authorization_seconds", NOTHING);
        }
        for (key, limits) in limits_of(level) {
            for (window, _) in limits.iter().filter(|(_, limit)| *limit == Amount::ZERO) {
                self.warn(&format!("{key}.{window}"), "lets nothing through");
            }
        }
        for ((network, address), rule) in &level.assets {
            if rule.max_atomic == Some(Amount::ZERO) {
                self.warn("asset.max_atomic", format!("{network}/{address}: {NOTHING}"));
            }
        }
        let is_empty = [
            ("allow_hosts", level.allow_hosts.as_ref().is_some_and(BTreeSet::is_empty)),
            ("allow_networks", level.allow_networks.as_ref().is_some_and(BTreeSet::is_empty)),
            ("allow_schemes", level.allow_schemes.as_ref().is_some_and(BTreeSet::is_empty)),
            ("allow_tools", level.allow_tools.as_ref().is_some_and(BTreeSet::is_empty)),
            ("only_listed_assets", level.only_listed_assets && level.assets.is_empty()),
        ];
        for (key, _) in is_empty.iter().filter(|(_, is_empty)| *is_empty) {
            self.warn(key, NOTHING);
        }
        for (pattern, _) in level.pins.iter().filter(|(_, payees)| payees.is_empty()) {
            self.warn("pin", format!("nothing can be paid at {pattern}"));
        }
    }

    /// What is allowed and denied at once, and patterns that mean too much.
    fn lists(&mut self, level: &Level) {
        let both =
            |key: &str, what: &str| (key.to_owned(), format!("{what} is denied here too: denied it stays"));
        let mut found = Vec::new();
        for host in level.allow_hosts.iter().flatten() {
            if level.deny_hosts.iter().any(|denied| denied.covers(host)) {
                found.push(both("allow_hosts", &host.to_string()));
            }
        }
        for network in level.allow_networks.iter().flatten().filter(|one| level.deny_networks.contains(*one))
        {
            found.push(both("allow_networks", network.as_str()));
        }
        for scheme in level.allow_schemes.iter().flatten().filter(|one| level.deny_schemes.contains(*one)) {
            found.push(both("allow_schemes", scheme));
        }
        for tool in level.allow_tools.iter().flatten() {
            if level.deny_tools.iter().any(|denied| denied.covers(tool)) {
                found.push(both("allow_tools", &tool.to_string()));
            }
        }
        for host in level.allow_hosts.iter().chain(&level.trust_resource_hosts).flatten() {
            if host.is_below_top_level() {
                found.push(("allow_hosts".to_owned(), format!("{host} is everybody who has a name there")));
            }
        }
        for (pattern, payees) in &level.pins {
            let clashes = |(other, theirs): (&HostPattern, &BTreeSet<String>)| {
                other != pattern && other.covers(pattern) && theirs.is_disjoint(payees)
            };
            if let Some((other, _)) = level.pins.iter().find(|pin| clashes(*pin)) {
                let message =
                    format!("nothing can be paid at {pattern}: {other} is pinned to others, and both hold");
                found.push(("pin".to_owned(), message));
            }
        }
        for (key, message) in found {
            self.warn(&key, message);
        }
    }

    /// Budgets that another one makes useless.
    fn windows(&mut self, level: &Level) {
        for (key, limits) in limits_of(level) {
            let limits: Vec<_> = limits.iter().collect();
            for (at, (window, limit)) in limits.iter().enumerate() {
                let smaller = limits.iter().skip(at + 1).find(|(_, longer)| longer < limit);
                if let Some((longer, _)) = smaller {
                    self.warn(
                        &format!("{key}.{window}"),
                        format!("is more than the whole {longer} has: it is dead"),
                    );
                }
            }
        }
        let Some(cap) =
            dollar_cap(level).and_then(|cap| dollars::from_money(&cap).map(|counted| (cap, counted)))
        else {
            return;
        };
        let dollar_limits = std::iter::once(("budget".to_owned(), &level.budget)).chain(scoped(level));
        for (key, limits) in dollar_limits.collect::<Vec<_>>() {
            for (window, limit) in limits.iter().filter(|(_, limit)| *limit < cap.1 && *limit > Amount::ZERO)
            {
                let message = format!(
                    "{} is less than max_payment, {}: a payment of that much never fits",
                    dollars::show(limit),
                    cap.0
                );
                self.warn(&format!("{key}.{window}"), message);
            }
        }
    }

    fn approval(&mut self, level: &Level, outer: &[(String, &Level)]) {
        let Some(approval) = &level.approval else { return };
        if let ApprovalBy::Webhook { secret: None, .. } = approval.by {
            self.warn(
                "approval.secret",
                "is not there: whoever gets the question cannot tell that it is ours",
            );
        }
        let Some(above) = approval.above.as_ref().and_then(dollars::from_money) else { return };
        let caps = outer.iter().map(|(_, outer)| *outer).chain([level]).filter_map(dollar_cap);
        let lowest = caps.filter_map(|cap| dollars::from_money(&cap)).min();
        let Some(lowest) = lowest.filter(|lowest| above >= *lowest).map(dollars::show) else { return };
        let all = outer.iter().map(|(_, outer)| *outer).chain([level]);
        let deposit = all.filter_map(lint_channels::deposit_cap).min();
        let is_asked = lint_channels::may_use(level, outer) && deposit.is_none_or(|most| most > above);
        let message = match is_asked {
            true => format!("asks for deposits into channels only: nothing above {lowest} is paid at once"),
            false => format!("never asks: nothing above {lowest} is paid at all"),
        };
        self.warn("approval.above", message);
    }

    /// Budgets that never count anything, or count by what a caller may choose.
    fn scopes(&mut self, level: &Level, file: &PolicyFile) {
        for (number, budget) in level.budget_for.iter().enumerate() {
            let key = format!("budget_for[{number}]");
            let Scope { host, agent, network, per, .. } = &budget.scope;
            if let Some(agent) = agent.as_ref().filter(|agent| !file.agents.contains_key(*agent)) {
                self.warn(&format!("{key}.agent"), format!("there is no [agent.{agent}]: it counts nothing"));
            }
            if per.contains(&Dimension::Agent) && file.agents.is_empty() {
                let message = "the file names no agents: whoever takes another name has a budget of its own";
                self.warn(&format!("{key}.per"), message);
            }
            let is_reachable = |host: &HostPattern| match &level.allow_hosts {
                Some(allowed) => allowed.iter().any(|allowed| allowed.covers(host) || host.covers(allowed)),
                None => true,
            };
            if host.as_ref().is_some_and(|host| !is_reachable(host)) {
                self.warn(
                    &format!("{key}.host"),
                    "is not among the hosts that are allowed: it counts nothing",
                );
            }
            let is_known = network.as_ref().is_none_or(|network| {
                level.allow_networks.as_ref().is_none_or(|allowed| allowed.contains(network))
            });
            if !is_known {
                self.warn(
                    &format!("{key}.network"),
                    "is not among the networks that are allowed: it counts nothing",
                );
            }
        }
    }

    /// What `level` says in vain, because `parent` allows less.
    fn dead(&mut self, level: &Level, parent: &Level) {
        let whose = whose(parent);
        if let (DollarCap::Dollars(cap), DollarCap::Dollars(outer)) =
            (&level.max_payment, &parent.max_payment)
            && dollars::from_money(cap) > dollars::from_money(outer)
        {
            self.warn("max_payment", format!("is dead: {whose} allows at most {outer}"));
        }
        if let (Some(seconds), Some(outer)) =
            (level.max_authorization_seconds, parent.max_authorization_seconds)
            && seconds > outer
        {
            self.warn("max_authorization_seconds", format!("is dead: {whose} allows at most {outer}"));
        }
        self.dead_limits("budget", &level.budget, &parent.budget, Unit::Dollars, &whose);
        let payments = Unit::Payments { freezes: false };
        self.dead_limits("velocity", &level.velocity.limits, &parent.velocity.limits, payments, &whose);
        for (number, budget) in level.budget_for.iter().enumerate() {
            let key = format!("budget_for[{number}]");
            // What all of an outer level may spend, no part of an inner one can exceed; what an outer level says of the
            // same part neither.
            self.dead_limits(&key, &budget.limits, &parent.budget, Unit::Dollars, &whose);
            for outer in parent.budget_for.iter().filter(|outer| outer.scope == budget.scope) {
                self.dead_limits(&key, &budget.limits, &outer.limits, Unit::Dollars, &whose);
            }
        }
        for (asset, rule) in &level.assets {
            let Some(outer) = parent.assets.get(asset) else { continue };
            if rule.max_atomic.zip(outer.max_atomic).is_some_and(|(own, outer)| own > outer) {
                self.warn(
                    "asset.max_atomic",
                    format!("{}/{}: is dead: {whose} allows less", asset.0, asset.1),
                );
            }
            self.dead_limits("asset", &rule.limits, &outer.limits, Unit::Atomic, &whose);
        }
        self.dead_lists(level, parent, &whose);
    }

    fn dead_lists(&mut self, level: &Level, parent: &Level, whose: &str) {
        let mut dead = Vec::new();
        for host in level.allow_hosts.iter().flatten() {
            let is_allowed = parent.allow_hosts.as_ref().is_none_or(|allowed| {
                allowed.iter().any(|allowed| allowed.covers(host) || host.covers(allowed))
            });
            if !is_allowed || parent.deny_hosts.iter().any(|denied| denied.covers(host)) {
                dead.push(("allow_hosts", host.to_string()));
            }
        }
        for network in level.allow_networks.iter().flatten() {
            let is_allowed = parent.allow_networks.as_ref().is_none_or(|allowed| allowed.contains(network));
            if !is_allowed || parent.deny_networks.contains(network) {
                dead.push(("allow_networks", network.to_string()));
            }
        }
        for scheme in level.allow_schemes.iter().flatten() {
            let is_allowed = parent.allow_schemes.as_ref().is_none_or(|allowed| allowed.contains(scheme));
            if !is_allowed || parent.deny_schemes.contains(scheme) {
                dead.push(("allow_schemes", scheme.clone()));
            }
        }
        for tool in level.allow_tools.iter().flatten() {
            let is_allowed = parent.allow_tools.as_ref().is_none_or(|allowed| {
                allowed.iter().any(|allowed| allowed.covers(tool) || tool.covers(allowed))
            });
            if !is_allowed || parent.deny_tools.iter().any(|denied| denied.covers(tool)) {
                dead.push(("allow_tools", tool.to_string()));
            }
        }
        for (key, what) in dead {
            self.warn(key, format!("{what} is dead: {whose} does not allow it"));
        }
    }

    fn dead_limits(&mut self, key: &str, own: &Limits, outer: &Limits, unit: Unit, whose: &str) {
        let outer: BTreeMap<_, _> = outer.iter().collect();
        for (window, limit) in own.iter() {
            if let Some(outer) = outer.get(&window).filter(|outer| **outer < limit) {
                let message = format!("is dead: {whose} allows at most {} a {window}", unit.show(*outer));
                self.warn(&format!("{key}.{window}"), message);
            }
        }
    }
}

pub(super) fn whose(level: &Level) -> String {
    match level.name.split_once(':') {
        Some((kind, name)) => format!("{kind} {name}"),
        None => "the organisation".to_owned(),
    }
}

fn dollar_cap(level: &Level) -> Option<Money> {
    match &level.max_payment {
        DollarCap::Dollars(cap) => Some(cap.clone()),
        DollarCap::Unset | DollarCap::Nothing => None,
    }
}

fn is_zero(money: &Money) -> bool {
    dollars::from_money(money) == Some(Amount::ZERO)
}

/// The budgets for some purchases only, with their keys.
fn scoped(level: &Level) -> impl Iterator<Item = (String, &Limits)> {
    level
        .budget_for
        .iter()
        .enumerate()
        .map(|(number, budget)| (format!("budget_for[{number}]"), &budget.limits))
}

/// Everything that has windows, with its key.
fn limits_of(level: &Level) -> Vec<(String, &Limits)> {
    let own = [("budget".to_owned(), &level.budget), ("velocity".to_owned(), &level.velocity.limits)];
    let assets = level.assets.values().map(|rule| ("asset".to_owned(), &rule.limits));
    own.into_iter().chain(scoped(level)).chain(assets).collect()
}

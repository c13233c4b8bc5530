//! What budgets have left, for people: what the ledger counts, held against what the policy allows.

use tollway_core::{Amount, UnixTime};
use tollway_ledger::Budget;

use crate::policy::Policy;
use crate::policy::budget::{Scope, Unit};
use crate::policy::channels::{EXPOSURE, exposure_unit};
use crate::policy::level::Level;
use crate::policy::names::{self, budget_prefix, part};
use crate::policy::window::Window;

/// One window of one budget, now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetLine {
    /// The level: `org`, `team:research`.
    pub level: String,
    /// What it counts: `*` for all dollars, `velocity` for payments, otherwise which purchases.
    pub rule: String,
    /// Its window.
    pub window: Window,
    /// When the window ends.
    pub until: UnixTime,
    /// What is counted.
    pub held: String,
    /// The most, if the policy that is at hand has it.
    pub limit: Option<String>,
    /// What is left of that.
    pub left: Option<String>,
}

impl Policy {
    /// What every budget of `wallet` has left in the window that is open now: those that `counted` tells of, as the ledger
    /// lists them by [`budget_prefix`](crate::budget_prefix), and those of this policy that nothing is counted in yet.
    ///
    /// ```
    /// use tollway_buyer::Policy;
    /// use tollway_core::UnixTime;
    /// let lines = Policy::default().budget_lines("0xabc", &[], UnixTime(1_790_000_000));
    /// assert!(lines.is_empty(), "the default policy has no budgets");
    /// ```
    pub fn budget_lines(&self, wallet: &str, counted: &[Budget], now: UnixTime) -> Vec<BudgetLine> {
        let mut lines: Vec<BudgetLine> = Vec::new();
        let is_open = |row: &&Budget| row.window <= now && row.until > now;
        for row in counted.iter().filter(is_open) {
            lines.extend(self.line(wallet, &row.name, row.amount, now));
        }
        for name in self.fixed(wallet) {
            if counted.iter().filter(is_open).all(|row| row.name != name) {
                lines.extend(self.line(wallet, &name, Amount::ZERO, now));
            }
        }
        lines.sort_by(|one, other| {
            (&one.level, &one.rule, one.window).cmp(&(&other.level, &other.rule, other.window))
        });
        lines
    }

    fn line(&self, wallet: &str, name: &str, held: Amount, now: UnixTime) -> Option<BudgetLine> {
        let mut parts = name.strip_prefix(&budget_prefix(wallet))?.split('|');
        let (level, rule, window) = (parts.next()?, parts.next()?, parts.next()?);
        let window = Window::ALL.into_iter().find(|known| known.as_str() == window)?;
        let unit = match rule {
            "velocity" => Unit::Payments { freezes: false },
            rule if rule.starts_with("asset:") => Unit::Atomic,
            rule => exposure_unit(rule).unwrap_or(Unit::Dollars),
        };
        // Levels of one name share a counter: the lower limit holds.
        let levels = self.all().filter(|known| part(&known.name) == level);
        let limit = levels.filter_map(|level| limit(level, rule, window)).min();
        Some(BudgetLine {
            level: level.to_owned(),
            rule: rule.to_owned(),
            window,
            until: window.at(now).1,
            held: unit.show(held),
            limit: limit.map(|limit| unit.show(limit)),
            left: limit.map(|limit| unit.show(limit.checked_sub(held).unwrap_or(Amount::ZERO))),
        })
    }

    /// The names of the budgets that do not depend on what is bought.
    fn fixed(&self, wallet: &str) -> Vec<String> {
        let mut names = Vec::new();
        for level in self.all() {
            let mut add = |rule: &str, windows: Vec<Window>| {
                names.extend(
                    windows.into_iter().map(|window| names::budget(wallet, &level.name, rule, window)),
                );
            };
            add("velocity", level.velocities().map(|(window, _)| window).collect());
            add("*", level.budget.iter().map(|(window, _)| window).collect());
            for ((network, asset), rule) in &level.assets {
                let name = format!("asset:{network}/{}", part(asset));
                add(&name, rule.limits.iter().map(|(window, _)| window).collect());
            }
            for budget in level.budget_for.iter().filter(|budget| budget.scope.per.is_empty()) {
                add(&filters(&budget.scope), budget.limits.iter().map(|(window, _)| window).collect());
            }
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn limit(level: &Level, rule: &str, window: Window) -> Option<Amount> {
    let of = |limits: &crate::policy::budget::Limits| {
        limits.iter().find(|(known, _)| *known == window).map(|(_, limit)| limit)
    };
    match rule {
        "velocity" => level.velocities().find(|(known, _)| *known == window).map(|(_, limit)| limit),
        "*" => of(&level.budget),
        EXPOSURE => level.channels.exposure.filter(|_| window == Window::Lifetime),
        rule if rule.starts_with(EXPOSURE) => {
            let asset = rule.strip_prefix(EXPOSURE).and_then(|rest| rest.strip_prefix(':'))?;
            let mut rules = level.assets.iter();
            rules.find(|(key, _)| is_asset(key, asset)).and_then(|(_, rule)| rule.max_exposure_atomic)
        }
        rule => match rule.strip_prefix("asset:") {
            Some(asset) => {
                let mut rules = level.assets.iter();
                rules.find(|(key, _)| is_asset(key, asset)).and_then(|(_, rule)| of(&rule.limits))
            }
            None => {
                let counts = level.budget_for.iter().filter(|budget| is_named(&budget.scope, rule));
                counts.filter_map(|budget| of(&budget.limits)).min()
            }
        },
    }
}

/// Whether an asset of a policy has this name.
fn is_asset((network, address): &(tollway_core::Network, String), name: &str) -> bool {
    format!("{network}/{}", part(address)) == name
}

/// Whether a counter of this scope can have this name.
fn is_named(scope: &Scope, rule: &str) -> bool {
    let filters = scope.filters().into_iter().map(|(name, value)| format!("{name}={}", part(&value)));
    let mut parts = rule.split(',');
    let is_filtered = filters.into_iter().all(|filter| parts.next() == Some(&filter));
    let is_per = scope.per.iter().all(|dimension| {
        parts.next().is_some_and(|part| part.starts_with(&format!("{}:", dimension.as_str())))
    });
    is_filtered && is_per && parts.next().is_none()
}

fn filters(scope: &Scope) -> String {
    let filters = scope.filters().into_iter().map(|(name, value)| format!("{name}={}", part(&value)));
    filters.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use tollway_core::UnixTime;
    use tollway_ledger::Budget;

    use crate::policy::Policy;
    use crate::policy::names::FactName;
    use crate::policy::window::Window;

    const NOW: UnixTime = UnixTime(1_790_000_000);

    fn counted(name: &str, window: Window, dollars: &str) -> Budget {
        let (start, until) = window.at(NOW);
        let amount = crate::policy::dollars::from_money(&dollars.parse().unwrap()).unwrap();
        Budget { name: name.to_owned(), window: start, until, amount }
    }

    #[test]
    fn what_is_left_is_told_of_every_budget_that_has_a_limit_or_counts_something() {
        let dollars = |text: &str| text.parse().unwrap();
        let policy = Policy::default()
            .budget_per(Window::Day, &dollars("$10"))
            .add_level("agent:scout")
            .budget_per(Window::Hour, &dollars("$1"));
        let rows = [
            counted("w|org|*|day", Window::Day, "$2.5"),
            counted("w|org|host=api.example.com|day", Window::Day, "$0.5"),
            counted("other|org|*|day", Window::Day, "$9"),
            Budget { until: NOW, ..counted("w|org|*|hour", Window::Hour, "$7") },
        ];
        let lines = policy.budget_lines("w", &rows, NOW);
        let told: Vec<_> = lines
            .iter()
            .map(|line| (&*line.level, &*line.rule, line.window, &*line.held, line.left.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("agent:scout", "*", Window::Hour, "$0", Some("$1")),
                ("org", "*", Window::Day, "$2.5", Some("$7.5")),
                ("org", "host=api.example.com", Window::Day, "$0.5", None),
            ]
        );
        let over = [counted("w|org|*|day", Window::Day, "$11")];
        let lines = policy.budget_lines("w", &over, NOW);
        assert_eq!(lines[1].left.as_deref(), Some("$0"), "a limit that was lowered");
    }

    #[test]
    fn an_agent_can_be_frozen_whether_the_policy_has_a_level_for_it_or_not() {
        let names = |policy: &Policy| -> Vec<String> {
            policy.switch_facts("w").map(|FactName { name, .. }| name).collect()
        };
        let scout = Policy::default().for_agent("scout");
        assert_eq!(names(&scout), ["org", "agent:scout"]);
        assert_eq!(names(&scout.add_level("agent:scout")), ["org", "agent:scout"], "and once");
        assert_eq!(names(&Policy::default()), ["org"]);
    }
}

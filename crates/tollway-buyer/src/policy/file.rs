//! Policy files: the organisation's rules, its teams' and its agents', in TOML. Every key with its meaning stands in
//! `policy.example.toml`, beside this crate's manifest.
//!
//! Text in, rules out: who reads files and finds the secrets that they point to is somebody else.

use std::collections::BTreeMap;
use std::fmt;

use toml::Table;

use crate::policy::keys::{Keys, PolicyNote, Report};
use crate::policy::level::{Alarm, Level};
use crate::policy::read_level::read_level;
use crate::policy::{ORGANISATION, Policy, lint, outermost};

/// The longest policy file.
const MAX_BYTES: usize = 256 * 1024;
/// The longest name of a team or an agent.
const MAX_NAME_BYTES: usize = 64;

/// A policy file that has been read: for each agent a [`Policy`].
///
/// ```
/// use tollway_buyer::PolicyFile;
/// let file = PolicyFile::parse(r#"
///     max_payment = "$0.50"
///     [budget]
///     day = "$20"
///     [agent.scout]
///     allow_hosts = ["*.example.com"]
///     budget.day = "$5"
/// "#)?;
/// assert_eq!(file.policy(Some("scout"))?.levels().collect::<Vec<_>>(), ["org", "agent:scout"]);
/// assert!(file.policy(Some("stranger")).is_err() && file.policy(None).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFile {
    pub(crate) organisation: Level,
    pub(crate) teams: BTreeMap<String, Level>,
    pub(crate) agents: BTreeMap<String, Agent>,
}

/// An agent of a policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    pub(crate) team: Option<String>,
    pub(crate) level: Level,
}

/// Everything that is wrong with a policy file. None of it is in force then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PolicyFaults(pub Vec<PolicyNote>);

/// A file that names agents does not name this one: it may pay nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy names its agents, and {}", .0.as_deref().map_or_else(unnamed, |name| format!("{name:?} is none of them")))]
pub struct UnknownAgent(pub Option<String>);

fn unnamed() -> String {
    "who pays must say which of them it is".to_owned()
}

impl PolicyFile {
    /// Reads a policy file.
    ///
    /// # Errors
    /// All that is wrong with it, each with its key.
    ///
    /// ```
    /// use tollway_buyer::PolicyFile;
    /// let faults = PolicyFile::parse("max_payment = 0.5\nallow_host = \"api.example.com\"").unwrap_err();
    /// assert_eq!(faults.0.len(), 2);
    /// assert_eq!(faults.0[0].to_string(), "max_payment: must be in quotes");
    /// ```
    pub fn parse(text: &str) -> Result<Self, PolicyFaults> {
        let mut report = Report::default();
        let file = Self::read(text, &mut report);
        match file {
            Some(file) if report.faults.is_empty() => Ok(file),
            _ => Err(PolicyFaults(report.faults)),
        }
    }

    /// The rules for `agent`: the organisation's, its team's, its own. A file that names no agents has the same rules for
    /// all.
    ///
    /// # Errors
    /// The file names its agents, and this is none of them.
    ///
    /// ```
    /// let file = tollway_buyer::PolicyFile::parse("max_payment = \"$0.50\"")?;
    /// assert_eq!(file.policy(Some("anyone"))?.agent(), Some("anyone"));
    /// assert_eq!(file.policy(None)?.levels().count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn policy(&self, agent: Option<&str>) -> Result<Policy, UnknownAgent> {
        let mut policy = Policy::of(self.organisation.clone());
        if !self.agents.is_empty() {
            let unknown = || UnknownAgent(agent.map(str::to_owned));
            let known = agent.and_then(|name| self.agents.get(name)).ok_or_else(unknown)?;
            if let Some(team) = &known.team {
                policy.push(self.teams.get(team).ok_or_else(unknown)?.clone());
            }
            policy.push(known.level.clone());
        }
        Ok(match agent {
            Some(name) => policy.for_agent(name),
            None => policy,
        })
    }

    /// The agents it names.
    ///
    /// ```
    /// let file = tollway_buyer::PolicyFile::parse("[agent.scout]")?;
    /// assert_eq!(file.agents().collect::<Vec<_>>(), ["scout"]);
    /// # Ok::<(), tollway_buyer::PolicyFaults>(())
    /// ```
    pub fn agents(&self) -> impl Iterator<Item = &str> {
        self.agents.keys().map(|name| &**name)
    }

    /// What is not wrong but does nothing, or something else than it seems to.
    ///
    /// ```
    /// let text = "max_payment = \"$1\"\n[agent.scout]\nmax_payment = \"$2\"";
    /// let warnings = tollway_buyer::PolicyFile::parse(text)?.warnings();
    /// assert_eq!(warnings[0].to_string(), "agent.scout.max_payment: is dead: the organisation allows at most $1");
    /// # Ok::<(), tollway_buyer::PolicyFaults>(())
    /// ```
    pub fn warnings(&self) -> Vec<PolicyNote> {
        lint::warnings(self)
    }

    /// `None`: there is nothing to read on.
    pub(crate) fn read(text: &str, report: &mut Report) -> Option<Self> {
        let table = match text.parse::<Table>() {
            _ if text.len() > MAX_BYTES => Err(format!("is longer than {MAX_BYTES} bytes")),
            Ok(table) => Ok(table),
            Err(error) => Err(syntax(text, &error)),
        };
        let table =
            table.map_err(|message| report.faults.push(PolicyNote { key: String::new(), message })).ok()?;
        let mut root = Keys::new("", table, report);
        let (teams, agents) = (root.named("team"), root.named("agent"));
        let organisation = read_level(&mut root, Level { name: ORGANISATION.to_owned(), ..outermost() });
        root.done();
        let mut file = Self { organisation, teams: BTreeMap::new(), agents: BTreeMap::new() };
        for (name, table) in teams {
            let mut keys = Keys::new(&format!("team.{name}"), table, report);
            check_name(&name, &mut keys);
            let level = read_level(&mut keys, Level::new(&format!("team:{name}")));
            keys.done();
            file.teams.insert(name, level);
        }
        for (name, table) in agents {
            let mut keys = Keys::new(&format!("agent.{name}"), table, report);
            check_name(&name, &mut keys);
            let team = keys.text("team", |team| Ok(team.to_owned()));
            if let Some(team) = team.as_deref().filter(|team| !file.teams.contains_key(*team)) {
                keys.fault("team", format!("there is no [team.{team}]"));
            }
            let level = read_level(&mut keys, Level::new(&format!("agent:{name}")));
            keys.done();
            file.agents.insert(name, Agent { team, level });
        }
        file.check_askers(report);
        Some(file)
    }

    /// Every stack of levels, outermost first, each with its key in the file.
    pub(crate) fn stacks(&self) -> Vec<Vec<(String, &Level)>> {
        let organisation = (String::new(), &self.organisation);
        let team = |name: &str| Some((format!("team.{name}"), self.teams.get(name)?));
        let teams = self.teams.keys().filter_map(|name| Some(vec![organisation.clone(), team(name)?]));
        let agents = self.agents.iter().map(|(name, agent)| {
            let mut stack = vec![organisation.clone()];
            stack.extend(agent.team.as_deref().and_then(team));
            stack.push((format!("agent.{name}"), &agent.level));
            stack
        });
        std::iter::once(vec![organisation.clone()]).chain(teams).chain(agents).collect()
    }

    /// Who wants to ask must have somebody to ask.
    fn check_askers(&self, report: &mut Report) {
        for stack in self.stacks() {
            let Some((path, level)) = stack.last() else { continue };
            if stack.iter().any(|(_, level)| level.approval.is_some()) {
                continue;
            }
            let drifts = level.drift.is_some_and(|drift| drift.on == Alarm::Ask);
            let asks = [("drift.on", drifts), ("on_changed_payee", level.on_changed_payee == Alarm::Ask)];
            for (key, _) in asks.iter().filter(|(_, asks)| *asks) {
                let key = if path.is_empty() { (*key).to_owned() } else { format!("{path}.{key}") };
                let message =
                    "asks, and nobody is named: add an [approval], here or at a level above".to_owned();
                report.faults.push(PolicyNote { key, message });
            }
        }
    }
}

impl fmt::Display for PolicyFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&faults.join("\n"))
    }
}

fn check_name(name: &str, keys: &mut Keys<'_>) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_plain) {
        let message = format!("names are 1 to {MAX_NAME_BYTES} letters, digits, \"_\", \"-\" and \".\"");
        keys.fault("", message);
    }
}

/// Where the text is no TOML. The line itself is not repeated.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', ", ");
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::{PolicyFile, Report};

    const EXAMPLE: &str = include_str!("../../policy.example.toml");

    /// Whether `key` stands in `text`, as a key or as a table.
    fn documents(text: &str, key: &str) -> bool {
        text.lines().any(|line| match line.strip_prefix('[') {
            Some(table) => table.trim_matches(['[', ']']).split('.').any(|step| step == key),
            None => {
                line.split_once('=').is_some_and(|(name, _)| name.trim().split('.').any(|step| step == key))
            }
        })
    }

    #[test]
    fn every_key_that_is_read_stands_in_the_example() {
        let mut report = Report::default();
        assert!(PolicyFile::read(EXAMPLE, &mut report).is_some());
        assert_eq!(report.faults, []);
        assert!(report.asked.len() >= 45, "{:?}", report.asked);
        for key in report.asked {
            assert!(documents(EXAMPLE, key), "{key} is not in policy.example.toml");
        }
    }

    #[test]
    fn the_example_is_a_policy_without_warnings() {
        let file = PolicyFile::parse(EXAMPLE).unwrap();
        assert_eq!(file.warnings(), []);
        let policy = file.policy(Some("scout")).unwrap();
        assert_eq!(policy.levels().collect::<Vec<_>>(), ["org", "team:research", "agent:scout"]);
    }
}

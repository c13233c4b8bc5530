//! Whose rules a guest of the proxy pays by.

use http::StatusCode;
use tollway_buyer::{PolicyFile, Wallet};

use super::door::Guest;
use super::problem::Problem;
use crate::commands::purse::PurseArgs;

/// The agents who pay through one wallet.
pub(crate) struct Agents {
    purse: PurseArgs,
    file: Option<PolicyFile>,
}

impl Agents {
    /// Those of the command line. Its own agent, if it names one, is one that the policy knows.
    pub(crate) fn read(purse: PurseArgs) -> anyhow::Result<Self> {
        let agents = Self { file: purse.policy_file()?, purse };
        let is_alone = agents.file.as_ref().is_none_or(|file| file.agents().next().is_none());
        if is_alone || agents.purse.agent().is_some() {
            agents.purse.rules_of(agents.file.as_ref(), agents.purse.agent())?;
        }
        Ok(agents)
    }

    /// The wallet for a guest: who gives no name is the agent of the command line.
    pub(crate) fn wallet(&self, wallet: &Wallet, guest: &Guest) -> Result<Wallet, Problem> {
        let agent = guest.agent.as_deref().or(self.purse.agent());
        let unknown = |error: anyhow::Error| {
            Problem::new(
                StatusCode::FORBIDDEN,
                "agent",
                format!("{error:#}; nothing was asked, and nothing paid"),
            )
        };
        let rules = self.purse.rules_of(self.file.as_ref(), agent).map_err(unknown)?;
        let wallet = wallet.with_policy(rules);
        Ok(match agent {
            Some(agent) => wallet.as_agent(agent),
            None => wallet,
        })
    }
}

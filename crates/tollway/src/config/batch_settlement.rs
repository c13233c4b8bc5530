//! What the facilitator does with channels on one network: whom it consents for, and how much it claims at once.

use std::sync::Arc;

use serde::Deserialize;
use tollway_facilitator::{ChannelSetup, RefundsFor};

use crate::signing::{SourceText, Unlock};

// tidy: config crates/tollway/config/facilitator.toml
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchSettlementConfig {
    authorizer: Option<SourceText>,
    max_claims: Option<usize>,
    #[serde(default)]
    refunds_for: Vec<RefundsForConfig>,
}

// tidy: config crates/tollway/config/facilitator.toml
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundsForConfig {
    receiver: String,
    caller: String,
}

impl BatchSettlementConfig {
    /// What it says, with its key opened; what is wrong with it goes to `faults`.
    pub(super) async fn setup(&self, unlock: &Unlock, faults: &mut Vec<String>) -> ChannelSetup {
        let mut setup = ChannelSetup::default();
        if let Some(max_claims) = self.max_claims {
            setup.max_claims = max_claims;
        }
        if let Some(source) = &self.authorizer {
            match unlock.open(source).await {
                Ok(key) => setup.authorizer = Some(Arc::clone(&key)),
                Err(fault) => faults.push(format!("batch_settlement.authorizer: {fault:#}")),
            }
        }
        for (index, known) in self.refunds_for.iter().enumerate() {
            match known.receiver.parse() {
                Ok(receiver) => {
                    let caller = Some(known.caller.clone());
                    setup.refunds_for.push(RefundsFor { receiver, caller });
                }
                Err(_) => faults.push(format!(
                    "batch_settlement.refunds_for[{index}].receiver: must be an address, not {:?}",
                    known.receiver
                )),
            }
        }
        if self.authorizer.is_some() == setup.authorizer.is_some() {
            faults.extend(setup.faults());
        }
        setup
    }

    /// The callers whose refunds are signed.
    pub(super) fn callers(&self) -> impl Iterator<Item = &str> {
        self.refunds_for.iter().map(|known| known.caller.as_str())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{BatchSettlementConfig, RefundsForConfig};
    use crate::signing::Unlock;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        unlock: Unlock,
    }

    #[tokio::test]
    async fn what_no_facilitator_can_do_is_a_fault_and_names_itself() {
        let known = RefundsForConfig { receiver: "shop".to_owned(), caller: "shop".to_owned() };
        let config =
            BatchSettlementConfig { authorizer: None, max_claims: Some(0), refunds_for: vec![known] };
        let mut faults = Vec::new();
        let Line { unlock } = Line::parse_from(["tollway"]);
        let setup = config.setup(&unlock, &mut faults).await;
        assert_eq!((setup.refunds_for.len(), faults.len()), (0, 2), "{faults:?}");
        assert!(faults[0].starts_with("batch_settlement.refunds_for[0].receiver: must be an address"));
        assert!(faults[1].contains("max_claims must be from 1"), "{faults:?}");
    }
}

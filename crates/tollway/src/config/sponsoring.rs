//! What an operator gives for payers' approvals of Permit2, as it is written down.

use serde::Deserialize;
use tollway_evm::U256;
use tollway_facilitator::Sponsoring;

// tidy: config crates/tollway/config/facilitator.toml
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SponsoringConfig {
    max_cost_gwei: u64,
    payer_approvals_a_day: u32,
    approvals_a_day: u32,
}

impl SponsoringConfig {
    /// What it says; what is wrong with it goes to `faults`.
    pub(super) fn sponsoring(&self, faults: &mut Vec<String>) -> Sponsoring {
        let given = Sponsoring {
            max_cost: U256::from(self.max_cost_gwei) * U256::from(1_000_000_000_u64),
            payer_approvals_a_day: self.payer_approvals_a_day,
            approvals_a_day: self.approvals_a_day,
        };
        faults.extend(given.faults());
        given
    }
}

#[cfg(test)]
mod tests {
    use super::SponsoringConfig;

    #[test]
    fn more_for_one_payer_than_for_all_is_a_fault() {
        let config = SponsoringConfig { max_cost_gwei: 20_000, payer_approvals_a_day: 3, approvals_a_day: 2 };
        let mut faults = Vec::new();
        let given = config.sponsoring(&mut faults);
        assert_eq!(given.max_cost.to_string(), "20000000000000");
        assert_eq!(faults, ["sponsoring: payer_approvals_a_day must be from 1 to approvals_a_day"]);
    }
}

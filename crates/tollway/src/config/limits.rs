//! What bounds the engine, as an operator writes it down.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use tollway_core::extension::builder_code::BuilderCode;
use tollway_evm::{Address, U256};
use tollway_facilitator::Limits;

/// The longest that one call to a node may take.
const MAX_RPC_DEADLINE_MS: u64 = 300_000;

/// Keys that are called otherwise than what they set, because they say their unit.
const KEYS: [(&str, &str); 5] = [
    ("limits.settle_deadline:", "limits.settle_deadline_ms:"),
    ("limits.max_fee_per_gas:", "limits.max_fee_gwei:"),
    ("limits.rebroadcast_every:", "limits.rebroadcast_ms:"),
    ("limits.bump_after:", "limits.bump_ms:"),
    ("limits.member_ttl:", "limits.member_ttl_seconds:"),
];

// tidy: config crates/tollway/config/facilitator.toml
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsConfig {
    settle_deadline_ms: u64,
    rpc_deadline_ms: u64,
    lane_queue: usize,
    batch: usize,
    simulations: usize,
    simulation_calls: usize,
    journal: usize,
    max_fee_gwei: u64,
    max_validity_seconds: u64,
    min_validity_seconds: u64,
    rebroadcast_ms: u64,
    bump_ms: u64,
    max_bumps: u32,
    low_balance_gwei: u64,
    member_ttl_seconds: u64,
    contract_payers: bool,
    erc6492_factories: Vec<String>,
    builder_code: String,
}

impl LimitsConfig {
    /// How long one call to a node may take.
    pub(super) const fn rpc_deadline(&self) -> Duration {
        Duration::from_millis(self.rpc_deadline_ms)
    }

    /// What they say; what is wrong with them goes to `faults`.
    pub(super) fn limits(&self, faults: &mut Vec<String>) -> Limits {
        if !(1..=MAX_RPC_DEADLINE_MS).contains(&self.rpc_deadline_ms) {
            faults.push(format!("limits.rpc_deadline_ms: must be from 1 to {MAX_RPC_DEADLINE_MS}"));
        }
        let limits = Limits {
            settle_deadline: Duration::from_millis(self.settle_deadline_ms),
            simulations: self.simulations,
            simulation_calls: self.simulation_calls,
            lane_queue: self.lane_queue,
            batch: self.batch,
            journal: self.journal,
            max_fee_per_gas: u128::from(self.max_fee_gwei) * 1_000_000_000,
            max_validity_seconds: self.max_validity_seconds,
            min_validity_seconds: self.min_validity_seconds,
            rebroadcast_every: Duration::from_millis(self.rebroadcast_ms),
            bump_after: Duration::from_millis(self.bump_ms),
            max_bumps: self.max_bumps,
            low_balance: (self.low_balance_gwei > 0)
                .then(|| U256::from(self.low_balance_gwei) * U256::from(1_000_000_000u64)),
            member_ttl: Duration::from_secs(self.member_ttl_seconds),
            contract_payers: self.contract_payers,
            erc6492_factories: self.factories(faults),
            builder_code: self.builder_code(faults),
        };
        faults.extend(limits.faults().into_iter().map(|fault| as_key(&fault)));
        limits
    }

    /// The operator's own code, if there is one.
    fn builder_code(&self, faults: &mut Vec<String>) -> Option<BuilderCode> {
        if self.builder_code.is_empty() {
            return None;
        }
        let code = BuilderCode::new(&self.builder_code);
        code.map_err(|error| faults.push(format!("limits.builder_code: {error}"))).ok()
    }

    /// Whom payments may call to deploy their payers' wallets.
    fn factories(&self, faults: &mut Vec<String>) -> BTreeSet<Address> {
        let mut known = BTreeSet::new();
        for (index, text) in self.erc6492_factories.iter().enumerate() {
            match text.parse() {
                Ok(factory) => {
                    known.insert(factory);
                }
                Err(_) => faults
                    .push(format!("limits.erc6492_factories[{index}]: must be an address, not {text:?}")),
            }
        }
        known
    }
}

/// The fault by the key that is in the file.
fn as_key(fault: &str) -> String {
    let renamed = KEYS.iter().find_map(|(field, key)| Some(format!("{key}{}", fault.strip_prefix(field)?)));
    renamed.unwrap_or_else(|| fault.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::{DEFAULT_FILE, FacilitatorConfig};
    use figment::Figment;
    use figment::providers::{Format, Toml};

    fn faults(limits: &str) -> String {
        let file = Figment::from(Toml::string(DEFAULT_FILE)).merge(Toml::string(limits));
        let config: FacilitatorConfig = file.extract().unwrap();
        config.limits().unwrap_err().to_string()
    }

    #[test]
    fn every_limit_out_of_its_range_is_told_at_once_by_its_key() {
        let told = faults(
            "[limits]\nsettle_deadline_ms = 0\nrpc_deadline_ms = 0\nbatch = 151\nmax_fee_gwei = 0\n\
             rebroadcast_ms = 0\nbump_ms = 0\nmember_ttl_seconds = 2\nbuilder_code = \"A B\"\n\
             erc6492_factories = [\"0x1\"]",
        );
        for key in [
            "settle_deadline_ms",
            "rpc_deadline_ms",
            "batch",
            "max_fee_gwei",
            "rebroadcast_ms",
            "bump_ms",
            "member_ttl_seconds",
            "builder_code",
            "erc6492_factories[0]",
        ] {
            assert!(told.contains(&format!("limits.{key}: ")), "{key} in {told}");
        }
    }

    #[test]
    fn a_time_that_no_clock_can_hold_is_a_fault() {
        let most = i64::MAX;
        let told = faults(&format!(
            "[limits]\nsettle_deadline_ms = {most}\nrpc_deadline_ms = {most}\nrebroadcast_ms = {most}\n\
             bump_ms = {most}\nmember_ttl_seconds = {most}\nlane_queue = {most}"
        ));
        assert_eq!(told.lines().count(), 7, "{told}");
    }
}

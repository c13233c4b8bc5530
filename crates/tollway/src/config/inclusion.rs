//! When payments count as settled, as an operator writes it down.

use serde::Deserialize;
use tollway_core::{Amount, Network};
use tollway_facilitator::{Inclusion, MAX_CONFIRMATIONS, Profile};

// tidy: config crates/tollway/config/facilitator.toml
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ThresholdConfig {
    from_atomic: String,
    confirmations: u32,
}

/// The profile of a network; what is not said is as usual there.
pub(super) fn profile(
    network: &Network,
    inclusion: Option<&str>,
    final_depth: Option<u64>,
    thresholds: &[ThresholdConfig],
    faults: &mut Vec<String>,
) -> Profile {
    let mut profile = Profile::usual(network);
    match inclusion {
        None => {}
        Some("block") => profile.inclusion = Inclusion::Block,
        Some("preconfirmation") => profile.inclusion = Inclusion::Preconfirmation,
        Some(blocks) => match blocks.parse() {
            Ok(blocks) if blocks > MAX_CONFIRMATIONS => {
                faults.push(format!("inclusion: must be at most \"{MAX_CONFIRMATIONS}\" confirmations"));
            }
            Ok(blocks) => profile.inclusion = Inclusion::Confirmations(blocks),
            Err(_) => faults.push(format!(
                "inclusion: must be \"block\", \"preconfirmation\", or a number of confirmations like \"3\", not {blocks:?}"
            )),
        },
    }
    for (index, threshold) in thresholds.iter().enumerate() {
        if threshold.confirmations > MAX_CONFIRMATIONS {
            faults.push(format!("thresholds[{index}].confirmations: must be at most {MAX_CONFIRMATIONS}"));
            continue;
        }
        match threshold.from_atomic.parse::<Amount>() {
            Ok(from) => profile.thresholds.push((from, threshold.confirmations)),
            Err(error) => faults.push(format!("thresholds[{index}].from_atomic: {error}")),
        }
    }
    profile.final_depth = final_depth.unwrap_or(profile.final_depth);
    faults.extend(profile.faults());
    profile
}

#[cfg(test)]
mod tests {
    use tollway_core::Network;

    use super::{ThresholdConfig, profile};

    #[test]
    fn too_many_confirmations_are_told_by_the_key_that_asks_for_them() {
        let mut faults = Vec::new();
        let threshold = ThresholdConfig { from_atomic: "1".to_owned(), confirmations: 65 };
        profile(&Network::evm(1), Some("1000"), Some(0), &[threshold], &mut faults);
        assert_eq!(
            faults,
            [
                "inclusion: must be at most \"64\" confirmations",
                "thresholds[0].confirmations: must be at most 64",
                "final_depth: must be between 1 and 1000",
            ]
        );
    }
}

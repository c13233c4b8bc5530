//! When payments count as settled, as an operator writes it down.

use serde::Deserialize;
use tollway_core::{Amount, Network};
use tollway_facilitator::{Inclusion, Profile};

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
            Ok(blocks) => profile.inclusion = Inclusion::Confirmations(blocks),
            Err(_) => faults.push(format!(
                "inclusion: must be \"block\", \"preconfirmation\", or a number of confirmations like \"3\", not {blocks:?}"
            )),
        },
    }
    for (index, threshold) in thresholds.iter().enumerate() {
        match threshold.from_atomic.parse::<Amount>() {
            Ok(from) => profile.thresholds.push((from, threshold.confirmations)),
            Err(error) => faults.push(format!("thresholds[{index}].from_atomic: {error}")),
        }
    }
    profile.final_depth = final_depth.unwrap_or(profile.final_depth);
    faults.extend(profile.faults());
    profile
}

//! What the facilitator does of scheme `auth-capture`: which contracts, and whose refunds.

use serde::Deserialize;
use tollway_evm::auth_capture::Deployment;
use tollway_facilitator::AuthCaptureSetup;

// tidy: config crates/tollway/config/facilitator.toml
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthCaptureConfig {
    deployments: Vec<String>,
    refunds_for: Vec<String>,
}

impl AuthCaptureConfig {
    /// What it says; what is wrong with it goes to `faults`.
    pub(super) fn setup(&self, faults: &mut Vec<String>) -> AuthCaptureSetup {
        let mut setup = AuthCaptureSetup { deployments: Vec::new(), refunds_for: Vec::new() };
        for (index, name) in self.deployments.iter().enumerate() {
            match Deployment::named(name) {
                Some(deployment) => setup.deployments.push(deployment),
                None => {
                    let known = Deployment::KNOWN.map(|known| known.name).join(", ");
                    faults.push(format!(
                        "auth_capture.deployments[{index}]: must be one of {known}, not {name:?}"
                    ));
                }
            }
        }
        for (index, text) in self.refunds_for.iter().enumerate() {
            match text.parse() {
                Ok(address) => setup.refunds_for.push(address),
                Err(_) => faults
                    .push(format!("auth_capture.refunds_for[{index}]: must be an address, not {text:?}")),
            }
        }
        setup
    }
}

#[cfg(test)]
mod tests {
    use super::AuthCaptureConfig;

    #[test]
    fn what_is_not_known_is_a_fault_and_names_itself() {
        let config = AuthCaptureConfig {
            deployments: vec!["v1.1".to_owned(), "v2".to_owned()],
            refunds_for: vec!["shop".to_owned()],
        };
        let mut faults = Vec::new();
        let setup = config.setup(&mut faults);
        assert_eq!((setup.deployments.len(), setup.refunds_for.len()), (1, 0));
        assert!(faults[0].starts_with("auth_capture.deployments[1]: must be one of v1.1"), "{faults:?}");
        assert_eq!(faults[1], "auth_capture.refunds_for[0]: must be an address, not \"shop\"");
    }
}

//! Who is told of outcomes, and how payers whose payments burn gas are scored.

use std::time::Duration;

use serde::Deserialize;
use tollway_core::WebhookSecret;
use tollway_facilitator::{OutcomeEndpoints, ScoreLimits, WebhookLimits, WebhookSetup, Webhooks};

use super::access::CallerConfig;
use super::read_secret;

/// Where to post outcomes to.
// tidy: config crates/tollway/config/facilitator.toml
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookConfig {
    name: String,
    url: String,
    secret: String,
    #[serde(default)]
    of_all: bool,
}

/// How outcomes are delivered.
// tidy: config crates/tollway/config/facilitator.toml
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeliveryConfig {
    deadline_ms: u64,
    concurrency: u32,
    poll_ms: u64,
    first_retry_seconds: u64,
}

/// What reverted payments lead to.
// tidy: config crates/tollway/config/facilitator.toml
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScoreConfig {
    threshold: u64,
    reverted: u64,
    failed: u64,
    decay_seconds: u64,
    cooling_seconds: u64,
    payers: usize,
}

/// Who is told what.
#[derive(Debug)]
pub(crate) struct Outcomes {
    /// Where to post.
    pub(crate) webhooks: Vec<WebhookSetup>,
    /// Which outcomes go where.
    pub(crate) endpoints: OutcomeEndpoints,
    /// How.
    pub(crate) limits: WebhookLimits,
}

/// Reads the secrets. Faults are added to `faults`.
pub(super) fn outcomes(
    webhooks: &[WebhookConfig],
    delivery: &DeliveryConfig,
    callers: &[CallerConfig],
    faults: &mut Vec<String>,
) -> Outcomes {
    let mut setups = Vec::new();
    for (index, config) in webhooks.iter().enumerate() {
        let secret =
            read_secret(&config.secret).and_then(|text| WebhookSecret::parse(&text).map_err(str::to_owned));
        match secret {
            Ok(secret) => {
                setups.push(WebhookSetup { name: config.name.clone(), url: config.url.clone(), secret });
            }
            Err(fault) => faults.push(format!("webhooks[{index}].secret: {fault}")),
        }
    }
    let of_all = webhooks.iter().filter(|config| config.of_all).map(|config| config.name.clone()).collect();
    let mut endpoints = OutcomeEndpoints { of_all, ..OutcomeEndpoints::default() };
    for (index, caller) in callers.iter().enumerate() {
        let Some(name) = &caller.webhook else { continue };
        if !webhooks.iter().any(|config| &config.name == name) {
            faults.push(format!("callers[{index}].webhook: no [[webhooks]] table is named {name:?}"));
        }
        endpoints.of_caller.insert(caller.name.clone(), name.clone());
    }
    let limits = WebhookLimits {
        deadline: Duration::from_millis(delivery.deadline_ms),
        concurrency: delivery.concurrency,
        poll_every: Duration::from_millis(delivery.poll_ms),
        first_retry_seconds: delivery.first_retry_seconds,
    };
    Outcomes { webhooks: setups, endpoints, limits }
}

impl Outcomes {
    /// What can be told before anything starts.
    pub(super) fn faults(&self) -> Vec<String> {
        Webhooks::faults(&self.webhooks, &self.limits)
    }
}

impl ScoreConfig {
    /// The same, as the library has it.
    pub(super) const fn limits(&self) -> ScoreLimits {
        ScoreLimits {
            threshold: self.threshold,
            reverted: self.reverted,
            failed: self.failed,
            decay: Duration::from_secs(self.decay_seconds),
            cooling: Duration::from_secs(self.cooling_seconds),
            payers: self.payers,
        }
    }
}

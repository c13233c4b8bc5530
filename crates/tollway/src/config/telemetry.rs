//! What is told of the program's work, and to whom.

use serde::Deserialize;
use url::Url;

/// Logs, metrics, spans.
// tidy: config crates/tollway/config/facilitator.toml
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TelemetryConfig {
    pub(crate) log_format: LogFormat,
    pub(crate) metrics_listen: String,
    pub(crate) otlp_endpoint: String,
    pub(crate) otlp_sample_percent: u8,
    pub(crate) service_name: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl TelemetryConfig {
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let is_web = |url: Url| matches!(url.scheme(), "http" | "https");
        if !self.otlp_endpoint.is_empty() && !Url::parse(&self.otlp_endpoint).is_ok_and(is_web) {
            faults.push("telemetry.otlp_endpoint: must be a URL like \"http://127.0.0.1:4318\"".to_owned());
        }
        if self.otlp_sample_percent > 100 {
            faults.push("telemetry.otlp_sample_percent: must be at most 100".to_owned());
        }
        if self.service_name.is_empty() {
            faults.push("telemetry.service_name: must not be empty".to_owned());
        }
        faults
    }
}

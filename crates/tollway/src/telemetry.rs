//! Where a facilitator's logs, metrics and spans go: stderr, a page for Prometheus, an OpenTelemetry collector.
//!
//! What is told is decided where it happens. Secrets never get this far: no span, event or metric has a signature, a
//! key or a token among its fields.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::KeyValue;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::runtime::Tokio;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tollway_facilitator::telemetry::{FAMILIES, FamilyKind, describe};
use tracing::{Instrument, debug_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogFormat, TelemetryConfig};
use crate::serving::Server;

/// Latencies, seconds: from a check without a node to a slow chain.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
/// Payments in one batch.
const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// How long a collector may take for one batch of spans.
const EXPORT_DEADLINE: Duration = Duration::from_secs(5);
/// How long the last spans may take to leave at the end.
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);
/// How often the recorder folds what was measured into its buckets.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// What was started, to be ended last.
#[derive(Debug)]
pub(crate) struct Telemetry {
    tracer: Option<SdkTracerProvider>,
    metrics: Option<Metrics>,
}

/// The page for Prometheus.
#[derive(Debug)]
struct Metrics {
    /// Serves until dropped.
    server: Server,
    upkeep: tokio::task::JoinHandle<()>,
}

impl Telemetry {
    /// Starts what the configuration names. `instance` tells this process from its kind.
    pub(crate) async fn start(config: &TelemetryConfig, json: bool, instance: &str) -> anyhow::Result<Self> {
        let tracer = match config.otlp_endpoint.as_str() {
            "" => None,
            endpoint => Some(tracer(config, endpoint, instance).context("telemetry.otlp_endpoint")?),
        };
        let format = if json { LogFormat::Json } else { config.log_format };
        log(format, tracer.as_ref().map(|provider| provider.tracer("tollway")));
        let metrics = match config.metrics_listen.as_str() {
            "" => None,
            address => Some(Metrics::start(address).await.context("telemetry.metrics_listen")?),
        };
        Ok(Self { tracer, metrics })
    }

    /// Where `/metrics` is, if anywhere.
    pub(crate) fn metrics_url(&self) -> Option<String> {
        self.metrics.as_ref().map(|metrics| format!("{}/metrics", metrics.server.url()))
    }

    /// `app`, with a span around every request that goes on what the caller traces (W3C `traceparent`).
    pub(crate) fn around(&self, app: Router) -> Router {
        if self.tracer.is_some() { app.layer(middleware::from_fn(trace)) } else { app }
    }

    /// Sends the last spans.
    pub(crate) async fn stop(self) {
        let Some(tracer) = self.tracer else { return };
        // It blocks until they have left.
        let flushed = tokio::task::spawn_blocking(move || tracer.shutdown());
        if tokio::time::timeout(FLUSH_DEADLINE, flushed).await.is_err() {
            tracing::warn!("the last spans were not taken in time");
        }
    }
}

impl Metrics {
    async fn start(address: &str) -> anyhow::Result<Self> {
        let mut builder = PrometheusBuilder::new();
        for family in FAMILIES {
            let buckets = match family.kind {
                FamilyKind::Seconds => SECONDS,
                FamilyKind::Sizes => SIZES,
                FamilyKind::Counter | FamilyKind::Gauge => continue,
            };
            builder = builder.set_buckets_for_metric(Matcher::Full(family.name.to_owned()), buckets)?;
        }
        let handle = builder.install_recorder()?;
        describe();
        let app = Router::new().route("/metrics", get(render)).with_state(handle.clone());
        let server = Server::spawn(Server::listen(address).await?, app)?;
        let upkeep = tokio::spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP_EVERY).await;
                handle.run_upkeep();
            }
        });
        Ok(Self { server, upkeep })
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.upkeep.abort();
    }
}

async fn render(State(metrics): State<PrometheusHandle>) -> Response {
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(CONTENT_TYPE, text)], metrics.render()).into_response()
}

/// Logs to stderr, those that `RUST_LOG` selects; and spans of this program to the collector, whatever is logged.
fn log(format: LogFormat, tracer: Option<SdkTracer>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let is_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_ansi(is_terminal).with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().with_span_list(false).boxed(),
    };
    let ours = Targets::new().with_target("tollway", LevelFilter::DEBUG);
    let spans = tracer.map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_filter(ours)
    });
    tracing_subscriber::registry().with(spans).with(lines.with_filter(filter)).init();
}

fn tracer(config: &TelemetryConfig, endpoint: &str, instance: &str) -> anyhow::Result<SdkTracerProvider> {
    // What is sent names payers: it goes to the collector that was configured and nowhere else.
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(EXPORT_DEADLINE)
        .build()?;
    let resource = Resource::builder()
        .with_service_name(config.service_name.clone())
        .with_attribute(KeyValue::new("service.instance.id", instance.to_owned()))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let share = Sampler::TraceIdRatioBased(share(config.otlp_sample_percent));
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(share)))
        .with_span_processor(BatchSpanProcessor::builder(exporter, Tokio).build())
        .build())
}

/// A percentage as the sampler has it.
#[expect(clippy::float_arithmetic, reason = "a share of requests, no money")]
fn share(percent: u8) -> f64 {
    f64::from(percent) / 100.0
}

async fn trace(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let span = debug_span!(
        "request", otel.kind = "server", http.request.method = %request.method(), http.route = route,
        http.response.status_code = tracing::field::Empty,
    );
    let parent = TraceContextPropagator::new().extract(&Headers(request.headers()));
    // It fails only for a span that is not recorded.
    let _ = span.set_parent(parent);
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}

/// Request headers, to be read by a propagator.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

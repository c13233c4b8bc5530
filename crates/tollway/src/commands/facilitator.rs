//! `tollway facilitator`: the engine behind HTTP, from one configuration file.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tollway_core::Facilitator;
use tollway_core::wire::encode_supported;
use tollway_facilitator::{Engine, router};

use crate::config::{DEFAULT_FILE, FacilitatorConfig, Setup};
use crate::output::{Output, raw};
use crate::serving::{Server, serve_until_stopped};
use crate::telemetry::Telemetry;

/// Run a facilitator: POST /verify, POST /settle, GET /supported, GET /health.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file (TOML); see --print-default-config for every key.
    #[arg(long, value_name = "FILE", required_unless_present = "print_default_config")]
    config: Option<PathBuf>,
    /// Listen here instead of where the configuration says.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Check the configuration and the nodes, say what would be served, and stop.
    #[arg(long)]
    check: bool,
    /// Print the documented default configuration and stop.
    #[arg(long)]
    print_default_config: bool,
    /// Print JSON, and log JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.print_default_config {
        raw(DEFAULT_FILE.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let output = Output::new(args.json);
    let config = FacilitatorConfig::load(args.config.as_deref())?;
    let Setup { limits, networks, callers, outcomes, score } = config.setup()?;
    let address = args.listen.as_deref().unwrap_or(&config.listen);
    if tokio::net::lookup_host(address).await.is_err() {
        anyhow::bail!("listen: {address:?} is no address like \"127.0.0.1:4020\"");
    }
    let telemetry = Telemetry::start(&config.telemetry, args.json, &config.name).await?;
    let (webhooks, of_all) = (outcomes.webhooks.len(), outcomes.endpoints.of_all.len());
    tracing::info!(networks = networks.len(), webhooks, of_all, score.threshold, "starting");
    // Whoever waits for a settlement gets an answer before the end.
    let grace = limits.settle_deadline + Duration::from_secs(15);
    let mut builder = Engine::builder().limits(limits).score(score).outcome_endpoints(outcomes.endpoints);
    for network in networks {
        builder = builder.network(network);
    }
    let engine = builder.start().await?;
    let supported = encode_supported(&engine.supported().await?);
    if args.check {
        let text = format!("ok\n{}", serde_json::to_string_pretty(&supported)?);
        output.result(&json!({ "ok": true, "supported": supported }), &text);
        return Ok(ExitCode::SUCCESS);
    }
    let listener = Server::listen(address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let metrics = telemetry.metrics_url();
    let object = json!({ "facilitatorUrl": url, "metricsUrl": metrics, "supported": supported });
    let text = metrics.map(|url| format!("\nmetrics on {url}")).unwrap_or_default();
    output.result(&object, &format!("listening on {url}{text}"));
    serve_until_stopped(listener, telemetry.around(router(engine, callers)), grace).await;
    telemetry.stop().await;
    Ok(ExitCode::SUCCESS)
}

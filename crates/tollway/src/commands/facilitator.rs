//! `tollway facilitator`: the engine behind HTTP, from one configuration file.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tollway_core::wire::encode_supported;
use tollway_core::{Facilitator, SystemClock};
use tollway_facilitator::{Engine, Limits, Webhooks, router};

use crate::config::{ConfigError, DEFAULT_FILE, FacilitatorConfig, ServedNetwork, Setup};
use crate::ledger;
use crate::output::{Output, raw, start_logging};
use crate::serving::{Server, serve_until_stopped};
use crate::signing::Unlock;
use crate::telemetry::Telemetry;

/// Run a facilitator: verify payments and settle them, over HTTP. POST /verify, POST /settle, GET /supported,
/// GET /settlements, GET /health. Callers need keys unless the configuration says open = true.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file (TOML); see --print-default-config for every key.
    #[arg(long, value_name = "FILE", required_unless_present = "print_default_config")]
    config: Option<PathBuf>,
    /// Listen here instead of where the configuration says.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Check the configuration and the nodes, say what would be served, and stop. The ledger is not touched.
    #[arg(long)]
    check: bool,
    /// Print the documented default configuration and stop.
    #[arg(long)]
    print_default_config: bool,
    #[command(flatten)]
    unlock: Unlock,
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
    let Setup { limits, networks, callers, outcomes, score, auth_capture } =
        config.setup(&args.unlock).await?;
    let address = args.listen.as_deref().unwrap_or(&config.listen);
    if tokio::net::lookup_host(address).await.is_err() {
        anyhow::bail!("listen: {address:?} is no address like \"127.0.0.1:4020\"");
    }
    if args.check {
        start_logging(args.json, "info");
        return check(output, limits, networks).await;
    }
    // The port first: where it is taken, nothing has begun.
    let listener = Server::listen(address).await?;
    let address = listener.local_addr()?;
    let name =
        if config.name.is_empty() { format!("{}:{}", host_name(), address.port()) } else { config.name };
    let telemetry = Telemetry::start(&config.telemetry, args.json, &name).await?;
    tracing::info!(name, networks = networks.len(), webhooks = outcomes.webhooks.len(), "starting");
    // Whoever waits for a settlement gets an answer before the end.
    let grace = limits.settle_deadline + Duration::from_secs(15);
    let ledger = ledger::open(&config.ledger).await.context("ledger")?;
    let mut builder = Engine::builder()
        .limits(limits)
        .ledger(Arc::clone(&ledger))
        .name(name)
        .score(score)
        .auth_capture(auth_capture)
        .outcome_endpoints(outcomes.endpoints);
    for network in networks {
        builder = network.add_to(builder);
    }
    let engine = builder.start().await?;
    let webhooks = Webhooks::start(ledger, Arc::new(SystemClock), outcomes.webhooks, outcomes.limits)
        .map_err(ConfigError)?;
    let supported = encode_supported(&engine.supported().await?);
    let (url, metrics) = (format!("http://{address}"), telemetry.metrics_url());
    let object = json!({ "facilitatorUrl": url, "metricsUrl": metrics, "supported": supported });
    let text = metrics.map(|url| format!("\nmetrics on {url}")).unwrap_or_default();
    output.result(&object, &format!("listening on {url}{text}"));
    serve_until_stopped(listener, telemetry.around(router(engine.clone(), callers)), grace).await;
    if !engine.shutdown(grace).await {
        tracing::warn!(
            "stopped with payments under way: they go on where this name is started again, or elsewhere"
        );
    }
    webhooks.stop().await;
    telemetry.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Asks the nodes. It joins no others and touches no ledger, so that it can run beside the one that serves.
async fn check(output: Output, limits: Limits, networks: Vec<ServedNetwork>) -> anyhow::Result<ExitCode> {
    let mut builder = Engine::builder().limits(limits);
    for network in networks {
        builder = network.add_to(builder);
    }
    let supported = encode_supported(&builder.start().await?.supported().await?);
    let text = format!("ok\n{}", serde_json::to_string_pretty(&supported)?);
    output.result(&json!({ "ok": true, "supported": supported }), &text);
    Ok(ExitCode::SUCCESS)
}

/// What this machine calls itself.
fn host_name() -> String {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| "localhost".to_owned())
}

//! `tollway facilitator`: the engine behind HTTP, from one configuration file.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tollway_core::Facilitator;
use tollway_core::wire::encode_supported;
use tollway_facilitator::{Engine, router};

use crate::config::{DEFAULT_FILE, FacilitatorConfig};
use crate::output::{Output, raw, start_logging};
use crate::serving::{Server, serve_until_stopped};

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
    start_logging(args.json, "info");
    let output = Output::new(args.json);
    let config = FacilitatorConfig::load(args.config.as_deref())?;
    let limits = config.limits()?;
    // Whoever waits for a settlement gets an answer before the end.
    let grace = limits.settle_deadline + Duration::from_secs(15);
    let mut builder = Engine::builder().limits(limits);
    for setup in config.networks()? {
        builder = builder.network(setup);
    }
    let engine = builder.start().await?;
    let supported = encode_supported(&engine.supported().await?);
    let address = args.listen.as_deref().unwrap_or(&config.listen);
    if tokio::net::lookup_host(address).await.is_err() {
        anyhow::bail!("listen: {address:?} is no address like \"127.0.0.1:4020\"");
    }
    if args.check {
        let text = format!("ok\n{}", serde_json::to_string_pretty(&supported)?);
        output.result(&json!({ "ok": true, "supported": supported }), &text);
        return Ok(ExitCode::SUCCESS);
    }
    let listener = Server::listen(address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    output.result(&json!({ "facilitatorUrl": url, "supported": supported }), &format!("listening on {url}"));
    serve_until_stopped(listener, router(engine), grace).await;
    Ok(ExitCode::SUCCESS)
}

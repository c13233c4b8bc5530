//! `tollway demo`: everything at once on one machine.

use std::process::ExitCode;

use crate::demo::{self, World, WorldPorts};
use crate::output::{Output, start_logging};
use crate::serving::stop_signal;

/// Start a development chain, a facilitator and a seller on this machine, and let an agent with a budget buy:
/// paid requests, and the ways to cheat that are refused. Ends with a reconciliation against the chain; exits 1
/// if anything is not as it should be.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON: one object a step, a summary last.
    #[arg(long)]
    json: bool,
    /// Run no steps; print where everything is and a funded test key, and serve until interrupted.
    #[arg(long)]
    serve: bool,
    /// Port of the chain's JSON-RPC; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    rpc_port: u16,
    /// Port of the facilitator; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    facilitator_port: u16,
    /// Port of the seller; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    seller_port: u16,
    /// Chain id of the development chain.
    #[arg(long, default_value_t = crate::dev_assets::DEV_CHAIN_ID)]
    chain_id: u64,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    start_logging(args.json, "warn");
    let output = Output::new(args.json);
    output.progress("starting a chain, a facilitator and a seller …");
    let ports = WorldPorts {
        chain_id: args.chain_id,
        rpc: args.rpc_port,
        facilitator: args.facilitator_port,
        seller: args.seller_port,
    };
    let world = World::start(&ports).await?;
    output.progress_done();
    if args.serve {
        let (object, text) = demo::describe(&world)?;
        output.result(&object, &text);
        stop_signal().await;
        world.stop().await;
        return Ok(ExitCode::SUCCESS);
    }
    let ok = demo::run_steps(&world, output).await?;
    world.stop().await;
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

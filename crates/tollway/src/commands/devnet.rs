//! `tollway devnet`: the development chain on a fixed port.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tollway_devnet::{ACCOUNTS, Config, Mining, genesis};

use crate::output::{Output, start_logging};
use crate::serving::stop_signal;

/// Run a development chain in memory: real EVM, real Ethereum JSON-RPC (HTTP and WebSocket), funded accounts,
/// USDC- and EURC-like tokens with EIP-3009, two without, Multicall3, Permit2, a faucet, and faults on demand.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 8545)]
    port: u16,
    /// Chain id (EIP-155).
    #[arg(long, default_value_t = crate::dev_assets::DEV_CHAIN_ID)]
    chain_id: u64,
    /// Milliseconds between blocks; without it every transaction gets a block at once.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    block_time_ms: Option<u64>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    start_logging(args.json, "warn");
    let mining = args.block_time_ms.map_or(Mining::Instant, |ms| Mining::Interval(Duration::from_millis(ms)));
    let config = Config { port: args.port, chain_id: args.chain_id, mining, ..Config::default() };
    let devnet = tollway_devnet::spawn(config).await.context("cannot start the devnet")?;
    let accounts: Vec<_> = ACCOUNTS
        .iter()
        .map(|account| json!({ "address": account.address.to_string(), "key": account.secret_key }))
        .collect();
    let object = json!({
        "rpcUrl": devnet.rpc_url(), "wsUrl": devnet.ws_url(),
        "network": format!("eip155:{}", devnet.chain_id()),
        "assets": { "USDC": genesis::USDC.to_string(), "EURC": genesis::EURC.to_string() },
        "multicall3": genesis::MULTICALL3.to_string(), "accounts": accounts,
    });
    let mut text = format!(
        "JSON-RPC   {}\nWebSocket  {}\nnetwork    eip155:{}\nUSDC       {}\nEURC       {}\n\n\
         Funded accounts (their keys are public knowledge: never use them elsewhere)\n",
        devnet.rpc_url(),
        devnet.ws_url(),
        devnet.chain_id(),
        genesis::USDC,
        genesis::EURC,
    );
    for account in ACCOUNTS {
        text.push_str(&format!("  {}  {}\n", account.address, account.secret_key));
    }
    Output::new(args.json).result(&object, &text);
    stop_signal().await;
    devnet.shutdown(Duration::from_secs(2)).await;
    Ok(ExitCode::SUCCESS)
}

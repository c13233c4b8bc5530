//! `tollway wallet fund`: money for an account: from the devnet's faucet, or by what a wallet app is to be shown.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, bail};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::json;
use tollway_core::is_loopback;
use tollway_evm::{Address, Asset, Chain};
use url::Url;

use super::account::AccountArgs;
use super::balance::{balances, known_assets};
use crate::commands::approval::connect;
use crate::dev_assets::DEV_CHAIN_ID;
use crate::output::Output;

/// Get money for an account: on a devnet from its faucet; elsewhere show the address, and the payment link (EIP-681) that
/// wallet apps open, with its QR code on a terminal.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    account: AccountArgs,
    /// A node of the network. Without it only the address is shown.
    #[arg(long, value_name = "URL")]
    rpc_url: Option<Url>,
    /// What to ask for; by its symbol.
    #[arg(long, value_name = "SYMBOL", default_value = "USDC")]
    asset: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let address = args.account.address(false).await?;
    let output = Output::new(args.json);
    let Some(url) = &args.rpc_url else {
        show(output, address, &format!("ethereum:{address}"), None);
        return Ok(ExitCode::SUCCESS);
    };
    let chain = connect(url).await?;
    // A stranger's node is not asked for what only ours has.
    if (is_loopback(url) || chain.chain_id() == DEV_CHAIN_ID) && has_given(&chain, address).await? {
        let balances = balances(&chain, address).await;
        let network = chain.network().as_str();
        let rows: Vec<_> = balances.iter().map(|balance| balance.object(network)).collect();
        let lines: Vec<_> =
            balances.iter().map(|balance| format!("{network:<16} {}", balance.text())).collect();
        let object = json!({ "address": address.to_string(), "funded": true, "balances": rows });
        output.result(&object, &format!("{address} has been given money\n{}", lines.join("\n")));
        return Ok(ExitCode::SUCCESS);
    }
    let asset = asset(args, &chain)?;
    let link = format!("ethereum:{}@{}/transfer?address={address}", asset.address, chain.chain_id());
    show(output, address, &link, Some((&chain, &asset)));
    Ok(ExitCode::SUCCESS)
}

/// Asks the devnet's faucet; other nodes say that they know of none.
async fn has_given(chain: &Chain, address: Address) -> anyhow::Result<bool> {
    match chain.raw("tollway_faucet", json!([address.to_string()])).await {
        Ok(_) => Ok(true),
        Err(error) if error.rejection().is_some() => Ok(false),
        Err(error) => Err(error).context("tollway_faucet"),
    }
}

fn asset(args: &Args, chain: &Chain) -> anyhow::Result<Asset> {
    let known = known_assets(chain);
    if let Some(asset) = known.iter().find(|asset| asset.symbol.eq_ignore_ascii_case(&args.asset)) {
        return Ok(asset.clone());
    }
    let symbols: Vec<_> = known.iter().map(|asset| asset.symbol.as_str()).collect();
    bail!("--asset: no {} is known on {}, but [{}]", args.asset, chain.network(), symbols.join(", "))
}

fn show(output: Output, address: Address, link: &str, wanted: Option<(&Chain, &Asset)>) {
    let object = json!({
        "address": address.to_string(), "funded": false, "link": link,
        "network": wanted.map(|(chain, _)| chain.network().as_str()),
        "asset": wanted.map(|(_, asset)| asset.address.to_string()),
    });
    let what = wanted.map_or_else(String::new, |(chain, asset)| {
        format!("\n{} ({}) on {}", asset.symbol, asset.address, chain.network())
    });
    let mut text = format!("{address}{what}\n{link}");
    if std::io::stdout().is_terminal()
        && let Ok(code) = QrCode::new(link).context("the link")
    {
        text.push('\n');
        text.push_str(&code.render::<Dense1x2>().build());
    }
    output.result(&object, &text);
}

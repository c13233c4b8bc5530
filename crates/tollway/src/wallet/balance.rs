//! `tollway wallet balance`: what an account has, by the word of the nodes that are asked.

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};
use tollway_core::Amount;
use tollway_evm::{Address, Asset, Chain, U256};
use url::Url;

use super::account::AccountArgs;
use crate::commands::approval::connect;
use crate::dev_assets::{DEV_CHAIN_ID, with_dev_assets};
use crate::output::{Output, complain};

/// Show what an account has: the network's own coin, which pays for gas, and the stablecoins that are known there.
///
/// Exit codes: 0 everything was answered; 1 something was not, and is shown as unknown.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    account: AccountArgs,
    /// A node (JSON-RPC over HTTP) of the network to look at; may be given several times.
    #[arg(long = "rpc-url", value_name = "URL", required = true)]
    rpc_urls: Vec<Url>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Every coin of a network's own has so many.
const NATIVE_DECIMALS: u8 = 18;

/// What an account has of one asset.
#[derive(Debug)]
pub(super) struct Balance {
    symbol: String,
    /// The token's contract, unless it is the network's own coin.
    asset: Option<Address>,
    decimals: u8,
    /// Unknown is not zero.
    amount: anyhow::Result<Amount>,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let address = args.account.address(false).await?;
    let (mut rows, mut lines, mut is_whole) = (Vec::new(), vec![address.to_string()], true);
    for url in &args.rpc_urls {
        let chain = match connect(url).await {
            Ok(chain) => chain,
            Err(error) => {
                is_whole = false;
                // The URL may hold a key: only the host is told.
                let host = url.host_str().unwrap_or_default();
                lines.push(format!("{:<16} unknown: {host} does not say which network it is of", "?"));
                complain(&format!("{host}: {error:#}"));
                continue;
            }
        };
        let network = chain.network().as_str().to_owned();
        for balance in balances(&chain, address).await {
            lines.push(format!("{network:<16} {}", balance.text()));
            rows.push(balance.object(&network));
            if let Err(error) = &balance.amount {
                is_whole = false;
                complain(&format!("{network} {}: {error:#}", balance.symbol));
            }
        }
    }
    let object = json!({ "address": address.to_string(), "balances": rows });
    Output::new(args.json).result(&object, &lines.join("\n"));
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What an account has on a network, of its own coin and of every asset that is known there.
pub(super) async fn balances(chain: &Chain, address: Address) -> Vec<Balance> {
    let native = chain.balance(address).await.map(Amount::from_atomic).map_err(anyhow::Error::from);
    let mut balances =
        vec![Balance { symbol: "native".to_owned(), asset: None, decimals: NATIVE_DECIMALS, amount: native }];
    for asset in known_assets(chain) {
        balances.push(Balance {
            amount: balance_of(chain, asset.address, address).await,
            symbol: asset.symbol,
            asset: Some(asset.address),
            decimals: asset.decimals,
        });
    }
    balances
}

/// The assets that are known on a network.
pub(super) fn known_assets(chain: &Chain) -> Vec<Asset> {
    let known = with_dev_assets(DEV_CHAIN_ID);
    known.iter().filter(|asset| &asset.network == chain.network()).cloned().collect()
}

impl Balance {
    /// One line for people.
    pub(super) fn text(&self) -> String {
        let amount = match &self.amount {
            Ok(amount) => amount.to_decimal(self.decimals),
            Err(_) => "unknown".to_owned(),
        };
        format!("{:<8} {amount}", self.symbol)
    }

    /// The same for machines.
    pub(super) fn object(&self, network: &str) -> Value {
        let amount = self.amount.as_ref().ok();
        json!({
            "network": network, "symbol": self.symbol, "asset": self.asset.map(|asset| asset.to_string()),
            "decimals": self.decimals, "amount": amount.map(|amount| amount.to_string()),
            "decimal": amount.map(|amount| amount.to_decimal(self.decimals)),
        })
    }
}

/// `balanceOf(address)` (ERC-20).
async fn balance_of(chain: &Chain, token: Address, owner: Address) -> anyhow::Result<Amount> {
    let owner = owner.to_string();
    let data = format!("0x70a08231{:0>64}", owner.trim_start_matches("0x").to_lowercase());
    let call = json!([{ "to": token.to_string(), "data": data }, "latest"]);
    let answer = chain.raw("eth_call", call).await.context("balanceOf")?;
    let digits = answer.as_str().and_then(|text| text.strip_prefix("0x")).filter(|digits| digits.len() == 64);
    let amount = digits.and_then(|digits| U256::from_str_radix(digits, 16).ok());
    amount
        .map(Amount::from_atomic)
        .ok_or_else(|| anyhow!("balanceOf: the answer is no number: is the token there?"))
}

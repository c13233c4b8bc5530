//! An anvil with our contracts, funded payers and funded keys, and blocks at an interval.
//!
//! Not automine: under parallel senders it loses receipts and transactions. The block gas limit is far above what
//! a block of these benches needs, and the same for everybody.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tollway_core::Network;
use tollway_devnet::{Config, genesis};
use tollway_evm::{Address, Chain};

use super::rivals::limited;
use super::signed::CHAIN_ID;

const GAS_LIMIT: &str = "2000000000";
/// What a key has for gas, wei: 1,000 ether.
const LANE_WEI: &str = "0x3635c9adc5dea00000";
/// What a payer has, atomic units: more than all its payments.
const PAYER_ATOMIC: u64 = 1_000_000_000_000;
/// Contracts that the published Rust facilitator wants to find before it starts. Nothing here calls them.
pub(super) const WANTED: [&str; 3] = [
    "0xdAcD51A54883eb67D95FAEb2BBfdC4a9a6BD2a3B",
    "0x000000000022D473030F116dDEE9F6B43aC78BA3",
    "0x402085c248EeA27D92E8b30b2C58ed07f9E20001",
];
const START_DEADLINE: Duration = Duration::from_secs(20);

/// When blocks come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocks {
    /// Every so many seconds.
    Every(u64),
    /// Never: what is sent stays in the mempool.
    Held,
}

/// A running anvil. It ends with this.
#[derive(Debug)]
pub(super) struct Anvil {
    process: Child,
    /// `127.0.0.1:port`.
    pub(super) address: String,
    /// Past every proxy.
    pub(super) chain: Chain,
}

impl Anvil {
    /// Starts one on a free port and gives everybody money.
    pub(super) async fn start(
        program: &Path,
        blocks: Blocks,
        payers: &[Address],
        lanes: &[Address],
    ) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        let mut command = limited(program, None)?;
        command.args(["--silent", "--port", &port, "--chain-id", &CHAIN_ID.to_string()]);
        command.args(["--gas-limit", GAS_LIMIT]);
        match blocks {
            Blocks::Every(seconds) => command.args(["--block-time", &seconds.to_string()]),
            Blocks::Held => command.arg("--no-mining"),
        };
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = process.with_context(|| format!("cannot start {}", program.display()))?;
        let address = format!("127.0.0.1:{port}");
        let chain =
            Chain::connect(&format!("http://{address}"), &Network::evm(CHAIN_ID), Duration::from_secs(10))?;
        let anvil = Self { process, address, chain };
        anvil.await_answer().await?;
        anvil.fund(payers, lanes).await?;
        Ok(anvil)
    }

    /// Its process.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The height of the chain.
    pub(super) async fn height(&self) -> Result<u64> {
        Self::height_of(&self.chain).await
    }

    /// The same for who has only the chain.
    pub(super) async fn height_of(chain: &Chain) -> Result<u64> {
        hex_number(&chain.raw("eth_blockNumber", json!([])).await?)
    }

    /// Gas used and transactions included in the blocks above `from`.
    pub(super) async fn used_above(&self, from: u64) -> Result<Used> {
        let mut used = Used::default();
        for number in from + 1..=self.height().await? {
            let block =
                self.chain.raw("eth_getBlockByNumber", json!([format!("0x{number:x}"), false])).await?;
            used.gas += hex_number(&block["gasUsed"])?;
            used.transactions += block["transactions"].as_array().map_or(0, Vec::len) as u64;
        }
        Ok(used)
    }

    async fn await_answer(&self) -> Result<()> {
        let start = tokio::time::Instant::now();
        while self.chain.raw("eth_chainId", json!([])).await.is_err() {
            if start.elapsed() > START_DEADLINE {
                bail!("anvil did not answer within {} seconds", START_DEADLINE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn fund(&self, payers: &[Address], lanes: &[Address]) -> Result<()> {
        let mut calls = genesis::anvil_calls(&Config::default());
        calls.extend(WANTED.map(|address| ("anvil_setCode", json!([address, "0x00"]))));
        calls.extend(lanes.iter().map(|lane| ("anvil_setBalance", json!([lane, LANE_WEI]))));
        let balance = format!("0x{PAYER_ATOMIC:064x}");
        calls.extend(payers.iter().map(|payer| {
            let slot = genesis::balance_slot(*payer);
            ("anvil_setStorageAt", json!([genesis::USDC, format!("{slot:#066x}"), balance]))
        }));
        // At its genesis anvil runs calls with a clock that stands at 1.
        calls.push(("anvil_mine", json!(["0x1"])));
        for (method, params) in calls {
            self.chain.raw(method, params).await.with_context(|| format!("anvil: {method}"))?;
        }
        Ok(())
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What blocks held.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) gas: u64,
    pub(super) transactions: u64,
}

fn hex_number(value: &Value) -> Result<u64> {
    let text = value.as_str().and_then(|text| text.strip_prefix("0x")).context("a number in hex")?;
    Ok(u64::from_str_radix(text, 16)?)
}

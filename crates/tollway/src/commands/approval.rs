//! `tollway pay --approve`: the payer's own approval of the contract Permit2, which only an explicit wish sends.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde_json::json;
use tollway_buyer::{SignedPayment, Wallet};
use tollway_core::{Amount, Network};
use tollway_evm::{Address, B256, Chain};
use url::Url;

/// How long the node may take for one answer.
const NODE_DEADLINE: Duration = Duration::from_secs(10);

/// What the user wishes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Atomic units; without it what is due.
    pub(crate) amount: Option<Amount>,
    /// How long to wait for the block.
    pub(crate) patience: Duration,
}

/// The network behind the node at `url`, whichever that is. Errors do not repeat the URL: it may hold a key.
pub(crate) async fn connect(url: &Url) -> anyhow::Result<Chain> {
    let asked = async {
        // A node alone is asked as it is: which network it is of is the question.
        let unknown = Chain::connect(url.as_str(), &Network::evm(1), NODE_DEADLINE)?;
        let answer = unknown.raw("eth_chainId", json!([])).await?;
        let digits = answer.as_str().and_then(|text| text.strip_prefix("0x"));
        let chain_id = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let chain_id = chain_id.ok_or_else(|| anyhow!("eth_chainId: the answer is no chain id"))?;
        anyhow::Ok(Chain::connect(url.as_str(), &Network::evm(chain_id), NODE_DEADLINE)?)
    };
    asked.await.context("--rpc-url")
}

/// Approves Permit2 for `payment`, and returns the transaction.
pub(crate) async fn approve(
    wallet: &Wallet,
    chain: &Chain,
    payment: &SignedPayment,
    terms: Terms,
) -> anyhow::Result<B256> {
    let offer = &payment.offer;
    if *chain.network() != offer.network {
        bail!("--rpc-url: the node is of {}, the payment is on {}", chain.network(), offer.network);
    }
    let amount = terms.amount.unwrap_or(offer.amount);
    if amount < offer.amount {
        bail!("--approve-amount: {amount} is less than the {} that is due", offer.amount);
    }
    let token: Address = offer.asset.parse().context("the offer's asset")?;
    let approved = wallet.approve(chain, token, amount.atomic(), terms.patience).await;
    approved.context("--approve")
}

//! One claim for all channels of bench `channels`, and one settlement: what the chain asks for requests that were served.
//!
//! What is claimed is what the seller's ledger says, read from its file after the seller was killed: it must be just what
//! agents were answered, and just that must arrive. It goes the way of every claim: the scheme writes and signs it, our
//! facilitator sends it. What a claim costs does not depend on how many requests a voucher stands for, so gas for a request
//! follows from gas for a voucher.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tollway_core::model::{FacilitatorRequest, JsonObject, PaymentRequirements};
use tollway_core::{ChannelScheme, ClaimRow, Facilitator, Network, Price, SellerScheme, Terms};
use tollway_evm::{Chain, U256};
use tollway_ledger::Channel;
use tollway_seller::HttpFacilitator;

use super::channels_agents::{CHAIN_ID, PRICE, PRICE_ATOMIC, RECEIVER, agents};
use super::channels_chain::{DEADLINE, balance};
use super::channels_parts::scheme;
use super::{Row, Rows};

/// Vouchers in a transaction: as many as our facilitator takes unless it is told otherwise.
pub(super) const VOUCHERS: usize = 250;
/// Of a ledger that are read at once.
const PAGE: u32 = 1_000;
/// Requests that a voucher of the aim stands for.
pub(super) const REQUESTS: u64 = 1_000;
/// Whose rows a seller's are.
const SCOPE: &str = "seller";

/// What it came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Claimed {
    pub(super) channels: u64,
    pub(super) requests: u64,
    pub(super) transactions: u64,
    pub(super) claim_gas: u64,
    /// One voucher alone, the first that the receiver is credited for.
    pub(super) first_gas: u64,
    pub(super) settle_gas: u64,
}

/// Claims what the rows of the ledger say was charged, and has it paid out.
pub(super) async fn claim(urls: [&str; 2], ledger: &str, count: usize, answered: u64) -> Result<Claimed> {
    let [rpc, facilitator] = urls;
    let rows = rows(ledger).await?;
    let charged: u64 = rows.iter().map(|row| atomic(&row.charged.to_string())).sum::<Result<_>>()?;
    ensure!(rows.len() == count, "{} of {count} channels are in the ledger", rows.len());
    ensure!(
        charged == answered * PRICE_ATOMIC,
        "agents were answered {answered} times, and the ledger of the killed seller says {charged}"
    );
    let chain = Chain::connect(rpc, &Network::evm(CHAIN_ID), DEADLINE)?;
    let cashier = Cashier { chain, facilitator: HttpFacilitator::new(facilitator)? };
    let (scheme, mut claims) = (scheme()?, claims(&rows, count)?);
    let network = Network::evm(CHAIN_ID);
    let terms = Terms { network, pay_to: RECEIVER.to_string(), max_timeout_seconds: 300 };
    let offer = scheme.offer(&Price::Money(PRICE.parse()?), &terms)?;
    let channels = scheme.channel().context("a scheme of channels")?;
    let mut claimed = Claimed { channels: rows.len() as u64, requests: answered, ..Claimed::default() };
    // Whoever is credited for the first time costs more: that one is told apart.
    let first = claims.split_off(claims.len().saturating_sub(1));
    claimed.first_gas = cashier.claim(channels, &offer, &first).await?;
    for chunk in claims.chunks(VOUCHERS) {
        claimed.claim_gas += cashier.claim(channels, &offer, chunk).await?;
        claimed.transactions += 1;
    }
    claimed.settle_gas = cashier.send(channels.settle_request(&offer)).await?;
    let arrived = balance(&cashier.chain, RECEIVER).await?;
    ensure!(arrived == U256::from(charged), "{charged} were charged and {arrived} arrived");
    Ok(claimed)
}

struct Cashier {
    chain: Chain,
    facilitator: HttpFacilitator,
}

impl Cashier {
    async fn claim(
        &self,
        channels: &dyn ChannelScheme,
        offer: &PaymentRequirements,
        rows: &[ClaimRow],
    ) -> Result<u64> {
        self.send(channels.claim_request(offer, rows).await?).await
    }

    /// The gas of the transaction that the facilitator made of it.
    async fn send(&self, request: FacilitatorRequest) -> Result<u64> {
        let answer = self.facilitator.settle(request).await?;
        ensure!(answer.success, "the facilitator refused: {answer:?}");
        let receipt = self.chain.receipt(answer.transaction.parse()?).await?;
        Ok(receipt.context("what succeeded has a receipt")?.gas_used)
    }
}

#[expect(clippy::float_arithmetic, reason = "a measurement is not money")]
#[expect(clippy::cast_precision_loss, reason = "counts of a bench fit")]
impl Claimed {
    /// Gas for a voucher, the settlement's share included.
    pub(super) fn gas_per_voucher(&self) -> f64 {
        (self.first_gas + self.claim_gas + self.settle_gas) as f64 / (self.channels as f64).max(1.0)
    }

    /// For people at a terminal, and as JSON.
    pub(super) fn push(&self, rows: &mut Rows) {
        let mut push = |metric, value, unit| {
            let (system, params) = ("tollway".to_owned(), format!("channels={}", self.channels));
            rows.push(Row { bench: "channels", system, params, metric, value, unit });
        };
        push("gas per claimed voucher", self.gas_per_voucher(), "gas");
        push("gas per request, at 1000 a channel", self.gas_per_voucher() / REQUESTS as f64, "gas");
        push("settlement", self.settle_gas as f64, "gas");
    }
}

async fn rows(ledger: &str) -> Result<Vec<Channel>> {
    let ledger = tollway_ledger::open(ledger).await?;
    let mut rows: Vec<Channel> = Vec::new();
    loop {
        let after = rows.last().map(|row| row.id.clone());
        let page = ledger.channel_list(SCOPE, after.as_ref(), PAGE).await?;
        if page.is_empty() {
            return Ok(rows);
        }
        rows.extend(page);
    }
}

/// Rows as they are claimed, each with the terms of its agent's channel.
fn claims(rows: &[Channel], count: usize) -> Result<Vec<ClaimRow>> {
    let agents = agents(count)?;
    let terms: BTreeMap<String, String> =
        agents.iter().map(|agent| (agent.channel.to_string(), agent.config_json())).collect();
    let claim = |row: &Channel| {
        let terms = terms.get(row.id.id()).context("a channel of none of the agents")?;
        let terms: JsonObject = serde_json::from_str(terms)?;
        Ok(ClaimRow { terms, signed: row.signed, proof: row.proof.clone(), total: row.charged })
    };
    rows.iter().map(claim).collect()
}

fn atomic(text: &str) -> Result<u64> {
    text.parse().context("an amount of this bench is small")
}

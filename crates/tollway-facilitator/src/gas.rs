//! What gas costs on a network, and which of its lanes can pay for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, U256};
use metrics::gauge;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};
use tollway_evm::Chain;

use crate::evm_network::EvmNetwork;
use crate::phase::send::NotSent;
use crate::telemetry::LANE_BALANCE_GWEI;

/// How long suggested fees are believed.
const FEES_AGE: Duration = Duration::from_secs(1);
/// How long what a transfer takes is believed.
const SHARE_AGE: Duration = Duration::from_secs(60);
/// What one more transaction takes at least, gas: less than this is nothing.
const GAS_LEAST: u64 = 90_000;
/// The alarm is raised when a lane can pay for fewer full batches than this.
const LOW_BATCHES: u64 = 20;
const GAS_BATCH: u64 = 5_000_000;
/// How often the lanes' balances are asked for when nobody is in need of them.
const EVERY: Duration = Duration::from_secs(10);
/// How soon after the last time they may be asked for again when a payment waits for it.
const SOONEST: Duration = Duration::from_millis(100);

/// What a transaction offers for gas, wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fees {
    pub(crate) max_fee_per_gas: u128,
    pub(crate) max_priority_fee_per_gas: u128,
}

/// Gas on one network.
#[derive(Debug)]
pub(crate) struct Gas {
    limit: u128,
    low_balance: Option<U256>,
    fees: Mutex<Option<(Instant, Fees)>>,
    checked: Mutex<Option<Instant>>,
    /// By asset, alone or in a batch: how much gas a transfer takes, in hundredths of what it is known to need.
    shares: Mutex<HashMap<(Address, bool), (Instant, u64)>>,
}

impl Gas {
    pub(crate) fn new(limit: u128, low_balance: Option<U256>) -> Self {
        Self {
            limit,
            low_balance,
            fees: Mutex::default(),
            checked: Mutex::default(),
            shares: Mutex::default(),
        }
    }

    /// What to offer for gas now: twice the base fee, so that it stays good for six full blocks, and the tip. All lanes
    /// share one question a second.
    pub(crate) async fn fees(&self, chain: &Chain) -> Result<Fees, NotSent> {
        let mut known = self.fees.lock().await;
        if let Some((at, fees)) = *known
            && at.elapsed() < FEES_AGE
        {
            return Ok(fees);
        }
        let (head, tip) = tokio::join!(chain.head(), chain.priority_fee());
        let (base_fee, tip) = (head?.base_fee, tip?);
        let (limit, price) = (self.limit, base_fee.saturating_add(tip));
        if price > limit {
            return Err(NotSent::TooDear { price, limit });
        }
        let generous = base_fee.saturating_mul(2).saturating_add(tip);
        let fees = Fees { max_fee_per_gas: generous.min(limit), max_priority_fee_per_gas: tip };
        *known = Some((Instant::now(), fees));
        Ok(fees)
    }

    /// How much gas a transfer of `asset` takes, alone or in a batch, in hundredths of what it is known to need; by
    /// `estimate` if that was not asked for lately. All lanes share one question a minute.
    pub(crate) async fn share(
        &self,
        asset: Address,
        is_batch: bool,
        estimate: impl Future<Output = Result<u64, NotSent>>,
    ) -> Result<u64, NotSent> {
        let mut shares = self.shares.lock().await;
        if let Some((at, share)) = shares.get(&(asset, is_batch))
            && at.elapsed() < SHARE_AGE
        {
            return Ok(*share);
        }
        let share = estimate.await?;
        shares.insert((asset, is_batch), (Instant::now(), share));
        Ok(share)
    }

    /// The fees that were told last.
    pub(crate) async fn last_fees(&self) -> Option<Fees> {
        self.fees.lock().await.map(|(_, fees)| fees)
    }

    /// Asks for the balances of the lanes that this process holds, now and then.
    pub(crate) async fn watch(network: Arc<EvmNetwork>) {
        loop {
            network.gas.check(&network).await;
            sleep(EVERY).await;
        }
    }

    /// Asks for the balances, if that was not done a moment ago.
    pub(crate) async fn check(&self, network: &EvmNetwork) {
        let mut checked = self.checked.lock().await;
        if let Some(at) = *checked {
            sleep_until(at + SOONEST).await;
        }
        let price = self.last_fees().await.map_or(1, |fees| fees.max_fee_per_gas);
        let cost = |gas: u64| U256::from(price).saturating_mul(U256::from(gas));
        let low = self.low_balance.unwrap_or_else(|| cost(GAS_BATCH.saturating_mul(LOW_BATCHES)));
        for lane in network.lanes.iter().filter(|lane| lane.is_held()) {
            let balance = match network.chain.balance(lane.address()).await {
                Ok(balance) => balance,
                Err(error) => {
                    tracing::warn!(network = %network.network(), %error, "no answer about a lane's balance");
                    break;
                }
            };
            let (name, address) = (network.network().as_str().to_owned(), lane.address().to_checksum(None));
            gauge!(LANE_BALANCE_GWEI, "network" => name, "lane" => address).set(gwei(balance));
            if balance < low && lane.set_low(true) {
                tracing::error!(network = %network.network(), lane = %lane.address(), %balance, "balance is low");
            } else if balance >= low {
                lane.set_low(false);
            }
            lane.set_balance(balance, balance >= cost(GAS_LEAST));
        }
        *checked = Some(Instant::now());
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; it is for people and alarms, no sum is made of it"
)]
fn gwei(wei: U256) -> f64 {
    u64::try_from(wei / U256::from(1_000_000_000u64)).unwrap_or(u64::MAX) as f64
}

impl Fees {
    /// An eighth more: a pool replaces a transaction for a tenth.
    pub(crate) const fn raised(self) -> Self {
        Self {
            max_fee_per_gas: more(self.max_fee_per_gas),
            max_priority_fee_per_gas: more(self.max_priority_fee_per_gas),
        }
    }

    /// At least `floor`, within `limit`.
    pub(crate) fn at_least(self, floor: Self, limit: u128) -> Self {
        Self {
            max_fee_per_gas: self.max_fee_per_gas.max(floor.max_fee_per_gas).min(limit),
            max_priority_fee_per_gas: self
                .max_priority_fee_per_gas
                .max(floor.max_priority_fee_per_gas)
                .min(limit),
        }
    }

    /// No more than ten times `usual`.
    pub(crate) fn at_most_tenfold(self, usual: Self) -> Self {
        let most = |fee: u128| fee.saturating_mul(10).saturating_add(1);
        Self {
            max_fee_per_gas: self.max_fee_per_gas.min(most(usual.max_fee_per_gas)),
            max_priority_fee_per_gas: self.max_priority_fee_per_gas.min(most(usual.max_priority_fee_per_gas)),
        }
    }
}

const fn more(fee: u128) -> u128 {
    fee.saturating_add(fee / 8).saturating_add(1)
}

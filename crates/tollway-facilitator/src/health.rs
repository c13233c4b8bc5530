//! How the networks are: what `/health` tells. Anybody may ask, so the nodes are asked once a second at most.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tollway_evm::U256;

use crate::evm_network::EvmNetwork;

/// How long an answer is good for.
const AGE: Duration = Duration::from_secs(1);

/// The latest answer, shared by all who ask; who comes while it is being made waits for it.
#[derive(Debug, Default)]
pub(crate) struct HealthCheck {
    latest: Mutex<Option<(Instant, Arc<Vec<NetworkHealth>>)>>,
}

/// One network.
#[derive(Clone, Debug)]
pub(crate) struct NetworkHealth {
    network: String,
    /// The newest block; none if the node does not answer.
    head: Option<u64>,
    lanes: Vec<LaneHealth>,
}

#[derive(Clone, Debug)]
struct LaneHealth {
    address: String,
    queued: usize,
    is_running: bool,
    /// Whether this process has it; if not, another may.
    is_held: bool,
    /// Native balance, wei; none if the node does not answer.
    balance: Option<U256>,
}

impl HealthCheck {
    pub(crate) async fn check(&self, networks: &[Arc<EvmNetwork>]) -> Arc<Vec<NetworkHealth>> {
        let mut latest = self.latest.lock().await;
        if let Some((at, health)) = latest.as_ref()
            && at.elapsed() < AGE
        {
            return Arc::clone(health);
        }
        let mut all = Vec::with_capacity(networks.len());
        for network in networks {
            all.push(NetworkHealth::of(network).await);
        }
        let health = Arc::new(all);
        *latest = Some((Instant::now(), Arc::clone(&health)));
        health
    }
}

impl NetworkHealth {
    async fn of(network: &EvmNetwork) -> Self {
        let head = network.chain.head().await.map(|head| head.number).ok();
        let mut lanes = Vec::with_capacity(network.lanes.len());
        for lane in &network.lanes {
            // A node that is down is not asked for every lane's balance.
            let balance = match head {
                Some(_) => network.chain.balance(lane.address()).await.ok(),
                None => None,
            };
            lanes.push(LaneHealth {
                address: lane.address().to_checksum(None),
                queued: network.queue.len(),
                is_running: lane.is_running(),
                is_held: lane.is_held(),
                balance,
            });
        }
        Self { network: network.network().to_string(), head, lanes }
    }

    /// Whether it can settle: the node answers, and a lane runs and can pay for gas.
    pub(crate) fn is_ok(&self) -> bool {
        let can_pay = |lane: &LaneHealth| lane.is_running && lane.balance.is_some_and(|wei| !wei.is_zero());
        self.head.is_some() && self.lanes.iter().any(can_pay)
    }

    pub(crate) fn to_json(&self) -> Value {
        let lane = |lane: &LaneHealth| {
            json!({
                "address": lane.address, "queued": lane.queued, "running": lane.is_running, "held": lane.is_held,
                "balanceWei": lane.balance.map(|wei| wei.to_string()),
            })
        };
        let lanes: Vec<Value> = self.lanes.iter().map(lane).collect();
        json!({ "network": self.network, "ok": self.is_ok(), "head": self.head, "lanes": lanes })
    }
}

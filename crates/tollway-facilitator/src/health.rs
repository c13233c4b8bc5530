//! How the networks, the ledger and this process's membership are: what `/health` tells. Anybody may ask, so nodes and
//! ledger are asked once a second at most.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tollway_evm::{NodeStatus, U256};

use crate::core::Core;
use crate::evm_network::EvmNetwork;

/// How long an answer is good for.
const AGE: Duration = Duration::from_secs(1);
/// How long the ledger may take to say that it is there.
const LEDGER_DEADLINE: Duration = Duration::from_secs(2);

/// The latest answer, shared by all who ask; who comes while it is being made waits for it.
#[derive(Debug, Default)]
pub(crate) struct HealthCheck {
    latest: Mutex<Option<(Instant, Arc<Health>)>>,
}

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    networks: Vec<NetworkHealth>,
    /// How many payments are open, whoever drives them; none if the ledger does not answer.
    open_in_ledger: Option<u64>,
    member: String,
    incarnation: u64,
    is_member: bool,
    /// How many payments this process drives.
    open_here: usize,
}

/// One network.
#[derive(Clone, Debug)]
struct NetworkHealth {
    network: String,
    /// The newest block; none if the node does not answer.
    head: Option<u64>,
    nodes: Vec<NodeStatus>,
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
    pub(crate) async fn check(&self, core: &Core) -> Arc<Health> {
        let mut latest = self.latest.lock().await;
        if let Some((at, health)) = latest.as_ref()
            && at.elapsed() < AGE
        {
            return Arc::clone(health);
        }
        let health = Arc::new(Health::of(core).await);
        *latest = Some((Instant::now(), Arc::clone(&health)));
        health
    }
}

impl Health {
    async fn of(core: &Core) -> Self {
        let mut networks = Vec::with_capacity(core.networks.len());
        for network in &core.networks {
            networks.push(NetworkHealth::of(network).await);
        }
        let open = timeout(LEDGER_DEADLINE, core.journal.ledger().settlement_open_count()).await;
        let member = core.member.member();
        Self {
            networks,
            open_in_ledger: open.ok().and_then(Result::ok),
            member: member.name.clone(),
            incarnation: member.incarnation,
            is_member: core.member.is_current(),
            open_here: core.journal.open_count(),
        }
    }

    /// Whether payments can be settled on every network.
    pub(crate) fn is_ok(&self) -> bool {
        self.networks.iter().all(NetworkHealth::is_ok) && self.open_in_ledger.is_some() && self.is_member
    }

    pub(crate) fn to_json(&self) -> Value {
        let networks: Vec<Value> = self.networks.iter().map(NetworkHealth::to_json).collect();
        json!({
            "status": if self.is_ok() { "ok" } else { "degraded" },
            "openPayments": self.open_here,
            "ledger": { "ok": self.open_in_ledger.is_some(), "openPayments": self.open_in_ledger },
            "member": { "name": self.member, "incarnation": self.incarnation, "ok": self.is_member },
            "networks": networks,
        })
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
        Self { network: network.network().to_string(), head, nodes: network.chain.nodes(), lanes }
    }

    /// Whether it can settle: the node answers, and a lane runs and can pay for gas.
    fn is_ok(&self) -> bool {
        let can_pay = |lane: &LaneHealth| lane.is_running && lane.balance.is_some_and(|wei| !wei.is_zero());
        self.head.is_some() && self.lanes.iter().any(can_pay)
    }

    fn to_json(&self) -> Value {
        let lane = |lane: &LaneHealth| {
            json!({
                "address": lane.address, "queued": lane.queued, "running": lane.is_running, "held": lane.is_held,
                "balanceWei": lane.balance.map(|wei| wei.to_string()),
            })
        };
        let node = |node: &NodeStatus| {
            json!({
                "index": node.index, "host": node.name, "state": node.state, "primary": node.is_primary,
                "head": node.head, "lagBlocks": node.lag_blocks,
            })
        };
        let lanes: Vec<Value> = self.lanes.iter().map(lane).collect();
        let nodes: Vec<Value> = self.nodes.iter().map(node).collect();
        json!({
            "network": self.network, "ok": self.is_ok(), "head": self.head, "nodes": nodes, "lanes": lanes,
        })
    }
}

//! One EVM network as the engine serves it: its node, its allowlisted assets, its lanes.

use std::sync::Arc;

use alloy_primitives::Address;
use metrics::gauge;
use tokio::sync::Semaphore;
use tollway_core::{FacilitatorError, Network};
use tollway_evm::{Asset, AssetTable, Chain, Payment, Signer, deployment_faults};

use crate::channel::{ChannelSetup, Channels};
use crate::coalesce::Coalescer;
use crate::errands::Errands;
use crate::gas::Gas;
use crate::inclusion::Profile;
use crate::journal::Journal;
use crate::lane_state::LaneState;
use crate::limits::Limits;
use crate::phase::admission::AuthCaptureSetup;
use crate::queue::Queue;
use crate::sponsoring::Sponsoring;
use crate::telemetry::PENDING_AGE_SECONDS;
use crate::verified::Verified;
use crate::watch::Watcher;

/// How many approvals of one network may be looked at, and be under way, at once.
const APPROVALS: usize = 64;

/// What an operator gives for one network.
#[derive(Clone, Debug)]
pub struct NetworkSetup {
    /// The node.
    pub chain: Chain,
    /// The assets that may be settled. Others are refused: an unknown contract could burn the lane's gas.
    pub assets: AssetTable,
    /// The funded keys, one lane each.
    pub signers: Vec<Arc<dyn Signer>>,
}

impl NetworkSetup {
    /// Asks the node whether this can work. All faults at once.
    pub(crate) async fn faults(&self) -> Vec<String> {
        let network = self.chain.network();
        let mut faults = Vec::new();
        let mut add = |fault: String| faults.push(format!("{network}: {fault}"));
        if self.signers.is_empty() {
            add("no signer: a network needs at least one funded key".to_owned());
        }
        if !self.assets.iter().any(|asset| &asset.network == network) {
            add("no asset: nothing could be settled".to_owned());
        }
        let addresses: Vec<Address> = self.signers.iter().map(|signer| signer.address()).collect();
        for (index, address) in addresses.iter().enumerate() {
            if addresses[..index].contains(address) {
                add(format!("signer {address} is given twice: two lanes would fight for its nonces"));
            }
        }
        deployment_faults(&self.chain, &self.assets).await.into_iter().for_each(add);
        faults
    }
}

/// A network that is served.
#[derive(Debug)]
pub(crate) struct EvmNetwork {
    pub(crate) chain: Chain,
    pub(crate) assets: AssetTable,
    pub(crate) profile: Profile,
    pub(crate) lanes: Vec<Arc<LaneState>>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) coalescer: Arc<Coalescer>,
    pub(crate) watcher: Arc<Watcher>,
    pub(crate) gas: Gas,
    pub(crate) verified: Verified,
    pub(crate) auth_capture: AuthCaptureSetup,
    /// What is done with channels. None: their contract is not here.
    pub(crate) channels: Option<Channels>,
    /// What is paid for payers' approvals. None: nothing.
    pub(crate) sponsoring: Option<Sponsoring>,
    pub(crate) errands: Errands,
    /// How many approvals may be under way, and be looked at, at once.
    pub(crate) approvals: Semaphore,
    pub(crate) approval_looks: Semaphore,
}

impl EvmNetwork {
    pub(crate) fn new(
        setup: NetworkSetup,
        profile: Profile,
        limits: &Limits,
        auth_capture: AuthCaptureSetup,
        channels: Option<ChannelSetup>,
        sponsoring: Option<Sponsoring>,
    ) -> Self {
        let NetworkSetup { chain, assets, signers } = setup;
        let lanes: Vec<_> = signers.into_iter().map(|signer| Arc::new(LaneState::new(signer))).collect();
        let name = chain.network().as_str().to_owned();
        Self {
            queue: Queue::new(name, limits.lane_queue.saturating_mul(lanes.len())),
            coalescer: Arc::new(Coalescer::new(limits.simulation_calls, limits.simulations)),
            watcher: Arc::new(Watcher::new(chain.clone(), &profile)),
            gas: Gas::new(limits.max_fee_per_gas, limits.low_balance),
            verified: Verified::default(),
            auth_capture,
            channels: channels.map(|setup| Channels::new(setup, limits.simulation_calls, limits.simulations)),
            sponsoring,
            errands: Errands::default(),
            approvals: Semaphore::new(APPROVALS),
            approval_looks: Semaphore::new(APPROVALS),
            chain,
            assets,
            profile,
            lanes,
        }
    }

    /// The asset, if the operator settles it.
    pub(crate) fn asset(&self, address: Address) -> Option<&Asset> {
        self.assets.find(self.network(), address)
    }

    pub(crate) const fn network(&self) -> &Network {
        self.chain.network()
    }

    /// Whether the account is our own key that consents for sellers.
    pub(crate) fn is_authorizer(&self, account: Address) -> bool {
        self.channels.as_ref().and_then(|channels| channels.setup.authorizer()) == Some(account)
    }

    /// Whose account simulations are run from.
    pub(crate) fn sender(&self) -> Address {
        self.lanes.first().map(|lane| lane.address()).unwrap_or_default()
    }

    /// Whether this process holds a lane.
    pub(crate) fn holds_lanes(&self) -> bool {
        self.lanes.iter().any(|lane| lane.is_held())
    }

    /// Whether this process holds a lane that may send the payment.
    pub(crate) fn holds_lane_for(&self, payment: &Payment) -> bool {
        let may_send = |lane: &LaneState| payment.sender().is_none_or(|sender| sender == lane.address());
        self.lanes.iter().any(|lane| lane.is_held() && may_send(lane))
    }

    /// Whether no lane that this process holds can pay for gas. If it holds none, those of others may.
    fn is_broke(&self) -> bool {
        let mut held = self.lanes.iter().filter(|lane| lane.is_held()).peekable();
        held.peek().is_some() && held.all(|lane| !lane.can_pay())
    }

    /// Refuses what no lane could pay for.
    pub(crate) async fn can_pay(&self) -> Result<(), FacilitatorError> {
        if self.is_broke() {
            self.gas.check(self).await;
        }
        match self.is_broke() {
            true => Err(FacilitatorError::Busy(format!("no lane of {} can pay for gas", self.network()))),
            false => Ok(()),
        }
    }

    /// Tells how old the oldest payment is.
    pub(crate) fn measure(&self, journal: &Journal) {
        let oldest = journal.oldest(self.network());
        gauge!(PENDING_AGE_SECONDS, "network" => self.network().as_str().to_owned())
            .set(oldest.as_secs_f64());
    }
}

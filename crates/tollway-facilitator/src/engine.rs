//! The engine: what a program starts, asks, and stops.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tollway_core::model::{
    FacilitatorRequest, SettleResponse, SupportedKind, SupportedResponse, VerifyResponse,
};
use tollway_core::{
    BoxFuture, Clock, Facilitator, FacilitatorError, JsonObject, Network, PAYER_HAS_CODE, SchemeName,
    SystemClock, X402Version,
};
use tollway_evm::Payment;
use tollway_evm::auth_capture::voiding_rest;
use tollway_evm::permit2::{EIP2612_GAS_SPONSORING, ERC20_APPROVAL_GAS_SPONSORING};
use tollway_ledger::{Ledger, LedgerError, MemoryLedger, Settlement, SettlementId, SettlementQuery};

use crate::channel::{self, Asked, ChannelSetup};
use crate::core::Core;
use crate::evm_network::{EvmNetwork, NetworkSetup};
use crate::gas::Gas;
use crate::health::{Health, HealthCheck};
use crate::inclusion::Profile;
use crate::journal::Journal;
use crate::limits::Limits;
use crate::membership::Membership;
use crate::phase::admission::AuthCaptureSetup;
use crate::score::{Score, ScoreLimits};
use crate::sponsoring::Sponsoring;
use crate::tasks::Tasks;
use crate::webhook::OutcomeEndpoints;
use crate::{lane, reconcile, settle, steward, telemetry, verify};

/// Verifies and settles. Cheap to clone; all its work ends when the last clone is dropped, and another process takes
/// over.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    core: Arc<Core>,
    health: HealthCheck,
    is_draining: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.core.tasks.abort_all();
    }
}

/// Puts an [`Engine`] together.
#[derive(Debug)]
pub struct EngineBuilder {
    networks: Vec<NetworkSetup>,
    profiles: Vec<(Network, Profile)>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    ledger: Option<Arc<dyn Ledger>>,
    name: Option<String>,
    endpoints: OutcomeEndpoints,
    score: ScoreLimits,
    auth_capture: AuthCaptureSetup,
    channels: Vec<(Network, ChannelSetup)>,
    sponsoring: Vec<(Network, Sponsoring)>,
}

/// A lane, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneStatus {
    /// The network.
    pub network: Network,
    /// The key's account.
    pub address: String,
    /// Whether this process holds it.
    pub is_held: bool,
    /// Whether its task lives.
    pub is_running: bool,
    /// Native balance when it was last asked for, wei.
    pub balance_wei: Option<tollway_evm::U256>,
    /// Whether that is below the alarm's threshold.
    pub is_low: bool,
    /// How many payments wait for a lane of this network in this process.
    pub queued: usize,
}

/// Why an engine did not start: every fault at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the facilitator cannot start:{}", .0.iter().map(|fault| format!("\n  - {fault}")).collect::<String>())]
pub struct StartError(pub Vec<String>);

impl Engine {
    /// An engine for the networks to be added.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{sync::Arc, time::Duration};
    /// use tollway_evm::{AssetTable, Chain, LocalSigner};
    /// use tollway_facilitator::{Engine, NetworkSetup};
    ///
    /// let network = "eip155:84532".parse()?;
    /// let chain = Chain::connect("http://127.0.0.1:8545", &network, Duration::from_secs(5))?;
    /// let signer = Arc::new(LocalSigner::from_hex(&std::env::var("LANE_KEY")?)?);
    /// let setup = NetworkSetup { chain, assets: AssetTable::known(), signers: vec![signer] };
    /// let engine = Engine::builder().network(setup).start().await?;
    /// # Ok(()) }
    /// ```
    pub fn builder() -> EngineBuilder {
        EngineBuilder {
            networks: Vec::new(),
            profiles: Vec::new(),
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
            ledger: None,
            name: None,
            endpoints: OutcomeEndpoints::default(),
            score: ScoreLimits::default(),
            auth_capture: AuthCaptureSetup::default(),
            channels: Vec::new(),
            sponsoring: Vec::new(),
        }
    }

    /// How many payments this process drives that are neither settled nor failed yet: zero when it is a good moment
    /// to stop.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/chain.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_facilitator::Engine;
    /// let (devnet, setup) = devnet().await;
    /// let engine = Engine::builder().network(setup).start().await?;
    /// assert_eq!(engine.open_payments(), 0);
    /// # Ok(()) }
    /// ```
    pub fn open_payments(&self) -> usize {
        self.inner.core.journal.open_count()
    }

    /// Whether the payment would settle now, asked by `caller`. The payment's own rules are checked at the call, the rest
    /// while it is awaited.
    ///
    /// # Errors
    /// As [`Facilitator::verify`].
    ///
    /// ```no_run
    /// # async fn run(engine: tollway_facilitator::Engine, request: tollway_core::model::FacilitatorRequest)
    /// # -> Result<(), tollway_core::FacilitatorError> {
    /// let verdict = engine.verify_for(Some("shop"), request).await?;
    /// # Ok(()) }
    /// ```
    pub fn verify_for<'a>(
        &'a self,
        caller: Option<&'a str>,
        request: FacilitatorRequest,
    ) -> impl Future<Output = Result<VerifyResponse, FacilitatorError>> + Send + use<'a> {
        let (core, began, network) = (&self.inner.core, Instant::now(), self.served(&request));
        // A payment is not held while it waits: it is far bigger than what is left to do.
        let asked = self.ready().map(|()| Asked::of(request, |request| verify::judge(core, request)));
        async move {
            let answer = match asked {
                Ok(Asked::Payment(Ok(candidate))) => {
                    verify::verify(core, candidate).await.map(|verdict| match verdict {
                        Ok(good) => {
                            let mut answer = VerifyResponse::valid(good.payer.to_checksum(None));
                            if good.payer_has_code {
                                answer.extra.insert(PAYER_HAS_CODE.to_owned(), true.into());
                            }
                            answer
                        }
                        Err(refusal) => refusal.into(),
                    })
                }
                Ok(Asked::Payment(Err(refusal))) => Ok(refusal.into()),
                Ok(Asked::Channels(request)) => Box::pin(channel::verify(core, *request)).await,
                Err(error) => Err(error),
            };
            tracing::trace!(caller, is_answered = answer.is_ok(), "verified");
            telemetry::verified(network, began, answer.as_ref());
            answer
        }
    }

    /// Moves the money, on behalf of `caller`: its name is kept with the settlement. The payment's own rules are checked
    /// at the call, the rest while it is awaited.
    ///
    /// # Errors
    /// As [`Facilitator::settle`].
    ///
    /// ```no_run
    /// # async fn run(engine: tollway_facilitator::Engine, request: tollway_core::model::FacilitatorRequest)
    /// # -> Result<(), tollway_core::FacilitatorError> {
    /// let answer = engine.settle_for(Some("shop"), request).await?;
    /// # Ok(()) }
    /// ```
    pub fn settle_for<'a>(
        &'a self,
        caller: Option<&'a str>,
        request: FacilitatorRequest,
    ) -> impl Future<Output = Result<SettleResponse, FacilitatorError>> + Send + use<'a> {
        let (core, began, network) = (&self.inner.core, Instant::now(), self.served(&request));
        let rest = voiding_rest(&request);
        let asked = self.ready().map(|()| Asked::of(request, |request| settle::judge(core, request)));
        async move {
            let answer = match asked {
                Ok(Asked::Payment(Ok(candidate))) => settle::settle(core, caller, candidate).await,
                Ok(Asked::Payment(Err(refused))) => Ok(*refused),
                Ok(Asked::Channels(request)) => Box::pin(channel::settle(core, caller, *request)).await,
                Err(error) => Err(error),
            };
            if let Some(rest) = rest
                && answer.as_ref().is_ok_and(|answer| answer.success)
            {
                self.give_back(caller, rest);
            }
            telemetry::settled(network, began, answer.as_ref());
            answer
        }
    }

    /// What a capture leaves goes back, by a settlement of its own. Whether that comes about changes nothing about the
    /// capture; whoever asks for the capture again asks for this again.
    fn give_back(&self, caller: Option<&str>, rest: FacilitatorRequest) {
        let (core, caller) = (Arc::clone(&self.inner.core), caller.map(str::to_owned));
        let tasks = Arc::clone(&core.tasks);
        tasks.spawn(async move {
            let Ok(candidate) = settle::judge(&core, &rest) else { return };
            if let Err(error) = settle::settle(&core, caller.as_deref(), candidate).await {
                tracing::warn!(%error, "what a capture left is not given back yet");
            }
        });
    }

    /// One settlement, whoever drives it.
    ///
    /// # Errors
    /// The ledger gave no answer.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/chain.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_facilitator::Engine;
    /// let (devnet, setup) = devnet().await;
    /// let engine = Engine::builder().network(setup).start().await?;
    /// assert_eq!(engine.settlement("00112233445566778899aabbccddeeff".parse()?).await?, None);
    /// # Ok(()) }
    /// ```
    pub async fn settlement(&self, id: SettlementId) -> Result<Option<Settlement>, LedgerError> {
        self.inner.core.journal.ledger().settlement_find(id).await
    }

    /// Settlements, newest first.
    ///
    /// # Errors
    /// The ledger gave no answer.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/chain.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_facilitator::Engine;
    /// use tollway_ledger::SettlementQuery;
    /// let (devnet, setup) = devnet().await;
    /// let engine = Engine::builder().network(setup).start().await?;
    /// let query = SettlementQuery { limit: 10, ..SettlementQuery::default() };
    /// assert!(engine.settlements(query).await?.is_empty());
    /// # Ok(()) }
    /// ```
    pub async fn settlements(&self, query: SettlementQuery) -> Result<Vec<Settlement>, LedgerError> {
        self.inner.core.journal.ledger().settlement_list(query).await
    }

    /// The lanes of all networks.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/chain.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_facilitator::Engine;
    /// let (devnet, setup) = devnet().await;
    /// let engine = Engine::builder().network(setup).start().await?;
    /// assert!(engine.lanes()[0].is_held, "alone, it holds all");
    /// # Ok(()) }
    /// ```
    pub fn lanes(&self) -> Vec<LaneStatus> {
        let mut all = Vec::new();
        for network in &self.inner.core.networks {
            all.extend(network.lanes.iter().map(|lane| LaneStatus {
                network: network.network().clone(),
                address: lane.address().to_checksum(None),
                is_held: lane.is_held(),
                is_running: lane.is_running(),
                balance_wei: lane.balance(),
                is_low: lane.is_low(),
                queued: network.queue.len(),
            }));
        }
        all
    }

    /// The ledger it writes to.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/chain.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_facilitator::Engine;
    /// let (devnet, setup) = devnet().await;
    /// let engine = Engine::builder().network(setup).start().await?;
    /// assert_eq!(engine.ledger().settlement_open_count().await?, 0);
    /// # Ok(()) }
    /// ```
    pub fn ledger(&self) -> Arc<dyn Ledger> {
        self.inner.core.journal.shared_ledger()
    }

    /// Stops in order: takes nothing new, waits until what it drives has ended, at most for `patience`, and leaves, so
    /// that another process takes over at once. Whether nothing was left open.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/chain.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tollway_facilitator::Engine;
    /// let (devnet, setup) = devnet().await;
    /// let engine = Engine::builder().network(setup).start().await?;
    /// assert!(engine.shutdown(Duration::from_secs(5)).await);
    /// # Ok(()) }
    /// ```
    pub async fn shutdown(&self, patience: Duration) -> bool {
        self.inner.is_draining.store(true, Ordering::Release);
        let core = &self.inner.core;
        let until = Instant::now() + patience;
        while core.journal.open_count() > 0 && Instant::now() < until {
            sleep(DRAIN_LOOK).await;
        }
        let is_clean = core.journal.open_count() == 0;
        core.member.stop();
        core.tasks.abort_all();
        match tokio::time::timeout(LEAVE_DEADLINE, core.member.leave()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the ledger does not know that this process has ended"),
            Err(_) => tracing::warn!("the ledger does not know that this process has ended"),
        }
        is_clean
    }

    pub(crate) fn core(&self) -> &Core {
        &self.inner.core
    }

    /// How the networks are, for `/health`.
    pub(crate) async fn health(&self) -> Arc<Health> {
        self.inner.health.check(&self.inner.core).await
    }

    fn ready(&self) -> Result<(), FacilitatorError> {
        if self.inner.is_draining.load(Ordering::Acquire) {
            return Err(FacilitatorError::Busy("the facilitator is stopping".to_owned()));
        }
        match self.inner.core.member.is_superseded() {
            true => Err(FacilitatorError::Busy("another process has taken over".to_owned())),
            false => Ok(()),
        }
    }

    /// The network that is asked for, if it is served.
    fn served(&self, request: &FacilitatorRequest) -> Option<&Network> {
        let mut served = self.inner.core.networks.iter().map(|network| network.network());
        served.find(|network| **network == request.requirements.network)
    }
}

/// How often a draining engine looks whether it is done.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// How long the ledger may take to let a process go.
const LEAVE_DEADLINE: Duration = Duration::from_secs(5);

impl Facilitator for Engine {
    fn verify(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<VerifyResponse, FacilitatorError>> {
        Box::pin(self.verify_for(None, request))
    }

    fn settle(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<SettleResponse, FacilitatorError>> {
        Box::pin(self.settle_for(None, request))
    }

    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        let mut response = SupportedResponse::default();
        let mut signers = Vec::new();
        for network in &self.inner.core.networks {
            for version in [X402Version::V2, X402Version::V1] {
                let known = Payment::SCHEMES.into_iter().chain([SchemeName::BATCH_SETTLEMENT]);
                let schemes = known.filter(|scheme| {
                    // Version 1 knows of no scheme but this.
                    let is_spoken = version == X402Version::V2 || *scheme == SchemeName::EXACT;
                    is_spoken && (*scheme != SchemeName::BATCH_SETTLEMENT || network.channels.is_some())
                });
                response.kinds.extend(schemes.map(|scheme| SupportedKind {
                    version,
                    extra: extra_of(network, &scheme),
                    scheme,
                    network: network.network().clone(),
                }));
            }
            signers.extend(network.lanes.iter().map(|lane| lane.address().to_checksum(None)));
        }
        signers.sort();
        signers.dedup();
        response.extensions = vec![EIP2612_GAS_SPONSORING.to_owned()];
        if self.inner.core.networks.iter().any(|network| network.sponsoring.is_some()) {
            response.extensions.push(ERC20_APPROVAL_GAS_SPONSORING.to_owned());
        }
        response.signers = BTreeMap::from([("eip155:*".to_owned(), signers)]);
        Box::pin(std::future::ready(Ok(response)))
    }
}

/// What a seller must know of a scheme here. A payment that is held stays with the account that holds it, and what payers
/// sign for one account is settled by no other: so sellers are told one.
fn extra_of(network: &EvmNetwork, scheme: &SchemeName) -> JsonObject {
    let mut extra = JsonObject::new();
    if *scheme == SchemeName::AUTH_CAPTURE {
        let operator = network.sender().to_checksum(None);
        extra.insert("captureAuthorizer".to_owned(), operator.into());
    }
    if *scheme == SchemeName::BATCH_SETTLEMENT
        && let Some(authorizer) = network.channels.as_ref().and_then(|channels| channels.setup.authorizer())
    {
        extra.insert("receiverAuthorizer".to_owned(), authorizer.to_checksum(None).into());
    }
    if *scheme == SchemeName::UPTO {
        extra.insert("facilitatorAddress".to_owned(), network.sender().to_checksum(None).into());
    }
    extra
}

impl EngineBuilder {
    /// Adds a network. Each may be added once.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/chain.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_core::Facilitator;
    /// use tollway_facilitator::Engine;
    /// let (devnet, setup) = devnet().await;
    /// let engine = Engine::builder().network(setup).start().await?;
    /// assert_eq!(engine.supported().await?.kinds[0].network.as_str(), "eip155:31337");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn network(mut self, setup: NetworkSetup) -> Self {
        self.networks.push(setup);
        self
    }

    /// Replaces the limits.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollway_facilitator::{Engine, Limits};
    /// let limits = Limits { settle_deadline: Duration::from_secs(60), ..Limits::default() };
    /// let builder = Engine::builder().limits(limits);
    /// ```
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Replaces the clock, for tests. Time windows of payments are held against it; waits are not.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_core::{ManualClock, UnixTime};
    /// let clock = Arc::new(ManualClock::new(UnixTime(1_700_000_000)));
    /// let builder = tollway_facilitator::Engine::builder().clock(clock);
    /// ```
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Keeps what was promised and signed in `ledger`, which other processes may share. Without one it is kept in
    /// memory, and lost with the process.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_facilitator::Engine;
    /// use tollway_ledger::MemoryLedger;
    /// let builder = Engine::builder().ledger(Arc::new(MemoryLedger::new()));
    /// ```
    #[must_use]
    pub fn ledger(mut self, ledger: Arc<dyn Ledger>) -> Self {
        self.ledger = Some(ledger);
        self
    }

    /// The process's name among those that share the ledger, such as its host and port: when it is started again under
    /// the same name, it takes over from itself at once. A random one if none is given.
    ///
    /// ```
    /// let builder = tollway_facilitator::Engine::builder().name("pay-1.example:4020");
    /// ```
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// When payments on `network` count as settled. What is usual there if nothing is said.
    ///
    /// ```
    /// use tollway_core::Network;
    /// use tollway_facilitator::{Engine, Inclusion, Profile};
    /// let network = Network::evm(8453);
    /// let profile = Profile { inclusion: Inclusion::Confirmations(3), ..Profile::usual(&network) };
    /// let builder = Engine::builder().profile(network, profile);
    /// ```
    #[must_use]
    pub fn profile(mut self, network: Network, profile: Profile) -> Self {
        self.profiles.retain(|(known, _)| *known != network);
        self.profiles.push((network, profile));
        self
    }

    /// Who is told of outcomes: a message for each endpoint is written down with the outcome. Who sends them is
    /// [`Webhooks`](crate::Webhooks).
    ///
    /// ```
    /// use tollway_facilitator::{Engine, OutcomeEndpoints};
    /// let of_all = vec!["bookkeeping".to_owned()];
    /// let endpoints = OutcomeEndpoints { of_all, ..OutcomeEndpoints::default() };
    /// let builder = Engine::builder().outcome_endpoints(endpoints);
    /// ```
    #[must_use]
    pub fn outcome_endpoints(mut self, endpoints: OutcomeEndpoints) -> Self {
        self.endpoints = endpoints;
        self
    }

    /// Replaces how payers are scored whose payments burn gas.
    ///
    /// ```
    /// use tollway_facilitator::{Engine, ScoreLimits};
    /// let builder = Engine::builder().score(ScoreLimits { threshold: 100, ..ScoreLimits::default() });
    /// ```
    #[must_use]
    pub fn score(mut self, limits: ScoreLimits) -> Self {
        self.score = limits;
        self
    }

    /// What is done of scheme `auth-capture`. Without it payments are held in the current contracts, and no refund is
    /// paid for anybody.
    ///
    /// ```
    /// use tollway_evm::{Address, auth_capture::Deployment};
    /// use tollway_facilitator::{AuthCaptureSetup, Engine};
    /// let builder = Engine::builder().auth_capture(AuthCaptureSetup {
    ///     deployments: vec![Deployment::CURRENT, Deployment::FIRST],
    ///     refunds_for: vec![Address::repeat_byte(1)],
    /// });
    /// ```
    #[must_use]
    pub fn auth_capture(mut self, setup: AuthCaptureSetup) -> Self {
        self.auth_capture = setup;
        self
    }

    /// What is done of scheme `batch-settlement` on `network`. Without it channels are served wherever their contract is, and
    /// sellers sign their claims and refunds themselves.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_core::Network;
    /// use tollway_evm::{Address, LocalSigner};
    /// use tollway_facilitator::{ChannelSetup, Engine, RefundsFor};
    /// let shop = RefundsFor { receiver: Address::repeat_byte(1), caller: Some("shop".to_owned()) };
    /// let builder = Engine::builder().batch_settlement(Network::evm(8453), ChannelSetup {
    ///     authorizer: Some(Arc::new(LocalSigner::random()?)), // or one from a key service
    ///     refunds_for: vec![shop],
    ///     ..ChannelSetup::default()
    /// });
    /// # Ok::<(), tollway_evm::SignerError>(())
    /// ```
    #[must_use]
    pub fn batch_settlement(mut self, network: Network, setup: ChannelSetup) -> Self {
        self.channels.retain(|(known, _)| *known != network);
        self.channels.push((network, setup));
        self
    }

    /// Pays for payers' approvals of Permit2 on `network`, which they sign as transactions (extension
    /// `erc20ApprovalGasSponsoring`). Without this nothing is given to anybody.
    ///
    /// ```
    /// use tollway_core::Network;
    /// use tollway_evm::U256;
    /// use tollway_facilitator::{Engine, Sponsoring};
    /// let max_cost = U256::from(20_000_000_000_000_u64); // wei
    /// let sponsoring = Sponsoring { max_cost, payer_approvals_a_day: 1, approvals_a_day: 100 };
    /// let builder = Engine::builder().sponsoring(Network::evm(8453), sponsoring);
    /// ```
    #[must_use]
    pub fn sponsoring(mut self, network: Network, sponsoring: Sponsoring) -> Self {
        self.sponsoring.retain(|(known, _)| *known != network);
        self.sponsoring.push((network, sponsoring));
        self
    }

    /// Checks every node and starts the lanes, on the current tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] with every fault found: a node that is down or on another chain, no Multicall3, a
    /// network without key or asset, a network given twice.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/chain.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tollway_facilitator::{Engine, StartError};
    /// let (devnet, mut setup) = devnet().await;
    /// setup.signers.clear();
    /// let StartError(faults) = Engine::builder().network(setup).start().await.unwrap_err();
    /// assert_eq!(faults, ["eip155:31337: no signer: a network needs at least one funded key"]);
    /// # Ok(()) }
    /// ```
    pub async fn start(self) -> Result<Engine, StartError> {
        let faults = self.faults().await;
        if !faults.is_empty() {
            return Err(StartError(faults));
        }
        let Self {
            networks,
            profiles,
            clock,
            limits,
            ledger,
            name,
            endpoints,
            score,
            auth_capture,
            channels,
            sponsoring,
        } = self;
        let ledger = ledger.unwrap_or_else(|| Arc::new(MemoryLedger::new()));
        let name = match name {
            Some(name) => name,
            None => random_name().ok_or_else(|| StartError(vec!["no randomness for a name".to_owned()]))?,
        };
        let refused = |error: LedgerError| StartError(vec![format!("ledger: {error}")]);
        let member = Membership::join(Arc::clone(&ledger), &name, Arc::clone(&clock), limits.member_ttl);
        let member = Arc::new(member.await.map_err(refused)?);
        let journal = Journal::new(ledger, Arc::clone(&clock), limits.journal, endpoints);
        let profile_of = |network: &Network| {
            let given =
                profiles.iter().find(|(known, _)| known == network).map(|(_, profile)| profile.clone());
            given.unwrap_or_else(|| Profile::usual(network))
        };
        let mut served = Vec::with_capacity(networks.len());
        for setup in networks {
            let network = setup.chain.network();
            let profile = profile_of(network);
            let own = |(known, given): &(Network, Sponsoring)| (known == network).then_some(*given);
            let sponsored = sponsoring.iter().find_map(own);
            let asked = channels.iter().find(|(known, _)| known == network).map(|(_, setup)| setup.clone());
            let of_channels =
                channel::begin(&setup.chain, asked).await.map_err(|fault| StartError(vec![fault]))?;
            let network =
                EvmNetwork::new(setup, profile, &limits, auth_capture.clone(), of_channels, sponsored);
            served.push(Arc::new(network));
        }
        let networks = served;
        let tasks = Arc::new(Tasks::default());
        let journal = Arc::new(journal);
        let score = Score::new(score);
        let core = Arc::new(Core { networks, journal, member, clock, limits, tasks, score });
        let inner = Inner {
            core: Arc::clone(&core),
            health: HealthCheck::default(),
            is_draining: AtomicBool::new(false),
        };
        let engine = Engine { inner: Arc::new(inner) };
        steward::share_out(&core).await.map_err(refused)?;
        begin(&core);
        Ok(engine)
    }

    /// What keeps it from working, all of it.
    async fn faults(&self) -> Vec<String> {
        let mut faults = self.limits.faults();
        faults.extend(self.score.faults());
        if self.networks.is_empty() {
            faults.push("no network is configured".to_owned());
        }
        for (index, setup) in self.networks.iter().enumerate() {
            let network = setup.chain.network();
            if self.networks[..index].iter().any(|other| other.chain.network() == network) {
                faults.push(format!("{network}: is configured twice"));
            }
            faults.extend(setup.faults().await);
        }
        for (network, profile) in &self.profiles {
            faults.extend(profile.faults().into_iter().map(|fault| format!("{network}: {fault}")));
        }
        for (network, setup) in &self.channels {
            faults.extend(setup.faults().into_iter().map(|fault| format!("{network}: {fault}")));
        }
        for (network, sponsoring) in &self.sponsoring {
            faults.extend(sponsoring.faults().into_iter().map(|fault| format!("{network}: {fault}")));
        }
        faults
    }
}

/// Starts all that runs by itself.
fn begin(core: &Arc<Core>) {
    let tasks = &core.tasks;
    let member = Arc::clone(core);
    tasks.spawn(async move {
        member.member.renew().await;
        member.journal.let_go();
    });
    tasks.spawn(steward::run(Arc::clone(core)));
    for network in &core.networks {
        tasks.spawn(Arc::clone(&network.watcher).run());
        let sender = network.sender();
        tasks.spawn(Arc::clone(&network.coalescer).run(network.chain.clone(), sender, Arc::clone(tasks)));
        if let Some(channels) = &network.channels {
            tasks.spawn(Arc::clone(&channels.looks).run(network.chain.clone(), Arc::clone(tasks)));
        }
        tasks.spawn(Gas::watch(Arc::clone(network)));
        for lane in &network.lanes {
            tasks.spawn(lane::run(Arc::clone(core), Arc::clone(network), Arc::clone(lane)));
        }
        tasks.spawn(reconcile::run(Arc::clone(core), Arc::clone(network)));
    }
}

fn random_name() -> Option<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).ok()?;
    Some(format!("facilitator-{:016x}", u64::from_be_bytes(bytes)))
}

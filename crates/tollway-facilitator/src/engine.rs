//! The engine: the phases in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use tollway_core::model::{
    FacilitatorRequest, SettleResponse, SupportedKind, SupportedResponse, VerifyResponse,
};
use tollway_core::{
    BoxFuture, Clock, Facilitator, FacilitatorError, JsonObject, Network, Refusal, SchemeName, SystemClock,
    X402Version,
};
use tollway_evm::exact::ExactPayment;

use crate::evm_network::{EvmNetwork, NetworkSetup};
use crate::health::{HealthCheck, NetworkHealth};
use crate::journal::{Journal, Progress, Row};
use crate::lane::LaneHandle;
use crate::limits::Limits;
use crate::phase::reserve::Reserved;
use crate::phase::{check, late, matching, reserve, simulate};
use crate::verified::Verified;

/// How long a lane that has claimed a payment may take to simulate and sign: then the transaction's hash is known.
const CLAIM_GRACE: Duration = Duration::from_secs(10);

/// Verifies and settles. Cheap to clone; the lanes end when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    networks: Vec<Arc<EvmNetwork>>,
    journal: Arc<Journal>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    /// Bounds the simulations under way: whoever waits for one holds memory.
    simulations: Arc<Semaphore>,
    verified: Verified,
    health: HealthCheck,
}

/// Puts an [`Engine`] together.
#[derive(Debug)]
pub struct EngineBuilder {
    networks: Vec<NetworkSetup>,
    clock: Arc<dyn Clock>,
    limits: Limits,
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
        EngineBuilder { networks: Vec::new(), clock: Arc::new(SystemClock), limits: Limits::default() }
    }

    /// How many payments are accepted and neither settled nor failed yet: zero when it is a good moment to
    /// stop.
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
        self.inner.journal.open_count()
    }

    /// The network, if it is served.
    pub(crate) fn served(&self, network: &Network) -> Option<&Network> {
        self.inner.networks.iter().map(|served| served.network()).find(|served| *served == network)
    }

    /// How the networks are, for `/health`.
    pub(crate) async fn health(&self) -> Arc<Vec<NetworkHealth>> {
        self.inner.health.check(&self.inner.networks).await
    }

    async fn verify_payment(
        &self,
        request: &FacilitatorRequest,
    ) -> Result<Result<ExactPayment, Refusal>, FacilitatorError> {
        let inner = &self.inner;
        let local = || {
            let network = matching::find(&inner.networks, request)?;
            let payment = check::check(request, &inner.limits, inner.clock.now())?;
            reserve::unused(&inner.journal, &payment)?;
            Ok((network, payment))
        };
        let (network, payment) = match local() {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let _turn = inner.simulations.try_acquire().map_err(|_| too_many())?;
        let verdict = first_simulation(network, &payment).await?;
        if verdict.is_ok() {
            inner.verified.insert(&payment);
        }
        Ok(verdict.map(|()| payment))
    }

    async fn settle_payment(&self, request: &FacilitatorRequest) -> Result<SettleResponse, FacilitatorError> {
        let inner = &self.inner;
        let now = inner.clock.now();
        let local = || {
            let network = matching::find(&inner.networks, request)?;
            let payment = check::check_at_any_time(request)?;
            // Who asks again is told the fate, also after the authorization has expired.
            let known = reserve::known(&inner.journal, &payment)?;
            // What was sent for it before may have settled it since, in time.
            if known.is_none() && !reserve::was_sent(&inner.journal, &payment) {
                check::window(&payment, &inner.limits, now)?;
            }
            Ok((network, payment, known))
        };
        let (network, payment, known) = match local() {
            Ok(found) => found,
            Err(refusal) => return Ok(failure(request, refusal)),
        };
        if let Some(row) = known {
            return self.await_fate(request, &row).await;
        }
        let turn = Arc::clone(&inner.simulations).try_acquire_owned().map_err(|_| too_many())?;
        let row = match reserve::reserve(&inner.journal, &payment, now)? {
            Ok(Reserved::Ours(row)) => {
                // In a task of its own: a caller who hangs up cannot leave a reservation behind.
                let (engine, network, ours) = (self.clone(), Arc::clone(network), Arc::clone(&row));
                tokio::spawn(async move {
                    engine.start_settlement(&network, ours).await;
                    drop(turn);
                });
                row
            }
            Ok(Reserved::Theirs(row)) => {
                drop(turn);
                row
            }
            Err(refusal) => return Ok(failure(request, refusal)),
        };
        self.await_fate(request, &row).await
    }

    /// Hands a reserved payment to a lane, if it would settle.
    async fn start_settlement(&self, network: &EvmNetwork, row: Arc<Row>) {
        let journal = &self.inner.journal;
        if !row.transactions().is_empty() && !self.is_unused_still(network, &row).await {
            return;
        }
        // What was verified a moment ago need not be asked for again before it queues.
        let verdict = match self.inner.verified.contains(&row.payment) {
            true => Ok(Ok(())),
            false => first_simulation(network, &row.payment).await,
        };
        let ended = match verdict {
            Ok(Ok(())) if network.enqueue(&row) => return,
            Ok(Ok(())) => Progress::Abandoned { message: "every lane's queue is full".to_owned() },
            Ok(Err(refusal)) => Progress::Failed { message: refusal.to_string(), code: refusal.code },
            Err(error) => Progress::abandoned(&error),
        };
        journal.finish(&row, ended);
    }

    /// Before a payment for which something was sent earlier starts anew: whether that has settled it. False: it has
    /// ended, or is being watched.
    async fn is_unused_still(&self, network: &EvmNetwork, row: &Arc<Row>) -> bool {
        let inner = &self.inner;
        let refused = check::window(&row.payment, &inner.limits, inner.clock.now()).err();
        let may_go_on = refused.is_none();
        let unused =
            refused.map(|refusal| Progress::Failed { message: refusal.to_string(), code: refusal.code });
        let every = inner.limits.rebroadcast_every;
        late::end(&network.chain, &inner.journal, row, unused, every).await && may_go_on
    }

    /// Waits for the fate of a reserved payment, at most the settle deadline.
    async fn await_fate(
        &self,
        request: &FacilitatorRequest,
        row: &Arc<Row>,
    ) -> Result<SettleResponse, FacilitatorError> {
        let inner = &self.inner;
        let mut progress = row.watch();
        let ended = timeout(inner.limits.settle_deadline, progress.wait_for(Progress::is_terminal));
        if ended.await.is_err() && row.progress().is_waiting() && !inner.journal.reservation_withdraw(row) {
            // A lane is signing: the hash will be known in a moment.
            let known = timeout(CLAIM_GRACE, progress.wait_for(|progress| !progress.is_waiting()));
            drop(known.await);
        }
        respond(request, &row.payment, row.progress())
    }
}

fn too_many() -> FacilitatorError {
    FacilitatorError::Busy("too many payments are being simulated".to_owned())
}

async fn first_simulation(
    network: &EvmNetwork,
    payment: &ExactPayment,
) -> Result<Result<(), Refusal>, FacilitatorError> {
    let sender = network.lane().map(LaneHandle::address).unwrap_or_default();
    let verdicts = simulate::simulate(&network.chain, sender, &[payment]).await?;
    // Each payment has its verdict: a simulation without one would be no answer.
    Ok(verdicts.into_iter().collect::<Result<Vec<_>, _>>().map(drop))
}

fn failure(request: &FacilitatorRequest, refusal: Refusal) -> SettleResponse {
    let network = request.requirements.network.clone();
    let message = refusal.to_string();
    let mut response = SettleResponse::failed(network, Some(refusal.code), message);
    response.payer = refusal.payer;
    response
}

fn respond(
    request: &FacilitatorRequest,
    payment: &ExactPayment,
    progress: Progress,
) -> Result<SettleResponse, FacilitatorError> {
    let network = request.requirements.network.clone();
    let payer = payment.authorization.from.to_checksum(None);
    Ok(match progress {
        Progress::Settled { transaction, log_index } => {
            let mut response = SettleResponse::settled(network, payer, transaction.to_string());
            response.extra.insert("logIndex".to_owned(), log_index.into());
            response
        }
        Progress::Failed { code, message } => {
            let mut response = SettleResponse::failed(network, Some(code), message);
            response.payer = Some(payer);
            response
        }
        Progress::Sent { transaction } => SettleResponse::pending(network, payer, transaction.to_string()),
        Progress::Abandoned { message } => return Err(FacilitatorError::Busy(message)),
        Progress::Reserved | Progress::Claimed => {
            return Err(FacilitatorError::NoAnswer("the lane's signer did not answer".to_owned()));
        }
    })
}

impl Facilitator for Engine {
    fn verify(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<VerifyResponse, FacilitatorError>> {
        Box::pin(async move {
            Ok(match self.verify_payment(&request).await? {
                Ok(payment) => VerifyResponse::valid(payment.authorization.from.to_checksum(None)),
                Err(refusal) => refusal.into(),
            })
        })
    }

    fn settle(&self, request: FacilitatorRequest) -> BoxFuture<'_, Result<SettleResponse, FacilitatorError>> {
        Box::pin(async move { self.settle_payment(&request).await })
    }

    fn supported(&self) -> BoxFuture<'_, Result<SupportedResponse, FacilitatorError>> {
        let mut response = SupportedResponse::default();
        let mut signers = Vec::new();
        for network in &self.inner.networks {
            for version in [X402Version::V2, X402Version::V1] {
                response.kinds.push(SupportedKind {
                    version,
                    scheme: SchemeName::EXACT,
                    network: network.network().clone(),
                    extra: JsonObject::new(),
                });
            }
            signers.extend(network.lanes.iter().map(|lane| lane.address().to_checksum(None)));
        }
        signers.sort();
        signers.dedup();
        response.signers = BTreeMap::from([("eip155:*".to_owned(), signers)]);
        Box::pin(std::future::ready(Ok(response)))
    }
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
        let mut faults = self.limits.faults();
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
        if !faults.is_empty() {
            return Err(StartError(faults));
        }
        let Self { networks, clock, limits } = self;
        let journal = Arc::new(Journal::new(limits.journal));
        let lane = |chain: &tollway_evm::Chain, signer| {
            LaneHandle::spawn(chain.clone(), signer, &journal, &clock, &limits)
        };
        let networks = networks
            .into_iter()
            .map(|NetworkSetup { chain, assets, signers }| {
                let lanes = signers.into_iter().map(|signer| lane(&chain, signer)).collect();
                Arc::new(EvmNetwork { chain, assets, lanes })
            })
            .collect();
        let simulations = Arc::new(Semaphore::new(limits.simulations));
        Ok(Engine {
            inner: Arc::new(Inner {
                networks,
                journal,
                clock,
                limits,
                simulations,
                verified: Verified::default(),
                health: HealthCheck::default(),
            }),
        })
    }
}

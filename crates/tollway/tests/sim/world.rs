//! The world of one run: what there is, how it starts, how it ends.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tollway_core::{Clock, Network, UnixTime};
use tollway_devnet::{ACCOUNTS, Config, Grant, Handle, Mining, genesis};
use tollway_evm::{Address, Asset, AssetTable, Chain, LocalSigner, Signer, U256};
use tollway_facilitator::{Engine, Limits, NetworkSetup};
use tollway_ledger::{Interposed, Ledger, MemoryLedger};

use crate::books::Books;
use crate::buyer::{self, Payer, PayerKind};
use crate::dice::Dice;
use crate::hazard::{Hazard, LedgerRisk};
use crate::nature::{self, NatureRisk};
use crate::network::{FacilitatorLink, Facilitators, NetworkRisk, NodeLink};
use crate::process::Process;
use crate::shop::Shop;

pub(crate) const PRICE: &str = "$0.01";
pub(crate) const PRICE_ATOMIC: u64 = 10_000;
const CHAIN_ID: u64 = 31_337;
/// When the run begins, by its own clock.
const BEGINNING: u64 = 1_800_000_000;
const FACILITATORS: usize = 2;
const SHOPS: usize = 2;
const PAYERS: usize = 24;
const POOR_PAYERS: usize = 4;
const TIGHT_PAYERS: usize = POOR_PAYERS + 4;
/// How many purchases are under way at once.
const AT_ONCE: usize = 48;
/// How long the world may take to come to rest, in its own time.
const REST: Duration = Duration::from_secs(3_600);
/// How much gas a payment may cost at most, on average, whatever happens; and what a unit of it may cost.
const GAS_A_PAYMENT: u64 = 200_000;

/// How rough it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) nature: NatureRisk,
    pub(crate) facilitator_ledger: LedgerRisk,
    pub(crate) seller_ledger: LedgerRisk,
    pub(crate) node_network: NetworkRisk,
    pub(crate) facilitator_network: NetworkRisk,
    pub(crate) buyer_network: NetworkRisk,
    pub(crate) handler_fails: u64,
    pub(crate) buyers_die: u64,
    pub(crate) rivals: u64,
    /// Some payers have little money, and some a small budget.
    pub(crate) is_tight: bool,
}

impl Plan {
    pub(crate) fn fair() -> Self {
        Self::default()
    }

    pub(crate) fn foul() -> Self {
        let ms = Duration::from_millis;
        let ledger = LedgerRisk { dies_before: 4, dies_after: 4, answer_lost: 10, delay: ms(5) };
        let network = |delay| NetworkRisk { request_lost: 30, answer_lost: 60, twice: 50, delay };
        Self {
            nature: NatureRisk { reorg: 200, hold: 80, node: 600, disk_full: 60, kill: 100 },
            facilitator_ledger: ledger,
            seller_ledger: ledger,
            node_network: NetworkRisk { request_lost: 10, answer_lost: 20, twice: 0, delay: ms(40) },
            facilitator_network: network(ms(30)),
            buyer_network: network(ms(80)),
            handler_fails: 200,
            buyers_die: 150,
            rivals: 100,
            is_tight: true,
        }
    }
}

/// What everybody knows.
#[derive(Debug)]
pub(crate) struct Market {
    pub(crate) dice: Dice,
    pub(crate) plan: Plan,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) network: Network,
    pub(crate) assets: AssetTable,
    pub(crate) asset: Asset,
    pub(crate) payee: Address,
    /// The chain itself, without any network in between.
    pub(crate) truth: Chain,
}

impl Market {
    pub(crate) async fn token_balance(&self, holder: Address) -> U256 {
        let data = format!("0x70a08231{:0>64}", holder.to_string().trim_start_matches("0x").to_lowercase());
        let call = serde_json::json!([{ "to": genesis::USDC, "data": data }, "latest"]);
        let answer = self.truth.raw("eth_call", call).await.expect("the truth is always there");
        answer.as_str().expect("a word").parse().expect("a number")
    }
}

pub(crate) struct World {
    pub(crate) market: Arc<Market>,
    pub(crate) chain: Handle,
    pub(crate) payers: Vec<Payer>,
    pub(crate) books: Mutex<Books>,
    pub(crate) is_calm: AtomicBool,
    pub(crate) facilitator_disk_full: Arc<AtomicBool>,
    pub(crate) seller_disk_full: Arc<AtomicBool>,
    facilitators: Arc<Facilitators>,
    shops: Vec<Mutex<Option<Shop>>>,
    /// Those that are being started.
    starting: Mutex<Vec<(Kind, usize)>>,
    facilitator_ledger: MemoryLedger,
    seller_ledger: MemoryLedger,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Facilitator,
    Shop,
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) violations: Vec<String>,
    pub(crate) digest: [u8; 32],
    pub(crate) signed: u64,
    pub(crate) served: u64,
    pub(crate) charged: u64,
    pub(crate) settled: u64,
    pub(crate) unpaid: u64,
    pub(crate) over_budget: u64,
    pub(crate) by_rivals: u64,
    pub(crate) lived: Duration,
}

impl Report {
    pub(crate) fn broken(&mut self, violation: String) {
        self.violations.push(violation);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signed, served, charged, settled, unpaid, over_budget, by_rivals, lived, .. } = self;
        write!(
            f,
            "signed {signed}, purchases served {served}, charged {charged}, settled {settled}, served in the \
             background and unpaid {unpaid}, above a budget {over_budget}, paid by rivals alone {by_rivals}, {lived:?} of \
             its own time"
        )
    }
}

/// Time as tokio tells it.
#[derive(Debug)]
struct VirtualClock {
    start: Instant,
}

impl Clock for VirtualClock {
    fn now(&self) -> UnixTime {
        UnixTime(BEGINNING + self.start.elapsed().as_secs())
    }
}

/// One run, from a seed.
pub(crate) fn simulate(seed: u64, purchases: u64, plan: Plan) -> Report {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true);
    // Which of those that wait is woken first, tokio leaves to chance: to ours.
    #[cfg(tokio_unstable)]
    runtime.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_be_bytes()));
    let runtime = runtime.build().expect("a runtime");
    if std::env::var_os("TOLLWAY_SIM_TRACE").is_some() {
        // Beside the notes of the dice: what the processes say themselves.
        let _ = tracing_subscriber::fmt().with_test_writer().with_max_level(tracing::Level::INFO).try_init();
    }
    runtime.block_on(async {
        let world = World::begin(seed, plan).await;
        let nature = tokio::spawn(nature::run(Arc::clone(&world)));
        world.wait_for_shops().await;
        trade(&world, purchases).await;
        let mut report = world.rest().await;
        let books = std::mem::take(&mut *world.books.lock());
        books.audit(&world, &world.facilitator_ledger, &mut report).await;
        world.audit_lanes(&mut report).await;
        nature.abort();
        report.digest = world.market.dice.digest();
        report
    })
}

async fn trade(world: &Arc<World>, purchases: u64) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut buyers = JoinSet::new();
    for number in 0..purchases {
        let turn = Arc::clone(&turns).acquire_owned().await.expect("never closed");
        let world = Arc::clone(world);
        buyers.spawn(async move {
            buyer::purchase(world, number).await;
            drop(turn);
        });
        while let Some(done) = buyers.try_join_next() {
            done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        }
    }
    while let Some(done) = buyers.join_next().await {
        done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    }
}

impl World {
    async fn begin(seed: u64, plan: Plan) -> Arc<Self> {
        let dice = Dice::new(seed);
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock { start: Instant::now() });
        let config = Config {
            chain_id: CHAIN_ID,
            mining: Mining::Manual,
            clock: Arc::clone(&clock),
            in_process: true,
            // Every block of a long run can be looked up when it is over.
            limits: tollway_devnet::Limits { blocks: 1 << 21, ..tollway_devnet::Limits::default() },
            ..Config::default()
        };
        let chain = tollway_devnet::spawn(config).await.expect("the devnet starts");
        let network = Network::evm(CHAIN_ID);
        let truth = Chain::from_transport(chain.transport(), &network, Duration::from_secs(60)).expect("EVM");
        let asset = usdc(&network);
        let assets = AssetTable::empty().with(asset.clone());
        let payee = Address::from_slice(&dice.bytes()[..20]);
        let market = Market { dice, plan, clock, network, assets, asset, payee, truth };
        let kind = |index| match index {
            _ if !plan.is_tight => PayerKind::Rich,
            ..POOR_PAYERS => PayerKind::Poor,
            POOR_PAYERS..TIGHT_PAYERS => PayerKind::Frugal,
            _ => PayerKind::Rich,
        };
        let payers: Vec<Payer> = (0..PAYERS).map(|index| Payer::new(&market, kind(index))).collect();
        for payer in &payers {
            let is_poor = payer.kind == PayerKind::Poor;
            let tokens = if is_poor { 3 * PRICE_ATOMIC } else { u64::MAX / 1_000 };
            let grant = Grant { wei: U256::ZERO, token_atomic: U256::from(tokens) };
            chain.grant(payer.signer.address(), grant);
        }
        chain.mine();
        Arc::new(Self {
            market: Arc::new(market),
            chain,
            payers,
            books: Mutex::default(),
            is_calm: AtomicBool::new(false),
            facilitator_disk_full: Arc::default(),
            seller_disk_full: Arc::default(),
            facilitators: Arc::new(Facilitators {
                slots: (0..FACILITATORS).map(|_| Mutex::default()).collect(),
            }),
            shops: (0..SHOPS).map(|_| Mutex::default()).collect(),
            starting: Mutex::default(),
            facilitator_ledger: MemoryLedger::new(),
            seller_ledger: MemoryLedger::new(),
        })
    }

    pub(crate) fn any_shop(&self) -> Option<Shop> {
        let first = self.market.dice.below(SHOPS as u64) as usize;
        (0..SHOPS)
            .map(|offset| (first + offset) % SHOPS)
            .find_map(|index| self.shops[index].lock().clone().filter(|shop| !shop.process.is_dead()))
    }

    pub(crate) fn kill_one(&self) {
        let dice = &self.market.dice;
        let at = dice.below((FACILITATORS + SHOPS) as u64) as usize;
        let process = match at.checked_sub(FACILITATORS) {
            None => self.facilitators.slots[at].lock().as_ref().map(|(process, _)| process.clone()),
            Some(shop) => self.shops[shop].lock().as_ref().map(|shop| shop.process.clone()),
        };
        if let Some(process) = process {
            dice.note(&format!("{} is killed", process.name()));
            process.kill();
        }
    }

    /// Starts what is dead again, after a while.
    pub(crate) fn raise_the_dead(self: &Arc<Self>) {
        let facilitators = (0..FACILITATORS).map(|index| (Kind::Facilitator, index));
        let shops = (0..SHOPS).map(|index| (Kind::Shop, index));
        for (kind, index) in facilitators.chain(shops) {
            let is_alive = match kind {
                Kind::Facilitator => self.facilitators.slots[index]
                    .lock()
                    .as_ref()
                    .is_some_and(|(process, _)| !process.is_dead()),
                Kind::Shop => self.shops[index].lock().as_ref().is_some_and(|shop| !shop.process.is_dead()),
            };
            if is_alive || self.starting.lock().contains(&(kind, index)) {
                continue;
            }
            self.starting.lock().push((kind, index));
            tokio::spawn(Arc::clone(self).start(kind, index));
        }
    }

    async fn start(self: Arc<Self>, kind: Kind, index: usize) {
        tokio::time::sleep(self.market.dice.pause(Duration::from_secs(12))).await;
        let started = match kind {
            Kind::Facilitator => self.start_facilitator(index).await,
            Kind::Shop => self.start_shop(index).await,
        };
        self.market.dice.note(&format!("{kind:?} {index} starts: {started}"));
        self.starting.lock().retain(|other| *other != (kind, index));
    }

    async fn start_facilitator(&self, index: usize) -> bool {
        let (market, plan) = (&self.market, &self.market.plan);
        let process = Process::start(&format!("facilitator-{index}"));
        let link = NodeLink {
            node: self.chain.transport(),
            process: process.clone(),
            dice: market.dice.clone(),
            risk: self.risk(plan.node_network),
        };
        let chain = Chain::from_transport(link, &market.network, Duration::from_secs(5)).expect("EVM");
        let lane = |account: usize| -> Arc<dyn Signer> {
            Arc::new(LocalSigner::from_hex(&ACCOUNTS[account].secret_key.to_string()).expect("a key"))
        };
        let setup =
            NetworkSetup { chain, assets: market.assets.clone(), signers: vec![lane(1), lane(2), lane(3)] };
        let ledger = self.ledger(
            &process,
            &self.facilitator_ledger,
            plan.facilitator_ledger,
            &self.facilitator_disk_full,
        );
        let engine = Engine::builder()
            .network(setup)
            .clock(Arc::clone(&market.clock))
            .ledger(ledger)
            .name(process.name())
            .limits(Limits::default());
        match process.serve(engine.start()).await {
            Some(Ok(engine)) => {
                *self.facilitators.slots[index].lock() = Some((process, engine));
                true
            }
            Some(Err(_)) | None => false,
        }
    }

    async fn start_shop(&self, index: usize) -> bool {
        let (market, plan) = (&self.market, &self.market.plan);
        let process = Process::start(&format!("shop-{index}"));
        let link = FacilitatorLink {
            facilitators: Arc::clone(&self.facilitators),
            process: process.clone(),
            dice: market.dice.clone(),
            risk: self.risk(plan.facilitator_network),
        };
        let ledger = self.ledger(&process, &self.seller_ledger, plan.seller_ledger, &self.seller_disk_full);
        let starting = Shop::start(Arc::clone(market), process.clone(), link, ledger);
        match process.serve(starting).await {
            Some(Ok(shop)) => {
                *self.shops[index].lock() = Some(shop);
                true
            }
            Some(Err(_)) | None => false,
        }
    }

    fn risk(&self, risk: NetworkRisk) -> NetworkRisk {
        if self.is_calm.load(Ordering::Relaxed) { NetworkRisk::default() } else { risk }
    }

    fn ledger(
        &self,
        process: &Process,
        ledger: &MemoryLedger,
        risk: LedgerRisk,
        disk_full: &Arc<AtomicBool>,
    ) -> Arc<dyn Ledger> {
        let risk = if self.is_calm.load(Ordering::Relaxed) { LedgerRisk::default() } else { risk };
        let (process, dice) = (process.clone(), self.market.dice.clone());
        let hazard = Hazard { process, dice, risk, disk_full: Arc::clone(disk_full) };
        Arc::new(Interposed::new(Arc::new(ledger.clone()), hazard))
    }

    async fn wait_for_shops(&self) {
        while self.any_shop().is_none() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Lets everything come to an end in calm weather.
    async fn rest(self: &Arc<Self>) -> Report {
        self.is_calm.store(true, Ordering::Relaxed);
        self.chain.faults().inject(tollway_devnet::Fault::Clear);
        self.facilitator_disk_full.store(false, Ordering::Relaxed);
        self.seller_disk_full.store(false, Ordering::Relaxed);
        // The living keep the risks they started with: only new lives are calm.
        for slot in &self.facilitators.slots {
            slot.lock().iter().for_each(|(process, _)| process.kill());
        }
        for shop in &self.shops {
            shop.lock().iter().for_each(|shop| shop.process.kill());
        }
        let mut report = Report::default();
        let began = Instant::now();
        let mut quiet = 0;
        while quiet < 40 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            quiet = if self.is_quiet().await { quiet + 1 } else { 0 };
            if quiet == 40 && self.owes().await {
                quiet = 0;
            }
            if began.elapsed() > REST {
                report.broken("it does not come to rest".to_owned());
                break;
            }
        }
        report.lived = Duration::from_secs(self.market.clock.now().0 - BEGINNING);
        report
    }

    async fn is_quiet(&self) -> bool {
        let open = self.facilitator_ledger.settlement_open_count().await.expect("memory");
        let unfinal =
            self.facilitator_ledger.settlement_unfinal(&self.market.network, 0, 1).await.expect("memory");
        let is_up = self.starting.lock().is_empty() && self.any_shop().is_some();
        is_up && open == 0 && unfinal.is_empty()
    }

    /// A look from the future. It takes what it finds, so it is not for every second.
    async fn owes(&self) -> bool {
        let now = self.market.clock.now();
        let far = now.plus_seconds(1_000_000);
        !self.seller_ledger.reservation_owed(far, now, 10).await.expect("memory").is_empty()
    }

    /// Lanes spend on payments, and not more than payments may cost.
    async fn audit_lanes(&self, report: &mut Report) {
        let mut spent = U256::ZERO;
        for account in &ACCOUNTS[1..4] {
            let balance =
                self.market.truth.balance(account.address).await.expect("the truth is always there");
            spent += Config::default().genesis.wei - balance;
        }
        let fee = U256::from(Limits::default().max_fee_per_gas);
        let cap = U256::from(report.settled * GAS_A_PAYMENT) * fee;
        if spent > cap {
            report.broken(format!("the lanes spent {spent} wei, more than {cap}"));
        }
    }
}

fn usdc(network: &Network) -> Asset {
    Asset {
        network: network.clone(),
        address: genesis::USDC,
        symbol: "USDC".to_owned(),
        decimals: 6,
        name: "USDC".to_owned(),
        version: "2".to_owned(),
        is_usd: true,
        transfer_method: tollway_evm::TransferMethod::Eip3009,
    }
}

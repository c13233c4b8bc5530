//! The rules of intents, held against every order of events that a generator thinks of: several processes on one ledger,
//! each a runtime of its own that may end at any step; sellers that say anything; a chain that takes what it wants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tollway_core::model::{
    FacilitatorRequest, PaymentRequired, PaymentRequirements, ResourceInfo, SettleResponse,
};
use tollway_core::{
    Amount, BoxFuture, Clock, ErrorCode, JsonObject, ManualClock, Network, SchemeName, UnixTime, X402Version,
};
use tollway_ledger::{IntentId, IntentQuery, Ledger, MemoryLedger};

use crate::buy::{self, Asked, Bought, Earlier, Purchased};
use crate::error::PaymentError;
use crate::intent::answer::followed;
use crate::intent::fate::{ChainFate, FateWitness, Sighting};
use crate::intent::key::PurchaseKey;
use crate::intent::record::{IntentRecord, IntentState};
use crate::policy::window::Window;
use crate::policy::{Policy, outermost};
use crate::settlement::Paid;
use crate::wallet::Wallet;

const KEY: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
const PRICE: u64 = 50_000;
/// Ten purchases, in 10^-18 dollars.
const BUDGET: &str = "500000000000000000";
const UNIT: &str = "50000000000000000";
const START: UnixTime = UnixTime(1_800_000_000);
const PROCESSES: usize = 3;

/// What has been signed, and what the chain has taken of it, by nonce.
#[derive(Debug, Default)]
struct Truth {
    signed: BTreeMap<String, Signed>,
}

#[derive(Clone, Debug)]
struct Signed {
    intent: IntentId,
    key: usize,
    expires: UnixTime,
    is_used: bool,
    /// Its purchase ended well: the answer was read.
    is_over: bool,
}

/// A node that sees the truth, with final blocks at once.
#[derive(Debug)]
struct Node {
    truth: Arc<Mutex<Truth>>,
    clock: Arc<ManualClock>,
}

impl FateWitness for Node {
    fn covers(&self, _: &Network) -> bool {
        true
    }

    fn look<'a>(&'a self, payment: &'a FacilitatorRequest, _: Option<&'a str>) -> BoxFuture<'a, Sighting> {
        let nonce = payment.payment.payload["authorization"]["nonce"].to_string();
        let fate = match self.truth.lock().signed.get(&nonce) {
            Some(signed) if signed.is_used => ChainFate::Moved {
                transaction: "0x1".to_owned(),
                block: 1,
                log_index: 0,
                amount: Amount::from(PRICE),
            },
            Some(signed) if self.clock.now() > signed.expires => ChainFate::Dead,
            Some(_) => ChainFate::Unused,
            None => ChainFate::Unknown("never signed".to_owned()),
        };
        Box::pin(std::future::ready(Sighting { fate, is_contradicted: false }))
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A process asks for one of the purchases.
    Ask {
        process: usize,
        key: usize,
    },
    /// What it presented is answered.
    Answer {
        process: usize,
        at: usize,
        how: How,
    },
    /// Its caller hangs up.
    HangUp {
        process: usize,
        at: usize,
    },
    /// It ends without another word, and another one begins.
    Crash {
        process: usize,
    },
    /// The chain takes a payment, whoever has sent it.
    Settle {
        at: usize,
    },
    Wait {
        seconds: u64,
    },
    Reconcile {
        process: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum How {
    Read,
    Unread,
    Silent,
    Refused,
    Failed,
}

struct Process {
    runtime: Runtime,
    wallet: Wallet,
    work: Vec<(usize, Bought)>,
}

struct World {
    ledger: Arc<MemoryLedger>,
    clock: Arc<ManualClock>,
    truth: Arc<Mutex<Truth>>,
    processes: Vec<Process>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            ledger: Arc::new(MemoryLedger::new()),
            clock: Arc::new(ManualClock::new(START)),
            truth: Arc::default(),
            processes: Vec::new(),
        };
        world.processes = (0..PROCESSES).map(|_| world.process()).collect();
        world
    }

    fn process(&self) -> Process {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let mut level = outermost();
        level.budget.set(Window::Lifetime, BUDGET.parse().unwrap());
        let node = Node { truth: self.truth.clone(), clock: self.clock.clone() };
        let wallet = Wallet::builder()
            .key(KEY)
            .unwrap()
            .ledger(self.ledger.clone())
            .policy(Policy::of(level))
            .clock(self.clock.clone())
            .fate_witness(Arc::new(node))
            .build();
        Process { runtime: runtime.unwrap(), wallet: wallet.unwrap(), work: Vec::new() }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ask { process, key } => self.ask(process, key),
            Step::Answer { process, at, how } => self.answer(process, at, how),
            Step::HangUp { process, at } => {
                let process = &mut self.processes[process];
                if !process.work.is_empty() {
                    let gone = process.work.remove(at % process.work.len());
                    process.runtime.block_on(async {
                        drop(gone);
                        process.wallet.flush().await;
                    });
                }
            }
            Step::Crash { process } => {
                let next = self.process();
                let Process { runtime, wallet, work } = std::mem::replace(&mut self.processes[process], next);
                // What is dropped after its runtime writes nothing any more.
                drop(runtime);
                drop((work, wallet));
            }
            Step::Settle { at } => {
                let now = self.clock.now();
                let mut truth = self.truth.lock();
                let live: Vec<String> = truth
                    .signed
                    .iter()
                    .filter(|(_, signed)| !signed.is_used && now < signed.expires)
                    .map(|(nonce, _)| nonce.clone())
                    .collect();
                if !live.is_empty() {
                    truth.signed.get_mut(&live[at % live.len()]).unwrap().is_used = true;
                }
            }
            Step::Wait { seconds } => self.clock.set(self.clock.now().plus_seconds(seconds)),
            Step::Reconcile { process } => {
                let Process { runtime, wallet, .. } = &self.processes[process];
                runtime.block_on(wallet.reconcile(100)).unwrap();
            }
        }
        self.check();
    }

    fn ask(&mut self, process: usize, key: usize) {
        let Process { runtime, wallet, .. } = &self.processes[process];
        let bought = runtime.block_on(async {
            let asked = Asked {
                key: PurchaseKey {
                    text: Some(format!("request|{key}")),
                    is_callers: false,
                    fingerprint: None,
                },
                method: None,
                url: format!("https://api.example.com/{key}").parse().unwrap(),
                tool: None,
                is_renewal: false,
                give_up: Instant::now() + Duration::from_millis(200),
            };
            match buy::resume(wallet, &asked).await {
                Ok(Earlier::Payment(bought)) => return Some(*bought),
                Ok(Earlier::Nothing) => {}
                Err(PaymentError::Busy) => return None,
                Err(error) => panic!("{error}"),
            }
            match buy::buy(wallet, &asked, &required(key)).await {
                Ok(Purchased::Payment(bought)) => Some(*bought),
                Ok(Purchased::Again) | Err(PaymentError::Busy | PaymentError::Denied(_)) => None,
                Err(error) => panic!("{error}"),
            }
        });
        let Some(bought) = bought else { return };
        self.sign(key, &bought);
        self.processes[process].work.push((key, bought));
    }

    /// Notes what is out, and that it may be.
    fn sign(&self, key: usize, bought: &Bought) {
        let header = &bought.payment.header;
        let json = tollway_core::wire::decode_header(header.name(), header.value().as_bytes()).unwrap();
        let payload = tollway_core::wire::decode_payment(&json).unwrap();
        let nonce = payload.payload["authorization"]["nonce"].to_string();
        let now = self.clock.now();
        let mut truth = self.truth.lock();
        if truth.signed.contains_key(&nonce) {
            return;
        }
        for earlier in truth.signed.values().filter(|earlier| earlier.key == key) {
            let is_dead = !earlier.is_used && now > earlier.expires;
            assert!(earlier.is_over || is_dead, "a second payment for one purchase: {earlier:?}");
        }
        let intent = bought.payment.intent.unwrap();
        assert!(truth.signed.values().all(|signed| signed.intent != intent), "two payments under one intent");
        let expires = bought.payment.expires_at();
        truth.signed.insert(nonce, Signed { intent, key, expires, is_used: false, is_over: false });
    }

    fn answer(&mut self, process: usize, at: usize, how: How) {
        let Process { runtime, wallet, work } = &mut self.processes[process];
        if work.is_empty() {
            return;
        }
        let (_, bought) = work.remove(at % work.len());
        let intent = bought.payment.intent.unwrap();
        let Some(mut work) = bought.work else { return };
        // An honest seller serves what it settled; any seller may stay silent or refuse.
        let is_used =
            self.truth.lock().signed.values().any(|signed| signed.intent == intent && signed.is_used);
        let how = match how {
            How::Read | How::Unread if !is_used => How::Refused,
            how => how,
        };
        runtime.block_on(async {
            let (status, told) = match how {
                How::Silent => {
                    work.unresolved("silence");
                    drop(work);
                    return wallet.flush().await;
                }
                How::Read | How::Unread => {
                    (200, Some(SettleResponse::settled(Network::evm(8453), "", "0x1")))
                }
                How::Refused => (402, None),
                How::Failed => {
                    let code = Some(ErrorCode::from_wire("insufficient_funds"));
                    (402, Some(SettleResponse::failed(Network::evm(8453), code, "")))
                }
            };
            work.answered(status, &paid(&bought.payment, told), None);
            let response = reqwest::Response::from(http::Response::new("x"));
            let (response, ended) = followed(response, &wallet.book().writes);
            work.finish(ended);
            match how {
                How::Unread => drop(response),
                _ => drop(response.text().await.unwrap()),
            }
            wallet.flush().await;
        });
        if matches!(how, How::Read) {
            let mut truth = self.truth.lock();
            truth
                .signed
                .values_mut()
                .filter(|signed| signed.intent == intent)
                .for_each(|signed| signed.is_over = true);
        }
    }

    /// What is true after every step.
    fn check(&self) {
        let process = &self.processes[0];
        let query =
            IntentQuery { wallet: process.wallet.name().to_owned(), limit: 10_000, ..IntentQuery::default() };
        let (intents, budgets) = process.runtime.block_on(async {
            let prefix = prefix_of(process.wallet.name());
            let intents = self.ledger.intent_list(query).await.unwrap();
            (intents, self.ledger.budget_list(&prefix, None, 100).await.unwrap())
        });
        let sum = |amounts: &mut dyn Iterator<Item = Amount>| {
            amounts.fold(Amount::ZERO, |sum, amount| sum.checked_add(amount).unwrap())
        };
        let held = sum(&mut intents.iter().flat_map(|intent| intent.holds.iter().map(|hold| hold.amount)));
        let counted = sum(&mut budgets.iter().map(|budget| budget.amount));
        assert_eq!(held, counted, "what intents hold is what budgets count");
        assert!(counted <= BUDGET.parse().unwrap(), "the budget is kept");
        let now = self.clock.now();
        let truth = self.truth.lock();
        let known: BTreeSet<IntentId> = intents.iter().map(|intent| intent.id).collect();
        for signed in truth.signed.values().filter(|signed| signed.is_used || now <= signed.expires) {
            assert!(known.contains(&signed.intent), "what can be charged is written down");
            let intent = intents.iter().find(|intent| intent.id == signed.intent).unwrap();
            let holds = sum(&mut intent.holds.iter().map(|hold| hold.amount));
            assert_eq!(holds, UNIT.parse().unwrap(), "what is or can be charged is counted");
            let state = IntentRecord::read(intent).unwrap().state;
            assert!(
                !matches!(state, IntentState::Dead | IntentState::Void | IntentState::Opened),
                "{state:?}"
            );
        }
    }
}

fn prefix_of(wallet: &str) -> String {
    crate::policy::names::budget_prefix(wallet)
}

fn required(key: usize) -> PaymentRequired {
    let extra = serde_json::json!({"name": "USD Coin", "version": "2"});
    let offer = PaymentRequirements {
        scheme: SchemeName::EXACT,
        network: Network::evm(8453),
        amount: Amount::from(PRICE),
        asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".to_owned(),
        pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned(),
        max_timeout_seconds: 60,
        extra: extra.as_object().unwrap().clone(),
        other: JsonObject::new(),
    };
    PaymentRequired {
        version: X402Version::V2,
        error: None,
        resource: Some(ResourceInfo::new(format!("https://api.example.com/{key}"))),
        accepts: vec![offer],
        extensions: JsonObject::new(),
        other: JsonObject::new(),
    }
}

fn paid(payment: &crate::sign::SignedPayment, settlement: Option<SettleResponse>) -> Paid {
    Paid {
        offer: payment.offer.clone(),
        value: payment.value.clone(),
        payer: payment.payer.clone(),
        settlement,
        signed_at: payment.signed_at,
        header: payment.header.clone(),
        suspicious: None,
        signed_offer: None,
        receipt: None,
        intent: payment.intent,
        channel: None,
    }
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop_oneof![
        3 => Just(How::Read), 2 => Just(How::Unread), 2 => Just(How::Silent), 1 => Just(How::Refused), 1 => Just(How::Failed),
    ];
    let process = || 0..PROCESSES;
    prop_oneof![
        6 => (process(), 0usize..3).prop_map(|(process, key)| Step::Ask { process, key }),
        4 => (process(), any::<usize>(), how).prop_map(|(process, at, how)| Step::Answer { process, at, how }),
        1 => (process(), any::<usize>()).prop_map(|(process, at)| Step::HangUp { process, at }),
        1 => process().prop_map(|process| Step::Crash { process }),
        4 => any::<usize>().prop_map(|at| Step::Settle { at }),
        2 => prop_oneof![Just(1u64), Just(7), Just(61), Just(200)].prop_map(|seconds| Step::Wait { seconds }),
        2 => process().prop_map(|process| Step::Reconcile { process }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn one_live_authorization_a_purchase_and_budgets_that_count_every_charge(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        // In the end everything is over, and what remains counted is what was charged.
        world.step(Step::Wait { seconds: 1_000 });
        for process in 0..PROCESSES {
            world.step(Step::Crash { process });
        }
        world.step(Step::Wait { seconds: 10 });
        world.step(Step::Reconcile { process: 0 });
        let charged = world.truth.lock().signed.values().filter(|signed| signed.is_used).count();
        let process = &world.processes[0];
        let prefix = prefix_of(process.wallet.name());
        let budgets = process.runtime.block_on(world.ledger.budget_list(&prefix, None, 100)).unwrap();
        let counted = budgets.first().map_or(Amount::ZERO, |budget| budget.amount);
        let unit: Amount = UNIT.parse().unwrap();
        assert_eq!(counted.atomic(), unit.atomic() * ruint::aliases::U256::from(charged), "nothing else is held");
    }
}

//! Random calls on a store and on the model: every answer is the same.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any};
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use tokio::runtime::Runtime;
use tollway_core::UnixTime;
use tollway_ledger::{
    DeliveryId, DeliveryResult, Fate, Inserted, LaneLease, Ledger, Member, MemoryLedger, NewDelivery, Owed,
    Role, Settlement, SettlementId, SettlementQuery, SettlementState, TransactionChange, TransactionState,
};

use crate::records::{
    abandoned, advance, claim, failed, fingerprint, finish, identifier, key, limits, network, owed, payment,
    response, sent, settled,
};
use crate::stores::{Store, postgres, server, sqlite};

/// A call, and what it is about.
type Step = (u8, u8, u8, u8);

/// A model and a store that are told the same, and what a caller would remember.
struct Pair {
    model: MemoryLedger,
    store: Arc<dyn Ledger>,
    now: u64,
    members: Vec<Member>,
    leases: Vec<LaneLease>,
    owed: Vec<Owed>,
    /// By the model's names and the store's.
    deliveries: Vec<(DeliveryId, DeliveryId)>,
    sequences: Vec<(u64, u64)>,
}

/// Runs a call on both.
macro_rules! both {
    ($pair:ident, |$ledger:ident| $call:expr) => {{
        let model = {
            let $ledger: &dyn Ledger = &$pair.model;
            $call.await.unwrap()
        };
        let store = {
            let $ledger: &dyn Ledger = &*$pair.store;
            $call.await.unwrap()
        };
        (model, store)
    }};
}

/// Runs a call on both; the answer of both.
macro_rules! same {
    ($pair:ident, |$ledger:ident| $call:expr) => {{
        let (model, store) = both!($pair, |$ledger| $call);
        assert_eq!(store, model);
        model
    }};
}

fn pick<T: Clone>(from: &[T], at: u8) -> Option<T> {
    if from.is_empty() { None } else { Some(from[usize::from(at) % from.len()].clone()) }
}

/// Places in the order of arrival are the store's own; the order is not.
fn plain(mut row: Settlement) -> Settlement {
    row.sequence = 0;
    row
}

impl Pair {
    fn new(store: &Store) -> Self {
        let store = Arc::clone(&store.ledger);
        let model = MemoryLedger::new();
        let (members, leases, owed) = (Vec::new(), Vec::new(), Vec::new());
        let (deliveries, sequences) = (Vec::new(), Vec::new());
        Self { model, store, now: 1_000, members, leases, owed, deliveries, sequences }
    }

    fn now(&self) -> UnixTime {
        UnixTime(self.now)
    }

    async fn step(&mut self, (kind, a, b, c): Step) {
        match kind % 24 {
            0 | 1 => self.now += u64::from(a % 40),
            2 => self.join(a, b).await,
            3 => self.member(a, b).await,
            4..=7 => self.claim(a, b, c).await,
            8..=10 => self.finish(a, b, c).await,
            11 => self.owed(a, b, c).await,
            12 => {
                let (now, limit) = (self.now(), u32::from(a % 3));
                same!(self, |ledger| ledger.reservation_sweep(now, limit));
            }
            13 | 14 => self.insert(a, b, c).await,
            15 | 16 => self.sent(a, b, c).await,
            17..=19 => self.advance(a, b, c).await,
            20 => self.adopt(a, b).await,
            21 => self.lane(a, b, c).await,
            22 => self.deliver(a, b).await,
            _ => self.read(a, b, c).await,
        }
    }

    async fn join(&mut self, a: u8, b: u8) {
        let role = if b.is_multiple_of(2) { Role::Seller } else { Role::Facilitator };
        let (name, now, until) = (format!("m{}", a % 3), self.now(), UnixTime(self.now + 30));
        let member = same!(self, |ledger| ledger.member_join(role, &name, now, until));
        self.members.push(member);
    }

    async fn member(&mut self, a: u8, b: u8) {
        let Some(member) = pick(&self.members, a) else { return };
        let (now, until) = (self.now(), UnixTime(self.now + 30));
        if b.is_multiple_of(5) {
            same!(self, |ledger| ledger.member_leave(&member));
        } else {
            same!(self, |ledger| ledger.member_renew(&member, now, until));
        }
    }

    async fn claim(&mut self, a: u8, b: u8, c: u8) {
        let Some(member) = pick(&self.members, a) else { return };
        let (name, path) = (b % 4, c.is_multiple_of(5));
        let mut new = claim(&member, &name.to_string(), u64::from(c % 4));
        new.now = self.now();
        new.valid_before = UnixTime(self.now + 100);
        if path {
            new.fingerprint = fingerprint("other");
        }
        if a.is_multiple_of(3) {
            new.identifier = Some(identifier(&format!("order-{}", c % 3), name * 2 + u8::from(path)));
        }
        same!(self, |ledger| ledger.reservation_insert(new.clone()));
    }

    async fn finish(&mut self, a: u8, b: u8, c: u8) {
        let (name, debtor) = ((a % 4).to_string(), format!("payer {}", c % 2));
        let mut debt = owed(&name, &debtor, u64::from(c % 7));
        debt.next_try = self.now();
        let fate = match b % 7 {
            0 => Fate::Released,
            1 => Fate::Pending(format!("0x{}", c % 2)),
            2 => Fate::Failed,
            3 => Fate::Delivered(format!("0x{}", c % 2)),
            4 => Fate::Unpaid,
            _ => Fate::Owed(debt),
        };
        let mut end = finish(&name, u64::from(c % 4), fate);
        if let Some(taken) = pick(&self.owed, c).filter(|_| c.is_multiple_of(3)) {
            (end.key, end.token) = (taken.key, taken.token);
        }
        end.keep_until = UnixTime(self.now + u64::from(b % 50));
        end.owed_limits = (b.is_multiple_of(2)).then(|| limits(8, 12));
        end.response = (c.is_multiple_of(2)).then(|| response("body", self.now + u64::from(c % 60)));
        end.now = self.now();
        same!(self, |ledger| ledger.reservation_finish(end.clone()));
    }

    async fn owed(&mut self, a: u8, b: u8, c: u8) {
        let (now, retry_at, limit) = (self.now(), UnixTime(self.now + u64::from(a % 20)), u32::from(b % 3));
        self.owed.extend(same!(self, |ledger| ledger.reservation_owed(now, retry_at, limit)));
        let name = key(&(c % 4).to_string());
        same!(self, |ledger| ledger.reservation_is_open(&name, now));
        same!(self, |ledger| ledger.reservation_count());
    }

    async fn insert(&mut self, a: u8, b: u8, c: u8) {
        let Some(member) = pick(&self.members, a) else { return };
        let mut new = payment(&member, &(b % 5).to_string());
        new.now = self.now();
        new.payer = format!("payer {}", b % 2);
        new.caller = (!c.is_multiple_of(3)).then(|| format!("caller {}", c % 2));
        if c.is_multiple_of(9) {
            new.digest = [9; 32];
        }
        let (model, store) = both!(self, |ledger| ledger.settlement_insert(new.clone()));
        let plain = |answer| match answer {
            Inserted::Existing(row) => Inserted::Existing(Box::new(plain(*row))),
            other => other,
        };
        assert_eq!(plain(store), plain(model));
    }

    /// The attempt that the model is at; now and then another.
    async fn attempt(&self, name: &str, b: u8) -> u64 {
        let row = self.model.settlement_get(&key(name)).await.unwrap();
        row.map_or(1, |row| row.attempt) + u64::from(b.is_multiple_of(7))
    }

    async fn sent(&mut self, a: u8, b: u8, c: u8) {
        let Some(lease) = pick(&self.leases, a) else { return };
        let mut settlements = Vec::new();
        for name in 0..c % 3 {
            let name = ((b % 5 + name) % 5).to_string();
            settlements.push((name.clone(), self.attempt(&name, b / 2).await));
        }
        let settlements: Vec<_> =
            settlements.iter().map(|(name, attempt)| (name.as_str(), *attempt)).collect();
        let hash = format!("0x{}-{}", lease.address, b % 8);
        let mut sent = sent(&lease, &hash, u64::from(b % 4), &settlements);
        sent.now = self.now();
        same!(self, |ledger| ledger.settlement_sent(sent.clone()));
    }

    async fn advance(&mut self, a: u8, b: u8, c: u8) {
        let hash = format!("0x{}-{}", a % 2, b % 8);
        let mut steps = Vec::new();
        for offset in 0..a % 3 {
            let name = ((b % 5 + offset) % 5).to_string();
            let to = match c % 6 {
                0 => SettlementState::Reserved,
                1 => SettlementState::Sent { transaction: hash.clone() },
                2 | 3 => settled(&hash, c.is_multiple_of(2)),
                4 => failed(),
                _ => abandoned(),
            };
            let mut step = advance(&name, self.attempt(&name, b / 3).await, to);
            if c.is_multiple_of(4) {
                let endpoint = format!("endpoint {}", b % 2);
                step.deliveries = vec![NewDelivery { endpoint, body: "told".to_owned() }];
            }
            steps.push(step);
        }
        let state = match c % 4 {
            0 => TransactionState::Open,
            1 => TransactionState::Included,
            2 => TransactionState::Final,
            _ => TransactionState::Lost,
        };
        let (changes, now) = (vec![TransactionChange { hash, state }], self.now());
        same!(self, |ledger| ledger.settlement_advance(steps.clone(), changes.clone(), now));
    }

    async fn adopt(&mut self, a: u8, b: u8) {
        let Some(member) = pick(&self.members, a) else { return };
        let (on, now, limit) = (network(), self.now(), u32::from(b % 3));
        let (model, store) = both!(self, |ledger| ledger.settlement_adopt(&on, &member, now, limit));
        self.rows(model, store);
    }

    async fn lane(&mut self, a: u8, b: u8, c: u8) {
        let now = self.now();
        if let Some(lease) = pick(&self.leases, a).filter(|_| c.is_multiple_of(2)) {
            if c.is_multiple_of(4) {
                same!(self, |ledger| ledger.lane_release(&lease));
                return;
            }
            let (model, store) = both!(self, |ledger| ledger.lane_transactions(&lease, now));
            assert_eq!(store.is_some(), model.is_some());
            let (model, store) = (model.unwrap_or_default(), store.unwrap_or_default());
            assert_eq!(store.len(), model.len());
            for ((transaction, rows), (expected, expected_rows)) in store.into_iter().zip(model) {
                assert_eq!(transaction, expected);
                self.rows(expected_rows, rows);
            }
            return;
        }
        let Some(member) = pick(&self.members, a) else { return };
        let (on, address) = (network(), (b % 2).to_string());
        self.leases.extend(same!(self, |ledger| ledger.lane_acquire(&on, &address, &member, now)));
    }

    async fn deliver(&mut self, a: u8, b: u8) {
        let endpoint = format!("endpoint {}", a % 2);
        let (now, retry_at, limit) = (self.now(), UnixTime(self.now + 10), u32::from(b % 3));
        let (model, store) = both!(self, |ledger| ledger.delivery_claim(&endpoint, now, retry_at, limit));
        assert_eq!(store.len(), model.len());
        for (mut delivery, expected) in store.into_iter().zip(model) {
            self.deliveries.push((expected.id, delivery.id));
            delivery.id = expected.id;
            assert_eq!(delivery, expected);
        }
        if let Some((of_model, of_store)) = pick(&self.deliveries, b) {
            let result =
                if b.is_multiple_of(2) { DeliveryResult::Over } else { DeliveryResult::RetryAt(now) };
            self.model.delivery_finish(of_model, result).await.unwrap();
            self.store.delivery_finish(of_store, result).await.unwrap();
        }
    }

    async fn read(&mut self, a: u8, b: u8, c: u8) {
        let (now, on, name) = (self.now(), network(), key(&(a % 5).to_string()));
        same!(self, |ledger| ledger.settlement_open_count());
        same!(self, |ledger| ledger.member_list(Role::Seller, now));
        let (model, store) = both!(self, |ledger| ledger.settlement_get(&name));
        assert_eq!(store.map(plain), model.map(plain));
        let (model, store) = both!(self, |ledger| ledger.settlement_find(SettlementId::of(&name)));
        assert_eq!(store.map(plain), model.map(plain));
        let (model, store) = both!(self, |ledger| ledger.settlement_unfinal(&on, 0, u32::from(c % 3)));
        self.rows(model, store);
        let place = pick(&self.sequences, c).filter(|_| b.is_multiple_of(2));
        let query = |before| SettlementQuery {
            payer: (a.is_multiple_of(2)).then(|| format!("payer {}", b % 2)),
            caller: (a.is_multiple_of(3)).then(|| format!("caller {}", c % 2)),
            before,
            limit: u32::from(c % 4),
        };
        let model = self.model.settlement_list(query(place.map(|(of_model, _)| of_model))).await.unwrap();
        let store = self.store.settlement_list(query(place.map(|(_, of_store)| of_store))).await.unwrap();
        self.rows(model, store);
    }

    fn rows(&mut self, model: Vec<Settlement>, store: Vec<Settlement>) {
        self.sequences.extend(model.iter().zip(&store).map(|(row, other)| (row.sequence, other.sequence)));
        let plain = |rows: Vec<Settlement>| rows.into_iter().map(plain).collect::<Vec<_>>();
        assert_eq!(plain(store), plain(model));
    }
}

/// The same cases in every run; a failing one is made as short as it can be, and shown.
fn check(cases: u32, store: impl Fn(&Runtime) -> Store) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let runtime = Runtime::new().unwrap();
    let start: Vec<Step> = vec![(2, 0, 0, 0), (2, 1, 1, 0), (2, 2, 1, 0), (21, 1, 0, 1), (21, 2, 1, 1)];
    let steps = vec(any::<Step>(), 20..160).prop_map(move |steps| [start.clone(), steps].concat());
    let result = runner.run(&steps, |steps| {
        let store = store(&runtime);
        runtime.block_on(async {
            let mut pair = Pair::new(&store);
            for step in steps {
                pair.step(step).await;
            }
        });
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn sqlite_answers_as_the_model_does() {
    check(48, |runtime| runtime.block_on(sqlite()));
}

#[test]
fn postgres_answers_as_the_model_does() {
    let Some(server) = Runtime::new().unwrap().block_on(server()) else { return };
    check(24, |runtime| runtime.block_on(postgres(&server)));
}

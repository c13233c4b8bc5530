//! Random calls on a store and on the model: every answer is the same.

use std::ops::RangeInclusive;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any};
use proptest::sample::select;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use tokio::runtime::Runtime;
use tollway_core::UnixTime;
use tollway_ledger::{
    Changed, Channel, ChannelCharge, Condition, DeliveryId, DeliveryResult, Fact, Fate, Holder, Inserted,
    Intent, IntentChange, IntentId, IntentQuery, LaneLease, Ledger, Member, MemoryLedger, NewDelivery,
    NewHold, Opened, Owed, Role, Settlement, SettlementId, SettlementQuery, SettlementState, StoredResponse,
    TransactionChange, TransactionState,
};

use crate::records::{
    abandoned, advance, channel, channel_key, charge, claim, fact, failed, fingerprint, finish, hold,
    identifier, intent, key, limits, network, opening, owed, payment, response, sent, settled,
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
    intents: Vec<Intent>,
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
        let (members, leases, intents, owed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (deliveries, sequences) = (Vec::new(), Vec::new());
        Self { model, store, now: 1_000, members, leases, intents, owed, deliveries, sequences }
    }

    fn now(&self) -> UnixTime {
        UnixTime(self.now)
    }

    async fn step(&mut self, (kind, a, b, c): Step) {
        match kind {
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
            23 => self.read(a, b, c).await,
            24 | 25 => self.open(a, b, c).await,
            26 | 27 => self.put(a, b, c).await,
            28 => self.take(a, b, c).await,
            29 => self.fact(a, b, c).await,
            30 => self.sweep(a, b, c).await,
            31 => self.read_wallet(a, b, c).await,
            32..=35 => self.channel_charge(a, b, c).await,
            36 => self.channel_put(a, b, c).await,
            37 => self.channel_hold(a, b, c).await,
            38 => self.channel_due(a, b, c).await,
            _ => self.read_channels(a, b, c).await,
        }
    }

    async fn join(&mut self, a: u8, b: u8) {
        let role = match b % 4 {
            0 | 2 => Role::Seller,
            1 => Role::Facilitator,
            _ => Role::Buyer,
        };
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
        let is_behind = a.is_multiple_of(5);
        let query = |place: Option<u64>| SettlementQuery {
            payer: (a.is_multiple_of(2)).then(|| format!("payer {}", b % 2)),
            caller: (a.is_multiple_of(3)).then(|| format!("caller {}", c % 2)),
            before: place.filter(|_| !is_behind),
            after: is_behind.then(|| place.unwrap_or_default()),
            limit: u32::from(c % 4),
            ..SettlementQuery::default()
        };
        let model = self.model.settlement_list(query(place.map(|(of_model, _)| of_model))).await.unwrap();
        let store = self.store.settlement_list(query(place.map(|(_, of_store)| of_store))).await.unwrap();
        self.rows(model, store);
    }

    /// A few budgets in a few windows, with limits that are soon reached.
    fn holds(&self, a: u8, b: u8, c: u8) -> Vec<NewHold> {
        let window = self.now / 50 * 50;
        let holds = (0..c % 3).map(|offset| {
            let mut new =
                hold(&format!("w{}|{}", a % 2, (b % 3 + offset) % 3), u64::from((a % 5 + offset) % 5), 7);
            (new.hold.window, new.hold.until) = (UnixTime(window), UnixTime(window + 50));
            new
        });
        holds.collect()
    }

    fn conditions(&self, a: u8, b: u8, c: u8) -> Vec<Condition> {
        let (scope, name) = ("s".to_owned(), format!("n{}", a % 3));
        let (value, until) = (format!("v{}", b % 2), UnixTime(self.now + u64::from(b % 60)));
        match c % 5 {
            0 => vec![Condition::Absent { scope, name }],
            1 => vec![Condition::EqualOrSet { scope, name, value, until }],
            _ => Vec::new(),
        }
    }

    async fn open(&mut self, a: u8, b: u8, c: u8) {
        let mut new = opening(intent(a % 7), self.holds(b, c, a));
        (new.conditions, new.now) = (self.conditions(b, a, c), self.now());
        let intent = &mut new.intent;
        intent.wallet = format!("w{}", b % 2);
        intent.agent = (c.is_multiple_of(3)).then(|| "agent".to_owned());
        intent.key = (!c.is_multiple_of(4)).then(|| format!("k{}", c % 3));
        intent.holder = pick(&self.members, c).filter(|_| b.is_multiple_of(2));
        intent.is_open = !a.is_multiple_of(5);
        (intent.created, intent.due) = (new.now, UnixTime(self.now + u64::from(c % 30)));
        (intent.repeat_until, intent.until) =
            (UnixTime(self.now + 20), UnixTime(self.now + u64::from(b % 60)));
        if let Opened::Fresh(row) | Opened::Known { intent: row, .. } =
            same!(self, |ledger| ledger.intent_open(new.clone()))
        {
            self.intents.push(row);
        }
    }

    async fn put(&mut self, a: u8, b: u8, c: u8) {
        let Some(mut row) = pick(&self.intents, a) else { return };
        // Mostly as it is now.
        if !b.is_multiple_of(6) {
            row = self.model.intent_get(row.id).await.unwrap().unwrap_or(row);
        }
        let mut change = IntentChange::new(row, self.now());
        change.release = change.intent.holds.iter().skip(usize::from(b % 2)).cloned().collect();
        for hold in &mut change.release {
            hold.amount = u64::from(c % 6).into();
        }
        change.add = self.holds(a, b, c);
        change.conditions = self.conditions(a, b, c / 5);
        let intent = &mut change.intent;
        intent.body = format!("body {c}");
        intent.is_open = !c.is_multiple_of(4);
        intent.holder = pick(&self.members, b).filter(|_| c.is_multiple_of(2));
        intent.due = UnixTime(self.now + u64::from(a % 30));
        intent.key = intent.key.take().filter(|_| !a.is_multiple_of(7));
        if let Changed::Done(row) = same!(self, |ledger| ledger.intent_put(change.clone())) {
            self.intents.push(row);
        }
    }

    async fn take(&mut self, a: u8, b: u8, c: u8) {
        let Some(member) = pick(&self.members, a) else { return };
        let (id, now, retry_at) = (IntentId([b % 7; 16]), self.now(), UnixTime(self.now + 10));
        self.intents.extend(same!(self, |ledger| ledger.intent_take(id, &member, now)));
        let (wallet, limit) = (format!("w{}", c % 2), u32::from(c % 4));
        self.intents.extend(same!(self, |ledger| ledger.intent_due(&wallet, &member, now, retry_at, limit)));
    }

    async fn fact(&mut self, a: u8, b: u8, c: u8) {
        let name = format!("n{}", a % 3);
        let before = same!(self, |ledger| ledger.fact_get("s", &name));
        let version = before.map_or(0, |fact| fact.version) + u64::from(b.is_multiple_of(5));
        if c.is_multiple_of(4) {
            same!(self, |ledger| ledger.fact_remove("s", &name, version));
        } else {
            let until = UnixTime(self.now + u64::from(c % 60));
            let new = Fact { until, ..fact("s", &name, version, &format!("v{}", b % 2)) };
            same!(self, |ledger| ledger.fact_put(new.clone()));
        }
    }

    async fn sweep(&mut self, a: u8, b: u8, c: u8) {
        let (now, limit) = (self.now(), u32::from(b % 3));
        match a % 3 {
            0 => same!(self, |ledger| ledger.intent_sweep(now, limit)),
            1 => same!(self, |ledger| ledger.budget_sweep(UnixTime(now.0 - u64::from(c % 50)), limit)),
            _ => same!(self, |ledger| ledger.fact_sweep(now, limit)),
        };
    }

    async fn read_wallet(&mut self, a: u8, b: u8, c: u8) {
        let (wallet, key, limit) = (format!("w{}", a % 2), format!("k{}", b % 3), u32::from(c % 5));
        same!(self, |ledger| ledger.intent_find(&wallet, &key));
        same!(self, |ledger| ledger.intent_count(&wallet));
        let time = |byte: u8| UnixTime(self.now - u64::from(byte % 100));
        let query = IntentQuery {
            wallet: wallet.clone(),
            agent: (b.is_multiple_of(3)).then(|| "agent".to_owned()),
            is_open: (a.is_multiple_of(4)).then(|| b.is_multiple_of(2)),
            from: (c.is_multiple_of(2)).then(|| time(c)),
            to: (b.is_multiple_of(4)).then(|| time(b)),
            after: pick(&self.intents, b).filter(|_| a.is_multiple_of(3)).map(|row| (row.created, row.id)),
            is_newest_first: c.is_multiple_of(3),
            limit,
        };
        same!(self, |ledger| ledger.intent_list(query.clone()));
        let budgets = same!(self, |ledger| ledger.budget_list(&wallet, None, 100));
        let windows: Vec<_> = budgets.iter().map(|row| (row.name.clone(), row.window)).collect();
        same!(self, |ledger| ledger.budget_get(&windows));
        let after = pick(&windows, b);
        same!(self, |ledger| ledger.budget_list(&wallet, after.as_ref(), limit));
        assert!(budgets.iter().all(|row| row.amount <= 7_u64.into()), "{budgets:?}");
        let name = format!("n{}", b % 3);
        same!(self, |ledger| ledger.fact_list("s", None, limit));
        same!(self, |ledger| ledger.fact_list("s", Some(&name), limit));
    }

    /// The version that the model is at; now and then another.
    async fn version(&self, name: &str, b: u8) -> u64 {
        let row = self.model.channel_get("shop", &channel_key(name)).await.unwrap();
        row.map_or(0, |row| row.version) + u64::from(b.is_multiple_of(7))
    }

    /// Several at once: in one transaction of the store, one after the other in the model. They are on different
    /// channels, or only the first can be in the right version.
    async fn channel_charge(&mut self, a: u8, b: u8, c: u8) {
        let mut charges = Vec::new();
        for offset in 0..1 + c % 3 {
            let name = ((a % 4 + offset % 2) % 4).to_string();
            let version = self.version(&name, b).await;
            let answer =
                (c.is_multiple_of(2)).then(|| response(&format!("{a} {offset}"), self.now + u64::from(b)));
            charges.push(ChannelCharge {
                request: (b.is_multiple_of(3)).then(|| fingerprint("data")),
                repeats: u32::from(b % 4),
                used_at: self.now(),
                due: UnixTime(self.now + u64::from(b % 3) * 20),
                answer,
                member: pick(&self.members, c / 3).filter(|_| !b.is_multiple_of(4)),
                is_released: c.is_multiple_of(5),
                ..charge(&name, version, u64::from(a) + u64::from(offset))
            });
        }
        let [first, second, third] = [0, 1, 2].map(|place| charges.get(place).cloned());
        let charge = |charge: Option<ChannelCharge>| async {
            match charge {
                Some(charge) => self.store.channel_charge(charge).await.unwrap(),
                None => false,
            }
        };
        let store = tokio::join!(charge(first), charge(second), charge(third));
        let mut model = [false; 3];
        for (place, charge) in charges.into_iter().enumerate() {
            model[place] = self.model.channel_charge(charge).await.unwrap();
        }
        assert_eq!(<[bool; 3]>::from(store), model);
    }

    async fn channel_put(&mut self, a: u8, b: u8, c: u8) {
        let (name, now) = ((a % 4).to_string(), self.now());
        let version = self.version(&name, b).await;
        let (member, id) = (pick(&self.members, b).filter(|_| c.is_multiple_of(3)), channel_key(&name));
        if c.is_multiple_of(7) {
            same!(self, |ledger| ledger.channel_remove("shop", &id, version, member.as_ref(), now));
            return;
        }
        let holder = pick(&self.members, c).filter(|_| c.is_multiple_of(5));
        let new = Channel {
            version,
            charged: u64::from(a).into(),
            claimed: u64::from(b).into(),
            body: format!("body {c}"),
            holder: holder.map(|member| Holder { member, until: UnixTime(self.now + u64::from(b % 60)) }),
            due: UnixTime(self.now + u64::from(c % 40)),
            ..channel(&name)
        };
        same!(self, |ledger| ledger.channel_put(new.clone(), member.as_ref(), now));
    }

    async fn channel_hold(&mut self, a: u8, b: u8, c: u8) {
        let Some(member) = pick(&self.members, a) else { return };
        let (name, now) = ((c % 4).to_string(), self.now());
        let version = self.version(&name, b).await;
        let (id, holder) =
            (channel_key(&name), Holder { member, until: UnixTime(self.now + u64::from(b % 60)) });
        same!(self, |ledger| ledger.channel_hold("shop", &id, version, holder.clone(), now));
    }

    async fn channel_due(&mut self, a: u8, b: u8, c: u8) {
        let (now, retry_at, limit) = (self.now(), UnixTime(self.now + u64::from(a % 20)), u32::from(b % 4));
        let scope = if c.is_multiple_of(5) { "nobody" } else { "shop" };
        let (mut model, mut store) = both!(self, |ledger| ledger.channel_due(scope, now, retry_at, limit));
        model.sort_by(|one, other| one.id.cmp(&other.id));
        store.sort_by(|one, other| one.id.cmp(&other.id));
        assert_eq!(store, model);
    }

    async fn read_channels(&mut self, a: u8, b: u8, c: u8) {
        let (id, limit) = (channel_key(&(a % 4).to_string()), u32::from(b % 5));
        same!(self, |ledger| ledger.channel_get("shop", &id));
        let (model, store) = both!(self, |ledger| ledger.channel_answer("shop", &id));
        // What has expired may be gone.
        let now = self.now();
        let good = |answer: Option<StoredResponse>| answer.filter(|answer| now < answer.expires);
        assert_eq!(good(store), good(model));
        same!(self, |ledger| ledger.channel_count("shop"));
        let after = (c.is_multiple_of(2)).then_some(&id);
        same!(self, |ledger| ledger.channel_list("shop", after, limit));
    }

    fn rows(&mut self, model: Vec<Settlement>, store: Vec<Settlement>) {
        self.sequences.extend(model.iter().zip(&store).map(|(row, other)| (row.sequence, other.sequence)));
        let plain = |rows: Vec<Settlement>| rows.into_iter().map(plain).collect::<Vec<_>>();
        assert_eq!(plain(store), plain(model));
    }
}

/// The same cases in every run; a failing one is made as short as it can be, and shown.
fn check(cases: u32, kinds: &[RangeInclusive<u8>], store: impl Fn(&Runtime) -> Store) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let runtime = Runtime::new().unwrap();
    let start: Vec<Step> = vec![(2, 0, 0, 0), (2, 1, 1, 0), (2, 2, 1, 0), (21, 1, 0, 1), (21, 2, 1, 1)];
    let kinds: Vec<u8> = kinds.iter().cloned().flatten().collect();
    let steps = vec((select(kinds), any::<u8>(), any::<u8>(), any::<u8>()), 20..160)
        .prop_map(move |steps| [start.clone(), steps].concat());
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

/// Of time and members, then of sellers and facilitators.
const PAYMENTS: [RangeInclusive<u8>; 1] = [0..=23];
/// Of time and members, then of buyers.
const WALLETS: [RangeInclusive<u8>; 3] = [0..=3, 24..=31, 24..=31];

/// Of time and members, then of channels.
const CHANNELS: [RangeInclusive<u8>; 3] = [0..=3, 32..=39, 32..=39];

#[test]
fn sqlite_answers_as_the_model_does() {
    check(48, &PAYMENTS, |runtime| runtime.block_on(sqlite()));
}

#[test]
fn sqlite_answers_buyers_as_the_model_does() {
    check(48, &WALLETS, |runtime| runtime.block_on(sqlite()));
}

#[test]
fn sqlite_answers_on_channels_as_the_model_does() {
    check(64, &CHANNELS, |runtime| runtime.block_on(sqlite()));
}

#[test]
fn postgres_answers_as_the_model_does() {
    let Some(server) = Runtime::new().unwrap().block_on(server()) else { return };
    check(24, &PAYMENTS, |runtime| runtime.block_on(postgres(&server)));
    check(16, &WALLETS, |runtime| runtime.block_on(postgres(&server)));
    check(16, &CHANNELS, |runtime| runtime.block_on(postgres(&server)));
}

//! A wallet's record of a channel against a seller that keeps the protocol, over a network that loses what it likes: whatever
//! is lost, both say in the end that the same was charged, and no answer was charged twice or given for nothing.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::RngSeed;
use serde_json::json;
use tollway_core::model::PaymentRequirements;
use tollway_core::{
    Amount, Backing, BuyerChannel, ChannelKey, JsonObject, Network, SchemeName, SignedDeposit, ToldChannel,
    UnixTime,
};
use tollway_ledger::IntentId;

use crate::channel::record::{ChannelRecord, Corrected, Needs};

const PRICE: u64 = 100;
const NOW: UnixTime = UnixTime(1_790_000_000);

/// The seller: charges what fits, gives the last answer again to who paid for it, and corrects everybody else.
#[derive(Debug, Default)]
struct Seller {
    charged: u64,
    balance: u64,
    signed: u64,
    /// Whom the last charge was for, on which voucher, and how much it was.
    last: Option<(usize, u64, u64)>,
    /// How often each request got something for its money, and what it paid in all.
    charges: Vec<(usize, u64)>,
}

enum Said {
    /// With what it cost, and what had been charged then.
    Answer(u64, u64),
    Correction,
    Unfunded,
}

impl Seller {
    fn ask(&mut self, request: usize, ceiling: u64, deposit: u64, cost: u64) -> Said {
        if ceiling == self.charged + PRICE {
            if ceiling > self.balance + deposit {
                return Said::Unfunded;
            }
            self.balance += deposit;
            self.charged += cost;
            self.signed = ceiling;
            self.last = Some((request, ceiling, cost));
            self.charges.push((request, cost));
            return Said::Answer(cost, self.charged);
        }
        match self.last {
            Some((whose, on, cost)) if (whose, on) == (request, ceiling) => Said::Answer(cost, self.charged),
            _ => Said::Correction,
        }
    }

    fn told(&self, charged: Option<u64>, total: u64) -> ToldChannel {
        ToldChannel {
            channel: Some(key()),
            charged: charged.map(Amount::from),
            total: Some(total.into()),
            backing: Some(Backing { balance: self.balance.into(), ..Backing::default() }),
            proof: Some((self.signed.into(), String::new())),
        }
    }
}

/// The wallet: a record, and for each request the purchase that is under way for it.
#[derive(Debug)]
struct Buyer {
    record: ChannelRecord,
    open: BTreeMap<usize, Purchase>,
    next: u8,
    /// What purchases turned out to cost.
    spent: BTreeMap<IntentId, u64>,
    served: usize,
    /// Charged, and the answer lost for good.
    lost: usize,
}

#[derive(Clone, Copy, Debug)]
struct Purchase {
    intent: IntentId,
    ceiling: u64,
    deposit: u64,
    /// Whether it was presented once only.
    is_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Works,
    LosesTheRequest,
    LosesTheAnswer,
}

fn key() -> ChannelKey {
    ChannelKey::new("eip155:8453/0x6f")
}

fn number(amount: Amount) -> u64 {
    amount.to_string().parse().unwrap()
}

impl Buyer {
    fn new() -> Self {
        let offer = PaymentRequirements {
            scheme: SchemeName::new("batch-settlement"),
            network: Network::evm(8453),
            amount: PRICE.into(),
            asset: "0x11".to_owned(),
            pay_to: "0x22".to_owned(),
            max_timeout_seconds: 60,
            extra: JsonObject::new(),
            other: JsonObject::new(),
        };
        let channel = BuyerChannel { key: key(), terms: JsonObject::new() };
        let record = ChannelRecord::new(channel, 0, offer, NOW);
        Self { record, open: BTreeMap::new(), next: 0, spent: BTreeMap::new(), served: 0, lost: 0 }
    }

    /// The purchase of a request: the one that is under way, or a new one.
    fn purchase(&mut self, request: usize) -> Purchase {
        self.tell();
        if let Some(purchase) = self.open.get_mut(&request) {
            purchase.is_first = false;
            return *purchase;
        }
        self.next = self.next.wrapping_add(1);
        let intent = IntentId([self.next; 16]);
        let plan = self.record.plan(PRICE.into(), NOW).unwrap();
        let new = match plan.needs {
            Needs::Deposit(least) => Some(least.max(Amount::from(5 * PRICE))),
            Needs::Nothing | Needs::SameDeposit => None,
        };
        self.record.promise(intent, &plan, new, NOW);
        if let Some(pending) = &mut self.record.deposit {
            let (amount, expires_at) = (pending.amount, NOW.plus_seconds(60));
            pending.signed.get_or_insert(SignedDeposit { amount, expires_at, body: JsonObject::new() });
        }
        let deposit = self.record.deposit.as_ref().filter(|_| plan.needs != Needs::Nothing);
        let deposit = deposit.map_or(0, |pending| number(pending.amount));
        let purchase = Purchase { intent, ceiling: number(plan.ceiling), deposit, is_first: true };
        self.open.insert(request, purchase);
        purchase
    }

    /// Purchases are told what became of them, and promises that are known to be over are forgotten.
    fn tell(&mut self) {
        for promise in &self.record.promises {
            let Some(charged) = promise.charged else { continue };
            self.spent.insert(promise.intent, number(charged));
            if charged == Amount::ZERO {
                self.open.retain(|_, purchase| purchase.intent != promise.intent);
            }
        }
        self.record.promises.retain(|promise| promise.charged.is_none());
    }

    /// Takes in what was said. Whether the request has its answer, or never will.
    fn hear(&mut self, request: usize, purchase: Purchase, seller: &Seller, said: &Said) -> bool {
        let before = self.spent.get(&purchase.intent).filter(|charged| **charged > 0);
        let is_over = match said {
            Said::Answer(cost, total) => {
                if before.is_none() {
                    let settled =
                        self.record.settle(purchase.intent, &seller.told(Some(*cost), *total), false);
                    assert_eq!(settled, Ok(Amount::from(*cost)), "{:?}", self.record);
                }
                self.served += 1;
                true
            }
            Said::Correction if before.is_some() => {
                self.lost += 1;
                true
            }
            Said::Correction => {
                let told = seller.told(None, seller.charged);
                match self.record.correct(purchase.intent, &told, true, purchase.is_first) {
                    Corrected::Again | Corrected::Unsure => false,
                    Corrected::Charged(_) => {
                        self.lost += 1;
                        true
                    }
                    other => panic!("{other:?}: {:?} {seller:?}", self.record),
                }
            }
            Said::Unfunded => {
                assert!(self.record.unfunded(purchase.intent), "{:?}", self.record);
                false
            }
        };
        self.tell();
        if is_over {
            self.open.remove(&request);
        }
        is_over
    }

    /// What purchases cost, those that are over and those that are known to be charged.
    fn spent(&mut self) -> u64 {
        self.tell();
        self.spent.values().sum()
    }
}

fn step(buyer: &mut Buyer, seller: &mut Seller, request: usize, cost: u64, network: Weather) -> bool {
    let purchase = buyer.purchase(request);
    if network == Weather::LosesTheRequest {
        return false;
    }
    let said = seller.ask(request, purchase.ceiling, purchase.deposit, cost);
    if network == Weather::LosesTheAnswer {
        return false;
    }
    buyer.hear(request, purchase, seller, &said)
}

/// What was signed and what was charged are never further apart than one price, and the row as it is written is the row.
fn check(buyer: &Buyer, seller: &Seller) {
    let signed = number(buyer.record.signed);
    assert!(signed <= seller.charged + PRICE, "{signed} {seller:?}");
    assert!(number(buyer.record.charged) <= seller.charged);
    assert!(seller.charged <= seller.balance, "what is served is there");
    assert_eq!(ChannelRecord::from_json(&buyer.record.to_json()).as_ref(), Some(&buyer.record));
}

fn weather() -> impl Strategy<Value = Weather> {
    proptest::prop_oneof![
        3 => proptest::strategy::Just(Weather::Works),
        1 => proptest::strategy::Just(Weather::LosesTheRequest),
        2 => proptest::strategy::Just(Weather::LosesTheAnswer),
    ]
}

/// Asks until every request has its answer that can have it, over a network that works.
fn calm(buyer: &mut Buyer, seller: &mut Seller) {
    for request in 0..4 {
        // Which of several was charged may stay open: then it is asked again in vain.
        let _is_over = (0..4).any(|_| step(buyer, seller, request, PRICE, Weather::Works));
        check(buyer, seller);
    }
    // Until another request goes beyond them all.
    let is_over = (0..4).any(|_| step(buyer, seller, 9, PRICE, Weather::Works));
    assert!(is_over, "{:?} {seller:?}", buyer.record);
    check(buyer, seller);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, rng_seed: RngSeed::Fixed(6), ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_lost_both_say_in_the_end_that_the_same_was_charged(
        steps in vec((0usize..4, 0u64..=PRICE, weather()), 0..60),
    ) {
        let (mut buyer, mut seller) = (Buyer::new(), Seller::default());
        for (request, cost, network) in steps {
            step(&mut buyer, &mut seller, request, cost, network);
            check(&buyer, &seller);
        }
        calm(&mut buyer, &mut seller);
        prop_assert_eq!(number(buyer.record.charged), seller.charged);
        prop_assert_eq!(buyer.spent(), seller.charged);
        let costly = seller.charges.iter().filter(|(_, cost)| *cost > 0).count();
        let charged = buyer.spent.values().filter(|cost| **cost > 0).count();
        prop_assert_eq!(charged, costly, "{:?} {:?}", buyer, seller);
    }

    /// Who asks again before anybody else does, as a wallet has it, loses no answer that was charged.
    #[test]
    fn who_asks_again_first_gets_an_answer_for_every_charge(
        steps in vec((0usize..4, 1u64..=PRICE, vec(weather(), 0..4)), 0..30),
    ) {
        let (mut buyer, mut seller) = (Buyer::new(), Seller::default());
        let mut answers = 0;
        for (request, cost, networks) in steps {
            let mut is_over = false;
            for network in networks {
                is_over = is_over || step(&mut buyer, &mut seller, request, cost, network);
            }
            while !is_over {
                is_over = step(&mut buyer, &mut seller, request, cost, Weather::Works);
            }
            answers += 1;
            check(&buyer, &seller);
            prop_assert_eq!((buyer.served, buyer.lost, seller.charges.len()), (answers, 0, answers));
            prop_assert_eq!(buyer.spent(), seller.charged);
            prop_assert_eq!(number(buyer.record.signed), number(buyer.record.charged) - cost + PRICE);
        }
    }

    /// Whatever a seller says, the wallet's word gets no worse than it was: a sum that no voucher of its own stands for is not
    /// taken over.
    #[test]
    fn no_correction_makes_more_of_what_was_signed(total in any::<u16>(), shown in any::<u16>(), is_own in any::<bool>()) {
        let (mut buyer, mut seller) = (Buyer::new(), Seller::default());
        for request in 0..3 {
            step(&mut buyer, &mut seller, request, 60, Weather::Works);
        }
        step(&mut buyer, &mut seller, 3, 60, Weather::LosesTheAnswer);
        let (signed, charged) = (number(buyer.record.signed), number(buyer.record.charged));
        let purchase = buyer.purchase(0);
        let told = ToldChannel { proof: Some((u64::from(shown).into(), String::new())), ..seller.told(None, total.into()) };
        let corrected = buyer.record.correct(purchase.intent, &told, is_own, true);
        let now = number(buyer.record.charged);
        prop_assert!(now <= charged || (is_own && now <= u64::from(shown) && now <= signed), "{:?}", corrected);
        if corrected == Corrected::Again {
            let next = buyer.record.plan(PRICE.into(), NOW).unwrap();
            prop_assert!(number(next.ceiling) <= signed + PRICE);
        }
    }
}

#[test]
fn a_record_that_cannot_be_read_is_none() {
    let text = Buyer::new().record.to_json();
    let mut body: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(ChannelRecord::from_json(&body.to_string()).is_some());
    body["charged"] = json!(-1);
    assert!(ChannelRecord::from_json(&body.to_string()).is_none());
}

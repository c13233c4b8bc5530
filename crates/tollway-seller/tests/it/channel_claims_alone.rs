//! Claims of a shop that is at work, against withdrawals, by the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tollway_core::UnixTime;
use tollway_seller::{ClaimEnd, ClaimPolicy};

use super::channel_claims::{Books, eager, ends};
use super::channel_double::{DELAY_SECONDS, DEPOSIT, Mishap, NOW, Node, PRICE, Payer, Shop, number};

/// Numbers that look random, and are the same for a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// One schedule: requests, a withdrawal, mishaps. What was charged before the withdrawal can finish is claimed by then.
async fn play(seed: u64) -> u64 {
    let mut dice = Dice(seed);
    let interval = [60, 600, 3_600][usize::try_from(dice.roll(3)).unwrap()];
    let policy = ClaimPolicy::default().interval_seconds(interval).max_waiting(1_000).by_hand();
    let has_node = dice.roll(2) == 0;
    let shop = Shop::open().await;
    let node = Arc::new(Node(Arc::clone(&shop.vault)));
    let refine = move |builder: tollway_seller::PaywallBuilder| {
        let builder = builder.claims(policy);
        if has_node { builder.channel_witness(node) } else { builder }
    };
    let shop = Shop::beside(Arc::clone(&shop.vault), Arc::clone(&shop.clock), refine).await;
    let payer = Payer::funded(&shop).await;
    let key = payer.channel.key.clone();
    let worker = shop.paywall.claims();
    let asks_at = 30 + dice.roll(3 * DELAY_SECONDS);
    let (mut charged, mut second) = (0, 0);
    let end = asks_at + DELAY_SECONDS;
    while second < end {
        let now = NOW.plus_seconds(second);
        shop.clock.set(now);
        if second == asks_at || (second > asks_at && second < asks_at + 5) {
            shop.vault.change(&key, |backing| {
                backing.withdraw_requested_at.get_or_insert(now);
            });
        }
        if dice.roll(40) == 0 && charged + PRICE <= DEPOSIT {
            let path = if dice.roll(3) == 0 { "/partly" } else { "/data" };
            let voucher = payer.voucher_at(&shop, path, charged + PRICE).await;
            let answer = shop.get(path, &voucher).await;
            charged = if answer.is_content() { answer.charged().1 } else { charged };
        }
        if dice.roll(3) == 0 {
            let kinds = [Mishap::Silent, Mishap::Lost, Mishap::Unreachable, Mishap::Pends];
            let mut mishaps = shop.vault.mishaps.lock().unwrap();
            if mishaps.is_empty() {
                mishaps.push_back(kinds[usize::try_from(dice.roll(4)).unwrap()]);
            }
        }
        worker.run_due().await.unwrap();
        let claimed = number(shop.vault.backing(key.id()).claimed);
        assert!(claimed <= charged, "seed {seed}: {claimed} of {charged} at {second}");
        second += 5;
    }
    let backing = shop.vault.backing(key.id());
    assert_eq!(number(backing.claimed), charged, "seed {seed}: the payer may have its money at {end}");
    // Each claim was asked for a few times at most: nobody burns gas for every charge.
    let claims = shop.vault.claims.lock().unwrap().len();
    assert!(claims <= 40, "seed {seed}: {claims} claims");
    charged
}

#[tokio::test]
async fn a_claim_is_asked_before_a_withdrawal_can_finish() {
    let mut played = Vec::new();
    for seed in 0..24 {
        played.push(play(seed).await);
    }
    assert!(played.iter().filter(|charged| **charged > PRICE).count() > 12, "{played:?}");
}

#[tokio::test(start_paused = true)]
async fn a_paywall_claims_by_itself() {
    let shop = Shop::open_with(|builder| builder.claims(eager())).await;
    let payer = Payer::funded(&shop).await;
    assert!(shop.get("/data", &payer.voucher(PRICE).await).await.is_content());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(shop.vault.claimed(), 0, "it waits for company");
    shop.clock.set(NOW.plus_seconds(DELAY_SECONDS / 3));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!((shop.vault.claimed(), shop.vault.paid()), (PRICE, PRICE));
    // The channel is good for more.
    assert!(shop.get("/data", &payer.voucher(2 * PRICE).await).await.is_content());
    shop.clock.set(NOW.plus_seconds(DELAY_SECONDS));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!((shop.vault.claimed(), shop.vault.paid()), (2 * PRICE, 2 * PRICE));
}

#[tokio::test(start_paused = true)]
async fn a_refund_that_its_payer_asked_for_is_paid_out_too() {
    let shop = Shop::open_with(|builder| builder.claims(eager())).await;
    let payer = Payer::funded(&shop).await;
    assert!(shop.get("/data", &payer.voucher(PRICE).await).await.is_content());
    shop.get("/data", &payer.refund(PRICE, None).await).await;
    assert_eq!((shop.vault.claimed(), shop.vault.paid()), (PRICE, 0));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(shop.vault.paid(), PRICE);
}

#[tokio::test]
async fn a_facilitator_that_is_down_is_asked_a_bounded_number_of_times_and_the_owner_hears_in_time() {
    let alarms = Alarms::default();
    let books = Books::with(2).await;
    let _guard = metrics::set_default_local_recorder(&alarms);
    for _ in 0..1_000 {
        books.vault.then(Mishap::Unreachable);
    }
    let asked = UnixTime(NOW.0 + 10);
    for channel in books.all().await {
        books.vault.change(&channel.id, |backing| backing.withdraw_requested_at = Some(asked));
    }
    let worker = books.seeing(ClaimPolicy::default());
    let mut first_alarm = None;
    for second in (0..DELAY_SECONDS).step_by(5) {
        books.clock.set(asked.plus_seconds(second));
        let outcome = worker.run_due().await.unwrap();
        assert!(ends(&outcome, "claim").iter().all(|end| matches!(end, ClaimEnd::Pending(_))));
        if alarms.0.0.load(Ordering::SeqCst) > 0 {
            first_alarm.get_or_insert(second);
        }
    }
    let asked = books.claims().len();
    assert!((8..=25).contains(&asked), "{asked}");
    let first = first_alarm.unwrap();
    assert!((DELAY_SECONDS / 2..DELAY_SECONDS * 5 / 6).contains(&first), "{first}");
}

/// Counts alarms.
#[derive(Debug, Default)]
struct Alarms(Arc<Count>);

#[derive(Debug, Default)]
struct Count(AtomicU64);

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::SeqCst);
    }

    fn absolute(&self, value: u64) {
        self.0.store(value, Ordering::SeqCst);
    }
}

impl Recorder for Alarms {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match key.name() {
            "tollway_seller_channel_alarms_total" => Counter::from_arc(Arc::clone(&self.0)),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

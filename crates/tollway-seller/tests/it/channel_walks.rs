//! Random walks of a payer who tries everything at once, before two sellers on one ledger whose claims keep their time: what
//! was served is what is charged, and what is charged is redeemed, to the unit.

use std::sync::Arc;

use tollway_core::UnixTime;
use tollway_ledger::{Channel, Ledger, MemoryLedger};
use tollway_seller::StoredResponses;

use super::channel_double::{DELAY_SECONDS, DEPOSIT, NOW, PRICE, Payer, Shop};

const SCOPE: &str = "seller";
const SEEDS: u64 = 24;
const STEPS: u32 = 50;
/// How late a claim is at most: less than the margin in which a closing channel is not served.
const CLAIM_SECONDS: u64 = 200;

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

struct Walk {
    ledger: Arc<MemoryLedger>,
    shops: [Shop; 2],
    payer: Payer,
    now: UnixTime,
    /// What was handed out.
    served: u64,
}

impl Walk {
    async fn open(is_stored: bool) -> Self {
        let ledger = Arc::new(MemoryLedger::new());
        let stored = if is_stored { StoredResponses::default() } else { StoredResponses::off() };
        let one = Shop::open_with(|builder| builder.ledger(ledger.clone()).stored_responses(stored)).await;
        let (vault, clock) = (Arc::clone(&one.vault), Arc::clone(&one.clock));
        let two =
            Shop::beside(vault, clock, |builder| builder.ledger(ledger.clone()).stored_responses(stored))
                .await;
        let payer = Payer::new(&one).await;
        Self { ledger, shops: [one, two], payer, now: NOW, served: 0 }
    }

    async fn row(&self) -> Option<Channel> {
        self.ledger.channel_get(SCOPE, &self.payer.channel.key).await.unwrap()
    }

    async fn charged(&self) -> u64 {
        self.row().await.map_or(0, |row| row.charged.to_string().parse().unwrap())
    }

    /// Presents a voucher; only the next one is handed something new.
    async fn present(&mut self, shop: usize, ceiling: u64, is_deposit: bool) {
        let before = self.charged().await;
        let payment = match is_deposit {
            true => self.payer.deposit_at(ceiling, self.now).await,
            false => self.payer.voucher(ceiling).await,
        };
        let answer = self.shops[shop].get("/data", &payment).await;
        let after = self.charged().await;
        if after > before {
            assert!(answer.is_content(), "charged, and not served: {answer:?}");
            assert_eq!((after - before, ceiling), (PRICE, after));
            self.served += PRICE;
        } else if answer.status == 200 {
            assert_eq!(ceiling, before, "only what was paid for last is given again: {answer:?}");
        }
    }

    /// What a seller's worker does: claims what is due, in time.
    async fn claim(&self) {
        let Some(row) = self.row().await else { return };
        let key = &self.payer.channel.key;
        let backing = self.shops[0].vault.backing(key.id());
        if row.due.0.saturating_add(CLAIM_SECONDS) > self.now.0 || row.charged <= backing.claimed {
            return;
        }
        assert!(row.charged <= row.signed && row.charged <= backing.balance, "it cannot be claimed: {row:?}");
        self.shops[0].vault.change(key, |backing| backing.claimed = row.charged);
        let due = UnixTime(i64::MAX.unsigned_abs());
        assert!(self.ledger.channel_put(Channel { due, ..row }, None, self.now).await.unwrap());
    }

    /// The payer takes what is left, if its time has come.
    async fn withdraw(&self) {
        let key = &self.payer.channel.key;
        let backing = self.shops[0].vault.backing(key.id());
        let Some(asked) = backing.withdraw_requested_at else { return };
        if self.now >= asked.plus_seconds(DELAY_SECONDS) {
            let charged = self.charged().await;
            assert!(backing.claimed >= charged.into(), "served and not redeemed: {backing:?}, {charged}");
            self.shops[0].vault.change(key, |backing| {
                backing.balance = backing.claimed;
                backing.withdraw_requested_at = None;
            });
        }
    }

    async fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds.div_ceil(50) {
            self.now = self.now.plus_seconds(50);
            self.shops[0].clock.set(self.now);
            self.claim().await;
            self.withdraw().await;
        }
    }

    async fn step(&mut self, dice: &mut Dice) {
        let shop = usize::from(dice.below(2) == 1);
        let charged = self.charged().await;
        match dice.below(12) {
            0..=4 => self.present(shop, charged + PRICE, false).await,
            5 => self.present(shop, charged, false).await,
            6 => self.present(shop, charged.saturating_sub(dice.below(3) * PRICE), false).await,
            7 => self.present(shop, charged + 1 + dice.below(3 * PRICE), false).await,
            8 => self.present(shop, charged + PRICE, true).await,
            9 => self.shops[0].vault.change(&self.payer.channel.key, |backing| {
                backing.withdraw_requested_at.get_or_insert(self.now);
            }),
            _ => {
                let seconds = dice.below(400);
                self.pass(seconds).await;
            }
        }
    }
}

#[tokio::test]
async fn what_is_served_is_charged_and_what_is_charged_is_redeemed() {
    for seed in 1..=SEEDS {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut walk = Walk::open(seed % 2 == 0).await;
        walk.present(0, PRICE, true).await;
        for _ in 0..STEPS {
            walk.step(&mut dice).await;
        }
        assert_eq!(walk.charged().await, walk.served, "seed {seed}");
        assert!(walk.served >= PRICE && DEPOSIT >= PRICE, "seed {seed}");
        // In the end everything that was served is redeemed.
        walk.pass(4_000).await;
        let key = walk.payer.channel.key.clone();
        assert_eq!(walk.shops[0].vault.backing(key.id()).claimed, walk.served.into(), "seed {seed}");
    }
}

//! Random walks through whole channels in foul weather: beside all that happens in [`channel_walks`](super::channel_walks),
//! blocks are taken back with what was in them, transactions wait or are lost, hours pass, and the payer takes its money back
//! behind the seller's back as soon as the contract lets it.
//!
//! `TOLLWAY_WALKS` says how many seeds are walked, `TOLLWAY_WALK_SEED` where they begin; a walk that fails names its own.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use tollway_devnet::Fault;
use tollway_evm::batch_settlement::{ChannelConfig, WithdrawError, begin_withdrawal, end_withdrawal};
use tollway_seller::{ClaimEnd, ClaimOutcome, ClaimPolicy};

use crate::channel_walks::PAYER;
use crate::channel_walks::{DELAY_SECONDS, Dice, FAILS, PART, WHOLE, World, number};
use crate::market::account;

const STEPS: u32 = 40;
const SEEDS: u64 = 6;
/// In what pieces time passes: in each a seller looks after its channels, and blocks come.
const PIECE_SECONDS: u64 = 50;
/// The deepest that blocks are taken back. All that is asked for within the delay is deeper by its end.
const DEEPEST: u64 = 4;
/// How long what was taken back may take to be there again.
const HEALED_WITHIN: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_millis(300);

/// How high it once was, by what was told done in calm weather.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    claimed: u64,
    earned: u64,
}

struct Storm {
    world: World,
    dice: Dice,
    seed: u64,
    marks: Marks,
    is_foul: bool,
    /// What happened, the newest last.
    log: Vec<String>,
}

impl Storm {
    async fn open(seed: u64) -> Self {
        let claims = ClaimPolicy::default().by_hand();
        let claims = if seed.is_multiple_of(2) { claims.idle_refund_seconds(1_200) } else { claims };
        let world = World::open(claims).await;
        Self { world, dice: Dice(seed), seed, marks: Marks::default(), is_foul: false, log: Vec::new() }
    }

    fn fault(&self, fault: Fault) {
        self.world.market.node.devnet().faults().inject(fault);
    }

    async fn mine(&self, blocks: u64) {
        for _ in 0..blocks {
            self.world.market.chain.raw("evm_mine", json!([])).await.unwrap();
        }
    }

    fn told(&self) -> String {
        format!("seed {}: {}", self.seed, self.log.join("; "))
    }

    /// In fair weather everything that is asked for is done.
    fn judge(&self, outcome: &ClaimOutcome) {
        for step in &outcome.steps {
            let is_fine = self.is_foul || matches!(step.end, ClaimEnd::Done(_));
            assert!(is_fine, "{}: {outcome:?}", self.told());
        }
    }

    async fn config(&self) -> Option<ChannelConfig> {
        let body = self.world.row().await?.body;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        Some(ChannelConfig::read(body["terms"].as_object().unwrap()).unwrap())
    }

    /// The payer goes to the contract by itself: ends a withdrawal if it can, else begins one if it `may_begin`.
    async fn withdraw(&self, may_begin: bool) -> &'static str {
        let Some(config) = self.config().await else { return "there is nothing" };
        let (chain, payer) = (&self.world.market.chain, account(PAYER));
        match end_withdrawal(chain, &payer, &config, PATIENCE).await {
            // Whoever serves what was just put in waits for blocks on top (`confirmations`): an end that is taken back can be
            // had again at once, of what came in since. Here they come.
            Ok(_) => {
                self.mine(DEEPEST).await;
                return "the money is back";
            }
            Err(WithdrawError::NotBegun) if may_begin => {}
            Err(_) => return "not yet",
        }
        match begin_withdrawal(chain, &payer, &config, None, PATIENCE).await {
            Ok(_) => "begun",
            Err(_) => "nothing is left",
        }
    }

    /// Time passes, and whoever is alive looks after the channels. The payer has its money the moment it can.
    async fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds.div_ceil(PIECE_SECONDS) {
            self.world.clock.pass(PIECE_SECONDS);
            let chain = &self.world.market.chain;
            chain.raw("evm_increaseTime", json!([PIECE_SECONDS])).await.unwrap();
            self.mine(1).await;
            let which = usize::from(self.dice.roll(2) == 1);
            let outcome = self.world.sellers[which].paywall.claims().run_due().await.unwrap();
            self.judge(&outcome);
            self.withdraw(false).await;
        }
    }

    /// What happens in any weather.
    async fn step(&mut self) -> String {
        let which = usize::from(self.dice.roll(2) == 1);
        match self.dice.roll(14) {
            0..=4 => format!("{which} sells: {:?}", self.world.buy(which, WHOLE).await),
            5..=6 => format!("{which} sells a part: {:?}", self.world.buy(which, PART).await),
            7 => format!("{which} does not serve: {:?}", self.world.buy(which, FAILS).await),
            8 => {
                let outcome = self.world.sellers[which].paywall.claims().claim(&[]).await.unwrap();
                self.judge(&outcome);
                format!("{which} claims, {} steps", outcome.steps.len())
            }
            9 => {
                let outcome = self.world.sellers[which].paywall.claims().settle().await.unwrap();
                self.judge(&outcome);
                format!("{which} is paid out, {} steps", outcome.steps.len())
            }
            10 => {
                let amount = 1_000 + self.dice.roll(40_000);
                format!("{amount} back: {:?}", self.world.give_back(Some(amount)).await)
            }
            11 => {
                self.world.kill(which).await;
                format!("{which} dies")
            }
            12 => {
                self.world.lose_the_wallets_books();
                "the wallet loses its books".to_owned()
            }
            _ => format!("a withdrawal: {}", self.withdraw(true).await),
        }
    }

    /// The chain is taken back, and things go on at once; perhaps nothing gets into blocks for a while.
    async fn storm(&mut self) {
        let (depth, lost, held) =
            (1 + self.dice.roll(DEEPEST), self.dice.roll(2) == 1, self.dice.roll(2) == 1);
        self.log.push(format!("the last {depth} blocks are taken back, lost {lost}, held {held}"));
        self.is_foul = true;
        if held {
            self.fault(Fault::Hold);
        }
        self.fault(Fault::Reorg { depth, lost });
        for _ in 0..self.dice.roll(4) {
            let what = self.step().await;
            self.log.push(format!("meanwhile {what}"));
            self.note().await;
            self.world.check_always(&self.told()).await;
        }
        if held {
            self.fault(Fault::Release);
        }
        self.heal().await;
        self.is_foul = false;
    }

    /// Blocks come until all that was told done is done again.
    async fn heal(&self) {
        let until = Instant::now() + HEALED_WITHIN;
        loop {
            self.mine(1).await;
            let (backing, earned) = (self.world.backing().await, self.world.earned().await);
            let is_backed = number(backing.balance) >= self.world.charged;
            if is_backed && number(backing.claimed) >= self.marks.claimed && earned >= self.marks.earned {
                return;
            }
            let (marks, charged, told) = (self.marks, self.world.charged, self.told());
            assert!(
                Instant::now() < until,
                "not healed: {backing:?}, {earned}, {marks:?}, {charged}; {told}"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// How things stand, for who reads the log.
    async fn note(&mut self) {
        let (row, backing) = (self.world.row().await, self.world.backing().await);
        let seen = row.map(|row| (row.charged.to_string(), row.signed.to_string(), row.claimed.to_string()));
        let (balance, claimed) = (backing.balance, backing.claimed);
        self.log.push(format!("[{seen:?} of {balance}, {claimed} claimed]"));
    }

    async fn walk(&mut self) {
        for _ in 0..STEPS {
            match self.dice.roll(8) {
                0 => self.storm().await,
                1 => {
                    let seconds =
                        [60, 200, 450, DELAY_SECONDS, 1_300][usize::try_from(self.dice.roll(5)).unwrap()];
                    self.log.push(format!("{seconds} s pass"));
                    self.pass(seconds).await;
                }
                _ => {
                    let what = self.step().await;
                    self.log.push(what);
                }
            }
            self.note().await;
            self.world.check(&self.told()).await;
            let claimed = number(self.world.backing().await.claimed);
            self.marks = Marks { claimed, earned: self.world.earned().await };
        }
    }

    /// Everybody has what is due, without the other's help.
    async fn end(&mut self) {
        self.log.push("the end".to_owned());
        for seller in &self.world.sellers {
            self.judge(&seller.paywall.claims().claim(&[]).await.unwrap());
            self.judge(&seller.paywall.claims().settle().await.unwrap());
        }
        // One that was begun before may have been for less.
        for _ in 0..2 {
            self.withdraw(true).await;
            self.pass(DELAY_SECONDS + PIECE_SECONDS).await;
        }
        self.world.check(&self.told()).await;
        self.world.check_the_end(&self.told()).await;
    }
}

fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_chain_takes_back_what_was_served_is_paid_and_the_rest_comes_back() {
    let first = asked("TOLLWAY_WALK_SEED", 1);
    for seed in first..first + asked("TOLLWAY_WALKS", SEEDS) {
        let began = Instant::now();
        let mut storm = Storm::open(seed).await;
        storm.walk().await;
        storm.end().await;
        eprintln!("seed {seed} in {:?}, {} sold for", began.elapsed(), storm.world.charged);
    }
}

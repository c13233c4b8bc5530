//! What each payer's payments have cost us: who makes lanes burn gas again and again is not served for a while.
//!
//! Points are added when a payment reverts on chain (gas is gone: many points) or fails after it was verified (only an
//! answer of the node is gone: few). They wear off evenly. A payer over the threshold is refused at verify and at
//! settle, before any node is asked, until its cooling time is over.
//!
//! What lives here: the points. What does not: what counts as reverted, which the engine decides. Each process keeps
//! its own score, and forgets it when it ends.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use metrics::counter;
use parking_lot::Mutex;
use tokio::time::Instant;
use tollway_core::{ErrorCode, Refusal};
use tollway_evm::Address;

use crate::telemetry::SCORE_REFUSED;

/// How points are given, and what they lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoreLimits {
    /// From so many points on a payer is refused.
    pub threshold: u64,
    /// Points for a payment that reverted on chain.
    pub reverted: u64,
    /// Points for a payment that failed after it was verified, and cost no gas.
    pub failed: u64,
    /// In this time as many points wear off as the threshold has.
    pub decay: Duration,
    /// How long a payer is refused. What it did before is then forgiven.
    pub cooling: Duration,
    /// How many payers are remembered. Beyond that the one that has been quiet for longest is forgotten.
    pub payers: usize,
}

impl Default for ScoreLimits {
    fn default() -> Self {
        Self {
            threshold: 250,
            reverted: 100,
            failed: 5,
            decay: Duration::from_secs(60 * 60),
            cooling: Duration::from_secs(10 * 60),
            payers: 10_000,
        }
    }
}

const MAX_POINTS: u64 = 1_000_000_000;
const MAX_PAYERS: u64 = 1_000_000;
const YEAR_SECONDS: u64 = 365 * 24 * 60 * 60;

impl ScoreLimits {
    /// The limits that make no sense, all at once.
    ///
    /// ```
    /// use tollway_facilitator::ScoreLimits;
    /// let limits = ScoreLimits { payers: 0, ..ScoreLimits::default() };
    /// assert_eq!(limits.faults(), ["score.payers: must be from 1 to 1000000"]);
    /// ```
    pub fn faults(&self) -> Vec<String> {
        // A part of a second is more than nothing.
        let seconds = |time: Duration| time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
        let most = [
            ("threshold", self.threshold, MAX_POINTS),
            ("decay_seconds", seconds(self.decay), YEAR_SECONDS),
            ("cooling_seconds", seconds(self.cooling), YEAR_SECONDS),
            ("payers", u64::try_from(self.payers).unwrap_or(u64::MAX), MAX_PAYERS),
        ];
        let wrong = most.into_iter().filter(|(_, value, most)| !(1..=*most).contains(value));
        let mut faults: Vec<String> =
            wrong.map(|(name, _, most)| format!("score.{name}: must be from 1 to {most}")).collect();
        let points = [("reverted", self.reverted), ("failed", self.failed)];
        let wrong = points.into_iter().filter(|(_, points)| *points > MAX_POINTS);
        faults.extend(wrong.map(|(name, _)| format!("score.{name}: must be at most {MAX_POINTS}")));
        faults
    }
}

/// The points of all payers.
#[derive(Debug)]
pub struct Score {
    limits: ScoreLimits,
    payers: Mutex<Payers>,
}

#[derive(Debug, Default)]
struct Payers {
    entries: HashMap<Address, Entry>,
    /// By when they were last raised.
    by_age: BTreeMap<u64, Address>,
    raised: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    points: u64,
    at: Instant,
    refused_until: Option<Instant>,
    age: u64,
}

impl Score {
    /// Nobody has points yet.
    ///
    /// ```
    /// use tollway_facilitator::{Score, ScoreLimits};
    /// let score = Score::new(ScoreLimits::default());
    /// ```
    pub fn new(limits: ScoreLimits) -> Self {
        Self { limits, payers: Mutex::default() }
    }

    /// A payment of `payer` reverted on chain.
    ///
    /// ```
    /// use tollway_evm::Address;
    /// use tollway_facilitator::{Score, ScoreLimits};
    /// let score = Score::new(ScoreLimits { threshold: 100, reverted: 100, ..ScoreLimits::default() });
    /// score.reverted(Address::ZERO);
    /// assert!(score.check(Address::ZERO).is_err());
    /// ```
    pub fn reverted(&self, payer: Address) {
        self.raise(payer, self.limits.reverted);
    }

    /// A payment of `payer` failed after it was verified, and cost no gas.
    ///
    /// ```
    /// use tollway_evm::Address;
    /// use tollway_facilitator::{Score, ScoreLimits};
    /// let score = Score::new(ScoreLimits::default());
    /// score.failed(Address::ZERO);
    /// assert!(score.check(Address::ZERO).is_ok(), "once is nothing");
    /// ```
    pub fn failed(&self, payer: Address) {
        self.raise(payer, self.limits.failed);
    }

    /// Whether `payer` is served now.
    ///
    /// # Errors
    /// The [`Refusal`] to answer with.
    ///
    /// ```
    /// use tollway_evm::Address;
    /// use tollway_facilitator::{Score, ScoreLimits};
    /// let score = Score::new(ScoreLimits::default());
    /// for _ in 0..3 {
    ///     score.reverted(Address::ZERO);
    /// }
    /// let refusal = score.check(Address::ZERO).unwrap_err();
    /// assert!(refusal.to_string().contains("not served for another"));
    /// assert!(score.check(Address::repeat_byte(1)).is_ok());
    /// ```
    pub fn check(&self, payer: Address) -> Result<(), Refusal> {
        let until = self.payers.lock().entries.get(&payer).and_then(|entry| entry.refused_until);
        let left = until.map(|until| until.saturating_duration_since(Instant::now())).unwrap_or_default();
        if left.is_zero() {
            return Ok(());
        }
        counter!(SCORE_REFUSED).increment(1);
        let seconds = left.as_secs() + 1;
        let rule = format!(
            "payments of this payer failed on chain too often: it is not served for another {seconds} seconds"
        );
        let field = "paymentPayload.payload.authorization.from";
        let mut refusal = Refusal::new(ErrorCode::INVALID_PAYMENT, field, rule);
        refusal.payer = Some(payer.to_checksum(None));
        Err(refusal)
    }

    fn raise(&self, payer: Address, points: u64) {
        if points == 0 {
            return;
        }
        let now = Instant::now();
        let mut payers = self.payers.lock();
        let before = payers.remove(payer);
        let kept = before.map_or(0, |entry| entry.points.saturating_sub(self.worn_off(now - entry.at)));
        let mut points = kept.saturating_add(points);
        let mut refused_until = before.and_then(|entry| entry.refused_until).filter(|until| *until > now);
        if points >= self.limits.threshold {
            points = 0;
            refused_until = Some(now + self.limits.cooling);
        }
        payers.insert(payer, Entry { points, at: now, refused_until, age: 0 });
        while payers.entries.len() > self.limits.payers {
            payers.forget_oldest();
        }
    }

    fn worn_off(&self, elapsed: Duration) -> u64 {
        let share = u128::from(self.limits.threshold).saturating_mul(elapsed.as_millis());
        u64::try_from(share / self.limits.decay.as_millis().max(1)).unwrap_or(u64::MAX)
    }
}

impl Payers {
    fn remove(&mut self, payer: Address) -> Option<Entry> {
        let entry = self.entries.remove(&payer)?;
        self.by_age.remove(&entry.age);
        Some(entry)
    }

    fn insert(&mut self, payer: Address, entry: Entry) {
        self.raised += 1;
        self.by_age.insert(self.raised, payer);
        self.entries.insert(payer, Entry { age: self.raised, ..entry });
    }

    fn forget_oldest(&mut self) {
        if let Some((_, payer)) = self.by_age.pop_first() {
            self.entries.remove(&payer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tollway_evm::Address;

    use super::{Score, ScoreLimits};

    const PAYER: Address = Address::repeat_byte(7);

    fn limits() -> ScoreLimits {
        ScoreLimits {
            threshold: 250,
            reverted: 100,
            failed: 5,
            decay: Duration::from_secs(1_000),
            cooling: Duration::from_secs(60),
            payers: 3,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_payer_whose_payments_revert_is_refused_until_it_has_cooled() {
        let score = Score::new(limits());
        score.reverted(PAYER);
        score.reverted(PAYER);
        assert!(score.check(PAYER).is_ok());
        score.reverted(PAYER);
        let refusal = score.check(PAYER).unwrap_err();
        assert!(refusal.to_string().contains("another 61 seconds"), "{refusal}");
        assert!(score.check(Address::ZERO).is_ok(), "others are served");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(score.check(PAYER).is_ok());
        score.reverted(PAYER);
        assert!(score.check(PAYER).is_ok(), "what was before is forgiven");
    }

    #[tokio::test(start_paused = true)]
    async fn points_wear_off() {
        let score = Score::new(limits());
        for _ in 0..20 {
            score.reverted(PAYER);
            tokio::time::advance(Duration::from_secs(400)).await;
        }
        assert!(score.check(PAYER).is_ok(), "100 points each 400 s, of which 100 wear off");
    }

    #[tokio::test(start_paused = true)]
    async fn what_costs_no_gas_counts_little() {
        let score = Score::new(limits());
        for _ in 0..49 {
            score.failed(PAYER);
        }
        assert!(score.check(PAYER).is_ok());
        score.failed(PAYER);
        assert!(score.check(PAYER).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_in_any_number_take_bounded_memory() {
        let score = Score::new(limits());
        for byte in 0..100 {
            score.reverted(Address::repeat_byte(byte));
        }
        let payers = score.payers.lock();
        assert_eq!((payers.entries.len(), payers.by_age.len()), (3, 3));
        assert!(payers.entries.contains_key(&Address::repeat_byte(99)), "the latest stay");
    }
}

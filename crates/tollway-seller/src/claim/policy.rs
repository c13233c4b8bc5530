//! When channels are claimed: numbers only. Whatever says wait, a withdrawal does not.

use std::sync::Arc;

use tollway_core::{Amount, BoxFuture, Money, Network, UnixTime};

/// How often a channel is looked at within its delay of withdrawal, while something on it is not claimed.
const LOOKS_PER_DELAY: u64 = 3;
/// How often a channel that is being withdrawn is claimed at most, within its delay: each charge by itself would cost more
/// gas than it brings.
const CLAIMS_PER_DELAY: u64 = 12;

/// When a seller claims what was charged on its channels. What a payer is about to withdraw is claimed at once, whatever this
/// says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClaimPolicy {
    /// Claims when so much waits with one receiver and token: 10 dollars by default. A token that is no dollar waits for the
    /// other rules.
    pub value_at_risk: Option<Money>,
    /// Claims when something has waited for so long: a day by default.
    pub max_age_seconds: u64,
    /// Claims when so many channels wait with one receiver and token: 250 by default, a full transaction.
    pub max_waiting: usize,
    /// How long charges wait for company before somebody looks whether to claim: an hour by default, and never longer than a
    /// third of the channel's delay of withdrawal.
    pub interval_seconds: u64,
    /// How many channels one transaction claims at most: 250 by default. Each takes about 480 bytes, and most nodes take
    /// 128 KiB.
    pub max_channels_per_claim: usize,
    /// What claims cost; if not said, they cost nothing.
    pub costs: Option<Arc<dyn ClaimCosts>>,
    /// How much of what a claim brings it may cost: 100 by default. What costs more waits until it brings more.
    pub max_cost_percent: u32,
    /// What is left in a channel that nobody has used for so long, and that owes nothing, is given back. Off by default.
    pub idle_refund_seconds: Option<u64>,
    /// Whether a paywall claims by itself: it does by default. Whoever turns it off claims in time with something else.
    pub is_automatic: bool,
}

/// What a claim costs the seller, in money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimCost {
    /// A claim of any size, with paying it out.
    pub per_claim: Money,
    /// Each channel in it.
    pub per_channel: Money,
}

/// Who knows what claims cost now: a price of gas, a facilitator's tariff.
pub trait ClaimCosts: Send + Sync + std::fmt::Debug {
    /// What they cost on this network. None: nobody knows, and claims do not wait for it.
    ///
    /// ```
    /// use tollway_seller::{ClaimCost, ClaimCosts};
    /// # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
    /// let fixed = ClaimCost { per_claim: "$0.02".parse()?, per_channel: "$0.001".parse()? };
    /// assert_eq!(fixed.now(&"eip155:8453".parse()?).await, Some(fixed.clone()));
    /// # Ok(()) }
    /// ```
    fn now<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Option<ClaimCost>>;
}

impl ClaimCosts for ClaimCost {
    fn now<'a>(&'a self, _: &'a Network) -> BoxFuture<'a, Option<ClaimCost>> {
        Box::pin(std::future::ready(Some(self.clone())))
    }
}

impl Default for ClaimPolicy {
    fn default() -> Self {
        Self {
            value_at_risk: "$10".parse().ok(),
            max_age_seconds: 86_400,
            max_waiting: 250,
            interval_seconds: 3_600,
            max_channels_per_claim: 250,
            costs: None,
            max_cost_percent: 100,
            idle_refund_seconds: None,
            is_automatic: true,
        }
    }
}

impl ClaimPolicy {
    /// Claims when so much waits.
    ///
    /// ```
    /// use tollway_seller::ClaimPolicy;
    /// let policy = ClaimPolicy::default().value_at_risk("$100".parse()?);
    /// assert_eq!(policy.value_at_risk, Some("$100".parse()?));
    /// # Ok::<(), tollway_core::MoneyError>(())
    /// ```
    #[must_use]
    pub fn value_at_risk(mut self, money: Money) -> Self {
        self.value_at_risk = Some(money);
        self
    }

    /// Claims when something has waited for so long.
    ///
    /// ```
    /// assert_eq!(tollway_seller::ClaimPolicy::default().max_age_seconds(60).max_age_seconds, 60);
    /// ```
    #[must_use]
    pub const fn max_age_seconds(mut self, seconds: u64) -> Self {
        self.max_age_seconds = seconds;
        self
    }

    /// Claims when so many channels wait.
    ///
    /// ```
    /// assert_eq!(tollway_seller::ClaimPolicy::default().max_waiting(1).max_waiting, 1);
    /// ```
    #[must_use]
    pub const fn max_waiting(mut self, channels: usize) -> Self {
        self.max_waiting = channels;
        self
    }

    /// Looks every so often whether to claim.
    ///
    /// ```
    /// assert_eq!(tollway_seller::ClaimPolicy::default().interval_seconds(60).interval_seconds, 60);
    /// ```
    #[must_use]
    pub const fn interval_seconds(mut self, seconds: u64) -> Self {
        self.interval_seconds = seconds;
        self
    }

    /// Claims so many channels at once at most.
    ///
    /// ```
    /// let policy = tollway_seller::ClaimPolicy::default().max_channels_per_claim(100);
    /// assert_eq!(policy.max_channels_per_claim, 100);
    /// ```
    #[must_use]
    pub const fn max_channels_per_claim(mut self, channels: usize) -> Self {
        self.max_channels_per_claim = channels;
        self
    }

    /// Knows what claims cost: one that costs more than it brings waits.
    ///
    /// ```
    /// use tollway_seller::{ClaimCost, ClaimPolicy};
    /// let cost = ClaimCost { per_claim: "$0.02".parse()?, per_channel: "$0.001".parse()? };
    /// assert!(ClaimPolicy::default().costs(cost).costs.is_some());
    /// # Ok::<(), tollway_core::MoneyError>(())
    /// ```
    #[must_use]
    pub fn costs(mut self, costs: impl ClaimCosts + 'static) -> Self {
        self.costs = Some(Arc::new(costs));
        self
    }

    /// A claim may cost so much of what it brings.
    ///
    /// ```
    /// assert_eq!(tollway_seller::ClaimPolicy::default().max_cost_percent(5).max_cost_percent, 5);
    /// ```
    #[must_use]
    pub const fn max_cost_percent(mut self, percent: u32) -> Self {
        self.max_cost_percent = percent;
        self
    }

    /// Gives back what is left in channels that nobody has used for so long.
    ///
    /// ```
    /// let policy = tollway_seller::ClaimPolicy::default().idle_refund_seconds(30 * 86_400);
    /// assert!(policy.idle_refund_seconds.is_some());
    /// ```
    #[must_use]
    pub const fn idle_refund_seconds(mut self, seconds: u64) -> Self {
        self.idle_refund_seconds = Some(seconds);
        self
    }

    /// Claims nothing by itself.
    ///
    /// ```
    /// assert!(!tollway_seller::ClaimPolicy::default().by_hand().is_automatic);
    /// ```
    #[must_use]
    pub const fn by_hand(mut self) -> Self {
        self.is_automatic = false;
        self
    }

    /// When a channel with something to claim is looked at next. The times are the same for all, so that those who wait meet.
    pub(crate) fn next_look(&self, delay_seconds: u64, now: UnixTime) -> UnixTime {
        let slot = self.interval_seconds.min(delay_seconds / LOOKS_PER_DELAY).max(1);
        UnixTime((now.0 / slot).saturating_add(1).saturating_mul(slot))
    }

    /// When a channel that is being withdrawn is claimed again.
    pub(crate) fn next_hasty(delay_seconds: u64, now: UnixTime) -> UnixTime {
        now.plus_seconds((delay_seconds / CLAIMS_PER_DELAY).max(1))
    }

    /// Whether a channel by itself is worth its place in a claim.
    pub(crate) fn is_worth(&self, brings: Amount, tariff: Option<&Tariff>) -> bool {
        tariff.is_none_or(|tariff| self.is_cheap(tariff.per_channel.atomic(), brings))
    }

    /// Whether those that wait together are claimed now.
    pub(crate) fn is_ready(&self, group: &Group, now: UnixTime) -> bool {
        let is_wanted = group.channels >= self.max_waiting.max(1)
            || now >= group.since.plus_seconds(self.max_age_seconds)
            || group.threshold.is_some_and(|threshold| group.brings >= threshold);
        let cost = group.tariff.as_ref().map(|tariff| {
            let claims = group.channels.div_ceil(self.max_channels_per_claim.max(1));
            let times = |amount: Amount, count: usize| {
                amount
                    .atomic()
                    .saturating_mul(Amount::from(u64::try_from(count).unwrap_or(u64::MAX)).atomic())
            };
            times(tariff.per_claim, claims).saturating_add(times(tariff.per_channel, group.channels))
        });
        is_wanted && group.channels > 0 && cost.is_none_or(|cost| self.is_cheap(cost, group.brings))
    }

    fn is_cheap(&self, cost: tollway_evm::U256, brings: Amount) -> bool {
        let hundred = Amount::from(100u64).atomic();
        let percent = Amount::from(u64::from(self.max_cost_percent)).atomic();
        cost.saturating_mul(hundred) <= brings.atomic().saturating_mul(percent)
    }
}

/// What claims cost in the token that they bring.
#[derive(Clone, Debug)]
pub(crate) struct Tariff {
    pub(crate) per_claim: Amount,
    pub(crate) per_channel: Amount,
}

/// Channels that are claimed together.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) channels: usize,
    pub(crate) brings: Amount,
    /// Since when the first of them waits.
    pub(crate) since: UnixTime,
    pub(crate) threshold: Option<Amount>,
    pub(crate) tariff: Option<Tariff>,
}

#[cfg(test)]
mod tests {
    use tollway_core::UnixTime;

    use super::{ClaimPolicy, Group, Tariff};

    const NOW: UnixTime = UnixTime(1_750_000_000);

    fn group(channels: usize, brings: u64) -> Group {
        let threshold = Some(1_000u64.into());
        Group { channels, brings: brings.into(), since: NOW, threshold, tariff: None }
    }

    #[test]
    fn claims_wait_for_value_age_or_number() {
        let policy = ClaimPolicy::default().max_waiting(10).max_age_seconds(60);
        assert!(!policy.is_ready(&group(9, 999), NOW.plus_seconds(59)));
        assert!(policy.is_ready(&group(10, 10), NOW));
        assert!(policy.is_ready(&group(1, 1_000), NOW));
        assert!(policy.is_ready(&group(1, 1), NOW.plus_seconds(60)));
        assert!(!policy.is_ready(&group(0, 0), NOW.plus_seconds(60)));
    }

    #[test]
    fn what_costs_more_than_it_brings_waits() {
        let policy = ClaimPolicy::default().max_waiting(2).max_channels_per_claim(2).max_cost_percent(50);
        let tariff = Tariff { per_claim: 100u64.into(), per_channel: 10u64.into() };
        let with = |channels, brings| Group { tariff: Some(tariff.clone()), ..group(channels, brings) };
        assert!(!policy.is_ready(&with(2, 239), NOW));
        assert!(policy.is_ready(&with(2, 240), NOW));
        assert!(!policy.is_ready(&with(3, 459), NOW), "three channels are two claims");
        assert!(policy.is_ready(&with(3, 460), NOW));
        assert!(!policy.is_worth(19u64.into(), Some(&tariff)));
        assert!(policy.is_worth(20u64.into(), Some(&tariff)) && policy.is_worth(0u64.into(), None));
    }

    #[test]
    fn those_who_wait_meet_within_a_third_of_their_delay() {
        let policy = ClaimPolicy::default();
        for later in [0, 1, 299, 300, 301, 899] {
            let now = NOW.plus_seconds(later);
            let look = policy.next_look(900, now);
            assert!(look > now && look <= now.plus_seconds(300), "{later}");
            assert_eq!(look.0 % 300, 0);
            assert!(policy.next_look(86_400, now) <= now.plus_seconds(3_600));
        }
        assert!(policy.next_look(0, NOW) > NOW);
    }
}

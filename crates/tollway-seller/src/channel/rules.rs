//! What a seller lets channels cost it: how old what it saw of the chain may be, how late it serves a channel that is being
//! withdrawn, how many it keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tollway_core::{ChannelWitness, Network};

use super::row::Patience;
use super::table::Table;
use crate::meter::Streams;

/// The longest that what was seen of the chain is good by itself.
const MAX_AGE_SECONDS: u64 = 300;
/// In a delay of withdrawal, what was seen is looked at so often at least.
const LOOKS_PER_DELAY: u64 = 6;

/// How a paywall deals with channels.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelRules {
    /// How old what was seen of a channel on chain may be: a sixth of its delay of withdrawal and five minutes at most, if
    /// not said.
    pub max_age_seconds: Option<u64>,
    /// A channel that is being withdrawn is served until so long before its payer can have its money: half the delay, if not
    /// said. What was charged has to be claimed in that time.
    pub closing_margin_seconds: Option<u64>,
    /// How many channels may be written down: a million by default. Those that are there are served above that, too.
    pub max_channels: u64,
    /// How many are kept in memory: 50,000 by default, less than a kibibyte each.
    pub max_cached: usize,
    /// How long one request of an exclusive route may have a channel to itself: ten minutes by default, and never longer than a
    /// quarter of the withdrawal delay.
    pub hold_seconds: u64,
}

impl Default for ChannelRules {
    fn default() -> Self {
        Self {
            max_age_seconds: None,
            closing_margin_seconds: None,
            max_channels: 1_000_000,
            max_cached: 50_000,
            hold_seconds: 600,
        }
    }
}

impl ChannelRules {
    /// Looks at a channel on chain again when what was seen is older than `seconds`.
    ///
    /// ```
    /// assert_eq!(tollway_seller::ChannelRules::default().max_age_seconds(30).max_age_seconds, Some(30));
    /// ```
    #[must_use]
    pub const fn max_age_seconds(mut self, seconds: u64) -> Self {
        self.max_age_seconds = Some(seconds);
        self
    }

    /// Stops serving a channel that is being withdrawn `seconds` before its payer can have its money.
    ///
    /// ```
    /// let rules = tollway_seller::ChannelRules::default().closing_margin_seconds(600);
    /// assert_eq!(rules.closing_margin_seconds, Some(600));
    /// ```
    #[must_use]
    pub const fn closing_margin_seconds(mut self, seconds: u64) -> Self {
        self.closing_margin_seconds = Some(seconds);
        self
    }

    /// Writes down `count` channels at most.
    ///
    /// ```
    /// assert_eq!(tollway_seller::ChannelRules::default().max_channels(10).max_channels, 10);
    /// ```
    #[must_use]
    pub const fn max_channels(mut self, count: u64) -> Self {
        self.max_channels = count;
        self
    }

    /// Keeps `count` channels in memory at most.
    ///
    /// ```
    /// assert_eq!(tollway_seller::ChannelRules::default().max_cached(10).max_cached, 10);
    /// ```
    #[must_use]
    pub const fn max_cached(mut self, count: usize) -> Self {
        self.max_cached = count;
        self
    }

    /// Lets one request of an exclusive route have its channel to itself for `seconds` at most.
    ///
    /// ```
    /// assert_eq!(tollway_seller::ChannelRules::default().hold_seconds(60).hold_seconds, 60);
    /// ```
    #[must_use]
    pub const fn hold_seconds(mut self, seconds: u64) -> Self {
        self.hold_seconds = seconds;
        self
    }

    /// How long things are good on a channel with this delay of withdrawal.
    pub(crate) fn patience(&self, delay_seconds: u64) -> Patience {
        let age = (delay_seconds / LOOKS_PER_DELAY).clamp(1, MAX_AGE_SECONDS);
        Patience {
            age_seconds: self.max_age_seconds.unwrap_or(age),
            margin_seconds: self.closing_margin_seconds.unwrap_or(delay_seconds / 2),
        }
    }
}

/// What a paywall's requests share of channels.
#[derive(Debug)]
pub(crate) struct Channels {
    pub(crate) rules: ChannelRules,
    pub(crate) table: Arc<Table>,
    /// Answers that leave while they are charged.
    pub(crate) streams: Streams,
    witness: Option<Arc<dyn ChannelWitness>>,
    /// How many the ledger has, about.
    count: AtomicU64,
}

impl Channels {
    pub(crate) fn new(rules: ChannelRules, witness: Option<Arc<dyn ChannelWitness>>) -> Self {
        let table = Table::new(rules.max_cached);
        Self { rules, table, streams: Streams::default(), witness, count: AtomicU64::new(0) }
    }

    /// Who sees the chain without the facilitator.
    pub(crate) fn witness(&self, network: &Network) -> Option<&dyn ChannelWitness> {
        self.witness.as_deref().filter(|witness| witness.covers(network))
    }

    /// Whether one more may be written down.
    pub(crate) fn has_room(&self) -> bool {
        self.count.load(Ordering::Relaxed) < self.rules.max_channels
    }

    pub(crate) fn added(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many the ledger says there are.
    pub(crate) fn counted(&self, count: u64) {
        self.count.store(count, Ordering::Relaxed);
    }
}

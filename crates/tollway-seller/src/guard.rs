//! What an asset's price is watched by, and the judgement: whether the asset is offered now, and at which rate. Pure;
//! asking the sources is in [`crate::watch`].

use std::sync::Arc;
use std::time::Duration;

use tollway_core::{Decimal, UnixTime};

use crate::price_source::{PriceSource, Quote, SourceError};

/// A clock that runs ahead by more is no clock.
const MAX_AHEAD_SECONDS: u64 = 60;
/// A guard asks no more sources than that.
const MAX_SOURCES: usize = 16;
/// No source is asked more often.
const MIN_EVERY: Duration = Duration::from_millis(100);
/// How far a quote may have moved against the seller, at most.
const MAX_DRIFT: &str = "0.05";

/// Watches the price of an asset: [`Coin::guard`](crate::Coin::guard). While nobody tells a good price, the asset is
/// not offered.
///
/// ```
/// use tollway_seller::{FileSource, Guard};
/// let guard = Guard::new(FileSource::new("rates.json", "/PYUSD")).band("0.985", "1.015").max_age_seconds(60);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a guard does nothing until a coin has it"]
pub struct Guard {
    pub(crate) sources: Vec<Arc<dyn PriceSource>>,
    band: Option<(String, String)>,
    max_age_seconds: u64,
    min_sources: Option<usize>,
    spread: String,
    drift: String,
    every: Duration,
}

impl Guard {
    /// Watches by `source`. What is not set otherwise: a band of 0.98 to 1.02 dollars; a price counts for 120 s; sources
    /// are asked every 10 s.
    ///
    /// ```
    /// use tollway_seller::{Guard, HttpSource};
    /// let guard = Guard::new(HttpSource::new("https://rates.example/pyusd", "/usd")?.time_at("/at"));
    /// # Ok::<(), tollway_seller::SourceUrlError>(())
    /// ```
    pub fn new(source: impl PriceSource + 'static) -> Self {
        Self {
            sources: vec![Arc::new(source)],
            band: None,
            max_age_seconds: 120,
            min_sources: None,
            spread: "0.01".to_owned(),
            drift: "0.005".to_owned(),
            every: Duration::from_secs(10),
        }
    }

    /// Asks another source too. Their median counts, the lower of two.
    ///
    /// ```
    /// use tollway_seller::{FileSource, Guard};
    /// let guard = Guard::new(FileSource::new("a.json", "/EURC")).source(FileSource::new("b.json", "/EURC"));
    /// ```
    pub fn source(mut self, source: impl PriceSource + 'static) -> Self {
        self.sources.push(Arc::new(source));
        self
    }

    /// Sets how many sources must tell a price and agree: more than half of them by default. It is never less than more
    /// than half of those that tell one.
    ///
    /// ```
    /// use tollway_seller::{FileSource, Guard};
    /// let guard = Guard::new(FileSource::new("a.json", "/EURC")).source(FileSource::new("b.json", "/EURC"));
    /// let both = guard.min_sources(2);
    /// ```
    pub const fn min_sources(mut self, count: usize) -> Self {
        self.min_sources = Some(count);
        self
    }

    /// Sets between which prices, in dollars, the asset is offered: for an asset that is no dollar there is no default.
    ///
    /// ```
    /// use tollway_seller::{FileSource, Guard};
    /// let guard = Guard::new(FileSource::new("rates.json", "/EURC")).band("0.95", "1.35");
    /// ```
    pub fn band(mut self, lowest: impl Into<String>, highest: impl Into<String>) -> Self {
        self.band = Some((lowest.into(), highest.into()));
        self
    }

    /// Sets for how long a price counts: 120 s by default.
    ///
    /// ```
    /// use tollway_seller::{FileSource, Guard};
    /// let daily = Guard::new(FileSource::new("rates.json", "/EURC")).max_age_seconds(36 * 3600);
    /// ```
    pub const fn max_age_seconds(mut self, seconds: u64) -> Self {
        self.max_age_seconds = seconds;
        self
    }

    /// Sets how far from the median a source may be and agree, as a share: 0.01 by default.
    ///
    /// ```
    /// use tollway_seller::{FileSource, Guard};
    /// let guard = Guard::new(FileSource::new("rates.json", "/EURC")).spread("0.002");
    /// ```
    pub fn spread(mut self, share: impl Into<String>) -> Self {
        self.spread = share.into();
        self
    }

    /// Sets how much less than now's price a payment may be worth that was signed for an offer shown shortly before, as a
    /// share: 0.005 by default, 0.05 at most. It is what a buyer may win who waits for the rate to move.
    ///
    /// ```
    /// use tollway_seller::{FileSource, Guard};
    /// let guard = Guard::new(FileSource::new("rates.json", "/EURC")).drift("0.001");
    /// ```
    pub fn drift(mut self, share: impl Into<String>) -> Self {
        self.drift = share.into();
        self
    }

    /// Sets how often the sources are asked: every 10 s by default, at most ten times a second.
    ///
    /// ```
    /// use tollway_seller::{FileSource, Guard};
    /// let guard = Guard::new(FileSource::new("rates.json", "/EURC")).every_ms(1_000);
    /// ```
    pub const fn every_ms(mut self, milliseconds: u64) -> Self {
        self.every = Duration::from_millis(milliseconds);
        self
    }

    /// The rules in numbers, for an asset that stands for a dollar or not.
    pub(crate) fn rules(&self, is_usd: bool) -> Result<Rules, String> {
        let decimal = |name: &str, text: &str| -> Result<Decimal, String> {
            text.parse().map_err(|error| format!("{name} {text:?} {error}"))
        };
        let share = |name: &str, text: &str| -> Result<Decimal, String> {
            let share = decimal(name, text)?;
            Decimal::ONE.checked_add(share).ok_or_else(|| format!("{name} {text:?} is too large"))
        };
        let band = match &self.band {
            Some((lowest, highest)) => (decimal("band", lowest)?, decimal("band", highest)?),
            None if is_usd => (decimal("band", "0.98")?, decimal("band", "1.02")?),
            None => {
                return Err("no dollar: its guard needs a band, such as band(\"0.95\", \"1.35\")".to_owned());
            }
        };
        if band.0 > band.1 {
            return Err(format!("band: {} must not be above {}", band.0, band.1));
        }
        let count = self.sources.len();
        let min_sources = self.min_sources.unwrap_or(count / 2 + 1);
        if count > MAX_SOURCES || min_sources == 0 || min_sources > count {
            return Err(format!("min_sources: must be 1 to {count} of at most {MAX_SOURCES} sources"));
        }
        if self.max_age_seconds == 0 {
            return Err("max_age_seconds: must be more than 0".to_owned());
        }
        if self.every < MIN_EVERY {
            return Err(format!("every_ms: must be at least {}", MIN_EVERY.as_millis()));
        }
        if decimal("drift", &self.drift)? > decimal("drift", MAX_DRIFT)? {
            return Err(format!("drift: must be at most {MAX_DRIFT}"));
        }
        let (spread, drift) = (share("spread", &self.spread)?, share("drift", &self.drift)?);
        let (max_age_seconds, every) = (self.max_age_seconds, self.every);
        Ok(Rules { band, max_age_seconds, min_sources, spread, drift, every })
    }

    /// Whether both ask the same sources: then they are asked once.
    pub(crate) fn shares_sources(&self, other: &Self) -> bool {
        let pairs = self.sources.iter().zip(&other.sources);
        self.sources.len() == other.sources.len() && pairs.into_iter().all(|(one, two)| Arc::ptr_eq(one, two))
    }
}

/// A guard's rules. Shares are kept with one added: 1.005.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) band: (Decimal, Decimal),
    pub(crate) max_age_seconds: u64,
    pub(crate) min_sources: usize,
    pub(crate) spread: Decimal,
    pub(crate) drift: Decimal,
    pub(crate) every: Duration,
}

/// What is known of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Nothing yet.
    Silent,
    /// What it told last, and when that was known.
    Told(Decimal, UnixTime),
    /// Its last answer is no price.
    Wrong,
}

impl Reading {
    /// What is known after the source, asked at `asked`, has answered `answer`.
    pub(crate) fn after(&self, answer: &Result<Quote, SourceError>, asked: UnixTime) -> Self {
        match answer {
            Err(SourceError::NoAnswer(_)) => self.clone(),
            Err(_) => Self::Wrong,
            Ok(quote) => {
                let at = quote.at.unwrap_or(asked);
                match self {
                    _ if at > asked.plus_seconds(MAX_AHEAD_SECONDS) => Self::Wrong,
                    // Caches on the way answer out of order.
                    Self::Told(_, known) if *known > at => self.clone(),
                    _ => Self::Told(quote.dollars, at),
                }
            }
        }
    }
}

/// Why an asset is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Withdrawal {
    /// Too few sources have told a price that is new enough.
    Stale,
    /// The last answers of too many are no prices.
    Unreadable,
    /// They do not agree.
    Contradictory,
    /// The price is outside the band.
    OutOfBand,
}

impl Withdrawal {
    /// The reason in one word, as metrics have it.
    ///
    /// ```
    /// assert_eq!(tollway_seller::Withdrawal::OutOfBand.as_str(), "out_of_band");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Unreadable => "unreadable",
            Self::Contradictory => "contradictory",
            Self::OutOfBand => "out_of_band",
        }
    }
}

/// A price that may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) dollars: Decimal,
    /// The last second in which it may be asked.
    pub(crate) good_until: UnixTime,
}

/// What the readings come to at `now`.
pub(crate) fn judge(rules: &Rules, readings: &[Reading], now: UnixTime) -> Result<Rate, Withdrawal> {
    let fresh = |reading: &Reading| match reading {
        Reading::Told(dollars, at) => {
            let until = at.plus_seconds(rules.max_age_seconds);
            // A clock that was set back must not make an old price new.
            (now <= until && *at <= now.plus_seconds(MAX_AHEAD_SECONDS)).then_some((*dollars, until))
        }
        _ => None,
    };
    let mut told: Vec<(Decimal, UnixTime)> = readings.iter().filter_map(fresh).collect();
    if told.is_empty() || told.len() < rules.min_sources {
        let is_wrong = readings.contains(&Reading::Wrong);
        return Err(if is_wrong { Withdrawal::Unreadable } else { Withdrawal::Stale });
    }
    told.sort_unstable();
    let (median, _) = told[(told.len() - 1) / 2];
    let needed = rules.min_sources.max(told.len() / 2 + 1);
    let agrees = |dollars: Decimal| {
        dollars.is_at_most(median, rules.spread) && median.is_at_most(dollars, rules.spread)
    };
    told.retain(|(dollars, _)| agrees(*dollars));
    if told.len() < needed {
        return Err(Withdrawal::Contradictory);
    }
    // The lower of two: a seller who is told two prices asks for more, not for less.
    let (dollars, _) = told[(told.len() - 1) / 2];
    if dollars < rules.band.0 || dollars > rules.band.1 {
        return Err(Withdrawal::OutOfBand);
    }
    let good_until = told.iter().map(|(_, until)| *until).min().unwrap_or(now);
    Ok(Rate { dollars, good_until })
}

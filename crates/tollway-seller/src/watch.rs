//! The watches of a paywall: asks the sources of its guards again and again, and knows which assets are offered now.
//!
//! Requests read a snapshot and wait for nobody. A snapshot ends by itself with the first price in it that is too old, so
//! that a source that hangs withdraws its asset as one does that is gone. What a price means is decided in
//! [`crate::guard`].

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::{Mutex, RwLock};
use tollway_core::{Clock, Decimal, Network, UnixTime};

use crate::coin::Label;
use crate::guard::{Guard, Rate, Reading, Rules, Withdrawal, judge};
use crate::paywall::Core;
use crate::price_source::SourceError;
use crate::telemetry;

/// A source that has not answered by then has not answered, whatever its own limit.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(10);

/// All guards of a paywall, each with the assets that it watches.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    watches: Vec<Watch>,
    /// What each knows, in the order of the guards. Held for no longer than it takes to judge.
    readings: Mutex<Vec<Vec<Reading>>>,
    snapshot: RwLock<Arc<Snapshot>>,
}

#[derive(Debug)]
struct Watch {
    guard: Guard,
    rules: Rules,
    assets: Vec<AssetName>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct AssetName {
    network: Network,
    symbol: String,
    asset: String,
}

/// What holds until the next: by its identity offers know whether they are made of it.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    verdicts: Vec<Result<Rate, Withdrawal>>,
    /// When it was made.
    made_at: UnixTime,
    /// The last second of it; none if only new prices end it.
    good_until: Option<UnixTime>,
}

/// An asset with a guard, as it stands: [`Paywall::assets`](crate::Paywall::assets).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedAsset {
    /// Where it is.
    pub network: Network,
    /// What it is called.
    pub symbol: String,
    /// The asset: on EVM its contract.
    pub asset: String,
    /// What one is worth in dollars, or why it is not offered.
    pub standing: Result<Decimal, Withdrawal>,
}

impl Snapshot {
    /// The rate of a watch, or why there is none.
    pub(crate) fn verdict(&self, watch: usize) -> Result<Decimal, Withdrawal> {
        match self.verdicts.get(watch) {
            Some(verdict) => verdict.map(|rate| rate.dollars),
            None => Err(Withdrawal::Stale),
        }
    }

    /// When it was made.
    pub(crate) const fn made_at(&self) -> UnixTime {
        self.made_at
    }
}

impl Watches {
    /// Adds an asset under `guard`; says by which number its standing is asked for. One guard for several assets is asked
    /// once.
    pub(crate) fn add(&mut self, guard: &Guard, rules: Rules, label: Label<'_>) -> usize {
        let (network, symbol, asset) = (label.0.clone(), label.1.to_owned(), label.2.to_owned());
        let name = AssetName { network, symbol, asset };
        let same = |watch: &Watch| watch.rules == rules && watch.guard.shares_sources(guard);
        let at = self.watches.iter().position(same).unwrap_or_else(|| {
            self.watches.push(Watch { guard: guard.clone(), rules, assets: Vec::new() });
            self.readings.get_mut().push(vec![Reading::Silent; guard.sources.len()]);
            self.watches.len() - 1
        });
        if let Some(watch) = self.watches.get_mut(at)
            && !watch.assets.contains(&name)
        {
            watch.assets.push(name);
        }
        at
    }

    /// What holds at `now`.
    pub(crate) fn snapshot(&self, now: UnixTime) -> Arc<Snapshot> {
        let snapshot = Arc::clone(&self.snapshot.read());
        // Before it was made too: a clock that was set back must not keep prices for longer.
        let is_over = snapshot.good_until.is_some_and(|until| now > until || now < snapshot.made_at);
        if is_over { self.judge(now) } else { snapshot }
    }

    /// Asks every source once. Nothing is offered before that which has a guard.
    pub(crate) async fn open(&self, clock: &dyn Clock) {
        join_all((0..self.watches.len()).map(|watch| self.refresh(watch, clock))).await;
        let snapshot = self.judge(clock.now());
        for (watch, verdict) in self.watches.iter().zip(&snapshot.verdicts) {
            watch.tell(*verdict);
        }
    }

    /// One task for each guard that asks again and again, for as long as there is a paywall.
    pub(crate) fn tasks(core: &Arc<Core>) -> Vec<impl Future<Output = ()> + Send + 'static> {
        let task = |(index, watch): (usize, &Watch)| {
            let (core, every): (Weak<Core>, Duration) = (Arc::downgrade(core), watch.rules.every);
            async move {
                loop {
                    tokio::time::sleep(every).await;
                    let Some(core) = core.upgrade() else { return };
                    core.watches.refresh(index, core.clock.as_ref()).await;
                    core.watches.judge(core.clock.now());
                }
            }
        };
        core.watches.watches.iter().enumerate().map(task).collect()
    }

    /// Every asset with a guard.
    pub(crate) fn assets(&self, now: UnixTime) -> Vec<WatchedAsset> {
        let snapshot = self.snapshot(now);
        let of_watch = |(index, watch): (usize, &Watch)| {
            let standing = snapshot.verdict(index);
            let asset = move |name: &AssetName| {
                let AssetName { network, symbol, asset } = name.clone();
                WatchedAsset { network, symbol, asset, standing }
            };
            watch.assets.iter().map(asset).collect::<Vec<_>>()
        };
        self.watches.iter().enumerate().flat_map(of_watch).collect()
    }

    /// How far against the seller the rate of a watch may have moved since it was shown, with one added.
    pub(crate) fn drift(&self, watch: usize) -> Decimal {
        self.watches.get(watch).map_or(Decimal::ONE, |watch| watch.rules.drift)
    }

    /// How long a rate of a watch is shown before it is asked for again, rounded up.
    pub(crate) fn every_seconds(&self, watch: usize) -> u64 {
        self.watches.get(watch).map_or(0, |watch| watch.rules.every.as_secs().saturating_add(1))
    }

    /// Asks the sources of one guard, all at once.
    async fn refresh(&self, index: usize, clock: &dyn Clock) {
        let Some(watch) = self.watches.get(index) else { return };
        let asked = clock.now();
        let ask = watch.guard.sources.iter().map(|source| async move {
            let answer = tokio::time::timeout(SOURCE_TIMEOUT, source.quote()).await;
            let answer = answer.unwrap_or_else(|_| Err(SourceError::NoAnswer("took too long".to_owned())));
            if let Err(error) = &answer {
                tracing::warn!(source = source.name(), %error, "a price source tells no price");
            }
            answer
        });
        let answers = join_all(ask).await;
        if let Some(readings) = self.readings.lock().get_mut(index) {
            for (reading, answer) in readings.iter_mut().zip(&answers) {
                *reading = reading.after(answer, asked);
            }
        }
    }

    /// Judges all that is known, and tells what has changed.
    fn judge(&self, now: UnixTime) -> Arc<Snapshot> {
        // Both are written under one lock: of two who judge, the later one must not publish what is older.
        let readings = self.readings.lock();
        let watches = self.watches.iter().zip(readings.iter());
        let verdicts: Vec<_> = watches.map(|(watch, readings)| judge(&watch.rules, readings, now)).collect();
        let good_until = verdicts.iter().flatten().map(|rate| rate.good_until).min();
        let fresh = Arc::new(Snapshot { verdicts, made_at: now, good_until });
        let before = std::mem::replace(&mut *self.snapshot.write(), Arc::clone(&fresh));
        drop(readings);
        for (watch, (was, is)) in self.watches.iter().zip(before.verdicts.iter().zip(&fresh.verdicts)) {
            if was.map(|_| ()) != is.map(|_| ()) {
                watch.tell(*is);
            }
        }
        fresh
    }
}

impl Watch {
    /// To the log and the metrics.
    fn tell(&self, verdict: Result<Rate, Withdrawal>) {
        for AssetName { network, symbol, .. } in &self.assets {
            telemetry::asset(network, symbol, verdict.err());
            match verdict {
                Ok(rate) => tracing::info!(%network, symbol, dollars = %rate.dollars, "an asset is offered"),
                Err(reason) => {
                    let reason = reason.as_str();
                    tracing::warn!(%network, symbol, reason, "an asset is withdrawn from offers");
                }
            }
        }
    }
}

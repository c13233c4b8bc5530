//! One round: channels that are due are looked at, claimed or left for later; then what was claimed is paid out. Rounds of
//! several sellers on one ledger share the channels out among them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tollway_core::model::{FacilitatorRequest, Outcome, SettleResponse};
use tollway_core::{
    Amount, ChannelKey, ChannelScheme, ChannelWitness, Clock, Facilitator, FacilitatorError, Network,
    SellerScheme, SystemClock, UnixTime,
};
use tollway_ledger::{Channel, Ledger, LedgerError};

use super::policy::{ClaimPolicy, Group, Tariff};
use super::sweep::Sweep;
use super::waiting::{Company, Waiting};
use crate::channel::record::SCOPE;
use crate::membership::bounded;
use crate::telemetry;

/// How many channels that are due one round takes, and how many at once.
const MAX_TAKEN: usize = 2_000;
const PAGE: u32 = 250;
/// How many rounds one call makes at most: what is left is due still.
const MAX_ROUNDS: usize = 8;
/// How many claims are asked for at once.
const MAX_CLAIMS: usize = 4;
/// What a round may take beyond the facilitator's deadlines before another seller takes the channels.
const SLACK_SECONDS: u64 = 30;
/// How long whoever knows what claims cost may take.
const COSTS_DEADLINE: Duration = Duration::from_secs(5);
const ASKED_WITHIN: Duration = Duration::from_secs(95);

/// Claims what was charged on a seller's channels, pays it out, gives back what nobody uses. A paywall has one and runs it
/// ([`Paywall::claims`](crate::Paywall::claims)); by itself it serves programs that only look after a seller's ledger.
#[derive(Debug)]
pub struct ClaimWorker {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) facilitator: Arc<dyn Facilitator>,
    pub(crate) schemes: Vec<Arc<dyn SellerScheme>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) witness: Option<Arc<dyn ChannelWitness>>,
    pub(crate) policy: ClaimPolicy,
    pub(crate) asked_within: Duration,
    pub(crate) sweep: Mutex<Sweep>,
}

/// What came of asking for something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimEnd {
    /// It is done, by this transaction if it is known.
    Done(String),
    /// Nothing moved, and why.
    Refused(String),
    /// Nobody knows yet, and why: it is asked for again.
    Pending(String),
}

/// One thing that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClaimStep {
    /// `claim`, `settle` or `refund`.
    pub operation: &'static str,
    /// Where.
    pub network: Network,
    /// The token.
    pub asset: String,
    /// Whose money it becomes.
    pub receiver: String,
    /// Of which channels.
    pub channels: Vec<ChannelKey>,
    /// How much: what a claim adds, what is paid out or given back as the facilitator tells.
    pub amount: Amount,
    /// What came of it.
    pub end: ClaimEnd,
}

/// What a round did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClaimOutcome {
    /// What was asked for, in this order.
    pub steps: Vec<ClaimStep>,
    /// How many channels wait for company.
    pub deferred: usize,
    /// Channels that could not be read or written now.
    pub troubled: usize,
}

/// Which channels a round is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// Those of which policy says so.
    Policy,
    /// All with something to claim.
    All,
}

impl ClaimWorker {
    /// Works on `ledger` through `facilitator`, for channels of `schemes`; by default with the usual policy, the system's
    /// clock, and the facilitator's word for what stands behind channels.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_core::Facilitator;
    /// use tollway_evm::{AssetTable, batch_settlement::BatchSettlement};
    /// use tollway_ledger::MemoryLedger;
    /// use tollway_seller::ClaimWorker;
    /// # async fn demo(facilitator: Arc<dyn Facilitator>) -> Result<(), tollway_ledger::LedgerError> {
    /// let scheme = Arc::new(BatchSettlement::new(AssetTable::known()));
    /// let worker = ClaimWorker::new(Arc::new(MemoryLedger::new()), facilitator, vec![scheme]);
    /// assert!(worker.run_due().await?.steps.is_empty());
    /// # Ok(()) }
    /// ```
    pub fn new(
        ledger: Arc<dyn Ledger>,
        facilitator: Arc<dyn Facilitator>,
        schemes: Vec<Arc<dyn SellerScheme>>,
    ) -> Self {
        Self {
            ledger,
            facilitator,
            schemes,
            clock: Arc::new(SystemClock),
            witness: None,
            policy: ClaimPolicy::default(),
            asked_within: ASKED_WITHIN,
            sweep: Mutex::default(),
        }
    }

    /// Tells the time by `clock`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_core::SystemClock;
    /// use tollway_seller::ClaimWorker;
    /// fn timed(worker: ClaimWorker) -> ClaimWorker {
    ///     worker.with_clock(Arc::new(SystemClock))
    /// }
    /// ```
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Has what stands behind channels read by `witness`, and no claim believed before it is seen.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_core::ChannelWitness;
    /// use tollway_seller::ClaimWorker;
    /// fn seeing(worker: ClaimWorker, node: Arc<dyn ChannelWitness>) -> ClaimWorker {
    ///     worker.with_witness(node)
    /// }
    /// ```
    #[must_use]
    pub fn with_witness(mut self, witness: Arc<dyn ChannelWitness>) -> Self {
        self.witness = Some(witness);
        self
    }

    /// Claims by `policy`.
    ///
    /// ```
    /// use tollway_seller::{ClaimPolicy, ClaimWorker};
    /// fn daily(worker: ClaimWorker) -> ClaimWorker {
    ///     worker.with_policy(ClaimPolicy::default().max_age_seconds(86_400))
    /// }
    /// ```
    #[must_use]
    pub fn with_policy(mut self, policy: ClaimPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// One round over the channels that are due: those that policy says are claimed, and what was claimed is paid out.
    ///
    /// # Errors
    /// [`LedgerError`]: the ledger did not tell what is due. What was asked before stays written down.
    ///
    /// ```
    /// use tollway_ledger::LedgerError;
    /// use tollway_seller::ClaimWorker;
    /// async fn asked(worker: &ClaimWorker) -> Result<usize, LedgerError> {
    ///     Ok(worker.run_due().await?.steps.len())
    /// }
    /// ```
    pub async fn run_due(&self) -> Result<ClaimOutcome, LedgerError> {
        let mut outcome = ClaimOutcome::default();
        for _ in 0..MAX_ROUNDS {
            let due = self.take_due().await?;
            let is_last = due.len() < MAX_TAKEN;
            let rows = self.look(self.read(due, &mut outcome)).await;
            let rest = self.refund_idle(rows, &mut outcome).await;
            self.work(rest, Wish::Policy, &mut outcome).await;
            if is_last {
                break;
            }
        }
        self.pay_out(false, &mut outcome).await?;
        Ok(outcome)
    }

    /// Claims all that was charged, or what was charged on `only`, whatever policy says. With nothing left out of a claim it
    /// says which channels it was about.
    ///
    /// # Errors
    /// [`LedgerError`].
    ///
    /// ```
    /// use tollway_ledger::LedgerError;
    /// use tollway_seller::{ClaimOutcome, ClaimWorker};
    /// async fn everything(worker: &ClaimWorker) -> Result<ClaimOutcome, LedgerError> {
    ///     worker.claim(&[]).await
    /// }
    /// ```
    pub async fn claim(&self, only: &[ChannelKey]) -> Result<ClaimOutcome, LedgerError> {
        let mut outcome = ClaimOutcome::default();
        let mut after: Option<ChannelKey> = None;
        loop {
            let page = bounded(self.ledger.channel_list(SCOPE, after.as_ref(), PAGE)).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            let wanted = page.into_iter().filter(|channel| only.is_empty() || only.contains(&channel.id));
            let rows = self.read(wanted.collect(), &mut outcome);
            let open = |row: &Waiting| row.unclaimed() > Amount::ZERO || row.record.claim.note.is_some();
            let rows = self.look(rows.into_iter().filter(open).collect()).await;
            self.work(rows, Wish::All, &mut outcome).await;
        }
        Ok(outcome)
    }

    /// Has all that was claimed paid out, to every receiver that this ledger knows of.
    ///
    /// # Errors
    /// [`LedgerError`].
    ///
    /// ```
    /// use tollway_ledger::LedgerError;
    /// use tollway_seller::{ClaimOutcome, ClaimWorker};
    /// async fn paid_out(worker: &ClaimWorker) -> Result<ClaimOutcome, LedgerError> {
    ///     worker.settle().await
    /// }
    /// ```
    pub async fn settle(&self) -> Result<ClaimOutcome, LedgerError> {
        let mut outcome = ClaimOutcome::default();
        self.pay_out(true, &mut outcome).await?;
        Ok(outcome)
    }

    /// Whether there are channels to claim, and it is not left to somebody else.
    pub(crate) fn is_at_work(&self) -> bool {
        self.policy.is_automatic && !self.schemes.is_empty()
    }

    /// How the channels of a network and scheme are claimed.
    pub(super) fn scheme(
        &self,
        network: &Network,
        name: &str,
    ) -> Option<(&dyn SellerScheme, &dyn ChannelScheme)> {
        let fits = |scheme: &&Arc<dyn SellerScheme>| scheme.name().as_str() == name && scheme.covers(network);
        let scheme = self.schemes.iter().find(fits)?;
        Some((scheme.as_ref(), scheme.channel()?))
    }

    /// When others may take what this one is at.
    pub(super) fn lease_end(&self) -> UnixTime {
        self.clock.now().plus_seconds(self.asked_within.as_secs().saturating_add(SLACK_SECONDS))
    }

    /// Asks the facilitator, once.
    pub(super) async fn ask(&self, request: FacilitatorRequest) -> Asked {
        let network = request.requirements.network.clone();
        let asked = tokio::time::timeout(self.asked_within, self.facilitator.settle(request)).await;
        let late = || Err(FacilitatorError::NoAnswer("settle took too long".to_owned()));
        match asked.unwrap_or_else(|_| late()) {
            Err(FacilitatorError::Refused { code, detail }) => Asked::Refused(format!("{code}: {detail}")),
            Err(error) => Asked::Unknown(error.to_string()),
            Ok(answer) => match answer.outcome() {
                Outcome::Settled if answer.network == network => Asked::Done(Box::new(answer)),
                Outcome::Settled => Asked::Unknown(format!("settle claims success on {}", answer.network)),
                Outcome::Pending => Asked::Unknown(format!("pending: {}", answer.transaction)),
                Outcome::Failed => {
                    let code = answer.error_reason.as_ref().map_or("no reason", |code| code.as_str());
                    Asked::Refused(code.to_owned())
                }
            },
        }
    }

    async fn take_due(&self) -> Result<Vec<Channel>, LedgerError> {
        let mut taken = Vec::new();
        while taken.len() < MAX_TAKEN {
            let due = self.ledger.channel_due(SCOPE, self.clock.now(), self.lease_end(), PAGE);
            match bounded(due).await {
                Ok(page) if page.is_empty() => break,
                Ok(page) => taken.extend(page),
                // What was taken is worked with; the rest is due still.
                Err(error) if !taken.is_empty() => {
                    tracing::warn!(%error, "not all channels that are due could be taken");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    /// A row that is no channel is nobody else's trouble.
    pub(super) fn read(&self, channels: Vec<Channel>, outcome: &mut ClaimOutcome) -> Vec<Waiting> {
        let mut read = Vec::with_capacity(channels.len());
        for channel in channels {
            let key = channel.id.clone();
            match Waiting::of(channel) {
                Ok(row) => read.push(row),
                Err(error) => {
                    tracing::error!(%error, channel = %key, "a channel cannot be read, and is not claimed");
                    telemetry::channel_alarm("corrupt");
                    outcome.troubled += 1;
                }
            }
        }
        read
    }

    async fn work(&self, rows: Vec<Waiting>, wish: Wish, outcome: &mut ClaimOutcome) {
        let now = self.clock.now();
        let mut batches: BTreeMap<String, Vec<Waiting>> = BTreeMap::new();
        let mut companies: BTreeMap<Company, Vec<Waiting>> = BTreeMap::new();
        for row in rows {
            match &row.record.claim.note {
                // It was asked for: whatever else was charged since, its fate comes first.
                Some(note) => batches.entry(note.batch.clone()).or_default().push(row),
                None => companies.entry(row.company()).or_default().push(row),
            }
        }
        let mut claims: Vec<Vec<Waiting>> = batches.into_values().collect();
        let mut later = Vec::new();
        for (company, rows) in companies {
            let (chosen, left) = self.choose(&company, rows, wish).await;
            later.extend(left);
            claims.extend(self.split(chosen));
        }
        // Who can lose it soonest first.
        claims.sort_by_key(|rows| {
            let urgent = rows.iter().filter(|row| row.is_urgent(now));
            urgent.map(Waiting::deadline).min().unwrap_or(UnixTime(u64::MAX))
        });
        self.claim_all(claims, outcome).await;
        self.defer(later, outcome).await;
    }

    async fn claim_all(&self, claims: Vec<Vec<Waiting>>, outcome: &mut ClaimOutcome) {
        let mut claims = claims.into_iter().peekable();
        while claims.peek().is_some() {
            let some: Vec<_> = claims.by_ref().take(MAX_CLAIMS).map(|rows| self.pursue(rows)).collect();
            for pursued in futures_util::future::join_all(some).await {
                outcome.steps.extend(pursued.steps);
                outcome.troubled += pursued.troubled;
            }
        }
    }

    /// Which of those that can be claimed together are claimed now, and which wait.
    async fn choose(
        &self,
        company: &Company,
        rows: Vec<Waiting>,
        wish: Wish,
    ) -> (Vec<Waiting>, Vec<Waiting>) {
        let now = self.clock.now();
        let is_open = |row: &Waiting| row.unclaimed() > Amount::ZERO;
        let (open, mut later): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_open);
        let Some(first) = open.first() else { return (open, later) };
        if wish == Wish::All {
            return (open, later);
        }
        let network = first.offer.network.clone();
        let money = |money| self.scheme(&network, &company.scheme)?.0.money_in(money, &first.offer);
        let threshold = self.policy.value_at_risk.as_ref().and_then(money);
        let tariff = self.tariff(first, company).await;
        let (mut chosen, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(|row| row.is_urgent(now));
        let worth = |row: &Waiting| self.policy.is_worth(row.unclaimed(), tariff.as_ref());
        let (worthy, dust): (Vec<_>, Vec<_>) = rest.into_iter().partition(worth);
        later.extend(dust);
        let since = worthy.iter().map(|row| row.record.claim.since).filter(|since| *since != 0).min();
        let group = Group {
            channels: worthy.len(),
            brings: worthy
                .iter()
                .fold(Amount::ZERO, |sum, row| sum.checked_add(row.unclaimed()).unwrap_or(Amount::MAX)),
            since: since.map_or(now, UnixTime),
            threshold,
            tariff,
        };
        if self.policy.is_ready(&group, now) {
            chosen.extend(worthy);
        } else {
            later.extend(worthy);
        }
        (chosen, later)
    }

    async fn tariff(&self, first: &Waiting, company: &Company) -> Option<Tariff> {
        let costs = self.policy.costs.as_ref()?;
        let cost = tokio::time::timeout(COSTS_DEADLINE, costs.now(&first.offer.network)).await.ok()??;
        let (scheme, _) = self.scheme(&first.offer.network, &company.scheme)?;
        Some(Tariff {
            per_claim: scheme.money_in(&cost.per_claim, &first.offer)?,
            per_channel: scheme.money_in(&cost.per_channel, &first.offer)?,
        })
    }

    /// Full transactions; those who were refused before are alone.
    fn split(&self, mut rows: Vec<Waiting>) -> Vec<Vec<Waiting>> {
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        let (suspect, good): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.record.claim.refusals > 0);
        let most = self.policy.max_channels_per_claim.max(1);
        let mut claims: Vec<Vec<Waiting>> = Vec::new();
        for row in good {
            match claims.last_mut().filter(|claim| claim.len() < most) {
                Some(claim) => claim.push(row),
                None => claims.push(vec![row]),
            }
        }
        claims.extend(suspect.into_iter().map(|row| vec![row]));
        claims
    }

    /// Leaves channels for later.
    async fn defer(&self, rows: Vec<Waiting>, outcome: &mut ClaimOutcome) {
        let now = self.clock.now();
        for row in rows {
            let is_waiting = row.unclaimed() > Amount::ZERO;
            outcome.deferred += usize::from(is_waiting);
            let written = self.write(row, |row| {
                let is_open = row.unclaimed() > Amount::ZERO;
                let since = row.record.claim.since;
                row.record.claim.since = match (is_open, since) {
                    (false, _) => 0,
                    (true, 0) => now.0,
                    (true, since) => since,
                };
                row.row.due = row.next_due(&self.policy, now);
                true
            });
            outcome.troubled += usize::from(written.await.is_none());
        }
    }

    /// Changes a channel; none if that is not written, and it is due again when its lease ends.
    pub(super) async fn write(
        &self,
        mut row: Waiting,
        change: impl Fn(&mut Waiting) -> bool + Send,
    ) -> Option<Waiting> {
        let now = self.clock.now();
        match row.change(self.ledger.as_ref(), now, change).await {
            Ok(true) => Some(row),
            Ok(false) => {
                tracing::debug!(channel = %row.key, "a channel is left to whoever writes it");
                None
            }
            Err(error) => {
                tracing::warn!(%error, channel = %row.key, "a channel is not written");
                None
            }
        }
    }
}

/// The facilitator's answer.
#[derive(Debug)]
pub(super) enum Asked {
    Done(Box<SettleResponse>),
    /// Nothing moved.
    Refused(String),
    Unknown(String),
}

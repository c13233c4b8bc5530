//! Questions in the ledger: written down, and looked at until somebody has decided, on whatever machine, or their time is
//! over. Who waits ends the question when it gives up, in one write; so an answer that comes later finds it ended, and is
//! told so.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use tollway_core::{BoxFuture, Clock, UnixTime};
use tollway_ledger::{Fact, Ledger, LedgerError};

use crate::approve::{Approver, Inquiry, NotApproved};
use crate::policy::names::FactName;

/// How often the ledger is asked for the answer.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// How long one answer of the ledger may take.
const LEDGER_DEADLINE: Duration = Duration::from_secs(5);
/// How many questions of one wallet may wait: an agent out of hand must not bury the one that matters.
const MAX_WAITING: usize = 64;
/// How many are remembered, with those that are over.
const MAX_REMEMBERED: usize = 4_096;
/// How long a question stays readable after its time.
const KEEP_SECONDS: u64 = 86_400;
/// How many of those that are past that are forgotten before another is asked.
const SWEEP: u32 = 64;
/// How many questions are read at once.
const PAGE: u32 = 256;

/// Asks by the ledger: `tollway wallet approvals` finds the questions there.
#[derive(Clone, Debug)]
pub struct QueueApprover {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
}

/// A question in the ledger, with what became of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueuedInquiry {
    /// The question.
    pub inquiry: Inquiry,
    /// The answer; none while there is none.
    pub decided: Option<Decided>,
    version: u64,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// Somebody said yes, in time.
    Approved,
    /// Somebody said no.
    Denied,
    /// Nobody said anything in time.
    Expired,
}

impl QueueApprover {
    /// Asks by `ledger`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_core::SystemClock;
    /// let ledger = Arc::new(tollway_ledger::MemoryLedger::default());
    /// let queue = tollway_buyer::QueueApprover::new(ledger, Arc::new(SystemClock));
    /// # drop(queue);
    /// ```
    pub fn new(ledger: Arc<dyn Ledger>, clock: Arc<dyn Clock>) -> Self {
        Self { ledger, clock }
    }

    /// Every question of `wallet` that is remembered, in the order of their names.
    ///
    /// # Errors
    /// The ledger's.
    ///
    /// ```
    /// # use tollway_buyer::QueueApprover;
    /// # async fn count(queue: &QueueApprover) -> Result<(), Box<dyn std::error::Error>> {
    /// let waiting = queue.list("0xabc").await?.into_iter().filter(|question| question.decided.is_none());
    /// println!("{} wait", waiting.count());
    /// # Ok(()) }
    /// ```
    pub async fn list(&self, wallet: &str) -> Result<Vec<QueuedInquiry>, LedgerError> {
        let scope = FactName::approval(wallet, "").scope;
        let (mut found, mut after): (Vec<QueuedInquiry>, Option<String>) = (Vec::new(), None);
        loop {
            let page = self.ledger.fact_list(&scope, after.as_deref(), PAGE).await?;
            after = page.last().map(|fact| fact.name.clone());
            let is_last = page.len() < PAGE as usize;
            found.extend(page.iter().filter_map(QueuedInquiry::read));
            if is_last {
                return Ok(found);
            }
        }
    }

    /// Answers the question `id`. None: it is not there. Otherwise what became of it, which is another's answer if that was
    /// first, and [`Decided::Expired`] if its time is over.
    ///
    /// # Errors
    /// The ledger's. Then the answer may or may not count.
    ///
    /// ```
    /// # use tollway_buyer::{Decided, QueueApprover};
    /// # async fn yes(queue: &QueueApprover, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(queue.decide("0xabc", id, true).await?, Some(Decided::Approved));
    /// # Ok(()) }
    /// ```
    pub async fn decide(&self, wallet: &str, id: &str, yes: bool) -> Result<Option<Decided>, LedgerError> {
        let name = FactName::approval(wallet, id);
        loop {
            let Some(fact) = self.ledger.fact_get(&name.scope, &name.name).await? else { return Ok(None) };
            let Some(queued) = QueuedInquiry::read(&fact) else { return Ok(None) };
            if let Some(decided) = queued.decided {
                return Ok(Some(decided));
            }
            let now = self.clock.now();
            let decided = match yes {
                _ if now >= queued.inquiry.until => Decided::Expired,
                true => Decided::Approved,
                false => Decided::Denied,
            };
            if self.ledger.fact_put(queued.fact(&name, Some((decided, now)))).await? {
                return Ok(Some(decided));
            }
        }
    }

    async fn wait(&self, inquiry: &Inquiry) -> Result<(), NotApproved> {
        let now = self.clock.now();
        self.in_time(self.ledger.fact_sweep(now, SWEEP)).await?;
        let remembered = self.in_time(self.list(&inquiry.wallet)).await?;
        if remembered.len() >= MAX_REMEMBERED {
            return Err(NotApproved::Unavailable(format!("{MAX_REMEMBERED} questions were asked today")));
        }
        let waiting = remembered.iter().filter(|other| other.decided.is_none() && other.inquiry.until > now);
        if waiting.count() >= MAX_WAITING {
            return Err(NotApproved::Unavailable(format!("{MAX_WAITING} questions wait already")));
        }
        let name = FactName::approval(&inquiry.wallet, &inquiry.id);
        let queued = QueuedInquiry { inquiry: inquiry.clone(), decided: None, version: 0 };
        if !self.in_time(self.ledger.fact_put(queued.fact(&name, None))).await? {
            return Err(NotApproved::Unavailable("the question is there already".to_owned()));
        }
        while self.clock.now() < inquiry.until {
            // A ledger that is gone for a moment may be there for the answer.
            if let Ok(Some(fact)) = self.in_time(self.ledger.fact_get(&name.scope, &name.name)).await {
                match QueuedInquiry::read(&fact).map(|queued| queued.decided) {
                    Some(None) => {}
                    Some(Some(decided)) => return answer(decided),
                    None => return Err(NotApproved::Unavailable("the question is spoilt".to_owned())),
                }
            }
            sleep(POLL_EVERY).await;
        }
        // Whoever answers from now on is told that it is over; who was first, counts.
        match self.in_time(self.decide(&inquiry.wallet, &inquiry.id, false)).await? {
            Some(decided) => answer(decided),
            None => Err(NotApproved::TimedOut),
        }
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T, LedgerError>>) -> Result<T, NotApproved> {
        match tokio::time::timeout(LEDGER_DEADLINE, call).await {
            Ok(Ok(told)) => Ok(told),
            Ok(Err(error)) => Err(NotApproved::Unavailable(format!("the ledger: {error}"))),
            Err(_) => Err(NotApproved::Unavailable("the ledger does not answer".to_owned())),
        }
    }
}

impl Approver for QueueApprover {
    fn ask<'a>(&'a self, inquiry: &'a Inquiry) -> BoxFuture<'a, Result<(), NotApproved>> {
        Box::pin(self.wait(inquiry))
    }
}

impl QueuedInquiry {
    fn read(fact: &Fact) -> Option<Self> {
        let object: Value = serde_json::from_str(&fact.value).ok()?;
        let inquiry = Inquiry::from_json(&object["inquiry"])?;
        let decided = match object["state"].as_str()? {
            "asked" => None,
            word => Some(Decided::ALL.into_iter().find(|decided| decided.as_str() == word)?),
        };
        // A question that is filed under another's name is nobody's.
        (inquiry.id == fact.name).then_some(Self { inquiry, decided, version: fact.version })
    }

    fn fact(&self, name: &FactName, decided: Option<(Decided, UnixTime)>) -> Fact {
        let value = json!({
            "state": decided.map_or("asked", |(decided, _)| decided.as_str()),
            "decidedAt": decided.map(|(_, at)| at.0),
            "inquiry": self.inquiry.to_json(),
        });
        Fact {
            scope: name.scope.clone(),
            name: name.name.clone(),
            version: self.version,
            value: value.to_string(),
            until: self.inquiry.until.plus_seconds(KEEP_SECONDS),
        }
    }
}

impl Decided {
    const ALL: [Self; 3] = [Self::Approved, Self::Denied, Self::Expired];

    /// One word for it.
    ///
    /// ```
    /// assert_eq!(tollway_buyer::Decided::Expired.as_str(), "expired");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
        }
    }
}

fn answer(decided: Decided) -> Result<(), NotApproved> {
    match decided {
        Decided::Approved => Ok(()),
        Decided::Denied => Err(NotApproved::Denied),
        Decided::Expired => Err(NotApproved::TimedOut),
    }
}

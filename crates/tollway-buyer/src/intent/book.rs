//! The wallet's book: its way to the intents in the ledger. What a purchase writes while it runs is in [`crate::intent::work`].

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tollway_core::{Amount, Clock, Network, UnixTime};
use tollway_ledger::{
    Condition, Fact, Intent, IntentId, Ledger, LedgerError, MemoryLedger, NewHold, NewIntent, Opened,
    OverBudget,
};

use crate::intent::fate::FateWitness;
use crate::intent::keeper::Keeper;
use crate::intent::key::PurchaseKey;
use crate::intent::member::{LEDGER_DEADLINE, Membership, bounded};
use crate::intent::record::IntentRecord;
use crate::intent::turns::{Turn, Turns};
use crate::intent::work::Work;
use crate::policy::names::FactName;

/// How long a request with a caller's key, or one whose answer was not read, stays the same purchase.
const REPEAT: Duration = Duration::from_secs(24 * 3600);
/// How long purchases are remembered in a ledger that lasts.
const HISTORY_SECONDS: u64 = 3 * 366 * 24 * 3600;
/// How long somebody looks at a purchase whose fate nobody can tell.
const OPEN_SECONDS: u64 = 30 * 24 * 3600;
/// How many purchases a wallet's ledger may remember.
const CAPACITY: u64 = 10_000_000;
const MEMORY_CAPACITY: u64 = 100_000;
/// Who works on an intent is not disturbed for so long.
pub(crate) const UNDISTURBED_SECONDS: u64 = 3600;

/// How a wallet keeps its book.
#[derive(Default)]
pub(crate) struct BookSettings {
    pub(crate) ledger: Option<Arc<dyn Ledger>>,
    pub(crate) name: Option<String>,
    pub(crate) repeat: Option<Duration>,
    pub(crate) witnesses: Vec<Arc<dyn FateWitness>>,
}

/// What a wallet writes down, and where.
pub(crate) struct Book {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) wallet: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) repeat_seconds: u64,
    /// How long closed purchases are kept; open ones that nobody can resolve.
    pub(crate) history_seconds: u64,
    pub(crate) open_seconds: u64,
    capacity: u64,
    /// How many the ledger remembers, when it was last counted.
    pub(crate) count: AtomicU64,
    pub(crate) membership: Membership,
    pub(crate) turns: Turns,
    pub(crate) witnesses: Vec<Arc<dyn FateWitness>>,
    keeper: OnceLock<Keeper>,
    pub(crate) writes: Arc<Writes>,
}

/// What is written in the background and not yet durable.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    under_way: AtomicUsize,
    idle: Notify,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Pending(Arc<Writes>);

/// A purchase to be opened.
pub(crate) struct Opening {
    pub(crate) key: PurchaseKey,
    pub(crate) agent: Option<String>,
    pub(crate) record: IntentRecord,
    pub(crate) holds: Vec<NewHold>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) price: Option<(FactName, Amount)>,
    /// Whether it must be on the disk before it is signed: not if the signature is nobody's before that is on the disk, too.
    pub(crate) is_synced: bool,
}

/// What opening a purchase came to.
pub(crate) enum Begun {
    /// Its budget is held: it may be signed.
    Fresh(Box<Work>),
    /// It is there already.
    Known,
    /// A budget has no room.
    OverBudget(OverBudget),
    /// Something that must be so is not.
    Unmet(Fact),
}

impl Book {
    pub(crate) fn new(settings: BookSettings, clock: Arc<dyn Clock>, payer: Option<&str>) -> Arc<Self> {
        let lasts = settings.ledger.is_some();
        let ledger = settings.ledger.unwrap_or_else(|| Arc::new(MemoryLedger::new()));
        let own = || payer.map_or_else(|| "wallet".to_owned(), str::to_lowercase);
        let repeat_seconds = settings.repeat.unwrap_or(REPEAT).as_secs();
        Arc::new(Self {
            membership: Membership::new(Arc::clone(&ledger), Arc::clone(&clock)),
            ledger,
            wallet: settings.name.unwrap_or_else(own),
            clock,
            repeat_seconds,
            history_seconds: if lasts { HISTORY_SECONDS } else { 0 },
            open_seconds: if lasts { OPEN_SECONDS } else { repeat_seconds },
            capacity: if lasts { CAPACITY } else { MEMORY_CAPACITY },
            count: AtomicU64::new(0),
            turns: Turns::default(),
            witnesses: settings.witnesses,
            keeper: OnceLock::new(),
            writes: Arc::default(),
        })
    }

    /// The intent of this key, if one is remembered.
    pub(crate) async fn find(&self, key: &str) -> Result<Option<Intent>, LedgerError> {
        bounded(self.ledger.intent_find(&self.wallet, key)).await
    }

    pub(crate) async fn get(&self, id: IntentId) -> Result<Option<Intent>, LedgerError> {
        bounded(self.ledger.intent_get(id)).await
    }

    /// Begins what happens by itself, unless it has begun.
    pub(crate) fn start_keeper(self: &Arc<Self>) {
        self.keeper.get_or_init(|| Keeper::start(self));
    }

    /// Opens a purchase: its budgets are held and its conditions are met, or nothing is written. The turn goes with what was
    /// opened.
    pub(crate) async fn open(
        self: &Arc<Self>,
        opening: Opening,
        turn: &mut Option<Turn>,
    ) -> Result<Begun, LedgerError> {
        if self.count.load(Ordering::Relaxed) >= self.capacity {
            return Err(LedgerError::Unavailable(format!("it remembers {} purchases", self.capacity)));
        }
        self.start_keeper();
        let book = Arc::clone(self);
        // In a task of its own: who hangs up now must not leave a hold that nobody knows of.
        let taken = turn.take();
        let opening = tokio::spawn(async move {
            let mut turn = taken;
            let begun = book.open_as_member(opening, &mut turn).await;
            (begun, turn)
        });
        let broke_off = |_| (Err(LedgerError::Unavailable("the opening broke off".to_owned())), None);
        let (begun, back) = opening.await.unwrap_or_else(broke_off);
        *turn = back;
        begun
    }

    async fn open_as_member(
        self: Arc<Self>,
        opening: Opening,
        turn: &mut Option<Turn>,
    ) -> Result<Begun, LedgerError> {
        let member = self.membership.member().await?;
        let now = self.clock.now();
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        let intent = Intent {
            id: IntentId(id),
            wallet: self.wallet.clone(),
            agent: opening.agent,
            key: opening.key.text,
            version: 0,
            holder: Some(member),
            is_open: true,
            repeat_until: now,
            due: now.plus_seconds(UNDISTURBED_SECONDS),
            created: now,
            until: now,
            holds: Vec::new(),
            body: opening.record.to_json(),
        };
        let Opening { holds, conditions, is_synced, .. } = opening;
        let new = NewIntent { intent, holds, conditions, is_synced, now };
        let opened = match bounded(self.ledger.intent_open(new.clone())).await {
            // Maybe it is there: its name tells.
            Err(LedgerError::Unavailable(_)) => bounded(self.ledger.intent_open(new)).await?,
            opened => opened?,
        };
        let is_callers = opening.key.is_callers;
        Ok(match opened {
            Opened::Known { intent, .. } if intent.id != IntentId(id) => Begun::Known,
            Opened::Fresh(intent) | Opened::Known { intent, .. } => {
                let work = Work::new(self, intent, opening.record, is_callers, turn.take());
                Begun::Fresh(Box::new(work.pricing(opening.price)))
            }
            Opened::OverBudget(over) => Begun::OverBudget(over),
            Opened::Unmet(fact) => Begun::Unmet(fact),
        })
    }

    /// Takes over an intent that nobody alive is at. None: somebody is, or it is closed.
    pub(crate) async fn take(
        self: &Arc<Self>,
        id: IntentId,
        turn: Option<Turn>,
    ) -> Result<Option<Box<Work>>, LedgerError> {
        self.keeper.get_or_init(|| Keeper::start(self));
        let book = Arc::clone(self);
        let taking = tokio::spawn(async move {
            let member = book.membership.member().await?;
            let taken = bounded(book.ledger.intent_take(id, &member, book.clock.now())).await?;
            let Some(intent) = taken else { return Ok(None) };
            let Some(record) = IntentRecord::read(&intent) else {
                return Err(LedgerError::Corrupt(format!("{id}: not a purchase of this program's")));
            };
            let is_callers = is_callers(&intent);
            Ok(Some(Box::new(Work::new(book, intent, record, is_callers, turn))))
        });
        taking.await.unwrap_or_else(|_| Err(LedgerError::Unavailable("the taking broke off".to_owned())))
    }

    /// Whether somebody can be asked what became of payments on `network`.
    pub(crate) fn witness(&self, network: &Network) -> Option<&Arc<dyn FateWitness>> {
        self.witnesses.iter().find(|witness| witness.covers(network))
    }

    /// Waits until everything that is written in the background is written, but not for ever.
    pub(crate) async fn flush(&self) {
        let give_up = Instant::now() + 2 * LEDGER_DEADLINE;
        loop {
            let idle = self.writes.idle.notified();
            if self.writes.under_way.load(Ordering::SeqCst) == 0 {
                return;
            }
            if tokio::time::timeout_at(give_up, idle).await.is_err() {
                tracing::warn!("what became of purchases is not all written down yet");
                return;
            }
        }
    }

    /// Until when the key of a purchase that was opened at `created` means it.
    pub(crate) fn repeats_until(&self, created: UnixTime) -> UnixTime {
        created.plus_seconds(self.repeat_seconds)
    }
}

/// By what name the requests of a process take turns at an intent.
pub(crate) fn turn_of(intent: &Intent) -> String {
    intent.key.clone().unwrap_or_else(|| intent.id.to_string())
}

/// Whether the key is one that a caller chose.
pub(crate) fn is_callers(intent: &Intent) -> bool {
    intent.key.as_deref().is_some_and(PurchaseKey::is_callers_text)
}

impl Writes {
    pub(crate) fn begin(self: &Arc<Self>) -> Pending {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        Pending(Arc::clone(self))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.0.under_way.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Book").field("wallet", &self.wallet).finish_non_exhaustive()
    }
}

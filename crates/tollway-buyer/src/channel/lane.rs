//! A lane: the right to use a channel, among the requests of this process and the wallets of its ledger.
//!
//! The channel's row is an intent of the ledger's, under a name that no wallet has: so it changes by version, belongs to one
//! living member at a time, and its exposure is held in the same step that writes a deposit down.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tollway_core::model::PaymentRequirements;
use tollway_core::{Amount, BuyerChannel, BuyerChannelScheme, BuyerScheme, ChannelKey, UnixTime};
use tollway_ledger::{
    Changed, Hold, Intent, IntentChange, IntentId, IntentQuery, LedgerError, NewHold, NewIntent, Opened,
    OverBudget,
};

use crate::channel::record::ChannelRecord;
use crate::error::PaymentError;
use crate::intent::book::Book;
use crate::intent::member::bounded;
use crate::intent::reconcile::part_of;
use crate::intent::turns::Turn;
use crate::policy::names;

/// How often a channel of another process's is looked at again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long the chain may take to say what is in a channel.
const LOOK_FOR: Duration = Duration::from_secs(10);
/// How often a write in the background is tried.
const WRITE_TRIES: u32 = 6;
/// How many rows are read at once.
const PAGE: u32 = 100;

/// The right to use a channel. Dropped before its end, it lets go in the background.
pub(crate) struct Lane {
    book: Arc<Book>,
    scheme: Arc<dyn BuyerScheme>,
    row: Intent,
    /// What the row's holds count for.
    held: Amount,
    pub(crate) record: ChannelRecord,
    turn: Option<Turn>,
    runtime: Handle,
    is_over: bool,
}

/// Whether a row was written.
#[derive(Debug)]
pub(crate) enum Written {
    Done,
    /// Somebody else has written it.
    Stale,
    OverBudget(OverBudget),
}

/// What trying to get a lane came to.
enum Tried {
    Lane(Box<Lane>),
    /// Somebody else is at it, or it is kept for a purchase whose answer is lost.
    Busy,
}

/// Which channel is wanted, and for what.
pub(crate) struct Wanted<'a> {
    pub(crate) book: &'a Arc<Book>,
    pub(crate) scheme: &'a Arc<dyn BuyerScheme>,
    pub(crate) offer: &'a PaymentRequirements,
    /// The purchase that it is for, if that is known: what is kept is kept for it.
    pub(crate) intent: Option<IntentId>,
    pub(crate) give_up: Instant,
}

impl Wanted<'_> {
    /// A lane on one of the wallet's `parallel` channels with whoever makes the offer: the first that is free.
    pub(crate) async fn any(&self, parallel: u32) -> Result<Box<Lane>, PaymentError> {
        let channels: Vec<BuyerChannel> = (0..parallel)
            .map(|index| self.channels()?.channel(self.offer, index))
            .collect::<Result<_, _>>()
            .map_err(PaymentError::Sign)?;
        let mut pause = FIRST_PAUSE;
        loop {
            for (channel, index) in channels.iter().zip(0..) {
                let is_only = channels.len() == 1;
                let until = if is_only { self.give_up } else { Instant::now() };
                if let Tried::Lane(lane) = self.attempt(channel, index, until).await? {
                    return Ok(lane);
                }
            }
            if Instant::now() + pause >= self.give_up {
                return Err(PaymentError::Busy);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A lane on the channel of this name, if the wallet has it.
    pub(crate) async fn named(&self, key: &ChannelKey) -> Result<Option<Box<Lane>>, PaymentError> {
        let found = find(self.book, key).await.map_err(PaymentError::Ledger)?;
        let Some(record) = found.as_ref().and_then(|row| ChannelRecord::from_json(&row.body)) else {
            return Ok(None);
        };
        let mut pause = FIRST_PAUSE;
        loop {
            if let Tried::Lane(lane) = self.attempt(&record.channel(), record.index, self.give_up).await? {
                return Ok(Some(lane));
            }
            if Instant::now() + pause >= self.give_up {
                return Err(PaymentError::Busy);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn channels(&self) -> Result<&dyn BuyerChannelScheme, tollway_core::SignError> {
        channels_of(self.scheme)
    }

    async fn attempt(
        &self,
        channel: &BuyerChannel,
        index: u32,
        until: Instant,
    ) -> Result<Tried, PaymentError> {
        let name = format!("channel|{}", channel.key);
        let Some((turn, _)) = self.book.turns.take(&name, until).await else { return Ok(Tried::Busy) };
        let row = match find(self.book, &channel.key).await.map_err(PaymentError::Ledger)? {
            Some(row) => self.hold(row).await.map_err(PaymentError::Ledger)?,
            None => self.open(channel, index).await?,
        };
        let Some(row) = row else { return Ok(Tried::Busy) };
        let Some(record) = ChannelRecord::from_json(&row.body) else {
            let what = format!("{}: not a channel of this program's", channel.key);
            return Err(PaymentError::Ledger(LedgerError::Corrupt(what)));
        };
        let now = self.book.clock.now();
        let is_kept = record.promises.iter().any(|promise| {
            promise.charged.is_none() && Some(promise.intent) != self.intent && now < promise.kept_until
        });
        // What nobody holds need not be let go of.
        let is_over = row.holder.is_none();
        let lane = Lane {
            book: Arc::clone(self.book),
            scheme: Arc::clone(self.scheme),
            held: record.exposed,
            row,
            record,
            turn: Some(turn),
            runtime: Handle::current(),
            is_over,
        };
        Ok(if is_kept { Tried::Busy } else { Tried::Lane(Box::new(lane)) })
    }

    /// The row, if nobody else alive holds it.
    async fn hold(&self, row: Intent) -> Result<Option<Intent>, LedgerError> {
        let member = self.book.membership.member().await?;
        if row.holder.as_ref().is_none_or(|holder| *holder == member) {
            return Ok(Some(row));
        }
        bounded(self.book.ledger.intent_take(row.id, &member, self.book.clock.now())).await
    }

    /// A row for a channel that nothing is written of. What the chain says of it is where it begins.
    async fn open(&self, channel: &BuyerChannel, index: u32) -> Result<Option<Intent>, PaymentError> {
        let now = self.book.clock.now();
        let mut record = ChannelRecord::new(channel.clone(), index, self.offer.clone(), now);
        let channels = self.channels().map_err(PaymentError::Sign)?;
        match tokio::time::timeout(LOOK_FOR, channels.backing(&channel.key)).await {
            Ok(Ok(Some(backing))) => record.see(&backing, now),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what is in a channel is to be seen"),
            Err(_) => tracing::warn!("what is in a channel is to be seen: no answer in time"),
        }
        self.book.start_keeper();
        let opening = async {
            let member = self.book.membership.member().await?;
            let mut id = [0; 16];
            getrandom::fill(&mut id).map_err(|error| LedgerError::Unavailable(error.to_string()))?;
            let intent = Intent {
                id: IntentId(id),
                wallet: names::channels(&self.book.wallet),
                agent: None,
                key: Some(channel.key.to_string()),
                version: 0,
                holder: Some(member),
                is_open: true,
                repeat_until: UnixTime(u64::MAX),
                due: UnixTime(u64::MAX),
                created: now,
                until: UnixTime(u64::MAX),
                holds: Vec::new(),
                body: record.to_json(),
            };
            let new = NewIntent { intent, holds: Vec::new(), conditions: Vec::new(), is_synced: true, now };
            match bounded(self.book.ledger.intent_open(new)).await? {
                Opened::Fresh(row) => Ok(Some(row)),
                // Somebody was faster: it is looked at again.
                _ => Ok(None),
            }
        };
        opening.await.map_err(PaymentError::Ledger)
    }
}

impl Lane {
    pub(crate) fn channels(&self) -> Result<&dyn BuyerChannelScheme, tollway_core::SignError> {
        channels_of(&self.scheme)
    }

    pub(crate) fn book(&self) -> &Arc<Book> {
        &self.book
    }

    /// Writes what is known now, and keeps the lane. `add`: what a new deposit counts as.
    pub(crate) async fn write(&mut self, add: Vec<NewHold>) -> Result<Written, LedgerError> {
        let member = self.book.membership.member().await?;
        let added = if add.is_empty() { Amount::ZERO } else { self.added() };
        let written = self.put(Some(member), add, added).await?;
        self.is_over = !matches!(written, Written::Done);
        Ok(written)
    }

    /// Lets go of the channel as it is, and waits until that is written.
    pub(crate) async fn leave(mut self: Box<Self>) {
        self.rest().await;
    }

    /// Lets go of the channel as it is, in the background, once all purchases know what became of them but `except`: the
    /// next one waits for that.
    pub(crate) fn leave_soon(mut self: Box<Self>, except: Option<IntentId>) {
        let pending = self.book.writes.begin();
        let runtime = self.runtime.clone();
        self.is_over = false;
        runtime.spawn(async move {
            self.tell(except).await;
            self.rest().await;
            drop(pending);
        });
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.book.clock.now()
    }

    /// What the chain says now is taken in. Whether it says anything.
    pub(crate) async fn look(&mut self) -> bool {
        let Ok(channels) = channels_of(&self.scheme) else { return false };
        match tokio::time::timeout(LOOK_FOR, channels.backing(&self.record.key)).await {
            Ok(Ok(Some(backing))) => {
                self.record.see(&backing, self.book.clock.now());
                true
            }
            _ => false,
        }
    }

    /// What was put in since the row was written.
    fn added(&self) -> Amount {
        let unsigned = self.record.deposit.as_ref().filter(|pending| pending.signed.is_none());
        unsigned.map_or(Amount::ZERO, |pending| pending.amount)
    }

    async fn rest(&mut self) {
        let mut pause = FIRST_PAUSE;
        for _ in 0..WRITE_TRIES {
            match self.put(None, Vec::new(), Amount::ZERO).await {
                Ok(Written::Done) => break,
                Ok(_) => {
                    tracing::error!(channel = %self.record.key, "another wallet has taken the channel over");
                    break;
                }
                Err(error) => {
                    tracing::warn!(channel = %self.record.key, %error, "a channel is not written yet")
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.is_over = true;
        self.turn = None;
    }

    async fn put(
        &mut self,
        holder: Option<tollway_ledger::Member>,
        add: Vec<NewHold>,
        added: Amount,
    ) -> Result<Written, LedgerError> {
        let now = self.book.clock.now();
        let body = self.record.to_json();
        let left = self.record.exposed.checked_sub(added).unwrap_or(Amount::ZERO);
        let release = released(&self.row.holds, left, self.held);
        let intent = Intent { holder, body: body.clone(), ..self.row.clone() };
        let change = IntentChange { release, add, ..IntentChange::new(intent, now) };
        let changed = match bounded(self.book.ledger.intent_put(change)).await {
            Ok(changed) => changed,
            Err(LedgerError::Unavailable(why)) => {
                // It may be written.
                let there = bounded(self.book.ledger.intent_get(self.row.id)).await?;
                match there.filter(|there| there.body == body && there.version > self.row.version) {
                    Some(there) => Changed::Done(there),
                    None => return Err(LedgerError::Unavailable(why)),
                }
            }
            Err(error) => return Err(error),
        };
        Ok(match changed {
            Changed::Done(row) => {
                self.row = row;
                self.held = self.record.exposed;
                Written::Done
            }
            Changed::OverBudget(over) => Written::OverBudget(over),
            Changed::Stale | Changed::Unmet(_) => Written::Stale,
        })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut rest = Self {
            book: Arc::clone(&self.book),
            scheme: Arc::clone(&self.scheme),
            row: self.row.clone(),
            held: self.held,
            record: self.record.clone(),
            turn: self.turn.take(),
            runtime: self.runtime.clone(),
            is_over: true,
        };
        let pending = self.book.writes.begin();
        self.runtime.spawn(async move {
            rest.rest().await;
            drop(pending);
        });
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("channel", &self.record.key).finish_non_exhaustive()
    }
}

/// The row of a channel, whoever is at it.
pub(crate) async fn find(book: &Book, key: &ChannelKey) -> Result<Option<Intent>, LedgerError> {
    let found = bounded(book.ledger.intent_find(&names::channels(&book.wallet), key.as_str())).await?;
    Ok(found.filter(|row| row.is_open))
}

/// Every channel of the wallet's, the oldest first.
pub(crate) async fn list(book: &Book) -> Result<Vec<ChannelRecord>, LedgerError> {
    let wallet = names::channels(&book.wallet);
    let mut query = IntentQuery { wallet, is_open: Some(true), limit: PAGE, ..IntentQuery::default() };
    let mut found = Vec::new();
    loop {
        let page = bounded(book.ledger.intent_list(query.clone())).await?;
        let Some(last) = page.last() else { return Ok(found) };
        query.after = Some((last.created, last.id));
        found.extend(page.iter().filter_map(|row| ChannelRecord::from_json(&row.body)));
    }
}

fn channels_of(scheme: &Arc<dyn BuyerScheme>) -> Result<&dyn BuyerChannelScheme, tollway_core::SignError> {
    scheme.channel().ok_or_else(|| tollway_core::SignError::Signer("the scheme has no channels".to_owned()))
}

/// What of `holds`, which count for `held`, is free when they count for `left`.
fn released(holds: &[Hold], left: Amount, held: Amount) -> Vec<Hold> {
    let free = holds.iter().filter_map(|hold| {
        let kept = if left == Amount::ZERO { Amount::ZERO } else { part_of(hold, left, held) };
        let amount = hold.amount.checked_sub(kept).filter(|amount| *amount != Amount::ZERO)?;
        Some(Hold { amount, ..hold.clone() })
    });
    free.collect()
}

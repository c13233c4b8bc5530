//! The ledger in SQL, for every database that has a [`backend::Backend`].
//!
//! A writing call goes to the store's one writer, which takes all that have gathered, reads the rows that they are
//! about ([`load`]), runs the rules of [`crate::tables`] over them, writes down what they touched ([`save`]) and
//! commits: some statements for hundreds of calls. Charges on channels are written by one statement of their own
//! ([`channels`]), with the answers that they keep ([`answers`]), in the same transaction and before the rest. Reading calls go to other connections ([`reads`]).
//! Every call is over after [`DEADLINE`]; a writing call that failed may be written all the same.
//!
//! The capacity for reservations is held against their number as it was counted last, ten seconds ago at most, and what
//! this process has added since: several processes together may go beyond it by what they add in that time.

mod answers;
mod backend;
mod channels;
mod load;
mod migrate;
mod needs;
#[cfg(feature = "postgres")]
mod postgres;
mod reads;
mod rows;
mod save;
mod spec;
#[cfg(feature = "sqlite")]
mod sqlite;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tollway_core::{Amount, AuthorizationKey, ChannelKey, Network, UnixTime};

use self::backend::Backend;
use self::needs::{Needs, Search, member_key};
#[cfg(feature = "postgres")]
pub use self::postgres::PostgresLedger;
use self::reads::Reads;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteLedger;
use self::writer::{Call, Charging, Typed, Writer};
use crate::tables::{Debt, Tables};
use crate::{
    Advance, Budget, Changed, Channel, ChannelCharge, Claim, Condition, Delivery, DeliveryId, DeliveryResult,
    Fact, Fate, Finish, Finished, Holder, Inserted, Intent, IntentChange, IntentId, IntentQuery,
    LaneContents, LaneLease, Ledger, LedgerError, LedgerFuture, Marked, Member, NewHold, NewIntent, NewMark,
    NewReservation, NewSettlement, Opened, Owed, Purchase, Role, Sent, SentResult, Settlement, SettlementId,
    SettlementQuery, SettlementState, StoredResponse, TransactionChange,
};

/// After which a call is over, and its answer [`LedgerError::Unavailable`].
pub const DEADLINE: Duration = Duration::from_secs(5);
/// How many calls may wait for the writer; more wait for their place, until their deadline.
const QUEUE: usize = 4_096;
/// How long the names of intents, budgets and facts may be.
const MOST_NAME_BYTES: usize = 1_024;

/// A ledger in a SQL database. Clones share it; the writer ends with the last of them.
pub struct SqlLedger<B> {
    backend: Arc<B>,
    calls: mpsc::Sender<Box<dyn Call>>,
}

impl<B> Clone for SqlLedger<B> {
    fn clone(&self) -> Self {
        Self { backend: Arc::clone(&self.backend), calls: self.calls.clone() }
    }
}

impl<B> fmt::Debug for SqlLedger<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlLedger").field("database", &std::any::type_name::<B>()).finish_non_exhaustive()
    }
}

#[expect(private_bounds, reason = "which databases there are is decided here")]
impl<B: Backend> SqlLedger<B> {
    fn start(backend: B) -> std::io::Result<Self> {
        let (calls, queue) = mpsc::channel(QUEUE);
        let backend = Arc::new(backend);
        B::spawn(Box::pin(Writer::new(Arc::clone(&backend), queue).run()))?;
        Ok(Self { backend, calls })
    }

    /// Has the writer run `call` over the rows that it `needs`. It may run more than once, on fresh rows, when another
    /// process is in the way.
    fn write<'a, T: Send + 'static>(
        &'a self,
        needs: Needs,
        call: impl Fn(&mut Tables) -> T + Send + 'static,
    ) -> LedgerFuture<'a, T> {
        let (call, answer) = Typed::new(needs, call, true);
        Box::pin(self.send(call, answer))
    }

    /// Gives a call to the writer, and waits for its answer.
    async fn send<T>(
        &self,
        call: impl Call + 'static,
        answer: oneshot::Receiver<Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        let answered = async {
            let ended = |_| LedgerError::Unavailable("the ledger's writer has ended".to_owned());
            self.calls.send(Box::new(call)).await.map_err(|_| ended(()))?;
            answer.await.map_err(|_| ended(()))?
        };
        let late = |_| LedgerError::Unavailable(format!("no answer after {} ms", DEADLINE.as_millis()));
        timeout(DEADLINE, answered).await.map_err(late)?
    }

    /// Has the writer run `call` if what is to be written fits.
    fn write_if<'a, T: Send + 'static>(
        &'a self,
        fits: Result<(), LedgerError>,
        needs: Needs,
        call: impl Fn(&mut Tables) -> T + Send + 'static,
    ) -> LedgerFuture<'a, T> {
        match fits {
            Ok(()) => self.write(needs, call),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn reads(&self) -> Reads<'_, B> {
        Reads(&self.backend)
    }
}

impl<B: Backend> Ledger for SqlLedger<B> {
    fn member_join<'a>(
        &'a self,
        role: Role,
        name: &'a str,
        _now: UnixTime,
        until: UnixTime,
    ) -> LedgerFuture<'a, Member> {
        let name = name.to_owned();
        let needs = Needs { members: vec![(role, name.clone())], ..Needs::default() };
        let fits = check([&*name], []);
        self.write_if(fits, needs, move |tables| tables.member_join(role, &name, until))
    }

    fn member_renew<'a>(
        &'a self,
        member: &'a Member,
        _now: UnixTime,
        until: UnixTime,
    ) -> LedgerFuture<'a, bool> {
        let member = member.clone();
        self.write(Needs::member(&member), move |tables| tables.member_renew(&member, until))
    }

    fn member_leave<'a>(&'a self, member: &'a Member) -> LedgerFuture<'a, ()> {
        let member = member.clone();
        self.write(Needs::member(&member), move |tables| tables.member_leave(&member))
    }

    fn member_list(&self, role: Role, now: UnixTime) -> LedgerFuture<'_, Vec<Member>> {
        Box::pin(async move { self.reads().members(role, now).await })
    }

    fn reservation_insert(&self, new: NewReservation) -> LedgerFuture<'_, Claim> {
        let needs = Needs {
            claims: vec![new.key.clone()],
            identifiers: new.identifier.iter().cloned().collect(),
            ..Needs::default()
        };
        let named = new.identifier.iter().flat_map(|named| [&*named.scope, &*named.id]);
        let texts = [new.key.as_str(), &*new.payer, &*new.member.name].into_iter().chain(named);
        let fits = check(texts, []);
        self.write_if(fits, needs, move |tables| tables.reservation_insert(new.clone()))
    }

    fn reservation_finish(&self, finish: Finish) -> LedgerFuture<'_, Finished> {
        let mut needs = Needs { reservations: vec![finish.key.clone()], ..Needs::default() };
        let fits = match &finish.fate {
            Fate::Owed(owed) => {
                needs.tallies.extend(Debt::from(owed).tally_keys());
                check([&*owed.payer, &*owed.asset, &*owed.request], [])
            }
            Fate::Pending(transaction) | Fate::Delivered(transaction) => check([&**transaction], []),
            Fate::Released | Fate::Failed | Fate::Unpaid => Ok(()),
        };
        self.write_if(fits, needs, move |tables| tables.reservation_finish(finish.clone()))
    }

    fn reservation_is_open<'a>(&'a self, key: &'a AuthorizationKey, now: UnixTime) -> LedgerFuture<'a, bool> {
        Box::pin(async move { self.reads().is_open(key, now).await })
    }

    fn reservation_owed(&self, now: UnixTime, retry_at: UnixTime, limit: u32) -> LedgerFuture<'_, Vec<Owed>> {
        let needs = Needs::search(Search::Owed { now, limit });
        self.write(needs, move |tables| tables.reservation_owed(now, retry_at, limit))
    }

    fn reservation_count(&self) -> LedgerFuture<'_, u64> {
        Box::pin(async move { self.reads().reservation_count().await })
    }

    fn reservation_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        let needs = Needs::search(Search::Expired { now, limit });
        self.write(needs, move |tables| tables.reservation_sweep(now, limit))
    }

    fn settlement_insert(&self, new: NewSettlement) -> LedgerFuture<'_, Inserted> {
        let needs = Needs { beginnings: vec![new.key.clone()], ..Needs::default() };
        let texts =
            [new.key.as_str(), &*new.payment, &*new.asset, &*new.payer, &*new.pay_to, &*new.member.name];
        let fits = check(texts.into_iter().chain(new.caller.as_deref()), []);
        self.write_if(fits, needs, move |tables| tables.settlement_insert(new.clone()))
    }

    fn settlement_sent(&self, sent: Sent) -> LedgerFuture<'_, SentResult> {
        let needs = Needs {
            lanes: vec![(sent.lease.network.clone(), sent.lease.address.clone())],
            settlements: sent.settlements.iter().map(|(key, _)| key.clone()).collect(),
            transactions: vec![sent.transaction.hash.clone()],
            ..Needs::default()
        };
        let fits = check([&*sent.transaction.hash], [sent.transaction.nonce]);
        self.write_if(fits, needs, move |tables| tables.settlement_sent(sent.clone()))
    }

    fn settlement_advance(
        &self,
        settlements: Vec<Advance>,
        transactions: Vec<TransactionChange>,
        now: UnixTime,
    ) -> LedgerFuture<'_, Vec<bool>> {
        let needs = Needs {
            settlements: settlements.iter().map(|advance| advance.key.clone()).collect(),
            transactions: transactions.iter().map(|change| change.hash.clone()).collect(),
            ..Needs::default()
        };
        let told = settlements.iter().flat_map(|advance| &advance.deliveries);
        let texts = told.flat_map(|delivery| [&*delivery.endpoint, &*delivery.body]);
        let numbers = settlements.iter().flat_map(|advance| match advance.to {
            SettlementState::Settled { log_index, block_number, .. } => [log_index, block_number],
            _ => [0, 0],
        });
        let fits = check(texts, numbers);
        self.write_if(fits, needs, move |tables| {
            tables.settlement_advance(settlements.clone(), &transactions, now)
        })
    }

    fn settlement_get<'a>(&'a self, key: &'a AuthorizationKey) -> LedgerFuture<'a, Option<Settlement>> {
        Box::pin(async move { self.reads().get(key).await })
    }

    fn settlement_find(&self, id: SettlementId) -> LedgerFuture<'_, Option<Settlement>> {
        Box::pin(async move { self.reads().find(id).await })
    }

    fn settlement_list(&self, query: SettlementQuery) -> LedgerFuture<'_, Vec<Settlement>> {
        Box::pin(async move { self.reads().list(query).await })
    }

    fn settlement_adopt<'a>(
        &'a self,
        network: &'a Network,
        member: &'a Member,
        now: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Settlement>> {
        let (network, member) = (network.clone(), member.clone());
        let search = Search::Orphans { network: network.clone(), now, limit };
        let needs = Needs { members: vec![member_key(&member)], ..Needs::search(search) };
        self.write(needs, move |tables| tables.settlement_adopt(&network, &member, now, limit))
    }

    fn settlement_unfinal<'a>(
        &'a self,
        network: &'a Network,
        after: u64,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Settlement>> {
        Box::pin(async move { self.reads().unfinal(network, after, limit).await })
    }

    fn settlement_open_count(&self) -> LedgerFuture<'_, u64> {
        Box::pin(async move { self.reads().open_count().await })
    }

    fn lane_acquire<'a>(
        &'a self,
        network: &'a Network,
        address: &'a str,
        member: &'a Member,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<LaneLease>> {
        let (network, address, member) = (network.clone(), address.to_owned(), member.clone());
        let lanes = vec![(network.clone(), address.clone())];
        let needs = Needs { lanes, ..Needs::member(&member) };
        self.write(needs, move |tables| tables.lane_acquire(&network, &address, &member, now))
    }

    fn lane_release<'a>(&'a self, lease: &'a LaneLease) -> LedgerFuture<'a, ()> {
        let lease = lease.clone();
        self.write(Needs::lane(&lease), move |tables| tables.lane_release(&lease))
    }

    fn lane_transactions<'a>(
        &'a self,
        lease: &'a LaneLease,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<LaneContents>> {
        let lease = lease.clone();
        let lane = Search::Lane((lease.network.clone(), lease.address.clone()));
        let needs = Needs { search: Some(lane), ..Needs::lane(&lease) };
        self.write(needs, move |tables| tables.lane_transactions(&lease, now))
    }

    fn delivery_claim<'a>(
        &'a self,
        endpoint: &'a str,
        now: UnixTime,
        retry_at: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Delivery>> {
        let endpoint = endpoint.to_owned();
        let needs = Needs::search(Search::Due { endpoint: endpoint.clone(), now, limit });
        self.write(needs, move |tables| tables.delivery_claim(&endpoint, now, retry_at, limit))
    }

    fn delivery_finish(&self, id: DeliveryId, result: DeliveryResult) -> LedgerFuture<'_, ()> {
        self.write(Needs::delivery(id), move |tables| tables.delivery_finish(id, result))
    }

    fn mark_set(&self, mark: NewMark) -> LedgerFuture<'_, Marked> {
        let fits = check([mark.scope.as_str(), mark.name.as_str()], []);
        let needs = Needs { marks: vec![(mark.scope.clone(), mark.name.clone())], ..Needs::default() };
        self.write_if(fits, needs, move |tables| tables.mark_set(mark.clone()))
    }

    fn mark_is_set<'a>(
        &'a self,
        scope: &'a str,
        names: &'a [String],
        now: UnixTime,
    ) -> LedgerFuture<'a, bool> {
        Box::pin(async move { self.reads().is_marked(scope, names, now).await })
    }

    fn mark_count(&self) -> LedgerFuture<'_, u64> {
        Box::pin(async move { self.reads().mark_count().await })
    }

    fn mark_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        let needs = Needs::search(Search::PastMarks { now, limit });
        self.write(needs, move |tables| tables.mark_sweep(now, limit))
    }

    fn purchase_put(&self, purchase: Purchase) -> LedgerFuture<'_, bool> {
        let fits = check([purchase.key.as_str(), &*purchase.body], [purchase.version]);
        let needs = Needs { purchases: vec![purchase.key.clone()], ..Needs::default() };
        self.write_if(fits, needs, move |tables| tables.purchase_put(purchase.clone()))
    }

    fn purchase_get<'a>(&'a self, key: &'a AuthorizationKey) -> LedgerFuture<'a, Option<Purchase>> {
        Box::pin(async move { self.reads().purchase(key).await })
    }

    fn purchase_list<'a>(
        &'a self,
        after: Option<&'a AuthorizationKey>,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Purchase>> {
        Box::pin(async move { self.reads().purchases(after, limit).await })
    }

    fn purchase_due(&self, now: UnixTime, retry_at: UnixTime, limit: u32) -> LedgerFuture<'_, Vec<Purchase>> {
        let needs = Needs::search(Search::DuePurchases { now, limit });
        self.write(needs, move |tables| tables.purchase_due(now, retry_at, limit))
    }

    fn purchase_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        let needs = Needs::search(Search::PastPurchases { now, limit });
        self.write(needs, move |tables| tables.purchase_sweep(now, limit))
    }

    fn channel_get<'a>(&'a self, scope: &'a str, id: &'a ChannelKey) -> LedgerFuture<'a, Option<Channel>> {
        Box::pin(async move { self.reads().channel(scope, id).await })
    }

    fn channel_put<'a>(
        &'a self,
        channel: Channel,
        member: Option<&'a Member>,
        now: UnixTime,
    ) -> LedgerFuture<'a, bool> {
        let member = member.cloned();
        let Channel { scope, id, version, proof, body, holder, .. } = &channel;
        let fits = check([&**proof, &**body], [*version]).and(check_names([(&**scope, id.as_str())]));
        let fits = fits.and(check_holder(holder.as_ref()));
        let needs = Needs::channel((scope.clone(), id.clone()));
        self.write_if(fits, needs, move |tables| tables.channel_put(channel.clone(), member.as_ref(), now))
    }

    fn channel_charge(&self, charge: ChannelCharge) -> LedgerFuture<'_, bool> {
        let headers = charge.answer.iter().flat_map(|answer| &answer.headers);
        let texts = [&*charge.scope, charge.id.as_str(), &*charge.proof].into_iter();
        let member = charge.member.iter().map(|member| &*member.name);
        let fits = check(texts.chain(member).chain(headers.map(|(name, _)| &**name)), [charge.version]);
        let (charge, answer) = Charging::new(charge);
        Box::pin(async move {
            fits?;
            self.send(charge, answer).await
        })
    }

    fn channel_answer<'a>(
        &'a self,
        scope: &'a str,
        id: &'a ChannelKey,
    ) -> LedgerFuture<'a, Option<StoredResponse>> {
        Box::pin(async move { self.reads().channel_answer(scope, id).await })
    }

    fn channel_hold<'a>(
        &'a self,
        scope: &'a str,
        id: &'a ChannelKey,
        version: u64,
        holder: Holder,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<Channel>> {
        let key = (scope.to_owned(), id.clone());
        let fits = check([], [version]).and(check_holder(Some(&holder)));
        self.write_if(fits, Needs::channel(key.clone()), move |tables| {
            tables.channel_hold(key.clone(), version, holder.clone(), now)
        })
    }

    fn channel_list<'a>(
        &'a self,
        scope: &'a str,
        after: Option<&'a ChannelKey>,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Channel>> {
        Box::pin(async move { self.reads().channels(scope, after, limit).await })
    }

    fn channel_due<'a>(
        &'a self,
        scope: &'a str,
        now: UnixTime,
        retry_at: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Channel>> {
        let scope = scope.to_owned();
        let needs = Needs::search(Search::DueChannels { scope: scope.clone(), now, limit });
        self.write(needs, move |tables| tables.channel_due(&scope, now, retry_at, limit))
    }

    fn channel_remove<'a>(
        &'a self,
        scope: &'a str,
        id: &'a ChannelKey,
        version: u64,
        member: Option<&'a Member>,
        now: UnixTime,
    ) -> LedgerFuture<'a, bool> {
        let (key, member) = ((scope.to_owned(), id.clone()), member.cloned());
        self.write(Needs::channel(key.clone()), move |tables| {
            tables.channel_remove(&key, version, member.as_ref(), now)
        })
    }

    fn channel_count<'a>(&'a self, scope: &'a str) -> LedgerFuture<'a, u64> {
        Box::pin(async move { self.reads().channel_count(scope).await })
    }

    fn intent_open(&self, new: NewIntent) -> LedgerFuture<'_, Opened> {
        let Intent { id, wallet, agent, key, body, .. } = &new.intent;
        let texts = [&**body].into_iter().chain(agent.as_deref());
        let fits = check(texts, []).and(check_names(key.iter().map(|key| (&**wallet, &**key))));
        let fits = fits.and(check_admission(&new.conditions, &new.holds));
        let needs = Needs {
            intents: vec![*id],
            intent_keys: key.iter().map(|key| (wallet.clone(), key.clone())).collect(),
            ..Needs::admission(&new.conditions, &[], &new.holds)
        };
        let is_synced = new.is_synced;
        let (call, answer) =
            Typed::new(needs, move |tables: &mut Tables| tables.intent_open(new.clone()), is_synced);
        Box::pin(async move {
            fits?;
            self.send(call, answer).await
        })
    }

    fn intent_take<'a>(
        &'a self,
        id: IntentId,
        member: &'a Member,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<Intent>> {
        let member = member.clone();
        let fits = check([&*member.name], [member.incarnation]);
        let needs = Needs { intents: vec![id], ..Needs::default() };
        self.write_if(fits, needs, move |tables| tables.intent_take(id, &member, now))
    }

    fn intent_put(&self, change: IntentChange) -> LedgerFuture<'_, Changed> {
        let IntentChange { intent, release, add, conditions, .. } = &change;
        let fits = check([&*intent.body], [intent.version]).and(check_admission(conditions, add));
        let needs = Needs { changed_intents: vec![intent.id], ..Needs::admission(conditions, release, add) };
        self.write_if(fits, needs, move |tables| tables.intent_put(change.clone()))
    }

    fn intent_get(&self, id: IntentId) -> LedgerFuture<'_, Option<Intent>> {
        Box::pin(async move { self.reads().intent(id).await })
    }

    fn intent_find<'a>(&'a self, wallet: &'a str, key: &'a str) -> LedgerFuture<'a, Option<Intent>> {
        Box::pin(async move { self.reads().intent_of_key(wallet, key).await })
    }

    fn intent_list(&self, query: IntentQuery) -> LedgerFuture<'_, Vec<Intent>> {
        Box::pin(async move { self.reads().intents(&query).await })
    }

    fn intent_due<'a>(
        &'a self,
        wallet: &'a str,
        member: &'a Member,
        now: UnixTime,
        retry_at: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Intent>> {
        let (wallet, member) = (wallet.to_owned(), member.clone());
        let fits = check([&*wallet, &*member.name], [member.incarnation]);
        let search = Search::DueIntents { wallet: wallet.clone(), member: member.clone(), now, limit };
        self.write_if(fits, Needs::search(search), move |tables| {
            tables.intent_due(&wallet, &member, now, retry_at, limit)
        })
    }

    fn intent_count<'a>(&'a self, wallet: &'a str) -> LedgerFuture<'a, u64> {
        Box::pin(async move { self.reads().intent_count(wallet).await })
    }

    fn intent_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        let needs = Needs::search(Search::PastIntents { now, limit });
        self.write(needs, move |tables| tables.intent_sweep(now, limit))
    }

    fn budget_get<'a>(&'a self, windows: &'a [(String, UnixTime)]) -> LedgerFuture<'a, Vec<Amount>> {
        Box::pin(async move { self.reads().budget_amounts(windows).await })
    }

    fn budget_list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a (String, UnixTime)>,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Budget>> {
        Box::pin(async move { self.reads().budgets(prefix, after, limit).await })
    }

    fn budget_sweep(&self, before: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        let needs = Needs::search(Search::PastBudgets { now: before, limit });
        self.write(needs, move |tables| tables.budget_sweep(before, limit))
    }

    fn fact_put(&self, fact: Fact) -> LedgerFuture<'_, bool> {
        let fits = check([&*fact.value], [fact.version]).and(check_names([(&*fact.scope, &*fact.name)]));
        let needs = Needs { facts: vec![(fact.scope.clone(), fact.name.clone())], ..Needs::default() };
        self.write_if(fits, needs, move |tables| tables.fact_put(fact.clone()))
    }

    fn fact_get<'a>(&'a self, scope: &'a str, name: &'a str) -> LedgerFuture<'a, Option<Fact>> {
        Box::pin(async move { self.reads().fact(scope, name).await })
    }

    fn fact_list<'a>(
        &'a self,
        scope: &'a str,
        after: Option<&'a str>,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Fact>> {
        Box::pin(async move { self.reads().facts(scope, after, limit).await })
    }

    fn fact_remove<'a>(&'a self, scope: &'a str, name: &'a str, version: u64) -> LedgerFuture<'a, bool> {
        let (scope, name) = (scope.to_owned(), name.to_owned());
        let needs = Needs { facts: vec![(scope.clone(), name.clone())], ..Needs::default() };
        let fits = check_names([(&*scope, &*name)]);
        self.write_if(fits, needs, move |tables| tables.fact_remove(&scope, &name, version))
    }

    fn fact_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        let needs = Needs::search(Search::PastFacts { now, limit });
        self.write(needs, move |tables| tables.fact_sweep(now, limit))
    }

    fn secret<'a>(&'a self, name: &'a str, fresh: [u8; 32]) -> LedgerFuture<'a, [u8; 32]> {
        let name = name.to_owned();
        let needs = Needs { secrets: vec![name.clone()], ..Needs::default() };
        self.write(needs, move |tables| tables.secret(&name, fresh))
    }
}

/// Refuses what the database could not hold, before it stands in a transaction with others: text with a zero in it, and
/// numbers of more than 63 bits.
fn check<'t>(
    texts: impl IntoIterator<Item = &'t str>,
    numbers: impl IntoIterator<Item = u64>,
) -> Result<(), LedgerError> {
    let refused = |what: &str| Err(LedgerError::Unavailable(format!("{what} cannot be written down")));
    if texts.into_iter().any(|text| text.contains('\0')) {
        return refused("text with a zero in it");
    }
    if numbers.into_iter().any(|number| i64::try_from(number).is_err()) {
        return refused("a number of more than 63 bits");
    }
    Ok(())
}

/// Names that have an index: a database holds no long ones there.
fn check_names<'t>(names: impl IntoIterator<Item = (&'t str, &'t str)>) -> Result<(), LedgerError> {
    for (scope, name) in names {
        check([scope, name], [])?;
        if scope.len().saturating_add(name.len()) > MOST_NAME_BYTES {
            let rule = format!("a name of more than {MOST_NAME_BYTES} bytes cannot be written down");
            return Err(LedgerError::Unavailable(rule));
        }
    }
    Ok(())
}

fn check_holder(holder: Option<&Holder>) -> Result<(), LedgerError> {
    holder.map_or(Ok(()), |Holder { member, .. }| check([&*member.name], [member.incarnation]))
}

fn check_admission(conditions: &[Condition], holds: &[NewHold]) -> Result<(), LedgerError> {
    for condition in conditions {
        let (scope, name, value) = match condition {
            Condition::Absent { scope, name } => (scope, name, ""),
            Condition::EqualOrSet { scope, name, value, .. } => (scope, name, &**value),
        };
        check([value], []).and(check_names([(&**scope, &**name)]))?;
    }
    check_names(holds.iter().map(|new| (&*new.hold.budget, "")))
}

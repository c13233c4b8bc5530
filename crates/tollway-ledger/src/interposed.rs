//! A ledger around a ledger: something is done before and after each call. What it is for: latency metrics, kill points
//! in real processes, and faults in simulations. What does not live here: any of these.

use std::fmt;
use std::ops::Deref;

use tollway_core::{Amount, AuthorizationKey, BoxFuture, ChannelKey, Network, UnixTime};

use crate::{
    Advance, Budget, Changed, Channel, ChannelCharge, Claim, Delivery, DeliveryId, DeliveryResult, Fact,
    Finish, Finished, Holder, Inserted, Intent, IntentChange, IntentId, IntentQuery, LaneContents, LaneLease,
    Ledger, LedgerError, LedgerFuture, Marked, Member, NewIntent, NewMark, NewReservation, NewSettlement,
    Opened, Owed, Purchase, Role, Sent, SentResult, Settlement, SettlementId, SettlementQuery,
    StoredResponse, TransactionChange,
};

/// What is done around each call. Both are named after the method that is called.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use tollway_core::{BoxFuture, UnixTime};
/// use tollway_ledger::{Interposed, Interposer, Ledger, LedgerError, MemoryLedger, Role};
///
/// /// A disk that is full.
/// #[derive(Debug, Default)]
/// struct Full(AtomicBool);
///
/// impl Interposer for Full {
///     fn before(&self, _: &'static str, is_write: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
///         let is_full = is_write && self.0.load(Ordering::SeqCst);
///         Box::pin(async move {
///             if is_full { Err(LedgerError::Unavailable("full".to_owned())) } else { Ok(()) }
///         })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let ledger = Interposed::new(Arc::new(MemoryLedger::new()), Full(AtomicBool::new(true)));
/// assert!(ledger.secret("webhook", [1; 32]).await.is_err());
/// ledger.interposer().0.store(false, Ordering::SeqCst);
/// assert_eq!(ledger.secret("webhook", [2; 32]).await, Ok([2; 32]));
/// # }
/// ```
pub trait Interposer: Send + Sync + fmt::Debug {
    /// Runs before the call. An error is the call's answer: nothing was read or written.
    fn before(&self, operation: &'static str, is_write: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        let _ = (operation, is_write);
        Box::pin(std::future::ready(Ok(())))
    }

    /// Runs after the call, whether it has failed or not. An error takes the answer's place: it is lost, what was
    /// written is not. A call that is dropped while it runs has no after.
    fn after(&self, operation: &'static str, is_write: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        let _ = (operation, is_write);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A shared ledger with something before and after each call.
#[derive(Clone, Debug)]
pub struct Interposed<L, I> {
    ledger: L,
    interposer: I,
}

impl<L: Deref<Target: Ledger> + Send + Sync, I: Interposer> Interposed<L, I> {
    /// Puts `interposer` around `ledger`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_ledger::{Interposed, Interposer, Ledger, MemoryLedger};
    /// fn around(interposer: impl Interposer) -> impl Ledger {
    ///     Interposed::new(Arc::new(MemoryLedger::new()), interposer)
    /// }
    /// ```
    pub const fn new(ledger: L, interposer: I) -> Self {
        Self { ledger, interposer }
    }

    /// What is around it.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_ledger::{Interposed, Interposer, MemoryLedger};
    /// #[derive(Debug)]
    /// struct Nothing;
    /// impl Interposer for Nothing {}
    /// let ledger = Interposed::new(Arc::new(MemoryLedger::new()), Nothing);
    /// assert!(matches!(ledger.interposer(), Nothing));
    /// ```
    pub const fn interposer(&self) -> &I {
        &self.interposer
    }

    fn read<'a, T: Send + 'a>(
        &'a self,
        name: &'static str,
        call: LedgerFuture<'a, T>,
    ) -> LedgerFuture<'a, T> {
        self.run(name, false, call)
    }

    fn write<'a, T: Send + 'a>(
        &'a self,
        name: &'static str,
        call: LedgerFuture<'a, T>,
    ) -> LedgerFuture<'a, T> {
        self.run(name, true, call)
    }

    /// A call that is not polled does nothing: so it may be made first.
    fn run<'a, T: Send + 'a>(
        &'a self,
        name: &'static str,
        is_write: bool,
        call: LedgerFuture<'a, T>,
    ) -> LedgerFuture<'a, T> {
        Box::pin(async move {
            self.interposer.before(name, is_write).await?;
            let answer = call.await;
            self.interposer.after(name, is_write).await?;
            answer
        })
    }
}

impl<I: Interposer + ?Sized> Interposer for std::sync::Arc<I> {
    fn before(&self, operation: &'static str, is_write: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        (**self).before(operation, is_write)
    }

    fn after(&self, operation: &'static str, is_write: bool) -> BoxFuture<'_, Result<(), LedgerError>> {
        (**self).after(operation, is_write)
    }
}

impl<L, I> Ledger for Interposed<L, I>
where
    L: Deref<Target: Ledger> + Send + Sync + fmt::Debug,
    I: Interposer,
{
    fn member_join<'a>(
        &'a self,
        role: Role,
        name: &'a str,
        now: UnixTime,
        until: UnixTime,
    ) -> LedgerFuture<'a, Member> {
        self.write("member_join", self.ledger.member_join(role, name, now, until))
    }

    fn member_renew<'a>(
        &'a self,
        member: &'a Member,
        now: UnixTime,
        until: UnixTime,
    ) -> LedgerFuture<'a, bool> {
        self.write("member_renew", self.ledger.member_renew(member, now, until))
    }

    fn member_leave<'a>(&'a self, member: &'a Member) -> LedgerFuture<'a, ()> {
        self.write("member_leave", self.ledger.member_leave(member))
    }

    fn member_list(&self, role: Role, now: UnixTime) -> LedgerFuture<'_, Vec<Member>> {
        self.read("member_list", self.ledger.member_list(role, now))
    }

    fn reservation_insert(&self, new: NewReservation) -> LedgerFuture<'_, Claim> {
        self.write("reservation_insert", self.ledger.reservation_insert(new))
    }

    fn reservation_finish(&self, finish: Finish) -> LedgerFuture<'_, Finished> {
        self.write("reservation_finish", self.ledger.reservation_finish(finish))
    }

    fn reservation_is_open<'a>(&'a self, key: &'a AuthorizationKey, now: UnixTime) -> LedgerFuture<'a, bool> {
        self.read("reservation_is_open", self.ledger.reservation_is_open(key, now))
    }

    fn reservation_owed(&self, now: UnixTime, retry_at: UnixTime, limit: u32) -> LedgerFuture<'_, Vec<Owed>> {
        self.write("reservation_owed", self.ledger.reservation_owed(now, retry_at, limit))
    }

    fn reservation_count(&self) -> LedgerFuture<'_, u64> {
        self.read("reservation_count", self.ledger.reservation_count())
    }

    fn reservation_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        self.write("reservation_sweep", self.ledger.reservation_sweep(now, limit))
    }

    fn settlement_insert(&self, new: NewSettlement) -> LedgerFuture<'_, Inserted> {
        self.write("settlement_insert", self.ledger.settlement_insert(new))
    }

    fn settlement_sent(&self, sent: Sent) -> LedgerFuture<'_, SentResult> {
        self.write("settlement_sent", self.ledger.settlement_sent(sent))
    }

    fn settlement_advance(
        &self,
        settlements: Vec<Advance>,
        transactions: Vec<TransactionChange>,
        now: UnixTime,
    ) -> LedgerFuture<'_, Vec<bool>> {
        self.write("settlement_advance", self.ledger.settlement_advance(settlements, transactions, now))
    }

    fn settlement_get<'a>(&'a self, key: &'a AuthorizationKey) -> LedgerFuture<'a, Option<Settlement>> {
        self.read("settlement_get", self.ledger.settlement_get(key))
    }

    fn settlement_find(&self, id: SettlementId) -> LedgerFuture<'_, Option<Settlement>> {
        self.read("settlement_find", self.ledger.settlement_find(id))
    }

    fn settlement_list(&self, query: SettlementQuery) -> LedgerFuture<'_, Vec<Settlement>> {
        self.read("settlement_list", self.ledger.settlement_list(query))
    }

    fn settlement_adopt<'a>(
        &'a self,
        network: &'a Network,
        member: &'a Member,
        now: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Settlement>> {
        self.write("settlement_adopt", self.ledger.settlement_adopt(network, member, now, limit))
    }

    fn settlement_unfinal<'a>(
        &'a self,
        network: &'a Network,
        after: u64,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Settlement>> {
        self.read("settlement_unfinal", self.ledger.settlement_unfinal(network, after, limit))
    }

    fn settlement_open_count(&self) -> LedgerFuture<'_, u64> {
        self.read("settlement_open_count", self.ledger.settlement_open_count())
    }

    fn lane_acquire<'a>(
        &'a self,
        network: &'a Network,
        address: &'a str,
        member: &'a Member,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<LaneLease>> {
        self.write("lane_acquire", self.ledger.lane_acquire(network, address, member, now))
    }

    fn lane_release<'a>(&'a self, lease: &'a LaneLease) -> LedgerFuture<'a, ()> {
        self.write("lane_release", self.ledger.lane_release(lease))
    }

    fn lane_transactions<'a>(
        &'a self,
        lease: &'a LaneLease,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<LaneContents>> {
        self.write("lane_transactions", self.ledger.lane_transactions(lease, now))
    }

    fn delivery_claim<'a>(
        &'a self,
        endpoint: &'a str,
        now: UnixTime,
        retry_at: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Delivery>> {
        self.write("delivery_claim", self.ledger.delivery_claim(endpoint, now, retry_at, limit))
    }

    fn delivery_finish(&self, id: DeliveryId, result: DeliveryResult) -> LedgerFuture<'_, ()> {
        self.write("delivery_finish", self.ledger.delivery_finish(id, result))
    }

    fn mark_set(&self, mark: NewMark) -> LedgerFuture<'_, Marked> {
        self.write("mark_set", self.ledger.mark_set(mark))
    }

    fn mark_is_set<'a>(
        &'a self,
        scope: &'a str,
        names: &'a [String],
        now: UnixTime,
    ) -> LedgerFuture<'a, bool> {
        self.read("mark_is_set", self.ledger.mark_is_set(scope, names, now))
    }

    fn mark_count(&self) -> LedgerFuture<'_, u64> {
        self.read("mark_count", self.ledger.mark_count())
    }

    fn mark_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        self.write("mark_sweep", self.ledger.mark_sweep(now, limit))
    }

    fn purchase_put(&self, purchase: Purchase) -> LedgerFuture<'_, bool> {
        self.write("purchase_put", self.ledger.purchase_put(purchase))
    }

    fn purchase_get<'a>(&'a self, key: &'a AuthorizationKey) -> LedgerFuture<'a, Option<Purchase>> {
        self.read("purchase_get", self.ledger.purchase_get(key))
    }

    fn purchase_list<'a>(
        &'a self,
        after: Option<&'a AuthorizationKey>,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Purchase>> {
        self.read("purchase_list", self.ledger.purchase_list(after, limit))
    }

    fn purchase_due(&self, now: UnixTime, retry_at: UnixTime, limit: u32) -> LedgerFuture<'_, Vec<Purchase>> {
        self.write("purchase_due", self.ledger.purchase_due(now, retry_at, limit))
    }

    fn purchase_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        self.write("purchase_sweep", self.ledger.purchase_sweep(now, limit))
    }

    fn channel_get<'a>(&'a self, scope: &'a str, id: &'a ChannelKey) -> LedgerFuture<'a, Option<Channel>> {
        self.read("channel_get", self.ledger.channel_get(scope, id))
    }

    fn channel_put<'a>(
        &'a self,
        channel: Channel,
        member: Option<&'a Member>,
        now: UnixTime,
    ) -> LedgerFuture<'a, bool> {
        self.write("channel_put", self.ledger.channel_put(channel, member, now))
    }

    fn channel_charge(&self, charge: ChannelCharge) -> LedgerFuture<'_, bool> {
        self.write("channel_charge", self.ledger.channel_charge(charge))
    }

    fn channel_answer<'a>(
        &'a self,
        scope: &'a str,
        id: &'a ChannelKey,
    ) -> LedgerFuture<'a, Option<StoredResponse>> {
        self.read("channel_answer", self.ledger.channel_answer(scope, id))
    }

    fn channel_hold<'a>(
        &'a self,
        scope: &'a str,
        id: &'a ChannelKey,
        version: u64,
        holder: Holder,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<Channel>> {
        self.write("channel_hold", self.ledger.channel_hold(scope, id, version, holder, now))
    }

    fn channel_list<'a>(
        &'a self,
        scope: &'a str,
        after: Option<&'a ChannelKey>,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Channel>> {
        self.read("channel_list", self.ledger.channel_list(scope, after, limit))
    }

    fn channel_due<'a>(
        &'a self,
        scope: &'a str,
        now: UnixTime,
        retry_at: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Channel>> {
        self.write("channel_due", self.ledger.channel_due(scope, now, retry_at, limit))
    }

    fn channel_remove<'a>(
        &'a self,
        scope: &'a str,
        id: &'a ChannelKey,
        version: u64,
        member: Option<&'a Member>,
        now: UnixTime,
    ) -> LedgerFuture<'a, bool> {
        self.write("channel_remove", self.ledger.channel_remove(scope, id, version, member, now))
    }

    fn channel_count<'a>(&'a self, scope: &'a str) -> LedgerFuture<'a, u64> {
        self.read("channel_count", self.ledger.channel_count(scope))
    }

    fn intent_open(&self, new: NewIntent) -> LedgerFuture<'_, Opened> {
        self.write("intent_open", self.ledger.intent_open(new))
    }

    fn intent_take<'a>(
        &'a self,
        id: IntentId,
        member: &'a Member,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<Intent>> {
        self.write("intent_take", self.ledger.intent_take(id, member, now))
    }

    fn intent_put(&self, change: IntentChange) -> LedgerFuture<'_, Changed> {
        self.write("intent_put", self.ledger.intent_put(change))
    }

    fn intent_get(&self, id: IntentId) -> LedgerFuture<'_, Option<Intent>> {
        self.read("intent_get", self.ledger.intent_get(id))
    }

    fn intent_find<'a>(&'a self, wallet: &'a str, key: &'a str) -> LedgerFuture<'a, Option<Intent>> {
        self.read("intent_find", self.ledger.intent_find(wallet, key))
    }

    fn intent_list(&self, query: IntentQuery) -> LedgerFuture<'_, Vec<Intent>> {
        self.read("intent_list", self.ledger.intent_list(query))
    }

    fn intent_due<'a>(
        &'a self,
        wallet: &'a str,
        member: &'a Member,
        now: UnixTime,
        retry_at: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Intent>> {
        self.write("intent_due", self.ledger.intent_due(wallet, member, now, retry_at, limit))
    }

    fn intent_count<'a>(&'a self, wallet: &'a str) -> LedgerFuture<'a, u64> {
        self.read("intent_count", self.ledger.intent_count(wallet))
    }

    fn intent_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        self.write("intent_sweep", self.ledger.intent_sweep(now, limit))
    }

    fn budget_get<'a>(&'a self, windows: &'a [(String, UnixTime)]) -> LedgerFuture<'a, Vec<Amount>> {
        self.read("budget_get", self.ledger.budget_get(windows))
    }

    fn budget_list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a (String, UnixTime)>,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Budget>> {
        self.read("budget_list", self.ledger.budget_list(prefix, after, limit))
    }

    fn budget_sweep(&self, before: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        self.write("budget_sweep", self.ledger.budget_sweep(before, limit))
    }

    fn fact_put(&self, fact: Fact) -> LedgerFuture<'_, bool> {
        self.write("fact_put", self.ledger.fact_put(fact))
    }

    fn fact_get<'a>(&'a self, scope: &'a str, name: &'a str) -> LedgerFuture<'a, Option<Fact>> {
        self.read("fact_get", self.ledger.fact_get(scope, name))
    }

    fn fact_list<'a>(
        &'a self,
        scope: &'a str,
        after: Option<&'a str>,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Fact>> {
        self.read("fact_list", self.ledger.fact_list(scope, after, limit))
    }

    fn fact_remove<'a>(&'a self, scope: &'a str, name: &'a str, version: u64) -> LedgerFuture<'a, bool> {
        self.write("fact_remove", self.ledger.fact_remove(scope, name, version))
    }

    fn fact_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        self.write("fact_sweep", self.ledger.fact_sweep(now, limit))
    }

    fn secret<'a>(&'a self, name: &'a str, fresh: [u8; 32]) -> LedgerFuture<'a, [u8; 32]> {
        self.write("secret", self.ledger.secret(name, fresh))
    }
}

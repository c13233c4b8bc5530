//! The seam: what every store can do.

use std::fmt;

use tollway_core::{Amount, AuthorizationKey, BoxFuture, ChannelKey, Network, UnixTime};

use crate::{
    Advance, Budget, Changed, Channel, ChannelCharge, Claim, Delivery, DeliveryId, DeliveryResult, Fact,
    Finish, Finished, Holder, Inserted, Intent, IntentChange, IntentId, IntentQuery, LaneLease,
    LaneTransaction, LedgerError, Marked, Member, NewIntent, NewMark, NewReservation, NewSettlement, Opened,
    Owed, Purchase, Role, Sent, SentResult, Settlement, SettlementId, SettlementQuery, StoredResponse,
    TransactionChange,
};

/// What a store answers with.
pub type LedgerFuture<'a, T> = BoxFuture<'a, Result<T, LedgerError>>;

/// What is in a lane: transactions that are not ended, by nonce and then age, each with its payments.
pub type LaneContents = Vec<(LaneTransaction, Vec<Settlement>)>;

/// Durable state. Each call is one transaction; it is durable when the future is ready.
pub trait Ledger: Send + Sync + fmt::Debug {
    // Members.

    /// Joins under `name`, which ends the membership of who had it before. Alive until `until`, and longer by
    /// [`Self::member_renew`].
    fn member_join<'a>(
        &'a self,
        role: Role,
        name: &'a str,
        now: UnixTime,
        until: UnixTime,
    ) -> LedgerFuture<'a, Member>;

    /// Lives on until `until`. False: somebody joined under the same name, or took over after the member had been dead.
    fn member_renew<'a>(
        &'a self,
        member: &'a Member,
        now: UnixTime,
        until: UnixTime,
    ) -> LedgerFuture<'a, bool>;

    /// Ends a membership: what it holds is free at once.
    fn member_leave<'a>(&'a self, member: &'a Member) -> LedgerFuture<'a, ()>;

    /// The living members of a role, by name.
    fn member_list(&self, role: Role, now: UnixTime) -> LedgerFuture<'_, Vec<Member>>;

    // Reservations.

    /// Claims an authorization for a request, or tells its state.
    ///
    /// The same key and fingerprint: [`Claim::Running`] while a living member holds it; [`Claim::Again`] when it rests
    /// with [`Fate::Pending`], [`Fate::Failed`] or [`Fate::Unpaid`], or its holder is dead (what was served unpaid before
    /// stays so); [`Claim::Delivered`] when it
    /// rests with [`Fate::Delivered`] or [`Fate::Owed`]. What is past `keep_until` counts as not there, unless it is
    /// held by the living or owed. A payment identifier is checked first.
    ///
    /// [`Fate::Pending`]: crate::Fate::Pending
    /// [`Fate::Failed`]: crate::Fate::Failed
    /// [`Fate::Unpaid`]: crate::Fate::Unpaid
    /// [`Fate::Delivered`]: crate::Fate::Delivered
    /// [`Fate::Owed`]: crate::Fate::Owed
    fn reservation_insert(&self, new: NewReservation) -> LedgerFuture<'_, Claim>;

    /// Ends the caller's right and writes down what is true. Who finished last may finish again with the same token, for
    /// as long as nobody has claimed the reservation since or been given it by [`Self::reservation_owed`]: a finish whose
    /// answer was lost is repeated or corrected, and [`Fate::Owed`] is settled by who wrote it.
    ///
    /// [`Fate::Owed`]: crate::Fate::Owed
    fn reservation_finish(&self, finish: Finish) -> LedgerFuture<'_, Finished>;

    /// Whether the key is reserved and did not come to an end: it runs, or rests with pending, failed or unpaid.
    fn reservation_is_open<'a>(&'a self, key: &'a AuthorizationKey, now: UnixTime) -> LedgerFuture<'a, bool>;

    /// Takes settlements that are owed and due: nobody else is given them before `retry_at`. Each has a new token.
    fn reservation_owed(&self, now: UnixTime, retry_at: UnixTime, limit: u32) -> LedgerFuture<'_, Vec<Owed>>;

    /// How many are remembered, about.
    fn reservation_count(&self) -> LedgerFuture<'_, u64>;

    /// Forgets reservations that are past their time, at most `limit`; how many.
    fn reservation_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64>;

    // Settlements.

    /// Accepts a payment, or tells who did. An existing one that failed or was abandoned begins anew.
    fn settlement_insert(&self, new: NewSettlement) -> LedgerFuture<'_, Inserted>;

    /// Writes a signed transaction down, and that its payments are sent: all of them or none.
    fn settlement_sent(&self, sent: Sent) -> LedgerFuture<'_, SentResult>;

    /// Advances payments and transactions, all in one step; for each payment whether it was written. A payment is
    /// written only with its current attempt and only if it has not ended ([`SettlementState::is_ended`]).
    ///
    /// [`SettlementState::is_ended`]: crate::SettlementState::is_ended
    fn settlement_advance(
        &self,
        settlements: Vec<Advance>,
        transactions: Vec<TransactionChange>,
        now: UnixTime,
    ) -> LedgerFuture<'_, Vec<bool>>;

    /// One settlement.
    fn settlement_get<'a>(&'a self, key: &'a AuthorizationKey) -> LedgerFuture<'a, Option<Settlement>>;

    /// One settlement, by its public name.
    fn settlement_find(&self, id: SettlementId) -> LedgerFuture<'_, Option<Settlement>>;

    /// Settlements, newest first.
    fn settlement_list(&self, query: SettlementQuery) -> LedgerFuture<'_, Vec<Settlement>>;

    /// Takes over what dead members left open on a network ([`SettlementState::is_open`]), oldest first: it is the
    /// caller's, with a new attempt. The members of a lane's open transactions are left to who takes the lane
    /// ([`Self::lane_transactions`]).
    ///
    /// [`SettlementState::is_open`]: crate::SettlementState::is_open
    fn settlement_adopt<'a>(
        &'a self,
        network: &'a Network,
        member: &'a Member,
        now: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Settlement>>;

    /// Settled and not yet final on a network, oldest first, whoever wrote it, after `after` in the order of arrival.
    fn settlement_unfinal<'a>(
        &'a self,
        network: &'a Network,
        after: u64,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Settlement>>;

    /// How many payments are open, in all networks.
    fn settlement_open_count(&self) -> LedgerFuture<'_, u64>;

    // Lanes.

    /// Takes a lane that nobody alive has; the caller's own lease again if it has it already.
    fn lane_acquire<'a>(
        &'a self,
        network: &'a Network,
        address: &'a str,
        member: &'a Member,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<LaneLease>>;

    /// Gives a lane back.
    fn lane_release<'a>(&'a self, lease: &'a LaneLease) -> LedgerFuture<'a, ()>;

    /// The lane's transactions that are open or included, by nonce and then age, each with its payments. Payments that
    /// are open become the caller's, with a new attempt. None if the lease no longer counts.
    fn lane_transactions<'a>(
        &'a self,
        lease: &'a LaneLease,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<LaneContents>>;

    // Deliveries.

    /// Takes deliveries to one endpoint that are due, longest due first: nobody else is given them before `retry_at`.
    /// One endpoint a call, so that what waits for a dead one stands in nobody's way.
    fn delivery_claim<'a>(
        &'a self,
        endpoint: &'a str,
        now: UnixTime,
        retry_at: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Delivery>>;

    /// Ends a try.
    fn delivery_finish(&self, id: DeliveryId, result: DeliveryResult) -> LedgerFuture<'_, ()>;

    // Marks.

    /// Sets a mark, and tells whether it was set before.
    fn mark_set(&self, mark: NewMark) -> LedgerFuture<'_, Marked>;

    /// Whether one of these marks is set at `now`.
    fn mark_is_set<'a>(
        &'a self,
        scope: &'a str,
        names: &'a [String],
        now: UnixTime,
    ) -> LedgerFuture<'a, bool>;

    /// How many marks are remembered, about.
    fn mark_count(&self) -> LedgerFuture<'_, u64>;

    /// Forgets marks that are past their time, at most `limit`; how many.
    fn mark_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64>;

    // Purchases.

    /// Writes a purchase down, if it is there in the version that it names. Whether it was.
    fn purchase_put(&self, purchase: Purchase) -> LedgerFuture<'_, bool>;

    /// The purchase of this payment.
    fn purchase_get<'a>(&'a self, key: &'a AuthorizationKey) -> LedgerFuture<'a, Option<Purchase>>;

    /// Purchases in the order of their keys, from behind `after` on.
    fn purchase_list<'a>(
        &'a self,
        after: Option<&'a AuthorizationKey>,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Purchase>>;

    /// Takes purchases that are due, longest due first: nobody else is given them before `retry_at`, and who has read them
    /// before can no longer write them.
    fn purchase_due(&self, now: UnixTime, retry_at: UnixTime, limit: u32) -> LedgerFuture<'_, Vec<Purchase>>;

    /// Forgets purchases that are past their time, at most `limit`; how many.
    fn purchase_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64>;

    // Channels.

    /// One channel.
    fn channel_get<'a>(&'a self, scope: &'a str, id: &'a ChannelKey) -> LedgerFuture<'a, Option<Channel>>;

    /// Writes a channel down as it is given, with its holder, if it is there in the version that it names and no other
    /// living member holds it. Whether it was. Its answer stays.
    fn channel_put<'a>(
        &'a self,
        channel: Channel,
        member: Option<&'a Member>,
        now: UnixTime,
    ) -> LedgerFuture<'a, bool>;

    /// Charges a channel, under the conditions of [`Self::channel_put`]. Whether it was written.
    fn channel_charge(&self, charge: ChannelCharge) -> LedgerFuture<'_, bool>;

    /// The answer that was written with the latest charge of a channel, until it expires; from then on it may be gone.
    fn channel_answer<'a>(
        &'a self,
        scope: &'a str,
        id: &'a ChannelKey,
    ) -> LedgerFuture<'a, Option<StoredResponse>>;

    /// Makes a member the holder of a channel that is there in this version and that no other living member holds. None:
    /// it is not so. Who has read it before can no longer write it.
    fn channel_hold<'a>(
        &'a self,
        scope: &'a str,
        id: &'a ChannelKey,
        version: u64,
        holder: Holder,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<Channel>>;

    /// The channels of a scope in the order of their names, from behind `after` on.
    fn channel_list<'a>(
        &'a self,
        scope: &'a str,
        after: Option<&'a ChannelKey>,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Channel>>;

    /// Takes channels of a scope that are due and that no living member holds, longest due first: nobody else is given
    /// them before `retry_at`, and who has read them before can no longer write them.
    fn channel_due<'a>(
        &'a self,
        scope: &'a str,
        now: UnixTime,
        retry_at: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Channel>>;

    /// Removes a channel and its answer, under the conditions of [`Self::channel_put`]. Whether it was.
    fn channel_remove<'a>(
        &'a self,
        scope: &'a str,
        id: &'a ChannelKey,
        version: u64,
        member: Option<&'a Member>,
        now: UnixTime,
    ) -> LedgerFuture<'a, bool>;

    /// How many channels a scope has.
    fn channel_count<'a>(&'a self, scope: &'a str) -> LedgerFuture<'a, u64>;

    // Intents.

    /// Opens an intent, or tells of the one that is there: by the same name, or by the same key of the same wallet while
    /// that is open or within [`Intent::repeat_until`]. A closed one past that loses its key to the new one. Then every
    /// condition is checked, then every hold is counted; if one does not pass, nothing is written. It may be answered before
    /// it is on the disk ([`NewIntent::is_synced`]).
    fn intent_open(&self, new: NewIntent) -> LedgerFuture<'_, Opened>;

    /// Makes the member the holder of an intent that is open and that no other living member holds. None: it is not
    /// there, closed, or held. Who has read it before can no longer write it.
    fn intent_take<'a>(
        &'a self,
        id: IntentId,
        member: &'a Member,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<Intent>>;

    /// Writes an intent down, if it is there in the version that the change names, and counts or releases what the change
    /// says: all of it or nothing.
    fn intent_put(&self, change: IntentChange) -> LedgerFuture<'_, Changed>;

    /// One intent.
    fn intent_get(&self, id: IntentId) -> LedgerFuture<'_, Option<Intent>>;

    /// The intent that has this key in this wallet, whether it still counts or not.
    fn intent_find<'a>(&'a self, wallet: &'a str, key: &'a str) -> LedgerFuture<'a, Option<Intent>>;

    /// Intents of a wallet.
    fn intent_list(&self, query: IntentQuery) -> LedgerFuture<'_, Vec<Intent>>;

    /// Takes open intents of a wallet that are due and that no other living member holds, longest due first: the member
    /// is their holder, and they are due again at `retry_at`. Who has read them before can no longer write them. What the
    /// member itself holds is told too: who works on one has put its `due` off for that long.
    fn intent_due<'a>(
        &'a self,
        wallet: &'a str,
        member: &'a Member,
        now: UnixTime,
        retry_at: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Intent>>;

    /// How many intents of a wallet are remembered.
    fn intent_count<'a>(&'a self, wallet: &'a str) -> LedgerFuture<'a, u64>;

    /// Forgets closed intents that are past their time, at most `limit`; how many. What they count stays counted.
    fn intent_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64>;

    // Budgets.

    /// What is counted in these windows, each a budget's name and its beginning; in the same order.
    fn budget_get<'a>(&'a self, windows: &'a [(String, UnixTime)]) -> LedgerFuture<'a, Vec<Amount>>;

    /// What is counted in budgets whose names begin with `prefix`, by name and then window, from behind `after` on.
    fn budget_list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a (String, UnixTime)>,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Budget>>;

    /// Forgets windows that ended at `before` or earlier, at most `limit`; how many. A window that is forgotten counts
    /// from nothing again: leave a margin for clocks that differ.
    fn budget_sweep(&self, before: UnixTime, limit: u32) -> LedgerFuture<'_, u64>;

    // Facts.

    /// Writes a fact down, if it is there in the version that it names. Whether it was.
    fn fact_put(&self, fact: Fact) -> LedgerFuture<'_, bool>;

    /// One fact.
    fn fact_get<'a>(&'a self, scope: &'a str, name: &'a str) -> LedgerFuture<'a, Option<Fact>>;

    /// The facts of a scope by name, from behind `after` on.
    fn fact_list<'a>(
        &'a self,
        scope: &'a str,
        after: Option<&'a str>,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Fact>>;

    /// Removes a fact, if it is there in this version. Whether it was.
    fn fact_remove<'a>(&'a self, scope: &'a str, name: &'a str, version: u64) -> LedgerFuture<'a, bool>;

    /// Forgets facts that are past their time, at most `limit`; how many.
    fn fact_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64>;

    // Secrets.

    /// The secret of this name; `fresh` if there is none yet. All who share the ledger share it.
    fn secret<'a>(&'a self, name: &'a str, fresh: [u8; 32]) -> LedgerFuture<'a, [u8; 32]>;
}

//! The ledger that lives as long as the process: the reference model, what the simulation runs on, and what libraries
//! begin with. Nothing here is durable.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tollway_core::{AuthorizationKey, Network, UnixTime};

use crate::tables::Tables;
use crate::{
    Advance, Claim, Delivery, DeliveryId, DeliveryResult, Finish, Finished, Inserted, LaneContents,
    LaneLease, Ledger, LedgerError, LedgerFuture, Member, NewReservation, NewSettlement, Owed, Role, Sent,
    SentResult, Settlement, SettlementId, SettlementQuery, TransactionChange,
};

/// A ledger in memory. Clones share it, as processes share a database. Each call is done when it is first polled.
#[derive(Clone, Default)]
pub struct MemoryLedger {
    tables: Arc<Mutex<Tables>>,
}

impl MemoryLedger {
    /// An empty ledger.
    ///
    /// ```
    /// use tollway_core::UnixTime;
    /// use tollway_ledger::{Ledger, LedgerError, MemoryLedger, Role};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), LedgerError> {
    /// let ledger = MemoryLedger::new();
    /// let first = ledger.member_join(Role::Seller, "shop", UnixTime(100), UnixTime(130)).await?;
    /// let second = ledger.clone().member_join(Role::Seller, "shop", UnixTime(101), UnixTime(131)).await?;
    /// assert!(!ledger.member_renew(&first, UnixTime(102), UnixTime(132)).await?);
    /// assert_eq!(ledger.member_list(Role::Seller, UnixTime(102)).await?, [second]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    fn run<'a, T: Send + 'a>(
        &'a self,
        call: impl FnOnce(&mut Tables) -> T + Send + 'a,
    ) -> LedgerFuture<'a, T> {
        Box::pin(async move { Ok::<T, LedgerError>(call(&mut self.tables.lock())) })
    }
}

impl fmt::Debug for MemoryLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLedger").finish_non_exhaustive()
    }
}

impl Ledger for MemoryLedger {
    fn member_join<'a>(
        &'a self,
        role: Role,
        name: &'a str,
        _now: UnixTime,
        until: UnixTime,
    ) -> LedgerFuture<'a, Member> {
        self.run(move |tables| tables.member_join(role, name, until))
    }

    fn member_renew<'a>(
        &'a self,
        member: &'a Member,
        _now: UnixTime,
        until: UnixTime,
    ) -> LedgerFuture<'a, bool> {
        self.run(move |tables| tables.member_renew(member, until))
    }

    fn member_leave<'a>(&'a self, member: &'a Member) -> LedgerFuture<'a, ()> {
        self.run(move |tables| tables.member_leave(member))
    }

    fn member_list(&self, role: Role, now: UnixTime) -> LedgerFuture<'_, Vec<Member>> {
        self.run(move |tables| tables.member_list(role, now))
    }

    fn reservation_insert(&self, new: NewReservation) -> LedgerFuture<'_, Claim> {
        self.run(move |tables| tables.reservation_insert(new))
    }

    fn reservation_finish(&self, finish: Finish) -> LedgerFuture<'_, Finished> {
        self.run(move |tables| tables.reservation_finish(finish))
    }

    fn reservation_is_open<'a>(&'a self, key: &'a AuthorizationKey, now: UnixTime) -> LedgerFuture<'a, bool> {
        self.run(move |tables| tables.reservation_is_open(key, now))
    }

    fn reservation_owed(&self, now: UnixTime, retry_at: UnixTime, limit: u32) -> LedgerFuture<'_, Vec<Owed>> {
        self.run(move |tables| tables.reservation_owed(now, retry_at, limit))
    }

    fn reservation_count(&self) -> LedgerFuture<'_, u64> {
        self.run(|tables| tables.reservation_count)
    }

    fn reservation_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        self.run(move |tables| tables.reservation_sweep(now, limit))
    }

    fn settlement_insert(&self, new: NewSettlement) -> LedgerFuture<'_, Inserted> {
        self.run(move |tables| tables.settlement_insert(new))
    }

    fn settlement_sent(&self, sent: Sent) -> LedgerFuture<'_, SentResult> {
        self.run(move |tables| tables.settlement_sent(sent))
    }

    fn settlement_advance(
        &self,
        settlements: Vec<Advance>,
        transactions: Vec<TransactionChange>,
        now: UnixTime,
    ) -> LedgerFuture<'_, Vec<bool>> {
        self.run(move |tables| tables.settlement_advance(settlements, &transactions, now))
    }

    fn settlement_get<'a>(&'a self, key: &'a AuthorizationKey) -> LedgerFuture<'a, Option<Settlement>> {
        self.run(move |tables| tables.settlements.get(key).cloned())
    }

    fn settlement_find(&self, id: SettlementId) -> LedgerFuture<'_, Option<Settlement>> {
        self.run(move |tables| tables.settlement_find(id))
    }

    fn settlement_list(&self, query: SettlementQuery) -> LedgerFuture<'_, Vec<Settlement>> {
        self.run(move |tables| tables.settlement_list(&query))
    }

    fn settlement_adopt<'a>(
        &'a self,
        network: &'a Network,
        member: &'a Member,
        now: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Settlement>> {
        self.run(move |tables| tables.settlement_adopt(network, member, now, limit))
    }

    fn settlement_unfinal<'a>(
        &'a self,
        network: &'a Network,
        after: u64,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Settlement>> {
        self.run(move |tables| tables.settlement_unfinal(network, after, limit))
    }

    fn settlement_open_count(&self) -> LedgerFuture<'_, u64> {
        self.run(|tables| tables.settlement_open_count())
    }

    fn lane_acquire<'a>(
        &'a self,
        network: &'a Network,
        address: &'a str,
        member: &'a Member,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<LaneLease>> {
        self.run(move |tables| tables.lane_acquire(network, address, member, now))
    }

    fn lane_release<'a>(&'a self, lease: &'a LaneLease) -> LedgerFuture<'a, ()> {
        self.run(move |tables| tables.lane_release(lease))
    }

    fn lane_transactions<'a>(
        &'a self,
        lease: &'a LaneLease,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<LaneContents>> {
        self.run(move |tables| tables.lane_transactions(lease, now))
    }

    fn delivery_claim<'a>(
        &'a self,
        endpoint: &'a str,
        now: UnixTime,
        retry_at: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Delivery>> {
        self.run(move |tables| tables.delivery_claim(endpoint, now, retry_at, limit))
    }

    fn delivery_finish(&self, id: DeliveryId, result: DeliveryResult) -> LedgerFuture<'_, ()> {
        self.run(move |tables| tables.delivery_finish(id, result))
    }

    fn secret<'a>(&'a self, name: &'a str, fresh: [u8; 32]) -> LedgerFuture<'a, [u8; 32]> {
        self.run(move |tables| tables.secret(name, fresh))
    }
}

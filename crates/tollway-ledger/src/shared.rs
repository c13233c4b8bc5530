//! A shared ledger is a ledger.

use std::sync::Arc;

use tollway_core::{AuthorizationKey, Network, UnixTime};

use crate::{
    Advance, Claim, Delivery, DeliveryId, DeliveryResult, Finish, Finished, Inserted, LaneContents,
    LaneLease, Ledger, LedgerFuture, Member, NewReservation, NewSettlement, Owed, Role, Sent, SentResult,
    Settlement, SettlementId, SettlementQuery, TransactionChange,
};

impl<L: Ledger + ?Sized> Ledger for Arc<L> {
    fn member_join<'a>(
        &'a self,
        role: Role,
        name: &'a str,
        now: UnixTime,
        until: UnixTime,
    ) -> LedgerFuture<'a, Member> {
        (**self).member_join(role, name, now, until)
    }

    fn member_renew<'a>(
        &'a self,
        member: &'a Member,
        now: UnixTime,
        until: UnixTime,
    ) -> LedgerFuture<'a, bool> {
        (**self).member_renew(member, now, until)
    }

    fn member_leave<'a>(&'a self, member: &'a Member) -> LedgerFuture<'a, ()> {
        (**self).member_leave(member)
    }

    fn member_list(&self, role: Role, now: UnixTime) -> LedgerFuture<'_, Vec<Member>> {
        (**self).member_list(role, now)
    }

    fn reservation_insert(&self, new: NewReservation) -> LedgerFuture<'_, Claim> {
        (**self).reservation_insert(new)
    }

    fn reservation_finish(&self, finish: Finish) -> LedgerFuture<'_, Finished> {
        (**self).reservation_finish(finish)
    }

    fn reservation_is_open<'a>(&'a self, key: &'a AuthorizationKey, now: UnixTime) -> LedgerFuture<'a, bool> {
        (**self).reservation_is_open(key, now)
    }

    fn reservation_owed(&self, now: UnixTime, retry_at: UnixTime, limit: u32) -> LedgerFuture<'_, Vec<Owed>> {
        (**self).reservation_owed(now, retry_at, limit)
    }

    fn reservation_count(&self) -> LedgerFuture<'_, u64> {
        (**self).reservation_count()
    }

    fn reservation_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        (**self).reservation_sweep(now, limit)
    }

    fn settlement_insert(&self, new: NewSettlement) -> LedgerFuture<'_, Inserted> {
        (**self).settlement_insert(new)
    }

    fn settlement_sent(&self, sent: Sent) -> LedgerFuture<'_, SentResult> {
        (**self).settlement_sent(sent)
    }

    fn settlement_advance(
        &self,
        settlements: Vec<Advance>,
        transactions: Vec<TransactionChange>,
        now: UnixTime,
    ) -> LedgerFuture<'_, Vec<bool>> {
        (**self).settlement_advance(settlements, transactions, now)
    }

    fn settlement_get<'a>(&'a self, key: &'a AuthorizationKey) -> LedgerFuture<'a, Option<Settlement>> {
        (**self).settlement_get(key)
    }

    fn settlement_find(&self, id: SettlementId) -> LedgerFuture<'_, Option<Settlement>> {
        (**self).settlement_find(id)
    }

    fn settlement_list(&self, query: SettlementQuery) -> LedgerFuture<'_, Vec<Settlement>> {
        (**self).settlement_list(query)
    }

    fn settlement_adopt<'a>(
        &'a self,
        network: &'a Network,
        member: &'a Member,
        now: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Settlement>> {
        (**self).settlement_adopt(network, member, now, limit)
    }

    fn settlement_unfinal<'a>(
        &'a self,
        network: &'a Network,
        after: u64,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Settlement>> {
        (**self).settlement_unfinal(network, after, limit)
    }

    fn settlement_open_count(&self) -> LedgerFuture<'_, u64> {
        (**self).settlement_open_count()
    }

    fn lane_acquire<'a>(
        &'a self,
        network: &'a Network,
        address: &'a str,
        member: &'a Member,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<LaneLease>> {
        (**self).lane_acquire(network, address, member, now)
    }

    fn lane_release<'a>(&'a self, lease: &'a LaneLease) -> LedgerFuture<'a, ()> {
        (**self).lane_release(lease)
    }

    fn lane_transactions<'a>(
        &'a self,
        lease: &'a LaneLease,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<LaneContents>> {
        (**self).lane_transactions(lease, now)
    }

    fn delivery_claim<'a>(
        &'a self,
        endpoint: &'a str,
        now: UnixTime,
        retry_at: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Delivery>> {
        (**self).delivery_claim(endpoint, now, retry_at, limit)
    }

    fn delivery_finish(&self, id: DeliveryId, result: DeliveryResult) -> LedgerFuture<'_, ()> {
        (**self).delivery_finish(id, result)
    }

    fn secret<'a>(&'a self, name: &'a str, fresh: [u8; 32]) -> LedgerFuture<'a, [u8; 32]> {
        (**self).secret(name, fresh)
    }
}

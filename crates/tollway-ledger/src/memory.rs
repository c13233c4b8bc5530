//! The ledger that lives as long as the process: the reference model, what the simulation runs on, and what libraries
//! begin with. Nothing here is durable, and there is only so much room: the oldest payments that have ended, and
//! the answers and closed intents that end first, are forgotten for newer ones. Facts, budgets and channels are never
//! forgotten: a full ledger takes no new ones (`room.rs`).

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tollway_core::{Amount, AuthorizationKey, ChannelKey, Network, UnixTime};

use crate::room::Room;
use crate::tables::Tables;
use crate::{
    Advance, Budget, Changed, Channel, ChannelCharge, Claim, Delivery, DeliveryId, DeliveryResult, Fact,
    Finish, Finished, Holder, Inserted, Intent, IntentChange, IntentId, IntentQuery, LaneContents, LaneLease,
    Ledger, LedgerError, LedgerFuture, Marked, Member, NewIntent, NewMark, NewReservation, NewSettlement,
    Opened, Owed, Purchase, Role, Sent, SentResult, Settlement, SettlementId, SettlementQuery,
    StoredResponse, TransactionChange,
};

/// How many payments are remembered, beside those that are open.
const MOST_SETTLEMENTS: usize = 200_000;
/// How many intents are remembered, beside those that are open.
const MOST_INTENTS: usize = 100_000;
/// What the bodies of stored answers may come to.
const MOST_RESPONSE_BYTES: usize = 256 << 20;

/// A ledger in memory. Clones share it, as processes share a database. Each call is done when it is first polled.
#[derive(Clone, Default)]
pub struct MemoryLedger {
    tables: Arc<Mutex<Tables>>,
    room: Room,
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

    #[cfg(test)]
    pub(crate) fn within(room: Room) -> Self {
        Self { room, ..Self::default() }
    }

    fn run<'a, T: Send + 'a>(
        &'a self,
        call: impl FnOnce(&mut Tables) -> T + Send + 'a,
    ) -> LedgerFuture<'a, T> {
        self.run_if(|_, _| Ok(()), call)
    }

    /// Does what there is room for.
    fn run_if<'a, T: Send + 'a>(
        &'a self,
        fits: impl FnOnce(Room, &mut Tables) -> Result<(), LedgerError> + Send + 'a,
        call: impl FnOnce(&mut Tables) -> T + Send + 'a,
    ) -> LedgerFuture<'a, T> {
        Box::pin(async move {
            let mut tables = self.tables.lock();
            fits(self.room, &mut tables)?;
            let answer = call(&mut tables);
            tables.make_room(MOST_SETTLEMENTS, MOST_INTENTS, MOST_RESPONSE_BYTES);
            Ok::<T, LedgerError>(answer)
        })
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

    fn mark_set(&self, mark: NewMark) -> LedgerFuture<'_, Marked> {
        self.run(move |tables| tables.mark_set(mark))
    }

    fn mark_is_set<'a>(
        &'a self,
        scope: &'a str,
        names: &'a [String],
        now: UnixTime,
    ) -> LedgerFuture<'a, bool> {
        self.run(move |tables| tables.mark_is_set(scope, names, now))
    }

    fn mark_count(&self) -> LedgerFuture<'_, u64> {
        self.run(|tables| tables.mark_count())
    }

    fn mark_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        self.run(move |tables| tables.mark_sweep(now, limit))
    }

    fn purchase_put(&self, purchase: Purchase) -> LedgerFuture<'_, bool> {
        self.run(move |tables| tables.purchase_put(purchase))
    }

    fn purchase_get<'a>(&'a self, key: &'a AuthorizationKey) -> LedgerFuture<'a, Option<Purchase>> {
        self.run(move |tables| tables.purchase_get(key))
    }

    fn purchase_list<'a>(
        &'a self,
        after: Option<&'a AuthorizationKey>,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Purchase>> {
        self.run(move |tables| tables.purchase_list(after, limit))
    }

    fn purchase_due(&self, now: UnixTime, retry_at: UnixTime, limit: u32) -> LedgerFuture<'_, Vec<Purchase>> {
        self.run(move |tables| tables.purchase_due(now, retry_at, limit))
    }

    fn purchase_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        self.run(move |tables| tables.purchase_sweep(now, limit))
    }

    fn channel_get<'a>(&'a self, scope: &'a str, id: &'a ChannelKey) -> LedgerFuture<'a, Option<Channel>> {
        self.run(move |tables| tables.channel_get(&(scope.to_owned(), id.clone())))
    }

    fn channel_put<'a>(
        &'a self,
        channel: Channel,
        member: Option<&'a Member>,
        now: UnixTime,
    ) -> LedgerFuture<'a, bool> {
        let key = (channel.scope.clone(), channel.id.clone());
        self.run_if(
            move |room, tables| room.channel(tables, &key),
            move |tables| tables.channel_put(channel, member, now),
        )
    }

    fn channel_charge(&self, charge: ChannelCharge) -> LedgerFuture<'_, bool> {
        self.run(move |tables| tables.channel_charge(charge))
    }

    fn channel_answer<'a>(
        &'a self,
        scope: &'a str,
        id: &'a ChannelKey,
    ) -> LedgerFuture<'a, Option<StoredResponse>> {
        self.run(move |tables| tables.channel_answer(&(scope.to_owned(), id.clone())))
    }

    fn channel_hold<'a>(
        &'a self,
        scope: &'a str,
        id: &'a ChannelKey,
        version: u64,
        holder: Holder,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<Channel>> {
        self.run(move |tables| tables.channel_hold((scope.to_owned(), id.clone()), version, holder, now))
    }

    fn channel_list<'a>(
        &'a self,
        scope: &'a str,
        after: Option<&'a ChannelKey>,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Channel>> {
        self.run(move |tables| tables.channel_list(scope, after, limit))
    }

    fn channel_due<'a>(
        &'a self,
        scope: &'a str,
        now: UnixTime,
        retry_at: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Channel>> {
        self.run(move |tables| tables.channel_due(scope, now, retry_at, limit))
    }

    fn channel_remove<'a>(
        &'a self,
        scope: &'a str,
        id: &'a ChannelKey,
        version: u64,
        member: Option<&'a Member>,
        now: UnixTime,
    ) -> LedgerFuture<'a, bool> {
        self.run(move |tables| tables.channel_remove(&(scope.to_owned(), id.clone()), version, member, now))
    }

    fn channel_count<'a>(&'a self, scope: &'a str) -> LedgerFuture<'a, u64> {
        self.run(move |tables| tables.channel_count(scope))
    }

    fn intent_open(&self, new: NewIntent) -> LedgerFuture<'_, Opened> {
        let (conditions, holds, now) = (new.conditions.clone(), new.holds.clone(), new.now);
        self.run_if(
            move |room, tables| room.intent(tables, &conditions, &holds, now),
            move |tables| tables.intent_open(new),
        )
    }

    fn intent_take<'a>(
        &'a self,
        id: IntentId,
        member: &'a Member,
        now: UnixTime,
    ) -> LedgerFuture<'a, Option<Intent>> {
        self.run(move |tables| tables.intent_take(id, member, now))
    }

    fn intent_put(&self, change: IntentChange) -> LedgerFuture<'_, Changed> {
        let (conditions, holds, now) = (change.conditions.clone(), change.add.clone(), change.now);
        self.run_if(
            move |room, tables| room.intent(tables, &conditions, &holds, now),
            move |tables| tables.intent_put(change),
        )
    }

    fn intent_get(&self, id: IntentId) -> LedgerFuture<'_, Option<Intent>> {
        self.run(move |tables| tables.intents.get(&id).cloned())
    }

    fn intent_find<'a>(&'a self, wallet: &'a str, key: &'a str) -> LedgerFuture<'a, Option<Intent>> {
        self.run(move |tables| tables.intent_find(wallet, key))
    }

    fn intent_list(&self, query: IntentQuery) -> LedgerFuture<'_, Vec<Intent>> {
        self.run(move |tables| tables.intent_list(&query))
    }

    fn intent_due<'a>(
        &'a self,
        wallet: &'a str,
        member: &'a Member,
        now: UnixTime,
        retry_at: UnixTime,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Intent>> {
        self.run(move |tables| tables.intent_due(wallet, member, now, retry_at, limit))
    }

    fn intent_count<'a>(&'a self, wallet: &'a str) -> LedgerFuture<'a, u64> {
        self.run(move |tables| tables.intent_count(wallet))
    }

    fn intent_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        self.run(move |tables| tables.intent_sweep(now, limit))
    }

    fn budget_get<'a>(&'a self, windows: &'a [(String, UnixTime)]) -> LedgerFuture<'a, Vec<Amount>> {
        self.run(move |tables| tables.budget_get(windows))
    }

    fn budget_list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a (String, UnixTime)>,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Budget>> {
        self.run(move |tables| tables.budget_list(prefix, after, limit))
    }

    fn budget_sweep(&self, before: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        self.run(move |tables| tables.budget_sweep(before, limit))
    }

    fn fact_put(&self, fact: Fact) -> LedgerFuture<'_, bool> {
        let key = (fact.scope.clone(), fact.name.clone());
        self.run_if(move |room, tables| room.fact(tables, &key), move |tables| tables.fact_put(fact))
    }

    fn fact_get<'a>(&'a self, scope: &'a str, name: &'a str) -> LedgerFuture<'a, Option<Fact>> {
        self.run(move |tables| tables.fact_get(scope, name))
    }

    fn fact_list<'a>(
        &'a self,
        scope: &'a str,
        after: Option<&'a str>,
        limit: u32,
    ) -> LedgerFuture<'a, Vec<Fact>> {
        self.run(move |tables| tables.fact_list(scope, after, limit))
    }

    fn fact_remove<'a>(&'a self, scope: &'a str, name: &'a str, version: u64) -> LedgerFuture<'a, bool> {
        self.run(move |tables| tables.fact_remove(scope, name, version))
    }

    fn fact_sweep(&self, now: UnixTime, limit: u32) -> LedgerFuture<'_, u64> {
        self.run(move |tables| tables.fact_sweep(now, limit))
    }

    fn secret<'a>(&'a self, name: &'a str, fresh: [u8; 32]) -> LedgerFuture<'a, [u8; 32]> {
        self.run(move |tables| tables.secret(name, fresh))
    }
}

#[cfg(test)]
mod tests {
    use tollway_core::{Amount, AuthorizationKey, Fingerprint, Network, UnixTime};

    use crate::tables::Tables;
    use crate::{
        Advance, Fate, Finish, Hold, Intent, IntentId, Member, NewHold, NewIntent, NewReservation,
        NewSettlement, Role, SettlementState, StoredResponse, Token,
    };

    const NOW: UnixTime = UnixTime(1_000);

    fn member(role: Role) -> Member {
        Member { role, name: "m".to_owned(), incarnation: 1 }
    }

    fn key(number: u64) -> AuthorizationKey {
        AuthorizationKey::new(format!("key {number}"))
    }

    fn settlement(number: u64) -> NewSettlement {
        NewSettlement {
            key: key(number),
            digest: [0; 32],
            payment: "{}".to_owned(),
            network: Network::evm(1),
            asset: "asset".to_owned(),
            payer: "payer".to_owned(),
            pay_to: "payee".to_owned(),
            amount: Amount::from(1_u64),
            caller: Some("caller".to_owned()),
            valid_before: UnixTime(2_000),
            confirmations: 0,
            member: member(Role::Facilitator),
            now: NOW,
        }
    }

    #[test]
    fn the_oldest_that_have_ended_make_room_and_what_is_open_stays() {
        let mut tables = Tables::default();
        for number in 0..10 {
            tables.settlement_insert(settlement(number));
            if number % 2 == 0 {
                let to = SettlementState::Abandoned { message: "down".to_owned() };
                let advance = Advance { key: key(number), attempt: 1, to, deliveries: Vec::new() };
                tables.settlement_advance(vec![advance], &[], NOW);
            }
        }
        tables.make_room(7, 0, 0);
        let is_known = |number: u64| tables.settlements.get(&key(number)).is_some();
        assert_eq!((0..10).filter(|number| is_known(*number)).collect::<Vec<_>>(), [1, 3, 5, 6, 7, 8, 9]);
        tables.make_room(0, 0, 0);
        assert_eq!(tables.settlement_open_count(), 5, "what is open is never forgotten");
        let query =
            crate::SettlementQuery { caller: Some("caller".to_owned()), limit: 100, ..Default::default() };
        assert_eq!(tables.settlement_list(&query).len(), 5, "no index names what is gone");
    }

    #[test]
    fn answers_that_end_first_make_room_and_their_reservations_stay() {
        let mut tables = Tables::default();
        for number in 0..4 {
            let url = "https://x/".parse().unwrap();
            tables.reservation_insert(NewReservation {
                key: key(number),
                fingerprint: Fingerprint::of("GET", &url, b""),
                payer: "payer".to_owned(),
                identifier: None,
                member: member(Role::Seller),
                token: Token(number),
                valid_before: UnixTime(2_000),
                now: NOW,
                capacity: 100,
            });
            let expires = UnixTime(3_000 - number);
            let response = StoredResponse {
                presented: [0; 32],
                status: 200,
                headers: Vec::new(),
                body: vec![0; 10],
                expires,
            };
            tables.reservation_finish(Finish {
                key: key(number),
                token: Token(number),
                fate: Fate::Delivered("0x1".to_owned()),
                response: Some(response),
                keep_until: UnixTime(4_000),
                owed_limits: None,
                now: NOW,
            });
        }
        tables.make_room(0, 0, 25);
        let kept: Vec<_> = (0..4).filter(|number| tables.responses.get(&key(*number)).is_some()).collect();
        assert_eq!(kept, [0, 1]);
        assert_eq!(tables.reservation_count, 4, "what was bought is remembered without its answer");
    }

    #[test]
    fn closed_intents_that_end_first_make_room_and_stay_counted() {
        let mut tables = Tables::default();
        for number in 0..6_u8 {
            let intent = Intent {
                id: IntentId([number; 16]),
                wallet: "w".to_owned(),
                agent: None,
                key: Some(number.to_string()),
                version: 0,
                holder: None,
                is_open: number == 0,
                repeat_until: NOW,
                due: NOW,
                created: NOW,
                until: UnixTime(3_000 - u64::from(number)),
                holds: Vec::new(),
                body: String::new(),
            };
            let (window, until, amount) = (NOW, UnixTime(2_000), Amount::from(1_u64));
            let hold = Hold { budget: "day".to_owned(), window, until, amount };
            let holds = vec![NewHold { hold, limit: 10.into() }];
            let conditions = Vec::new();
            tables.intent_open(NewIntent { intent, holds, conditions, is_synced: true, now: NOW });
        }
        let kept = |tables: &Tables| {
            (0..6)
                .filter(|number| tables.intents.get(&IntentId([*number; 16])).is_some())
                .collect::<Vec<u8>>()
        };
        tables.make_room(0, 3, 0);
        assert_eq!(kept(&tables), [0, 1, 2]);
        tables.make_room(0, 0, 0);
        assert_eq!(kept(&tables), [0], "what is open is never forgotten");
        assert_eq!(tables.intent_count("w"), 1, "no index names what is gone");
        assert_eq!(tables.budget_get(&[("day".to_owned(), NOW)]), [6.into()]);
    }
}

//! The rules of the ledger over rows in memory: what each call reads, decides and writes.
//!
//! Every store keeps these rules by running this code. [`crate::MemoryLedger`] runs it over all rows there are. The
//! SQL stores load the rows that some calls are about, run it over these, and write down the rows that it touched; so
//! there is one place where a rule can be wrong. What does not live here: locks, SQL, waiting.

mod budgets;
mod channels;
mod deliveries;
mod facts;
mod intents;
mod lanes;
mod marks;
mod members;
mod purchases;
mod reservations;
mod settlements;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use tollway_core::{Amount, AuthorizationKey, ChannelKey, Network, UnixTime};

pub(crate) use budgets::BudgetRow;
pub(crate) use channels::ChannelRow;
pub(crate) use deliveries::DeliveryRow;
pub(crate) use facts::FactRow;
pub(crate) use lanes::{LaneRow, TransactionRow};
pub(crate) use members::MemberRow;
pub(crate) use purchases::PurchaseRow;
pub(crate) use reservations::{Debt, Reservation, Standing};
pub(crate) use table::Table;

use crate::{Intent, IntentId, Role, SettlementId, StoredResponse};

/// By name within a role.
pub(crate) type MemberKey = (Role, String);
/// By network and account.
pub(crate) type LaneKey = (Network, String);
/// What is owed on a network in an asset: by a payer, or by all.
pub(crate) type TallyKey = (Network, String, Option<String>);

/// By name within a scope.
pub(crate) type MarkKey = (String, String);
/// By name and beginning of the window.
pub(crate) type BudgetKey = (String, UnixTime);
/// By name within a scope.
pub(crate) type FactKey = (String, String);
/// By name within a scope.
pub(crate) type ChannelId = (String, ChannelKey);

/// All rows, or those that some calls are about, and the indexes that the calls need.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) members: Table<MemberKey, MemberRow>,
    pub(crate) reservations: Table<AuthorizationKey, Reservation>,
    pub(crate) responses: Table<AuthorizationKey, StoredResponse>,
    pub(crate) tallies: Table<TallyKey, Amount>,
    pub(crate) settlements: Table<AuthorizationKey, crate::Settlement>,
    pub(crate) lanes: Table<LaneKey, LaneRow>,
    pub(crate) transactions: Table<String, TransactionRow>,
    pub(crate) deliveries: Table<u64, DeliveryRow>,
    pub(crate) secrets: Table<String, [u8; 32]>,
    pub(crate) marks: Table<MarkKey, UnixTime>,
    pub(crate) purchases: Table<AuthorizationKey, PurchaseRow>,
    pub(crate) intents: Table<IntentId, Intent>,
    pub(crate) budgets: Table<BudgetKey, BudgetRow>,
    pub(crate) facts: Table<FactKey, FactRow>,
    pub(crate) channels: Table<ChannelId, ChannelRow>,
    pub(crate) channel_answers: Table<ChannelId, StoredResponse>,
    /// How many reservations there are, in the store as a whole.
    pub(crate) reservation_count: u64,
    /// The latest place in the order of arrival.
    pub(crate) sequence: u64,
    /// The latest delivery's name.
    pub(crate) delivery_id: u64,
    /// What the bodies of all answers here come to.
    response_bytes: usize,
    /// What the bodies of all channels' answers here come to.
    channel_answer_bytes: usize,
    indexes: Indexes,
}

/// Ways to rows that are not by their key. Kept by the `put` and `remove` of each kind of row.
#[derive(Debug, Default)]
struct Indexes {
    by_identifier: BTreeMap<(String, String), AuthorizationKey>,
    by_keep_until: BTreeSet<(UnixTime, AuthorizationKey)>,
    by_next_try: BTreeSet<(UnixTime, AuthorizationKey)>,
    by_response_expiry: BTreeSet<(UnixTime, AuthorizationKey)>,
    by_id: BTreeMap<SettlementId, AuthorizationKey>,
    by_sequence: BTreeMap<u64, AuthorizationKey>,
    by_payer: BTreeSet<(String, u64)>,
    by_caller: BTreeSet<(String, u64)>,
    open: BTreeSet<(Network, u64)>,
    unfinal: BTreeSet<(Network, u64)>,
    unended_transactions: BTreeSet<(LaneKey, u64, u64, String)>,
    due_deliveries: BTreeSet<(String, UnixTime, u64)>,
    by_until: BTreeSet<(UnixTime, MarkKey)>,
    by_due: BTreeSet<(UnixTime, AuthorizationKey)>,
    by_purchase_until: BTreeSet<(UnixTime, AuthorizationKey)>,
    by_intent_key: BTreeMap<(String, String), IntentId>,
    by_created: BTreeSet<(String, UnixTime, IntentId)>,
    due_intents: BTreeSet<(String, UnixTime, IntentId)>,
    closed_intents: BTreeSet<(UnixTime, IntentId)>,
    by_budget_until: BTreeSet<(UnixTime, BudgetKey)>,
    by_fact_until: BTreeSet<(UnixTime, FactKey)>,
    due_channels: BTreeSet<(String, UnixTime, ChannelKey)>,
    by_answer_expiry: BTreeSet<(UnixTime, ChannelId)>,
}

impl Tables {
    /// Remembers from now on which rows are written.
    pub(crate) fn track(&mut self) {
        self.members.track();
        self.reservations.track();
        self.responses.track();
        self.tallies.track();
        self.settlements.track();
        self.lanes.track();
        self.transactions.track();
        self.deliveries.track();
        self.secrets.track();
        self.marks.track();
        self.purchases.track();
        self.intents.track();
        self.budgets.track();
        self.facts.track();
        self.channels.track();
        self.channel_answers.track();
    }

    /// Forgets answers and closed intents, those that end first, and payments that have ended, the oldest, until there
    /// are no more than this. What is open, or not final, is never forgotten, and no channel. For a store that has no room but its memory.
    pub(crate) fn make_room(&mut self, settlements: usize, intents: usize, response_bytes: usize) {
        while self.response_bytes > response_bytes && self.response_forget_first() {}
        while self.channel_answer_bytes > response_bytes && self.channel_answer_forget_first() {}
        while self.settlements.len() > settlements && self.settlement_forget_oldest() {}
        while self.intents.len() > intents && self.intent_forget_first() {}
    }

    /// The secret of this name; `fresh` if there is none.
    pub(crate) fn secret(&mut self, name: &str, fresh: [u8; 32]) -> [u8; 32] {
        if let Some(secret) = self.secrets.get(name) {
            return *secret;
        }
        self.secrets.put(name.to_owned(), fresh);
        fresh
    }
}

/// The latest moment that every store can hold.
pub(crate) fn storable(time: UnixTime) -> UnixTime {
    UnixTime(time.0.min(i64::MAX.unsigned_abs()))
}

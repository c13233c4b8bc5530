//! Which rows a call is about: what is read before the rules run over it.

use tollway_core::{AuthorizationKey, Network, UnixTime};

use crate::tables::{BudgetKey, ChannelId, FactKey, LaneKey, MarkKey, MemberKey, TallyKey, storable};
use crate::{Condition, DeliveryId, Hold, IntentId, LaneLease, Member, NewHold, PaymentIdentifier};

/// What one call, or many, have to read.
#[derive(Clone, Debug, Default)]
pub(super) struct Needs {
    /// Reservations to be claimed, with their answers and the members who hold them.
    pub(super) claims: Vec<AuthorizationKey>,
    pub(super) identifiers: Vec<PaymentIdentifier>,
    /// Reservations to be written, with what they owe.
    pub(super) reservations: Vec<AuthorizationKey>,
    pub(super) tallies: Vec<TallyKey>,
    /// Settlements that begin: no two calls of one batch may begin the same, for the second is told of the first's row.
    pub(super) beginnings: Vec<AuthorizationKey>,
    /// Settlements to be advanced: without the payment's text and the transactions of before.
    pub(super) settlements: Vec<AuthorizationKey>,
    pub(super) lanes: Vec<LaneKey>,
    /// Transactions to be written or changed: without their bytes.
    pub(super) transactions: Vec<String>,
    pub(super) members: Vec<MemberKey>,
    pub(super) deliveries: Vec<u64>,
    pub(super) secrets: Vec<String>,
    pub(super) marks: Vec<MarkKey>,
    pub(super) purchases: Vec<AuthorizationKey>,
    /// Intents, with the members who hold them.
    pub(super) intents: Vec<IntentId>,
    /// Intents to be changed by who has read them: without their body, which is written anew.
    pub(super) changed_intents: Vec<IntentId>,
    /// Intents by wallet and key.
    pub(super) intent_keys: Vec<(String, String)>,
    pub(super) budgets: Vec<BudgetKey>,
    pub(super) facts: Vec<FactKey>,
    /// Channels, with the members who hold them.
    pub(super) channels: Vec<ChannelId>,
    /// Rows that are found by what is in them. Such a call has a transaction of its own, so that it meets no row that
    /// was read for another.
    pub(super) search: Option<Search>,
}

/// Rows to be found.
#[derive(Clone, Debug)]
pub(super) enum Search {
    Owed { now: UnixTime, limit: u32 },
    Expired { now: UnixTime, limit: u32 },
    PastMarks { now: UnixTime, limit: u32 },
    DuePurchases { now: UnixTime, limit: u32 },
    PastPurchases { now: UnixTime, limit: u32 },
    DueIntents { wallet: String, member: Member, now: UnixTime, limit: u32 },
    PastIntents { now: UnixTime, limit: u32 },
    PastBudgets { now: UnixTime, limit: u32 },
    PastFacts { now: UnixTime, limit: u32 },
    DueChannels { scope: String, now: UnixTime, limit: u32 },
    Orphans { network: Network, now: UnixTime, limit: u32 },
    Lane(LaneKey),
    Due { endpoint: String, now: UnixTime, limit: u32 },
}

impl Needs {
    pub(super) fn member(member: &Member) -> Self {
        Self { members: vec![member_key(member)], ..Self::default() }
    }

    pub(super) fn lane(lease: &LaneLease) -> Self {
        Self {
            lanes: vec![(lease.network.clone(), lease.address.clone())],
            members: vec![member_key(&lease.member)],
            ..Self::default()
        }
    }

    pub(super) fn channel(key: ChannelId) -> Self {
        Self { channels: vec![key], ..Self::default() }
    }

    pub(super) fn delivery(id: DeliveryId) -> Self {
        Self { deliveries: vec![id.0], ..Self::default() }
    }

    pub(super) fn search(search: Search) -> Self {
        Self { search: Some(search), ..Self::default() }
    }

    /// What an intent counts and what must be true, beside the intent.
    pub(super) fn admission(conditions: &[Condition], release: &[Hold], add: &[NewHold]) -> Self {
        let holds = release.iter().chain(add.iter().map(|new| &new.hold));
        let fact = |condition: &Condition| match condition {
            Condition::Absent { scope, name } | Condition::EqualOrSet { scope, name, .. } => {
                (scope.clone(), name.clone())
            }
        };
        Self {
            budgets: holds.map(|hold| (hold.budget.clone(), storable(hold.window))).collect(),
            facts: conditions.iter().map(fact).collect(),
            ..Self::default()
        }
    }

    /// Adds what another call needs.
    pub(super) fn add(&mut self, other: &Self) {
        self.claims.extend_from_slice(&other.claims);
        self.identifiers.extend_from_slice(&other.identifiers);
        self.reservations.extend_from_slice(&other.reservations);
        self.tallies.extend_from_slice(&other.tallies);
        self.beginnings.extend_from_slice(&other.beginnings);
        self.settlements.extend_from_slice(&other.settlements);
        self.lanes.extend_from_slice(&other.lanes);
        self.transactions.extend_from_slice(&other.transactions);
        self.members.extend_from_slice(&other.members);
        self.deliveries.extend_from_slice(&other.deliveries);
        self.secrets.extend_from_slice(&other.secrets);
        self.marks.extend_from_slice(&other.marks);
        self.purchases.extend_from_slice(&other.purchases);
        self.intents.extend_from_slice(&other.intents);
        self.changed_intents.extend_from_slice(&other.changed_intents);
        self.intent_keys.extend_from_slice(&other.intent_keys);
        self.budgets.extend_from_slice(&other.budgets);
        self.facts.extend_from_slice(&other.facts);
        self.channels.extend_from_slice(&other.channels);
        self.search = self.search.take().or_else(|| other.search.clone());
    }
}

pub(super) fn member_key(member: &Member) -> MemberKey {
    (member.role, member.name.clone())
}

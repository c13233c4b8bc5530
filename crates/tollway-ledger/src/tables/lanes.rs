//! Lanes and their transactions.

use tollway_core::{AuthorizationKey, Network, UnixTime};

use super::{LaneKey, Tables};
use crate::{
    LaneContents, LaneLease, LaneTransaction, Member, NewTransaction, Settlement, SettlementState,
    TransactionChange, TransactionState,
};

/// Who has a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LaneRow {
    pub(crate) token: u64,
    pub(crate) holder: Option<Member>,
}

/// A transaction of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TransactionRow {
    /// Its place in the order of signing.
    pub(crate) sequence: u64,
    pub(crate) lane: LaneKey,
    pub(crate) transaction: LaneTransaction,
    /// The payments in it.
    pub(crate) settlements: Vec<AuthorizationKey>,
}

impl Tables {
    pub(crate) fn lane_acquire(
        &mut self,
        network: &Network,
        address: &str,
        member: &Member,
        now: UnixTime,
    ) -> Option<LaneLease> {
        let key = (network.clone(), address.to_owned());
        let row = self.lanes.get(&key).cloned().unwrap_or(LaneRow { token: 0, holder: None });
        let lease = |token| LaneLease {
            network: network.clone(),
            address: address.to_owned(),
            member: member.clone(),
            token,
        };
        if row.holder.as_ref() == Some(member) {
            return Some(lease(row.token));
        }
        // The dead take nothing: it would be taken from them at once.
        if !self.is_alive(member, now) {
            return None;
        }
        if let Some(holder) = &row.holder {
            if self.is_alive(holder, now) {
                return None;
            }
            self.bury(holder);
        }
        let token = row.token + 1;
        self.lanes.put(key, LaneRow { token, holder: Some(member.clone()) });
        Some(lease(token))
    }

    pub(crate) fn lane_release(&mut self, lease: &LaneLease) {
        if self.lease_counts(lease) {
            let key = (lease.network.clone(), lease.address.clone());
            self.lanes.put(key, LaneRow { token: lease.token, holder: None });
        }
    }

    pub(crate) fn lane_transactions(&mut self, lease: &LaneLease, now: UnixTime) -> Option<LaneContents> {
        if !self.lease_counts(lease) {
            return None;
        }
        let lane = (lease.network.clone(), lease.address.clone());
        let first = (lane.clone(), 0, 0, String::new());
        let listed = self.indexes.unended_transactions.range(first..);
        let listed: Vec<_> =
            listed.take_while(|(of, ..)| *of == lane).map(|(.., hash)| hash.clone()).collect();
        let mut keys: Vec<AuthorizationKey> = Vec::new();
        for row in listed.iter().filter_map(|hash| self.transactions.get(hash)) {
            keys.extend(row.settlements.iter().cloned());
        }
        keys.sort();
        keys.dedup();
        for key in keys {
            let Some(row) = self.settlements.get(&key) else { continue };
            let is_here =
                matches!(&row.state, SettlementState::Sent { transaction } if listed.contains(transaction));
            if is_here {
                self.settlement_take(&key, &lease.member, now);
            }
        }
        // What is open elsewhere is in the hands of others: whoever was given it could write with their attempt.
        let is_told = |row: &Settlement| match &row.state {
            SettlementState::Sent { transaction } => listed.contains(transaction),
            state => !state.is_open(),
        };
        let transactions = listed.iter().filter_map(|hash| self.transactions.get(hash)).map(|row| {
            let settlements = row.settlements.iter().filter_map(|key| self.settlements.get(key));
            (row.transaction.clone(), settlements.filter(|row| is_told(row)).cloned().collect())
        });
        Some(transactions.collect())
    }

    pub(super) fn lease_counts(&self, lease: &LaneLease) -> bool {
        let row = self.lanes.get(&(lease.network.clone(), lease.address.clone()));
        row.is_some_and(|row| row.token == lease.token && row.holder.as_ref() == Some(&lease.member))
    }

    /// Writes a signed transaction down. Written before, it stays as it is, and has these payments too.
    pub(super) fn transaction_insert(
        &mut self,
        lease: &LaneLease,
        signed: NewTransaction,
        settlements: Vec<AuthorizationKey>,
        now: UnixTime,
    ) {
        if let Some(mut row) = self.transactions.get(&signed.hash).cloned() {
            row.settlements.extend(settlements);
            row.settlements.sort();
            row.settlements.dedup();
            self.transaction_put(row);
            return;
        }
        self.sequence += 1;
        self.transaction_put(TransactionRow {
            sequence: self.sequence,
            lane: (lease.network.clone(), lease.address.clone()),
            transaction: LaneTransaction { signed, state: TransactionState::Open, signed_at: now },
            settlements,
        });
    }

    /// What is final stays final, whoever says otherwise late.
    pub(super) fn transaction_change(&mut self, change: &TransactionChange) {
        let Some(row) = self.transactions.get(&change.hash) else { return };
        if row.transaction.state != TransactionState::Final {
            let mut row = row.clone();
            row.transaction.state = change.state;
            self.transaction_put(row);
        }
    }

    pub(super) fn is_unended(&self, hash: &str) -> bool {
        let row = self.transactions.get(hash);
        row.is_some_and(|row| is_unended(row.transaction.state))
    }

    pub(crate) fn transaction_put(&mut self, row: TransactionRow) {
        let signed = &row.transaction.signed;
        let place = (row.lane.clone(), signed.nonce, row.sequence, signed.hash.clone());
        if is_unended(row.transaction.state) {
            self.indexes.unended_transactions.insert(place);
        } else {
            self.indexes.unended_transactions.remove(&place);
        }
        self.transactions.put(signed.hash.clone(), row);
    }
}

const fn is_unended(state: TransactionState) -> bool {
    matches!(state, TransactionState::Open | TransactionState::Included)
}

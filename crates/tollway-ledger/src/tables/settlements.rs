//! Settlements: who may write, and what.

use tollway_core::{AuthorizationKey, Network, UnixTime};

use super::{Tables, storable};
use crate::{
    Advance, Inserted, Member, NewSettlement, Sent, SentResult, Settlement, SettlementId, SettlementQuery,
    SettlementState, TransactionChange,
};

/// How many of the oldest are looked at for one that has ended.
const OLDEST: usize = 1_024;

impl Tables {
    pub(crate) fn settlement_insert(&mut self, new: NewSettlement) -> Inserted {
        let Some(row) = self.settlements.get(&new.key).cloned() else {
            self.sequence += 1;
            self.settlement_put(first(new, self.sequence));
            return Inserted::New { attempt: 1, transactions: Vec::new() };
        };
        if row.digest != new.digest {
            return Inserted::Other;
        }
        if !matches!(row.state, SettlementState::Failed { .. } | SettlementState::Abandoned { .. }) {
            return Inserted::Existing(Box::new(row));
        }
        // What was signed is the same; the rest is this caller's.
        let again = Settlement {
            payment: new.payment,
            caller: new.caller,
            valid_before: storable(new.valid_before),
            confirmations: new.confirmations,
            state: SettlementState::Reserved,
            attempt: row.attempt + 1,
            member: new.member,
            updated_at: storable(new.now),
            ..row.clone()
        };
        self.settlement_put(again);
        Inserted::New { attempt: row.attempt + 1, transactions: row.transactions }
    }

    pub(crate) fn settlement_sent(&mut self, sent: Sent) -> SentResult {
        if !self.lease_counts(&sent.lease) {
            return SentResult::Fenced;
        }
        let stale = sent.settlements.iter().filter(|(key, attempt)| !self.may_write(key, *attempt));
        let stale: Vec<_> = stale.map(|(key, _)| key.clone()).collect();
        if !stale.is_empty() {
            return SentResult::Stale(stale);
        }
        let hash = &sent.transaction.hash;
        let mut keys: Vec<AuthorizationKey> = Vec::with_capacity(sent.settlements.len());
        for (key, _) in sent.settlements {
            let Some(mut row) = self.settlements.get(&key).cloned() else { continue };
            row.state = SettlementState::Sent { transaction: hash.clone() };
            row.updated_at = storable(sent.now);
            if !row.transactions.contains(hash) {
                row.transactions.push(hash.clone());
            }
            self.settlement_put(row);
            keys.push(key);
        }
        keys.sort();
        keys.dedup();
        self.transaction_insert(&sent.lease, sent.transaction, keys, storable(sent.now));
        SentResult::Written
    }

    pub(crate) fn settlement_advance(
        &mut self,
        settlements: Vec<Advance>,
        transactions: &[TransactionChange],
        now: UnixTime,
    ) -> Vec<bool> {
        for change in transactions {
            self.transaction_change(change);
        }
        let written = settlements.into_iter().map(|advance| {
            let row =
                self.settlements.get(&advance.key).filter(|_| self.may_write(&advance.key, advance.attempt));
            let Some(mut row) = row.cloned() else { return false };
            row.state = advance.to;
            row.updated_at = storable(now);
            for delivery in advance.deliveries {
                self.delivery_insert(row.id, delivery, now);
            }
            self.settlement_put(row);
            true
        });
        written.collect()
    }

    pub(crate) fn settlement_find(&self, id: SettlementId) -> Option<Settlement> {
        self.settlements.get(self.indexes.by_id.get(&id)?).cloned()
    }

    pub(crate) fn settlement_list(&self, query: &SettlementQuery) -> Vec<Settlement> {
        let first = query.after.map_or(0, |after| after.saturating_add(1));
        let before = query.before.unwrap_or(u64::MAX);
        let rows = |sequences: &mut dyn DoubleEndedIterator<Item = u64>| -> Vec<Settlement> {
            let mut in_order: Box<dyn Iterator<Item = u64> + '_> = match query.after {
                Some(_) => Box::new(sequences),
                None => Box::new(sequences.rev()),
            };
            let rows = in_order.by_ref().filter_map(|sequence| self.settlement_at(sequence));
            let rows = rows.filter(|row| query.payer.as_ref().is_none_or(|payer| row.payer == *payer));
            let rows = rows.filter(|row| query.pay_to.as_ref().is_none_or(|pay_to| row.pay_to == *pay_to));
            let rows = rows.filter(|row| query.caller.is_none() || row.caller == query.caller);
            rows.take(query.limit as usize).cloned().collect()
        };
        if first >= before {
            return Vec::new();
        }
        let narrow = match (&query.payer, &query.caller) {
            (Some(payer), _) => Some((&self.indexes.by_payer, payer)),
            (None, Some(caller)) => Some((&self.indexes.by_caller, caller)),
            (None, None) => None,
        };
        match narrow {
            Some((index, who)) => {
                let range = index.range((who.clone(), first)..(who.clone(), before));
                rows(&mut range.map(|(_, sequence)| *sequence))
            }
            None => rows(&mut self.indexes.by_sequence.range(first..before).map(|(sequence, _)| *sequence)),
        }
    }

    pub(crate) fn settlement_adopt(
        &mut self,
        network: &Network,
        member: &Member,
        now: UnixTime,
        limit: u32,
    ) -> Vec<Settlement> {
        if !self.is_alive(member, now) {
            return Vec::new();
        }
        let open = self.indexes.open.range((network.clone(), 0)..=(network.clone(), u64::MAX));
        let orphans = open.filter_map(|(_, sequence)| self.settlement_at(*sequence)).filter(|row| {
            let is_in_lane =
                matches!(&row.state, SettlementState::Sent { transaction } if self.is_unended(transaction));
            !is_in_lane && !self.is_alive(&row.member, now)
        });
        let orphans: Vec<_> = orphans.take(limit as usize).map(|row| row.key.clone()).collect();
        orphans.iter().filter_map(|key| self.settlement_take(key, member, now)).collect()
    }

    pub(crate) fn settlement_unfinal(&self, network: &Network, after: u64, limit: u32) -> Vec<Settlement> {
        let Some(first) = after.checked_add(1) else { return Vec::new() };
        let unfinal = self.indexes.unfinal.range((network.clone(), first)..=(network.clone(), u64::MAX));
        let rows = unfinal.filter_map(|(_, sequence)| self.settlement_at(*sequence));
        rows.take(limit as usize).cloned().collect()
    }

    pub(crate) fn settlement_open_count(&self) -> u64 {
        u64::try_from(self.indexes.open.len()).unwrap_or(u64::MAX)
    }

    /// The right to write is `member`'s from now on. If it was another's who is dead, that one does not live on.
    pub(super) fn settlement_take(
        &mut self,
        key: &AuthorizationKey,
        member: &Member,
        now: UnixTime,
    ) -> Option<Settlement> {
        let mut row = self.settlements.get(key)?.clone();
        if row.member != *member && !self.is_alive(&row.member, now) {
            let dead = row.member.clone();
            self.bury(&dead);
        }
        row.member = member.clone();
        row.attempt += 1;
        row.updated_at = storable(now);
        self.settlement_put(row.clone());
        Some(row)
    }

    pub(crate) fn settlement_put(&mut self, row: Settlement) {
        if let Some(before) = self.settlements.get(&row.key) {
            let place = (before.network.clone(), before.sequence);
            self.indexes.open.remove(&place);
            self.indexes.unfinal.remove(&place);
            if before.caller != row.caller
                && let Some(caller) = &before.caller
            {
                self.indexes.by_caller.remove(&(caller.clone(), before.sequence));
            }
        }
        let place = (row.network.clone(), row.sequence);
        if row.state.is_open() {
            self.indexes.open.insert(place);
        } else if matches!(row.state, SettlementState::Settled { is_final: false, .. }) {
            self.indexes.unfinal.insert(place);
        }
        self.indexes.by_id.insert(row.id, row.key.clone());
        self.indexes.by_sequence.insert(row.sequence, row.key.clone());
        self.indexes.by_payer.insert((row.payer.clone(), row.sequence));
        if let Some(caller) = &row.caller {
            self.indexes.by_caller.insert((caller.clone(), row.sequence));
        }
        self.settlements.put(row.key.clone(), row);
    }

    /// Forgets the oldest payment that has ended, and its transactions; false if none of the oldest has.
    pub(super) fn settlement_forget_oldest(&mut self) -> bool {
        let mut oldest =
            self.indexes.by_sequence.values().take(OLDEST).filter_map(|key| self.settlements.get(key));
        let Some(row) = oldest.find(|row| row.state.is_ended()).cloned() else { return false };
        self.settlements.remove(&row.key);
        self.indexes.by_id.remove(&row.id);
        self.indexes.by_sequence.remove(&row.sequence);
        self.indexes.by_payer.remove(&(row.payer, row.sequence));
        if let Some(caller) = row.caller {
            self.indexes.by_caller.remove(&(caller, row.sequence));
        }
        for hash in row.transactions.iter().filter(|hash| !self.is_unended(hash)).collect::<Vec<_>>() {
            self.transactions.remove(hash);
        }
        true
    }

    fn settlement_at(&self, sequence: u64) -> Option<&Settlement> {
        self.settlements.get(self.indexes.by_sequence.get(&sequence)?)
    }

    fn may_write(&self, key: &AuthorizationKey, attempt: u64) -> bool {
        let row = self.settlements.get(key);
        row.is_some_and(|row| row.attempt == attempt && !row.state.is_ended())
    }
}

/// The first attempt at a payment.
fn first(new: NewSettlement, sequence: u64) -> Settlement {
    Settlement {
        sequence,
        id: SettlementId::of(&new.key),
        key: new.key,
        digest: new.digest,
        payment: new.payment,
        network: new.network,
        asset: new.asset,
        payer: new.payer,
        pay_to: new.pay_to,
        amount: new.amount,
        caller: new.caller,
        valid_before: storable(new.valid_before),
        confirmations: new.confirmations,
        state: SettlementState::Reserved,
        attempt: 1,
        member: new.member,
        transactions: Vec::new(),
        created_at: storable(new.now),
        updated_at: storable(new.now),
    }
}

//! Writes down the rows that calls have touched.
//!
//! A row that was not there is inserted, and if another has inserted it meanwhile the whole transaction begins anew:
//! the unique index decides, not what was read. Rows that were there are locked, and are updated.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use tollway_core::{Amount, AuthorizationKey};

use super::backend::{Backend, Failure};
use super::channels::{CHANNEL, CHANNEL_BODY, ChannelBodySql, ChannelSql};
use super::load::{IntentPlace, Loaded};
use super::rows::{
    BUDGET, BudgetSql, DELIVERY, DeliverySql, FACT, FactSql, INTENT, IntentSql, LANE, LaneSql, MARK, MEMBER,
    MEMBERSHIP, MarkSql, MemberSql, MembershipSql, PURCHASE, PurchaseSql, RESERVATION, RESPONSE,
    ReservationSql, ResponseSql, SECRET, SETTLEMENT, SecretSql, SettlementSql, TALLY, TRANSACTION, TallySql,
    TransactionSql,
};
use super::spec::{Bytes, Spec};

/// What never changes of a payment that is only advanced.
const FIXED: [&str; 11] = [
    "sequence",
    "id",
    "digest",
    "payment",
    "network",
    "asset",
    "payer",
    "pay_to",
    "amount",
    "valid_before",
    "created_at",
];
/// What changes besides when it begins anew.
const BEGINNING: [&str; 2] = ["caller", "confirmations"];
/// What is given by the database, or was signed.
const SIGNED: [&str; 9] =
    ["sequence", "id", "digest", "network", "asset", "payer", "pay_to", "amount", "created_at"];

/// What never changes of an intent.
const INTENT_FIXED: [&str; 3] = ["wallet", "agent", "created"];

/// Writes all that was touched.
pub(super) async fn save<B: Backend>(connection: &mut B::Connection, loaded: &Loaded) -> Result<(), Failure> {
    let mut saver = Saver::<B> { connection, loaded };
    saver.members().await?;
    saver.lanes().await?;
    saver.settlements().await?;
    saver.transactions().await?;
    saver.reservations().await?;
    saver.responses().await?;
    saver.tallies().await?;
    saver.deliveries().await?;
    saver.secrets().await?;
    saver.marks().await?;
    saver.purchases().await?;
    saver.intents().await?;
    saver.budgets().await?;
    saver.facts().await?;
    saver.channels().await
}

struct Saver<'a, B: Backend> {
    connection: &'a mut B::Connection,
    loaded: &'a Loaded,
}

/// Rows of one table to be written.
#[derive(Default)]
struct Changes {
    inserted: Rows,
    updated: Rows,
    deleted: Rows,
}

/// Rows as a statement takes them: a JSON array, but for its end.
#[derive(Clone, Default)]
struct Rows {
    text: Vec<u8>,
    count: usize,
}

impl Rows {
    fn push(&mut self, row: impl Serialize) -> Result<(), Failure> {
        self.text.push(if self.count == 0 { b'[' } else { b',' });
        self.count += 1;
        Ok(serde_json::to_writer(&mut self.text, &row)?)
    }

    fn into_parameter(mut self) -> Result<String, Failure> {
        self.text.push(b']');
        String::from_utf8(self.text).map_err(|error| Failure::Refused(error.to_string()))
    }
}

impl Changes {
    fn put(&mut self, was_there: bool, row: impl Serialize) -> Result<(), Failure> {
        if was_there { self.updated.push(row) } else { self.inserted.push(row) }
    }
}

impl<B: Backend> Saver<'_, B> {
    /// The statement is asked for only if there are rows for it: most tables are not touched by most calls.
    async fn run(
        &mut self,
        statement: impl FnOnce() -> Arc<str>,
        rows: Rows,
    ) -> Result<Vec<String>, Failure> {
        if rows.count == 0 {
            return Ok(Vec::new());
        }
        B::run(self.connection, statement(), rows.into_parameter()?).await
    }

    async fn insert(&mut self, spec: &Spec, without: &[&'static str], rows: Rows) -> Result<(), Failure> {
        let count = rows.count;
        let inserted = self.run(|| spec.insert(B::DIALECT, without), rows).await?;
        if inserted.len() == count {
            Ok(())
        } else {
            Err(Failure::Conflict(format!("another has written the same row of {}", spec.name)))
        }
    }

    /// Deletes, updates and inserts, in this order: what goes makes room for what comes.
    async fn write(
        &mut self,
        spec: &Spec,
        given: &[&'static str],
        fixed: &[&'static str],
        changes: Changes,
    ) -> Result<(), Failure> {
        self.run(|| spec.delete(B::DIALECT), changes.deleted).await?;
        self.run(|| spec.update(B::DIALECT, fixed), changes.updated).await?;
        self.insert(spec, given, changes.inserted).await
    }

    async fn members(&mut self) -> Result<(), Failure> {
        let mut changes = Changes::default();
        let members = &self.loaded.tables.members;
        for key in members.touched() {
            if let Some(row) = members.get(key) {
                changes.put(self.loaded.members.contains(key), MemberSql::new(key, row))?;
            }
        }
        self.write(&MEMBER, &[], &[], changes).await
    }

    async fn lanes(&mut self) -> Result<(), Failure> {
        let mut changes = Changes::default();
        let lanes = &self.loaded.tables.lanes;
        for key in lanes.touched() {
            if let Some(row) = lanes.get(key) {
                changes.put(self.loaded.lanes.contains(key), LaneSql::new(key, row))?;
            }
        }
        self.write(&LANE, &[], &[], changes).await
    }

    async fn settlements(&mut self) -> Result<(), Failure> {
        let settlements = &self.loaded.tables.settlements;
        let mut rows: Vec<_> = settlements.touched().filter_map(|key| settlements.get(key)).collect();
        // In the order of arrival, which the database makes places of.
        rows.sort_by_key(|row| row.sequence);
        let (mut whole, mut advanced) = (Changes::default(), Changes::default());
        for row in rows {
            if self.loaded.settlements.contains(&row.key) {
                advanced.put(true, SettlementSql::new(row))?;
            } else {
                whole.put(self.loaded.whole_settlements.contains(&row.key), SettlementSql::new(row))?;
            }
        }
        self.write(&SETTLEMENT, &["sequence"], &SIGNED, whole).await?;
        let fixed = [&FIXED[..], &BEGINNING[..]].concat();
        self.run(|| SETTLEMENT.update(B::DIALECT, &fixed), advanced.updated).await?;
        Ok(())
    }

    async fn transactions(&mut self) -> Result<(), Failure> {
        let transactions = &self.loaded.tables.transactions;
        let mut rows: Vec<_> = transactions.touched().filter_map(|hash| transactions.get(hash)).collect();
        rows.sort_by_key(|row| row.sequence);
        let (mut changes, mut memberships) = (Changes::default(), Rows::default());
        for row in rows {
            let hash = &row.transaction.signed.hash;
            let was_there = self.loaded.transactions.contains(hash);
            changes.put(was_there, TransactionSql::new(row))?;
            for key in &row.settlements {
                let membership = MembershipSql { key: key.as_str().to_owned(), hash: hash.clone() };
                memberships.push(membership)?;
            }
        }
        let updated = std::mem::take(&mut changes.updated);
        self.write(&TRANSACTION, &["sequence"], &[], changes).await?;
        let signed = [
            "sequence",
            "network",
            "address",
            "nonce",
            "raw",
            "max_fee_per_gas",
            "max_priority_fee_per_gas",
            "signed_at",
        ];
        self.run(|| TRANSACTION.update(B::DIALECT, &signed), updated).await?;
        // Those that are there already stay.
        self.run(|| MEMBERSHIP.insert(B::DIALECT, &[]), memberships).await.map(drop)
    }

    async fn reservations(&mut self) -> Result<(), Failure> {
        let mut changes = Changes::default();
        let reservations = &self.loaded.tables.reservations;
        for key in reservations.touched() {
            let was_there = self.loaded.reservations.contains(key);
            match reservations.get(key) {
                Some(row) => changes.put(was_there, ReservationSql::new(key, row))?,
                None if was_there => changes.deleted.push(json!({ "key": key.as_str() }))?,
                None => {}
            }
        }
        self.write(&RESERVATION, &[], &[], changes).await
    }

    async fn responses(&mut self) -> Result<(), Failure> {
        let responses = &self.loaded.tables.responses;
        let (mut written, mut deleted) = (Rows::default(), Rows::default());
        for key in responses.touched() {
            match responses.get(key) {
                Some(row) => written.push(ResponseSql::new(key, row)?)?,
                // It goes with its reservation.
                None if self.is_deleted(key) => {}
                None => deleted.push(json!({ "key": key.as_str() }))?,
            }
        }
        self.run(|| RESPONSE.delete(B::DIALECT), deleted).await?;
        self.run(|| RESPONSE.replace(B::DIALECT), written).await?;
        Ok(())
    }

    fn is_deleted(&self, key: &AuthorizationKey) -> bool {
        self.loaded.reservations.contains(key) && self.loaded.tables.reservations.get(key).is_none()
    }

    async fn tallies(&mut self) -> Result<(), Failure> {
        let mut changes = Changes::default();
        let tallies = &self.loaded.tables.tallies;
        for key in tallies.touched() {
            let was_there = self.loaded.tallies.contains(key);
            match tallies.get(key) {
                Some(amount) => changes.put(was_there, TallySql::new(key, *amount))?,
                None if was_there => changes.deleted.push(TallySql::new(key, Amount::ZERO))?,
                None => {}
            }
        }
        self.write(&TALLY, &[], &[], changes).await
    }

    async fn deliveries(&mut self) -> Result<(), Failure> {
        let mut changes = Changes::default();
        let deliveries = &self.loaded.tables.deliveries;
        for id in deliveries.touched() {
            let was_there = self.loaded.deliveries.contains(id);
            match deliveries.get(id) {
                Some(row) => changes.put(was_there, DeliverySql::new(*id, row))?,
                None if was_there => changes.deleted.push(json!({ "id": id }))?,
                None => {}
            }
        }
        self.write(&DELIVERY, &["id"], &["settlement", "endpoint", "body"], changes).await
    }

    async fn secrets(&mut self) -> Result<(), Failure> {
        let secrets = &self.loaded.tables.secrets;
        let mut rows = Rows::default();
        for name in secrets.touched() {
            if let Some(secret) = secrets.get(name) {
                let row = SecretSql { name: name.clone(), secret: Bytes(secret.to_vec()) };
                rows.push(row)?;
            }
        }
        self.insert(&SECRET, &[], rows).await
    }

    async fn marks(&mut self) -> Result<(), Failure> {
        let mut changes = Changes::default();
        let marks = &self.loaded.tables.marks;
        for key in marks.touched() {
            let was_there = self.loaded.marks.contains(key);
            match marks.get(key) {
                Some(until) => changes.put(was_there, MarkSql::new(key, *until))?,
                None if was_there => changes.deleted.push(json!({ "scope": key.0, "name": key.1 }))?,
                None => {}
            }
        }
        self.write(&MARK, &[], &[], changes).await
    }

    async fn purchases(&mut self) -> Result<(), Failure> {
        let mut changes = Changes::default();
        let purchases = &self.loaded.tables.purchases;
        for key in purchases.touched() {
            let was_there = self.loaded.purchases.contains(key);
            match purchases.get(key) {
                Some(row) => changes.put(was_there, PurchaseSql::new(key, row))?,
                None if was_there => changes.deleted.push(json!({ "key": key.as_str() }))?,
                None => {}
            }
        }
        self.write(&PURCHASE, &[], &[], changes).await
    }

    /// Most intents that are written stay where they are in every index: then no index is written.
    async fn intents(&mut self) -> Result<(), Failure> {
        let (mut changes, mut steady) = (Changes::default(), Rows::default());
        let intents = &self.loaded.tables.intents;
        for id in intents.touched() {
            let before = self.loaded.intents.get(id);
            match (intents.get(id), before) {
                (Some(row), Some(before)) if *before == IntentPlace::of(row) => {
                    steady.push(IntentSql::new(row)?)?;
                }
                (Some(row), before) => changes.put(before.is_some(), IntentSql::new(row)?)?,
                (None, Some(_)) => changes.deleted.push(json!({ "id": id.to_string() }))?,
                (None, None) => {}
            }
        }
        let placed = [&INTENT_FIXED[..], &IntentPlace::COLUMNS[..]].concat();
        self.run(|| INTENT.update(B::DIALECT, &placed), steady).await?;
        self.write(&INTENT, &[], &INTENT_FIXED, changes).await
    }

    /// Their end is in an index, and seldom changes.
    async fn budgets(&mut self) -> Result<(), Failure> {
        let (mut changes, mut steady) = (Changes::default(), Rows::default());
        let budgets = &self.loaded.tables.budgets;
        for key in budgets.touched() {
            let until = self.loaded.budgets.get(key);
            match budgets.get(key) {
                Some(row) if until == Some(&row.until) => steady.push(BudgetSql::new(key, row))?,
                Some(row) => changes.put(until.is_some(), BudgetSql::new(key, row))?,
                None if until.is_some() => {
                    changes.deleted.push(json!({ "name": key.0, "begins": key.1.0 }))?
                }
                None => {}
            }
        }
        self.run(|| BUDGET.update(B::DIALECT, &["until"]), steady).await?;
        self.write(&BUDGET, &[], &[], changes).await
    }

    async fn facts(&mut self) -> Result<(), Failure> {
        let mut changes = Changes::default();
        let facts = &self.loaded.tables.facts;
        for key in facts.touched() {
            let was_there = self.loaded.facts.contains(key);
            match facts.get(key) {
                Some(row) => changes.put(was_there, FactSql::new(key, row))?,
                None if was_there => changes.deleted.push(json!({ "scope": key.0, "name": key.1 }))?,
                None => {}
            }
        }
        self.write(&FACT, &[], &[], changes).await
    }

    /// Both parts of each. The answer of one that is removed is named by none any more, and swept.
    async fn channels(&mut self) -> Result<(), Failure> {
        let (mut changes, mut bodies) = (Changes::default(), Changes::default());
        let channels = &self.loaded.tables.channels;
        for key in channels.touched() {
            let was_there = self.loaded.channels.contains(key);
            match channels.get(key) {
                Some(row) => {
                    changes.put(was_there, ChannelSql::new(key, row))?;
                    bodies.put(was_there, ChannelBodySql::new(key, row))?;
                }
                None if was_there => changes.deleted.push(json!({ "scope": key.0, "id": key.1.as_str() }))?,
                None => {}
            }
        }
        bodies.deleted.clone_from(&changes.deleted);
        self.write(&CHANNEL, &[], &[], changes).await?;
        self.write(&CHANNEL_BODY, &[], &[], bodies).await
    }
}

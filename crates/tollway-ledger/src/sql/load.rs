//! Reads the rows that calls are about, and locks them.
//!
//! Always in the same order of tables, and in each in the order of keys: channels, lanes, transactions, settlements,
//! reservations, tallies, budgets, facts, intents, members, deliveries, secrets, marks, purchases. Two processes then wait
//! for each other in one direction only; where a search breaks the order, the database ends one of them and it begins
//! again. Budgets and facts come before intents: who has waited for a budget then sees the intent that filled it, and is
//! told that its purchase is known, not that there is no room for it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tollway_core::{AuthorizationKey, ChannelKey, UnixTime};

use super::backend::{Backend, Failure};
use super::channels::{CHANNEL, CHANNEL_BODY, ChannelBodySql, ChannelSql, DUE_CHANNELS};
use super::needs::{Needs, Search, member_key};
use super::rows::{
    BUDGET, BudgetSql, DELIVERY, DeliverySql, FACT, FactSql, INTENT, IntentSql, LANE, LaneSql, MARK, MEMBER,
    MarkSql, MemberSql, MembershipSql, PURCHASE, PurchaseSql, RESERVATION, RESPONSE, ReservationSql,
    ResponseSql, SECRET, SETTLEMENT, SecretSql, SettlementSql, TALLY, TRANSACTION, TallySql, TransactionSql,
    int, parsed, read, role_name,
};
use super::spec::Spec;
use crate::tables::{BudgetKey, ChannelId, FactKey, LaneKey, MarkKey, MemberKey, Standing, Tables, TallyKey};
use crate::{Intent, IntentId, LedgerError};

/// Rows in memory, and which of them are in the database.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) tables: Tables,
    pub(super) members: BTreeSet<MemberKey>,
    pub(super) reservations: BTreeSet<AuthorizationKey>,
    pub(super) tallies: BTreeSet<TallyKey>,
    /// With the payment's text.
    pub(super) whole_settlements: BTreeSet<AuthorizationKey>,
    pub(super) settlements: BTreeSet<AuthorizationKey>,
    pub(super) lanes: BTreeSet<LaneKey>,
    pub(super) transactions: BTreeSet<String>,
    pub(super) deliveries: BTreeSet<u64>,
    pub(super) marks: BTreeSet<MarkKey>,
    pub(super) purchases: BTreeSet<AuthorizationKey>,
    pub(super) intents: BTreeMap<IntentId, IntentPlace>,
    /// With their end.
    pub(super) budgets: BTreeMap<BudgetKey, UnixTime>,
    pub(super) facts: BTreeSet<FactKey>,
    pub(super) channels: BTreeSet<ChannelId>,
}

/// What the indexes know of an intent, beside what never changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IntentPlace {
    key: Option<String>,
    is_open: bool,
    due: UnixTime,
    until: UnixTime,
}

impl IntentPlace {
    /// Its columns.
    pub(super) const COLUMNS: [&str; 4] = ["key", "is_open", "due", "until"];

    pub(super) fn of(Intent { key, is_open, due, until, .. }: &Intent) -> Self {
        Self { key: key.clone(), is_open: *is_open, due: *due, until: *until }
    }
}

/// Provisional numbers begin here: no row of the database has such a one.
const PROVISIONAL: u64 = 1 << 62;

/// Loads what `needs` asks for.
pub(super) async fn load<B: Backend>(
    connection: &mut B::Connection,
    needs: &Needs,
) -> Result<Loaded, Failure> {
    let mut needs = needs.clone();
    let mut loaded = Loaded::default();
    loaded.tables.sequence = PROVISIONAL;
    loaded.tables.delivery_id = PROVISIONAL;
    let mut loader = Loader::<B> { connection, loaded };
    let search = needs.search.take();
    if let Some(Search::DueChannels { scope, now, limit }) = &search {
        loader.due_channels(scope, *now, *limit, &mut needs).await?;
    }
    loader.channels(&mut needs).await?;
    loader.lanes(&needs.lanes).await?;
    if let Some(search) = search {
        loader.search(search, &mut needs).await?;
    }
    loader.transactions(&needs.transactions, false).await?;
    let beginnings: BTreeSet<_> = needs.beginnings.iter().collect();
    let slim: Vec<_> = needs.settlements.iter().filter(|key| !beginnings.contains(key)).cloned().collect();
    loader.settlements(&needs.beginnings, true).await?;
    loader.settlements(&slim, false).await?;
    loader.reservations(&mut needs).await?;
    loader.tallies(&needs).await?;
    loader.budgets(&needs.budgets).await?;
    loader.facts(&needs.facts).await?;
    loader.intents(&mut needs).await?;
    loader.members(&needs.members).await?;
    loader.deliveries(&needs.deliveries).await?;
    loader.secrets(&needs.secrets).await?;
    loader.marks(&needs.marks).await?;
    loader.purchases(&needs.purchases).await?;
    Ok(loader.loaded)
}

struct Loader<'a, B: Backend> {
    connection: &'a mut B::Connection,
    loaded: Loaded,
}

impl<B: Backend> Loader<'_, B> {
    /// The rows of a table with these keys; nothing is asked for none.
    async fn select(
        &mut self,
        spec: &Spec,
        blank: &[&'static str],
        keys: Vec<Value>,
    ) -> Result<Vec<String>, Failure> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let statement = spec.select(B::DIALECT, blank);
        B::run(self.connection, statement, serde_json::to_string(&keys)?).await
    }

    async fn find(&mut self, template: &'static str, parameter: Value) -> Result<Vec<String>, Failure> {
        B::run(self.connection, B::DIALECT.fixed(template), parameter.to_string()).await
    }

    async fn due_channels(
        &mut self,
        scope: &str,
        now: UnixTime,
        limit: u32,
        needs: &mut Needs,
    ) -> Result<(), Failure> {
        let due = json!({ "scope": scope, "now": int(now.0), "limit": limit });
        for id in self.find(DUE_CHANNELS, due).await? {
            needs.channels.push((scope.to_owned(), ChannelKey::new(id)));
        }
        Ok(())
    }

    /// A channel and the rest of it are read one after the other: who holds the lock on the first sees the latest of
    /// both.
    async fn channels(&mut self, needs: &mut Needs) -> Result<(), Failure> {
        let keys: BTreeSet<_> = needs.channels.iter().collect();
        let keys: Vec<_> =
            keys.into_iter().map(|(scope, id)| json!({ "scope": scope, "id": id.as_str() })).collect();
        let texts = self.select(&CHANNEL, &[], keys.clone()).await?;
        let rests = self.select(&CHANNEL_BODY, &[], keys).await?;
        for (text, rest) in texts.iter().zip(&rests) {
            let (key, row) = read::<ChannelSql>(text)?.into_row(read::<ChannelBodySql>(rest)?)?;
            needs.members.extend(row.holder.as_ref().map(|holder| member_key(&holder.member)));
            self.loaded.channels.insert(key.clone());
            self.loaded.tables.channel_write(key, row);
        }
        Ok(())
    }

    async fn lanes(&mut self, keys: &[LaneKey]) -> Result<(), Failure> {
        let keys: BTreeSet<_> = keys.iter().collect();
        let keys = keys
            .into_iter()
            .map(|(network, address)| json!({ "network": network.as_str(), "address": address }));
        for text in self.select(&LANE, &[], keys.collect()).await? {
            let (key, row) = read::<LaneSql>(&text)?.into_row()?;
            self.loaded.lanes.insert(key.clone());
            self.loaded.tables.lanes.put(key, row);
        }
        Ok(())
    }

    async fn transactions(&mut self, hashes: &[String], is_whole: bool) -> Result<(), Failure> {
        let hashes: BTreeSet<_> = hashes.iter().collect();
        let keys: Vec<_> = hashes.into_iter().map(|hash| json!({ "hash": hash })).collect();
        let blank: &[&'static str] = if is_whole { &[] } else { &["raw"] };
        for text in self.select(&TRANSACTION, blank, keys.clone()).await? {
            let row = read::<TransactionSql>(&text)?.into_row()?;
            self.loaded.transactions.insert(row.transaction.signed.hash.clone());
            self.loaded.tables.transaction_put(row);
        }
        if !is_whole || keys.is_empty() {
            return Ok(());
        }
        let template = "SELECT {row t.key, t.hash} FROM {rows} \
             JOIN settlement_transaction t ON t.hash = (v.value->>'hash') ORDER BY t.key";
        for text in self.find(template, Value::Array(keys)).await? {
            let MembershipSql { key, hash } = read(&text)?;
            let Some(mut row) = self.loaded.tables.transactions.get(&hash).cloned() else { continue };
            row.settlements.push(AuthorizationKey::new(key));
            self.loaded.tables.transaction_put(row);
        }
        Ok(())
    }

    async fn settlements(&mut self, keys: &[AuthorizationKey], is_whole: bool) -> Result<(), Failure> {
        let keys: Vec<_> = keys.iter().collect::<BTreeSet<_>>().into_iter().map(by_key).collect();
        let blank: &[&'static str] = if is_whole { &[] } else { &["payment"] };
        let texts = self.select(&SETTLEMENT, blank, keys).await?;
        let mut rows = BTreeMap::new();
        for text in texts {
            let row = read::<SettlementSql>(&text)?.into_row()?;
            rows.insert(row.key.clone(), row);
        }
        if is_whole && !rows.is_empty() {
            let template = "SELECT {row t.key, t.hash} FROM {rows} \
                 JOIN settlement_transaction t ON t.key = (v.value->>'key') ORDER BY t.sequence";
            let keys = rows.keys().map(by_key).collect();
            for text in self.find(template, Value::Array(keys)).await? {
                let MembershipSql { key, hash } = read(&text)?;
                if let Some(row) = rows.get_mut(&AuthorizationKey::new(key)) {
                    row.transactions.push(hash);
                }
            }
        }
        for (key, row) in rows {
            let known =
                if is_whole { &mut self.loaded.whole_settlements } else { &mut self.loaded.settlements };
            known.insert(key);
            self.loaded.tables.settlement_put(row);
        }
        Ok(())
    }

    async fn reservations(&mut self, needs: &mut Needs) -> Result<(), Failure> {
        let mut keys: BTreeSet<_> = needs.claims.iter().chain(&needs.reservations).cloned().collect();
        if !needs.identifiers.is_empty() {
            let named = needs.identifiers.iter().map(|named| json!({ "scope": named.scope, "id": named.id }));
            let template = "SELECT t.key FROM {rows} JOIN reservation t \
                 ON t.identifier_scope = (v.value->>'scope') AND t.identifier_id = (v.value->>'id')";
            let named = self.find(template, named.collect()).await?;
            keys.extend(named.into_iter().map(AuthorizationKey::new));
        }
        let texts = self.select(&RESERVATION, &[], keys.iter().map(by_key).collect()).await?;
        let claims: BTreeSet<_> = needs.claims.iter().collect();
        let mut told = Vec::new();
        for text in texts {
            let (key, row) = read::<ReservationSql>(&text)?.into_row()?;
            if row.standing == Standing::Running {
                needs.members.push(member_key(&row.member));
            }
            if claims.contains(&key) && matches!(row.standing, Standing::Delivered(_) | Standing::Owed) {
                told.push(by_key(&key));
            }
            needs.tallies.extend(row.debt.iter().flat_map(crate::tables::Debt::tally_keys));
            self.loaded.reservations.insert(key.clone());
            self.loaded.tables.reservation_put(key, row);
        }
        self.responses(told, &[]).await
    }

    async fn responses(&mut self, keys: Vec<Value>, blank: &[&'static str]) -> Result<(), Failure> {
        for text in self.select(&RESPONSE, blank, keys).await? {
            let (key, row) = read::<ResponseSql>(&text)?.into_row()?;
            self.loaded.tables.response_put(key, row);
        }
        Ok(())
    }

    async fn tallies(&mut self, needs: &Needs) -> Result<(), Failure> {
        let keys: BTreeSet<_> = needs.tallies.iter().collect();
        let keys = keys.into_iter().map(|(network, asset, payer)| {
            json!({ "network": network.as_str(), "asset": asset, "payer": payer.as_deref().unwrap_or_default() })
        });
        for text in self.select(&TALLY, &[], keys.collect()).await? {
            let (key, amount) = read::<TallySql>(&text)?.into_row()?;
            self.loaded.tallies.insert(key.clone());
            self.loaded.tables.tallies.put(key, amount);
        }
        Ok(())
    }

    /// Members who are asked for, and those who hold lanes and open payments: whether they live decides.
    async fn members(&mut self, keys: &[MemberKey]) -> Result<(), Failure> {
        let mut keys: BTreeSet<_> = keys.iter().cloned().collect();
        if !keys.is_empty() {
            keys.extend(
                self.loaded.tables.lanes.iter().filter_map(|(_, row)| row.holder.as_ref()).map(member_key),
            );
            let open = self.loaded.tables.settlements.iter().filter(|(_, row)| row.state.is_open());
            keys.extend(open.map(|(_, row)| member_key(&row.member)));
        }
        let keys = keys.iter().map(|(role, name)| json!({ "role": role_name(*role), "name": name }));
        for text in self.select(&MEMBER, &[], keys.collect()).await? {
            let (key, row) = read::<MemberSql>(&text)?.into_row()?;
            self.loaded.members.insert(key.clone());
            self.loaded.tables.members.put(key, row);
        }
        Ok(())
    }

    async fn deliveries(&mut self, ids: &[u64]) -> Result<(), Failure> {
        let ids: BTreeSet<_> = ids.iter().collect();
        let keys = ids.into_iter().map(|id| json!({ "id": id })).collect();
        for text in self.select(&DELIVERY, &[], keys).await? {
            let (id, row) = read::<DeliverySql>(&text)?.into_row()?;
            self.loaded.deliveries.insert(id);
            self.loaded.tables.delivery_put(id, row);
        }
        Ok(())
    }

    async fn secrets(&mut self, names: &[String]) -> Result<(), Failure> {
        let keys = names.iter().map(|name| json!({ "name": name })).collect();
        for text in self.select(&SECRET, &[], keys).await? {
            let (name, secret) = read::<SecretSql>(&text)?.into_row()?;
            self.loaded.tables.secrets.put(name, secret);
        }
        Ok(())
    }

    async fn marks(&mut self, keys: &[MarkKey]) -> Result<(), Failure> {
        let keys: BTreeSet<_> = keys.iter().collect();
        let keys = keys.into_iter().map(|(scope, name)| json!({ "scope": scope, "name": name })).collect();
        for text in self.select(&MARK, &[], keys).await? {
            let (key, until) = read::<MarkSql>(&text)?.into_row()?;
            self.loaded.marks.insert(key.clone());
            self.loaded.tables.mark_put(key, until);
        }
        Ok(())
    }

    async fn purchases(&mut self, keys: &[AuthorizationKey]) -> Result<(), Failure> {
        let keys: BTreeSet<_> = keys.iter().collect();
        for text in self.select(&PURCHASE, &[], keys.into_iter().map(by_key).collect()).await? {
            let (key, row) = read::<PurchaseSql>(&text)?.into_row()?;
            self.loaded.purchases.insert(key.clone());
            self.loaded.tables.purchase_write(key, row);
        }
        Ok(())
    }

    /// Those that are only changed come without their body, which is the most of them, and without their holder.
    async fn intents(&mut self, needs: &mut Needs) -> Result<(), Failure> {
        let mut whole: BTreeSet<_> = needs.intents.iter().copied().collect();
        if !needs.intent_keys.is_empty() {
            let named = needs.intent_keys.iter().map(|(wallet, key)| json!({ "wallet": wallet, "key": key }));
            let template = "SELECT t.id FROM {rows} JOIN intent t \
                 ON t.wallet = (v.value->>'wallet') AND t.key = (v.value->>'key')";
            whole.extend(ids(self.find(template, named.collect()).await?)?);
        }
        let all: BTreeSet<_> = whole.iter().chain(&needs.changed_intents).copied().collect();
        if all.is_empty() {
            return Ok(());
        }
        let is_whole = |id: &IntentId| if whole.contains(id) { "yes" } else { "no" };
        let keys = all.iter().map(|id| json!({ "id": id.to_string(), "whole": is_whole(id) }));
        let statement = INTENT.select_whole_or_not(B::DIALECT, "body");
        let keys = Value::Array(keys.collect()).to_string();
        for text in B::run(self.connection, statement, keys).await? {
            let row = read::<IntentSql>(&text)?.into_row()?;
            if whole.contains(&row.id) {
                needs.members.extend(row.holder.as_ref().map(member_key));
            }
            self.loaded.intents.insert(row.id, IntentPlace::of(&row));
            self.loaded.tables.intent_write(row);
        }
        Ok(())
    }

    async fn budgets(&mut self, keys: &[BudgetKey]) -> Result<(), Failure> {
        let keys: BTreeSet<_> = keys.iter().collect();
        let keys = keys.into_iter().map(|(name, begins)| json!({ "name": name, "begins": begins.0 }));
        for text in self.select(&BUDGET, &[], keys.collect()).await? {
            let (key, row) = read::<BudgetSql>(&text)?.into_row()?;
            self.loaded.budgets.insert(key.clone(), row.until);
            self.loaded.tables.budget_write(key, row);
        }
        Ok(())
    }

    async fn facts(&mut self, keys: &[FactKey]) -> Result<(), Failure> {
        let keys: BTreeSet<_> = keys.iter().collect();
        let keys = keys.into_iter().map(|(scope, name)| json!({ "scope": scope, "name": name }));
        for text in self.select(&FACT, &[], keys.collect()).await? {
            let (key, row) = read::<FactSql>(&text)?.into_row()?;
            self.loaded.facts.insert(key.clone());
            self.loaded.tables.fact_write(key, row);
        }
        Ok(())
    }

    /// Finds rows, loads what has to be whole of them, and adds the rest to `needs`.
    async fn search(&mut self, search: Search, needs: &mut Needs) -> Result<(), Failure> {
        match search {
            Search::Owed { now, limit } => {
                let due = json!({ "now": now.0, "limit": limit });
                let keys = self.find(OWED, due).await?;
                needs.reservations.extend(keys.into_iter().map(AuthorizationKey::new));
            }
            Search::Expired { now, limit } => {
                let past = json!({ "now": now.0, "limit": limit });
                let keys = self.find(EXPIRED, past.clone()).await?;
                needs.reservations.extend(keys.into_iter().map(AuthorizationKey::new));
                let answers = self.find(EXPIRED_RESPONSES, past).await?;
                let answers = answers.into_iter().map(|key| json!({ "key": key })).collect();
                self.responses(answers, &["headers", "body"]).await?;
            }
            Search::PastMarks { now, limit } => {
                for text in self.find(PAST_MARKS, json!({ "now": now.0, "limit": limit })).await? {
                    needs.marks.push(read(&text)?);
                }
            }
            Search::DuePurchases { now, limit } => {
                let keys = self.find(DUE_PURCHASES, json!({ "now": now.0, "limit": limit })).await?;
                needs.purchases.extend(keys.into_iter().map(AuthorizationKey::new));
            }
            Search::PastPurchases { now, limit } => {
                let keys = self.find(PAST_PURCHASES, json!({ "now": now.0, "limit": limit })).await?;
                needs.purchases.extend(keys.into_iter().map(AuthorizationKey::new));
            }
            search @ (Search::DueIntents { .. }
            | Search::PastIntents { .. }
            | Search::PastBudgets { .. }
            | Search::PastFacts { .. }) => self.search_wallet(search, needs).await?,
            // They come first of all.
            Search::DueChannels { .. } => {}
            Search::Orphans { network, now, limit } => {
                let orphans = json!({ "network": network.as_str(), "now": now.0, "limit": limit });
                let keys = self.find(ORPHANS, orphans).await?;
                needs.beginnings.extend(keys.into_iter().map(AuthorizationKey::new));
            }
            Search::Lane((network, address)) => {
                let lane = json!({ "network": network.as_str(), "address": address });
                let hashes = self.find(LANE_TRANSACTIONS, lane).await?;
                self.transactions(&hashes, true).await?;
                for (_, row) in self.loaded.tables.transactions.iter() {
                    needs.beginnings.extend(row.settlements.iter().cloned());
                }
            }
            Search::Due { endpoint, now, limit } => {
                let due = json!({ "endpoint": endpoint, "now": now.0, "limit": limit });
                let ids = self.find(DUE, due).await?;
                needs.deliveries.extend(ids.iter().filter_map(|id| id.parse::<u64>().ok()));
            }
        }
        Ok(())
    }

    /// Finds what is a buyer's.
    async fn search_wallet(&mut self, search: Search, needs: &mut Needs) -> Result<(), Failure> {
        match search {
            Search::DueIntents { wallet, member, now, limit } => {
                let due = json!({
                    "wallet": wallet,
                    "role": role_name(member.role),
                    "name": member.name,
                    "incarnation": int(member.incarnation),
                    "now": int(now.0),
                    "limit": limit,
                });
                needs.intents.extend(ids(self.find(DUE_INTENTS, due).await?)?);
            }
            Search::PastIntents { now, limit } => {
                let past = json!({ "now": int(now.0), "limit": limit });
                needs.intents.extend(ids(self.find(PAST_INTENTS, past).await?)?);
            }
            Search::PastBudgets { now, limit } => {
                for text in self.find(PAST_BUDGETS, json!({ "now": int(now.0), "limit": limit })).await? {
                    let (name, begins): (String, u64) = read(&text)?;
                    needs.budgets.push((name, UnixTime(begins)));
                }
            }
            Search::PastFacts { now, limit } => {
                for text in self.find(PAST_FACTS, json!({ "now": int(now.0), "limit": limit })).await? {
                    needs.facts.push(read(&text)?);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

const OWED: &str = "SELECT t.key FROM reservation t WHERE t.standing = 'owed' AND t.next_try <= {int now} \
     ORDER BY t.next_try, t.key LIMIT {int limit}{skip t}";

const EXPIRED: &str = "SELECT t.key FROM reservation t WHERE t.keep_until < {int now} AND t.standing <> 'owed' \
     AND NOT (t.standing = 'running' AND EXISTS (SELECT 1 FROM member m WHERE m.role = t.member_role \
     AND m.name = t.member_name AND m.incarnation = t.member_incarnation AND m.is_ended = 0 AND m.until > {int now})) \
     ORDER BY t.keep_until, t.key LIMIT {int limit}{skip t}";

const EXPIRED_RESPONSES: &str = "SELECT t.key FROM response t WHERE t.expires < {int now} \
     ORDER BY t.expires, t.key LIMIT {int limit}{skip t}";

/// With scope and name as JSON: the key has two columns.
const PAST_MARKS: &str = "SELECT {row t.scope, t.name} FROM mark t WHERE t.until <= {int now} \
     ORDER BY t.until, t.scope, t.name LIMIT {int limit}{skip t}";

const DUE_PURCHASES: &str = "SELECT t.key FROM purchase t WHERE t.due <= {int now} \
     ORDER BY t.due, t.key LIMIT {int limit}{skip t}";

const PAST_PURCHASES: &str = "SELECT t.key FROM purchase t WHERE t.until <= {int now} \
     ORDER BY t.until, t.key LIMIT {int limit}{skip t}";

const DUE_INTENTS: &str = "SELECT t.id FROM intent t WHERE t.wallet = {text wallet} AND t.is_open = 1 \
     AND t.due <= {int now} AND ((t.member_role = {text role} AND t.member_name = {text name} \
     AND t.member_incarnation = {int incarnation}) \
     OR NOT EXISTS (SELECT 1 FROM member m WHERE m.role = t.member_role AND m.name = t.member_name \
     AND m.incarnation = t.member_incarnation AND m.is_ended = 0 AND m.until > {int now})) \
     ORDER BY t.due, t.id LIMIT {int limit}{skip t}";

const PAST_INTENTS: &str = "SELECT t.id FROM intent t WHERE t.is_open = 0 AND t.until <= {int now} \
     ORDER BY t.until, t.id LIMIT {int limit}{skip t}";

const PAST_BUDGETS: &str = "SELECT {row t.name, t.begins} FROM budget t WHERE t.until <= {int now} \
     ORDER BY t.until, t.name, t.begins LIMIT {int limit}{skip t}";

const PAST_FACTS: &str = "SELECT {row t.scope, t.name} FROM fact t WHERE t.until <= {int now} \
     ORDER BY t.until, t.scope, t.name LIMIT {int limit}{skip t}";

const ORPHANS: &str = "SELECT t.key FROM settlement t WHERE t.network = {text network} \
     AND t.state IN ('reserved', 'sent') \
     AND NOT EXISTS (SELECT 1 FROM member m WHERE m.role = t.member_role AND m.name = t.member_name \
     AND m.incarnation = t.member_incarnation AND m.is_ended = 0 AND m.until > {int now}) \
     AND NOT EXISTS (SELECT 1 FROM lane_transaction l WHERE t.state = 'sent' AND l.hash = t.transaction_hash \
     AND l.state IN ('open', 'included')) \
     ORDER BY t.sequence LIMIT {int limit}{skip t}";

const LANE_TRANSACTIONS: &str = "SELECT t.hash FROM lane_transaction t WHERE t.network = {text network} \
     AND t.address = {text address} AND t.state IN ('open', 'included')";

const DUE: &str = "SELECT CAST(t.id AS TEXT) FROM delivery t WHERE t.endpoint = {text endpoint} \
     AND t.next_try <= {int now} ORDER BY t.next_try, t.id LIMIT {int limit}{skip t}";

fn by_key(key: &AuthorizationKey) -> Value {
    json!({ "key": key.as_str() })
}

fn ids(texts: Vec<String>) -> Result<Vec<IntentId>, LedgerError> {
    texts.iter().map(|text| parsed(text)).collect()
}

//! What is read without writing, beside the writer.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;
use tollway_core::{Amount, AuthorizationKey, ChannelKey, Network, UnixTime};

use super::answers::{CHANNEL_ANSWER, ChannelAnswerSql};
use super::backend::{Backend, Failure};
use super::channels::{CHANNEL, CHANNEL_BODY, ChannelBodySql, ChannelSql};
use super::rows::{
    BUDGET, BudgetSql, FACT, FactSql, INTENT, IntentSql, MEMBER, MemberSql, PURCHASE, PurchaseSql,
    SETTLEMENT, SettlementSql, read, role_name,
};
use crate::{
    Budget, Channel, Fact, Intent, IntentId, IntentQuery, LedgerError, Member, Purchase, Role, Settlement,
    SettlementId, SettlementQuery, StoredResponse,
};

/// The parameter is there for no more than that every statement has one.
pub(super) const RESERVATION_COUNT: &str =
    "SELECT CAST(count(*) AS TEXT) FROM reservation WHERE CAST($1 AS TEXT) IS NOT NULL";
const OPEN_COUNT: &str = "SELECT CAST(count(*) AS TEXT) FROM settlement WHERE state IN ('reserved', 'sent') \
     AND CAST($1 AS TEXT) IS NOT NULL";
const IS_OPEN: &str = "SELECT CAST(count(*) AS TEXT) FROM reservation t WHERE t.key = {text key} \
     AND t.standing NOT IN ('delivered', 'owed') AND (t.keep_until >= {int now} OR (t.standing = 'running' \
     AND EXISTS (SELECT 1 FROM member m WHERE m.role = t.member_role AND m.name = t.member_name \
     AND m.incarnation = t.member_incarnation AND m.is_ended = 0 AND m.until > {int now})))";
const MARK_COUNT: &str = "SELECT CAST(count(*) AS TEXT) FROM mark WHERE CAST($1 AS TEXT) IS NOT NULL";
const INTENT_COUNT: &str = "SELECT CAST(count(*) AS TEXT) FROM intent WHERE wallet = {text wallet}";
const MARKED: &str = "SELECT CAST(count(*) AS TEXT) FROM {rows} JOIN mark t ON t.scope = (v.value->>'scope') \
     AND t.name = (v.value->>'name') WHERE t.until > CAST(v.value->>'now' AS BIGINT)";

const CHANNEL_COUNT: &str = "SELECT CAST(count(*) AS TEXT) FROM channel WHERE scope = {text scope}";

/// Reads of one store.
pub(super) struct Reads<'a, B: Backend>(pub(super) &'a B);

impl<B: Backend> Reads<'_, B> {
    pub(super) async fn reservation_count(&self) -> Result<u64, LedgerError> {
        number(&self.rows(RESERVATION_COUNT, &Value::Null).await?)
    }

    pub(super) async fn open_count(&self) -> Result<u64, LedgerError> {
        number(&self.rows(OPEN_COUNT, &Value::Null).await?)
    }

    pub(super) async fn is_open(&self, key: &AuthorizationKey, now: UnixTime) -> Result<bool, LedgerError> {
        let rows = self.rows(IS_OPEN, &json!({ "key": key.as_str(), "now": now.0 })).await?;
        Ok(number(&rows)? > 0)
    }

    pub(super) async fn mark_count(&self) -> Result<u64, LedgerError> {
        number(&self.rows(MARK_COUNT, &Value::Null).await?)
    }

    pub(super) async fn is_marked(
        &self,
        scope: &str,
        names: &[String],
        now: UnixTime,
    ) -> Result<bool, LedgerError> {
        let now = super::rows::int(now.0);
        let rows: Vec<Value> =
            names.iter().map(|name| json!({ "scope": scope, "name": name, "now": now })).collect();
        Ok(number(&self.rows(MARKED, &Value::Array(rows)).await?)? > 0)
    }

    pub(super) async fn purchase(&self, key: &AuthorizationKey) -> Result<Option<Purchase>, LedgerError> {
        let template =
            format!("SELECT {} FROM purchase WHERE key = {{text key}}", PURCHASE.row(B::DIALECT, &[]));
        let rows = self.rows(&template, &json!({ "key": key.as_str() })).await?;
        rows.first().map(|text| purchase(text)).transpose()
    }

    pub(super) async fn purchases(
        &self,
        after: Option<&AuthorizationKey>,
        limit: u32,
    ) -> Result<Vec<Purchase>, LedgerError> {
        let template = format!(
            "SELECT {} FROM purchase WHERE key > {{text after}} ORDER BY key LIMIT {{int limit}}",
            PURCHASE.row(B::DIALECT, &[])
        );
        // No key is shorter than none.
        let after = after.map_or("", AuthorizationKey::as_str);
        let rows = self.rows(&template, &json!({ "after": after, "limit": limit })).await?;
        rows.iter().map(|text| purchase(text)).collect()
    }

    pub(super) async fn channel(&self, scope: &str, id: &ChannelKey) -> Result<Option<Channel>, LedgerError> {
        let filter = "channel.scope = {text scope} AND channel.id = {text id}";
        let rows = self.channel_rows(filter, &json!({ "scope": scope, "id": id.as_str() })).await?;
        Ok(rows.into_iter().next())
    }

    pub(super) async fn channels(
        &self,
        scope: &str,
        after: Option<&ChannelKey>,
        limit: u32,
    ) -> Result<Vec<Channel>, LedgerError> {
        let behind = if after.is_some() { "AND channel.id > {text after}" } else { "" };
        let filter =
            format!("channel.scope = {{text scope}} {behind} ORDER BY channel.id LIMIT {{int limit}}");
        let after = after.map(ChannelKey::as_str);
        self.channel_rows(&filter, &json!({ "scope": scope, "after": after, "limit": limit })).await
    }

    /// Both parts in one statement, so that they are of one moment.
    async fn channel_rows(&self, filter: &str, parameter: &Value) -> Result<Vec<Channel>, LedgerError> {
        let template = format!(
            "SELECT {} || {} FROM channel JOIN channel_body ON channel_body.scope = channel.scope \
             AND channel_body.id = channel.id WHERE {filter}",
            CHANNEL.row(B::DIALECT, &[]),
            CHANNEL_BODY.row(B::DIALECT, &[])
        );
        let rows = self.rows(&template, parameter).await?;
        let channels = rows.iter().map(|text| {
            let mut parts = serde_json::Deserializer::from_str(text);
            let corrupt = |error: serde_json::Error| LedgerError::Corrupt(error.to_string());
            let row = ChannelSql::deserialize(&mut parts).map_err(corrupt)?;
            let rest = ChannelBodySql::deserialize(&mut parts).map_err(corrupt)?;
            let (key, row) = row.into_row(rest)?;
            Ok(row.channel(&key))
        });
        channels.collect()
    }

    pub(super) async fn channel_answer(
        &self,
        scope: &str,
        id: &ChannelKey,
    ) -> Result<Option<StoredResponse>, LedgerError> {
        let template = format!(
            "SELECT {} FROM channel JOIN channel_answer ON channel_answer.number = channel.answered \
             AND channel_answer.scope = channel.scope AND channel_answer.id = channel.id \
             WHERE channel.scope = {{text scope}} AND channel.id = {{text id}}",
            CHANNEL_ANSWER.row(B::DIALECT, &[])
        );
        let rows = self.rows(&template, &json!({ "scope": scope, "id": id.as_str() })).await?;
        rows.first().map(|text| read::<ChannelAnswerSql>(text)?.into_answer()).transpose()
    }

    pub(super) async fn channel_count(&self, scope: &str) -> Result<u64, LedgerError> {
        number(&self.rows(CHANNEL_COUNT, &json!({ "scope": scope })).await?)
    }

    pub(super) async fn intent(&self, id: IntentId) -> Result<Option<Intent>, LedgerError> {
        let rows = self.intent_rows("id = {text id}", &json!({ "id": id.to_string() })).await?;
        Ok(rows.into_iter().next())
    }

    pub(super) async fn intent_of_key(&self, wallet: &str, key: &str) -> Result<Option<Intent>, LedgerError> {
        let filter = "wallet = {text wallet} AND key = {text key}";
        let rows = self.intent_rows(filter, &json!({ "wallet": wallet, "key": key })).await?;
        Ok(rows.into_iter().next())
    }

    pub(super) async fn intents(&self, query: &IntentQuery) -> Result<Vec<Intent>, LedgerError> {
        let (order, behind) = if query.is_newest_first {
            ("created DESC, id DESC", "(created, id) < ({int at}, {text id})")
        } else {
            ("created, id", "(created, id) > ({int at}, {text id})")
        };
        let asked = [
            (query.agent.is_some(), "agent = {text agent}"),
            (query.is_open.is_some(), "is_open = {int open}"),
            (query.from.is_some(), "created >= {int from}"),
            (query.to.is_some(), "created < {int to}"),
            (query.after.is_some(), behind),
        ];
        let mut terms = vec!["wallet = {text wallet}"];
        terms.extend(asked.iter().filter(|(is_asked, _)| *is_asked).map(|(_, term)| *term));
        let filter = format!("{} ORDER BY {order} LIMIT {{int limit}}", terms.join(" AND "));
        let time = |time: UnixTime| super::rows::int(time.0);
        let parameter = json!({
            "wallet": query.wallet,
            "agent": query.agent,
            "open": query.is_open.map(i64::from),
            "from": query.from.map(time),
            "to": query.to.map(time),
            "at": query.after.map(|(at, _)| time(at)),
            "id": query.after.map(|(_, id)| id.to_string()),
            "limit": query.limit,
        });
        self.intent_rows(&filter, &parameter).await
    }

    pub(super) async fn intent_count(&self, wallet: &str) -> Result<u64, LedgerError> {
        number(&self.rows(INTENT_COUNT, &json!({ "wallet": wallet })).await?)
    }

    async fn intent_rows(&self, filter: &str, parameter: &Value) -> Result<Vec<Intent>, LedgerError> {
        let template = format!("SELECT {} FROM intent WHERE {filter}", INTENT.row(B::DIALECT, &[]));
        let rows = self.rows(&template, parameter).await?;
        rows.iter().map(|text| read::<IntentSql>(text)?.into_row()).collect()
    }

    pub(super) async fn budget_amounts(
        &self,
        windows: &[(String, UnixTime)],
    ) -> Result<Vec<Amount>, LedgerError> {
        let template = format!(
            "SELECT {} FROM {{rows}} JOIN budget ON budget.name = (v.value->>'name') \
             AND budget.begins = CAST(v.value->>'begins' AS BIGINT)",
            BUDGET.row(B::DIALECT, &[])
        );
        let int = super::rows::int;
        let keys = windows.iter().map(|(name, begins)| json!({ "name": name, "begins": int(begins.0) }));
        let mut found = BTreeMap::new();
        for text in self.rows(&template, &keys.collect()).await? {
            let ((name, begins), row) = read::<BudgetSql>(&text)?.into_row()?;
            found.insert((name, int(begins.0)), row.amount);
        }
        let amount = |(name, begins): &(String, UnixTime)| found.get(&(name.clone(), int(begins.0))).copied();
        Ok(windows.iter().map(|window| amount(window).unwrap_or(Amount::ZERO)).collect())
    }

    pub(super) async fn budgets(
        &self,
        prefix: &str,
        after: Option<&(String, UnixTime)>,
        limit: u32,
    ) -> Result<Vec<Budget>, LedgerError> {
        // The index finds where they begin and where they end.
        let template = format!(
            "SELECT {} FROM budget WHERE name >= {{text prefix}} AND name <= {{text end}} \
             AND substr(name, 1, length({{text prefix}})) = {{text prefix}} {} ORDER BY name, begins LIMIT {{int limit}}",
            BUDGET.row(B::DIALECT, &[]),
            if after.is_some() { "AND (name, begins) > ({text name}, {int begins})" } else { "" },
        );
        let parameter = json!({
            "prefix": prefix,
            "end": format!("{prefix}{}", String::from(char::MAX).repeat(8)),
            "name": after.map(|(name, _)| name),
            "begins": after.map(|(_, begins)| super::rows::int(begins.0)),
            "limit": limit,
        });
        let rows = self.rows(&template, &parameter).await?;
        let budgets = rows.iter().map(|text| {
            let (key, row) = read::<BudgetSql>(text)?.into_row()?;
            Ok(row.budget(&key))
        });
        budgets.collect()
    }

    pub(super) async fn fact(&self, scope: &str, name: &str) -> Result<Option<Fact>, LedgerError> {
        let filter = "scope = {text scope} AND name = {text name}";
        let rows = self.fact_rows(filter, &json!({ "scope": scope, "name": name })).await?;
        Ok(rows.into_iter().next())
    }

    pub(super) async fn facts(
        &self,
        scope: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Fact>, LedgerError> {
        let behind = if after.is_some() { "AND name > {text after}" } else { "" };
        let filter = format!("scope = {{text scope}} {behind} ORDER BY name LIMIT {{int limit}}");
        self.fact_rows(&filter, &json!({ "scope": scope, "after": after, "limit": limit })).await
    }

    async fn fact_rows(&self, filter: &str, parameter: &Value) -> Result<Vec<Fact>, LedgerError> {
        let template = format!("SELECT {} FROM fact WHERE {filter}", FACT.row(B::DIALECT, &[]));
        let rows = self.rows(&template, parameter).await?;
        let facts = rows.iter().map(|text| {
            let (key, row) = read::<FactSql>(text)?.into_row()?;
            Ok(row.fact(&key))
        });
        facts.collect()
    }

    pub(super) async fn members(&self, role: Role, now: UnixTime) -> Result<Vec<Member>, LedgerError> {
        let template = format!(
            "SELECT {} FROM member WHERE role = {{text role}} AND is_ended = 0 AND until > {{int now}} ORDER BY name",
            MEMBER.row(B::DIALECT, &[])
        );
        let rows = self.rows(&template, &json!({ "role": role_name(role), "now": now.0 })).await?;
        let members = rows.iter().map(|text| {
            let ((role, name), row) = read::<MemberSql>(text)?.into_row()?;
            Ok(Member { role, name, incarnation: row.incarnation })
        });
        members.collect()
    }

    pub(super) async fn get(&self, key: &AuthorizationKey) -> Result<Option<Settlement>, LedgerError> {
        let rows = self.settlements("settlement.key = {text key}", json!({ "key": key.as_str() })).await?;
        Ok(rows.into_iter().next())
    }

    pub(super) async fn find(&self, id: SettlementId) -> Result<Option<Settlement>, LedgerError> {
        let rows = self.settlements("settlement.id = {text id}", json!({ "id": id.to_string() })).await?;
        Ok(rows.into_iter().next())
    }

    pub(super) async fn list(&self, query: SettlementQuery) -> Result<Vec<Settlement>, LedgerError> {
        let mut terms = vec!["CAST($1 AS TEXT) IS NOT NULL"];
        let asked = [
            (query.payer.is_some(), "settlement.payer = {text payer}"),
            (query.pay_to.is_some(), "settlement.pay_to = {text payTo}"),
            (query.caller.is_some(), "settlement.caller = {text caller}"),
            (query.before.is_some(), "settlement.sequence < {int before}"),
            (query.after.is_some(), "settlement.sequence > {int after}"),
        ];
        terms.extend(asked.iter().filter(|(is_asked, _)| *is_asked).map(|(_, term)| *term));
        let order = if query.after.is_some() { "" } else { " DESC" };
        let filter =
            format!("{} ORDER BY settlement.sequence{order} LIMIT {{int limit}}", terms.join(" AND "));
        let (before, after) = (query.before.map(super::rows::int), query.after.map(super::rows::int));
        let parameter = json!({
            "payer": query.payer, "payTo": query.pay_to, "caller": query.caller, "before": before, "after": after,
            "limit": query.limit,
        });
        self.settlements(&filter, parameter).await
    }

    pub(super) async fn unfinal(
        &self,
        network: &Network,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Settlement>, LedgerError> {
        let filter = "settlement.network = {text network} AND settlement.state = 'settled' \
             AND settlement.sequence > {int after} ORDER BY settlement.sequence LIMIT {int limit}";
        let after = super::rows::int(after);
        self.settlements(filter, json!({ "network": network.as_str(), "after": after, "limit": limit })).await
    }

    /// Settlements with their transactions, read in one statement so that both are of one moment.
    async fn settlements(&self, filter: &str, parameter: Value) -> Result<Vec<Settlement>, LedgerError> {
        let template = format!(
            "SELECT {} || COALESCE((SELECT {{list h.hash ORDER BY h.sequence}} FROM settlement_transaction h \
             WHERE h.key = settlement.key), '[]') FROM settlement WHERE {filter}",
            SETTLEMENT.row(B::DIALECT, &[])
        );
        let rows = self.rows(&template, &parameter).await?;
        let settlements = rows.iter().map(|text| {
            let mut parts = serde_json::Deserializer::from_str(text);
            let corrupt = |error: serde_json::Error| LedgerError::Corrupt(error.to_string());
            let mut row = SettlementSql::deserialize(&mut parts).map_err(corrupt)?.into_row()?;
            row.transactions = Vec::deserialize(&mut parts).map_err(corrupt)?;
            Ok(row)
        });
        settlements.collect()
    }

    async fn rows(&self, template: &str, parameter: &Value) -> Result<Vec<String>, LedgerError> {
        let deadline = self.0.deadline();
        let rows = self.0.read(B::DIALECT.statement(template).into(), parameter.to_string());
        match timeout(deadline, rows).await {
            Ok(rows) => rows.map_err(LedgerError::from),
            Err(_) => Err(Failure::Lost(format!("no answer after {} ms", deadline.as_millis())).into()),
        }
    }
}

fn purchase(text: &str) -> Result<Purchase, LedgerError> {
    let (key, row) = read::<PurchaseSql>(text)?.into_row()?;
    Ok(row.purchase(&key))
}

/// The number that a statement answered with.
pub(super) fn number(rows: &[String]) -> Result<u64, LedgerError> {
    let number = rows.first().and_then(|text| text.parse().ok());
    number.ok_or_else(|| LedgerError::Corrupt("a count that is no number".to_owned()))
}

//! What is read without writing, beside the writer.

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;
use tollway_core::{AuthorizationKey, Network, UnixTime};

use super::backend::{Backend, Failure};
use super::rows::{MEMBER, MemberSql, PURCHASE, PurchaseSql, SETTLEMENT, SettlementSql, read, role_name};
use crate::{LedgerError, Member, Purchase, Role, Settlement, SettlementId, SettlementQuery};

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
const MARKED: &str = "SELECT CAST(count(*) AS TEXT) FROM {rows} JOIN mark t ON t.scope = (v.value->>'scope') \
     AND t.name = (v.value->>'name') WHERE t.until > CAST(v.value->>'now' AS BIGINT)";

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
            (query.caller.is_some(), "settlement.caller = {text caller}"),
            (query.before.is_some(), "settlement.sequence < {int before}"),
        ];
        terms.extend(asked.iter().filter(|(is_asked, _)| *is_asked).map(|(_, term)| *term));
        let filter = format!("{} ORDER BY settlement.sequence DESC LIMIT {{int limit}}", terms.join(" AND "));
        let before = query.before.map(super::rows::int);
        let parameter =
            json!({ "payer": query.payer, "caller": query.caller, "before": before, "limit": query.limit });
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
        let rows = self.0.read(B::DIALECT.statement(template), parameter.to_string());
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

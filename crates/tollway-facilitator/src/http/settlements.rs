//! `GET /settlements` and `GET /settlements/{id}`: what became of payments.
//!
//! A caller with a key sees what was settled on its behalf, and nothing else: what is another's is as unknown as what
//! never was. Strangers, where they are served, see all; so does the chain.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};
use tollway_evm::Address;
use tollway_ledger::{LedgerError, Settlement, SettlementId, SettlementQuery};

use super::{Api, counted, refuse, respond};
use crate::callers::Caller;
use crate::settlement_json::settlement_json;

/// How many are listed if nothing is said.
const USUAL_LIMIT: u32 = 50;
/// How many are listed at most.
const MAX_LIMIT: u32 = 200;

pub(super) async fn one(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    let response = match api.callers.admit(&headers) {
        Ok(caller) => find(&api, &caller, id.as_deref().map_or("", String::as_str)).await,
        Err(denied) => refuse(denied),
    };
    counted("/settlements/{id}", response)
}

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Response {
    let response = match api.callers.admit(&headers) {
        Ok(caller) => match query(&caller, &parameters) {
            Ok(query) => page(&api, query).await,
            Err((field, rule)) => wrong(field, &rule),
        },
        Err(denied) => refuse(denied),
    };
    counted("/settlements", response)
}

async fn find(api: &Api, caller: &Caller, id: &str) -> Response {
    let Ok(id) = id.parse::<SettlementId>() else {
        return wrong("id", "must be 32 hexadecimal digits");
    };
    match api.engine.settlement(id).await {
        Ok(Some(settlement)) if may_see(caller, &settlement) => {
            let object = settlement_json(&settlement, &settlement.state);
            respond(StatusCode::OK, Value::Object(object).to_string())
        }
        Ok(_) => respond(StatusCode::NOT_FOUND, json!({ "error": "no such settlement" }).to_string()),
        Err(error) => unreadable(&error),
    }
}

async fn page(api: &Api, query: SettlementQuery) -> Response {
    let limit = query.limit;
    // One more tells whether there is more.
    let asked = SettlementQuery { limit: limit + 1, ..query };
    let mut found = match api.engine.settlements(asked).await {
        Ok(found) => found,
        Err(error) => return unreadable(&error),
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|last| last.sequence.to_string());
    let settlements: Vec<Value> = found
        .iter()
        .map(|settlement| Value::Object(settlement_json(settlement, &settlement.state)))
        .collect();
    respond(StatusCode::OK, json!({ "settlements": settlements, "next": next }).to_string())
}

fn query(
    caller: &Caller,
    parameters: &[(String, String)],
) -> Result<SettlementQuery, (&'static str, String)> {
    let mut query = SettlementQuery {
        caller: caller.name.as_deref().map(str::to_owned),
        limit: USUAL_LIMIT,
        ..SettlementQuery::default()
    };
    for (name, value) in parameters {
        match name.as_str() {
            "payer" => {
                let payer: Address = value
                    .parse()
                    .map_err(|_| ("payer", "must be 0x and 40 hexadecimal digits".to_owned()))?;
                query.payer = Some(payer.to_checksum(None));
            }
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                query.limit = limit.ok_or_else(|| ("limit", format!("must be 1 to {MAX_LIMIT}")))?;
            }
            "before" => {
                let before = value.parse().map_err(|_| ("before", "must be a page's next".to_owned()))?;
                query.before = Some(before);
            }
            _ => return Err(("query", "knows payer, limit and before".to_owned())),
        }
    }
    Ok(query)
}

fn may_see(caller: &Caller, settlement: &Settlement) -> bool {
    caller.name.is_none() || caller.name.as_deref() == settlement.caller.as_deref()
}

fn wrong(field: &str, rule: &str) -> Response {
    let body = json!({ "error": format!("{field}: {rule}"), "field": field, "rule": rule });
    respond(StatusCode::BAD_REQUEST, body.to_string())
}

fn unreadable(error: &LedgerError) -> Response {
    tracing::warn!(%error, "settlements cannot be read");
    respond(StatusCode::SERVICE_UNAVAILABLE, json!({ "error": "the ledger is unavailable" }).to_string())
}

//! Channels in SQL: their rows, and the statements that are theirs alone.
//!
//! A charge is the most frequent write of all, so it has its own way: one statement checks and writes all charges of a
//! batch, and nothing is read before. What it checks is [`crate::tables::Tables::channel_charge`], in SQL.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use tollway_core::{ChannelKey, Fingerprint, UnixTime};

use super::backend::{Backend, Failure};
use super::rows::{
    Int, MaybeBytes, MaybeInt, MaybeText, Text, fixed, headers, headers_text, holder, int, kind, narrow,
    parsed, read, role_name, table, unsigned,
};
use super::spec::{Bytes, Spec};
use crate::tables::{ChannelId, ChannelRow};
use crate::{ChannelCharge, Holder, LedgerError, StoredResponse};

table!(CHANNEL, ChannelSql, "channel" by ["scope", "id"] {
    scope: Text,
    id: Text,
    version: Int,
    charged: Text,
    signed: Text,
    proof: Text,
    request: MaybeBytes,
    repeats: Int,
    member_role: MaybeText,
    member_name: MaybeText,
    member_incarnation: MaybeInt,
    held_until: MaybeInt,
    used_at: Int,
    due: Int,
    answered: Int,
});

table!(CHANNEL_BODY, ChannelBodySql, "channel_body" by ["scope", "id"] {
    scope: Text,
    id: Text,
    claimed: Text,
    body: Text,
});

table!(CHANNEL_ANSWER, ChannelAnswerSql, "channel_answer" by ["scope", "id"] {
    scope: Text,
    id: Text,
    version: Int,
    presented: Bytes,
    status: Int,
    headers: Text,
    body: Bytes,
    expires: Int,
});

/// Of the version that is read, and of nobody who is alive and somebody else. Tells the row's `due`, which is written by
/// itself if it changes: there is an index on it.
const CHARGE: &str = "UPDATE channel SET version = channel.version + 1, charged = (v.value->>'charged'), \
     signed = (v.value->>'signed'), proof = (v.value->>'proof'), request = unhex(v.value->>'request'), \
     repeats = CAST(v.value->>'repeats' AS BIGINT), used_at = CAST(v.value->>'used_at' AS BIGINT), \
     answered = CAST(v.value->>'answered' AS BIGINT), \
     held_until = CASE WHEN (v.value->>'releases') = 'yes' THEN NULL ELSE channel.held_until END \
     FROM {rows} WHERE channel.scope = (v.value->>'scope') AND channel.id = (v.value->>'id') \
     AND channel.version = CAST(v.value->>'version' AS BIGINT) \
     AND (channel.held_until IS NULL OR channel.held_until <= CAST(v.value->>'used_at' AS BIGINT) \
     OR (channel.member_role = (v.value->>'role') AND channel.member_name = (v.value->>'name') \
     AND channel.member_incarnation = CAST(v.value->>'incarnation' AS BIGINT)) \
     OR NOT EXISTS (SELECT 1 FROM member m WHERE m.role = channel.member_role AND m.name = channel.member_name \
     AND m.incarnation = channel.member_incarnation AND m.is_ended = 0 \
     AND m.until > CAST(v.value->>'used_at' AS BIGINT))) \
     RETURNING {row channel.scope, channel.id, channel.due}";

/// Free, and due.
pub(super) const DUE_CHANNELS: &str = "SELECT t.id FROM channel t WHERE t.scope = {text scope} \
     AND t.due <= {int now} AND (t.held_until IS NULL OR t.held_until <= {int now} \
     OR NOT EXISTS (SELECT 1 FROM member m WHERE m.role = t.member_role AND m.name = t.member_name \
     AND m.incarnation = t.member_incarnation AND m.is_ended = 0 AND m.until > {int now})) \
     ORDER BY t.due, t.id LIMIT {int limit}{skip t}";

/// A charge, and whether it was written.
#[derive(Debug)]
pub(super) struct Charge {
    pub(super) charge: ChannelCharge,
    pub(super) is_written: bool,
}

/// What [`CHARGE`] unfolds.
#[derive(Serialize)]
struct ChargeSql<'a> {
    scope: &'a str,
    id: &'a str,
    version: i64,
    charged: String,
    signed: String,
    proof: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    repeats: u32,
    used_at: i64,
    answered: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incarnation: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    releases: Option<&'static str>,
}

/// Writes charges, in the order of their channels. Of several on one channel each sees the one before.
pub(super) async fn charge<B: Backend>(
    connection: &mut B::Connection,
    mut charges: Vec<&mut Charge>,
) -> Result<(), Failure> {
    charges.sort_by(|one, other| one.key().cmp(&other.key()));
    for charge in &mut charges {
        charge.is_written = false;
    }
    while !charges.is_empty() {
        let (mut round, mut later) = (Vec::<&mut Charge>::with_capacity(charges.len()), Vec::new());
        for charge in charges {
            let is_next = round.last().is_none_or(|last| last.key() < charge.key());
            if is_next { round.push(charge) } else { later.push(charge) }
        }
        charge_each::<B>(connection, &mut round).await?;
        charges = later;
    }
    Ok(())
}

/// Writes charges on different channels, which are in order.
async fn charge_each<B: Backend>(
    connection: &mut B::Connection,
    charges: &mut [&mut Charge],
) -> Result<(), Failure> {
    let rows: Vec<_> = charges.iter().map(|charge| ChargeSql::new(&charge.charge)).collect();
    let parameter = serde_json::to_string(&rows)?;
    let (mut due, mut answers) = (Vec::new(), Vec::new());
    for text in B::run(connection, B::DIALECT.fixed(CHARGE), parameter).await? {
        let (scope, id, was_due): (Cow<'_, str>, Cow<'_, str>, i64) = read(&text)?;
        let Ok(place) = charges.binary_search_by(|charge| charge.key().cmp(&(&scope, &id))) else {
            return Err(Failure::Refused(format!("channel {id}: charged by nobody")));
        };
        let charge = &mut *charges[place];
        charge.is_written = true;
        if was_due != int(charge.charge.due.0) {
            due.push(place);
        }
        if charge.charge.answer.is_some() {
            answers.push(place);
        }
    }
    if !due.is_empty() {
        let others: Vec<_> =
            CHANNEL.columns.iter().map(|(name, _)| *name).filter(|name| *name != "due").collect();
        let rows: Vec<_> = due.into_iter().map(|place| DueSql::new(&charges[place].charge)).collect();
        B::run(connection, CHANNEL.update(B::DIALECT, &others), serde_json::to_string(&rows)?).await?;
    }
    if !answers.is_empty() {
        let rows = answers.into_iter().filter_map(|place| ChannelAnswerSql::new(&charges[place].charge));
        let rows = rows.collect::<Result<Vec<_>, LedgerError>>()?;
        B::run(connection, CHANNEL_ANSWER.replace(B::DIALECT), serde_json::to_string(&rows)?).await?;
    }
    Ok(())
}

impl Charge {
    fn key(&self) -> (&str, &str) {
        (&self.charge.scope, self.charge.id.as_str())
    }
}

/// When a channel is due.
#[derive(Serialize)]
struct DueSql<'a> {
    scope: &'a str,
    id: &'a str,
    due: i64,
}

impl<'a> DueSql<'a> {
    fn new(charge: &'a ChannelCharge) -> Self {
        Self { scope: &charge.scope, id: charge.id.as_str(), due: int(charge.due.0) }
    }
}

impl<'a> ChargeSql<'a> {
    fn new(charge: &'a ChannelCharge) -> Self {
        let member = charge.member.as_ref();
        Self {
            scope: &charge.scope,
            id: charge.id.as_str(),
            version: int(charge.version),
            charged: charge.charged.to_string(),
            signed: charge.signed.to_string(),
            proof: &charge.proof,
            request: charge.request.map(|request| hex::encode(request.as_bytes())),
            repeats: charge.repeats,
            used_at: int(charge.used_at.0),
            answered: charge.answer.as_ref().map_or(0, |_| int(charge.version.saturating_add(1))),
            role: member.map(|member| role_name(member.role)),
            name: member.map(|member| &*member.name),
            incarnation: member.map(|member| int(member.incarnation)),
            releases: charge.is_released.then_some("yes"),
        }
    }
}

impl ChannelSql {
    pub(super) fn new((scope, id): &ChannelId, row: &ChannelRow) -> Self {
        let holder = row.holder.as_ref();
        let member = holder.map(|holder| &holder.member);
        Self {
            scope: scope.clone(),
            id: id.as_str().to_owned(),
            version: int(row.version),
            charged: row.charged.to_string(),
            signed: row.signed.to_string(),
            proof: row.proof.clone(),
            request: row.request.map(|request| Bytes(request.as_bytes().to_vec())),
            repeats: i64::from(row.repeats),
            member_role: member.map(|member| role_name(member.role).to_owned()),
            member_name: member.map(|member| member.name.clone()),
            member_incarnation: member.map(|member| int(member.incarnation)),
            held_until: holder.map(|holder| int(holder.until.0)),
            used_at: int(row.used_at.0),
            due: int(row.due.0),
            answered: int(row.answered),
        }
    }

    /// The row, with what is in the other table. Without a time, the member that is named there holds nothing.
    pub(super) fn into_row(self, rest: ChannelBodySql) -> Result<(ChannelId, ChannelRow), LedgerError> {
        let member = holder(self.member_role, self.member_name, self.member_incarnation)?;
        let holder = match (member, self.held_until) {
            (Some(member), Some(until)) => Some(Holder { member, until: UnixTime(unsigned(until)?) }),
            _ => None,
        };
        // No digits are how SQLite writes none.
        let request = self.request.filter(|bytes| !bytes.0.is_empty());
        if (&*rest.scope, &*rest.id) != (&*self.scope, &*self.id) {
            return Err(LedgerError::Corrupt(format!("channel {}: without the rest of it", self.id)));
        }
        let row = ChannelRow {
            version: unsigned(self.version)?,
            charged: parsed(&self.charged)?,
            signed: parsed(&self.signed)?,
            claimed: parsed(&rest.claimed)?,
            proof: self.proof,
            request: request.map(|bytes| fixed(&bytes)).transpose()?.map(Fingerprint::from_bytes),
            repeats: narrow(self.repeats)?,
            body: rest.body,
            holder,
            used_at: UnixTime(unsigned(self.used_at)?),
            due: UnixTime(unsigned(self.due)?),
            answered: unsigned(self.answered)?,
        };
        Ok(((self.scope, ChannelKey::new(self.id)), row))
    }
}

impl ChannelBodySql {
    pub(super) fn new((scope, id): &ChannelId, row: &ChannelRow) -> Self {
        let (claimed, body) = (row.claimed.to_string(), row.body.clone());
        Self { scope: scope.clone(), id: id.as_str().to_owned(), claimed, body }
    }
}

impl ChannelAnswerSql {
    /// The answer that a charge keeps, if it keeps one.
    fn new(charge: &ChannelCharge) -> Option<Result<Self, LedgerError>> {
        let answer = charge.answer.as_ref()?;
        Some(headers_text(&answer.headers).map(|headers| Self {
            scope: charge.scope.clone(),
            id: charge.id.as_str().to_owned(),
            version: int(charge.version.saturating_add(1)),
            presented: Bytes(answer.presented.to_vec()),
            status: i64::from(answer.status),
            headers,
            body: Bytes(answer.body.clone()),
            expires: int(answer.expires.0),
        }))
    }

    pub(super) fn into_answer(self) -> Result<StoredResponse, LedgerError> {
        Ok(StoredResponse {
            presented: fixed(&self.presented)?,
            status: narrow(self.status)?,
            headers: headers(&self.headers)?,
            body: self.body.0,
            expires: UnixTime(unsigned(self.expires)?),
        })
    }
}

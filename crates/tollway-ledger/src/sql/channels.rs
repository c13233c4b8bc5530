//! Channels in SQL: their rows, and the statements that are theirs alone.
//!
//! A charge is the most frequent write of all, so it has its own way: one statement checks and writes all charges of a
//! batch, and nothing is read before. What it checks is [`crate::tables::Tables::channel_charge`], in SQL.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use tollway_core::{ChannelKey, Fingerprint, UnixTime};

use super::answers::{AnswerLog, ChannelAnswerSql};
use super::backend::{Backend, Failure};
use super::rows::{
    Int, MaybeBytes, MaybeInt, MaybeText, Text, corrupt, fixed, holder, int, kind, narrow, parsed, read,
    role_name, table, unsigned,
};
use super::spec::{Bytes, Spec};
use crate::tables::{ChannelId, ChannelRow};
use crate::{ChannelCharge, Holder, LedgerError};

table!(CHANNEL, ChannelSql, "channel" by ["scope", "id"] {
    scope: Text,
    id: Text,
    version: Int,
    charged: Text,
    signed: Text,
    proof: Bytes,
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

/// Of the version that is read, and of nobody who is alive and somebody else. Tells the row's `due`, which is written by
/// itself if it changes: there is an index on it.
const CHARGE: &str = "UPDATE channel SET version = channel.version + 1, charged = (v.value->>'charged'), \
     signed = (v.value->>'signed'), proof = unhex(v.value->>'proof'), request = unhex(v.value->>'request'), \
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
    /// The number of its answer; 0 if it keeps none.
    pub(super) answered: i64,
}

/// What [`CHARGE`] unfolds.
#[derive(Serialize)]
struct ChargeSql<'a> {
    scope: &'a str,
    id: &'a str,
    version: i64,
    charged: String,
    signed: String,
    proof: String,
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
    log: &mut AnswerLog,
) -> Result<(), Failure> {
    charges.sort_by(|one, other| one.key().cmp(&other.key()));
    let now = charges.iter().map(|charge| charge.charge.used_at).max().unwrap_or_default();
    for charge in &mut charges {
        charge.is_written = false;
    }
    log.begin::<B>(connection, &mut charges).await?;
    while !charges.is_empty() {
        let (mut round, mut later) = (Vec::<&mut Charge>::with_capacity(charges.len()), Vec::new());
        for charge in charges {
            let is_next = round.last().is_none_or(|last| last.key() < charge.key());
            if is_next { round.push(charge) } else { later.push(charge) }
        }
        charge_each::<B>(connection, &mut round, log).await?;
        charges = later;
    }
    log.sweep::<B>(connection, now).await
}

/// Writes charges on different channels, which are in order.
async fn charge_each<B: Backend>(
    connection: &mut B::Connection,
    charges: &mut [&mut Charge],
    log: &mut AnswerLog,
) -> Result<(), Failure> {
    let rows: Vec<_> = charges.iter().map(|charge| ChargeSql::new(charge)).collect();
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
        let rows = answers.into_iter().filter_map(|place| ChannelAnswerSql::new(&*charges[place]));
        log.append::<B>(connection, &rows.collect::<Result<Vec<_>, LedgerError>>()?).await?;
    }
    Ok(())
}

impl Charge {
    pub(super) const fn new(charge: ChannelCharge) -> Self {
        Self { charge, is_written: false, answered: 0 }
    }

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
    fn new(Charge { charge, answered, .. }: &'a Charge) -> Self {
        let member = charge.member.as_ref();
        Self {
            scope: &charge.scope,
            id: charge.id.as_str(),
            version: int(charge.version),
            charged: charge.charged.to_string(),
            signed: charge.signed.to_string(),
            proof: hex::encode(packed(&charge.proof)),
            request: charge.request.map(|request| hex::encode(request.as_bytes())),
            repeats: charge.repeats,
            used_at: int(charge.used_at.0),
            answered: *answered,
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
            proof: Bytes(packed(&row.proof)),
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
            proof: unpacked(&self.proof)?,
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

/// What begins a proof that is kept as the bytes that it spells, and one that is kept as it is.
const SPELT: u8 = 1;
const PLAIN: u8 = 0;

/// A proof in as few bytes as it can be read from again. As text, two thirds of the row would be digits.
fn packed(proof: &str) -> Vec<u8> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digits = proof.strip_prefix("0x").filter(|digits| digits.bytes().all(is_digit));
    match digits.and_then(|digits| hex::decode(digits).ok()) {
        Some(bytes) => [&[SPELT], &*bytes].concat(),
        None => [&[PLAIN], proof.as_bytes()].concat(),
    }
}

fn unpacked(Bytes(proof): &Bytes) -> Result<String, LedgerError> {
    let text = match proof.split_first() {
        Some((&SPELT, bytes)) => Some(format!("0x{}", hex::encode(bytes))),
        Some((&PLAIN, text)) => String::from_utf8(text.to_vec()).ok(),
        _ => None,
    };
    text.ok_or_else(|| corrupt("proof", &hex::encode(proof)))
}

#[cfg(test)]
mod tests {
    use super::super::spec::Bytes;
    use super::{packed, unpacked};

    #[test]
    fn a_proof_is_read_as_it_was_written_whatever_it_is() {
        let signature = format!("0x{}", "5a".repeat(65));
        assert_eq!(packed(&signature).len(), 66);
        for proof in ["", "0x", "0x1", "0xAB", "0xé", "proof", "0xproof", "0x00", &signature] {
            assert_eq!(unpacked(&Bytes(packed(proof))).unwrap(), proof);
        }
        for stranger in [&b""[..], b"\x02a", b"\x00\xff"] {
            assert!(unpacked(&Bytes(stranger.to_vec())).is_err());
        }
    }
}

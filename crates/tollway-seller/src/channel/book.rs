//! Reading and writing channels. A row is written only in the version that was read: who comes second reads again.

use tollway_core::{ChannelKey, UnixTime};
use tollway_ledger::{Channel, ChannelCharge, Holder, LedgerError, Member, StoredResponse};

use super::record::{Record, SCOPE};
use super::row::Row;
use crate::membership::bounded;
use crate::paywall::Core;

/// A withdrawal takes as long as so many holds: half of it is the margin that nothing is served in, and a half of that is left.
const HOLDS_PER_DELAY: u64 = 4;
/// The longest answer that is kept with a charge, bytes.
const MAX_ANSWER_BYTES: usize = 4 * 1024;

/// A channel as it is written now; none if it is not.
pub(crate) async fn read(core: &Core, key: &ChannelKey) -> Result<Option<(Row, Record)>, LedgerError> {
    let channel = bounded(core.reservations.ledger().channel_get(SCOPE, key)).await?;
    channel.map(Row::of).transpose()
}

/// Writes a channel as a whole, if nobody has written it since it was read, and nobody holds it. Whether it was.
pub(crate) async fn write(
    core: &Core,
    key: &ChannelKey,
    row: &mut Row,
    record: &mut Record,
) -> Result<bool, LedgerError> {
    record.seen = row.seen;
    row.reserved = record.reserved();
    let channel = Channel {
        scope: SCOPE.to_owned(),
        id: key.clone(),
        version: row.version,
        charged: row.charged,
        signed: row.signed,
        claimed: row.seen.backing().claimed,
        proof: row.proof.to_string(),
        request: row.request,
        repeats: row.repeats,
        body: record.text()?,
        holder: None,
        used_at: row.used_at,
        due: row.due,
    };
    let ledger = core.reservations.ledger();
    let is_written = bounded(ledger.channel_put(channel, None, core.clock.now())).await?;
    if is_written {
        row.version = row.version.saturating_add(1);
    }
    Ok(is_written)
}

/// Writes what one request changes, if nobody has written the channel since it was read. Whether it was.
pub(crate) async fn charge(
    core: &Core,
    key: &ChannelKey,
    row: &mut Row,
    answer: Option<StoredResponse>,
    writer: Writer<'_>,
) -> Result<bool, LedgerError> {
    let charge = ChannelCharge {
        scope: SCOPE.to_owned(),
        id: key.clone(),
        version: row.version,
        charged: row.charged,
        signed: row.signed,
        proof: row.proof.to_string(),
        request: row.request,
        repeats: row.repeats,
        used_at: row.used_at,
        due: row.due,
        answer,
        member: writer.member.cloned(),
        is_released: writer.is_last,
    };
    let is_written = bounded(core.reservations.ledger().channel_charge(charge)).await?;
    if is_written {
        row.version = row.version.saturating_add(1);
    }
    Ok(is_written)
}

/// Who writes a charge.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Writer<'a> {
    /// Who holds the channel, if anybody has to.
    pub(crate) member: Option<&'a Member>,
    /// Whether nobody holds it from then on.
    pub(crate) is_last: bool,
}

/// The answer that was written with the latest charge.
pub(crate) async fn answer(core: &Core, key: &ChannelKey) -> Result<Option<StoredResponse>, LedgerError> {
    bounded(core.reservations.ledger().channel_answer(SCOPE, key)).await
}

/// Makes `member` the only one who may write the channel, for a while. None: it has been written since, or another one is.
pub(crate) async fn hold(
    core: &Core,
    key: &ChannelKey,
    row: &mut Row,
    member: Member,
    delay_seconds: u64,
) -> Result<Option<Holder>, LedgerError> {
    let (ledger, now) = (core.reservations.ledger(), core.clock.now());
    let holder = holder(core, member, delay_seconds);
    let held = bounded(ledger.channel_hold(SCOPE, key, row.version, holder.clone(), now)).await?;
    Ok(held.map(|channel| {
        row.version = channel.version;
        holder
    }))
}

/// Gives up the hold of `member` on a channel.
pub(crate) async fn release(core: &Core, key: &ChannelKey, member: &Member) -> Result<(), LedgerError> {
    let ledger = core.reservations.ledger();
    let held = bounded(ledger.channel_get(SCOPE, key)).await?;
    let is_its = |channel: &Channel| channel.holder.as_ref().is_some_and(|holder| holder.member == *member);
    let Some(channel) = held.filter(is_its) else { return Ok(()) };
    let free = Channel { holder: None, ..channel };
    // Who has written it meanwhile holds it now, or nobody does.
    bounded(ledger.channel_put(free, Some(member), core.clock.now())).await.map(drop)
}

/// Forgets a channel that came to nothing.
pub(crate) async fn remove(core: &Core, key: &ChannelKey, row: &Row) -> Result<bool, LedgerError> {
    let ledger = core.reservations.ledger();
    bounded(ledger.channel_remove(SCOPE, key, row.version, None, core.clock.now())).await
}

/// Until when a member holds a channel at most, if it lives. Who claims cannot write it before, and must have its time before
/// a withdrawal ends.
fn holder(core: &Core, member: Member, delay_seconds: u64) -> Holder {
    let longest = delay_seconds / HOLDS_PER_DELAY;
    let until: UnixTime = core.clock.now().plus_seconds(core.channels.rules.hold_seconds.min(longest));
    Holder { member, until }
}

/// Whether an answer is kept with its charge.
pub(crate) fn is_small(answer: &StoredResponse) -> bool {
    let head: usize = answer.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    head + answer.body.len() <= MAX_ANSWER_BYTES
}

//! Channels: written by who has read them as they are, unless another holds them; found when they are due.
//!
//! The SQL stores run [`Tables::channel_charge`] as a statement, which has to say the same.

use tollway_core::{Amount, ChannelKey, Fingerprint, UnixTime};

use super::{ChannelId, Tables, storable};
use crate::{Channel, ChannelCharge, Holder, Member, StoredResponse};

/// One, but for its key.
#[derive(Clone, Debug)]
pub(crate) struct ChannelRow {
    pub(crate) version: u64,
    pub(crate) charged: Amount,
    pub(crate) signed: Amount,
    pub(crate) claimed: Amount,
    pub(crate) proof: String,
    pub(crate) request: Option<Fingerprint>,
    pub(crate) repeats: u32,
    pub(crate) body: String,
    pub(crate) holder: Option<Holder>,
    pub(crate) used_at: UnixTime,
    pub(crate) due: UnixTime,
    /// What an SQL store finds the answer by; 0 if there is none. Here it is found by the channel.
    pub(crate) answered: u64,
}

impl Tables {
    pub(crate) fn channel_get(&self, key: &ChannelId) -> Option<Channel> {
        self.channels.get(key).map(|row| row.channel(key))
    }

    pub(crate) fn channel_put(&mut self, channel: Channel, member: Option<&Member>, now: UnixTime) -> bool {
        let Channel { scope, id, version, .. } = &channel;
        let key = (scope.clone(), id.clone());
        let before = self.channels.get(&key);
        if before.map_or(0, |row| row.version) != *version
            || before.is_some_and(|row| self.channel_is_held_by_another(row, member, now))
        {
            return false;
        }
        let answered = before.map_or(0, |row| row.answered);
        self.channel_write(
            key,
            ChannelRow {
                version: version.saturating_add(1),
                charged: channel.charged,
                signed: channel.signed,
                claimed: channel.claimed,
                proof: channel.proof,
                request: channel.request,
                repeats: channel.repeats,
                body: channel.body,
                holder: channel.holder.map(stored),
                used_at: storable(channel.used_at),
                due: storable(channel.due),
                answered,
            },
        );
        true
    }

    pub(crate) fn channel_charge(&mut self, charge: ChannelCharge) -> bool {
        let key = (charge.scope, charge.id);
        let Some(before) = self.channels.get(&key) else { return false };
        if before.version != charge.version
            || self.channel_is_held_by_another(before, charge.member.as_ref(), charge.used_at)
        {
            return false;
        }
        let version = before.version.saturating_add(1);
        let row = ChannelRow {
            version,
            charged: charge.charged,
            signed: charge.signed,
            proof: charge.proof,
            request: charge.request,
            repeats: charge.repeats,
            holder: before.holder.clone().filter(|_| !charge.is_released),
            used_at: storable(charge.used_at),
            due: storable(charge.due),
            ..before.clone()
        };
        self.channel_answer_put(&key, charge.answer);
        self.channel_write(key, row);
        true
    }

    pub(crate) fn channel_answer(&self, key: &ChannelId) -> Option<StoredResponse> {
        self.channel_answers.get(key).cloned()
    }

    pub(crate) fn channel_hold(
        &mut self,
        key: ChannelId,
        version: u64,
        holder: Holder,
        now: UnixTime,
    ) -> Option<Channel> {
        let before = self.channels.get(&key).filter(|row| row.version == version)?;
        if self.channel_is_held_by_another(before, Some(&holder.member), now) {
            return None;
        }
        let version = version.saturating_add(1);
        let row = ChannelRow { version, holder: Some(stored(holder)), ..before.clone() };
        let held = row.channel(&key);
        self.channel_write(key, row);
        Some(held)
    }

    pub(crate) fn channel_list(&self, scope: &str, after: Option<&ChannelKey>, limit: u32) -> Vec<Channel> {
        let first = (scope.to_owned(), after.cloned().unwrap_or_else(|| ChannelKey::new("")));
        let rows = self.channels.range(first..).take_while(|((of, _), _)| of == scope);
        let rows = rows.filter(|((_, id), _)| after.is_none_or(|after| id > after));
        rows.take(limit as usize).map(|(key, row)| row.channel(key)).collect()
    }

    pub(crate) fn channel_due(
        &mut self,
        scope: &str,
        now: UnixTime,
        retry_at: UnixTime,
        limit: u32,
    ) -> Vec<Channel> {
        let first = (scope.to_owned(), UnixTime(0), ChannelKey::new(""));
        let due = self.indexes.due_channels.range(first..);
        let due = due.take_while(|(of, at, _)| of == scope && *at <= now);
        let due = due.map(|(of, _, id)| (of.clone(), id.clone()));
        let free = due.filter_map(|key| Some((self.channels.get(&key)?.clone(), key)));
        let free = free.filter(|(row, _)| !self.channel_is_held_by_another(row, None, now));
        let free: Vec<_> = free.take(limit as usize).collect();
        let taken = free.into_iter().map(|(row, key)| {
            let row = ChannelRow { version: row.version.saturating_add(1), due: storable(retry_at), ..row };
            let channel = row.channel(&key);
            self.channel_write(key, row);
            channel
        });
        taken.collect()
    }

    pub(crate) fn channel_remove(
        &mut self,
        key: &ChannelId,
        version: u64,
        member: Option<&Member>,
        now: UnixTime,
    ) -> bool {
        let row = self.channels.get(key).filter(|row| row.version == version);
        let Some(row) = row.filter(|row| !self.channel_is_held_by_another(row, member, now)) else {
            return false;
        };
        self.indexes.due_channels.remove(&(key.0.clone(), row.due, key.1.clone()));
        self.channels.remove(key);
        self.channel_answer_put(key, None);
        true
    }

    pub(crate) fn channel_count(&self, scope: &str) -> u64 {
        let first = (scope.to_owned(), ChannelKey::new(""));
        let rows = self.channels.range(first..).take_while(|((of, _), _)| of == scope);
        u64::try_from(rows.count()).unwrap_or(u64::MAX)
    }

    /// Who is dead, or past its time, holds nothing. Who asks is not taken over from, however late it is: its version
    /// tells it if somebody has.
    fn channel_is_held_by_another(&self, row: &ChannelRow, caller: Option<&Member>, now: UnixTime) -> bool {
        row.holder.as_ref().is_some_and(|holder| {
            caller != Some(&holder.member) && now < holder.until && self.is_alive(&holder.member, now)
        })
    }

    pub(crate) fn channel_write(&mut self, key: ChannelId, row: ChannelRow) {
        let place = |due| (key.0.clone(), due, key.1.clone());
        let due = row.due;
        if let Some(before) = self.channels.put(key.clone(), row).filter(|before| before.due != due) {
            self.indexes.due_channels.remove(&place(before.due));
        }
        self.indexes.due_channels.insert(place(due));
    }

    pub(crate) fn channel_answer_put(&mut self, key: &ChannelId, answer: Option<StoredResponse>) {
        let answer = answer.map(|answer| StoredResponse { expires: storable(answer.expires), ..answer });
        let after = answer.as_ref().map(|answer| (answer.expires, answer.body.len()));
        let before = match answer {
            Some(answer) => self.channel_answers.put(key.clone(), answer),
            None => self.channel_answers.remove(key),
        };
        if let Some(before) = before {
            self.channel_answer_bytes = self.channel_answer_bytes.saturating_sub(before.body.len());
            self.indexes.by_answer_expiry.remove(&(before.expires, key.clone()));
        }
        if let Some((expires, bytes)) = after {
            self.channel_answer_bytes += bytes;
            self.indexes.by_answer_expiry.insert((expires, key.clone()));
        }
    }

    /// Forgets the answer that ends first; false if there is none.
    pub(super) fn channel_answer_forget_first(&mut self) -> bool {
        let Some((_, key)) = self.indexes.by_answer_expiry.first().cloned() else { return false };
        self.channel_answer_put(&key, None);
        true
    }
}

impl ChannelRow {
    pub(crate) fn channel(&self, (scope, id): &ChannelId) -> Channel {
        let Self { version, charged, signed, claimed, proof, request, repeats, body, holder, .. } =
            self.clone();
        let (scope, id, used_at, due) = (scope.clone(), id.clone(), self.used_at, self.due);
        Channel {
            scope,
            id,
            version,
            charged,
            signed,
            claimed,
            proof,
            request,
            repeats,
            body,
            holder,
            used_at,
            due,
        }
    }
}

fn stored(holder: Holder) -> Holder {
    Holder { until: storable(holder.until), ..holder }
}

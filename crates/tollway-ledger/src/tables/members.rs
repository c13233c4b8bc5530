//! Members: who is alive.

use tollway_core::UnixTime;

use super::{Tables, storable};
use crate::{Member, Role};

/// The latest start under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberRow {
    pub(crate) incarnation: u64,
    pub(crate) until: UnixTime,
    /// It left, or somebody took over from it when it was dead. It does not come back.
    pub(crate) is_ended: bool,
}

impl Tables {
    pub(crate) fn member_join(&mut self, role: Role, name: &str, until: UnixTime) -> Member {
        let key = (role, name.to_owned());
        let incarnation = self.members.get(&key).map_or(1, |row| row.incarnation + 1);
        self.members.put(key, MemberRow { incarnation, until: storable(until), is_ended: false });
        Member { role, name: name.to_owned(), incarnation }
    }

    pub(crate) fn member_renew(&mut self, member: &Member, until: UnixTime) -> bool {
        self.member_write(member, |row| row.until = storable(until))
    }

    pub(crate) fn member_leave(&mut self, member: &Member) {
        self.member_write(member, |row| row.is_ended = true);
    }

    pub(crate) fn member_list(&self, role: Role, now: UnixTime) -> Vec<Member> {
        let members = self.members.iter().map(|((role, name), row)| Member {
            role: *role,
            name: name.clone(),
            incarnation: row.incarnation,
        });
        members.filter(|member| member.role == role && self.is_alive(member, now)).collect()
    }

    pub(super) fn is_alive(&self, member: &Member, now: UnixTime) -> bool {
        let row = self.members.get(&(member.role, member.name.clone()));
        row.is_some_and(|row| row.incarnation == member.incarnation && !row.is_ended && now < row.until)
    }

    /// Somebody takes over from `member`, who is dead: it must not live on as if nothing were.
    pub(super) fn bury(&mut self, member: &Member) {
        self.member_write(member, |row| row.is_ended = true);
    }

    /// Changes a membership that has not ended; false if it has.
    fn member_write(&mut self, member: &Member, change: impl FnOnce(&mut MemberRow)) -> bool {
        let key = (member.role, member.name.clone());
        let row = self.members.get(&key).filter(|row| row.incarnation == member.incarnation && !row.is_ended);
        let Some(mut row) = row.cloned() else { return false };
        change(&mut row);
        self.members.put(key, row);
        true
    }
}

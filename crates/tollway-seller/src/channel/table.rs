//! The rows that are kept in memory, and who works with which: a request has its channel to itself. Bounded both ways: a
//! stranger who names channels that are none adds to neither for longer than its request lasts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tollway_core::ChannelKey;

use super::row::Row;

/// How many channels may be worked with at once.
const MAX_BUSY: usize = 65_536;

/// What is kept of channels between requests.
#[derive(Debug)]
pub(crate) struct Table {
    inner: Mutex<Inner>,
    /// Half of what is kept at most.
    half: usize,
}

#[derive(Debug, Default)]
struct Inner {
    busy: HashSet<ChannelKey>,
    /// What was used lately, and what was used before that: the latter is forgotten as a whole. Rows are boxed because a
    /// map that grows is half empty.
    young: HashMap<ChannelKey, Box<Row>>,
    old: HashMap<ChannelKey, Box<Row>>,
}

/// Why a channel is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Another request has it.
    Busy,
    /// Too many are under way.
    Full,
}

/// A channel that nobody else in this process works with, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Lease {
    table: Arc<Table>,
    key: ChannelKey,
    /// What is known of it; none if it has to be read.
    pub(crate) row: Option<Row>,
}

impl Table {
    /// A table that keeps `capacity` rows at most.
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), half: (capacity / 2).max(1) })
    }

    /// Takes a channel for one request.
    pub(crate) fn take(self: &Arc<Self>, key: &ChannelKey) -> Result<Lease, Taken> {
        let mut inner = self.inner.lock();
        if inner.busy.contains(key) {
            return Err(Taken::Busy);
        }
        if inner.busy.len() >= MAX_BUSY {
            return Err(Taken::Full);
        }
        inner.busy.insert(key.clone());
        let row = match inner.young.remove(key) {
            Some(row) => Some(row),
            None => inner.old.remove(key),
        };
        Ok(Lease { table: Arc::clone(self), key: key.clone(), row: row.map(|row| *row) })
    }

    fn give_back(&self, key: &ChannelKey, row: Option<Row>) {
        let row = row.map(Box::new);
        let mut inner = self.inner.lock();
        let key = inner.busy.take(key);
        let forgotten = match (key, row) {
            (Some(key), Some(row)) => {
                inner.young.insert(key, row);
                let is_full = inner.young.len() >= self.half;
                is_full.then(|| {
                    let young = std::mem::take(&mut inner.young);
                    std::mem::replace(&mut inner.old, young)
                })
            }
            _ => None,
        };
        // Freed when others may go on.
        drop(inner);
        drop(forgotten);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What is not written down is known to nobody else, and not kept.
        self.table.give_back(&self.key, self.row.take().filter(|row| row.version > 0));
    }
}

#[cfg(test)]
mod tests {
    use tollway_core::{Amount, ChannelKey, UnixTime};

    use super::{Row, Table, Taken};
    use crate::channel::record::Seen;

    fn key(number: usize) -> ChannelKey {
        ChannelKey::new(format!("eip155:8453/0x{number:064x}"))
    }

    fn row(charged: u64) -> Row {
        Row { version: 1, ..Row::new(Amount::from(charged), Seen::default(), UnixTime(0)) }
    }

    #[test]
    fn a_channel_is_worked_with_by_one_request_at_a_time() {
        let table = Table::new(10);
        let first = table.take(&key(1)).unwrap();
        assert_eq!(table.take(&key(1)).unwrap_err(), Taken::Busy);
        let _other = table.take(&key(2)).unwrap();
        drop(first);
        let mut again = table.take(&key(1)).unwrap();
        assert!(again.row.is_none());
        again.row = Some(Row { version: 0, ..row(7) });
        drop(again);
        assert!(table.take(&key(1)).unwrap().row.is_none(), "it was never written down");
    }

    #[test]
    fn unknown_channels_fill_nothing() {
        let table = Table::new(10);
        table.take(&key(0)).unwrap().row = Some(row(7));
        for number in 1..10_000 {
            drop(table.take(&key(number)).unwrap());
        }
        assert_eq!(table.take(&key(0)).unwrap().row.as_ref().unwrap().charged, Amount::from(7u64));
        let inner = table.inner.lock();
        assert!(inner.busy.is_empty() && inner.young.len() + inner.old.len() == 1);
    }

    #[test]
    fn rows_are_bounded_and_those_in_use_stay() {
        let table = Table::new(100);
        for number in 1..5_000 {
            table.take(&key(0)).unwrap().row.get_or_insert_with(|| row(7)).charged = Amount::from(7u64);
            table.take(&key(number)).unwrap().row = Some(row(1));
            let inner = table.inner.lock();
            assert!(inner.young.len() + inner.old.len() <= 100);
        }
        assert!(table.take(&key(0)).unwrap().row.is_some());
    }

    #[test]
    fn an_idle_channel_takes_less_than_a_kibibyte() {
        // Each is allocated by itself: in steps of 16 bytes, and with 8 of the allocator's.
        let heap = |bytes: usize| (bytes + 8).next_multiple_of(16);
        let (proof, name) = (heap(2 + 2 * 65), heap(key(0).as_str().len()));
        // A table of hashes is at least seven sixteenths full, and has a byte of control for each place.
        let place = (size_of::<Box<Row>>() + size_of::<ChannelKey>() + 1) * 16 / 7;
        let row = heap(size_of::<Row>());
        assert!(place + row + name + proof < 1_024, "{place} + {row} + {name} + {proof}");
    }
}

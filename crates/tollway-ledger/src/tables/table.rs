//! Rows by key, which may remember what was written.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;

/// Rows of one kind.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    rows: BTreeMap<K, V>,
    touched: Option<BTreeSet<K>>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), touched: None }
    }
}

impl<K: Ord + Clone, V> Table<K, V> {
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.rows.get(key)
    }

    /// Writes a row; the one before.
    pub(crate) fn put(&mut self, key: K, row: V) -> Option<V> {
        if let Some(touched) = &mut self.touched {
            touched.insert(key.clone());
        }
        self.rows.insert(key, row)
    }

    /// Removes a row. One that is not here may be in the store: that counts as touched, too.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        if let Some(touched) = &mut self.touched {
            touched.insert(key.clone());
        }
        self.rows.remove(key)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    pub(super) fn range(&self, keys: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.range(keys)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn track(&mut self) {
        self.touched = Some(BTreeSet::new());
    }

    /// The keys of rows that were written or removed since tracking began.
    pub(crate) fn touched(&self) -> impl Iterator<Item = &K> {
        self.touched.iter().flatten()
    }
}

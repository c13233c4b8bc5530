//! A persistent hash map: cloning it is O(1), and clones share everything that neither has since changed.
//!
//! This is what makes every block's state cheap to keep: a block costs the paths it touched, a historical
//! call costs nothing extra, and going back to an older block is an assignment. It is a hash trie with
//! sixteen-way nodes. There is no removal, because in the state "absent" and "zero" are the same thing.

use std::{
    fmt,
    hash::{BuildHasher, Hash},
    mem,
    sync::Arc,
};

use alloy_primitives::map::DefaultHashBuilder;

/// The map. Values must be cheap to clone: a shared node copies its leaves when it is written to.
#[derive(Clone)]
pub(crate) struct Map<K, V> {
    root: Arc<Node<K, V>>,
    hasher: DefaultHashBuilder,
}

#[derive(Clone)]
struct Node<K, V> {
    /// Bit `i` is set when digit `i` has a slot; `slots` holds only those, in order.
    bitmap: u16,
    slots: Vec<Slot<K, V>>,
}

#[derive(Clone)]
enum Slot<K, V> {
    Leaf(K, V),
    Branch(Arc<Node<K, V>>),
}

impl<K, V> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A state has far too many entries to be worth printing.
        f.debug_struct("Map").finish_non_exhaustive()
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self { root: Arc::default(), hasher: DefaultHashBuilder::default() }
    }
}

impl<K, V> Default for Node<K, V> {
    fn default() -> Self {
        Self { bitmap: 0, slots: Vec::new() }
    }
}

impl<K: Hash + Eq + Clone, V: Clone + Default> Map<K, V> {
    /// The value of `key`, if it was ever written.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let mut node = &*self.root;
        for depth in 0.. {
            let (bit, index) = node.position(digit(&self.hasher, key, depth));
            if node.bitmap & bit == 0 {
                return None;
            }
            match node.slots.get(index)? {
                Slot::Leaf(found, value) => return (found == key).then_some(value),
                Slot::Branch(child) => node = child,
            }
        }
        None
    }

    /// A place to write the value of `key`, the default value if it had none.
    pub(crate) fn entry(&mut self, key: K) -> &mut V {
        entry(&mut self.root, &self.hasher, key, 0)
    }

    /// Sets the value of `key`.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        *self.entry(key) = value;
    }
}

impl<K, V> Node<K, V> {
    fn position(&self, digit: u32) -> (u16, usize) {
        let bit = 1 << digit;
        (bit, (self.bitmap & (bit - 1)).count_ones() as usize)
    }
}

fn entry<'a, K: Hash + Eq + Clone, V: Clone + Default>(
    node: &'a mut Arc<Node<K, V>>,
    hasher: &DefaultHashBuilder,
    key: K,
    depth: u32,
) -> &'a mut V {
    let node = Arc::make_mut(node);
    let (bit, index) = node.position(digit(hasher, &key, depth));
    if node.bitmap & bit == 0 {
        node.bitmap |= bit;
        node.slots.insert(index, Slot::Leaf(key.clone(), V::default()));
    } else if matches!(&node.slots[index], Slot::Leaf(found, _) if *found != key) {
        push_down(&mut node.slots[index], hasher, depth + 1);
    }
    match &mut node.slots[index] {
        Slot::Leaf(_, value) => value,
        Slot::Branch(child) => entry(child, hasher, key, depth + 1),
    }
}

/// Turns a leaf into a branch that holds it, to make room for another key with the same digits so far.
fn push_down<K: Hash + Eq + Clone, V: Clone + Default>(
    slot: &mut Slot<K, V>,
    hasher: &DefaultHashBuilder,
    depth: u32,
) {
    let mut child = Arc::default();
    if let Slot::Leaf(key, value) = mem::replace(slot, Slot::Branch(Arc::default())) {
        *entry(&mut child, hasher, key, depth) = value;
    }
    *slot = Slot::Branch(child);
}

/// The four bits that choose the slot at `depth`. The depth is hashed in once the hash's own bits are used
/// up, so two keys that collide in one hash part in the next.
fn digit<K: Hash>(hasher: &DefaultHashBuilder, key: &K, depth: u32) -> u32 {
    let hash = hasher.hash_one((depth / 16, key));
    ((hash >> (4 * (depth % 16))) & 0xF) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::Map;

    #[test]
    fn it_agrees_with_the_standard_map() {
        let (mut ours, mut theirs) = (Map::<u64, u64>::default(), HashMap::new());
        for step in 0..20_000_u64 {
            let key = step.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 5_000;
            ours.insert(key, step);
            theirs.insert(key, step);
        }
        for key in 0..5_000 {
            assert_eq!(ours.get(&key), theirs.get(&key), "{key}");
        }
    }

    #[test]
    fn a_clone_keeps_what_it_had() {
        let mut map = Map::<u64, u64>::default();
        (0..1_000).for_each(|key| map.insert(key, key));
        let before = map.clone();
        (0..2_000).for_each(|key| *map.entry(key) += 7);
        for key in 0..2_000 {
            assert_eq!(before.get(&key).copied(), (key < 1_000).then_some(key));
            assert_eq!(map.get(&key).copied(), Some(if key < 1_000 { key + 7 } else { 7 }));
        }
    }
}

//! The newest state of items that the index does not have yet, and of those that change all the time.
//!
//! An entry at or below the visible sequence is durable and in the index; it stays only as a cache of a
//! decoded hot item. An entry above it is the overlay: what accepted plans will have done.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::model::item::Item;
use crate::model::key::Key;

/// Newest state of one item.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// The plan that made it.
    pub seq: u64,
    /// The item; `None` when it was deleted.
    pub item: Option<Arc<Item>>,
    /// Whether it is worth keeping once it is durable.
    hot: bool,
    /// Whether the cache's queue names it.
    named: bool,
    /// Whether it was used since the cache last looked for something to drop.
    used: bool,
}

/// Entries looked at in a trim besides twice those that are too many.
const TRIM_ROUNDS: usize = 64;

#[derive(Debug)]
pub(super) struct Heads {
    map: HashMap<Key, Head>,
    /// Keys of entries that have been durable, oldest first; may name keys that are pending again or gone.
    cached: VecDeque<Key>,
    max_cached: usize,
}

impl Heads {
    pub fn new(max_cached: usize) -> Self {
        Self { map: HashMap::new(), cached: VecDeque::new(), max_cached }
    }

    pub fn get(&mut self, key: &Key) -> Option<&Head> {
        let head = self.map.get_mut(key)?;
        head.used = true;
        Some(head)
    }

    /// The state after plan `seq`.
    pub fn set(&mut self, key: &Key, seq: u64, item: Option<Arc<Item>>, hot: bool) {
        if let Some(head) = self.map.get_mut(key) {
            *head = Head { seq, item, hot, named: head.named, used: true };
        } else {
            self.map.insert(key.clone(), Head { seq, item, hot, named: false, used: false });
        }
    }

    /// Plan `seq`'s state of the item is in the index.
    pub fn settled(&mut self, key: &Key, seq: u64) {
        let Some(head) = self.map.get_mut(key) else { return };
        if head.seq != seq {
            return;
        }
        if !head.hot || self.max_cached == 0 {
            self.map.remove(key);
            return;
        }
        if !std::mem::replace(&mut head.named, true) {
            self.cached.push_back(key.clone());
        }
    }

    /// Brings the cache back to its bound; entries used since the last look get another round. Of many that were all used
    /// only some are looked at at a time, since everybody waits meanwhile: the cache may then be larger for a few batches.
    pub fn trim(&mut self, visible: u64) {
        let excess = self.cached.len().saturating_sub(self.max_cached);
        let mut rounds = self.cached.len().min(2 * excess + TRIM_ROUNDS);
        while self.cached.len() > self.max_cached && rounds > 0 {
            rounds -= 1;
            let Some(key) = self.cached.pop_front() else { return };
            let Some(head) = self.map.get_mut(&key) else { continue };
            if head.seq > visible {
                // Pending again: it is named anew when it settles.
                head.named = false;
            } else if std::mem::take(&mut head.used) && rounds > 0 {
                self.cached.push_back(key);
            } else {
                self.map.remove(&key);
            }
        }
    }

    pub fn clear(&mut self) {
        self.map.clear();
        self.cached.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        Key::new(n.to_string(), "S")
    }

    #[test]
    fn a_cache_of_entries_that_are_all_used_comes_back_to_its_bound() {
        let mut heads = Heads::new(1_000);
        let mut seq = 0;
        let mut settle = |heads: &mut Heads, n| {
            seq += 1;
            heads.set(&key(n), seq, None, true);
            heads.settled(&key(n), seq);
            seq
        };
        let mut most = 0;
        for n in 0..5_000 {
            let last = settle(&mut heads, n);
            (0..1_000).step_by(7).for_each(|hot| drop(heads.get(&key(hot)).cloned()));
            if n % 8 == 7 {
                heads.trim(last);
                most = most.max(heads.cached.len());
            }
        }
        assert!(most <= 1_100, "{most}");
        for _ in 0..100 {
            heads.trim(u64::MAX);
        }
        assert_eq!((heads.cached.len(), heads.map.len()), (1_000, 1_000));
    }
}

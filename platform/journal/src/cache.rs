//! A small cache of decompressed blocks, bounded in bytes, first in first out.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;

/// Segment number and index of the block in its directory.
pub(crate) type BlockKey = (u64, usize);

pub(crate) struct BlockCache {
    capacity: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    blocks: HashMap<BlockKey, Bytes>,
    order: VecDeque<BlockKey>,
    bytes: usize,
}

impl BlockCache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, inner: Mutex::default() }
    }

    pub(crate) fn get(&self, key: BlockKey) -> Option<Bytes> {
        self.inner.lock().blocks.get(&key).cloned()
    }

    pub(crate) fn put(&self, key: BlockKey, block: Bytes) {
        // A block that would push out everything else is better read again.
        if block.len() > self.capacity / 2 {
            return;
        }
        let mut inner = self.inner.lock();
        inner.bytes += block.len();
        if let Some(old) = inner.blocks.insert(key, block) {
            inner.bytes -= old.len();
        } else {
            inner.order.push_back(key);
        }
        while inner.bytes > self.capacity {
            let Some(oldest) = inner.order.pop_front() else { return };
            if let Some(old) = inner.blocks.remove(&oldest) {
                inner.bytes -= old.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_never_holds_more_than_its_capacity() {
        let cache = BlockCache::new(1000);
        for i in 0..100 {
            cache.put((1, i), Bytes::from(vec![0; 90]));
            assert!(cache.inner.lock().bytes <= 1000);
        }
        assert!(cache.get((1, 99)).is_some());
        assert!(cache.get((1, 0)).is_none());
    }

    #[test]
    fn a_block_larger_than_half_the_cache_is_not_kept() {
        let cache = BlockCache::new(1000);
        cache.put((1, 1), Bytes::from(vec![0; 501]));
        assert!(cache.get((1, 1)).is_none());
    }
}

//! What was applied and is not on disk yet: ordered maps in memory, which one thread writes and any number read.
//!
//! A partition's entries are in one of many shards, each with a lock of its own that is held for one entry or one
//! chunk. Of an item the newest version is kept and the one before. That is enough for whoever reads at the visible
//! sequence: while a batch is applied the items it changes still have what they had before. A reader who falls two
//! changes of an item behind is told so ([`Found::Moved`]) and begins again at a later moment.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hashbrown::DefaultHashBuilder;
use lsm_tree::{InternalValue, Slice, ValueType};
use parking_lot::{RwLock, RwLockReadGuard};

/// More than the threads that meet here, so that each map stays shallow.
const SHARDS: usize = 128;
/// Memory of an entry besides its bytes: the map's slot and the blocks of key and value.
const ENTRY_BYTES: usize = 144;

/// Keys with their values; `None` hides what older parts of the index say.
pub(super) type Entries = Vec<(Slice, Option<Slice>)>;

/// Entries in memory.
pub(super) struct Recent {
    shards: [RwLock<BTreeMap<Slice, Entry>>; SHARDS],
    hasher: DefaultHashBuilder,
    bytes: AtomicU64,
    put_bytes: AtomicU64,
    last: AtomicU64,
}

struct Entry {
    newest: Version,
    /// The version before, if it was made here.
    before: Option<Version>,
}

struct Version {
    seq: u64,
    /// `None`: removed.
    value: Option<Slice>,
}

/// What is known here of a key at a moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Its value, or that it was removed.
    Here(Option<Slice>),
    /// Nothing; older parts of the index know.
    Below,
    /// It has been changed twice since.
    Moved,
}

/// The reader is too far behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved;

impl Entry {
    fn at(&self, at: u64) -> Found {
        match (&self.newest, &self.before) {
            (newest, _) if newest.seq <= at => Found::Here(newest.value.clone()),
            (_, Some(before)) if before.seq <= at => Found::Here(before.value.clone()),
            (_, Some(_)) => Found::Moved,
            (_, None) => Found::Below,
        }
    }
}

impl Recent {
    pub fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            hasher: DefaultHashBuilder::default(),
            bytes: AtomicU64::new(0),
            put_bytes: AtomicU64::new(0),
            last: AtomicU64::new(0),
        }
    }

    /// Memory, estimated.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Bytes of all that was put, also of what was written over since: what an opening would have to put again.
    pub fn put_bytes(&self) -> u64 {
        self.put_bytes.load(Relaxed)
    }

    /// Newest sequence.
    pub fn last(&self) -> u64 {
        self.last.load(Relaxed)
    }

    /// What is known of `key` as of sequence `at`.
    pub fn get(&self, key: &[u8], at: u64) -> Found {
        self.shard_of(key).read().get(key).map_or(Found::Below, |entry| entry.at(at))
    }

    /// Sets (or removes) a value. Sequences do not go down from call to call.
    pub fn put(&self, key: &[u8], value: Option<&[u8]>, seq: u64) {
        let value_len = value.map_or(0, <[u8]>::len);
        let newest = Version { seq, value: value.map(Slice::from) };
        self.last.store(seq, Relaxed);
        self.put_bytes.fetch_add((key.len() + value_len + ENTRY_BYTES) as u64, Relaxed);
        let mut shard = self.shard_of(key).write();
        if let Some(entry) = shard.get_mut(key) {
            let before = std::mem::replace(&mut entry.newest, newest);
            if before.seq < seq {
                // The second version costs what the first did; the third and later ones replace.
                if entry.before.replace(before).is_none() {
                    self.bytes.fetch_add(value_len as u64, Relaxed);
                }
            }
        } else {
            shard.insert(Slice::from(key), Entry { newest, before: None });
            self.bytes.fetch_add((key.len() + value_len + ENTRY_BYTES) as u64, Relaxed);
        }
    }

    /// Up to `most` entries of one partition between two keys as of `at`, ascending or descending, and the key after
    /// which the next call goes on, if there may be more.
    pub fn chunk(&self, span: &Span, at: u64, most: usize) -> Result<(Entries, Option<Slice>), Moved> {
        let shard = self.shard_of(&span.prefix).read();
        let mut range = shard.range::<[u8], _>((as_slice(&span.lower), as_slice(&span.upper)));
        let mut entries = Vec::new();
        let mut last = None;
        for _ in 0..most {
            let next = if span.reverse { range.next_back() } else { range.next() };
            let Some((key, entry)) = next else { return Ok((entries, None)) };
            match entry.at(at) {
                Found::Here(value) => entries.push((key.clone(), value)),
                Found::Below => {}
                Found::Moved => return Err(Moved),
            }
            last = Some(key);
        }
        Ok((entries, last.cloned()))
    }

    /// Everything as of `at`, ascending. Nothing is written while it is gathered.
    pub fn all(&self, at: u64) -> Result<Entries, Moved> {
        let shards: Vec<RwLockReadGuard<'_, _>> = self.shards.iter().map(RwLock::read).collect();
        let mut entries = Vec::new();
        for (key, entry) in shards.iter().flat_map(|shard| shard.iter()) {
            match entry.at(at) {
                Found::Here(value) => entries.push((key.clone(), value)),
                Found::Below => {}
                Found::Moved => return Err(Moved),
            }
        }
        drop(shards);
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(entries)
    }

    /// The newest version of everything, ascending, as the tree takes it.
    pub fn newest(&self) -> Vec<InternalValue> {
        let mut values = Vec::new();
        for shard in &self.shards {
            values.extend(shard.read().iter().map(|(key, Entry { newest, .. })| match &newest.value {
                Some(value) => InternalValue::from_components(key.clone(), value.clone(), newest.seq, ValueType::Value),
                None => InternalValue::new_tombstone(key.clone(), newest.seq),
            }));
        }
        values.sort_by(|a, b| a.key.user_key.cmp(&b.key.user_key));
        values
    }

    fn shard_of(&self, key: &[u8]) -> &RwLock<BTreeMap<Slice, Entry>> {
        let hash = self.hasher.hash_one(super::partition_of(key));
        // The remainder is below SHARDS.
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)]
    }
}

/// A range of keys of one partition.
#[derive(Debug, Clone)]
pub(super) struct Span {
    /// What all its keys begin with.
    pub prefix: Vec<u8>,
    pub lower: Bound<Vec<u8>>,
    pub upper: Bound<Vec<u8>>,
    pub reverse: bool,
}

impl Span {
    /// What is left after `last`.
    pub fn go_on_after(&mut self, last: &Slice) {
        let bound = Bound::Excluded(last.to_vec());
        if self.reverse {
            self.upper = bound;
        } else {
            self.lower = bound;
        }
    }

    /// Whether no key can be inside (ordered maps panic on such ranges).
    pub fn is_empty(&self) -> bool {
        match (&self.lower, &self.upper) {
            (Bound::Included(low), Bound::Included(high)) => low > high,
            (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => low >= high,
            _ => false,
        }
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(value: &str) -> Found {
        Found::Here(Some(Slice::from(value)))
    }

    #[test]
    fn a_reader_sees_the_state_before_the_batch_that_is_being_applied() {
        let recent = Recent::new();
        recent.put(b"\0\x01pa", Some(b"1"), 3);
        assert_eq!(recent.get(b"\0\x01pa", 2), Found::Below);
        recent.put(b"\0\x01pa", Some(b"2"), 5);
        assert_eq!(recent.get(b"\0\x01pa", 4), here("1"));
        assert_eq!(recent.get(b"\0\x01pa", 5), here("2"));
        assert_eq!(recent.get(b"\0\x01pa", 2), Found::Moved);
        recent.put(b"\0\x01pa", None, 7);
        assert_eq!(recent.get(b"\0\x01pa", 7), Found::Here(None));
        assert_eq!(recent.get(b"\0\x01pa", 6), here("2"));
        assert_eq!(recent.get(b"\0\x01pa", 4), Found::Moved);
        assert_eq!(recent.get(b"\0\x01pb", 9), Found::Below);
    }

    #[test]
    fn what_is_applied_twice_is_one_version() {
        let recent = Recent::new();
        recent.put(b"\0\x01pa", Some(b"1"), 3);
        recent.put(b"\0\x01pa", Some(b"2"), 5);
        recent.put(b"\0\x01pa", Some(b"2"), 5);
        assert_eq!(recent.get(b"\0\x01pa", 4), here("1"));
    }

    #[test]
    fn memory_is_counted_once_per_item_however_often_it_changes() {
        let recent = Recent::new();
        recent.put(b"\0\x01pa", Some(b"1234"), 1);
        recent.put(b"\0\x01pa", Some(b"1234"), 2);
        let two = recent.bytes();
        (3..1_000).for_each(|seq| recent.put(b"\0\x01pa", Some(b"1234"), seq));
        assert_eq!(recent.bytes(), two);
    }
}

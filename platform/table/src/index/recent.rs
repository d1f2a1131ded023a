//! What was applied and is not on disk yet: maps in memory, which one thread writes and any number read.
//!
//! Partitions are found by hash and their entries kept in order, since nothing is read in order across partitions but
//! everything at once, and that is sorted then. A partition is in one of many shards, each with a lock of its own that is
//! held for one entry or one chunk. Of an item the newest version is kept and the one before. That is enough for whoever
//! reads at the visible sequence: while a batch is applied the items it changes still have what they had before. A reader who
//! falls two changes of an item behind is told so ([`Found::Moved`]) and begins again at a later moment.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hashbrown::{DefaultHashBuilder, HashTable};
use lsm_tree::{InternalValue, Slice, ValueType};
use parking_lot::{RwLock, RwLockReadGuard};

use super::partition_of;
use super::rows::{Entry, Found, Rows, Span, Version};

/// More than the threads that meet here, so that each map stays small and grows quickly.
const SHARDS: usize = 128;
/// Memory of an entry besides its bytes: the map's slot, with room to grow, and the blocks of key and value.
const ENTRY_BYTES: usize = 192;

/// Keys with their values; `None` hides what older parts of the index say.
pub(super) type Entries = Vec<(Slice, Option<Slice>)>;

/// Partitions with the hashes they are found by: when a table grows nothing has to be looked up that is somewhere else in
/// memory.
type Shard = RwLock<HashTable<(u64, Rows)>>;

/// Entries in memory.
pub(super) struct Recent {
    shards: [Shard; SHARDS],
    hasher: DefaultHashBuilder,
    bytes: AtomicU64,
    put_bytes: AtomicU64,
    last: AtomicU64,
}

/// The reader is too far behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved;

impl Recent {
    pub fn new() -> Self {
        Self::with_room(0)
    }

    /// An empty one that takes as much as this one without growing: all shards grow at about the same time, and while one
    /// does its readers and the writer wait. Room that is not used takes no memory.
    pub fn as_large(&self) -> Self {
        Self::with_room(self.shards.iter().map(|shard| shard.read().len()).max().unwrap_or(0))
    }

    fn with_room(partitions: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::new(HashTable::with_capacity(partitions))),
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
        let partition = partition_of(key);
        let hash = self.hash(partition);
        let shard = self.shard(hash).read();
        let entry = shard.find(hash, is(hash, partition)).and_then(|(_, rows)| rows.get(key));
        entry.map_or(Found::Below, |entry| entry.at(at))
    }

    /// Sets (or removes) a value. Sequences do not go down from call to call.
    pub fn put(&self, key: &[u8], value: Option<&[u8]>, seq: u64) {
        let value_len = value.map_or(0, <[u8]>::len);
        let newest = Version { seq, value: value.map(Slice::from) };
        self.last.store(seq, Relaxed);
        self.put_bytes.fetch_add((key.len() + value_len + ENTRY_BYTES) as u64, Relaxed);
        let partition = partition_of(key);
        let hash = self.hash(partition);
        let mut shard = self.shard(hash).write();
        let (added, gone) = match shard.find_mut(hash, is(hash, partition)) {
            None => {
                let rows = Rows::One(Slice::from(key), Entry { newest, before: None });
                shard.insert_unique(hash, (hash, rows), |(hash, _)| *hash);
                (key.len() + value_len + ENTRY_BYTES, 0)
            }
            Some((_, rows)) => match rows.get_mut(key) {
                None => {
                    rows.insert(Slice::from(key), Entry { newest, before: None });
                    (key.len() + value_len + ENTRY_BYTES, 0)
                }
                Some(entry) => {
                    let before = std::mem::replace(&mut entry.newest, newest);
                    let kept = if before.seq < seq { entry.before.replace(before) } else { Some(before) };
                    // A second version comes on top; the third and later ones take the place of the one that goes.
                    (value_len, kept.map_or(0, |gone| gone.value_bytes()))
                }
            },
        };
        drop(shard);
        self.bytes.fetch_add(added as u64, Relaxed);
        self.bytes.fetch_sub(gone as u64, Relaxed);
    }

    /// Up to `most` entries of one partition between two keys as of `at`, ascending or descending, and the key after
    /// which the next call goes on, if there may be more.
    pub fn chunk(&self, span: &Span, at: u64, most: usize) -> Result<(Entries, Option<Slice>), Moved> {
        let hash = self.hash(&span.prefix);
        let shard = self.shard(hash).read();
        let found = shard.find(hash, is(hash, &span.prefix));
        let Some((_, rows)) = found else { return Ok((Entries::new(), None)) };
        let (rows, more) = rows.between(span, most);
        let last = rows.last().filter(|_| more).map(|(key, _)| (*key).clone());
        Ok((as_of(rows.into_iter(), at)?, last))
    }

    /// Everything as of `at`, ascending. Nothing is written while it is gathered.
    pub fn all(&self, at: u64) -> Result<Entries, Moved> {
        let shards: Vec<RwLockReadGuard<'_, _>> = self.shards.iter().map(RwLock::read).collect();
        let entries = as_of(shards.iter().flat_map(|shard| entries_of(shard)), at)?;
        drop(shards);
        Ok(sorted(entries, |(key, _)| key))
    }

    /// The newest version of everything, ascending, as the tree takes it.
    pub fn newest(&self) -> Vec<InternalValue> {
        let mut values = Vec::new();
        for shard in &self.shards {
            let shard = shard.read();
            values.extend(entries_of(&shard).map(|(key, Entry { newest, .. })| match &newest.value {
                Some(value) => InternalValue::from_components(key.clone(), value.clone(), newest.seq, ValueType::Value),
                None => InternalValue::new_tombstone(key.clone(), newest.seq),
            }));
        }
        sorted(values, |value| &value.key.user_key)
    }

    fn hash(&self, partition: &[u8]) -> u64 {
        self.hasher.hash_one(partition)
    }

    /// The table takes its place from the low bits and its tag from the high ones; the shard goes by those between.
    fn shard(&self, hash: u64) -> &Shard {
        // The remainder is below SHARDS.
        &self.shards[usize::try_from((hash >> 40) % SHARDS as u64).unwrap_or(0)]
    }
}

/// Whether these are the rows of a partition.
fn is(hash: u64, partition: &[u8]) -> impl Fn(&(u64, Rows)) -> bool {
    move |(other, rows)| *other == hash && partition_of(rows.any_key()) == partition
}

fn entries_of(shard: &HashTable<(u64, Rows)>) -> impl Iterator<Item = (&Slice, &Entry)> {
    shard.iter().flat_map(|(_, rows)| rows.iter())
}

fn as_of<'a>(rows: impl Iterator<Item = (&'a Slice, &'a Entry)>, at: u64) -> Result<Entries, Moved> {
    let mut entries = Entries::new();
    for (key, entry) in rows {
        match entry.at(at) {
            Found::Here(value) => entries.push((key.clone(), value)),
            Found::Below => {}
            Found::Moved => return Err(Moved),
        }
    }
    Ok(entries)
}

/// Sorts by key. The first bytes are compared beside each other in memory: the rest of a key is somewhere else.
fn sorted<T>(values: Vec<T>, key: impl Fn(&T) -> &Slice) -> Vec<T> {
    let mut values: Vec<([u8; 32], T)> = values
        .into_iter()
        .map(|value| {
            let mut first = [0; 32];
            let bytes: &[u8] = key(&value);
            let len = bytes.len().min(first.len());
            first[..len].copy_from_slice(&bytes[..len]);
            (first, value)
        })
        .collect();
    values.sort_unstable_by(|(a, left), (b, right)| a.cmp(b).then_with(|| key(left).cmp(key(right))));
    values.into_iter().map(|(_, value)| value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_begin_alike_are_sorted_by_the_rest() {
        let keys = [&b"a"[..], b"a\0", b"aa", &[7; 33], &[7; 32], &[7; 40], b""];
        let mut expected: Vec<Slice> = keys.iter().map(|key| Slice::from(*key)).collect();
        let shuffled = expected.clone();
        expected.sort();
        assert_eq!(sorted(shuffled, |key| key), expected);
    }

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
        // A value that grows is counted at what it has become, in both versions.
        (1_000..1_002).for_each(|seq| recent.put(b"\0\x01pa", Some(&[0; 104]), seq));
        assert_eq!(recent.bytes(), two + 200);
    }
}

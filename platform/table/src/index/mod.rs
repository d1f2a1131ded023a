//! Where the latest state of every item is found: an ordered map from key to a small value, with versions by
//! sequence so that a reader sees one moment while a batch is applied.
//!
//! The index is a view of the journal: it has no log of its own and may lag behind, be lost or be rebuilt.
//! It must never be ahead.

mod lsm;
mod mem;
mod merge;
mod recent;
mod rows;
mod slot;

use std::io;
use std::ops::Bound;

use bytes::Bytes;

pub use lsm::{LsmIndex, LsmOptions};
pub use mem::{MemDisk, MemIndex};
pub(crate) use slot::Slot;

use crate::model::key::Key;

/// Bytes of a key in the index: length of the partition key (two bytes, big-endian), partition key, sort key.
/// Items of one partition are together and in the order of their sort keys.
pub(crate) fn index_key(key: &Key, out: &mut Vec<u8>) {
    out.clear();
    partition_prefix(&key.pk, out);
    out.extend_from_slice(&key.sk);
}

fn partition_prefix(pk: &[u8], out: &mut Vec<u8>) {
    let len = u16::try_from(pk.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(pk);
}

/// The key whose index bytes these are.
pub(crate) fn from_index_key(bytes: &[u8]) -> Option<Key> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    let len = usize::from(u16::from_be_bytes(*len));
    if len == 0 || len >= rest.len() {
        return None;
    }
    let whole = Bytes::copy_from_slice(rest);
    Some(Key { pk: whole.slice(..len), sk: whole.slice(len..) })
}

/// Bounds in the index of a range of sort keys of one partition.
pub(crate) fn index_bounds(pk: &[u8], lower: &Bound<Bytes>, upper: &Bound<Bytes>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let mut prefix = Vec::with_capacity(2 + pk.len() + 64);
    partition_prefix(pk, &mut prefix);
    let with = |sk: &[u8]| [prefix.as_slice(), sk].concat();
    let lower = match lower {
        Bound::Unbounded => Bound::Included(prefix.clone()),
        Bound::Included(sk) => Bound::Included(with(sk)),
        Bound::Excluded(sk) => Bound::Excluded(with(sk)),
    };
    let upper = match upper {
        Bound::Included(sk) => Bound::Included(with(sk)),
        Bound::Excluded(sk) => Bound::Excluded(with(sk)),
        // The prefix counted up by one is greater than every key of the partition. Its first bytes are a
        // length of at most 2,048, so there is always something to count up.
        Bound::Unbounded => {
            let mut end = prefix;
            while let Some(last) = end.pop() {
                if last < 0xff {
                    end.push(last + 1);
                    break;
                }
            }
            Bound::Excluded(end)
        }
    };
    (lower, upper)
}

/// What all index keys of one partition begin with, of one of them.
fn partition_of(key: &[u8]) -> &[u8] {
    match key.first_chunk::<2>() {
        Some(len) => &key[..key.len().min(2 + usize::from(u16::from_be_bytes(*len)))],
        None => key,
    }
}

/// Which entries a range has, and in which order.
#[derive(Debug, Clone, Copy)]
pub enum Keys<'a> {
    /// All, ascending.
    All,
    /// Those of one partition between two sort keys.
    Partition {
        /// The partition.
        pk: &'a [u8],
        /// Least sort key.
        lower: &'a Bound<Bytes>,
        /// Greatest sort key.
        upper: &'a Bound<Bytes>,
        /// Descending.
        reverse: bool,
    },
}

/// A range of index entries.
pub type IndexRange = Box<dyn Iterator<Item = Result<(Vec<u8>, Vec<u8>), IndexError>> + Send>;

/// How the index is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexState {
    /// Bytes in memory that are written to and not yet sealed.
    pub memtable_bytes: u64,
    /// Bytes that were put into it since the last seal, also of what was written over since.
    pub put_bytes: u64,
    /// Sealed parts in memory that wait to be written to disk.
    pub sealed: usize,
    /// Overlapping files in the first level: many of them make reads slow.
    pub first_level_runs: usize,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Files.
    pub tables: usize,
}

/// An ordered map from bytes to bytes with versions by sequence. One thread writes, any number read.
pub trait Index: Send + Sync + 'static {
    /// The value of `key` as of sequence `at`.
    ///
    /// # Errors
    /// When what is stored is damaged or cannot be read; `Moved` when `at` is too long ago.
    fn get(&self, key: &[u8], at: u64) -> Result<Option<Vec<u8>>, IndexError>;

    /// Entries as of sequence `at`. The range keeps what it needs: later writes, flushes and compactions do not
    /// change it. Of a partition what is in memory is read as the range goes on, and may have `Moved` by then.
    ///
    /// # Errors
    /// `Moved` when `at` is too long ago.
    fn range(&self, keys: Keys<'_>, at: u64) -> Result<IndexRange, IndexError>;

    /// Sets (or removes) a value, in memory. Sequences do not go down from call to call.
    fn apply(&self, key: &[u8], value: Option<&[u8]>, seq: u64);

    /// Everything up to this sequence is on disk; what comes after must be applied again after a crash.
    fn persisted(&self) -> u64;

    /// Seals what is in memory, so that [`Index::maintain`] writes it to disk. Called between plans only.
    fn seal(&self);

    /// Does one piece of background work and says whether there may be more. Versions that only readers
    /// before `floor` could see may go. Nothing written to disk by an earlier call lies above `floor`.
    ///
    /// # Errors
    /// When the disk is full or fails, or `floor` is too low; the index is as before.
    fn maintain(&self, floor: u64) -> Result<bool, IndexError>;

    /// How it is doing.
    fn state(&self) -> IndexState;
}

/// What can go wrong in the index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// What is stored does not match its checksum or format.
    #[error("index is damaged: {0}")]
    Damaged(String),
    /// The moment that was asked for is too long ago: what was then has been written over twice. Ask for a later one.
    #[error("the moment that was read at is too long ago")]
    Moved,
    /// Written by another format version or for another journal.
    #[error("index belongs to something else: {0}")]
    Foreign(String),
    /// No space on the disk.
    #[error("disk full while writing the index")]
    Full,
    /// The operating system failed.
    #[error("index I/O: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for IndexError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            // The files are ours: one that is missing, short or malformed has been damaged. One that is shorter than its
            // own end marker makes the tree seek to before its beginning, which is an invalid argument.
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::NotFound
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput => Self::Damaged(error.to_string()),
            _ => Self::Io(error),
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod key_tests {
    use super::*;

    #[test]
    fn keys_of_one_partition_lie_between_its_bounds_and_others_do_not() {
        let mut bytes = Vec::new();
        let (lower, upper) = index_bounds(b"p", &Bound::Unbounded, &Bound::Unbounded);
        let (Bound::Included(lower), Bound::Excluded(upper)) = (lower, upper) else { panic!("other bounds") };
        for (pk, sk, inside) in
            [("p", "\0", true), ("p", "\u{7f}zz", true), ("q", "a", false), ("o", "a", false), ("pp", "a", false)]
        {
            index_key(&Key::new(pk, sk), &mut bytes);
            assert_eq!(lower <= bytes && bytes < upper, inside, "{pk}/{sk}");
            assert_eq!(from_index_key(&bytes), Some(Key::new(pk, sk)));
        }
    }

    #[test]
    fn a_partition_of_high_bytes_has_an_upper_bound() {
        let (_, upper) = index_bounds(&[0xff, 0xff], &Bound::Unbounded, &Bound::Unbounded);
        assert_eq!(upper, Bound::Excluded(vec![0, 3]));
    }
}

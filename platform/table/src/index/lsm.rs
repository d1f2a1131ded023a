//! The index on disk: crate `lsm-tree` without a log of its own.
//!
//! What its source (3.1.10) says and this module relies on:
//! - `Table` writer: `sync_all` on every table file and on its directory before the version refers to it;
//!   `persist_version`: `sync_all` on the version file, its directory, then an atomic, synced replacement of
//!   `current`. So what [`LsmIndex::persisted`] names is on disk.
//! - `flush_to_tables` and `register_tables` are what the tree's own flush consists of. Ours gives them what was
//!   gathered in memory here, a sealed part at a time and in order, so everything at or below the highest persisted
//!   sequence is on disk. (When a compaction drops the tombstone that carried the highest sequence the number
//!   goes down; replaying more than needed is harmless.)
//! - Every block and block header has a checksum that is verified when it is read. The version file has one
//!   too, in `current`, but nothing verifies it: [`LsmIndex::open`] does.
//! - `CompactionStream` drops what is older than an entry of the same key as soon as *that* is below the threshold,
//!   also when the newer entry is above it and no reader below sees it. So a compaction's threshold may be used only
//!   where no entry lies above it: [`LsmIndex::maintain`] refuses one below what was flushed.
//! - A reader picks the newest version whose sequence is below its own, and panics if there is none. Versions
//!   take their sequence from a counter given at opening; it is kept at 0, so that every reader finds one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_tree::config::{BlockSizePolicy, PinningPolicy};
use lsm_tree::{AbstractTree, AnyTree, Cache, Config, DescriptorTable, Guard, SequenceNumberCounter, Slice};
use parking_lot::{Mutex, RwLock};

use super::merge::{Merge, Part};
use super::recent::{Moved, Recent};
use super::rows::{Found, Span};
use super::{Index, IndexError, IndexRange, IndexState, Keys, index_bounds, partition_prefix};

/// How the index uses memory and disk.
#[derive(Debug, Clone)]
pub struct LsmOptions {
    /// Memory for blocks read from disk, bytes.
    pub cache_bytes: u64,
    /// Files kept open for reading.
    pub open_files: usize,
    /// Size at which a file of the index is closed and the next one begun, bytes.
    pub table_bytes: u64,
}

impl Default for LsmOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, open_files: 256, table_bytes: 64 << 20 }
    }
}

/// An index in an LSM tree, with what is not on disk yet in maps of our own: the tree's memory, a skip list, takes two
/// microseconds for what a map here does in a quarter of one.
pub struct LsmIndex {
    tree: AnyTree,
    memory: RwLock<Memory>,
    versions: SequenceNumberCounter,
    compaction: Arc<lsm_tree::compaction::Leveled>,
    // One piece of background work at a time, whoever asks.
    maintenance: Mutex<()>,
}

/// What is not on disk yet.
#[derive(Clone)]
struct Memory {
    /// Written to.
    active: Arc<Recent>,
    /// Waiting for the disk, oldest first.
    sealed: Vec<Arc<Recent>>,
}

impl Memory {
    /// Newest first.
    fn parts(&self) -> impl Iterator<Item = &Arc<Recent>> {
        std::iter::once(&self.active).chain(self.sealed.iter().rev())
    }
}

impl std::fmt::Debug for LsmIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LsmIndex").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl LsmIndex {
    /// Opens the tree in `dir`, or makes one.
    ///
    /// # Errors
    /// `Damaged` when the files do not fit together; the caller may remove the directory and rebuild.
    pub fn open(dir: &Path, options: &LsmOptions) -> Result<Self, IndexError> {
        check_version_file(dir)?;
        let versions = SequenceNumberCounter::new(0);
        let config = Config::new(dir, versions.clone(), SequenceNumberCounter::default())
            .use_cache(Arc::new(Cache::with_capacity_bytes(options.cache_bytes)))
            .use_descriptor_table(Some(Arc::new(DescriptorTable::new(options.open_files))))
            .data_block_size_policy(BlockSizePolicy::all(4_096))
            // Keys are new more often than not: the filters of the busy levels stay in memory.
            .filter_block_pinning_policy(PinningPolicy::new([true, true, true, false]));
        // A tree that contradicts itself makes the crate panic in places; to us that is damage like any other.
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| config.open()));
        let tree = match opened {
            Ok(tree) => tree.map_err(|error| lsm_error(&error))?,
            Err(_) => return Err(IndexError::Damaged("the tree contradicts itself".to_owned())),
        };
        let compaction = lsm_tree::compaction::Leveled::default().with_table_target_size(options.table_bytes);
        let memory = RwLock::new(Memory { active: Arc::new(Recent::new()), sealed: Vec::new() });
        Ok(Self { tree, memory, versions, compaction: Arc::new(compaction), maintenance: Mutex::new(()) })
    }

    /// Writes a sealed part to disk as the newest of the tree.
    fn flush(&self, sealed: &Recent) -> Result<(), IndexError> {
        let values = sealed.newest().into_iter().map(Ok);
        let tables = self.tree.flush_to_tables(values).map_err(|error| lsm_error(&error))?;
        if let Some((tables, blobs)) = tables {
            let registered = self.tree.register_tables(&tables, blobs.as_deref(), None, &[], NO_WATERMARK);
            registered.map_err(|error| lsm_error(&error))?;
        }
        Ok(())
    }

    fn shape(&self) -> (usize, usize, u64) {
        (self.tree.table_count(), self.tree.l0_run_count(), self.tree.disk_space())
    }
}

/// Flushing drops no version of the tree's.
const NO_WATERMARK: u64 = 0;

/// Sequence that a reader gives to the tree: it sees what is below.
const fn reader(at: u64) -> u64 {
    at.saturating_add(1)
}

impl Index for LsmIndex {
    fn get(&self, key: &[u8], at: u64) -> Result<Option<Vec<u8>>, IndexError> {
        {
            // Memory first: what is flushed meanwhile is then in both, not in neither.
            let memory = self.memory.read();
            for part in memory.parts() {
                match part.get(key, at) {
                    Found::Here(value) => return Ok(value.map(|value| value.to_vec())),
                    Found::Moved => return Err(IndexError::Moved),
                    Found::Below => {}
                }
            }
        }
        let found = self.tree.get(key, reader(at)).map_err(|error| lsm_error(&error))?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn range(&self, keys: Keys<'_>, at: u64) -> Result<IndexRange, IndexError> {
        let memory = self.memory.read().clone();
        match keys {
            Keys::All => {
                let parts = memory.parts().map(|part| part.all(at).map(Part::whole).map_err(|Moved| IndexError::Moved));
                let parts = parts.collect::<Result<_, _>>()?;
                let tree = self.tree.range::<Vec<u8>, _>(.., reader(at), None);
                Ok(Merge::range(parts, tree.map(entry), false))
            }
            Keys::Partition { pk, lower, upper, reverse } => {
                let (lower, upper) = index_bounds(pk, lower, upper);
                let mut prefix = Vec::with_capacity(2 + pk.len());
                partition_prefix(pk, &mut prefix);
                let span = Span { prefix, lower: lower.clone(), upper: upper.clone(), reverse };
                let parts = memory.parts().map(|part| Part::span(Arc::clone(part), span.clone(), at)).collect();
                let tree = self.tree.range::<Vec<u8>, _>((lower, upper), reader(at), None);
                Ok(if reverse {
                    Merge::range(parts, tree.rev().map(entry), true)
                } else {
                    Merge::range(parts, tree.map(entry), false)
                })
            }
        }
    }

    fn apply(&self, key: &[u8], value: Option<&[u8]>, seq: u64) {
        // Only the thread that applies seals, so this stays the active part.
        let active = Arc::clone(&self.memory.read().active);
        active.put(key, value, seq);
    }

    fn persisted(&self) -> u64 {
        self.tree.get_highest_persisted_seqno().unwrap_or(0)
    }

    fn seal(&self) {
        // Made before the lock is taken: readers need not wait for it.
        let next = Arc::new(self.memory.read().active.as_large());
        let mut memory = self.memory.write();
        let full = std::mem::replace(&mut memory.active, next);
        memory.sealed.push(full);
    }

    fn maintain(&self, floor: u64) -> Result<bool, IndexError> {
        let _one = self.maintenance.lock();
        self.versions.set(0);
        let before = self.shape();
        let oldest = self.memory.read().sealed.first().cloned();
        if let Some(oldest) = oldest {
            // Of what is flushed only the newest versions go to disk, so no reader may begin before them any more. The
            // thread that applies may have sealed since the floor was chosen: then the next floor will do.
            if oldest.last() > floor {
                return Ok(true);
            }
            self.flush(&oldest)?;
            self.memory.write().sealed.remove(0);
            return Ok(true);
        }
        let flushed = self.persisted();
        if flushed > floor {
            // Never while callers take the floor after what they seal; going on would lose versions that readers see.
            let what = format!("written up to {flushed}, and readers may still begin at {floor}");
            return Err(IndexError::Damaged(what));
        }
        self.tree.compact(self.compaction.clone(), reader(floor)).map_err(|error| lsm_error(&error))?;
        Ok(self.shape() != before)
    }

    fn state(&self) -> IndexState {
        let memory = self.memory.read();
        IndexState {
            memtable_bytes: memory.active.bytes(),
            put_bytes: memory.active.put_bytes(),
            sealed: memory.sealed.len(),
            first_level_runs: self.tree.l0_run_count(),
            disk_bytes: self.tree.disk_space(),
            tables: self.tree.table_count(),
        }
    }
}

fn entry(guard: impl Guard) -> Result<(Slice, Slice), IndexError> {
    guard.into_inner().map_err(|error| lsm_error(&error))
}

/// Verifies the version file against the checksum in `current`; the crate reads it unverified.
fn check_version_file(dir: &Path) -> Result<(), IndexError> {
    let current = match fs::read(dir.join("current")) {
        Ok(current) => current,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return no_tables(dir),
        Err(error) => return Err(error.into()),
    };
    let damaged = |what: &str| IndexError::Damaged(what.to_owned());
    let (id, rest) = current.split_first_chunk::<8>().ok_or_else(|| damaged("`current` is cut short"))?;
    let (sum, rest) = rest.split_first_chunk::<16>().ok_or_else(|| damaged("`current` is cut short"))?;
    if rest != [0] {
        return Err(damaged("`current` names another checksum"));
    }
    let version: PathBuf = dir.join(format!("v{}", u64::from_le_bytes(*id)));
    let mut hash = lsm_tree::checksum::ChecksummedWriter::new(io::sink());
    hash.write_all(&fs::read(version)?)?;
    if hash.checksum().into_u128() == u128::from_le_bytes(*sum) {
        Ok(())
    } else {
        Err(damaged("the version file does not match its checksum"))
    }
}

/// Tables without a `current` would be taken for leftovers and deleted; they mean that `current` was lost.
fn no_tables(dir: &Path) -> Result<(), IndexError> {
    let has_tables = match fs::read_dir(dir.join("tables")) {
        Ok(mut tables) => tables.next().is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error.into()),
    };
    if has_tables { Err(IndexError::Damaged("`current` is missing".to_owned())) } else { Ok(()) }
}

fn lsm_error(error: &lsm_tree::Error) -> IndexError {
    match error {
        lsm_tree::Error::Io(error) => match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code).into(),
            None => io::Error::new(error.kind(), error.to_string()).into(),
        },
        other => IndexError::Damaged(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use super::*;

    fn index(dir: &tempfile::TempDir) -> LsmIndex {
        let index = LsmIndex::open(dir.path(), &LsmOptions::default()).unwrap();
        index.apply(b"k", Some(b"old"), 1);
        index.apply(b"k", Some(b"new"), 5);
        index.seal();
        index
    }

    fn seen(index: &LsmIndex, at: u64) -> Option<Vec<u8>> {
        index.get(b"k", at).unwrap()
    }

    #[test]
    fn what_was_sealed_after_the_floor_was_chosen_waits_for_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let index = index(&dir);
        // The floor was chosen, then the writer went on and sealed: readers may still begin at 3.
        assert!(index.maintain(3).unwrap());
        assert_eq!((index.state().sealed, index.persisted()), (1, 0));
        assert_eq!((seen(&index, 3), seen(&index, 5)), (Some(b"old".to_vec()), Some(b"new".to_vec())));
        while index.maintain(5).unwrap() {}
        assert_eq!((index.state().sealed, index.persisted()), (0, 5));
        assert_eq!(seen(&index, 5), Some(b"new".to_vec()));
    }

    #[test]
    fn a_compaction_below_what_was_written_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let index = index(&dir);
        while index.maintain(5).unwrap() {}
        assert!(matches!(index.maintain(4), Err(IndexError::Damaged(_))));
        assert_eq!(seen(&index, 5), Some(b"new".to_vec()));
    }

    #[test]
    fn what_is_on_disk_is_hidden_by_what_is_newer_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let index = LsmIndex::open(dir.path(), &LsmOptions::default()).unwrap();
        let key = |n: u32| format!("\0\x01p{n:04}").into_bytes();
        (0..300).for_each(|n| index.apply(&key(n), Some(b"disk"), 1 + u64::from(n)));
        index.seal();
        while index.maintain(300).unwrap() {}
        (0..300).filter(|n| n % 3 == 0).for_each(|n| index.apply(&key(n), None, 301 + u64::from(n)));
        index.seal();
        (0..300).filter(|n| n % 3 == 1).for_each(|n| index.apply(&key(n), Some(b"memory"), 601 + u64::from(n)));
        let expected: Vec<_> = (0..300)
            .filter(|n| n % 3 != 0)
            .map(|n| (key(n), if n % 3 == 1 { b"memory".to_vec() } else { b"disk".to_vec() }))
            .collect();
        let all = |keys| index.range(keys, 2_000).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        let (lower, upper) = (Bound::Unbounded, Bound::Unbounded);
        let part = |reverse| Keys::Partition { pk: b"p", lower: &lower, upper: &upper, reverse };
        assert_eq!(all(Keys::All), expected);
        assert_eq!(all(part(false)), expected);
        assert_eq!(all(part(true)), expected.into_iter().rev().collect::<Vec<_>>());
        assert_eq!(index.range(part(false), 300).unwrap().count(), 300, "as of before");
    }
}

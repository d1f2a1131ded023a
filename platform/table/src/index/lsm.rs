//! The index on disk: crate `lsm-tree` without a log of its own.
//!
//! What its source (3.1.10) says and this module relies on:
//! - `Table` writer: `sync_all` on every table file and on its directory before the version refers to it;
//!   `persist_version`: `sync_all` on the version file, its directory, then an atomic, synced replacement of
//!   `current`. So what [`LsmIndex::persisted`] names is on disk.
//! - All sealed memtables are flushed together and in order, so everything at or below the highest persisted
//!   sequence is on disk. (When a compaction drops the tombstone that carried the highest sequence the number
//!   goes down; replaying more than needed is harmless.)
//! - Every block and block header has a checksum that is verified when it is read. The version file has one
//!   too, in `current`, but nothing verifies it: [`LsmIndex::open`] does.
//! - `CompactionStream`, in a flush and in a compaction, drops what is older than an entry of the same key as soon as
//!   *that* is below the threshold, also when the newer entry is above it and no reader below sees it. So the
//!   threshold may be used only where no entry lies above it. A flush takes whatever is sealed when it begins, and
//!   the thread that applies may seal between the choice of a floor and the flush: a flush drops nothing. A
//!   compaction sees only what was flushed, and [`LsmIndex::maintain`] refuses one below that.
//! - A reader picks the newest version whose sequence is below its own, and panics if there is none. Versions
//!   take their sequence from a counter given at opening; it is kept at 0, so that every reader finds one.

use std::fs;
use std::io::{self, Write};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_tree::config::{BlockSizePolicy, PinningPolicy};
use lsm_tree::{AbstractTree, AnyTree, Cache, Config, DescriptorTable, Guard, SequenceNumberCounter};
use parking_lot::Mutex;

use super::{Index, IndexError, IndexRange, IndexState};

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

/// An index in an LSM tree.
pub struct LsmIndex {
    tree: AnyTree,
    versions: SequenceNumberCounter,
    compaction: Arc<lsm_tree::compaction::Leveled>,
    // One piece of background work at a time, whoever asks.
    maintenance: Mutex<()>,
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
        Ok(Self { tree, versions, compaction: Arc::new(compaction), maintenance: Mutex::new(()) })
    }

    fn shape(&self) -> (usize, usize, u64) {
        (self.tree.table_count(), self.tree.l0_run_count(), self.tree.disk_space())
    }
}

/// Before the first sequence.
const NOTHING: u64 = 0;

/// Sequence that a reader gives to the tree: it sees what is below.
const fn reader(at: u64) -> u64 {
    at.saturating_add(1)
}

impl Index for LsmIndex {
    fn get(&self, key: &[u8], at: u64) -> Result<Option<Vec<u8>>, IndexError> {
        let found = self.tree.get(key, reader(at)).map_err(|error| lsm_error(&error))?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn range(&self, lower: Bound<Vec<u8>>, upper: Bound<Vec<u8>>, at: u64) -> IndexRange {
        let entries = self.tree.range::<Vec<u8>, _>((lower, upper), reader(at), None);
        Box::new(entries.map(|entry| {
            let (key, value) = entry.into_inner().map_err(|error| lsm_error(&error))?;
            Ok((key.to_vec(), value.to_vec()))
        }))
    }

    fn apply(&self, key: &[u8], value: Option<&[u8]>, seq: u64) {
        match value {
            Some(value) => self.tree.insert(key, value, seq),
            None => self.tree.remove(key, seq),
        };
    }

    fn persisted(&self) -> u64 {
        self.tree.get_highest_persisted_seqno().unwrap_or(0)
    }

    fn seal(&self) {
        self.tree.rotate_memtable();
    }

    fn maintain(&self, floor: u64) -> Result<bool, IndexError> {
        let _one = self.maintenance.lock();
        self.versions.set(0);
        let before = self.shape();
        if self.tree.sealed_memtable_count() > 0 {
            let lock = self.tree.get_flush_lock();
            self.tree.flush(&lock, reader(NOTHING)).map_err(|error| lsm_error(&error))?;
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
        IndexState {
            memtable_bytes: self.tree.active_memtable().size(),
            sealed: self.tree.sealed_memtable_count(),
            first_level_runs: self.tree.l0_run_count(),
            disk_bytes: self.tree.disk_space(),
            tables: self.tree.table_count(),
        }
    }
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
    fn a_flush_keeps_what_readers_see_who_began_before_what_was_sealed() {
        let dir = tempfile::tempdir().unwrap();
        let index = index(&dir);
        // The floor was chosen, then the writer went on and sealed.
        assert!(index.maintain(3).unwrap());
        assert_eq!((seen(&index, 3), seen(&index, 5)), (Some(b"old".to_vec()), Some(b"new".to_vec())));
        while index.maintain(5).unwrap() {}
        assert_eq!((seen(&index, 5), index.persisted()), (Some(b"new".to_vec()), 5));
    }

    #[test]
    fn a_compaction_below_what_was_written_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let index = index(&dir);
        assert!(index.maintain(3).unwrap());
        assert!(matches!(index.maintain(4), Err(IndexError::Damaged(_))));
        assert_eq!(seen(&index, 3), Some(b"old".to_vec()));
    }
}

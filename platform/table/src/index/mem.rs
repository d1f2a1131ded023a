//! The index in memory, for simulations: an ordered map with versions, and a "disk" that keeps what was
//! flushed when the index itself is dropped as in a crash.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::{Index, IndexError, IndexRange, IndexState, Keys, index_bounds};

type Versions = Vec<(u64, Option<Vec<u8>>)>;

/// What survives when a [`MemIndex`] is dropped.
#[derive(Debug, Clone, Default)]
pub struct MemDisk(Arc<Mutex<Flushed>>);

#[derive(Debug, Clone, Default)]
struct Flushed {
    entries: BTreeMap<Vec<u8>, Versions>,
    through: u64,
}

impl MemDisk {
    /// Forgets everything.
    pub fn clear(&self) {
        *self.0.lock() = Flushed::default();
    }
}

/// An index in memory.
#[derive(Debug)]
pub struct MemIndex {
    entries: RwLock<BTreeMap<Vec<u8>, Versions>>,
    state: Mutex<State>,
    disk: MemDisk,
}

#[derive(Debug, Default)]
struct State {
    bytes: u64,
    applied: u64,
    sealed: Option<u64>,
}

impl MemIndex {
    /// The index as its disk has it.
    #[must_use]
    pub fn open(disk: MemDisk) -> Self {
        let flushed = disk.0.lock().clone();
        Self {
            entries: RwLock::new(flushed.entries),
            state: Mutex::new(State { applied: flushed.through, ..State::default() }),
            disk,
        }
    }
}

fn visible(versions: &Versions, at: u64) -> Option<&Vec<u8>> {
    versions.iter().rev().find(|(seq, _)| *seq <= at)?.1.as_ref()
}

impl Index for MemIndex {
    fn get(&self, key: &[u8], at: u64) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.entries.read().get(key).and_then(|versions| visible(versions, at)).cloned())
    }

    fn range(&self, keys: Keys<'_>, at: u64) -> Result<IndexRange, IndexError> {
        let (bounds, reverse) = match keys {
            Keys::All => ((Bound::Unbounded, Bound::Unbounded), false),
            Keys::Partition { pk, lower, upper, reverse } => (index_bounds(pk, lower, upper), reverse),
        };
        let entries = self.entries.read();
        let mut found: Vec<_> = entries
            .range(bounds)
            .filter_map(|(key, versions)| Some(Ok((key.clone(), visible(versions, at)?.clone()))))
            .collect();
        drop(entries);
        if reverse {
            found.reverse();
        }
        Ok(Box::new(found.into_iter()))
    }

    fn apply(&self, key: &[u8], value: Option<&[u8]>, seq: u64) {
        let mut entries = self.entries.write();
        let versions = entries.entry(key.to_vec()).or_default();
        // Replay after a crash applies again what is there already.
        versions.retain(|(have, _)| *have < seq);
        versions.push((seq, value.map(<[u8]>::to_vec)));
        drop(entries);
        let mut state = self.state.lock();
        state.applied = state.applied.max(seq);
        state.bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
    }

    fn persisted(&self) -> u64 {
        self.disk.0.lock().through
    }

    fn seal(&self) {
        let mut state = self.state.lock();
        state.sealed = Some(state.applied);
        state.bytes = 0;
    }

    fn maintain(&self, floor: u64) -> Result<bool, IndexError> {
        let Some(through) = self.state.lock().sealed.take() else { return Ok(false) };
        let mut entries = self.entries.write();
        for versions in entries.values_mut() {
            if let Some(newest) = versions.iter().rposition(|(seq, _)| *seq <= floor) {
                versions.drain(..newest);
            }
        }
        entries.retain(|_, versions| !matches!(versions.as_slice(), [(seq, None)] if *seq <= floor));
        let mut flushed = entries.clone();
        for versions in flushed.values_mut() {
            versions.retain(|(seq, _)| *seq <= through);
        }
        flushed.retain(|_, versions| !versions.is_empty());
        *self.disk.0.lock() = Flushed { entries: flushed, through };
        Ok(false)
    }

    fn state(&self) -> IndexState {
        let state = self.state.lock();
        IndexState {
            memtable_bytes: state.bytes,
            put_bytes: state.bytes,
            sealed: usize::from(state.sealed.is_some()),
            ..IndexState::default()
        }
    }
}

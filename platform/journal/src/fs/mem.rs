//! A file system in memory that loses what was not synced and fails when told to.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{File, Fs, LockError, LockGuard};
use crate::env::SeededRng;

/// What is written as a whole or not at all, in bytes.
const BLOCK: usize = 512;

/// An operation that should fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemFault {
    /// A `sync_data` fails; the dirty pages are dropped and count as clean, as Linux does.
    SyncError,
    /// A write fails with an I/O error.
    WriteError,
    /// A write takes half of its bytes.
    ShortWrite,
    /// A read fails with an I/O error.
    ReadError,
    /// A file is not opened, or not made, for want of a descriptor.
    NoDescriptor,
    /// From this changing operation on everything fails, as if the machine had lost power.
    PowerOff,
}

/// A file system in memory with faults. Clones are the same file system.
#[derive(Clone)]
pub struct MemFs {
    state: Arc<Mutex<State>>,
}

struct State {
    entries: BTreeMap<PathBuf, Arc<Inode>>,
    durable: BTreeMap<PathBuf, Arc<Inode>>,
    pending: Vec<DirOp>,
    capacity: u64,
    locks: BTreeMap<PathBuf, u32>,
    faults: BTreeMap<MemFault, u64>,
    /// How often each fault came.
    struck: BTreeMap<MemFault, u64>,
    /// Faults wait.
    held: bool,
    off: bool,
    changes: u64,
}

enum DirOp {
    Link(PathBuf, Arc<Inode>),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Default)]
struct Inode {
    content: Mutex<Content>,
}

#[derive(Default)]
struct Content {
    current: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

impl Default for MemFs {
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl std::fmt::Debug for MemFs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemFs").finish_non_exhaustive()
    }
}

impl MemFs {
    /// An empty file system of `capacity` bytes.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        Self::with(BTreeMap::new(), capacity)
    }

    fn with(entries: BTreeMap<PathBuf, Arc<Inode>>, capacity: u64) -> Self {
        let state = State {
            durable: entries.clone(),
            entries,
            pending: Vec::new(),
            capacity,
            locks: BTreeMap::new(),
            faults: BTreeMap::new(),
            struck: BTreeMap::new(),
            held: false,
            off: false,
            changes: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Changes the size of the disk.
    pub fn set_capacity(&self, capacity: u64) {
        self.state.lock().capacity = capacity;
    }

    /// Lets the operation of this kind fail that follows `after` others of its kind.
    pub fn inject(&self, fault: MemFault, after: u64) {
        self.state.lock().faults.insert(fault, after);
    }

    /// Takes back every fault that was injected and has not come yet. Power that is off stays off.
    pub fn heal(&self) {
        self.state.lock().faults.clear();
    }

    /// How often an injected fault of this kind has come, on this disk and on those it was before a loss of power.
    #[must_use]
    pub fn struck(&self, fault: MemFault) -> u64 {
        self.state.lock().struck.get(&fault).copied().unwrap_or(0)
    }

    /// While on, injected faults neither come nor come nearer: for looks that are no part of what is tested.
    pub fn hold_faults(&self, on: bool) {
        self.state.lock().held = on;
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.state.lock().off
    }

    /// Bytes that are taken.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.state.lock().used()
    }

    /// From here on nothing can be done, as for a process that was killed and whose destructors do not run.
    pub fn cut(&self) {
        self.state.lock().off = true;
    }

    /// The same disk for the next process: what was written is there, what was not synced can still be lost; no lock is
    /// held and no fault is left.
    pub fn resume(&self) {
        let mut state = self.state.lock();
        state.off = false;
        state.faults.clear();
        state.locks.clear();
    }

    /// Number of changing operations so far (writes, syncs, allocations, changes of directories).
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// The disk after the machine lost power: of what was not synced, any 512-byte block may have arrived or not, and any
    /// first part of the changes of directories.
    #[must_use]
    pub fn crash(&self, rng: &SeededRng) -> Self {
        let state = self.state.lock();
        let mut entries = state.durable.clone();
        let kept = rng.below(state.pending.len() as u64 + 1);
        for op in state.pending.iter().zip(0..kept).map(|(op, _)| op) {
            op.apply(&mut entries);
        }
        let entries = entries.into_iter().map(|(path, inode)| (path, Arc::new(inode.after_crash(rng)))).collect();
        let after = Self::with(entries, state.capacity);
        after.state.lock().struck.clone_from(&state.struck);
        after
    }

    /// An independent copy of the disk as running processes see it.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let state = self.state.lock();
        let copy = |inode: &Arc<Inode>| {
            let current = inode.content.lock().current.clone();
            Arc::new(Inode {
                content: Mutex::new(Content { durable: current.clone(), current, dirty: BTreeSet::new() }),
            })
        };
        let entries = state.entries.iter().map(|(path, inode)| (path.clone(), copy(inode))).collect();
        Self::with(entries, state.capacity)
    }

    /// Paths of all files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state.lock().entries.keys().cloned().collect()
    }

    /// Content of a file.
    #[must_use]
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        self.state.lock().entries.get(path).map(|inode| inode.content.lock().current.clone())
    }

    /// Flips one bit of a file, on disk as well. `false` when there is no such bit.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> bool {
        let Some(inode) = self.state.lock().entries.get(path).cloned() else { return false };
        let Ok(at) = usize::try_from(bit / 8) else { return false };
        let mut content = inode.content.lock();
        let mask = 1 << (bit % 8);
        if let Some(byte) = content.durable.get_mut(at) {
            *byte ^= mask;
        }
        content.current.get_mut(at).map(|byte| *byte ^= mask).is_some()
    }

    /// Replaces the content of a file, durably.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let content = Content { current: bytes.to_vec(), durable: bytes.to_vec(), dirty: BTreeSet::new() };
        let inode = Arc::new(Inode { content: Mutex::new(content) });
        let mut state = self.state.lock();
        state.entries.insert(path.to_path_buf(), Arc::clone(&inode));
        state.durable.insert(path.to_path_buf(), inode);
    }
}

impl DirOp {
    fn apply(&self, entries: &mut BTreeMap<PathBuf, Arc<Inode>>) {
        match self {
            Self::Link(path, inode) => {
                entries.insert(path.clone(), Arc::clone(inode));
            }
            Self::Unlink(path) => {
                entries.remove(path);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = entries.remove(from) {
                    entries.insert(to.clone(), inode);
                }
            }
        }
    }
}

impl Inode {
    fn after_crash(&self, rng: &SeededRng) -> Self {
        let content = self.content.lock();
        let mut bytes = content.durable.clone();
        if bytes.len() != content.current.len() && rng.below(2) == 1 {
            bytes.resize(content.current.len(), 0);
        }
        for block in &content.dirty {
            let from = block * BLOCK;
            let to = (from + BLOCK).min(content.current.len()).min(bytes.len());
            if rng.below(2) == 1 && from < to {
                bytes[from..to].copy_from_slice(&content.current[from..to]);
            }
        }
        Self { content: Mutex::new(Content { current: bytes.clone(), durable: bytes, dirty: BTreeSet::new() }) }
    }
}

fn power_off() -> io::Error {
    io::Error::other("power is off")
}

impl State {
    /// Counts a changing operation; fails when the power is off.
    fn change(&mut self) -> io::Result<()> {
        if self.due(MemFault::PowerOff) {
            self.off = true;
        }
        self.alive()?;
        self.changes += 1;
        Ok(())
    }

    fn alive(&self) -> io::Result<()> {
        if self.off { Err(power_off()) } else { Ok(()) }
    }

    /// Fails with the kernel's "too many open files", when that is due.
    fn descriptor(&mut self) -> io::Result<()> {
        if self.due(MemFault::NoDescriptor) { Err(io::Error::from_raw_os_error(24)) } else { Ok(()) }
    }

    fn due(&mut self, fault: MemFault) -> bool {
        if self.held {
            return false;
        }
        match self.faults.get_mut(&fault) {
            Some(0) => {
                self.faults.remove(&fault);
                *self.struck.entry(fault).or_default() += 1;
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    fn used(&self) -> u64 {
        self.entries.values().map(|inode| inode.content.lock().current.len() as u64).sum()
    }

    fn run(&mut self, op: DirOp) {
        op.apply(&mut self.entries);
        self.pending.push(op);
    }
}

struct MemFile {
    state: Arc<Mutex<State>>,
    inode: Arc<Inode>,
}

impl MemFile {
    /// Grows the file to `len` if the disk has room.
    fn grow(state: &State, content: &mut Content, used: u64, len: usize) -> io::Result<()> {
        let more = (len - content.current.len()) as u64;
        if used.saturating_add(more) > state.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        content.current.resize(len, 0);
        Ok(())
    }
}

fn to_usize(value: u64) -> io::Result<usize> {
    usize::try_from(value).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl File for MemFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        state.alive()?;
        if state.due(MemFault::ReadError) {
            return Err(io::Error::other("injected read error"));
        }
        drop(state);
        let content = self.inode.content.lock();
        let from = to_usize(offset)?.min(content.current.len());
        let part = into.len().min(content.current.len() - from);
        into[..part].copy_from_slice(&content.current[from..from + part]);
        Ok(part)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        state.change()?;
        if state.due(MemFault::WriteError) {
            return Err(io::Error::other("injected write error"));
        }
        let taken = if state.due(MemFault::ShortWrite) { bytes.len() / 2 } else { bytes.len() };
        let used = state.used();
        let from = to_usize(offset)?;
        let mut content = self.inode.content.lock();
        if from + taken > content.current.len() {
            Self::grow(&state, &mut content, used, from + taken)?;
        }
        content.current[from..from + taken].copy_from_slice(&bytes[..taken]);
        if taken > 0 {
            content.dirty.extend(from / BLOCK..=(from + taken - 1) / BLOCK);
        }
        Ok(taken)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        let failed = state.due(MemFault::SyncError);
        let mut content = self.inode.content.lock();
        let dirty = std::mem::take(&mut content.dirty);
        if failed {
            return Err(io::Error::other("injected sync error"));
        }
        let Content { current, durable, .. } = &mut *content;
        durable.resize(current.len(), 0);
        for block in dirty {
            let from = block * BLOCK;
            let to = (from + BLOCK).min(current.len());
            durable[from..to].copy_from_slice(&current[from..to]);
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        let used = state.used();
        let len = to_usize(len)?;
        let mut content = self.inode.content.lock();
        if len > content.current.len() {
            Self::grow(&state, &mut content, used, len)?;
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.inode.content.lock().current.len() as u64)
    }
}

struct MemLock {
    state: Arc<Mutex<State>>,
    path: PathBuf,
}

impl LockGuard for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.state.lock().locks.remove(&self.path);
    }
}

impl Fs for MemFs {
    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        self.state.lock().alive()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        state.alive()?;
        state.descriptor()?;
        let inode = state.entries.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(MemFile { state: Arc::clone(&self.state), inode: Arc::clone(inode) }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        state.change()?;
        state.descriptor()?;
        let inode = Arc::new(Inode::default());
        state.run(DirOp::Link(path.to_path_buf(), Arc::clone(&inode)));
        Ok(Arc::new(MemFile { state: Arc::clone(&self.state), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        if !state.entries.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.run(DirOp::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        if !state.entries.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.run(DirOp::Unlink(path.to_path_buf()));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.alive()?;
        let ours = state.entries.keys().filter(|path| path.parent() == Some(dir));
        Ok(ours.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        state.pending.clear();
        state.durable = state.entries.clone();
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.state.lock();
        state.alive()?;
        Ok(state.capacity.saturating_sub(state.used()))
    }

    fn lock(&self, path: &Path) -> Result<Arc<dyn LockGuard>, LockError> {
        let mut state = self.state.lock();
        state.alive()?;
        if let Some(pid) = state.locks.get(path) {
            return Err(LockError::Held { pid: *pid });
        }
        state.locks.insert(path.to_path_buf(), std::process::id());
        Ok(Arc::new(MemLock { state: Arc::clone(&self.state), path: path.to_path_buf() }))
    }
}

//! Segments allocated ahead of need.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::env::Env;
use crate::fill::Fill;
use crate::fs::File;
use crate::options::Options;
use crate::segment::path_of;

/// How long after a failed allocation, or a look at the free space, the next one may follow.
pub(crate) const RETRY_NS: u64 = 50_000_000;

/// Files remembered for zeroing: the one written to and the ones allocated ahead.
const FILLING_MAX: usize = 4;

/// Allocated segment files, all zero, waiting to be used.
#[derive(Default)]
pub(crate) struct Spares {
    inner: Mutex<Inner>,
}

/// An allocated segment file.
pub(crate) struct Spare {
    pub(crate) file: Arc<dyn File>,
    pub(crate) fill: Arc<Fill>,
}

#[derive(Default)]
struct Inner {
    ready: BTreeMap<u64, Spare>,
    /// Those to be zeroed ahead, in the order of their use: the one written to, if any, and the next.
    filling: VecDeque<Arc<Fill>>,
    retry_after_ns: Option<u64>,
}

impl Spares {
    /// Adds a file that is known to be allocated, zero and durable.
    pub(crate) fn put(&self, number: u64, file: Arc<dyn File>, fill: Fill) {
        self.inner.lock().put(number, file, fill);
    }

    /// Has the rest of the file that is being written to zeroed first.
    pub(crate) fn fill_first(&self, fill: &Arc<Fill>) {
        self.inner.lock().filling.push_front(Arc::clone(fill));
    }

    /// What is to be zeroed now.
    pub(crate) fn to_fill(&self) -> Option<Arc<Fill>> {
        self.inner.lock().filling.front().cloned()
    }

    /// Nothing is left to zero of this one.
    pub(crate) fn filled(&self, fill: &Arc<Fill>) {
        self.inner.lock().filling.retain(|other| !Arc::ptr_eq(other, fill));
    }

    /// Makes sure that segment `number` is allocated. `false` when there is no space, or none was found a moment ago.
    ///
    /// Waits for an allocation that another thread has under way.
    pub(crate) fn ensure(&self, env: &Env, dir: &Path, options: &Options, number: u64) -> bool {
        let mut inner = self.inner.lock();
        if inner.ready.contains_key(&number) {
            return true;
        }
        let time_ns = env.clock.mono_ns();
        if inner.retry_after_ns.is_some_and(|retry| time_ns < retry) {
            return false;
        }
        match allocate(env, dir, options, number) {
            Ok(file) => {
                let fill = Fill::fresh(path_of(dir, number), options.segment_bytes.into());
                inner.put(number, file, fill);
                inner.retry_after_ns = None;
                true
            }
            Err(error) => {
                // Said once per outage, not once per attempt.
                if inner.retry_after_ns.is_none() {
                    tracing::warn!(dir = %dir.display(), segment = number, %error, "next journal segment not allocated");
                }
                inner.retry_after_ns = Some(time_ns.saturating_add(RETRY_NS));
                false
            }
        }
    }

    pub(crate) fn take(&self, number: u64) -> Option<Spare> {
        self.inner.lock().ready.remove(&number)
    }
}

impl Inner {
    fn put(&mut self, number: u64, file: Arc<dyn File>, fill: Fill) {
        let fill = Arc::new(fill);
        self.filling.push_back(Arc::clone(&fill));
        // Where nobody zeroes, those that were written to long ago go.
        if self.filling.len() > FILLING_MAX {
            self.filling.pop_front();
        }
        self.ready.insert(number, Spare { file, fill });
    }
}

fn allocate(env: &Env, dir: &Path, options: &Options, number: u64) -> io::Result<Arc<dyn File>> {
    let len = u64::from(options.segment_bytes);
    if env.fs.free_bytes(dir)? < len.saturating_add(options.free_reserve_bytes) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let path = path_of(dir, number);
    let file = env.fs.create(&path)?;
    let finish = || -> io::Result<()> {
        file.allocate(len)?;
        file.sync_data()?;
        env.fs.sync_dir(dir)
    };
    if let Err(error) = finish() {
        // Gives back what was allocated. A file that stays is found short, or zero, by the next opening.
        let _ = env.fs.remove(&path);
        return Err(error);
    }
    Ok(file)
}

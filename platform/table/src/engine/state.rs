//! The engine and what may be asked of it without its lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;
use zizon_journal::{Clock, Maintenance, Reader, Space};

use super::core::{Core, Stop};
use super::metrics::{Counters, EngineMetrics, EngineStatus};
use super::options::EngineOptions;
use crate::index::{Index, IndexError};

/// Room for a plan of usual size.
const PROBE_BYTES: u32 = 4_096;

/// The embedded engine without threads: every step is a call.
pub struct Engine {
    pub(super) core: Mutex<Core>,
    pub(super) index: Arc<dyn Index>,
    pub(super) reader: Reader,
    pub(super) segments: Maintenance,
    /// The journal's id.
    pub(super) uuid: [u8; 16],
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: EngineOptions,
    /// Newest sequence that is durable and in the index: what readers see.
    pub(super) visible: AtomicU64,
    /// Versions before this sequence may be gone from the index.
    pub(super) floor: AtomicU64,
    /// The index lags too far behind for more writes.
    pub(super) stalled: AtomicBool,
    /// The journal, or the index, found no space.
    pub(super) journal_full: AtomicBool,
    pub(super) index_full: AtomicBool,
    pub(super) status: AtomicU8,
    pub(super) counters: Counters,
    /// Newest visible sequence for those who follow the feed; `u64::MAX` once the table is closed.
    pub(super) progress: watch::Sender<u64>,
    /// Something is buffered, or the engine stops.
    pub(super) work: Condvar,
    /// Told when the index is damaged, so that the next opening rebuilds it.
    pub(super) on_damage: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("visible", &self.visible()).finish_non_exhaustive()
    }
}

impl Engine {
    /// Newest sequence that is durable and visible.
    #[must_use]
    pub fn visible(&self) -> u64 {
        self.visible.load(Ordering::Acquire)
    }

    /// Random id of the journal, and so of the history that positions in the feed belong to.
    #[must_use]
    pub const fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> EngineMetrics {
        self.counters.snapshot(self.status(), self.full(), self.visible(), self.index.state())
    }

    /// Whether it takes writes.
    #[must_use]
    pub fn status(&self) -> EngineStatus {
        EngineStatus::ALL[usize::from(self.status.load(Ordering::Acquire))]
    }

    fn set_status(&self, status: EngineStatus) {
        self.status.store(status as u8, Ordering::Release);
    }

    /// Whether writes would be refused for want of space. Looks again each time, so it turns false by itself.
    #[must_use]
    pub fn full(&self) -> bool {
        if self.index_full.load(Ordering::Relaxed) && self.stalled.load(Ordering::Relaxed) {
            return true;
        }
        if !self.journal_full.load(Ordering::Relaxed) {
            return false;
        }
        let mut core = self.core.lock();
        let space = core.journal.as_mut().map(|journal| journal.space(PROBE_BYTES));
        let full = space == Some(Space::Full);
        self.journal_full.store(full, Ordering::Relaxed);
        full
    }

    pub(crate) fn index(&self) -> &dyn Index {
        &*self.index
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    pub(crate) fn floor(&self) -> &AtomicU64 {
        &self.floor
    }

    pub(super) fn stop_for(&self, core: &mut Core, stop: Stop) {
        // The first reason stays, except that closing is overtaken by a failure.
        if matches!(core.stop, None | Some(Stop::Closing)) {
            core.stop = Some(stop);
            self.set_status(match stop {
                Stop::Closing => EngineStatus::Closed,
                Stop::JournalFailed => EngineStatus::Failed,
                Stop::IndexDamaged => EngineStatus::Damaged,
            });
        }
    }

    /// The index could not be read or written. Damage stops the engine; anything else passes.
    pub(super) fn index_failed(&self, error: &IndexError) {
        if !matches!(error, IndexError::Damaged(_) | IndexError::Foreign(_)) {
            tracing::warn!(error = %error, "index does not answer");
            return;
        }
        self.stop_and_wake(Stop::IndexDamaged, || {
            tracing::error!(error = %error, "index is damaged, writes are refused; a restart rebuilds it from the journal");
            (self.on_damage)();
        });
    }

    /// Refuses everything from here on and answers those who wait; `told` runs before, unless the engine had
    /// failed already.
    pub(super) fn stop_and_wake(&self, stop: Stop, told: impl FnOnce()) {
        let mut wakers = Vec::new();
        let mut core = self.core.lock();
        let first = matches!(core.stop, None | Some(Stop::Closing));
        self.stop_for(&mut core, stop);
        core.waiters.take(u64::MAX, &mut wakers);
        drop(core);
        if first {
            told();
        }
        self.work.notify_all();
        self.progress.send_replace(u64::MAX);
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

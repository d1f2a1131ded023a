//! Making plans durable and visible, a batch at a time.

use std::sync::atomic::Ordering::{Relaxed, Release};
use std::task::Waker;

use hashbrown::HashSet;
use zizon_journal::{SyncBatch, SyncOutcome};

use super::core::{Core, Effect, Stop};
use super::metrics::{add, count};
use super::state::Engine;
use crate::codec::encode_image;
use crate::index::{Slot, index_key};
use crate::model::key::Key;

/// Entry that names the sequence the index was sealed at. No item has it: partition keys are not empty.
pub(super) const SEAL_KEY: [u8; 2] = [0, 0];

/// A batch on its way to the disk.
#[must_use = "a batch that is not run stops the journal"]
pub struct InFlight {
    batch: SyncBatch,
}

impl InFlight {
    /// Writes the batch and syncs it once. Needs neither the engine nor its lock.
    pub fn run(&mut self) -> SyncOutcome {
        self.batch.run()
    }
}

impl From<SyncBatch> for InFlight {
    fn from(batch: SyncBatch) -> Self {
        Self { batch }
    }
}

/// What [`Engine::finish`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// Whether the batch is durable; if not, the engine has stopped.
    pub durable: bool,
    /// Whether there is background work to do.
    pub sealed: bool,
}

impl Engine {
    /// Takes everything that is buffered; `None` when nothing is or a batch is under way.
    pub fn begin_sync(&self) -> Option<InFlight> {
        self.core.lock().journal.as_mut()?.begin_sync().map(InFlight::from)
    }

    /// Makes a batch visible and wakes those who wait for it; after a failed one, stops for good.
    pub fn finish(&self, outcome: SyncOutcome) -> Finished {
        self.counters.sync.record(outcome.write_ns().saturating_add(outcome.sync_ns()));
        self.counters.fsync.record(outcome.sync_ns());
        let Some((through, effects)) = self.take_durable(outcome) else {
            return Finished { durable: false, sealed: false };
        };
        let start_ns = self.clock.mono_ns();
        self.apply(&effects);
        self.counters.apply.record(self.clock.mono_ns().saturating_sub(start_ns));
        let wakers = self.show(through, &effects);
        self.progress.send_replace(through);
        wakers.into_iter().for_each(Waker::wake);
        Finished { durable: true, sealed: self.seal_if_large() }
    }

    /// Begins, runs and finishes one batch in this thread; `false` when there was nothing to do or it failed.
    pub fn sync_once(&self) -> bool {
        let Some(mut batch) = self.begin_sync() else { return false };
        let outcome = batch.run();
        self.finish(outcome).durable
    }

    fn take_durable(&self, outcome: SyncOutcome) -> Option<(u64, Vec<Effect>)> {
        let (plans, bytes) = (outcome.frames(), outcome.bytes());
        let mut core = self.core.lock();
        let finished = match core.journal.as_mut() {
            Some(journal) => journal.finish_sync(outcome),
            None => return None,
        };
        match finished {
            Ok(through) => {
                count(&self.counters.batches);
                self.counters.batch_plans.fetch_add(plans, Relaxed);
                self.counters.batch_size.record(plans);
                self.counters.batch_bytes.record(bytes);
                let count = core.pending.iter().take_while(|effect| effect.seq <= through.0).count();
                Some((through.0, core.pending.drain(..count).collect()))
            }
            Err(poisoned) => {
                core.heads.clear();
                core.pending.clear();
                core.pending_plans.clear();
                core.pending_bytes = 0;
                drop(core);
                self.counters.pending_plans.store(0, Relaxed);
                self.stop_and_wake(Stop::JournalFailed, || {
                    tracing::error!(error = %poisoned, "journal failed, nothing is written any more");
                });
                None
            }
        }
    }

    /// Writes the last state of every item of the batch to the index. Readers do not see it yet.
    fn apply(&self, effects: &[Effect]) {
        let mut seen: HashSet<&Key> = HashSet::with_capacity(effects.len());
        let mut last: Vec<&Effect> = effects.iter().rev().filter(|effect| seen.insert(&effect.key)).collect();
        last.reverse();
        let (mut key, mut image, mut slot) = (Vec::new(), Vec::new(), Vec::new());
        for effect in &last {
            index_key(&effect.key, &mut key);
            let value = match (&effect.item, effect.located) {
                (None, _) => None,
                (Some(_), Some(location)) => {
                    Slot::Located(location).encode(&mut slot);
                    Some(slot.as_slice())
                }
                (Some(item), None) => {
                    image.clear();
                    encode_image(item, &mut image);
                    Slot::Inline(&image).encode(&mut slot);
                    Some(slot.as_slice())
                }
            };
            self.index.apply(&key, value, effect.seq);
        }
        add(&self.counters.index_writes, last.len());
    }

    /// Moves what readers see forward and collects whom to wake.
    fn show(&self, through: u64, effects: &[Effect]) -> Vec<Waker> {
        let mut wakers = Vec::new();
        let mut core = self.core.lock();
        let core: &mut Core = &mut core;
        self.visible.store(through, Release);
        for effect in effects {
            core.heads.settled(&effect.key, effect.seq);
        }
        core.heads.trim(through);
        while core.pending_plans.front().is_some_and(|(seq, _)| *seq <= through) {
            let bytes = core.pending_plans.pop_front().map_or(0, |(_, bytes)| bytes as u64);
            core.pending_bytes = core.pending_bytes.saturating_sub(bytes);
        }
        core.waiters.take(through, &mut wakers);
        self.counters.pending_plans.store(core.pending_plans.len(), Relaxed);
        self.counters.waiting.store(core.waiters.len(), Relaxed);
        wakers
    }

    fn seal_if_large(&self) -> bool {
        let state = self.index.state();
        let lagging =
            state.sealed >= self.options.max_sealed || state.first_level_runs >= self.options.max_first_level_runs;
        let large = self.options.is_large(&state);
        self.stalled.store(lagging && large, Relaxed);
        if large && !lagging {
            self.seal();
        }
        large
    }

    /// Hands the index's memory to the background work. Called between plans, by the thread that applies.
    pub(super) fn seal(&self) {
        // Names the sequence in an entry that is always overwritten, never removed: so the highest persisted
        // sequence of the index never goes down.
        let visible = self.visible();
        if self.index.state().memtable_bytes == 0 {
            return;
        }
        self.index.apply(&SEAL_KEY, Some(&[]), visible);
        self.index.seal();
        count(&self.counters.seals);
    }

    /// Does one piece of background work of the index; `Ok(true)` when there may be more.
    ///
    /// # Errors
    /// The message says what failed. Nothing is lost: the work is done again later.
    pub fn maintain(&self) -> Result<bool, crate::index::IndexError> {
        // Readers that began before this look again (see `Engine::at_one_moment`).
        let floor = self.visible();
        self.floor.store(floor, std::sync::atomic::Ordering::SeqCst);
        match self.index.maintain(floor) {
            Ok(more) => {
                count(&self.counters.maintenance_runs);
                self.index_full.store(false, Relaxed);
                let state = self.index.state();
                if state.sealed < self.options.max_sealed && state.first_level_runs < self.options.max_first_level_runs
                {
                    self.stalled.store(false, Relaxed);
                }
                Ok(more)
            }
            Err(error) => {
                count(&self.counters.maintenance_failures);
                self.index_full.store(matches!(error, crate::index::IndexError::Full), Relaxed);
                self.index_failed(&error);
                Err(error)
            }
        }
    }

    /// Compresses one complete segment of the journal; `false` when there is none or it failed. A damaged one is
    /// left as it is and not tried again before the next occasion.
    pub fn compress_segment(&self) -> bool {
        match self.segments.compress_one() {
            Ok(compressed) => {
                self.counters.compressed_segments.fetch_add(u64::from(compressed), Relaxed);
                compressed
            }
            Err(zizon_journal::MaintenanceError::Closed) => false,
            Err(error) => {
                count(&self.counters.maintenance_failures);
                tracing::warn!(error = %error, "a journal segment was not compressed");
                false
            }
        }
    }
}

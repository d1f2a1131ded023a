//! Bounds and habits of the embedded engine.

use std::time::Duration;

use zizon_journal::Options as JournalOptions;

use crate::index::{IndexState, LsmOptions};

/// Bounds and habits of the embedded engine. They may differ from one opening to the next.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The journal.
    pub journal: JournalOptions,
    /// The index on disk.
    pub index: LsmOptions,
    /// Plans accepted and not yet durable; beyond, writes are throttled.
    pub max_in_flight: usize,
    /// Bytes of plans accepted and not yet durable; beyond, writes are throttled.
    pub max_pending_bytes: u64,
    /// Largest image the index holds itself, bytes; larger ones stay in the journal only.
    pub inline_bytes: usize,
    /// Decoded items kept because they are patched again and again.
    pub hot_items: usize,
    /// Largest image of such an item, bytes.
    pub hot_item_bytes: usize,
    /// Size at which the index's memory is sealed and written to disk, bytes. Items that change all the time do not
    /// make it grow; it is also sealed when four times as much was put into it, which bounds what an opening repeats.
    pub memtable_bytes: u64,
    /// Sealed parts of the index waiting for the disk; beyond, writes are throttled.
    pub max_sealed: usize,
    /// Overlapping index files in the first level; beyond, writes are throttled.
    pub max_first_level_runs: usize,
    /// Longest pause before a batch is taken when the last one was of many callers: an eighth of the last sync, at most
    /// this. Zero: none, a batch is taken as soon as anything is buffered. With callers that wait for their answer before
    /// they send again, a pause lets all of them into one batch instead of two that take turns: fewer syncs, and less
    /// time in each. A few callers never wait for it.
    pub gather_max: Duration,
    /// Acknowledges before the sync. Wrong on purpose: the crash tests must catch it.
    #[cfg(any(test, feature = "simulation"))]
    pub known_bad_acknowledge_early: bool,
    /// Tells a failed condition before the state it rests on is durable. Wrong on purpose: the simulation must catch it.
    #[cfg(any(test, feature = "simulation"))]
    pub known_bad_refuse_early: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            journal: JournalOptions::default(),
            index: LsmOptions::default(),
            max_in_flight: 16_384,
            max_pending_bytes: 32 << 20,
            inline_bytes: 128,
            hot_items: 65_536,
            hot_item_bytes: 4_096,
            memtable_bytes: 32 << 20,
            max_sealed: 4,
            max_first_level_runs: 32,
            gather_max: Duration::from_millis(1),
            #[cfg(any(test, feature = "simulation"))]
            known_bad_acknowledge_early: false,
            #[cfg(any(test, feature = "simulation"))]
            known_bad_refuse_early: false,
        }
    }
}

/// How much more may be put into the index's memory than it holds.
const PUT_FACTOR: u64 = 4;

impl EngineOptions {
    /// Whether the index's memory is to be sealed.
    pub(crate) const fn is_large(&self, index: &IndexState) -> bool {
        index.memtable_bytes >= self.memtable_bytes || index.put_bytes >= self.memtable_bytes.saturating_mul(PUT_FACTOR)
    }
}

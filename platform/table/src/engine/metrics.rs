//! What the engine counts.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::index::IndexState;

/// Buckets of a [`Histogram`], each bound twice the one before, then everything else.
const BUCKETS: usize = 25;

/// Counts of amounts by powers of two of a unit: 1 to 2^23 units.
#[derive(Debug, Default)]
pub(super) struct Amounts {
    counts: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl Amounts {
    fn record_units(&self, units: u64, amount: u64) {
        let units = units.max(1);
        let bucket = (64 - (units - 1).leading_zeros() as usize).min(BUCKETS - 1);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(amount, Relaxed);
    }

    /// Counts a number of things.
    pub fn record(&self, amount: u64) {
        self.record_units(amount, amount);
    }

    /// `unit`: what the smallest bound is in the histogram's unit; `scale`: what a summed amount is.
    fn snapshot(&self, unit: f64, scale: f64) -> Histogram {
        let mut buckets = Vec::with_capacity(BUCKETS);
        let mut count = 0;
        for (at, counter) in self.counts.iter().enumerate() {
            count += counter.load(Relaxed);
            let bound = if at + 1 == BUCKETS { f64::INFINITY } else { (1_u64 << at) as f64 * unit };
            buckets.push((bound, count));
        }
        Histogram { buckets, count, sum: self.sum.load(Relaxed) as f64 * scale }
    }
}

/// Counts of durations: 1 microsecond to 8.4 s.
#[derive(Debug, Default)]
pub(super) struct Durations(Amounts);

impl Durations {
    pub fn record(&self, ns: u64) {
        self.0.record_units(ns.div_ceil(1_000), ns);
    }

    fn snapshot(&self) -> Histogram {
        self.0.snapshot(1e-6, 1e-9)
    }
}

/// A histogram, cumulative as Prometheus has it. Times are in seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// Upper bound, and how many were at most that much.
    pub buckets: Vec<(f64, u64)>,
    /// How many.
    pub count: u64,
    /// Sum of all.
    pub sum: f64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub plans: AtomicU64,
    pub effects: AtomicU64,
    pub plan_bytes: AtomicU64,
    pub conditions_failed: AtomicU64,
    pub throttled: AtomicU64,
    pub refused_full: AtomicU64,
    pub refused_closed: AtomicU64,
    pub unknown: AtomicU64,
    pub batches: AtomicU64,
    pub batch_plans: AtomicU64,
    pub index_writes: AtomicU64,
    pub batch_size: Amounts,
    pub batch_bytes: Amounts,
    pub sync: Durations,
    pub fsync: Durations,
    pub apply: Durations,
    pub hot_hits: AtomicU64,
    pub index_reads: AtomicU64,
    pub journal_reads: AtomicU64,
    pub seals: AtomicU64,
    pub maintenance_runs: AtomicU64,
    pub maintenance_failures: AtomicU64,
    pub compressed_segments: AtomicU64,
    pub replayed_plans: AtomicU64,
    pub pending_plans: AtomicUsize,
    pub waiting: AtomicUsize,
}

/// Whether the engine takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineStatus {
    /// It does.
    Open,
    /// It is closing, or closed.
    Closed,
    /// Writing or syncing the journal failed: nothing is written any more until the process starts again.
    Failed,
    /// The index is damaged: nothing is written any more; the next opening rebuilds it from the journal.
    Damaged,
}

impl EngineStatus {
    pub(super) const ALL: [Self; 4] = [Self::Open, Self::Closed, Self::Failed, Self::Damaged];
}

/// A look at the engine's counters. Counts are since the opening.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineMetrics {
    /// Whether it takes writes.
    pub status: EngineStatus,
    /// Whether writes are refused because the disk is full.
    pub full: bool,
    /// Plans accepted.
    pub plans: u64,
    /// Items written or deleted by them.
    pub effects: u64,
    /// Bytes of their frames' payloads.
    pub plan_bytes: u64,
    /// Plans refused by a condition.
    pub conditions_failed: u64,
    /// Plans refused because too many were in flight or the index lagged.
    pub throttled: u64,
    /// Plans refused because the disk was full.
    pub refused_full: u64,
    /// Plans refused because the table was closed.
    pub refused_closed: u64,
    /// Plans answered `Unknown`.
    pub unknown: u64,
    /// Batches synced.
    pub batches: u64,
    /// Plans in them.
    pub batch_plans: u64,
    /// Entries written to the index (a hot item counts once per batch).
    pub index_writes: u64,
    /// Plans in a batch.
    pub batch_size: Histogram,
    /// Bytes in a batch.
    pub batch_bytes: Histogram,
    /// Time to write and sync a batch.
    pub sync: Histogram,
    /// Of it, time in `fdatasync`.
    pub fsync: Histogram,
    /// Time to apply a batch to the index.
    pub apply: Histogram,
    /// Look-ups answered from the overlay or the cache of hot items.
    pub hot_hits: u64,
    /// Look-ups in the index.
    pub index_reads: u64,
    /// Items read from the journal.
    pub journal_reads: u64,
    /// Times the index's memory was sealed.
    pub seals: u64,
    /// Pieces of background work done.
    pub maintenance_runs: u64,
    /// Pieces of background work that failed.
    pub maintenance_failures: u64,
    /// Journal segments compressed.
    pub compressed_segments: u64,
    /// Plans applied again when the table was opened.
    pub replayed_plans: u64,
    /// Plans accepted and not yet durable.
    pub pending_plans: usize,
    /// Callers waiting for durability.
    pub waiting: usize,
    /// Newest durable plan.
    pub durable_seq: u64,
    /// The index.
    pub index: IndexState,
}

impl Counters {
    pub fn snapshot(&self, status: EngineStatus, full: bool, durable_seq: u64, index: IndexState) -> EngineMetrics {
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        EngineMetrics {
            status,
            full,
            plans: load(&self.plans),
            effects: load(&self.effects),
            plan_bytes: load(&self.plan_bytes),
            conditions_failed: load(&self.conditions_failed),
            throttled: load(&self.throttled),
            refused_full: load(&self.refused_full),
            refused_closed: load(&self.refused_closed),
            unknown: load(&self.unknown),
            batches: load(&self.batches),
            batch_plans: load(&self.batch_plans),
            index_writes: load(&self.index_writes),
            batch_size: self.batch_size.snapshot(1.0, 1.0),
            batch_bytes: self.batch_bytes.snapshot(1.0, 1.0),
            sync: self.sync.snapshot(),
            fsync: self.fsync.snapshot(),
            apply: self.apply.snapshot(),
            hot_hits: load(&self.hot_hits),
            index_reads: load(&self.index_reads),
            journal_reads: load(&self.journal_reads),
            seals: load(&self.seals),
            maintenance_runs: load(&self.maintenance_runs),
            maintenance_failures: load(&self.maintenance_failures),
            compressed_segments: load(&self.compressed_segments),
            replayed_plans: load(&self.replayed_plans),
            pending_plans: self.pending_plans.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            durable_seq,
            index,
        }
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

pub(super) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_lands_in_the_bucket_whose_bound_holds_it() {
        let durations = Durations::default();
        for ns in [1, 1_000, 1_001, 2_000, 3_000_000, 60_000_000_000] {
            durations.record(ns);
        }
        let histogram = durations.snapshot();
        assert_eq!(histogram.count, 6);
        assert!((histogram.sum - 60.003_004_002).abs() < 1e-6, "{}", histogram.sum);
        let at_most = |seconds: f64| {
            let found = histogram.buckets.iter().find(|(bound, _)| *bound >= seconds);
            found.map(|(_, count)| *count)
        };
        assert_eq!(at_most(1e-6), Some(2));
        assert_eq!(at_most(2e-6), Some(4));
        assert_eq!(at_most(4e-3), Some(5));
        assert_eq!(at_most(f64::INFINITY), Some(6));
    }

    #[test]
    fn a_number_lands_in_the_bucket_whose_bound_holds_it() {
        let amounts = Amounts::default();
        for amount in [0, 1, 2, 3, 4, 1 << 23, u64::from(u32::MAX)] {
            amounts.record(amount);
        }
        let histogram = amounts.snapshot(1.0, 1.0);
        let found = |bound: f64| histogram.buckets.iter().find(|(at, _)| *at == bound).map(|(_, count)| *count);
        let bounds = [1.0, 2.0, 4.0, 8_388_608.0, f64::INFINITY];
        assert_eq!(bounds.map(found), [2, 3, 5, 6, 7].map(Some));
        assert_eq!((histogram.count, histogram.sum), (7, 10.0 + 8_388_608.0 + 4_294_967_295.0));
    }
}

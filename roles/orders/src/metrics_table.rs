//! Figures of the table under this role.

use std::sync::Weak;

use zizon_table::{EmbeddedTable, EngineMetrics, Histogram};
use zizon_telemetry::{HistogramSnapshot, Metrics, Unit};

use crate::metrics::float;

type Read = fn(&EngineMetrics) -> f64;

const COUNTERS: &[(&str, &str, Unit, Read)] = &[
    ("zizon_table_plans_total", "Plans the table accepted", Unit::None, |m| float(m.plans)),
    ("zizon_table_plan_bytes_total", "Bytes of the effects of accepted plans", Unit::Bytes, |m| float(m.plan_bytes)),
    ("zizon_table_conditions_failed_total", "Plans refused by a condition", Unit::None, |m| float(m.conditions_failed)),
    ("zizon_table_throttled_total", "Plans refused because too many were in flight", Unit::None, |m| {
        float(m.throttled)
    }),
    ("zizon_table_batches_total", "Batches written and synced", Unit::None, |m| float(m.batches)),
    ("zizon_table_batch_plans_total", "Plans in those batches", Unit::None, |m| float(m.batch_plans)),
];

const GAUGES: &[(&str, &str, Unit, Read)] = &[
    ("zizon_table_pending_plans", "Plans accepted and not yet durable", Unit::None, |m| {
        float(u64::try_from(m.pending_plans).unwrap_or(u64::MAX))
    }),
    ("zizon_table_durable_position", "Position of the newest durable plan", Unit::None, |m| float(m.durable_seq)),
    ("zizon_table_full", "1 while writes are refused because the disk is full", Unit::None, |m| {
        float(u32::from(m.full))
    }),
];

type Distribution = fn(&EngineMetrics) -> &Histogram;

const HISTOGRAMS: &[(&str, &str, Unit, Distribution)] = &[
    ("zizon_journal_batch_bytes", "Bytes written and synced at once", Unit::Bytes, |m| &m.batch_bytes),
    ("zizon_journal_batch_plans", "Plans written and synced at once", Unit::None, |m| &m.batch_size),
    ("zizon_journal_fsync_seconds", "Time of one fdatasync of the journal", Unit::Seconds, |m| &m.fsync),
    ("zizon_table_sync_seconds", "Time to write and sync one batch", Unit::Seconds, |m| &m.sync),
];

/// Exports the table's own counters.
pub(crate) fn observe_table(metrics: &Metrics, table: &Weak<EmbeddedTable>) {
    for &(name, help, unit, read) in COUNTERS {
        let table = table.clone();
        metrics.observe_counter(name, help, unit, move || table.upgrade().map_or(0.0, |t| read(&t.metrics())));
    }
    for &(name, help, unit, read) in GAUGES {
        let table = table.clone();
        metrics.observe_gauge(name, help, unit, move || table.upgrade().map_or(0.0, |t| read(&t.metrics())));
    }
    for &(name, help, unit, read) in HISTOGRAMS {
        let table = table.clone();
        metrics.observe_histogram(name, help, unit, move || {
            table.upgrade().map_or_else(HistogramSnapshot::default, |table| snapshot(read(&table.metrics())))
        });
    }
}

/// Buckets of their own from cumulative ones.
fn snapshot(histogram: &Histogram) -> HistogramSnapshot {
    let mut before = 0;
    let mut buckets = Vec::with_capacity(histogram.buckets.len() + 1);
    for &(bound, cumulative) in &histogram.buckets {
        buckets.push((bound, cumulative.saturating_sub(before)));
        before = cumulative;
    }
    if buckets.last().is_none_or(|(bound, _)| bound.is_finite()) {
        buckets.push((f64::INFINITY, histogram.count.saturating_sub(before)));
    }
    HistogramSnapshot { buckets, sum: histogram.sum }
}

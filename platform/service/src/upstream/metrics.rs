//! What a role tells about its calls to another.

use zizon_telemetry::{
    Counter, CounterFamily, Gauge, GaugeFamily, Histogram, HistogramFamily, LATENCY_SECONDS_BUCKETS, Metrics, Unit,
};

use super::error::Outcome;

/// The families of every upstream.
pub(crate) struct UpstreamFamilies {
    calls: CounterFamily<2>,
    durations: HistogramFamily<1>,
    connections: GaugeFamily<1>,
    waiting: GaugeFamily<1>,
    dials: CounterFamily<2>,
    replaced: CounterFamily<1>,
}

impl UpstreamFamilies {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            calls: metrics.counter_family(
                "zizon_upstream_requests_total",
                "Calls to another role, by outcome: answered, not_sent, unknown, deadline, overloaded",
                Unit::None,
                ["upstream", "outcome"],
            ),
            durations: metrics.histogram_family(
                "zizon_upstream_request_duration_seconds",
                "Time from a call to its complete answer or failure, waiting for a connection included",
                Unit::Seconds,
                ["upstream"],
                LATENCY_SECONDS_BUCKETS,
            ),
            connections: metrics.gauge_family(
                "zizon_upstream_connections",
                "Pooled connections to another role",
                Unit::None,
                ["upstream"],
            ),
            waiting: metrics.gauge_family(
                "zizon_upstream_waiting",
                "Calls that wait for a connection",
                Unit::None,
                ["upstream"],
            ),
            dials: metrics.counter_family(
                "zizon_upstream_dials_total",
                "Connections attempted to another role, by result: ok, failed",
                Unit::None,
                ["upstream", "result"],
            ),
            replaced: metrics.counter_family(
                "zizon_upstream_connections_replaced_total",
                "Connections replaced by a fresh one before they aged out",
                Unit::None,
                ["upstream"],
            ),
        }
    }

    pub(super) fn of(&self, upstream: &str) -> UpstreamMetrics {
        UpstreamMetrics {
            outcomes: Outcome::LABELS.map(|outcome| self.calls.with([upstream, outcome])),
            duration: self.durations.with([upstream]),
            connections: self.connections.with([upstream]),
            waiting: self.waiting.with([upstream]),
            dialled: self.dials.with([upstream, "ok"]),
            dial_failed: self.dials.with([upstream, "failed"]),
            replaced: self.replaced.with([upstream]),
        }
    }
}

/// The series of one upstream.
pub(super) struct UpstreamMetrics {
    outcomes: [Counter; 5],
    duration: Histogram,
    pub(super) connections: Gauge,
    pub(super) waiting: Gauge,
    pub(super) dialled: Counter,
    pub(super) dial_failed: Counter,
    pub(super) replaced: Counter,
}

impl UpstreamMetrics {
    pub(super) fn record(&self, outcome: Outcome, seconds: f64) {
        self.outcomes[outcome as usize].inc();
        self.duration.observe(seconds);
    }
}

//! What a run reports, as JSON and for a terminal.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::options::{OrdersLoad, Rate};
use crate::tally::Tally;

/// The figures of a run.
///
/// Every scheduled request is in the latencies: answered ones with the time from intended start to
/// complete answer, failed ones with the time to the failure, and those that found no connection
/// before the run ended with the time they had waited by then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Orders acknowledged (created and replayed) per second.
    pub achieved_rate: f64,
    /// Median latency from the intended start, in ms.
    pub p50_ms: f64,
    /// 95th percentile, in ms.
    pub p95_ms: f64,
    /// 99th percentile, in ms.
    pub p99_ms: f64,
    /// 99.9th percentile, in ms.
    pub p999_ms: f64,
    /// Longest latency, in ms.
    pub max_ms: f64,
    /// Median latency of the 201 answers alone, from the intended start, in ms; `null` without any.
    pub accepted_p50_ms: Option<f64>,
    /// Their 99th percentile, in ms.
    pub accepted_p99_ms: Option<f64>,
    /// The same from sending, in ms: without the time a request waited for a connection, or for the generator.
    pub accepted_sent_p99_ms: Option<f64>,
    /// Median time from sending to a 503, in ms; `null` without any.
    pub refused_p50_ms: Option<f64>,
    /// The 99th percentile of it, in ms.
    pub refused_p99_ms: Option<f64>,
    /// 201 answers that made an order.
    pub created: u64,
    /// 201 answers marked `Idempotent-Replayed`.
    pub replayed: u64,
    /// Requests sent without a 201 in return.
    pub errors: u64,
    /// Scheduled starts per second; `null` for `max`.
    pub requested_rate: Option<f64>,
    /// From the first intended start to the last outcome, in s.
    pub duration_s: f64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Errors by problem code, or by what went wrong below HTTP. `timeout`, `closed` and `io` leave
    /// the outcome unknown.
    pub error_kinds: BTreeMap<String, u64>,
    /// Requests sent.
    pub sent: u64,
    /// Requests sent more than 1 ms after their intended start.
    pub late_sends: u64,
    /// Scheduled requests that found no free connection before the run ended.
    pub unsent: u64,
    /// Connections used.
    pub connections: usize,
    /// Connections replaced after the server closed them or they failed.
    pub reconnects: u64,
    /// CPU time of the generator's process, user and system, in s.
    pub cpu_seconds: f64,
    /// The same per request sent, in us.
    pub cpu_us_per_request: f64,
    /// 201 answers, replays included, whose line is on disk; `null` without an acknowledgement file.
    pub acked: Option<u64>,
}

/// The state of a run, at its beginning and each second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    /// Since the first intended start; seconds in JSON.
    #[serde(serialize_with = "seconds")]
    pub elapsed: Duration,
    /// Of how much; seconds in JSON.
    #[serde(serialize_with = "seconds")]
    pub duration: Duration,
    /// Orders acknowledged per second since the last progress.
    pub rate: f64,
    /// Requests sent.
    pub sent: u64,
    /// Orders created.
    pub created: u64,
    /// Orders replayed.
    pub replayed: u64,
    /// Requests without a 201.
    pub errors: u64,
    /// Scheduled requests waiting for a connection.
    pub waiting: u64,
    /// 99th percentile so far, in ms.
    pub p99_ms: f64,
    /// Median of the outcomes since the last progress, in ms.
    pub recent_p50_ms: f64,
    /// Their 99th percentile, in ms.
    pub recent_p99_ms: f64,
}

fn seconds<S: serde::Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(round3(span.as_secs_f64()))
}

impl Progress {
    /// Nothing sent yet.
    pub(crate) const fn beginning(duration: Duration) -> Self {
        Self {
            elapsed: Duration::ZERO,
            duration,
            rate: 0.0,
            sent: 0,
            created: 0,
            replayed: 0,
            errors: 0,
            waiting: 0,
            p99_ms: 0.0,
            recent_p50_ms: 0.0,
            recent_p99_ms: 0.0,
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, created, replayed, errors, waiting, p99_ms, .. } = self;
        let (elapsed, of) = (self.elapsed.as_secs(), self.duration.as_secs());
        write!(
            f,
            "{elapsed:>4}/{of} s  {rate:>8.0} orders/s  {created} created  {replayed} replayed  {errors} errors  {waiting} waiting  p99 {p99_ms:.1} ms"
        )
    }
}

/// What the counters alone do not tell.
pub(crate) struct Outcome {
    pub(crate) elapsed: Duration,
    pub(crate) unsent: u64,
    pub(crate) cpu: Duration,
    pub(crate) acked: Option<u64>,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people; counts stay far below 2^52")]
pub(crate) fn per(count: u64, span: Duration) -> f64 {
    if span.is_zero() { 0.0 } else { round3(count as f64 / span.as_secs_f64()) }
}

#[expect(clippy::cast_precision_loss, reason = "latencies stay far below 2^52 us")]
pub(crate) fn quantile_ms(latency: &Histogram<u64>, quantile: f64) -> f64 {
    latency.value_at_quantile(quantile) as f64 / 1_000.0
}

/// The same; nothing where there was nothing.
fn some_quantile_ms(latency: &Histogram<u64>, quantile: f64) -> Option<f64> {
    (!latency.is_empty()).then(|| quantile_ms(latency, quantile))
}

fn round3(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

impl Report {
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub(crate) fn new(load: &OrdersLoad, tally: &Tally, outcome: &Outcome) -> Self {
        let orders = tally.created + tally.replayed;
        Self {
            achieved_rate: per(orders, outcome.elapsed),
            p50_ms: quantile_ms(&tally.latency, 0.5),
            p95_ms: quantile_ms(&tally.latency, 0.95),
            p99_ms: quantile_ms(&tally.latency, 0.99),
            p999_ms: quantile_ms(&tally.latency, 0.999),
            max_ms: tally.latency.max() as f64 / 1_000.0,
            accepted_p50_ms: some_quantile_ms(&tally.accepted, 0.5),
            accepted_p99_ms: some_quantile_ms(&tally.accepted, 0.99),
            accepted_sent_p99_ms: some_quantile_ms(&tally.accepted_sent, 0.99),
            refused_p50_ms: some_quantile_ms(&tally.refused, 0.5),
            refused_p99_ms: some_quantile_ms(&tally.refused, 0.99),
            created: tally.created,
            replayed: tally.replayed,
            errors: tally.errors,
            requested_rate: match load.rate {
                Rate::PerSecond(rate) => Some(rate),
                Rate::Max => None,
            },
            duration_s: round3(outcome.elapsed.as_secs_f64()),
            statuses: tally.statuses.clone(),
            error_kinds: tally.kinds.clone(),
            sent: tally.sent,
            late_sends: tally.late,
            unsent: outcome.unsent,
            connections: load.connections,
            reconnects: tally.reconnects,
            cpu_seconds: round3(outcome.cpu.as_secs_f64()),
            cpu_us_per_request: round3(outcome.cpu.as_secs_f64() * 1e6 / tally.sent.max(1) as f64),
            acked: outcome.acked,
        }
    }

    /// The report as aligned lines.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _infallible = writeln!(text, "{name:<12} {value}");
        };
        let requested = self.requested_rate.map_or_else(|| "max".to_owned(), |rate| format!("{rate:.0}/s"));
        line(
            "rate",
            format!(
                "{:.1} orders/s  (requested {requested}, {:.1} s, {} connections)",
                self.achieved_rate, self.duration_s, self.connections
            ),
        );
        line("orders", format!("{} created, {} replayed", self.created, self.replayed));
        line(
            "latency",
            format!(
                "p50 {:.2} ms  p95 {:.2} ms  p99 {:.2} ms  p99.9 {:.2} ms  max {:.2} ms  (from the intended start)",
                self.p50_ms, self.p95_ms, self.p99_ms, self.p999_ms, self.max_ms
            ),
        );
        if self.statuses.contains_key(&503) {
            line(
                "accepted",
                format!(
                    "p50 {}  p99 {}  (201 answers alone)  p99 {} from sending",
                    in_ms(self.accepted_p50_ms),
                    in_ms(self.accepted_p99_ms),
                    in_ms(self.accepted_sent_p99_ms)
                ),
            );
            line(
                "refused",
                format!(
                    "p50 {}  p99 {}  (503 answers, from sending)",
                    in_ms(self.refused_p50_ms),
                    in_ms(self.refused_p99_ms)
                ),
            );
        }
        line(
            "sends",
            format!(
                "{} sent, {} late, {} never sent, {} reconnects",
                self.sent, self.late_sends, self.unsent, self.reconnects
            ),
        );
        line("statuses", list(&self.statuses));
        line(
            "errors",
            if self.errors == 0 { "none".into() } else { format!("{}  ({})", self.errors, list(&self.error_kinds)) },
        );
        if let Some(acked) = self.acked {
            line("acked", format!("{acked} on disk"));
        }
        line("own CPU", format!("{:.1} s, {:.1} us per request", self.cpu_seconds, self.cpu_us_per_request));
        text
    }
}

fn in_ms(value: Option<f64>) -> String {
    value.map_or_else(|| "none".into(), |value| format!("{value:.2} ms"))
}

fn list<K: fmt::Display>(counts: &BTreeMap<K, u64>) -> String {
    if counts.is_empty() {
        return "none".into();
    }
    counts.iter().map(|(name, count)| format!("{name}: {count}")).collect::<Vec<_>>().join(", ")
}

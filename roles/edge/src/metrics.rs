//! What the edge counts.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::StatusCode;
use parking_lot::Mutex;
use zizon_telemetry::{
    Counter, CounterFamily, Gauge, Histogram, HistogramFamily, LATENCY_SECONDS_BUCKETS, Metrics, Unit,
};

use crate::guard::Admission;
use crate::h1::Reject;
use crate::routes::Place;
use crate::view::Protocol;

/// Statuses up to 599 get a series each when they first occur.
const STATUSES: usize = 600;

/// The edge's series.
#[derive(Debug)]
pub struct EdgeMetrics {
    requests: CounterFamily<2>,
    durations: HistogramFamily<1>,
    rejects: CounterFamily<2>,
    refusals: CounterFamily<2>,
    handshakes: CounterFamily<1>,
    connections_closed: CounterFamily<1>,
    /// Accepted connections that are open, handshakes included.
    pub connections: Gauge,
    /// Certificate changes taken into use.
    pub certificate_loads: CounterFamily<1>,
    /// By place and status, so that counting a request takes neither a lock nor an allocation.
    requests_by_place: Vec<OnceLock<Counter>>,
    durations_by_place: Vec<OnceLock<Histogram>>,
    /// Refusals that have occurred: under overload there are very many of a few kinds.
    refusals_seen: Mutex<Vec<(&'static str, &'static str, Counter)>>,
}

impl EdgeMetrics {
    /// Defines everything in `metrics`.
    #[must_use]
    pub fn new(metrics: &Metrics, admission: &Admission) -> Self {
        let in_flight = admission.in_flight();
        metrics.observe_gauge("zizon_edge_in_flight", "Requests in work", Unit::None, move || {
            f64::from(u32::try_from(in_flight.load(Ordering::Relaxed)).unwrap_or(u32::MAX))
        });
        let limits = admission.in_flight_limits();
        metrics.observe_gauge_family(
            "zizon_edge_in_flight_limit",
            "Requests that may be in work before further ones are refused; follows how quickly they are answered",
            Unit::None,
            ["kind"],
            move || {
                let value = |limit: usize| f64::from(u32::try_from(limit).unwrap_or(u32::MAX));
                limits.iter().map(|(kind, limit)| ([(*kind).to_owned()], value(limit()))).collect()
            },
        );
        Self {
            requests: metrics.counter_family(
                "zizon_edge_requests_total",
                "Answered requests by place and status",
                Unit::None,
                ["route", "status"],
            ),
            durations: metrics.histogram_family(
                "zizon_edge_request_duration_seconds",
                "Time from a read head to a complete answer, before it is written",
                Unit::Seconds,
                ["route"],
                LATENCY_SECONDS_BUCKETS,
            ),
            rejects: metrics.counter_family(
                "zizon_edge_framing_rejects_total",
                "Requests refused because their framing breaks a rule",
                Unit::None,
                ["protocol", "reason"],
            ),
            refusals: metrics.counter_family(
                "zizon_edge_refusals_total",
                "Requests refused by a guard before routing, load shedding included",
                Unit::None,
                ["guard", "code"],
            ),
            handshakes: metrics.counter_family(
                "zizon_edge_tls_handshakes_total",
                "TLS handshakes by how they ended",
                Unit::None,
                ["result"],
            ),
            connections_closed: metrics.counter_family(
                "zizon_edge_connections_closed_total",
                "Connections that the edge ended or turned away to stay within its bounds",
                Unit::None,
                ["reason"],
            ),
            connections: metrics.gauge("zizon_edge_connections", "Open public connections", Unit::None),
            certificate_loads: metrics.counter_family(
                "zizon_edge_certificate_loads_total",
                "Attempts to take a certificate into use",
                Unit::None,
                ["result"],
            ),
            requests_by_place: (0..Place::COUNT * STATUSES).map(|_| OnceLock::new()).collect(),
            durations_by_place: (0..Place::COUNT).map(|_| OnceLock::new()).collect(),
            refusals_seen: Mutex::default(),
        }
    }

    /// A request at `place`, begun at `began`, was answered.
    pub fn answered(&self, place: Place<'_>, status: StatusCode, began: Instant) {
        let index = place.index() * STATUSES + usize::from(status.as_u16()).min(STATUSES - 1);
        let make = || self.requests.with([place.label(), status.as_str()]);
        self.requests_by_place[index].get_or_init(make).inc();
        let make = || self.durations.with([place.label()]);
        self.durations_by_place[place.index()].get_or_init(make).observe(began.elapsed().as_secs_f64());
    }

    /// A request broke a rule of framing.
    pub fn rejected(&self, reject: Reject, protocol: Protocol) {
        self.rejects.with([protocol.name(), reject.reason()]).inc();
    }

    /// A guard refused a request.
    pub fn refused(&self, guard: &'static str, code: &'static str) {
        let mut seen = self.refusals_seen.lock();
        let known = seen.iter().find(|(its_guard, its_code, _)| (*its_guard, *its_code) == (guard, code));
        if let Some((_, _, counter)) = known {
            counter.inc();
            return;
        }
        let counter = self.refusals.with([guard, code]);
        counter.inc();
        seen.push((guard, code, counter));
    }

    /// A handshake ended.
    pub fn handshake(&self, result: &'static str) {
        self.handshakes.with([result]).inc();
    }

    /// Connections were closed or turned away by the edge.
    pub fn connections_closed(&self, reason: &'static str, count: u64) {
        self.connections_closed.with([reason]).inc_by(count);
    }
}

//! What a role tells about its requests, connections and identity.

use std::sync::Arc;

use http::StatusCode;
use zizon_mtls::{ConnRegistry, RegistryOptions, Side, SvidSource};
use zizon_telemetry::{
    Counter, CounterFamily, Gauge, Histogram, HistogramFamily, LATENCY_SECONDS_BUCKETS, Metrics, Unit,
};

use crate::upstream::UpstreamFamilies;

/// Label value of requests that matched no route.
pub(crate) const UNMATCHED: &str = "unmatched";

const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Defines every metric of this crate, so that the catalogue is complete before anything has happened.
pub fn register_metrics(metrics: &Metrics) {
    zizon_telemetry::register_process_metrics(metrics);
    let _ = ServerMetrics::new(metrics);
    let _ = UpstreamFamilies::new(metrics);
    register_identity_metrics(metrics, None, &ConnRegistry::new(RegistryOptions::default()));
}

/// Own identity, handshakes and connections, read at each scrape. Without a source only the definitions.
pub(crate) fn register_identity_metrics(
    metrics: &Metrics,
    source: Option<&Arc<SvidSource>>,
    registry: &Arc<ConnRegistry>,
) {
    let owner = source.cloned();
    metrics.observe_gauge(
        "zizon_svid_remaining_seconds",
        "Time until the own certificate expires; 0 without one",
        Unit::Seconds,
        move || owner.as_ref().and_then(|source| source.seconds_left()).map_or(0.0, |left| left as f64),
    );
    let owner = source.cloned();
    metrics.observe_counter_family(
        "zizon_svid_events_total",
        "What happened to the own identity: rotation, refused_update, withdrawal, expiry, reconnect",
        Unit::None,
        ["event"],
        move || {
            let Some(stats) = owner.as_ref().map(|source| source.stats()) else { return Vec::new() };
            vec![
                series(["rotation"], stats.rotations()),
                series(["refused_update"], stats.refused_updates()),
                series(["withdrawal"], stats.withdrawals()),
                series(["expiry"], stats.expiries()),
                series(["reconnect"], stats.reconnects()),
            ]
        },
    );
    register_connection_metrics(metrics, registry);
}

fn register_connection_metrics(metrics: &Metrics, registry: &Arc<ConnRegistry>) {
    let owner = Arc::clone(registry);
    metrics.observe_counter_family(
        "zizon_tls_handshakes_total",
        "Handshakes between roles, by side and result; resumed must stay 0",
        Unit::None,
        ["side", "result"],
        move || {
            let all = owner.metrics().handshakes();
            all.map(|entry| series([entry.side.label(), entry.reason.label()], entry.count)).collect()
        },
    );
    let owner = Arc::clone(registry);
    metrics.observe_counter_family(
        "zizon_tls_key_exchanges_total",
        "Successful handshakes by key exchange group",
        Unit::None,
        ["group"],
        move || owner.metrics().key_exchanges().map(|(group, n)| series([group.label()], n)).collect(),
    );
    let owner = Arc::clone(registry);
    metrics.observe_gauge_family(
        "zizon_tls_connections",
        "Open connections between roles, by side",
        Unit::None,
        ["side"],
        move || Side::ALL.iter().map(|side| series([side.label()], owner.metrics().open(*side))).collect(),
    );
    let owner = Arc::clone(registry);
    metrics.observe_counter_family(
        "zizon_tls_connections_closed_total",
        "Connections between roles that ended, by reason",
        Unit::None,
        ["reason"],
        move || owner.metrics().closed().map(|(reason, n)| series([reason.label()], n)).collect(),
    );
}

fn series<const N: usize>(labels: [&str; N], value: u64) -> ([String; N], f64) {
    (labels.map(str::to_owned), value as f64)
}

/// Metrics of one server.
#[derive(Clone, Debug)]
pub(crate) struct ServerMetrics {
    requests: CounterFamily<3>,
    durations: HistogramFamily<2>,
    /// Requests being answered.
    pub(crate) in_flight: Gauge,
    /// Accepted sockets, those in a handshake included.
    pub(crate) connections: Gauge,
    /// Requests refused by the policy.
    pub(crate) denied: Counter,
    /// Requests that ran into their route's timeout.
    pub(crate) timeouts: Counter,
}

impl ServerMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            requests: metrics.counter_family(
                "zizon_http_requests_total",
                "Requests answered",
                Unit::None,
                ["route", "method", "status_class"],
            ),
            durations: metrics.histogram_family(
                "zizon_http_request_duration_seconds",
                "Time from the request's head to the response's head",
                Unit::Seconds,
                ["route", "method"],
                LATENCY_SECONDS_BUCKETS,
            ),
            in_flight: metrics.gauge("zizon_http_requests_in_flight", "Requests being answered", Unit::None),
            connections: metrics.gauge(
                "zizon_http_connections",
                "Accepted sockets, those in a handshake included",
                Unit::None,
            ),
            denied: metrics.counter(
                "zizon_authz_denied_total",
                "Requests refused by the authorisation policy",
                Unit::None,
            ),
            timeouts: metrics.counter(
                "zizon_http_request_timeouts_total",
                "Requests whose body or handler ran into the route's timeout",
                Unit::None,
            ),
        }
    }

    /// The series of one route, for use on every request.
    pub(crate) fn route(&self, template: &str, method: &str) -> RouteMetrics {
        RouteMetrics {
            by_class: STATUS_CLASSES.map(|class| self.requests.with([template, method, class])),
            duration: self.durations.with([template, method]),
        }
    }
}

/// The series of one route.
#[derive(Clone, Debug)]
pub(crate) struct RouteMetrics {
    by_class: [Counter; 5],
    duration: Histogram,
}

impl RouteMetrics {
    pub(crate) fn record(&self, status: StatusCode, seconds: f64) {
        let class = usize::from(status.as_u16() / 100).clamp(1, STATUS_CLASSES.len());
        self.by_class[class - 1].inc();
        self.duration.observe(seconds);
    }
}

//! The registry of one process.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::registry::{Metric, Registry};

use crate::catalogue::{Kind, MetricInfo, Unit};
use crate::family::{Bounded, Bucketed, CounterFamily, GaugeFamily, HistogramFamily};
use crate::observed::{HistogramSnapshot, ObservedCounter, ObservedFamily, ObservedGauge, ObservedHistogram};

/// A number that only grows. Clones share the number.
pub type Counter = prometheus_client::metrics::counter::Counter;
/// A number that goes up and down. Clones share the number.
pub type Gauge = prometheus_client::metrics::gauge::Gauge;
/// A distribution in fixed buckets. Clones share the buckets.
pub type Histogram = prometheus_client::metrics::histogram::Histogram;

/// What [`Metrics::encode`] writes, as a `Content-Type`.
pub const PROMETHEUS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Buckets for request and operation times, 100 us to 10 s.
pub const LATENCY_SECONDS_BUCKETS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Buckets for sizes of batches and queues, 1 to 16,384.
pub const COUNT_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0, 16384.0];

/// Every metric of a process, defined once each.
///
/// Asking again for a metric with the same definition returns the same series, so that two users of one
/// component (two upstream pools, say) share them.
///
/// # Panics
/// Constructors panic on a name that breaks the rules (`zizon_*` in snake case, unit suffix, `_total` on
/// counters only) and on a name defined twice in different ways. Both are mistakes in the source: names
/// are `&'static str`, so the first test that builds the component finds them.
pub struct Metrics {
    inner: Mutex<Inner>,
}

struct Inner {
    registry: Registry,
    defined: BTreeMap<&'static str, Defined>,
}

struct Defined {
    info: MetricInfo,
    handle: Box<dyn Any + Send>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("defined", &self.inner.lock().defined.len()).finish()
    }
}

impl Metrics {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let inner = Inner { registry: Registry::default(), defined: BTreeMap::new() };
        Arc::new(Self { inner: Mutex::new(inner) })
    }

    /// A counter without labels.
    pub fn counter(&self, name: &'static str, help: &'static str, unit: Unit) -> Counter {
        self.define(info(name, help, unit, Kind::Counter, &[]), Counter::default, Clone::clone)
    }

    /// A gauge without labels.
    pub fn gauge(&self, name: &'static str, help: &'static str, unit: Unit) -> Gauge {
        self.define(info(name, help, unit, Kind::Gauge, &[]), Gauge::default, Clone::clone)
    }

    /// A histogram without labels; `buckets` are upper bounds in the unit of the metric.
    pub fn histogram(&self, name: &'static str, help: &'static str, unit: Unit, buckets: &'static [f64]) -> Histogram {
        let make = || Histogram::new(buckets.iter().copied());
        self.define(info(name, help, unit, Kind::Histogram, &[]), make, Clone::clone)
    }

    /// Counters by label values.
    pub fn counter_family<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        unit: Unit,
        labels: [&'static str; N],
    ) -> CounterFamily<N> {
        let make = || CounterFamily(Bounded::new(labels, Counter::default as fn() -> Counter));
        let metric = |f: &CounterFamily<N>| f.0.family.clone();
        self.define(info(name, help, unit, Kind::Counter, &labels), make, metric)
    }

    /// Gauges by label values.
    pub fn gauge_family<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        unit: Unit,
        labels: [&'static str; N],
    ) -> GaugeFamily<N> {
        let make = || GaugeFamily(Bounded::new(labels, Gauge::default as fn() -> Gauge));
        let metric = |f: &GaugeFamily<N>| f.0.family.clone();
        self.define(info(name, help, unit, Kind::Gauge, &labels), make, metric)
    }

    /// Histograms by label values.
    pub fn histogram_family<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        unit: Unit,
        labels: [&'static str; N],
        buckets: &'static [f64],
    ) -> HistogramFamily<N> {
        let make = || HistogramFamily(Bounded::new(labels, Bucketed(buckets)));
        let metric = |f: &HistogramFamily<N>| f.0.family.clone();
        self.define(info(name, help, unit, Kind::Histogram, &labels), make, metric)
    }

    /// A counter that is read from its owner at each scrape.
    pub fn observe_counter(
        &self,
        name: &'static str,
        help: &'static str,
        unit: Unit,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let make = || ObservedCounter(Arc::new(read));
        self.define(info(name, help, unit, Kind::Counter, &[]), make, Clone::clone);
    }

    /// A gauge that is read from its owner at each scrape.
    pub fn observe_gauge(
        &self,
        name: &'static str,
        help: &'static str,
        unit: Unit,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let make = || ObservedGauge(Arc::new(read));
        self.define(info(name, help, unit, Kind::Gauge, &[]), make, Clone::clone);
    }

    /// Gauges by label values that are read from their owner at each scrape; at most
    /// [`MAX_SERIES_PER_FAMILY`](crate::MAX_SERIES_PER_FAMILY) of them are exported.
    pub fn observe_gauge_family<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        unit: Unit,
        labels: [&'static str; N],
        read: impl Fn() -> Vec<([String; N], f64)> + Send + Sync + 'static,
    ) {
        let make = || ObservedFamily { kind: Kind::Gauge, names: labels, read: Arc::new(read) };
        self.define(info(name, help, unit, Kind::Gauge, &labels), make, Clone::clone);
    }

    /// Counters by label values that are read from their owner at each scrape; at most
    /// [`MAX_SERIES_PER_FAMILY`](crate::MAX_SERIES_PER_FAMILY) of them are exported.
    pub fn observe_counter_family<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        unit: Unit,
        labels: [&'static str; N],
        read: impl Fn() -> Vec<([String; N], f64)> + Send + Sync + 'static,
    ) {
        let make = || ObservedFamily { kind: Kind::Counter, names: labels, read: Arc::new(read) };
        self.define(info(name, help, unit, Kind::Counter, &labels), make, Clone::clone);
    }

    /// A histogram that its owner keeps in its own atomics and hands over at each scrape.
    pub fn observe_histogram(
        &self,
        name: &'static str,
        help: &'static str,
        unit: Unit,
        read: impl Fn() -> HistogramSnapshot + Send + Sync + 'static,
    ) {
        let make = || ObservedHistogram(Arc::new(read));
        self.define(info(name, help, unit, Kind::Histogram, &[]), make, Clone::clone);
    }

    /// Every definition, sorted by name.
    #[must_use]
    pub fn catalogue(&self) -> Vec<MetricInfo> {
        self.inner.lock().defined.values().map(|d| d.info.clone()).collect()
    }

    /// Everything in the Prometheus text format ([`PROMETHEUS_CONTENT_TYPE`]).
    #[must_use]
    pub fn encode(&self) -> String {
        let mut open_metrics = String::with_capacity(16 * 1024);
        let inner = self.inner.lock();
        if prometheus_client::encoding::text::encode_registry(&mut open_metrics, &inner.registry).is_err() {
            // Only a metric that refuses to print itself gets here; a partial document must not pass
            // for a complete one.
            tracing::error!("metrics could not be encoded");
            return String::new();
        }
        with_counter_names(&open_metrics)
    }

    /// Registers `make()` under `info`, or returns the handle that is there already.
    fn define<H, M>(&self, info: MetricInfo, make: impl FnOnce() -> H, metric: impl FnOnce(&H) -> M) -> H
    where
        H: Clone + Send + 'static,
        M: Metric,
    {
        info.assert_well_named();
        let mut inner = self.inner.lock();
        if let Some(defined) = inner.defined.get(info.name) {
            let same = (defined.info == info).then(|| defined.handle.downcast_ref::<H>()).flatten();
            let name = info.name;
            return same.cloned().unwrap_or_else(|| panic!("metric {name} is defined twice"));
        }
        let handle = make();
        inner.registry.register(info.registered_name(), info.help, metric(&handle));
        inner.defined.insert(info.name, Defined { info, handle: Box::new(handle.clone()) });
        handle
    }
}

/// OpenMetrics, which the library writes, describes counters without `_total`; the Prometheus text format
/// describes samples by the name they have.
fn with_counter_names(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len() + 1024);
    let mut help = "";
    for line in open_metrics.lines() {
        if line.starts_with("# HELP ") {
            help = line;
            continue;
        }
        let counter = line.strip_prefix("# TYPE ").map(|rest| rest.ends_with(" counter"));
        let suffix = if counter == Some(true) { "_total" } else { "" };
        for described in [help, line].into_iter().filter(|_| counter.is_some()) {
            let name_end = described[7..].find(' ').map_or(described.len(), |at| at + 7);
            out.extend([&described[..name_end], suffix, &described[name_end..], "\n"]);
        }
        if counter.is_none() {
            out.extend([line, "\n"]);
        }
    }
    out
}

fn info(name: &'static str, help: &'static str, unit: Unit, kind: Kind, labels: &[&'static str]) -> MetricInfo {
    MetricInfo { name, kind, unit, help, labels: labels.to_vec() }
}

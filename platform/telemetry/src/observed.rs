//! Metrics whose numbers live with their owner and are read at each scrape.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::catalogue::Kind;
use crate::family::{LabelSet, MAX_SERIES_PER_FAMILY};

/// A histogram as its owner keeps it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramSnapshot {
    /// Upper bound and the number of observations in that bucket alone (not cumulative), ascending; the
    /// last bound is `f64::INFINITY` for everything above.
    pub buckets: Vec<(f64, u64)>,
    /// Sum of all observations, in the unit of the metric.
    pub sum: f64,
}

type Read<T> = Arc<dyn Fn() -> T + Send + Sync>;

macro_rules! opaque_debug {
    ($name:ident $(, $n:ident)?) => {
        impl$(<const $n: usize>)? fmt::Debug for $name$(<$n>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}

#[derive(Clone)]
pub(crate) struct ObservedCounter(pub(crate) Read<f64>);
opaque_debug!(ObservedCounter);

impl EncodeMetric for ObservedCounter {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), fmt::Error> {
        encoder.encode_counter::<NoLabelSet, f64, f64>(&(self.0)(), None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

#[derive(Clone)]
pub(crate) struct ObservedGauge(pub(crate) Read<f64>);
opaque_debug!(ObservedGauge);

impl EncodeMetric for ObservedGauge {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), fmt::Error> {
        encoder.encode_gauge(&(self.0)())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

#[derive(Clone)]
pub(crate) struct ObservedFamily<const N: usize> {
    pub(crate) kind: Kind,
    pub(crate) names: [&'static str; N],
    pub(crate) read: Read<Vec<([String; N], f64)>>,
}
opaque_debug!(ObservedFamily, N);

impl<const N: usize> EncodeMetric for ObservedFamily<N> {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), fmt::Error> {
        for (values, value) in (self.read)().into_iter().take(MAX_SERIES_PER_FAMILY) {
            let labels = LabelSet { names: self.names, values: values.map(Cow::Owned) };
            let mut series = encoder.encode_family(&labels)?;
            if self.kind == Kind::Counter {
                series.encode_counter::<NoLabelSet, f64, f64>(&value, None)?;
            } else {
                series.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        if self.kind == Kind::Counter { MetricType::Counter } else { MetricType::Gauge }
    }
}

#[derive(Clone)]
pub(crate) struct ObservedHistogram(pub(crate) Read<HistogramSnapshot>);
opaque_debug!(ObservedHistogram);

impl EncodeMetric for ObservedHistogram {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), fmt::Error> {
        let snapshot = (self.0)();
        let count = snapshot.buckets.iter().map(|(_, n)| n).sum();
        encoder.encode_histogram::<NoLabelSet>(snapshot.sum, count, &snapshot.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

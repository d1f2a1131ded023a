//! Metrics with labels, bounded in how many series they may grow.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::family::{Family, MetricConstructor};

use crate::metrics::{Counter, Gauge, Histogram};

/// Series one family may hold; further label values are folded into [`OTHER`].
pub const MAX_SERIES_PER_FAMILY: usize = 512;

/// The label value that stands for everything beyond the bound.
pub const OTHER: &str = "other";

/// Label names with their values, in the order of the definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LabelSet<const N: usize> {
    pub(crate) names: [&'static str; N],
    pub(crate) values: [Cow<'static, str>; N],
}

impl<const N: usize> EncodeLabelSet for LabelSet<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> Result<(), fmt::Error> {
        for (name, value) in self.names.iter().zip(&self.values) {
            let pair = (*name, value.as_ref());
            prometheus_client::encoding::EncodeLabel::encode(&pair, encoder.encode_label())?;
        }
        Ok(())
    }
}

/// Makes histograms with the buckets of their definition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucketed(pub(crate) &'static [f64]);

impl MetricConstructor<Histogram> for Bucketed {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// A family that stops growing at [`MAX_SERIES_PER_FAMILY`].
pub(crate) struct Bounded<M, C, const N: usize> {
    pub(crate) family: Family<LabelSet<N>, M, C>,
    names: [&'static str; N],
    series: Arc<Mutex<usize>>,
}

impl<M, C: Clone, const N: usize> Clone for Bounded<M, C, N> {
    fn clone(&self) -> Self {
        Self { family: self.family.clone(), names: self.names, series: Arc::clone(&self.series) }
    }
}

impl<M: Clone, C: MetricConstructor<M>, const N: usize> Bounded<M, C, N> {
    pub(crate) fn new(names: [&'static str; N], constructor: C) -> Self {
        Self { family: Family::new_with_constructor(constructor), names, series: Arc::new(Mutex::new(0)) }
    }

    fn with(&self, values: [&str; N]) -> M {
        let owned = values.map(|value| Cow::Owned(value.to_owned()));
        let wanted = LabelSet { names: self.names, values: owned };
        if let Some(known) = self.family.get(&wanted) {
            return known.clone();
        }
        let mut series = self.series.lock();
        if *series >= MAX_SERIES_PER_FAMILY {
            let folded = std::array::from_fn(|_| Cow::Borrowed(OTHER));
            let other = LabelSet { names: self.names, values: folded };
            return self.family.get_or_create_owned(&other);
        }
        *series += 1;
        self.family.get_or_create_owned(&wanted)
    }
}

macro_rules! family {
    ($(#[$doc:meta])* $name:ident, $metric:ty, $constructor:ty) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name<const N: usize>(pub(crate) Bounded<$metric, $constructor, N>);

        impl<const N: usize> $name<N> {
            /// The series with these label values, made on first use. Takes a lock and allocates:
            /// keep the handle where the code is hot.
            #[must_use]
            pub fn with(&self, values: [&str; N]) -> $metric {
                self.0.with(values)
            }
        }

        impl<const N: usize> fmt::Debug for $name<N> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("labels", &self.0.names).finish()
            }
        }
    };
}

family!(
    /// Counters that differ by label values.
    CounterFamily, Counter, fn() -> Counter
);
family!(
    /// Gauges that differ by label values.
    GaugeFamily, Gauge, fn() -> Gauge
);
family!(
    /// Histograms that differ by label values.
    HistogramFamily, Histogram, Bucketed
);

//! What a process tells its operators: a typed metric catalogue and structured logs.
//!
//! [`Metrics`] is the registry of one process. Every metric is defined once by name, help, unit and
//! label names; [`Metrics::catalogue`] lists the definitions, so that `docs/metrics.md` can be generated
//! from them and compared with what a role exports. Label sets are bounded: beyond
//! [`MAX_SERIES_PER_FAMILY`] a family folds further label values into `other`.
//!
//! Handles ([`Counter`], [`Gauge`], [`Histogram`]) are cheap clones around atomics: look a series up once
//! with `with([...])` and keep the handle where the code is hot.
//!
//! [`init_logging`] sets up `tracing`: one event per line on standard error, JSON or for people.

mod aggregate;
mod catalogue;
mod family;
mod logging;
mod metrics;
mod observed;
mod process;

pub use aggregate::aggregate;
pub use catalogue::{Kind, MetricInfo, Unit, catalogue_markdown};
pub use family::{CounterFamily, GaugeFamily, HistogramFamily, MAX_SERIES_PER_FAMILY, OTHER};
pub use logging::{LogFormat, LogOptions, LoggingError, init_logging};
pub use metrics::{
    COUNT_BUCKETS, Counter, Gauge, Histogram, LATENCY_SECONDS_BUCKETS, Metrics, PROMETHEUS_CONTENT_TYPE,
};
pub use observed::HistogramSnapshot;
pub use process::register_process_metrics;

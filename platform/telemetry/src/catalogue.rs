//! The definition of a metric, and the list of them as documentation.

use std::fmt::Write as _;

/// What a metric counts in. Base units only, so that no reader has to convert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// A plain number of things.
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A share between 0 and 1.
    Ratio,
}

impl Unit {
    /// The word in the catalogue.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::None => "",
            Unit::Seconds => "seconds",
            Unit::Bytes => "bytes",
            Unit::Ratio => "ratio",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Unit::None => "",
            Unit::Seconds => "_seconds",
            Unit::Bytes => "_bytes",
            Unit::Ratio => "_ratio",
        }
    }
}

/// How a metric behaves over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution in fixed buckets (`_bucket`, `_sum`, `_count`).
    Histogram,
}

impl Kind {
    /// The word of the exposition format.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One line of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricInfo {
    /// The exported name, complete with unit and `_total`.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What it counts in.
    pub unit: Unit,
    /// What it means, without a final full stop.
    pub help: &'static str,
    /// Its label names, in order.
    pub labels: Vec<&'static str>,
}

impl MetricInfo {
    /// The name without the suffix the exposition format adds to counters.
    pub(crate) fn registered_name(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Gauge | Kind::Histogram => self.name,
        }
    }

    /// Refuses names that break the naming rules (prefix, characters, unit and `_total` suffix).
    pub(crate) fn assert_well_named(&self) {
        let name = self.name;
        let known_prefix = name.starts_with("zizon_") || name.starts_with("process_");
        let characters_ok = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        assert!(known_prefix && characters_ok, "metric name {name} is not zizon_* in snake case");
        let is_total = name.ends_with("_total");
        assert_eq!(self.kind == Kind::Counter, is_total, "only counters end in _total: {name}");
        let stem = self.registered_name();
        assert!(stem.ends_with(self.unit.suffix()), "metric {name} does not name its unit");
        assert!(!self.help.ends_with('.'), "the help of {name} gets its full stop when exported");
    }
}

/// The catalogue as a Markdown table, sorted by name: the body of `docs/metrics.md`.
#[must_use]
pub fn catalogue_markdown(catalogue: &[MetricInfo]) -> String {
    let mut rows: Vec<&MetricInfo> = catalogue.iter().collect();
    rows.sort();
    rows.dedup();
    let mut out = String::from("| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n");
    for row in rows {
        let labels: Vec<String> = row.labels.iter().map(|l| format!("`{l}`")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} |",
            row.name,
            row.kind.as_str(),
            row.unit.as_str(),
            labels.join(", "),
            row.help.replace('|', "\\|"),
        );
    }
    out
}

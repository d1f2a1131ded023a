//! Runs of `zizon load orders` against a benchmark's platform.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    Figure,
    child::Running,
    interrupt, number,
    platform::Platform,
    proc::{CpuMeter, CpuUsed},
    shown,
};

/// Connections of a closed loop; more only add queueing.
pub const CLOSED_CONNECTIONS: u64 = 64;

/// How often is looked whether the generator has begun: what it does meanwhile is not measured.
const LOOK: Duration = Duration::from_millis(1);

/// What a run of the generator is asked to do.
#[derive(Debug, Clone, Default)]
pub struct Load {
    options: BTreeMap<String, String>,
}

impl Load {
    /// A closed loop of fresh orders from 64 connections.
    pub fn closed(duration: &str) -> Self {
        Self::default()
            .with("--rate", "max")
            .with("--connections", &CLOSED_CONNECTIONS.to_string())
            .with("--duration", duration)
    }

    /// An open loop of fresh orders.
    pub fn open(rate: f64, connections: u64, duration: &str) -> Self {
        let load = Self::closed(duration).with("--rate", &format!("{rate:.1}"));
        load.with("--connections", &connections.to_string())
    }

    /// With a further option, or another value of one.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.options.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Runs it to its end.
    pub fn run(&self, platform: &Platform) -> Result<Value> {
        self.start(platform)?.report()
    }

    /// Runs it to its end and lets the platform finish the work it caused. Processor time counts from the moment all
    /// connections are open, so no handshake is in it.
    pub fn slice(&self, platform: &Platform) -> Result<Slice> {
        let processes = platform.processes()?;
        let going = self.begin(platform)?;
        let meter = CpuMeter::start(&processes);
        let report = going.report()?;
        platform.settle()?;
        warn(&report);
        Ok(Slice::of(&report, meter.read()))
    }

    /// Starts it.
    pub fn start(&self, platform: &Platform) -> Result<Beside> {
        let mut words = vec!["load", "orders"];
        words.extend(self.options.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]));
        Ok(Beside { running: platform.command(&words)?, began: Instant::now() })
    }

    /// Starts it and waits until all its connections are open.
    pub fn begin(&self, platform: &Platform) -> Result<Beside> {
        let file = platform.file("begun.jsonl");
        if let Err(error) = fs::remove_file(&file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error).with_context(|| file.display().to_string());
        }
        let name = file.to_string_lossy().into_owned();
        let mut going = self.clone().with("--progress", &name).start(platform)?;
        // One that cannot begin ends, and says why in its report.
        while progress(&name).is_empty() && !going.has_ended()? {
            interrupt::sleep(LOOK)?;
        }
        going.began = Instant::now();
        Ok(going)
    }
}

/// A run that goes on beside other work.
pub struct Beside {
    running: Running,
    /// When it was started; after [`Load::begin`], when all its connections were open.
    pub began: Instant,
}

impl Beside {
    /// Whether it has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        self.running.has_ended()
    }

    /// Waits for its report. Requests that failed are in the report; a run that could not start fails here.
    pub fn report(self) -> Result<Value> {
        let ended = self.running.wait()?;
        let report: Value = serde_json::from_slice(&ended.output)
            .with_context(|| format!("the generator answered no JSON ({})", ended.in_words()))?;
        if let Some(error) = report.get("error").and_then(Value::as_str) {
            bail!("the generator: {error} ({})", report["help"].as_str().unwrap_or_default());
        }
        Ok(report)
    }
}

/// Orders a report counts.
pub fn orders(report: &Value) -> f64 {
    number(report, "created") + number(report, "replayed")
}

/// Requests sent without a 201, as a warning in one line; nothing when there are none.
pub fn warn(report: &Value) {
    if number(report, "errors") > 0.0 {
        println!("      {} errors: {}", number(report, "errors"), report["error_kinds"]);
    }
}

/// Starts the generator could not make in time, as shares of what was due: sent late, never sent.
pub fn limits(report: &Value) -> (f64, f64) {
    let due = number(report, "sent") + number(report, "unsent");
    (number(report, "late_sends") / due.max(1.0), number(report, "unsent") / due.max(1.0))
}

/// The lines a run wrote with `--progress`; a last one that is being written is left out.
pub fn progress(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A slice of load and what it cost.
#[derive(Debug, Clone)]
pub struct Slice {
    /// Orders, or answers of another generator.
    pub orders: f64,
    /// The same per second.
    pub rate: f64,
    /// Median latency in ms.
    pub p50_ms: f64,
    /// 99th percentile in ms.
    pub p99_ms: f64,
    /// Requests without a 201, whatever the reason.
    pub errors: f64,
    /// What the generator itself used for a request, in microseconds.
    pub generator_us: f64,
    /// What the platform used.
    pub used: CpuUsed,
}

impl Slice {
    /// What a report of our generator says.
    fn of(report: &Value, used: CpuUsed) -> Self {
        Self {
            orders: orders(report),
            rate: number(report, "achieved_rate"),
            p50_ms: number(report, "p50_ms"),
            p99_ms: number(report, "p99_ms"),
            errors: number(report, "errors"),
            generator_us: number(report, "cpu_us_per_request"),
            used,
        }
    }

    /// Processor time of edge and orders for an order, in microseconds.
    pub fn platform_us(&self) -> f64 {
        ["edge", "orders"].map(|role| self.used.us_per(role, self.orders)).iter().sum()
    }
}

/// The figures of slices of one kind.
pub struct LoadFigures {
    /// Orders per second.
    pub rate: Figure,
    p50: Figure,
    /// 99th percentile in ms.
    pub p99: Figure,
    errors: Figure,
    generator: Figure,
    edge: Figure,
    /// Processor time of orders for an order, in microseconds.
    pub orders: Figure,
    platform: Figure,
}

impl LoadFigures {
    /// None yet; `name` makes a figure's name of what it is.
    pub fn new(name: impl Fn(&str) -> String) -> Self {
        Self {
            rate: Figure::more(name("orders"), "1/s"),
            p50: Figure::less(name("p50"), "ms"),
            p99: Figure::less(name("p99"), "ms"),
            errors: Figure::less(name("errors"), "count"),
            generator: Figure::plain(name("generator CPU per order"), "us"),
            edge: Figure::less(name("edge CPU per order"), "us"),
            orders: Figure::less(name("orders CPU per order"), "us"),
            platform: Figure::less(name("edge and orders CPU per order"), "us"),
        }
    }

    /// With a slice more.
    pub fn add(&mut self, slice: &Slice) {
        self.rate.runs.push(slice.rate);
        self.p50.runs.push(slice.p50_ms);
        self.p99.runs.push(slice.p99_ms);
        self.errors.runs.push(slice.errors);
        self.generator.runs.push(slice.generator_us);
        self.edge.runs.push(slice.used.us_per("edge", slice.orders));
        self.orders.runs.push(slice.used.us_per("orders", slice.orders));
        self.platform.runs.push(slice.platform_us());
    }

    /// The median of what edge and orders use for an order, in microseconds.
    pub fn platform_us(&self) -> f64 {
        self.platform.median()
    }

    /// Whether no slice had an error.
    pub fn clean(&self) -> bool {
        self.errors.runs.iter().all(|&count| count == 0.0)
    }

    /// All of them.
    pub fn figures(self) -> [Figure; 8] {
        [self.rate, self.p50, self.p99, self.errors, self.generator, self.edge, self.orders, self.platform]
    }
}

/// A slice in a few words.
pub fn in_words(slice: &Slice) -> String {
    format!(
        "{:>7}/s  p99 {:>6} ms  {:>5} us of edge and orders",
        shown(slice.rate),
        shown(slice.p99_ms),
        shown(slice.platform_us())
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_are_of_every_slice() {
        let used = |edge: u32| CpuMeter::start(&[("edge".to_owned(), edge)]).read();
        let report = json!({ "created": 900, "replayed": 100, "achieved_rate": 500.0, "errors": 0 });
        let mut figures = LoadFigures::new(|what| format!("{what} (fresh keys)"));
        figures.add(&Slice::of(&report, used(std::process::id())));
        assert!(figures.clean() && figures.rate.name == "orders (fresh keys)");
        assert!(figures.rate.median() == 500.0 && figures.platform_us() >= 0.0);
        figures.add(&Slice::of(&json!({ "errors": 3 }), used(u32::MAX)));
        assert!(!figures.clean() && figures.platform.runs[1].is_nan());
    }

    #[test]
    fn limits_are_shares_of_what_was_due() {
        let report = json!({ "sent": 900, "unsent": 100, "late_sends": 450 });
        assert_eq!(limits(&report), (0.45, 0.1));
    }

    #[test]
    fn a_load_is_what_the_command_line_takes() {
        let load = Load::open(1_500.25, 1_800, "60s").with("--products", "ids");
        let text = |name: &str| load.options[name].as_str();
        assert_eq!((text("--rate"), text("--connections"), text("--duration")), ("1500.2", "1800", "60s"));
        assert_eq!(text("--products"), "ids");
    }
}
